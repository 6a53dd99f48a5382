"""The diagnosis criterion: which codes count, which stays have them, and the lines of the audit table."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.contracts import Float32Array
from m3h_pipeline.errors import TaskError
from m3h_pipeline.tasks.criteria import Diagnosis, Rule
from m3h_pipeline.tasks.icd import first_match

BoolArray = npt.NDArray[np.bool_]
_KEYS = ["icd_version", "icd_code", "long_title"]


class Verdicts(NamedTuple):
    """What a criterion says about distinct codes: which count, which were found but excluded, and why.

    ``by`` is the ICD pattern or the /title pattern/ that found the code, or what excluded it.
    """

    counted: BoolArray
    excluded: BoolArray
    group: list[str]
    by: list[str]


class CodeCount(NamedTuple):
    """One code that a criterion found: its verdict, and how often it occurs in the cohort."""

    group: str
    version: int
    code: str
    title: str
    counted: bool
    by: str
    samples: int
    stays: int
    patients: int


def judge_codes(criterion: Diagnosis, codes: pa.Table) -> Verdicts:
    """Apply a criterion to distinct codes.

    Args:
        criterion: ICD lists, title patterns, exclusions, also by group; a code counts if any group says so.
        codes: ``icd_code``, ``icd_version``, ``long_title``, one row per distinct code.

    Shape:
        Every entry has one value per row of ``codes``.
    """
    n = codes.num_rows
    counted, excluded = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    group, by = [""] * n, [""] * n
    titles = codes["long_title"].to_pylist()
    for name, rule in criterion.rules().items():
        found, out, because = _judge(rule, codes, titles)
        for i in np.flatnonzero((found & ~counted) | (out & ~counted & ~excluded)):
            counted[i], excluded[i], group[i], by[i] = found[i], out[i], name, because[i]
    return Verdicts(counted, excluded, group, by)


def _judge(rule: Rule, codes: pa.Table, titles: list[str]) -> tuple[BoolArray, BoolArray, list[str]]:
    """Codes that count, codes that were found but excluded, and what decided about each."""
    listed, unlisted = rule.patterns(), rule.exclude.patterns()
    in_list = first_match(listed, codes["icd_code"], codes["icd_version"])
    out_list = first_match(unlisted, codes["icd_code"], codes["icd_version"])
    wanted, unwanted = rule.title_pattern(), rule.exclude.title_pattern()
    found, out = in_list >= 0, np.zeros(len(titles), dtype=bool)
    because = [listed[i].text if i >= 0 else "" for i in in_list]
    for i in np.flatnonzero(~found):
        if wanted is None or not wanted.search(titles[i]):
            continue
        bad = None if unwanted is None else unwanted.search(titles[i])
        if bad is not None:
            out[i], because[i] = True, f"not “{bad.group(0)}”"
        elif out_list[i] >= 0:
            out[i], because[i] = True, f"not {unlisted[out_list[i]].text}"
        else:
            found[i], because[i] = True, _which(rule, titles[i])
    return found, out, because


def _which(rule: Rule, title: str) -> str:
    return next(f"/{text}/" for text in rule.titles if re.search(text, title, re.IGNORECASE))


def label_stays(
    criterion: Diagnosis, stays: pa.ChunkedArray, diagnoses: pa.Table
) -> tuple[Float32Array, list[CodeCount]]:
    """Labels of samples by the diagnoses of their stay's admission.

    A stay without any recorded diagnosis is missing: its record was not coded, which says nothing about the
    disease. So is a sample without a stay.

    Args:
        criterion: which codes count.
        stays: (n,) stay of each sample, null if it has none.
        diagnoses: schema :data:`m3h_pipeline.contracts.DIAGNOSES`.

    Shape:
        (n,) float32: 1, 0, NaN. The counts are of stays and patients among the samples.

    Raises:
        TaskError: the criterion needs titles and the cohort's codes have none.
    """
    codes = diagnoses.select(_KEYS).group_by(_KEYS, use_threads=False).aggregate([])
    codes = codes.sort_by([(key, "ascending") for key in _KEYS])
    needs_titles = any(rule.titles for rule in criterion.rules().values())
    if needs_titles and codes.num_rows and not pc.any(pc.not_equal(codes["long_title"], "")).as_py():
        raise TaskError(
            "the task is defined by diagnosis names, and no code of the cohort has one",
            hint="check `d_icd_diagnoses` in the folder of hosp tables",
        )
    verdicts = judge_codes(criterion, codes)
    per_stay = pc.value_counts(stays.drop_null())
    per_stay = pa.table(
        {"stay_id": per_stay.field("values"), "samples": per_stay.field("counts").cast(pa.int64())}
    )
    found = codes.append_column("number", pa.array(np.arange(codes.num_rows)))
    found = found.filter(pa.array(verdicts.counted | verdicts.excluded))
    rows = diagnoses.join(found, _KEYS, join_type="inner").select(["number", "stay_id", "patient_id"])
    rows = rows.group_by(rows.column_names, use_threads=False).aggregate([])
    rows = rows.join(per_stay, "stay_id", join_type="inner")

    counts = rows.filter(pa.array(verdicts.counted[rows["number"].to_numpy()]))
    recorded = pc.is_in(stays, value_set=pc.unique(diagnoses["stay_id"]))
    positive = pc.is_in(stays, value_set=pc.unique(counts["stay_id"]))
    known = (stays.is_valid().to_numpy() & recorded.to_numpy()).astype(bool)
    y = np.where(known, positive.to_numpy().astype(np.float32), np.float32(np.nan))
    return y.astype(np.float32), _counts(verdicts, codes, rows)


def _counts(verdicts: Verdicts, codes: pa.Table, rows: pa.Table) -> list[CodeCount]:
    """Every code found among the samples' stays, those that count first."""
    totals = rows.group_by("number").aggregate(
        [("samples", "sum"), ("stay_id", "count_distinct"), ("patient_id", "count_distinct")]
    )
    result = []
    for total in totals.to_pylist():
        i = total["number"]
        version, code, title = (codes[key][i].as_py() for key in _KEYS)
        n = (total["samples_sum"], total["stay_id_count_distinct"], total["patient_id_count_distinct"])
        result.append(
            CodeCount(verdicts.group[i], version, code, title, bool(verdicts.counted[i]), verdicts.by[i], *n)
        )
    return sorted(result, key=lambda row: (not row.counted, row.group, row.version, row.code))
