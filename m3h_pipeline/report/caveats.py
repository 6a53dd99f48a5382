"""What must be known beside the answer: what is not settled, not measured, or not to be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from m3h_pipeline.evaluation.claims import BETTER, DECIDED, NOTHING, OPEN, WORSE
from m3h_pipeline.evaluation.headline import claimed
from m3h_pipeline.inference.metrics import CHANCE
from m3h_pipeline.report.facts import comparable, counts_seeds, has_reference, surviving
from m3h_pipeline.report.gather import Gathered, Row
from m3h_pipeline.report.wording import counted, fixed, listed, metric_name

#: More outcomes than these are not named in a sentence.
IN_SENTENCE: Final = 4


def caveats(gathered: Gathered, rows: Sequence[Row], by: Mapping[str, Sequence[Row]]) -> list[str]:
    """Sentences.

    Args:
        rows: of the evaluation, controls too, without phenotypes.
        by: verdict -> rows of outcomes.
    """
    outcomes = [row for row in rows if not row["control"]]
    said = []
    if by[OPEN]:
        said.append(
            f"Not significant is no proof of no effect: of {counted(len(by[OPEN]), 'outcome')} a gain or a "
            "loss of the size that is named as detectable may have been missed one time in five by its own "
            "test, more often with the correction for all that were tested; smaller ones more often still."
        )
    if by[NOTHING]:
        names = listed([row["title"] for row in by[NOTHING]])
        why = (
            ""
            if counts_seeds(gathered)
            else ": with one seed an interval cannot count seeds, and nothing is claimed"
        )
        said.append(f"No comparison is defined for {names}{why}.")
    said += _against_references(gathered, outcomes)
    said += _of_companions(gathered)
    said += _of_controls([row for row in rows if row["control"]])
    if any(task.problem_class == "clustering" for task in gathered.learned.values()):
        said.append("Phenotypes are described, not tested: each silhouette is of its model's own space.")
    dropped = [task for task in gathered.tasks.values() if not task.learned]
    if dropped:
        names = listed([task.title for task in dropped])
        said.append(f"Could not be evaluated, and were left out: {names}.")
    said.append(
        "All of it is of patients of one source, held back at random: how the models do elsewhere, or later, "
        "these numbers do not say."
    )
    return said


def _against_references(gathered: Gathered, outcomes: Sequence[Row]) -> list[str]:
    """The selected network beside the strongest reference, by the verdicts on the test part."""
    tested = [row for row in outcomes if row["reference_verdict"] in (*DECIDED, OPEN)]
    if not tested:
        if not outcomes or any(has_reference(gathered, row["task"]) for row in outcomes):
            return []
        return ["No reference was learned: whether a simpler kind of model does as well is not known."]
    better, worse = (
        [row["title"] for row in tested if row["reference_verdict"] == one] for one in (BETTER, WORSE)
    )
    said = (
        f"Against the strongest reference the network is shown to be better for {len(better)} of "
        f"{counted(len(tested), 'outcome')}{_some(better)}, worse for {len(worse) or 'none'}{_some(worse)}"
    )
    left = len(tested) - len(better) - len(worse)
    return [said + (f"; for {left} it is not settled." if left else ".")]


def _some(names: Sequence[str]) -> str:
    return f" ({listed(names)})" if 0 < len(names) <= IN_SENTENCE else ""


def _of_companions(gathered: Gathered) -> list[str]:
    if not comparable(gathered):
        return []
    if not (found := surviving(gathered)):
        return ["No single companion's help or harm survives the correction for all pairs looked at."]
    beyond = any(row["excess"] == row["excess"] for row in found)
    return [
        "Help and harm of companions are measured out of fold, not on the test part"
        + (", and are what goes beyond companions with shuffled labels." if beyond else ".")
    ]


def _of_controls(controls: Sequence[Row]) -> list[str]:
    """What is claimed of outcomes of which nothing can be learned, and whether one is predicted at all."""
    if not controls:
        return []
    called = claimed(controls)
    names = listed([f"{row['title']} ({row['control']})" for row in called or controls])
    said = [
        f"Nothing is to be found for {names}: what is claimed of it is a false discovery."
        if called
        else f"Of the controls, where nothing is to be found, nothing is claimed: {names}."
    ]
    for row in controls:
        floor = CHANCE.get(row["metric"])
        arms = [arm for arm in ("single", "multi") if floor is not None and row[f"{arm}_low"] > floor]
        if arms:
            arm = max(arms, key=lambda one: float(row[one]))
            score = f"{metric_name(row['metric'])} {fixed(row[arm])}"
            ends = f"{fixed(row[f'{arm}_low'])} to {fixed(row[f'{arm}_high'])}"
            said.append(
                f"{row['title']} ({row['control']}) is predicted better than chance ({score}, {ends}). Of "
                "forty such controls one is by luck; else something leaks, and no score can be believed."
            )
    return said
