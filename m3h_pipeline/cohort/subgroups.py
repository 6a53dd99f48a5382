"""Who the samples are: identifiers, codes of subgroups, and label columns whose type nobody declared."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import pyarrow as pa

from m3h_pipeline.cohort.rare import without_rare
from m3h_pipeline.config.base import Subgroup
from m3h_pipeline.config.missing import is_missing
from m3h_pipeline.contracts import samples_schema
from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.identifiers import normal_id
from m3h_pipeline.tables.parsing import parse_number
from m3h_pipeline.tables.values import number_text, read_number


@functools.lru_cache(maxsize=4096)
def code(text: str) -> str:
    """A group's code as text: whole numbers lose their fraction, missing ones become empty.

    Examples:
        >>> code("1.0"), code("0"), code(" F "), code("nan"), code("True")
        ('1', '0', 'F', '', '1')
    """
    text = normal_id(text)
    number = read_number(text) if text.lower() in ("true", "false") else None
    return "" if is_missing(text) else text if number is None else number_text(number)


def encode(codes: Sequence[str], group: Subgroup, name: str) -> pa.DictionaryArray:
    """The names of the groups; a code that has no name is missing.

    Raises:
        InputError: not a single code has a name, so that the configuration names the wrong column or codes.
    """
    given = {code(key) or key: value for key, value in group.values.items()}
    named = [given.get(c) if group.values else (c or None) for c in codes]
    if group.values and codes and not any(named):
        raise InputError(
            f"no value of column `{group.column}` is among {', '.join(sorted(group.values))}",
            where=f"subgroup `{name}`",
            hint="check `source.subgroups`",
        )
    values = sorted({value for value in named if value is not None})
    place = {value: i for i, value in enumerate(values)}
    indices = pa.array([None if v is None else place[v] for v in named], pa.int32())
    return pa.DictionaryArray.from_arrays(indices, pa.array(values, pa.string()))


def samples_table(
    sample: pa.Array,
    patient: pa.Array,
    stay: pa.Array,
    subgroups: Mapping[str, Subgroup],
    codes: Mapping[str, Sequence[str]],
) -> pa.Table:
    """``samples.parquet``: the identifiers, then the subgroups in their order.

    Args:
        sample, patient, stay: (n,) identifiers.
        subgroups: as configured.
        codes: subgroup -> n codes as text.

    Raises:
        InputError: as :func:`encode`.
    """
    groups = [encode(_told(codes[name], group, patient), group, name) for name, group in subgroups.items()]
    return pa.Table.from_arrays([sample, patient, stay, *groups], schema=samples_schema(list(subgroups)))


def _told(codes: Sequence[str], group: Subgroup, patient: pa.Array) -> Sequence[str]:
    """Codes that name groups by themselves, without those of few patients; names that a study gives stay."""
    if group.values:
        return codes
    values = pa.array([code or None for code in codes], pa.string())
    return [value or "" for value in without_rare(values, patient)[0].to_pylist()]


def infer(texts: Sequence[str]) -> pa.Array:
    """A column as float64 if every value that is not missing is a number, else as text; missing is null.

    Examples:
        >>> infer(["1", "", "2.5"]).to_pylist(), infer(["1", "AP"]).to_pylist()
        ([1.0, None, 2.5], ['1', 'AP'])
    """
    known = [None if is_missing(text) else text for text in texts]
    try:
        return pa.array([None if t is None else parse_number(t) for t in known], pa.float64())
    except ValueError:
        return pa.array(known, pa.string())
