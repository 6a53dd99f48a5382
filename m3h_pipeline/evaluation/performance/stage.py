"""The verb ``performance``: what every candidate does on the test part beyond its score, and in subgroups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from m3h_pipeline.config import Evaluation
from m3h_pipeline.contracts import CHOICE
from m3h_pipeline.contracts.reported import CONFUSION, OPERATING_POINTS, PERFORMANCE, SUBGROUPS
from m3h_pipeline.evaluation.arms import FinalFiles, read_finals
from m3h_pipeline.evaluation.choice.choose import final_candidates
from m3h_pipeline.evaluation.performance.operating import confusion_rows, operating_rows
from m3h_pipeline.evaluation.performance.rows import performance_rows
from m3h_pipeline.evaluation.performance.subgroups import subgroup_rows
from m3h_pipeline.evaluation.performance.task import AFTER, BEFORE, Recalibrated, recalibrated
from m3h_pipeline.files import read_table, write_table
from m3h_pipeline.inference.resampled import part_seeds
from m3h_pipeline.layout import EvaluationFiles
from m3h_pipeline.tasks.assessed import marked


@dataclass(frozen=True, kw_only=True)
class Sources(FinalFiles):
    """The results of a study that are read.

    Attributes:
        baselines: BASELINE_PREDICTIONS, any number of files.
        evaluation: folder of the evaluation, whose choice is read.
    """

    baselines: Sequence[Path]
    evaluation: Path


def measure_performance(
    sources: Sources, evaluation: Evaluation, quantiles: int, seed: int, out: Path, screen: TextIO
) -> None:
    """Measure every candidate of the choice on the test part.

    Writes into ``out`` ``performance.parquet`` (PERFORMANCE), ``subgroups.parquet`` (SUBGROUPS),
    ``operating_points.parquet`` (OPERATING_POINTS) and ``confusion.parquet`` (CONFUSION). Patients are drawn
    as in the rest of the evaluation; thresholds and recalibration are of predictions out of fold.

    Args:
        sources: the study.
        evaluation: draws, blends, thresholds and horizons.
        quantiles: risk quantiles of the calibration table, whose numbers readers know.
        seed: of the bootstrap.
        out: folder of the evaluation.
        screen: where to report.

    Raises:
        InputError: a file is absent or unreadable, or the folder cannot be written.
        ContractError: a file does not follow its contract, or files do not fit each other.
    """
    measured = list(_measured(sources, evaluation, seed))
    tasks = {one.task: one.candidates.cohort.tasks[one.task] for one in measured}
    performance = marked(performance_rows(measured, evaluation, quantiles), tasks)
    subgroups = marked(subgroup_rows(measured), tasks)
    points = marked(operating_rows(measured, evaluation, quantiles), tasks)
    taken = marked(confusion_rows(measured), tasks)
    files = EvaluationFiles(out)
    for path, schema, rows in (
        (files.performance, PERFORMANCE, performance),
        (files.subgroups, SUBGROUPS, subgroups),
        (files.operating_points, OPERATING_POINTS, points),
        (files.confusion, CONFUSION, taken),
    ):
        write_table(pa.Table.from_pylist(rows, schema=schema), path, schema)
    screen.write("".join(f"{line}\n" for line in said(performance, subgroups)))


def _measured(sources: Sources, evaluation: Evaluation, seed: int) -> Iterator[Recalibrated]:
    """What the candidates of every supervised task predict."""
    finals = read_finals(sources, evaluation.draws, part_seeds(seed))
    choice = {
        row["task"]: row["candidate"]
        for row in read_table(EvaluationFiles(sources.evaluation).table("choice"), CHOICE).to_pylist()
        if row["chosen"] and row["candidate"] != "chosen"
    }
    found = final_candidates(finals, sources.baselines, sources.evaluation, evaluation.blend)
    for task, candidates in found.items():
        yield recalibrated(candidates, choice.get(task))


def said(performance: Sequence[Mapping[str, Any]], subgroups: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the chosen models do for people: whom alerts find, and in which subgroup the score is another.

    Args:
        performance: rows of contracts.PERFORMANCE.
        subgroups: rows of contracts.SUBGROUPS.

    Examples:
        >>> row = {"task": "aki", "chosen": True, "state": "after", "rule": "top 5 %"}
        >>> rates = {"sensitivity": 0.25, "ppv": 0.5}
        >>> said([row | {"measure": name, "value": value} for name, value in rates.items()], [])
        ['aki: alerting the top 5 % finds 25 % of the events; 50 % of them have it']
        >>> said([row | {"measure": name, "value": None} for name in rates], [])  # few patients
        []
    """
    lines = []
    shares: dict[tuple[str, str], dict[str, float]] = {}
    for row in performance:
        if row["chosen"] and row["state"] == AFTER and (row["rule"] or "").startswith("top "):
            shares.setdefault((row["task"], row["rule"]), {})[row["measure"]] = row["value"]
    for (task, rule), rates in shares.items():
        if None in (rates.get("sensitivity"), rates.get("ppv")):
            continue
        found, right = (100 * rates[name] for name in ("sensitivity", "ppv"))
        lines.append(
            f"{task}: alerting the {rule} finds {found:.0f} % of the events; {right:.0f} % of them have it"
        )
    for row in subgroups:
        ends = row["gap_low"], row["gap_high"]
        if row["chosen"] and row["state"] == BEFORE and None not in ends and ends[0] * ends[1] > 0:
            what = row["measure"].replace("_", " ")
            lines.append(
                f"{row['task']}: {what} of {row['subgroup']} is {row['gap']:+.3f} against the rest "
                f"({ends[0]:+.3f} to {ends[1]:+.3f})"
            )
    return lines
