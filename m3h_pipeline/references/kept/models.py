"""A fitted reference model as arrays: what predicts new rows, without the package that fitted it.

It takes raw features by source and place. Numbers are scaled as they were for the fit; the 0/1 features of a
category are one code again, so that a value that had no feature of its own is *other* and nobody else's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax

from m3h_pipeline.coding import prediction_width
from m3h_pipeline.errors import InputError
from m3h_pipeline.features.scaling import CLIP, scaled_by
from m3h_pipeline.references.columns import FIRST, Codes, Columns, coded
from m3h_pipeline.references.design import Float64, levels
from m3h_pipeline.references.kept.trees import Trees, raw_trees
from m3h_pipeline.references.problem import Floats, Rows
from m3h_pipeline.survival import cox_prediction

Array = npt.NDArray[Any]
#: Rows that are predicted together.
_ROWS = 8192


@dataclass(frozen=True)
class Linear:
    """A linear model of scaled features: ``x @ weights + intercepts``.

    Attributes:
        weights: (F, k), of the design's columns: numbers, then the 0/1 features of categories.
        intercepts: (k,).
        mean: (F,), taken off the design's rows.
    """

    weights: Float64
    intercepts: Float64
    mean: Float64


@dataclass(frozen=True)
class Constant:
    """The same prediction for everybody, (width,)."""

    row: Float64


@dataclass(frozen=True)
class Kept:
    """A fitted model.

    Attributes:
        kind: linear, trees or constant.
        problem_class: binary, multiclass, regression or survival.
        classes: how many; 0 of regression and survival.
        present: of classes, those that the training rows held: what the model's outputs are.
        sources: that it reads.
        arrays: all numbers; by name.
    """

    kind: str
    problem_class: str
    classes: int
    present: tuple[int, ...]
    sources: tuple[str, ...]
    arrays: dict[str, Array]

    def metadata(self) -> dict[str, str]:
        """What is no array."""
        names = ("kind", "problem_class", "classes", "present", "sources")
        return {"reference": json.dumps({name: getattr(self, name) for name in names})}

    def predict(self, features: Mapping[str, Floats | None]) -> Float64:
        """Predictions of new rows, (n, width) as in contracts.BASELINE_PREDICTIONS.

        Args:
            features: source -> (n, D) raw features, NaN = missing; None: the source is missing.

        Raises:
            InputError: a source has another number of features, or the values of a category are no 0/1.
        """
        n = next(len(x) for x in features.values() if x is not None)
        parts = [
            self._predicted({k: None if x is None else x[a : a + _ROWS] for k, x in features.items()})
            for a in range(0, n, _ROWS)
        ]
        width = prediction_width(self.problem_class, self.classes)
        return np.concatenate([np.zeros((0, width)), *parts])

    def _predicted(self, features: Mapping[str, Floats | None]) -> Float64:
        n = next(len(x) for x in features.values() if x is not None)
        if self.kind == "constant":
            return np.tile(np.asarray(self.arrays["row"], dtype=np.float64), (n, 1))
        numbers, codes = self._values(features, n)
        if self.kind == "trees":
            return self._linked(raw_trees(self.arrays, numbers, codes))
        x = np.clip((numbers - self.arrays["centre"]) * self.arrays["inverse"], -CLIP, CLIP)
        eta = np.nan_to_num(x, nan=0.0) @ self.arrays["weights"] + self.arrays["intercepts"]
        at = self.arrays["first"]
        for j in range(codes.shape[1]):
            eta += self.arrays["levels"][at[j] + codes[:, j]]
        return self._linked(eta)

    def _values(self, features: Mapping[str, Floats | None], n: int) -> tuple[Float64, Codes]:
        """What was fitted on: numbers scaled once, (n, P), and codes of categories, (n, G)."""
        numbers, codes = [np.zeros((n, 0), dtype=np.float32)], []
        for i, name in enumerate(self.sources):
            x, width = features.get(name), int(self.arrays["widths"][i])
            if x is None:
                x = np.full((n, width), np.nan, dtype=np.float32)
            elif x.ndim != 2 or x.shape != (n, width):
                raise InputError(
                    f"{x.shape[-1]} features, but the model was fitted to {width}", where=f"source {name}"
                )
            numbers.append(np.asarray(x[:, self.arrays[f"numbers/{i}"]], dtype=np.float32))
            for j in np.flatnonzero(self.arrays["category/source"] == i):
                code = coded(np.asarray(x[:, self.arrays[f"category/{j}/places"]], dtype=np.float32))
                if code is None:
                    raise InputError(
                        "the values of a category are not 0 or 1, or more than one is 1",
                        where=f"source {name}",
                    )
                codes.append(self.arrays[f"category/{j}/codes"][code])
        raw = np.concatenate(numbers, axis=1)
        scaled = scaled_by(raw, self.arrays["shift"], self.arrays["scale"]).astype(np.float32)
        stacked = np.stack(codes, axis=1) if codes else np.zeros((n, 0), dtype=np.int16)
        return scaled.astype(np.float64), stacked.astype(np.int16)

    def _linked(self, eta: Float64) -> Float64:
        if self.problem_class == "regression":
            return eta
        if self.problem_class == "survival":
            return cox_prediction(eta[:, 0], self.arrays["baseline"])
        one = expit(eta)
        few = np.concatenate([1 - one, one], axis=1) if eta.shape[1] == 1 else softmax(eta, axis=1)
        full = np.zeros((len(eta), self.classes))
        full[:, list(self.present)] = few
        return full if self.problem_class == "multiclass" else full[:, 1:]


def kept_reference(
    columns: Columns,
    training: Rows,
    problem_class: str,
    classes: int,
    y: Floats,
    fitted: Linear | Constant | Trees,
    baseline: Float64 | None = None,
) -> Kept:
    """A fitted model with all it takes to use it.

    Args:
        columns: the features it was fitted to.
        training: rows whose statistics scaled the features.
        problem_class: of the task.
        classes: number of classes.
        y: labels of the rows it was fitted to.
        fitted: the model.
        baseline: of survival tasks the cumulative baseline hazard.
    """
    present = tuple(int(c) for c in np.unique(y)) if problem_class in {"binary", "multiclass"} else ()
    named = (problem_class, classes, present)
    if isinstance(fitted, Constant):
        return Kept("constant", *named, (), {"row": np.asarray(fitted.row, dtype=np.float64)})
    sources, arrays = _inputs(columns)
    if baseline is not None:
        arrays["baseline"] = np.asarray(baseline, dtype=np.float64)
    if isinstance(fitted, Trees):
        return Kept("trees", *named, sources, {**arrays, **fitted.arrays()})
    split = columns.numbers.x.shape[1]
    centre, inverse, _ = columns.numbers.statistics(training, "robust")
    arrays |= {"centre": centre, "inverse": inverse, "weights": fitted.weights[:split]}
    arrays["intercepts"] = fitted.intercepts - fitted.mean @ fitted.weights
    arrays["first"], arrays["levels"] = _level_table(columns, training, fitted.weights[split:])
    return Kept("linear", *named, sources, arrays)


def _level_table(columns: Columns, training: Rows, weights: Float64) -> tuple[Rows, Float64]:
    """What each code of each category adds, (sum of codes, k), and where each category's begin, (G,)."""
    low, high = levels(columns, training)
    first, table = [], list[Float64]()
    a = at = 0
    for size in columns.sizes:
        part = slice(a, a + size)
        # As in the design, by how much a row differs from one whose features are all 0: a missing value is 0
        # where these are `low`.
        missing = -low[part] @ weights[part]
        own = (high[part] - low[part])[:, None] * weights[part]
        table += [missing[None], np.zeros((1, weights.shape[1])), own]
        first.append(at)
        at, a = at + FIRST + size, a + size
    found = np.concatenate(table) if table else np.zeros((0, weights.shape[1]))
    return np.array(first, dtype=np.int64), found


def _inputs(columns: Columns) -> tuple[tuple[str, ...], dict[str, Array]]:
    """Where a model's numbers and codes stand among the raw features."""
    sources = tuple(one.source for one in columns.origins)
    arrays: dict[str, Array] = {
        "widths": np.array([one.width for one in columns.origins], dtype=np.int64),
        "shift": columns.numbers.shift,
        "scale": columns.numbers.scale,
    }
    whose: list[int] = []
    for i, one in enumerate(columns.origins):
        arrays[f"numbers/{i}"] = one.numbers
        for places, codes in one.categories:
            arrays[f"category/{len(whose)}/places"] = places
            arrays[f"category/{len(whose)}/codes"] = codes
            whose.append(i)
    arrays["category/source"] = np.array(whose, dtype=np.int64)
    return sources, arrays


def restored(metadata: Mapping[str, str], arrays: Mapping[str, Array]) -> Kept:
    """A kept model from its file.

    Raises:
        InputError: the file holds no reference model.
    """
    if "reference" not in metadata:
        raise InputError("the file holds no reference model of this package")
    told: dict[str, Any] = json.loads(metadata["reference"])
    return Kept(
        told["kind"],
        told["problem_class"],
        told["classes"],
        tuple(told["present"]),
        tuple(told["sources"]),
        dict(arrays),
    )
