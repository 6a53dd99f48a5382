"""Names of columns: one key for each, also where a name stands again, and names of a vector's elements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

#: Between the name of a column and the number that tells it from an earlier one of the same name.
_AGAIN = "\x1f"


def called(key: str) -> str:
    """The name in the header of the column that a key stands for.

    A name can stand several times in a header (a gene that several probes measure). Every column has a key of
    its own, which is its name where that stands for the first time.

    Examples:
        >>> keys = keys_of(["TP53", "MYC", "TP53"])
        >>> len(set(keys)), [called(key) for key in keys]
        (3, ['TP53', 'MYC', 'TP53'])
    """
    return key.partition(_AGAIN)[0]


def keys_of(names: Sequence[str]) -> list[str]:
    """The keys of the columns of a header, each once; see :func:`called`."""
    seen: Counter[str] = Counter()
    keys = []
    for name in names:
        seen[name] += 1
        keys.append(name if seen[name] == 1 else f"{name}{_AGAIN}{seen[name]}")
    return keys


def elements(name: str, width: int) -> list[str]:
    """The names of the elements of a column of vectors.

    Examples:
        >>> elements("embedding", 2)
        ['embedding.0', 'embedding.1']
    """
    return [f"{name}.{i}" for i in range(width)]
