"""Every example of docs/criteria.md runs, and makes what the page says."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from m3h_pipeline.cohort.table.ingest import ingest_table
from m3h_pipeline.config import TableSource
from m3h_pipeline.disclosure import true_numbers
from m3h_pipeline.errors import TaskError
from m3h_pipeline.files import read_labels, read_samples
from m3h_pipeline.tasks.definitions import TaskDefinition
from m3h_pipeline.tasks.kinds import KINDS, kind_of
from m3h_pipeline.tasks.labels import label_task
from tests.conftest import ROOT

PAGE = (ROOT / "docs/criteria.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(?:# (.*?)\n)?(.*?)```", PAGE, flags=re.DOTALL)
TABLES = {name: text for language, name, text in BLOCKS if language == "csv"}
STUDIES = {name: text for language, name, text in BLOCKS if language == "yaml" and name.startswith("of a")}
#: Example -> its study, its criterion, and what the page says came of it.
EXAMPLES: dict[str, tuple[str, str, str]] = {}
_study = ""
for _block, _next in zip(BLOCKS, [*BLOCKS[1:], ("", "", "")], strict=True):
    if _block[1] in STUDIES:
        _study = _block[1]
    elif _block[0] == "yaml":
        EXAMPLES[_block[1]] = (_study if _block[1] != "phenotypes" else "of a study", _block[2], _next[2])


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("page")
    for name, text in TABLES.items():
        (folder / name).write_text(text, encoding="utf-8")
    made = {}
    for name, text in STUDIES.items():
        source = TableSource.model_validate(yaml.safe_load(text)["source"]).located(str(folder))
        made[name] = folder / name.replace(" ", "_")
        ingest_table(source, list(source.blocks), made[name], stream=io.StringIO())
    return made


def test_every_kind_has_an_example() -> None:
    kinds = {yaml.safe_load(criterion)["criterion"]["kind"] for _, criterion, _ in EXAMPLES.values()}
    assert kinds == set(KINDS)
    for kind in KINDS:
        assert f"\n## {kind}\n" in PAGE


def shown(cohort: Path, labels: Path) -> dict[str, str]:
    """What became of the samples, in the words of the page."""
    y, task = read_labels(labels)
    names = read_samples(cohort / "samples.parquet")["sample_id"].to_pylist()
    said = defaultdict(list)
    for name, value in zip(names, y.tolist(), strict=True):
        if value != value:
            word = "missing"
        elif task["problem_class"] == "survival":
            word = f"{abs(value):g}" + ("+" if str(value).startswith("-") else "")
        elif task["problem_class"] == "multiclass":
            word = task["classes"][int(value)]
        elif task["problem_class"] == "binary":
            word = "positive" if value else "negative"
        else:
            word = f"{value:g}" if task["problem_class"] == "regression" else "takes part"
        said[word].append(name)
    return {word: " ".join(members) for word, members in said.items()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str, cohorts: dict[str, Path], tmp_path: Path) -> None:
    study, text, expected = EXAMPLES[name]
    criterion = yaml.safe_load(text)["criterion"]
    definition = TaskDefinition.model_validate(
        {"title": name, "department": "D", "class": kind_of(criterion["kind"]).makes, "criterion": criterion}
    )
    paths = (cohorts[study], tmp_path / "y.parquet", tmp_path / "y.tsv")
    if name.endswith("_refused"):
        with pytest.raises(TaskError) as error, true_numbers():
            label_task(name, definition, *paths)
        assert str(error.value) == expected.strip()
        return
    label_task(name, definition, *paths)
    assert shown(paths[0], paths[1]) == dict(line.split(": ", 1) for line in expected.splitlines())
