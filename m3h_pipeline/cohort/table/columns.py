"""Which columns of a ``table`` source are what: identifiers, label inputs, subgroups, features of a source.

A column that the configuration names without a file (an identifier, a label input, a subgroup) may stand in
several files, as the patient's number does in most exports: where two of them speak of a sample they must
agree, and where one is silent the other counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from m3h_pipeline.cohort.coded import code_columns
from m3h_pipeline.cohort.table.blocks import Column, Feature, Reserved, features_of, names_of
from m3h_pipeline.config.sources import TableSource
from m3h_pipeline.errors import ConfigError, InputError, nearest
from m3h_pipeline.tables.identifiers import called
from m3h_pipeline.tables.reader import TableFileReader, once

#: Where a named column stands: one column per file that has it.
Places = tuple[Column, ...]


@dataclass(frozen=True)
class Selection:
    """The use of every column.

    Attributes:
        features: source -> its columns, listed ones first, then those of the pattern in file order.
        patient: the patient's column, or none.
        stay: the stay's column, or none.
        labels: the columns of `source.columns`, in that order.
        subgroups: subgroup -> its column.
        codes: the columns of `source.diagnoses` that stand in these files.
        links: per file the column of an earlier file that its id is compared with; None: the sample's id.
        withheld: label inputs that a pattern matched and that were left out.
        unused: columns without any use.
    """

    features: dict[str, list[Feature]]
    patient: Places
    stay: Places
    labels: dict[str, Places]
    subgroups: dict[str, Places]
    codes: dict[str, Places]
    links: list[Column | None]
    withheld: list[str]
    unused: list[str]

    def text(self, file: int) -> list[str]:
        """Columns of a file, but its id, that are read as text."""
        named = [*self.labels.values(), *self.subgroups.values(), *self.codes.values()]
        columns = [
            *(column for places in named for column in places),
            *(*self.patient, *self.stay),
            *(link for link in self.links if link is not None),
            *(f.column for block in self.features.values() for f in block if f.categorical),
        ]
        return list(dict.fromkeys(column.name for column in columns if column.file == file))

    def beside(self, file: int) -> list[str]:
        """Columns of a file that are label inputs, subgroups or codes, sorted."""
        named = [*self.labels.values(), *self.subgroups.values(), *self.codes.values()]
        return sorted({column.name for places in named for column in places if column.file == file})

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
    links = [_link(i, source, readers) for i in range(len(readers))]
    patient = _find(source.patient_id, "source.patient_id", source, readers)
    stay = _find(source.stay_id, "source.stay_id", source, readers)
    labels = {
        name: _locate(name, "source.columns", source, readers) for name in dict.fromkeys(source.columns)
    }
    codes = {
        name: _locate(name, "source.diagnoses", source, readers) for name in code_columns(source.diagnoses)
    }
    subgroups = {
        group: _locate(spec.column, f"source.subgroups.{group}.column", source, readers)
        for group, spec in source.subgroups.items()
    }
    identifiers = {file.id for file in source.files} | {source.patient_id, source.stay_id}
    identifiers |= {link.name for link in links if link is not None}
    reserved = Reserved(
        frozenset(name for name in identifiers if name is not None),
        frozenset([*source.columns, *codes]),
        frozenset(spec.column for spec in source.subgroups.values()),
    )
    withheld: dict[Column, None] = {}
    features: dict[str, list[Feature]] = {}
    owner: dict[Column, str] = {}
    for name in sources:
        if name not in source.blocks:
            raise ConfigError(
                f"there is no source `{name}`", where="source.blocks", hint=nearest(name, source.blocks)
            )
        features[name] = features_of(
            f"source.blocks.{name}", source.blocks[name], readers, reserved, withheld
        )
        for feature in features[name]:
            if feature.column in owner:
                raise ConfigError(
                    f"column `{called(feature.column.name)}` stands in the blocks "
                    f"{owner[feature.column]} and {name}",
                    where=f"source.blocks.{name}",
                    hint="leave it out of one of them with `exclude`",
                )
            owner[feature.column] = name
    used = set(owner) | {Column(i, file.id) for i, file in enumerate(source.files) if file.id is not None}
    places = [*labels.values(), *subgroups.values(), *codes.values()]
    used |= {column for named in places for column in named}
    used |= {*patient, *stay, *(link for link in links if link is not None)}
    unused = [
        called(key) for i, reader in enumerate(readers) for key in reader.names if Column(i, key) not in used
    ]
    without = list(dict.fromkeys(column.name for column in withheld))
    return Selection(features, patient, stay, labels, subgroups, codes, links, without, unused)


def _link(i: int, source: TableSource, readers: Sequence[TableFileReader]) -> Column | None:
    """The column of an earlier file that a file's id is compared with; None: the sample's id."""
    file = source.files[i]
    if i == 0:
        return None
    if file.on is None:
        # Named alike by the study: a patient's or a stay's row, whatever the sample's id is.
        named = {source.patient_id, source.stay_id} - {None, source.files[0].id}
        holders = [j for j in range(i) if file.id in named and readers[j].count(str(file.id))]
        return Column(holders[0], str(file.id)) if holders else None
    if file.on == source.files[0].id:
        return None
    holders = [j for j in range(i) if readers[j].count(file.on)]
    if not holders:
        raise InputError(
            f"column `{file.on}` of `source.files.{i}.on` is absent from the earlier files",
            where=", ".join(reader.shown for reader in readers[:i]),
            hint=nearest(file.on, names_of(readers[:i])),
        )
    once(readers[holders[0]], file.on, f"source.files.{i}.on")
    return Column(holders[0], file.on)


def _find(name: str | None, key: str, source: TableSource, readers: Sequence[TableFileReader]) -> Places:
    return () if name is None else _locate(name, key, source, readers)


def _locate(name: str, key: str, source: TableSource, readers: Sequence[TableFileReader]) -> Places:
    """The files that hold a column which the configuration names without a file."""
    # The id of the first file belongs to every sample; the same name in another file is the same thing.
    if name == source.files[0].id:
        return (Column(0, name),)
    holders = [i for i, reader in enumerate(readers) if reader.count(name)]
    if not holders:
        if lists := [reader.shown for reader in readers if name in reader.arrays]:
            raise InputError(
                f"column `{name}` of `{key}` holds lists of numbers", where=lists[0], hint="use it in a block"
            )
        if len(readers) == 1:
            once(readers[0], name, key)
        raise InputError(
            f"column `{name}` of `{key}` is absent",
            where=", ".join(reader.shown for reader in readers),
            hint=nearest(name, names_of(readers)),
        )
    for i in holders:
        once(readers[i], name, key)
    return tuple(Column(i, name) for i in holders)
