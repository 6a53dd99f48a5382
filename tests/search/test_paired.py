"""The standard error of paired differences against plain formulas, and against what is true."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.search.paired import paired_error

Float64 = npt.NDArray[np.float64]


def by_hand(d: Float64, folds: int) -> float:
    """Sums over rows and columns, written down one by one."""
    replicates, n = d.shape
    grand = sum(d[r, f] for r in range(replicates) for f in range(n)) / (replicates * n)
    fold = [sum(d[r, f] for r in range(replicates)) / replicates for f in range(n)]
    seed = [sum(d[r, f] for f in range(n)) / n for r in range(replicates)]
    variance = sum((m - grand) ** 2 for m in fold) / (n - 1) * (1 / n + (1 / folds) / (1 - 1 / folds))
    if replicates > 1:
        rest = sum((d[r, f] - fold[f] - seed[r] + grand) ** 2 for r in range(replicates) for f in range(n))
        residual = rest / ((replicates - 1) * (n - 1))
        between = n * sum((m - grand) ** 2 for m in seed) / (replicates - 1)
        # The variance component of a random effect: (mean square - residual) / n; of the mean: by replicates.
        variance += max((between - residual) / n, 0.0) / replicates
    return float(variance**0.5)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(2, 6), st.integers(0, 3))
def test_it_is_what_the_formula_says(seed: int, replicates: int, n: int, more: int) -> None:
    d = np.random.default_rng(seed).normal(size=(3, replicates, n))
    found = paired_error(d, n + more)
    assert found == pytest.approx([by_hand(one, n + more) for one in d])
    # Neither the order of folds and seeds, nor a shift, nor the unit plays a part.
    assert paired_error(d[:, ::-1, ::-1] * 10 + 3, n + more) == pytest.approx(10 * found)


def drawn(
    rng: np.random.Generator, patients: float, lasting: float, rest: float, shape: tuple[int, ...]
) -> Float64:
    """Differences whose true mean is 0: a fold's part, a seed's part, and the rest."""
    many, replicates, folds = shape
    return np.asarray(
        patients * rng.normal(size=(many, 1, folds))
        + lasting * rng.normal(size=(many, replicates, 1))
        + rest * rng.normal(size=shape)
    )


@pytest.mark.parametrize(("patients", "lasting"), [(0.006, 0.0), (0.006, 0.008), (0.0, 0.008)])
def test_with_several_seeds_it_covers_what_persists_of_them(patients: float, lasting: float) -> None:
    """Folds drawn independent: their correction makes it wide, by half at most (2.25 of variance)."""
    d = drawn(np.random.default_rng(1), patients, lasting, 0.006, (40_000, 3, 5))
    true = d.mean(axis=(1, 2)).std()
    typical = np.sqrt((paired_error(d, 5) ** 2).mean())
    assert true < typical < 1.55 * true


def test_with_one_seed_what_persists_is_partly_missed_and_never_taken_for_a_folds() -> None:
    """As the docstring says: patients 0.006, seeds 0.008 of which half the variance persists."""
    half = 0.008 * 0.5**0.5
    d = drawn(np.random.default_rng(2), 0.006, half, half, (40_000, 1, 5))
    true = d.mean(axis=(1, 2)).std()
    typical = np.sqrt((paired_error(d, 5) ** 2).mean())
    independent = np.sqrt((d.var(axis=2, ddof=1) / 5).mean())
    assert independent < 0.6 * true
    assert 0.75 * true < typical < 1.0 * true


def test_few_differences() -> None:
    assert paired_error(np.array([[0.1]]), 5) == np.inf
    assert paired_error(np.empty((1, 0)), 5) == np.inf
    # Of one fold the seeds are all there is.
    assert paired_error(np.array([[0.1], [0.3]]), 5) == pytest.approx(0.1)
    assert paired_error(np.full((2, 3, 4), 0.2), 4) == pytest.approx([0.0, 0.0], abs=1e-12)
    assert np.isnan(paired_error(np.array([[0.1, np.nan, 0.2]]), 3))
