"""Identifiers and codes as text, written one way whatever wrote them; keys of columns whose names repeat."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.tables.values import number_names

# Tools that read a column with gaps as floating point write "7.0".
_WHOLE = r"^(-?[0-9]+)\.0*$"
_WHOLE_TEXT = re.compile(_WHOLE)


def normal_ids(ids: pa.Array) -> pa.Array:
    """Identifiers without blanks around them, and without the ``.0`` that a column of floats leaves behind.

    Examples:
        >>> normal_ids(pa.array(["10003400", "7.0", " a.01 "])).to_pylist()
        ['10003400', '7', 'a.01']
    """
    return pc.replace_substring_regex(pc.utf8_trim_whitespace(ids), pattern=_WHOLE, replacement=r"\1")


def categories(text: pa.Array) -> pa.Array:
    """Values as names of categories: as :func:`normal_ids`, and one name per number, see `number_names`.

    Examples:
        >>> categories(pa.array(["1.50", None, "2e1"])).to_pylist()
        ['1.5', None, '20']
    """
    coded = normal_ids(text).dictionary_encode()
    known = coded.dictionary.to_pylist()
    named = number_names(known)
    return pa.array([named[name] for name in known], pa.string()).take(coded.indices)


def normal_id(text: str) -> str:
    """One identifier as :func:`normal_ids` writes it.

    Examples:
        >>> normal_id("7.0"), normal_id(" a.01 "), normal_id("-1.00")
        ('7', 'a.01', '-1')
    """
    return _WHOLE_TEXT.sub(r"\1", text.strip())


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
