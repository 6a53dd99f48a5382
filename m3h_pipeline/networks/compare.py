"""The verb ``compare-networks``: networks and references in one table, out of fold and on the test part."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.contracts import NETWORK_COMPARISON, SCORES
from m3h_pipeline.evaluation.cohort import TEST, Cohort, load_cohort
from m3h_pipeline.evaluation.validation import read_references
from m3h_pipeline.files import read_table, replacing, write_table
from m3h_pipeline.inference.intervals import Interval, bounded
from m3h_pipeline.inference.metrics import Floats
from m3h_pipeline.inference.predictions import Key, wanted_predictions
from m3h_pipeline.networks.arms import Arm, arm, difference, score
from m3h_pipeline.search.scores import read_scores
from m3h_pipeline.tasks.assessed import read_tasks

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
    cohort = load_cohort(described, labels, split, samples, draws, seed)
    found: dict[str, dict[Name, Predictions]] = {task: {} for task in described}
    for name, folder in networks.items():
        for task, learned, predictions in network_predictions(folder, cohort):
            found[task][name, learned] = predictions
    for (task, model), predictions in read_references(baselines, cohort).items():
        found[task][model, REFERENCE] = {number: p[None] for number, p in predictions.items()}
    own = next(iter(networks))
    rows = [row for task in found for row in task_rows(cohort, task, found[task], own)]
    write_table(
        pa.Table.from_pylist(rows, NETWORK_COMPARISON), out / "comparison.parquet", NETWORK_COMPARISON
    )
    with replacing(out / "comparison.tsv") as path:
        path.write_text("\n".join(lines(rows, cohort)) + "\n", encoding="utf-8")


def network_predictions(folder: Path, cohort: Cohort) -> Iterator[tuple[str, str, Predictions]]:
    """Of every task of a network what it predicts, learned alone and together: (task, learned, predictions).

    A replicate that diverged in some fold is left out; a model without any is left out, and said.

    Raises:
        InputError, ContractError: a file is absent, unreadable, or lacks predictions.
    """
    paths = sorted((folder / "packs").glob("*.scores.parquet"))
    scores = read_scores(paths)
    table = pa.concat_tables([SCORES.empty_table(), *(read_table(path, SCORES) for path in paths)])
    wanted: dict[Key, tuple[str, int, int]] = {}
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


def task_rows(
    cohort: Cohort, task: str, models: Mapping[Name, Predictions], own: str
) -> Iterator[dict[str, Any]]:
    """Rows of contracts.NETWORK_COMPARISON of one task: by part, then model by model in the order given."""
    for part, numbers in (("validation", cohort.folds), ("test", [TEST])):
        units = cohort.informative(task, numbers)
        arms = {
            name: arm(cohort, task, {n: predictions[n] for n in numbers})
            for name, predictions in models.items()
            if all(n in predictions for n in numbers)
        }
        candidates = ((AGAINST, REFERENCE), (own, ALONE), (own, TOGETHER))
        against = next((name for name in candidates if name in arms), None)
        for (network, learned), one in arms.items():
            other = None if against in (None, (network, learned)) else arms[against]
            yield _row(cohort, task, part, network, learned, one, other, units)


def _row(
    cohort: Cohort, task: str, part: str, network: str, learned: str, one: Arm, other: Arm | None, units: int
) -> dict[str, Any]:
    found = score(one, units)
    name = cohort.tasks[task].metric
    low, high = bounded(found, name)
    seeds = len(one.alone) if learned != REFERENCE else 0
    apart = Interval(*[float("nan")] * 6) if other is None else difference(one, other, units)
    numbers = {
        "value": found.estimate,
        "low": low,
        "high": high,
        "one_seed": float(one.alone.mean()) if seeds else float("nan"),
        "deviation": float(one.alone.std(ddof=1)) if seeds > 1 else float("nan"),
        "difference": apart.estimate,
        "difference_low": apart.low,
        "difference_high": apart.high,
    }
    return {
        "task": task,
        "network": network,
        "learned": learned,
        "part": part,
        "metric": name,
        "replicates": seeds,
        **{key: None if np.isnan(number) else number for key, number in numbers.items()},
    }


_HEADER = (
    *("task", "title", "metric", "model", "learned", "part", "score (95 % interval)"),
    *("mean of single seeds (deviation)", "less the reference (95 % interval)"),
)


def lines(rows: Sequence[Mapping[str, Any]], cohort: Cohort) -> Iterator[str]:
    """The table for people, tab-separated."""
    yield "\t".join(_HEADER)
    for row in rows:
        task = cohort.tasks[row["task"]]
        yield "\t".join(
            [
                *(row["task"], task.title, row["metric"], row["network"], row["learned"], row["part"]),
                _with_interval(row["value"], row["low"], row["high"]),
                _with_deviation(row["one_seed"], row["deviation"]),
                _with_interval(row["difference"], row["difference_low"], row["difference_high"], "+"),
            ]
        )


def _with_interval(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
    if value is None:
        return ""
    ends = "" if low is None or high is None else f" ({low:{sign}.3f}, {high:{sign}.3f})"
    return f"{value:{sign}.3f}{ends}"


def _with_deviation(value: float | None, deviation: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" + ("" if deviation is None else f" ({deviation:.3f})")
