"""The arrays of a study, and how they are prepared for training on a fold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.config.model import Modality, Model
from m3h_pipeline.errors import ContractError, InputError, TaskError
from m3h_pipeline.features.indicators import indicated, with_indicators
from m3h_pipeline.features.scaling import Scaled, scaled_once, told_by_few
from m3h_pipeline.model.heads import ProblemClass, class_of, problem_class

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_COLUMNS = 256


@dataclass
class StudyData:
    """A study's features, labels and split, row-aligned.

    Attributes:
        features: modality -> (n, F) float32, NaN = missing; modalities in sorted order.
        labels: task -> (n,) float32, NaN = not observed; of survival tasks signed times
            (``coding.signed_time``).
        tasks: task -> its description, from the metadata of its labels.
        train: (n,) True in the training part.
        fold: (n,) 0..k-1 in the training part, -1 in the test part.
        names: modality -> names of its features, where known.
        patient: (n,) number of each row's patient, where known.
        vectors: modality -> fold (None: all of them) -> (F, width) vectors that its genes start from, NaN
            where a gene has none.
        indicated: modality -> numbers of the features whose indicators of missing values stand behind the
            others in ``features``; ``names`` has none of them.
    """

    features: dict[str, Float32Array]
    labels: dict[str, Float32Array]
    tasks: dict[str, dict[str, Any]]
    train: BoolArray
    fold: IntArray
    names: dict[str, list[str]] = field(default_factory=dict)
    patient: IntArray | None = None
    vectors: dict[str, dict[int | None, Float32Array]] = field(default_factory=dict)
    indicated: dict[str, IntArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.features = {name: self.features[name] for name in sorted(self.features)}
        n = len(self.train)
        for kind, arrays in (("modality", self.features), ("task", self.labels)):
            for name, array in arrays.items():
                if len(array) != n:
                    raise ContractError(f"{len(array)} rows, but the split has {n}", where=f"{kind} {name}")
                if np.isinf(array).any():
                    raise ContractError("infinite values", where=f"{kind} {name}", hint="use NaN for missing")
        for task, description in self.tasks.items():
            if description.get("problem_class") == "clustering" and np.isnan(self.labels[task]).all():
                # A clustering task has no labels: then it is about all samples.
                self.labels[task] = np.zeros(n, dtype=np.float32)

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.train)

    @cached_property
    def present(self) -> dict[str, BoolArray]:
        """Modality -> (n,) False where the modality is wholly missing."""
        return {name: np.logical_not(np.isnan(x).all(axis=1)) for name, x in self.features.items()}

    @cached_property
    def columns(self) -> dict[str, BoolArray]:
        """Modality -> (F,) which features are used: those not constant on the whole training part.

        A feature of which fewer than 11 patients differ from the rest is as good as constant, and its mean
        would tell of them.
        """
        used = {}
        for name, x in self.features.items():
            mask = used_features(x, self.train, self.patients)
            if not mask.any():
                raise InputError(
                    "no feature of the modality varies over the training samples, or only for a few patients",
                    where=f"modality {name}",
                    hint="check its sources, or take the modality out of `modalities`",
                )
            used[name] = mask
        return used

    @cached_property
    def scaled(self) -> Scaled:
        """The used features of all modalities side by side."""
        parts = [x[:, self.columns[name]] for name, x in self.features.items()]
        x = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0].copy()
        return scaled_once(x, np.flatnonzero(self.train))

    def feature_names(self, modality: str) -> list[str]:
        """Names of a modality's features; numbers where they are unknown."""
        width = self.features[modality].shape[1]
        return self.names.get(modality) or [str(i) for i in range(width)]

    def gene_vectors(self, modality: str, fold: int) -> Float32Array | None:
        """Vectors that the genes of a modality start from in fits of a fold, (F, width); None: random ones.

        Raises:
            ContractError: there are vectors, but none of this fold.
        """
        known = self.vectors.get(modality)
        if known is None:
            return None
        if None not in known and fold not in known:
            raise ContractError(f"no vectors of genes for fold {fold}", where=f"modality {modality}")
        return known[fold] if fold in known else known[None]

    def kind_of(self, task: str, model: Model) -> ProblemClass:
        """What a network learns a task as: its class, or the rate of a target that is never negative."""
        kind = class_of(self.tasks[task])
        if kind is not problem_class("regression") or model.regression.loss != "poisson":
            return kind
        y = self.labels[task][self.train]
        return problem_class("rate") if np.nanmin(y, initial=np.inf) >= 0 else kind

    @property
    def patients(self) -> IntArray:
        """(n,) number of each row's patient; without that knowledge every row is a patient of its own."""
        return np.arange(self.n) if self.patient is None else self.patient

    def training_rows(self, fold: int) -> IntArray:
        """Rows a fit of ``fold`` is trained on (-1: the whole training part)."""
        return np.flatnonzero(self.train & (self.fold != fold)) if fold >= 0 else np.flatnonzero(self.train)

    def scored_rows(self, fold: int) -> IntArray:
        """Rows a fit of ``fold`` is scored on (-1: the test part), in cohort order."""
        return np.flatnonzero(self.train & (self.fold == fold)) if fold >= 0 else np.flatnonzero(~self.train)

    @cached_property
    def features_digest(self) -> str:
        """SHA-256 of the features' values, per modality."""
        total = hashlib.sha256()
        for name, x in self.features.items():
            total.update(f"{name}:{x.shape}:".encode())
            total.update(np.ascontiguousarray(x).data)
        return total.hexdigest()

    @cached_property
    def split_digest(self) -> str:
        """SHA-256 of the parts and folds."""
        return _digest(self.train, self.fold.astype(np.int64))

    @cached_property
    def patient_digest(self) -> str:
        """SHA-256 of whose the rows are."""
        return _digest(self.patients.astype(np.int64))

    def vectors_digest(self, fold: int) -> str | None:
        """SHA-256 of the vectors that genes start from in fits of a fold; None: there are none."""
        if not self.vectors:
            return None
        if fold not in self._vectors_digests:
            found = [self.gene_vectors(name, fold) for name in sorted(self.vectors)]
            self._vectors_digests[fold] = _digest(*[array for array in found if array is not None])
        return self._vectors_digests[fold]

    @cached_property
    def _vectors_digests(self) -> dict[int, str]:
        return {}

    def label_digest(self, task: str) -> str:
        """SHA-256 of a task's labels and of what training reads of its description."""
        if task not in self._label_digests:
            description = self.tasks[task]
            what = [description.get(key) for key in ("problem_class", "metric", "clusters")]
            if description.get("own_class"):
                what.append(description["own_class"])
            what.append(len(description.get("classes") or []))
            self._label_digests[task] = _digest(self.labels[task]) + json.dumps(what)
        return self._label_digests[task]

    @cached_property
    def _label_digests(self) -> dict[str, str]:
        return {}


def used_features(x: Float32Array, train: BoolArray, patients: IntArray) -> BoolArray:
    """Which features are not constant on the training part, nor told by few patients.

    Args:
        x: (n, F), NaN = missing.
        train: (n,) True in the training part.
        patients: (n,) number of each row's patient.

    Shape:
        (F,)
    """
    mask = np.zeros(x.shape[1], dtype=bool)
    for a in range(0, x.shape[1], _COLUMNS):
        part = x[train, a : a + _COLUMNS]
        low = np.fmin.reduce(part, axis=0, initial=np.inf)
        high = np.fmax.reduce(part, axis=0, initial=-np.inf)
        mask[a : a + _COLUMNS] = (low < high) & ~told_by_few(part, patients[train])
    return mask


def _digest(*arrays: npt.NDArray[Any]) -> str:
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype}:{array.shape}:".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def load_study_data(
    cohort: Path,
    labels: Path,
    split: Path,
    tasks: Iterable[str],
    modalities: Mapping[str, Modality],
    grouped: bool = False,
    genes: Path | None = None,
    seed: int = 0,
) -> StudyData:
    """Read a study's arrays.

    Args:
        cohort: folder with ``features/<source>.parquet``.
        labels: folder with ``<task>.parquet``.
        split: the split file.
        tasks: whose labels to read.
        modalities: modality -> the sources it concatenates.
        grouped: also read whose the samples are, from ``samples.parquet``; for indicators they always are.
        genes: folder with ``<modality>.parquet`` of the modalities whose genes start from given vectors.
        seed: of the study; the labels of permuted companions are shuffled with it.

    Raises:
        InputError: a file is missing or unreadable.
        ContractError: a file does not follow its contract, or files disagree on the number of rows.
        TaskError: a task's labels carry no description.
    """
    # Files need libraries that training from arrays does not.
    from m3h_pipeline.contracts import SPLIT
    from m3h_pipeline.files import read_features, read_samples, read_table
    from m3h_pipeline.genes.vectors import read_vectors
    from m3h_pipeline.layout import CohortFiles
    from m3h_pipeline.split import patient_index
    from m3h_pipeline.tasks.permuted import read_task_labels

    table = read_table(split, SPLIT)
    train = np.asarray(table.column("part").to_numpy(zero_copy_only=False) == "train")
    fold = table.column("fold").to_numpy().astype(np.int64)
    features, names = {}, {}
    for name, modality in modalities.items():
        parts, labels_of = [], []
        for source in modality.sources:
            x, columns = read_features(CohortFiles(Path(cohort)).features(source))
            parts.append(x)
            labels_of += columns
        if len({len(x) for x in parts}) > 1:
            raise ContractError("its sources have different numbers of rows", where=f"modality {name}")
        features[name] = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        names[name] = labels_of
    names_of = patient = None
    if grouped or any(modality.indicators for modality in modalities.values()):
        samples = read_samples(CohortFiles(Path(cohort)).samples)
        if len(samples) != len(train):
            raise ContractError(f"{len(samples)} samples, but the split has {len(train)}", where=str(cohort))
        names_of = samples.column("patient_id").to_numpy(zero_copy_only=False)
        patient = patient_index(names_of).astype(np.int64)
    y, descriptions = {}, {}
    for task in tasks:
        y[task], descriptions[task] = read_task_labels(Path(labels), task, names_of, fold, seed)
        if "problem_class" not in descriptions[task]:
            raise TaskError("the labels carry no description of the task", where=f"{labels}, {task}")
    vectors, which = {}, {}
    for name, modality in modalities.items():
        if modality.indicators and patient is not None:
            which[name] = indicated(features[name], train, patient)
            features[name] = with_indicators(features[name], which[name])
        if modality.options is not None and modality.options.genes is not None:
            vectors[name] = read_vectors(Path(genes or ".") / f"{name}.parquet", names[name])
    return StudyData(features, y, descriptions, train, fold, names, patient, vectors, which)
