"""A map of the phenotypes: the test samples' latents in a plane, binned so that no sample can be told apart
(paper, Figure 4d)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline.contracts import PHENOTYPES, SCORES, SELECTION, SPLIT
from m3h_pipeline.errors import ContractError, absent
from m3h_pipeline.evaluation.phenotypes.latents import read_latents
from m3h_pipeline.evaluation.shown import share_shown, shown_grid
from m3h_pipeline.files import read_samples, read_table, write_table
from m3h_pipeline.inference.predictions import wanted_predictions
from m3h_pipeline.inference.resampled import TEST
from m3h_pipeline.split import patient_index

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Projection = Literal["tsne", "umap"]

#: Cells along each side of a map: the first of these with which cells that may be shown hold so large a share
#: of the samples, else the last.
SIDES = (40, 32, 24, 20, 16, 12, 10, 8, 6, 5, 4)
VISIBLE = 0.6
#: Maps need neighbours; with fewer samples than this the first two principal axes serve.
FEW = 20


def phenotype_map(
    selection: Path,
    scores: Sequence[Path],
    predictions: Sequence[Path],
    latents: Sequence[Path],
    split: Path,
    cohort: Path,
    out: Path,
    by: Projection,
    samples: int,
    seed: int,
) -> None:
    """Write the binned maps of every clustering task, of its selected and its single-task model.

    Cells of fewer than 11 patients are left out, and others from which one could tell them.

    Args:
        selection: table of contracts.SELECTION.
        scores: scores of the final fits (contracts.SCORES).
        predictions: their predictions: cluster and silhouette of each test sample.
        latents: their latents (contracts.LATENTS).
        split: the split file.
        cohort: ``cohort/samples.parquet``.
        out: table of contracts.PHENOTYPES; empty if the study has no clustering task.
        by: how the plane is made.
        samples: most test samples on a map; of more, that many are drawn at random.
        seed: of the study.

    Raises:
        InputError: a file is absent or unreadable, or the package that makes the plane is not installed.
        ContractError: a final fit that the selection names is missing.
    """
    chosen: list[dict[str, Any]] = read_table(selection, SELECTION).to_pylist()
    controls = {row["task"]: row["control"] for row in chosen}
    wanted = _fits(chosen, scores)
    part = np.asarray(read_table(split, SPLIT)["part"].to_pylist(), dtype=str)
    patient = patient_index(read_samples(cohort)["patient_id"].to_pylist())[part == "test"]
    points = read_latents(latents, set(wanted))
    clusters = dict(wanted_predictions(predictions, {key: len(points[key]) for key in wanted}))
    rows = [
        cell | {"task": task, "control": controls[task], "model": model}
        for key, models in wanted.items()
        for cell in _cells(points[key], clusters[key], patient, by, samples, seed)
        for task, model in models
    ]
    rows.sort(key=lambda row: (row["task"], row["model"], row["x"], row["y"]))
    write_table(pa.Table.from_pylist(rows, schema=PHENOTYPES), out, PHENOTYPES)


def _fits(
    chosen: Sequence[Mapping[str, Any]], scores: Sequence[Path]
) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """(fit key, task) -> the (task, model) pairs it stands for: one fit may be both models of a task.

    Maps of different seeds cannot be averaged: a model is drawn as its first replicate that did not diverge.
    """
    rows = (row for path in scores for row in read_table(path, SCORES).to_pylist())
    fits = [row for row in rows if row["status"] == "ok" and row["fold"] == TEST]
    keys: dict[tuple[str, int, float], str] = {}
    for row in sorted(fits, key=lambda row: int(row["replicate"])):
        keys.setdefault((row["combination"], row["batch_size"], row["learning_rate"]), row["fit_key"])
    wanted: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in chosen:
        if row["problem_class"] != "clustering":
            continue
        task = row["task"]
        multi = (row["combination"], row["batch_size"], row["learning_rate"])
        single = (task, row["single_batch_size"], row["single_learning_rate"])
        for model, fit in (("multi", multi), ("single", single)):
            if fit not in keys:
                raise ContractError(
                    f"every final fit of `{fit[0]}` is missing or diverged",
                    where=f"task `{task}`",
                    hint="lower the learning rates, or run the final fits again",
                )
            wanted.setdefault((keys[fit], task), []).append((task, model))
    return wanted


def _cells(
    latent: Float32, prediction: Float32, patient: Integers, by: Projection, samples: int, seed: int
) -> list[dict[str, Any]]:
    """Bin one map: per cell the cluster most of its samples belong to, and how many it has.

    Cells become wider until most samples are in cells that may be shown.

    Shape:
        latent (n, d); prediction (n, 2): cluster and silhouette, NaN where a sample has none; patient (n,).
    """
    seen = np.flatnonzero(~np.isnan(prediction).any(axis=1) & ~np.isnan(latent).any(axis=1))
    if not len(seen):
        return []
    silhouette = float(prediction[seen, 1].mean())
    if len(seen) > samples:
        seen = np.sort(np.random.default_rng([seed, len(seen)]).choice(seen, samples, replace=False))
    plane, projection = embed(latent[seen], by, seed)
    low, high = plane.min(axis=0), plane.max(axis=0)
    whole = np.where(high > low, high - low, 1.0)
    for cells in SIDES:
        place = np.minimum(((plane - low) / whole * cells).astype(np.int64), cells - 1)
        if share_shown(place, patient[seen]) >= VISIBLE:
            break
    cluster = prediction[seen, 0].astype(np.int64)
    shown = shown_grid({"": place}, patient[seen])[""]
    return [
        {
            "projection": projection,
            "x": float(low[0] + (i + 0.5) * whole[0] / cells),
            "y": float(low[1] + (j + 0.5) * whole[1] / cells),
            "cluster": int(np.bincount(cluster[(place == (i, j)).all(axis=1)]).argmax()),
            "n": n,
            "silhouette": silhouette,
        }
        for (i, j), n in sorted(shown.items())
    ]


def needs(by: Projection) -> None:
    """Say, before anything is trained, that the map of the phenotypes cannot be made.

    Raises:
        InputError: it takes a package that is not installed.
    """
    if by == "umap" and find_spec("umap") is None:
        raise absent("umap", "the map by UMAP", "figures.phenotype_map")


def embed(latent: Float32, by: Projection, seed: int) -> tuple[Float64, str]:
    """Two coordinates per sample, and by what: principal axes where there are too few distinct samples.

    Shape:
        (n, d) -> (n, 2)
    """
    if len(np.unique(latent, axis=0)) < FEW:
        centred = latent.astype(np.float64) - latent.mean(axis=0, dtype=np.float64)
        axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
        plane = np.zeros((len(latent), 2))
        plane[:, : len(axes)] = centred @ axes.T
        return plane, "Principal axis"
    return (_tsne(latent, seed), "t-SNE") if by == "tsne" else (_umap(latent, seed), "UMAP")


def _tsne(latent: Float32, seed: int) -> Float64:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # has no hints

    made = TSNE(perplexity=min(30.0, (len(latent) - 1) / 3), random_state=seed % 2**32, n_jobs=1)
    # Threads add up in another order each time.
    with threadpool_limits(1):
        return np.asarray(made.fit_transform(latent), dtype=np.float64)


def _umap(latent: Float32, seed: int) -> Float64:
    needs("umap")
    with warnings.catch_warnings():
        # A form of UMAP that is not used here wants Tensorflow.
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        from umap import UMAP

    reducer = UMAP(n_neighbors=min(15, len(latent) - 1), random_state=seed, n_jobs=1)
    return np.asarray(reducer.fit_transform(latent), dtype=np.float64)
