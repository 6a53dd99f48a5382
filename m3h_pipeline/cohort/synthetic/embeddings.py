"""The wide table of a synthetic cohort: HAIM-MIMIC-MM as published, with its traps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from m3h_pipeline.cohort.synthetic.hospital import Hospital, stamps
from m3h_pipeline.cohort.synthetic.planted import THORACIC, FeatureModel
from m3h_pipeline.config.mimic import CHEXPERT

#: Prefixes of columns that no block of the paper names. With the width of the notes each, the published
#: widths add up to the 6,405 fields that users count, and a broken line to their 7,173.
UNKNOWN = ("n_dis_", "n_nur_")
_UNKNOWN_LIKE = "note_radiology"
#: Values per chunk of rows: the memory a cohort takes does not depend on its length.
_CHUNK_VALUES = 4_000_000
#: Chance that a row stands twice.
_DUPLICATED = 0.005


def write_embeddings(
    path: Path, blocks: Mapping[str, str], model: FeatureModel, hospital: Hospital, seed: int
) -> None:
    """Write the table of embeddings.

    Args:
        path: of the CSV file.
        blocks: source -> prefix of its columns.
        model: of the features.
        hospital: everything else about the samples.
        seed: of everything that is drawn here.
    """
    with path.open("wb") as stream:
        writer: pacsv.CSVWriter | None = None
        for batch in _chunks(hospital, blocks, model, seed):
            if writer is None:
                stream.write(",".join(batch.schema.names).encode() + b"\n")
                options = pacsv.WriteOptions(include_header=False, quoting_style="none")
                writer = pacsv.CSVWriter(stream, batch.schema, write_options=options)
                fields = batch.num_columns + model.widths.get(_UNKNOWN_LIKE, 8)
            writer.write_batch(batch)
        assert writer is not None
        writer.close()
        # The last two lines of the published file run over: more fields than columns, no usable identifier.
        for start in (b"", b"0"):
            stream.write(start + b",0.0" * (fields - 1) + b"\n")


def _chunks(
    hospital: Hospital, blocks: Mapping[str, str], model: FeatureModel, seed: int
) -> Iterator[pa.RecordBatch]:
    people, n = hospital.people, len(hospital.people.stay)
    extra = model.widths.get(_UNKNOWN_LIKE, 8)
    width = sum(model.widths.values()) + len(UNKNOWN) * extra
    step = max(1, _CHUNK_VALUES // width)
    for first in range(0, n, step):
        last = min(n, first + step)
        columns = _front(hospital, first, last)
        admission = people.row_admission[first:last]
        for source, prefix in blocks.items():
            x = scaled(source, model.draw(source, people, hospital.outcomes, first, last), seed)
            if source == "demographics":
                known = hospital.demographics[people.row_patient[first:last]]
                k = min(known.shape[1], x.shape[1])
                x[:, :k] = known[:, :k]
            if source == "note_echo":
                x[hospital.no_echo[admission]] = 0
            for i, column in enumerate(x.T):
                columns[f"{prefix}{i}"] = pa.array(np.ascontiguousarray(column))
        rng = np.random.default_rng([seed, 6, first])
        for prefix in UNKNOWN:
            for i, column in enumerate(
                rng.standard_normal((extra, last - first)).round(4).astype(np.float32)
            ):
                columns[f"{prefix}{i}"] = pa.array(column)
        columns |= _back(hospital, first, last, seed)
        batch = pa.record_batch(list(columns.values()), names=list(columns))
        twice = np.flatnonzero(rng.random(last - first) < _DUPLICATED)
        order = np.sort(np.concatenate([np.arange(last - first), twice]))
        yield batch.take(pa.array(order))


def _front(hospital: Hospital, first: int, last: int) -> dict[str, pa.Array]:
    """The columns before the blocks."""
    people, outcomes = hospital.people, hospital.outcomes
    rows = slice(first, last)
    stay, admission = people.stay[rows], people.row_admission[rows]
    image = ["-".join(f"{part:08x}" for part in parts) for parts in hospital.image[rows].tolist()]
    return {
        "haim_id": pa.array(hospital.haim[stay]),
        "img_id": pa.array(image),
        "img_charttime": stamps(hospital.image_time[rows]),
        "img_deltacharttime": pa.array(hospital.since[rows]),
        "discharge_location": pa.array(hospital.place[admission]),
        "img_length_of_stay": pa.array(outcomes.hours[rows]),
        "death_status": pa.array(outcomes.death[admission].astype(np.int64)),
    }


def _back(hospital: Hospital, first: int, last: int, seed: int) -> dict[str, pa.Array]:
    """The columns behind the blocks."""
    rng = np.random.default_rng([seed, 13, first])
    n = last - first
    labels = _chexpert(hospital.outcomes.thoracic[first:last], rng)
    columns = {
        "split": pa.array(np.array(["train", "validate", "test"])[rng.choice(3, n, p=[0.8, 0.1, 0.1])])
    }
    for i, name in enumerate(CHEXPERT):
        columns[name] = pa.array(labels[:, i], mask=np.isnan(labels[:, i]))
    views = hospital.views[first:last]
    columns["PerformedProcedureStepDescription"] = pa.array(
        np.array(["CHEST (PORTABLE AP)", "CHEST (PA AND LAT)", "CHEST (SINGLE VIEW)"])[views]
    )
    columns["ViewPosition"] = pa.array(np.array(["AP", "PA", "LATERAL"])[views])
    return columns


def _chexpert(thoracic: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """CheXpert labels, (n, 14): exactly one of the eight positive where ``thoracic`` is observed."""
    n = len(thoracic)
    eight = np.array([CHEXPERT.index(name) for name in THORACIC])
    labels = rng.choice([np.nan, 0.0, -1.0], (n, len(CHEXPERT)), p=[0.7, 0.2, 0.1])
    others = np.array([i for i in range(len(CHEXPERT)) if i not in eight])
    labels[:, others] = rng.choice([np.nan, 0.0, -1.0, 1.0], (n, len(others)), p=[0.6, 0.1, 0.1, 0.2])
    observed = np.flatnonzero(thoracic >= 0)
    labels[observed, eight[thoracic[observed]]] = 1
    # Where the task's label is missing, none or several of the eight are positive.
    several = np.flatnonzero((thoracic < 0) & (rng.random(n) < 0.4))
    chosen = rng.permuted(np.tile(eight, (len(several), 1)), axis=1)[:, :2]
    labels[several[:, None], chosen] = 1
    finding = CHEXPERT.index("No Finding")
    labels[:, finding] = np.where((labels == 1).sum(1) - (labels[:, finding] == 1) > 0, np.nan, 1)
    return labels


def scaled(source: str, x: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float32]:
    """Bring features of unit scale to the range that the source has in HAIM-MIMIC-MM."""
    if source.startswith("vision_prob"):
        x = 1 / (1 + np.exp(-x - 1))
    elif source.startswith("vision"):
        x = np.logaddexp(0, x + 1) / 4
    elif source.startswith("note"):
        x = x / 3
    else:
        rng = np.random.default_rng([seed, 5, x.shape[1]])
        x = x * 10 ** rng.uniform(-1, 2, x.shape[1]) + 10 ** rng.uniform(0, 2, x.shape[1])
    return np.round(x, 4).astype(np.float32)
