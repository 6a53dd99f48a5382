"""The default study from one command: it ends, is complete, finds its planted truth, and is idempotent."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from m3h_pipeline.api.study import Results
from m3h_pipeline.contracts import EVALUATION, SCORES, SELECTION, SPLIT
from m3h_pipeline.evaluation.ledger import openings
from m3h_pipeline.figures.registry import FIGURES
from m3h_pipeline.files import read_json, read_samples, read_table
from tests.end_to_end.asked import UNSAID, jobs_of
from tests.end_to_end.conftest import Run, snakemake
from tests.end_to_end.planted import PERMUTED, assert_groups_gain, assert_truth_is_found
from tests.report.opened import opening, started

pytestmark = pytest.mark.study
#: MB that a job may ask for whatever it uses: libraries, and what a small study does not show.
FLOOR = 2500


def _results(run: Run) -> Path:
    return run.folder / "results" / "default"


def test_every_figure_is_there(default_study: Run) -> None:
    drawn = {path.stem for path in (_results(default_study) / "figures").iterdir()}
    # No placeholder for tasks that the study has not.
    assert drawn == set(FIGURES) - {"survival"}
    for figure in drawn:
        for suffix in ("svg", "png", "csv"):
            path = _results(default_study) / f"figures/{figure}.{suffix}"
            assert path.stat().st_size > 0, path


def test_a_second_run_has_nothing_to_do(default_study: Run) -> None:
    again = snakemake(default_study.folder, "--cores", "all")
    assert again.status == 0, again.output
    assert "Nothing to be done" in again.output


def test_no_job_used_more_memory_than_it_asked_for(default_study: Run) -> None:
    """A cluster kills a job that does; one that asks for far more waits, and keeps others waiting."""
    jobs = jobs_of(default_study.output, default_study.folder)
    asking = {job.rule for job in jobs if job.asked is not None}
    assert asking >= {"ingest", "train_pack", "tim", "train_final", "baselines", "evaluate", "phenotypes"}
    for job in jobs:
        assert job.used < (job.asked or UNSAID), job
        assert (job.asked or 0) < FLOOR + 4 * job.used, job


def test_figures_are_byte_identical_when_made_again(default_study: Run, programs: Path) -> None:
    folder = _results(default_study) / "figures"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.unlink()
    again = snakemake(default_study.folder, "--cores", "all", "figures", programs=programs)
    assert again.status == 0, again.output
    assert "train_pack" not in again.output
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_report_tells_the_story_in_order_and_opens_offline(default_study: Run, programs: Path) -> None:
    made = snakemake(
        default_study.folder, "--cores", "all", "--report", "snakemake-report.html", programs=programs
    )
    assert made.status == 0, made.output[-6000:]
    page = (default_study.folder / "snakemake-report.html").read_text(encoding="utf-8")
    # The report sorts its chapters by name.
    chapters = sorted({spec.chapter for spec in FIGURES.values()} | {"1 Cohort", "2 Tasks", "4 Selection"})
    assert [chapter[0] for chapter in chapters] == list("1234567")
    assert all(f'"{chapter}"' in page for chapter in chapters)
    results = json.loads(re.search(r"var categories = (.*?);\n", page).group(1))  # type: ignore[union-attr]
    shown = [Path(path) for parts in results.values() for paths in parts.values() for path in paths]
    figures = [path.stem for path in shown if path.parent.name == "figures"]
    assert sorted(figures) == sorted(set(FIGURES) - {"survival"})
    # One list a chapter: only beside named parts would what has no part stand under "Other".
    assert all(len(parts) == 1 for parts in results.values())
    assert (default_study.folder / "workflow/profiles/default/report.css").read_text() in page
    assert not re.findall(r"(?:src|href)=[\"']https?://", page)


def test_the_report_can_be_used_in_a_browser_from_a_phone_to_a_large_screen(default_study: Run) -> None:
    """Every page of it: all within reach, every chart drawn, nothing asked for, no serious fault for axe."""
    path = _results(default_study) / "report.html"
    known = read_json(_results(default_study) / "labels/tasks.json")["tasks"]
    tasks = [name for name, task in known.items() if task["status"] == "ok"]
    one_of_a_class = {known[task]["problem_class"]: task for task in tasks}
    with started() as browser, opening(browser, path, tasks) as opened:
        # Axe takes longer the more is drawn.
        faults = opened.serious("body")
        for task in one_of_a_class.values():
            opened.visit(f"outcome-{task}")
            faults += opened.serious(f"#outcome-{task}")
        assert sorted(set(faults)) == []
        for task in tasks:
            assert opened.out_of_reach(f"outcome-{task}") == []
            assert opened.draw_all(task) > 1, task
        assert opened.out_of_reach("answer") == []
        opened.visit("interaction")
        charts = [*opened.charts("heatmap"), *opened.charts("network")]
        for chart in (chart for chart in charts if chart.startswith("interaction")):
            opened.drawn(chart)


def test_no_patient_straddles_the_split(default_study: Run) -> None:
    samples = read_samples(_results(default_study) / "cohort/samples.parquet").to_pandas()
    split = read_table(_results(default_study) / "split.parquet", SPLIT).to_pandas()
    places = split.groupby(samples["patient_id"])[["part", "fold"]].nunique()
    assert (places == 1).all().all()


def test_the_cohort_is_what_the_study_promises(default_study: Run) -> None:
    tasks = read_json(_results(default_study) / "labels/tasks.json")["tasks"]
    learned = {name: task for name, task in tasks.items() if task["status"] == "ok"}
    assert len(learned) >= 10
    classes = {task["problem_class"] for task in learned.values()}
    assert classes == {"binary", "multiclass", "regression", "clustering"}
    samples = read_samples(_results(default_study) / "cohort/samples.parquet")
    assert samples.num_rows >= 2000


def test_predictions_are_those_that_were_evaluated(default_study: Run) -> None:
    """From Python, sample by sample; scored by scikit-learn they give the evaluation's numbers."""
    results = Results(_results(default_study))
    predictions, evaluation = results.predictions, results.evaluation
    assert set(predictions["part"]) == {"train", "test"}
    seen = predictions[(predictions["part"] == "test") & predictions["observed"].notna()]
    for row in evaluation.to_dict("records"):
        for model in ("multi", "single"):
            these = seen[(seen["task"] == row["task"]) & (seen["model"] == model)]
            if row["metric"] == "auroc":
                found = roc_auc_score(these["observed"], these["prediction"])
            elif row["metric"] == "r2":
                found = r2_score(these["observed"], these["prediction"])
            else:
                continue
            assert found == pytest.approx(row[model], abs=1e-6)


def test_every_task_is_selected_and_evaluated(default_study: Run) -> None:
    tasks = read_json(_results(default_study) / "labels/tasks.json")["tasks"]
    learned = {name for name, task in tasks.items() if task["status"] == "ok"}
    selection = read_table(_results(default_study) / "selection.parquet", SELECTION).to_pandas()
    assert set(selection["task"]) == learned
    assert (selection["score"] >= selection["single_score"]).all()
    evaluation = read_table(_results(default_study) / "evaluation/evaluation.parquet", EVALUATION).to_pandas()
    assert set(evaluation["task"]) == learned
    # Phenotypes are described, and not compared in a space that one of the models has made.
    assert set(evaluation.loc[evaluation["difference"].isna(), "problem_class"]) <= {"clustering"}
    told = evaluation.dropna(subset=["difference"])
    assert told["difference"].between(told["difference_low"], told["difference_high"]).all()


def test_tim_finds_the_planted_structure(default_study: Run) -> None:
    assert_truth_is_found(_results(default_study))


def test_the_search_finds_the_planted_groups_and_gains_by_them(default_study: Run) -> None:
    assert_groups_gain(_results(default_study))


def test_of_controls_nothing_is_claimed(default_study: Run) -> None:
    """Permuted labels, and what the source planted as noise; both are marked."""
    evaluation = read_table(_results(default_study) / "evaluation/evaluation.parquet", EVALUATION).to_pandas()
    truth = read_json(_results(default_study) / "input/truth.json")
    controls = evaluation[evaluation["control"] != ""]
    assert set(controls["task"]) == (PERMUTED | set(truth["noise"])) & set(evaluation["task"])
    assert len(controls)
    assert controls["verdict"].isin(["not significant", "not tested"]).all()
    assert not (controls["reference_verdict"] == "better").any()


def test_the_study_ends_with_what_was_planted_and_what_was_found(default_study: Run) -> None:
    lines = (_results(default_study) / "evaluation/planted.tsv").read_text(encoding="utf-8").splitlines()
    said = re.fullmatch(
        r"(\d+) of (\d+) in groups found theirs; 0 of (\d+) controls claimed", lines[1].split("\t")[-1]
    )
    assert said
    found, grouped, controls = map(int, said.groups())
    assert found >= 0.75 * grouped > 0
    assert controls >= 2


def test_final_fits_use_seeds_that_the_search_never_saw(default_study: Run) -> None:
    search = _results(default_study) / "search"
    chosen = [*search.glob("round_*/packs/*.scores.parquet"), *search.glob("tim/packs/*.scores.parquet")]
    before, after = (
        pa.concat_tables([read_table(path, SCORES) for path in paths]).to_pandas()
        for paths in (chosen, list(search.glob("final/packs/*.scores.parquet")))
    )
    assert not set(before["replicate"]) & set(after["replicate"])
    assert not set(before["fit_key"]) & set(after["fit_key"])


def test_the_ledger_has_one_set_of_models(default_study: Run) -> None:
    found = openings(_results(default_study) / "ledger")
    assert set(found) >= {"evaluate", "performance", "phenotypes", "missing", "export-bundle"}
    assert set(found.values()) == {1}
    record = read_json(_results(default_study) / "provenance.json")
    assert record["test_part"] == found
