"""How labels and predictions are coded as numbers, in files as in memory. Needs no file format."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

#: Times at which survival curves are recorded.
SURVIVAL_TIMES = 32

#: The metric of a problem class.
METRICS = {
    "binary": "auroc",
    "multiclass": "macro_auroc",
    "regression": "r2",
    "clustering": "silhouette",
    "survival": "concordance",
}


def prediction_width(problem_class: str, classes: int) -> int:
    """Numbers per row of a prediction, see ``contracts.PREDICTIONS``."""
    return {"multiclass": classes, "clustering": 2, "survival": 1 + SURVIVAL_TIMES}.get(problem_class, 1)


def signed_time(time: npt.ArrayLike, event: npt.ArrayLike) -> Float32Array:
    """Times to an event as one number a row: negative (-0.0 included) where the time is censored.

    So survival labels travel as those of all other tasks do. NaN where the time or whether there was an event
    (``event`` NaN) is not known.

    Examples:
        >>> signed_time([3.0, 2.0, 0.0, 1.0], [1, 0, 0, np.nan]).tolist()
        [3.0, -2.0, -0.0, nan]
    """
    t, happened = np.asarray(time, dtype=np.float32), np.asarray(event, dtype=np.float32)
    return np.where(np.isnan(t) | np.isnan(happened), np.float32(np.nan), np.where(happened == 1, t, -t))


def time_and_event(y: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The inverse of :func:`signed_time`: times (NaN = not observed), and where an event was observed."""
    return np.abs(y.astype(np.float64)), ~np.signbit(y) & ~np.isnan(y)


#: Between a task and the number of its permuted companion (m3h_pipeline.tasks.permuted); no task's own name
#: can hold it.
PERMUTED_MARK = "~"


def is_permuted(name: str) -> bool:
    """Whether this is a permuted companion.

    Examples:
        >>> is_permuted("diabetes~1"), is_permuted("diabetes")
        (True, False)
    """
    return PERMUTED_MARK in name


def labelled_by(name: str) -> str:
    """The task whose labels a task has: itself, or of a permuted companion the one that was permuted.

    Examples:
        >>> labelled_by("diabetes~1"), labelled_by("diabetes")
        ('diabetes', 'diabetes')
    """
    return name.partition(PERMUTED_MARK)[0]
