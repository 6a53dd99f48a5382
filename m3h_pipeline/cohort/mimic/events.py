"""Events of the cohort's stays, and the statistics of what was known of them at each sample's time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.cohort.mimic.database import load, load_file, run
from m3h_pipeline.cohort.mimic.samples import Samples, table_file
from m3h_pipeline.cohort.mimic.series import STATISTICS, EventTable
from m3h_pipeline.cohort.mimic.statistics import series_statistics
from m3h_pipeline.config.mimic import MimicSource
from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.identifiers import normal_ids
from m3h_pipeline.tables.textfile import stream_text

if TYPE_CHECKING:
    import duckdb

#: Events (counted once for every sample that sees them) whose statistics are computed at a time.
AT_A_TIME = 2_000_000


def load_events(
    db: duckdb.DuckDBPyConnection,
    events: EventTable,
    source: MimicSource,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, int]:
    """Make the table named as the source (``ts_chart``): what is known of each stay before its last sample.

    When an event is known: `corrected` from when it was charted, stored and (a procedure) ended, whichever is
    last, and never if it was not recorded when it was stored; `published` from when it was charted, and a
    procedure from when it was stored.

    Args:
        db: with the table ``stays``.
        events: which table.
        source: where, and which variant.
        advance: called with the bytes taken from the file, for progress.

    Returns:
        Counts: ``read`` events of the stays' series, ``kept`` those known in time, ``undated``.

    Raises:
        InputError: a table is absent or malformed, or not one event is of the series.
    """
    root = Path(source.folder)
    path = table_file(root, events.table)
    codes = _items(db, events, source, root)
    owners = db.sql(f"SELECT DISTINCT {events.key}::VARCHAR FROM stays").to_arrow_table()[0]
    stop = [events.stop] if events.stop else []
    times = list(dict.fromkeys([events.time, "storetime", *stop]))
    columns = [events.key, "itemid", *times, events.value]
    raw = f"{events.source}_raw"
    seen = False

    def wanted() -> Iterator[pa.RecordBatch]:
        nonlocal seen
        values, stays = codes.combine_chunks(), owners.combine_chunks()
        for batch in stream_text(path, columns, advance):
            batch = batch.filter(pc.is_in(pc.utf8_trim_whitespace(batch["itemid"]), value_set=values))
            seen = seen or batch.num_rows > 0
            yield batch.filter(pc.is_in(normal_ids(batch[events.key]), value_set=stays))

    types = dict.fromkeys(columns[:2], "BIGINT") | dict.fromkeys(times, "TIMESTAMP")
    read = load(db, raw, wanted(), types | {events.value: "DOUBLE"}, path)
    if not seen:
        raise InputError(
            "the table has not one event of the series that features are made of",
            where=str(path),
            hint="is this the whole file, and of the same release as its dictionary of items?",
        )
    if source.variant == "published":
        known = f"r.{events.time}"
    else:
        parts = ", ".join(f"r.{name}" for name in times)
        known = f"CASE WHEN r.storetime IS NOT NULL THEN greatest({parts}) END"
    run(
        db,
        f"CREATE TABLE {events.source} AS SELECT s.stay, i.series, epoch_us(r.{events.time}) AS t,"
        f" epoch_us({known}) AS known, epoch_us(r.storetime) AS stored, r.itemid, r.{events.value} AS value"
        f" FROM {raw} r JOIN {events.source}_items i USING (itemid) JOIN stays s USING ({events.key})"
        f" WHERE isfinite(r.{events.value}) AND r.{events.time} IS NOT NULL AND {known} <= s.latest"
        " ORDER BY s.stay",
    )
    undated = run(db, f"SELECT count(*) FROM {raw} r WHERE r.{events.value} IS NOT NULL AND {known} IS NULL")[
        0
    ][0]
    kept = run(db, f"SELECT count(*) FROM {events.source}")[0][0]
    run(db, f"DROP TABLE {raw}")
    return {"read": read, "kept": kept, "undated": undated}


def _items(
    db: duckdb.DuckDBPyConnection, events: EventTable, source: MimicSource, root: Path
) -> pa.ChunkedArray:
    """The table ``<source>_items`` (item, number of its series), and the items as text."""
    name = events.dictionary.rpartition("/")[2]
    path = table_file(root, events.dictionary)
    if not run(db, f"SELECT 1 FROM duckdb_tables() WHERE table_name = '{name}'"):
        columns = {"itemid": "BIGINT", "label": "VARCHAR"}
        load_file(db, name, path, columns | ({"fluid": "VARCHAR"} if events.fluid else {}))
    # `published` goes by the label alone, and so takes glucose in urine for glucose in blood.
    bound = f" AND d.fluid = '{events.fluid}'" if events.fluid and source.variant == "corrected" else ""
    labels = pa.table(
        {"label": list(events.series), "series": pa.array(range(len(events.series)), pa.int16())}
    )
    db.register("labels", labels)
    run(
        db,
        f"CREATE TABLE {events.source}_items AS"
        f" SELECT d.itemid, l.series FROM {name} d JOIN labels l ON d.label = l.label{bound}",
    )
    db.unregister("labels")
    items = db.sql(f"SELECT itemid::VARCHAR FROM {events.source}_items").to_arrow_table()[0]
    if not len(items):
        raise InputError(
            "the dictionary names none of the series that features are made of",
            where=str(path),
            hint="is this the dictionary of the same release?",
        )
    return items


def blocks(db: duckdb.DuckDBPyConnection, tables: list[EventTable], samples: Samples) -> Iterator[slice]:
    """Cut the samples into runs of whole stays, by how many events their statistics look at."""
    per_stay = np.bincount(samples.stay, minlength=samples.stays)
    work = np.ones(samples.stays, dtype=np.int64)
    for events in tables:
        found = db.execute(f"SELECT stay, count(*) FROM {events.source} GROUP BY stay").fetchnumpy()
        work[found["stay"]] += found["count_star()"]
    ends = np.cumsum(per_stay)
    start, held = 0, 0
    for stay, cost in enumerate((work * per_stay).tolist()):
        held += cost
        if held >= AT_A_TIME or stay == samples.stays - 1:
            yield slice(start, int(ends[stay]))
            start, held = int(ends[stay]), 0


def block_features(
    db: duckdb.DuckDBPyConnection, events: EventTable, source: MimicSource, samples: Samples, block: slice
) -> npt.NDArray[np.float32]:
    """The features of a run of samples of whole stays.

    Events of a series are in the order of their time; those of one time in the order in which they were
    stored, then by item and value, so that no feature depends on the order of the rows in the file.

    Returns:
        (samples of the block, features).
    """
    stay, time = samples.stay[block], samples.time[block]
    first, last = int(stay[0]), int(stay[-1])
    rows = db.execute(
        f"SELECT stay, series, known, value FROM {events.source} WHERE stay BETWEEN {first} AND {last}"
        " ORDER BY stay, series, t, stored NULLS FIRST, itemid, value"
    ).fetchnumpy()
    owner, series = np.asarray(rows["stay"], dtype=np.int64), np.asarray(rows["series"], dtype=np.int64)
    known, value = np.asarray(rows["known"]), np.asarray(rows["value"])
    begin = np.searchsorted(owner, stay, side="left")
    length = np.searchsorted(owner, stay, side="right") - begin
    # The published code takes what was charted in the very minute of the sample, too.
    bound = time if source.variant == "published" else time - 1
    width = len(events.series)
    out = np.empty((len(stay), width * len(STATISTICS)), dtype=np.float32)
    for part in _parts(length):
        size = length[part]
        sample = np.repeat(np.arange(len(size)), size)
        # Row numbers of the events of the first sample's stay, of the second sample's stay, and so on.
        at = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size - begin[part], size)
        keep = known[at] <= bound[part][sample]
        at, sample = at[keep], sample[keep]
        counts = np.bincount(sample * width + series[at], minlength=len(size) * width)
        found = series_statistics(value[at], counts, zero_appended=source.variant == "published")
        with np.errstate(over="ignore"):
            out[part] = found.reshape(len(size), -1)
    return out


def _parts(length: npt.NDArray[np.int64]) -> Iterator[slice]:
    """Cut samples so that each part looks at a bounded number of events (or is one sample)."""
    start, held = 0, 0
    for i, n in enumerate(length.tolist()):
        if held and held + n > AT_A_TIME:
            yield slice(start, i)
            start, held = i, 0
        held += n
    yield slice(start, len(length))
