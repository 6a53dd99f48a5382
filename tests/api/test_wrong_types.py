"""What is of another type than was asked for ends in an `M3HError`, and not in an error of Python's."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import m3h_pipeline as m3h
from m3h_pipeline.api.bundles import LoadedBundle
from m3h_pipeline.api.model import MultitaskModel
from tests.api.frames import MODALITIES, QUICK, ward
from tests.conftest import ROOT

CONFIG = ROOT / "config/config.yaml"
#: No path, no list of texts, no frame, no model, no stream.
WRONG: list[Any] = [3, None, b"x", 1.5, {}, object(), True, [3], (None,), np.zeros(2)]


def _of(thing: Any, wrong: list[Any]) -> list[Any]:
    """Calls with each of the wrong values."""
    return [pytest.param(thing, value, id=f"{thing.__name__}-{value!r:.20}") for value in wrong]


def study(given: Any) -> Any:
    return m3h.Study(given)


def changes(given: Any) -> Any:
    return m3h.Study(CONFIG, given)


def screen(given: Any) -> Any:
    return m3h.Study(CONFIG).check(given)


def cores(given: Any) -> Any:
    return m3h.Study(CONFIG).run(given)


def option(given: Any) -> Any:
    return m3h.Study(CONFIG).run(1, given)


def table(given: Any) -> Any:
    return m3h.Study(CONFIG).results.table(given)


def bundle(given: Any) -> Any:
    return m3h.load_bundle(given)


def model(given: Any) -> Any:
    return MultitaskModel.load(given)


def interaction(given: Any) -> Any:
    return m3h.tim_scores(given)


def heatmap(given: Any) -> Any:
    return m3h.plot.tim(given)


def figure(given: Any) -> Any:
    return m3h.plot.improvement(given)


@pytest.mark.parametrize(
    ("call", "value"),
    [
        *_of(study, [*WRONG, "", "a\0b"]),
        *_of(bundle, [*WRONG, "", "a\0b"]),
        *_of(model, [*WRONG, "", "a\0b"]),
        *_of(changes, [3, None, 1.5, "seed=7", [3], [None], ["seed"]]),
        *_of(screen, [3, "a.txt", {}]),
        *_of(cores, [None, 0, -1, "some", 1.5, True, [1]]),
        *_of(option, [3, None, ["--dry-run"]]),
        *_of(table, [3, None, ["roc"], "rocc"]),
        *_of(interaction, [*WRONG, "results"]),
        *_of(heatmap, [*WRONG, pd.DataFrame({"task": ["a"]})]),
        *_of(figure, [*WRONG, pd.DataFrame({"task": ["a"]})]),
    ],
)
def test_arguments(call: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(m3h.M3HError) as caught:
        call(value)
    assert len(str(caught.value)) < 500


@pytest.fixture(scope="module")
def loaded() -> LoadedBundle:
    return m3h.load_bundle(ROOT / "tests/bundle/data/version_1")


@pytest.mark.parametrize("value", [one for one in WRONG if one is not None])
def test_what_a_bundle_is_given(loaded: LoadedBundle, value: Any) -> None:
    # An empty list is a list of names.
    names: Any = 7 if isinstance(value, dict) else value
    some: list[Any] = [value, {"patients": value}, [value], [None], {"patients": None}]
    for given in some:
        with pytest.raises(m3h.M3HError):
            loaded.predict(given, progress=io.StringIO())
    with pytest.raises(m3h.M3HError, match=r"`tasks` is a list of names|has no task|`patients`"):
        loaded.predict({"patients": ward()}, names, progress=io.StringIO())
    with pytest.raises(m3h.M3HError):
        loaded.predict({"patients": ward()}, absent=names, progress=io.StringIO())
    with pytest.raises(m3h.M3HError, match="`progress` is what can be written to"):
        loaded.predict({"patients": ward()}, progress=value)


@pytest.fixture(scope="module")
def fitted() -> MultitaskModel:
    return _model().fit(ward())


def _model(**changed: Any) -> MultitaskModel:
    tasks = {"died": "binary", "days": "regression"}
    given: dict[str, Any] = {"modalities": MODALITIES, "tasks": tasks, "settings": QUICK, "replicates": 1}
    return MultitaskModel(**{**given, **changed})


@pytest.mark.parametrize("value", [3, None, "x", [1], {"a": 1}, 1.5])
@pytest.mark.parametrize("name", ["modalities", "tasks", "settings", "recipe", "replicates", "seed"])
def test_parameters_of_a_model(name: str, value: Any) -> None:
    if (name, value) in [("settings", None), ("replicates", 3), ("seed", 3)]:
        return
    with pytest.raises(m3h.M3HError):
        _model(**{name: value}).fit(ward())


@pytest.mark.parametrize("value", [3, "x", [1], {"a": 1}, 1.5])
def test_what_a_model_is_given(fitted: MultitaskModel, value: Any, tmp_path: Path) -> None:
    frame = ward()
    calls: list[Callable[[], Any]] = [
        lambda: _model().fit(value),
        lambda: _model().fit(frame, value),
        lambda: _model().fit(frame, groups=value),
        lambda: fitted.predict(value),
        lambda: fitted.predict(frame, absent=value),
        lambda: fitted.predict_proba(value),
        lambda: fitted.score(value),
        lambda: fitted.score(frame, value),
        lambda: fitted.save(value if value != "x" else ""),
        lambda: m3h.tim_scores(fitted, value),
        lambda: m3h.tim_scores(fitted, folds=value if value != 3 else 2),
        lambda: m3h.tim_scores(fitted, replicates=value if value != 3 else 0),
        lambda: m3h.tim_scores(fitted, controls=value if value != 3 else 21),
        lambda: m3h.tim_scores(fitted, draws=value if value != 3 else 1),
        lambda: m3h.tim_scores(fitted, fdr=value),
    ]
    for call in calls:
        with pytest.raises(m3h.M3HError):
            call()
