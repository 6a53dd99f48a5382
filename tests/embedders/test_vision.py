"""The network of chest X-rays: its layout, its arithmetic, and images that are none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

from m3h_pipeline.embedders.densenet import CHEX_THRESHOLDS, DenseNet121, scaled
from m3h_pipeline.embedders.vision import VisionEmbedder, read_image
from m3h_pipeline.errors import InputError


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other are slower than one where tests run side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised network whose batch norms have seen data, so that features vary."""
    torch.manual_seed(0)
    model = DenseNet121().train()
    with torch.no_grad():
        for _ in range(2):
            model(torch.randn(2, 1, 64, 64) * 500)
    path = tmp_path_factory.mktemp("weights") / "densenet121-res224-chex.safetensors"
    save_file(model.state_dict() | {"op_threshs": torch.tensor(CHEX_THRESHOLDS)}, path)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    paths = []
    for i, shape in enumerate([(300, 260), (224, 224), (500, 700)]):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 7), dtype=np.uint8))
        path = folder / f"{i}.jpg"
        coarse.resize(shape[::-1]).save(path)
        paths.append(path)
    return paths


def test_parameters_are_named_as_published() -> None:
    state = DenseNet121().state_dict()
    # 121 layers: 120 convolutions and the classifier; every one of the 121 norms has five entries.
    assert sum(name.endswith("conv0.weight") or ".conv" in name for name in state) == 120
    assert sum(name.endswith("running_mean") for name in state) == 121
    for name, shape in {
        "features.conv0.weight": (64, 1, 7, 7),
        "features.denseblock1.denselayer1.norm1.weight": (64,),
        "features.denseblock3.denselayer24.conv2.weight": (32, 128, 3, 3),
        "features.transition2.conv.weight": (256, 512, 1, 1),
        "features.norm5.bias": (1024,),
        "classifier.weight": (18, 1024),
    }.items():
        assert tuple(state[name].shape) == shape


def test_the_forward_pass_written_out() -> None:
    """The published definition with plain functions, on one small image."""
    torch.manual_seed(1)
    model = DenseNet121().eval()
    state = model.state_dict()

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        part = {key: state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")}
        return F.relu(F.batch_norm(x, **part))

    def conv(x: torch.Tensor, name: str, stride: int = 1, padding: int = 0) -> torch.Tensor:
        return F.conv2d(x, state[f"{name}.weight"], stride=stride, padding=padding)

    image = torch.randn(1, 1, 64, 64)
    x = norm(conv(image, "features.conv0", stride=2, padding=3), "features.norm0")
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for block, depth in enumerate((6, 12, 24, 16), start=1):
        for layer in range(1, depth + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            new = conv(norm(x, f"{name}.norm1"), f"{name}.conv1")
            x = torch.cat([x, conv(norm(new, f"{name}.norm2"), f"{name}.conv2", padding=1)], 1)
        if block < 4:
            name = f"features.transition{block}"
            x = F.avg_pool2d(conv(norm(x, f"{name}.norm"), f"{name}.conv"), 2)
    expected = F.adaptive_avg_pool2d(norm(x, "features.norm5"), 1).flatten(1)
    with torch.no_grad():
        dense, predictions = model(image)
    torch.testing.assert_close(dense, expected)
    assert float(dense.std()) > 1e-4
    logits = expected @ state["classifier.weight"].T + state["classifier.bias"]
    torch.testing.assert_close(predictions, scaled(torch.sigmoid(logits)))


def test_thresholds_are_moved_to_a_half() -> None:
    p = torch.linspace(0.001, 0.999, 50)[:, None].repeat(1, 18)
    found = scaled(p)
    for i, threshold in enumerate(CHEX_THRESHOLDS):
        for a, b in zip(p[:, i].tolist(), found[:, i].tolist(), strict=True):
            low, high = a / (2 * threshold), 1 - (1 - a) / ((1 - threshold) * 2)
            expected = 0.5 if np.isnan(threshold) else low if a < threshold else high
            assert b == pytest.approx(expected, abs=1e-6)


def test_a_vector_does_not_depend_on_its_batch(weights: Path, images: list[Path]) -> None:
    embedder = VisionEmbedder(weights)
    together = embedder.embed(images)
    assert together.shape == (3, 1042)
    alone = np.concatenate([embedder.embed([path]) for path in images[::-1]])[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-5, rtol=1e-5)
    assert np.abs(together[0, :1024] - together[1, :1024]).max() > 1e-3
    assert ((together[:, 1024:] >= 0) & (together[:, 1024:] <= 1)).all()


def test_images_are_scaled_as_the_network_expects(tmp_path: Path) -> None:
    for value, expected in ((0, -1024.0), (255, 1024.0)):
        path = tmp_path / f"{value}.png"
        Image.fromarray(np.full((30, 40, 3), value, dtype=np.uint8)).save(path)
        x = read_image(path)
        assert x.shape == (224, 224)
        assert x.dtype == np.float32
        np.testing.assert_allclose(x, expected)


def test_what_is_missing_or_no_image_is_said(tmp_path: Path, images: list[Path], weights: Path) -> None:
    with pytest.raises(InputError, match="weights are absent") as caught:
        VisionEmbedder(tmp_path / "densenet.safetensors")
    assert "densenet121-res224-chex.safetensors" in str(caught.value.hint)
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "no.safetensors").write_bytes(b"no tensors")
    for name in ("other", "no"):
        with pytest.raises(InputError, match="not the parameters"):
            VisionEmbedder(tmp_path / f"{name}.safetensors")
    half = tmp_path / "half.jpg"
    half.write_bytes(images[0].read_bytes()[:900])
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    for path in (half, text):
        with pytest.raises(InputError, match="no whole image"):
            read_image(path)
    with pytest.raises(InputError, match="cannot read the image"):
        VisionEmbedder(weights).content(tmp_path / "absent.jpg")
