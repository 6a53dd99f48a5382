"""From the notes and images of MIMIC-IV to one table of embeddings per source, and from there to samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.cohort.mimic.database import database, load, load_file
from m3h_pipeline.cohort.mimic.samples import image_table, table_file
from m3h_pipeline.config.mimic import MimicEmbedding, MimicSource
from m3h_pipeline.embedders.store import Embedder, embed_all
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import check_schema, read_table, write_table
from m3h_pipeline.files.leftovers import scratch
from m3h_pipeline.tables.identifiers import normal_ids
from m3h_pipeline.tables.textfile import stream_text


def embeddings_schema(width: int) -> pa.Schema:
    """Schema of a table of embeddings: admission, when it was taken and known (microseconds), the vector."""
    return pa.schema(
        [
            pa.field("hadm_id", pa.int64(), nullable=False),
            pa.field("time", pa.int64(), nullable=False),
            pa.field("known", pa.int64(), nullable=False),
            pa.field("x", pa.list_(pa.float32(), width), nullable=False),
        ]
    )


def embedder_of(embedding: MimicEmbedding, device: str) -> Embedder[Any]:
    """The embedder of a source.

    Raises:
        InputError: its weights are absent; the message says which files to put where.
    """
    if embedding.kind == "language":
        from m3h_pipeline.embedders.language import LanguageEmbedder

        return LanguageEmbedder(embedding.model, pooling=embedding.pooling, device=device)
    from m3h_pipeline.embedders.vision import VisionEmbedder

    return VisionEmbedder(embedding.model, device=device)


def width_of(embedding: MimicEmbedding) -> int:
    """How many features a source of embeddings has.

    Raises:
        InputError: the model is absent or damaged; it is loaded to find out.
    """
    return len(range(embedder_of(embedding, "cpu").width)[_part(embedding)])


def _part(embedding: MimicEmbedding) -> slice:
    """Which numbers of an item's vector are the features of the source."""
    if embedding.kind == "language":
        return slice(None)
    from m3h_pipeline.embedders.vision import DENSE

    return slice(DENSE) if embedding.kind == "vision_dense" else slice(DENSE, None)


def embed_source(
    source: MimicSource,
    name: str,
    store: Path | str,
    out: Path | str,
    *,
    device: str = "auto",
    batch: int = 16,
    stream: TextIO | None = None,
) -> int:
    """Embed the notes or images of the admissions with an ICU stay.

    Args:
        source: where the tables are; ``source.embeddings[name]`` says what is embedded by which model.
        name: of the source of features.
        store: folder of finished vectors, shared by all sources and runs.
        out: the table of embeddings, of :func:`embeddings_schema`, sorted by admission and time.
        device: `auto`, `cpu` or `cuda`.
        batch: items given to the model at a time.
        stream: where progress is written; standard error by default.

    Returns:
        How many vectors were computed; the others were in the store.

    Raises:
        InputError: a table, an image or the model is absent or damaged, or there is nothing to embed.
    """
    import torch

    embedding = source.embeddings[name]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    embedder = embedder_of(embedding, device)
    with (
        scratch(Path(source.temp) if source.temp else Path(out).parent, "embed") as folder,
        database(folder, source.memory_gb) as db,
    ):
        _admissions(db, source)
        found = _notes(db, embedding) if embedding.kind == "language" else _images(db, source)
    if not found.num_rows:
        raise InputError("no admission with an ICU stay has any", where=f"source.embeddings.{name}")
    x, computed = embed_all(embedder, found["item"].to_pylist(), store, batch=batch, stream=stream)
    x = x[:, _part(embedding)]
    schema = embeddings_schema(x.shape[1])
    flat = pa.array(np.ascontiguousarray(x).reshape(-1), pa.float32())
    column = pa.FixedSizeListArray.from_arrays(flat, x.shape[1])
    columns = [found[key].combine_chunks() for key in schema.names[:3]]
    write_table(pa.Table.from_arrays([*columns, column], schema=schema), out, schema)
    return computed


def _admissions(db: Any, source: MimicSource) -> None:
    root = Path(source.folder)
    columns = {"subject_id": "BIGINT", "hadm_id": "BIGINT"}
    load_file(db, "icustays", table_file(root, "icu/icustays"), columns)
    times = dict.fromkeys(("admittime", "dischtime"), "TIMESTAMP")
    load_file(db, "admissions", table_file(root, "hosp/admissions"), columns | times)


def _notes(db: Any, embedding: MimicEmbedding) -> pa.Table:
    """Notes of those admissions: a note is known once it is stored (charted, where that is not recorded)."""
    path = Path(str(embedding.notes))
    stays = db.sql("SELECT DISTINCT hadm_id::VARCHAR FROM icustays").to_arrow_table()[0].combine_chunks()
    columns = {"note_id": "VARCHAR", "hadm_id": "BIGINT"}
    columns |= {"charttime": "TIMESTAMP", "storetime": "TIMESTAMP", "text": "VARCHAR"}
    batches = (
        batch.filter(pc.is_in(normal_ids(batch["hadm_id"]), value_set=stays))
        for batch in stream_text(path, list(columns))
    )
    load(db, "notes", batches, columns, path)
    return db.sql(
        "SELECT hadm_id, epoch_us(charttime) AS time, epoch_us(greatest(charttime, storetime)) AS known,"
        " text AS item FROM notes WHERE charttime IS NOT NULL AND text IS NOT NULL"
        " ORDER BY hadm_id, charttime, note_id"
    ).to_arrow_table()


def _images(db: Any, source: MimicSource) -> pa.Table:
    """Images taken during those admissions; an image is known when it is taken."""
    folder = Path(str(source.cxr))
    image_table(db, folder)
    table: pa.Table = db.sql(
        "SELECT DISTINCT a.hadm_id, epoch_us(i.taken) AS time, epoch_us(i.taken) AS known, i.subject_id,"
        " i.study_id, i.dicom_id FROM images i JOIN admissions a USING (subject_id)"
        " WHERE i.taken BETWEEN a.admittime AND a.dischtime AND a.hadm_id IN (SELECT hadm_id FROM icustays)"
        " ORDER BY a.hadm_id, time, i.dicom_id"
    ).to_arrow_table()
    rows = table.select(["subject_id", "study_id", "dicom_id"]).to_pylist()
    files = [
        str(
            folder
            / f"files/p{str(r['subject_id'])[:2]}/p{r['subject_id']}/s{r['study_id']}/{r['dicom_id']}.jpg"
        )
        for r in rows
    ]
    return table.append_column("item", pa.array(files, pa.string()))


def read_embeddings(path: Path | str) -> tuple[Mapping[str, npt.NDArray[np.int64]], Float32Array]:
    """Admission, time and known of each embedding, and the vectors.

    Raises:
        InputError: the file is absent.
        ContractError: it does not follow its schema.
    """
    table = read_table(path)
    width = getattr(table.schema.field("x").type, "list_size", 1) if "x" in table.column_names else 1
    table = check_schema(table, embeddings_schema(width), str(path))
    x = table["x"].combine_chunks().flatten().to_numpy().reshape(-1, width)
    return {name: table[name].to_numpy() for name in ("hadm_id", "time", "known")}, x


def aggregate(
    rows: Mapping[str, npt.NDArray[np.int64]],
    x: Float32Array,
    hadm: npt.NDArray[np.int64],
    time: npt.NDArray[np.int64],
    admitted: npt.NDArray[np.int64],
    embedding: MimicEmbedding,
) -> Float32Array:
    """One vector per sample, of what was known at its time.

    `time_weighted` weighs, as published, a note by its hours since admission and an image by its hours since
    the first one; where all weights are 0 (a single image), the plain mean is taken.

    Args:
        rows, x: as :func:`read_embeddings` gives them, sorted by admission.
        hadm, time, admitted: (n,) admission of each sample, its time, and when the patient was admitted.
        embedding: how.

    Returns:
        (n, width), NaN where nothing was known.
    """
    out = np.full((len(hadm), x.shape[1]), np.nan, dtype=np.float32)
    begin = np.searchsorted(rows["hadm_id"], hadm, side="left")
    end = np.searchsorted(rows["hadm_id"], hadm, side="right")
    for i, (a, b) in enumerate(zip(begin.tolist(), end.tolist(), strict=True)):
        chosen = a + np.flatnonzero(rows["known"][a:b] <= time[i])
        if not len(chosen):
            continue
        if embedding.aggregate == "last":
            out[i] = x[chosen[-1]]
            continue
        taken = rows["time"][chosen]
        since = admitted[i] if embedding.kind == "language" else taken[0]
        weights = np.maximum(taken - since, 0).astype(np.float64)
        if embedding.aggregate == "mean" or not weights.any():
            weights[:] = 1.0
        out[i] = np.average(x[chosen], axis=0, weights=weights)
    return out
