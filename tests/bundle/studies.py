"""A small finished study of all problem classes, and its bundle with whichever candidate is asked for."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import yaml

from m3h_pipeline.bundle.load import Bundle
from m3h_pipeline.bundle.making.export import Results, export_bundle
from m3h_pipeline.config import load_study
from m3h_pipeline.evaluation.arms import final_files, read_finals
from m3h_pipeline.evaluation.choice.candidates import Candidates
from m3h_pipeline.evaluation.choice.choose import final_candidates
from m3h_pipeline.files import read_features
from m3h_pipeline.inference.resampled import TEST, Cohort, load_cohort, part_seeds
from m3h_pipeline.layout import Layout
from m3h_pipeline.tasks.assessed import read_tasks
from tests.end_to_end.in_process import Whole

Float32 = npt.NDArray[np.float32]
N = 420
#: In every identifier and in every rare value; in no other text.
MARK = "zq7x"
SUPERVISED = ("sick", "grade", "stay", "death")
STUDY: dict[str, Any] = {
    "study": "carried",
    "source": {
        "kind": "table",
        "files": [{"path": "patients.csv", "id": "sample"}],
        "patient_id": "patient",
        "blocks": {
            "person": {"columns": ["age", "diag", "sex"], "categorical": ["diag", "sex"]},
            "lab": {"pattern": "b[0-9]"},
        },
        "columns": ["ill", "grade", "stay", "died", "days", "theirs"],
        "subgroups": {"ward": {"column": "ward"}, "sex": {"column": "sex", "values": {"f": "female"}}},
    },
    "modalities": {"tabular": {"sources": ["person"]}, "time_series": {"sources": ["lab"]}},
    "tasks": {"definitions": ["tasks.yaml"], "min_per_fold": 2},
    "split": {"folds": 2, "test_fraction": 0.4, "stratify_by": ["sick"]},
    "model": {"encoder": [8], "projection": 8, "shared": [8], "task": [8], "decoder": [8]},
    "training": {
        "epochs": 6,
        "min_steps": 1,
        "early_stopping": None,
        "batch_sizes": [64],
        "learning_rates": [1e-2],
    },
    "search": {"max_size": 2, "beam": 1},
    "tim": {"replicates": 1, "draws": 20},
    "evaluation": {
        "replicates": 2,
        "draws": 20,
        "clinical": ["person"],
        "given": {"their_model": {"sick": {"column": "theirs", "means": "event"}}},
    },
    "bundle": {"intended_use": "To be tested.", "licence": "CC0"},
}
CRITERIA: dict[str, dict[str, Any]] = {
    "sick": {
        "class": "binary",
        "criterion": {"kind": "values", "column": "ill", "positive": ["yes"], "negative": ["no"]},
    },
    "grade": {
        "class": "multiclass",
        "criterion": {
            "kind": "classes",
            "column": "grade",
            "classes": {"mild": ["1"], "severe": ["2"], "worst": ["3"]},
        },
    },
    "stay": {"class": "regression", "unit": "days", "criterion": {"kind": "number", "column": "stay"}},
    "death": {
        "class": "survival",
        "unit": "months",
        "criterion": {
            "kind": "time_to_event",
            "time": "days",
            "event": "died",
            "observed": ["1"],
            "censored": ["0"],
        },
    },
    "kind": {"class": "clustering", "criterion": {"kind": "none", "clusters": 3}},
}


def patients(seed: int = 3) -> pd.DataFrame:
    """Patients of whom some have two samples, some values are missing, and some categories are rare."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 4))
    risk = x[:, 0] + x[:, 1] + 0.7 * rng.normal(size=N)
    frame = pd.DataFrame({"sample": [f"{MARK}s{i:04d}" for i in range(N)]})
    frame["patient"] = [f"{MARK}p{i // 2 if i < 60 else i:04d}" for i in range(N)]
    frame["age"] = np.round(60 + 12 * x[:, 0], 3)
    for k in range(3):
        frame[f"b{k}"] = np.where(rng.random(N) < 0.1, np.nan, np.round(80 + 15 * x[:, k + 1], 3))
    frame["diag"] = np.where(
        np.arange(N) % 30 == 0, [f"{MARK}d{i}" for i in range(N)], np.where(risk > 0, "flu", "cough")
    )
    frame.loc[::17, "diag"] = None
    frame["sex"] = np.where(rng.random(N) < 0.45, "f", "m")
    frame["ward"] = np.where(
        np.arange(N) % 140 == 0, f"{MARK}ward", np.where(np.arange(N) % 3 == 0, "north", "south")
    )
    frame["ill"] = np.where(risk > 0.8, "yes", "no")
    frame["grade"] = np.digitize(risk, [-0.5, 1.0]) + 1
    frame["stay"] = np.round(np.exp(1 + 0.4 * risk) + rng.random(N), 2)
    frame["days"] = np.round(rng.exponential(20 * np.exp(-0.5 * risk)) + 1, 2)
    frame["died"] = (rng.random(N) < 0.7).astype(int)
    # Nothing beats it, and it cannot be carried.
    frame["theirs"] = 1 / (1 + np.exp(-8 * (risk - 0.8)))
    return frame


@dataclass
class Finished:
    """A finished study."""

    whole: Whole
    table: pd.DataFrame

    @property
    def results(self) -> Results:
        """Where its results lie."""
        whole, final = self.whole, self.whole.folder / "search/final/packs"
        tables = sorted((whole.folder / "search/baselines").glob("*.parquet"))
        return Results(
            cohort=whole.cohort,
            labels=whole.labels,
            tasks=whole.tasks,
            split=whole.split,
            selection=whole.folder / "selection.parquet",
            scores=sorted(final.glob("*.scores.parquet")),
            predictions=sorted(final.glob("*.predictions.parquet")),
            models=sorted((whole.folder / "final/models").iterdir()),
            baselines=tables,
            references=[whole.folder / "final/references" / path.stem for path in tables],
            evaluation=whole.folder / "evaluation",
        )

    def cohort(self) -> Cohort:
        """Labels and parts."""
        r = self.results
        tasks = read_tasks(r.tasks)
        samples = r.cohort / "samples.parquet"
        return load_cohort(tasks, r.labels, r.split, samples, 20, **part_seeds(self.whole.study.seed))

    def candidates(self) -> dict[str, Candidates]:
        """The candidates of every supervised task, as the evaluation has them."""
        layout = Layout(self.whole.folder)
        finals = read_finals(final_files(layout), 20, part_seeds(self.whole.study.seed))
        return final_candidates(finals, self.results.baselines, self.results.evaluation, True)

    def features(self, rows: npt.NDArray[np.intp]) -> dict[str, Float32]:
        """Features of some samples."""
        return {
            name: read_features(self.whole.cohort / f"features/{name}.parquet")[0][rows]
            for name in ("person", "lab")
        }

    def test_rows(self) -> npt.NDArray[np.intp]:
        """Numbers of the samples of the test part."""
        return self.cohort().parts[TEST].rows

    def export(self, out: Path) -> Bundle:
        """Its bundle."""
        s = self.whole.study
        export_bundle(
            self.results,
            out,
            io.StringIO(),
            study=s.study,
            seed=s.seed,
            modalities=s.modalities,
            evaluation=s.evaluation,
            purpose=s.bundle,
        )
        return Bundle.load(out)

    def export_of(self, name: str, out: Path, patch: pytest.MonkeyPatch) -> Bundle:
        """Its bundle where the choice fell on one candidate, where a task has it."""
        choose = Candidates.choose

        def chosen(candidates: Candidates, folds: Any) -> str | None:
            known = name in candidates.parts or (name == "blend" and candidates.blend_of(folds))
            return name if known else choose(candidates, folds)

        with patch.context() as inner:
            inner.setattr(Candidates, "choose", chosen)
            return self.export(out)


def finish(folder: Path, **changes: Mapping[str, Any]) -> Finished:
    """Run the study in a folder."""
    table = patients()
    table.to_csv(folder / "patients.csv", index=False)
    tasks = {k: {"title": k, "department": "Ward", **v} for k, v in CRITERIA.items()}
    (folder / "tasks.yaml").write_text(yaml.safe_dump({"tasks": tasks}))
    (folder / "study.yaml").write_text(yaml.safe_dump({**STUDY, **changes, "data": str(folder)}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        whole = Whole(load_study(folder / "study.yaml"), folder / "results")
        with redirect_stderr(io.StringIO()):
            whole.run()
    return Finished(whole, table)
