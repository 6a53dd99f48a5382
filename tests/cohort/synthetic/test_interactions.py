"""What is planted beyond linear reach: where it is, how much it is, and that nothing else changes with it."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import pytest

from m3h_pipeline.cohort.synthetic.interactions import MEASURED, Interaction
from m3h_pipeline.cohort.synthetic.planted import FeatureModel, Outcomes, People, draw_outcomes, draw_people
from m3h_pipeline.cohort.synthetic.structure import Structure, structure_of
from m3h_pipeline.config import SyntheticSource
from m3h_pipeline.config.load import load_study
from tests.cohort.synthetic.reach import Cohort
from tests.conftest import ROOT

WIDTHS = SyntheticSource().widths
Which = Literal["default", "all"]

#: Of what the generator drew before it knew interactions.
DRAWN_BEFORE = {
    "default": "910cba4126ab564230f04c9891f6525cb15d189b7e4264ef827bb1a951390a1c",
    "all": "49f3a7b7512014d3c052336030f9266cd4259efc6556c348fd7e70ac561ecce4",
}


def drawn(structure: Structure, samples: int = 3000, seed: int = 3) -> tuple[People, Outcomes]:
    people = draw_people(samples, 1.5, np.random.default_rng([seed, 10]))
    return people, draw_outcomes(structure, people, np.random.default_rng([seed, 11]))


@pytest.mark.parametrize("which", ["default", "all"])
def test_strength_0_is_the_cohort_without_interactions_to_the_bit(which: Which) -> None:
    structure = structure_of(which, 0.0)
    assert "interactions" not in structure.truth()
    people, outcomes = drawn(structure)
    digest = hashlib.sha256()
    for task, sick in outcomes.diagnoses.items():
        digest.update(task.encode() + np.packbits(sick).tobytes())
    for values in (outcomes.death, outcomes.hours < 48, outcomes.thoracic, outcomes.phenotype, people.age):
        digest.update(np.ascontiguousarray(values).tobytes())
    assert digest.hexdigest() == DRAWN_BEFORE[which]
    assert not any(FeatureModel(structure, WIDTHS, 1.0, 3).recorded.values())


@pytest.mark.parametrize("which", ["default", "all"])
def test_interactions_change_the_risks_of_their_tasks_and_add_measurements_alone(which: Which) -> None:
    without, structure = structure_of(which, 0.0), structure_of(which, 1.0)
    (people, before), (_, after) = drawn(without), drawn(structure)
    np.testing.assert_array_equal(before.factors, after.factors)
    infected = {"hospital_acquired_infection"} if which == "all" else set()
    for task in before.diagnoses:
        changed = (before.diagnoses[task] != after.diagnoses[task]).any()
        # Every pneumonia is an infection.
        assert changed == (task in {*structure.interactions, *infected}), task
    np.testing.assert_array_equal(before.thoracic, after.thoracic)
    old, new = (FeatureModel(s, WIDTHS, 1.0, 3) for s in (without, structure))
    assert {name: found for name, found in new.recorded.items() if found} == {
        "ts_lab": ["potassium"],
        "ts_chart": ["temperature"],
    }
    for source in WIDTHS:
        x = old.draw(source, people, before, 0, 3000)
        y = new.draw(source, people, after, 0, 3000)
        taken = len(new.recorded[source])
        np.testing.assert_array_equal(x[:, : x.shape[1] - taken], y[:, : x.shape[1] - taken])
        if taken:
            (measured,) = new.recorded[source]
            value = after.modifiers[measured][people.row_admission]
            assert np.corrcoef(y[:, -1], value)[0, 1] == pytest.approx(np.sqrt(0.9), abs=0.02)
            assert y[:, -1].std() == pytest.approx(1, abs=0.05)
            assert np.abs(np.atleast_2d(np.corrcoef(y.T))[-1, :-1]).max() < 0.1


def test_a_measurement_takes_no_column_that_a_factor_needs() -> None:
    structure = structure_of("default", 1.0)
    for widths in ({"ts_lab": 2, "ts_chart": 2}, {"vision_dense": 8}, {"demographics": 2}):
        model = FeatureModel(structure, widths, 1.0, 1)
        people, outcomes = drawn(structure, 300)
        for source, width in widths.items():
            assert len(model.shown[source]) + len(model.recorded[source]) <= width
            assert np.isfinite(model.draw(source, people, outcomes, 0, 300)).all()
    assert FeatureModel(structure, {"vision_dense": 8}, 1.0, 1).recorded == {
        "vision_dense": ["potassium", "temperature"]
    }


@pytest.mark.parametrize("shape", ["product", "u_shape", "exclusive_or"])
def test_a_term_has_mean_0_and_variance_1_and_no_linear_part(
    shape: Literal["product", "u_shape", "exclusive_or"],
) -> None:
    factor, modifier = np.random.default_rng(1).standard_normal((2, 200_000))
    term = Interaction(shape, "age").term(factor, modifier)
    assert term.mean() == pytest.approx(0, abs=0.01)
    assert term.var() == pytest.approx(1, abs=0.03)
    for value in (factor, modifier):
        assert np.corrcoef(term, value)[0, 1] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("which", ["default", "all"])
def test_interactions_are_between_modalities_and_of_tasks_that_prove_nothing_else(which: Which) -> None:
    structure = structure_of(which, 1.0)
    study = load_study(ROOT / "config/config.yaml")
    modality = {source: name for name, of in study.modalities.items() for source in of.sources}
    truth = structure.truth()
    others = {*truth["noise"], *truth["rare"], *truth["missing"], *study.tasks.permute}
    others |= {above for _, above in truth["conflicts"]}
    recorded = {**MEASURED, "age": "demographics", "sex": "demographics"}
    sources = {factor.name: factor.sources for factor in structure.factors}
    assert set(truth["interactions"]) == set(structure.interactions)
    for task, planted in truth["interactions"].items():
        assert task not in others
        assert planted["weight"] == structure.outcomes[task].slope / 2
        assert structure.factors[structure.factor_of[task]].name == planted["factor"]
        if planted["shape"] != "u_shape":
            own = {modality[source] for source in sources[planted["factor"]]}
            assert modality[recorded[planted["modifier"]]] not in own
    assert {planted["shape"] for planted in truth["interactions"].values()} == {
        "product",
        "u_shape",
        "exclusive_or",
    }


def test_the_strength_scales_every_weight() -> None:
    one, two = structure_of("all", 1.0).truth(), structure_of("all", 2.0).truth()
    for task, planted in one["interactions"].items():
        assert two["interactions"][task] == {**planted, "weight": 2 * planted["weight"]}


def test_a_few_hundredths_of_auroc_are_beyond_linear_reach_where_they_are_planted_and_nowhere_else() -> None:
    cohort = Cohort("default", 24_000)
    gains = {}
    for task in cohort.tasks(0.1):
        summary, best = cohort.evidence(task)
        gains[task] = cohort.auroc(task, best) - cohort.linear(task, summary, cohort.half)
    planted = {task: gain for task, gain in gains.items() if task in cohort.structure.interactions}
    assert len(planted) == 6
    for task, gain in planted.items():
        assert 0.004 < gain < 0.06, (task, gain)
    assert 0.015 < np.mean(list(planted.values())) < 0.035
    for task in set(gains) - set(planted):
        assert abs(gains[task]) < 0.003, (task, gains[task])
