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
            return parse(_read(file.fileno(), records, chunk), layout)

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


def _read(file: int, records: Records, chunk: IntArray) -> list[bytes]:
    """The bytes of some records; neighbours in the file are read together."""
    starts = records.offsets[chunk]
    stops = starts + records.lengths[chunk]
    # A record and its line end ("\n" or "\r\n") are followed by the next record.
    gap = starts[1:] - stops[:-1]
    breaks = np.flatnonzero((gap < 1) | (gap > 2)) + 1
    found: list[bytes] = []
    for first, last in zip(np.r_[0, breaks].tolist(), np.r_[breaks, len(chunk)].tolist(), strict=True):
        begin, end = int(starts[first]), int(stops[last - 1])
        data = os.pread(file, end - begin, begin)
        if len(data) != end - begin:
            raise OSError("the file changed while it was read")
        spans = zip(starts[first:last].tolist(), stops[first:last].tolist(), strict=True)
        found += [data[start - begin : stop - begin] for start, stop in spans]
    return found
