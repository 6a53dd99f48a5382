"""Matrices as tables: transposed ones, and AnnData's ``.h5ad``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from m3h_pipeline.errors import InputError, nearest
from m3h_pipeline.tables.reader import TableFileReader, read_columns

#: The column of the samples' names.
SAMPLE = "sample"
_ROWS = 8192


class TransposedTable(TableFileReader):
    """A table with features in rows and samples in columns, turned.

    Its columns are :data:`SAMPLE` and the features. A feature that stands again is numbered like a version
    (``TP53``, ``TP53.2``).

    Args:
        inner: the table as it is in the file; its first column names the features.

    Raises:
        InputError: a feature has no name, or a sample stands twice.
    """

    unit = "column"

    def __init__(self, inner: TableFileReader) -> None:
        self._inner = inner
        corner, *self._samples = inner.names
        if len(set(self._samples)) < len(self._samples):
            twice = [i + 2 for i, name in enumerate(self._samples) if name in self._samples[:i]]
            raise InputError(
                "a sample stands more than once in the header",
                where=f"{inner.shown}, column {twice[0]}",
                hint="keep one column per sample",
            )
        if not self._samples:
            inner.check_delimiter()
            raise InputError("there is no sample in the header", where=inner.shown)
        features = read_columns(inner, [], [corner], [""]).text[corner]
        if features.null_count:
            lacking = np.flatnonzero(features.is_null().to_numpy(zero_copy_only=False))
            raise InputError("a feature has no name", where=inner.place(lacking.tolist()))
        super().__init__(inner.shown, [SAMPLE, *_numbered(features.to_pylist())])

    def batches(
        self, numeric: Sequence[str], text: Sequence[str], missing: Sequence[str], *, plain: bool
    ) -> Iterator[pa.RecordBatch]:
        place = {name: i for i, name in enumerate(self.names[1:])}
        wanted = [name for name in dict.fromkeys([*numeric, *text]) if name != SAMPLE]
        columns = self._numbers(wanted, place, missing) if not set(text) - {SAMPLE} else None
        if columns is None:
            found = read_columns(self._inner, [], self._samples, missing).text
            rows = list(zip(*(found[sample].to_pylist() for sample in self._samples), strict=True))
            columns = {name: pa.array(rows[place[name]], pa.string()) for name in wanted}
        columns[SAMPLE] = pa.array(self._samples, pa.string())
        names = list(dict.fromkeys([*numeric, *text]))
        yield pa.record_batch([columns[name] for name in names], names=names)

    def _numbers(
        self, wanted: Sequence[str], place: dict[str, int], missing: Sequence[str]
    ) -> dict[str, pa.Array] | None:
        """Features of a file that holds nothing but numbers; None: it holds text too."""
        try:
            content = read_columns(self._inner, self._samples, [], missing)
        except InputError:
            return None
        return {name: pa.array(content.numbers[place[name]]) for name in wanted}

    def positions(self, rows: Sequence[int]) -> list[int]:
        return [row + 2 for row in rows]


class AnnDataTable(TableFileReader):
    """An AnnData file: samples in rows; columns are the samples' names, those of ``obs``, and the features.

    Args:
        path: the ``.h5ad`` file.
        shown: the file as its user names it.
        layer: which layer holds the values; None: ``X``.
        symbols: column of ``var`` that names the features; None: ``var_names``. A name that stands again is
            numbered as in :class:`TransposedTable`.

    Raises:
        InputError: anndata is not installed, the file is no AnnData, or has no such layer or column.
    """

    unit = "row"

    def __init__(self, path: Path, shown: str, layer: str | None, symbols: str | None) -> None:
        try:
            from anndata import read_h5ad
        except ImportError as error:
            raise InputError(
                "reading AnnData takes the package anndata",
                where=shown,
                hint="pip install 'm3h-pipeline[expression]'",
            ) from error
        try:
            self._data = read_h5ad(path)
        except FileNotFoundError as error:
            raise InputError("the file does not exist", where=shown, hint="check the path") from error
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise InputError(
                "this is no readable AnnData file", where=shown, hint="write it with a current anndata"
            ) from error
        if layer is not None and layer not in self._data.layers:
            raise InputError(
                f"there is no layer `{layer}`", where=shown, hint=nearest(layer, set(self._data.layers))
            )
        self._values = self._data.X if layer is None else self._data.layers[layer]
        if self._values is None:
            raise InputError(
                "there are no values in `X`",
                where=shown,
                hint=f"name a layer: {', '.join(self._data.layers)}",
            )
        if symbols is not None and symbols not in self._data.var:
            raise InputError(
                f"`var` has no column `{symbols}`", where=shown, hint=nearest(symbols, set(self._data.var))
            )
        features = self._data.var_names if symbols is None else self._data.var[symbols]
        self._features = _numbered(map(str, features))
        self._place = {name: i for i, name in enumerate(self._features)}
        super().__init__(shown, [SAMPLE, *map(str, self._data.obs.columns), *self._features])

    def batches(
        self, numeric: Sequence[str], text: Sequence[str], missing: Sequence[str], *, plain: bool
    ) -> Iterator[pa.RecordBatch]:
        names = list(dict.fromkeys([*numeric, *text]))
        own = [name for name in names if name in self._place]
        at = [self._place[name] for name in own]
        for a in range(0, self._data.n_obs, _ROWS):
            rows = slice(a, min(a + _ROWS, self._data.n_obs))
            columns: dict[str, pa.Array] = {
                SAMPLE: pa.array(map(str, self._data.obs_names[rows]), pa.string())
            }
            if own:
                values = self._values[rows]
                dense = values[:, at] if isinstance(values, np.ndarray) else values[:, at].toarray()
                columns |= {name: pa.array(np.ascontiguousarray(dense[:, j])) for j, name in enumerate(own)}
            for name in names:
                if name not in columns:
                    columns[name] = pa.Array.from_pandas(self._data.obs[name].iloc[rows])
            yield pa.record_batch([columns[name] for name in names], names=names)

    def positions(self, rows: Sequence[int]) -> list[int]:
        return [row + 1 for row in rows]


def _numbered(names: Iterable[str]) -> list[str]:
    """Names of which those that stand again are numbered."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}.{seen[name]}")
    return found
