"""Rates over the whole range and confusion: against scikit-learn, and that they tell of nobody."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from m3h_pipeline.evaluation.performance.operating import points_of, shown_confusion
from m3h_pipeline.evaluation.performance.told import Counted


def cohort(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events, risks with ties, and patients of one to three samples."""
    rng = np.random.default_rng(seed)
    risk = np.round(rng.beta(1, 4, n), 3)
    return rng.random(n) < risk, risk, np.sort(rng.integers(0, n, n))


def test_points_lie_on_the_curves_of_scikit_learn() -> None:
    event, risk, who = cohort(1, 6000)
    rows = list(points_of(event, risk, np.arange(1, 1000) / 1000, who, []))
    assert len(rows) > 30
    fpr, tpr, at = roc_curve(event, risk, drop_intermediate=False)
    precision, recall, _ = precision_recall_curve(event, risk)
    for row in rows:
        # Whoever is at or above the threshold: those of the next risk that there is.
        place = int(np.flatnonzero(at >= row["at"] - 1e-9)[-1])
        assert row["sensitivity"] == pytest.approx(tpr[place])
        assert 1 - row["specificity"] == pytest.approx(fpr[place])
        if row["ppv"] is not None:
            assert np.abs(recall - row["sensitivity"]).min() < 1e-9
            assert np.abs(precision - row["ppv"]).min() < 1e-9
        tn, fp, _, tp = confusion_matrix(event, risk >= row["at"]).ravel()
        assert row["alerts_per_100"] == pytest.approx(100 * (tp + fp) / len(risk))
        odds = row["at"] / (1 - row["at"])
        assert row["net_benefit"] == pytest.approx((tp - fp * odds) / len(risk))
        assert row["npv"] is None or row["npv"] == pytest.approx(tn / (len(risk) - tp - fp))


@given(seed=st.integers(0, 10_000), turned=st.booleans())
@settings(max_examples=40, deadline=None)
def test_points_and_what_is_known_differ_by_no_few_patients(seed: int, turned: bool) -> None:
    event, risk, who = cohort(seed, 300)
    # Sets that are told elsewhere: of the risk, or of a map of it that turns its order.
    counted = Counted([event, ~event], who)
    sets = [(risk < t) if turned else (risk >= t) for t in (0.1, 0.25)]
    known = [members for members in sets if counted.may_tell(members)]
    rows = list(points_of(event, risk, np.arange(1, 100) / 100, who, known))
    told = [risk >= row["at"] for row in rows]
    elsewhere = [~members if turned else members for members in known]
    for one in told:
        for other in (*told, *elsewhere, np.ones(300, bool), np.zeros(300, bool)):
            for has in (True, False):
                assert not 0 < len(np.unique(who[(one ^ other) & (event == has)])) < 11
    shares = [row["alerts_per_100"] for row in rows]
    assert all(a < b for a, b in pairwise(shares))


def test_sets_of_another_order_leave_nothing_to_tell() -> None:
    event, risk, who = cohort(2, 500)
    other = np.arange(500) % 2 == 0
    assert list(points_of(event, risk, np.array([0.2]), who, [other])) == []


def test_confusion_is_that_of_scikit_learn_and_hides_few_with_their_complements() -> None:
    rng = np.random.default_rng(5)
    p = rng.dirichlet([2, 1, 1], 2000)
    y = np.array([rng.choice(3, p=row) for row in p]).astype(np.float64)
    said = p.argmax(axis=1)
    whole = confusion_matrix(y, said)
    assert whole.min() > 10
    assert shown_confusion(y, p, np.arange(2000)) == whole.tolist()
    # Four of class 0 are taken for class 2.
    rows = np.flatnonzero((y == 0) & (said == 2))[4:]
    y, p = np.delete(y, rows), np.delete(p, rows, axis=0)
    found = shown_confusion(y, p, np.arange(len(y)))
    matrix = confusion_matrix(y, p.argmax(axis=1))
    shown = [[n is not None for n in row] for row in found]
    assert not shown[0][2]
    assert all(found[a][b] in (None, matrix[a][b]) for a in range(3) for b in range(3))
    # Totals of classes are known: of a class with a hidden number two are.
    assert all(row.count(False) != 1 for row in shown)
    assert sum(map(sum, shown)) >= 3


def test_samples_of_few_patients_are_few() -> None:
    y = np.repeat([0.0, 1.0], 60)
    p = np.eye(2)[y.astype(int)] * 0.8 + 0.1
    p[:20] = [0.1, 0.9]
    assert shown_confusion(y, p, np.arange(120))[0] == [40, 20]
    assert shown_confusion(y, p, np.arange(120) // 4)[0] == [None, None]


@pytest.mark.parametrize("few", [True, False])
def test_hidden_cells_are_not_determined_by_those_shown(few: bool) -> None:
    rng = np.random.default_rng(8)
    p = rng.dirichlet([3, 1, 0.4, 0.3], 300 if few else 20_000)
    y = np.array([rng.choice(4, p=row) for row in p]).astype(np.float64)
    found = shown_confusion(y, p, np.arange(len(y)))
    dark = [(a, b) for a, b in np.ndindex(4, 4) if found[a][b] is None]
    assert bool(dark) == few
    # Rows' totals are known: each hidden cell has another in its row.
    for one, other in combinations(range(4), 2):
        assert len([c for c in dark if c[0] in (one, other)]) != 1
