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
from m3h_pipeline.tables.preamble import best_delimiter, find_start, open_rows
from m3h_pipeline.tables.reader import TableFileReader, no_row
from m3h_pipeline.tables.textfile import DELIMITERS, split_header
from m3h_pipeline.tables.values import Absent

#: Endings of delimited files and their delimiters; None: the header says it.
ENDINGS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": None}

#: Bytes of a file by which its rows are reckoned.
_SAMPLED = 4 << 20


class DelimitedTable(TableFileReader):
    """A CSV or TSV file, or another text file with a header line (:mod:`m3h_pipeline.tables.preamble`).

    Args:
        path: the file.
        shown: the file as its user names it.
        header: number of the header's line; None: the first that is no comment.
        delimiter: between the fields; None: what the header has, be it spaces.
    """

    def __init__(self, path: Path, shown: str, header: int | None, delimiter: str | None) -> None:
        self._path = path
        self._start = find_start(path, shown, delimiter, header)
        line = self._start.header
        if line.count(b'"') % 2:
            raise InputError(
                "the name of a column holds a line end", where=f"{shown}, line {self._start.line}"
            )
        self._delimiter = best_delimiter(line) if delimiter is None else delimiter
        names = split_header(line, shown, self._delimiter)
        super().__init__(shown, names)
        if len(names) < 2:
            self.check_delimiter()

    def check_delimiter(self) -> None:
        """Raise InputError if the header has more columns under another delimiter."""
        line = self._start.header
        counts = {other: len(split_header(line, self.shown, other)) for other in DELIMITERS}
        best = max(counts, key=lambda other: counts[other])
        if counts[best] == 1 and self._delimiter != " " and b" " in line.strip():
            raise InputError(
                "there is one column; the names may be separated by spaces",
                where=f"{self.shown}, line {self._start.line}",
                hint="if they are, name the file .txt",
            )
        if counts[best] > len(self.header):
            expected = DELIMITERS.get(self._delimiter, "space")
            ending = next((e for e, delimiter in ENDINGS.items() if delimiter == best), None)
            raise InputError(
                f"the fields are separated by {DELIMITERS[best]}s ({best!r}), not by {expected}s",
                where=f"{self.shown}, line {self._start.line}",
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
        with open_rows(self._path, self._start) as stream:
            reader = pacsv.open_csv(
                pa.PythonFile(stream, mode="r"),
                read_options=pacsv.ReadOptions(
                    column_names=[str(i) for i in range(len(self.header))], block_size=32 << 20
                ),
                parse_options=pacsv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True),
                convert_options=pacsv.ConvertOptions(
                    include_columns=list(number.values()), column_types=types, null_values=absent.spellings
                ),
            )
            for batch in reader:
                yield batch.rename_columns(wanted)

    def expected_rows(self) -> int | None:
        if self._path.suffix == ".gz":
            return None
        with self._path.open("rb") as stream:
            head = stream.read(_SAMPLED)
        lines = head.count(b"\n")
        return round(self._path.stat().st_size * lines / len(head)) if lines else None

    def positions(self, rows: Sequence[int]) -> list[int]:
        wanted, found = set(rows), {}
        for row, (line, _) in enumerate(self._records()):
            if row in wanted:
                found[row] = line
                if len(found) == len(wanted):
                    break
        return [found.get(row, row + 1 + self._start.line) for row in rows]

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
            with open_rows(self._path, self._start) as stream:
                lines = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
                reader = csv.reader(lines, delimiter=self._delimiter)
                start = self._start.line + 1
                for fields in reader:
                    if fields:
                        yield start, len(fields)
                    start = self._start.line + reader.line_num + 1
        finally:
            csv.field_size_limit(limit)
