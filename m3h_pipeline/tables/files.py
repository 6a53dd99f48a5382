"""The formats of a ``table`` source's files: CSV, TSV, Parquet, ARFF, AnnData; gzipped, in a package."""

from __future__ import annotations

import csv
import importlib.resources
import importlib.util
import io
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from m3h_pipeline.config.sources import TableFile
from m3h_pipeline.errors import ConfigError, InputError
from m3h_pipeline.tables.matrices import AnnDataTable, TransposedTable
from m3h_pipeline.tables.reader import TableFileReader, no_row
from m3h_pipeline.tables.textfile import DELIMITERS, open_bytes, read_header, reading, split_header

#: Endings that say how a file is written; a further ``.gz`` is looked through.
FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arff": "arff",
    ".h5ad": "h5ad",
}
_PACKAGE = "python:"
_DATA = re.compile(r"\s*@data\s*$", re.IGNORECASE)


def open_file(file: TableFile, stack: ExitStack) -> TableFileReader:
    """Open one file as configured and read the names of its columns; raises what :func:`open_table` does."""
    reader = open_table(file.path, stack, layer=file.layer, symbols=file.symbols)
    return TransposedTable(reader) if file.transposed else reader


def open_table(
    path: str, stack: ExitStack, layer: str | None = None, symbols: str | None = None
) -> TableFileReader:
    """Open one file and read the names of its columns.

    Args:
        path: the file, or ``python:package/file`` for one inside an installed package, which is not imported.
        stack: closes what stays open for the reader's life.
        layer: of an AnnData file.
        symbols: column of an AnnData file's ``var`` that names its features.

    Raises:
        ConfigError: the ending is of no known format.
        InputError: the file is absent, empty, damaged, or its delimiter is another than the ending says.
    """
    suffixes = Path(path).suffixes
    ending = (suffixes[-2:-1] if suffixes[-1:] == [".gz"] else suffixes[-1:]) or [""]
    kind = FORMATS.get(ending[0].lower())
    if kind is None:
        raise ConfigError(
            f"`{ending[0]}` is no format of a table" if ending[0] else "the file has no ending",
            where=path,
            hint=f"give a file that ends in {', '.join(FORMATS)}, with or without .gz",
        )
    located = stack.enter_context(_located(path))
    if kind == "parquet":
        return ParquetTable(located, path)
    if kind == "h5ad":
        return AnnDataTable(located, path, layer, symbols)
    if kind == "arff":
        return ArffTable(located, path)
    return DelimitedTable(located, path, "," if kind == "csv" else "\t")


@contextmanager
def _located(path: str) -> Iterator[Path]:
    """The path of a file, also of one inside a package (unpacked if the package is a zip file)."""
    if not path.startswith(_PACKAGE):
        yield Path(path)
        return
    package, _, inside = path.removeprefix(_PACKAGE).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None:
        raise InputError(
            f"the package `{package}` is not installed", where=path, hint=f"pip install {package}"
        )
    # A module that is not executed: importing a scientific package takes seconds, its files need no code.
    found = importlib.resources.files(importlib.util.module_from_spec(spec)).joinpath(inside)
    if not found.is_file():
        raise InputError(f"the package `{package}` has no such file", where=path, hint="check the path")
    with importlib.resources.as_file(found) as unpacked:
        yield unpacked


class DelimitedTable(TableFileReader):
    """A CSV or TSV file with a header line."""

    def __init__(self, path: Path, shown: str, delimiter: str) -> None:
        self._path, self._delimiter = path, delimiter
        with open_bytes(path) as stream:
            line, _ = read_header(stream, shown)
        if line.count(b'"') % 2:
            raise InputError("the name of a column holds a line end", where=f"{shown}, line 1")
        names = split_header(line, shown, delimiter)
        super().__init__(shown, names)
        if len(names) < 2:
            self.check_delimiter()

    def check_delimiter(self) -> None:
        """Raise InputError if the header has more columns under another delimiter."""
        with open_bytes(self._path) as stream:
            line, _ = read_header(stream, self.shown)
        counts = {other: len(split_header(line, self.shown, other)) for other in DELIMITERS}
        best = max(counts, key=lambda other: counts[other])
        if counts[best] > len(self.names):
            expected = DELIMITERS[self._delimiter]
            ending = next((e for e, kind in FORMATS.items() if kind == _delimited(best)), None)
            raise InputError(
                f"the fields are separated by {DELIMITERS[best]}s ({best!r}), not by {expected}s",
                where=f"{self.shown}, line 1",
                hint=f"name the file {ending}" if ending else f"export the file with {expected}s",
            )

    def batches(
        self, numeric: Sequence[str], text: Sequence[str], missing: Sequence[str], *, plain: bool
    ) -> Iterator[pa.RecordBatch]:
        wanted = list(dict.fromkeys([*numeric, *text]))
        # Columns go by number: a name may stand twice among the columns that nobody wants.
        number = {name: str(self.names.index(name)) for name in wanted}
        as_text = set(wanted) if plain else set(text)
        types = {number[name]: pa.string() if name in as_text else pa.float64() for name in wanted}
        with open_bytes(self._path) as stream:
            reader = pacsv.open_csv(
                pa.PythonFile(stream, mode="r"),
                read_options=pacsv.ReadOptions(
                    column_names=[str(i) for i in range(len(self.names))], skip_rows=1, block_size=32 << 20
                ),
                parse_options=pacsv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True),
                convert_options=pacsv.ConvertOptions(
                    include_columns=list(number.values()), column_types=types, null_values=list(missing)
                ),
            )
            for batch in reader:
                yield batch.rename_columns(wanted)

    def positions(self, rows: Sequence[int]) -> list[int]:
        wanted, found = set(rows), {}
        for row, (line, _) in enumerate(self._records()):
            if row in wanted:
                found[row] = line
                if len(found) == len(wanted):
                    break
        return [found.get(row, row + 2) for row in rows]

    def explain(self, error: Exception) -> InputError:
        line = 0
        for line, fields in self._records():
            if fields != len(self.names):
                return InputError(
                    f"a line has {fields} fields instead of {len(self.names)}",
                    where=f"{self.shown}, line {line}",
                    hint="correct the line; a field that holds the delimiter must stand in quotation marks",
                )
        if line == 0:
            return no_row(self)
        return InputError(
            "the file is no valid UTF-8 text table", where=self.shown, hint="export it as UTF-8"
        )

    def _records(self) -> Iterator[tuple[int, int]]:
        """First line and number of fields of each record; only messages need it."""
        limit = csv.field_size_limit(sys.maxsize)
        try:
            with open_bytes(self._path) as stream:
                lines = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
                reader = csv.reader(lines, delimiter=self._delimiter)
                next(reader, None)
                start = reader.line_num + 1
                for fields in reader:
                    if fields:
                        yield start, len(fields)
                    start = reader.line_num + 1
        finally:
            csv.field_size_limit(limit)


def _delimited(delimiter: str) -> str:
    return {",": "csv", "\t": "tsv"}.get(delimiter, "")


class ParquetTable(TableFileReader):
    """A Parquet file; columns may be numbers, booleans, strings or dictionaries of strings."""

    unit = "row"

    def __init__(self, path: Path, shown: str) -> None:
        with open_bytes(path) as stream:
            packed = stream.read(4) != b"PAR1" or path.suffix == ".gz"
        source: Any = path
        if packed:
            with open_bytes(path) as stream:
                source = pa.BufferReader(stream.read())
        try:
            with reading(path):
                self._file = pq.ParquetFile(source, memory_map=not packed)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(
                "this is no readable Parquet file", where=shown, hint="copy or download it again"
            ) from error
        super().__init__(shown, self._file.schema_arrow.names)

    def batches(
        self, numeric: Sequence[str], text: Sequence[str], missing: Sequence[str], *, plain: bool
    ) -> Iterator[pa.RecordBatch]:
        wanted = list(dict.fromkeys([*numeric, *text]))
        with reading(self.shown):
            for batch in self._file.iter_batches(batch_size=8192, columns=wanted):
                # Arrow takes `a` for a prefix of `a.b`.
                yield batch.select(wanted)

    def positions(self, rows: Sequence[int]) -> list[int]:
        return [row + 1 for row in rows]


class ArffTable(TableFileReader):
    """An ARFF file of numeric, nominal and date attributes, read by :func:`scipy.io.arff.loadarff`."""

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
            if (fields := len(_arff_fields(record))) != len(self.names):
                raise InputError(
                    f"a line has {fields} fields instead of {len(self.names)}", where=self.place([row])
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
        for name, value in zip(self.names, _arff_fields(self._records[low]), strict=True):
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
