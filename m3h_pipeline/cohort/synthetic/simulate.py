"""The files of a synthetic cohort: HAIM-MIMIC-MM and MIMIC-IV as published, with their traps.

What is in them is decided in :mod:`m3h_pipeline.cohort.synthetic.planted`. The traps: two overlong last
lines that are no rows, columns of unknown prefixes, uncertain and empty CheXpert labels, several rows of one
``haim_id``, rows that stand twice, modalities that are all zero, diagnosis titles that name a disease the
patient does not have.
"""

from __future__ import annotations

import csv
import gzip
import io
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from m3h_pipeline.cohort.synthetic.codes import BACKGROUND, TRAP, codes_of, icd_codes
from m3h_pipeline.cohort.synthetic.planted import (
    THORACIC,
    FeatureModel,
    Outcomes,
    People,
    draw_outcomes,
    draw_people,
)
from m3h_pipeline.cohort.synthetic.structure import structure_of
from m3h_pipeline.config.mimic import CHEXPERT
from m3h_pipeline.config.sources import HaimSource, SyntheticSource
from m3h_pipeline.errors import ConfigError, nearest
from m3h_pipeline.files import write_json, writing

TABLE, KEYS, HOSP = "cxr_ic_fusion_1103.csv", "haim_mimiciv_key_ids.csv", "hosp"

#: Prefixes of columns that no block of the paper names. With the width of the notes each, the published
#: widths add up to the 6,405 fields that users count, and a broken line to their 7,173.
UNKNOWN = ("n_dis_", "n_nur_")
_UNKNOWN_LIKE = "note_radiology"
#: Values per chunk of rows: the memory a cohort takes does not depend on its length.
_CHUNK_VALUES = 4_000_000
_DUPLICATED = 0.005
#: Seconds from one admission of a patient to the next.
_BETWEEN = 200 * 24 * 3600
_EPOCH = np.datetime64("2150-01-01T00:00:00", "s")
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
    )


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
    structure = structure_of(settings.tasks)
    people = draw_people(settings.samples, settings.samples_per_patient, np.random.default_rng([seed, 10]))
    outcomes = draw_outcomes(structure, people, np.random.default_rng([seed, 11]))
    model = FeatureModel(structure, settings.widths, settings.signal, seed)
    records = _Records(people, outcomes, seed)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
            folder = Path(name) / "cohort"
            (folder / HOSP).mkdir(parents=True)
            _write_table(folder / TABLE, blocks, model, records, seed)
            (folder / KEYS).write_bytes(_csv_bytes(records.keys()))
            for table, content in records.hosp().items():
                _write_gzip(content, folder / HOSP / f"{table}.csv.gz")
            write_json(structure.truth(), folder / "truth.json")
            if out.exists():
                shutil.rmtree(out)
            folder.replace(out)


def _blocks(settings: SyntheticSource) -> dict[str, str]:
    for name in settings.widths:
        if name not in _PREFIXES:
            raise ConfigError(
                f"`{name}` is no source of HAIM-MIMIC-MM",
                where="source.widths",
                hint=nearest(name, _PREFIXES),
            )
    return {name: _PREFIXES[name] for name in sorted(settings.widths)}


class _Records:
    """Everything about the samples that is no feature."""

    def __init__(self, people: People, outcomes: Outcomes, seed: int) -> None:
        self.people, self.outcomes = people, outcomes
        rng = np.random.default_rng([seed, 12])
        self._seed = seed
        n, stays = len(people.stay), len(people.admission)
        admissions, patients = len(people.patient), len(people.male)
        self.subject = 10_000_000 + rng.permutation(9 * patients)[:patients] + 1
        self.hadm = 20_000_000 + rng.permutation(9 * admissions)[:admissions] + 1
        self.stay_id = 30_000_000 + rng.permutation(9 * stays)[:stays] + 1
        self.haim = rng.permutation(stays + stays // 10)[:stays] + 1
        # Admission and discharge follow from the images: all rows of an admission agree on both.
        longest = np.zeros(admissions)
        np.maximum.at(longest, people.row_admission, outcomes.hours)
        before = rng.gamma(1.5, 16.0, admissions).round(2)
        start = rng.integers(0, 50 * 365 * 24 * 3600, patients)[people.patient]
        later = np.arange(admissions) - np.searchsorted(people.patient, people.patient)
        self.admitted = _EPOCH + (start + later * _BETWEEN).astype("timedelta64[s]")
        whole = ((longest + before) * 3600).astype("timedelta64[s]")
        self.discharged = self.admitted + whole
        self.since = ((longest + before)[people.row_admission] - outcomes.hours).round(2)
        self.image_time = self.discharged[people.row_admission] - (outcomes.hours * 3600).astype(
            "timedelta64[s]"
        )
        places = np.array(["HOME", "HOME HEALTH CARE", "SKILLED NURSING FACILITY", "REHAB", "HOSPICE"])
        self.place = np.where(
            outcomes.death, "DIED", places[rng.choice(5, admissions, p=[0.38, 0.27, 0.2, 0.12, 0.03])]
        )
        self.version = np.where(rng.random(admissions) < 0.5, 9, 10)
        for task, sick in outcomes.diagnoses.items():
            if not codes_of(task, 9):
                # No title of ICD-9 names these diseases.
                self.version[sick] = 10
        self.views = rng.choice(3, n, p=[0.85, 0.12, 0.03])
        self.image = rng.integers(0, 2**32, (n, 5), dtype=np.uint64)
        self.demographics = np.stack(
            [
                people.age,
                people.male,
                rng.choice(8, patients, p=[0.62, 0.16, 0.05, 0.05, 0.05, 0.04, 0.02, 0.01]),
                rng.choice(4, patients, p=[0.45, 0.3, 0.15, 0.1]),
                rng.random(patients) < 0.9,
                rng.choice(3, patients, p=[0.45, 0.1, 0.45]),
            ],
            axis=1,
        ).astype(np.float64)
        self.no_echo = rng.random(admissions) < 0.25

    def keys(self) -> pa.Table:
        """The key-ids file."""
        admission = self.people.admission
        table = pa.table(
            {
                "subject_id": self.subject[self.people.patient[admission]],
                "hadm_id": self.hadm[admission],
                "stay_id": self.stay_id,
                "haim_id": self.haim,
            }
        )
        return table.sort_by("haim_id")

    def front(self, first: int, last: int) -> dict[str, pa.Array]:
        """The columns before the blocks."""
        rows = slice(first, last)
        stay, admission = self.people.stay[rows], self.people.row_admission[rows]
        image = ["-".join(f"{part:08x}" for part in parts) for parts in self.image[rows].tolist()]
        return {
            "haim_id": pa.array(self.haim[stay]),
            "img_id": pa.array(image),
            "img_charttime": _stamps(self.image_time[rows]),
            "img_deltacharttime": pa.array(self.since[rows]),
            "discharge_location": pa.array(self.place[admission]),
            "img_length_of_stay": pa.array(self.outcomes.hours[rows]),
            "death_status": pa.array(self.outcomes.death[admission].astype(np.int64)),
        }

    def back(self, first: int, last: int) -> dict[str, pa.Array]:
        """The columns behind the blocks."""
        rng = np.random.default_rng([self._seed, 13, first])
        n = last - first
        labels = _chexpert(self.outcomes.thoracic[first:last], rng)
        columns = {
            "split": pa.array(np.array(["train", "validate", "test"])[rng.choice(3, n, p=[0.8, 0.1, 0.1])])
        }
        for i, name in enumerate(CHEXPERT):
            columns[name] = pa.array(labels[:, i], mask=np.isnan(labels[:, i]))
        views = self.views[first:last]
        columns["PerformedProcedureStepDescription"] = pa.array(
            np.array(["CHEST (PORTABLE AP)", "CHEST (PA AND LAT)", "CHEST (SINGLE VIEW)"])[views]
        )
        columns["ViewPosition"] = pa.array(np.array(["AP", "PA", "LATERAL"])[views])
        return columns

    def hosp(self) -> dict[str, pa.Table]:
        """The tables of MIMIC-IV's ``hosp`` folder."""
        people, outcomes = self.people, self.outcomes
        rng = np.random.default_rng([self._seed, 14])
        subject = self.subject[people.patient]
        died = pa.array(_text(self.discharged), mask=~outcomes.death)
        a = len(subject)
        admissions = pa.table(
            {
                "subject_id": subject,
                "hadm_id": self.hadm,
                "admittime": _stamps(self.admitted),
                "dischtime": _stamps(self.discharged),
                "deathtime": died,
                "admission_type": np.array(["EW EMER.", "URGENT", "OBSERVATION ADMIT"])[
                    rng.integers(3, size=a)
                ],
                "admission_location": np.array(["EMERGENCY ROOM", "TRANSFER FROM HOSPITAL"])[
                    rng.integers(2, size=a)
                ],
                "discharge_location": self.place,
                "insurance": np.array(["Medicare", "Medicaid", "Other"])[rng.integers(3, size=a)],
                "hospital_expire_flag": outcomes.death.astype(np.int64),
            }
        )
        dod = np.full(len(self.subject), "", dtype=object)
        dod[people.patient[outcomes.death]] = _text(self.discharged[outcomes.death]).astype("U10")
        year = np.zeros(len(self.subject), dtype=np.int64)
        year[people.patient] = self.admitted.astype("datetime64[Y]").astype(np.int64) + 1970
        patients = pa.table(
            {
                "subject_id": self.subject,
                "gender": np.where(people.male, "M", "F"),
                "anchor_age": people.age.astype(np.int64),
                "anchor_year": year,
                "anchor_year_group": np.full(len(year), "2014 - 2016"),
                "dod": pa.array([value or None for value in dod], type=pa.string()),
            }
        )
        dictionary = pa.table(
            {
                "icd_code": [item.code for item in icd_codes()],
                "icd_version": [item.version for item in icd_codes()],
                "long_title": [item.title for item in icd_codes()],
            }
        )
        return {
            "admissions": admissions.sort_by([("subject_id", "ascending"), ("admittime", "ascending")]),
            "patients": patients.sort_by("subject_id"),
            "d_icd_diagnoses": dictionary.sort_by([("icd_code", "ascending"), ("icd_version", "ascending")]),
            "diagnoses_icd": self._diagnoses(subject, rng),
        }

    def _diagnoses(self, subject: npt.NDArray[np.int64], rng: np.random.Generator) -> pa.Table:
        """One row per admission and code, numbered within the admission."""
        admission: list[npt.NDArray[np.int64]] = []
        code: list[npt.NDArray[np.int64]] = []
        numbered = {(item.version, item.code): i for i, item in enumerate(icd_codes())}

        def add(rows: npt.NDArray[np.int64], kind: str) -> None:
            for version in (9, 10):
                mine = rows[self.version[rows] == version]
                known = np.array([numbered[item.version, item.code] for item in codes_of(kind, version)])
                if len(mine):
                    admission.append(mine)
                    code.append(rng.choice(known, len(mine)))

        count = len(subject)
        for task, sick in self.outcomes.diagnoses.items():
            if task == "hospital_acquired_infection" and "pneumonia" in self.outcomes.diagnoses:
                sick = sick & ~self.outcomes.diagnoses["pneumonia"]
            add(np.flatnonzero(sick), task)
        add(np.repeat(np.arange(count), 3 + rng.poisson(5, count)), BACKGROUND)
        add(np.repeat(np.arange(count), rng.poisson(1.2, count)), TRAP)
        table = pa.table({"admission": np.concatenate(admission), "code": np.concatenate(code)})
        table = table.group_by(["admission", "code"], use_threads=False).aggregate([])
        who, what = (table[name].to_numpy() for name in ("admission", "code"))
        order = np.lexsort((rng.random(len(who)), who))
        who, what = who[order], what[order]
        starts = np.searchsorted(who, who)
        names = np.array([item.code for item in icd_codes()])
        versions = np.array([item.version for item in icd_codes()])
        return pa.table(
            {
                "subject_id": subject[who],
                "hadm_id": self.hadm[who],
                "seq_num": np.arange(len(who)) - starts + 1,
                "icd_code": names[what],
                "icd_version": versions[what],
            }
        )


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


def _text(times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.str_]:
    return np.char.replace(np.datetime_as_string(times, unit="s"), "T", " ")


def _stamps(times: npt.NDArray[np.datetime64]) -> pa.Array:
    return pa.array(_text(times))


def _scaled(source: str, x: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float32]:
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


def _chunks(
    records: _Records, blocks: Mapping[str, str], model: FeatureModel, seed: int
) -> Iterator[pa.RecordBatch]:
    people, n = records.people, len(records.people.stay)
    extra = model.widths.get(_UNKNOWN_LIKE, 8)
    width = sum(model.widths.values()) + len(UNKNOWN) * extra
    step = max(1, _CHUNK_VALUES // width)
    for first in range(0, n, step):
        last = min(n, first + step)
        columns = records.front(first, last)
        admission = people.row_admission[first:last]
        for source, prefix in blocks.items():
            x = _scaled(source, model.draw(source, people, records.outcomes, first, last), seed)
            if source == "demographics":
                known = records.demographics[people.row_patient[first:last]]
                k = min(known.shape[1], x.shape[1])
                x[:, :k] = known[:, :k]
            if source == "note_echo":
                x[records.no_echo[admission]] = 0
            for i, column in enumerate(x.T):
                columns[f"{prefix}{i}"] = pa.array(np.ascontiguousarray(column))
        rng = np.random.default_rng([seed, 6, first])
        for prefix in UNKNOWN:
            for i, column in enumerate(
                rng.standard_normal((extra, last - first)).round(4).astype(np.float32)
            ):
                columns[f"{prefix}{i}"] = pa.array(column)
        columns |= records.back(first, last)
        batch = pa.record_batch(list(columns.values()), names=list(columns))
        twice = np.flatnonzero(rng.random(last - first) < _DUPLICATED)
        order = np.sort(np.concatenate([np.arange(last - first), twice]))
        yield batch.take(pa.array(order))


def _write_table(
    path: Path, blocks: Mapping[str, str], model: FeatureModel, records: _Records, seed: int
) -> None:
    with path.open("wb") as stream:
        writer: pacsv.CSVWriter | None = None
        for batch in _chunks(records, blocks, model, seed):
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
