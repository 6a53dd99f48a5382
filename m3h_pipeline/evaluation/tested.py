"""The rows of the comparison on the test part: scores, differences and what may be said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from m3h_pipeline.evaluation.arms import Chosen
from m3h_pipeline.evaluation.claims import OWN_SPACES, Claim, Compared, claims
from m3h_pipeline.evaluation.contrast import Contrast, intervals
from m3h_pipeline.evaluation.shown import patients_of, shown_number
from m3h_pipeline.inference.intervals import UNDEFINED, Interval, bounded
from m3h_pipeline.inference.resampled import TEST, Cohort

Rows = list[dict[str, Any]]
_ARMS = ("single", "multi")
_QUANTITIES = (*_ARMS, "difference", "relative", "reference", "versus_reference")
#: What compares the arms, column by column.
_DIFFERENCES = ("difference", "relative", "versus_reference")


def evaluation_rows(
    chosen: Sequence[Chosen],
    contrasts: Mapping[str, Contrast],
    references: Mapping[str, str],
    cohort: Cohort,
    rate: float,
) -> Rows:
    """Rows of contracts.EVALUATION, in the order of ``chosen``.

    Args:
        chosen: the selection.
        contrasts: task -> its arms on the test part; a task without has no comparison.
        references: task -> name of the reference that its contrast holds.
        cohort: labels, parts and drawn patients.
        rate: the false discovery rate of the claims.
    """
    found = {name: intervals(contrasts.values(), name) for name in _QUANTITIES}

    def of(name: str, task: str) -> Interval:
        return found[name].get(task, UNDEFINED)

    def judged(difference: str, other: str) -> list[Claim]:
        return claims(
            [
                Compared(
                    of(difference, one.task),
                    of("multi", one.task),
                    of(other, one.task),
                    cohort.tasks[one.task].metric,
                    tested=one.task in references if other == "reference" else not one.alone,
                    seeds=one.task in contrasts and contrasts[one.task].replicates > 1,
                )
                for one in chosen
            ],
            rate,
        )

    rows: Rows = []
    both = zip(chosen, judged("difference", "single"), judged("versus_reference", "reference"), strict=True)
    for one, claim, versus in both:
        task = cohort.tasks[one.task]
        observed, unit = ~np.isnan(cohort.observed(one.task, TEST)), cohort.parts[TEST].unit
        row: dict[str, Any] = {
            "task": one.task,
            "title": task.title,
            "department": task.department,
            "problem_class": task.problem_class,
            "metric": task.metric,
            "combination": one.combination,
            "control": task.control,
            "verdict": claim.verdict,
            "p": claim.p,
            "q": claim.q,
            "detectable": claim.detectable,
            "reference": references.get(one.task),
            "reference_verdict": versus.verdict,
            "reference_p": versus.p,
            "reference_q": versus.q,
            "reference_detectable": versus.detectable,
            "n_samples": shown_number(int(observed.sum()), len(observed)),
            "n_patients": shown_number(patients_of(unit, observed), len(np.unique(unit))),
        }
        for name in (*_ARMS, *_DIFFERENCES):
            apart = name in _DIFFERENCES and task.metric in OWN_SPACES
            known = UNDEFINED if apart else of(name, one.task)
            ends = bounded(known, task.metric) if name in _ARMS else (known.low, known.high)
            row[name] = known.estimate
            row[f"{name}_low"], row[f"{name}_high"] = ends
        rows.append(row)
    return rows


def comparison_rows(
    rows: Rows,
    networks: Mapping[str, Mapping[str, Mapping[str, Interval]]],
    references: Mapping[str, Mapping[str, Mapping[str, Interval]]],
) -> Rows:
    """Rows of contracts.COMPARISON: by task, multi, single, then the references; validation, then test.

    Args:
        rows: of contracts.EVALUATION: both networks on the test part.
        networks: task -> arm -> ``validation`` -> score.
        references: task -> model -> part -> score.
    """
    found: Rows = []

    def add(row: Mapping[str, Any], model: str, part: str, value: float, ends: tuple[float, float]) -> None:
        numbers = dict(zip(("value", "low", "high"), (value, *ends), strict=True))
        found.append(
            {
                "task": row["task"],
                "model": model,
                "part": part,
                "metric": row["metric"],
                **{key: None if np.isnan(number) else number for key, number in numbers.items()},
            }
        )

    for row in rows:
        for model in ("multi", "single"):
            out_of_fold = networks.get(row["task"], {}).get(model, {}).get("validation", UNDEFINED)
            add(row, model, "validation", out_of_fold.estimate, bounded(out_of_fold, row["metric"]))
            add(row, model, "test", row[model], (row[f"{model}_low"], row[f"{model}_high"]))
        for model, parts in references.get(row["task"], {}).items():
            for part, score in parts.items():
                add(row, model, part, score.estimate, bounded(score, row["metric"]))
    return found
