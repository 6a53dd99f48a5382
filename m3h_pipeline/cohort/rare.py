"""Values of a column that few patients have: they become one, `other`, before anything else sees them."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

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
        return values, 0
    renamed = [label if i in rare else name for i, name in enumerate(names)]
    return pa.array(renamed, pa.string()).take(coded.indices), len(rare)
