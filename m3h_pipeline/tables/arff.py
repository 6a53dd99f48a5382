"""ARFF files, read by SciPy."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.reader import TableFileReader
from m3h_pipeline.tables.textfile import open_bytes

_DATA = re.compile(r"\s*@data\s*$", re.IGNORECASE)


class ArffTable(TableFileReader):
    """An ARFF file of numeric, nominal and date attributes, read by :func:`scipy.io.arff.loadarff`."""

    repeats = False

    def __init__(self, path: Path, shown: str) -> None:
        with open_bytes(path) as stream:
            data = stream.read()
        try:
            lines = data.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise InputError("the file is not UTF-8", where=shown, hint="export it as UTF-8") from error
        start = next((i for i, line in enumerate(lines) if _DATA.match(line)), None)
        if start is None:
            raise InputError("there is no @data line", where=shown, hint="is this an ARFF file?")
        self._header = lines[: start + 1]
        if any("{" in line and not line.isascii() for line in self._header):
            raise InputError(
                "nominal values with characters beyond ASCII cannot be read from ARFF",
                where=shown,
                hint="export the table as CSV",
            )
        blank = re.compile(r"\s*(%|$)")
        numbered = [(i, lines[i]) for i in range(start + 1, len(lines)) if not blank.match(lines[i])]
        self._lines = [i + 1 for i, _ in numbered]
        self._records = [line for _, line in numbered]
        try:
            self._meta = _loadarff(self._header)[1]
        except _ARFF_ERRORS as error:
            raise InputError(
                "the header is no ARFF of numeric, nominal and date attributes"
                + (" (string attributes are not read)" if isinstance(error, NotImplementedError) else ""),
                where=shown,
                hint="declare text as a nominal attribute, or export the table as CSV",
            ) from error
        super().__init__(shown, self._meta.names())

    def batches(
        self, numeric: Sequence[str], text: Sequence[str], missing: Sequence[str], *, plain: bool
    ) -> Iterator[pa.RecordBatch]:
        for row, record in enumerate(self._records):
            if (fields := len(_arff_fields(record))) != len(self.header):
                raise InputError(
                    f"a line has {fields} fields instead of {len(self.header)}", where=self.place([row])
                )
        try:
            data = _loadarff([*self._header, *self._records])[0]
        except _ARFF_ERRORS:
            raise self._wrong() from None
        wanted = list(dict.fromkeys([*numeric, *text]))
        yield pa.record_batch([_arff_column(data[name]) for name in wanted], names=wanted)

    def positions(self, rows: Sequence[int]) -> list[int]:
        return [self._lines[row] for row in rows]

    def _wrong(self) -> InputError:
        """Which value loadarff, which does not say, could not read."""
        low, high = 0, len(self._records)
        while high - low > 1:
            middle = (low + high) // 2
            try:
                _loadarff([*self._header, *self._records[low:middle]])
                low = middle
            except _ARFF_ERRORS:
                high = middle
        hint = "correct the value, or write ? where it is missing"
        for name, value in zip(self.header, _arff_fields(self._records[low]), strict=True):
            kind, values = self._meta[name]
            if kind == "numeric" and not _is_number(value):
                return InputError(
                    f"column `{name}` holds text where a number is expected",
                    where=self.place([low]),
                    hint=hint,
                )
            if kind == "nominal" and value != "?" and value not in values:
                return InputError(
                    f"column `{name}` holds a value that its attribute line does not list",
                    where=self.place([low]),
                    hint=hint,
                )
        return InputError("the line is no valid ARFF", where=self.place([low]), hint=hint)


#: What loadarff raises for a file that it cannot read.
_ARFF_ERRORS = (ValueError, LookupError, NotImplementedError, StopIteration, csv.Error, OSError)


def _loadarff(lines: Sequence[str]) -> tuple[npt.NDArray[Any], Any]:
    from scipy.io import arff

    limit = csv.field_size_limit()
    try:
        data, meta = arff.loadarff(io.StringIO("\n".join(lines) + "\n"))
    finally:
        # loadarff raises the limit of the whole process.
        csv.field_size_limit(limit)
    return data, meta


def _arff_fields(record: str) -> list[str]:
    delimiter = "," if "," in record or "\t" not in record else "\t"
    quote = next((c for c in record if c in "'\""), '"')
    fields = next(csv.reader([record], delimiter=delimiter, quotechar=quote, skipinitialspace=True), [])
    return [field.strip() for field in fields]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "?"
    return True


def _arff_column(values: npt.NDArray[Any]) -> pa.Array:
    if values.dtype.kind == "S":
        text = [value.decode("utf-8") for value in values.tolist()]
        return pa.array([None if value == "?" else value for value in text], type=pa.string())
    if values.dtype.kind == "M":
        return pa.array([None if np.isnat(value) else str(value) for value in values], type=pa.string())
    return pa.array(values)
