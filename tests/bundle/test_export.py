"""Bundles of a finished study: they predict what the evaluation has, and tell of nobody."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from m3h_pipeline.bundle.load import Bundle, Prediction
from m3h_pipeline.errors import InputError
from m3h_pipeline.evaluation.choice.maps import recalibration
from m3h_pipeline.inference.resampled import TEST
from m3h_pipeline.references.store import read_kept
from tests.bundle.studies import MARK, Finished

CANDIDATES = ("linear", "gradient_boosting", "clinical", "alone", "together", "blend")


@pytest.mark.parametrize("name", CANDIDATES)
def test_a_bundle_predicts_what_the_evaluation_has(
    name: str, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = finished.export_of(name, tmp_path / "b", monkeypatch)
    said = bundle.predict_features(finished.features(finished.test_rows()))
    looked = 0
    for task, candidates in finished.candidates().items():
        chosen = bundle.tasks[task].chosen
        looked += chosen == name
        # What came with the data cannot be carried, nor blends with it.
        if name in candidates.parts or name == "blend":
            assert chosen == name
        if chosen == "blend":
            kept = {k: v for k, v in candidates.parts.items() if k != "their_model"}
            candidates = replace(candidates, parts=kept, _blends={}, _fold_scores={})
        folds = candidates.cohort.folds
        wanted = candidates.predictions(chosen, TEST, folds)
        assert wanted is not None
        scale = max(1.0, float(np.abs(wanted[0]).max()))
        np.testing.assert_allclose(said[task].raw, wanted[0], atol=1e-6 * scale, rtol=0)
        crossed = candidates.as_used(chosen)
        y = np.concatenate([candidates.cohort.observed(task, fold) for fold in folds])
        out_of_fold = np.concatenate([crossed[fold] for fold in folds])
        kind = candidates.cohort.tasks[task].problem_class
        parts = np.repeat(folds, [len(crossed[fold]) for fold in folds])
        of = candidates.of_rows(folds), candidates.marginal(TEST)
        fitted = recalibration(
            kind, y, out_of_fold, candidates.grid(), fold=parts, of=of, share=1 - 1 / len(folds)
        )
        np.testing.assert_allclose(said[task].calibrated, fitted(wanted[0]), atol=2e-6 * scale, rtol=1e-6)
    assert looked >= (1 if name == "together" else 4)


def test_clusters_are_those_of_the_evaluation(bundle: Bundle, finished: Finished) -> None:
    from m3h_pipeline.inference.predictions import wanted_predictions

    rows = finished.test_rows()
    said = bundle.predict_features(finished.features(rows), ["kind"])["kind"]
    task = bundle.tasks["kind"]
    key = next(
        path.stem
        for folder in finished.results.models
        for path in folder.iterdir()
        if f"networks/{path.stem[:16]}.safetensors" == task.candidates[task.chosen].files[0]
    )
    found = dict(wanted_predictions(finished.results.predictions, {(key, "kind"): len(rows)}))
    np.testing.assert_array_equal(said.raw[:, 0], found[key, "kind"][:, 0])
    assert (said.raw[:, 1] >= 0).all()
    if said.typical is not None:
        assert ((said.typical >= 0) & (said.typical <= 1)).all()


def equal(one: Prediction, other: Prediction, rows: np.ndarray | slice) -> None:
    for name in ("raw", "calibrated", "interval", "typical"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a, b[rows])


def some(one: Prediction, rows: np.ndarray) -> Prediction:
    parts = {name: None if v is None else v[rows] for name, v in vars(one).items()}
    return Prediction(**parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["alone", "together", "blend", "gradient_boosting"])
def test_nobody_has_a_part_in_what_is_said_of_another(
    name: str, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit: alone, in another order, and beside others whose values are absurd or missing."""
    bundle = finished.export_of(name, tmp_path / "b", monkeypatch)
    x = finished.features(finished.test_rows())
    whole = bundle.predict_features(x)
    n = len(x["lab"])
    order = np.random.default_rng(2).permutation(n)
    mixed = bundle.predict_features({k: v[order] for k, v in x.items()})
    wild = {k: v.copy() for k, v in x.items()}
    wild["lab"][: n // 2] *= 1e6
    wild["person"][: n // 3] = np.nan
    beside = bundle.predict_features(wild)
    for task in bundle.tasks:
        equal(mixed[task], whole[task], order)
        rest = np.arange(n // 2, n)
        equal(some(beside[task], rest), whole[task], rest)
    for i in (0, n // 2, n - 1):
        one = bundle.predict_features({k: v[i : i + 1] for k, v in x.items()})
        for task in bundle.tasks:
            equal(one[task], whole[task], np.array([i]))


def test_what_cannot_be_carried_is_said(bundle: Bundle) -> None:
    sick = bundle.tasks["sick"]
    assert sick.instead_of in {"their_model", "blend"}
    assert "their_model" not in sick.candidates
    assert "cannot be carried" in (bundle.folder / "MODEL_CARD.md").read_text()
    assert all(one.instead_of == "" for name, one in bundle.tasks.items() if name != "sick")


def test_a_source_may_be_missing(bundle: Bundle, finished: Finished) -> None:
    x = finished.features(finished.test_rows())
    gone = {"person": x["person"], "lab": np.full_like(x["lab"], np.nan)}
    whole = bundle.predict_features(gone)
    for less in ({"person": x["person"]}, {"person": x["person"], "lab": None}):
        found = bundle.predict_features(less)
        for task in bundle.tasks:
            equal(found[task], whole[task], slice(None))


def test_wrong_features_are_refused(bundle: Bundle, finished: Finished) -> None:
    x = finished.features(finished.test_rows())
    infinite = x["lab"].copy()
    infinite[0, 0] = np.inf
    for given, said in (
        ({**x, "labs": x["lab"]}, "no source `labs`"),
        ({**x, "lab": x["lab"][:, :2]}, "2 features, but the bundle knows 3"),
        ({**x, "lab": x["lab"][:5]}, "different numbers of rows"),
        ({"lab": None}, "no source has rows"),
        ({**x, "lab": infinite}, "infinite"),
    ):
        with pytest.raises(InputError, match=said):
            bundle.predict_features(given)
    with pytest.raises(InputError, match="no task `sic`"):
        bundle.predict_features(x, ["sic"])
    with pytest.raises(InputError, match="no candidate `tabm`"):
        bundle.predict_features(x, ["stay"], candidate="tabm")


def test_a_flipped_byte_is_seen(bundle: Bundle, tmp_path: Path) -> None:
    files = [*bundle.description.files, "bundle.json"]
    assert {name.split("/")[0] for name in files} >= {"networks", "references", "features.safetensors"}
    for name in files:
        copy = tmp_path / name.replace("/", "_")
        shutil.copytree(bundle.folder, copy)
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 4
        (copy / name).write_bytes(bytes(content))
        with pytest.raises(InputError, match=r"damaged[\s\S]*copy the whole folder again"):
            Bundle.load(copy)
        (copy / name).unlink()
        with pytest.raises(InputError, match=r"missing|holds no"):
            Bundle.load(copy)


def test_each_model_is_stored_once_and_none_besides(bundle: Bundle) -> None:
    used = {f for task in bundle.tasks.values() for one in task.candidates.values() for f in one.files}
    assert used | {"features.safetensors"} == set(bundle.description.files)
    on_disk = {
        path.relative_to(bundle.folder).as_posix() for path in bundle.folder.rglob("*") if path.is_file()
    }
    assert on_disk == {*bundle.description.files, "bundle.json", "MODEL_CARD.md"}


def test_intervals_hold_as_many_as_they_state(bundle: Bundle, finished: Finished) -> None:
    interval = bundle.tasks["stay"].interval
    assert interval is not None
    rows = finished.test_rows()
    said = bundle.predict_features(finished.features(rows), ["stay"])["stay"]
    assert said.interval is not None
    y = finished.cohort().labels["stay"][rows]
    inside = (said.interval[:, 0] <= y) & (y <= said.interval[:, 1])
    assert 0.8 < inside.mean() <= 1.0
    if interval.test_coverage is not None:
        assert interval.test_coverage == pytest.approx(inside.mean(), abs=1e-4)


def test_nobody_is_told(bundle: Bundle) -> None:
    """No identifier, no rare value, no count of 1 to 10, no value of one patient."""
    for path in bundle.folder.rglob("*"):
        if path.is_file():
            assert MARK not in path.name
            assert MARK.encode() not in path.read_bytes(), path
    text = (bundle.folder / "bundle.json").read_text()
    counts = re.findall(r'"(?:patients|samples|events|training|test)": (\d+)', text)
    known = json.loads(text)["who"]
    counts += [n for groups in known["subgroups"].values() for n in groups.values() if n is not None]
    assert len(counts) > 8
    assert not [n for n in map(int, counts) if 0 < n < 11]
    # Three patients of the marked ward are in no group of their own.
    assert set(known["subgroups"]["ward"]) <= {"north", "south", "other"}
    # Values have three digits behind the point; histograms are in steps of a hundredth of their range.
    for one in bundle.sketches.values():
        for values in (one.low, one.high, one.edges):
            known = values[np.isfinite(values)]
            np.testing.assert_allclose(known * 100, np.round(known * 100), atol=1e-6)
    assert np.isfinite(bundle.sketches["lab"].low).all()
    for path in (bundle.folder / "references").glob("*.safetensors"):
        kept = read_kept(path)
        if kept.kind == "trees":
            assert not any("count" in name or "gain" in name for name in kept.arrays)
