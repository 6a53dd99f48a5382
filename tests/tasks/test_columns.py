"""Criteria that read columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3h_pipeline.errors import TaskError
from m3h_pipeline.tasks.column_criteria import (
    Classes,
    ExactlyOne,
    Number,
    Threshold,
    Values,
)
from m3h_pipeline.tasks.columns import Column, Labelled
from m3h_pipeline.tasks.event_criteria import EventWithin, TimeToEvent

NAN = float("nan")
numbers = st.lists(st.none() | st.floats(-100, 100).map(lambda x: round(x, 2)), max_size=30)


def label(criterion: Any, **columns: list[Any]) -> Labelled:
    found: Labelled = criterion.label({name: Column(name, pa.array(v)) for name, v in columns.items()})
    return found


def same(y: Any, expected: list[float]) -> bool:
    return bool(np.array_equal(y, np.array(expected), equal_nan=True))


@pytest.mark.parametrize(
    "column", [[1.0, 0.0, None, -1.0], ["1", "0", None, "-1"], ["1.0", "0.0", None, "-1.0"]]
)
def test_a_number_is_a_number_however_it_is_written(column: list[Any]) -> None:
    y, _ = label(Values(column="c", positive=[1], negative=["0"], missing=["-1.0"]), c=column)
    assert same(y, [1, 0, NAN, NAN])


def test_values_of_text() -> None:
    criterion = Values(column="er", positive=["positive"], negative=["negative"])
    assert same(label(criterion, er=["positive", " negative ", None])[0], [1, 0, NAN])
    with pytest.raises(TaskError, match=r"the criterion does not name: `unkown` \(<11\)"):
        label(criterion, er=["positive", "unkown"])
    others = Values(column="er", positive=["positive"], missing=["unkown"], otherwise="negative")
    assert same(label(others, er=["positive", "weak", "unkown", None])[0], [1, 0, NAN, NAN])
    with pytest.raises(TaskError, match="stands in two lists"):
        label(Values(column="er", positive=["a"], negative=["a"]), er=["a"])


def test_classes_keep_their_order_and_name_every_value() -> None:
    criterion = Classes(column="g", classes={"low": ["I"], "high": ["IV", "III"]}, missing=["X"])
    y, outcomes = label(criterion, g=["III", "I", "X", None, "IV"])
    assert same(y, [1, 0, NAN, NAN, 1])
    assert [(o.status, int(o.rows.sum())) for o in outcomes] == [
        ("class low", 1),
        ("class high", 1),
        ("class high", 1),
        ("missing", 1),
        ("missing", 1),
    ]
    with pytest.raises(TaskError, match="does not name: `II`") as caught:
        label(criterion, g=["II"])
    assert "missing" in str(caught.value.hint)
    with pytest.raises(TaskError, match="two lists"):
        label(Classes(column="g", classes={"a": ["1"], "b": [1.0]}), g=["1"])


@given(st.lists(st.tuples(*[st.sampled_from([1.0, 0.0, -1.0, None])] * 3), min_size=1, max_size=30))
def test_exactly_one(rows: list[tuple[float | None, ...]]) -> None:
    criterion = ExactlyOne(classes={"a": "A", "b": "B", "c": "C"}, positive=[1], negative=[0, "-1"])
    y, outcomes = label(
        criterion,
        **{n: pa.array(v, pa.float64()) for n, v in zip("ABC", zip(*rows, strict=True), strict=True)},
    )
    for value, row in zip(y, rows, strict=True):
        present = [i for i, cell in enumerate(row) if cell == 1]
        assert same([value], [present[0] if len(present) == 1 else NAN])
    for column in ("", "A", "B", "C"):
        told = sum(o.rows.astype(int) for o in outcomes if o.column == column)
        assert np.array_equal(told, np.ones(len(rows))), column


@given(numbers, st.floats(-50, 50), st.floats(0.01, 50))
def test_threshold(x: list[float | None], low: float, width: float) -> None:
    y, _ = label(Threshold(column="x", at_least=low, below=low + width), x=pa.array(x, pa.float64()))
    assert same(y, [NAN if v is None else float(low <= v < low + width) for v in x])


@given(numbers, st.floats(0.01, 10))
def test_number(x: list[float | None], scale: float) -> None:
    y, _ = label(Number(column="x", scale=scale, minimum=0, maximum=20), x=pa.array(x, pa.float64()))
    assert same(y, [NAN if v is None or not 0 <= v * scale <= 20 else v * scale for v in x])


@pytest.mark.parametrize(
    ("bounds", "missing"),
    [
        ({}, []),
        ({"minimum": 0}, [("under 0", [1])]),
        ({"maximum": 20}, [("over 20", [2])]),
        ({"minimum": 0, "maximum": 20}, [("under 0", [1]), ("over 20", [2])]),
    ],
)
def test_what_is_impossible_is_told_by_the_bound_that_says_so(
    bounds: dict[str, float], missing: list[tuple[str, list[int]]]
) -> None:
    y, outcomes = label(Number(column="x", **bounds), x=pa.array([1.0, -1.0, 21.0], pa.float64()))
    told = [(one.value, np.flatnonzero(one.rows).tolist()) for one in outcomes if one.status == "missing"]
    assert told == missing
    assert np.flatnonzero(np.isnan(y)).tolist() == sorted(row for _, rows in missing for row in rows)


@given(
    st.lists(st.tuples(st.none() | st.integers(-2, 20), st.sampled_from([1.0, 0.0, None])), max_size=30),
    st.sampled_from(["missing", "negative"]),
)
def test_event_within(rows: list[tuple[int | None, float | None]], lost: Any) -> None:
    criterion = EventWithin(time="t", event="e", horizon=10, lost=lost, minimum=0)
    y, outcomes = label(
        criterion,
        t=pa.array([t for t, _ in rows], pa.float64()),
        e=pa.array([e for _, e in rows], pa.float64()),
    )

    def expected(t: int | None, e: float | None) -> float:
        if t is None or e is None or t < 0:
            return NAN
        if t >= 10:
            return 0.0
        return 1.0 if e == 1 else NAN if lost == "missing" else 0.0

    assert same(y, [expected(t, e) for t, e in rows])
    # The audit puts every row under one verdict.
    assert (np.sum([outcome.rows for outcome in outcomes], axis=0) == 1).all()
    for outcome in outcomes:
        assert np.isnan(y[outcome.rows]).all() == (outcome.status == "missing") or not outcome.rows.any()


@given(
    st.lists(st.tuples(st.none() | st.integers(-2, 20), st.sampled_from([1.0, 0.0, None])), max_size=30),
    st.none() | st.integers(1, 15),
)
def test_time_to_event(rows: list[tuple[int | None, float | None]], end: int | None) -> None:
    criterion = TimeToEvent(time="t", event="e", scale=0.5, censor_at=end)
    y, outcomes = label(
        criterion,
        t=pa.array([t for t, _ in rows], pa.float64()),
        e=pa.array([e for _, e in rows], pa.float64()),
    )
    for value, (t, e) in zip(y, rows, strict=True):
        if t is None or e is None or t < 0:
            assert np.isnan(value)
            continue
        seen = t / 2 if end is None else min(t / 2, end)
        assert abs(value) == seen
        assert np.signbit(value) == (not (e == 1 and t / 2 == seen))
    # The audit puts every row under one verdict.
    assert (np.sum([outcome.rows for outcome in outcomes], axis=0) == 1).all()


def test_an_event_just_when_observation_ends_is_one() -> None:
    criterion = TimeToEvent(time="t", event="e", scale=0.5, censor_at=3)
    y, _ = label(criterion, t=[4.0, 6.0, 8.0, 6.0], e=[1.0, 1.0, 1.0, 0.0])
    assert y.tolist() == [2, 3, -3, -3]


def test_mortality_within_48_hours_as_published_with_the_embeddings() -> None:
    """``death_small48`` 1, ``alive_big48`` and ``death_big48`` 0, alive and gone within 48 hours left out."""
    criterion = EventWithin(time="img_length_of_stay", event="death_status", horizon=48)
    y, _ = label(criterion, img_length_of_stay=[47.9, 48.0, 100.0, 47.9], death_status=[1.0, 1.0, 0.0, 0.0])
    assert same(y, [1, 0, 0, NAN])


def test_text_in_a_column_of_numbers_is_quoted() -> None:
    with pytest.raises(
        TaskError, match=r"`x` is to hold numbers and holds `a` \(<11\), `<5` \(<11\)"
    ) as caught:
        label(Number(column="x"), x=["1", "a", "<5", "a", None])
    assert 'missing: ["<5", "a"]' in str(caught.value.hint)
    assert same(
        label(Number(column="x", missing=["a", "<5", 1]), x=["1", "a", "<5", "2"])[0], [NAN] * 3 + [2]
    )
    y, outcomes = label(Threshold(column="x", below=2, otherwise="missing"), x=["1", "a", "<5", "2", None])
    assert same(y, [1, NAN, NAN, 0, NAN])
    told = [(o.value, o.status, int(o.rows.sum())) for o in outcomes]
    assert told[2:] == [("empty", "missing", 1), ("<5", "missing", 1), ("a", "missing", 1)]


def test_a_threshold_is_from_its_value_on_and_below_the_other() -> None:
    y, _ = label(Threshold(column="x", at_least=2, below=4), x=[1.5, 2.0, 3.5, 4.0])
    assert y.tolist() == [0, 1, 1, 0]


def test_bounds_of_a_threshold() -> None:
    with pytest.raises(ValueError, match="give `at_least`"):
        Threshold(column="x")
    with pytest.raises(ValueError, match="must be less"):
        Threshold(column="x", at_least=2, below=2)
