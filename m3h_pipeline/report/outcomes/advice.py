"""What to try when an outcome is predicted badly: rules on the numbers of its page, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from m3h_pipeline.evaluation.claims import BETTER, OPEN, WORSE
from m3h_pipeline.evaluation.participants.alike import TOLD
from m3h_pipeline.inference.metrics import CHANCE
from m3h_pipeline.report.blocks import Block, heading, points
from m3h_pipeline.report.facts import chosen
from m3h_pipeline.report.gather import Gathered, Row
from m3h_pipeline.report.outcomes.clustering import UNSTEADY
from m3h_pipeline.report.outcomes.said import called, excludes, interval, metric, number, one
from m3h_pipeline.report.wording import listed

#: With fewer events in the test part calibration and rates are hardly known (Collins et al., Statistics in
#: Medicine 2016; 35:214).
FEW_EVENTS: Final = 100
#: An interval of a score wider than this settles little.
WIDE: Final = 0.1
#: So many subgroups are named; of so many on it is said what chance does; the share of intervals of no gap
#: that lie below 0.
_NAMED: Final = 6
_MANY: Final = 10
_BELOW: Final = 0.025
#: Silhouettes of a latent of so few directions are large by that alone.
COLLAPSED: Final = 2.0


def advice_blocks(gathered: Gathered, task: str) -> list[Block]:
    """A list of what the numbers of a page call for; one sentence where they call for nothing."""
    found = [*_of_task(gathered, task)]
    nothing = [
        "Nothing on this page calls for a change: the intervals are what more patients would make narrower."
    ]
    return [heading("What to try when it fails"), points(found or nothing)]


def _of_task(gathered: Gathered, task: str) -> Iterator[str]:
    described = gathered.tasks[task]
    if described.control:
        yield (
            f"Nothing can be learned here ({described.control}): a score above chance would mean that "
            "something leaks from the test part."
        )
        return
    yield from _of_labels(gathered, task)
    if described.problem_class == "clustering":
        yield from _of_clusters(gathered, task)
        return
    yield from _of_score(gathered, task)
    yield from _of_search(gathered, task)
    yield from _of_calibration(gathered, task)
    yield from _of_parts(gathered, task)
    yield from _of_groups(gathered, task)
    yield from _of_sources(gathered, task)


def _of_labels(gathered: Gathered, task: str) -> Iterator[str]:
    slopes = gathered.rows("calibration_slopes", task)
    events = next((row["events"] for row in slopes if row["events"] is not None), None)
    kind = gathered.tasks[task].problem_class
    if slopes and kind in ("binary", "survival") and (events or 0) < FEW_EVENTS:
        told = "Few" if events is None else f"{events:,}"
        yield (
            f"{told} test samples have the event. Widen the definition, take in more admissions, or a "
            f"larger test part; below {FEW_EVENTS} events rates and calibration are hardly known."
        )


def _of_score(gathered: Gathered, task: str) -> Iterator[str]:
    row, use = gathered.row("evaluation", task), chosen(gathered, task)
    if row is None:
        return
    name = metric(row["metric"])
    best = one(gathered.rows("choice", task), candidate=use, part="test")
    fold = one(gathered.rows("choice", task), candidate=use, part="validation")
    floor = CHANCE.get(row["metric"])
    if best is not None and best["low"] is not None:
        if floor is not None and best["low"] <= floor:
            yield (
                f"The {name} may be chance: {interval(best)}. Look at the audit of the labels first: "
                "which codes and values decided, and whether they are known when the prediction is made."
            )
        elif best["high"] - best["low"] > WIDE:
            yield (
                f"The interval of the {name} is wide: {interval(best)}. More test patients make it "
                "narrower; more seeds only if the two networks differ by seed."
            )
        # Intervals that do not meet: a value below the other's interval is often chance alone.
        if fold is not None and fold["low"] is not None and best["high"] < fold["low"]:
            yield (
                f"On the test part the {name} is {interval(best)}, below that out of fold "
                f"({interval(fold)}): the search was lucky, or the parts differ."
            )
    yield from _of_reference(row, use)
    if row["verdict"] == OPEN:
        size = row["detectable"]
        found = f": differences of {number(size)} are found four times in five" if size == size else ""
        yield (
            f"Together or alone is not settled{found}. More final replicates, then more test patients, tell "
            "smaller ones."
        )


def _of_reference(row: Row, use: str | None) -> Iterator[str]:
    """What the strongest reference on the test part, and the choice out of fold, call for."""
    if use not in ("together", "alone", "blend", None):
        worse = row["reference"] == use and row["reference_verdict"] == WORSE
        why = "is better than the network" if worse else "does as well out of fold and is simpler"
        yield f"Use {called(str(use))}: it {why}."
    elif use == "blend":
        # The reference is part of it.
        return
    elif row["reference"] and row["reference_verdict"] == WORSE:
        yield (
            f"On the test part {called(row['reference'])} is better than the network, which out of fold it "
            "was not. The choice stands, as the test part has no say in it; ask other patients before the "
            "network is used."
        )
    elif row["reference"] and row["reference_verdict"] == OPEN:
        most = row["versus_reference_high"]
        loss = f" By its interval that one loses at most {number(max(0.0, most))}." if most == most else ""
        yield f"The network is not shown to be better than {called(row['reference'])}.{loss}"


def _of_search(gathered: Gathered, task: str) -> Iterator[str]:
    report, row = gathered.row("search", task), gathered.row("evaluation", task)
    if (
        report is not None
        and report["stopped"] == "largest size"
        and row is not None
        and row["verdict"] == BETTER
    ):
        yield (
            f"The search ended at its largest size, {report['last_size']} tasks, and companions help: a "
            "larger `search.max_size` may find more."
        )


def _of_calibration(gathered: Gathered, task: str) -> Iterator[str]:
    use = chosen(gathered, task)
    slopes = gathered.rows("calibration_slopes", task)
    before, after = (one(slopes, candidate=use, state=state) for state in ("before", "after"))
    if after is not None and excludes(after, "slope", 1.0):
        much = "too far apart" if after["slope"] < 1 else "too close together"
        yield (
            f"Recalibrated predictions are still {much} on the test part (slope "
            f"{interval(after, 'slope', 2)}). Recalibrate with patients of the place and time of use "
            "before probabilities are acted on; ranks are as good as they are."
        )
    elif before is not None and excludes(before, "slope", 1.0):
        yield (
            f"As it predicts, the slope is {interval(before, 'slope', 2)}: use the recalibrated "
            "predictions, which the bundle gives."
        )


def _of_parts(gathered: Gathered, task: str) -> Iterator[str]:
    rows = [row for row in gathered.rows("participants") if row["group"] is None]
    mine = [row for row in rows if row["what"] == "outcome" and row["name"] in (task, gathered.title(task))]
    far = [row for row in mine if abs(row["deviations"] or 0) > TOLD]
    if far:
        row = max(far, key=lambda row: abs(row["deviations"]))
        shown = [f"{row[part]:.3g}" for part in ("train", "test")]
        yield (
            f"The outcome differs between the parts by more than chance ({shown[0]} in training, "
            f"{shown[1]} in the test part): look at the years, and at another seed of the split."
        )


def _of_groups(gathered: Gathered, task: str) -> Iterator[str]:
    use, name = chosen(gathered, task), gathered.tasks[task].metric
    rows = [
        row for row in gathered.rows("subgroups", task) if row["candidate"] == use and row["measure"] == name
    ]
    asked = [row for row in rows if row["gap"] is not None]
    worse = [row for row in asked if excludes(row, "gap", 0.0) and row["gap"] < 0]
    if worse:
        worse.sort(key=lambda row: (row["gap"], row["subgroup"]))
        names = [row["subgroup"] for row in worse]
        more = len(names) - _NAMED
        said = listed(names if more < 2 else [*names[:_NAMED], f"{more} more"])
        chance = (
            f" Of {len(asked)} groups looked at, about {max(1, round(len(asked) * _BELOW))} would be so by "
            "chance alone."
            if len(asked) >= _MANY
            else ""
        )
        yield (
            f"The score is lower for {said} than for all others.{chance} See whether these patients are "
            "fewer, sicker, or measured less, before anything is done for them by this model."
        )


def _of_sources(gathered: Gathered, task: str) -> Iterator[str]:
    rows = [row for row in gathered.rows("reliance", task) if row["what"] == "source"]
    harmful = [row["name"] for row in rows if excludes(row, "value", 0.0) and row["value"] < 0]
    if harmful:
        yield (
            f"Without {listed(harmful)} the network does better on the test part. Whether a study without is "
            "better must be asked of other patients: these have been looked at."
        )
    carried = [row for row in rows if excludes(row, "value", 0.0) and row["value"] > 0]
    if len(carried) == 1 and len(rows) > 1:
        yield (
            f"Only {carried[0]['name']} is shown to carry the score: without any other one the loss may "
            "be 0, which is no proof that it is. Where it is missing the model knows little."
        )


def _of_clusters(gathered: Gathered, task: str) -> Iterator[str]:
    found = one(gathered.rows("phenotype_scores", task), model="multi")
    if found is None:
        return
    if found["stability"] is not None and found["stability"] < UNSTEADY:
        yield (
            f"Seeds agree little (adjusted Rand index {number(found['stability'], 2)}): ask for fewer "
            "clusters, and believe those that every seed finds."
        )
    if found["rank"] is not None and found["rank"] < COLLAPSED:
        yield (
            f"The latent has given up all but {number(found['rank'], 1)} directions: its own silhouette "
            "says nothing. A wider task network, or learning alone, may keep more."
        )
    profiles = gathered.rows("phenotype_profiles", task)
    few = sum(row["what"] == "size" and row["value"] is None for row in profiles)
    if few:
        yield f"{few} clusters are of few patients, or hidden with them: ask for fewer clusters."
