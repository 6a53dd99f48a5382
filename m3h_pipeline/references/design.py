"""Design matrices of linear models: features as a network sees them, without a number for every 0.

A 0/1 feature scaled robustly takes three values: one where it is 1, one where it is 0, and 0 where it is
missing. But for a constant, which an intercept takes up, its column is a sparse one plus a multiple of the
indicator of its category's being missing; both are kept as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from m3h_pipeline.features.scaling import CLIP
from m3h_pipeline.references.columns import FIRST, MISSING, Columns
from m3h_pipeline.references.problem import Floats, Problem, Rows

Float64 = npt.NDArray[np.float64]
#: Above this many numbers, dense features are kept in float32.
_DOUBLE = 20_000_000


@dataclass(frozen=True)
class Design:
    """A matrix X of n rows and F columns, known by its products.

    Attributes:
        numbers: (n, P), the first P columns.
        flags: (n, Q) sparse, what the other columns are combinations of.
        mix: (Q, F - P) sparse, the combinations.
        mean: (F,), taken off every row.
    """

    numbers: Floats
    flags: Any
    mix: Any
    mean: Float64

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def width(self) -> int:
        """F."""
        return len(self.mean)

    def times(self, weights: Float64) -> Float64:
        """X @ weights, (n, k), of weights (F, k)."""
        split = self.numbers.shape[1]
        found = np.asarray(self.numbers @ weights[:split].astype(self.numbers.dtype), dtype=np.float64)
        if self.mix.shape[1]:
            found += self.flags @ (self.mix @ weights[split:])
        found -= self.mean @ weights
        return found

    def back(self, rows: Float64) -> Float64:
        """X.T @ rows, (F, k), of rows (n, k)."""
        found: Float64 = np.concatenate(
            [
                np.asarray(self.numbers.T @ rows.astype(self.numbers.dtype), dtype=np.float64),
                self.mix.T @ (self.flags.T @ rows),
            ]
        )
        found -= self.mean[:, None] * rows.sum(axis=0)
        return found

    def dense(self) -> Float64:
        """X as an array, (n, F)."""
        found = np.concatenate([self.numbers, (self.flags @ self.mix).toarray()], axis=1, dtype=np.float64)
        found -= self.mean
        return found

    def gram(self) -> Float64:
        """X.T @ X, (F, F)."""
        cross = self.mix.T @ (self.flags.T @ self.numbers)
        square = (self.mix.T @ (self.flags.T @ self.flags) @ self.mix).toarray()
        found = np.block([[np.asarray(self.numbers.T @ self.numbers), cross.T], [cross, square]])
        found = found.astype(np.float64)
        ones = np.ones((len(self), 1))
        # The mean of the columns need not be what is taken off.
        total = self.back(ones)[:, 0] + len(self) * self.mean
        found -= np.outer(total, self.mean) + np.outer(self.mean, total)
        found += len(self) * np.outer(self.mean, self.mean)
        return found


def dense(x: Floats, mean: Float64 | None = None) -> Design:
    """An ordinary matrix, centred.

    Args:
        x: (n, F), none missing.
        mean: what is taken off; None: the mean of each column.
    """
    kind = np.float64 if x.size <= _DOUBLE else np.float32
    if mean is None:
        mean = x.mean(axis=0, dtype=np.float64) if len(x) else np.zeros(x.shape[1])
    nothing = sparse.csr_array((len(x), 0)), sparse.csr_array((0, 0))
    return Design(x.astype(kind, copy=False), *nothing, mean)


def designed(problem: Problem[Floats]) -> Problem[Design]:
    """A problem on arrays without missing values as one on matrices, centred by the training rows."""
    x = dense(problem.x)
    return Problem(problem.problem_class, problem.classes, x, problem.y, dense(problem.scored, x.mean))


def designs(columns: Columns, training: Rows, parts: Sequence[Rows]) -> list[Design]:
    """Features of some rows as a network sees them, but for constants: see :func:`seen`.

    Args:
        columns: of the study.
        training: rows whose statistics scale the features.
        parts: the rows of each matrix; the mean of the first is taken off all.
    """
    centre, inverse, _ = columns.numbers.statistics(training, "robust")
    low, high = levels(columns, training)
    at = np.concatenate([[0], np.cumsum(columns.sizes)]).astype(np.int64)
    gaps = [j for j in range(len(columns.sizes)) if (columns.codes[:, j] == MISSING).any()]
    # Below the differences of the values where a feature is 1 and 0 stand those of missing and 0.
    blocks = [sparse.diags_array(high - low, format="csr")]
    for j in gaps:
        place = np.arange(at[j], at[j + 1])
        level = -low[place]
        blocks.append(sparse.csr_array((level, (np.zeros(len(place), int), place)), (1, int(at[-1]))))
    mix = sparse.vstack(blocks, format="csr") if len(low) else sparse.csr_array((0, 0))
    found: list[Design] = []
    mean = np.zeros(columns.width)
    for rows in parts:
        numbers = _numbers(columns, rows, centre, inverse)
        design = Design(numbers, _flags(columns, rows, at, gaps), mix, mean)
        if not found and len(rows):
            mean = design.back(np.ones((len(rows), 1)))[:, 0] / len(rows)
        found.append(Design(numbers, design.flags, mix, mean))
    return found


def seen(columns: Columns, training: Rows, rows: Rows) -> npt.NDArray[np.float32]:
    """Features as a network sees them: scaled robustly by their values in ``training``, clipped, missing 0.

    Shape:
        (len(rows), F)
    """
    centre, inverse, _ = columns.numbers.statistics(training, "robust")
    low, high = levels(columns, training)
    flags = columns.flags(rows)
    flags = np.where(np.isnan(flags), 0, np.where(flags == 1, high, low)).astype(np.float32)
    return np.concatenate([_numbers(columns, rows, centre, inverse).astype(np.float32), flags], axis=1)


def _numbers(columns: Columns, rows: Rows, centre: Floats, inverse: Floats) -> Floats:
    x = columns.numbers.x[rows]
    kind = np.float64 if x.size <= _DOUBLE else np.float32
    found = np.empty(x.shape, dtype=kind)
    for a in range(0, len(x), 4096):
        part = np.clip((x[a : a + 4096] - centre) * inverse, -CLIP, CLIP)
        found[a : a + 4096] = np.nan_to_num(part, nan=0.0)
    return found


def levels(columns: Columns, training: Rows) -> tuple[Float64, Float64]:
    """What 0 and 1 become in every 0/1 feature, (sum of ``sizes``,) each; 0 of features constant there."""
    low, high = [np.zeros(0)], [np.zeros(0)]
    for j, size in enumerate(columns.sizes):
        counts = np.bincount(columns.codes[training, j], minlength=FIRST + size)
        share = counts[FIRST:] / max(1, int(counts.sum() - counts[MISSING]))
        deviation = np.sqrt(share * (1 - share))
        inverse = np.divide(1.0, deviation, out=np.zeros(size), where=deviation > 0)
        low.append(np.clip(-share * inverse, -CLIP, CLIP))
        high.append(np.clip((1 - share) * inverse, -CLIP, CLIP))
    return np.concatenate(low), np.concatenate(high)


def _flags(columns: Columns, rows: Rows, at: Rows, gaps: Sequence[int]) -> Any:
    """Sparse (len(rows), sum of ``sizes`` + len(gaps)): each category's value, then where it has none."""
    codes = columns.codes[rows]
    row, column = np.nonzero(codes >= FIRST)
    place = at[column] + codes[row, column] - FIRST
    holes = codes[:, list(gaps)] == MISSING
    hole_row, hole = np.nonzero(holes)
    row, place = np.concatenate([row, hole_row]), np.concatenate([place, at[-1] + hole])
    shape = (len(rows), int(at[-1]) + len(gaps))
    return sparse.csr_array((np.ones(len(row)), (row.astype(np.int32), place.astype(np.int32))), shape)
