"""Made-up studies on disk: labels, patients, folds, and fits whose predictions a test decides."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline import contracts
from m3h_pipeline.coding import METRICS, signed_time
from m3h_pipeline.config import Evaluation, Search
from m3h_pipeline.contracts import combination_tasks
from m3h_pipeline.evaluation.evaluate import evaluate
from m3h_pipeline.files import read_table, write_json, write_labels, write_table
from m3h_pipeline.inference.metrics import metric
from m3h_pipeline.survival import cox_prediction, time_grid
from m3h_pipeline.tasks.assessed import Task

Floats = npt.NDArray[np.floating[Any]]
#: (combination key, task, replicate, fold, rows) -> predictions (rows, width), or None: diverged.
Predict = Callable[[str, str, int, int, npt.NDArray[np.intp]], Floats | None]
SETTING = (256, 1e-3)
CLASSES = ("none", "mild", "severe")
FOLDS = 3


def generator(*key: Any) -> np.random.Generator:
    """A generator that depends on its key only."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


@dataclass
class Study:
    """A study: one sample per row, ``patient`` numbers, folds (-1 = test part), labels of each task."""

    folder: Path
    tasks: dict[str, Task]
    labels: dict[str, npt.NDArray[np.float32]]
    patient: npt.NDArray[np.intp]
    fold: npt.NDArray[np.intp]
    sex: list[str | None]
    selected: dict[str, str]
    looked: dict[str, list[str]] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        return self.folder / name

    def write(
        self, predict: Predict, replicates: int = 3, search_replicates: Mapping[int, int] | None = None
    ) -> None:
        """Write every file that the evaluation reads.

        Args:
            predict: what each fit predicts.
            replicates: of the final fits.
            search_replicates: size of a combination -> its replicates in the search, 1 if not given.
        """
        n = len(self.fold)
        self._write_cohort(n)
        for task in self.tasks:
            self.looked.setdefault(task, sorted({task, self.selected[task]}, key=lambda k: k.count("+")))
        every = sorted({key for keys in self.looked.values() for key in keys})
        sizes = search_replicates or {}
        number = {key: sizes.get(len(combination_tasks(key)), 1) for key in every}
        search = self.fits("search", every, range(FOLDS), number, predict)
        final = sorted({*self.selected.values(), *self.tasks})
        self._write_fits("search", *search)
        self._write_fits(
            "final", *self.fits("final", final, range(-1, FOLDS), dict.fromkeys(final, replicates), predict)
        )
        value: dict[tuple[str, str], list[float]] = {}
        for row in search[0]:
            # A combination with a diverged fit has no score.
            score = float("nan") if row["value"] is None else row["value"]
            value.setdefault((row["combination"], row["task"]), []).append(score)
        mean = {place: float(np.mean(values)) for place, values in value.items()}
        self._write_selection(mean)
        self._write_attention(final, replicates)
        self._write_baselines()

    def _write_cohort(self, n: int) -> None:
        ids = {
            "sample_id": [f"s{i:05d}" for i in range(n)],
            "patient_id": [f"p{p:05d}" for p in self.patient],
            "stay_id": [None] * n,
            "sex": pa.array(self.sex).cast(pa.dictionary(pa.int32(), pa.string())),
        }
        schema = contracts.samples_schema(["sex"])
        write_table(pa.table(ids, schema=schema), self.path("samples.parquet"), schema)
        part = {
            "sample_id": ids["sample_id"],
            "part": ["train" if f >= 0 else "test" for f in self.fold],
            "fold": self.fold.astype(np.int16),
        }
        write_table(pa.table(part, schema=contracts.SPLIT), self.path("split.parquet"), contracts.SPLIT)
        described = {}
        for name, task in self.tasks.items():
            entry = {**vars(task), "classes": list(task.classes)}
            described[name] = entry
            write_labels(self.labels[name], self.path(f"labels/{name}.parquet"), entry)
        write_json({"tasks": described}, self.path("tasks.json"))

    def fits(
        self,
        stage: str,
        keys: Sequence[str],
        folds: Sequence[int],
        replicates: Mapping[str, int],
        predict: Predict,
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        scores, predictions = [], []
        for key in keys:
            for fold in folds:
                rows = np.flatnonzero(self.fold == fold)
                for replicate in range(replicates[key]):
                    members = combination_tasks(key)
                    found = {task: predict(key, task, replicate, fold, rows) for task in members}
                    ok = all(values is not None for values in found.values())
                    for task, values in found.items():
                        fit = f"{stage}/{key}/{fold}/{replicate}"
                        score = float("nan")
                        if ok and values is not None:
                            y = self.labels[task][rows]
                            if self.tasks[task].problem_class == "clustering":
                                y = np.zeros_like(y)
                            score = metric(self.tasks[task].metric, y, values)
                            flat = np.asarray(values, dtype=np.float32)
                            predictions.append(
                                {
                                    "fit_key": fit,
                                    "task": task,
                                    "width": flat.shape[1],
                                    "prediction": flat.ravel(),
                                }
                            )
                        scores.append(
                            {
                                "fit_key": fit,
                                "combination": key,
                                "task": task,
                                "replicate": replicate,
                                "fold": fold,
                                "batch_size": SETTING[0],
                                "learning_rate": SETTING[1],
                                "metric": self.tasks[task].metric,
                                "value": None if np.isnan(score) else score,
                                "n_scored": len(rows),
                                "epochs": 1,
                                "status": "ok" if ok else "diverged",
                                "seconds": 0.0,
                            }
                        )
        return scores, predictions

    def _write_fits(self, name: str, scores: list[dict[str, Any]], said: list[dict[str, Any]]) -> None:
        """Predictions are cut into two files, as packs are."""
        schema = contracts.SCORES
        write_table(pa.Table.from_pylist(scores, schema=schema), self.path(f"{name}.scores.parquet"), schema)
        for number, half in enumerate((said[::2], said[1::2])):
            table = pa.Table.from_pylist(half, schema=contracts.PREDICTIONS)
            write_table(table, self.path(f"{name}.predictions.{number}.parquet"), contracts.PREDICTIONS)

    def _write_selection(self, score: Mapping[tuple[str, str], float]) -> None:
        rows, looked = [], []
        for name, task in self.tasks.items():
            key = self.selected[name]
            rows.append(
                {
                    "task": name,
                    "control": task.control,
                    "problem_class": task.problem_class,
                    "metric": task.metric,
                    "combination": key,
                    "size": len(combination_tasks(key)),
                    "batch_size": SETTING[0],
                    "learning_rate": SETTING[1],
                    "score": score[key, name],
                    "single_batch_size": SETTING[0],
                    "single_learning_rate": SETTING[1],
                    "single_score": score[name, name],
                }
            )
            for one in self.looked[name]:
                value = score[one, name]
                looked.append(
                    {
                        "task": name,
                        "size": len(combination_tasks(one)),
                        "combination": one,
                        "score": None if np.isnan(value) else value,
                        "compared": None if np.isnan(value) else value,
                        "kept": True,
                        "left": False,
                    }
                )
        selection = pa.Table.from_pylist(rows, schema=contracts.SELECTION)
        write_table(selection, self.path("selection.parquet"), contracts.SELECTION)
        trajectory = pa.Table.from_pylist(looked, schema=contracts.TRAJECTORY)
        write_table(trajectory, self.path("trajectory.parquet"), contracts.TRAJECTORY)

    def _write_attention(self, keys: Sequence[str], replicates: int) -> None:
        rows = []
        for key in keys:
            members = combination_tasks(key)
            for replicate in range(replicates):
                for task in members:
                    for companion in members:
                        own = 0.9 - 0.1 * replicate
                        other = (1 - own) / max(len(members) - 1, 1)
                        rows.append(
                            {
                                "fit_key": f"final/{key}/-1/{replicate}",
                                "combination": key,
                                "replicate": replicate,
                                "task": task,
                                "companion": companion,
                                "weight": own if task == companion else other,
                            }
                        )
        table = pa.Table.from_pylist(rows, schema=contracts.FIT_ATTENTION)
        write_table(table, self.path("attention.parquet"), contracts.FIT_ATTENTION)

    def _write_baselines(self) -> None:
        for name, task in self.tasks.items():
            if task.problem_class == "clustering":
                continue
            rows = []
            for model in ("linear", "gradient_boosting"):
                # The linear model's last fold chose another setting than the whole training part.
                own = ["map"] if model == "linear" else []
                for purpose, fold in [("score", f) for f in range(-1, FOLDS)] + [(p, FOLDS - 1) for p in own]:
                    key = (model, fold, *own) if purpose == "map" else (model, fold)
                    values = noisy(self, name, 0.6, key, np.flatnonzero(self.fold == fold))
                    rows.append(
                        {
                            "task": name,
                            "model": model,
                            "purpose": purpose,
                            "setting": "C=0.1" if own and purpose == "score" and fold == FOLDS - 1 else "C=1",
                            "fold": fold,
                            "width": values.shape[1],
                            "prediction": values.astype(np.float32).ravel(),
                        }
                    )
            table = pa.Table.from_pylist(rows, schema=contracts.BASELINE_PREDICTIONS)
            write_table(table, self.path(f"baselines/{name}.parquet"), contracts.BASELINE_PREDICTIONS)

    def without(self, *tasks: str) -> Study:
        """The same study, which never had these tasks; scores over time take most of an evaluation."""
        for name in tasks:
            del self.tasks[name], self.labels[name], self.selected[name]
        return self

    def evaluate(
        self, draws: int = 200, quantiles: int = 5, out: str = "out", seed: int = 5, **changes: Any
    ) -> dict[str, list[dict[str, Any]]]:
        """Run the verb; its tables by name."""
        arguments: dict[str, Any] = {
            "selection": self.path("selection.parquet"),
            "trajectory": self.path("trajectory.parquet"),
            "scores": [self.path("final.scores.parquet")],
            "predictions": [self.path(f"final.predictions.{i}.parquet") for i in (0, 1)],
            "attention": [self.path("attention.parquet")],
            "baselines": sorted(self.path("baselines").glob("*.parquet")),
            "search_scores": [self.path("search.scores.parquet")],
            "search_predictions": [self.path(f"search.predictions.{i}.parquet") for i in (0, 1)],
            "tasks": self.path("tasks.json"),
            "labels": self.path("labels"),
            "split": self.path("split.parquet"),
            "samples": self.path("samples.parquet"),
            "out": self.path(out),
            "evaluation": Evaluation(draws=draws),
            "search": Search(),
            "quantiles": quantiles,
            "seed": seed,
        }
        evaluate(**(arguments | changes))
        schemas = {
            "evaluation": contracts.EVALUATION,
            "comparison": contracts.COMPARISON,
            "calibration": contracts.CALIBRATION,
            "roc": contracts.ROC,
            "agreement": contracts.AGREEMENT,
            "attention": contracts.ATTENTION,
            "optimism": contracts.OPTIMISM,
            "choice": contracts.CHOICE,
            "calibration_slopes": contracts.CALIBRATION_SLOPES,
            "survival": contracts.SURVIVAL,
            "kaplan_meier": contracts.KAPLAN_MEIER,
            "dynamic_auroc": contracts.DYNAMIC_AUROC,
        }
        return {
            name: read_table(self.path(out) / f"{name}.parquet", schema).to_pylist()
            for name, schema in schemas.items()
        }


def study(folder: Path, n: int = 900, selected: Mapping[str, str] | None = None, seed: int = 0) -> Study:
    """Five tasks, one of each class; patients with one to three samples, whose labels are alike."""
    rng = np.random.default_rng(seed)
    patient = np.sort(rng.integers(0, n // 2, n))
    fold = (np.arange(n // 2) % (FOLDS + 2) - 1)[patient]
    fold[fold == FOLDS] = -1  # two fifths of the patients are in the test part
    latent = rng.normal(size=n // 2)[patient] + 0.3 * rng.normal(size=n)
    labels = {
        "days": (10 + 3 * latent).astype(np.float32),
        "grade": np.digitize(latent, [-0.5, 1.0]).astype(np.float32),
        "ill": (latent > 1).astype(np.float32),
        "kind": np.full(n, np.nan, dtype=np.float32),
    }
    times = np.random.default_rng([seed, 1])
    hazard, censored = times.exponential(np.exp(-latent)), times.exponential(2.0, n)
    labels["relapse"] = signed_time(np.minimum(hazard, censored), hazard <= censored)
    for name in ("days", "grade", "ill"):
        labels[name][rng.random(n) < 0.2] = np.nan
    labels["relapse"][times.random(n) < 0.2] = np.nan
    kinds = {
        "days": "regression",
        "grade": "multiclass",
        "ill": "binary",
        "kind": "clustering",
        "relapse": "survival",
    }
    tasks = {
        name: Task(
            name,
            kind,
            METRICS[kind],
            name.capitalize(),
            "Ward",
            "d" if kind == "regression" else "",
            CLASSES if kind == "multiclass" else (),
        )
        for name, kind in kinds.items()
    }
    sex = [None if u < 0.1 else "female" if u < 0.5 else "male" for u in rng.random(n)]
    chosen = {
        "days": "days+ill",
        "grade": "grade",
        "ill": "ill+kind",
        "kind": "days+kind",
        "relapse": "ill+relapse",
    }
    return Study(folder, tasks, labels, patient, fold, sex, {**chosen, **(selected or {})})


def noisy(
    one: Study, task: str, quality: float, key: Any, rows: npt.NDArray[np.intp], shared: float = 0.8
) -> Floats:
    """Predictions that say ``quality`` times the label plus noise: shared by all models, and of ``key``."""
    described, y = one.tasks[task], one.labels[task][rows].astype(np.float64)
    common = generator("common", task, rows[0]).normal(size=(len(rows), 3))
    own = generator("own", task, key).normal(size=(len(rows), 3))
    noise = shared * common + (1 - shared) * own
    y = np.where(np.isnan(y), 0.0, y)
    if described.problem_class == "binary":
        return 1 / (1 + np.exp(-(quality * 2 * y[:, None] + noise[:, :1] - 1)))
    if described.problem_class == "multiclass":
        logits = quality * 2 * np.eye(3)[y.astype(int)] + noise
        return np.asarray(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    if described.problem_class == "survival":
        time = np.maximum(np.abs(y), 0.01)
        eta = -quality * np.log(time) + noise[:, 0]
        grid = time_grid(one.labels[task][one.fold >= 0])
        return cox_prediction(eta, 0.5 * grid)
    if described.problem_class == "regression":
        return (10 + quality * (y - 10) + noise[:, 0])[:, None]
    return np.column_stack([rows % 3, np.clip(0.3 * quality + 0.2 * noise[:, 0], -1, 1)])


def predictor(one: Study, multi: float = 1.0, single: float = 0.7, shared: float = 0.8) -> Predict:
    """Networks with a quality for combinations and one for tasks alone."""

    def predict(key: str, task: str, replicate: int, fold: int, rows: npt.NDArray[np.intp]) -> Floats:
        quality = multi if "+" in key else single
        return noisy(one, task, quality, (key, replicate, fold), rows, shared)

    return predict
