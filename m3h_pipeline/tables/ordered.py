"""Records of one file, parsed in an order other than the file's, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from m3h_pipeline.tables import kernel, parsing
from m3h_pipeline.tables.parsing import Layout, Rows
from m3h_pipeline.tables.records import Records
from m3h_pipeline.tables.textfile import reading

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
    compiled = int(records.lengths.sum()) >= KERNEL_FROM
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
