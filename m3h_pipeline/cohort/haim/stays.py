"""``haim_mimiciv_key_ids.csv``: which patient, admission and stay a ``haim_id`` is."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from m3h_pipeline.disclosure import small_count
from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.identifiers import normal_ids
from m3h_pipeline.tables.textfile import stream_text


class Stay(NamedTuple):
    """The stay that a ``haim_id`` is, its patient and its hospital admission (empty if unknown)."""

    patient_id: str
    hadm_id: str
    stay_id: str


def read_stays(path: Path | str) -> dict[str, Stay]:
    """Read the stay of every ``haim_id``. A row that is repeated unchanged is one row.

    A ``haim_id`` without a stay is its own stay: HAIM numbers stays. A row without ``haim_id`` or patient, or
    one that repeats the header, is the key of nothing: records of the table that lack theirs are set aside.

    Raises:
        InputError: the file is absent or malformed, no row names a patient, or one ``haim_id`` is two stays.
    """
    stays: dict[str, Stay] = {}
    contradictory: set[str] = set()
    for batch in stream_text(path, ["haim_id", "subject_id", "hadm_id", "stay_id"]):
        columns = [normal_ids(column).to_pylist() for column in batch.columns]
        for haim, patient, admission, stay in zip(*columns, strict=True):
            if not haim or not patient or (haim, patient) == ("haim_id", "subject_id"):
                continue
            found = Stay(patient, admission, stay or f"haim-{haim}")
            if stays.setdefault(haim, found) != found:
                contradictory.add(haim)
    if not stays:
        raise InputError(
            "no row has a `haim_id` and a `subject_id`",
            where=str(path),
            hint="without a patient a sample cannot be split",
        )
    if contradictory:
        raise InputError(
            f"{small_count(len(contradictory))} `haim_id` have several rows that contradict each other",
            where=str(path),
            hint="keep one row per haim_id",
        )
    return stays
