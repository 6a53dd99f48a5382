"""Features as the references hold them: numbers, and categories as a code instead of a 0/1 feature a value.

A categorical column of a table is written as features ``column=value``, one per value. Here they are one
column again: 76,199 stays with 2,345 such features are 715 MB as numbers and 7 MB as codes, boosting sees
categories as categories, and products with the 0/1 features are sums over the few that are 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from m3h_pipeline.config.model import Modality
from m3h_pipeline.errors import ContractError
from m3h_pipeline.features.scaling import Scaled, scaled_once
from m3h_pipeline.files.features import FEATURE_ROWS, feature_batches, feature_names
from m3h_pipeline.layout import CohortFiles
from m3h_pipeline.references.problem import Rows
from m3h_pipeline.training.data import BoolArray, Float32Array, StudyData, used_features

Codes = npt.NDArray[np.int16]

#: The code of a missing value, of a value without a feature of its own, and of the first that has one.
MISSING: Final = 0
OTHER: Final = 1
FIRST: Final = 2
#: Values of a category that are looked at together.
_VALUES = 128


class Origin(NamedTuple):
    """Where the columns of one source stand among its raw features.

    Attributes:
        source: its name.
        width: how many raw features it has.
        numbers: places of the numbers that vary.
        categories: of each category that varies the places of its 0/1 features, and what each code of
            :func:`coded` becomes, (features of the category + ``FIRST``,).
    """

    source: str
    width: int
    numbers: Rows
    categories: tuple[tuple[Rows, Codes], ...]


@dataclass(frozen=True)
class Columns:
    """The features of a study that vary, row-aligned.

    Attributes:
        numbers: (n, P), those that are no category.
        codes: (n, G), of each categorical column which value a row has: ``MISSING``, ``OTHER``, or ``FIRST``
            and more for the values that have a feature.
        sizes: (G,) how many values have a feature.
        origins: source by source, where numbers and codes come from.
    """

    numbers: Scaled
    codes: Codes
    sizes: tuple[int, ...]
    origins: tuple[Origin, ...] = ()

    @property
    def width(self) -> int:
        """F: how many features there are, one for each number and for each value of each category."""
        return int(self.numbers.x.shape[1]) + sum(self.sizes)

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the features."""
        total = hashlib.sha256(f"{self.numbers.x.shape}:{self.sizes}:".encode())
        total.update(np.ascontiguousarray(self.numbers.x).data)
        total.update(np.ascontiguousarray(self.codes).data)
        return total.hexdigest()

    def flags(self, rows: Rows) -> Float32Array:
        """The 0/1 features of the categories, NaN where a value is missing: (len(rows), sum of ``sizes``)."""
        parts = [np.zeros((len(rows), 0), dtype=np.float32)]
        parts += [_flags(self.codes[rows, j], np.arange(size)) for j, size in enumerate(self.sizes)]
        return np.concatenate(parts, axis=1)

    def features(self, rows: Rows) -> Float32Array:
        """All features, scaled only for the sake of rounding, NaN = missing: (len(rows), F)."""
        return np.concatenate([self.numbers.x[rows], self.flags(rows)], axis=1)


class Source(NamedTuple):
    """Features of one source.

    Attributes:
        name: of the source.
        names: D of them.
        batches: reads them anew, a batch of rows (b, D) at a time, NaN = missing.
    """

    name: str
    names: Sequence[str]
    batches: Callable[[], Iterable[Float32Array]]


def columns_of(data: StudyData) -> Columns:
    """The features of a study in memory."""

    def source(name: str, x: Float32Array) -> Source:
        batches = [x[a : a + FEATURE_ROWS] for a in range(0, len(x), FEATURE_ROWS)]
        return Source(name, data.feature_names(name), lambda: batches)

    return _columns([source(name, x) for name, x in data.features.items()], data)


def read_columns(cohort: Path, modalities: Mapping[str, Modality], data: StudyData) -> Columns:
    """The features of a study from its files, some rows at a time: they are never in memory as numbers.

    Args:
        cohort: folder with ``features/<source>.parquet``.
        modalities: modality -> its sources.
        data: the study without its features.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: a file has another number of rows than the split, or infinite values.
    """

    def source(name: str) -> Source:
        path = CohortFiles(cohort).features(name)
        return Source(name, feature_names(path), lambda: feature_batches(path))

    return _columns([source(one) for name in sorted(modalities) for one in modalities[name].sources], data)


def _columns(sources: Iterable[Source], data: StudyData) -> Columns:
    numbers, codes, sizes, origins = [], [], list[int](), list[Origin]()
    for source in sources:
        groups, categories = _coded(source, data.n), list[tuple[Rows, Codes]]()
        for place, code in groups:
            used = _used_values(code, len(place), data)
            if used.any():
                # Values without a feature that varies are others.
                new = np.full(len(place) + FIRST, OTHER, dtype=np.int16)
                new[MISSING] = MISSING
                new[FIRST:][used] = FIRST + np.arange(used.sum())
                codes.append(new[code])
                sizes.append(int(used.sum()))
                categories.append((place, new))
        rest = np.setdiff1d(np.arange(len(source.names)), [j for place, _ in groups for j in place])
        if len(rest):
            x = np.concatenate([np.ascontiguousarray(part[:, rest]) for part in _checked(source, data.n)])
            used = used_features(x, data.train, data.patients)
            numbers.append(x[:, used])
            rest = rest[used]
        origins.append(Origin(source.name, len(source.names), rest, tuple(categories)))
    x = np.concatenate([np.zeros((data.n, 0), dtype=np.float32), *numbers], axis=1)
    numbers.clear()
    scaled = scaled_once(x, np.flatnonzero(data.train)) if x.shape[1] else Scaled(x, np.zeros(0), np.zeros(0))
    stacked = np.stack(codes, axis=1) if codes else np.zeros((data.n, 0), dtype=np.int16)
    return Columns(scaled, stacked, tuple(sizes), tuple(origins))


def _checked(source: Source, n: int) -> Iterator[Float32Array]:
    """The batches of a source.

    Raises:
        ContractError: they have not n rows, or infinite values.
    """
    where, rows = f"features {', '.join(source.names[:2])}, ...", 0
    for part in source.batches():
        if np.isinf(part).any():
            raise ContractError("infinite values", where=where, hint="use NaN for missing")
        rows += len(part)
        yield part
    if rows != n:
        raise ContractError(f"{rows} rows, but the split has {n}", where=where)


def _coded(source: Source, n: int) -> list[tuple[Rows, Codes]]:
    """The categories of a source: places of their 0/1 features, and a code for each row."""
    groups = categories(source.names)
    if not groups:
        return []
    found = np.zeros((len(groups), n), dtype=np.int16)
    a = 0
    for part in _checked(source, n):
        for k, group in enumerate(groups):
            if len(group) and a + len(part) <= n:
                code = coded(part[:, group])
                # What is no category in one batch is none.
                groups[k] = group if code is not None else group[:0]
                found[k, a : a + len(part)] = MISSING if code is None else code
        a += len(part)
    return [(group, code) for group, code in zip(groups, found, strict=True) if len(group)]


def _used_values(code: Codes, size: int, data: StudyData) -> BoolArray:
    """Which values of a category have a feature that varies, (size,)."""
    used = np.zeros(size, dtype=bool)
    for a in range(0, size, _VALUES):
        flags = _flags(code, np.arange(a, min(size, a + _VALUES)))
        used[a : a + _VALUES] = used_features(flags, data.train, data.patients)
    return used


def _flags(code: Codes, values: Rows) -> Float32Array:
    """0/1 features of some values of a category, NaN where it is missing."""
    flags: Float32Array = (code[:, None] == FIRST + values).astype(np.float32)
    flags[code == MISSING] = np.nan
    return flags


def categories(names: Sequence[str]) -> list[Rows]:
    """Places of the features ``column=value``, column by column.

    Examples:
        >>> categories(["age", "sex=F", "sex=M", "ward=A=1"])
        [array([1, 2]), array([3])]
    """
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        column, sign, _ = name.partition("=")
        if sign and column:
            found.setdefault(column, []).append(place)
    return [np.array(places, dtype=np.int64) for places in found.values()]


def coded(x: Float32Array) -> Codes | None:
    """The codes of 0/1 features of which at most one is 1; None: they are not the values of one category.

    Args:
        x: (n, D), NaN = missing.

    Shape:
        (n,)
    """
    missing = np.isnan(x)
    none = missing[:, 0]
    one = x == 1
    count = one.sum(axis=1)
    if (missing != none[:, None]).any() or not (one | (x == 0) | missing).all() or (count > 1).any():
        return None
    found = np.where(none, MISSING, np.where(count == 1, FIRST + one.argmax(axis=1), OTHER))
    return found.astype(np.int16)
