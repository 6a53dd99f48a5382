"""The kinds of criterion by name. A new one is a class named here, or by its dotted path in a study."""

from __future__ import annotations

from typing import get_args

from m3h_pipeline.dotted import is_path, locate
from m3h_pipeline.errors import TaskError, nearest
from m3h_pipeline.tasks.column_criteria import (
    Classes,
    ExactlyOne,
    Number,
    Threshold,
    Values,
)
from m3h_pipeline.tasks.criteria import ColumnCriterion, Criterion, Diagnosis, NoLabel, ProblemClass
from m3h_pipeline.tasks.event_criteria import EventWithin, TimeToEvent

#: The kinds by their name.
KINDS: dict[str, type[Criterion]] = {
    str(kind.model_fields["kind"].default): kind
    for kind in (
        Diagnosis,
        ExactlyOne,
        Values,
        Threshold,
        Classes,
        Number,
        EventWithin,
        TimeToEvent,
        NoLabel,
    )
}


def kind_of(name: str) -> type[Criterion]:
    """A kind of criterion by its shipped name or the dotted path of the user's own.

    Raises:
        TaskError: there is no such kind, or the class does not keep the contract.
        ConfigError: there is no such module or name.
    """
    if name in KINDS:
        return KINDS[name]
    if not is_path(name):
        hint = f"{nearest(name, KINDS)} (or the dotted path of a class of your own)"
        raise TaskError(f"there is no kind `{name}`", hint=hint)
    made = locate(name)
    if not (isinstance(made, type) and issubclass(made, ColumnCriterion)):
        raise TaskError("this is no subclass of m3h_pipeline.tasks.criteria.ColumnCriterion", where=name)
    if getattr(made, "makes", None) not in get_args(ProblemClass):
        raise TaskError(
            "the class must set `makes` to the problem class of its labels",
            where=name,
            hint=f"one of {', '.join(get_args(ProblemClass))}",
        )
    return made
