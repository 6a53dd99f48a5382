"""Identifiers and codes as text, written one way whatever wrote them."""

from __future__ import annotations

import re

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
