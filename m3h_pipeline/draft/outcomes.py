"""What could be predicted: tasks that a table's columns suggest, how sure that is, and what is doubtful."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from m3h_pipeline.disclosure import LEAST
from m3h_pipeline.draft import words
from m3h_pipeline.draft.columns import Column

#: More classes are no task that a draft suggests.
MOST_CLASSES = 12
#: Short words that mean an outcome only where a column has few values: PR is an interval, too.
_STATES = ("er", "pr", "node", "stage", "grade", "status", "class", "ihc", "event", "cam")


@dataclass(frozen=True)
class Outcome:
    """A task that is suggested.

    Attributes:
        name: of the task.
        title: for people.
        problem_class: binary, multiclass, regression or survival.
        column: that the labels come from; of a survival task the event's.
        sure: ``sure``, ``likely`` or ``unsure``.
        time: column of the time of a survival task.
        unit: of a regression label or of the time.
        classes: class -> its values; of a binary or survival task ``positive`` and ``negative``.
        missing: values that mean: not observed.
        few: whether some values of few rows are not written down: they become missing.
        doubts: what the user should look at.
        counts: class -> rows, for the screen.
    """

    name: str
    title: str
    problem_class: str
    column: str
    sure: str
    time: str = ""
    unit: str = ""
    classes: Mapping[str, list[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    few: bool = False
    doubts: list[str] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)


def is_outcome(column: Column, *, of_outcomes: bool) -> str:
    """How sure it is that a column is an outcome: ``likely``, ``unsure``, or empty: it seems to be none.

    Args:
        column: the column.
        of_outcomes: whether its file is one of outcomes, by its name.
    """
    if column.dates or column.icd or column.vector or column.distinct < 2:
        return ""
    named = words.has(column.name, words.OUTCOMES) and not (
        words.has(column.name, _STATES)
        and column.distinct > MOST_CLASSES
        and not words.has(column.name, tuple(w for w in words.OUTCOMES if w not in _STATES))
    )
    if named or column.tells_an_end:
        return "likely"
    if of_outcomes and not words.has(column.name, words.PERSONS):
        return "unsure"
    return ""


def pairs(columns: Sequence[Column]) -> dict[str, tuple[str, str]]:
    """Event -> its time and how sure that is, among columns of one study."""
    times = [
        column
        for column in columns
        if column.numeric
        and column.low >= 0
        and column.distinct > MOST_CLASSES
        and words.has(column.name, words.TIMES)
        and not words.has(column.name, words.STAYED)
    ]
    events = [c for c in columns if 2 <= c.distinct <= 8 and words.has(c.name, words.EVENTS)]
    found: dict[str, tuple[str, str]] = {}
    for event in events:
        rest = _rest(event.name, words.EVENTS)
        if rest and (same := [time for time in times if _rest(time.name, words.TIMES) == rest]):
            found[event.name] = (same[0].name, "sure")
    taken = {time for time, _ in found.values()}
    open_times = [time for time in times if time.name not in taken]
    # The event that is called by the word itself, before one that has it as a part.
    open_events = sorted(
        (event for event in events if event.name not in found),
        key=lambda c: (not set(words.tokens(c.name)) & set(words.EVENTS), len(c.name)),
    )
    if len(open_times) == 1 and open_events:
        found[open_events[0].name] = (open_times[0].name, "likely")
    return found


def _rest(name: str, known: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word for word in words.tokens(name) if word not in known)


def outcome_of(column: Column, sure: str, time: tuple[str, str] | None = None) -> Outcome | str:
    """The task of a column, or why there is none.

    Args:
        column: of the labels; with a ``time`` of the event.
        sure: that it is an outcome.
        time: column of the time, and how sure it is.
    """
    name, title = words.slug(column.name), _title(column.name)
    known = {value: n for value, n in column.values.items() if not words.unknown(value)}
    missing = [value for value in column.values if value not in known]
    shown = {value: n for value, n in known.items() if n >= LEAST}
    few = len(shown) < len(known)
    sides = {value: words.side(value) for value in known}
    binary = {True, False} == set(sides.values())
    doubts = ["values of fewer than 11 rows are not written here: they become missing"] if few else []
    if time is not None:
        classes, doubt = _sides(column, shown)
        if not classes:
            return "its values do not say which of them is the event"
        unit = words.unit(time[0])
        doubts += [doubt] if doubt else []
        doubts += [] if unit else [f"in which unit is `{time[0]}`? Write it under `unit`"]
        sureness = "unsure" if doubt else time[1]
        title = f"Time to {title[0].lower()}{title[1:]}"
        return Outcome(
            f"{name}_time" if name == words.slug(time[0]) else name,
            title, "survival", column.name, sureness, time[0], unit, classes, missing, few, doubts,
            _counts(classes, shown),
        )  # fmt: skip
    if known and (binary or len(known) == 2):
        classes, doubt = _sides(column, shown)
        if not classes:
            return "one of its two values has fewer than 11 rows"
        doubts += [doubt] if doubt else []
        sureness = "unsure" if doubt else "sure" if sure == "likely" else sure
        return Outcome(
            name, title, "binary", column.name, sureness, "", "", classes, missing, few, doubts,
            _counts(classes, shown),
        )  # fmt: skip
    coded = words.has(column.name, (*_STATES, "id", "code", "type"))
    if known and 3 <= len(known) <= MOST_CLASSES and (not column.numeric or (column.whole and coded)):
        classes = _classes(shown)
        if len(classes) < 2:
            return "fewer than two of its values have 11 rows"
        doubts.append("are these classes what you want to tell apart? The order is that of the alphabet")
        return Outcome(
            name, title, "multiclass", column.name, sure, "", "", classes, missing, few, doubts,
            _counts(classes, shown),
        )  # fmt: skip
    if column.numeric and not (column.whole and coded):
        unit = words.unit(column.name)
        doubts = [] if unit else ["in which unit is it? Write it under `unit`"]
        if column.low >= 0 and column.high > 0:
            doubts.append("may it be below 0? If not, `minimum: 0` takes such values for missing")
        unknown = list(column.unknown)
        return Outcome(
            name, title, "regression", column.name, sure, "", unit, {}, unknown, False, doubts,
            {"observed": column.observed},
        )  # fmt: skip
    return f"it has {column.distinct:,} different values: name those that matter in a task of your own"


def _title(name: str) -> str:
    text = " ".join(name.replace("_", " ").replace(".", " ").split())
    return text[:1].upper() + text[1:]


def _sides(column: Column, shown: Mapping[str, int]) -> tuple[dict[str, list[str]], str]:
    """Values that mean yes and no, and what is doubtful about that; none: it cannot be said."""
    yes = [value for value in shown if words.side(value) is True]
    no = [value for value in shown if words.side(value) is False]
    if yes and no:
        return {"positive": yes, "negative": no}, ""
    if {value.removesuffix(".0") for value in shown} == {"1", "2"}:
        low, high = sorted(shown)
        return {"positive": [high], "negative": [low]}, "2 is taken for yes and 1 for no, as in R: is it so?"
    if len(shown) == 2:
        rare, common = sorted(shown, key=lambda value: (shown[value], value))
        return {"positive": [rare], "negative": [common]}, "the rarer value is taken for positive: is it so?"
    return {}, ""


def _classes(shown: Mapping[str, int]) -> dict[str, list[str]]:
    made: dict[str, list[str]] = {}
    for value in shown:
        name = f"class_{words.slug(value)[1:]}" if value[:1].isdigit() else words.slug(value)
        while name in made:
            name += "_"
        made[name] = [value]
    return made


def _counts(classes: Mapping[str, list[str]], shown: Mapping[str, int]) -> dict[str, int]:
    return {name: sum(shown[value] for value in values) for name, values in classes.items()}
