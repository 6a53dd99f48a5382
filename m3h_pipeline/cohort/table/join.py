"""The files of a table joined: which samples there are, and where each stands in every file.

The first file decides which samples exist, unless another says `join: inner` or `outer`. A sample that one
file alone knows may be no sample at all (a column of annotation, a control well, an id that is written in
another way): it is refused by name until the study says how the file is joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.cohort.table.aside import Aside
from m3h_pipeline.cohort.table.blocks import Column
from m3h_pipeline.cohort.table.columns import Places
from m3h_pipeline.config.sources import TableFile
from m3h_pipeline.disclosure import small_count
from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.content import Content
from m3h_pipeline.tables.identifiers import normal_ids
from m3h_pipeline.tables.reader import TableFileReader

IntArray = npt.NDArray[np.int64]
_SHOWN = 3


@dataclass(frozen=True)
class Meeting:
    """How a file met the samples.

    Attributes:
        surplus: rows that belong to no sample.
        dropped: samples left out because this file lacks them (`join: inner`).
        added: samples that its rows have made (`join: outer`).
    """

    surplus: int = 0
    dropped: int = 0
    added: int = 0


@dataclass(frozen=True)
class Joined:
    """Columns of several files in the order of the samples.

    Attributes:
        readers: of the files.
        contents: their columns, in their own order.
        ids: (n,) ascending sample ids.
        rows: per file (n,) row numbers, -1 where the file lacks the sample.
        meetings: per file how it met the samples.
    """

    readers: Sequence[TableFileReader]
    contents: Sequence[Content]
    ids: list[str]
    rows: list[IntArray]
    meetings: list[Meeting]

    def text(self, column: Column) -> pa.Array:
        """(n,) strings, null = missing."""
        rows = self.rows[column.file]
        return self.contents[column.file].text[column.name].take(pa.array(rows, mask=rows < 0))

    def agreed(self, places: Places) -> pa.Array:
        """(n,) strings of a column that may stand in several files, null = missing in all of them.

        Raises:
            InputError: two files say different things of a sample.
        """
        first, *others = places
        known = self.text(first)
        for other in others:
            theirs = self.text(other)
            differs = pc.fill_null(pc.not_equal(normal_ids(known), normal_ids(theirs)), False)
            if pc.any(differs).as_py():
                at = np.flatnonzero(differs.to_numpy(zero_copy_only=False)).tolist()
                raise InputError(
                    f"column `{first.name}` says different things of {small_count(len(at))} sample(s) "
                    "in two files",
                    where=f"{self.place(first, at[0])}; {self.place(other, at[0])}",
                    hint="are the files joined on the right ids? Else correct one, or leave the column out "
                    f"of one of the files: `annotation: [{first.name}]`",
                )
            known = pc.coalesce(known, theirs)
        return known

    def place(self, column: Column, sample: int) -> str:
        """The file and line of a sample's value, or of the sample where that file lacks it."""
        file = column.file if self.rows[column.file][sample] >= 0 else 0
        return self.readers[file].place([int(self.rows[file][sample])])

    def only(self, keep: npt.NDArray[np.bool_]) -> Joined:
        """The samples that a mask chooses."""
        ids = [name for name, kept in zip(self.ids, keep, strict=True) if kept]
        return replace(self, ids=ids, rows=[rows[keep] for rows in self.rows])


def join(
    files: Sequence[TableFile],
    links: Sequence[Column | None],
    readers: Sequence[TableFileReader],
    contents: Sequence[Content],
    aside: Aside,
) -> Joined:
    """Find the rows of every sample.

    Args:
        files: their section of the configuration; without ``id`` (of a single file) the row number is the id.
        links: per file the column of an earlier one that its id is compared with; None: the sample's id.
        readers: of the files.
        contents: their columns.
        aside: takes the rows without an id.

    Raises:
        InputError: an id stands twice in one file, a file has no row of any sample, one file alone knows a
            sample, too many rows have no id, or no sample is left.
    """
    if files[0].id is None:
        n = contents[0].rows
        width = len(str(n))
        numbered = [f"{i:0{width}d}" for i in range(1, n + 1)]
        return Joined(readers, contents, numbered, [np.arange(n, dtype=np.int64)], [Meeting()])
    keys = [
        _keys(content.text[str(file.id)], i, file, reader, aside)
        for i, (file, reader, content) in enumerate(zip(files, readers, contents, strict=True))
    ]
    own = [i for i, link in enumerate(links) if link is None]
    known = set(keys[0])
    ids = set(known)
    for i in own[1:]:
        if not known & set(keys[i]):
            raise _strangers(files, readers, i)
        ids |= set(keys[i]) if files[i].join == "outer" else set()
    for i in own[1:]:
        ids &= set(keys[i]) if files[i].join == "inner" else ids
    joined = Joined(readers, contents, sorted(ids), [], [])
    for i in range(len(files)):
        link = links[i]
        wanted = pa.array(joined.ids, pa.string()) if link is None else normal_ids(joined.text(link))
        joined.rows.append(_rows(wanted, keys[i]))
        if not (joined.rows[i] >= 0).any():
            raise _strangers(files, readers, i)
    _check_alone(files, links, joined, keys)
    kept = np.ones(len(joined.ids), dtype=bool)
    for i, file in enumerate(files):
        if file.join == "inner":
            kept &= joined.rows[i] >= 0
    before = known | ids
    for i, file in enumerate(files):
        theirs = set(keys[i])
        used = joined.rows[i][kept & (joined.rows[i] >= 0)]
        joined.meetings.append(
            Meeting(
                surplus=len(theirs) - len(np.unique(used)),
                dropped=0
                if file.join != "inner"
                else len(before - theirs)
                if links[i] is None
                else int((joined.rows[i] < 0).sum()),
                added=len((theirs & ids) - known) if file.join == "outer" else 0,
            )
        )
    joined = joined.only(kept)
    if not joined.ids:
        raise InputError(
            "no sample stands in all the files that `join: inner` asks for",
            where=", ".join(reader.shown for reader in readers),
            hint="are the ids of the same kind and written in the same way?",
        )
    return joined


def _rows(wanted: pa.Array, keys: dict[str, int]) -> IntArray:
    """The row of each wanted id, -1 where there is none."""
    names = pa.array(list(keys), pa.string())
    rows = np.fromiter(keys.values(), dtype=np.int64, count=len(keys))
    place = pc.fill_null(pc.index_in(wanted, value_set=names, skip_nulls=True), -1)
    at = place.to_numpy(zero_copy_only=False).astype(np.int64)
    return np.where(at >= 0, rows[at] if len(rows) else -1, -1)


def _strangers(files: Sequence[TableFile], readers: Sequence[TableFileReader], i: int) -> InputError:
    """What to say of a file without any row of a sample."""
    hint = "are the ids of the same kind and written in the same way?"
    name = str(files[i].id)
    alike = [j for j in range(i) if readers[j].count(name) and files[j].id != name]
    if files[i].on is None and alike:
        hint = (
            f"{readers[alike[0]].shown} has a column `{name}`, too: if the rows are of that and not of a "
            f"sample, say `on: {name}`"
        )
    return InputError(
        f"no row belongs to any of the samples of {readers[0].shown}", where=readers[i].shown, hint=hint
    )


def _check_alone(
    files: Sequence[TableFile],
    links: Sequence[Column | None],
    joined: Joined,
    keys: Sequence[dict[str, int]],
) -> None:
    """Check that no sample stands in one file alone, where the study does not say how files are joined."""
    silent = [i for i in range(1, len(files)) if files[i].join is None]
    if not silent:
        return
    own = [i for i, link in enumerate(links) if link is None]
    # A sample whose patient another file knows is known, too.
    linked = [joined.rows[i] >= 0 for i in range(len(files)) if links[i] is not None]
    by_patient = set(np.array(joined.ids, dtype=object)[np.any(linked, axis=0)]) if linked else set()
    for i, said in [(0, silent[0]), *((i, i) for i in silent if links[i] is None)]:
        others = by_patient.union(*(keys[j] for j in own if j != i))
        if alone := [name for name in keys[i] if name not in others]:
            raise _refused(alone, files, joined.readers, keys, i, said)


def _refused(
    alone: Sequence[str],
    files: Sequence[TableFile],
    readers: Sequence[TableFileReader],
    keys: Sequence[dict[str, int]],
    i: int,
    said: int,
) -> InputError:
    names = ", ".join(f"`{name[:40]}`" for name in alone[:_SHOWN])
    more = f" and {len(alone) - _SHOWN:,} more" if len(alone) > _SHOWN else ""
    what = "sample stands" if len(alone) == 1 else "samples stand"
    columns = (
        f"name a column that is no sample under `source.files.{i}.annotation`; else say "
        if files[i].transposed
        else "say "
    )
    return InputError(
        f"{len(alone):,} {what} in no other file: {names}{more}",
        where=readers[i].place([keys[i][name] for name in alone]),
        hint=f"{columns}under `source.files.{said}` what becomes of such samples: `join: left` keeps those "
        "of the first file, `inner` those that both have, `outer` all",
    )


def _keys(text: pa.Array, i: int, file: TableFile, reader: TableFileReader, aside: Aside) -> dict[str, int]:
    """Id -> row; rows without an id are set aside, as is one that repeats the header."""
    found: dict[str, int] = {}
    twice: dict[str, list[int]] = {}
    for row, key in enumerate(normal_ids(text).to_pylist()):
        if not key:
            aside.add(reader, row, f"no id in column `{file.id}`")
        elif key == file.id:
            # Files that were appended to one another.
            aside.add(reader, row, "the header again")
        elif key in found:
            twice.setdefault(key, [found[key]]).append(row)
        else:
            found[key] = row
    if twice:
        raise InputError(
            f"an id stands more than once in column `{file.id}`",
            where=reader.place(sorted(row for rows in twice.values() for row in rows)),
            hint="keep one row per id; samples of one patient need an id each, and `source.patient_id`"
            if i == 0
            else "a sample has one row of this file at most: keep one; or, if its rows are the samples, make "
            f"it the first file, and join the other one to it with `on: {file.id}`",
        )
    if not found:
        raise InputError(f"no row has an id in column `{file.id}`", where=reader.shown)
    return found
