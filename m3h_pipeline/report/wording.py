"""Numbers and lists as the report writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_METRICS: Final = {
    "auroc": "AUROC",
    "macro_auroc": "macro AUROC",
    "r2": "R²",
    "silhouette": "silhouette",
    "concordance": "concordance",
}
_KINDS: Final = {
    "binary": "yes or no",
    "multiclass": "classes",
    "regression": "number",
    "survival": "time to event",
    "clustering": "phenotypes",
}


def metric_name(metric: str) -> str:
    """A metric's name within a sentence; of the user's own, the last part of its dotted path.

    Examples:
        >>> metric_name("macro_auroc"), metric_name("mine.explained_deviance")
        ('macro AUROC', 'explained deviance')
    """
    return _METRICS.get(metric, metric.replace(":", ".").rpartition(".")[2].replace("_", " "))


def kind_name(problem_class: str) -> str:
    """A problem class for people who know none."""
    return _KINDS.get(problem_class, problem_class)


def fixed(value: float | None, digits: int = 3) -> str:
    """A number with some decimals; nothing where it is undefined.

    Examples:
        >>> fixed(0.12345), fixed(-0.0001), fixed(float("nan")), fixed(None)
        ('0.123', '0.000', '', '')
    """
    if value is None or value != value:
        return ""
    text = f"{value:.{digits}f}"
    # A negative zero after rounding is a zero; a minus is a minus.
    return text.replace("-", "−") if float(text) else f"{0:.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference; the minus is a minus.

    Examples:
        >>> signed(0.0213), signed(-0.4), signed(0.0)
        ('+0.021', '−0.400', '0.000')
    """
    text = fixed(value, digits)
    return text if not text.strip("0.") or text.startswith("−") else f"+{text}"


def between(row: Mapping[str, Any], name: str) -> str:
    """The interval of a difference.

    Examples:
        >>> between({"difference_low": -0.01, "difference_high": 0.03}, "difference")
        '−0.010 to +0.030'
    """
    low, high = (signed(row[f"{name}_{end}"]) for end in ("low", "high"))
    return f"{low} to {high}" if low and high else "no interval"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    Examples:
        >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
        ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def counted(n: int, name: str) -> str:
    """A number of things.

    Examples:
        >>> counted(1, "outcome"), counted(3, "outcome")
        ('1 outcome', '3 outcomes')
    """
    return f"{n:,} {name}{'' if n == 1 else 's'}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share; nothing where it is undefined.

    Examples:
        >>> percent(0.1251), percent(None)
        ('12.5 %', '')
    """
    return "" if share is None or share != share else f"{100 * share:.{digits}f} %"
