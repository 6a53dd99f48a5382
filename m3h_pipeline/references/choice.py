"""How a reference's setting is chosen: by folds inside the rows that a fit may learn from.

A fit scored on fold f chooses its setting by the other folds: a fit on all of them but g predicts g. One fit
without f and g does so for both, so that every setting is fitted once per pair of folds and the chosen one
once per fold. No label of a fold has a part in what is predicted of it: the score out of fold is not
optimistic (Varma & Simon 2006; nested cross-validation).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from m3h_pipeline.inference.metrics import metric
from m3h_pipeline.inference.resampled import TEST
from m3h_pipeline.references.problem import Floats, Rows
from m3h_pipeline.training.data import StudyData

#: From so many labelled training rows on, each fold is paired with two others and not with all.
MANY_ROWS: Final = 20_000
#: Where there is no fold but the two of a pair, the rows of each are divided among so many.
_SHARES: Final = 3


@dataclass(frozen=True)
class Inner:
    """A fit whose predictions choose settings.

    Attributes:
        training: rows it learns from.
        scored: rows it predicts.
        serves: fold whose setting it helps to choose -> places in ``scored`` that count for it.
    """

    training: Rows
    scored: Rows
    serves: dict[int, Rows]


def inner_fits(data: StudyData, labelled: int, seed: int) -> list[Inner]:
    """The fits that choose settings, for each fold and for the whole training part (``TEST``).

    Args:
        data: the split, and whose the rows are.
        labelled: how many training rows have a label.
        seed: of the division of patients where there are but two folds.
    """
    folds = sorted(set(data.fold[data.train].tolist()))
    if len(folds) < 3:
        return [one for fold in folds for one in _shares(data, fold, seed)]
    pairs: Iterable[tuple[int, ...]] = combinations(folds, 2)
    if labelled >= MANY_ROWS:
        pairs = sorted({tuple(sorted((f, folds[(i + 1) % len(folds)]))) for i, f in enumerate(folds)})
    found = []
    for f, g in pairs:
        training = np.flatnonzero(data.train & (data.fold != f) & (data.fold != g))
        first, second = data.scored_rows(f), data.scored_rows(g)
        scored = np.concatenate([first, second])
        places = np.arange(len(scored))
        serves = {g: places[: len(first)], f: places[len(first) :]}
        found.append(Inner(training, scored, serves))
    return found


def _shares(data: StudyData, fold: int, seed: int) -> list[Inner]:
    rows = data.training_rows(fold)
    people, patient = np.unique(data.patients[rows], return_inverse=True)
    share = np.random.default_rng(seed).permutation(np.arange(len(people)) % _SHARES)[patient]
    return [
        Inner(rows[share != s], rows[share == s], {fold: np.arange(int((share == s).sum()))})
        for s in range(_SHARES)
    ]


def choose(name: str, y: Floats, fits: Sequence[tuple[Inner, Sequence[Floats]]], fold: int) -> int:
    """The setting with the best mean metric over the inner fits where it is defined; the first of equals.

    Args:
        name: metric of coding.METRICS, or a dotted path.
        y: (n,) labels.
        fits: inner fits, and each setting's predictions of their scored rows.
        fold: whose setting is chosen; ``TEST``: that of the whole training part, by all of them.
    """
    values = []
    for inner, path in fits:
        for served, places in inner.serves.items():
            if fold in (served, TEST):
                labels = y[inner.scored[places]]
                values.append([metric(name, labels, prediction[places]) for prediction in path])
    found = np.array(values)
    defined = np.isfinite(found).all(axis=1)
    return int(found[defined].mean(axis=0).argmax()) if defined.any() else 0
