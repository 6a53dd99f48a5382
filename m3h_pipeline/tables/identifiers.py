"""Identifiers and codes as text, written one way whatever wrote them; keys of columns whose names repeat."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.tables.values import NUMBER, number_text

# Tools that read a column with gaps as floating point write "7.0".
_FLOAT = r"^(-?[0-9]+)\.0*$"
_FLOAT_TEXT = re.compile(_FLOAT)

_NUMBER = re.compile(NUMBER)
# Integers as they stay: no zero before them (that is a code), no sign but minus.
_WHOLE = re.compile(r"0|-?[1-9][0-9]*")
_CODE = re.compile(r"[+-]?0[0-9]")


def normal_ids(ids: pa.Array) -> pa.Array:
    """Identifiers without blanks around them, and without the ``.0`` that a column of floats leaves behind.

    Examples:
        >>> normal_ids(pa.array(["10003400", "7.0", " a.01 "])).to_pylist()
        ['10003400', '7', 'a.01']
    """
    return pc.replace_substring_regex(pc.utf8_trim_whitespace(ids), pattern=_FLOAT, replacement=r"\1")


def categories(text: pa.Array) -> pa.Array:
    """Values as names of categories: as :func:`normal_ids`, and one name per number, see `number_names`.

    Examples:
        >>> categories(pa.array(["1.50", None, "2e1"])).to_pylist()
        ['1.5', None, '20']
    """
    return named_categories(text, numbers=are_numbers(text))


def are_numbers(text: pa.Array) -> bool:
    """Whether all values of a column of categories are numbers, which have one name each."""
    return number_names(normal_ids(text).drop_null().unique().to_pylist()).numbers


def named_categories(text: pa.Array, *, numbers: bool) -> pa.Array:
    """Values as names of categories, each by itself.

    Args:
        text: as read.
        numbers: what :func:`are_numbers` said of the column when it was first read.

    Examples:
        >>> named_categories(pa.array(["1.50", "01", "high"]), numbers=True).to_pylist()
        ['1.5', '01', 'high']
    """
    coded = normal_ids(text).dictionary_encode()
    named = [number_name(one, numbers=numbers) for one in coded.dictionary.to_pylist()]
    return pa.array(named, pa.string()).take(coded.indices)


class Named(NamedTuple):
    """How the distinct values of a column are named, and whether as numbers."""

    names: dict[str, str]
    numbers: bool


def number_names(texts: Sequence[str]) -> Named:
    """How the distinct values of a column are named: 1.50 and 1.5e0 as 1.5 if all are numbers.

    They keep their texts if one is no number, starts with a zero as codes do, or if two of them (the codes
    250.1 and 250.10) would become the same.

    Examples:
        >>> number_names(["1.50", "2e1", "3"]).names
        {'1.50': '1.5', '2e1': '20', '3': '3'}
        >>> number_names(["250.1", "250.10"]), number_names(["01", "2.50"]).numbers
        (Named(names={'250.1': '250.1', '250.10': '250.10'}, numbers=False), False)
    """
    same = {text: number_name(text, numbers=False) for text in texts}
    if not all(map(_is_plain, texts)):
        return Named(same, numbers=False)
    named = {text: number_name(text, numbers=True) for text in texts}
    told = len(set(named.values())) == len(set(same.values()))
    return Named(named if told else same, numbers=told)


def number_name(text: str, *, numbers: bool) -> str:
    """The name of one value of a column whose values are ``numbers``, or are not.

    Examples:
        >>> number_name("1.50", numbers=True), number_name("1.50", numbers=False)
        ('1.5', '1.50')
    """
    if text == "-0":
        return "0"
    if not (numbers and _is_plain(text)) or _WHOLE.fullmatch(text):
        return text
    return number_text(float(text))


def _is_plain(text: str) -> bool:
    """Whether a text is a number, and no code that starts with a zero."""
    return bool(_NUMBER.match(text)) and not _CODE.match(text)


def normal_id(text: str) -> str:
    """One identifier as :func:`normal_ids` writes it.

    Examples:
        >>> normal_id("7.0"), normal_id(" a.01 "), normal_id("-1.00")
        ('7', 'a.01', '-1')
    """
    return _FLOAT_TEXT.sub(r"\1", text.strip())


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
