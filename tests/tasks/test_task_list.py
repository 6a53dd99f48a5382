"""Task lists in TxT's layout: what definitions they make, with or without the clinical file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from m3h_pipeline.cli import main
from m3h_pipeline.errors import M3HError
from m3h_pipeline.tasks.column_criteria import Classes, Number, Values
from m3h_pipeline.tasks.definitions import TaskDefinition, load_definitions
from m3h_pipeline.tasks.event_criteria import TimeToEvent
from m3h_pipeline.tasks.task_list import write_definitions

PUBLISHED = """name,task
Age,regression
NHG,classification
ER,classification
PAM50,classification
OS_duration,survival_time
OS_event,survival_event
"""
CLINICAL = """Sample,Age,NHG,ER,PAM50,OS_duration,OS_event
secret1,85,2,positive,LumA,3313,1
secret2,70,10,negative,Basal,4094,0
secret3,50,3,[Not Available],LumB,4096,0
"""


def _criteria(definitions: dict[str, TaskDefinition]) -> dict[str, Any]:
    return {name: definition.criterion for name, definition in definitions.items()}


EXPECTED = {
    "Age": Number(column="Age"),
    "NHG": Classes(column="NHG", classes={"2": ["2"], "3": ["3"], "10": ["10"]}),
    "ER": Values(column="ER", positive=["positive"], negative=["negative"]),
    "PAM50": Classes(column="PAM50", classes={n: [n] for n in ("Basal", "LumA", "LumB")}),
    "OS": TimeToEvent(time="OS_duration", event="OS_event"),
}


def test_the_published_list_takes_its_classes_from_the_clinical_file(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(PUBLISHED)
    (tmp_path / "clinical.csv").write_text(CLINICAL)
    paths = {name: str(tmp_path / name) for name in ("list.csv", "clinical.csv", "tasks.yaml")}
    arguments = ["--list", paths["list.csv"], "--clinical", paths["clinical.csv"]]
    assert main(["task-list", *arguments, "--output", paths["tasks.yaml"]]) == 0
    stated = {"OS": TimeToEvent(time="OS_duration", event="OS_event", observed=["1"], censored=["0"])}
    assert _criteria(load_definitions([paths["tasks.yaml"]])) == EXPECTED | stated


STATUS = "name,task,event,observed,censored,missing\nOS,survival,status,{}\n"
PAIR = "name,task,observed,censored,missing\nt,survival_time,,,\nstatus,survival_event,{}\n"


@pytest.mark.parametrize("text", [STATUS, PAIR])
@pytest.mark.parametrize(
    ("values", "lists", "criterion"),
    [
        ("dead alive", "dead,alive,", {"observed": ["dead"], "censored": ["alive"]}),
        ("dead DEAD alive", "dead|DEAD,alive,", {"observed": ["dead", "DEAD"], "censored": ["alive"]}),
        ("2 1 9", "2,1,9", {"observed": ["2"], "censored": ["1"], "missing": ["9"]}),
        ("1 0", ",,", {"observed": ["1"], "censored": ["0"]}),
        ("1 0", "1,,", {"observed": ["1"], "censored": ["0"]}),
        ("2 1", ",,", None),
        ("dead alive", "dead,,", None),
        ("dead DEAD alive", "dead,alive,", None),
        ("1 0 9", ",,", None),
    ],
)
def test_a_list_says_what_the_column_of_an_event_holds(
    text: str, values: str, lists: str, criterion: dict[str, Any] | None, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text(text.format(lists).replace("OS,survival,", "t,survival,"))
    rows = "".join(f"{i},{value}\n" for i, value in enumerate([*values.split(), "NA"]))
    (tmp_path / "clinical.csv").write_text("t,status\n" + rows)
    if criterion is None:
        with pytest.raises(M3HError, match="does not name") as error:
            write_definitions(tmp_path / "list.csv", tmp_path / "clinical.csv", tmp_path / "tasks.yaml")
        assert "columns `observed`, `censored`" in str(error.value.hint)
        assert "list.csv, line" in str(error.value.where)
        return
    assert write_definitions(tmp_path / "list.csv", tmp_path / "clinical.csv", tmp_path / "tasks.yaml") == 1
    found = load_definitions([tmp_path / "tasks.yaml"])["t"].criterion
    assert found == TimeToEvent(time="t", event="status", **criterion)


def test_a_list_with_its_classes_is_a_file_of_definitions(tmp_path: Path) -> None:
    (tmp_path / "list.tsv").write_text(
        "name\ttype\tcolumn\tevent\tclasses\ttitle\tdepartment\tunit\n"
        "Age\tregression\t\t\t\tAge at surgery\tClinic\tyears\n"
        "NHG\tclassification\t\t\t2|3|10\t\t\t\n"
        "ER\tclassification\t\t\tnegative | positive\t\t\t\n"
        "\n"
        "PAM50\tclassification\t\t\tBasal|LumA|LumB\t\t\t\n"
        "OS\tsurvival\tOS_duration\tOS_event\t\t\t\tdays\n"
    )
    definitions = load_definitions([tmp_path / "list.tsv"])
    assert _criteria(definitions) == EXPECTED
    age = definitions["Age"]
    assert (age.title, age.department, age.unit) == ("Age at surgery", "Clinic", "years")
    assert (definitions["OS"].title, definitions["OS"].department, definitions["OS"].unit) == (
        "OS",
        "Outcomes",
        "days",
    )


def test_times_and_events_are_paired_in_order(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(
        "name,task\nDFS,survival_time\nOS months,survival_time\n"
        "dead,survival_event\nOS event,survival_event\n"
    )
    assert _criteria(load_definitions([tmp_path / "list.csv"])) == {
        "DFS": TimeToEvent(time="DFS", event="dead"),
        "OS": TimeToEvent(time="OS months", event="OS event"),
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ["no column `name`", "line 1"]),
        ("name;task\nAge;regression\n", ["no column `name`", "commas"]),
        ("name,task\n", ["names no task"]),
        ("name,task,klasses\nAge,regression,\n", ["`klasses`", "did you mean `classes`?"]),
        ("name,task,type\nAge,regression,\n", ["`task` stands twice"]),
        ("name,task\nAge\n", ["1 fields instead of 2", "line 2"]),
        ("name,task\nAge,regresion\n", ["`regresion`", "did you mean `regression`?", "line 2"]),
        ("name,task\n,regression\n", ["the name is missing", "line 2"]),
        ("name,task\n5y,regression\n", ["`5y` cannot name a task", "`column`"]),
        ("name,task\nA b,regression\nA.b,regression\n", ["two tasks are named `A_b`", "line 3"]),
        ("name,task\nPAM50,classification\n", ["classes of `PAM50` are not given", "m3h task-list"]),
        ("name,task,classes\nER,classification,a|a\n", ["no two alike"]),
        ("name,task,classes\nER,regression,a|b\n", ["belongs to tasks of kind `classification`"]),
        ("name,task\nOS,survival_time\n", ["1 `survival_time` and 0 `survival_event`"]),
        ("name,task\nOS,survival\n", ["column of the event is missing", "line 2"]),
        ("name,task,event\nOS,regression,e\n", ["belongs to tasks of kind `survival`"]),
    ],
)
def test_a_list_that_is_wrong(text: str, says: list[str], tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(M3HError) as caught:
        load_definitions([path])
    for part in [*says, "list.csv"]:
        assert part in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("listed", "clinical", "says"),
    [
        ("list.csv", CLINICAL.replace("PAM50", "PAM"), "did you mean `PAM`?"),
        ("list.csv", CLINICAL.replace("negative", "positive"), "column `ER` has 1 values"),
        ("list.txt", CLINICAL, "ends in .csv or .tsv"),
        ("none.csv", CLINICAL, "cannot read the file"),
    ],
)
def test_what_the_verb_says(
    listed: str, clinical: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("list.csv", "list.txt"):
        (tmp_path / name).write_text(PUBLISHED)
    (tmp_path / "clinical.csv").write_text(clinical)
    arguments = ["--list", str(tmp_path / listed), "--clinical", str(tmp_path / "clinical.csv")]
    assert main(["task-list", *arguments, "--output", str(tmp_path / "tasks.yaml")]) == 2
    message = capsys.readouterr().err
    assert says in message
    assert "secret" not in message
    assert not (tmp_path / "tasks.yaml").exists()
