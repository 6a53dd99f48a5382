"""How numbers, models and their names read on the pages of outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from m3h_pipeline.figures.looks import looks
from m3h_pipeline.report.facts import chosen
from m3h_pipeline.report.gather import Gathered
from m3h_pipeline.report.wording import fixed, metric_name, signed
from m3h_pipeline.report.wording import percent as written

Row = Mapping[str, Any]
#: Candidates of the choice -> the model whose look they have.
ARMS: Final = {"alone": "single", "together": "multi"}
#: Measures of calibration for people.
MEASURES: Final = {
    "slope": "calibration slope",
    "intercept": "calibration intercept",
    "observed_to_expected": "observed over expected events",
}
_NOTHING: Final = "–"


def number(value: float | None, digits: int = 3, sign: bool = False) -> str:
    """A number for a table.

    Examples:
        >>> number(0.12345), number(None), number(0.02, sign=True), number(-0.0001, sign=True)
        ('0.123', '–', '+0.020', '0.000')
    """
    return (signed(value, digits) if sign else fixed(value, digits)) or _NOTHING


def percent(value: float | None, digits: int = 0) -> str:
    """A share for people.

    Examples:
        >>> percent(0.123), percent(0.0123, 1), percent(None)
        ('12 %', '1.2 %', '–')
    """
    return written(value, digits) or _NOTHING


def interval(row: Row | None, value: str = "value", digits: int = 3, sign: bool = False) -> str:
    """A number with its interval, from a row whose columns are called as tables call them.

    Examples:
        >>> interval({"value": 0.8, "low": 0.7, "high": 0.9}, digits=2)
        '0.80 (0.70 to 0.90)'
        >>> interval({"slope": 0.8, "slope_low": None, "slope_high": 1.0}, "slope"), interval(None)
        ('0.800', '–')
    """
    if row is None:
        return _NOTHING
    ends = ("low", "high") if value == "value" else (f"{value}_low", f"{value}_high")
    low, high = (row[end] for end in ends)
    said = number(row[value], digits, sign)
    if said == _NOTHING or None in (low, high) or low != low or high != high:
        return said
    return f"{said} ({number(low, digits, sign)} to {number(high, digits, sign)})"


def share(row: Row | None) -> str:
    """A share with its interval, in percent.

    Examples:
        >>> share({"value": 0.8, "low": 0.7, "high": 0.9}), share(None)
        ('80 (70 to 90) %', '–')
    """
    if row is None or row["value"] is None:
        return _NOTHING
    made = {key: None if row[key] is None else 100 * row[key] for key in ("value", "low", "high")}
    return f"{interval(made, digits=0)} %"


def metric(name: str) -> str:
    """A metric, or a measure of calibration, for people."""
    return MEASURES.get(name) or metric_name(name)


def look(candidate: str) -> str:
    """The name under which charts know a candidate."""
    return ARMS.get(candidate, candidate)


def model(candidate: str) -> str:
    """A candidate for people.

    Examples:
        >>> model("together"), model("gradient_boosting"), model("chosen")
        ('Multitask', 'Gradient boosting', 'what the rule chooses')
    """
    if candidate == "chosen":
        return "what the rule chooses"
    name = look(candidate)
    return looks([name])[name][0]


def called(candidate: str) -> str:
    """A candidate in a sentence.

    Examples:
        >>> called("linear"), called("gradient_boosting"), called("together")
        ('the linear model', 'gradient boosting', 'the multitask network')
    """
    names = {"linear": "the linear model", "blend": "the blend"}
    names |= {"together": "the multitask network", "alone": "the single-task network"}
    name = model(candidate)
    return names.get(candidate, name if name.isupper() or "M" in name[1:] else name[:1].lower() + name[1:])


def companions(gathered: Gathered, combination: str, task: str) -> list[str]:
    """Titles of the tasks that a combination holds beside one."""
    return [gathered.title(name) for name in combination.split("+") if name != task]


def one(rows: Sequence[Row], **wanted: Any) -> Row | None:
    """The first of some rows whose columns are as wanted."""
    return next((row for row in rows if all(row[key] == value for key, value in wanted.items())), None)


def filled(header: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """A table without the columns of which nothing is known; the first one stays.

    Examples:
        >>> filled(["model", "slope", "intercept"], [["a", "0.9", "–"], ["b", "1.1", "–"]])
        (['model', 'slope'], [['a', '0.9'], ['b', '1.1']])
    """
    kept = [j for j in range(len(header)) if not j or any(row[j] != _NOTHING for row in rows)]
    return [header[j] for j in kept], [[row[j] for j in kept] for row in rows]


def arm(gathered: Gathered, task: str) -> tuple[str, str, str]:
    """The network whose curves the evaluation keeps: the chosen one, else what the search selected.

    Returns:
        its name in the tables (``single``, ``multi``), a name for people, and what must be said where another
        model was chosen; empty: it is the chosen one.
    """
    use = chosen(gathered, task)
    name = ARMS.get(str(use)) or ("multi" if together(gathered, task) else "single")
    other = "" if use is None or use in ARMS else f" Of the network, not of what was chosen: {called(use)}."
    return name, model(name), other


def together(gathered: Gathered, task: str) -> bool:
    """Whether the search selected companions: else both networks of the tables are one."""
    found = gathered.row("selection", task)
    return found is None or bool(found["combination"] != task)


def recalibrated(state: str) -> str:
    """A state of predictions in words."""
    return "recalibrated" if state == "after" else "as the model predicts"


def columns(rows: Sequence[Row], *names: str) -> list[list[Any]]:
    """Columns of some rows."""
    return [[row[name] for row in rows] for name in names]


def excludes(row: Row, value: str, at: float) -> bool:
    """Whether an interval is known and does not hold a number."""
    ends = ("low", "high") if value == "value" else (f"{value}_low", f"{value}_high")
    low, high = (row[end] for end in ends)
    return low is not None and high is not None and (low > at or high < at)
