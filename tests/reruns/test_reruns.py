"""Why jobs run again, in words; tests/end_to_end/test_invalidation.py asks it of a finished study."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from m3h_pipeline.config import Study
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import read_json, write_json
from m3h_pipeline.jobs.code import code_of, keep_code
from m3h_pipeline.jobs.settings import JobSettings
from m3h_pipeline.jobs.told import Told
from m3h_pipeline.layout import Layout
from m3h_pipeline.reruns.planned import Job, jobs_of
from m3h_pipeline.reruns.reasons import Explainer
from m3h_pipeline.reruns.show import STAGES, explain_rerun, explained
from tests.conftest import ROOT
from tests.jobs.studies import study, tasks

SAID = """\
Building DAG of jobs...
[Thu Nov 26 23:24:31 2026]
checkpoint plan_round:
    input: results/x/labels/tasks.json
    output: results/x/search/round_1/plan.json
    reason: Params have changed since last execution: Union of exclusive params before and now across all \
output: before: 'logs/settings/plan_round.1.8a2b1de039f23507.json', 'ab12ab12ab12ab12' now: \
'logs/settings/plan_round.1.5ba76cd0ba022286.json', 'cd12cd12cd12cd12'\x20
    wildcards: round=1
    priority: 1
DAG of jobs will be updated after completion.

localrule label:
    output: results/x/labels/a.parquet
    reason: Missing output files: results/x/labels/a.parquet; Input files updated by another job: s.parquet
    wildcards: task=a
rule tim:
    reason: Input files updated by another job: results/x/plan.json, results/x/other.json
rule figure:
    reason: Updated input files: results/x/evaluation/roc.parquet; Set of input files has changed since last \
execution
    wildcards: figure=roc
rule all:
    input: results/x/provenance.json
    reason: Input files updated by another job: results/x/provenance.json
"""


def test_a_dry_run_is_read() -> None:
    assert jobs_of(SAID) == [
        Job(
            "plan_round",
            ("1",),
            before=("logs/settings/plan_round.1.8a2b1de039f23507.json", "ab12ab12ab12ab12"),
            now=("logs/settings/plan_round.1.5ba76cd0ba022286.json", "cd12cd12cd12cd12"),
        ),
        Job("label", ("a",), missing=("results/x/labels/a.parquet",), upstream=("s.parquet",)),
        Job("tim", upstream=("results/x/plan.json", "results/x/other.json")),
        Job("figure", ("roc",), changed=("results/x/evaluation/roc.parquet",), other=("other input files",)),
    ]
    assert [job.follows for job in jobs_of(SAID)] == [False, False, True, False]
    assert jobs_of("Nothing to be done.") == []


def test_every_rule_has_a_stage() -> None:
    import re

    rules = {
        name
        for path in (ROOT / "workflow/rules").glob("*.smk")
        for name in re.findall(r"^ *(?:rule|checkpoint) (\w+):", path.read_text(), flags=re.MULTILINE)
    }
    assert rules - {"figures"} <= {rule for rules in STAGES.values() for rule in rules}


def explainer(layout: Layout, now: Study) -> Explainer:
    return Explainer(now, JobSettings(now, tasks(now)), layout)


def texts(layout: Layout, job: Job, now: Study) -> list[str]:
    return [f"{reason.kind}: {reason.text}" for reason in explainer(layout, now).of(job)]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A study that ran: what its jobs were told and what its code said."""
    layout = Layout(tmp_path / "results/x")
    before = study()
    told = Told(layout.settings, JobSettings(before, tasks(before)), lambda: True)
    for name in (["train"], ["tim"], ["plan_round", "1"], ["figure", "roc"]):
        told.settings(*name)
    keep_code(layout.code)
    return layout


def test_settings_are_told_with_their_old_and_new_value(layout: Layout) -> None:
    now = study(tim__draws=77, training__epochs=9)
    (path,) = layout.settings.glob("train.*.json")
    named = Job("train_pack", ("search/round_1", "0000"), before=(str(path),), now=("train.0.json",))
    follows = Job("tim", upstream=("plan.json",))
    before = json.loads(path.read_text())["training"]["epochs"]
    assert f"setting: training.epochs: {before} -> 9" in texts(layout, named, now)
    # Snakemake names no parameter of a job that follows others: what it was told last says it.
    (told,) = (text for text in texts(layout, follows, now) if "tim.draws" in text)
    assert told.endswith(" -> 77")
    assert texts(layout, follows, study()) == []
    assert texts(layout, Job("figure", ("roc",), upstream=("x",)), now) == []


def test_what_was_told_last_counts(layout: Layout) -> None:
    other, first = study(tim__draws=77), study()
    told = Told(layout.settings, JobSettings(other, tasks(other)), lambda: True)
    later = Path(told.settings("tim"))
    os.utime(later, (later.stat().st_atime, later.stat().st_mtime + 60))
    job = Job("tim", upstream=("plan.json",))
    assert texts(layout, job, other) == []
    assert texts(layout, job, first)[0].startswith("setting: tim.draws: 77 -> ")
    # Told again, the first is the last one.
    for path in layout.settings.iterdir():
        os.utime(path, (0, 0))
    Told(layout.settings, JobSettings(first, tasks(first)), lambda: True).settings("tim")
    assert texts(layout, job, first) == []


def test_code_is_told_by_the_definition_that_changed(layout: Layout) -> None:
    (path,) = layout.code.iterdir()
    kept = read_json(path)
    ran = dict(kept["definitions"])
    # As if this function had said something else when it ran.
    said = ran.pop("m3h_pipeline.inference.intervals:benjamini_hochberg")
    definitions = {name: digest for name, digest in ran.items() if digest != said}
    codes = dict(kept["codes"]) | {"tim": "0123456789abcdef"}
    path.unlink()
    write_json({"codes": codes, "definitions": definitions}, layout.code / "old.json")
    named = Job("tim", before=("0123456789abcdef",), now=(code_of("tim"),))
    assert texts(layout, named, study()) == ["code: inference.intervals: benjamini_hochberg"]
    # Code of which nothing is known, beside a file that is damaged.
    strange = Job("select", before=("ffffffffffffffff",), now=(code_of("select"),))
    (layout.code / "new.json").write_text("{")
    (told,) = texts(layout, strange, study())
    assert told == "code: code of `select`, or what it reads (the version that ran was not kept)"


def test_one_screen_says_why_and_what(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "x")
    (tmp_path / "x/cohort").mkdir(parents=True)
    layout.cohort.samples.touch()
    jobs = jobs_of(SAID)
    found = explainer(layout, study())
    lines = list(explained(jobs, {job: found.of(job) for job in jobs}, layout))
    assert lines[0] == f"{layout.folder.as_posix()}: 4 jobs would run, 3 of them for a reason of their own"
    assert "  results/x/labels/a.parquet is missing  [label(a)]" in lines
    assert "  other input files  [figure(roc)]" in lines
    assert "  search               1  plan_round" in lines
    assert "  TIM                  1  tim (after others)" in lines
    assert list(explained([], {}, layout)) == [f"{layout.folder.as_posix()}: nothing would run"]


def test_a_study_that_cannot_be_planned_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(
        "study: x\nsource: {kind: haim, table: absent.csv, key_ids: absent.csv}\n"
        "modalities: {t: {sources: [ts_lab]}}\ntasks: {definitions: [absent.yaml]}\n"
    )
    with pytest.raises(InputError) as error:
        explain_rerun(Path("x.yaml"), io.StringIO())
    assert "absent" in str(error.value)
