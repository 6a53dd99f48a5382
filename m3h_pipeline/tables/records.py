"""Where the records of a CSV file stand: a first pass that reads all bytes and keeps only positions.

A record is what a CSV reader calls a row: one line, or several if a quoted field holds line ends. A quotation
mark opens a quoted field only at the start of a field, as in RFC 4180 and in Python's ``csv`` module.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from m3h_pipeline.errors import InputError
from m3h_pipeline.tables import kernel, parsing
from m3h_pipeline.tables.parsing import Layout, Rows
from m3h_pipeline.tables.textfile import read_header, reading

#: Quoted fields longer than this are taken for a quotation mark that is never closed.
LONGEST_RECORD = 64 << 20
_OPENING = re.compile(rb'(?:^|[,\n])"')
_QUOTED = re.compile(rb'"[^"]*+(?:""[^"]*+)*+"')


@dataclass(frozen=True)
class Records:
    """Positions of the records of one file.

    Attributes:
        offsets: (n,) first byte of each record in the file.
        lengths: (n,) bytes of each record, without its line end.
        lines: (n,) physical line on which each record starts; the header is line 1.
        blank: number of empty lines, which are no records.
    """

    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    lines: npt.NDArray[np.int64]
    blank: int

    def __len__(self) -> int:
        return len(self.offsets)


#: Called with a buffer, where a record starts and stops in it, and the line it starts on.
Visit = Callable[[bytearray, int, int, int], None]


def index_records(
    path: Path | str,
    visit: Visit,
    *,
    advance: Callable[[int], None] = lambda _: None,
    block: int = 16 << 20,
) -> Records:
    """Find every record after the header.

    Args:
        path: an uncompressed file.
        visit: called for each record, in file order; a record does not contain its line end.
        advance: called with the number of bytes read, for progress.
        block: bytes read at a time.

    Raises:
        InputError: the file cannot be read, or a quoted field is never closed.
    """
    offsets, lengths, lines = array("q"), array("q"), array("q")
    blank, line = 0, 2
    with reading(path), Path(path).open("rb", buffering=0) as stream:
        _, rest = read_header(stream, path)
        if b"\r" in rest and b"\n" not in rest:
            raise InputError(
                "the lines end in carriage returns alone",
                where=str(path),
                hint="write line feeds: tr '\\r' '\\n'",
            )
        base = stream.tell() - len(rest)
        buffer = bytearray(max(block, 2 * len(rest)))
        buffer[: len(rest)] = rest
        filled = len(rest)
        finished = False
        while not finished:
            if filled == len(buffer):
                buffer.extend(bytes(len(buffer)))
            view = memoryview(buffer)
            count = stream.readinto(view[filled:])
            view.release()
            finished = not count
            filled += count or 0
            advance(count or 0)
            quoted = buffer.find(b'"', 0, filled) >= 0
            start = 0
            for end in _ends(buffer, filled, quoted, finished):
                stop = end - 1 if end > start and buffer[end - 1] == 13 else end
                if stop > start:
                    offsets.append(base + start)
                    lengths.append(stop - start)
                    lines.append(line)
                    visit(buffer, start, stop, line)
                else:
                    blank += 1
                line += 1 + (buffer.count(b"\n", start, stop) if quoted else 0)
                start = end + 1
            base += start
            left = max(0, filled - start)
            buffer[:left] = buffer[start:filled]
            filled = left
            if left > LONGEST_RECORD or (finished and left):
                raise InputError(
                    "a quoted field is never closed",
                    where=f"{path}, line {line}",
                    hint="remove the stray quotation mark from that line",
                )
    found = [np.frombuffer(values, dtype=np.int64) for values in (offsets, lengths, lines)]
    return Records(found[0], found[1], found[2], blank)


def _ends(buffer: bytearray, filled: int, quoted: bool, finished: bool) -> Iterator[int]:
    """Positions of the line ends that end a record; the end of the file ends one, too."""
    position = last = 0
    while quoted and (opening := _OPENING.search(buffer, position, filled)):
        mark = opening.end() - 1
        while (found := buffer.find(b"\n", position, mark)) >= 0:
            yield found
            position = last = found + 1
        closing = _QUOTED.match(buffer, mark, filled)
        if closing is None:
            return
        position = closing.end()
    while (found := buffer.find(b"\n", position, filled)) >= 0:
        yield found
        position = last = found + 1
    if finished and last < filled:
        yield filled


#: Bytes of records that are parsed at a time.
CHUNK = 8 << 20
#: From so many bytes on the compiled kernel repays its start-up; the result is the same.
KERNEL_FROM = 32 << 20

IntArray = npt.NDArray[np.int64]


def parse_in_order(
    path: Path, records: Records, order: Sequence[int], layout: Layout, workers: int
) -> Iterator[tuple[IntArray, Rows]]:
    """Parse records in the given order, some at a time.

    Args:
        path: the file that was indexed.
        records: where its records stand.
        order: numbers of the wanted records.
        layout: what to read of them.
        workers: threads that parse.

    Yields:
        Numbers of some records, in order, and what stands in them.

    Raises:
        InputError: the file cannot be read, or is another than was indexed.
    """
    compiled = int(records.lengths.sum()) >= KERNEL_FROM and kernel.is_available()
    parse = kernel.parse_records if compiled else parsing.parse_records
    with reading(path), path.open("rb") as file, ThreadPoolExecutor(workers) as pool:

        def work(chunk: IntArray) -> Rows:
            data, spans = _read(file.fileno(), records, chunk)
            return parse(data, spans, layout)

        waiting: list[tuple[IntArray, Future[Rows]]] = []
        try:
            for chunk in _chunks(order, records):
                waiting.append((chunk, pool.submit(work, chunk)))
                if len(waiting) > workers + 1:
                    done, future = waiting.pop(0)
                    yield done, future.result()
            while waiting:
                done, future = waiting.pop(0)
                yield done, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _chunks(order: Sequence[int], records: Records) -> Iterator[IntArray]:
    chunk: list[int] = []
    size = 0
    for r in order:
        chunk.append(r)
        size += int(records.lengths[r])
        if size >= CHUNK:
            yield np.array(chunk, dtype=np.int64)
            chunk, size = [], 0
    if chunk:
        yield np.array(chunk, dtype=np.int64)


def _read(file: int, records: Records, chunk: IntArray) -> tuple[bytearray, IntArray]:
    """The bytes of some records, neighbours in the file in one read, and where each stands in them."""
    starts = records.offsets[chunk]
    stops = starts + records.lengths[chunk]
    # A record and its line end ("\n" or "\r\n") are followed by the next record.
    gap = starts[1:] - stops[:-1]
    breaks = np.flatnonzero((gap < 1) | (gap > 2)) + 1
    firsts, lasts = np.r_[0, breaks], np.r_[breaks, len(chunk)]
    sizes = stops[lasts - 1] - starts[firsts]
    # Every part is followed by a line end, also where the next record comes from elsewhere in the file.
    data = bytearray(int(sizes.sum()) + len(sizes))
    view = memoryview(data)
    shift = np.empty(len(chunk), dtype=np.int64)
    position = 0
    for first, last, size in zip(firsts.tolist(), lasts.tolist(), sizes.tolist(), strict=True):
        begin = int(starts[first])
        if os.preadv(file, [view[position : position + size]], begin) != size:
            raise OSError("the file changed while it was read")
        shift[first:last] = position - begin
        view[position + size] = 10
        position += size + 1
    return data, np.stack([starts + shift, stops + shift], axis=1)
