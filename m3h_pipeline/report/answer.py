"""The answer in words, by the rules of the claims: who gains, by how much, how sure, and what to do instead.

Verdicts are those of the evaluation (``evaluation/claims.py``), what to use is its choice; nothing is decided
here. Controls, of which nothing can be learned, are no outcomes and stand by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from m3h_pipeline.evaluation.choice.candidates import ALONE, BLEND, TOGETHER
from m3h_pipeline.evaluation.choice.choose import CHOSEN
from m3h_pipeline.evaluation.claims import BETTER, DECIDED, NOTHING, OPEN, OWN_SPACES, UNTESTED, WORSE
from m3h_pipeline.evaluation.headline import claimed
from m3h_pipeline.report.gather import Gathered, Row
from m3h_pipeline.report.wording import between, counted, listed, metric_name, signed

#: So many companions are named that help most, and that harm most.
NAMED = 3
#: More gains and losses than these are not named in the sentence.
_IN_SENTENCE = 4


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


def answer(gathered: Gathered) -> Answer:
    """The answer of a study."""
    rows = [row for row in gathered.rows("evaluation") if row["metric"] != "silhouette"]
    outcomes = [row for row in rows if not row["control"]]
    by = {verdict: [row for row in outcomes if row["verdict"] == verdict] for verdict in _VERDICTS}
    tested = [row for row in outcomes if row["verdict"] in (*DECIDED, OPEN)]
    simpler = [said for row in outcomes if (said := _instead(gathered, row))]
    helpful, harmful = _companions(gathered)
    return Answer(
        sentence=_sentence(by, tested),
        figures=_figures(by, tested, len(outcomes), len(simpler)),
        asked=_asked(gathered, outcomes),
        gains=[_difference(row) for row in _largest(by[BETTER])],
        losses=[_difference(row) for row in _largest(by[WORSE])],
        unsettled=[_unsettled(row) for row in sorted(by[OPEN], key=lambda row: row["difference_low"])[::-1]],
        alone=[row["title"] for row in by[UNTESTED]],
        simpler=simpler,
        helpful=helpful,
        harmful=harmful,
        open=_open(gathered, rows, by),
    )


_VERDICTS = (*DECIDED, OPEN, UNTESTED, NOTHING)


def _sentence(by: dict[str, list[Row]], tested: Sequence[Row]) -> str:
    better, worse, unsettled = (by[verdict] for verdict in (BETTER, WORSE, OPEN))
    if not tested:
        return "Nothing can be said of learning outcomes together: no outcome was selected a companion."
    few = len(better) + len(worse) <= _IN_SENTENCE
    names = f": {listed([row['title'] for row in _largest(better)])}" if better and few else ""
    if better:
        gain = "gains" if len(better) == 1 else "gain"
        said = f"{len(better)} of {counted(len(tested), 'tested outcome')} {gain} from being learned together"
    else:
        of = counted(len(tested), "tested outcome")
        said = f"None of {of} is shown to gain from being learned together"
    lost = listed([row["title"] for row in _largest(worse)]) if few else ""
    if worse:
        said += f"{names}; {len(worse)} {'loses' if len(worse) == 1 else 'lose'}" + (lost and f": {lost}")
    else:
        said += f"{names}; none is shown to lose"
    if len(unsettled) == len(tested):
        return f"{said}. The data settle it for none of them."
    return said + (f"; for {len(unsettled)} the data do not settle it." if unsettled else ".")


def _figures(
    by: dict[str, list[Row]], tested: Sequence[Row], outcomes: int, simpler: int
) -> list[tuple[str, str, str]]:
    better, worse, unsettled = (by[verdict] for verdict in (BETTER, WORSE, OPEN))
    rest = [f"{len(worse)} lose" + ("s" if len(worse) == 1 else ""), f"{len(unsettled)} not settled"]
    rest += [f"{len(by[UNTESTED])} learn alone"] if by[UNTESTED] else []
    found = [
        (f"{len(better)} of {len(tested)}", "tested outcomes gain from learning together", ", ".join(rest))
    ]
    sizes = [row["detectable"] for row in unsettled if row["detectable"] == row["detectable"]]
    if better:
        first = _largest(better)[0]
        usual = median(row["difference"] for row in better)
        found.append(
            (
                signed(first["difference"]),
                f"{metric_name(first['metric'])}: the largest gain, {first['title']}",
                f"95 % interval {between(first, 'difference')}"
                + (f"; median of those that gain {signed(usual)}" if len(better) > 1 else ""),
            )
        )
    elif sizes:
        least, most = f"{min(sizes):.3f}", f"{max(sizes):.3f}"
        found.append(
            (
                least if least == most else f"{least} to {most}",
                "the gain that this study would have found, by outcome",
                "a true difference of this size is found with a power of 80 %; smaller ones may be there",
            )
        )
    else:
        found.append(("–", "no difference was tested", "no outcome was selected a companion"))
    told = "the simplest of the models whose score out of fold is best, or level with it"
    found.append((f"{simpler} of {outcomes}", "outcomes where a simpler model should be used instead", told))
    return found


def _asked(gathered: Gathered, outcomes: Sequence[Row]) -> list[str]:
    flow = {row["step"]: row for row in gathered.rows("flow")}
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
            "patients of the test part, whom no choice has seen. The study's tables tell no calendar years."
        )
    looks = int(gathered.said["evaluation"].get("looks", 1))
    fdr = float(gathered.said["evaluation"].get("fdr", study.evaluation.fdr))
    said.append(
        "How sure: intervals are of 95 %, over patients and seeds; of all that is called a gain or a loss, "
        f"at most {100 * fdr:g} % is expected to be chance. "
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
    would = f"; a true difference of {found:.3f} would have been found" if found == found else ""
    return (
        f"{row['title']}: {signed(row['difference'])} {metric_name(row['metric'])} "
        f"({between(row, 'difference')}){would}"
    )


def chosen_candidate(gathered: Gathered, task: str) -> str | None:
    """The candidate that the evaluation's choice names for a task; None: it has none."""
    rows = gathered.rows("choice", task)
    return next((r["candidate"] for r in rows if r["chosen"] and r["candidate"] != CHOSEN), None)


def use(gathered: Gathered, task: str) -> str:
    """What to use for a task, in words and with titles; empty: nothing was chosen."""
    text = str(gathered.said["choice"].get("words", {}).get(task, ""))
    candidate = chosen_candidate(gathered, task)
    row = gathered.row("evaluation", task)
    if candidate in {TOGETHER, BLEND} and row is not None:
        others = [gathered.title(one) for one in row["combination"].split("+") if one != task]
        ids = ", ".join(one for one in row["combination"].split("+") if one != task)
        return text.replace(ids, listed(others)) if ids else text
    return text or ("" if candidate is None else candidate.replace("_", " "))


def simpler_instead(gathered: Gathered, row: Row) -> bool:
    """Whether a model is chosen that is simpler than what the search selected: a reference, or alone."""
    candidate = chosen_candidate(gathered, row["task"])
    if candidate is None or candidate in {TOGETHER, BLEND}:
        return False
    return candidate != ALONE or bool(row["combination"] != row["task"])


def _instead(gathered: Gathered, row: Row) -> str:
    if not simpler_instead(gathered, row):
        return ""
    words = use(gathered, row["task"])
    if chosen_candidate(gathered, row["task"]) == ALONE:
        return f"{row['title']}: {words}; together {signed(row['difference'])} ({between(row, 'difference')})"
    versus = row["versus_reference"]
    beside = (
        f"; the network {signed(versus)} ({between(row, 'versus_reference')}) to it on the test part"
        if row["reference"] == chosen_candidate(gathered, row["task"]) and versus == versus
        else ""
    )
    return f"{row['title']}: {words}{beside}"


def effect(row: Row) -> tuple[float, float, float]:
    """What a companion does, less what sharing does whoever the companion is, where that is known."""
    kind = "excess" if row["excess"] == row["excess"] else "estimate"
    ends = ("low", "high") if kind == "estimate" else ("excess_low", "excess_high")
    return row[kind], row[ends[0]], row[ends[1]]


def surviving(gathered: Gathered) -> list[Row]:
    """Rows of TIM whose effect survives the correction for all that were looked at; no controls."""
    return [row for row in comparable(gathered) if row["significant"] and not row["control"]]


def comparable(gathered: Gathered) -> list[Row]:
    """Rows of TIM whose scores can be compared: not of phenotypes, whose silhouettes are of own spaces."""
    own = {name for name, task in gathered.tasks.items() if task.metric in OWN_SPACES}
    return [row for row in gathered.rows("tim") if row["task"].partition("~")[0] not in own]


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


def _open(gathered: Gathered, rows: Sequence[Row], by: dict[str, list[Row]]) -> list[str]:
    said = []
    if by[OPEN]:
        said.append(
            f"Not significant is no proof of no effect: of {counted(len(by[OPEN]), 'outcome')} a gain or a "
            "loss of the size that the table names as detectable may have been missed one time in five, "
            "smaller ones more often."
        )
    if by[NOTHING]:
        names = listed([row["title"] for row in by[NOTHING]])
        said.append(f"No comparison is defined for {names}.")
    if not surviving(gathered):
        said.append("No single companion's help or harm survives the correction for all pairs looked at.")
    controls = [row for row in rows if row["control"]]
    if controls:
        called = claimed(controls)
        names = listed([f"{row['title']} ({row['control']})" for row in called or controls])
        said.append(
            f"Nothing is to be found for {names}: what is claimed of it is a false discovery."
            if called
            else f"Of the controls, where nothing is to be found, nothing is claimed: {names}."
        )
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
