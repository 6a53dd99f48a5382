"""How a task's labels spread over parts and folds, for people: ``labels/prevalence.tsv``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from m3h_pipeline.disclosure import is_small
from m3h_pipeline.disclosure.suppression import Sum, hidden, written

BoolArray = npt.NDArray[np.bool_]

#: Columns of ``labels/prevalence.tsv``. ``fold`` is empty for a whole part; ``n`` counts samples of ``class``
#: among the ``observed`` ones of ``samples``, ``patients`` whose they are. Counts of 1 to 10 read "<11",
#: those from which one could be derived "hidden" (of a class, of the others, or of samples without a label),
#: and shares that would tell them are empty. ``n`` of fewer than 11 patients is hidden too.
PREVALENCE_COLUMNS = ("task", "part", "fold", "class", "n", "share", "observed", "samples", "patients")


class Slice(NamedTuple):
    """A part of the split or one of its folds: name for people, columns of the table, rows."""

    name: str
    part: str
    fold: str
    rows: BoolArray


class _Counts:
    """Counts of a table and what a reader knows of them."""

    def __init__(self) -> None:
        self.n: list[int] = []
        self.sums: list[Sum] = []
        self.of_few: list[int] = []

    def add(self, n: int) -> int:
        self.n.append(int(n))
        return len(self.n) - 1

    def split(self, slices: Sequence[Slice], at: Sequence[int]) -> None:
        """The slices' counts add up: parts to the cohort, folds to the training part."""
        place = {(s.part, s.fold): i for s, i in zip(slices, at, strict=True)}
        folds = [i for (part, fold), i in place.items() if part == "train" and fold]
        self.sums.append(Sum(place["all", ""], [place["train", ""], place["test", ""]]))
        if folds:
            self.sums.append(Sum(place["train", ""], folds))


def prevalence(
    task: str,
    classes: Mapping[str, BoolArray],
    shown: Sequence[str],
    slices: Sequence[Slice],
    patients: npt.NDArray[np.intp],
) -> Iterator[tuple[str, ...]]:
    """Rows of the table of one task.

    Args:
        task: its name.
        classes: class -> its rows, (n,) each; together they are the observed rows.
        shown: the classes that get rows.
        slices: the cohort, its parts, the folds of the training part.
        patients: (n,) number of each row's patient.
    """
    observed = np.any(list(classes.values()), axis=0)
    counts = _Counts()
    samples = [counts.add(s.rows.sum()) for s in slices]
    counts.split(slices, samples)
    # How many samples a slice has stands beside every task: it is hidden for its own sake only.
    for i in np.flatnonzero(hidden(counts.n, counts.sums)):
        counts.of_few.append(int(i))
    seen = [counts.add((observed & s.rows).sum()) for s in slices]
    unseen = [counts.add((~observed & s.rows).sum()) for s in slices]
    for total, parts in zip(samples, zip(seen, unseen, strict=True), strict=True):
        counts.sums.append(Sum(total, parts))
    of_class: dict[str, tuple[list[int], list[int]]] = {}
    for name, rows in classes.items():
        n = [counts.add((rows & s.rows).sum()) for s in slices]
        people = [counts.add(len(np.unique(patients[rows & s.rows]))) for s in slices]
        counts.of_few += [i for i, p in zip(n, people, strict=True) if is_small(counts.n[p])]
        counts.split(slices, n)
        counts.split(slices, people)
        of_class[name] = n, people
    for k, total in enumerate(seen):
        counts.sums.append(Sum(total, [n[k] for n, _ in of_class.values()]))
    counts.split(slices, seen)
    counts.split(slices, unseen)
    masked = hidden(counts.n, counts.sums, of_few=counts.of_few, known=samples)
    text = written(counts.n, masked)
    for k, s in enumerate(slices):
        for name in shown:
            one, persons = (places[k] for places in of_class[name])
            # Where there is one class, its share is that of the samples with a label.
            whole = seen[k] if len(classes) > 1 else samples[k]
            telling = masked[one] or masked[whole] or counts.n[whole] == 0
            share = "" if telling else f"{counts.n[one] / counts.n[whole]:.4f}"
            yield (
                task,
                s.part,
                s.fold,
                name,
                text[one],
                share,
                text[seen[k]],
                text[samples[k]],
                text[persons],
            )
