"""What an edit runs again: exactly which jobs, and exactly which fits are trained anew.

Every case changes one thing in a copy of a finished small study and runs Snakemake. The jobs it starts are
compared one by one with what must run, and the store of finished fits with what it held before. The table in
``docs/reproducibility.md`` is written from the cases here.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.end_to_end.forked import forked_programs
from tests.end_to_end.small_study import (
    RESULTS,
    STUDY,
    TASKS,
    Fit,
    Outcome,
    Project,
    copy_project,
    write_inputs,
    write_study,
)

pytestmark = pytest.mark.study

FIGURES = [
    *("agreement", "attention", "calibration", "comparison", "improvement", "phenotypes", "roc", "tim"),
    "trajectories",
]
RATES = [1e-3, 3e-3]


def figures(*names: str) -> set[str]:
    return {f"figure({name})" for name in names or FIGURES}


def labels(*tasks: str) -> set[str]:
    return {f"label({task})" for task in tasks}


def baselines(*tasks: str) -> set[str]:
    return {f"baselines({task})" for task in tasks}


def planning(*rounds: int) -> set[str]:
    return {f"plan_round({number})" for number in rounds}


def packs(*names: str) -> set[str]:
    """``1 0000``: a pack of the search's first round."""
    return {f"train_pack(search/round_{name})" for name in names}


def finals(*names: str) -> set[str]:
    return {f"train_final({name})" for name in names}


ALL_PACKS = packs("1 0000", "1 0001", "2 0000", "2 0001")
MERGES = {"merge_scores(1)", "merge_scores(2)"}
TEST = {"evaluate", "phenotypes", *figures()}
EVALUATED = {"evaluate", *(figures() - figures("tim", "phenotypes"))}


def cross_validated(tasks: list[str], rates: list[float], having: str = "") -> set[Fit]:
    """The search's fits of every task and pair; ``having``: only those that contain a task."""
    found = [[task] for task in tasks] + [list(pair) for pair in combinations(sorted(tasks), 2)]
    return {
        Fit("+".join(members), fold, 0, rate)
        for members in found
        if not having or having in members
        for fold in (0, 1)
        for rate in rates
    }
