"""The files of a synthetic cohort: HAIM-MIMIC-MM and MIMIC-IV as published, with their traps.

What is in them is decided in :mod:`m3h_pipeline.cohort.synthetic.planted`. The traps: two overlong last
lines that are no rows, columns of unknown prefixes, uncertain and empty CheXpert labels, several rows of one
``haim_id``, rows that stand twice, modalities that are all zero, diagnosis titles that name a disease the
patient does not have.

There is no ``ingest.py`` here: the files are read by that of ``haim``, so that a synthetic study goes the
whole way of a real one.
"""

from __future__ import annotations

import csv
import gzip
import io
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from m3h_pipeline.cohort.synthetic.embeddings import write_embeddings
from m3h_pipeline.cohort.synthetic.hospital import Hospital
from m3h_pipeline.cohort.synthetic.planted import FeatureModel, draw_outcomes, draw_people
from m3h_pipeline.cohort.synthetic.structure import structure_of
from m3h_pipeline.config.sources import HaimSource, SyntheticSource
from m3h_pipeline.errors import ConfigError, nearest
from m3h_pipeline.files import write_json, writing
from m3h_pipeline.files.durable import make_folder, moved
from m3h_pipeline.hashes import DIGESTS, write_digests

TABLE, KEYS, HOSP = "cxr_ic_fusion_1103.csv", "haim_mimiciv_key_ids.csv", "hosp"
TRUTH = "truth.json"
_HOSP_TABLES = ("admissions", "patients", "d_icd_diagnoses", "diagnoses_icd")

_PREFIXES: Mapping[str, str] = HaimSource(table="", key_ids="").blocks


def haim_source(settings: SyntheticSource, folder: Path) -> HaimSource:
    """The ``haim`` source that reads what :func:`simulate` wrote to ``folder``."""
    blocks = _blocks(settings)
    default = HaimSource(table="", key_ids="")
    return HaimSource(
        table=str(folder / TABLE),
        key_ids=str(folder / KEYS),
        hosp=str(folder / HOSP),
        blocks=blocks,
        subgroups=default.subgroups if settings.widths.get("demographics", 0) > 1 else {},
        max_malformed=settings.max_malformed,
        zero_is_missing=settings.zero_is_missing,
    )


def simulated_files(folder: Path) -> list[Path]:
    """What :func:`simulate` writes to ``folder``."""
    hosp = [folder / HOSP / f"{table}.csv.gz" for table in _HOSP_TABLES]
    return [folder / TABLE, folder / KEYS, *hosp, folder / TRUTH, folder / DIGESTS]


def simulate(settings: SyntheticSource, seed: int, out: Path) -> None:
    """Write a synthetic cohort: the embedding table, the key ids, four hosp tables and ``truth.json``.

    Args:
        settings: size, widths and tasks.
        seed: of everything random; the same seed writes the same bytes.
        out: the folder; it is replaced as a whole, or left as it was.

    Raises:
        ConfigError: a source of ``widths`` is none that HAIM-MIMIC-MM has.
        InputError: the folder cannot be written.
    """
    blocks = _blocks(settings)
    structure = structure_of(settings.tasks, settings.interactions)
    people = draw_people(settings.samples, settings.samples_per_patient, np.random.default_rng([seed, 10]))
    outcomes = draw_outcomes(structure, people, np.random.default_rng([seed, 11]))
    model = FeatureModel(structure, settings.widths, settings.signal, seed)
    hospital = Hospital(people, outcomes, seed)
    with writing(out):
        make_folder(out.parent)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
            folder = Path(name) / "cohort"
            (folder / HOSP).mkdir(parents=True)
            write_embeddings(folder / TABLE, blocks, model, hospital, seed)
            (folder / KEYS).write_bytes(_csv_bytes(hospital.keys()))
            for table, content in hospital.hosp().items():
                _write_gzip(content, folder / HOSP / f"{table}.csv.gz")
            write_json(structure.truth(), folder / TRUTH)
            write_digests(folder)
            if out.exists():
                shutil.rmtree(out)
            moved(folder, out)


def _blocks(settings: SyntheticSource) -> dict[str, str]:
    """Source -> prefix, by name: the order in which a mapping is written decides nothing."""
    for name in settings.widths:
        if name not in _PREFIXES:
            raise ConfigError(
                f"`{name}` is no source of HAIM-MIMIC-MM",
                where="source.widths",
                hint=nearest(name, _PREFIXES),
            )
    return {name: _PREFIXES[name] for name in sorted(settings.widths)}


def _csv_bytes(table: pa.Table) -> bytes:
    """A table as CSV with quotes only where they are needed, as the published files are."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return stream.getvalue().encode()


def _write_gzip(table: pa.Table, path: Path) -> None:
    # No name and no time in the header: the same cohort is the same bytes.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream:
        stream.write(_csv_bytes(table))
