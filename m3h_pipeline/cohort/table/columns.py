"""Which columns of a ``table`` source are what: identifiers, label inputs, subgroups, features of a source.

A pattern never takes a column that has another use: identifiers, label inputs (`source.columns`) and subgroup
columns are left out of patterns, because a pattern such as `.+` must not make a label its own predictor. A
label input or identifier that a block *lists* is an error; a subgroup column may be listed (sex is often
both). Columns without a name and those that pandas invents for an index are left out of patterns too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from m3h_pipeline.config.sources import TableBlock, TableSource
from m3h_pipeline.errors import ConfigError, InputError, nearest
from m3h_pipeline.tables.reader import TableFileReader, once

_NAMELESS = re.compile(r"|Unnamed: \d+|__index_level_\d+__")


@dataclass(frozen=True)
class Column:
    """A column of one file."""

    file: int
    name: str


@dataclass(frozen=True)
class Feature:
    """A column that becomes one feature, or one per value."""

    column: Column
    categorical: bool


@dataclass(frozen=True)
class Selection:
    """The use of every column.

    Attributes:
        features: source -> its columns, listed ones first, then those of the pattern in file order.
        patient: the patient's column, or None.
        stay: the stay's column, or None.
        labels: the columns of `source.columns`, in that order.
        subgroups: subgroup -> its column.
        withheld: label inputs that a pattern matched and that were left out.
        unused: columns without any use.
    """

    features: dict[str, list[Feature]]
    patient: Column | None
    stay: Column | None
    labels: list[Column]
    subgroups: dict[str, Column]
    withheld: list[str]
    unused: list[str]

    def text(self, file: int) -> list[str]:
        """Columns of a file, but its id, that are read as text."""
        named = [*self.labels, *self.subgroups.values(), self.patient, self.stay]
        columns = [column for column in named if column is not None]
        columns += [f.column for block in self.features.values() for f in block if f.categorical]
        return list(dict.fromkeys(column.name for column in columns if column.file == file))

    def numeric(self, file: int) -> list[str]:
        """Columns of a file that are read as numbers."""
        columns = [f.column for block in self.features.values() for f in block if not f.categorical]
        return list(dict.fromkeys(column.name for column in columns if column.file == file))


def select_columns(
    source: TableSource, sources: Sequence[str], readers: Sequence[TableFileReader]
) -> Selection:
    """Decide the use of every column of the files.

    Args:
        source: the configuration.
        sources: the blocks that are wanted.
        readers: the files, in the order of ``source.files``.

    Raises:
        ConfigError: the configuration contradicts itself or leaks a label into the features.
        InputError: a named column is absent, stands twice, or a pattern matches nothing.
    """
    for i, (file, reader) in enumerate(zip(source.files, readers, strict=True)):
        if file.id is not None:
            once(reader, file.id, f"source.files.{i}.id")
        elif len(readers) > 1:
            raise ConfigError(
                "several files can only be joined on an id",
                where=f"source.files.{i}.id",
                hint=f"name the column of {reader.shown} that holds the sample's id",
            )
    patient = _find(source.patient_id, "source.patient_id", source, readers)
    stay = _find(source.stay_id, "source.stay_id", source, readers)
    labels = [_locate(name, "source.columns", source, readers) for name in dict.fromkeys(source.columns)]
    subgroups = {
        group: _locate(spec.column, f"source.subgroups.{group}.column", source, readers)
        for group, spec in source.subgroups.items()
    }
    identifiers = {file.id for file in source.files} | {source.patient_id, source.stay_id}
    reserved = _Reserved(
        frozenset(name for name in identifiers if name is not None),
        frozenset(source.columns),
        frozenset(column.name for column in subgroups.values()),
    )
    withheld: dict[Column, None] = {}
    features: dict[str, list[Feature]] = {}
    owner: dict[Column, str] = {}
    for name in sources:
        if name not in source.blocks:
            raise ConfigError(
                f"there is no source `{name}`", where="source.blocks", hint=nearest(name, source.blocks)
            )
        features[name] = _block(f"source.blocks.{name}", source.blocks[name], readers, reserved, withheld)
        for feature in features[name]:
            if feature.column in owner:
                raise ConfigError(
                    f"column `{feature.column.name}` stands in the blocks {owner[feature.column]} and {name}",
                    where=f"source.blocks.{name}",
                    hint="leave it out of one of them with `exclude`",
                )
            owner[feature.column] = name
    used = set(owner) | set(labels) | set(subgroups.values()) | {patient, stay}
    used |= {Column(i, file.id) for i, file in enumerate(source.files) if file.id is not None}
    unused = [
        column for i, reader in enumerate(readers) for column in reader.names if Column(i, column) not in used
    ]
    return Selection(features, patient, stay, labels, subgroups, [column.name for column in withheld], unused)


@dataclass(frozen=True)
class _Reserved:
    """Columns that patterns do not take."""

    identifiers: frozenset[str]
    labels: frozenset[str]
    subgroups: frozenset[str]

    def __contains__(self, name: str) -> bool:
        return name in self.identifiers or name in self.labels or name in self.subgroups


def _find(
    name: str | None, key: str, source: TableSource, readers: Sequence[TableFileReader]
) -> Column | None:
    return None if name is None else _locate(name, key, source, readers)


def _locate(name: str, key: str, source: TableSource, readers: Sequence[TableFileReader]) -> Column:
    """The file that holds a column which the configuration names without a file."""
    # The id of the first file belongs to every sample; the same name in another file is the same thing.
    if name == source.files[0].id:
        return Column(0, name)
    holders = [i for i, reader in enumerate(readers) if reader.count(name)]
    if not holders:
        if len(readers) == 1:
            once(readers[0], name, key)
        raise InputError(
            f"column `{name}` of `{key}` is absent",
            where=", ".join(reader.shown for reader in readers),
            hint=nearest(name, _names(readers)),
        )
    if len(holders) > 1:
        raise InputError(
            f"column `{name}` of `{key}` stands in {len(holders)} files",
            where=", ".join(readers[i].shown for i in holders),
            hint="rename or remove it in all but one of them",
        )
    once(readers[holders[0]], name, key)
    return Column(holders[0], name)


def _block(
    key: str,
    block: TableBlock,
    readers: Sequence[TableFileReader],
    reserved: _Reserved,
    withheld: dict[Column, None],
) -> list[Feature]:
    """The columns of one block; label inputs that its pattern matched are added to ``withheld``."""
    if block.file is not None and block.file >= len(readers):
        raise ConfigError(
            f"there is no file {block.file}; files are numbered from 0 to {len(readers) - 1}",
            where=f"{key}.file",
        )
    numbers = list(range(len(readers))) if block.file is None else [block.file]
    shown = ", ".join(readers[i].shown for i in numbers)
    for name in block.exclude:
        if not any(readers[i].count(name) for i in numbers):
            raise InputError(
                f"column `{name}` of `{key}.exclude` is absent",
                where=shown,
                hint=nearest(name, _names(readers[i] for i in numbers)),
            )
    columns = [_listed(name, key, block, numbers, readers, reserved) for name in block.columns]
    if block.pattern is not None:
        columns += _matched(key, block, block.pattern, numbers, readers, reserved, withheld)
    elif not columns:
        raise ConfigError("the block has neither `pattern` nor `columns`", where=key)
    columns = list(dict.fromkeys(columns))
    holders = Counter(column.name for column in columns)
    for column in columns:
        once(readers[column.file], column.name, key)
        if holders[column.name] > 1:
            raise ConfigError(
                f"column `{column.name}` stands in more than one file",
                where=key,
                hint="say which with `file`, or leave it out with `exclude`",
            )
    for name in block.categorical:
        if name not in holders:
            raise ConfigError(
                f"the categorical column `{name}` is not in the block",
                where=f"{key}.categorical",
                hint=nearest(name, holders),
            )
    return [Feature(column, column.name in block.categorical) for column in columns]


def _listed(
    name: str,
    key: str,
    block: TableBlock,
    numbers: Sequence[int],
    readers: Sequence[TableFileReader],
    reserved: _Reserved,
) -> Column:
    """A column that a block lists."""
    if name in reserved.labels:
        raise ConfigError(
            f"column `{name}` is listed in `{key}.columns` and in `source.columns`: "
            "a model would be given the label that it shall predict",
            where=key,
            hint="remove it from one of the two",
        )
    if name in reserved.identifiers:
        raise ConfigError(f"column `{name}` is an identifier and no feature", where=f"{key}.columns")
    if name in block.exclude:
        raise ConfigError(f"column `{name}` is both listed and excluded", where=key)
    holders = [i for i in numbers if readers[i].count(name)]
    if len(holders) > 1:
        raise ConfigError(
            f"column `{name}` stands in more than one file", where=key, hint="say which with `file`"
        )
    if not holders:
        if len(numbers) == 1:
            once(readers[numbers[0]], name, f"{key}.columns")
        raise InputError(
            f"column `{name}` of `{key}.columns` is absent",
            where=", ".join(readers[i].shown for i in numbers),
            hint=nearest(name, _names(readers[i] for i in numbers)),
        )
    return Column(holders[0], name)


def _matched(
    key: str,
    block: TableBlock,
    pattern: str,
    numbers: Sequence[int],
    readers: Sequence[TableFileReader],
    reserved: _Reserved,
    withheld: dict[Column, None],
) -> list[Column]:
    """The columns that a block's pattern takes."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"`{pattern}` is no regular expression: {error}", where=f"{key}.pattern") from error
    matches = [
        Column(i, name)
        for i in numbers
        for name in readers[i].names
        if expression.fullmatch(name) and not _NAMELESS.fullmatch(name) and name not in block.exclude
    ]
    taken = [column for column in matches if column.name not in reserved]
    withheld.update(dict.fromkeys(column for column in matches if column.name in reserved.labels))
    if not taken:
        what = "matches only identifiers, label inputs and subgroups" if matches else "matches no column"
        raise InputError(
            f"the pattern `{pattern}` of `{key}` {what}",
            where=", ".join(readers[i].shown for i in numbers),
            hint="it is compared with a column's whole name; "
            + nearest(re.sub(r"\W", "", pattern), _names(readers[i] for i in numbers)),
        )
    return taken


def _names(readers: Iterable[TableFileReader]) -> list[str]:
    return [name for reader in readers for name in dict.fromkeys(reader.names)]
