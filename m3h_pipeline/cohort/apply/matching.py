"""Which of the given files is which of the study's, and where each of its columns stands: by name alone."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from m3h_pipeline.cohort.apply.meant import (
    GIVEN,
    HINTED,
    check_beside,
    hinted,
    in_capitals,
    meant_file,
    no_column,
    of_lists,
    some,
)
from m3h_pipeline.cohort.apply.problems import Problems, listed
from m3h_pipeline.cohort.reading import Part, Reading, SourceReading
from m3h_pipeline.cohort.table.expression import without_version
from m3h_pipeline.cohort.table.opening import opened as opened_as
from m3h_pipeline.config.sources import TableSource
from m3h_pipeline.errors import InputError, M3HError
from m3h_pipeline.tables.identifiers import called
from m3h_pipeline.tables.reader import TableFileReader


@dataclass
class Matched:
    """The study's files among those that were given.

    Attributes:
        source: the study's section ``source``; its files have the names that they had there.
        readers: per file of the study the given one, None where none was given.
        links: per file the earlier file and its column that its id is compared with; None: the sample's id.
        sources: source -> its reading, with the keys of the given files; None: nobody has it.
    """

    source: TableSource
    readers: list[TableFileReader | None]
    links: list[tuple[int, str] | None]
    sources: dict[str, SourceReading | None] = field(default_factory=dict)

    def numeric(self, file: int) -> list[str]:
        """Keys of a file's columns that are read as numbers."""
        parts = [part for part in self._parts(file) if part.values is None]
        return list(dict.fromkeys(column for part in parts for column in part.columns))

    def text(self, file: int) -> list[str]:
        """Keys of a file's columns, but its id, that are read as text."""
        named = [part.columns[0] for part in self._parts(file) if part.values is not None]
        named += [link[1] for link in self.links if link is not None and link[0] == file]
        return list(dict.fromkeys(named))

    def _parts(self, file: int) -> Iterator[Part]:
        for one in self.sources.values():
            yield from (part for part in (one.parts if one else ()) if part.file == file)


def match_files(
    reading: Reading,
    paths: Sequence[str],
    absent: Sequence[str],
    problems: Problems,
    stack: ExitStack,
    *,
    outcomes: bool = False,
) -> Matched:
    """Find the study's files and columns among the given files.

    Args:
        reading: of a `table` source.
        paths: the given files.
        absent: sources that nobody has, whose files and columns may be lacking.
        problems: takes whatever is wrong.
        stack: closes what stays open.
        outcomes: whether files of outcomes are among them, too; else such files are left out.
    """
    source = TableSource.model_validate(reading.source)
    needed, known = _needed(reading, source, absent), _needed(reading, source, [])
    beside = [set(names) for names in reading.columns] or [set() for _ in needed]
    if source.diagnoses is not None and source.diagnoses.path is not None:
        beside = [*beside, set(source.diagnoses.named)]
    if outcomes:
        needed, known = ([one | beside[i] for i, one in enumerate(each)] for each in (needed, known))
    # What outcomes are made of cannot be absent.
    held = [[] if outcomes and beside[i] else _held_by(i, reading) for i in range(len(needed))]
    used_names = frozenset().union(*known, *beside, (file.id for file in source.files if file.id is not None))
    readers = _assigned(source, needed, known, beside, held, paths, problems, stack)
    matched = Matched(source, readers, [])
    matched.links = [_link(i, source, readers, used_names, problems) for i in range(len(readers))]
    # A file of nothing but what is absent still says which samples there are, or who they are.
    used = {0, *(link[0] for i, link in enumerate(matched.links) if link is not None and needed[i])}
    for i, reader in enumerate(readers):
        if reader is not None and not needed[i] and i not in used:
            problems.unused.append(reader.shown)
            readers[i] = matched.links[i] = None
    for name, one in reading.sources.items():
        matched.sources[name] = None if name in absent else _found(name, one, readers, used_names, problems)
    for i, reader in enumerate(readers):
        key = source.files[i].id
        if reader is not None and key is not None and reader.count(key) != 1:
            problems.add(no_column(key, "the id of its rows", reader, readers, used_names))
    if outcomes:
        check_beside(source, beside, readers, used_names, problems)
    return matched


def _needed(reading: Reading, source: TableSource, absent: Sequence[str]) -> list[set[str]]:
    """Per file of the study the names of the columns that become features."""
    found: list[set[str]] = [set() for _ in source.files]
    for name, one in reading.sources.items():
        for part in one.parts if name not in absent else ():
            found[part.file] |= {_symbol(called(column), one) for column in part.columns}
    return found


def _held_by(file: int, reading: Reading) -> list[str]:
    """Sources of which a file of the study holds features."""
    return [name for name, one in reading.sources.items() if any(part.file == file for part in one.parts)]


def _symbol(name: str, source: SourceReading) -> str:
    strip = source.genes is not None and source.genes.strip_version
    return without_version(name) if strip else name


def _assigned(
    source: TableSource,
    needed: Sequence[set[str]],
    known: Sequence[set[str]],
    beside: Sequence[set[str]],
    held: Sequence[Sequence[str]],
    paths: Sequence[str],
    problems: Problems,
    stack: ExitStack,
) -> list[TableFileReader | None]:
    """Per file of the study the given file that has its columns, those of absent sources included."""
    opened: dict[tuple[str, int], TableFileReader] = {}
    ranked: list[tuple[float, float, str, int]] = []
    unread = 0
    for path in paths:
        errors: list[M3HError] = []
        for i, file in enumerate(source.files):
            try:
                reader = opened[path, i] = opened_as(path, file, stack, optional=True)
            except M3HError as error:
                errors.append(error)
                continue
            own = {called(name) for name in reader.header}
            own |= {without_version(name) for name in own}
            share = len(known[i] & own) / len(known[i]) if known[i] else 0.0
            alike = difflib.SequenceMatcher(None, Path(path).name, file.path).ratio()
            ranked.append((share, alike, path, i))
        if len(errors) == len(source.files):
            problems.add(errors[0])
            unread += 1
    found: list[TableFileReader | None] = [None] * len(source.files)
    misspelt: set[int] = set()
    taken: set[str] = set()
    for share, _, path, i in sorted(ranked, key=lambda one: (-one[0], -one[1])):
        if share > 0 and path not in taken and found[i] is None:
            found[i] = opened[path, i]
            taken.add(path)
    for path in dict.fromkeys(paths):
        tried = [reader for (given, _), reader in opened.items() if given == path]
        if path in taken or not tried:
            continue
        # A file that only has what no feature needs, outcomes or codes, is known by it; else another file of
        # the same columns would be left out with all its patients.
        idle = [names for i, names in enumerate(beside) if i >= len(known) or not known[i]]
        rivals = [i for share, _, given, i in ranked if given == path and share > 0]
        if any(reader.count(name) for reader in tried for names in idle for name in names):
            problems.unused.append(path)
        elif rivals:
            problems.add(
                InputError(
                    f"it has columns of `{source.files[rivals[0]].path}`, for which another file is given",
                    where=path,
                    hint="give one file for each of the study's; put their rows into one if both are wanted",
                )
            )
        elif any(reader.count(name) for reader in tried for names in beside for name in names):
            problems.unused.append(path)
        else:
            lacking = [i for i, names in enumerate(needed) if names and found[i] is None]
            misspelt |= {i for i in lacking if in_capitals(tried[0], needed[i])}
            problems.add(
                InputError(
                    "the file has none of the columns that are read",
                    where=path,
                    hint=meant_file(tried[0], source, needed, lacking) if lacking else "leave it out",
                )
            )
    absent = [i for i, names in enumerate(needed) if names and found[i] is None]
    # What cannot be opened may be just that.
    for i in absent if len(absent) > unread else ():
        file = source.files[i]
        holder = next((one for one in found if one is not None and _holds(one, needed[i])), None)
        hint = "give it too"
        if i in misspelt:
            hint = "name the columns of the file above as the study did"
        elif held[i]:
            hint += f"; if nobody has what it holds, say `--absent {' '.join(held[i])}`"
        problems.add(
            InputError(
                f"no given file is the study's `{file.path}`, with the columns {some(needed[i])}",
                hint=hint
                if holder is None
                else f"they stand in {holder.shown}: give them, with their ids, as a file of their own, too",
            )
        )
    return found


def _holds(reader: TableFileReader, names: set[str]) -> bool:
    own = {called(name) for name in reader.header}
    return names <= own | {without_version(name) for name in own}


def _link(
    i: int,
    source: TableSource,
    readers: Sequence[TableFileReader | None],
    used: frozenset[str],
    problems: Problems,
) -> tuple[int, str] | None:
    """The column of an earlier file that a file's id is compared with; None: the sample's id."""
    file = source.files[i]
    if i == 0 or readers[i] is None:
        return None
    named = {source.patient_id, source.stay_id} - {None, source.files[0].id}
    column = file.on if file.on is not None else file.id if file.id in named else None
    if column is None or column == source.files[0].id:
        return None
    holders = [j for j in range(i) if (r := readers[j]) is not None and r.count(column)]
    if holders:
        return holders[0], column
    if file.on is None:
        return None
    first = next((r for r in readers[:i] if r is not None), None)
    if first is not None:
        problems.add(no_column(column, f"which `{file.path}` is joined on", first, readers, used))
    return None


def _found(
    name: str,
    one: SourceReading,
    readers: Sequence[TableFileReader | None],
    used: frozenset[str],
    problems: Problems,
) -> SourceReading:
    """A source's reading with the keys of the given files; what is absent is a problem."""
    parts: list[Part] = []
    lacking: dict[int, list[str]] = {}
    symbols = {i: _by_symbol(reader, one) for i, reader in enumerate(readers) if reader is not None}
    for part in one.parts:
        reader = readers[part.file]
        if reader is None:
            parts.append(part)
            continue
        columns = _keys(part, one, reader, symbols[part.file], problems)
        if columns is None:
            lacking.setdefault(part.file, []).append(called(part.columns[0]))
        parts.append(part if columns is None else part.model_copy(update={"columns": columns}))
    for i, names in lacking.items():
        reader = readers[i]
        assert reader is not None
        names = list(dict.fromkeys(names))
        for column in (column for column in names if column in reader.arrays):
            problems.add(of_lists(column, f"of source `{name}`", reader))
        names = [column for column in names if column not in reader.arrays]
        if not names:
            continue
        if len(names) == 1:
            problems.add(no_column(names[0], f"of source `{name}`", reader, readers, used))
        else:
            # Thousands of genes may be absent, and each is compared with thousands of names.
            hints = [hint for column in names[:HINTED] if (hint := hinted(column, reader, readers, used))]
            problems.add(
                InputError(
                    f"{len(names):,} columns of source `{name}` are absent: {listed(names)}",
                    where=reader.shown,
                    hint="; ".join(hints[:5]) or GIVEN,
                )
            )
    return one.model_copy(update={"parts": parts})


def _by_symbol(reader: TableFileReader, one: SourceReading) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    if one.genes is not None:
        for key in reader.names:
            found.setdefault(_symbol(called(key), one), []).append(key)
    return found


def _keys(
    part: Part,
    one: SourceReading,
    reader: TableFileReader,
    symbols: Mapping[str, list[str]],
    problems: Problems,
) -> list[str] | None:
    """Where the columns of a part stand in a given file; None: they are absent."""
    name = called(part.columns[0])
    if one.genes is None:
        if reader.count(name) > 1:
            problems.add(
                InputError(
                    f"column `{name}` stands {reader.count(name)} times in the header",
                    where=reader.shown,
                    hint="rename or remove the others",
                )
            )
        return list(part.columns) if reader.count(name) else None
    symbol = _symbol(name, one)
    keys = symbols.get(symbol, [])
    if keys and len(keys) != part.of:
        problems.add(
            InputError(
                f"gene `{symbol}` stands {len(keys)} times, and {part.of} times in the study",
                where=reader.shown,
                hint="give the same columns of this gene",
            )
        )
        return list(part.columns)
    if len(part.columns) == part.of:
        return keys or None
    return list(part.columns) if set(part.columns) <= set(keys) else None
