"""The verb ``compare-networks``: networks and references in one table, out of fold and on the test part."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.contracts import NETWORK_COMPARISON, SCORES
from m3h_pipeline.disclosure.text import tsv
from m3h_pipeline.evaluation.validation import read_references
from m3h_pipeline.files import read_table, replacing, write_table
from m3h_pipeline.inference.intervals import UNDEFINED, Interval, Quantity, bounded, pooled_intervals
from m3h_pipeline.inference.metrics import Float64, Floats
from m3h_pipeline.inference.predictions import FitTask, wanted_predictions
from m3h_pipeline.inference.resampled import TEST, Cohort, load_cohort, part_seeds
from m3h_pipeline.inference.scored import difference, score, scored, scores_by_replicate
from m3h_pipeline.layout import NetworkFiles
from m3h_pipeline.search.scores import read_scores
from m3h_pipeline.tasks.assessed import Task, read_tasks

#: What a model was learned on: the task alone, all tasks together, or (references) nothing of the kind.
ALONE, TOGETHER, REFERENCE = "alone", "together", "reference"
#: The model that differences are taken from, where the study fits it; else the study's own network.
AGAINST = "linear"
#: (network or reference, what it was learned on)
Name = tuple[str, str]
#: Number of a fold, or of the test part -> predictions, (replicates, n, width).
Predictions = dict[int, Floats]


def compare_networks(
    networks: Mapping[str, Path],
    baselines: Sequence[Path],
    tasks: Path,
    labels: Path,
    split: Path,
    samples: Path,
    out: Path,
    draws: int,
    seed: int,
) -> None:
    """Write ``comparison.parquet`` (NETWORK_COMPARISON) and ``comparison.tsv``, the same for people.

    The hyper-parameters of a network and combination are those of its best mean score out of fold.

    Args:
        networks: name -> folder whose ``packs/`` hold its SCORES and PREDICTIONS; the study's own one first.
        baselines: BASELINE_PREDICTIONS, any number of files.
        tasks: ``labels/tasks.json``.
        labels: folder of the labels.
        split: the split file.
        samples: ``cohort/samples.parquet``.
        out: folder to write.
        draws: bootstrap draws of patients.
        seed: of the draws.

    Raises:
        InputError: a file is absent or unreadable, or the folder cannot be written.
        ContractError: a file does not follow its contract, or files do not fit each other.
    """
    described = read_tasks(tasks)
    cohort = load_cohort(described, labels, split, samples, draws, **part_seeds(seed))
    found: dict[str, dict[Name, Predictions]] = {task: {} for task in described}
    for name, folder in networks.items():
        for task, learned, predictions in network_predictions(folder, cohort):
            found[task][name, learned] = predictions
    for (task, model), predictions in read_references(baselines, cohort).items():
        found[task][model, REFERENCE] = {number: p[None] for number, p in predictions.items()}
    own = next(iter(networks))
    files = NetworkFiles(out)
    cells = [cell for task in found for cell in task_cells(cohort, task, found[task], own)]
    rows = table_rows(cells, cohort)
    write_table(
        pa.Table.from_pylist(rows, NETWORK_COMPARISON), files.comparison("parquet"), NETWORK_COMPARISON
    )
    with replacing(files.comparison("tsv")) as path:
        path.write_text(tsv(lines(rows, cohort)), encoding="utf-8")


def network_predictions(folder: Path, cohort: Cohort) -> Iterator[tuple[str, str, Predictions]]:
    """Of every task of a network what it predicts, learned alone and together: (task, learned, predictions).

    A replicate that diverged in some fold is left out; a model without any is left out, and said.

    Raises:
        InputError, ContractError: a file is absent, unreadable, or lacks predictions.
    """
    paths = sorted((folder / "packs").glob("*.scores.parquet"))
    scores = read_scores(paths)
    table = pa.concat_tables([SCORES.empty_table(), *(read_table(path, SCORES) for path in paths)])
    wanted: dict[FitTask, tuple[str, int, int]] = {}
    for combination in scores.combinations:
        setting = scores.setting(combination)
        if setting is None:
            sys.stderr.write(f"{folder.name}: every setting of `{combination}` has a fit that diverged\n")
            continue
        mine = table.filter(
            (pc.field("combination") == combination)
            & (pc.field("batch_size") == setting[0])
            & (pc.field("learning_rate") == setting[1])
        ).to_pylist()
        broken = {row["replicate"] for row in mine if row["status"] != "ok"}
        if broken:
            sys.stderr.write(f"{folder.name}: {len(broken)} replicate(s) of `{combination}` diverged\n")
        learned = TOGETHER if "+" in combination else ALONE
        wanted |= {
            (row["fit_key"], row["task"]): (learned, row["fold"], row["replicate"])
            for row in mine
            if row["replicate"] not in broken
        }
    rows = {key: len(cohort.parts[fold].rows) for key, (_, fold, _) in wanted.items()}
    files = [path.with_name(path.name.replace(".scores.", ".predictions.")) for path in paths]
    read: dict[tuple[str, str], dict[int, dict[int, Floats]]] = {}
    for key, values in wanted_predictions(files, rows, cohort.widths):
        learned, fold, replicate = wanted[key]
        read.setdefault((key[1], learned), {}).setdefault(fold, {})[replicate] = values
    for (task, learned), folds in sorted(read.items()):
        yield (
            task,
            learned,
            {
                fold: np.stack([values for _, values in sorted(by.items())])
                for fold, by in sorted(folds.items())
            },
        )


@dataclass(frozen=True)
class Cell:
    """A model of a task on a part.

    Attributes:
        task: its id.
        name: network or reference, and what it was learned on.
        part: ``validation`` or ``test``.
        score: of the model.
        apart: the same less that of the model that differences are taken from; None: this is it.
        by_seed: score of each replicate by itself; empty of a reference.
    """

    task: str
    name: Name
    part: str
    score: Quantity
    apart: Quantity | None
    by_seed: Float64


def task_cells(cohort: Cohort, task: str, models: Mapping[Name, Predictions], own: str) -> Iterator[Cell]:
    """The models of one task: by part, then in the order given.

    Args:
        cohort: labels, parts and drawn patients.
        task: its id.
        models: what each predicts; one that lacks a fold (or the test part) is left out of that part.
        own: the study's own network.
    """
    for part, numbers in (("validation", cohort.folds), ("test", [TEST])):
        units = cohort.informative(task, numbers)
        here = {
            name: {n: predictions[n] for n in numbers}
            for name, predictions in models.items()
            if all(n in predictions for n in numbers)
        }
        scores = {name: scored(cohort, task, predictions) for name, predictions in here.items()}
        candidates = ((AGAINST, REFERENCE), (own, ALONE), (own, TOGETHER))
        against = next((name for name in candidates if name in scores), None)
        for name, one in scores.items():
            apart = None if against in (None, name) else difference(one, scores[against], units)
            seeds = np.zeros(0) if name[1] == REFERENCE else scores_by_replicate(cohort, task, here[name])
            yield Cell(task, name, part, score(one, units), apart, seeds)


def table_rows(cells: Sequence[Cell], cohort: Cohort) -> list[dict[str, Any]]:
    """Rows of contracts.NETWORK_COMPARISON, in the order of ``cells``.

    The tasks of a model and part lend each other their variance between seeds.
    """
    tasks = [cohort.tasks[cell.task] for cell in cells]
    scores = _intervals(cells, [cell.score for cell in cells], tasks)
    apart = _intervals(cells, [cell.apart for cell in cells], tasks)
    return [_row(*columns) for columns in zip(cells, tasks, scores, apart, strict=True)]


def _intervals(
    cells: Sequence[Cell], quantities: Sequence[Quantity | None], tasks: Sequence[Task]
) -> list[Interval]:
    found = [UNDEFINED] * len(cells)
    groups: dict[tuple[Name, str], list[tuple[int, Quantity]]] = {}
    for i, (cell, quantity) in enumerate(zip(cells, quantities, strict=True)):
        if quantity is not None:
            groups.setdefault((cell.name, cell.part), []).append((i, quantity))
    for group in groups.values():
        each = pooled_intervals([quantity for _, quantity in group], [tasks[i].metric for i, _ in group])
        for (i, _), interval in zip(group, each, strict=True):
            found[i] = interval
    return found


def _row(cell: Cell, task: Task, found: Interval, apart: Interval) -> dict[str, Any]:
    low, high = bounded(found, task.metric)
    seeds = len(cell.by_seed)
    numbers = {
        "value": found.estimate,
        "low": low,
        "high": high,
        "one_seed": float(cell.by_seed.mean()) if seeds else float("nan"),
        "deviation": float(cell.by_seed.std(ddof=1)) if seeds > 1 else float("nan"),
        "difference": apart.estimate,
        "difference_low": apart.low,
        "difference_high": apart.high,
    }
    network, learned = cell.name
    return {
        "task": cell.task,
        "control": task.control,
        "network": network,
        "learned": learned,
        "part": cell.part,
        "metric": task.metric,
        "replicates": seeds,
        **{key: None if np.isnan(number) else number for key, number in numbers.items()},
    }


_HEADER = (
    *("task", "title", "control", "metric", "model", "learned", "part", "score (95 % interval)"),
    *("mean of single seeds (deviation)", "less the reference (95 % interval)"),
)


def lines(rows: Sequence[Mapping[str, Any]], cohort: Cohort) -> Iterator[Sequence[str]]:
    """The table for people, row by row."""
    yield _HEADER
    for row in rows:
        task = cohort.tasks[row["task"]]
        yield [
            *(row["task"], task.title, row["control"], row["metric"]),
            *(row["network"], row["learned"], row["part"]),
            _with_interval(row["value"], row["low"], row["high"]),
            _with_deviation(row["one_seed"], row["deviation"]),
            _with_interval(row["difference"], row["difference_low"], row["difference_high"], "+"),
        ]


def _with_interval(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
    if value is None:
        return ""
    ends = "" if low is None or high is None else f" ({low:{sign}.3f}, {high:{sign}.3f})"
    return f"{value:{sign}.3f}{ends}"


def _with_deviation(value: float | None, deviation: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" + ("" if deviation is None else f" ({deviation:.3f})")
