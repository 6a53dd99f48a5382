"""New tables into features: the first file a batch of rows at a time, the others by the samples' ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.cohort.apply.batch import Batch
from m3h_pipeline.cohort.apply.matching import Matched, match_files
from m3h_pipeline.cohort.apply.problems import Problems
from m3h_pipeline.cohort.observed import observed
from m3h_pipeline.cohort.reading import Reading
from m3h_pipeline.cohort.table.features import unseen, values_of
from m3h_pipeline.disclosure import LEAST
from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.content import Content, NotNumericError, stream_columns
from m3h_pipeline.tables.dates import DatesError
from m3h_pipeline.tables.identifiers import normal_ids
from m3h_pipeline.tables.reader import TableFileReader, no_row
from m3h_pipeline.tables.values import Absent, Limits

IntArray = npt.NDArray[np.int64]


def table_batches(
    reading: Reading, paths: Sequence[str], absent: Sequence[str], problems: Problems, scratch: Path
) -> Iterator[Batch]:
    """Features of the samples of given tables, in the order of the rows of the first of the study's files.

    Memory grows by some hundred bytes a row; what the other files hold lies in ``scratch``.

    Args:
        reading: of a `table` source.
        paths: the given files.
        absent: sources that nobody has.
        problems: takes whatever is wrong; once there is anything, nothing more is yielded.
        scratch: a folder for what is read, private.
    """
    with ExitStack() as stack:
        matched = match_files(reading, paths, absent, problems, stack)
        present = [i for i, reader in enumerate(matched.readers) if reader is not None]
        if not present:
            return
        first = next((i for i in present if matched.links[i] is None), present[0])
        held = {i: _held(i, matched, problems, scratch) for i in present if i != first}
        stream = _Stream(matched, first, held, problems)
        yield from stream.batches()
        for i, one in held.items():
            if not len(problems) and one.rows and not one.used.any() and stream.samples >= LEAST:
                problems.add(
                    InputError(
                        "no row belongs to any of the samples",
                        where=one.reader.shown,
                        hint="are the ids of the same kind and written in the same way?",
                    )
                )
            elif surplus := int((~one.used).sum()):
                problems.notes.append(f"{matched.source.files[i].path}: rows of no sample: {surplus:,}")


@dataclass
class _Held:
    """A file but the first: its numbers on disk, its texts and ids in memory."""

    reader: TableFileReader
    place: dict[str, int]
    numeric: dict[str, int]
    numbers: Float32Array
    text: dict[str, pa.Array]
    used: npt.NDArray[np.bool_]

    @property
    def rows(self) -> int:
        return len(self.used)


@dataclass
class _Rows:
    """Some samples: their rows in the first file, and in the others (-1: none)."""

    count: int
    first: int
    content: Content | None
    held: Mapping[int, _Held]
    rows: dict[int, IntArray] = field(default_factory=dict)

    def numbers(self, file: int, columns: Sequence[str]) -> Float32Array:
        x = np.full((self.count, len(columns)), np.nan, dtype=np.float32)
        if file == self.first and self.content is not None:
            x[:] = self.content.numbers[:, [self.content.numeric[column] for column in columns]]
        elif file in self.held:
            there = np.flatnonzero(self.rows[file] >= 0)
            one = self.held[file]
            at = np.array([one.numeric[column] for column in columns], int)
            # Whole rows first: they lie together.
            x[there] = np.asarray(one.numbers[self.rows[file][there]])[:, at]
        return x

    def text(self, file: int, column: str) -> pa.Array:
        if file == self.first and self.content is not None:
            return self.content.text[column]
        if file in self.held:
            rows = self.rows[file]
            return self.held[file].text[column].take(pa.array(rows, mask=rows < 0))
        return pa.nulls(self.count, pa.string())


class _Stream:
    def __init__(self, matched: Matched, first: int, held: Mapping[int, _Held], problems: Problems) -> None:
        self._matched, self._first, self._held, self._problems = matched, first, held, problems
        file = matched.source.files[first]
        self._id = file.id
        self._ids = _Ids(str(self._id), problems)
        reader = matched.readers[first]
        assert reader is not None
        self._reader = reader
        self.samples = 0

    def batches(self) -> Iterator[Batch]:
        self.samples, total = 0, self._reader.expected_rows()
        for content in _contents(self._first, self._matched, self._problems):
            ids = self._names(content, self.samples)
            self.samples += content.rows
            batch = self._batch(ids, content)
            if batch is not None:
                yield Batch(*batch, total)
        if not self.samples and not len(self._problems):
            self._problems.add(no_row(self._reader))
        self._ids.check(self._reader)
        yield from self._others()

    def _names(self, content: Content, before: int) -> list[str]:
        if self._id is None:
            # A patient's name may not depend on how many follow.
            return [str(before + i + 1) for i in range(content.rows)]
        if self._id not in content.text:
            return [""] * content.rows
        return self._ids.add(content, before, self._reader)

    def _others(self) -> Iterator[Batch]:
        """Samples that another file makes (`join: outer`), or all files do where the first is not given."""
        for i, one in self._held.items():
            file = self._matched.source.files[i]
            if self._matched.links[i] is None and (file.join == "outer" or self._first != 0):
                more = [name for name in one.place if name not in self._ids.seen]
                self._ids.seen.update(dict.fromkeys(more, -1))
                if more and (batch := self._batch(more, None)) is not None:
                    yield Batch(*batch, None)

    def _batch(
        self, ids: list[str], content: Content | None
    ) -> tuple[list[str], dict[str, Float32Array | None], dict[str, npt.NDArray[np.bool_]]] | None:
        part = _Rows(len(ids), self._first, content, self._held)
        names = pa.array(ids, pa.string())
        for i, one in self._held.items():
            link = self._matched.links[i]
            wanted = names if link is None else normal_ids(part.text(*link))
            found = [one.place.get(key, -1) if key else -1 for key in wanted.to_pylist()]
            part.rows[i] = np.array(found, dtype=np.int64)
            one.used[part.rows[i][part.rows[i] >= 0]] = True
        if len(self._problems):
            return None
        features: dict[str, Float32Array | None] = {}
        new: dict[str, npt.NDArray[np.bool_]] = {}
        for name, source in self._matched.sources.items():
            if source is None:
                features[name] = None
                continue
            try:
                x = values_of(source, part)
            except InputError as error:
                self._problems.add(error)
                return None
            features[name] = observed(x, zero_is_missing=source.zero_is_missing).x
            new |= unseen(source, part)
        return ids, features, new


class _Ids:
    """Ids of a file's rows, each once."""

    def __init__(self, column: str, problems: Problems) -> None:
        self._column, self._problems = column, problems
        self.seen: dict[str, int] = {}
        self._twice: list[int] = []
        self._none: list[int] = []

    def add(self, content: Content, before: int, reader: TableFileReader) -> list[str]:
        text = content.text[self._column]
        try:
            content.slips.check_ids(self._column, text, before)
        except InputError as error:
            self._problems.add(error)
        found: list[str] = pc.fill_null(normal_ids(text), "").to_pylist()
        for row, key in enumerate(found, before):
            if not key or key == self._column:
                self._none.append(row)
            elif self.seen.setdefault(key, row) != row:
                self._twice.append(row)
        return found

    def check(self, reader: TableFileReader) -> None:
        if self._none:
            self._problems.add(
                InputError(
                    f"a row has no id in column `{self._column}`",
                    where=reader.place(self._none),
                    hint="complete or remove these rows",
                )
            )
        if self._twice:
            self._problems.add(
                InputError(
                    f"an id stands more than once in column `{self._column}`",
                    where=reader.place(self._twice),
                    hint="keep one row per id",
                )
            )


#: What to do about a column of numbers that holds something else.
_NUMBERS = "give numbers, as the study had them; what was not observed stays empty"


def _contents(file: int, matched: Matched, problems: Problems) -> Iterator[Content]:
    """The columns of a file that have a use, some rows at a time; whatever is wrong is a problem."""
    reader, source = matched.readers[file], matched.source
    assert reader is not None
    told: set[str] = set()

    def problem(column: str, error: InputError) -> None:
        if column not in told:
            told.add(column)
            if isinstance(error, NotNumericError | DatesError):
                error = InputError(error.what, where=error.where, hint=_NUMBERS)
            problems.add(error)

    key = source.files[file].id
    known = set(reader.header)
    text = [one for one in dict.fromkeys([*([key] if key else []), *matched.text(file)]) if one in known]
    numeric = [one for one in matched.numeric(file) if one in known]
    limits = Limits(source.limits) if source.limits is not None else None
    absent = Absent(source.missing_values)
    try:
        # What is absent was said; the rest of the file is read all the same, for all there is to say.
        yield from stream_columns(reader, numeric, text, absent, limits, problem)
    except InputError as error:
        problems.add(error)


def _held(file: int, matched: Matched, problems: Problems, scratch: Path) -> _Held:
    reader = matched.readers[file]
    assert reader is not None
    key = matched.source.files[file].id
    ids = _Ids(str(key), problems)
    names = [one for one in matched.numeric(file) if one in set(reader.header)]
    texts: dict[str, list[pa.Array]] = {}
    rows = 0
    path = scratch / f"{file}.float32"
    with path.open("wb") as out:
        for content in _contents(file, matched, problems):
            if key in content.text:
                ids.add(content, rows, reader)
            content.numbers.tofile(out)
            for name, values in content.text.items():
                if name != key:
                    texts.setdefault(name, []).append(values)
            rows += content.rows
    if not rows and not len(problems):
        problems.add(no_row(reader))
    ids.check(reader)
    shape = (rows, len(names))
    empty: Float32Array = np.zeros(shape, dtype=np.float32)
    numbers = np.memmap(path, np.float32, "r", shape=shape) if rows and names else empty
    return _Held(
        reader,
        ids.seen,
        {name: j for j, name in enumerate(names)},
        numbers,
        {name: pa.concat_arrays(parts) for name, parts in texts.items()},
        np.zeros(rows, dtype=bool),
    )
