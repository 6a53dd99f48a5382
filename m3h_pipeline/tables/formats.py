"""A table opened in the format that its name's ending says, also gzipped, also inside a package."""

from __future__ import annotations

import importlib.resources
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from m3h_pipeline.errors import EXTRAS, ConfigError, InputError, absent
from m3h_pipeline.tables.arff import ArffTable
from m3h_pipeline.tables.delimited import ENDINGS, DelimitedTable
from m3h_pipeline.tables.matrices import AnnDataTable, TransposedTable
from m3h_pipeline.tables.parquet import ParquetTable
from m3h_pipeline.tables.reader import TableFileReader

_PACKAGE = "python:"


def open_table(
    path: str,
    stack: ExitStack,
    *,
    transposed: bool = False,
    layer: str | None = None,
    symbols: str | None = None,
    annotation: Sequence[str] = (),
    header: int | None = None,
    optional: bool = False,
) -> TableFileReader:
    """Open one file and read the names of its columns.

    Args:
        path: the file, a folder of Parquet parts, or ``python:package/file`` for a file inside an installed
            package, which is not imported.
        stack: closes what stays open for the reader's life.
        transposed: whether rows are columns (:class:`~m3h_pipeline.tables.matrices.TransposedTable`).
        layer: of an AnnData file.
        symbols: column that names the features, of a transposed file or of an AnnData file's ``var``.
        annotation: columns that are left out, as if they did not stand in the file.
        header: line of a text file's header; None: the first that is no comment.
        optional: whether columns of ``annotation`` may be absent.

    Raises:
        ConfigError: the ending is of no known format.
        InputError: the file is absent, empty, damaged, or its delimiter is another than the ending says.
    """
    formats = _formats(layer, symbols, header)
    if not path.startswith(_PACKAGE) and Path(path).is_dir():
        return _turned(ParquetTable(Path(path), path), transposed, symbols, annotation, optional)
    suffixes = Path(path).suffixes
    ending = (suffixes[-2:-1] if suffixes[-1:] == [".gz"] else suffixes[-1:]) or [""]
    read = formats.get(ending[0].lower())
    if read is None:
        raise ConfigError(
            f"`{ending[0]}` is no format of a table" if ending[0] else "the file has no ending",
            where=path,
            hint=f"give a file that ends in {', '.join(formats)}, with or without .gz",
        )
    reader = read(stack.enter_context(_located(path)), path)
    return _turned(reader, transposed, symbols, annotation, optional)


def _turned(
    reader: TableFileReader,
    transposed: bool,
    symbols: str | None,
    annotation: Sequence[str],
    optional: bool,
) -> TableFileReader:
    if optional:
        annotation = [name for name in annotation if reader.count(name) or name in reader.arrays]
    if transposed:
        return TransposedTable(reader, symbols, annotation)
    reader.leave_out(annotation, "annotation")
    return reader


def _formats(
    layer: str | None, symbols: str | None, header: int | None
) -> dict[str, Callable[[Path, str], TableFileReader]]:
    """Ending -> what reads a file, given its path and how to show it; ``.gz`` behind it is looked through."""
    return {
        **{
            ending: partial(DelimitedTable, delimiter=delimiter, header=header)
            for ending, delimiter in ENDINGS.items()
        },
        ".parquet": ParquetTable,
        ".pq": ParquetTable,
        ".arff": ArffTable,
        ".h5ad": partial(AnnDataTable, layer=layer, symbols=symbols),
    }


@contextmanager
def _located(path: str) -> Iterator[Path]:
    """The path of a file, also of one inside a package (unpacked if the package is a zip file)."""
    if not path.startswith(_PACKAGE):
        yield Path(path)
        return
    package, _, inside = path.removeprefix(_PACKAGE).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None:
        if package in EXTRAS:
            raise absent(package, "reading this table, which is part of another package,", path)
        raise InputError(
            f"the package `{package}` is not installed", where=path, hint=f"pip install {package}"
        )
    # A module that is not executed: importing a scientific package takes seconds, its files need no code.
    found = importlib.resources.files(importlib.util.module_from_spec(spec)).joinpath(inside)
    if not found.is_file():
        raise InputError(f"the package `{package}` has no such file", where=path, hint="check the path")
    with importlib.resources.as_file(found) as unpacked:
        yield unpacked
