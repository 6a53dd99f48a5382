"""The record of a study, and what `m3h verify` finds where a study no longer matches it."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from m3h_pipeline.config import Study
from m3h_pipeline.files import (
    read_features,
    read_labels,
    write_features,
    write_json,
    write_labels,
    write_table,
)
from m3h_pipeline.hashes import sha256
from tests.end_to_end.small_study import RESULTS, TASKS, Project, ran
from tests.end_to_end.test_invalidation import finished
from tests.flips import count

__all__ = ["finished"]
pytestmark = pytest.mark.study


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    return finished.copied_to(tmp_path / "project")


def _verify(project: Project, *arguments: str, cwd: Path | None = None) -> tuple[int, str]:
    done = subprocess.run(
        ["m3h", "verify", str(project.folder / RESULTS) if cwd else str(RESULTS), *arguments],
        cwd=cwd or project.folder,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout
    return done.returncode, done.stdout


def _record(project: Project) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((project.folder / RESULTS / "provenance.json").read_text())
    return content


def _rewrite(project: Project, content: dict[str, Any]) -> None:
    content.pop("digest", None)
    write_json(content, project.folder / RESULTS / "provenance.json", sort_keys=False)


def test_a_finished_study_matches_and_its_fits_are_equal_to_the_bit(project: Project) -> None:
    status, text = _verify(project, "--fits", "4", "--tolerance", "0")
    assert status == 0, text
    assert "the study matches its record" in text
    assert " 4 fits" in text
    assert "may differ" not in text


def test_the_record_is_whole_and_says_nothing_of_the_machine(project: Project) -> None:
    content = _record(project)
    assert content["seeds"] == {
        "study": 20240418,
        "split": 0,
        "replicates": {"search": 1, "tim": 1, "final": 1},
    }
    assert set(content["inputs"]) == {
        "table.csv",
        "keys.csv",
        *(
            f"hosp/{path.name}"
            for path in (project.folder / "data/hosp").iterdir()
            if "diagnoses" in path.name
        ),
    }
    assert content["inputs"]["table.csv"]["sha256"] == sha256(project.folder / "data/table.csv")
    # In its own order, not the alphabet's: that of a mapping may say something.
    assert list(content["configuration"]) == list(Study.model_fields)
    (trained,) = content["training"]
    assert trained["fits"] == len(project.store())
    assert trained["device"]["type"] in {"cpu", "cuda"}
    assert {"torch", "numpy", "python"} <= set(trained["versions"])
    everything = {
        path.relative_to(project.folder / RESULTS).as_posix()
        for path in (project.folder / RESULTS).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    unlisted = {
        name
        for name in everything - set(content["files"])
        # A store may hold references of other days; what the study took is in search/baselines.
        # The ledger of the test part grows by every look at it.
        if not name.startswith(("logs/", "benchmarks/", "search/store/references/", "ledger/"))
    }
    assert unlisted == {"provenance.json"}
    text = json.dumps(content)
    for word in (
        str(project.folder),
        socket.gethostname() + ".",
        f"/{getpass.getuser()}/",
        "/tmp/",
        "/home/",
    ):
        assert word not in text


def test_tampered_and_missing_files_are_named_with_what_to_do(project: Project) -> None:
    results = project.folder / RESULTS
    table = results / "evaluation/summary.tsv"
    table.write_text(table.read_text().replace("0", "1", 1))
    (results / "figures/tim.svg").unlink()
    value = project.folder / "data/keys.csv"
    value.write_text(value.read_text() + "\n")
    status, text = _verify(project)
    assert status == 2
    assert text.count("MISMATCH") == 3
    for part in (
        "evaluation/summary.tsv",
        "figures/tim.svg",
        "data/keys.csv",
        "to do: delete it",
        "is missing",
    ):
        assert part in text
    assert "fits were not made again: files do not match" in text


def test_another_version_is_a_note(project: Project) -> None:
    content = _record(project)
    content["versions"]["scipy"] = "0.1"
    _rewrite(project, content)
    status, text = _verify(project, "--fits", "0")
    assert status == 0, text
    assert "the study was made with 0.1" in text


def test_a_tampered_score_is_found_by_training_again(project: Project) -> None:
    """Somebody changes a score and writes the record to match: only the fit itself tells."""
    content = _record(project)
    for path in sorted((project.folder / RESULTS).glob("*/**/packs/*.scores.parquet")):
        table = pq.read_table(path)
        rows = [{**row, "value": row["value"] + 1e-9} for row in table.to_pylist()]
        write_table(type(table).from_pylist(rows, schema=table.schema), path)
        name = path.relative_to(project.folder / RESULTS).as_posix()
        content["files"][name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    _rewrite(project, content)
    status, text = _verify(project, "--fits", "1")
    assert status == 2
    assert "trained again" in text


def _recorded_as_is(project: Project, *names: str) -> None:
    """The record says of files what is in them now."""
    content = _record(project)
    for name in names:
        path = project.folder / RESULTS / name
        content["files"][name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    _rewrite(project, content)


def test_cohort_labels_and_split_are_made_anew(project: Project) -> None:
    """Somebody changes what was trained on, seals it and writes the record to match: only the inputs tell."""
    features = project.folder / RESULTS / "cohort/features/ts_lab.parquet"
    x, names = read_features(features)
    write_features(np.where(np.arange(len(x))[:, None] == 0, x + 1, x), names, features)
    labels = project.folder / RESULTS / "labels/mortality_48h.parquet"
    y, described = read_labels(labels)
    write_labels(1 - y, labels, described)
    _recorded_as_is(project, "cohort/features/ts_lab.parquet", "labels/mortality_48h.parquet")
    status, text = _verify(project, "--fits", "0")
    assert status == 2
    assert text.count("made anew from the inputs, the file says something else") == 2
    for part in ("ts_lab.parquet", "rule `ingest`", "mortality_48h.parquet", "rule `label`"):
        assert part in text
    assert not list((project.folder / RESULTS).glob(".verify*"))
    status, text = _verify(project, "--fits", "0", "--no-cohort")
    assert status == 0
    assert "not checked: cohort, labels and split were not made again: `--no-cohort`" in text


def test_what_was_checked_and_what_was_not_is_said(project: Project) -> None:
    status, text = _verify(project, "--fits", "2")
    assert status == 0, text
    # Five tables, two sources and the reading of the cohort, labels and audit of each task, four lists and
    # the split.
    assert f"{8 + 2 * len(TASKS) + 4 + 1} files of cohort, labels and split made anew" in text
    assert "fits were not trained again" in text
    assert "not checked: selection, TIM, evaluation and figures: by their digests alone" in text
    project.edit("resources/tasks/m3h.yaml", "title: Mortality within 48 Hours", "title: Mortality")
    status, text = _verify(project, "--fits", "0")
    assert status == 0, text
    assert "not checked: labels and split: the tasks' definitions have changed since" in text


def test_a_damaged_record_is_a_sentence(project: Project) -> None:
    path = project.folder / RESULTS / "provenance.json"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    status, text = _verify(project)
    assert status == 2
    assert "rule `record` makes it again" in text


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("search/round_1/plan.json", {"plan_round(1)"}),
        ("labels/tasks.json", {"assess"}),
        ("cohort/diagnoses.parquet", {"ingest"}),
    ],
)
def test_what_a_message_says_of_a_damaged_file_mends_it(name: str, made: set[str], project: Project) -> None:
    path = project.folder / RESULTS / name
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes([content[100] ^ 16]) + content[101:])
    status, text = _verify(project, "--fits", "0")
    assert status == 2
    target = f"{RESULTS / name}"
    assert f"`snakemake -- {target}`" in text
    if name.endswith(".json"):
        # Read while the workflow is planned, or by the first job.
        planned = project.snakemake()
        assert planned.status
        assert "the file is damaged" in planned.output
        assert "Traceback" not in planned.output
    path.unlink()
    assert project.snakemake("--", target).jobs == made
    assert path.read_bytes() == content
    assert project.snakemake().status == 0
    status, text = _verify(project, "--fits", "0")
    assert status == 0, text


def test_few_flips_of_each_kind_are_seen(project: Project) -> None:
    found = count(project.folder / RESULTS, 12, verifying=1)
    assert {"cohort/features/*.parquet", "search/store/*.parquet", "provenance.json"} <= set(found)
    unseen = {kind: one for kind, one in found.items() if one.unread or one.unverified}
    assert not unseen


def test_inputs_elsewhere_are_found_where_the_user_says(project: Project, tmp_path: Path) -> None:
    shutil.move(project.folder / "data", tmp_path / "moved")
    status, text = _verify(project, "--fits", "0")
    assert status == 2
    assert "--data FOLDER" in text
    status, text = _verify(project, "--fits", "0", "--data", str(tmp_path / "moved"))
    assert status == 0, text


def test_networks_are_compared_and_verified_with_their_own_settings(project: Project) -> None:
    """The study's own network finds what the search has trained; another one is trained, and known apart."""
    leaky = {"model": {"negative_slope": 0.2}, "training": {"learning_rates": [3e-3]}}
    project.configure("networks", {"own": "plain", "replicates": 1, "others": {"leaky": leaky}})
    done = project.snakemake()
    assert done.status == 0, done.output[-6000:]
    names = ("plain", "leaky")
    assert done.jobs == {
        *(f"plan_network({name})" for name in names),
        *(f"train_network({name} {pack})" for name in names for pack in ("0000", "0001")),
        *("compare_networks", "draw_networks", "report_page", "record"),
    }
    every = "+".join(TASKS)
    own = [fit for fit in done.fits if fit.fold >= 0 and fit.learning_rate == 1e-3]
    assert {(fit.combination, fit.fold) for fit in own} == {(every, 0), (every, 1)}
    cross_validated = [fit for fit in done.fits if fit.fold >= 0]
    # Together at two rates, and of the other network five combinations at one rate, on two folds.
    assert len(cross_validated) == 2 * 2 + 5 * 2
    table = (project.folder / RESULTS / "networks/comparison.tsv").read_text().splitlines()
    assert len(table) == 1 + len(TASKS) * 2 * (2 * 2 + 1)
    assert {"networks/comparison.svg", "search/networks/leaky/plan.json"} <= set(_record(project)["files"])
    status, text = _verify(project, "--fits", "12", "--tolerance", "0")
    assert status == 0, text
    assert "may differ" not in text
    again = project.snakemake()
    assert again.jobs == set()


def test_networks_can_be_compared_without_a_search(project: Project) -> None:
    project.configure("networks", {"own": "plain", "replicates": 1, "alone": False})
    shutil.rmtree(project.folder / RESULTS / "search")
    done = project.snakemake("draw_networks")
    assert done.status == 0, done.output[-6000:]
    compared = {"plan_network(plain)", "train_network(plain 0000)", "compare_networks", "draw_networks"}
    assert done.jobs == compared | {"plan_round(1)", *(f"baselines({task})" for task in TASKS)}
    assert {fit.combination for fit in done.fits} == {"+".join(TASKS)}


def test_the_search_does_not_wait_for_compared_networks(project: Project) -> None:
    others = {name: {"model": {"dropout": rate}} for name, rate in (("one", 0.1), ("two", 0.3))}
    project.configure("networks", {"own": "plain", "replicates": 1, "others": others})
    shutil.rmtree(project.folder / RESULTS)
    done = project.snakemake("select", "compare_networks", "--cores", "1")
    assert done.status == 0, done.output[-6000:]
    order = [job.partition("(")[0] for job in ran(done.output)]
    assert order.count("train_network") >= 3
    assert order.index("select") < order.index("train_network")


def test_a_study_without_a_record_is_explained(project: Project) -> None:
    (project.folder / RESULTS / "provenance.json").unlink()
    status, text = _verify(project)
    assert status == 2
    assert "the study has no record" in text


def test_code_that_a_strangers_record_names_is_not_imported(project: Project) -> None:
    (project.folder / "harmful.py").write_text("open('ran', 'w').close()\n")
    content = _record(project)
    whole = json.dumps(content)
    for name, value in (("kind", "harmful.Source"), ("encoder", "harmful.Encoder")):
        content = json.loads(whole)
        place = content["configuration"]["source"]
        place = place if name == "kind" else content["configuration"]["modalities"]["tabular"]
        place[name] = value
        _rewrite(project, content)
        status, text = _verify(project, "--fits", "1")
        assert status == 2
        assert "not imported" in text
        assert "--trust" in text
        assert not (project.folder / "ran").exists()
        status, text = _verify(project, "--fits", "1", "--trust")
        assert status == 2
        assert (project.folder / "ran").exists()
        (project.folder / "ran").unlink()
