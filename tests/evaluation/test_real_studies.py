"""The page over finished studies: every number from the tables, every count from the numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.real_studies import StudyTables, counted, main, page, read_study
from tests.evaluation.studies import predictor, study


def made(name: str, differences: dict[str, float], metric: str = "auroc") -> StudyTables:
    rows = {}
    for task, difference in differences.items():
        for part in ("validation", "test"):
            rows[task, "chosen", part] = {
                "task": task,
                "metric": metric,
                "reference": "linear",
                "value": 0.8,
                "versus_reference": difference,
                "versus_reference_low": difference - 0.01,
                "versus_reference_high": difference + 0.01,
            }
    slopes = [
        {"task": task, "chosen": True, "state": state, "slope": slope, "slope_low": 0.5, "slope_high": 1.5}
        | {
            "intercept": 0.0,
            "intercept_low": -0.1,
            "intercept_high": 0.1,
            "events": events,
            "method": "logistic",
        }
        for task, events in zip(differences, (100, 99, None, 500), strict=False)
        for state, slope in (("before", 0.6), ("after", 0.9 if events == 100 else 1.2))
    ]
    words = dict.fromkeys(differences, "learn alone")
    return StudyTables(name, {task: task.upper() for task in differences}, rows, words, slopes)


def test_counts_are_those_of_the_differences() -> None:
    one = made("ward", {"a": 0.01, "b": -0.004, "c": -0.006, "d": -0.03})
    other = made("clinic", {"e": -0.009}, "r2")
    lines = " ".join(counted([one, other], "test"))
    assert "on 3 of 5 tasks (60 %)" in lines
    assert "above it on 1 (20 %)" in lines
    assert "The worst is D of ward: -0.030 (-0.040 to -0.020)" in lines
    assert "Below by more than 0.02: D of ward (-0.030)" in lines
    text = page([one, other])
    # Tasks with 100 events or more: one of them outside.
    assert "Of 3 binary and survival tasks" in text
    assert "on 0 as it predicts and on 2 recalibrated" in text
    assert "Outside: D of ward" in text


def test_a_finished_study_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = study(tmp_path, 600).without("relapse")
    one.write(predictor(one))
    found = one.evaluate(draws=20, out="results/ward/evaluation")
    folder = tmp_path / "results/ward"
    assert main([str(folder), "--document", str(tmp_path / "page.md")]) == 0
    text = (tmp_path / "page.md").read_text()
    tables = read_study(folder)
    row = next(
        r for r in found["choice"] if (r["task"], r["candidate"], r["part"]) == ("ill", "chosen", "test")
    )
    line = next(line for line in text.splitlines() if line.startswith("| Ill |"))
    assert f"{row['value']:.3f}" in line
    assert tables.words["ill"] in line
    assert f"{row['versus_reference']:+.3f}" in line or "0.000" in line
    gained = next(r for r in found["evaluation"] if r["task"] == "ill")
    line = next(
        line for line in text.splitlines() if line.startswith("| Ill | ") and gained["verdict"] in line
    )
    assert f"| {gained['single']:.3f} | {gained['multi']:.3f} |" in line
    assert tables.headline
    assert tables.headline in text
    assert "\n| Kind |" not in text
    assert {"Days", "Grade", "Ill"} == {tables.titles[task] for task in tables.tasks}
    assert main([str(tmp_path / "nowhere")]) == 1
    assert "does not exist" in capsys.readouterr().err
