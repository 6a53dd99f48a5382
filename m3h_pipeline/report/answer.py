"""The answer in words, by the rules of the claims: who gains, by how much, how sure, and what to do instead.

Verdicts are those of the evaluation (``evaluation/claims.py``), what to use is its choice; nothing is decided
here. Controls, of which nothing can be learned, are no outcomes and stand by themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from m3h_pipeline.evaluation.choice.candidates import ALONE, BLEND, TOGETHER
from m3h_pipeline.evaluation.claims import BETTER, DECIDED, NOTHING, OPEN, UNTESTED, WORSE
from m3h_pipeline.report.caveats import IN_SENTENCE, caveats
from m3h_pipeline.report.facts import chosen, comparable, counts_seeds, effect, has_reference, surviving
from m3h_pipeline.report.gather import Gathered, Row
from m3h_pipeline.report.wording import between, counted, listed, metric_name, signed

#: So many companions are named that help most, and that harm most.
NAMED = 3


@dataclass(frozen=True)
class Answer:
    """The first screen.

    Attributes:
        sentence: the answer.
        figures: three numbers: value, what it is, and what else must be said of it.
        asked: what was asked, of whom.
        gains, losses, unsettled, alone, simpler, networks, helpful, harmful, open: lists of sentences; of
            ``simpler`` what a model without a search for companions does as well, of ``open`` what is not
            settled.
        otherwise: name of a list -> what is said where it has nothing.
    """

    sentence: str
    figures: list[tuple[str, str, str]]
    asked: list[str]
    gains: list[str]
    losses: list[str]
    unsettled: list[str]
    alone: list[str]
    simpler: list[str]
    helpful: list[str]
    harmful: list[str]
    open: list[str]
    otherwise: dict[str, str]


def answer(gathered: Gathered) -> Answer:
    """The answer of a study."""
    rows = [row for row in gathered.rows("evaluation") if row["metric"] != "silhouette"]
    outcomes = [row for row in rows if not row["control"]]
    by = {verdict: [row for row in outcomes if row["verdict"] == verdict] for verdict in _VERDICTS}
    tested = [row for row in outcomes if row["verdict"] in (*DECIDED, OPEN)]
    instead = {row["task"]: said for row in outcomes if (said := _instead(gathered, row))}
    helpful, harmful = _companions(gathered)
    return Answer(
        sentence=_sentence(by, tested, sum(row["task"] in instead for row in by[BETTER])),
        figures=[*_figures(by, tested), _simpler(gathered, outcomes, len(instead))],
        asked=_asked(gathered, outcomes),
        gains=[_difference(row) for row in _largest(by[BETTER])],
        losses=[_difference(row) for row in _largest(by[WORSE])],
        unsettled=[_unsettled(row) for row in sorted(by[OPEN], key=lambda row: row["difference_low"])[::-1]],
        alone=[row["title"] for row in by[UNTESTED]],
        simpler=list(instead.values()),
        helpful=helpful,
        harmful=harmful,
        open=caveats(gathered, rows, by),
        otherwise=_otherwise(gathered, by, tested),
    )


_VERDICTS = (*DECIDED, OPEN, UNTESTED, NOTHING)


def _sentence(by: dict[str, list[Row]], tested: Sequence[Row], instead: int) -> str:
    """The answer in a sentence; ``instead``: for so many of the gains a simpler model is to be used."""
    better, worse, unsettled = (by[verdict] for verdict in (BETTER, WORSE, OPEN))
    if not tested:
        return f"Nothing can be said of learning outcomes together: {_untested(by)}."
    if len(tested) == 1 and not better and not worse:
        return (
            f"The one tested outcome, {tested[0]['title']}, is shown neither to gain nor to lose by being "
            "learned with others. The data do not settle it."
        )
    few = len(better) + len(worse) <= IN_SENTENCE
    names = f": {listed([row['title'] for row in _largest(better)])}" if better and few else ""
    of = counted(len(tested), "tested outcome")
    if better:
        gain = "gains" if len(better) == 1 else "gain"
        said = f"{len(better)} of {of} {gain} from being learned together"
    else:
        said = f"None of {of} is shown to gain from being learned together"
    lost = listed([row["title"] for row in _largest(worse)]) if few else ""
    if worse:
        said += f"{names}; {len(worse)} {'loses' if len(worse) == 1 else 'lose'}" + (lost and f": {lost}")
    else:
        said += f"{names}; none is shown to lose"
    if len(unsettled) == len(tested):
        return f"{said}. The data settle it for none of them."
    said += f"; for {len(unsettled)} the data do not settle it." if unsettled else "."
    if instead:
        # Who reads on no further must not take a gain for a reason to use it.
        who = "it" if len(better) == 1 else f"{instead} of those that gain"
        said += f" For {who} a simpler model should be used all the same."
    return said


def _untested(by: dict[str, list[Row]]) -> str:
    """Why no outcome was tested."""
    nothing, alone = by[NOTHING], by[UNTESTED]
    if nothing:
        said = f"no comparison is defined for the {counted(len(nothing), 'outcome')} with companions"
        return said + (f", and {len(alone)} learn{'s' if len(alone) == 1 else ''} alone" if alone else "")
    return (
        "no outcome was selected a companion" if alone else "there is no outcome whose models can be compared"
    )


def _figures(by: dict[str, list[Row]], tested: Sequence[Row]) -> list[tuple[str, str, str]]:
    better, worse, unsettled = (by[verdict] for verdict in (BETTER, WORSE, OPEN))
    rest = [f"{len(worse)} lose" + ("s" if len(worse) == 1 else ""), f"{len(unsettled)} not settled"]
    alone = len(by[UNTESTED])
    rest += [f"{alone} learn{'s' if alone == 1 else ''} alone"] if alone else []
    rest += [f"{len(by[NOTHING])} without a comparison"] if by[NOTHING] else []
    found = [
        (
            f"{len(better)} of {len(tested)}" if tested else "–",
            "tested outcomes gain from learning together" if tested else "no outcome was tested",
            ", ".join(rest) if tested else _untested(by),
        )
    ]
    known = [row for row in unsettled if row["detectable"] == row["detectable"]]
    if better:
        # Differences of two metrics have no common largest one, and no median.
        metric = _usual(better)
        mine = _largest([row for row in better if row["metric"] == metric])
        more = f"95 % interval {between(mine[0], 'difference')}"
        if len(mine) > 1:
            usual = signed(median(row["difference"] for row in mine))
            more += (
                f"; median of {len(mine)} gains {usual}; the largest of several is on average overestimated"
            )
        found.append(
            (
                signed(mine[0]["difference"]),
                f"{metric_name(metric)}: the {'largest ' if len(mine) > 1 else ''}gain, {mine[0]['title']}",
                more,
            )
        )
    elif known:
        metric = _usual(known)
        sizes = [row["detectable"] for row in known if row["metric"] == metric]
        least, most = f"{min(sizes):.3f}", f"{max(sizes):.3f}"
        found.append(
            (
                least if least == most else f"{least} to {most}",
                f"{metric_name(metric)}: the difference that this study finds, by outcome",
                (
                    "a true one of this size is found four times in five, before the correction for all "
                    "that were tested; smaller ones may be there"
                ),
            )
        )
    elif tested:
        found.append(("–", "no size of a gain", "no gain is shown, and no detectable difference is known"))
    else:
        found.append(("–", "no difference was tested", _untested(by)))
    return found


def _simpler(gathered: Gathered, outcomes: Sequence[Row], simpler: int) -> tuple[str, str, str]:
    """For how many a simpler model is to be used; of how many this was asked at all."""
    asked = [row for row in outcomes if chosen(gathered, row["task"]) is not None]
    if not asked:
        return "–", "no choice among models was made", "whether a simpler one does as well is not known"
    told = "the simplest of the models whose score out of fold is best, or level with it"
    if not any(has_reference(gathered, row["task"]) for row in asked):
        told = "of networks alone: no other kind of model was tried as a reference"
    return f"{simpler} of {len(asked)}", "outcomes where a simpler model should be used instead", told


def _usual(rows: Sequence[Row]) -> str:
    """The metric of most rows; of several that of the first."""
    return Counter(str(row["metric"]) for row in rows).most_common(1)[0][0]


def _otherwise(gathered: Gathered, by: dict[str, list[Row]], tested: Sequence[Row]) -> dict[str, str]:
    outcomes = [row for rows in by.values() for row in rows]
    asked = any(chosen(gathered, row["task"]) is not None for row in outcomes)
    companions = comparable(gathered)
    help_, harm = ("No help survives the correction.", "No harm survives the correction.")
    return {
        "gains": "No gain is shown." if tested else "Nothing was tested.",
        "losses": "No loss is shown." if tested else "Nothing was tested.",
        "simpler": "Nowhere: what the search selected is used." if asked else "No choice was made.",
        "unsettled": "Every outcome that was tested is settled." if tested else "Nothing was tested.",
        "helpful": help_ if companions else "Not measured.",
        "harmful": harm if companions else "Not measured.",
        "alone": "Every outcome was selected a companion." if outcomes else "No outcome can be compared.",
        "open": "",
    }


def _asked(gathered: Gathered, outcomes: Sequence[Row]) -> list[str]:
    flow = {row["step"]: row for row in gathered.rows("flow")}
    looks = int(gathered.said["evaluation"].get("looks", 1))
    study, whole = gathered.study, next((r for r in gathered.rows("search") if r["task"] is None), None)
    of = counted(len(outcomes), "outcome")
    tried = f" among {whole['combinations']:,} combinations" if whole else ""
    most = f" of up to {study.search.max_size} outcomes" if study.search.max_size else ""
    said = [
        (
            f"Asked: does a network predict {of} better when each is learned together with others than "
            f"alone? For each, companions were searched{tried}{most}, by scores out of fold."
        )
    ]
    if "cohort" in flow and "test part" in flow:
        cohort, test = flow["cohort"], flow["test part"]
        said.append(
            f"Of whom: {_number(cohort, 'samples')} samples of {_number(cohort, 'patients')} patients. The "
            f"comparison is of the {_number(test, 'samples')} samples of {_number(test, 'patients')} "
            f"patients of the test part{', whom no choice has seen' if looks <= 1 else ''}. "
            "The study's tables tell no calendar years."
        )
    fdr = float(gathered.said["evaluation"].get("fdr", study.evaluation.fdr))
    said.append(
        f"How sure: intervals are of 95 %, over patients{' and seeds' if counts_seeds(gathered) else ''}; "
        f"of all that is called a gain or a loss, at most {100 * fdr:g} % is expected to be chance. "
        + (
            "The test part was opened with one set of models."
            if looks <= 1
            else f"The test part was opened with {looks} sets of models: what the last shows was found after "
            "a look, and is less sure than these numbers say."
        )
    )
    return said


def _number(row: Row, name: str) -> str:
    return "–" if row[name] is None else f"{row[name]:,}"


def _largest(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (-abs(row["difference"]), row["task"]))


def _difference(row: Row) -> str:
    return (
        f"{row['title']}: {signed(row['difference'])} {metric_name(row['metric'])} "
        f"({between(row, 'difference')}), from {row['single']:.3f} to {row['multi']:.3f}"
    )


def _unsettled(row: Row) -> str:
    found = row["detectable"]
    would = f"; detectable {found:.3f}" if found == found else ""
    return (
        f"{row['title']}: {signed(row['difference'])} {metric_name(row['metric'])} "
        f"({between(row, 'difference')}){would}"
    )


def use(gathered: Gathered, task: str) -> str:
    """What to use for a task, in words and with titles; empty: nothing was chosen, or it is a control."""
    if gathered.tasks[task].control:
        # Nothing can be learned of it: no model of it is to be used.
        return ""
    text = str(gathered.said["choice"].get("words", {}).get(task, ""))
    candidate = chosen(gathered, task)
    row = gathered.row("evaluation", task)
    if candidate in {TOGETHER, BLEND} and row is not None:
        others = [gathered.title(one) for one in row["combination"].split("+") if one != task]
        ids = ", ".join(one for one in row["combination"].split("+") if one != task)
        return text.replace(ids, listed(others)) if ids else text
    return text or ("" if candidate is None else candidate.replace("_", " "))


def simpler_instead(gathered: Gathered, row: Row) -> bool:
    """Whether a model is chosen that is simpler than what the search selected: a reference, or alone."""
    candidate = chosen(gathered, row["task"])
    if candidate is None or candidate in {TOGETHER, BLEND}:
        return False
    return candidate != ALONE or bool(row["combination"] != row["task"])


def _instead(gathered: Gathered, row: Row) -> str:
    if not simpler_instead(gathered, row):
        return ""
    words = use(gathered, row["task"])
    if chosen(gathered, row["task"]) == ALONE:
        return f"{row['title']}: {words}; together {signed(row['difference'])} ({between(row, 'difference')})"
    versus = row["versus_reference"]
    beside = (
        f"; on the test part the network {signed(versus)} ({between(row, 'versus_reference')}) against it"
        if row["reference"] == chosen(gathered, row["task"]) and versus == versus
        else ""
    )
    return f"{row['title']}: {words}{beside}"


def _companions(gathered: Gathered) -> tuple[list[str], list[str]]:
    ordered = sorted(
        surviving(gathered), key=lambda row: (-abs(effect(row)[0]), row["task"], row["companion"])
    )
    found = []
    for sign in (1, -1):
        mine = [row for row in ordered if sign * effect(row)[0] > 0][:NAMED]
        found.append([_companion(gathered, row) for row in mine])
    return found[0], found[1]


def _companion(gathered: Gathered, row: Row) -> str:
    value, low, high = effect(row)
    task: Any = gathered.tasks.get(row["task"])
    metric = f" {metric_name(task.metric)}" if task else ""
    return (
        f"{gathered.title(row['companion'])} for {gathered.title(row['task'])}: {signed(value)}{metric} "
        f"({signed(low)} to {signed(high)})"
    )
