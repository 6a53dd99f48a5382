"""Memory and time of the reference fits of one task, from the shape of its study, for a scheduler.

Terms are counted from what :mod:`m3h_pipeline.references` holds at its peak; a test runs the stage in a
process of its own and compares. They decide when fits are computed and never what comes out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from m3h_pipeline.coding import prediction_width
from m3h_pipeline.files.features import FEATURE_ROWS

#: Interpreter and libraries, in MB; those of deep references.
_BASE_MB, _DEEP_MB = 450, 1500
#: What is asked for is so many times what was counted: other versions and allocators hold other amounts.
_SAFETY_MB: Final = 1.3
#: Machines differ, and are shared.
_SAFETY_TIME: Final = 3.0
#: Seconds of one core: a multiplication of a product of rows, of one of features by features; a row, column
#: and tree of boosting; a row and tree of its predictions.
_PRODUCT, _SQUARE, _BINNED, _READ_OFF = 1e-9, 4e-10, 1.5e-8, 1.5e-7
#: Evaluations along a path of penalties, trees of all settings, and shortest time limit in minutes.
_EVALUATIONS, _TREES, _SHORTEST = 200, 320, 20
#: Minutes of the deep references, whose fits go by epochs.
_DEEP_MINUTES: Final = 120


@dataclass(frozen=True)
class Shape:
    """What the cost depends on.

    Attributes:
        rows: samples.
        numbers: features that belong to no category, P.
        values: features ``column=value``, Q.
        categories: columns of these, G.
        folds: of the cross-validation.
        width: numbers per prediction.
        survival: whether it is a survival task.
        read_mb: size of the largest file of features.
    """

    rows: int
    numbers: int
    values: int
    categories: int
    folds: int
    width: int
    survival: bool
    read_mb: float

    @property
    def features(self) -> int:
        """F."""
        return self.numbers + self.values

    @property
    def inner(self) -> int:
        """Fits of all settings that choose one."""
        return 2 * 3 if self.folds == 2 else self.folds * (self.folds - 1) // 2


def files_shape(labels: Path, features: Sequence[Path], folds: int) -> Shape:
    """The shape of a task's study, from what its files say of themselves.

    Args:
        labels: of the task.
        features: files of the sources.
        folds: of the cross-validation.

    Raises:
        OSError: a file is not there yet.
    """
    described = json.loads((pq.read_schema(labels).metadata or {}).get(b"task", b"{}"))
    kind = str(described.get("problem_class", "binary"))
    numbers = values = categories = 0
    for path in features:
        names = json.loads((pq.read_schema(path).metadata or {}).get(b"names", b"[]"))
        columns = [name.partition("=")[0] for name in names if "=" in name]
        numbers, values = numbers + len(names) - len(columns), values + len(columns)
        categories += len(set(columns))
    width = prediction_width(kind, len(described.get("classes") or []))
    return Shape(
        rows=int(pq.read_metadata(labels).num_rows),
        numbers=numbers,
        values=values,
        categories=categories,
        folds=folds,
        width=width,
        survival=kind == "survival",
        read_mb=max((path.stat().st_size / 1e6 for path in features), default=0.0),
    )


def memory_mb(shape: Shape, baselines: Sequence[str], deep: Sequence[str]) -> int:
    """Memory in MB that the job is given, in multiples of 100.

    Args:
        shape: of the study.
        baselines: the references.
        deep: those of them that need a package of their own.
    """
    n, p, g, f = shape.rows, shape.numbers, shape.categories, shape.features
    # Numbers twice while they are put together and scaled; codes as read, and as kept.
    table = n * (8 * p + 6 * g)
    reading = 1e6 * shape.read_mb + 3 * 4 * FEATURE_ROWS * f
    outputs = shape.width if shape.width > 1 and not shape.survival else 1
    fits = [reading]
    if "linear" in baselines:
        # Rows as read, scaled and multiplied; places of values, of which a matrix is made and kept.
        linear = n * (20 * p + 60 * g + 60 * outputs)
        fits.append(linear + (4 * 8 * f * f + 50 * 8 * f * outputs if n > f else 8 * n * (3 * n + 3 * f)))
    if "gradient_boosting" in baselines:
        fits.append(n * 16 * (p + g) + n * 100)
    if deep:
        fits.append(n * 4 * 4 * f)
    # Predictions of all settings, until one is chosen.
    paths = 1.5 * shape.inner * n * (2 / max(3, shape.folds)) * 8 * shape.width * 4
    base = _BASE_MB + (_DEEP_MB if deep else 0)
    return 100 * math.ceil(_SAFETY_MB * (base + (table + max(fits) + paths) / 1e6) / 100)


def runtime_minutes(shape: Shape, baselines: Sequence[str], deep: Sequence[str]) -> int:
    """Time limit in minutes that the job is given, in multiples of 5; arguments as of :func:`memory_mb`."""
    n, p, g, f = shape.rows, shape.numbers, shape.categories, shape.features
    fits = shape.inner + shape.folds + 1
    outputs = shape.width if shape.width > 1 and not shape.survival else 1
    seconds = 1e-8 * n * f
    if "linear" in baselines:
        side = min(n, f)
        step = outputs * (4 * n * (min(p, n) + 8 * g) * _PRODUCT + 4 * side * side * _SQUARE)
        once = 12 * side**3 * _SQUARE * (1 if n > f else fits)
        seconds += fits * _EVALUATIONS * step + once
    if "gradient_boosting" in baselines:
        seconds += fits * _TREES * outputs * n * (0.5 * (p + g) * _BINNED + _READ_OFF)
    minutes = max(_SHORTEST, _SAFETY_TIME * seconds / 60) + (_DEEP_MINUTES if deep else 0)
    return 5 * math.ceil(minutes / 5)
