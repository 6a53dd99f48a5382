"""Studies whose truth is known: who gains, who loses, where nothing is to be found, who helps whom.

Differences are drawn around the truth with a standard error, and judged by the house's own rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from m3h_pipeline import contracts
from m3h_pipeline.evaluation.claims import Compared, claims
from m3h_pipeline.inference.intervals import Interval
from m3h_pipeline.report.gather import TABLES, Gathered
from m3h_pipeline.tasks.assessed import Task
from tests.report.fakes import configuration, flow, made

#: Standard error and degrees of freedom of every difference.
_ERROR, _FREEDOM = 0.006, 400.0


@dataclass
class Truth:
    """What was planted: ids of tasks, and pairs (companion, task)."""

    gain: set[str] = field(default_factory=set)
    lose: set[str] = field(default_factory=set)
    nothing: set[str] = field(default_factory=set)
    alone: set[str] = field(default_factory=set)
    simpler: set[str] = field(default_factory=set)
    helpful: list[tuple[str, str]] = field(default_factory=list)
    harmful: list[tuple[str, str]] = field(default_factory=list)


def _interval(estimate: float, error: float = _ERROR) -> Interval:
    half = float(stats.t.ppf(0.975, _FREEDOM)) * error
    p = float(2 * stats.t.sf(abs(estimate) / error, _FREEDOM)) if error else 1.0
    return Interval(estimate, estimate - half, estimate + half, p, error, _FREEDOM)


def _ends(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


def study(seed: int, null: bool = False, tasks: int | None = None) -> tuple[Gathered, Truth]:
    """A study and its truth.

    Args:
        seed: of everything.
        null: whether nobody gains or loses, and no companion matters.
        tasks: how many; None: 6 to 41.
    """
    rng = np.random.default_rng(seed)
    names = [f"outcome_{i:02d}" for i in range(tasks or int(rng.integers(6, 42)))]
    truth, effects = Truth(), {}
    for name in names:
        kind = (
            "nothing"
            if null
            else str(rng.choice(["gain", "lose", "nothing", "alone"], p=[0.3, 0.1, 0.4, 0.2]))
        )
        getattr(truth, kind).add(name)
        size = {"gain": 1.0, "lose": -1.0}.get(kind, 0.0) * float(rng.uniform(0.05, 0.09))
        effects[name] = 0.0 if kind == "alone" else size + float(rng.normal(0, _ERROR))
        if rng.random() < 0.3:
            truth.simpler.add(name)
    rows = _evaluation(names, effects, truth)
    tim = _tim(rng, names, truth, null)
    described = {
        name: Task(name, "binary", "auroc", _title(name), f"Department {i % 5}")
        for i, name in enumerate(names)
    }
    tables: dict[str, tuple[dict[str, Any], ...]] = dict.fromkeys(TABLES, ())
    tables |= {"evaluation": tuple(rows), "tim": tuple(tim), "choice": tuple(_choice(rows, truth))}
    tables["flow"] = tuple(flow().to_pylist())
    configured = configuration({name: {} for name in ("sepsis", "gout")}, name=f"truth_{seed}")
    words = {row["task"]: "use logistic regression" for row in rows if row["task"] in truth.simpler}
    texts: dict[str, tuple[dict[str, str], ...]] = {"values": (), "prevalence": ()}
    said: dict[str, dict[str, Any]] = {"evaluation": {"looks": 1, "fdr": 0.05}, "choice": {"words": words}}
    return Gathered(configured, described, tables, said, texts, {}, made(configured)), truth


def _title(name: str) -> str:
    return name.replace("outcome_", "Outcome ")


def _evaluation(names: list[str], effects: dict[str, float], truth: Truth) -> list[dict[str, Any]]:
    good = _interval(0.8, 0.01)
    compared = [
        Compared(
            _interval(effects[name], 0.0 if name in truth.alone else _ERROR),
            good,
            good,
            "auroc",
            name not in truth.alone,
        )
        for name in names
    ]
    rows = []
    for name, one, claim in zip(names, compared, claims(compared, 0.05), strict=True):
        other = names[(names.index(name) + 1) % len(names)]
        combination = name if name in truth.alone else "+".join(sorted([name, other]))
        rows.append(
            {"task": name, "title": _title(name), "department": "D", "problem_class": "binary"}
            | {"metric": "auroc"}
            | {"combination": combination, "control": "", "verdict": claim.verdict}
            | _ends("single", good) | _ends("multi", _interval(0.8 + one.difference.estimate, 0.01))
            | _ends("difference", one.difference) | _ends("relative", one.difference)
            | {"p": claim.p, "q": claim.q, "detectable": claim.detectable, "reference": "linear"}
            | {"reference_verdict": "not significant"} | _ends("versus_reference", _interval(0.001))
            | {"n_samples": 6907, "n_patients": 1443}
        )  # fmt: skip
    return rows


def _tim(rng: np.random.Generator, names: list[str], truth: Truth, null: bool) -> list[dict[str, Any]]:
    pairs = [(names[i], names[(i + shift) % len(names)]) for shift in (1, 2) for i in range(len(names))]
    planted: dict[tuple[str, str], float] = {}
    if not null:
        # No two of one size: the order is known.
        for rank, place in enumerate(rng.permutation(len(pairs))[:8].tolist()):
            planted[pairs[place]] = (0.1 - 0.01 * rank) * (1 if rank % 2 else -1)
    rows = []
    for task, companion in pairs:
        effect = planted.get((task, companion), 0.0)
        rows.append(
            {"task": task, "companion": companion, "significant": bool(effect), "control": False}
            | {
                "estimate": effect - 0.02,
                "low": effect - 0.03,
                "high": effect - 0.01,
                "q": 0.01 if effect else 0.8,
            }
            | {"excess": effect, "excess_low": effect - 0.01, "excess_high": effect + 0.01}
            | {"n_differences": 15, "mode": "pairs"}
        )
    ordered = sorted(planted, key=lambda pair: -abs(planted[pair]))
    truth.helpful = [(companion, task) for task, companion in ordered if planted[task, companion] > 0]
    truth.harmful = [(companion, task) for task, companion in ordered if planted[task, companion] < 0]
    return rows


def _choice(rows: list[dict[str, Any]], truth: Truth) -> list[dict[str, Any]]:
    found, empty = [], dict.fromkeys(contracts.CHOICE.names)
    for row in rows:
        network = "alone" if row["combination"] == row["task"] else "together"
        chosen = "linear" if row["task"] in truth.simpler else network
        found += [
            empty | {"task": row["task"], "control": "", "candidate": candidate, "part": "test"}
            | {"metric": "auroc", "chosen": candidate in (chosen, "chosen"), "value": 0.8}
            for candidate in ("linear", network, "chosen")
        ]  # fmt: skip
    return found
