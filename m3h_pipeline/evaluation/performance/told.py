"""Of which sets of samples numbers may be told, so that none tells of 1 to 10 patients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.disclosure import is_small
from m3h_pipeline.evaluation.shown import families, patients_of

Bools = npt.NDArray[np.bool_]
Index = npt.NDArray[np.integer[Any]]


class Counted:
    """Sets of the same samples of which numbers are shown, such as those at or above a threshold.

    A set may be shown where it and the rest, and what it and every set that is shown differ by, are of no 1
    to 10 patients of any class: a rate is a count to who knows how many there are.

    Args:
        classes: with the event and without it, say: (n,) each.
        patient: (n,).
        told: sets that readers know from elsewhere, (n,) each.
    """

    def __init__(self, classes: Sequence[Bools], patient: Index, told: Iterable[Bools] = ()) -> None:
        self._classes, self._patient = classes, patient
        self._told = [np.asarray(members, dtype=bool) for members in told]

    @property
    def told(self) -> list[Bools]:
        """The sets that readers know."""
        return list(self._told)

    def may_tell(self, members: Bools) -> bool:
        """Whether numbers of these samples may be shown; if so, they count as shown from now on."""
        others = [np.zeros(len(members), dtype=bool), np.ones(len(members), dtype=bool), *self._told]
        for other in others:
            apart = members ^ other
            if any(is_small(patients_of(self._patient, apart & of_class)) for of_class in self._classes):
                return False
        self._told.append(members)
        return True


def told_groups(
    classes: Sequence[Bools], patient: Index, groups: Mapping[str, Bools], least: int = 0
) -> list[str]:
    """The groups of which numbers may be shown, in their order.

    Of a group, of all others, and of what two groups differ by, no class is of 1 to 10 patients; nor is what
    groups that do not overlap leave over: with the numbers of all samples those of the rest could be told. Of
    each such family the smallest group goes until that is so.

    Args:
        classes: what samples are told apart by, (n,) each; together they are all that numbers are of.
        patient: (n,).
        groups: name -> its samples, (n,).
        least: patients that a group must have of each class.
    """
    whole = np.any(classes, axis=0)
    inside = {name: members & whole for name, members in groups.items()}
    counted = Counted(classes, patient)

    def enough(members: Bools) -> bool:
        return all(patients_of(patient, members & part) >= least for part in classes)

    kept: set[str] = set()
    for family in families(inside):
        ordered = sorted(family, key=lambda name: (-int(inside[name].sum()), name))
        mine = [name for name in ordered if enough(inside[name]) and counted.may_tell(inside[name])]
        while mine and not counted.may_tell(np.any([inside[name] for name in mine], axis=0)):
            mine.pop()
        kept |= set(mine)
    return [name for name in groups if name in kept]
