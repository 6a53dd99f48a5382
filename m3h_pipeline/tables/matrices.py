"""Matrices as tables: transposed ones, and AnnData's ``.h5ad``.

A feature can stand several times (a gene that several probes measure): each has a key of its own, and what
becomes of them is said where they are used.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline.errors import InputError, absent, nearest
from m3h_pipeline.tables.content import read_columns
from m3h_pipeline.tables.identifiers import called, elements
from m3h_pipeline.tables.reader import TableFileReader, once
from m3h_pipeline.tables.textfile import COPY_AGAIN
from m3h_pipeline.tables.values import Absent

#: The column of the samples' names.
SAMPLE = "sample"
#: What an AnnData file's column ``obs["sample"]`` is called, as ``sample`` are the names of the samples.
OBS_SAMPLE = f"obs:{SAMPLE}"
_OBSM = "obsm:"
_ROWS = 8192


class TransposedTable(TableFileReader):
    """A table with features in rows and samples in columns, turned: columns are :data:`SAMPLE` and features.

    Args:
        inner: the table as it is in the file.
        symbols: its column that names the features; None: the first one.
        annotation: its columns that are neither that nor a sample.

    Raises:
        InputError: a feature has no name, a sample stands twice, or a named column is absent.
    """

    unit = "column"

    def __init__(self, inner: TableFileReader, symbols: str | None, annotation: Sequence[str]) -> None:
        self._inner = inner
        inner.leave_out(annotation, "annotation")
        if symbols is not None:
            once(inner, symbols, "symbols")
        if not inner.names:
            raise InputError(
                "there is no column in the header", where=inner.shown, hint="is it the whole file?"
            )
        corner = inner.names[0] if symbols is None else symbols
        self._samples = [key for key in inner.names if key != corner]
        self._position = {key: i + 1 for i, key in enumerate(inner.header)}
        if twice := [key for key in self._samples if called(key) != key]:
            raise InputError(
                f"the sample `{called(twice[0])}` stands more than once in the header",
                where=f"{inner.shown}, column {self._position[twice[0]]}",
                hint="keep one column per sample; a column that is no sample is named under `annotation`",
            )
        if not self._samples:
            inner.check_delimiter()
            raise InputError("there is no sample in the header", where=inner.shown)
        features = read_columns(inner, [], [corner], Absent(usual=False)).text[corner]
        if features.null_count:
            lacking = np.flatnonzero(features.is_null().to_numpy(zero_copy_only=False))
            raise InputError(
                "a feature has no name",
                where=inner.place(lacking.tolist()),
                hint="if another column names the features, say which: `symbols`",
            )
        super().__init__(inner.shown, [SAMPLE, *features.to_pylist()])

    def batches(
        self, numeric: Sequence[str], text: Sequence[str], absent: Absent, *, plain: bool
    ) -> Iterator[pa.RecordBatch]:
        place = {name: i for i, name in enumerate(self.header[1:])}
        wanted = [name for name in dict.fromkeys([*numeric, *text]) if name != SAMPLE]
        columns = self._numbers(wanted, place, absent) if not set(text) - {SAMPLE} else None
        if columns is None:
            found = read_columns(self._inner, [], self._samples, absent).text
            rows = list(zip(*(found[sample].to_pylist() for sample in self._samples), strict=True))
            columns = {name: pa.array(rows[place[name]], pa.string()) for name in wanted}
        columns[SAMPLE] = pa.array(self._samples, pa.string())
        names = list(dict.fromkeys([*numeric, *text]))
        yield pa.record_batch([columns[name] for name in names], names=names)

    def _numbers(
        self, wanted: Sequence[str], place: dict[str, int], absent: Absent
    ) -> dict[str, pa.Array] | None:
        """Features of a file that holds nothing but numbers; None: it holds text too."""
        try:
            content = read_columns(self._inner, self._samples, [], absent)
        except InputError:
            return None
        return {name: pa.array(content.numbers[place[name]]) for name in wanted}

    def positions(self, rows: Sequence[int]) -> list[int]:
        return [self._position[self._samples[row]] for row in rows]


class AnnDataTable(TableFileReader):
    """An AnnData file: samples in rows; columns are the samples' names, those of ``obs``, and the features.

    ``sample`` is the index of ``obs``; a column of ``obs`` that is itself called so is ``obs:sample``. An
    array of ``obsm`` is a column of vectors, ``obsm:X_pca``, of elements ``obsm:X_pca.0`` and so on.

    Args:
        path: the ``.h5ad`` file.
        shown: the file as its user names it.
        layer: which layer holds the values; None: ``X``.
        symbols: column of ``var`` that names the features; None: ``var_names``.

    Raises:
        InputError: anndata is not installed, the file is no AnnData, or has no such layer or column.
    """

    unit = "row"

    def __init__(self, path: Path, shown: str, layer: str | None, symbols: str | None) -> None:
        self._data = _read(path, shown)
        if layer is not None and layer not in self._data.layers:
            raise InputError(
                f"there is no layer `{layer}`", where=shown, hint=nearest(layer, set(self._data.layers))
            )
        values = self._data.X if layer is None else self._data.layers[layer]
        if values is None and not len(self._data.obsm):
            raise InputError(
                "there are no values in `X`",
                where=shown,
                hint=f"name a layer: {', '.join(self._data.layers)}",
            )
        if symbols is not None and symbols not in self._data.var:
            raise InputError(
                f"`var` has no column `{symbols}`", where=shown, hint=nearest(symbols, set(self._data.var))
            )
        named = self._data.var_names if symbols is None else self._data.var[symbols]
        features = [] if values is None else list(map(str, named))
        obs = [OBS_SAMPLE if name == SAMPLE else str(name) for name in self._data.obs.columns]
        found = ((f"{_OBSM}{key}", _matrix(self._data.obsm[key])) for key in self._data.obsm)
        arrays = {name: array for name, array in found if array is not None}
        parts = {name: elements(name, array.shape[1]) for name, array in arrays.items()}
        super().__init__(shown, [SAMPLE, *obs, *features, *(one for part in parts.values() for one in part)])
        self.arrays, self.listed_only = parts, frozenset(one for part in parts.values() for one in part)
        self._obs = dict(zip(obs, self._data.obs.columns, strict=True))
        # Keys by where their columns stand, as a feature may be called like a column of `obs`.
        after = 1 + len(obs)
        self._where: dict[str, tuple[Any, int]] = {
            key: (values, j) for j, key in enumerate(self.header[after : after + len(features)])
        }
        for name, part in parts.items():
            self._where |= {key: (arrays[name], j) for j, key in enumerate(part)}

    def batches(
        self, numeric: Sequence[str], text: Sequence[str], absent: Absent, *, plain: bool
    ) -> Iterator[pa.RecordBatch]:
        names = list(dict.fromkeys([*numeric, *text]))
        groups: dict[int, list[str]] = {}
        for name in names:
            if name in self._where:
                groups.setdefault(id(self._where[name][0]), []).append(name)
        for a in range(0, self._data.n_obs, _ROWS):
            rows = slice(a, min(a + _ROWS, self._data.n_obs))
            columns: dict[str, pa.Array] = {
                SAMPLE: pa.array(map(str, self._data.obs_names[rows]), pa.string())
            }
            for own in groups.values():
                values, at = self._where[own[0]][0][rows], [self._where[name][1] for name in own]
                dense = values[:, at] if isinstance(values, np.ndarray) else values[:, at].toarray()
                columns |= {name: pa.array(np.ascontiguousarray(dense[:, j])) for j, name in enumerate(own)}
            for name in names:
                if name not in columns:
                    columns[name] = pa.Array.from_pandas(self._data.obs[self._obs[name]].iloc[rows])
            yield pa.record_batch([columns[name] for name in names], names=names)

    def positions(self, rows: Sequence[int]) -> list[int]:
        return [row + 1 for row in rows]


def _read(path: Path, shown: str) -> Any:
    try:
        from anndata import read_h5ad
    except ImportError as error:
        raise absent("anndata", "reading AnnData", shown) from error
    _probe(path, shown)
    try:
        with warnings.catch_warnings():
            # Its advice on names that stand again would rename them.
            warnings.filterwarnings("ignore", message=".*names are not unique")
            return read_h5ad(path)
    except FileNotFoundError as error:
        raise InputError("the file does not exist", where=shown, hint="check the path") from error
    except Exception as error:
        # Of damaged files HDF5 and anndata say anything.
        raise InputError(
            "this is no readable AnnData file", where=shown, hint="write it with a current anndata"
        ) from error


#: Reads what describes the content, in a process of its own.
_PROBE = """
import sys, h5py
def look(_, item):
    dict(item.attrs)
with h5py.File(sys.argv[1]) as file:
    look("", file)
    file.visititems(look)
"""
_PROBED = 60


def _probe(path: Path, shown: str) -> None:
    """Refuse a file over which the HDF5 library hangs or ends the process, as it does over some damage."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, str(path)], capture_output=True, timeout=_PROBED, check=False
        )
    except subprocess.TimeoutExpired:
        ended = True
    else:
        ended = done.returncode < 0
    if ended:
        raise InputError("the AnnData file is damaged", where=shown, hint=COPY_AGAIN)


def _matrix(array: Any) -> npt.NDArray[Any] | None:
    """An entry of ``obsm`` as a matrix of numbers; None: it is none."""
    if hasattr(array, "toarray"):
        array = array.toarray()
    matrix = np.asarray(array)
    return matrix if matrix.ndim == 2 and matrix.dtype.kind in "fiub" else None
