"""Every figure is legible with 1, 8 and 41 tasks, with odd titles, and with many of the rarer classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from matplotlib.figure import Figure

from m3h_pipeline.config import Figures
from m3h_pipeline.figures import calibration, style
from m3h_pipeline.figures.catalogue import Catalogue
from m3h_pipeline.figures.registry import FIGURES, render
from tests.figures import fakes
from tests.figures.legibility import problems, texts

Drawn = Callable[[str, fakes.Tasks, dict[str, pa.Table] | None], Figure]


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Draw a figure of a made-up study without writing it."""

    def draw(name: str, tasks: fakes.Tasks, replaced: dict[str, pa.Table] | None = None) -> Figure:
        kept: list[Figure] = []

        def keep(figure: Figure, *_: Any, **__: Any) -> None:
            kept.append(figure)
            assert problems(figure) == []

        monkeypatch.setattr(style, "save", keep)
        fakes.write_study(tmp_path, tasks, replaced, only=FIGURES[name].inputs)
        render(name, tmp_path, Figures(), tmp_path / "figures")
        return kept[0]

    return draw


@pytest.mark.parametrize("tasks", [1, 8, 41])
@pytest.mark.parametrize("name", FIGURES)
def test_is_legible(name: str, tasks: int, drawn: Drawn) -> None:
    drawn(name, fakes.description(tasks), None)


@pytest.mark.parametrize("tasks", [1, 2, 41])
@pytest.mark.parametrize("name", FIGURES)
def test_is_legible_where_controls_are_explained(name: str, tasks: int, drawn: Drawn) -> None:
    described = fakes.description(tasks)
    for entry in described.values():
        entry["control"] = "permuted labels"
    drawn(name, described, None)


@pytest.mark.parametrize("name", ["roc", "agreement", "survival", "phenotypes", "calibration"])
def test_is_legible_with_many_tasks_of_its_class(name: str, drawn: Drawn) -> None:
    kinds = {"roc": "multiclass", "agreement": "regression", "phenotypes": "clustering"}
    kind = (kinds | {"survival": "survival"}).get(name, "binary")
    figure = drawn(name, fakes.of_class(5, kind), None)
    if kind != "binary":
        assert any("more" in text.get_text() and "table behind" in text.get_text() for text in texts(figure))


@pytest.mark.parametrize("name", FIGURES)
def test_is_legible_with_odd_titles(name: str, drawn: Drawn) -> None:
    tasks = fakes.description(8)
    odd = [
        "Costs of $5 and $6 per day_and_night^2 \\alpha",
        "A" * 90,
        "Recurrence or death of any cause within five years of the first operation, local reading",
        "Recurrence or death of any cause within five years of the first operation, central reading",
        "Línea\nnueva\x07 <b>&amp;</b>",
        "x",
    ]
    for entry, title in zip(tasks.values(), odd, strict=False):
        entry["title"], entry["department"] = title, f"Department of {title}"
    figure = drawn(name, tasks, None)
    shown = " ".join(text.get_text() for text in texts(figure))
    assert "\n" not in shown
    if name == "improvement":
        assert "$5" in shown
        # What tells two long titles apart stands at their end, and is kept.
        assert {"l reading"} == {text.get_text()[-9:] for text in texts(figure) if "Recur" in text.get_text()}
        assert len({text.get_text() for text in texts(figure) if "Recur" in text.get_text()}) == 4


def test_calibration_of_many_chosen_tasks_stays_on_a_page() -> None:
    tasks = fakes.of_class(11, "binary")
    table = fakes.calibration(tasks, chosen=11).to_pandas()
    catalogue = Catalogue([])
    with style.applied():
        slopes = fakes.calibration_slopes(tasks).to_pandas()
        frame = calibration.with_slopes(calibration.table(table, catalogue, list(tasks)), slopes)
        figure = calibration.draw(frame, catalogue, "sex")
        assert problems(figure) == []
    assert any("3 more binary tasks" in text.get_text() for text in texts(figure))


def test_roc_tells_twenty_classes_apart(drawn: Drawn) -> None:
    tasks = fakes.of_class(1, "multiclass")
    classes = [f"A class with quite a long name, number {i}" for i in range(20)]
    figure = drawn("roc", tasks, {"evaluation/roc.parquet": fakes.roc(tasks, classes=classes)})
    lines = figure.axes[0].get_lines()[1:]
    looks = {(line.get_color(), str(line.get_linestyle()), line.get_linewidth()) for line in lines}
    assert len(lines) == 21
    assert len(looks) >= 20


def test_extreme_values_do_not_squeeze_the_others(drawn: Drawn) -> None:
    tasks = fakes.description(8)
    made = fakes.evaluation(tasks, fakes.selection(tasks))
    far = {"relative": 45.0, "relative_low": -20.0, "relative_high": 300.0}
    rows = [row | (far if row["metric"] == "r2" else {}) for row in made.to_pylist()]
    table = pd.DataFrame(rows)
    replaced = {"evaluation/evaluation.parquet": pa.Table.from_pylist(rows, made.schema)}
    figure = drawn("improvement", tasks, replaced)
    relative = figure.axes[1]
    others = table.loc[table["metric"] != "r2", "relative"].abs().max() * 100
    assert max(relative.get_xlim()) < 20 * others
    assert any("4500" in text.get_text() for text in relative.texts)


def test_tim_writes_values_only_where_they_fit(drawn: Drawn) -> None:
    few, many = fakes.description(8), fakes.description(41)
    assert len(drawn("tim", few, None).axes[0].texts) == 9 * 8
    # Twelve tasks, as in the default study, are the most whose values are written.
    assert len(drawn("tim", fakes.description(12), None).axes[0].texts) == 13 * 12
    assert len(drawn("tim", many, None).axes[0].texts) == 0


def test_a_notice_replaces_what_a_study_does_not_have(drawn: Drawn) -> None:
    tasks = fakes.of_class(3, "binary")
    assert "no regression task" in drawn("agreement", tasks, None).texts[0].get_text()
    assert "no multiclass task" in drawn("roc", tasks, None).texts[0].get_text()
    assert "no clustering task" in drawn("phenotypes", tasks, None).texts[0].get_text()
    tasks = fakes.of_class(2, "regression")
    assert "no binary task" in drawn("calibration", tasks, None).texts[0].get_text()


@pytest.mark.parametrize("name", FIGURES)
def test_empty_tables_give_a_notice(name: str, drawn: Drawn) -> None:
    empty = {path: schema.empty_table() for path, schema in fakes.SCHEMAS.items()}
    figure = drawn(name, fakes.description(8), empty)
    assert len(figure.texts) == 1
    assert figure.axes == []


def _without_numbers(table: pa.Table) -> pa.Table:
    frame = table.to_pandas()
    for column in frame.columns:
        if pd.api.types.is_float_dtype(frame[column]) and column not in {
            "x",
            "y",
            "learning_rate",
            "single_learning_rate",
            "observed_low",
            "observed_high",
            "predicted_low",
            "predicted_high",
        }:
            frame.loc[frame.index % 3 == 0, column] = float("nan")
    arrays = [pa.array(frame[f.name].to_numpy(), type=f.type, from_pandas=f.nullable) for f in table.schema]
    return pa.Table.from_arrays(arrays, schema=table.schema)


@pytest.mark.parametrize("name", FIGURES)
def test_missing_values_leave_gaps(name: str, drawn: Drawn) -> None:
    tasks = fakes.description(8)
    holes = {path: _without_numbers(table) for path, table in fakes.tables(tasks).items()}
    drawn(name, tasks, holes)
