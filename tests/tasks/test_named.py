"""Every value is named, or refused: no criterion makes a class of what its definition does not name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.errors import TaskError
from m3h_pipeline.tasks.columns import Column
from m3h_pipeline.tasks.criteria import ColumnCriterion
from m3h_pipeline.tasks.definitions import load_definitions
from m3h_pipeline.tasks.kinds import kind_of
from tests.conftest import ROOT
from tests.tasks.cohorts import labelled_table

EXAMPLES = int(os.environ.get("M3H_EXAMPLES", "60"))

Case = tuple[list[Any], dict[str, Any]]
#: What is refused: the column's values and what a definition says of them.
STATUS: dict[str, list[Case]] = {
    "nothing is named": [
        (["0:LIVING", "1:DECEASED"], {}),
        (["alive", "dead"], {}),
        (["Lebend", "Verstorben", "NA"], {}),
        (["1", "2"], {}),
        ([1.0, 2.0, None], {}),
        (["0", "1", "9"], {}),
        (["N", "Y"], {}),
    ],
    "what is no censored patient": [
        (["0:LIVING", "1:DECEASED", "[Discrepancy]"], {"observed": ["1:DECEASED"], "censored": ["0:LIVING"]}),
        (["0:LIVING", "1:DECEASED", "Not Reported"], {"observed": ["1:DECEASED"]}),
        (["alive", "dead", "[Not Applicable]"], {"observed": ["dead"], "censored": ["alive"]}),
        (["alive", "dead", "lost to follow-up"], {"observed": ["dead"], "censored": ["alive"]}),
        (["0", "1", "unknown"], {"observed": [1], "censored": [0]}),
    ],
    "two spellings": [
        (["Dead", "DEAD", "dead", "Alive"], {"observed": ["Dead"]}),
        (["Dead", "DEAD", "Alive"], {"observed": ["Dead"], "censored": ["Alive"]}),
        (["dead", "dead.", "alive"], {"observed": ["dead"], "censored": ["alive"]}),
        (["dead", "deceased", "alive"], {"observed": ["dead"], "censored": ["alive"]}),
        (["dead of disease", "dead", "alive"], {"observed": ["dead"], "censored": ["alive"]}),
    ],
    "another coding": [
        ([1.0, 2.0], {}),
        (["1", "2"], {"observed": [2]}),
        ([0.0, 1.0], {"observed": [0]}),
        ([0.0, 2.0], {"observed": [2]}),
        ([1.0, 2.0, 3.0], {"observed": [2], "censored": [1]}),
        ([-1.0, 1.0], {"observed": [1]}),
    ],
    "nothing matches": [
        (["dead", "alive"], {"observed": ["Dead"], "otherwise": "negative"}),
        (["1", "2"], {"observed": ["yes"], "otherwise": "missing"}),
        (["0:LIVING", "1:DECEASED"], {"otherwise": "negative"}),
        (["dead", "alive"], {"observed": [1], "censored": [0], "otherwise": "missing"}),
    ],
}
REFUSED = [(kind, values, spec) for kind, cases in STATUS.items() for values, spec in cases]


@pytest.fixture(scope="module")
def cases() -> Path:
    folder = ROOT.parent / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip("no cases: the folder ../shared/cases does not exist beside the project")
    return folder


def criterion(kind: str, **spec: Any) -> ColumnCriterion:
    made = kind_of(kind).model_validate({"kind": kind, **spec})
    assert isinstance(made, ColumnCriterion)
    return made


def of_status(kind: str, spec: dict[str, Any]) -> ColumnCriterion:
    """A criterion about a column of a status, in the words of its kind."""
    if kind == "values":
        words = {"observed": "positive", "censored": "negative"}
        return criterion(kind, column="s", **{words.get(key, key): value for key, value in spec.items()})
    more = {"horizon": 5} if kind == "event_within" else {}
    return criterion(kind, time="t", event="s", **more, **spec)


def label(made: ColumnCriterion, values: list[Any]) -> Any:
    times = pa.array(np.arange(1.0, len(values) + 1) + 0.5)
    return made.label({"s": Column("s", pa.array(values)), "t": Column("t", times)})


@pytest.mark.parametrize("kind", ["values", "event_within", "time_to_event"])
@pytest.mark.parametrize(("why", "values", "spec"), REFUSED)
def test_a_status_that_is_not_named_is_refused(
    kind: str, why: str, values: list[Any], spec: dict[str, Any]
) -> None:
    with pytest.raises(TaskError) as error:
        label(of_status(kind, spec), values)
    named = [*spec.get("observed", []), *spec.get("censored", [])]
    left = [v for v in values if v not in (None, "NA") and v not in named]
    if why == "nothing matches":
        assert "no row of column `s` holds a value of" in error.value.what
    else:
        assert "`s` holds values that the criterion does not name" in error.value.what
        # All of them, with counts, and as a list to copy.
        for value in left:
            assert (
                f"`{value:g}` (<11)" in error.value.what if isinstance(value, float) else f"`{value}` (<11)"
            )
        assert "otherwise: negative" in str(error.value.hint)


@pytest.mark.parametrize(
    ("values", "spec"),
    [
        (["0:LIVING", "1:DECEASED"], {"observed": ["1:DECEASED"], "censored": ["0:LIVING"]}),
        (["LIVING", "DECEASED"], {"observed": ["DECEASED"], "otherwise": "negative"}),
        ([1.0, 2.0], {"observed": [2], "censored": [1]}),
        (["1", "2.0"], {"observed": ["2"], "censored": ["1.0"]}),
        ([0.0, 1.0], {}),
        (["0", "1"], {}),
        (["0.0", "1.0"], {"observed": [1]}),
        ([0.0, 1.0], {"observed": [1], "censored": [0]}),
        (["alive", "dead"], {"observed": ["dead", "DEAD"], "censored": ["alive", "Alive"]}),
        (["No", "Yes"], {"observed": [True], "censored": [False]}),
    ],
)
def test_what_is_named_is_what_it_says(values: list[Any], spec: dict[str, Any]) -> None:
    """The first value is no event, the second one is."""
    assert label(of_status("values", spec), values)[0].tolist() == [0, 1]
    y, _ = label(of_status("time_to_event", spec), values)
    assert np.signbit(y).tolist() == [True, False]
    assert np.abs(y).tolist() == [1.5, 2.5]


def test_a_code_for_missing_is_that_of_the_status_and_not_a_time() -> None:
    made = criterion("time_to_event", time="t", event="s", missing=[9, "unknown"])
    columns = {
        "t": Column("t", pa.array(["9", "9.0", "unknown", "5"])),
        "s": Column("s", pa.array([1.0, 9, 1, 0])),
    }
    np.testing.assert_equal(made.label(columns)[0], [9, np.nan, np.nan, -5])


WORDS = st.sampled_from(
    ["1", "0", "2", "-1", "1.0", "yes", "Yes", "no", "dead", "DEAD", "alive", "I", "II", "unknown", "x y"]
)
VALUES: dict[str, tuple[str, ...]] = {
    "values": ("positive", "negative", "missing"),
    "event_within": ("observed", "censored", "missing"),
    "time_to_event": ("observed", "censored", "missing"),
}


@given(
    kind=st.sampled_from(list(VALUES)),
    cells=st.lists(st.none() | WORDS, min_size=1, max_size=12),
    lists=st.tuples(*[st.lists(WORDS, max_size=3)] * 3),
    otherwise=st.sampled_from([None, "negative", "missing"]),
)
@settings(max_examples=EXAMPLES * 5, deadline=None)
def test_no_unnamed_value_becomes_a_class(
    kind: str, cells: list[str | None], lists: tuple[list[str], ...], otherwise: str | None
) -> None:
    spec = dict(zip(VALUES["values"], lists, strict=True))
    words = {"positive": VALUES[kind][0], "negative": VALUES[kind][1], "missing": "missing"}
    named = {words[key]: values for key, values in spec.items()}
    more: dict[str, Any] = {"column": "s"} if kind == "values" else {"time": "t", "event": "s"}
    more |= {"horizon": 100} if kind == "event_within" else {}
    made = criterion(kind, **more, **named, otherwise=otherwise)
    try:
        y, told = label(made, cells)
    except TaskError:
        return

    def key(text: str) -> float | str:
        try:
            return float(text)
        except ValueError:
            return text

    keys = {side: {key(value) for value in values} for side, values in spec.items()}
    coded = {key(cell) for cell in cells if cell is not None} - keys["missing"] <= {0.0, 1.0}
    for value, cell in zip(y, cells, strict=True):
        if cell is None or key(cell) in keys["missing"]:
            assert np.isnan(value)
            continue
        sides = [side for side in ("positive", "negative") if key(cell) in keys[side]]
        if not sides and coded and not keys["negative"] and keys["positive"] <= {1.0}:
            sides = ["positive" if key(cell) == 1 else "negative"]
        if not sides:
            assert otherwise is not None
            sides = [otherwise]
        assert len(sides) == 1
        if kind == "time_to_event":
            expected = {"positive": False, "negative": True}.get(sides[0])
            assert np.isnan(value) if expected is None else np.signbit(value) == expected
        elif kind == "event_within":
            # All is before the horizon: without the event, nobody knows.
            assert value == 1 if sides == ["positive"] else np.isnan(value)
        else:
            expected_value = {"positive": 1.0, "negative": 0.0}.get(sides[0], np.nan)
            np.testing.assert_equal(value, expected_value)
    # The audit names each value once, with what became of it.
    assert (np.sum([outcome.rows for outcome in told], axis=0) == 1).all()


@given(
    cells=st.lists(st.none() | WORDS, min_size=1, max_size=12),
    classes=st.tuples(*[st.lists(WORDS, min_size=1, max_size=3)] * 3),
    missing=st.lists(WORDS, max_size=2),
    otherwise=st.sampled_from([None, "missing"]),
)
@settings(max_examples=EXAMPLES * 3, deadline=None)
def test_no_unnamed_value_becomes_one_of_several_classes(
    cells: list[str | None], classes: tuple[list[str], ...], missing: list[str], otherwise: str | None
) -> None:
    lists = dict(zip("abc", classes, strict=True))
    one = criterion("classes", column="s", classes=lists, missing=missing, otherwise=otherwise)
    columns = {name: f"c{name}" for name in lists}
    several = criterion("exactly_one", classes=columns, positive=["1"], missing=missing, otherwise=otherwise)
    try:
        y, _ = label(one, cells)
        for value, cell in zip(y, cells, strict=True):
            if not np.isnan(value):
                assert cell is not None
                meant = lists["abc"[int(value)]]
                assert cell in meant or float(cell) in [
                    float(v) for v in meant if v.strip("-.0123456789") == ""
                ]
    except TaskError:
        pass
    read = {name: Column(name, pa.array(cells)) for name in columns.values()}
    try:
        several.label(read)
    except TaskError:
        return
    for cell in cells:
        named = cell is None or cell in {"1", "1.0", "0", *missing} or otherwise is not None
        assert named or float(cell or 0) in {float(v) for v in missing if v.strip("-.0123456789") == ""}


# --- missing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["N/A", "n/a", "#N/A", ".", "-", "null", "None", "NaN", "NA", ""])
def test_usual_texts_for_missing_are_missing_among_labels(text: str, tmp_path: Path) -> None:
    table: dict[str, list[Any]] = {
        "id": [f"s{i}" for i in range(12)],
        "v": list(range(12)),
        "y": ["1", "0", text] * 4,
    }
    y, audit = labelled_table(
        table, {"kind": "values", "column": "y", "positive": [1], "negative": [0]}, tmp_path
    )
    np.testing.assert_equal(y, np.array([1, 0, np.nan] * 4))
    assert [(row["title"], row["status"]) for row in audit] == [
        ("1", "positive"),
        ("0", "negative"),
        ("empty", "missing"),
    ]


@pytest.mark.parametrize("text", ["not done", "unknown", "?", "9", "n.a.", "missing", "-9"])
def test_other_texts_are_refused_until_they_are_named(text: str, tmp_path: Path) -> None:
    table: dict[str, list[Any]] = {
        "id": [f"s{i}" for i in range(12)],
        "v": list(range(12)),
        "y": ["1", "0", text] * 4,
    }
    spec: dict[str, Any] = {"kind": "values", "column": "y", "positive": [1], "negative": [0]}
    with pytest.raises(TaskError, match="does not name"):
        labelled_table(table, spec, tmp_path)
    for named in ({"missing": [text]}, {"otherwise": "missing"}):
        y, _ = labelled_table(table, spec | named, tmp_path)
        np.testing.assert_equal(y, np.array([1, 0, np.nan] * 4))
    y, _ = labelled_table(table, spec, tmp_path, missing_values=[text])
    np.testing.assert_equal(y, np.array([1, 0, np.nan] * 4))


@pytest.mark.parametrize("key", ["positive", "negative"])
@pytest.mark.parametrize("text", ["-", "NA", "n/a", "None"])
def test_a_text_for_missing_names_no_class(key: str, text: str) -> None:
    with pytest.raises(ValueError, match="means in every table: not observed"):
        criterion("values", column="y", **{key: [text]})


# --- what YAML makes of it --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("positive: [Yes], negative: [No]", ["Yes", "No"]),
        ("positive: [yes], negative: [no]", ["yes", "no"]),
        ("positive: [YES], negative: [NO]", ["YES", "NO"]),
        ("positive: [On], negative: [Off]", ["On", "Off"]),
        ("positive: [true], negative: [false]", ["True", "False"]),
        ("positive: [TRUE], negative: [FALSE]", ["1", "0"]),
        ("positive: ['Yes'], negative: ['No']", ["Yes", "No"]),
        ("positive: [Y], negative: [N]", ["Y", "N"]),
    ],
)
def test_words_that_yaml_takes_for_truths(written: str, values: list[str], tmp_path: Path) -> None:
    spec = yaml.safe_load(f"{{kind: values, column: y, {written}}}")
    table: dict[str, list[Any]] = {"id": [f"s{i}" for i in range(8)], "v": list(range(8)), "y": values * 4}
    y, _ = labelled_table(table, spec, tmp_path)
    assert y.tolist() == [1, 0] * 4


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("classes: {Yes: [Yes], No: [No]}", "put it in quotes"),
        (
            "classes: {a: [2020-01-01], b: [x]}",
            "`2020-01-01` is neither text nor number: YAML made a date of it",
        ),
        ("classes: {a: [~], b: [x]}", "YAML made nothing of it, put it in quotes"),
        ("classes: {a: [], b: [x]}", "at least 1"),
        ("classes: {a: [{x: 1}], b: [x]}", "YAML made a dict of it"),
        ("classes: {a: [x]}", "at least 2"),
        ("classes: 3", "dictionary"),
    ],
)
def test_what_yaml_made_of_a_value_is_said(written: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        criterion("classes", **yaml.safe_load(f"{{column: y, {written}}}"))


def test_one_value_is_a_list_of_one_and_numbers_name_classes() -> None:
    one = criterion("values", column="y", positive=True, negative="no", missing=9)
    assert one == criterion("values", column="y", positive=[True], negative=["no"], missing=[9])
    assert criterion("classes", column="y", classes={1: 1, 2: [2, "3"]}).class_names == ["1", "2"]
    again = criterion("classes", column="y", classes={2: 1, 1: 2})
    assert type(again).model_validate_json(again.model_dump_json()) == again
    assert again.class_names == ["2", "1"]


def test_truths_and_numbers_in_one_list_are_two_values(tmp_path: Path) -> None:
    made = criterion("values", column="s", positive=[True], negative=[False])
    with pytest.raises(TaskError, match="does not name: `maybe`"):
        label(made, ["Yes", "No", "maybe"])


# --- the cases beside the project ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "refused"),
    [("a1", True), ("a2", True), ("a3", True), ("a5", True), ("c2", False), ("c6", False)],
)
def test_the_cases(case: str, refused: bool, cases: Path, tmp_path: Path) -> None:
    folder = cases / case
    study = yaml.safe_load((folder / "study.yaml").read_text())
    frame = pd.read_csv(folder / study["source"]["files"][0]["path"], dtype=str, keep_default_na=False)
    table = {str(name): frame[name].tolist() for name in frame}
    for name, definition in load_definitions([folder / "tasks.yaml"]).items():
        spec = definition.criterion.model_dump()
        if refused and name == "os":
            with pytest.raises(TaskError, match="does not name"):
                labelled_table(table, spec, tmp_path)
        else:
            labelled_table(table, spec, tmp_path)
