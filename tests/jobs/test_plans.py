"""Packs of plans, and the files they stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

from m3h_pipeline.config import Study
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import write_json
from m3h_pipeline.jobs import outputs, plans
from m3h_pipeline.layout import Layout, StageFiles
from tests.jobs.studies import study
from tests.search.studies import write_tasks


def write_plan(stage: StageFiles, *packs: list[list[str]]) -> None:
    """A plan of combinations, as far as its packs say who learns what."""
    content = {f"{i:04d}": [{"combination": one} for one in members] for i, members in enumerate(packs)}
    write_json({"stage": "x", "packs": content}, stage.plan)


@pytest.fixture
def files(tmp_path: Path) -> Layout:
    """A finished search of two rounds, TIM that adds a pack, final fits, and two networks."""
    files = Layout(tmp_path)
    write_plan(files.round(1), [["b"], ["a"]], [["c"]])
    write_plan(files.round(2), [["a", "b"]])
    write_plan(files.round(3))
    write_plan(files.round(4), [["left", "over"]])
    write_plan(files.tim, [["a", "c"]])
    write_plan(files.final, [["a", "b"], ["c"]], [["b"]])
    for name in ("txt", "mlp"):
        write_plan(files.networks.fits_of(name), [["a", "b", "c"]])
    return files


def test_packs_know_the_tasks_they_learn(files: Layout) -> None:
    assert plans.packs(files.round(1).plan) == {"0000": ["a", "b"], "0001": ["c"]}
    assert plans.packs(files.round(3).plan) == {}
    labels = plans.pack_labels(files, files.final, "0000")
    assert labels == [files.labels.labels_of(task) for task in ("a", "b", "c")]
    with pytest.raises(InputError, match="does not exist"):
        plans.packs(files.round(9).plan)


def test_files_of_packs(files: Layout) -> None:
    assert [path.name for path in plans.pack_files(files.final, "attention")] == [
        "0000.attention.parquet",
        "0001.attention.parquet",
    ]
    assert plans.pack_models(files, files.final) == [
        files.folder / f"final/models/{n}" for n in ("0000", "0001")
    ]


def test_the_search_ends_with_the_round_that_trains_nothing(files: Layout) -> None:
    assert list(plans.rounds(files)) == [files.round(number) for number in (1, 2, 3)]
    files.round(3).plan.unlink()
    with pytest.raises(InputError, match="does not exist"):
        list(plans.rounds(files))


def test_all_that_was_trained(files: Layout) -> None:
    folders = [stage.folder.relative_to(files.folder).as_posix() for stage in plans.stages(files, ["txt"])]
    rounds = [f"search/round_{number}" for number in (1, 2, 3)]
    assert folders == [*rounds, "search/tim", "search/final", "search/networks/txt"]


def _compared() -> Study:
    return study(networks={"own": "txt", "others": {"mlp": {}}})


def test_scores_are_those_of_every_pack(files: Layout) -> None:
    own = outputs.score_files(files, study())
    assert len(own) == 3 + 1 + 2
    assert set(outputs.score_files(files, _compared())) - set(own) == {
        files.networks.fits_of(name).of_pack("0000", "scores") for name in ("txt", "mlp")
    }


def test_results_are_named_once_and_by_what_the_study_asks_for(files: Layout) -> None:
    write_tasks(files.labels.tasks, ["a", "b", "c"], {"c": "clustering"})
    found = outputs.results(files, _compared())
    assert len(found) == len(set(found))
    assert set(outputs.results(files, study())) < set(found)
    for path in (
        files.round(1).scores,
        files.round(3).plan,
        files.final.of_pack("0001", "latents"),
        files.networks.fits_of("mlp").of_pack("0000", "predictions"),
        files.networks.comparison("tsv"),
        files.evaluation.baselines("a"),
        files.labels.audit_of("dropped"),
        files.figure("tim", "csv"),
    ):
        assert path in found
    for path in (
        # The last round has none, clustering has no references, and a dropped task is not learned.
        files.round(3).scores,
        files.evaluation.baselines("c"),
        files.evaluation.baselines("dropped"),
        files.round(1).of_pack("0000", "latents"),
        files.cohort.diagnoses,
    ):
        assert path not in found


def test_what_lies_in_folders_of_its_own_is_found(files: Layout) -> None:
    write_tasks(files.labels.tasks, ["a", "b", "c"])
    there = [
        files.models_of("0000") / "key.safetensors",
        files.input / "hosp/patients.csv.gz",
        files.cohort.diagnoses,
    ]
    for path in [*there, files.input / ".snakemake_timestamp"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = outputs.results(files, study())
    assert [path for path in there if path not in found] == []
    assert not any(path.name.startswith(".") for path in found)
