"""What may be said of a task, as a mark: the same one wherever a figure says it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from m3h_pipeline.evaluation.claims import BETTER, NOTHING, OPEN, UNTESTED, WORSE
from m3h_pipeline.figures import style

#: Verdict -> the options of its :class:`Line2D`. Shape and fill say it without the colour.
MARKS: Final[dict[str, dict[str, Any]]] = {
    BETTER: {"marker": "^", "color": style.BETTER, "markersize": 4.2},
    WORSE: {"marker": "v", "color": style.WORSE, "markersize": 4.2},
    OPEN: {"marker": "o", "color": style.MUTED, "markerfacecolor": "white", "markersize": 3.6},
    UNTESTED: {"marker": "D", "color": style.MUTED, "markerfacecolor": "white", "markersize": 2.8},
    NOTHING: {"marker": "_", "color": style.MUTED, "markersize": 4.0},
}
#: What all marks share.
LOOK: Final[dict[str, Any]] = {"linestyle": "none", "markeredgewidth": 0.8}


def entries(present: Iterable[str]) -> list[style.Entry]:
    """The key of the verdicts that are there, in the order of :data:`MARKS`."""
    known = set(present)
    return [(verdict, look) for verdict, look in MARKS.items() if verdict in known]
