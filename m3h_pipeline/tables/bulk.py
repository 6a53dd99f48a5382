"""Many records at once, read by Arrow, with the result of :func:`~m3h_pipeline.tables.parsing.parse_record`.

Arrow reads what it cannot read otherwise than the rules do: records without quotation marks, whose numbers
are finite and whose missing values are written as the rules write them. Every other record (infinite values,
texts in numeric columns, the wrong number of fields, bytes that are not UTF-8) is read by the rules
themselves. Both give the same, so that no size of a file and no neighbour of a record changes anything.
"""

from __future__ import annotations

import itertools
from codecs import BOM_UTF8
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from m3h_pipeline.tables.parsing import MISSING, Layout, Malformed, Rows, parse_record

#: What a missing value is in most files.
_EMPTY = ("",)


def parse_records(records: Sequence[bytes], layout: Layout) -> Rows:
    """Parse records, each without its line end."""
    n = len(records)
    rows = Rows(
        np.full((n, len(layout.singles)), np.nan, dtype=np.float32),
        np.full((n, len(layout.doubles)), np.nan, dtype=np.float64),
        [[] for _ in range(n)],
        [None] * n,
    )
    # Arrow would take a choice of no column for one of all columns.
    some = layout.singles or layout.doubles or layout.texts
    usual = [i for i, record in enumerate(records) if some and _usual(record)]
    understood = _read(records, usual, layout, rows, _EMPTY)
    for i in sorted(set(range(n)) - understood):
        try:
            rows.singles[i], rows.doubles[i], rows.texts[i] = parse_record(records[i], layout)
        except Malformed as reason:
            rows.malformed[i] = str(reason)
    return rows


def _usual(record: bytes) -> bool:
    """Whether fields end where commas stand and texts are text: what Arrow would not say."""
    if not record or b'"' in record or b"\r" in record or b"\n" in record or record.startswith(BOM_UTF8):
        return False
    if record.isascii():
        return True
    try:
        record.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _read(
    records: Sequence[bytes], chosen: list[int], layout: Layout, rows: Rows, missing: tuple[str, ...]
) -> set[int]:
    """Let Arrow read the chosen records into ``rows``; returns those that it understood.

    One odd value makes it refuse all records of a call. It is then told all words for a missing value, which
    takes it twice the time, and the records are halved until the odd ones stand alone.
    """
    if not chosen:
        return set()
    understood = _arrow([records[i] for i in chosen], layout, missing)
    if understood is None:
        if missing == _EMPTY:
            return _read(records, chosen, layout, rows, _missing())
        if len(chosen) == 1:
            return set()
        half = len(chosen) // 2
        first, second = (
            _read(records, part, layout, rows, missing) for part in (chosen[:half], chosen[half:])
        )
        return first | second
    kept, numbers, texts = understood
    at = [chosen[k] for k in kept]
    with np.errstate(over="ignore"):
        rows.singles[at] = numbers[:, : len(layout.singles)]
    rows.doubles[at] = numbers[:, len(layout.singles) :]
    for i, values in zip(at, zip(*texts, strict=True), strict=True) if texts else ():
        rows.texts[i] = list(values)
    return set(at)


def _arrow(
    records: list[bytes], layout: Layout, missing: tuple[str, ...]
) -> tuple[list[int], npt.NDArray[np.float64], list[list[str]]] | None:
    """Which of the records have the right number of fields, their numbers and their texts, column by column.

    None: a number is none, not finite, or missing in a way of Arrow's own.
    """
    odd: set[int] = set()

    def refuse(row: Any) -> str:
        odd.add(row.number - 1)
        return "skip"

    numeric = [str(i) for i in (*layout.singles, *layout.doubles)]
    text = [str(i) for i in layout.texts]
    data = b"\n".join(records)
    try:
        table = pacsv.read_csv(
            pa.BufferReader(data),
            # One block: each would convert its columns anew.
            pacsv.ReadOptions(
                column_names=[str(i) for i in range(len(layout.names))],
                use_threads=False,
                block_size=len(data) + 1,
            ),
            pacsv.ParseOptions(quote_char=False, ignore_empty_lines=False, invalid_row_handler=refuse),
            pacsv.ConvertOptions(
                include_columns=[*numeric, *text],
                column_types=dict.fromkeys(numeric, pa.float64()) | dict.fromkeys(text, pa.string()),
                null_values=list(missing),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        return None
    kept = [k for k in range(len(records)) if k not in odd]
    numbers = _matrix(table.select(numeric))
    if numbers is None:
        return None
    return kept, numbers, [[value.strip() for value in table[name].to_pylist()] for name in text]


def _matrix(table: pa.Table) -> npt.NDArray[np.float64] | None:
    """The columns as (n, columns), null = NaN; None if a value that is there is not finite."""
    if not table.num_columns or not table.num_rows:
        return np.empty((table.num_rows, table.num_columns))
    (batch,) = table.combine_chunks().to_batches()
    values: npt.NDArray[np.float64] = batch.to_tensor(null_to_nan=True).to_numpy()
    absent = sum(column.null_count for column in batch.columns)
    return values if values.size - np.count_nonzero(np.isfinite(values)) == absent else None


@cache
def _missing() -> tuple[str, ...]:
    """The texts that mean "missing", in every case, since Arrow compares them exactly."""
    return tuple(
        "".join(letters)
        for text in sorted(MISSING)
        for letters in itertools.product(*({c.lower(), c.upper()} for c in text))
    )
