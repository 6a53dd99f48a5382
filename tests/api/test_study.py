"""A study from Python: its tables by contract, its figures as the report has them, its check."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure
from PIL import Image, ImageChops

import m3h_pipeline as m3h
from m3h_pipeline.api import plot
from m3h_pipeline.cli import main
from m3h_pipeline.config import Figures
from m3h_pipeline.disclosure import true_numbers
from m3h_pipeline.errors import ConfigError, InputError, WorkflowError
from m3h_pipeline.figures.registry import FIGURES, render
from m3h_pipeline.figures.style import BASE, SMALL
from m3h_pipeline.layout import EVALUATION_TABLES
from tests.conftest import ROOT
from tests.end_to_end.small_study import STUDY
from tests.figures import fakes


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> m3h.Study:
    """A study whose tables are there."""
    folder = tmp_path_factory.mktemp("study")
    content = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({**content, "study": "made_up", "results": str(folder / "results")}))
    fakes.write_study(folder / "results" / "made_up", fakes.description(8) | fakes.of_class(1, "survival"))
    return m3h.Study(file)


def test_tables_are_data_frames(study: m3h.Study) -> None:
    results = study.results
    assert results.evaluation["task"].is_unique
    assert {"estimate", "low", "high"} <= set(results.tim)
    assert set(results.selection["task"]) == set(results.evaluation["task"])
    assert {"combination", "kept"} <= set(results.trajectories)
    for name in EVALUATION_TABLES:
        assert isinstance(results.table(name), pd.DataFrame)
    assert results.choice.equals(results.table("choice"))
    with pytest.raises(InputError, match="did you mean `evaluation`"):
        results.table("evalution")


def test_task_interaction_is_the_table(study: m3h.Study) -> None:
    assert m3h.tim_scores(study).equals(study.results.tim)


def test_every_figure_has_a_function() -> None:
    given = {
        name for name, value in vars(m3h.plot).items() if getattr(value, "__module__", "") == plot.__name__
    }
    assert {name for name in given if not name.startswith("_")} == set(FIGURES)


@pytest.mark.parametrize("name", ["improvement", "calibration", "survival", "tim"])
def test_figures_are_those_of_the_report(study: m3h.Study, name: str, tmp_path: Path) -> None:
    render(name, study.folder, Figures(formats=["png"]), tmp_path)
    figure: Figure = getattr(m3h.plot, name)(study)
    made = io.BytesIO()
    figure.savefig(made, format="png", dpi=300)
    shown, written = (Image.open(source) for source in (made, tmp_path / f"{name}.png"))
    labels = [label for axes in figure.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    assert {label.get_fontsize() for label in labels if label.get_text()} <= {SMALL, BASE}
    # How lines are simplified is the style of whoever shows the figure; nothing else is.
    apart = np.asarray(ImageChops.difference(shown, written)).max(axis=2)
    assert (apart > 64).mean() < 1e-3


def test_a_table_of_tim_is_drawn_as_the_study(study: m3h.Study) -> None:
    texts = [[text.get_text() for text in m3h.plot.tim(of).texts] for of in (study, study.results.tim)]
    assert texts[0] == texts[1]


def test_what_is_not_there_says_what_to_run(tmp_path: Path) -> None:
    study = m3h.Study(ROOT / "config/config.yaml", [f"results={tmp_path}"])
    assert study.folder == tmp_path / "default"
    with pytest.raises(InputError, match="run the study"):
        _ = study.results.evaluation
    with pytest.raises(InputError, match="run the study"):
        m3h.tim_scores(study)
    with pytest.raises(InputError, match="does not exist"):
        m3h.plot.improvement(study)


def test_a_study_that_is_none() -> None:
    with pytest.raises(InputError, match="cannot read the file"):
        m3h.Study("nowhere.yaml")
    with pytest.raises(ConfigError, match="did you mean `folds`"):
        m3h.Study(ROOT / "config/config.yaml", ["split={fold: 3}"])


def test_the_check_is_that_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    file, results = tmp_path / "study.yaml", tmp_path / "results"
    synthetic = {"kind": "synthetic", "samples": 300}
    file.write_text(yaml.safe_dump({**STUDY, "source": synthetic, "results": str(results)}))
    study, hidden, shown = m3h.Study(file, ["seed=3"]), io.StringIO(), io.StringIO()
    study.check(hidden)
    with true_numbers():
        study.check(shown)
    assert main(["check", "--configfile", str(file), "--config", "seed=3"]) == 0
    printed = capsys.readouterr().out
    assert "4 of 4 tasks can be evaluated" in printed
    assert shown.getvalue() == printed
    # What is printed in a notebook stays there: no small counts.
    assert "set aside (quarantine.tsv): <11" in hidden.getvalue()
    assert not results.exists()


def test_a_run_is_that_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "study.yaml"
    synthetic = {"kind": "synthetic", "samples": 300}
    file.write_text(yaml.safe_dump({**STUDY, "source": synthetic}))
    # The simulated files and no more: whole runs are tested elsewhere.
    study = m3h.Study(file, ["seed=3"])
    study.run(1, "--until", "simulate", "--quiet", "all")
    assert (study.folder / "input" / "truth.json").exists()
    with pytest.raises(WorkflowError, match="the run ended with status"):
        study.run(1, "--no-such-option")
