"""Phenotypes compared in the inputs: a latent that collapses gains nothing there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, silhouette_samples

from m3h_pipeline.config import Modality
from m3h_pipeline.contracts import LATENTS
from m3h_pipeline.contracts.reported import PHENOTYPE_PROFILES, PHENOTYPE_SCORES
from m3h_pipeline.errors import ContractError
from m3h_pipeline.evaluation.phenotypes.scores import (
    Sources,
    agreement,
    effective_rank,
    in_inputs,
    phenotype_scores,
)
from m3h_pipeline.files import read_json, read_table, write_features, write_json, write_table
from tests.evaluation.studies import Floats, Study, predictor, study

WIDTH = 4
Rows = dict[str, dict[str, Any]]


def _collapsed(folder: Path) -> tuple[Study, npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Three groups in the inputs, which the single model finds; the other cuts one direction of noise."""
    one = study(folder, 500, {"kind": "days+kind"}).without("grade", "ill", "relapse")
    one.selected["days"] = "days+kind"
    rng = np.random.default_rng(3)
    n = len(one.fold)
    group = rng.integers(3, size=n)
    inputs = 4 * np.eye(3, WIDTH)[group] + rng.normal(size=(n, WIDTH))
    noise = rng.normal(size=n)

    def predict(key: str, task: str, replicate: int, fold: int, rows: npt.NDArray[np.intp]) -> Floats:
        if task == "days":
            return one.labels["days"][rows][:, None].astype(np.float64)
        if "+" not in key:
            return np.column_stack([group[rows], np.full(len(rows), 0.2)])
        edges = np.quantile(noise, [0.3 + 0.05 * replicate, 0.7])
        return np.column_stack([np.digitize(noise[rows], edges), np.full(len(rows), 0.6)])

    one.write(predict)
    write_features(inputs.astype(np.float32), list("abcd"), folder / "features/lab.parquet")
    test = np.flatnonzero(one.fold == -1)
    latents = []
    for key in ("kind", "days+kind"):
        for replicate in range(3):
            latent = inputs[test] if key == "kind" else np.outer(noise[test], [1.0, 0.5, 0.0, 2.0])
            latents.append(
                {
                    "fit_key": f"final/{key}/-1/{replicate}",
                    "combination": key,
                    "replicate": replicate,
                    "task": "kind",
                    "width": WIDTH,
                    "latent": latent.astype(np.float32).ravel(),
                }
            )
    write_table(pa.Table.from_pylist(latents, schema=LATENTS), folder / "latents.parquet", LATENTS)
    return one, inputs, group


def _scores(one: Study, name: str = "found.parquet", **changes: Any) -> Rows:
    given: dict[str, Any] = {
        "cohort": one.folder,
        "labels": one.path("labels"),
        "tasks": one.path("tasks.json"),
        "split": one.path("split.parquet"),
        "selection": one.path("selection.parquet"),
        "scores": [one.path("final.scores.parquet")],
        "predictions": [one.path(f"final.predictions.{i}.parquet") for i in (0, 1)],
        "latents": [one.path("latents.parquet")],
    }
    out = one.path(name)
    phenotype_scores(
        Sources(**(given | changes)),
        {"labs": Modality(sources=["lab"])},
        100,
        5,
        out,
        one.path("profiles.parquet"),
    )
    return {row["model"]: row for row in read_table(out, PHENOTYPE_SCORES).to_pylist()}


def test_a_latent_that_collapses_gains_nothing_in_the_inputs(tmp_path: Path) -> None:
    one, inputs, group = _collapsed(tmp_path)
    found = _scores(one)
    single, multi = found["single"], found["multi"]
    assert multi["own_silhouette"] > single["own_silhouette"]
    assert multi["difference"] == pytest.approx(multi["silhouette"] - single["silhouette"])
    assert multi["difference_high"] < 0
    assert single["difference"] is None
    train, test = one.fold >= 0, one.fold == -1
    scaled = (inputs - inputs[train].mean(axis=0)) / inputs[train].std(axis=0)
    expected = silhouette_samples(scaled[test], group[test]).mean()
    assert single["silhouette"] == pytest.approx(expected, abs=1e-4)
    assert single["low"] < expected < single["high"]
    assert single["stability"] == pytest.approx(1.0)
    assert 0 < multi["stability"] < 1
    assert multi["rank"] == pytest.approx(1.0, abs=1e-3)
    assert single["rank"] > 2.5
    assert (single["replicates"], single["width"]) == (3, WIDTH)


def test_a_control_is_marked_in_scores_and_profiles(tmp_path: Path) -> None:
    one, _, _ = _collapsed(tmp_path)
    tasks = read_json(one.path("tasks.json"))
    tasks["tasks"]["kind"]["control"] = "planted noise"
    write_json(tasks, one.path("tasks.json"))
    assert {row["control"] for row in _scores(one).values()} == {"planted noise"}
    profiles = read_table(one.path("profiles.parquet"), PHENOTYPE_PROFILES).to_pylist()
    assert {row["control"] for row in profiles} == {"planted noise"}


def test_what_is_missing_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    one, _, _ = _collapsed(tmp_path)
    write_table(LATENTS.empty_table(), one.path("none.parquet"), LATENTS)
    with pytest.raises(ContractError, match="6 of 6 final fits have no latents"):
        _scores(one, latents=[one.path("none.parquet")])
    assert not one.path("found.parquet").exists()


def test_a_study_without_clusters_has_no_rows(tmp_path: Path) -> None:
    one = study(tmp_path, 300, {"ill": "ill"}).without("grade", "kind", "relapse")
    one.write(predictor(one))
    assert _scores(one) == {}


@given(st.integers(2, 30), st.integers(1, 4), st.integers(0, 10_000))
def test_clusters_of_any_names_are_scored_as_scikit_learn_does(n: int, clusters: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n, 3)).astype(np.float32)
    cluster = 7 * rng.integers(clusters, size=n)
    given = np.column_stack([cluster, np.zeros(n)]).astype(np.float32)[None]
    given[0, 0] = np.nan
    found = in_inputs(given, inputs)[0]
    assert np.isnan(found[0]).all()
    rest = cluster[1:]
    if 1 < len(np.unique(rest)) < len(rest):
        np.testing.assert_allclose(found[1:, 1], silhouette_samples(inputs[1:], rest), atol=1e-5)
    elif len(np.unique(rest)) == 1:
        assert np.isnan(found[1:, 1]).all()


def test_seeds_agree_whatever_their_clusters_are_called() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(4, size=(2, 60))
    both = np.stack([np.column_stack([c, np.zeros(60)]) for c in (a, 3 - a)]).astype(np.float32)
    assert agreement(both) == pytest.approx(1.0)
    apart = np.stack([np.column_stack([c, np.zeros(60)]) for c in (a, b)]).astype(np.float32)
    assert agreement(apart) == pytest.approx(adjusted_rand_score(a, b))
    assert np.isnan(agreement(both[:1]))


@given(st.integers(1, 6), st.integers(0, 1000))
def test_the_effective_rank_counts_directions_and_ignores_rotations_and_shifts(rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(8, 8)))[0][:rank]
    scores = np.linalg.qr(rng.normal(size=(200, rank)) - 0.0)[0]
    scores -= scores.mean(axis=0)
    scores = np.linalg.qr(scores)[0]
    latent = (scores @ axes + 3).astype(np.float32)
    assert effective_rank(latent) == pytest.approx(rank, rel=0.02)
