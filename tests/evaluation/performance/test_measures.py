"""Numbers against scikit-learn with sample weights, statsmodels' formulas, and brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    mean_absolute_error,
    mean_squared_error,
    precision_recall_fscore_support,
    roc_auc_score,
)

from m3h_pipeline.evaluation.performance.classes import (
    RATES,
    Point,
    binary,
    multiclass,
    shown_rates,
    treat_all,
)
from m3h_pipeline.evaluation.performance.horizons import (
    horizons,
    observed_survival,
    shown_horizons,
    survival,
    weighted_slope,
)
from m3h_pipeline.evaluation.performance.values import SIZES, regression, sizes
from m3h_pipeline.evaluation.performance.weighted import Key, Weighted, average_precision
from m3h_pipeline.evaluation.survival import Outcome, kaplan_meier
from m3h_pipeline.inference.bootstrap import patient_counts
from m3h_pipeline.inference.censored import Curve


def weighted_of(unit: np.ndarray, draws: int = 4, seed: int = 1) -> Weighted:
    """Patients drawn as in the bootstrap, after everybody once."""
    counts = patient_counts(int(unit.max()) + 1, draws, seed).T
    return Weighted(unit, np.concatenate([np.ones((len(counts), 1), np.float32), counts], axis=1))


def cohort(seed: int = 0, n: int = 300) -> tuple[np.ndarray, np.ndarray, Weighted]:
    """Labels, coarse probabilities with ties, and patients with one to three samples."""
    rng = np.random.default_rng(seed)
    unit = np.unique(np.sort(rng.integers(0, n // 2, n)), return_inverse=True)[1]
    p = np.round(rng.beta(1, 3, n), 2).clip(0.01, 0.99)
    return (rng.random(n) < p).astype(np.float64), p, weighted_of(unit)


@given(seed=st.integers(0, 10_000), grid=st.sampled_from([1, 2, 3]))
@settings(max_examples=40, deadline=None)
def test_average_precision_is_that_of_scikit_learn_under_every_draw(seed: int, grid: int) -> None:
    y, p, weighted = cohort(seed, 40)
    p = np.round(p, grid)
    if not y.any():
        y[0] = 1
    found = average_precision(y == 1, p, weighted)
    for d, value in enumerate(found):
        w = weighted.weights[weighted.unit, d]
        if w @ y == 0:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(average_precision_score(y, p, sample_weight=w), abs=1e-12)


def test_rates_and_net_benefit_are_those_of_the_confusion_matrix_under_every_draw() -> None:
    y, p, weighted = cohort()
    points = [Point("risk", 0.2), Point("top 10 %", 0.46), Point("risk", 0.05)]
    found, everybody = binary(y, p, weighted, points), treat_all(y, weighted, points)
    for d in range(weighted.weights.shape[1]):
        w = weighted.weights[weighted.unit, d]
        assert found[Key("brier")][d] == pytest.approx(brier_score_loss(y, p, sample_weight=w))
        rate = np.average(y, weights=w)
        scaled = 1 - brier_score_loss(y, p, sample_weight=w) / np.average((y - rate) ** 2, weights=w)
        assert found[Key("scaled_brier")][d] == pytest.approx(scaled)
        for point in points:
            tn, fp, fn, tp = confusion_matrix(y, p >= point.at, sample_weight=w).ravel()
            n, odds = tn + fp + fn + tp, point.at / (1 - point.at)
            expected = {
                "sensitivity": tp / (tp + fn),
                "specificity": tn / (tn + fp),
                "ppv": tp / (tp + fp),
                "npv": tn / (tn + fn),
                "alerts_per_100": 100 * (tp + fp) / n,
                "net_benefit": tp / n - fp / n * odds,
            }
            for name, value in expected.items():
                assert found[Key(name, "", *point)][d] == pytest.approx(value, abs=1e-12)
            assert everybody[Key("net_benefit", "", *point)][d] == pytest.approx(rate - (1 - rate) * odds)


def test_a_calibrated_model_is_worth_more_than_treating_all_or_none_and_a_timid_one_less() -> None:
    rng = np.random.default_rng(3)
    p = rng.beta(0.8, 6, 60_000)
    y = (rng.random(len(p)) < p).astype(np.float64)
    weighted = weighted_of(np.arange(len(p)), draws=1)
    points = [Point("risk", t) for t in (0.05, 0.1, 0.2)]
    right, half = (binary(y, q, weighted, points) for q in (p, p / 2))
    for point in points:
        key = Key("net_benefit", "", *point)
        assert right[key][0] > max(0, treat_all(y, weighted, points)[key][0], half[key][0])


def test_multiclass_numbers_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    p = rng.dirichlet([2, 1, 0.5], 400)
    y = np.array([rng.choice(3, p=row) for row in p]).astype(np.float64)
    weighted = weighted_of(np.arange(400) // 2)
    names = ["a", "b", "c"]
    found = multiclass(y, p, weighted, names, ["accuracy", "classes"])
    for d in range(weighted.weights.shape[1]):
        w = weighted.weights[weighted.unit, d]
        precision, recall, _, _ = precision_recall_fscore_support(y, p.argmax(1), sample_weight=w)
        assert found[Key("accuracy")][d] == pytest.approx(np.average(y == p.argmax(1), weights=w))
        error = ((p - np.eye(3)[y.astype(int)]) ** 2).sum(1)
        assert found[Key("brier")][d] == pytest.approx(np.average(error, weights=w))
        for c, name in enumerate(names):
            assert found[Key("ppv", name)][d] == pytest.approx(precision[c])
            assert found[Key("sensitivity", name)][d] == pytest.approx(recall[c])
            expected = average_precision_score(y == c, p[:, c], sample_weight=w)
            assert found[Key("auprc", name)][d] == pytest.approx(expected)
            assert found[Key("auroc", name)][d] == pytest.approx(
                roc_auc_score(y == c, p[:, c], sample_weight=w)
            )
        assert found[Key("sensitivity", "macro")][d] == pytest.approx(recall.mean())
        assert found[Key("ppv", "macro")][d] == pytest.approx(precision.mean())


def test_rates_by_class_are_hidden_where_few_were_taken_for_another() -> None:
    y = np.repeat([0.0, 1.0, 2.0], 50)
    p = np.eye(3)[y.astype(int)] * 0.8 + 0.1
    who = np.arange(150)
    assert shown_rates(y, p, who) == ["accuracy", "classes"]
    p[:3] = [0.1, 0.8, 0.1]
    assert shown_rates(y, p, who) == []
    p[:12] = [0.1, 0.8, 0.1]
    assert shown_rates(y, p, who) == ["accuracy", "classes"]
    # Twelve samples, but of six patients.
    assert shown_rates(y, p, who // 2) == []


def test_errors_of_values_overall_and_by_size() -> None:
    rng = np.random.default_rng(6)
    y, training = rng.gamma(2, 3, 300), rng.gamma(2, 3, 500)
    value, weighted = y + rng.normal(size=300) * y / 4, weighted_of(np.arange(300) // 2)
    size = sizes(y, training, weighted.unit)
    assert size is not None
    found = regression(y, value, weighted, size)
    edges = [-np.inf, *np.quantile(training, [0.25, 0.5, 0.75]), np.inf]
    for d in range(weighted.weights.shape[1]):
        w = weighted.weights[weighted.unit, d]
        assert found[Key("mae")][d] == pytest.approx(mean_absolute_error(y, value, sample_weight=w))
        assert found[Key("rmse")][d] == pytest.approx(np.sqrt(mean_squared_error(y, value, sample_weight=w)))
        for name, low, high in zip(SIZES, edges, edges[1:], strict=False):
            rows = (y >= low) & (y < high)
            expected = mean_absolute_error(y[rows], value[rows], sample_weight=w[rows])
            assert found[Key("mae", name)][d] == pytest.approx(expected)
    assert found[Key("mae", SIZES[3])][0] > 2 * found[Key("mae", SIZES[0])][0]
    # Of a fourth with few patients, the others' errors would tell.
    assert sizes(np.append(np.full(40, edges[1] / 2), edges[3] + 1), training, np.arange(41)) is None


def times(seed: int = 2, n: int = 400) -> tuple[Outcome, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    hazard, censored = rng.exponential(np.exp(-x)), rng.exponential(2.0, n)
    # Coarse: many at one time.
    return Outcome(np.ceil(20 * np.minimum(hazard, censored)) / 20, hazard <= censored), x


def test_observed_survival_is_the_kaplan_meier_curve_of_the_drawn_patients() -> None:
    outcome, _ = times()
    unit = np.arange(400) // 2
    weighted, at = weighted_of(unit), np.array([0.1, 0.5, 1.0])
    found = observed_survival(outcome, at, weighted)
    for d in range(weighted.weights.shape[1]):
        rows = np.repeat(np.arange(400), weighted.weights[unit, d].astype(int))
        drawn = outcome.take(rows)
        assert found[:, d] == pytest.approx(Curve.of(drawn.time, drawn.event).at(at))


def test_slope_is_that_of_a_weighted_logistic_regression() -> None:
    outcome, x = times()
    risk, had = 1 / (1 + np.exp(-(2 * x - 1))), outcome.event & (outcome.time <= 0.5)
    seen = np.where(had | (outcome.time > 0.5), 1 + outcome.time, 0.0)
    weighted = weighted_of(np.arange(400) // 2)
    found = weighted_slope(had, risk, seen, weighted)
    for d, value in enumerate(found):
        w = weighted.weights[weighted.unit, d] * seen
        model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
        model.fit((2 * x - 1)[:, None], had, sample_weight=w)
        assert value == pytest.approx(model.coef_[0, 0], rel=1e-4)
    assert np.isnan(weighted_slope(np.ones(400, bool), risk, seen, weighted)).all()
    # Of a horizon the weight is 1 over the chance of not having been censored.
    censoring = Curve.of(outcome.time, outcome.event, censoring=True)
    free = outcome.time > 0.5
    chance = np.where(had, censoring.at(np.minimum(outcome.time, 0.5)), censoring.at(np.array([0.5])))
    seen = np.where(had | free, 1 / chance, 0.0)
    key = Key("slope", "", "horizon", 0.5)
    one = survival(censoring, outcome, risk[:, None], np.array([0.5]), weighted)[key]
    assert one == pytest.approx(weighted_slope(had, risk, seen, weighted), rel=1e-9)


def test_right_risks_have_ratio_and_slope_1_under_censoring_and_extreme_ones_a_lower_slope() -> None:
    outcome, x = times(7, 40_000)
    at = np.array([0.25, 0.75])
    risk = np.clip(1 - np.exp(-np.exp(x)[:, None] * at), 1e-6, 1 - 1e-6)
    censoring = Curve.of(outcome.time, outcome.event, censoring=True)
    weighted = weighted_of(np.arange(len(x)), draws=1)
    odds = np.log(risk / (1 - risk))
    for factor in (1.0, 2.0):
        said = 1 / (1 + np.exp(-factor * odds))
        found = survival(censoring, outcome, said, at, weighted)
        for h in at.tolist():
            # Within a step of time, a twentieth, events count before those who are censored.
            slope = found[Key("slope", "", "horizon", h)][0]
            assert slope * factor == pytest.approx(1, abs=0.08)
            if factor == 1:
                ratio = found[Key("observed_to_expected", "", "horizon", h)][0]
                assert ratio == pytest.approx(1, abs=0.12)


def test_horizons_are_those_of_the_study_or_of_the_events_on_the_grid() -> None:
    training, _ = times()
    grid = np.arange(1, 21) / 10
    usable = list(range(15))
    found = horizons([], grid, usable, training)
    wanted = np.quantile(training.time[training.event], [0.25, 0.5, 0.75])
    assert grid[found] == pytest.approx(wanted, abs=0.051)
    # The nearest time within the follow-up, once.
    assert horizons([], grid, usable[9:], training) == [9]
    assert horizons([0.72, 0.68, 99.0], grid, usable, training) == [6]
    assert horizons([], grid, [], training) == []


def test_horizons_between_which_few_have_the_event_are_not_told() -> None:
    outcome, x = times(4, 300)
    at, who = np.arange(1, 31) / 20, np.arange(300)

    def few(members: np.ndarray) -> bool:
        return 0 < int(members.sum()) < 11

    for risks in ([], [x]):
        kept = at[shown_horizons(at, outcome, risks, who)]
        assert 2 < len(kept) < len(at)
        for first, last in zip([0.0, *kept], kept, strict=False):
            assert not few(outcome.event & (outcome.time > first) & (outcome.time <= last))
    # Nor together with the last times of the curves of thirds of the risk that are told.
    place = np.searchsorted(np.quantile(x, [1 / 3, 2 / 3]), x)
    rows: list[dict[str, Any]] = kaplan_meier(outcome, x, who)
    for h in kept:
        beyond = np.zeros(300, dtype=bool)
        for g, name in enumerate(("low risk", "medium risk", "high risk")):
            told = max(row["time"] for row in rows if row["group"] == name and row["time"] <= h)
            beyond |= (place == g) & outcome.event & (outcome.time > told) & (outcome.time <= h)
        assert not few(beyond)


def test_names_of_rates_are_those_of_the_table() -> None:
    assert RATES == ("sensitivity", "specificity", "ppv", "npv", "alerts_per_100")
