"""A bundle from its folder: checked as it is opened, and predictions from features.

Networks are computed in double precision and rounded to float32 at the end, as references are: what is
predicted of a row does not depend on the rows beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.bundle.models import (
    Models,
    blend_of,
    calibration_of,
    rounded,
    typical_share,
    width_of,
)
from m3h_pipeline.bundle.schema import DESCRIPTION, Candidate, Description, TaskModel, described
from m3h_pipeline.dotted import untrusted
from m3h_pipeline.errors import ConfigError, InputError, nearest
from m3h_pipeline.evaluation.choice.blend import blended
from m3h_pipeline.files import read_json
from m3h_pipeline.inference.scored import ensemble
from m3h_pipeline.references.kept.models import Kept
from m3h_pipeline.references.store import read_kept
from m3h_pipeline.training.fitted import FittedModel, load_model, read_arrays

Float64 = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
_COPY = "copy the whole folder again"
#: Source -> (n, F) float32 in the bundle's order of features, NaN = missing; None: nobody has the source.
Features = Mapping[str, Floats | None]


@dataclass(frozen=True)
class Prediction:
    """What a bundle says of some rows and one task.

    Attributes:
        raw: (n, width) as the model predicts: probability of the event; of each class; a value; log hazard
            and survival at the task's times; cluster and distance to its centre.
        calibrated: (n, width) recalibrated out of fold; of a clustering task ``raw``.
        interval: (n, 2) of a value, with the coverage that the bundle states; None: there is none.
        typical: (n,) of a clustering task, the share of training samples at least as far from their centre,
            in steps of 5 %; None of others.
    """

    raw: Float64
    calibrated: Float64
    interval: Float64 | None = None
    typical: Float64 | None = None


@dataclass(frozen=True)
class Sketch:
    """How the features of one source lie in the training part: histograms, nothing of fewer than 11 patients.

    Attributes:
        edges: (F, bins - 1) inner edges, increasing, NaN behind the last one; a value equal to an edge is
            above it.
        shares: (F, bins) share of the observed values in each bin; 0 behind the last one.
        missing: (F,) share of missing values; NaN: told by few.
        low, high: (F,) beyond which lie fewer than 11 patients, rounded outwards; NaN: told by few.
    """

    edges: Float64
    shares: Float64
    missing: Float64
    low: Float64
    high: Float64


class Bundle:
    """A bundle.

    Args:
        folder: that holds ``bundle.json``.
        description: what stands in it.
        trust: whether code that the bundle names by dotted path may be imported.

    Attributes:
        folder: where it lies.
        description: what stands in ``bundle.json``.
    """

    def __init__(self, folder: Path, description: Description, trust: bool = False) -> None:
        self.folder, self.description = folder, description
        self._trust = trust
        self._networks: dict[str, FittedModel] = {}
        self._references: dict[str, Kept] = {}

    @classmethod
    def load(cls, folder: Path | str, *, trust: bool = False) -> Bundle:
        """Open a bundle; every file is compared with the digest that ``bundle.json`` has of it.

        Args:
            folder: of the bundle.
            trust: import code of the user's own that it names; it could do anything.

        Raises:
            InputError: a file is absent or damaged, or the bundle is of a newer version.
            ConfigError: it names code of its own, and is not trusted.
        """
        folder = Path(folder)
        path = folder / DESCRIPTION
        if not path.exists():
            raise InputError(
                f"the folder holds no {DESCRIPTION}", where=str(folder), hint="name the folder of a bundle"
            )
        try:
            content = read_json(path)
        except InputError as error:
            # Whoever has a bundle has not its study, which could make the file again.
            raise InputError(error.what, where=error.where, hint=_COPY) from error
        description = described(content, str(path))
        for name, file in description.files.items():
            place = folder / name
            if ".." in Path(name).parts or Path(name).is_absolute():
                raise InputError("the bundle names a file outside its folder", where=name)
            if not place.exists():
                raise InputError("a file of the bundle is missing", where=str(place), hint=_COPY)
            if sha256(place) != file.sha256:
                what = "the file is damaged: it is not what was exported"
                raise InputError(what, where=str(place), hint=_COPY)
        if description.own_code and not trust:
            raise ConfigError(
                "the bundle names code of its own, which is not imported: it could do anything",
                where=", ".join(sorted(description.own_code)),
                hint="read that code, and say that you trust it if it may run here",
            )
        return cls(folder, description, trust)

    @property
    def tasks(self) -> dict[str, TaskModel]:
        """What it predicts."""
        return self.description.tasks

    @property
    def sources(self) -> dict[str, list[str]]:
        """Source -> names of its features, in the order in which they are given."""
        known = self.description.reading.sources
        return {
            name: list(known[name].names) for names in self.description.modalities.values() for name in names
        }

    @cached_property
    def sketches(self) -> dict[str, Sketch]:
        """How features lie in the training part, source by source."""
        found = {}
        for name, file in self.description.files.items():
            if file.holds == "features":
                arrays, _ = read_arrays(self.folder / name)
                for source in self.sources:
                    parts = {k: arrays[f"{source}/{k}"] for k in Sketch.__dataclass_fields__}
                    found[source] = Sketch(**parts)
        return found

    def predict_features(
        self, features: Features, tasks: Sequence[str] | None = None, *, candidate: str | None = None
    ) -> dict[str, Prediction]:
        """Predict rows from features; no row has a part in what is predicted of another.

        Args:
            features: of every source; None, or left out: nobody has it, which counts as missing values.
            tasks: which; None: all.
            candidate: of each of the tasks, in the place of the chosen one; it is not recalibrated.

        Returns:
            Task -> predictions, (n, width) float64 each.

        Raises:
            InputError: a source is unknown, has another number of features or rows, or there are none at all;
                a task or candidate is unknown.
        """
        whole, n = self.checked(features)
        names = list(self.tasks) if tasks is None else list(tasks)
        for name in names:
            if name not in self.tasks:
                raise InputError(f"the bundle has no task `{name}`; " + nearest(name, self.tasks))
        return self.predictions(_Rows(self, whole, n), names, candidate)

    def predictions(
        self, models: Models, tasks: Sequence[str], candidate: str | None = None
    ) -> dict[str, Prediction]:
        """Predictions from what the models say: blended and recalibrated.

        Args:
            models: what each says.
            tasks: which, all known.
            candidate: as of :meth:`predict_features`.

        Raises:
            InputError: a candidate is unknown, or a model is not one of its task.
        """
        found = {}
        for name in tasks:
            task = self.tasks[name]
            which = candidate or task.chosen
            if which not in task.candidates:
                raise InputError(
                    f"the bundle has no candidate `{which}` of task `{name}`; "
                    + nearest(which, task.candidates)
                )
            found[name] = self._prediction(task, self._candidate(name, which, models), candidate is None)
        return found

    def checked(self, features: Features) -> tuple[dict[str, Floats], int]:
        """Features of every source, those that are left out missing; and how many rows there are.

        Raises:
            InputError: as :meth:`predict_features`.
        """
        for name in features:
            if name not in self.sources:
                raise InputError(f"the bundle has no source `{name}`; " + nearest(name, self.sources))
        rows = {len(x) for x in features.values() if x is not None}
        if len(rows) != 1:
            what = "no source has rows" if not rows else "the sources have different numbers of rows"
            raise InputError(what, where=str(self.folder))
        n = rows.pop()
        whole: dict[str, Floats] = {}
        for name, columns in self.sources.items():
            given = features.get(name)
            x = np.full((n, len(columns)), np.nan) if given is None else np.asarray(given)
            if x.ndim != 2 or x.shape[1] != len(columns):
                raise InputError(
                    f"{x.shape[-1]} features, but the bundle knows {len(columns)}",
                    where=f"source {name}",
                    hint="give the bundle's features, in its order",
                )
            if np.isinf(x).any():
                raise InputError("infinite values", where=f"source {name}", hint="use NaN for missing")
            whole[name] = x.astype(np.float32, copy=False)
        return whole, n

    def _candidate(self, task: str, name: str, models: Models) -> Float64:
        """What a candidate predicts, (n, width)."""
        one: Candidate = self.tasks[task].candidates[name]
        kind = self.tasks[task].problem_class
        if one.kind == "blend":
            assert one.blend is not None
            members = [self._candidate(task, member, models) for member in one.members]
            return rounded(blended(kind, blend_of(one.blend), members))
        if one.kind == "reference":
            found = models.reference(one.files[0])
        else:
            found = ensemble(np.stack([models.network(file)[task] for file in one.files]), kind)
        if found.shape != (models.n, width_of(self.tasks[task])):
            raise InputError(f"the model is not one of task `{task}`", where=one.files[0], hint=_COPY)
        return rounded(found)

    def attention_of(self, file: str, features: Features) -> dict[tuple[str, str], Float64]:
        """What one network's tasks attend to: (attended, attending) -> (n,).

        Args:
            file: its name in ``description.files``.
            features: as :meth:`predict_features` takes them.

        Raises:
            InputError: as :meth:`predict_features`.
        """
        whole, _ = self.checked(features)
        network = self.network(file)
        weights = network.attention(self.modalities_of(whole))
        order = list(enumerate(network.positions))
        return {(other, task): weights[:, u, t] for u, other in order for t, task in order}

    def modalities_of(self, features: Mapping[str, Floats]) -> dict[str, Floats]:
        """Modality -> (n, F) features of its sources, beside one another."""
        return {
            name: np.concatenate([features[source] for source in sources], axis=1)
            for name, sources in self.description.modalities.items()
        }

    def network(self, file: str) -> FittedModel:
        """A trained network of the bundle, in double precision.

        Args:
            file: its name in ``description.files``.
        """
        if file not in self._networks:
            import torch

            with contextlib.nullcontext() if self._trust else untrusted():
                self._networks[file] = load_model(self.folder / file, torch.float64)
        return self._networks[file]

    def reference(self, file: str) -> Kept:
        """A reference model of the bundle.

        Args:
            file: its name in ``description.files``.
        """
        if file not in self._references:
            self._references[file] = read_kept(self.folder / file)
        return self._references[file]

    def _prediction(self, task: TaskModel, raw: Float64, calibrate: bool) -> Prediction:
        kind = task.problem_class
        if kind == "clustering":
            return Prediction(raw, raw, typical=typical_share(task, raw[:, 1]))
        if not calibrate or task.calibrator is None:
            return Prediction(raw, raw)
        calibrated = rounded(calibration_of(task)(raw))
        interval = None
        if task.interval is not None:
            half = task.interval.half_width
            interval = np.concatenate([calibrated - half, calibrated + half], axis=1)
        return Prediction(raw, calibrated, interval)


class _Rows:
    """What models say of whole rows; each is asked once.

    Args:
        bundle: whose models.
        features: of every source.
        n: how many rows.
    """

    def __init__(self, bundle: Bundle, features: Mapping[str, Floats], n: int) -> None:
        self.n = n
        self._bundle, self._features = bundle, features
        self._said: dict[str, dict[str, Float64]] = {}

    def network(self, file: str) -> dict[str, Float64]:
        if file not in self._said:
            modalities = self._bundle.modalities_of(self._features)
            found = self._bundle.network(file).predict(modalities, distances=True)
            self._said[file] = {task: values.astype(np.float64) for task, values in found.items()}
        return self._said[file]

    def reference(self, file: str) -> Float64:
        return self._bundle.reference(file).predict(self._features)


def sha256(path: Path) -> str:
    """Of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
