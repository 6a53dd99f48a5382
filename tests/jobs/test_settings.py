"""What jobs are told: all that their verb reads, nothing else, and orders that have a meaning."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3h_pipeline import config
from m3h_pipeline.cli import main
from m3h_pipeline.config import Study, TaskSelection, validate
from m3h_pipeline.config.networks import networks
from m3h_pipeline.config.paths import located_source
from m3h_pipeline.files import read_labels
from m3h_pipeline.jobs.settings import JobSettings
from m3h_pipeline.tasks.column_criteria import Classes, ExactlyOne
from m3h_pipeline.tasks.definitions import TaskDefinition
from m3h_pipeline.tasks.labels import label_task
from tests.conftest import ROOT
from tests.jobs.studies import changed, content, definitions_of, study, tasks, told
from tests.tasks.cohorts import write_cohort

PLANS = {"plan_tim", "plan_final", *(f"plan_round {number}" for number in (1, 2, 3, 4))}
LATER = {"plan_round 3", "plan_round 4"}
DRAWN = {"draw_gene_pairs", "draw_networks"}
REFERENCES = {name for name in told(study()) if name.startswith("baselines ")}
GIVEN = {"column": "p", "means": "score"}
FIGURES = {name for name in told(study()) if name.startswith("figure ")}


@pytest.mark.parametrize(
    ("key", "value", "jobs"),
    [
        ("figures__formats", ["png"], {*FIGURES, *DRAWN}),
        ("figures__map_samples", 7, {"phenotypes"}),
        ("figures__phenotype_map", "umap", {"phenotypes"}),
        ("figures__quantiles", 7, {"evaluate", "performance"}),
        ("figures__calibration_subgroup", "age", {"figure calibration"}),
        ("search__beam", 7, {*LATER, "select"}),
        ("search__min_improvement", 0.5, {*LATER, "select", "evaluate"}),
        ("search__standard_errors", 0.5, {*LATER, "select", "evaluate"}),
        ("search__race", None, {*LATER, "select"}),
        ("search__replicates", 7, {*PLANS, "select"} - {"plan_tim"}),
        ("search__max_size", 7, {*PLANS, "select"} - {"plan_tim", "plan_final"}),
        ("model__attention__alpha", 0.7, {"train"}),
        ("training__learning_rates", [0.25], PLANS - {"plan_final"}),
        ("training__contrastive_weight", 0.5, {"train"}),
        ("training__epochs", 7, {"train"}),
        ("compute__memory_gb", 7, {"train"}),
        ("tim__draws", 7, {"tim"}),
        ("tim__mode", "exact", {*PLANS, "tim"} - {"plan_final"}),
        (
            "evaluation__draws",
            7,
            {"evaluate", "phenotypes", "missing", "performance", "export_bundle", "compare_networks"},
        ),
        ("evaluation__fdr", 0.1, {"evaluate"}),
        ("evaluation__thresholds__alerts", [0.3], {"performance", "export_bundle"}),
        ("evaluation__horizons", [30.0], {"performance"}),
        ("bundle__licence", "CC0-1.0", {"export_bundle"}),
        ("evaluation__baselines", ["linear"], REFERENCES),
        ("evaluation__clinical", ["demographics"], REFERENCES),
        (
            "evaluation__given",
            {"theirs": {"gout": GIVEN, "copd": GIVEN}},
            {"baselines gout", "baselines copd"},
        ),
        ("evaluation__replicates", 7, {"plan_final"}),
        ("tasks__min_per_fold", 7, {"assess"}),
        ("tasks__permute", [], {"label diabetes"}),
        ("split__seed", 7, {"split"}),
        ("split__candidates", 7, {"split"}),
        ("source__samples", 700, {"simulate", "ingest", "embed"}),
        ("data", "elsewhere", set()),
        ("results", "elsewhere", set()),
        ("study", "other", {"export_bundle"}),
    ],
)
def test_a_value_reaches_the_jobs_that_read_it_and_no_other(key: str, value: Any, jobs: set[str]) -> None:
    assert changed(study(), study(**{key: value})) == jobs


def test_the_size_of_packs_follows_from_the_study_only_where_it_is_left_open() -> None:
    left_open = study(search__combinations_per_job=None)
    assert changed(left_open, study(search__combinations_per_job=5)) == PLANS
    values: list[dict[str, Any]] = [{"training__epochs": 7}, {"compute__threads": 3}, {"model__task": [32]}]
    for value in values:
        other = study(**value, search__combinations_per_job=None)
        assert changed(left_open, other) == {*PLANS, "train"}
        assert changed(study(), study(**value)) == {"train"}


def test_a_compared_network_is_told_its_own_sections() -> None:
    one = study("tcga_brca_txt")
    for name, own in networks(one).items():
        known = json.loads(JobSettings(one, {}).train(name))
        assert validate(config.Training, known["training"], "").epochs == own.training.epochs
        told = {name: validate(config.Modality, value, "") for name, value in known["modalities"].items()}
        assert told == {name: modality.resolved(own.model) for name, modality in own.modalities.items()}
        assert all(modality.hidden for modality in told.values())
        plan = json.loads(JobSettings(one, {}).plan_network(name))
        assert plan["training"]["batch_sizes"] == own.training.batch_sizes
        assert plan["networks"] == {"replicates": 5, "alone": True}
    assert JobSettings(one, {}).train("txt") == JobSettings(one, {}).train()
    assert JobSettings(one, {}).train("mlp") != JobSettings(one, {}).train()


def test_paths_travel_as_they_are_found() -> None:
    one = study("tcga_brca_txt", data="elsewhere")
    source = json.loads(JobSettings(one, {}).ingest())["source"]
    assert source["files"][0]["path"] == "elsewhere/tcga-brca/outcomes.csv"
    assert validate(config.TableSource, source, "") == located_source(one)


def test_every_label_is_told_its_whole_definition() -> None:
    for path in sorted((ROOT / "resources/tasks").glob("*.yaml")):
        definitions = definitions_of(path)
        settings = JobSettings(study(), definitions)
        for name, definition in definitions.items():
            received = config.settings(settings.label(name), definition=TaskDefinition)["definition"]
            assert received == definition
            # Mappings are equal in any order.
            assert received.criterion.class_names == definition.criterion.class_names
            assert received.describe(name) == definition.describe(name)


STUDY = study()
CLASSES = st.permutations(["b", "a", "c", "B", "Ä"])


@given(CLASSES, st.booleans())
def test_the_order_of_classes_survives_the_trip(names: list[str], by_column: bool) -> None:
    criterion = (
        ExactlyOne(classes={name: f"column {name}" for name in names})
        if by_column
        else Classes(column="x", classes={name: [name] for name in names})
    )
    definition = TaskDefinition(title="T", department="D", problem_class="multiclass", criterion=criterion)
    text = JobSettings(STUDY, {"t": definition}).label("t")
    assert config.settings(text, definition=TaskDefinition)["definition"].criterion.class_names == names
    # Whatever reads and writes the JSON on its way.
    again = json.dumps(json.loads(text), sort_keys=True)
    assert config.settings(again, definition=TaskDefinition)["definition"].criterion.class_names == names


def _both_ways(definition: TaskDefinition, columns: dict[str, Any], folder: Path) -> None:
    """Labels as `m3h check` makes them, and as the workflow does: through a verb and its settings."""
    samples: list[tuple[str, str | None]] = [
        (f"p{i}", None) for i in range(len(next(iter(columns.values()))))
    ]
    cohort = write_cohort(folder / "cohort", samples, columns=columns)
    label_task("t", definition, cohort, folder / "check/t.parquet", folder / "check/t.audit.tsv")
    told = JobSettings(study(), {"t": definition}).label("t")
    arguments = ["label", "--task", "t", "--settings", told, "--cohort", str(cohort)]
    out = ["--output", str(folder / "workflow/t.parquet"), "--audit", str(folder / "workflow/t.audit.tsv")]
    assert main([*arguments, *out]) == 0
    checked, run = (read_labels(folder / f"{way}/t.parquet") for way in ("check", "workflow"))
    np.testing.assert_array_equal(checked[0], run[0])
    assert checked[1] == run[1]
    audits = [(folder / f"{way}/t.audit.tsv").read_text() for way in ("check", "workflow")]
    assert audits[0] == audits[1]


def test_the_workflow_labels_as_the_check_does(tmp_path: Path) -> None:
    """PAM50 of TCGA-BRCA, whose classes are listed from the least to the most aggressive, not by name."""
    selection = TaskSelection(**content("tcga_brca")["tasks"])
    (file,) = selection.definitions
    pam50 = definitions_of(ROOT / file)["pam50"]
    assert pam50.criterion.class_names != sorted(pam50.criterion.class_names)
    values = ["LumA", "LumB", "Basal", "Her2", "Normal", "Basal", None]
    _both_ways(pam50, {"pam50": values}, tmp_path)
    y, description = read_labels(tmp_path / "workflow/t.parquet")
    names = [description["classes"][int(label)] for label in y[:-1]]
    assert names == ["luminal_a", "luminal_b", "basal", "her2_enriched", "normal_like", "basal"]


def test_columns_that_exclude_each_other_too(tmp_path: Path) -> None:
    criterion = ExactlyOne(classes={"second": "b", "first": "a"})
    task = TaskDefinition(title="T", department="D", problem_class="multiclass", criterion=criterion)
    _both_ways(task, {"a": [1.0, 0.0, 1.0, None], "b": [0.0, 1.0, 1.0, None]}, tmp_path)
    assert read_labels(tmp_path / "workflow/t.parquet")[0].tolist()[:2] == [1, 0]


def _reversed(value: Any, keep: Callable[[str], bool]) -> Any:
    """Every mapping back to front, but those under keys that ``keep`` names."""
    if isinstance(value, dict):
        found = {key: _reversed(inner, keep) for key, inner in value.items()}
        for key, inner in found.items():
            if isinstance(inner, dict) and keep(key):
                found[key] = dict(reversed(inner.items()))
        return dict(reversed(found.items()))
    return [_reversed(inner, keep) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", [path.stem for path in sorted((ROOT / "config").glob("*.yaml"))])
def test_an_order_without_a_meaning_changes_no_job(name: str) -> None:
    one = study(name)
    values = _reversed(content(name), lambda key: key == "others")
    other = validate(Study, values, name)
    assert list(values["modalities"]) != list(content(name)["modalities"]) or len(values["modalities"]) == 1
    assert told(one) == told(other)
    # And nothing in the package sees another order than the workflow.
    assert one.model_dump_json() == other.model_dump_json()


def test_the_order_of_compared_networks_is_kept_in_the_record() -> None:
    values = content("tcga_brca_txt")
    for names in itertools.permutations(["zeta", "mlp", "alpha"]):
        values["networks"]["others"] = {name: {"training": {"epochs": 3}} for name in names}
        one = validate(Study, values, "")
        recorded = json.loads(JobSettings(one, {}).record({}))["study"]
        again = validate(Study, json.loads(json.dumps(recorded, sort_keys=True)), "")
        assert again.networks is not None
        assert again.networks.names == ["txt", *names]


def test_the_record_tells_orders_of_classes_apart() -> None:
    def digest(*classes: str) -> str:
        criterion = Classes(column="x", classes={name: [name] for name in classes})
        task = TaskDefinition(title="T", department="D", problem_class="multiclass", criterion=criterion)
        digests = json.loads(JobSettings(study(), {"t": task}).record({}))["definitions"]
        return str(digests["t"])

    assert digest("a", "b") == digest("a", "b")
    assert digest("a", "b") != digest("b", "a")


def test_settings_are_told_apart_by_task() -> None:
    one = study()
    found = [text for name, text in told(one).items() if name.startswith("label ")]
    assert len(found) == len(set(found)) == len(tasks(one))


def test_an_edit_of_the_users_own_code_reaches_the_jobs_that_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    text = {
        "a_network": "def make(inputs, hidden): ...\n",
        "a_metric": "def score(y, prediction, weights): ...\n",
        "a_class": "class Own:\n    name, metric = 'regression', 'a_metric.score'\n",
        "a_criterion": "from m3h_pipeline.tasks.criteria import ColumnCriterion\n\n\n"
        "class Own(ColumnCriterion):\n    makes = 'regression'\n",
    }
    for name, code in text.items():
        (tmp_path / f"{name}.py").write_text(code)
    own = study(model__task_network="a_network.make")
    definitions = {
        "plain": task("binary", kind="threshold", column="x", below=1),
        "criterion": task("regression", kind="a_criterion.Own"),
        "class": task("a_class.Own", kind="number", column="x"),
    }
    before = told(own, definitions)
    scoring = {
        "train",
        "tim",
        "evaluate",
        "missing",
        "performance",
        "export_bundle",
        "compare_networks",
        *(f"baselines {name}" for name in definitions),
    }
    wanted = {
        "a_network": {"train"},
        "a_class": {"train"},
        "a_metric": scoring,
        "a_criterion": {"label criterion"},
    }
    for name, jobs in wanted.items():
        (tmp_path / f"{name}.py").write_text(text[name] + "\nMORE = 1\n")
        after = told(own, definitions)
        assert {job for job in before if before[job] != after[job]} == jobs, name
        (tmp_path / f"{name}.py").write_text(text[name])
    for name in text:
        sys.modules.pop(name)


def task(problem_class: str, **criterion: Any) -> TaskDefinition:
    """A definition."""
    given = {"title": "T", "department": "D", "class": problem_class, "criterion": criterion}
    return validate(TaskDefinition, given, "a test")
