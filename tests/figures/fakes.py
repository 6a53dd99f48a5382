"""Tables as the stages before the figures write them, with made-up but plausible numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from m3h_pipeline import contracts
from m3h_pipeline.coding import METRICS
from m3h_pipeline.contracts.reported import PHENOTYPE_SCORES
from m3h_pipeline.disclosure import LEAST
from m3h_pipeline.files import write_json, write_table

# The paper's Supplemental Table 1: department, titles.
DIAGNOSES = {
    "Blood Disorder": ["Anemia"],
    "Cardiovascular Medicine": ["Heart Failure", "Ischemic Heart Disease"],
    "Critical Care": ["Sepsis", "Stroke"],
    "Endocrinology": ["Obesity", "Osteoporosis", "Diabetes"],
    "Gastroenterology and Hepatology": ["Chronic Liver Disease", "Inflammatory Bowel Disease"],
    "Infectious Diseases": [
        "Antimicrobial Resistance",
        "Bacterial Intestinal Infections",
        "Hepatitis B/C",
        "HIV/AIDS",
        "Tuberculosis",
    ],
    "Internal Medicine": ["Fibromyalgia"],
    "Nephrology": ["Chronic Kidney Disease"],
    "Neurology": ["Alzheimer's Disease", "Epilepsy", "Parkinson's Disease"],
    "Oncology": ["Breast Cancer", "Leukemia", "Lymphoma", "Melanoma", "Prostate Cancer"],
    "Ophthalmology": ["Glaucoma", "Macular Degeneration"],
    "Psychiatry and Psychology": ["Bipolar Disorder", "Major Depressive Disorder", "Schizophrenia"],
    "Pulmonary Diseases": ["Asthma", "Chronic Obstructive Pulmonary Disease", "Pneumonia"],
    "Rheumatology": ["Gout", "Lupus"],
    "Urology": ["Urinary Incontinence"],
}
OTHERS = [
    ("thoracic", "Thoracic findings on the chest X-ray", "Thoracic Testing", "multiclass"),
    ("mortality_48h", "Mortality in the next 48 hours", "Hospital Operations", "binary"),
    ("hospital_infection", "Hospital Acquired Infection", "Hospital Operations", "binary"),
    ("days_left", "Number of days left in hospital", "Hospital Operations", "regression"),
    ("phenotype", "Patient subgroup", "Patient Phenotyping", "clustering"),
]
CLASSES = [
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged cardiomediastinum",
    "Lung opacity",
    "Pneumonia",
    "Pneumothorax",
]
UNITS = {"days_left": "days"}


def _id(title: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in title.lower()).strip("_")


def description(n: int) -> dict[str, dict[str, Any]]:
    """``tasks`` of ``labels/tasks.json`` for 1, 8 or all 41 tasks (other numbers: the first n)."""
    everything = [(_id(t), t, d, "binary") for d, titles in DIAGNOSES.items() for t in titles] + OTHERS
    if n == 8:
        wanted = {"anemia", "heart_failure", "sepsis", "chronic_obstructive_pulmonary_disease"}
        everything = [
            e
            for e in everything
            if e[0] in wanted or e[0] in {"thoracic", "mortality_48h", *UNITS, "phenotype"}
        ]
    return {
        name: {
            "id": name,
            "title": title,
            "department": department,
            "problem_class": kind,
            "metric": METRICS[kind],
            "unit": UNITS.get(name, ""),
            "classes": CLASSES if kind == "multiclass" else [],
            "clusters": 15 if kind == "clustering" else None,
            "status": "ok",
            "reason": "",
        }
        for name, title, department, kind in everything[:n]
    }


def of_class(n: int, kind: str) -> dict[str, dict[str, Any]]:
    """``n`` tasks of one problem class."""
    return {
        f"{kind}_{i:02d}": {
            "title": f"Outcome number {i:02d} of a longer list",
            "department": f"Department {i % 7}",
            "problem_class": kind,
            "metric": METRICS[kind],
            "unit": "days" if kind == "regression" else "",
            "status": "ok",
        }
        for i in range(n)
    }


Tasks = dict[str, dict[str, Any]]


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """The table; none of these tasks is a control but where a row says so."""
    usual = {"control": ""} if "control" in schema.names else {}
    return pa.Table.from_pylist([usual | row for row in rows], schema=schema)


def _base(kind: str, rng: np.random.Generator) -> float:
    low, high = {"regression": (0.1, 0.4), "clustering": (0.1, 0.25)}.get(kind, (0.62, 0.9))
    return float(rng.uniform(low, high))


def _combination(task: str, names: list[str], rng: np.random.Generator) -> str:
    others = [t for t in names if t != task]
    size = min(len(others), int(rng.choice([0, 1, 2, 3, 4], p=[0.1, 0.35, 0.3, 0.15, 0.1])))
    return contracts.combination_key([task, *rng.choice(others, size, replace=False)] if size else [task])


def selection(tasks: Tasks, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = []
    for task, entry in tasks.items():
        single = _base(entry["problem_class"], rng)
        key = _combination(task, list(tasks), rng)
        size = len(contracts.combination_tasks(key))
        rows.append(
            {
                "task": task,
                "problem_class": entry["problem_class"],
                "metric": entry["metric"],
                "combination": key,
                "size": size,
                "batch_size": 256,
                "learning_rate": 1e-3,
                "score": single + (0.012 * (size - 1)),
                "single_batch_size": 512,
                "single_learning_rate": 5e-4,
                "single_score": single,
            }
        )
    return _table(rows, contracts.SELECTION)


def trajectory(tasks: Tasks, chosen: pa.Table, seed: int = 1) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = []
    for entry in chosen.to_pylist():
        task, last = entry["task"], entry["size"]
        others = [t for t in tasks if t != task]
        kept: list[tuple[float, tuple[str, ...]]] = [(entry["single_score"], (task,))]
        alone = kept[0][0]
        row = {"task": task, "size": 1, "combination": task, "score": alone, "compared": alone}
        rows.append({**row, "kept": True, "left": False})
        for size in range(2, min(last + 1, len(tasks)) + 1):
            best = entry["single_score"] + (entry["score"] - entry["single_score"]) * (
                (size - 1) / max(last - 1, 1) if size <= last else 0.8
            )
            seen: dict[str, float] = {}
            for _, members in kept:
                for other in others:
                    if other not in members:
                        key = contracts.combination_key([*members, other])
                        seen[key] = best - float(rng.gamma(2, 0.006))
            final = entry["combination"]
            if size == last:
                seen[final] = entry["score"]
            ranked = sorted(seen.items(), key=lambda item: -item[1])
            for i, (key, score) in enumerate(ranked):
                diverged = i == len(ranked) - 1 and size == 2
                behind = size > 2 and i >= 3 and key != final
                rows.append(
                    {
                        "task": task,
                        "size": size,
                        "combination": key,
                        "score": None if diverged or behind else score,
                        # Seen by fewer seeds: not quite in the order of the ranking.
                        "compared": None if diverged or behind else score + float(rng.normal(0, 0.002)),
                        "kept": i < 3,
                        "left": behind,
                    }
                )
            kept = [(score, contracts.combination_tasks(key)) for key, score in ranked[:3]]
    return _table(rows, contracts.TRAJECTORY)


def optimism(chosen: pa.Table, seed: int = 10) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = []
    for entry in chosen.to_pylist():
        corrected = entry["score"] - float(rng.uniform(0, 0.6)) * (entry["score"] - entry["single_score"])
        rows.append(
            {
                "task": entry["task"],
                "metric": entry["metric"],
                "combination": entry["combination"],
                "selected": entry["score"],
                "corrected": corrected,
                "low": corrected - 0.015,
                "high": corrected + 0.015,
                "chosen": float(rng.uniform(0.1, 0.9)),
                "single": entry["single_score"],
                "equal_budget": entry["single_score"] + 0.012,
                "n_combinations": 100,
            }
        )
    return _table(rows, contracts.OPTIMISM)


def tim(tasks: Tasks, seed: int = 2) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = []
    scale = {"regression": 0.03, "clustering": 0.06}
    permuted = [f"{task}~1" for task in list(tasks)[:3]]

    def reason(name: str) -> str:
        return "permuted labels" if name in permuted else str(tasks[name].get("control", ""))

    for task, entry in {**tasks, **{name: tasks[name[:-2]] for name in permuted}}.items():
        width = scale.get(entry["problem_class"], 0.012)
        for companion in [*tasks, *permuted]:
            control = task in permuted or companion in permuted
            if companion == task or (task in permuted and companion in permuted):
                continue
            estimate = float(rng.normal(0.1 * width, width)) * (3 if rng.random() < 0.03 else 1)
            q = float(np.exp(-3 * abs(estimate) / width) * 2)
            rows.append(
                {
                    "task": task,
                    "companion": companion,
                    "estimate": estimate,
                    "low": estimate - width,
                    "high": estimate + width,
                    "p": min(q / 2, 1.0),
                    "q": float("nan") if control else min(q, 1.0),
                    "excess": float("nan") if task in permuted else estimate + width / 4,
                    "excess_low": float("nan") if task in permuted else estimate - width / 2,
                    "excess_high": float("nan") if task in permuted else estimate + width,
                    "excess_p": float("nan") if task in permuted else min(q / 2, 1.0),
                    "excess_q": float("nan") if control else min(q, 1.0),
                    "significant": q < 0.05 and not control,
                    "control": control,
                    "task_control": reason(task),
                    "companion_control": reason(companion),
                    "n_differences": 15,
                    "mode": "pairs",
                }
            )
    return _table(rows, contracts.TIM)


def evaluation(tasks: Tasks, chosen: pa.Table, seed: int = 3) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = []
    for entry in chosen.to_pylist():
        task = tasks[entry["task"]]
        alone = entry["combination"] == entry["task"]
        untested = alone or task["problem_class"] == "clustering"
        single = entry["single_score"]
        difference = 0.0 if alone else float(rng.normal(0.012, 0.02))
        half = 0.0 if alone else float(rng.uniform(0.008, 0.03))
        q = np.nan if untested else float(np.clip(2 * np.exp(-3.0 * abs(difference) / half), 0, 1))
        verdict = "not significant" if q > 0.05 else "better" if difference > 0 else "worse"
        reference = "linear" if task["problem_class"] != "clustering" else None
        base = {"single": single, "multi": single + difference}
        rows.append(
            {
                "task": entry["task"],
                "title": task["title"],
                "department": task["department"],
                "problem_class": task["problem_class"],
                "metric": task["metric"],
                "combination": entry["combination"],
                "control": task.get("control", ""),
                "verdict": "not tested" if untested else verdict,
                **base,
                "single_low": single - 0.03,
                "single_high": single + 0.03,
                "multi_low": base["multi"] - 0.03,
                "multi_high": base["multi"] + 0.03,
                "difference": difference,
                "difference_low": difference - half,
                "difference_high": difference + half,
                "relative": difference / single,
                "relative_low": (difference - half) / single,
                "relative_high": (difference + half) / single,
                "p": q,
                "q": q,
                "detectable": np.nan if untested else 1.4 * half,
                "reference": reference,
                "reference_verdict": "not significant" if reference else "not tested",
                "versus_reference": 0.01 if reference else np.nan,
                "versus_reference_low": -0.01 if reference else np.nan,
                "versus_reference_high": 0.03 if reference else np.nan,
                "reference_p": 0.3 if reference else np.nan,
                "reference_q": 0.4 if reference else np.nan,
                "reference_detectable": 0.03 if reference else np.nan,
                "n_samples": int(rng.integers(380, 6900)),
                "n_patients": int(rng.integers(250, 1300)),
            }
        )
    said = {"headline": "Together is better than alone for 3 of 30 tested tasks, worse for none."}
    return _table(rows, contracts.EVALUATION.with_metadata({"evaluation": json.dumps(said)}))


def comparison(tasks: Tasks, chosen: pa.Table, seed: int = 4) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = []
    for entry in chosen.to_pylist():
        kind = tasks[entry["task"]]["problem_class"]
        models = {"multi": 0.012, "single": 0.0, "linear": -0.02, "gradient_boosting": -0.005}
        for model, shift in models.items():
            if kind == "clustering" and model in {"linear", "gradient_boosting"}:
                continue
            for part in ("validation", "test"):
                value = entry["single_score"] + shift + float(rng.normal(0, 0.012))
                half = 0.018 if part == "validation" else 0.03
                rows.append(
                    {
                        "task": entry["task"],
                        "model": model,
                        "part": part,
                        "metric": entry["metric"],
                        "value": value,
                        "low": value - half if part == "test" else None,
                        "high": value + half if part == "test" else None,
                    }
                )
    return _table(rows, contracts.COMPARISON)


def choice(tasks: Tasks, chosen: pa.Table, seed: int = 5) -> pa.Table:
    """The best of what :func:`comparison` has out of fold, and of a blend."""
    rng = np.random.default_rng(seed)
    found = comparison(tasks, chosen).to_pylist()
    names = {"multi": "together", "single": "alone"}
    rows = []
    for entry in chosen.to_pylist():
        if tasks[entry["task"]]["problem_class"] == "clustering":
            continue
        mine = {(r["model"], r["part"]): r["value"] for r in found if r["task"] == entry["task"]}
        for part in ("validation", "test"):
            mine["blend", part] = max(v for (_, p), v in mine.items() if p == part) + float(
                rng.normal(0, 0.01)
            )
        best = max((m for m, part in mine if part == "validation"), key=lambda m: mine[m, "validation"])
        for (model, part), value in [
            *mine.items(),
            *((("chosen", p), mine[best, p]) for p in ("validation", "test")),
        ]:
            rows.append(
                {
                    "task": entry["task"],
                    "candidate": names.get(model, model),
                    "part": part,
                    "metric": entry["metric"],
                    "chosen": model in (best, "chosen"),
                    "value": value,
                    "low": value - 0.03,
                    "high": value + 0.03,
                    "reference": "linear",
                }
                | {f"versus_{o}{end}": 0.0 for o in ("reference", "alone") for end in ("", "_low", "_high")}
            )
    return _table(rows, contracts.CHOICE)


def calibration(tasks: Tasks, chosen: int = 4, seed: int = 5, quantiles: int = 10) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = []
    names = [t for t, entry in tasks.items() if entry["problem_class"] == "binary"][:chosen]
    for k, task in enumerate(names):
        for model in ("multi", "single"):
            for subgroup, share in (("all", 1.0), ("female", 0.45), ("male", 0.55)):
                for quantile in range(1, quantiles + 1):
                    n = int(6900 / quantiles * share * rng.uniform(0.9, 1.1))
                    predicted = (0.6 - 0.12 * k) * (quantile / quantiles) ** 2.2 + 0.01
                    truth = np.clip(
                        predicted * (1.25 if subgroup == "female" and model == "single" else 1), 0, 1
                    )
                    observed = float(rng.binomial(n, truth) / n)
                    half = 1.96 * float(np.sqrt(max(observed * (1 - observed), 1e-4) / n))
                    rows.append(
                        {
                            "task": task,
                            "model": model,
                            "subgroup": subgroup,
                            "quantile": quantile,
                            "predicted": predicted,
                            "observed": observed,
                            "low": max(observed - half, 0.0),
                            "high": min(observed + half, 1.0),
                            "n": n,
                        }
                    )
    return _table(rows, contracts.CALIBRATION)


def calibration_slopes(tasks: Tasks, seed: int = 6) -> pa.Table:
    """Networks that say too much, and what recalibration makes of them."""
    rng = np.random.default_rng(seed)
    rows = []
    for name, task in tasks.items():
        if task["problem_class"] != "binary":
            continue
        for candidate in ("alone", "together"):
            for state, slope in (("before", 0.6), ("after", 1.0)):
                value = slope + float(rng.normal(0, 0.05))
                rows.append(
                    {
                        "task": name,
                        "candidate": candidate,
                        "chosen": candidate == "together",
                        "state": state,
                        "method": "logistic",
                        "slope": value,
                        "slope_low": value - 0.1,
                        "slope_high": value + 0.1,
                        "intercept": 0.1,
                        "intercept_low": -0.1,
                        "intercept_high": 0.3,
                        "events": 200,
                    }
                )
    return _table(rows, contracts.CALIBRATION_SLOPES)


def roc(tasks: Tasks, seed: int = 6, classes: list[str] | None = None) -> pa.Table:
    from scipy.stats import norm

    rng = np.random.default_rng(seed)
    grid = np.linspace(0, 1, 101)
    rows = []
    for task, entry in tasks.items():
        if entry["problem_class"] != "multiclass":
            continue
        for model in ("single", "multi"):
            for name in classes or CLASSES:
                auroc = float(rng.uniform(0.62, 0.9)) + (0.02 if model == "multi" else 0)
                shift = norm.ppf(auroc) * np.sqrt(2)
                with np.errstate(all="ignore"):
                    tpr = norm.cdf(norm.ppf(grid) + shift)
                tpr = np.maximum.accumulate(np.round(np.nan_to_num(tpr), 2))
                tpr[0], tpr[-1] = 0.0, 1.0
                rows += [
                    {"task": task, "model": model, "class_name": name, "fpr": f, "tpr": t, "auroc": auroc}
                    for f, t in zip(grid.tolist(), tpr.tolist(), strict=True)
                ]
    return _table(rows, contracts.ROC)


def agreement(tasks: Tasks, seed: int = 7, samples: int = 6900, cells: int = 60) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = []
    for task, entry in tasks.items():
        if entry["problem_class"] != "regression":
            continue
        observed = np.minimum(rng.lognormal(1.6, 0.9, samples), 120)
        for model, slope in (("single", 0.35), ("multi", 0.45)):
            predicted = np.clip(5 + slope * (observed - 5) + rng.normal(0, 2.5, samples), -2, 120)
            edges = np.arange(-2.0, 120.1, 60 / cells)
            counts, _, _ = np.histogram2d(observed, predicted, [edges, edges])
            for i, j in zip(*np.nonzero(counts >= LEAST), strict=True):
                rows.append(
                    {
                        "task": task,
                        "model": model,
                        "observed_low": float(edges[i]),
                        "observed_high": float(edges[i + 1]),
                        "predicted_low": float(edges[j]),
                        "predicted_high": float(edges[j + 1]),
                        "n": int(counts[i, j]),
                    }
                )
    return _table(rows, contracts.AGREEMENT)


def phenotypes(tasks: Tasks, seed: int = 8, samples: int = 3000, clusters: int = 15) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = []
    for task, entry in tasks.items():
        if entry["problem_class"] != "clustering":
            continue
        for model, spread, silhouette in (("single", 1.3, 0.183), ("multi", 0.6, 0.251)):
            centres = rng.uniform(-8, 8, (clusters, 2))
            member = rng.integers(clusters, size=samples)
            points = centres[member] + rng.normal(0, spread, (samples, 2))
            frame = pd.DataFrame({"x": points[:, 0], "y": points[:, 1], "cluster": member})
            step = 1.0
            frame["x"] = (frame["x"] // step + 0.5) * step
            frame["y"] = (frame["y"] // step + 0.5) * step
            votes = frame.groupby(["x", "y", "cluster"], as_index=False).size()
            cells = votes.sort_values("size", kind="stable").groupby(["x", "y"], as_index=False).last()
            counts = frame.groupby(["x", "y"], as_index=False).size()["size"]
            for cell, n in zip(cells.to_dict("records"), counts, strict=True):
                if n < LEAST:
                    continue
                rows.append(
                    {
                        "task": task,
                        "model": model,
                        "projection": "t-SNE",
                        **{name: cell[name] for name in ("x", "y", "cluster")},
                        "n": int(n),
                        "silhouette": silhouette,
                    }
                )
    return _table(rows, contracts.PHENOTYPES)


def phenotype_scores(tasks: Tasks) -> pa.Table:
    usual = {"replicates": 5, "width": 64, "low": 0.021, "high": 0.044, "stability": 0.61, "rank": 22.4}
    rows = [
        {"task": task, "model": model, "silhouette": 0.033, "own_silhouette": own} | usual | versus
        for task, entry in tasks.items()
        if entry["problem_class"] == "clustering"
        for model, own, versus in (
            ("single", 0.183, {}),
            ("multi", 0.562, {"difference": -0.004, "difference_low": -0.011, "difference_high": 0.003}),
        )
    ]
    return _table(rows, PHENOTYPE_SCORES)


def attention(chosen: pa.Table, seed: int = 9) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = []
    for entry in chosen.to_pylist():
        members = contracts.combination_tasks(entry["combination"])
        logits = np.array([float(m == entry["task"]) for m in members]) + rng.uniform(
            -0.08, 0.08, len(members)
        )
        weights = np.exp(logits) / np.exp(logits).sum()
        rows += [
            {"task": entry["task"], "companion": m, "companion_control": "", "weight": float(w)}
            for m, w in zip(members, weights, strict=True)
        ]
    return _table(rows, contracts.ATTENTION)


def _survival(tasks: Tasks) -> list[str]:
    return [task for task, entry in tasks.items() if entry["problem_class"] == "survival"]


def kaplan_meier(tasks: Tasks) -> pa.Table:
    rows = []
    for i, task in enumerate(_survival(tasks)):
        for model in ("single", "multi"):
            for group, hazard in (("low risk", 0.02), ("medium risk", 0.05), ("high risk", 0.15)):
                for time in np.linspace(0, 10 + i, 41):
                    curve = float(np.exp(-hazard * time))
                    row = {"task": task, "model": model, "group": group, "time": time, "survival": curve}
                    ends = {"low": curve**1.5, "high": curve**0.6, "p": 0.03 if i else 1e-6}
                    counts = {"n": 60, "events": 6 if group == "low risk" else 25}
                    rows.append(row | ends | counts)
    return _table(rows, contracts.KAPLAN_MEIER)


def dynamic_auroc(tasks: Tasks, seed: int = 11) -> pa.Table:
    rng, rows = np.random.default_rng(seed), []
    for task in _survival(tasks):
        for model in ("single", "multi", "linear", "gradient_boosting"):
            level = rng.uniform(0.55, 0.8)
            for time in np.linspace(0.5, 9, 30):
                value = level + 0.05 * np.sin(time)
                row = {"task": task, "model": model, "time": time, "auroc": value}
                rows.append(row | {"low": value - 0.1, "high": min(1.0, value + 0.1)})
    return _table(rows, contracts.DYNAMIC_AUROC)


def survival(tasks: Tasks, seed: int = 12) -> pa.Table:
    rng, rows = np.random.default_rng(seed), []
    for task in _survival(tasks):
        for model in ("single", "multi", "linear", "gradient_boosting", "kaplan_meier"):
            for score in ("uno", "brier", "dynamic_auroc"):
                if model == "kaplan_meier" and score != "brier":
                    continue
                value = float(rng.uniform(0.1, 0.2) if score == "brier" else rng.uniform(0.5, 0.8))
                row = {"task": task, "model": model, "score": score, "value": value}
                rows.append(row | {"low": value - 0.05, "high": value + 0.05, "n": 180, "events": 56})
    return _table(rows, contracts.SURVIVAL)


def missing(tasks: Tasks, modalities: int = 4, seed: int = 11) -> pa.Table:
    """Scores that fall with the share of samples without a modality."""
    rng = np.random.default_rng(seed)
    rows = []
    for task, entry in tasks.items():
        if entry["problem_class"] == "clustering":
            continue
        best = rng.uniform(0.6, 0.9)
        for name in [*(f"modality_{i}" for i in range(modalities)), None]:
            lost = rng.uniform(0, 0.1) if name else best - 0.5
            for share in (0.0, 0.25, 0.5, 0.75, 1.0):
                value, change = best - share * lost, -share * lost
                rows.append(
                    {"task": task, "modality": name, "share": share, "metric": entry["metric"]}
                    | {"value": value, "low": value - 0.04, "high": value + 0.04}
                    | {"change": change, "change_low": change - 0.01, "change_high": change + 0.01}
                )
    return _table(rows, contracts.MISSING)


def search_report(tasks: Tasks, trajectory: pa.Table) -> pa.Table:
    """What the search cost, task by task."""
    seen = trajectory.to_pylist()
    rows: list[dict[str, Any]] = [{"combinations": len(seen), "left": 90, "fits": 12345, "saved": 90}]
    for task in tasks:
        mine = [row for row in seen if row["task"] == task]
        last = max(row["size"] for row in mine)
        rows.append(
            {"task": task, "combination": task, "stopped": "within the error", "size": 1, "last_size": last}
            | {"score": 0.7, "single_score": 0.69, "last_gain": 0.004, "last_error": 0.006}
            | {"combinations": len(mine), "left": 3, "fits": 250, "saved": 3}
        )
    return _table(rows, contracts.SEARCH_REPORT)


SCHEMAS = {
    "search/trajectory.parquet": contracts.TRAJECTORY,
    "search/report.parquet": contracts.SEARCH_REPORT,
    "selection.parquet": contracts.SELECTION,
    "tim/tim.parquet": contracts.TIM,
    "evaluation/optimism.parquet": contracts.OPTIMISM,
    "evaluation/evaluation.parquet": contracts.EVALUATION,
    "evaluation/comparison.parquet": contracts.COMPARISON,
    "evaluation/choice.parquet": contracts.CHOICE,
    "evaluation/calibration.parquet": contracts.CALIBRATION,
    "evaluation/calibration_slopes.parquet": contracts.CALIBRATION_SLOPES,
    "evaluation/roc.parquet": contracts.ROC,
    "evaluation/agreement.parquet": contracts.AGREEMENT,
    "evaluation/kaplan_meier.parquet": contracts.KAPLAN_MEIER,
    "evaluation/dynamic_auroc.parquet": contracts.DYNAMIC_AUROC,
    "evaluation/survival.parquet": contracts.SURVIVAL,
    "evaluation/phenotypes.parquet": contracts.PHENOTYPES,
    "evaluation/phenotype_scores.parquet": PHENOTYPE_SCORES,
    "evaluation/missing.parquet": contracts.MISSING,
    "evaluation/attention.parquet": contracts.ATTENTION,
}


def tables(tasks: Tasks, only: Collection[str] = tuple(SCHEMAS)) -> dict[str, pa.Table]:
    """Tables that figures read, by path relative to the study's results."""
    chosen = selection(tasks)
    makers: dict[str, Callable[[], pa.Table]] = {
        "search/trajectory.parquet": lambda: trajectory(tasks, chosen),
        "search/report.parquet": lambda: search_report(tasks, trajectory(tasks, chosen)),
        "selection.parquet": lambda: chosen,
        "tim/tim.parquet": lambda: tim(tasks),
        "evaluation/optimism.parquet": lambda: optimism(chosen),
        "evaluation/evaluation.parquet": lambda: evaluation(tasks, chosen),
        "evaluation/comparison.parquet": lambda: comparison(tasks, chosen),
        "evaluation/choice.parquet": lambda: choice(tasks, chosen),
        "evaluation/calibration.parquet": lambda: calibration(tasks),
        "evaluation/calibration_slopes.parquet": lambda: calibration_slopes(tasks),
        "evaluation/roc.parquet": lambda: roc(tasks),
        "evaluation/agreement.parquet": lambda: agreement(tasks),
        "evaluation/kaplan_meier.parquet": lambda: kaplan_meier(tasks),
        "evaluation/dynamic_auroc.parquet": lambda: dynamic_auroc(tasks),
        "evaluation/survival.parquet": lambda: survival(tasks),
        "evaluation/phenotypes.parquet": lambda: phenotypes(tasks),
        "evaluation/phenotype_scores.parquet": lambda: phenotype_scores(tasks),
        "evaluation/missing.parquet": lambda: missing(tasks),
        "evaluation/attention.parquet": lambda: attention(chosen),
    }
    return {name: _marked(make(), tasks) for name, make in makers.items() if name in only}


def _marked(table: pa.Table, tasks: Tasks) -> pa.Table:
    """The table with each task's control, where it names it."""
    if "control" not in table.column_names or not pa.types.is_string(table.schema.field("control").type):
        return table
    for of, name in (("task", "control"), ("companion", "companion_control")):
        if name in table.column_names:
            controls = [tasks[task].get("control", "") for task in table.column(of).to_pylist()]
            at = table.column_names.index(name)
            table = table.set_column(at, table.schema.field(name), pa.array(controls, pa.string()))
    return table


def write_study(
    root: Path,
    tasks: Tasks,
    replaced: dict[str, pa.Table] | None = None,
    only: Collection[str] = tuple(SCHEMAS),
) -> Path:
    """Write the results of a made-up study below ``root``: the tables in ``only``, and the tasks."""
    for name, table in (tables(tasks, only) | (replaced or {})).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(table, path, SCHEMAS[name])
    write_json({"tasks": tasks}, root / "labels/tasks.json")
    return root
