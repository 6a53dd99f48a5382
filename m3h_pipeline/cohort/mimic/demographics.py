"""The six demographic features: age, and codes of five categories."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline.config.mimic import MimicSource

NAMES = (
    "anchor_age",
    "gender_int",
    "ethnicity_int",
    "marital_status_int",
    "language_int",
    "insurance_int",
)
UNITS = ("years", *[""] * 5)
#: Feature -> column.
CATEGORIES = {
    "gender_int": "gender",
    "ethnicity_int": "race",
    "marital_status_int": "marital_status",
    "language_int": "language",
    "insurance_int": "insurance",
}

_UNKNOWN = ("?", "UNKNOWN", "UNABLE TO OBTAIN", "PATIENT DECLINED TO ANSWER")
#: The first word of a race -> group; releases differ in the finer names ("ASIAN - CHINESE").
_RACES = {
    "AMERICAN": 0,
    "ASIAN": 1,
    "BLACK": 2,
    "HISPANIC": 3,
    "NATIVE": 4,
    "WHITE": 5,
    "PORTUGUESE": 5,
}
_OTHER_RACE = 6
_FIXED: dict[str, Mapping[str, int]] = {
    "gender": {"F": 0, "M": 1},
    "marital_status": {"DIVORCED": 0, "MARRIED": 1, "SINGLE": 2, "WIDOWED": 3},
    "insurance": {"MEDICAID": 0, "MEDICARE": 1, "OTHER": 2, "PRIVATE": 3, "NO CHARGE": 4},
}


def published_codes(distinct: Callable[[str], Sequence[str]]) -> dict[str, dict[str, float]]:
    """Of `published`: column -> value -> its number, as the release at hand numbers them.

    Args:
        distinct: column -> the values it has anywhere in the tables.
    """
    return {
        column: {value: float(i) for i, value in enumerate(sorted(distinct(column)))}
        for column in CATEGORIES.values()
    }


def demographics(
    table: pa.Table, source: MimicSource, numbered: Mapping[str, Mapping[str, float]]
) -> tuple[npt.NDArray[np.float32], dict[str, int]]:
    """The features of every sample.

    `published` numbers the values that the file happens to hold in alphabetical order, missing as -1, so that
    the same patient has other codes in another release or extract. `corrected` has fixed codes, the same for
    every release, with missing and unknown as NaN.

    Args:
        table: of the samples.
        source: which variant.
        numbered: of `published`, :func:`published_codes`; a value without a number there is missing.

    Returns:
        (n, 6), and for every column how many values have no code (`corrected`).
    """
    columns = [np.asarray(table["anchor_age"].cast(pa.float64()).to_numpy(zero_copy_only=False))]
    unknown: dict[str, int] = {}
    for column in CATEGORIES.values():
        values = table[column].to_pylist()
        if source.variant == "published":
            place = numbered[column]
            codes = [-1.0 if value is None else place.get(value, np.nan) for value in values]
        else:
            codes = [_code(column, value) for value in values]
            unknown[column] = sum(
                value is not None and code != code and value.upper() not in _UNKNOWN
                for value, code in zip(values, codes, strict=True)
            )
        columns.append(np.array(codes))
    return np.stack(columns, axis=1).astype(np.float32), unknown


def _code(column: str, value: str | None) -> float:
    if value is None or (text := value.strip().upper()) in _UNKNOWN[1:]:
        return np.nan
    if column == "language":
        # Version 2 knows English and "?", by which it means any other; version 3 names the languages.
        return 0.0 if text == "ENGLISH" else 1.0
    if column == "race":
        return np.nan if text == "?" else float(_RACES.get(text.split()[0].split("/")[0], _OTHER_RACE))
    return float(_FIXED[column].get(text, np.nan))
