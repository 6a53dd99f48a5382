"""Chest X-rays into vectors: 1,024 features and 18 predictions of densenet121-res224-chex."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError
from safetensors.torch import load_file

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.embedders.densenet import FINDINGS, DenseNet121
from m3h_pipeline.embedders.store import files_digest
from m3h_pipeline.errors import InputError

#: Numbers of a vector that are features; the rest are predictions.
DENSE = 1024
SIZE = 224
_WANTED = (
    "put densenet121-res224-chex.safetensors there: on a machine with torchxrayvision, call"
    " safetensors.torch.save_file(model.state_dict(), FILE) with"
    " model = torchxrayvision.models.DenseNet(weights='densenet121-res224-chex');"
    " nothing is downloaded while a study runs"
)


class VisionEmbedder:
    """An :class:`~m3h_pipeline.embedders.store.Embedder` of image files.

    Args:
        weights: the network's parameters as safetensors (the published file is a pickle, which can run code).
        device: where it is computed.

    Raises:
        InputError: the file is absent, or holds other parameters.
    """

    width = DENSE + len(FINDINGS)

    def __init__(self, weights: Path | str, *, device: str = "cpu") -> None:
        path = Path(weights)
        if not path.is_file():
            raise InputError("the vision model's weights are absent", where=str(path), hint=_WANTED)
        self._model = DenseNet121()
        try:
            # The published weights carry their thresholds as a buffer; they are part of the network here.
            state = {name: value for name, value in load_file(path).items() if name != "op_threshs"}
            self._model.load_state_dict(state)
        except (SafetensorError, RuntimeError) as error:
            raise InputError(
                "these are not the parameters of the network", where=str(path), hint=_WANTED
            ) from error
        self._model.eval().to(device)
        self._device = device
        self.digest = files_digest([path], f"densenet121 {SIZE}")

    def content(self, item: Path | str) -> bytes:
        """The file's bytes."""
        try:
            return Path(item).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read the image: {error.strerror or error}", where=str(item)) from error

    def embed(self, items: Sequence[Path | str]) -> Float32Array:
        """(n, 1042) vectors of image files: the features, then the predictions."""
        x = torch.from_numpy(np.stack([read_image(path) for path in items]))[:, None].to(self._device)
        with torch.inference_mode():
            return np.asarray(torch.cat(self._model(x), dim=1).cpu().numpy(), dtype=np.float32)


def read_image(path: Path | str) -> Float32Array:
    """(224, 224) grey values, scaled to -1024..1024 as torchxrayvision does, averaged over areas.

    Raises:
        InputError: this is no image, or a truncated one.
    """
    try:
        with Image.open(path) as image:
            grey = image.convert("L").resize((SIZE, SIZE), Image.Resampling.BOX)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(
            "this is no whole image", where=str(path), hint="copy it again and compare its checksum"
        ) from error
    values = np.asarray(grey, dtype=np.float32)
    return (2.0 * values / 255.0 - 1.0) * np.float32(1024.0)
