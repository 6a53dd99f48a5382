"""Finished studies with made-up numbers: the tables of the figures' fakes, and what they lack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from m3h_pipeline.config import Study, validate
from m3h_pipeline.contracts import reported
from m3h_pipeline.files import write_json, write_table
from m3h_pipeline.layout import Layout
from m3h_pipeline.report.gather import Gathered, gather
from tests.figures import fakes

Tasks = fakes.Tasks
_RULES = (
    *(("youden", None), ("prevalence", None), ("sensitivity 80 %", None), ("sensitivity 90 %", None)),
    *(("top 5 %", None), ("top 10 %", None), ("top 20 %", None)),
    *(("risk", risk) for risk in (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)),
)
_RATES = ("sensitivity", "specificity", "ppv", "npv", "alerts_per_100", "net_benefit")


def configuration(tasks: Tasks, name: str = "fake") -> Study:
    """The configuration of a synthetic study with these tasks."""
    sections = {
        "study": name,
        "source": {"kind": "synthetic", "tasks": "all"},
        "modalities": {
            "tabular": {"sources": ["demographics"]},
            "time_series": {"sources": ["ts_chart", "ts_lab", "ts_procedure"]},
        },
        "tasks": {"include": list(tasks)},
    }
    return validate(Study, sections, where="fake")


def made(study: Study) -> dict[str, Any]:
    """What a record says of how a study was made."""
    return {
        "configuration": study.model_dump(mode="json"),
        "sizes": {},
        "definitions": {"sepsis": "a71a0a4a439ab2ed"},
        "inputs": {"cxr_ic_fusion_1103.csv": {"bytes": 123456, "sha256": "ab" * 32}},
        "seeds": {"study": study.seed, "split": 0, "replicates": {"search": 3, "tim": 3, "final": 5}},
        "code": {"cohort": "e5322367aa37e4fd", "search": "5159403c99ade74c"},
        "versions": {"python": "3.11.7", "m3h-pipeline": "0.1.0", "torch": "2.13.0"},
        "training": [{"device": {"type": "cpu", "name": "a processor"}, "versions": {}, "fits": 1859}],
        "test_part": {"evaluate": 1, "performance": 1},
    }


def performance(tasks: Tasks, seed: int = 21) -> pa.Table:
    """Every candidate by every rule, as a study writes it."""
    rng, rows = np.random.default_rng(seed), []
    for name, task in tasks.items():
        if task["problem_class"] != "binary":
            continue
        for candidate in ("linear", "gradient_boosting", "alone", "together", "blend"):
            for state in ("before", "after"):
                base: dict[str, Any] = {
                    "task": name,
                    "candidate": candidate,
                    "chosen": candidate == "together",
                }
                base |= {"state": state, "class_name": None}
                for measure in ("brier", "scaled_brier", "auprc"):
                    value = float(rng.uniform(0.1, 0.4))
                    rows.append({**base, "measure": measure, "rule": None, "at": None, **_around(value)})
                for rule, at in _RULES:
                    threshold = float(rng.uniform(0.02, 0.4)) if at is None else at
                    for measure in _RATES:
                        value = float(rng.uniform(0.2, 0.9)) * (20 if measure == "alerts_per_100" else 1)
                        rows.append(
                            {**base, "measure": measure, "rule": rule, "at": threshold, **_around(value)}
                        )
        everybody = {"task": name, "candidate": "treat_all", "chosen": False, "state": "before"}
        for at in (0.05, 0.1):
            row = everybody | {"measure": "net_benefit", "class_name": None, "rule": "risk", "at": at}
            rows.append(row | _around(0.1 - 0.9 * at / (1 - at)))
    return fakes._table(rows, reported.PERFORMANCE)


def operating_points(tasks: Tasks, seed: int = 24, thresholds: int = 40) -> pa.Table:
    """Rates that fall and rise with the threshold, for the chosen candidate and the simplest."""
    rng, rows = np.random.default_rng(seed), []
    for name, task in tasks.items():
        if task["problem_class"] != "binary":
            continue
        for candidate in ("linear", "gradient_boosting", "alone", "together", "blend"):
            strength = float(rng.uniform(1.5, 3))
            for i in range(thresholds):
                at = (i + 1) / (thresholds + 1)
                found, false = (1 - at) ** (1 / strength), (1 - at) ** strength
                alerts = 0.1 * found + 0.9 * false
                rows.append(
                    {
                        "task": name,
                        "candidate": candidate,
                        "chosen": candidate == "together",
                        "state": "after",
                    }
                    | {"at": at, "sensitivity": found, "specificity": 1 - false, "ppv": 0.1 * found / alerts}
                    | {"npv": 0.95, "alerts_per_100": 100 * alerts}
                    | {"net_benefit": 0.1 * found - 0.9 * false * at / (1 - at)}
                )
    return fakes._table(rows, reported.OPERATING_POINTS)


def confusion(tasks: Tasks) -> pa.Table:
    """Classes that are mostly taken for themselves; a cell of few is hidden."""
    rows = [
        {"task": name, "candidate": candidate, "chosen": candidate == "together"}
        | {"observed": one, "predicted": other, "n": 400 if one == other else None if i == 1 else 20 + i}
        for name, task in tasks.items()
        if task["problem_class"] == "multiclass"
        for candidate in ("linear", "gradient_boosting", "alone", "together", "blend")
        for one in task["classes"]
        for i, other in enumerate(task["classes"])
    ]
    return fakes._table(rows, reported.CONFUSION)


def profiles(tasks: Tasks, clusters: int = 15) -> pa.Table:
    """What distinguishes each cluster."""
    rng, rows = np.random.default_rng(25), []
    for name, task in tasks.items():
        if task["problem_class"] != "clustering":
            continue
        for cluster in range(clusters):
            base = {"task": name, "model": "multi", "cluster": cluster}
            rows += [
                base | {"what": "size", "name": "", "value": 100.0 + cluster, "rest": None},
                base | {"what": "stability", "name": "", "value": 0.6, "rest": None},
            ]
            for what, names in (("feature", ["de_0", "ts_lab_3"]), ("outcome", list(tasks)[:3])):
                rows += [
                    base | {"what": what, "name": one, "value": float(rng.uniform(0, 1)), "rest": 0.2}
                    for one in names
                ]
    return fakes._table(rows, reported.PHENOTYPE_PROFILES)


def reliance(tasks: Tasks) -> pa.Table:
    """Sources that are missed, and features that move a prediction."""
    rng = np.random.default_rng(26)
    rows: list[dict[str, Any]] = []
    for name, task in tasks.items():
        if task["problem_class"] == "clustering":
            continue
        for source in ("demographics", "ts_chart", "ts_lab"):
            value = float(rng.uniform(0, 0.1))
            row: dict[str, Any] = {
                "task": name,
                "what": "source",
                "source": source,
                "name": source,
                "value": value,
            }
            rows.append(row | {"low": value - 0.02, "high": value + 0.02, "direction": None})
            for i in range(5):
                value = float(rng.uniform(0, 0.5))
                row = {"task": name, "what": "feature", "source": source, "name": f"{source}_{i}"}
                rows.append(row | {"value": value, "low": None, "high": None, "direction": value / 2})
    return fakes._table(rows, reported.RELIANCE)


def _around(value: float) -> dict[str, float]:
    return {"value": value, "low": value * 0.9, "high": value * 1.1}


def subgroups(tasks: Tasks, seed: int = 22) -> pa.Table:
    """Scores and calibration of women and men."""
    rng, rows = np.random.default_rng(seed), []
    for name, task in tasks.items():
        if task["problem_class"] == "clustering":
            continue
        for candidate in ("linear", "alone", "together"):
            for group in ("female", "male"):
                for measure in (task["metric"], "slope", "intercept"):
                    value, gap = float(rng.uniform(0.6, 0.9)), float(rng.normal(0, 0.03))
                    row: dict[str, Any] = {
                        "task": name,
                        "candidate": candidate,
                        "chosen": candidate == "together",
                    }
                    row |= {"subgroup": group, "state": "before", "measure": measure, **_around(value)}
                    row |= {"gap": gap, "gap_low": gap - 0.05, "gap_high": gap + 0.05}
                    rows.append(row)
    return fakes._table(rows, reported.SUBGROUPS)


def flow() -> pa.Table:
    """Who is in the study."""
    steps = [("cohort", 34537, 7215), ("training part", 27630, 5772), ("fold 0", 13815, 2886)]
    steps += [("fold 1", 13815, 2886), ("test part", 6907, 1443)]
    rows = [{"step": step, "samples": n, "patients": people} for step, n, people in steps]
    return fakes._table(rows, reported.FLOW)


def participants(tasks: Tasks, seed: int = 23) -> pa.Table:
    """Table 1: subgroups, sources, features, outcomes."""
    rng = np.random.default_rng(seed)
    empty = dict.fromkeys(reported.PARTICIPANTS.names)
    rows = []
    for what, name, level, measure in [
        *(("subgroup", group, "", "share") for group in ("female", "male")),
        *(("source", f"{source} not observed", "", "share") for source in ("demographics", "ts_chart")),
        *(("feature", f"de_{i}", "", "mean") for i in range(6)),
        *(("outcome", task, "positive", "share") for task in tasks),
    ]:
        train, test = (float(v) for v in rng.uniform(0.1, 0.6, 2))
        numbers = {"train": train, "test": test, "standardised": test - train, "deviations": 0.4}
        rows.append(empty | {"what": what, "name": name, "level": level, "measure": measure} | numbers)
    return fakes._table([row | {"control": ""} for row in rows], reported.PARTICIPANTS)


def write_study(
    root: Path, tasks: Tasks, replaced: dict[str, pa.Table] | None = None, name: str = "fake"
) -> Layout:
    """Write the results of a finished study below ``root``.

    Args:
        root: folder of the results.
        tasks: as of ``fakes.description``.
        replaced: path -> a table in the place of the made-up one.
        name: of the study.
    """
    replaced = replaced or {}
    fakes.write_study(root, tasks, {path: table for path, table in replaced.items() if path in fakes.SCHEMAS})
    layout = Layout(root)
    more = {
        "evaluation/performance.parquet": (performance(tasks), reported.PERFORMANCE),
        "evaluation/subgroups.parquet": (subgroups(tasks), reported.SUBGROUPS),
        "evaluation/operating_points.parquet": (operating_points(tasks), reported.OPERATING_POINTS),
        "evaluation/confusion.parquet": (confusion(tasks), reported.CONFUSION),
        "evaluation/phenotype_profiles.parquet": (profiles(tasks), reported.PHENOTYPE_PROFILES),
        "evaluation/reliance.parquet": (reliance(tasks), reported.RELIANCE),
        "evaluation/flow.parquet": (flow(), reported.FLOW),
        "evaluation/participants.parquet": (participants(tasks), reported.PARTICIPANTS),
    }
    for path, (table, schema) in more.items():
        write_table(replaced.get(path, table), root / path, schema)
    values = ["task\tgroup\tversion\tcode\ttitle\tstatus\tby"]
    prevalence = ["task\tpart\tfold\tclass\tn\tshare\tobserved\tsamples\tpatients"]
    for task in tasks:
        values += [f"{task}\t\t10\tA41{i}\tA code of {task}, number {i}\tcounted\t/a/" for i in range(20)]
        prevalence += [
            f"{task}\tall\t\tpositive\t4,321\t0.1251\t34,537\t34,537\t1,234",
            f"{task}\ttest\t\tpositive\t864\t0.1251\t6,907\t6,907\thidden",
        ]
    layout.labels.values.write_text("\n".join(values) + "\n", encoding="utf-8")
    layout.labels.prevalence.write_text("\n".join(prevalence) + "\n", encoding="utf-8")
    (root / "cohort").mkdir(exist_ok=True)
    write_json(summary(), layout.cohort.summary)
    layout.ledger.mkdir(exist_ok=True)
    entry = {"time": "2026-01-02T03:04:05Z", "verb": "evaluate", "models": "m", "references": "r"}
    write_json(entry | {"settings": "s"}, layout.ledger / "2026-01-02T030405Z-evaluate-00.json")
    write_json({"format": 1, "study": name, **made(configuration(tasks, name)), "files": {}}, layout.record)
    return layout


def summary() -> dict[str, Any]:
    """What ingestion said."""
    return {
        "kind": "haim",
        "rows": 34537,
        "patients": 7215,
        "ignored": {"malformed": 7, "duplicates": 11, "blank_lines": 0, "columns": [], "without_key": 3},
        "sources": {"ts_chart": {"features": 27, "missing": 0.1, "samples_without": 4}},
        "columns": {},
    }


def gathered(root: Path, tasks: Tasks, replaced: dict[str, pa.Table] | None = None) -> Gathered:
    """The same, gathered."""
    layout = write_study(root, tasks, replaced)
    study = configuration(tasks)
    return gather(layout, study, made(study))


def said(evaluation: pa.Table, headline: str, looks: int = 1) -> pa.Table:
    """A table of the evaluation with what it says of itself."""
    text = json.dumps({"headline": headline, "looks": looks, "draws": 1000, "fdr": 0.05})
    return evaluation.replace_schema_metadata({"evaluation": text})
