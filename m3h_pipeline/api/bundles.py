"""A bundle that predicts data frames: `m3h predict` without files of one's own."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from m3h_pipeline.api.asked import brief, place, several, stream
from m3h_pipeline.api.frames import checked_frame, kind_of
from m3h_pipeline.bundle.load import Bundle
from m3h_pipeline.bundle.predict import predict_files
from m3h_pipeline.errors import InputError, M3HError

#: What can be predicted: frames by the names of the study's files, or files, or a folder of a cohort.
Data = Mapping[str, pd.DataFrame] | Sequence[Path | str] | Path | str

#: What columns of a frame may hold (``frames.kind_of``).
_KINDS = ("number", "category", "nothing", "dates")


class LoadedBundle:
    """A bundle, ready to predict.

    Args:
        bundle: as it was opened.

    Attributes:
        bundle: the same; its ``description`` is what ``bundle.json`` says.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def __repr__(self) -> str:
        return f"LoadedBundle({str(self.bundle.folder)!r})"

    @property
    def tasks(self) -> list[str]:
        """What it predicts."""
        return list(self.bundle.tasks)

    @property
    def sources(self) -> dict[str, list[str]]:
        """Source -> names of its features."""
        return self.bundle.sources

    @property
    def card(self) -> str:
        """Its model card, in Markdown.

        Raises:
            InputError: the bundle has none.
        """
        path = self.bundle.folder / "MODEL_CARD.md"
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot read the card: {error.strerror}", where=str(path)) from error

    def predict(
        self,
        data: Data,
        tasks: Sequence[str] | None = None,
        *,
        absent: Sequence[str] = (),
        attention: bool = False,
        contributions: bool = False,
        progress: TextIO | None = None,
    ) -> pd.DataFrame:
        """Predict samples; what comes out is what ``m3h predict`` writes, one row per sample.

        A sample's numbers depend on that sample alone, and on no order of rows, columns or frames.

        Args:
            data: the study's files as data frames, each under a name of one's own (which file is which is
                told by the columns; identifiers are columns, or the index); or files, or a cohort's folder.
            tasks: which; None: all.
            absent: sources that nobody has.
            attention: add how much each task attended to those that it was learned with.
            contributions: add what each source contributes.
            progress: where progress and remarks are written; None: standard error.

        Raises:
            InputError: with the complete list of what keeps the data from being read.
        """
        return self._said(data, tasks, absent, attention, contributions, progress)[0]

    def drift(
        self, data: Data, *, absent: Sequence[str] = (), progress: TextIO | None = None
    ) -> pd.DataFrame:
        """How the features of all samples together lie, against those of training, one row per feature.

        Args:
            data: as of :meth:`predict`.
            absent: sources that nobody has.
            progress: as of :meth:`predict`.

        Raises:
            InputError: as of :meth:`predict`.
        """
        return self._said(data, self.tasks[:1], absent, False, False, progress)[1]

    def _said(
        self,
        data: Data,
        tasks: Sequence[str] | None,
        absent: Sequence[str],
        attention: bool,
        contributions: bool,
        progress: TextIO | None,
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Predictions and drift."""
        with tempfile.TemporaryDirectory(prefix="m3h-predict-") as scratch, _named_as_given(scratch):
            folder = Path(scratch)
            out = folder / "predictions.parquet"
            predict_files(
                self.bundle,
                _files(data, folder / "frames"),
                out,
                tasks=None if tasks is None else several(tasks, "tasks"),
                with_attention=attention,
                with_contributions=contributions,
                absent=several(absent, "absent"),
                stream=stream(progress, "progress", sys.stderr),
            )
            found: pd.DataFrame = pq.read_table(out).to_pandas()
            return found, pd.read_csv(folder / "predictions.drift.csv")


def load_bundle(folder: Path | str, *, trust: bool = False) -> LoadedBundle:
    """Open a bundle; every file is compared with the digest that the bundle has of it.

    Args:
        folder: of the bundle, such as ``results/my_hospital/bundle``.
        trust: import code of the user's own that it names; it could do anything.

    Raises:
        InputError: a file is absent or damaged, the bundle is of a newer version, or ``folder`` is no path.
        ConfigError: it names code of its own, and is not trusted.
    """
    return LoadedBundle(Bundle.load(place(folder, "the folder of a bundle"), trust=trust))


def _files(data: Data, folder: Path) -> list[Path | str]:
    """Files of the data; frames are written to the folder.

    Raises:
        InputError: a frame cannot be written as a table, or what is given is neither frames nor files.
    """
    if isinstance(data, Path | str):
        return [data]
    if not isinstance(data, Mapping):
        if isinstance(data, pd.DataFrame):
            raise InputError(
                "a frame is given by a name",
                hint='for example {"labs": labs, "vitals": vitals}, one for each of the study\'s files',
            )
        if not isinstance(data, Iterable):
            raise InputError(
                f"this is no data: {brief(data)}",
                hint="give a mapping of names to data frames, a list of files, or a cohort's folder",
            )
        return [place(one, "each of the files") for one in data]
    folder.mkdir()
    return [_written(str(name), frame, folder) for name, frame in data.items()]


def _written(name: str, frame: Any, folder: Path) -> Path:
    frame = checked_frame(frame, f"`{name}`")
    if any(level is not None for level in frame.index.names):
        # The copy lies together: pandas warns of wide tables that do not.
        frame = frame.copy().reset_index()
    kinds = {str(column): kind_of(frame[column]) for column in frame.columns}
    if wrong := [f"`{column}` holds {kind}" for column, kind in kinds.items() if kind not in _KINDS]:
        raise InputError(
            f"columns of `{name}` have no one type: " + ", ".join(wrong),
            hint="give each column one: numbers, text or dates",
        )
    categories = dict.fromkeys(frame.select_dtypes("category").columns, object)
    path = folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.parquet"
    try:
        table = pa.Table.from_pandas(frame.astype(categories), preserve_index=False)
    except (pa.ArrowException, TypeError, UnicodeError) as error:
        # Sparse columns, truths beside numbers: pandas holds what no table does.
        raise InputError(
            f"`{name}` cannot be written as a table: {error.args[0] if error.args else error}",
            hint="give each column one type: numbers, text or dates",
        ) from None
    pq.write_table(table.replace_schema_metadata(None), path)
    return path


@contextmanager
def _named_as_given(folder: str) -> Iterator[None]:
    """Frames are called by their names, not by the files that they were written to."""
    inside = f"{Path(folder) / 'frames'}{os.sep}"

    def plain(text: str) -> str:
        return re.sub(re.escape(inside) + r"([^\s,;:]+)\.parquet", r"\1", text)

    try:
        yield
    except M3HError as error:
        hint = None if error.hint is None else plain(error.hint)
        where = None if error.where is None else plain(error.where)
        raise type(error)(plain(error.what), where=where, hint=hint) from None
