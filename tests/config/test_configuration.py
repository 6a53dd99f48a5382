"""The configuration: generated files, messages, and that rules can pass sections around."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from m3h_pipeline.config import HaimSource, Search, Study, TableSource, load_study, located_source, settings
from m3h_pipeline.config import validate as validate_section
from m3h_pipeline.config.arguments import modalities_of, seed_of
from m3h_pipeline.config.generate import DEFAULT_STUDY, generated
from m3h_pipeline.errors import ConfigError, InputError

CONFIG = Path(__file__).resolve().parents[2] / "config"
STUDIES = sorted(CONFIG.glob("*.yaml"))


@pytest.mark.parametrize("name", ["config.yaml", "schema.json", "README.md"])
def test_generated_file_has_not_drifted(name: str) -> None:
    assert (CONFIG / name).read_text() == generated()[name], "run: python -m m3h_pipeline.config.generate"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_shipped_study_is_valid_for_model_and_schema(path: Path) -> None:
    study = load_study(path)
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads((CONFIG / "schema.json").read_text()))
    assert Study.model_validate(study.model_dump(mode="json")) == study


def test_the_published_study_has_the_published_values() -> None:
    study = load_study(CONFIG / "haim_mimic_mm.yaml")
    assert study.split.folds == 5
    assert study.split.test_fraction == 0.2
    assert study.training.batch_sizes == [256, 512]
    assert study.training.learning_rates == [5e-4, 1e-3]
    assert study.training.epochs == 15
    assert study.search.beam == 3
    assert study.model.attention.alpha == 0.1
    assert study.tasks.include == "all"


def _default(**changes: object) -> dict[str, object]:
    copy: dict[str, object] = json.loads(json.dumps(DEFAULT_STUDY))
    return copy | changes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"serach": {}}, "unknown key `serach`; did you mean `search`?"),
        ({"search": {"beem": 2}}, "unknown key `beem` in `search`; did you mean `beam`?"),
        ({"variants": {}}, "unknown key `variants`; this section is called `networks` now"),
        ({"interactions": None}, "unknown key `interactions`; this section is called `gene_pairs` now"),
        (
            {"model": {"attention": {"alhpa": 1}}},
            "unknown key `alhpa` in `model.attention`; did you mean `alpha`?",
        ),
        (
            {"source": {"kind": "synthetic", "sample": 9}},
            "unknown key `sample` in `source`; did you mean `samples`?",
        ),
        (
            {"modalities": {"a": {"sources": ["ts_lab"], "hiden": [3]}}},
            "unknown key `hiden` in `modalities.a`; did you mean `hidden`?",
        ),
        (
            {"modalities": {"a": {"sources": ["ts_labs"]}}},
            "names `ts_labs`, which the source does not have; did you mean `ts_lab`?",
        ),
        (
            {"modalities": {"a": {"sources": ["ts_lab"]}, "b": {"sources": ["ts_lab"]}}},
            "source `ts_lab` stands in two modalities: a and b",
        ),
        ({"search": {"beam": 0}}, "`search.beam`: Input should be greater than 0 (given: 0)"),
        (
            {"training": {"update": "summ"}},
            "`training.update`: Input should be 'sum', 'sequential' or",
        ),
        ({"source": {"samples": 300}}, "source.kind is missing; valid: haim, mimic, table, synthetic"),
        ({"source": {"kind": "hiam"}}, "`source.kind` is `hiam`; did you mean `haim`?"),
        ({"source": {"kind": "haim"}}, "`source.table` is missing"),
        (
            {"modalities": {"table": {"sources": ["ts_lab"], "scaling": "none"}}},
            "`modalities.table.scaling`: Input should be 'robust', 'standard' or 'minmax'",
        ),
        ({"study": "a b"}, "`study`:"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_place(changes: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate_section(Study, _default(**changes), "x.yaml")
    assert expected in str(caught.value)
    assert "where: x.yaml" in str(caught.value)


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        validate_section(Study, _default(search={"beem": 2}, tim={"drwas": 3}), "x.yaml")
    assert "beem" in str(caught.value)
    assert "drwas" in str(caught.value)


def test_broken_yaml_has_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("study: x\nsource: {kind: synthetic\nseed: 3\n")
    with pytest.raises(ConfigError, match="line 3, column"):
        load_study(path)


def test_missing_and_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the file"):
        load_study(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"study: \xe9\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_study(tmp_path / "latin.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(ConfigError, match="mapping"):
        load_study(tmp_path / "list.yaml")


def test_relative_paths_start_from_data() -> None:
    study = load_study(CONFIG / "haim_mimic_mm.yaml").model_copy(update={"data": "/elsewhere"})
    source = located_source(study)
    assert isinstance(source, HaimSource)
    assert source.table == "/elsewhere/haim-mimic-mm/cxr_ic_fusion_1103.csv"
    packaged = located_source(load_study(CONFIG / "gse7390.yaml").model_copy(update={"data": "/elsewhere"}))
    assert isinstance(packaged, TableSource)
    assert packaged.files[0].path.startswith("python:sksurv/")


def test_sections_travel_as_json() -> None:
    text = json.dumps({"search": {"beam": 2}, "seed": 7, "modalities": {"a": {"sources": ["x"]}}})
    assert settings(text, search=Search)["search"].beam == 2
    assert seed_of(text) == 7
    assert modalities_of(text)["a"].sources == ["x"]
    for broken in ("{", "[]", '{"search": {"beem": 1}}'):
        with pytest.raises(ConfigError):
            settings(broken, search=Search)
    with pytest.raises(ConfigError):
        seed_of('{"seed": "a"}')
    with pytest.raises(ConfigError):
        modalities_of("{}")


def _nested(depth: int) -> str:
    return "study: x\nmodalities: " + "{a: " * depth + "1" + "}" * depth + "\n"


BOMB = "study: x\nmodalities:\n  a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_nested(3000), "deep"),
        (_nested(60), "nested more than 50 deep"),
        ("[" * 20_000, "deep"),
        (BOMB, "with its aliases"),
        ("study: &a [*a]\n", "no valid YAML|holds itself"),
        ("modalities: &a {b: *a}\n", "no valid YAML|holds itself"),
    ],
)
def test_yaml_that_explodes_is_refused_at_once(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_study(path)


def test_values_from_the_command_line_win_as_in_snakemake() -> None:
    path = CONFIG / "config.yaml"
    changed = load_study(path, ["data=elsewhere", "search={beam: 7}", "seed=3"])
    before = load_study(path)
    assert (changed.data, changed.seed) == ("elsewhere", 3)
    assert changed.search == before.search.model_copy(update={"beam": 7})
    assert (
        changed.model_copy(update={"data": before.data, "seed": before.seed, "search": before.search})
        == before
    )
    for wrong in ("data", "=x", "search={"):
        with pytest.raises(ConfigError, match="--config"):
            load_study(path, [wrong])
    with pytest.raises(ConfigError, match="unknown key `beem`"):
        load_study(path, ["search={beem: 7}"])


@pytest.mark.parametrize("path", ["a{b}", "a{", "x\ny", "x\ty", "-x", "~/x", "@x", "x\x1b[1m"])
def test_results_that_the_workflow_would_misread_are_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="`results`: "):
        validate_section(Study, _default(results=path), "x.yaml")


@pytest.mark.parametrize(
    "path", ["x$(touch y)", "a b", "it's", 'a"b', "/a/b", "../x", "é", "a;b|c&d", "*?[x]"]
)
def test_results_that_a_shell_would_misread_are_taken(path: str) -> None:
    assert validate_section(Study, _default(results=path), "x.yaml").results == path


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), "inf", "nan", ".inf"])
@pytest.mark.parametrize(
    "key", ["training__learning_rates", "model__temperature", "compute__memory_gb", "tim__fdr"]
)
def test_numbers_are_finite(key: str, value: float | str) -> None:
    section, name = key.split("__")
    given = [value] if name.endswith("s") else value
    with pytest.raises(ConfigError, match=f"{section}.{name}"):
        validate_section(Study, _default(**{section: {name: given}}), "x.yaml")


@pytest.mark.parametrize(
    "key", ["search__replicates", "tim__draws", "tim__sets", "evaluation__replicates", "training__epochs"]
)
def test_what_is_counted_out_has_a_limit(key: str) -> None:
    section, name = key.split("__")
    with pytest.raises(ConfigError, match=rf"{section}.{name}.*1000000"):
        validate_section(Study, _default(**{section: {name: 10**9}}), "x.yaml")
