"""What a user sees when something is wrong: a message with the place and the remedy, no traceback, no output.

``docs/messages.md`` shows every case with its message; a test keeps it true.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from m3h_pipeline.cli import main
from m3h_pipeline.config import load_study, located_source
from m3h_pipeline.errors import M3HError
from tests.conftest import ROOT
from tests.end_to_end.bad_input_study import edit_csv, edit_tasks, write_study, write_yaml

Spoil = Callable[[Path, dict[str, Any]], None]
PAGE = ROOT / "docs" / "messages.md"


def _set(*path: str, value: Any) -> Spoil:
    """Change one value of the configuration."""

    def spoil(folder: Path, study: dict[str, Any]) -> None:
        place = study
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value

    return spoil


def _cells(name: str, change: Callable[[list[list[str]]], None]) -> Spoil:
    """Change the cells of a CSV file, header first."""

    def spoil(folder: Path, study: dict[str, Any]) -> None:
        def rows(content: list[list[str]]) -> list[list[str]]:
            change(content)
            return content

        edit_csv(folder / name, rows)

    return spoil


def _all(*spoils: Spoil) -> Spoil:
    def spoil(folder: Path, study: dict[str, Any]) -> None:
        for one in spoils:
            one(folder, study)

    return spoil


def _cell(name: str, line: int, column: int, value: str) -> Spoil:
    return _cells(name, lambda rows: rows[line - 1].__setitem__(column, value))


def _task(change: Callable[[dict[str, Any]], None]) -> Spoil:
    return lambda folder, study: edit_tasks(folder, change)


def _remove(name: str) -> Spoil:
    return lambda folder, study: (folder / name).unlink()


def _broken_gzip(folder: Path, study: dict[str, Any]) -> None:
    path = folder / "hosp/diagnoses_icd.csv.gz"
    path.write_bytes(path.read_bytes()[:-40])


def _semicolons(folder: Path, study: dict[str, Any]) -> None:
    path = folder / "table.csv"
    path.write_text(path.read_text().replace(",", ";"))


def _empty_file(folder: Path, study: dict[str, Any]) -> None:
    (folder / "table.csv").write_text("")


def _header_only(folder: Path, study: dict[str, Any]) -> None:
    path = folder / "table.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")


def _many_malformed(folder: Path, study: dict[str, Any]) -> None:
    with (folder / "table.csv").open("a") as file:
        file.write("1,2,3\n" * 11)


def _text_in_numbers(rows: list[list[str]]) -> None:
    for row in rows[5:20]:
        row[9] = "n/a?"


def _no_modality(rows: list[list[str]]) -> None:
    for row in rows[1:]:
        row[9] = row[10] = ""


def _constant(rows: list[list[str]]) -> None:
    for row in rows[1:]:
        row[9], row[10] = "0.5", "2"


def _bomb(folder: Path, study: dict[str, Any]) -> None:
    """Lists of lists of the same lists, which YAML writes as aliases."""
    value: list[Any] = ["note"]
    for _ in range(30):
        value = [value] * 9
    study["tasks"]["exclude"] = value


def _everyone_ill(rows: list[list[str]]) -> None:
    for row in rows[1:]:
        row[3] = "I509"


def _only_two_ill(rows: list[list[str]]) -> None:
    for number, row in enumerate(rows[1:]):
        row[3] = "I509" if number < 2 else "Z0000"


def _folder_as_file(folder: Path, study: dict[str, Any]) -> None:
    (folder / "table.csv").unlink()
    (folder / "table.csv").mkdir()


#: Name of the case -> how the study is spoiled, and what the message must say.
CASES: dict[str, tuple[Spoil, list[str]]] = {
    "unknown key": (_set("search", value={"beem": 3}), ["unknown key `beem`", "`beam`"]),
    "value of the wrong type": (_set("split", "folds", value="five"), ["`split.folds`", "five"]),
    "unknown source in a modality": (
        _set("modalities", "tabular", "sources", value=["demografics"]),
        ["`demografics`", "did you mean `demographics`?"],
    ),
    "missing embedding table": (_remove("table.csv"), ["table.csv"]),
    "missing key ids": (_remove("keys.csv"), ["keys.csv"]),
    "missing diagnoses": (_remove("hosp/diagnoses_icd.csv.gz"), ["diagnoses_icd"]),
    "a folder in place of a file": (_folder_as_file, ["table.csv"]),
    "truncated gzip": (_broken_gzip, ["diagnoses_icd.csv.gz"]),
    "wrong delimiter": (_semicolons, ["table.csv", ";"]),
    "empty file": (_empty_file, ["table.csv"]),
    "header without rows": (_header_only, ["table.csv"]),
    "absent block": (
        _set("source", "blocks", value={"demographics": "de_", "vision": "vdx_"}),
        ["vdx_", "vd_"],
    ),
    "absent identifier column": (_cells("table.csv", lambda r: r[0].__setitem__(0, "id")), ["haim_id"]),
    "absent subgroup column": (
        _set("source", "subgroups", value={"sex": {"column": "de_7", "values": {"0": "f"}}}),
        ["de_7"],
    ),
    "more malformed lines than allowed": (_many_malformed, ["11", "max_malformed"]),
    "text in a float column": (_cells("table.csv", _text_in_numbers), ["vd_0"]),
    "more samples without a patient than allowed": (
        _all(
            _cells("keys.csv", lambda r: r.__delitem__(slice(3, 5))), _set("source", "max_malformed", value=1)
        ),
        ["table.csv", "max_malformed", "has no key"],
    ),
    "one stay with two patients": (
        _cells("keys.csv", lambda r: r.append(["999", *r[1][1:]])),
        ["keys.csv"],
    ),
    "modality that is missing for all": (_cells("table.csv", _no_modality), ["vision"]),
    "missing task file": (
        _set("tasks", "definitions", value=["nowhere/tasks.yaml"]),
        ["nowhere/tasks.yaml"],
    ),
    "unknown task": (
        _set("tasks", "include", value=["heart_failur"]),
        ["heart_failur", "did you mean `heart_failure`?"],
    ),
    "unknown task to stratify by": (
        _set("split", "stratify_by", value=["heart_failures"]),
        ["heart_failures", "did you mean `heart_failure`?"],
    ),
    "typo in an ICD code": (
        _task(lambda t: t["heart_failure"]["criterion"].update(icd={10: ["I5O"]})),
        ["heart_failure", "I5O"],
    ),
    "unknown kind of criterion": (
        _task(lambda t: t["heart_failure"]["criterion"].update(kind="diagnoses")),
        ["heart_failure", "diagnoses"],
    ),
    "criterion that fits another class": (
        _task(lambda t: t["days_left"].__setitem__("class", "binary")),
        ["days_left", "regression"],
    ),
    "column that no input has": (
        _task(lambda t: t["days_left"]["criterion"].update(column="img_length_of_stey")),
        ["days_left", "img_length_of_stey", "img_length_of_stay"],
    ),
    "value that no criterion names": (
        _task(
            lambda t: t["days_left"].update(
                {
                    "class": "binary",
                    "criterion": {"kind": "values", "column": "death_status", "positive": ["dead"]},
                }
            )
        ),
        ["days_left", "death_status", "does not name", "otherwise: negative"],
    ),
    "broken regular expression": (
        _task(lambda t: t["heart_failure"].update(criterion={"kind": "diagnosis", "titles": ["(heart"]})),
        ["heart_failure", "(heart"],
    ),
    "one class only, refused": (
        lambda folder, study: (
            _cells("hosp/diagnoses_icd.csv.gz", _everyone_ill)(folder, study),
            study["tasks"].update(unevaluable="refuse"),
        )[0],
        ["heart_failure"],
    ),
    "fold without positives, refused": (
        lambda folder, study: (
            _cells("hosp/diagnoses_icd.csv.gz", _only_two_ill)(folder, study),
            study["tasks"].update(unevaluable="refuse"),
        )[0],
        ["heart_failure"],
    ),
    "more folds than patients": (_set("split", "folds", value=100), ["100"]),
    "folds without number": (_set("split", "folds", value=10**9), ["60 patients", "1000000000 folds"]),
    "unknown encoder": (
        _set("modalities", "vision", "encoder", value="mpl"),
        ["unknown network `mpl`", "did you mean `mlp`?"],
    ),
    "unknown encoder of a compared network": (
        _set(
            "networks",
            value={"own": "plain", "others": {"wide": {"modalities": {"vision": {"encoder": "resnet"}}}}},
        ),
        ["unknown network `resnet`", "`wide`"],
    ),
    "module that is not there": (
        _set("modalities", "vision", "encoder", value="absent_module.Encoder"),
        ["`absent_module.Encoder` cannot be imported"],
    ),
    "modality without variation": (_cells("table.csv", _constant), ["varies", "modality vision"]),
    "label beyond single precision": (
        _cell("table.csv", 7, 5, "1e300"),
        ["1 label(s) are beyond 1e+15", "days_left"],
    ),
    "infinite learning rate": (
        _set("training", "learning_rates", value=[float("inf")]),
        ["`training.learning_rates.0`", "finite number"],
    ),
    "aliases that explode": (_bomb, ["with its aliases"]),
}


@pytest.fixture
def study(tmp_path: Path) -> dict[str, Any]:
    return write_study(tmp_path)


def _check(folder: Path) -> int:
    return main(["check", "--configfile", str(folder / "study.yaml")])


def _ingest(folder: Path) -> int:
    """Ingest as the workflow does; a configuration that is refused is no case for it."""
    try:
        study = load_study(folder / "study.yaml")
    except M3HError:
        return 2
    settings = json.dumps({"source": located_source(study).model_dump(mode="json")})
    names = [name for modality in study.modalities.values() for name in modality.sources]
    out = str(folder / "out")
    return main(["ingest", "--settings", settings, "--sources", *names, "--output", out])


def _left(folder: Path) -> list[Path]:
    return [path for path in (folder / "out").rglob("*") if path.is_file()]


def test_the_unspoiled_study_is_fine(
    study: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _check(tmp_path) == 0
    assert "2 of 2 tasks can be evaluated" in capsys.readouterr().out
    assert _ingest(tmp_path) == 0
    assert _left(tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_message(
    case: str, study: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = _message(case, tmp_path, study, capsys)
    for fragment in CASES[case][1]:
        assert fragment in message
    assert "Traceback" not in message
    if _ingest(tmp_path) != 0:
        assert not _left(tmp_path)
    assert not list(tmp_path.rglob("*.part"))


def _message(case: str, folder: Path, study: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    CASES[case][0](folder, study)
    write_yaml(folder, study)
    assert _check(folder) == 2
    # Progress lines and the summary of what was read before go to the same stream.
    text = capsys.readouterr().err
    return text[text.index("m3h check: ") :].replace(str(folder) + os.sep, "")


def test_the_page_of_messages_is_true(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [
        "# What you see when something is wrong\n",
        "Messages of `m3h check`, which runs what the workflow runs. To write this page anew:\n",
        "    M3H_WRITE_DOCS=1 pytest tests/end_to_end/test_bad_input.py\n",
    ]
    for case in CASES:
        folder = tmp_path / "study"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        message = _message(case, folder, write_study(folder), capsys)
        parts.append(f"## {case[0].upper() + case[1:]}\n\n```text\n{message.strip()}\n```\n")
    text = "\n".join(parts)
    if os.environ.get("M3H_WRITE_DOCS"):
        PAGE.write_text(text)
    assert PAGE.read_text() == text


@contextmanager
def _full_disk(limit: int) -> Iterator[None]:
    """No file may grow beyond ``limit`` bytes: to the program this is a disk that is full."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_full_disk(study: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _full_disk(1000):
        status = _ingest(tmp_path)
    assert status == 2
    message = capsys.readouterr().err
    assert "cannot write" in message
    assert "free space" in message
    assert not _left(tmp_path)


def test_a_folder_that_may_not_be_written(
    study: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    assert _ingest(tmp_path) == 2
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"encoder": [10**9]}},
        {"model": {"shared": [10**9, 8]}},
        {"model": {"task": [10**6, 10**6]}},
        {"model": {"projection": 10**10}, "training": {"contrastive_weight": 1.0}},
        {"modalities": {"vision": {"sources": ["vision"], "hidden": [10**9]}}},
        {"networks": {"own": "plain", "others": {"wide": {"model": {"encoder": [10**9]}}}}},
    ],
)
def test_a_network_that_no_machine_holds_is_refused_with_the_number(
    change: dict[str, Any], study: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for section, values in change.items():
        study[section] = {**study.get(section, {}), **values}
    write_yaml(tmp_path, study)
    assert _check(tmp_path) == 2
    message = capsys.readouterr().err
    assert re.search(r"one fit of `days_left` alone needs about [0-9,]+\.\d GB of memory", message)
    assert "this machine has" in message


def test_a_batch_larger_than_the_cohort_needs_no_more_memory(study: dict[str, Any], tmp_path: Path) -> None:
    study["training"] = {"batch_sizes": [10**12]}
    write_yaml(tmp_path, study)
    assert _check(tmp_path) == 0


@pytest.mark.parametrize("value", ["1e17", "-1e300", "9.9e37"])
def test_a_label_is_refused_that_training_would_take_for_infinite(
    value: str, study: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _cell("table.csv", 7, 5, value)(tmp_path, study)
    assert _check(tmp_path) == 2
    assert "beyond 1e+15" in capsys.readouterr().err
    _cell("table.csv", 7, 5, "")(tmp_path, study)
    assert _check(tmp_path) == 0
