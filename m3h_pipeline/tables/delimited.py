"""CSV and TSV files, read column by column by Arrow."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.reader import TableFileReader, no_row
from m3h_pipeline.tables.textfile import DELIMITERS, open_bytes, read_header, split_header
from m3h_pipeline.tables.values import Absent

#: Endings of delimited files and their delimiters.
ENDINGS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}


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
        if counts[best] > len(self.header):
            expected = DELIMITERS[self._delimiter]
            ending = next((e for e, delimiter in ENDINGS.items() if delimiter == best), None)
            raise InputError(
                f"the fields are separated by {DELIMITERS[best]}s ({best!r}), not by {expected}s",
                where=f"{self.shown}, line 1",
                hint=f"name the file {ending}" if ending else f"export the file with {expected}s",
            )

    def batches(
        self, numeric: Sequence[str], text: Sequence[str], absent: Absent, *, plain: bool
    ) -> Iterator[pa.RecordBatch]:
        wanted = list(dict.fromkeys([*numeric, *text]))
        # Columns go by number: a name may stand twice among the columns that nobody wants.
        number = {name: str(self.header.index(name)) for name in wanted}
        as_text = set(wanted) if plain else set(text)
        types = {number[name]: pa.string() if name in as_text else pa.float64() for name in wanted}
        with open_bytes(self._path) as stream:
            reader = pacsv.open_csv(
                pa.PythonFile(stream, mode="r"),
                read_options=pacsv.ReadOptions(
                    column_names=[str(i) for i in range(len(self.header))], skip_rows=1, block_size=32 << 20
                ),
                parse_options=pacsv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True),
                convert_options=pacsv.ConvertOptions(
                    include_columns=list(number.values()), column_types=types, null_values=absent.spellings
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
            if fields != len(self.header):
                return InputError(
                    f"a line has {fields} fields instead of {len(self.header)}",
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
