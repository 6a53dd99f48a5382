"""What `m3h check` passes, runs: random small studies, valid ones and nearly valid ones.

Of each that passes Snakemake plans the workflow, and the first pack is trained by the functions that verbs
call. `M3H_EXAMPLES=200` tries more.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from m3h_pipeline.check import check_study
from m3h_pipeline.config import load_study
from m3h_pipeline.contracts import SCORES
from m3h_pipeline.errors import M3HError
from m3h_pipeline.files import read_json, read_table
from m3h_pipeline.search.plan import plan_round
from m3h_pipeline.training.pack import train_pack
from m3h_pipeline.training.spec import TrainingSettings
from tests.end_to_end.conftest import snakemake
from tests.end_to_end.in_process import Whole

#: More of them once in a while: M3H_EXAMPLES=200.
EXAMPLES = int(os.environ.get("M3H_EXAMPLES", "4"))

widths = st.lists(st.sampled_from([1, 2, 7, 16]), min_size=1, max_size=2)
rates = st.sampled_from([1e-12, 1e-4, 1e-3, 0.1, 10.0, 1e6, 1e300])
zero_or = st.sampled_from([0.0, 0.1, 1.0, 1e-30, 1e30])


def _some(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A section with any of these keys."""
    return st.fixed_dictionaries({}, optional=keys)


SECTIONS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "model": _some(
        encoder=widths,
        shared=widths,
        task=widths,
        projection=st.sampled_from([1, 8]),
        decoder=st.lists(st.sampled_from([1, 8]), max_size=2),
        temperature=st.sampled_from([1e-30, 0.01, 1.0, 1e30]),
        dropout=st.sampled_from([0.0, 0.5, 0.99]),
        input_dropout=st.sampled_from([0.0, 0.5, 0.99]),
        negative_slope=st.sampled_from([0.0, 0.2]),
        survival=_some(loss=st.sampled_from(["discrete", "cox"]), bins=st.sampled_from([2, 64])),
        attention=_some(alpha=zero_or, normalise=st.sampled_from(["max_abs", "published"])),
    ),
    "training": st.fixed_dictionaries(
        {"epochs": st.sampled_from([1, 2])},
        optional={
            "batch_sizes": st.lists(
                st.sampled_from([1, 2, 5, 64, 10**6]), min_size=1, max_size=2, unique=True
            ),
            "learning_rates": st.lists(rates, min_size=1, max_size=2, unique=True),
            "weight_decay": zero_or,
            "update": st.sampled_from(["sum", "sequential", "pcgrad"]),
            "early_stopping": _some(patience=st.just(1), fraction=st.sampled_from([0.01, 0.5])),
            "contrastive_weight": zero_or,
            "task_weights": st.dictionaries(st.sampled_from([*"0000", "absent"]), zero_or, max_size=1),
            "rare_below": st.sampled_from([0.0, 0.5]),
            "gradient_clip": st.sampled_from([1e-30, 1.0, 1e30]),
        },
    ),
    "compute": _some(
        precision=st.sampled_from(["float32", "tf32", "bfloat16", "float64"]),
        stack=st.sampled_from([1, 3]),
        memory_gb=st.sampled_from([1e-9, 4.0]),
    ),
    "split": st.fixed_dictionaries(
        {"folds": st.sampled_from([2, 2, 2, 3, 20])},
        optional={
            "test_fraction": st.sampled_from([0.01, 0.2, 0.2, 0.3, 0.9]),
            "stratify_by": st.lists(st.sampled_from([*"0000", "absent"]), max_size=1),
            "seed": st.integers(-3, 3),
        },
    ),
    "search": st.fixed_dictionaries(
        {"combinations_per_job": st.sampled_from([1, 2])},
        optional={"replicates": st.sampled_from([1, 2]), "max_size": st.sampled_from([1, 2, 9])},
    ),
    "tim": _some(mode=st.sampled_from(["pairs", "sampled", "exact"]), replicates=st.just(1)),
}

#: Cells of a column of features, drawn per column and row.
COLUMNS = ["normal", "constant", "two values", "huge", "tiny", "empty", "often empty", "one odd", "category"]


@st.composite
def studies(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], list[list[Any]]]:
    """A configuration, its tasks, and the table that it reads."""
    rows = draw(st.sampled_from([12, 100, 150, 200]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    table: dict[str, list[Any]] = {"id": [f"s{i}" for i in range(rows)]}
    table["who"] = [f"p{i // draw(st.sampled_from([1, 2]))}" for i in range(rows)]
    modalities: dict[str, Any] = {}
    blocks: dict[str, Any] = {}
    for number in range(draw(st.integers(1, 3))):
        name = f"part{number}"
        kinds = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=3))
        kinds += ["normal"] * draw(st.sampled_from([1, 1, 1, 0]))
        columns = [f"{name} {i} {{1}} $x" for i in range(len(kinds))]
        table |= {column: _cells(kind, rows, rng) for column, kind in zip(columns, kinds, strict=True)}
        pattern: dict[str, Any] = {"pattern": f"{name} .{{1}} .*"}
        categories = [column for column, kind in zip(columns, kinds, strict=True) if kind == "category"]
        chosen: dict[str, Any] = draw(st.sampled_from([pattern, {"columns": columns}]))
        blocks[name] = chosen | {"categorical": categories}
        encoder: dict[str, Any] = draw(st.sampled_from([{}, {}, {"hidden": [3]}, _TRANSCRIPTOME]))
        modalities[name] = {"sources": [name], **encoder}
        if draw(st.booleans()):
            modalities[name]["scaling"] = draw(st.sampled_from(["standard", "minmax", "robust"]))
    table |= _outcomes(rows, rng, draw(st.sampled_from([0.0, 0.3])))
    tasks = {name: {"title": name, "department": "Ward", **TASKS[name]} for name in TASKS}
    names = draw(st.lists(st.sampled_from(sorted(TASKS)), min_size=1, max_size=3, unique=True))
    study: dict[str, Any] = {
        "study": "small",
        "source": {
            "kind": "table",
            "files": [{"path": "table.csv", "id": "id"}],
            "patient_id": "who",
            "blocks": blocks,
            "columns": ["ill", "grade", "level", "days", "dead"],
        },
        "modalities": modalities,
        "tasks": {
            "definitions": ["tasks.yaml"],
            "include": names,
            "min_per_fold": draw(st.sampled_from([1, 2])),
            "permute": draw(st.sampled_from([[], [], names[:1]])),
        },
        **{name: draw(section) for name, section in SECTIONS.items()},
    }
    # "0" stands for a task of the study.
    weights, stratify = study["training"].get("task_weights", {}), study["split"].get("stratify_by", [])
    study["training"]["task_weights"] = {key.replace("0", names[0]): value for key, value in weights.items()}
    study["split"]["stratify_by"] = [key.replace("0", names[0]) for key in stratify]
    return study, {"tasks": tasks}, [list(table), *map(list, zip(*table.values(), strict=True))]


_TRANSCRIPTOME = {
    "encoder": "transcriptome",
    "transcriptome": {"layers": 1, "heads": 2, "width": 4, "feed_forward": 4},
}
TASKS: dict[str, dict[str, Any]] = {
    "ill": {
        "class": "binary",
        "criterion": {"kind": "values", "column": "ill", "positive": ["yes"], "negative": ["no"]},
    },
    "grade": {
        "class": "multiclass",
        "criterion": {
            "kind": "classes",
            "column": "grade",
            "classes": {"low": ["a"], "mid": ["b"], "high": ["c"]},
        },
    },
    "level": {"class": "regression", "unit": "g", "criterion": {"kind": "number", "column": "level"}},
    "time": {
        "class": "survival",
        "unit": "days",
        "criterion": {
            "kind": "time_to_event",
            "time": "days",
            "event": "dead",
            "observed": ["1"],
            "censored": ["0"],
        },
    },
    "groups": {"class": "clustering", "criterion": {"kind": "none", "clusters": 2}},
}


def _cells(kind: str, rows: int, rng: np.random.Generator) -> list[Any]:
    values = rng.normal(size=rows).round(4)
    made: dict[str, Any] = {
        "normal": values,
        "constant": ["3"] * rows,
        "two values": (values > 0).astype(int),
        "huge": values * 1e37,
        "tiny": values * 1e-40,
        "empty": [""] * rows,
        "often empty": [value if rng.random() < 0.2 else "" for value in values],
        "one odd": [*["3"] * (rows - 1), "4"],
        "category": rng.choice(["x", "y", "z"], rows),
    }
    return list(made[kind])


def _outcomes(rows: int, rng: np.random.Generator, missing: float) -> dict[str, list[Any]]:
    scale = 10.0 ** rng.integers(-30, 15)
    columns = {
        "ill": rng.choice(["yes", "no"], rows, p=[0.3, 0.7]),
        "grade": rng.choice(["a", "b", "c"], rows),
        "level": rng.normal(size=rows) * scale,
        "days": rng.integers(1, 300, rows),
        "dead": rng.integers(0, 2, rows),
    }
    return {
        name: ["" if rng.random() < missing else value for value in values.tolist()]
        for name, values in columns.items()
    }


def _checked(folder: Path, drawn: tuple[dict[str, Any], dict[str, Any], list[list[Any]]]) -> str | None:
    """Write a study and check it: None, or what is said against it."""
    study, tasks, rows = drawn
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (folder / "tasks.yaml").write_text(yaml.safe_dump(tasks))
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    try:
        check_study(folder / "study.yaml", io.StringIO())
    except M3HError as error:
        return error.what
    return None


def _train_the_first_pack(folder: Path) -> list[str]:
    """The stages up to the first pack, by the functions of their verbs; the status of each fit."""
    study = load_study(folder / "study.yaml")
    whole = Whole(study, folder / "stages")
    whole.prepare()
    plan, per_job = folder / "stages/plan.json", study.search.combinations_per_job
    assert per_job is not None
    plan_round(1, whole.tasks, [], plan, study.search, study.tim, study.training, study.split.folds, per_job)
    first = min(read_json(plan)["packs"])
    train_pack(
        plan,
        first,
        whole.cohort,
        whole.labels,
        whole.split,
        folder / "stages/store",
        folder / "stages/scores.parquet",
        folder / "stages/predictions.parquet",
        TrainingSettings(study.model, study.training, study.compute, study.modalities, study.seed),
    )
    return list(read_table(folder / "stages/scores.parquet", SCORES, ["status"]).column(0).to_pylist())


# A learning rate of a million makes predictions of 1e36, of which some numbers are undefined: no failure.
@pytest.mark.filterwarnings("default::RuntimeWarning")
@pytest.mark.study
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
@given(studies())
def test_what_check_passes_runs(
    programs: Path, drawn: tuple[dict[str, Any], dict[str, Any], list[list[Any]]]
) -> None:
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        patch.chdir(folder)
        refused = _checked(folder, drawn)
        event("passed" if refused is None else f"refused: {refused.splitlines()[0][:60]}")
        if refused is not None:
            return
        statuses = _train_the_first_pack(folder)
        assert statuses
        event("every fit diverged" if set(statuses) != {"ok"} else "trained")
        done = snakemake(folder, "--dry-run", "--configfile", "study.yaml", programs=programs)
        assert done.status == 0, done.output[-4000:]
        assert "plan_round" in done.output
