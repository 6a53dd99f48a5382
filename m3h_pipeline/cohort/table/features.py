"""The features of a block: numbers of columns, and one per value of categorical ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.cohort.rare import without_rare
from m3h_pipeline.cohort.table.blocks import Column, Feature
from m3h_pipeline.cohort.table.join import Joined
from m3h_pipeline.errors import ConfigError, InputError
from m3h_pipeline.tables.dates import no_dates
from m3h_pipeline.tables.identifiers import called, categories

#: A column with more values than this is no category.
MOST_CATEGORIES = 1000


@dataclass(frozen=True)
class Expanded:
    """One feature: a number of a column, or whether the column holds ``value``.

    ``values`` are then the column's, one a sample, the rare ones as `other`.
    """

    name: str
    column: Column
    value: str | None
    values: pa.Array | None = None


def expand(
    joined: Joined, features: Sequence[Feature], patient: pa.Array, rare: dict[str, int]
) -> list[Expanded]:
    """The features of a block; a categorical column has one per value, in sorted order.

    Args:
        joined: the files.
        features: of the block.
        patient: of each sample.
        rare: column -> how many values of few patients it has (:mod:`m3h_pipeline.cohort.rare`); added to.

    Raises:
        InputError: a categorical column holds dates, or has more than :data:`MOST_CATEGORIES` values.
    """
    expanded: list[Expanded] = []
    for feature in features:
        column = feature.column
        if not feature.categorical:
            expanded.append(Expanded(called(column.name), column, None))
            continue
        text = joined.text(column)
        no_dates(
            text, column.name, where=joined.readers[column.file].shown, leave="take it out of `categorical`"
        )
        named = categories(text)
        values = named.drop_null().unique().to_pylist()
        if len(values) > MOST_CATEGORIES:
            raise InputError(
                f"the categorical column `{column.name}` has {len(values):,} values; "
                f"at most {MOST_CATEGORIES:,} are turned into features",
                where=joined.readers[column.file].shown,
                hint="is it a number or an identifier?",
            )
        named, few = without_rare(named, patient)
        rare |= {column.name: few} if few else {}
        expanded += [
            Expanded(f"{column.name}={value}", column, value, named)
            for value in sorted(named.drop_null().unique().to_pylist())
        ]
    return expanded


def values_of(joined: Joined, expanded: Sequence[Expanded], samples: slice) -> Float32Array:
    """Features of some samples, shape (number of samples, D), NaN = missing."""
    n = samples.stop - samples.start
    x = np.full((n, len(expanded)), np.nan, dtype=np.float32)
    for file in sorted({feature.column.file for feature in expanded}):
        rows = joined.rows[file][samples]
        there = np.flatnonzero(rows >= 0)
        to = np.array([j for j, f in enumerate(expanded) if f.value is None and f.column.file == file], int)
        at = np.array([joined.contents[file].numeric[expanded[j].column.name] for j in to], int)
        x[np.ix_(there, to)] = joined.contents[file].numbers[np.ix_(rows[there], at)]
    for j, feature in enumerate(expanded):
        if feature.values is not None:
            is_it = pc.cast(pc.equal(feature.values.slice(samples.start, n), feature.value), pa.float32())
            x[:, j] = is_it.to_numpy(zero_copy_only=False)
    return x


def check_blocks(
    blocks: Mapping[str, Sequence[Expanded]], joined: Joined, genes: Collection[str] = ()
) -> None:
    """Check that every block has features, and, unless they are ``genes``, no two of one name.

    Raises:
        InputError: a block has none.
        ConfigError: two features of a block have one name.
    """
    for block, expanded in blocks.items():
        if not expanded:
            raise InputError(
                f"every value of source `{block}` is missing",
                where=", ".join(reader.shown for reader in joined.readers),
                hint="take the source out of `modalities`",
            )
        name, count = Counter(feature.name for feature in expanded).most_common(1)[0]
        if count > 1 and block not in genes:
            raise ConfigError(
                f"two features of the block are named `{name}`",
                where=f"source.blocks.{block}",
                hint="rename a column",
            )
