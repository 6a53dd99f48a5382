"""A trained model on its own: kept as safetensors, rebuilt, and used on new rows.

The parameters are a slice of the stack, a stack of one. Beside them stand the statistics that standardise
features and targets, and the centres of clusters (:mod:`m3h_pipeline.training.export`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.numpy import save
from torch import Tensor

from m3h_pipeline.config.model import Model
from m3h_pipeline.errors import InputError
from m3h_pipeline.features.indicators import with_indicators
from m3h_pipeline.features.scaling import CLIP
from m3h_pipeline.model.absence import replaced
from m3h_pipeline.model.architecture import Architecture, restored
from m3h_pipeline.model.clustering import silhouettes, squared_distances
from m3h_pipeline.model.heads import ProblemClass
from m3h_pipeline.model.m3h import M3H
from m3h_pipeline.model.survival import discrete_prediction
from m3h_pipeline.survival import cox_prediction
from m3h_pipeline.training.spec import FitResult

Array = npt.NDArray[Any]

#: Beginnings of names of arrays: parameters of the network, and what a survival task's curves take.
NETWORK = "network/"
TIMES = "times/"
#: Of a modality's numbers of features whose missing values have a column of their own.
INDICATORS = "indicators/"


def model_bytes(result: FitResult, **notes: str) -> bytes:
    """A kept model as safetensors, with notes beside its metadata; the same model is the same bytes."""
    assert result.parameters is not None
    return array_bytes(result.parameters, {**result.metadata, **notes})


def save_model(result: FitResult, path: Path) -> None:
    """Write a kept model as one safetensors file, whole or not at all."""
    assert result.parameters is not None
    write_arrays(result.parameters, result.metadata, path)


def array_bytes(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """Arrays as safetensors; the same arrays are the same bytes."""
    content = save({k: np.ascontiguousarray(v) for k, v in arrays.items()}, metadata=dict(metadata))
    # The library writes the metadata in an order that differs from call to call. A file is the length of its
    # header (8 bytes), the header as JSON, filled up with blanks to a multiple of 8, and the tensors.
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def write_arrays(arrays: Mapping[str, Array], metadata: Mapping[str, str], path: Path) -> None:
    """Write arrays as one sealed safetensors file, whole or not at all."""
    # Files need libraries that training from arrays does not.
    from m3h_pipeline.files import replacing
    from m3h_pipeline.files.sealed import KEY, UNSEALED, seal

    with replacing(path) as temporary:
        temporary.write_bytes(array_bytes(arrays, {**metadata, KEY: UNSEALED}))
        seal(temporary, path)


def read_arrays(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays of a sealed safetensors file, and its metadata.

    Raises:
        InputError: the file is absent or damaged.
    """
    from m3h_pipeline.files import reading

    with reading(path, "safetensors file"), safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


class FittedModel:
    """A trained model.

    Args:
        arrays: as in ``FitResult.parameters``.
        metadata: as in ``FitResult.metadata``.
        dtype: to compute with; None: that of the parameters.

    Attributes:
        tasks: its tasks, task -> description, in the order of the model's positions.
        modalities: modality -> number of raw features it takes.
        arrays, dtype: as given; batch: rows that are computed together.
    """

    def __init__(
        self, arrays: Mapping[str, Array], metadata: Mapping[str, str], dtype: torch.dtype | None = None
    ) -> None:
        self.arrays = dict(arrays)
        self.positions: list[str] = json.loads(metadata["positions"])
        described = json.loads(metadata["tasks"])
        self.tasks: dict[str, dict[str, Any]] = {task: described[task] for task in self.positions}
        inputs = tuple(restored(item) for item in json.loads(metadata["inputs"]))
        self._indicated = {
            item.name: np.asarray(arrays.get(INDICATORS + item.name, np.zeros(0, dtype=np.int64)))
            for item in inputs
        }
        self.modalities = {
            name: len(arrays[f"columns/{name}"]) - len(which) for name, which in self._indicated.items()
        }
        self.names: dict[str, list[str]] = json.loads(metadata["names"])
        self.batch = int(metadata["batch_size"])
        signature = tuple((str(name), int(outputs)) for name, outputs in json.loads(metadata["signature"]))
        architecture = Architecture(
            inputs, signature, Model.model_validate_json(metadata["model"]), json.loads(metadata["contrast"])
        )
        state = {
            name[len(NETWORK) :]: torch.from_numpy(np.array(value))
            for name, value in arrays.items()
            if name.startswith(NETWORK)
        }
        self.dtype = dtype or next(iter(state.values())).dtype
        seed, replicate = json.loads(metadata["seed"])
        self.network = M3H(architecture, [(seed, replicate)], [self.positions], self.dtype)
        self.network.load_state_dict(state, strict=False)
        self.network.eval()

    def standardise(self, features: Mapping[str, Array]) -> Tensor:
        """The model's input, (n, F), from raw features, modality -> (n, F_raw) with NaN = missing.

        Raises:
            InputError: a modality is missing or has another number of features.
        """
        x = np.concatenate([self.chosen(features, name) for name in self.modalities], axis=1)
        return self.scaled(x, slice(None))

    def chosen(self, features: Mapping[str, Array], name: str) -> Array:
        """Of a modality the columns that are read, (n, F) float64, NaN = missing."""
        width = self.modalities[name]
        if name not in features:
            raise InputError("the modality is missing", where=f"modality {name}")
        x = np.asarray(features[name])
        if x.ndim != 2 or x.shape[1] != width:
            raise InputError(
                f"{x.shape[-1]} features, but the model was trained on {width}", where=f"modality {name}"
            )
        x = with_indicators(x, self._indicated[name]) if len(self._indicated[name]) else x
        return np.asarray(x[:, self.arrays[f"columns/{name}"]].astype(np.float64))

    def scaled(self, x: Array, columns: slice) -> Tensor:
        """Some columns of the input, scaled."""
        shift, inverse, missing = (
            self.arrays[f"feature/{name}"][..., columns] for name in ("shift", "inverse", "missing")
        )
        x = (x - shift) * inverse
        x = np.where(np.isnan(x), missing, np.clip(x, -CLIP, CLIP))
        return torch.from_numpy(x).to(self.dtype)

    def present(self, features: Mapping[str, Array]) -> Tensor:
        """Which modalities each row has, (modalities, n): False where all values of one are NaN."""
        found = [np.logical_not(np.isnan(np.asarray(features[name])).all(1)) for name in self.modalities]
        return torch.from_numpy(np.stack(found))

    def predict(self, features: Mapping[str, Array], distances: bool = False) -> dict[str, Array]:
        """Predict new rows: task -> (n, width) float32, as in ``contracts.PREDICTIONS``.

        The silhouettes of a clustering task are among the given rows; with ``distances`` the distance to the
        centre of its cluster, of which no other row is a part, takes their place.

        Raises:
            InputError: a modality is missing or has another number of features.
        """
        return self.predict_scaled(self.standardise(features), self.present(features), distances)

    @torch.inference_mode()
    def attention(self, features: Mapping[str, Array]) -> Array:
        """How much each task attends to each other, row by row.

        Args:
            features: as :meth:`predict` takes them.

        Shape:
            (n, T, T) float64: entry (u, t) is the weight of task u in task t, in the order of
            :attr:`positions`; summing to 1 over u.

        Raises:
            InputError: a modality is missing or has another number of features.
        """
        x, present = self._filled(self.standardise(features), self.present(features))
        parts = []
        for a in range(0, len(x), self.batch):
            part = slice(a, a + self.batch)
            encodings = self.network.encode(x[None, part], present=present[None, :, part])
            parts.append(self.network.attend(encodings)[1][0].permute(2, 0, 1))
        return np.asarray(torch.cat(parts).double().numpy())

    def _filled(self, x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled features, those of absent modalities as the network meets them."""
        centre = torch.from_numpy(self.arrays["feature/missing"]).to(self.dtype)
        widths = [item.features for item in self.network.architecture.inputs]
        return replaced(x[None], present[None], widths, centre)[0], present

    @torch.inference_mode()
    def predict_scaled(self, x: Tensor, present: Tensor, distances: bool = False) -> dict[str, Array]:
        """The same of scaled features.

        Args:
            x: (n, F), of :meth:`standardise`.
            present: (modalities, n); where it is False a modality counts as absent, whatever ``x`` holds.
            distances: see :meth:`predict`.
        """
        x, present = self._filled(x, present)
        raw: dict[str, list[Tensor]] = {task: [] for task in self.positions}
        for a in range(0, len(x), self.batch):
            part = slice(a, a + self.batch)
            seen = x[None, part]
            self.decode(self.network.encode(seen, present=present[None, :, part]), seen, raw)
        return self.predictions(raw, distances)

    def decode(self, encodings: list[Tensor], seen: Tensor, raw: dict[str, list[Tensor]]) -> None:
        """Add the tasks' raw outputs to ``raw``, (n, outputs) each; of clustering tasks the embedding."""
        attended, _ = self.network.attend(encodings)
        for index, span in enumerate(self.network.spans):
            if span.kind.clusters:
                out = attended[0, span.start : span.stop].mT
            else:
                out = self.network.raw(attended[:, span.start : span.stop], index, seen)
            for p in range(span.count):
                raw[self.positions[span.start + p]].append(out[p])

    def predictions(self, raw: Mapping[str, list[Tensor]], distances: bool) -> dict[str, Array]:
        """Predictions of all tasks from their raw outputs."""
        predictions = {}
        for span in self.network.spans:
            for p in range(span.start, span.stop):
                task = self.positions[p]
                value = torch.cat(raw[task]) if raw[task] else torch.zeros(0, max(1, span.outputs))
                if span.kind.clusters:
                    value = self._clusters(task, value.double(), distances)
                elif span.kind.timed:
                    start = f"{TIMES}{task}/"
                    known = {k[len(start) :]: v for k, v in self.arrays.items() if k.startswith(start)}
                    value = _times(value, known)
                else:
                    value = span.kind.predict(value[None])[0]
                    if span.kind.standardise:
                        mean, deviation = self.arrays["target"][p]
                        value = value.double() * deviation + mean
                predictions[task] = value.float().numpy()
        return predictions

    def inputs(self) -> list[tuple[str, int]]:
        """Of each column of :meth:`standardise` its modality and the number of the raw feature.

        Numbers behind those of a modality's features are of indicators of missing values.
        """
        used = {name: np.flatnonzero(self.arrays[f"columns/{name}"]) for name in self.modalities}
        return [(name, int(j)) for name, columns in used.items() for j in columns]

    def slopes(self, x: Tensor, present: Tensor, task: str) -> Array:
        """How the prediction of a task changes with each input: derivatives, row by row.

        They are of log odds (of several classes: of the likeliest one), of the value in the unit of the
        label, or of the logarithm of the hazard. A clustering task has none.

        Args:
            x: scaled features, (n, F), of :meth:`standardise`.
            present: (modalities, n).
            task: its id.

        Shape:
            (n, F)
        """
        position = self.positions.index(task)
        index, span = next((i, s) for i, s in enumerate(self.network.spans) if s.start <= position < s.stop)
        x, present = self._filled(x, present)
        parts = []
        for a in range(0, len(x), self.batch):
            part = slice(a, a + self.batch)
            seen = x[None, part].detach().requires_grad_()
            attended, _ = self.network.attend(self.network.encode(seen, present=present[None, :, part]))
            out = self.network.raw(attended[:, span.start : span.stop], index, seen)[position - span.start]
            said = _moving(out, span.kind, self.arrays["target"][position])
            parts.append(torch.autograd.grad(said.sum(), seen)[0][0])
        return np.asarray(torch.cat(parts).numpy())

    def _clusters(self, task: str, latent: Tensor, distances: bool) -> Tensor:
        centres = torch.from_numpy(np.array(self.arrays[f"centres/{task}"]))
        if not len(latent):
            return torch.zeros(0, 2)
        # Clusters of few patients have the centre of another one (`training.scoring`). Of two as near it is
        # the first, and not what rounding says, which differs with the rows beside.
        found = squared_distances(latent[None], centres[None].to(latent))
        cluster = found.float().argmin(2)
        near = found.gather(2, cluster[:, :, None])[:, :, 0]
        if distances:
            return torch.stack([cluster[0].double(), near[0].sqrt()], 1)
        valid = torch.ones_like(cluster, dtype=torch.bool)
        value = silhouettes(latent[None], cluster, valid, len(centres))
        return torch.stack([cluster[0].double(), value[0]], 1)


def _moving(raw: Tensor, kind: ProblemClass, target: Array) -> Tensor:
    """One number per row of raw outputs (n, outputs), of which :meth:`FittedModel.slopes` are."""
    if kind.timed:
        # The logarithm of the cumulated hazard; of Cox's model the output is that.
        return raw[:, 0] if raw.shape[1] == 1 else F.softplus(raw).sum(1).log()
    if kind.standardise:
        return kind.predict(raw[None])[0][:, 0] * float(target[1])
    if raw.shape[1] == 1:
        return raw[:, 0]
    top = raw.argmax(1, keepdim=True)
    rest = raw.scatter(1, top, -torch.inf)
    return raw.gather(1, top)[:, 0] - rest.logsumexp(1)


def _times(raw: Tensor, known: Mapping[str, Array]) -> Tensor:
    """Predictions (n, 1 + SURVIVAL_TIMES) of a survival task from its raw output (n, outputs)."""
    if "baseline" in known:
        return torch.from_numpy(cox_prediction(raw[:, 0].double().numpy(), known["baseline"]))
    return discrete_prediction(raw[None], torch.from_numpy(np.array(known["weights"]))[None])[0]


def load_model(path: Path, dtype: torch.dtype | None = None) -> FittedModel:
    """Rebuild a model from its safetensors file.

    Args:
        path: the file.
        dtype: as of :class:`FittedModel`.

    Raises:
        InputError: the file is absent, damaged, or no model of this package.
    """
    arrays, metadata = read_arrays(path)
    if "positions" not in metadata:
        raise InputError("the file holds no model of this package", where=str(path))
    return FittedModel(arrays, metadata, dtype)
