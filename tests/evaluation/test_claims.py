"""What may be said of a difference, and of all of them in a paragraph."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from m3h_pipeline.evaluation.claims import Compared, above_chance, claims, detectable
from m3h_pipeline.evaluation.headline import headline
from m3h_pipeline.inference.intervals import UNDEFINED, Interval, paired_interval
from tests.benchmarks import replayed
from tests.benchmarks.claims import null_study

SURE = paired_interval(0.8, [(1e-4, 50.0)])
GUESS = paired_interval(0.55, [(0.03**2, 50.0)])
GAIN = paired_interval(0.05, [(1e-4, 50.0)])
LOSS = paired_interval(-0.05, [(1e-4, 50.0)])
OPEN = paired_interval(0.01, [(1e-4, 50.0)])


def verdict(
    difference: Interval,
    one: Interval = SURE,
    other: Interval = SURE,
    metric: str = "auroc",
    rate: float = 0.05,
) -> str:
    return claims([Compared(difference, one, other, metric)], rate)[0].verdict


def test_a_gain_takes_q_an_interval_and_a_score_above_chance() -> None:
    assert verdict(GAIN) == "better"
    assert verdict(GAIN, one=GUESS) == "not significant"
    assert verdict(GAIN, other=GUESS) == "better"
    assert verdict(OPEN) == "not significant"
    # An interval that holds 0 is no gain, whatever the rate.
    assert verdict(OPEN, rate=0.9) == "not significant"
    assert verdict(GAIN, rate=1e-9) == "not significant"


def test_nothing_is_claimed_where_seeds_are_not_counted() -> None:
    sure = [Compared(GAIN, SURE, SURE, "auroc", seeds=False), Compared(LOSS, SURE, SURE, "auroc")]
    one, other = claims(sure, 0.05)
    assert one.verdict == "no comparison"
    assert np.isnan([one.p, one.q, one.detectable]).all()
    assert other.q == other.p  # and it makes nobody else's q smaller


def test_a_loss_takes_the_same_the_other_way_round() -> None:
    assert verdict(LOSS) == "worse"
    assert verdict(LOSS, one=GUESS) == "worse"
    assert verdict(LOSS, other=GUESS) == "not significant"


@pytest.mark.parametrize(("metric", "low", "above"), [
    ("auroc", 0.51, True), ("auroc", 0.5, False), ("macro_auroc", 0.49, False), ("concordance", 0.49, False),
    ("r2", 0.01, True), ("r2", -0.01, False), ("r2", 0.49, True), ("own.metric", -5.0, True),
])  # fmt: skip
def test_chance_is_the_metric_s(metric: str, low: float, above: bool) -> None:
    assert above_chance(replace(SURE, low=low), metric) == above
    assert not above_chance(UNDEFINED, "auroc")


def test_what_was_not_tested_takes_no_part_in_the_adjustment() -> None:
    """Four planted gains among 13 tasks of which nine learn alone: q 0.057 with them, below 0.05 without."""
    gains = [Compared(replace(GAIN, p=p), SURE, SURE, "auroc") for p in (0.001, 0.006, 0.012, 0.0175)]
    alone = [Compared(replace(OPEN, estimate=0.0, p=1.0), SURE, SURE, "auroc", tested=False)] * 9
    phenotypes = [Compared(replace(GAIN, p=1.0), SURE, SURE, "silhouette")]
    nothing = [Compared(UNDEFINED, SURE, SURE, "auroc")]
    found = claims([*gains, *alone, *phenotypes, *nothing], 0.05)
    assert [one.verdict for one in found[:4]] == ["better"] * 4
    assert found[3].q == pytest.approx(0.0175)
    assert [one.verdict for one in found[4:]] == ["not tested"] * 10 + ["no comparison"]
    assert np.isnan([one.q for one in found[4:]]).all()
    counted = claims([*gains, *(replace(one, tested=True) for one in alone)], 0.05)
    assert counted[3].q > 0.05


@given(st.floats(0.001, 0.1), st.floats(3, 500))
def test_the_detectable_difference_is_found_with_its_power(error: float, freedom: float) -> None:
    """The referee is the noncentral t distribution: the formula's power is 80 % but for the spread of t."""
    interval = paired_interval(0.0, [(error**2, freedom)])
    shift = detectable(interval) / error
    limit = stats.t.ppf(0.975, freedom)
    power = stats.nct.sf(limit, freedom, shift) + stats.nct.cdf(-limit, freedom, shift)
    assert 0.75 < power < 0.82
    assert detectable(interval, power=0.9) > detectable(interval)


def row(title: str = "Sepsis", **changes: Any) -> dict[str, Any]:
    usual = {
        "title": title,
        "metric": "auroc",
        "control": "",
        "verdict": "not significant",
        "difference": 0.004,
        "detectable": 0.02,
        "reference_verdict": "not significant",
        "versus_reference": 0.001,
    }
    return usual | changes


def test_the_headline_counts_what_was_tested_and_names_what_is_claimed() -> None:
    rows = [
        row("Sepsis", verdict="better", difference=0.02, reference_verdict="worse", versus_reference=-0.03),
        row("Anemia", verdict="better", difference=0.03),
        row("Stroke", verdict="worse", difference=-0.01),
        row("Asthma", detectable=0.0123),
        row("Lupus", detectable=0.0456),
        row("Death", verdict="not tested"),
        row("Days", verdict="no comparison", reference_verdict="no comparison"),
        row("Types", metric="silhouette", verdict="not tested", reference_verdict="not tested"),
    ]
    text = headline(rows)
    assert "better than alone for 2 of 5 tested tasks (Anemia +0.030, Sepsis +0.020)" in text
    assert "worse for 1 (Stroke -0.010)" in text
    assert (
        "For 2 the data do not settle it: with a power of 80 % they show differences of 0.012 to 0.046"
        in text
    )
    assert "1 learns alone." in text
    assert "No comparison is defined for 1." in text
    assert (
        "Against the strongest reference the network is better for 0 of 6 tasks, worse for 1 (Sepsis -0.030)"
        in text
    )
    assert "Phenotypes are described, not tested" in text
    assert "Types" not in text


def test_the_headline_says_what_controls_show() -> None:
    silent = headline([row("Gout", control="planted noise"), row()])
    assert "Of Gout (planted noise), where nothing is to be found, nothing is claimed." in silent
    loud = headline([row("Gout", control="planted noise", verdict="better", difference=0.1), row()])
    assert (
        "Nothing is to be found for Gout (planted noise): what is claimed of it is a false discovery." in loud
    )
    # No count has them, as in the report: 0 of 1, however the control came out.
    for text in (silent, loud):
        assert "for 0 of 1 tested tasks, worse for none" in text
        assert "for 0 of 1 tasks, worse for none" in text
    assert headline([row("Gout", control="planted noise")]).startswith("Of Gout")
    assert "control" not in headline([row()])
    for verdict in ("better", "worse"):
        beside = headline([row("Gout", control="planted noise", reference_verdict=verdict), row()])
        assert "Gout (planted noise): what is claimed of it is a false discovery" in beside


def test_a_headline_of_nothing_tested_says_so() -> None:
    text = headline([row(verdict="not tested", reference_verdict="not tested")])
    assert text == "Nothing was tested: no task learns with others. 1 learns alone."


@given(st.text(max_size=30))
def test_titles_from_elsewhere_do_no_harm(title: str) -> None:
    text = headline([row(title, verdict="better", difference=0.02)])
    assert len(text.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f\u202e]", text)


def test_choosing_by_the_test_part_gains_where_nothing_is_and_choosing_out_of_fold_does_not() -> None:
    """A few of the studies that docs/claims.md tells of, from predictions to verdicts."""
    mean = {}
    for way in ("ours", "test"):
        found = np.array([null_study(number, way, n=400, draws=40) for number in range(12)])
        mean[way] = found[:, 3].sum() / found[:, 2].sum()
    assert abs(mean["ours"]) < 0.002
    assert mean["test"] > 0.005


def test_the_best_by_its_test_score_improves_all_and_the_rules_find_what_is_there() -> None:
    by_test, ours = replayed.study(0, 9, 0.03)
    assert by_test.claimed >= 24
    assert by_test.true < 0.5 * by_test.reported
    assert 5 <= ours.claimed <= 9
    assert ours.right == ours.claimed
    assert ours.true == pytest.approx(ours.reported, abs=0.006)
