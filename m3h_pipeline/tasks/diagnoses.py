"""The diagnosis criterion: which codes count, which stays have them, and the lines of the audit table."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.errors import TaskError
from m3h_pipeline.patterns import Pattern
from m3h_pipeline.tasks.columns import Outcome
from m3h_pipeline.tasks.criteria import Diagnosis, Rule
from m3h_pipeline.tasks.icd import first_match

BoolArray = npt.NDArray[np.bool_]
_KEYS = ["icd_version", "icd_code", "long_title"]


class Verdicts(NamedTuple):
    """What a criterion says about distinct codes: which count, which were found but excluded, and why.

    ``by`` is the ICD pattern or the /title pattern/ that found the code, or what excluded it. A code is
    ``unsettled`` where its title would decide, and it has none.
    """

    counted: BoolArray
    excluded: BoolArray
    unsettled: BoolArray
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
    counted, excluded, unsettled = (np.zeros(n, dtype=bool) for _ in range(3))
    group, by = [""] * n, [""] * n
    titles = codes["long_title"].to_pylist()
    told = np.isin(codes["icd_version"].to_numpy(), criterion.expressed)
    untitled = np.array([not title for title in titles], dtype=bool)
    for name, rule in criterion.rules().items():
        found, out, because = _judge(rule, codes, titles)
        found, out = found & told, out & told
        for i in np.flatnonzero((found & ~counted) | (out & ~counted & ~excluded)):
            counted[i], excluded[i], group[i], by[i] = found[i], out[i], name, because[i]
        if rule.titles:
            ruled_out = first_match(rule.exclude.patterns(), codes["icd_code"], codes["icd_version"]) >= 0
            unsettled |= untitled & told & ~ruled_out
    return Verdicts(counted, excluded, unsettled & ~counted, group, by)


def _judge(rule: Rule, codes: pa.Table, titles: list[str]) -> tuple[BoolArray, BoolArray, list[str]]:
    """Codes that count, codes that were found but excluded, and what decided about each."""
    listed, unlisted = rule.patterns(), rule.exclude.patterns()
    in_list = first_match(listed, codes["icd_code"], codes["icd_version"])
    out_list = first_match(unlisted, codes["icd_code"], codes["icd_version"])
    wanted, unwanted = rule.title_pattern(), rule.exclude.title_pattern()
    found, out = in_list >= 0, np.zeros(len(titles), dtype=bool)
    because = [listed[i].text if i >= 0 else "" for i in in_list]
    for i in np.flatnonzero(~found):
        if wanted is None or wanted.search(titles[i]) is None:
            continue
        bad = None if unwanted is None else unwanted.search(titles[i])
        if bad is not None:
            out[i], because[i] = True, f"not “{bad}”"
        elif out_list[i] >= 0:
            out[i], because[i] = True, f"not {unlisted[out_list[i]].text}"
        else:
            found[i], because[i] = True, _which(rule, titles[i])
    return found, out, because


def _which(rule: Rule, title: str) -> str:
    known = (Pattern(text, ignore_case=True) for text in rule.titles)
    return next(f"/{one.text}/" for one in known if one.search(title) is not None)


def label_stays(
    criterion: Diagnosis, stays: pa.ChunkedArray, diagnoses: pa.Table
) -> tuple[Float32Array, list[CodeCount], list[Outcome]]:
    """Labels of samples by the diagnoses of their stay's admission.

    A stay without any recorded diagnosis is missing: its record was not coded, which says nothing about the
    disease. So is a sample without a stay, and what else cannot tell
    (:class:`~m3h_pipeline.tasks.criteria.Diagnosis`).

    Args:
        criterion: which codes count.
        stays: (n,) stay of each sample, null if it has none.
        diagnoses: schema :data:`m3h_pipeline.contracts.DIAGNOSES`.

    Shape:
        (n,) float32: 1, 0, NaN. The counts are of stays and patients among the samples, of every code that
        was found; the outcomes say why rows are positive, negative or missing.

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
    numbered = codes.append_column("number", pa.array(np.arange(codes.num_rows)))
    rows = diagnoses.join(numbered, _KEYS, join_type="inner").select(["number", "stay_id", "patient_id"])
    rows = rows.group_by(rows.column_names, use_threads=False).aggregate([])
    rows = rows.join(per_stay, "stay_id", join_type="inner")

    told = np.isin(codes["icd_version"].to_numpy(), criterion.expressed)

    def with_any(chosen: BoolArray) -> BoolArray:
        """(n,) whether the sample's stay has a chosen code."""
        of = rows["stay_id"].filter(pa.array(chosen[rows["number"].to_numpy()]))
        found = pc.is_in(stays, value_set=pc.unique(of))
        return np.asarray(found.to_numpy().astype(bool) & stays.is_valid().to_numpy().astype(bool))

    recorded, coded = with_any(np.ones(len(told), dtype=bool)), with_any(told)
    positive, unsettled = with_any(verdicts.counted), with_any(verdicts.unsettled)
    negative = coded & ~positive & ~unsettled
    y = np.where(positive, 1.0, np.where(negative, 0.0, np.nan))
    only = " or ".join(f"ICD-{version}" for version in (9, 10) if version not in criterion.expressed)
    labels = [
        Outcome("", "a code that counts", "positive", positive),
        Outcome("", "no code that counts", "negative", negative),
        Outcome("", f"codes of {only} alone, which cannot tell", "missing", recorded & ~coded),
        Outcome("", "a code without title, which cannot be judged", "missing", coded & ~positive & unsettled),
        Outcome("", "no diagnosis recorded", "missing", ~recorded),
    ]
    found = rows.filter(pa.array((verdicts.counted | verdicts.excluded)[rows["number"].to_numpy()]))
    # Reasons that concern nobody are left out.
    told_of = [label for label in labels if label.rows.any() or label.status != "missing"]
    return y.astype(np.float32), _counts(verdicts, codes, found), told_of


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
