"""What the default study's generator planted, against what TIM finds."""

from __future__ import annotations

import json
from pathlib import Path

from sklearn.metrics import roc_auc_score

from m3h_pipeline.config import load_study
from m3h_pipeline.contracts import EVALUATION, SELECTION, TIM
from m3h_pipeline.files import read_table
from tests.conftest import ROOT

#: Tasks whose labels the study shuffles.
PERMUTED = set(load_study(ROOT / "config/config.yaml").tasks.permute)


def assert_truth_is_found(results: Path) -> None:
    """TIM finds the groups that were planted, and nothing where there is nothing."""
    truth = json.loads((results / "input/truth.json").read_text())
    tim = read_table(results / "tim/tim.parquet", TIM).to_pandas()
    # Permuted labels are noise, whatever group the task was planted in.
    groups = [set(group) - PERMUTED for group in truth["groups"]]
    related = {(a, b) for group in groups for a in group for b in group if a != b}
    pairs = list(zip(tim["task"], tim["companion"], strict=True))
    is_related = [pair in related for pair in pairs]
    assert any(is_related)
    assert truth["conflicts"]
    # All estimates of a task share the luck of its single-task fits: what its companions differ by is asked.
    apart = tim["estimate"] - tim.groupby("task")["estimate"].transform("mean")
    assert roc_auc_score(is_related, apart) >= 0.9
    noise = set(truth["noise"]) | PERMUTED
    conflicting = {tuple(pair) for pair in truth["conflicts"]}
    conflicting |= {(b, a) for a, b in conflicting}
    for (task, companion), significant, estimate in zip(
        pairs, tim["significant"], tim["estimate"], strict=True
    ):
        if companion in noise or task in noise or (task, companion) in conflicting:
            assert not (significant and estimate > 0), (task, companion, estimate)
        if task in PERMUTED:
            assert not significant, (task, companion, estimate)


def assert_groups_gain(results: Path) -> None:
    """The search finds companions in a task's own group, and they help on patients nobody looked at."""
    truth = json.loads((results / "input/truth.json").read_text())
    group_of = {task: set(group) - PERMUTED for group in truth["groups"] for task in set(group) - PERMUTED}
    selection = read_table(results / "selection.parquet", SELECTION).to_pandas().set_index("task")
    within = {
        task: bool((set(selection["combination"][task].split("+")) - {task}) & group)
        for task, group in group_of.items()
    }
    assert sum(within.values()) >= 0.75 * len(within), within
    evaluation = read_table(results / "evaluation/evaluation.parquet", EVALUATION).to_pandas()
    gains = evaluation.set_index("task")["difference"][list(group_of)]
    assert gains.mean() > 0.005, gains
