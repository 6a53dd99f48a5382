"""How a fold's features become what a network sees: centres, scales, clipping, constants, missing values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from m3h_pipeline.config.model import Modality
from m3h_pipeline.disclosure import round_step
from m3h_pipeline.features.scaling import CLIP, Kind, scaled_once
from m3h_pipeline.features.spread import spread
from m3h_pipeline.references.columns import columns_of
from m3h_pipeline.references.design import seen as seen_by_references
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.spec import TrainingSettings
from tests.training.studies import DEVICE, WIDTHS, settings, study

Floats = npt.NDArray[np.float64]
KINDS: tuple[Kind, ...] = ("robust", "standard", "minmax")


def scaled_by(kinds: dict[str, Kind], precision: str = "float64") -> TrainingSettings:
    made = settings(precision=precision)
    modalities = {
        name: Modality(sources=[name], scaling=kinds.get(name, "standard")) for name in made.modalities
    }
    return TrainingSettings(made.model, made.training, made.compute, modalities, made.seed)


def inputs(data: StudyData, fold: int, kind: Kind = "robust", precision: str = "float64") -> Floats:
    config = scaled_by(dict.fromkeys(WIDTHS, kind), precision)
    on_device = DeviceData(data, config, torch.device(DEVICE))
    rows = torch.arange(data.n, device=DEVICE)[None]
    return on_device.inputs(rows, on_device.statistics([fold]))[0].cpu().numpy().astype(np.float64)


def side_by_side(data: StudyData) -> Floats:
    return np.concatenate(list(data.features.values()), axis=1).astype(np.float64)


def robustly(training: Floats, raw: Floats) -> Floats:
    found = spread(training)
    return np.asarray(np.nan_to_num((raw - found.mean) / found.deviation))


def standard(training: Floats, raw: Floats) -> Floats:
    return np.asarray(np.nan_to_num(StandardScaler().fit(training).transform(raw)))


def outwards(column: Floats) -> tuple[float, float]:
    """The range of a feature in round numbers: the referee goes through all steps, from the smallest."""
    low, high = float(np.nanmin(column)), float(np.nanmax(column))
    steps = (m * 10.0**e for e in range(-12, 40) for m in (1, 2, 2.5, 5))
    step = next(s for s in steps if s >= (high - low) / 100)
    return float(np.floor(low / step)) * step, float(np.ceil(high / step)) * step


def minmax(training: Floats, raw: Floats) -> Floats:
    ends = [outwards(column) for column in training.T]
    scaler = MinMaxScaler().fit(np.transpose(ends))
    mean = scaler.transform(np.nanmean(training, axis=0)[None])
    made = scaler.transform(raw)
    return np.asarray(np.where(np.isnan(made), mean, made))


@pytest.mark.parametrize("fold", [0, 2, -1])
@pytest.mark.parametrize(
    ("kind", "referee"), [("robust", robustly), ("standard", standard), ("minmax", minmax)]
)
def test_features_are_scaled_on_the_training_rows_of_the_fold(
    kind: Kind, referee: Callable[[Floats, Floats], Floats], fold: int
) -> None:
    data = study()
    raw = side_by_side(data)
    want = referee(raw[data.training_rows(fold)], raw)
    np.testing.assert_allclose(inputs(data, fold, kind), np.clip(want, -CLIP, CLIP), atol=3e-6)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=12, max_size=40, unique=True), st.floats(1e-4, 1e4))
def test_the_ends_of_a_range_are_nobodys_values(values: list[float], unit: float) -> None:
    raw = (np.array(values) * unit).astype(np.float32)[:, None]
    rows = np.arange(len(raw))
    scaled = scaled_once(raw.copy(), rows)
    low, inverse, _ = scaled.statistics(rows, "minmax")
    if not inverse[0]:
        return
    begin = float(low[0] * scaled.scale[0] + scaled.shift[0])
    end = float((low[0] + 1 / inverse[0]) * scaled.scale[0] + scaled.shift[0])
    width = float(raw.max()) - float(raw.min())
    step = round_step(width / 100)
    # Within a step of what was seen, outside of it, and multiples of the step.
    for edge, seen in ((begin, float(raw.min())), (end, float(raw.max()))):
        assert abs(edge - seen) < 1.01 * step
        assert abs(edge / step - round(edge / step)) < 2e-3
    assert begin < raw.min() + 2e-3 * step
    assert end > raw.max() - 2e-3 * step


def test_zeros_and_ones_keep_their_range() -> None:
    raw = np.tile([[0.0], [1.0]], (20, 1)).astype(np.float32)
    rows = np.arange(len(raw))
    scaled = scaled_once(raw.copy(), rows)
    low, inverse, missing = scaled.statistics(rows, "minmax")
    np.testing.assert_allclose((scaled.x - low) * inverse, raw, atol=1e-6)
    assert missing[0] == pytest.approx(0.5)


def test_each_modality_is_scaled_in_its_own_way() -> None:
    data = study()
    kinds: dict[str, Kind] = {"alpha": "minmax", "beta": "robust", "gamma": "standard"}
    on_device = DeviceData(data, scaled_by(kinds), torch.device(DEVICE))
    rows = torch.arange(data.n, device=DEVICE)[None]
    mixed = on_device.inputs(rows, on_device.statistics([1]))[0].cpu().numpy()
    where = np.repeat([kinds[name] for name in data.features], [x.shape[1] for x in data.features.values()])
    for kind in KINDS:
        these = where == kind
        np.testing.assert_array_equal(mixed[:, these], inputs(data, 1, kind)[:, these])
    assert on_device.ranged


def test_the_references_see_features_scaled_robustly() -> None:
    data = study()
    training = data.training_rows(1)
    np.testing.assert_allclose(
        seen_by_references(columns_of(data), training, data.scored_rows(1)),
        inputs(data, 1, "robust")[data.scored_rows(1)],
        atol=3e-6,
    )


@pytest.mark.parametrize("absurd", [36893.0, -1e9, 1e25, 1e38, -3.4e38])
def test_one_absurd_value_does_not_kill_its_feature(absurd: float) -> None:
    data, spoiled = study(n=600), study(n=600)
    row = data.training_rows(0)[3]
    spoiled.features["beta"][row, 2] = absurd
    others = np.setdiff1d(np.arange(data.n), [row])
    seen = others[~np.isnan(data.features["beta"][others, 2])]
    want, have = inputs(data, 0), inputs(spoiled, 0)
    # One value more or less among hundreds moves mean and deviation a little, those of this feature alone.
    column = WIDTHS["alpha"] + 2
    assert have[seen, column].std() > 0.9 * want[seen, column].std()
    assert np.corrcoef(have[seen, column], want[seen, column])[0, 1] == pytest.approx(1)
    np.testing.assert_array_equal(
        np.delete(have[others], column, axis=1), np.delete(want[others], column, axis=1)
    )
    assert have[row, column] == pytest.approx(np.sign(absurd) * CLIP, rel=0.4)
    # By mean and deviation, what is left of the others is next to nothing: why this is not the default.
    if abs(absurd) > 1e6:
        assert inputs(spoiled, 0, "standard")[seen, column].std() < 1e-4


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_absurd_becomes_nan_or_infinite(kind: Kind, precision: str) -> None:
    data = study()
    data.features["alpha"][3:5, 0] = 3.4e38, -3.4e38
    data.features["gamma"][:, 1] = np.where(np.arange(data.n) == 7, 1e38, 0.0)
    assert np.isfinite(inputs(data, 0, kind, precision)).all()


@pytest.mark.parametrize("kind", ["robust", "standard"])
def test_outliers_are_clipped_constants_vanish_and_the_missing_become_the_middle(kind: Kind) -> None:
    data = study(missing=False)
    x = data.features["alpha"]
    x[:, 1] = np.where(data.train, 3.3, 4.4)
    x[:, 2] = np.where(data.fold == 0, np.arange(data.n), 5.0)
    test = np.flatnonzero(~data.train)
    x[test[0], 0] = 1e9
    x[test[1], 0] = np.nan
    x[:, 3] = np.nan
    # Constant on the whole training part: dropped. Constant on one fold's training rows: 0 there.
    x[~data.train, 2] = 77.0
    assert data.columns["alpha"].tolist() == [True, False, True, False, True]
    prepared = inputs(data, 0, kind)
    assert prepared.shape[1] == 3 + 7 + 4
    assert prepared[test[0], 0] == CLIP
    assert prepared[test[1], 0] == 0.0
    assert (prepared[:, 1] == 0).all()
    assert (inputs(data, 1, kind)[:, 1] != 0).any()


@pytest.mark.parametrize("kind", ["robust", "standard"])
def test_a_large_offset_costs_no_precision(kind: Kind) -> None:
    data = study(missing=False)
    data.features["alpha"][:, 0] = 20000 + np.random.default_rng(0).normal(size=data.n)
    raw = side_by_side(data)
    referee = {"robust": robustly, "standard": standard}[kind]
    want = referee(raw[data.training_rows(1)], raw)
    np.testing.assert_allclose(inputs(data, 1, kind, "float32")[:, 0], want[:, 0], atol=1e-5)
