"""Which counts of a table are hidden: the small ones, and those from which a small one could be derived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from m3h_pipeline.disclosure import FEW, HIDDEN, LEAST, is_small

BoolArray = npt.NDArray[np.bool_]
#: So many values a hidden count must be able to have, as far as a reader can tell.
_LEAST_LEFT = 3


class Sum(NamedTuple):
    """What a reader knows of a table: a count is the sum of others.

    Attributes:
        total: place of the total among the counts.
        parts: places of what it is the sum of.
    """

    total: int
    parts: Sequence[int]


def hidden(
    counts: Sequence[int],
    sums: Sequence[Sum],
    *,
    of_few: Collection[int] = (),
    known: Collection[int] = (),
    unsaid: Collection[int] = (),
    rows: Sequence[Sequence[int]] = (),
) -> BoolArray:
    """Which counts must be hidden, so that no count of 1 to 10 can be derived from those shown.

    Primary suppression: every small count. Complementary suppression: in every sum with a hidden count at
    least two are hidden, and those hidden under a total that is shown are together no small count; the sums,
    taken together, determine no hidden count (all of them are solved, not one at a time); and what a
    reader can bound, who knows what :func:`shown` writes of each, has at least three values left. The
    smallest counts that serve are hidden. Rules: Hundepool et al., Handbook on Statistical Disclosure
    Control, ch. 4.

    Args:
        counts: (n,), not negative.
        sums: as far as readers know them.
        of_few: places of further counts that must be hidden, as they are rows of few patients.
        known: places of counts that readers know from elsewhere: hiding them would hide nothing.
        unsaid: places of counts that are shown nowhere; to tell one is no harm, unless it is small.
        rows: places of counts that are shown together or not at all.

    Shape:
        (n,)

    Examples:
        >>> hidden([31, 27, 4], [Sum(0, [1, 2])]).tolist()
        [False, True, True]
        >>> hidden([50, 20, 17, 9, 4], [Sum(0, [1, 2, 3, 4])]).tolist()
        [False, False, False, True, True]
    """
    n = np.asarray(counts, dtype=np.int64)
    secret = np.array([is_small(value) for value in n], dtype=bool)
    secret[list(of_few)] = True
    masked = secret.copy()
    masked[list(unsaid)] = True
    silent = masked & ~secret
    fixed = np.zeros(len(n), dtype=bool)
    fixed[list(known)] = True
    row_of = {i: list(row) for row in rows for i in row}
    for i in np.flatnonzero(masked):
        masked[row_of.get(int(i), [])] = True
    while (more := _next(n, masked, silent, fixed, sums)) is not None:
        masked[[more, *row_of.get(more, [])]] = True
    return masked


def _next(
    n: npt.NDArray[np.int64],
    masked: BoolArray,
    silent: BoolArray,
    fixed: BoolArray,
    sums: Sequence[Sum],
) -> int | None:
    """One more count to hide, or None: first one that serves several sums, then the smallest."""
    telling = []
    for one in sums:
        dark = [i for i in (*one.parts, one.total) if masked[i]]
        together = int(n[[i for i in one.parts if masked[i]]].sum())
        # Under a total that is hidden the difference of the total and what is shown stays unknown.
        if (len(dark) == 1 and not silent[dark[0]]) or (not masked[one.total] and is_small(together)):
            telling.append(one)
    if (found := _serving(n, masked, fixed, telling)) is not None:
        return found
    for told in (_determined, _narrow):
        cells = {i for i in told(n, masked, sums) if not silent[i]}
        found = _serving(n, masked, fixed, [one for one in sums if cells & {one.total, *one.parts}])
        if found is not None:
            return found
    return None


def _serving(
    n: npt.NDArray[np.int64], masked: BoolArray, fixed: BoolArray, sums: Sequence[Sum]
) -> int | None:
    """A count that can still be hidden in one of the sums: of the parts, else a total; zeros hide nothing."""
    open_ = ~masked & ~fixed & (n > 0)
    served = Counter(i for one in sums for i in (*one.parts, one.total) if open_[i])
    parts = {i for one in sums for i in one.parts} & set(served)
    return min(parts or served, key=lambda i: (-served[i], n[i], i), default=None)


def _determined(n: npt.NDArray[np.int64], masked: BoolArray, sums: Sequence[Sum]) -> list[int]:
    """Hidden counts that the sums determine."""
    secret = np.flatnonzero(masked)
    if not len(secret):
        return []
    place = {int(i): j for j, i in enumerate(secret)}
    matrix = np.zeros((len(sums), len(secret)))
    for row, one in zip(matrix, sums, strict=True):
        for i in one.parts:
            if i in place:
                row[place[i]] += 1
        if one.total in place:
            row[place[one.total]] -= 1
    matrix = matrix[np.any(matrix != 0, axis=1)]
    if not len(matrix):
        return []
    # A count is told where its own axis lies in the space that the rows span.
    _, values, right = np.linalg.svd(matrix, full_matrices=False)
    inside = (right[values > 1e-9 * max(1.0, values[0])] ** 2).sum(axis=0)
    return [int(i) for i in secret[inside > 1 - 1e-9]]


def _narrow(n: npt.NDArray[np.int64], masked: BoolArray, sums: Sequence[Sum]) -> list[int]:
    """Hidden counts that a reader can bound too closely: "<11" says 1 to 10, "hidden" says more."""
    small = (n > 0) & (n < LEAST)
    # No mark stands for 0: it is hidden only where nothing is said of it at all.
    low = np.where(masked, np.where(small, 1, np.minimum(n, LEAST)), n).astype(np.float64)
    high = np.where(masked, np.where(small, LEAST - 1, np.inf), n)
    for _ in range(2 * len(sums)):
        before = (low.copy(), high.copy())
        for one in sums:
            t, parts = one.total, np.asarray(one.parts, dtype=np.intp)
            endless = np.isinf(high[parts])
            most = np.where(endless, 0, high[parts])
            others_high = np.where(endless.sum() - endless > 0, np.inf, most.sum() - most)
            others_low = low[parts].sum() - low[parts]
            low[t] = max(low[t], low[parts].sum())
            high[t] = min(high[t], np.inf if endless.any() else most.sum())
            low[parts] = np.maximum(low[parts], low[t] - others_high)
            if np.isfinite(high[t]):
                high[parts] = np.minimum(high[parts], high[t] - others_low)
        if np.array_equal(before[0], low) and np.array_equal(before[1], high):
            break
    return np.flatnonzero(masked & (high - low < _LEAST_LEFT - 1)).tolist()


def shown(counts: Sequence[int], sums: Sequence[Sum]) -> list[str]:
    """The counts for people: small ones read "<11", those hidden for their sake "hidden".

    Args:
        counts, sums: as of :func:`hidden`.

    Examples:
        >>> shown([31, 27, 4], [Sum(0, [1, 2])])
        ['31', 'hidden', '<11']
    """
    return written(counts, hidden(counts, sums))


def written(counts: Sequence[int], masked: BoolArray) -> list[str]:
    """The counts for people, given which of them are hidden."""
    return [
        f"{n:,}" if not dark else FEW if n < LEAST else HIDDEN for n, dark in zip(counts, masked, strict=True)
    ]
