"""What figures show is what the tables say."""

from __future__ import annotations

import string
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.metrics import roc_auc_score, roc_curve

from m3h_pipeline import contracts
from m3h_pipeline.config import Figures
from m3h_pipeline.figures import (
    agreement,
    attention,
    calibration,
    comparison,
    improvement,
    phenotypes,
    registry,
    roc,
    style,
    survival,
    tim,
    trajectories,
    verdicts,
)
from m3h_pipeline.figures.catalogue import Catalogue, read_catalogue
from m3h_pipeline.figures.registry import FIGURES
from m3h_pipeline.figures.text import fit, text_width, wrapped
from m3h_pipeline.files import write_json
from m3h_pipeline.tasks.assessed import Task
from tests.figures import fakes
from tests.figures.legibility import problems, texts


def _catalogue(tasks: fakes.Tasks) -> Catalogue:
    kept = ("title", "department", "problem_class", "metric", "unit")
    return Catalogue(Task(id=name, **{k: entry[k] for k in kept}) for name, entry in tasks.items())


def _frame(table: pa.Table) -> pd.DataFrame:
    frame = table.to_pandas()
    assert isinstance(frame, pd.DataFrame)
    return frame


ALL = fakes.description(41)
CATALOGUE = _catalogue(ALL)
CHOSEN = fakes.selection(ALL)
EVALUATED = _frame(fakes.evaluation(ALL, CHOSEN))


# --- order and labels ---


def test_the_paper_s_order() -> None:
    order = CATALOGUE.order(reversed(list(ALL)))
    departments = [group.department for group in CATALOGUE.groups(order)]
    assert departments == [*fakes.DIAGNOSES, "Thoracic Testing", "Hospital Operations", "Patient Phenotyping"]
    assert order[-3:] == ["mortality_48h", "days_left", "phenotype"]


@given(st.permutations(list(ALL)))
def test_the_order_ignores_the_input_s(tasks: list[str]) -> None:
    assert CATALOGUE.order(tasks) == CATALOGUE.order(ALL)
    groups = CATALOGUE.groups(CATALOGUE.order(tasks))
    assert [g.start for g in groups[1:]] == [g.stop for g in groups[:-1]]
    assert groups[-1].stop == len(tasks)


def test_tasks_nobody_described_come_last_under_their_id() -> None:
    assert CATALOGUE.order(["zzz_top", "anemia"]) == ["anemia", "zzz_top"]
    assert CATALOGUE.title("zzz_top") == "zzz top"


@given(st.text(string.ascii_letters + " -/()'éß", min_size=1, max_size=80), st.floats(0.3, 3.0))
def test_a_fitted_text_fits(text: str, inches: float) -> None:
    shown = fit(text, inches, 6.5)
    assert text_width(shown, 6.5) <= inches or len(shown) <= 3
    if text_width(" ".join(text.split()), 6.5) <= inches:
        assert shown == " ".join(text.split())


@given(st.text(string.ascii_letters + " -/", max_size=200), st.floats(0.5, 3.0))
def test_wrapped_lines_fit_and_lose_no_word(text: str, inches: float) -> None:
    lines = wrapped(text, inches, 6.0)
    assert " ".join(lines).split() == text.split()
    assert all(text_width(line, 6.0) <= inches or " " not in line for line in lines)


# --- improvement ---


def _marks(figure: Figure) -> dict[str, set[float]]:
    """Verdict -> the values in the left panel that are drawn with its mark."""
    found: dict[str, set[float]] = {}
    for line in figure.axes[0].get_lines():
        for verdict, look in verdicts.MARKS.items():
            if line.get_marker() == look["marker"] and line.get_color() == look["color"]:
                found.setdefault(verdict, set()).update(np.asarray(line.get_xdata(), float).tolist())
    return found


def test_improvement_shows_every_task_and_hides_no_loss() -> None:
    table = _frame(fakes.evaluation(ALL, CHOSEN))
    frame = improvement.table(table, CATALOGUE)
    assert list(frame["task"]) == CATALOGUE.order(ALL)
    with style.applied():
        figure = improvement.draw(frame, CATALOGUE)
    drawn = frame[frame["companions"]]
    expected = {verdict: set(part["difference"]) for verdict, part in drawn.groupby("verdict")}
    assert set(expected) == {"better", "worse", "not significant", "not tested"}
    assert _marks(figure) == expected


def test_improvement_draws_by_the_verdict_and_says_the_headline() -> None:
    """A q of 0.001 is no triangle where the verdict is another, and where open the detectable one stands."""
    table = _frame(fakes.evaluation(ALL, CHOSEN)).assign(q=0.001, verdict="not significant")
    said = "Together is better than alone for none of 41 tested tasks. " * 5
    with style.applied():
        figure = improvement.draw(improvement.table(table, CATALOGUE), CATALOGUE, said)
    assert set(_marks(figure)) == {"not significant"}
    shown = [text.get_text() for text in figure.texts]
    assert said.strip() in " ".join(shown)
    assert not any(text.get_fontweight() == "bold" for text in figure.texts if text.get_text() == "0.001")
    known = table["detectable"].dropna()
    assert all(f"{least:.3f}" in shown for least in known)


def test_marks_of_verdicts_differ_without_their_colours() -> None:
    looks = {(look["marker"], look.get("markerfacecolor")) for look in verdicts.MARKS.values()}
    assert len(looks) == len(verdicts.MARKS)


def test_a_phenotype_has_one_silhouette_in_all_figures() -> None:
    """That of the inputs: those of spaces that models made themselves are not held against each other."""
    scores = _frame(fakes.phenotype_scores(ALL))
    inputs = {row["model"]: row["silhouette"] for row in scores.to_dict("records")}
    assert set(scores["own_silhouette"]).isdisjoint(inputs.values())
    evaluated = _frame(fakes.evaluation(ALL, CHOSEN))
    shown = improvement.in_the_inputs(evaluated, scores).set_index("task").loc["phenotype"]
    assert (shown["single"], shown["multi"]) == (inputs["single"], inputs["multi"])
    assert shown["difference"] == scores["difference"].dropna().item()
    others = evaluated["task"] != "phenotype"
    pd.testing.assert_frame_equal(improvement.in_the_inputs(evaluated, scores)[others], evaluated[others])
    compared = comparison.in_the_inputs(_frame(fakes.comparison(ALL, CHOSEN)), scores)
    mine = compared[compared["task"] == "phenotype"].set_index(["model", "part"])["value"]
    assert mine.to_dict() == {(model, "test"): value for model, value in inputs.items()}
    with style.applied():
        figure = phenotypes.draw(
            phenotypes.table(_frame(fakes.phenotypes(ALL)), scores, CATALOGUE), CATALOGUE
        )
    said = " ".join(text.get_text() for text in texts(figure))
    assert "0.033" in said
    assert not any(f"{own:.3f}" in said for own in scores["own_silhouette"])


def test_controls_are_marked_in_every_figure_by_their_title(tmp_path: Path) -> None:
    tasks = fakes.description(8)
    tasks["sepsis"]["control"] = "planted noise"
    write_json({"tasks": tasks}, tmp_path / "tasks.json")
    catalogue = read_catalogue(tmp_path / "tasks.json")
    assert catalogue.title("sepsis") == "Sepsis †"
    assert catalogue.title("anemia") == "Anemia"
    frame = improvement.table(_frame(fakes.evaluation(tasks, fakes.selection(tasks))), catalogue)
    with style.applied():
        shown = [text.get_text() for text in improvement.draw(frame, catalogue).texts]
    assert "Sepsis †" in shown
    assert "† control" in shown


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("reason", ["", "planted noise"])
def test_controls_are_marked_behind_every_figure_and_explained_on_it(
    name: str, reason: str, tmp_path: Path
) -> None:
    tasks = fakes.description(8) | fakes.of_class(2, "survival")
    controls = ["sepsis", "thoracic", "days_left", "phenotype", "survival_00"]
    for task in controls:
        tasks[task]["control"] = reason
    fakes.write_study(tmp_path, tasks, only=FIGURES[name].inputs)
    made = registry.drawn(name, tmp_path, Figures(calibration_tasks=["sepsis", "anemia"]))
    marks = {"task": "control"}
    if name == "attention":
        marks["companion"] = "companion_control"
    elif name == "tim":
        marks = {"task": "task_control", "companion": "companion_control"}
    usual = {tim.PERMUTED: "permuted labels"}
    for of, mark in marks.items():
        expected = [reason if task in controls else usual.get(task, "") for task in made.frame[of]]
        assert made.frame[mark].tolist() == expected
        assert not reason or reason in expected
    said = [text.get_text() for text in texts(made.figure)]
    assert said.count("† control") == bool(reason)
    assert any("†" in text for text in said) == bool(reason)
    assert problems(made.figure) == []


def test_calibration_explains_no_mark_of_a_task_that_it_does_not_draw(tmp_path: Path) -> None:
    tasks = fakes.description(41)
    tasks["sepsis"]["control"] = "planted noise"
    table = fakes.calibration(tasks, chosen=6)
    replaced = {"evaluation/calibration.parquet": table}
    fakes.write_study(tmp_path, tasks, replaced, only=FIGURES["calibration"].inputs)
    made = registry.drawn("calibration", tmp_path, Figures())
    assert "sepsis" in table.column("task").to_pylist()
    assert not any("†" in text.get_text() for text in texts(made.figure))


def test_improvement_marks_tasks_without_companions() -> None:
    table = _frame(fakes.evaluation(ALL, CHOSEN))
    alone = int((table["combination"] == table["task"]).sum())
    assert alone > 0
    with style.applied():
        figure = improvement.draw(improvement.table(table, CATALOGUE), CATALOGUE)
    bars = [line for line in figure.axes[0].get_lines() if line.get_marker() == "|"]
    assert sum(np.size(line.get_xdata()) for line in bars) == alone


# --- TIM ---


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50))
def test_tim_limit_is_round_and_robust(values: list[float]) -> None:
    found = tim.limit(np.array(values))
    top = max(float(np.quantile(np.abs(values), 0.98)), 0.01)
    assert top * (1 - 1e-9) <= found <= 2 * top
    assert float(f"{found:.2g}") == found


def test_tim_scales_are_per_metric() -> None:
    table = _frame(fakes.tim(ALL))
    table.loc[table["task"] == "days_left", "estimate"] *= 10
    frame = tim.table(table, CATALOGUE)
    limits = frame.groupby("metric")["colour_limit"].unique()
    assert all(len(found) == 1 for found in limits)
    assert limits["auroc"][0] == limits["macro_auroc"][0]
    assert limits["r2"][0] > 3 * limits["auroc"][0]


def test_tim_draws_each_pair_where_it_belongs() -> None:
    tasks = fakes.description(8)
    catalogue = _catalogue(tasks)
    table = _frame(fakes.tim(tasks))
    table = table[(table["task"] != "sepsis") | (table["companion"] != "anemia")]
    with style.applied():
        figure = tim.draw(tim.table(table, catalogue), catalogue)
    order = catalogue.order(tasks)
    permuted = table["companion"].str.contains("~"), table["task"].str.contains("~")
    for text in figure.axes[0].texts:
        x, y = (int(place) for place in text.get_position())
        if x < 8 and y < 8:
            row = table[(table["task"] == order[y]) & (table["companion"] == order[x])].iloc[0]
            value, bold = row["estimate"], bool(row["significant"])
        elif x == 8:
            value, bold = table["estimate"][permuted[0] & (table["task"] == order[y])].mean(), False
        else:
            value, bold = table["estimate"][permuted[1] & (table["companion"] == order[x])].mean(), False
        assert text.get_text() == f"{round(value, 3) + 0.0:+.3f}".replace("-", "−")
        assert (text.get_fontweight() == "bold") == bold
    assert len(figure.axes[0].texts) == 9 * 8 - 1
    assert sum(text.get_text() == "Permuted labels" for text in figure.texts) == 2


@pytest.mark.parametrize(("controls", "said"), [(True, "beyond permuted labels"), (False, "significant")])
def test_tim_says_what_a_dot_is_about(controls: bool, said: str) -> None:
    """Colours are estimates, dots are about what is left beyond permuted companions, where there are some."""
    measured = _frame(fakes.tim(ALL))
    frame = tim.table(measured if controls else measured[~measured["control"]], _catalogue(ALL))
    with style.applied():
        figure = tim.draw(frame, _catalogue(ALL))
    shown = [text.get_text() for text in figure.texts]
    assert f"{said} (false discovery rate controlled)" in shown


def test_tim_without_permuted_source_tasks_has_no_row_for_them() -> None:
    table = _frame(fakes.tim(fakes.description(5)))
    table = table[~table["task"].str.contains("~")]
    with style.applied():
        figure = tim.draw(tim.table(table, CATALOGUE), CATALOGUE)
    assert figure.axes[0].get_xlim() == (0, 6)
    assert figure.axes[0].get_ylim() == (5, 0)
    assert len(figure.axes[0].texts) == 5 * 4 + 5


def test_tim_colours_go_by_the_studys_own_tasks() -> None:
    table = _frame(fakes.tim(ALL))
    expected = tim.table(table, CATALOGUE).groupby("metric")["colour_limit"].first()
    table.loc[table["control"], "estimate"] *= 50
    assert tim.table(table, CATALOGUE).groupby("metric")["colour_limit"].first().equals(expected)


# --- comparison ---


def test_comparison_keeps_every_number() -> None:
    table = _frame(fakes.comparison(ALL, CHOSEN))
    choice = _frame(fakes.choice(ALL, CHOSEN))
    frame = comparison.table(table, choice, EVALUATED, CATALOGUE)
    keys = ["task", "model", "part"]
    blends = choice[choice["candidate"] == "blend"].rename(columns={"candidate": "model"})[table.columns]
    pd.testing.assert_frame_equal(
        frame[table.columns].sort_values(keys, ignore_index=True),
        pd.concat([table, blends]).sort_values(keys, ignore_index=True),
    )


def test_comparison_draws_references_of_the_study_s_own_in_looks_of_their_own() -> None:
    table = _frame(fakes.comparison(ALL, CHOSEN))
    own = table[table["model"] == "linear"].assign(model="support_model")
    choice = _frame(fakes.choice(ALL, CHOSEN))
    frame = comparison.table(pd.concat([table, own], ignore_index=True), choice, EVALUATED, CATALOGUE)
    assert set(frame["model"]) == {*style.MODELS, "support_model"}
    looks = style.looks(frame["model"])
    assert list(looks)[-1] == "support_model"
    assert len({look[1] for look in looks.values()}) == len(looks) == 6
    _, colour, marker = looks["support_model"]
    figure = comparison.draw(frame, CATALOGUE)
    lines = [line for ax in figure.axes for line in ax.get_lines() if line.get_color() == colour]
    shown = sum(len(np.asarray(line.get_xdata())) for line in lines if line.get_marker() in (marker, "<"))
    assert shown == len(own)
    assert "Support model" in {text.get_text() for text in figure.texts}


def test_comparison_has_a_band_behind_every_row_and_a_mark_for_every_verdict() -> None:
    """One band on one row of a department says something about that row that nobody meant."""
    choice = _frame(fakes.choice(ALL, CHOSEN))
    frame = comparison.table(_frame(fakes.comparison(ALL, CHOSEN)), choice, EVALUATED, CATALOGUE)
    with style.applied():
        figure = comparison.draw(frame, CATALOGUE)
    bands = sum(len(ax.patches) for ax in figure.axes)
    assert bands == len(frame[["task", "part"]].drop_duplicates())
    drawn: dict[str, int] = {}
    for line in (line for line in figure.findobj(Line2D) if line.axes is None):
        for verdict, look in verdicts.MARKS.items():
            if (line.get_marker(), line.get_color()) == (look["marker"], look["color"]):
                drawn[verdict] = drawn.get(verdict, 0) + len(np.asarray(line.get_xdata()))
    said = [*EVALUATED["verdict"], *EVALUATED["reference_verdict"]]
    # One more of each stands in the key.
    assert drawn == {verdict: said.count(verdict) + 1 for verdict in set(said)}


def test_comparison_marks_the_choice_of_each_task_once_a_part() -> None:
    choice = _frame(fakes.choice(ALL, CHOSEN))
    frame = comparison.table(_frame(fakes.comparison(ALL, CHOSEN)), choice, EVALUATED, CATALOGUE)
    marked = frame[frame["chosen"]]
    names = {"together": "multi", "alone": "single"}
    picked = choice[choice["chosen"] & (choice["candidate"] != "chosen")]
    places = zip(picked["task"], picked["candidate"].replace(names), picked["part"], strict=True)
    assert set(zip(marked["task"], marked["model"], marked["part"], strict=True)) == set(places)
    assert (marked.groupby(["task", "part"]).size() == 1).all()
    assert len(set(marked["model"])) > 1


# --- calibration ---


def test_calibration_shows_death_first_then_the_tasks_with_the_most_events() -> None:
    """A frequent complaint is easily calibrated; what is shown first is what weighs most."""
    # The made-up events become fewer from task to task.
    names = ["gout", "lupus", "sepsis", "anemia", "mortality_48h"]
    table = _frame(fakes.calibration({name: ALL[name] for name in names}, chosen=5))
    frame = calibration.table(table, CATALOGUE, [])
    assert list(dict.fromkeys(frame["task"])) == ["mortality_48h", "gout", "lupus", "sepsis"]
    assert set(frame["subgroup"]) == {"female", "male"}


def test_calibration_shows_no_control_where_there_is_another_task() -> None:
    tasks = {task.id: task for task in (CATALOGUE[name] for name in ALL)}
    catalogue = Catalogue(
        [replace(t, control="planted noise" if t.id == "anemia" else "") for t in tasks.values()]
    )
    table = _frame(fakes.calibration(ALL, chosen=5))
    assert "anemia" in set(calibration.table(table, CATALOGUE, [])["task"])
    assert "anemia" not in set(calibration.table(table, catalogue, [])["task"])


def test_calibration_lies_over_risk_and_has_its_words_off_the_data() -> None:
    frame = calibration.with_slopes(
        calibration.table(_frame(fakes.calibration(ALL)), CATALOGUE, []),
        _frame(fakes.calibration_slopes(ALL)),
    )
    with style.applied():
        figure = calibration.draw(frame, CATALOGUE)
    assert not [text for ax in figure.axes for text in ax.texts]
    for ax in figure.axes:
        assert ax.get_xlim() == ax.get_ylim()
    first = frame[(frame["task"] == frame["task"].iloc[0]) & (frame["model"] == "single")]
    drawn = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    assert [list(np.asarray(line.get_xdata())) for line in drawn] == [
        pytest.approx((100 * part["predicted"]).to_list()) for _, part in first.groupby("subgroup")
    ]


def test_calibration_shows_no_few_points_of_one_subgroup() -> None:
    """A quantile of a subgroup that may be shown, beside nine that may not, is no curve."""
    table = _frame(fakes.calibration(ALL))
    stray = (table["subgroup"] != "all") & ((table["quantile"] > 1) | (table["model"] == "multi"))
    assert set(calibration.table(table[~stray], CATALOGUE, [])["subgroup"]) == {"all"}


def test_calibration_shows_the_chosen_tasks_in_their_order() -> None:
    table = _frame(fakes.calibration(ALL, chosen=4))
    frame = calibration.table(table, CATALOGUE, ["sepsis", "nobody", "anemia"])
    assert list(dict.fromkeys(frame["task"])) == ["sepsis", "anemia"]


def test_calibration_without_subgroups_shows_everybody() -> None:
    table = _frame(fakes.calibration(ALL))
    slopes = _frame(fakes.calibration_slopes(ALL))
    frame = calibration.table(table[table["subgroup"] == "all"], CATALOGUE, [])
    frame = calibration.with_slopes(frame, slopes)
    assert set(frame["subgroup"]) == {"all"}
    with style.applied():
        figure = calibration.draw(frame, CATALOGUE)
    assert any(text.get_text() == "all samples" for text in figure.texts)


def test_calibration_says_slopes_before_and_after_of_both_networks() -> None:
    slopes = _frame(fakes.calibration_slopes(ALL))
    frame = calibration.with_slopes(calibration.table(_frame(fakes.calibration(ALL)), CATALOGUE, []), slopes)
    known = slopes.set_index(["task", "candidate", "state"])
    for task, model in {(t, m) for t, m in zip(frame["task"], frame["model"], strict=True)}:
        candidate = {"multi": "together", "single": "alone"}[model]
        mine = frame[(frame["task"] == task) & (frame["model"] == model)]
        for state in ("before", "after"):
            expected = known.loc[(task, candidate, state), "slope_low"]
            assert (mine[f"slope_low_{state}"] == expected).all()
    with style.applied():
        figure = calibration.draw(frame, CATALOGUE)
        said = {text.get_text() for text in figure.texts}
    one = frame.iloc[0]
    head = f"{one['slope_before']:.2f} ({one['slope_low_before']:.2f} to {one['slope_high_before']:.2f})"
    assert f"slope {head}" in said
    assert any(text.startswith("recalibrated ") for text in said)
    # A task that was selected alone: both models are the network alone.
    alone = calibration.with_slopes(frame[list(frame.columns[:8])], slopes[slopes["candidate"] == "alone"])
    assert np.isfinite(alone["slope_before"].to_numpy(float)).all()


# --- ROC ---


def test_roc_macro_average_is_scikit_learn_s() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 600)
    scores = np.eye(4)[y] + rng.gumbel(0, 1.5, (600, 4))
    scores = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    grid = np.linspace(0, 1, 201)
    rows = []
    for c in range(4):
        fpr, tpr, _ = roc_curve(y == c, scores[:, c])
        area = roc_auc_score(y == c, scores[:, c])
        for f, t in zip(grid, np.interp(grid, fpr, tpr), strict=True):
            rows.append(
                {"task": "t", "control": "", "model": "single", "class_name": f"c{c}"}
                | {"fpr": f, "tpr": t, "auroc": area}
            )
    frame = roc.table(pd.DataFrame(rows), _catalogue({}))
    macro = frame[frame["class_name"] == "macro"]
    wanted = roc_auc_score(y, scores, multi_class="ovr", average="macro")
    assert macro["auroc"].iloc[0] == pytest.approx(wanted, abs=1e-12)
    assert np.trapezoid(macro["tpr"], macro["fpr"]) == pytest.approx(wanted, abs=0.005)


def test_roc_classes_stand_in_the_order_of_their_task() -> None:
    """Grades have one, which the alphabet does not know."""
    grades = ["well", "intermediate", "poor"]
    rows = [
        {"task": "t", "control": "", "model": model, "class_name": name, "fpr": x, "tpr": x, "auroc": 0.5}
        for model in ("multi", "single")
        for name in grades
        for x in (0.0, 1.0)
    ]
    catalogue = _catalogue({})
    frame = roc.table(pd.DataFrame(rows), catalogue)
    assert list(dict.fromkeys(frame["class_name"])) == [*grades, "macro"]
    assert list(frame["model"].iloc[[0, -1]]) == ["single", "multi"]
    with style.applied():
        shown = [text.get_text() for text in roc.draw(frame, catalogue).texts]
    assert [text.lower() for text in shown if text.lower() in grades] == grades
    assert "Well" in shown


def test_roc_says_classes_in_words() -> None:
    tasks = fakes.of_class(1, "multiclass")
    names = ["enlarged_cardiomediastinum", "lung_opacity", "HER2+"]
    catalogue = _catalogue(tasks)
    with style.applied():
        figure = roc.draw(roc.table(_frame(fakes.roc(tasks, classes=names)), catalogue), catalogue)
    shown = {text.get_text() for text in texts(figure)}
    assert {"Enlarged cardiomediastinum", "Lung opacity", "HER2+"} <= shown
    assert not any("_" in text for text in shown)


# --- agreement ---


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(5, 4000), st.sampled_from([0.1, 1.0, 2.5]))
def test_the_view_holds_nearly_all_samples(seed: int, samples: int, step: float) -> None:
    rng = np.random.default_rng(seed)
    cells = np.floor(rng.normal(0, 12, (samples, 2))).astype(int)
    places, counts = np.unique(cells, axis=0, return_counts=True)
    rows = pd.DataFrame(
        {
            "task": "t",
            "model": "single",
            "observed_low": places[:, 0] * step,
            "observed_high": (places[:, 0] + 1) * step,
            "predicted_low": places[:, 1] * step,
            "predicted_high": (places[:, 1] + 1) * step,
            "n": counts,
        }
    )
    low, high = agreement.view(rows)
    inside = (cells >= low / step - 1e-6).all(axis=1) & (cells < high / step + 1e-6).all(axis=1)
    assert inside.mean() >= 0.985


def test_medians_are_those_of_the_samples() -> None:
    tasks = fakes.of_class(1, "regression")
    table = _frame(fakes.agreement(tasks))
    frame = agreement.table(table, _catalogue(tasks))
    assert frame["n"].min() >= 11
    for _, cells in frame.groupby(["model", "observed_low"]):
        samples = np.repeat((cells["predicted_low"] + cells["predicted_high"]) / 2, cells["n"])
        half = float((cells["predicted_high"] - cells["predicted_low"]).iloc[0]) / 2
        # Between the two middle samples may lie empty cells; elsewhere the median is within its cell.
        low, high = (
            np.quantile(samples, [0.5], method="lower")[0],
            np.quantile(samples, [0.5], method="higher")[0],
        )
        assert low - half - 1e-9 <= cells["median_predicted"].iloc[0] <= high + half + 1e-9


def test_predictions_that_cannot_be_are_drawn_with_a_word() -> None:
    tasks = fakes.of_class(1, "regression")
    catalogue = _catalogue(tasks)
    table = _frame(fakes.agreement(tasks))
    scores = _frame(fakes.evaluation(tasks, fakes.selection(tasks))).set_index("task")
    below = table[table["predicted_low"] < 0].groupby("model")["n"].sum()
    assert len(below) == 2
    signed = table.assign(observed_low=table["observed_low"] - 10, observed_high=table["observed_high"] - 10)
    for frame, said in ((table, True), (table[table["predicted_low"] >= 0], False), (signed, False)):
        with style.applied():
            figure = agreement.draw(agreement.table(frame, catalogue), catalogue, scores)
        shown = {text.get_text() for text in figure.texts}
        assert ("below 0: none observed" in shown) == said
        assert ({f"Single-task: {below['single']:,}", f"Multitask: {below['multi']:,}"} <= shown) == said
        assert any(ax.patches for ax in figure.axes) == said


# --- survival ---


def test_no_words_lie_over_survival_curves() -> None:
    tasks = fakes.of_class(2, "survival")
    catalogue = _catalogue(tasks)
    curves, auroc, scores = (
        _frame(table)
        for table in (fakes.kaplan_meier(tasks), fakes.dynamic_auroc(tasks), fakes.survival(tasks))
    )
    with style.applied():
        figure = survival.draw(survival.table(curves, auroc, scores, catalogue), catalogue)
    assert not [text.get_text() for ax in figure.axes for text in ax.texts]
    shown = [text.get_text() for text in figure.texts]
    # Two tasks, two models, two groups with that many.
    assert shown.count("25/60") == 8
    assert shown.count("<11/60") == 4


# --- phenotypes ---


@given(st.integers(0, 2**32 - 1), st.integers(1, 15))
def test_numbers_of_clusters_stand_apart(seed: int, n: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 1, (n, 2))
    moved = phenotypes._apart(points, 0.04)
    gaps = np.hypot(*(moved[:, None] - moved[None]).transpose(2, 0, 1))[np.triu_indices(n, 1)]
    assert (gaps >= 0.04 * 0.99).all()
    still = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)) + np.eye(n)
    assert np.array_equal(moved, points) or still.min() < 0.04


# --- attention ---


def test_attention_marks_the_start_only_where_every_recipe_starts_alike() -> None:
    """e / (e + 1) of two tasks; of three it is what `model.attention.own_weight` says."""
    marks = {}
    for size in (2, 3):
        names = list(CATALOGUE.order(_frame(CHOSEN)["task"]))[:size]
        rows = [
            {"task": names[0], "control": "", "companion": name, "companion_control": "", "weight": 1 / size}
            for name in names
        ]
        frame = attention.table(pd.DataFrame(rows), CATALOGUE)
        with style.applied():
            lines = attention.draw(frame, CATALOGUE).axes[0].get_lines()
        places = np.array([np.asarray(line.get_xdata(), dtype=float)[0] for line in lines])
        marks[size] = int(np.isclose(places, np.e / (np.e + size - 1)).sum())
    assert marks == {2: 1, 3: 0}


def test_attention_is_complete_and_ordered() -> None:
    frame = attention.table(_frame(fakes.attention(CHOSEN)), CATALOGUE)
    assert np.allclose(frame.groupby("task")["weight"].sum(), 1)
    assert np.allclose(frame.groupby("task")["uninformed"].sum(), 1)
    first = frame.groupby("task", sort=False).first()
    assert first["own"].all()
    sizes = frame.groupby("task", sort=False).size()
    # The softmax of the identity: e / (e + n - 1) for the task itself.
    assert np.allclose(first["uninformed"], np.e / (np.e + sizes - 1))
    for _, part in frame.groupby("task"):
        assert part["weight"].iloc[1:].is_monotonic_decreasing


# --- trajectories ---


def test_an_interval_that_goes_on_beyond_its_panel_has_a_tip_there() -> None:
    tasks = fakes.description(8)
    chosen = fakes.selection(tasks)
    luck = _frame(fakes.optimism(chosen))
    search = _frame(fakes.trajectory(tasks, chosen))
    tips = {}
    for half in (0.0, 10.0):
        wide = luck.assign(low=luck["corrected"] - half, high=luck["corrected"] + half)
        cost = _frame(fakes.search_report(tasks, fakes.trajectory(tasks, chosen)))
        frame = trajectories.table(search, _frame(chosen), wide, cost, _catalogue(tasks))
        with style.applied():
            lines = trajectories.draw(frame, _catalogue(tasks)).axes[0].get_lines()
        tips[half] = [np.size(line.get_xdata()) for line in lines if line.get_marker() in ("^", "v")]
    assert tips == {0.0: [0, 0], 10.0: [8, 8]}


def test_trajectories_call_bbc_cv_what_it_is() -> None:
    """It sees the patients' luck and not that of seeds: "corrected for the search" would be both."""
    tasks = fakes.description(8)
    chosen = fakes.selection(tasks)
    catalogue = _catalogue(tasks)
    search = fakes.trajectory(tasks, chosen)
    cost = _frame(fakes.search_report(tasks, search))
    frame = trajectories.table(
        _frame(search), _frame(chosen), _frame(fakes.optimism(chosen)), cost, catalogue
    )
    with style.applied():
        shown = [text.get_text() for text in trajectories.draw(frame, catalogue).texts]
    assert "less the patients' luck (BBC-CV), 95 % interval" in shown
    # And each panel says what it cost and why it ended.
    assert shown.count("250 fits, 3 saved; within the error") == len(tasks)
    assert (frame["fits"] == 250).all()
    assert not any("corrected for the search" in text for text in shown)


def test_trajectories_mark_the_selection_and_the_baseline() -> None:
    tasks = fakes.description(8)
    chosen = fakes.selection(tasks)
    luck = _frame(fakes.optimism(chosen))
    search = fakes.trajectory(tasks, chosen)
    cost = _frame(fakes.search_report(tasks, search))
    frame = trajectories.table(_frame(search), _frame(chosen), luck, cost, _catalogue(tasks))
    picked = frame[frame["selected"]].set_index("task")
    wanted = _frame(chosen).set_index("task")
    assert picked.index.is_unique
    assert picked["combination"].to_dict() == wanted["combination"].to_dict()
    assert picked["score"].to_dict() == pytest.approx(wanted["score"].to_dict())
    # The luck that is taken off is that of the score that was selected; what stands there has equal standing.
    taken = luck.set_index("task")["corrected"] - luck.set_index("task")["selected"]
    assert (picked["corrected"] - picked["compared"]).to_dict() == pytest.approx(taken.to_dict())
    assert frame.loc[~frame["selected"], "corrected"].isna().all()
    assert (frame.loc[frame["size"] == 1, "compared"] == frame.loc[frame["size"] == 1, "single_score"]).all()
    # The selected one is on the line: the search ranked it first of its size, though it may not look best.
    assert picked["first"].all()
    firsts = frame[frame["first"]].groupby(["task", "size"])
    assert (firsts.size() == 1).all()
    every = frame.groupby(["task", "size"])
    assert (firsts["score"].max() == every["score"].max()).all()
    assert (every["compared"].max() > firsts["compared"].max()).any()
    assert frame.loc[frame["left"], ["score", "compared"]].isna().all(axis=None)
    sizes = [len(contracts.combination_tasks(key)) for key in frame["combination"]]
    assert list(frame["size"]) == sizes
