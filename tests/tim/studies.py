"""Made-up studies with predictions: labels, patients, folds, and fits whose quality a test decides."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline.coding import is_permuted, labelled_by
from m3h_pipeline.config import Search, Tim, Training
from m3h_pipeline.contracts import PREDICTIONS, SCORES, SPLIT, TIM, combination_key, samples_schema
from m3h_pipeline.files import read_table, write_json, write_labels, write_table
from m3h_pipeline.inference.metrics import metric
from m3h_pipeline.search.plan import plan_round
from m3h_pipeline.tasks.assessed import read_tasks
from m3h_pipeline.tasks.permuted import permuted_companions, permuted_labels
from m3h_pipeline.tim.estimate import compute_tim
from m3h_pipeline.tim.plan import plan_tim
from tests.search.studies import ONE_SETTING, Score, fit_key, fits_of

Array = npt.NDArray[np.float32]
#: (combination, task, replicate, fold, setting, rows) -> predictions (rows, width), or None: diverged.
Predict = Callable[[tuple[str, ...], str, int, int, tuple[int, float], npt.NDArray[np.intp]], Array | None]
SEED = 11


def generator(*key: Any) -> np.random.Generator:
    """A generator that depends on its key only."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


@dataclass
class Study:
    """A study on disk.

    Attributes:
        folder: where it lies.
        labels: task -> (n,) labels.
        patient: patient of each sample.
        fold: fold of each sample, -1 = test part.
        controls: the rows of permuted companions of the last table.
    """

    folder: Path
    labels: dict[str, Array]
    patient: npt.NDArray[np.intp]
    fold: npt.NDArray[np.int16]
    controls: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    _permuted: dict[str, Array] = field(default_factory=dict)

    @property
    def tasks(self) -> Path:
        return self.folder / "tasks.json"

    def label(self, task: str) -> Array:
        """Labels of a task or of a permuted companion."""
        if not is_permuted(task):
            return self.labels[task]
        if task not in self._permuted:
            names = [f"p{i}" for i in self.patient]
            self._permuted[task] = permuted_labels(
                self.labels[labelled_by(task)], names, self.fold, SEED, task
            )
        return self._permuted[task]

    def plan(self, settings: Tim, training: Training = ONE_SETTING) -> list[Path]:
        """Rounds 1 and 2 of a search and what TIM adds: the plans."""
        search = Search(max_size=2)
        folds = int(self.fold.max()) + 1
        plans = [self.folder / f"{name}.json" for name in ("one", "two", "tim")]
        plan_round(1, self.tasks, [], plans[0], search, settings, training, folds)
        one = self._scores(plans[0], lambda *_: 0.5)
        plan_round(2, self.tasks, [one], plans[1], search, settings, training, folds)
        two = self._scores(plans[1], lambda *_: 0.5)
        plan_tim(self.tasks, [one, two], plans[2], search, settings, training, folds, SEED)
        return plans

    def _scores(self, plan: Path, value: Callable[..., float | None]) -> Path:
        from tests.search.studies import write_scores

        return write_scores(plan, plan.with_suffix(".planned.parquet"), value)

    def _scored_by(self, predict: Predict) -> Score:
        """What every fit scores, by which settings are left."""
        known = read_tasks(self.tasks)

        def score(
            combination: tuple[str, ...], task: str, replicate: int, fold: int, setting: tuple[int, float]
        ) -> float | None:
            at = np.flatnonzero(self.fold == fold)
            value = predict(combination, task, replicate, fold, setting, at)
            kind = known[labelled_by(task)].metric
            return None if value is None else metric(kind, self.label(task)[at], value)

        return score

    def train(self, plans: Sequence[Path], predict: Predict) -> tuple[list[Path], list[Path]]:
        """Scores and predictions of every fit of the plans."""
        known = read_tasks(self.tasks)
        known |= permuted_companions(known, 20, SEED)
        scores, predictions = [], []
        for plan in plans:
            rows: list[dict[str, Any]] = []
            said: list[dict[str, Any]] = []
            for combination, replicate, fold, setting in fits_of(plan, self._scored_by(predict)):
                at = np.flatnonzero(self.fold == fold)
                values = {t: predict(combination, t, replicate, fold, setting, at) for t in combination}
                ok = all(value is not None for value in values.values())
                for task, value in values.items():
                    key = fit_key(combination, replicate, fold, setting)
                    score = float("nan")
                    if ok and value is not None:
                        score = metric(known[task].metric, self.label(task)[at], value)
                        flat = np.ascontiguousarray(value, dtype=np.float32).reshape(-1)
                        width = value.shape[1] if value.ndim == 2 else 1
                        said.append({"fit_key": key, "task": task, "width": width, "prediction": flat})
                    rows.append(
                        {
                            "fit_key": key,
                            "combination": combination_key(combination),
                            "task": task,
                            "replicate": replicate,
                            "fold": fold,
                            "batch_size": setting[0],
                            "learning_rate": setting[1],
                            "metric": known[task].metric,
                            "value": None if np.isnan(score) else score,
                            "n_scored": len(at),
                            "epochs": 1,
                            "status": "ok" if ok else "diverged",
                            "seconds": 0.0,
                        }
                    )
            scores.append(plan.with_suffix(".scores.parquet"))
            predictions.append(plan.with_suffix(".predictions.parquet"))
            write_table(pa.Table.from_pylist(rows, schema=SCORES), scores[-1], SCORES)
            write_table(pa.Table.from_pylist(said, schema=PREDICTIONS), predictions[-1], PREDICTIONS)
        return scores, predictions

    def tim(
        self, scores: Sequence[Path], predictions: Sequence[Path], settings: Tim
    ) -> dict[tuple[str, str], dict[str, Any]]:
        """The table that ``compute_tim`` writes, by pair; rows of permuted companions in ``controls``."""
        out = self.folder / "tim.parquet"
        compute_tim(
            self.tasks,
            scores,
            predictions,
            self.folder / "labels",
            self.folder / "split.parquet",
            self.folder / "samples.parquet",
            out,
            settings,
            SEED,
        )
        rows = read_table(out, TIM).to_pylist()
        assert [(r["task"], r["companion"]) for r in rows] == sorted(
            (r["task"], r["companion"]) for r in rows
        )
        assert all(row["control"] == any(map(is_permuted, (row["task"], row["companion"]))) for row in rows)
        self.controls = {(r["task"], r["companion"]): r for r in rows if r["control"]}
        return {(row["task"], row["companion"]): row for row in rows if not row["control"]}

    def measure(
        self, predict: Predict, settings: Tim, training: Training = ONE_SETTING
    ) -> dict[tuple[str, str], dict[str, Any]]:
        """Plan, train and measure."""
        return self.tim(*self.train(self.plan(settings, training), predict), settings)


def make_study(
    folder: Path,
    labels: dict[str, Array],
    kinds: dict[str, tuple[str, str]] | None = None,
    samples_per_patient: float = 1.5,
    folds: int = 3,
    seed: int = 0,
) -> Study:
    """Write a study's files; a fifth of the patients is the test part.

    Args:
        folder: where.
        labels: task -> labels.
        kinds: task -> (problem class, metric); binary unless given.
        samples_per_patient: mean.
        folds: number.
        seed: of patients and folds.
    """
    n = len(next(iter(labels.values())))
    draw = np.random.default_rng(seed)
    patient = draw.integers(0, max(2, int(n / samples_per_patient)), n)
    part = draw.integers(-1, folds, patient.max() + 1).astype(np.int16)
    fold = part[patient]
    ids = [f"s{i:06d}" for i in range(n)]
    columns = {"sample_id": ids, "patient_id": [f"p{i}" for i in patient], "stay_id": [None] * n}
    write_table(pa.table(columns, schema=samples_schema([])), folder / "samples.parquet")
    parts = np.where(fold < 0, "test", "train")
    split = pa.table({"sample_id": ids, "part": parts, "fold": fold}, schema=SPLIT)
    write_table(split, folder / "split.parquet", SPLIT)
    described = {}
    for task, y in labels.items():
        kind, name = (kinds or {}).get(task, ("binary", "auroc"))
        classes = [f"c{int(c)}" for c in np.unique(y[~np.isnan(y)])] if kind == "multiclass" else []
        described[task] = {"problem_class": kind, "metric": name, "classes": classes, "status": "ok"}
        write_labels(y, folder / "labels" / f"{task}.parquet", {"id": task})
    write_json({"tasks": described}, folder / "tasks.json")
    return Study(folder, labels, patient, fold)


def binary_labels(names: Sequence[str], n: int, prevalence: float = 0.3, seed: int = 0) -> dict[str, Array]:
    """Independent binary labels."""
    draw = np.random.default_rng(seed)
    return {name: (draw.random(n) < prevalence).astype(np.float32) for name in names}


def noisy_model(
    study: Study,
    effect: dict[tuple[str, str], float] | None = None,
    seeds: float = 0.3,
    within: float = 0.5,
    salt: int = 0,
    cost: float = 0.0,
) -> Predict:
    """Predictions of binary tasks: separation times label, plus the sample's own noise, plus the fit's.

    Args:
        study: the study.
        effect: (task, companion) -> what the companion adds to the task's separation, which is 1 alone.
        seeds: deviation of the separation between fits of other seeds or tasks (moves the whole AUROC).
        within: deviation of what a fit changes from sample to sample.
        salt: another number, another study.
        cost: what every companion, whoever it is, takes off the separation.
    """
    n = len(study.patient)
    own: dict[str, npt.NDArray[np.float64]] = {}

    def predict(
        combination: tuple[str, ...],
        task: str,
        replicate: int,
        fold: int,
        setting: tuple[int, float],
        rows: npt.NDArray[np.intp],
    ) -> Array:
        draw = generator(salt, combination, task, replicate, setting)
        separation = float(not is_permuted(task)) + seeds * draw.normal()
        separation += sum((effect or {}).get((task, other), 0.0) for other in combination if other != task)
        separation -= cost * (len(combination) - 1)
        if task not in own:
            own[task] = generator(salt, "sample", task).normal(size=n)
        noise = own[task][rows] + within * generator(salt, combination, task, replicate, fold).normal(
            size=len(rows)
        )
        return np.asarray(separation * study.label(task)[rows] + noise, dtype=np.float32)

    return predict
