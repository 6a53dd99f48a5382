"""``haim_mimiciv_key_ids.csv``: which patient, admission and stay a ``haim_id`` is."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from m3h_pipeline.cohort.diagnoses import normal_id
from m3h_pipeline.disclosure import small_count
from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.textfile import stream_text


class Key(NamedTuple):
    """Patient, hospital admission (empty if unknown) and stay of one ``haim_id``."""

    patient_id: str
    hadm_id: str
    stay_id: str


def read_keys(path: Path | str) -> dict[str, Key]:
    """Read the key of every ``haim_id``. A key that is repeated unchanged is one key.

    A ``haim_id`` without a stay is its own stay: HAIM numbers stays.

    Raises:
        InputError: the file is absent or malformed, a patient is missing, or one ``haim_id`` has two keys.
    """
    keys: dict[str, Key] = {}
    contradictory: set[str] = set()
    nameless = 0
    for batch in stream_text(path, ["haim_id", "subject_id", "hadm_id", "stay_id"]):
        columns = [normal_id(column).to_pylist() for column in batch.columns]
        for haim, patient, admission, stay in zip(*columns, strict=True):
            if not haim or not patient:
                nameless += 1
                continue
            key = Key(patient, admission, stay or f"haim-{haim}")
            if keys.setdefault(haim, key) != key:
                contradictory.add(haim)
    if nameless:
        raise InputError(
            f"{small_count(nameless)} rows have no `haim_id` or no `subject_id`",
            where=str(path),
            hint="without a patient a sample cannot be split; complete or remove these rows",
        )
    if contradictory:
        raise InputError(
            f"{small_count(len(contradictory))} `haim_id` have several rows that contradict each other",
            where=str(path),
            hint="keep one row per haim_id",
        )
    return keys
