"""What the hospital of a synthetic cohort records: identifiers, times, and MIMIC-IV's ``hosp`` tables."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline.cohort.synthetic.codes import BACKGROUND, TRAP, codes_of, icd_codes
from m3h_pipeline.cohort.synthetic.planted import Outcomes, People
from m3h_pipeline.cohort.synthetic.structure import INFECTION

#: Seconds from one admission of a patient to the next.
_BETWEEN = 200 * 24 * 3600
_EPOCH = np.datetime64("2150-01-01T00:00:00", "s")


class Hospital:
    """What a hospital records of its patients beside features: identifiers, times, diagnoses.

    Args:
        people: who the patients are.
        outcomes: what befalls them.
        seed: of everything that is drawn here.
    """

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

    def hosp(self) -> dict[str, pa.Table]:
        """The tables of MIMIC-IV's ``hosp`` folder."""
        people, outcomes = self.people, self.outcomes
        rng = np.random.default_rng([self._seed, 14])
        subject = self.subject[people.patient]
        died = pa.array(texts(self.discharged), mask=~outcomes.death)
        a = len(subject)
        admissions = pa.table(
            {
                "subject_id": subject,
                "hadm_id": self.hadm,
                "admittime": stamps(self.admitted),
                "dischtime": stamps(self.discharged),
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
        dod[people.patient[outcomes.death]] = texts(self.discharged[outcomes.death]).astype("U10")
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
            if task == INFECTION and "pneumonia" in self.outcomes.diagnoses:
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


def texts(times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.str_]:
    """Times as MIMIC-IV writes them."""
    return np.char.replace(np.datetime_as_string(times, unit="s"), "T", " ")


def stamps(times: npt.NDArray[np.datetime64]) -> pa.Array:
    """The same as a column."""
    return pa.array(texts(times))
