"""The figure of compared networks is legible, for few and many of them, and shows every score."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from m3h_pipeline.contracts import NETWORK_COMPARISON
from m3h_pipeline.figures import networks, style
from m3h_pipeline.figures.catalogue import Catalogue
from m3h_pipeline.tasks.assessed import Task
from tests.figures.legibility import problems, texts

METRICS = {"binary": "auroc", "multiclass": "macro_auroc", "survival": "concordance", "regression": "r2"}


def made(tasks: int, networks: int) -> tuple[pd.DataFrame, Catalogue]:
    rng = np.random.default_rng(0)
    kinds = list(itertools.islice(itertools.cycle(METRICS), tasks))
    catalogue = Catalogue(
        Task(f"t{i}", kind, METRICS[kind], f"Task number {i} with quite a long title", "Ward")
        for i, kind in enumerate(kinds)
    )
    models = [(f"network{i}", learned) for i in range(networks) for learned in ("alone", "together")]
    models += [("linear", "reference"), ("gradient_boosting", "reference")]
    rows = [
        {
            "task": f"t{i}",
            "network": network,
            "learned": learned,
            "part": part,
            "control": "",
            "metric": METRICS[kind],
            "replicates": 3,
            "value": (value := rng.uniform(0.6, 0.9)),
            "low": value - 0.05,
            "high": value + 0.05,
            "one_seed": value,
            "deviation": 0.01,
            "difference": 0.0,
            "difference_low": -0.1,
            "difference_high": 0.1,
        }
        for i, kind in enumerate(kinds)
        for network, learned in models
        for part in ("validation", "test")
    ]
    return pd.DataFrame(rows, columns=NETWORK_COMPARISON.names), catalogue


@pytest.mark.parametrize(("tasks", "count"), [(1, 1), (8, 2), (8, 6), (3, 12)])
def test_the_figure_is_legible(tasks: int, count: int) -> None:
    frame, catalogue = made(tasks, count)
    with style.applied():
        figure = networks.draw(networks.table(frame, catalogue), catalogue)
        assert problems(figure) == []
    shown = [text.get_text() for text in texts(figure)]
    assert shown.count("Linear") == tasks
    assert shown.count("network0, all tasks") == tasks
    panels = figure.axes
    assert len(panels) == tasks
    # Two markers a row.
    markers = [line for ax in panels for line in ax.lines if line.get_marker() == "o"]
    assert len(markers) == 2 * tasks * (2 * count + 2)


def test_controls_are_explained() -> None:
    frame, _ = made(2, 1)
    for control in ("", "permuted labels"):
        title = "One †" if control else "One"
        catalogue = Catalogue(
            [Task(t, "binary", "auroc", title=title, control=control) for t in ("t0", "t1")]
        )
        with style.applied():
            figure = networks.draw(networks.table(frame, catalogue), catalogue)
            assert problems(figure) == []
        assert [text.get_text() for text in texts(figure)].count("† control") == bool(control)


def test_a_score_that_is_undefined_leaves_a_gap() -> None:
    frame, catalogue = made(2, 1)
    frame.loc[frame["task"] == "t0", ["value", "low", "high"]] = np.nan
    with style.applied():
        figure = networks.draw(networks.table(frame, catalogue), catalogue)
        assert problems(figure) == []
    assert len([line for line in figure.axes[0].lines if line.get_marker() == "o"]) == 0
    assert len([line for line in figure.axes[1].lines if line.get_marker() == "o"]) == 8


def test_no_network_is_said() -> None:
    frame, catalogue = made(1, 1)
    with style.applied():
        figure = networks.draw(networks.table(frame.iloc[:0], catalogue), catalogue)
    assert "No network" in texts(figure)[0].get_text()
