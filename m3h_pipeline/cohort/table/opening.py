"""A file of a table source, opened as its configuration says."""

from __future__ import annotations

from contextlib import ExitStack

from m3h_pipeline.config.sources import TableFile
from m3h_pipeline.tables.formats import open_table
from m3h_pipeline.tables.reader import TableFileReader


def opened(path: str, file: TableFile, stack: ExitStack, optional: bool = False) -> TableFileReader:
    """A reader of a file, closed with ``stack``.

    Args:
        path: of the file; that of new samples is not the configured one.
        file: how it is to be read.
        stack: closes it.
        optional: as of :func:`open_table`.

    Raises:
        InputError: the file is missing, damaged, or does not hold what the configuration says.
    """
    return open_table(
        path,
        stack,
        transposed=file.transposed,
        layer=file.layer,
        symbols=file.symbols,
        annotation=file.annotation,
        header=file.header,
        optional=optional,
    )
