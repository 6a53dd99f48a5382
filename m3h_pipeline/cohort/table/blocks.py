"""Which columns make the features of a block: those it lists, then those that its pattern matches.

A pattern never takes a column that has another use: identifiers, label inputs (`source.columns`, codes of
`source.diagnoses`) and subgroup columns are left out of patterns, because a pattern such as `.+` must not
make a label its own predictor. A label input or identifier that a block *lists* is an error; a subgroup
column may be listed (sex is often both). Columns without a name and those that pandas invents for an index
are left out of patterns too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from m3h_pipeline.config.sources import TableBlock
from m3h_pipeline.errors import ConfigError, InputError, nearest
from m3h_pipeline.patterns import Pattern
from m3h_pipeline.tables.identifiers import called
from m3h_pipeline.tables.reader import TableFileReader, once

_NAMELESS = re.compile(r"|Unnamed: \d+|__index_level_\d+__")


@dataclass(frozen=True)
class Column:
    """A column of one file, by its key (:func:`m3h_pipeline.tables.identifiers.called`)."""

    file: int
    name: str


@dataclass(frozen=True)
class Feature:
    """A column that becomes one feature, or one per value."""

    column: Column
    categorical: bool


@dataclass(frozen=True)
class Reserved:
    """Names of columns that patterns do not take."""

    identifiers: frozenset[str]
    labels: frozenset[str]
    subgroups: frozenset[str]

    def __contains__(self, name: str) -> bool:
        return name in self.identifiers or name in self.labels or name in self.subgroups


def features_of(
    key: str,
    block: TableBlock,
    readers: Sequence[TableFileReader],
    reserved: Reserved,
    withheld: dict[Column, None],
) -> list[Feature]:
    """The columns of one block; label inputs that its pattern matched are added to ``withheld``.

    Raises:
        ConfigError: the block contradicts itself, or lists a label input or an identifier.
        InputError: a column is absent, stands twice, or the pattern matches nothing.
    """
    if block.file is not None and block.file >= len(readers):
        raise ConfigError(
            f"there is no file {block.file}; files are numbered from 0 to {len(readers) - 1}",
            where=f"{key}.file",
        )
    numbers = list(range(len(readers))) if block.file is None else [block.file]
    shown = ", ".join(readers[i].shown for i in numbers)
    for name in block.exclude:
        if not any(readers[i].count(name) or name in readers[i].arrays for i in numbers):
            raise InputError(
                f"column `{name}` of `{key}.exclude` is absent",
                where=shown,
                hint=nearest(name, names_of(readers[i] for i in numbers)),
            )
    columns = [
        column for name in block.columns for column in _listed(name, key, block, numbers, readers, reserved)
    ]
    if block.pattern is not None:
        columns += _matched(key, block, block.pattern, numbers, readers, reserved, withheld)
    elif not columns:
        raise ConfigError("the block has neither `pattern` nor `columns`", where=key)
    columns = list(dict.fromkeys(columns))
    holder: dict[str, int] = {}
    for column in columns:
        name = called(column.name)
        # Genes that stand several times are merged, or refused, when they are prepared.
        if block.genes is None or not readers[column.file].repeats:
            once(readers[column.file], name, key)
        if holder.setdefault(name, column.file) != column.file:
            raise ConfigError(
                f"column `{name}` stands in more than one file",
                where=key,
                hint="say which with `file`, or leave it out with `exclude`",
            )
    for name in block.categorical:
        if name not in holder:
            raise ConfigError(
                f"the categorical column `{name}` is not in the block",
                where=f"{key}.categorical",
                hint=nearest(name, holder),
            )
    return [Feature(column, column.name in block.categorical) for column in columns]


def _listed(
    name: str,
    key: str,
    block: TableBlock,
    numbers: Sequence[int],
    readers: Sequence[TableFileReader],
    reserved: Reserved,
) -> list[Column]:
    """The columns of a name that a block lists: several of a gene that stands again, or of vectors."""
    if name in reserved.labels:
        raise ConfigError(
            f"column `{name}` is listed in `{key}.columns` and in `source.columns` or `source.diagnoses`: "
            "a model would be given the label that it shall predict",
            where=key,
            hint="remove it from one of the two",
        )
    if name in reserved.identifiers:
        raise ConfigError(f"column `{name}` is an identifier and no feature", where=f"{key}.columns")
    if name in block.exclude:
        raise ConfigError(f"column `{name}` is both listed and excluded", where=key)
    found = {i: readers[i].arrays.get(name) or readers[i].keys(name) for i in numbers}
    holders = [i for i in numbers if found[i]]
    if len(holders) > 1:
        raise ConfigError(
            f"column `{name}` stands in more than one file", where=key, hint="say which with `file`"
        )
    if not holders:
        for i in numbers:
            readers[i].check_delimiter()
        raise InputError(
            f"column `{name}` of `{key}.columns` is absent",
            where=", ".join(readers[i].shown for i in numbers),
            hint=nearest(name, names_of(readers[i] for i in numbers)),
        )
    return [Column(holders[0], one) for one in found[holders[0]]]


def _matched(
    key: str,
    block: TableBlock,
    pattern: str,
    numbers: Sequence[int],
    readers: Sequence[TableFileReader],
    reserved: Reserved,
    withheld: dict[Column, None],
) -> list[Column]:
    """The columns that a block's pattern takes."""
    try:
        expression = Pattern(pattern)
    except ValueError as error:
        raise ConfigError(str(error), where=f"{key}.pattern") from error
    left_out = set(block.exclude)
    for i in numbers:
        left_out |= {one for name in block.exclude for one in readers[i].arrays.get(name, ())}
    # A pattern may match the name of a column of vectors as a whole, too.
    whole = {
        i: {
            one
            for name, part in readers[i].arrays.items()
            for one in part
            if expression.fullmatch(name) is not None and name not in reserved
        }
        for i in numbers
    }
    matches = [
        Column(i, one)
        for i in numbers
        for one in readers[i].names
        if (expression.fullmatch(name := called(one)) is not None or one in whole[i])
        and not _NAMELESS.fullmatch(name)
        and name not in left_out
        and one not in readers[i].listed_only
    ]
    taken = [column for column in matches if called(column.name) not in reserved]
    withheld.update(dict.fromkeys(column for column in matches if called(column.name) in reserved.labels))
    if not taken:
        what = "matches only identifiers, label inputs and subgroups" if matches else "matches no column"
        raise InputError(
            f"the pattern `{pattern}` of `{key}` {what}",
            where=", ".join(readers[i].shown for i in numbers),
            hint="it is compared with a column's whole name; "
            + nearest(re.sub(r"\W", "", pattern), names_of(readers[i] for i in numbers)),
        )
    return taken


def names_of(readers: Iterable[TableFileReader]) -> list[str]:
    """The names of the files' columns, of vectors theirs and not those of their elements."""
    found: list[str] = []
    for reader in readers:
        inside = {one for part in reader.arrays.values() for one in part}
        found += [*dict.fromkeys(called(one) for one in reader.names if one not in inside), *reader.arrays]
    return found
