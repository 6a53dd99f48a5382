"""A study drafted from tables: what is found, what the check says of it, and what is never written."""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m3h_pipeline.check import check_study
from m3h_pipeline.cli import main
from m3h_pipeline.config import load_study
from m3h_pipeline.draft.write import draft_study
from m3h_pipeline.errors import M3HError
from tests.conftest import ROOT

CASES = ROOT.parent / "shared/cases"
ROWS = 240


def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files of a made-up ward: two stays of each patient."""
    folder = tmp_path_factory.mktemp("hospital")
    draw = random.Random(5)
    stays = [f"ENC-{i:04d}" for i in range(ROWS)]
    write(
        folder / "labs.csv",
        ["stay", "mrn", "Creatinine (mg/dL)", "TnT", "potassium", "comma", "drawn", "nothing", "icu_type"],
        [
            [
                *(stay, f"M{i // 2:05d}", round(draw.uniform(0.4, 4), 2)),
                *("<5" if draw.random() < 0.2 else round(draw.uniform(5, 90), 1),),
                *(
                    -9 if i % 40 == 0 else round(draw.uniform(3, 6), 1),
                    f"1,{i % 10}",
                    f"2024-01-{i % 28 + 1:02d}",
                ),
                *("", draw.choice([1, 2, 3])),
            ]
            for i, stay in enumerate(stays)
        ],
    )
    write(
        folder / "outcomes.csv",
        ["encounter", "age", "sex", "os_months", "os_status", "aki", "discharge_to", "score_x"],
        [
            [
                *(stay, draw.randint(20, 90), draw.choice("FM"), round(draw.uniform(1, 60), 1)),
                *(draw.choice(["1:DECEASED", "0:LIVING"]), draw.choice(["yes", "no"])),
                *("Zoo" if i < 4 else draw.choice(["Home", "Died", "SNF"]), round(draw.gauss(0, 1), 3)),
            ]
            for i, stay in enumerate(stays)
        ],
    )
    write(
        folder / "codes.csv",
        ["encounter", "icd"],
        [[draw.choice(stays), draw.choice(["I50.1", "N18.3", "A41.9", "E11.9"])] for _ in range(400)],
    )
    return folder


def drafted(
    folder: Path, paths: Sequence[Path], name: str = "ward"
) -> tuple[dict[str, Any], dict[str, Any], str]:
    screen = io.StringIO()
    study, tasks = draft_study(name, [str(path) for path in paths], folder, screen)
    return yaml.safe_load(study.read_text()), yaml.safe_load(tasks.read_text())["tasks"], screen.getvalue()


def test_columns_get_their_use(hospital: Path, tmp_path: Path) -> None:
    paths = [hospital / f"{name}.csv" for name in ("labs", "outcomes", "codes")]
    study, tasks, said = drafted(tmp_path, paths)
    source = study["source"]
    assert study["data"] == str(hospital)
    assert source["files"] == [
        {"path": "labs.csv", "id": "stay"},
        {"path": "outcomes.csv", "id": "encounter"},
    ]
    assert source["patient_id"] == "mrn"
    assert source["blocks"] == {
        "labs": {
            "columns": ["Creatinine (mg/dL)", "TnT", "potassium", "icu_type"],
            "file": 0,
            "categorical": ["icu_type"],
        },
        "person": {"columns": ["age", "sex"], "file": 1, "categorical": ["sex"]},
    }
    assert source["limits"] == "half"
    assert source["subgroups"] == {"sex": {"column": "sex"}}
    assert source["diagnoses"] == {"path": "codes.csv", "id": "encounter", "code": "icd", "version": 10}
    assert {name: (task["class"], task["criterion"]["kind"]) for name, task in tasks.items()} == {
        "os_status": ("survival", "time_to_event"),
        "aki": ("binary", "values"),
        "discharge_to": ("multiclass", "classes"),
        "score_x": ("regression", "number"),
    }
    assert tasks["os_status"]["criterion"]["observed"] == ["1:DECEASED"]
    assert tasks["os_status"]["unit"] == "months"
    assert tasks["aki"]["criterion"] | {"positive": ["yes"], "negative": ["no"]} == tasks["aki"]["criterion"]
    text = (tmp_path / "ward.yaml").read_text()
    assert "# Not used: `comma`: its values are no numbers: decimals take a point, no comma." in text
    assert "# Not used: `drawn`: dates are no features" in text
    assert "# Not used: `nothing`: it is empty." in text
    assert '# ? `potassium`: does -9 mean: not observed? Then add "-9"' in text
    assert "task discharge_to (multiclass, likely): died " in said


def test_what_is_written_passes_the_check(
    hospital: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [hospital / f"{name}.csv" for name in ("labs", "outcomes", "codes")]
    drafted(Path("config"), paths)
    screen = io.StringIO()
    check_study(Path("config/ward.yaml"), screen)
    assert "4 of 4 tasks can be evaluated" in screen.getvalue()


def test_what_tells_an_outcome_by_itself_is_withheld(tmp_path: Path) -> None:
    draw = random.Random(3)
    y = [draw.randint(0, 1) for _ in range(120)]
    features = ["honest", "after", "form", "seen"]
    write(tmp_path / "outcomes.csv", ["id", "y"], [[f"r{i}", one] for i, one in enumerate(y)])
    # In another order: rows are compared by their ids.
    rows = [
        [
            *(f"r{i}", one + draw.gauss(0, 1), 5 * one + draw.random()),
            *("icu" if one else draw.choice(["home", "ward"]), draw.random() if one else ""),
        ]
        for i, one in enumerate(y)
    ]
    write(tmp_path / "x.csv", ["id", *features], draw.sample(rows, len(rows)))
    study, _, said = drafted(tmp_path, [tmp_path / "outcomes.csv", tmp_path / "x.csv"])
    assert study["source"]["blocks"] == {"x": {"columns": ["honest"], "file": 1}}
    assert study["source"]["columns"] == ["y", "after", "form", "seen"]
    assert "withheld: `after` tells the outcome `y` nearly by itself: is it known before?" in said


def test_nothing_of_patients_is_written(hospital: Path, tmp_path: Path) -> None:
    drafted(tmp_path, [hospital / "labs.csv", hospital / "outcomes.csv"])
    text = (tmp_path / "ward.yaml").read_text() + (tmp_path / "ward_tasks.yaml").read_text()
    assert "ENC-" not in text
    assert "M000" not in text
    # Four stays hold it; it becomes missing.
    assert "zoo" not in text.lower()
    assert "otherwise: missing" in text
    # No count of rows.
    assert not re.search(r"\b(240|120|48)\b", text)


def test_patients_in_a_file_of_their_own_are_joined_on_the_patient(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", ["sample", "patient", "x"], [[f"S{i}", f"P{i // 2}", i / 7] for i in range(90)])
    write(tmp_path / "b.csv", ["patient", "b", "y"], [[f"P{i}", i / 3, i % 2] for i in range(45)])
    study, tasks, _ = drafted(tmp_path / "config", [tmp_path / "b.csv", tmp_path / "a.csv"])
    # YAML reads an unquoted `on` as a truth.
    assert study["source"]["files"][1] == {"path": "b.csv", "id": "patient", "on": "patient"}
    assert study["source"]["patient_id"] == "patient"
    assert list(tasks) == ["y"]
    text = (tmp_path / "config/ward.yaml").read_text()
    (tmp_path / "config/ward.yaml").write_text(text.replace('"on":', "on:"))
    assert load_study(tmp_path / "config/ward.yaml").source.files[1].on == "patient"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ward", "--from", "t.csv"], "the file is there already, and is not overwritten"),
        (["a ward", "--from", "t.csv"], "`a ward` is no name of a study"),
        (["new", "--from", "absent.csv"], "absent.csv"),
        (["new", "--from", "t.csv,t.csv"], "a table is given twice"),
        (["new", "--from", ","], "no table is given"),
        (["new", "--from", "t.docx"], "`.docx` is no format of a table"),
        (["new", "--from", "y.csv"], "no column is left that a model could see"),
        (["new", "--from", "empty.csv"], "there is no row after the header"),
    ],
)
def test_what_cannot_be_drafted_is_said(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("t.csv"), ["id", "x", "y"], [[i, i / 7, i % 2] for i in range(50)])
    write(Path("y.csv"), ["id", "y"], [[i, i % 2] for i in range(50)])
    write(Path("empty.csv"), ["id", "y"], [])
    Path("t.docx").touch()
    Path("config").mkdir()
    Path("config/ward_tasks.yaml").write_text("mine")
    assert main(["init", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in Path("config").iterdir()] == ["ward_tasks.yaml"]
    assert Path("config/ward_tasks.yaml").read_text() == "mine"


def test_a_comma_may_stand_in_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("a file, x.csv"), ["id", "x", "died"], [[i, i / 7, i % 2] for i in range(50)])
    assert main(["init", "ward", "--from", "a file, x.csv"]) == 0
    assert load_study(Path("config/ward.yaml")).source.files[0].path == "a file, x.csv"  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "nr"])
@pytest.mark.parametrize("start", [0, 1])
def test_numbers_of_rows_are_no_feature(name: str, start: int, tmp_path: Path) -> None:
    """Tables are often written with their index; where rows are sorted, it tells the outcome."""
    rows = [[i + start, f"r{i}", i * 7 % 13 / 3, int(i > 25)] for i in range(50)]
    write(tmp_path / "t.csv", [name, "id", "x", "died"], rows)
    study, _, _ = drafted(tmp_path, [tmp_path / "t.csv"])
    assert study["source"]["blocks"] == {"t": {"columns": ["x"]}}
    assert f"# Not used: `{name}`: it numbers the rows." in (tmp_path / "ward.yaml").read_text()


def test_why_no_column_is_left_is_said(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", ["id", "x", "x", "died"], [[f"r{i}", i / 7, i / 3, i % 2] for i in range(50)])
    with pytest.raises(M3HError, match="no column is left") as caught:
        drafted(tmp_path, [tmp_path / "t.csv"])
    assert caught.value.hint == "no use was found for `x`: its name stands more than once in the header"


def test_a_study_without_outcomes_says_so(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", ["id", "a", "b"], [[f"r{i}", i / 7, -i / 3] for i in range(50)])
    _, tasks, said = drafted(tmp_path, [tmp_path / "t.csv"])
    assert list(tasks) == ["phenotypes"]
    assert "no column looks like an outcome: name yours in " in said
    assert "# ? no column looks like an outcome" in (tmp_path / "ward_tasks.yaml").read_text()


CELL = st.one_of(
    st.sampled_from(["", "yes", "no", "1", "0", "<5", "NA", "?", "[x", "2020-01-01", "I50.1", "a: b", "#"]),
    st.floats(-1e6, 1e6).map(str),
    st.text(max_size=6).filter(lambda text: "\x00" not in text),
)
NAMES = st.one_of(
    st.sampled_from(
        ["y", "death", "os_months", "os_event", "mrn", "on", "yes", "a: b", "{x}", "'", '"', "#"]
    ),
    st.text(min_size=1, max_size=6).filter(lambda text: text.strip() and "\x00" not in text),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_table_is_drafted_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """What is written is read by the package itself before it is written: an M3HError, or two whole files."""
    folder = tmp_path_factory.mktemp("any")
    header = data.draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    few = [data.draw(st.lists(CELL, min_size=1, max_size=3)) for _ in header]
    rows = [[f"r{i}", *(cells[i % len(cells)] for cells in few)] for i in range(25)]
    write(folder / "t.csv", ["id", *header], rows)
    said = ""
    try:
        drafted(folder, [folder / "t.csv"])
    except M3HError as error:
        said = str(error)
    # Of the user's table, never of what was written about it.
    assert "ward.yaml" not in said
    assert "ward_tasks.yaml" not in said


@pytest.mark.skipif(not CASES.exists(), reason="no folder `shared` beside the project")
@pytest.mark.parametrize("case", ["a2", "a3", "a5", "e1", "e5", "h6", "i8"])
def test_small_inputs_that_went_wrong_pass_the_check(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = sorted(path for path in (CASES / case).iterdir() if path.suffix != ".yaml")
    _, tasks, _ = drafted(Path("config"), paths, case)
    screen = io.StringIO()
    check_study(Path(f"config/{case}.yaml"), screen)
    assert f"{len(tasks)} of {len(tasks)} tasks can be evaluated" in screen.getvalue()
