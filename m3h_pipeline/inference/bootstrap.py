"""The bootstrap over patients.

Patients, not rows, are resampled: the samples of one patient are not independent. Randomness comes in as a
seed; draws are shared by all models and tasks, so that differences are paired.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from m3h_pipeline.inference.metrics import Float64


def patient_counts(n_patients: int, n_draws: int, seed: int) -> npt.NDArray[np.float32]:
    """How often each patient is drawn: ``n_patients`` draws with replacement, ``n_draws`` times.

    A draw depends on the seed, its number and ``n_patients`` only: more draws begin with the same ones.

    Shape:
        (n_draws, n_patients); float32 holds these integers exactly.

    Examples:
        >>> patient_counts(4, 3, seed=0).sum(axis=1).tolist()
        [4.0, 4.0, 4.0]
    """
    if n_patients < 1 or n_draws < 1:
        raise ValueError(f"{n_patients} patients, {n_draws} draws: both must be positive")
    generator = np.random.default_rng(seed)
    counts = np.empty((n_draws, n_patients), dtype=np.float32)
    for draw in range(n_draws):
        counts[draw] = np.bincount(generator.integers(0, n_patients, n_patients), minlength=n_patients)
    return counts


def bootstrap_variance(draws: Float64, n_patients: int) -> float:
    """Variance of an estimate from its bootstrap draws; draws in which it is undefined are left out.

    The bootstrap's variance is too small by (m - 1) / m for ``m`` units; the factor m / (m - 1) undoes this.

    Args:
        draws: shape (n_draws,).
        n_patients: units that carry the information: patients, for a rare class the patients that have it.

    Returns:
        NaN with fewer than 2 defined draws or units.
    """
    defined = draws[np.isfinite(draws)]
    if len(defined) < 2 or n_patients < 2:
        return float("nan")
    return float(defined.var(ddof=1)) * n_patients / (n_patients - 1)


def percentile_interval(draws: Float64, level: float = 0.95) -> tuple[float, float]:
    """The central share ``level`` of bootstrap draws, undefined ones left out; NaN if none is defined."""
    defined = draws[np.isfinite(draws)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)
