"""Values of a column that few patients have: they become one, `other`, before anything else sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.disclosure import LEAST

#: What rare values become; a value of that name is one of them.
OTHER: Final = "other"


def without_rare(values: pa.Array, patient: pa.Array) -> tuple[pa.Array, int]:
    """The values with those of fewer than 11 patients as one, `other`.

    Where `other` itself has fewer patients, the values with the fewest join it until it has enough: the
    others' counts would tell of it. Where all together have fewer, none is left and all are missing.

    Args:
        values: (n,) text, null = missing.
        patient: (n,) whose each row is.

    Returns:
        The values, and how many different ones became `other`, or missing.

    Examples:
        >>> people = pa.array([f"p{i}" for i in range(40)])
        >>> grouped, rare = without_rare(pa.array(["a"] * 22 + ["b"] * 12 + ["c"] * 4 + ["d"] * 2), people)
        >>> sorted(set(grouped.to_pylist())), grouped.to_pylist().count("other"), rare
        (['a', 'other'], 18, 3)
    """
    kept, rare = values_left(values, patient)
    return (with_others(values, kept), rare) if rare else (values, 0)


def with_others(values: pa.Array, kept: Sequence[str]) -> pa.Array:
    """The values that are kept; another one is `other` where that is kept, else missing.

    Examples:
        >>> with_others(pa.array(["a", "b", None]), ["a", "other"]).to_pylist()
        ['a', 'other', None]
    """
    known = pc.is_in(values, value_set=pa.array(list(kept), pa.string()))
    rest = pa.scalar(OTHER if OTHER in kept else None, pa.string())
    return pc.if_else(pc.or_(known, pc.is_null(values)), values, rest)


def values_left(values: pa.Array, patient: pa.Array) -> tuple[list[str], int]:
    """The values, sorted, that :func:`without_rare` leaves, and how many became another or none."""
    coded = values.dictionary_encode()
    names = coded.dictionary.to_pylist()
    codes = coded.indices.to_numpy(zero_copy_only=False)
    seen = np.flatnonzero(~np.isnan(codes)) if codes.dtype.kind == "f" else np.arange(len(codes))
    code = codes[seen].astype(np.int64)
    person = patient.dictionary_encode().indices.to_numpy(zero_copy_only=False)[seen]
    pairs = np.unique(np.stack([code, person], axis=1), axis=0)
    people = np.bincount(pairs[:, 0], minlength=len(names))
    rare = {i for i, n in enumerate(people) if n < LEAST or names[i] == OTHER}
    order = sorted(range(len(names)), key=lambda i: (people[i], names[i]))

    def enough() -> bool:
        return len(np.unique(pairs[np.isin(pairs[:, 0], list(rare)), 1])) >= LEAST

    for i in order:
        if not rare or enough():
            break
        rare.add(i)
    label = OTHER if enough() else None
    if all(names[i] == label for i in rare):
        return sorted(names), 0
    renamed = {name for i, name in enumerate(names) if i not in rare} | ({OTHER} if label else set())
    return sorted(renamed), len(rare)
