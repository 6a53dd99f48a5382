"""The features of a block: numbers of columns, one per value of categorical ones, expression of genes.

:func:`learn` looks at the files once and says what each feature is made of
(:class:`m3h_pipeline.cohort.reading.SourceReading`). :func:`values_of` makes the features of any rows by that
alone, those of the study as those of new files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.cohort.rare import OTHER, values_left, with_others
from m3h_pipeline.cohort.reading import Part, SourceReading
from m3h_pipeline.cohort.table.blocks import Feature
from m3h_pipeline.cohort.table.expression import applied, learn_genes
from m3h_pipeline.cohort.table.join import Joined
from m3h_pipeline.config.sources import GeneOptions
from m3h_pipeline.errors import ConfigError, InputError
from m3h_pipeline.tables.dates import no_dates
from m3h_pipeline.tables.identifiers import are_numbers, called, named_categories

#: A column with more values than this is no category.
MOST_CATEGORIES = 1000

BoolArray = npt.NDArray[np.bool_]


class Rows(Protocol):
    """Some rows of joined files, whatever holds them."""

    @property
    def count(self) -> int:
        """How many rows there are, n."""

    def numbers(self, file: int, columns: Sequence[str]) -> Float32Array:
        """(n, columns) of a file by their keys, NaN = missing."""

    def text(self, file: int, column: str) -> pa.Array:
        """(n,) strings of a column, null = missing."""


@dataclass(frozen=True)
class JoinedRows:
    """A run of the samples of joined files."""

    joined: Joined
    samples: slice

    @property
    def count(self) -> int:
        return len(range(self.samples.start, self.samples.stop))

    def numbers(self, file: int, columns: Sequence[str]) -> Float32Array:
        rows = self.joined.rows[file][self.samples]
        there = np.flatnonzero(rows >= 0)
        content = self.joined.contents[file]
        at = np.array([content.numeric[column] for column in columns], int)
        x = np.full((self.count, len(columns)), np.nan, dtype=np.float32)
        x[there] = content.numbers[np.ix_(rows[there], at)]
        return x

    def text(self, file: int, column: str) -> pa.Array:
        rows = self.joined.rows[file][self.samples]
        return self.joined.contents[file].text[column].take(pa.array(rows, mask=rows < 0))


def every_row(joined: Joined) -> JoinedRows:
    """All samples of joined files."""
    return JoinedRows(joined, slice(0, len(joined.ids)))


@dataclass
class Learned:
    """What is said of an ingestion's blocks.

    Attributes:
        rare: column -> how many values of few patients it has (:mod:`m3h_pipeline.cohort.rare`).
        genes: block -> what happened to its genes.
    """

    rare: dict[str, int] = field(default_factory=dict)
    genes: dict[str, dict[str, int]] = field(default_factory=dict)


def learn(
    joined: Joined,
    blocks: Mapping[str, Sequence[Feature]],
    genes: Mapping[str, GeneOptions],
    patient: pa.Array,
    zero_is_missing: Collection[str],
) -> tuple[dict[str, SourceReading], Learned]:
    """What the features of each block are made of; a categorical column has one per value, in sorted order.

    Args:
        joined: the files.
        blocks: block -> its columns.
        genes: options of the blocks that hold expression.
        patient: of each sample.
        zero_is_missing: blocks of which a row that is zero throughout is not observed.

    Raises:
        InputError: a categorical column holds dates, or has more than :data:`MOST_CATEGORIES` values; a block
            has no feature; of genes, see :func:`~m3h_pipeline.cohort.table.expression.learn_genes`.
        ConfigError: two features of a block have one name.
    """
    learned = Learned()
    found = {
        block: [_part(joined, feature, patient, learned.rare) for feature in features]
        for block, features in blocks.items()
    }
    named = {block: [name for part in parts for name in _names(part)] for block, parts in found.items()}
    _check_blocks(named, joined, genes)
    readings: dict[str, SourceReading] = {}
    for block, parts in found.items():
        names, options = named[block], None
        if block in genes:
            x = _raw(parts, every_row(joined))
            kept = learn_genes(x, names, genes[block], f"source.blocks.{block}.genes")
            learned.genes[block] = kept.report
            parts = [
                Part(file=parts[at[0]].file, columns=[parts[i].columns[0] for i in at], of=kept.of[symbol])
                for symbol, at in kept.columns.items()
            ]
            names = list(kept.columns)
            options = genes[block].model_copy(
                update={"keep": None, "min_observed": 0.0, "top_variance": None}
            )
        readings[block] = SourceReading(
            names=names,
            units=[""] * len(names),
            zero_is_missing=block in zero_is_missing,
            parts=parts,
            genes=options,
        )
    return readings, learned


def _part(joined: Joined, feature: Feature, patient: pa.Array, rare: dict[str, int]) -> Part:
    column = feature.column
    if not feature.categorical:
        return Part(file=column.file, columns=[column.name])
    text = joined.text(column)
    no_dates(text, column.name, where=joined.readers[column.file].shown, leave="take it out of `categorical`")
    numbers = are_numbers(text)
    named = named_categories(text, numbers=numbers)
    if (many := len(named.drop_null().unique())) > MOST_CATEGORIES:
        raise InputError(
            f"the categorical column `{column.name}` has {many:,} values; "
            f"at most {MOST_CATEGORIES:,} are turned into features",
            where=joined.readers[column.file].shown,
            hint="is it a number or an identifier?",
        )
    values, few = values_left(named, patient)
    rare |= {column.name: few} if few else {}
    return Part(file=column.file, columns=[column.name], values=values, numbers=numbers)


def _names(part: Part) -> list[str]:
    name = called(part.columns[0])
    return [name] if part.values is None else [f"{name}={value}" for value in part.values]


def _check_blocks(blocks: Mapping[str, Sequence[str]], joined: Joined, genes: Collection[str]) -> None:
    """Check that every block has features, and, unless they are ``genes``, no two of one name."""
    for block, names in blocks.items():
        if not names:
            raise InputError(
                f"every value of source `{block}` is missing",
                where=", ".join(reader.shown for reader in joined.readers),
                hint="take the source out of `modalities`",
            )
        name, count = Counter(names).most_common(1)[0]
        if count > 1 and block not in genes:
            raise ConfigError(
                f"two features of the block are named `{name}`",
                where=f"source.blocks.{block}",
                hint="rename a column",
            )


def values_of(source: SourceReading, rows: Rows) -> Float32Array:
    """Features of some rows, shape (n, D), NaN = missing.

    Each row's are made of that row alone, to the bit, whatever the order of the columns.

    Raises:
        InputError: expression has values without a logarithm.
    """
    if source.genes is None:
        return _raw(source.parts, rows)
    keys = [Part(file=part.file, columns=[column]) for part in source.parts for column in part.columns]
    widths = [len(part.columns) for part in source.parts]
    return applied(_raw(keys, rows), source.names, widths, source.genes)


def _raw(parts: Sequence[Part], rows: Rows) -> Float32Array:
    x = np.full((rows.count, sum(_width(part) for part in parts)), np.nan, dtype=np.float32)
    starts = np.cumsum([0, *map(_width, parts)])
    for file in sorted({part.file for part in parts}):
        own = [i for i, part in enumerate(parts) if part.file == file and part.values is None]
        if own:
            x[:, starts[own]] = rows.numbers(file, [parts[i].columns[0] for i in own])
    for i, part in enumerate(parts):
        if part.values is not None:
            values = _value_of(part, rows)
            for j, value in enumerate(part.values):
                is_it = pc.cast(pc.equal(values, value), pa.float32())
                x[:, starts[i] + j] = is_it.to_numpy(zero_copy_only=False)
    return x


def _width(part: Part) -> int:
    return 1 if part.values is None else len(part.values)


def _value_of(part: Part, rows: Rows) -> pa.Array:
    assert part.values is not None
    named = named_categories(rows.text(part.file, part.columns[0]), numbers=part.numbers)
    return with_others(named, part.values)


def unseen(source: SourceReading, rows: Rows) -> dict[str, BoolArray]:
    """Where a category holds a value that the study has no feature for: column -> (n,), if there is any.

    Such a value counts as `other` where the study has that, else as missing.
    """
    found: dict[str, BoolArray] = {}
    for part in source.parts:
        if part.values is None:
            continue
        named = named_categories(rows.text(part.file, part.columns[0]), numbers=part.numbers)
        known = pc.is_in(named, value_set=pa.array([v for v in part.values if v != OTHER], pa.string()))
        new = pc.and_(pc.invert(known), pc.is_valid(named)).to_numpy(zero_copy_only=False)
        if new.any():
            found[called(part.columns[0])] = new
    return found
