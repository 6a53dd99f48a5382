"""What a column or a file that is not there may be called in the files that were given."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from m3h_pipeline.cohort.apply.problems import Problems, listed
from m3h_pipeline.cohort.table.expression import without_version
from m3h_pipeline.config.sources import TableSource
from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.identifiers import called
from m3h_pipeline.tables.reader import TableFileReader

#: What may be a unit behind a name: ``creatinine (mg/dL)``, ``creatinine_umol_l``, ``creatinine [µmol/l]``.
_UNIT = re.compile(
    r"[ _.\-(\[/]+(m?mol|[µu]mol|nmol|pmol|m?eq|[mµun]?g|k?pa|mmhg|cm|mm|kg|lbs?|°?[cf]|%|percent|[mµu]?iu?)"
    r"([ _/.\-]*(d?l|ml|kg|m2|min|h))?[)\] ]*",
    re.IGNORECASE,
)
#: So many absent columns are looked for under other names.
HINTED = 20
GIVEN = "name columns as the study did; what nobody measured may be a column without values"
_NAMED = "name it as the study did"


def meant_file(
    reader: TableFileReader, source: TableSource, needed: Sequence[set[str]], lacking: Sequence[int]
) -> str:
    """Which of the study's files a file without any of its columns may be."""
    own = {called(name).casefold(): called(name) for name in reader.header}
    alike = {i: in_capitals(reader, needed[i]) for i in lacking}
    best = max(lacking, key=lambda i: len(alike[i]) / len(needed[i]))
    if alike[best]:
        spelt = ", ".join(f"`{own[name.casefold()]}`" for name in alike[best][:3])
        return (
            f"{spelt} and {some({*alike[best][:3]})} of the study's {source.files[best].path} "
            "differ in capitals: name columns as the study did"
        )
    if len(lacking) == 1:
        return f"{source.files[best].path} of the study has {some(needed[best])}"
    return "columns of the study's files: " + "; ".join(
        f"{source.files[i].path} has {some(needed[i])}" for i in lacking
    )


def in_capitals(reader: TableFileReader, names: set[str]) -> list[str]:
    """The names that a file without any of them has in other capitals."""
    own = {called(name).casefold() for name in reader.header}
    return sorted(name for name in names if name.casefold() in own)


def of_lists(name: str, what: str, reader: TableFileReader) -> InputError:
    """What to say of a column of lists where one value is read.

    Args:
        name: of the column, in ``reader.arrays``.
        what: it is, in words.
        reader: of the file.
    """
    width = len(reader.arrays[name])
    return InputError(
        f"column `{name}`, {what}, holds lists (of {width:,} numbers), and the study's held one value a row",
        where=reader.shown,
        hint="write one value in each row, as the study had it",
    )


def some(names: set[str]) -> str:
    """The first few names, for a message."""
    shown = sorted(names)
    return ", ".join(f"`{name}`" for name in shown[:3]) + (", ..." if len(shown) > 3 else "")


def no_column(
    name: str,
    what: str,
    reader: TableFileReader,
    readers: Sequence[TableFileReader | None],
    used: frozenset[str],
) -> InputError:
    """What to say of a column that does not stand once in a file.

    Args:
        name: of the column.
        what: it is, in words.
        reader: of the file.
        readers: of all files.
        used: names that the study itself has, as of :func:`hinted`.
    """
    if reader.count(name) > 1:
        return InputError(
            f"column `{name}`, {what}, stands {reader.count(name)} times in the header",
            where=reader.shown,
            hint="rename or remove the others",
        )
    if name in reader.arrays:
        return of_lists(name, what, reader)
    hint = hinted(name, reader, readers, used) or (GIVEN if what.startswith("of source") else _NAMED)
    return InputError(f"column `{name}`, {what}, is absent", where=reader.shown, hint=hint)


def hinted(
    name: str,
    reader: TableFileReader,
    readers: Sequence[TableFileReader | None],
    used: frozenset[str],
) -> str | None:
    """Where a column may be: in another file, under another unit, under another spelling.

    A column that the study itself has (``used``) is never taken for another one.
    """
    for other in readers:
        if other is not None and other is not reader and other.count(name):
            return f"`{name}` stands in {other.shown}"
    own = [
        one for key in reader.names if (one := called(key)) not in used and without_version(one) not in used
    ]
    if alike := next((one for one in own if one.strip().casefold() == name.strip().casefold()), None):
        return f"is `{alike}` meant for `{name}`? Then name it so"
    bare = _without_unit(name)
    for one in own:
        if _without_unit(one) == bare:
            return f"`{one}` may be `{name}` in another unit: convert it, and name it `{name}`"
    close = difflib.get_close_matches(name, own, n=1, cutoff=0.6)
    return f"is `{close[0]}` meant for `{name}`? Then name it so" if close else None


def _without_unit(name: str) -> str:
    """A column's name without its unit.

    Examples:
        >>> [_without_unit(name) for name in ("Creatinine (mg/dL)", "creatinine_umol_l", "age")]
        ['creatinine', 'creatinine', 'age']
    """
    found = list(_UNIT.finditer(name))
    bare = name[: found[-1].start()] if found and found[-1].end() == len(name) else name
    return bare.strip().casefold()


def check_beside(
    source: TableSource,
    beside: Sequence[set[str]],
    readers: Sequence[TableFileReader | None],
    used: frozenset[str],
    problems: Problems,
) -> None:
    """Every column that outcomes and groups of patients are made of stands in one of the given files."""
    given = [reader for reader in readers if reader is not None]
    wanted = {*source.columns, *(group.column for group in source.subgroups.values())}
    # Of a file that is not given that alone is said.
    wanted -= {name for i, reader in enumerate(readers) if reader is None for name in beside[i]}
    if None not in readers:
        ids = {source.patient_id, source.stay_id} - {source.files[0].id}
        wanted |= {one for one in ids if one is not None}
    lacking = sorted(
        name for name in wanted if not any(one.count(name) or name in one.arrays for one in given)
    )
    if not lacking or not given:
        return
    hints = [next(filter(None, (hinted(n, r, given, used) for r in given)), None) for n in lacking[:HINTED]]
    named = "name columns as the study did; an outcome that nobody recorded may be a column without values"
    problems.add(
        InputError(
            f"columns by which outcomes, groups and patients are told are absent: {listed(lacking)}",
            where=", ".join(reader.shown for reader in given),
            hint="; ".join([*filter(None, hints)][:5]) or named,
        )
    )
