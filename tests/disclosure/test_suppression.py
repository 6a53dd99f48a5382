"""Suppression against a reader who solves for what is hidden, and against the rules of output checkers."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from m3h_pipeline.disclosure import LEAST
from m3h_pipeline.disclosure.suppression import Sum, hidden, shown

EXAMPLES = int(os.environ.get("M3H_EXAMPLES", "60"))


def table_2d(cells: np.ndarray) -> tuple[list[int], list[Sum]]:
    """A table with its margins as counts and sums: cells, then row totals, column totals, the grand total."""
    rows, columns = cells.shape
    counts = [*cells.ravel(), *cells.sum(axis=1), *cells.sum(axis=0), cells.sum()]
    at = rows * columns
    sums = [Sum(at + i, range(i * columns, (i + 1) * columns)) for i in range(rows)]
    sums += [Sum(at + rows + j, range(j, at, columns)) for j in range(columns)]
    grand = at + rows + columns
    sums += [Sum(grand, range(at, at + rows)), Sum(grand, range(at + rows, grand))]
    return [int(n) for n in counts], sums


def bounds(counts: Sequence[int], sums: Sequence[Sum], masked: np.ndarray, cell: int) -> tuple[float, float]:
    """What a reader can say of a count: least and largest value that all shown ones allow (the attacker)."""
    equations = np.zeros((len(sums), len(counts)))
    for row, one in zip(equations, sums, strict=True):
        row[list(one.parts)] += 1
        row[one.total] -= 1
    limits = [
        (n, n) if not dark else (1, LEAST - 1) if n < LEAST else (LEAST, None)
        for n, dark in zip(counts, masked, strict=True)
    ]
    aim = np.zeros(len(counts))
    aim[cell] = 1
    ends = [
        linprog(sign * aim, A_eq=equations, b_eq=np.zeros(len(sums)), bounds=limits, method="highs")
        for sign in (1, -1)
    ]
    assert ends[0].status == 0
    least, most = ends[0].fun, ends[1].fun
    assert least is not None
    return least, np.inf if most is None or ends[1].status == 3 else -most


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.integers(1, 4).flatmap(
        lambda rows: st.integers(2, 4).flatmap(
            lambda columns: st.lists(
                st.one_of(st.integers(0, 14), st.integers(0, 400)),
                min_size=rows * columns,
                max_size=rows * columns,
            ).map(lambda n: np.array(n).reshape(rows, columns))
        )
    )
)
def test_nobody_solves_for_a_small_count(cells: np.ndarray) -> None:
    counts, sums = table_2d(cells)
    masked = hidden(counts, sums)
    for i, n in enumerate(counts):
        if 0 < n < LEAST:
            assert masked[i]
            least, most = bounds(counts, sums, masked, i)
            assert most - least > 0.5, (counts, masked, i, least, most)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=2, max_size=8))
def test_the_difference_of_what_is_shown_is_no_small_count(parts: list[int]) -> None:
    counts = [sum(parts), *parts]
    masked = hidden(counts, [Sum(0, range(1, len(counts)))])
    if not masked[0]:
        rest = counts[0] - sum(n for n, dark in zip(parts, masked[1:], strict=True) if not dark)
        assert rest == 0 or rest >= LEAST


@pytest.mark.parametrize(
    ("counts", "dark"),
    [
        ([31, 27, 4], [0, 1, 1]),
        ([31, 20, 11], [0, 0, 0]),
        ([31, 31, 0], [0, 0, 0]),
        ([20, 10, 10], [1, 1, 1]),  # both at most 10 and 20 together: both would be 10
        ([12, 1, 11], [1, 1, 1]),  # "hidden" is at least 11: the other would be 1
        ([7, 3, 4], [1, 1, 1]),
        ([100, 60, 30, 10], [0, 0, 1, 1]),
        ([100, 50, 40, 5, 5], [0, 0, 1, 1, 1]),  # 10 together is a small group too
    ],
)
def test_one_breakdown(counts: list[int], dark: list[int]) -> None:
    assert hidden(counts, [Sum(0, range(1, len(counts)))]).astype(int).tolist() == dark


def test_sums_together_tell_what_none_tells_alone() -> None:
    # Two hidden in every row and column but for one cell that joins two squares: the sums tell it.
    cells = np.full((4, 4), 50)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (2, 3), (3, 2), (3, 3), (1, 2)):
        cells[i, j] = 5
    counts, sums = table_2d(cells)
    naive = np.array([0 < n < LEAST for n in counts])
    assert bounds(counts, sums, naive, 6)[0] == pytest.approx(bounds(counts, sums, naive, 6)[1])
    masked = hidden(counts, sums)
    least, most = bounds(counts, sums, masked, 6)
    assert most - least > 0.5


def test_three_sums_in_a_ring_tell_what_no_two_do() -> None:
    counts, sums = [4, 50, 60, 54, 110, 64], [Sum(3, [0, 1]), Sum(4, [1, 2]), Sum(5, [0, 2])]
    # Half of 54 + 64 - 110 is 4: bounds, which take one sum at a time, do not see it.
    masked = hidden(counts, sums)
    assert masked[0]
    low, high = bounds(counts, sums, masked, 0)
    assert high - low >= 2


def test_what_people_read() -> None:
    assert shown([50, 42, 8, 0], [Sum(0, [1, 2, 3])]) == ["50", "hidden", "<11", "0"]
