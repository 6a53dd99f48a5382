"""The verb ``train-pack``: train the fits of one pack of a plan and write what they say."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from m3h_pipeline.coding import METRICS
from m3h_pipeline.contracts import FIT_ATTENTION, LATENTS, PREDICTIONS, SCORES, combination_key
from m3h_pipeline.environment import environment
from m3h_pipeline.errors import ContractError, InputError, nearest
from m3h_pipeline.files import read_json, write_table
from m3h_pipeline.files.durable import make_folder
from m3h_pipeline.training.data import StudyData, load_study_data
from m3h_pipeline.training.device import own_card
from m3h_pipeline.training.fits import device_of, run_fits
from m3h_pipeline.training.fitted import FittedModel, save_model
from m3h_pipeline.training.spec import Entry, FitResult, FitSpec, Outcome, TrainingSettings, next_fits
from m3h_pipeline.training.store import FitStore

#: Most rows that are held in double precision at a time.
_ROWS = 4096


def read_pack(plan: Path, pack: str) -> list[Entry]:
    """The entries of a pack, in the order of the plan.

    Raises:
        InputError: there is no such plan or pack.
        ContractError: the plan is malformed.
    """
    content = read_json(plan)
    packs = content.get("packs") if isinstance(content, dict) else None
    if not isinstance(packs, dict):
        raise ContractError("the plan has no `packs`", where=str(plan))
    if pack not in packs:
        raise InputError(f"the plan has no pack `{pack}`", where=str(plan), hint=nearest(pack, packs))
    try:
        return [Entry.of(described) for described in packs[pack]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        where = f"{plan}, pack {pack}"
        raise ContractError(f"an entry of the pack is malformed: {error}", where=where) from error


def train_pack(
    plan: Path,
    pack: str,
    cohort: Path,
    labels: Path,
    split: Path,
    store: Path,
    scores: Path,
    predictions: Path,
    settings: TrainingSettings,
    models: Path | None = None,
    attention: Path | None = None,
    latents: Path | None = None,
    genes: Path | None = None,
) -> None:
    """Train the fits of one pack and write their scores and predictions.

    Args:
        plan: the plan, see docs/architecture.md.
        pack: which pack of it.
        cohort: folder of the cohort.
        labels: folder of the labels.
        split: the split file.
        store: folder of finished fits.
        scores: Parquet file to write (SCORES).
        predictions: Parquet file to write (PREDICTIONS); a diverged fit has none.
        settings: configuration.
        models: folder for ``<fit_key>.safetensors``, of fits on the whole training part; None: models are not
            kept.
        attention: Parquet file to write (FIT_ATTENTION), or None.
        latents: Parquet file to write (LATENTS), or None.
        genes: folder of the vectors that genes start from, where a modality has some.

    Raises:
        M3HError: an input is missing or does not follow its contract, or a fit cannot be trained.
    """
    entries = read_pack(Path(plan), pack)
    tasks = sorted({task for entry in entries for task in entry.combination})
    data = load_study_data(
        Path(cohort),
        Path(labels),
        Path(split),
        tasks,
        settings.modalities,
        grouped=True,
        genes=genes,
        seed=settings.seed,
    )
    device = device_of(settings)
    keep = any(path is not None for path in (models, attention, latents))
    results: list[FitResult] = []
    done: dict[FitSpec, Outcome] = {}
    with own_card(device):
        finished = FitStore(store, environment=environment(device.type))
        while specs := list(dict.fromkeys(spec for entry in entries for spec in next_fits(entry, done))):
            # Of final fits the models of the whole training part are kept: those of the folds are there to be
            # scored.
            for keeping in (True, False):
                some = [spec for spec in specs if (keep and spec.fold < 0) == keeping]
                if some:
                    results += run_fits(
                        some, data, settings, finished, keep_models=keeping, progress=sys.stderr
                    )
            done = {one.spec: one.values if one.status == "ok" else None for one in results}
    for result in results:
        if result.kept:
            result.predictions = said_as_used(result, data)
    if models is not None:
        for result in results:
            if result.kept:
                save_model(result, Path(models) / f"{result.key}.safetensors")
        make_folder(Path(models))
    if attention is not None:
        write_table(attention_table(results), attention, FIT_ATTENTION)
    if latents is not None:
        write_table(latents_table(results), latents, LATENTS)
    write_table(predictions_table(results), predictions, PREDICTIONS)
    write_table(scores_table(results, data.tasks), scores, SCORES)
    diverged = sum(result.status != "ok" for result in results)
    if diverged:
        sys.stderr.write(
            f"{diverged} of {len(results)} fits diverged and have no score; a lower learning rate or "
            "`training.gradient_clip` may help\n"
        )


def said_as_used(result: FitResult, data: StudyData) -> dict[str, npt.NDArray[Any]]:
    """What a kept model predicts for the rows it is scored on, computed as wherever it is used later.

    That is in double precision, rounded to single at the end: what the evaluation judges is what the bundle
    says of the same patients, whatever precision and device the model was trained with. Of a clustering task
    what was said in training stays: its silhouettes are of the latents that were kept.

    Args:
        result: a fit whose model was kept.
        data: the study that it was trained on.

    Returns:
        As ``FitResult.predictions``.
    """
    assert result.parameters is not None
    model = FittedModel(result.parameters, result.metadata, torch.float64)
    rows = data.scored_rows(result.spec.fold)
    # Whole batches: a network with `attention.normalise: published` looks at the other rows of a batch.
    size = max(1, _ROWS // result.spec.batch_size) * result.spec.batch_size
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    for a in range(0, len(rows), size):
        part = rows[a : a + size]
        # The model makes the indicators of missing values, which stand behind the features, by itself.
        raw = {name: data.features[name][part, :width] for name, width in model.modalities.items()}
        for task, values in model.predict(raw, distances=True).items():
            parts.setdefault(task, []).append(values)
    clusters = {task for task in result.predictions if data.tasks[task]["problem_class"] == "clustering"}
    return {
        task: before if task in clusters or task not in parts else np.concatenate(parts[task])
        for task, before in result.predictions.items()
    }


def scores_table(results: Sequence[FitResult], tasks: dict[str, dict[str, Any]]) -> pa.Table:
    """One row per fit and member task."""
    rows = []
    for result in results:
        spec = result.spec
        for task in spec.combination:
            value = result.values[task]
            kind = str(tasks[task]["problem_class"])
            rows.append(
                {
                    "fit_key": result.key,
                    "combination": combination_key(spec.combination),
                    "task": task,
                    "replicate": spec.replicate,
                    "fold": spec.fold,
                    "batch_size": spec.batch_size,
                    "learning_rate": spec.learning_rate,
                    "metric": str(tasks[task].get("metric") or METRICS.get(kind, kind)),
                    "value": None if math.isnan(value) else value,
                    "n_scored": result.n_scored[task],
                    "epochs": result.epochs,
                    "status": result.status,
                    "seconds": result.seconds,
                }
            )
    return pa.Table.from_pylist(rows, schema=SCORES)


def predictions_table(results: Sequence[FitResult]) -> pa.Table:
    """One row per fit and member task; none for diverged fits."""
    keys, tasks, widths, values = [], [], [], []
    for result in results:
        for task, value in result.predictions.items():
            keys.append(result.key)
            tasks.append(task)
            widths.append(value.shape[1])
            values.append(np.ascontiguousarray(value, dtype=np.float32).reshape(-1))
    return pa.Table.from_arrays(
        [
            pa.array(keys, pa.string()),
            pa.array(tasks, pa.string()),
            pa.array(widths, pa.int16()),
            pa.array(values, pa.list_(pa.float32())),
        ],
        schema=PREDICTIONS,
    )


def attention_table(results: Sequence[FitResult]) -> pa.Table:
    """Mean attention of every kept fit, one row per pair of its tasks."""
    rows = [
        {
            "fit_key": result.key,
            "combination": combination_key(result.spec.combination),
            "replicate": result.spec.replicate,
            "task": task,
            "companion": companion,
            "weight": float(result.attention[i, j]),
        }
        for result in results
        if result.attention is not None
        for i, task in enumerate(result.spec.combination)
        for j, companion in enumerate(result.spec.combination)
    ]
    return pa.Table.from_pylist(rows, schema=FIT_ATTENTION)


def latents_table(results: Sequence[FitResult]) -> pa.Table:
    """Latents of the clustering tasks of every kept fit."""
    rows = [
        {
            "fit_key": result.key,
            "combination": combination_key(result.spec.combination),
            "replicate": result.spec.replicate,
            "task": task,
            "width": latent.shape[1],
            "latent": latent.reshape(-1),
        }
        for result in results
        for task, latent in result.latents.items()
    ]
    return pa.Table.from_pylist(rows, schema=LATENTS)
