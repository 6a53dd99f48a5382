"""The planted structure: what the factors determine, how they show, and that the truth says so."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge

from m3h_pipeline.cohort.synthetic.planted import (
    PHENOTYPES,
    THORACIC,
    FeatureModel,
    Outcomes,
    People,
    draw_outcomes,
    draw_people,
)
from m3h_pipeline.cohort.synthetic.structure import MORTALITY, STAY, THORACIC_TASK, Structure, structure_of
from m3h_pipeline.config import SyntheticSource
from m3h_pipeline.config.load import load_study

ROOT = Path(__file__).resolve().parents[3]
FloatArray = npt.NDArray[np.float64]
DEFAULT, ALL = structure_of("default", 1.0), structure_of("all", 1.0)
WIDTHS = SyntheticSource().widths


def drawn(structure: Structure, samples: int, seed: int) -> tuple[People, Outcomes]:
    people = draw_people(samples, 1.5, np.random.default_rng([seed, 1]))
    return people, draw_outcomes(structure, people, np.random.default_rng([seed, 2]))


@pytest.fixture(scope="module", params=[DEFAULT, ALL], ids=["default", "all"])
def large(request: pytest.FixtureRequest) -> tuple[Structure, People, Outcomes]:
    return (request.param, *drawn(request.param, 20_000, 5))


@given(samples=st.integers(1, 400), per_patient=st.floats(1, 6), seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_rows_stays_admissions_and_patients_nest(samples: int, per_patient: float, seed: int) -> None:
    people = draw_people(samples, per_patient, np.random.default_rng(seed))
    assert len(people.stay) == samples
    for inner, outer in (
        (people.stay, people.admission),
        (people.admission, people.patient),
        (people.patient, people.male),
    ):
        # Ascending without gaps: every number up to the last one occurs, and has its parent.
        assert set(np.diff(inner, prepend=0).tolist()) <= {0, 1}
        assert inner[-1] == len(outer) - 1
    assert len(people.age) == len(people.male)


def test_a_patient_has_as_many_samples_as_asked() -> None:
    for per_patient in (1.0, 1.5, 4.0):
        people = draw_people(20_000, per_patient, np.random.default_rng(0))
        assert len(people.stay) / len(people.male) == pytest.approx(per_patient, rel=0.05)


def test_prevalences_hold_exactly(large: tuple[Structure, People, Outcomes]) -> None:
    structure, people, outcomes = large
    for task, sick in outcomes.diagnoses.items():
        if task in ("hospital_acquired_infection", "breast_cancer", "prostate_cancer"):
            continue
        assert abs(sick.mean() - structure.outcomes[task].prevalence) <= 0.5 / len(people.patient) + 1e-12
    labelled = (outcomes.thoracic >= 0).mean()
    assert labelled == pytest.approx(structure.outcomes[THORACIC_TASK].prevalence, abs=0.02)


def test_labels_are_noisy_views_of_their_factor_and_what_is_planted_beyond_it(
    large: tuple[Structure, People, Outcomes],
) -> None:
    structure, people, outcomes = large
    age = ((people.age - 65) / 16)[people.patient]
    male = np.where(people.male, 1.0, -1.0)[people.patient]
    for task, sick in outcomes.diagnoses.items():
        if task in ("hospital_acquired_infection", "breast_cancer", "prostate_cancer") or sick.sum() < 250:
            continue
        terms = [np.zeros(len(age))]
        wanted = np.zeros(len(structure.factors) + 1)
        if task in structure.factor_of:
            wanted[structure.factor_of[task]] = structure.outcomes[task].slope
        if (planted := structure.interactions.get(task)) is not None:
            factor = outcomes.factors[:, structure.factor_of[task]]
            modifier = {"age": age, "sex": male}.get(planted.modifier)
            modifier = outcomes.modifiers[planted.modifier] if modifier is None else modifier
            shapes = {
                "product": factor * modifier,
                "u_shape": modifier**2 / np.sqrt(2),
                "exclusive_or": 1 - 2.0 * ((factor > 0) != (modifier > 0)),
            }
            terms = [shapes[planted.shape]]
            # Main effects dominate: a term of variance 1 has half of the slope.
            wanted[-1] = structure.outcomes[task].slope / 2
        x = np.column_stack([outcomes.factors, *terms])
        found = LogisticRegression(C=1e6, max_iter=1000).fit(x, sick).coef_[0]
        # About five standard errors of a logistic coefficient.
        error = 12 / np.sqrt(sick.sum())
        assert np.abs(found - wanted).max() < error, task


def test_factors_are_independent_and_standard(large: tuple[Structure, People, Outcomes]) -> None:
    factors = large[2].factors
    assert np.abs(np.corrcoef(factors.T) - np.eye(factors.shape[1])).max() < 0.06
    assert np.abs(factors.mean(0)).max() < 0.06
    assert np.abs(factors.std(0) - 1).max() < 0.06


def test_sex_limits_cancers_and_pneumonia_is_an_infection() -> None:
    people, outcomes = drawn(ALL, 20_000, 3)
    male = people.male[people.patient]
    assert not (outcomes.diagnoses["prostate_cancer"] & ~male).any()
    assert outcomes.diagnoses["prostate_cancer"].any()
    breast = outcomes.diagnoses["breast_cancer"]
    assert male[breast].mean() < 0.1
    infection = outcomes.diagnoses["hospital_acquired_infection"]
    assert infection[outcomes.diagnoses["pneumonia"]].all()
    assert infection.mean() > outcomes.diagnoses["pneumonia"].mean()


def test_discharge_is_consistent(large: tuple[Structure, People, Outcomes]) -> None:
    structure, people, outcomes = large
    death = outcomes.death[people.row_admission]
    dying = death & (outcomes.hours < 48)
    assert outcomes.hours.min() > 0
    assert dying.mean() == pytest.approx(structure.outcomes[MORTALITY].prevalence, rel=0.25)
    # Some die later, and hardly anyone is discharged alive within 48 hours.
    assert (death & ~dying).mean() > 0.02
    assert (~death & (outcomes.hours < 48)).mean() < 0.01
    acuity = outcomes.factors[people.row_admission, structure.factor_of[STAY]]
    assert acuity[dying].mean() > 0.5
    assert np.corrcoef(acuity, outcomes.hours)[0, 1] < -0.3
    assert np.corrcoef(acuity[~death], outcomes.hours[~death])[0, 1] < -0.3


def test_thoracic_classes_follow_severity_and_silhouette() -> None:
    people, outcomes = drawn(DEFAULT, 20_000, 4)
    seen = outcomes.thoracic >= 0
    factors = outcomes.factors[people.row_admission][seen]
    traits = np.array(list(THORACIC.values()))[outcomes.thoracic[seen]]
    assert DEFAULT.silhouette is not None
    for column, number in ((0, DEFAULT.factor_of[THORACIC_TASK]), (1, DEFAULT.silhouette)):
        assert np.corrcoef(traits[:, column], factors[:, number])[0, 1] > 0.4
        assert abs(np.corrcoef(traits[:, 1 - column], factors[:, number])[0, 1]) < 0.03
    assert (np.bincount(outcomes.thoracic[seen], minlength=len(THORACIC)) > 400).all()


def _explained(x: FloatArray, y: FloatArray) -> float:
    half = len(y) // 2
    model = Ridge(10).fit(x[:half], y[:half])
    return float(1 - np.var(y[half:] - model.predict(x[half:])) / np.var(y[half:]))


def test_factors_show_where_they_should_and_nowhere_else() -> None:
    # In the mean of several draws: the share that one of them shows varies by more than the margin.
    seeds = range(5)
    shares: dict[tuple[str, int], list[float]] = {}
    for seed in seeds:
        people, outcomes = drawn(DEFAULT, 4000, seed)
        model = FeatureModel(DEFAULT, WIDTHS, 1.0, seed)
        for source in WIDTHS:
            x = model.draw(source, people, outcomes, 0, 4000)
            for number in range(len(DEFAULT.factors)):
                share = _explained(x, outcomes.factors[people.row_admission, number])
                shares.setdefault((source, number), []).append(share)
    shown = set()
    for (source, number), found in shares.items():
        factor = DEFAULT.factors[number]
        if number in model.shown[source]:
            shown.add(number)
            # Unit noise, what all sources have in common, and what masks it stand along its direction.
            signal_to_noise = (factor.loud or 3.0) ** 2
            least = 0.5 * signal_to_noise / (1 + signal_to_noise)
            assert np.mean(found) > least, (source, factor.name, found)
        else:
            assert np.mean(found) < 0.05, (source, factor.name, found)
    assert shown == set(range(len(DEFAULT.factors)))
    # Groups do not share a source, so that no encoder learns two of them from the same columns.
    sources = [set(f.sources) for f in DEFAULT.factors if len(f.outcomes) > 1]
    assert all(not a & b for a, b in itertools.combinations(sources, 2))


def test_hidden_factors_are_hidden_from_variance_and_phenotypes_are_not() -> None:
    people, outcomes = drawn(DEFAULT, 4000, 7)
    model = FeatureModel(DEFAULT, WIDTHS, 1.0, 7)
    for source, loud_below in (("ts_lab", 9), ("vision_dense", 9), ("note_radiology", 8)):
        x = model.draw(source, people, outcomes, 0, 4000)
        x = x - x.mean(0)
        leading = x @ np.linalg.svd(x, full_matrices=False)[2][:loud_below].T
        for number in model.shown[source]:
            share = _explained(leading, outcomes.factors[people.row_admission, number])
            if DEFAULT.factors[number].loud:
                assert share > 0.1
            else:
                assert share < 0.25, (source, DEFAULT.factors[number].name)
        centres = np.stack(
            [x[outcomes.phenotype[people.row_patient] == c].mean(0) for c in range(PHENOTYPES)]
        )
        assert centres.var(0).sum() > 0.3 * x.var(0).sum()


def test_a_loud_factor_covers_what_it_masks() -> None:
    model = FeatureModel(DEFAULT, WIDTHS, 1.0, 8)
    names = [factor.name for factor in DEFAULT.factors]
    masked, masking = names.index("cardiorenal"), names.index("hepatic")
    for source in DEFAULT.factors[masking].sources:
        directions = model.directions(source)
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
        at = [model.shown[source].index(number) for number in (masked, masking)]
        assert directions[at[0]] @ directions[at[1]] == pytest.approx(0.6)
    plain = model.directions("vision_dense")
    np.testing.assert_allclose(plain @ plain.T, np.eye(len(plain)), atol=1e-12)


def test_signal_makes_factors_clearer() -> None:
    people, outcomes = drawn(DEFAULT, 3000, 9)
    factor = outcomes.factors[people.row_admission, 0]
    shares = [
        _explained(FeatureModel(DEFAULT, WIDTHS, s, 9).draw("ts_lab", people, outcomes, 0, 3000), factor)
        for s in (0.1, 0.4, 1.5)
    ]
    assert shares[0] < shares[1] < shares[2]


def test_features_are_standard_and_a_longer_cut_begins_with_the_shorter() -> None:
    people, outcomes = drawn(DEFAULT, 1000, 10)
    model = FeatureModel(DEFAULT, WIDTHS, 1.0, 10)
    whole = model.draw("vision_dense", people, outcomes, 200, 900)
    np.testing.assert_array_equal(whole[:100], model.draw("vision_dense", people, outcomes, 200, 300))
    other = FeatureModel(DEFAULT, WIDTHS, 1.0, 11).draw("vision_dense", people, outcomes, 200, 900)
    assert np.abs(whole - other).max() > 1
    assert 0.6 < np.median(whole.std(0)) < 1.5


def test_the_order_in_which_sources_are_listed_changes_nothing() -> None:
    people, outcomes = drawn(DEFAULT, 200, 12)
    listed = FeatureModel(DEFAULT, WIDTHS, 1.0, 12)
    turned = FeatureModel(DEFAULT, dict(reversed(WIDTHS.items())), 1.0, 12)
    assert listed.shown == turned.shown
    for source in WIDTHS:
        drawn_first = listed.draw(source, people, outcomes, 0, 200)
        np.testing.assert_array_equal(drawn_first, turned.draw(source, people, outcomes, 0, 200))


@pytest.mark.parametrize("widths", [{"demographics": 2}, {"vision_dense": 1}, {"note_echo": 3, "ts_lab": 2}])
def test_factors_find_a_place_in_few_sources(widths: dict[str, int]) -> None:
    people, outcomes = drawn(ALL, 300, 11)
    model = FeatureModel(ALL, widths, 1.0, 11)
    for source, width in widths.items():
        assert len(model.shown[source]) <= width
        x = model.draw(source, people, outcomes, 0, 300)
        assert x.shape == (300, width)
        assert np.isfinite(x).all()
    assert any(model.shown.values())


@pytest.mark.parametrize("which", ["default", "all"])
def test_the_truth_names_the_planted_tasks(which: str) -> None:
    structure = structure_of("default" if which == "default" else "all", 1.0)
    truth = structure.truth()
    planted = set(structure.outcomes)
    definitions = yaml.safe_load((ROOT / "resources/tasks/m3h.yaml").read_text())["tasks"]
    assert planted < set(definitions)
    groups = [set(group) for group in truth["groups"]]
    assert all(len(group) > 1 for group in groups)
    assert all(not a & b for a, b in itertools.combinations(groups, 2))
    grouped = set().union(*groups)
    assert not grouped & set(truth["noise"])
    for conflict in map(set, truth["conflicts"]):
        assert len(conflict) == 2
        assert conflict <= planted
        assert not any(conflict <= group for group in groups)
    named = grouped.union(truth["noise"], truth["rare"], truth["missing"], *truth["conflicts"])
    assert named <= planted
    if which == "all":
        assert planted | {"phenotype"} == set(definitions)
    else:
        assert len(groups) >= 2
        assert min(map(len, groups)) >= 3
        assert truth["conflicts"]
        assert truth["rare"] == ["tuberculosis"]
        assert truth["noise"] == ["gout"]


def test_the_default_study_learns_what_is_planted() -> None:
    include = load_study(ROOT / "config/config.yaml").tasks.include
    assert set(include) == {*DEFAULT.outcomes, "phenotype"}
