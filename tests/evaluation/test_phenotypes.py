"""Maps of phenotypes: aggregates of the right fits, reproducible, sensible where there is little to map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import silhouette_score

from m3h_pipeline.contracts import LATENTS, PHENOTYPES, PREDICTIONS, SCORES, SELECTION, SPLIT, samples_schema
from m3h_pipeline.errors import ContractError, InputError
from m3h_pipeline.evaluation.phenotypes.map import SIDES, Projection, embed, needs, phenotype_map
from m3h_pipeline.files import read_table, write_table

N = 120


def _score(key: str, combination: str, **changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "fit_key": key,
        "combination": combination,
        "task": "phenotype",
        "replicate": 0,
        "fold": -1,
        "batch_size": 64,
        "learning_rate": 0.001,
        "metric": "silhouette",
        "value": 0.2,
        "n_scored": N,
        "epochs": 3,
        "status": "ok",
        "seconds": 1.0,
    }
    return row | changes


def _study(folder: Path, combination: str = "phenotype+sepsis", n: int = N) -> dict[str, Path]:
    rng = np.random.default_rng(3)
    cluster = np.arange(n) % 3
    latent = {
        "multi": rng.normal(size=(n, 4)).astype(np.float32) + 8 * cluster[:, None].astype(np.float32),
        "single": rng.normal(size=(n, 4)).astype(np.float32),
    }
    both = {"multi": combination, "single": "phenotype"}
    if combination == "phenotype":
        both = {"single": "phenotype"}
    silhouette = {"multi": 0.8, "single": 0.1}
    paths = {name: folder / f"{name}.parquet" for name in ("scores", "predictions", "latents", "selection")}
    scores = [_score(f"key_{model}", key) for model, key in both.items()]
    # The same combination with another setting, and another replicate, must not be drawn.
    scores += [_score("other", combination, learning_rate=0.1), _score("second", combination, replicate=1)]
    # Nor a fit of a fold, which leaves no latents.
    scores = [_score("fold", combination, fold=0), *scores]
    write_table(pa.Table.from_pylist(scores, schema=SCORES), paths["scores"], SCORES)
    predictions = [
        {
            "fit_key": f"key_{model}",
            "task": "phenotype",
            "width": 2,
            "prediction": np.column_stack([cluster, np.full(n, silhouette[model])]).ravel().tolist(),
        }
        for model in both
    ]
    write_table(pa.Table.from_pylist(predictions, schema=PREDICTIONS), paths["predictions"], PREDICTIONS)
    latents = [
        {
            "fit_key": f"key_{model}",
            "combination": key,
            "replicate": 0,
            "task": "phenotype",
            "width": 4,
            "latent": latent[model].ravel().tolist(),
        }
        for model, key in both.items()
    ]
    write_table(pa.Table.from_pylist(latents, schema=LATENTS), paths["latents"], LATENTS)
    selection = {
        "task": "phenotype",
        "problem_class": "clustering",
        "metric": "silhouette",
        "combination": combination,
        "size": 2,
        "batch_size": 64,
        "learning_rate": 0.001,
        "score": 0.3,
        "control": "",
        "single_batch_size": 64,
        "single_learning_rate": 0.001,
        "single_score": 0.2,
    }
    write_table(pa.Table.from_pylist([selection], schema=SELECTION), paths["selection"], SELECTION)
    # Beside the test part, which has the predictions, a training part; one patient per sample.
    names = [f"s{i:05d}" for i in range(n + 30)]
    part = pa.table(
        {
            "sample_id": names,
            "part": ["train"] * 30 + ["test"] * n,
            "fold": pa.array([0] * 30 + [-1] * n, pa.int16()),
        },
        schema=SPLIT,
    )
    paths |= {name: folder / f"{name}.parquet" for name in ("split", "samples")}
    write_table(part, paths["split"], SPLIT)
    people = pa.table(
        {"sample_id": names, "patient_id": names, "stay_id": pa.nulls(n + 30, pa.string())},
        schema=samples_schema([]),
    )
    write_table(people, paths["samples"])
    return paths


def _map(paths: dict[str, Path], samples: int = 3000) -> list[dict[str, object]]:
    out = paths["scores"].parent / "out.parquet"
    phenotype_map(
        paths["selection"],
        [paths["scores"]],
        [paths["predictions"]],
        [paths["latents"]],
        paths["split"],
        paths["samples"],
        out,
        "tsne",
        samples,
        seed=5,
    )
    rows: list[dict[str, object]] = read_table(out, PHENOTYPES).to_pylist()
    return rows


def test_cells_of_both_maps_hold_most_samples_and_none_tells_of_few(tmp_path: Path) -> None:
    rows = _map(_study(tmp_path, n=600))
    for model, silhouette in (("multi", 0.8), ("single", 0.1)):
        cells = [row for row in rows if row["model"] == model]
        counts = [int(str(row["n"])) for row in cells]
        assert 0.5 * 600 <= sum(counts) <= 600
        assert sum(counts) == 600 or 600 - sum(counts) >= 11
        assert min(counts) >= 11
        assert [row["silhouette"] for row in cells] == pytest.approx([silhouette] * len(cells))
        assert len({row["x"] for row in cells}) <= SIDES[0]
    assert len({row["cluster"] for row in rows if row["model"] == "multi"}) == 3


def test_a_control_is_marked_on_its_map(tmp_path: Path) -> None:
    paths = _study(tmp_path)
    assert {row["control"] for row in _map(paths)} == {""}
    (chosen,) = read_table(paths["selection"], SELECTION).to_pylist()
    marked = pa.Table.from_pylist([chosen | {"control": "planted noise"}], schema=SELECTION)
    write_table(marked, paths["selection"], SELECTION)
    assert {row["control"] for row in _map(paths)} == {"planted noise"}


def test_a_model_whose_first_replicate_diverged_is_drawn_from_the_next(tmp_path: Path) -> None:
    paths = _study(tmp_path)
    whole = _map(paths)
    scores = read_table(paths["scores"], SCORES).to_pylist()
    moved = [row | {"replicate": 1} if row["fit_key"] == "key_multi" else row for row in scores]
    moved = [row for row in moved if row["fit_key"] != "second"]
    diverged = _score("gone", "phenotype+sepsis", status="diverged", value=None)
    write_table(pa.Table.from_pylist([diverged, *moved], schema=SCORES), paths["scores"], SCORES)
    assert _map(paths) == whole
    lost = [row for row in moved if row["fit_key"] != "key_multi"]
    write_table(pa.Table.from_pylist([diverged, *lost], schema=SCORES), paths["scores"], SCORES)
    with pytest.raises(ContractError, match="missing or diverged"):
        _map(paths)


def test_the_map_is_reproducible_and_can_be_sampled(tmp_path: Path) -> None:
    paths = _study(tmp_path)
    assert _map(paths) == _map(paths)
    assert 0 < sum(int(str(row["n"])) for row in _map(paths, samples=90)) <= 180


def test_a_task_selected_alone_is_both_models(tmp_path: Path) -> None:
    rows = _map(_study(tmp_path, combination="phenotype"))
    strip = [{k: v for k, v in row.items() if k != "model"} for row in rows]
    half = len(rows) // 2
    assert strip[:half] == strip[half:]


def test_few_or_equal_samples_are_mapped_by_principal_axes() -> None:
    few = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    plane, by = embed(few, "tsne", 0)
    assert np.isfinite(plane).all()
    assert by == "Principal axis"
    assert embed(np.ones((40, 5), np.float32), "tsne", 0)[0] == pytest.approx(0)
    assert embed(np.ones((1, 1), np.float32), "tsne", 0)[0].shape == (1, 2)


@pytest.mark.parametrize("by", ["tsne", "umap"])
def test_groups_lie_apart_on_the_map_and_a_seed_gives_one_map(by: Projection) -> None:
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], 40)
    latent = (8 * np.eye(3, 10)[group] + rng.normal(size=(120, 10))).astype(np.float32)
    plane, named = embed(latent, by, 3)
    assert named == {"tsne": "t-SNE", "umap": "UMAP"}[by]
    assert silhouette_score(plane, group) > 0.6
    # UMAP compiles for a quarter of a minute, once a process: the same seed is tried for the default alone.
    if by == "tsne":
        np.testing.assert_array_equal(plane, embed(latent, by, 3)[0])


def test_a_map_that_cannot_be_made_is_told_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("umap")
    monkeypatch.setattr("m3h_pipeline.evaluation.phenotypes.map.find_spec", lambda name: None)
    needs("tsne")
    with pytest.raises(InputError, match=r"takes the package umap-learn") as caught:
        needs("umap")
    assert "m3h-pipeline[umap]" in str(caught.value)


def test_a_missing_fit_is_named(tmp_path: Path) -> None:
    paths = _study(tmp_path)
    write_table(
        pa.Table.from_pylist([_score("key_single", "phenotype")], schema=SCORES), paths["scores"], SCORES
    )
    with pytest.raises(ContractError, match=r"phenotype\+sepsis"):
        _map(paths)


def test_a_study_without_clusters_has_an_empty_map(tmp_path: Path) -> None:
    paths = _study(tmp_path)
    write_table(SELECTION.empty_table(), paths["selection"], SELECTION)
    assert _map(paths) == []
