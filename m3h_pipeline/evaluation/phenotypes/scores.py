"""Phenotypes of both arms held against each other where both can be: in the space of the inputs.

Each model makes its own latent space, and a silhouette in it says how far apart the model puts its clusters,
not how good they are: one that gives up all directions but one has a large silhouette by that alone. So the
clusters of both are scored by the distances of the standardised inputs, which neither has made (the latent of
the single-task model would favour the clusters that k-means found in it). Beside that stand how far the seeds
of a model agree (adjusted Rand index) and how many directions its latent uses (effective rank). All this
describes; nothing of it is tested together with the tasks that are predicted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from m3h_pipeline.config import Modality
from m3h_pipeline.contracts.reported import PHENOTYPE_PROFILES, PHENOTYPE_SCORES
from m3h_pipeline.evaluation.arms import FinalFiles, read_finals
from m3h_pipeline.evaluation.contrast import Contrast, contrast, intervals
from m3h_pipeline.evaluation.phenotypes.known import Tested, described_clusters
from m3h_pipeline.evaluation.phenotypes.latents import read_latents
from m3h_pipeline.features.scaling import CLIP
from m3h_pipeline.files import write_table
from m3h_pipeline.inference.intervals import Interval, bounded
from m3h_pipeline.inference.resampled import TEST, part_seeds
from m3h_pipeline.layout import CohortFiles
from m3h_pipeline.model.clustering import silhouettes
from m3h_pipeline.tasks.assessed import marked, read_tasks
from m3h_pipeline.training.data import load_study_data

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
_ARMS = ("single", "multi")


@dataclass(frozen=True)
class Sources:
    """The results of a study that are read.

    Attributes:
        cohort: folder of the cohort.
        labels: folder of the labels.
        tasks: ``labels/tasks.json``.
        split: the split file.
        selection: each task's combination.
        scores: SCORES of the final fits.
        predictions: their PREDICTIONS.
        latents: their LATENTS.
    """

    cohort: Path
    labels: Path
    tasks: Path
    split: Path
    selection: Path
    scores: Sequence[Path]
    predictions: Sequence[Path]
    latents: Sequence[Path]


def phenotype_scores(
    sources: Sources, modalities: Mapping[str, Modality], draws: int, seed: int, out: Path, profiles: Path
) -> None:
    """Write what the clusters of both arms of every clustering task are worth and are on the test part.

    Args:
        sources: where the study's results lie.
        modalities: modality -> its sources.
        draws: bootstrap draws of patients.
        seed: of the study.
        out: table of contracts.PHENOTYPE_SCORES; empty if the study has no clustering task.
        profiles: table of contracts.PHENOTYPE_PROFILES; empty then, too.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: a file does not follow its contract, or files do not fit each other.
    """
    files = FinalFiles(
        selection=sources.selection,
        tasks=sources.tasks,
        labels=sources.labels,
        split=sources.split,
        samples=CohortFiles(sources.cohort).samples,
        scores=sources.scores,
        predictions=sources.predictions,
    )
    seeds = {"test": part_seeds(seed)["test"]}
    finals = read_finals(files, draws, seeds, lambda task: task.problem_class == "clustering")
    chosen, cohort, arms, said = finals.chosen, finals.cohort, finals.arms, finals.said
    rows: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = []
    if chosen:
        described = read_tasks(sources.tasks)
        plain = {name: Modality(sources=spec.sources) for name, spec in modalities.items()}
        data = load_study_data(sources.cohort, sources.labels, sources.split, (), plain)
        inputs = np.clip(np.nan_to_num(data.scaled.x[data.scored_rows(TEST)], nan=0.0), -CLIP, CLIP)
        keys = {
            one.task: {
                "single": list(arms[one.task].single.values()),
                "multi": list(arms[one.task].multi.values()),
            }
            for one in chosen
        }
        wanted = {(key, task) for task, by_arm in keys.items() for fits in by_arm.values() for key in fits}
        latents = read_latents(sources.latents, wanted)
        contrasts: dict[str, Contrast] = {}
        own: dict[tuple[str, str], Float32] = {}
        for one in chosen:
            if TEST not in said[one.task]["multi"]:
                continue
            fixed = {}
            for arm in _ARMS:
                own[one.task, arm] = said[one.task][arm][TEST]
                fixed[arm] = in_inputs(own[one.task, arm], inputs)
            contrasts[one.task] = contrast(cohort, one.task, TEST, fixed["single"], fixed["multi"], one.alone)
            rows_of = cohort.parts[TEST].rows
            tested = Tested(sources.cohort, sources.labels, described, rows_of, data)
            told += described_clusters(one.task, own[one.task, "multi"], tested, cohort.parts[TEST].unit)
        found = {name: intervals(contrasts.values(), name) for name in (*_ARMS, "difference")}
        for task in contrasts:
            for arm in _ARMS:
                fits = [latents[key, task] for key in keys[task][arm]]
                rows.append(
                    _row(
                        task,
                        arm,
                        {name: of_task[task] for name, of_task in found.items()},
                        own[task, arm],
                        fits,
                    )
                )
    for path, schema, content in ((out, PHENOTYPE_SCORES, rows), (profiles, PHENOTYPE_PROFILES, told)):
        write_table(pa.Table.from_pylist(marked(content, cohort.tasks), schema=schema), path, schema)


def in_inputs(predictions: Float32, inputs: Float32) -> Float32:
    """The same clusters with the silhouettes that they have by the distances of the inputs.

    Args:
        predictions: cluster and silhouette of each row, NaN where it has none, (replicates, n, 2).
        inputs: standardised, (n, F).

    Shape:
        (replicates, n, 2)
    """
    found = np.array(predictions, dtype=np.float32)
    for one in found:
        seen = ~np.isnan(one[:, 0])
        _, cluster = np.unique(one[seen, 0], return_inverse=True)
        x = torch.from_numpy(inputs[seen].astype(np.float64))[None]
        members = torch.from_numpy(cluster.reshape(1, -1).astype(np.int64))
        valid = torch.ones_like(members, dtype=torch.bool)
        number = int(cluster.max(initial=0)) + 1
        one[seen, 1] = silhouettes(x, members, valid, number)[0].numpy() if seen.any() else np.nan
    return found


def agreement(predictions: Float32) -> float:
    """How far the clusters of a model's replicates agree: the mean adjusted Rand index of all pairs.

    1: the same clusters, whatever they are called; 0: as much as by chance (Hubert and Arabie 1985).

    Args:
        predictions: cluster and silhouette of each row, (replicates, n, 2).

    Returns:
        NaN of a single replicate.
    """
    from sklearn.metrics import adjusted_rand_score

    seen = ~np.isnan(predictions[:, :, 0]).any(axis=0)
    pairs = combinations(predictions[:, seen, 0], 2)
    each = [adjusted_rand_score(a, b) for a, b in pairs] if seen.any() else []
    return float(np.mean(each)) if each else float("nan")


def effective_rank(latent: Float32) -> float:
    """How many directions of equal variance a latent is worth: exp of the entropy of its variance's shares.

    After Roy and Vetterli (EUSIPCO 2007), of the eigenvalues of the covariance.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> round(effective_rank(rng.normal(size=(4000, 3)).astype(np.float32)), 1)
        3.0
        >>> round(effective_rank(np.outer(rng.normal(size=40), [1.0, 2.0]).astype(np.float32)), 3)
        1.0
    """
    rows = latent[~np.isnan(latent).any(axis=1)].astype(np.float64)
    variance = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2 if len(rows) else np.zeros(1)
    if variance.sum() <= 0:
        return float("nan")
    share = variance[variance > 0] / variance.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def _row(
    task: str, arm: str, found: Mapping[str, Interval], own: Float32, latents: Sequence[Float32]
) -> dict[str, Any]:
    """A row of contracts.PHENOTYPE_SCORES but for control."""
    value = found[arm]
    versus = found["difference"] if arm == "multi" else None
    numbers: dict[str, float] = {
        "silhouette": value.estimate,
        **dict(zip(("low", "high"), bounded(value, "silhouette"), strict=True)),
        "own_silhouette": float(np.nanmean(own[:, :, 1])) if np.isfinite(own[:, :, 1]).any() else np.nan,
        "stability": agreement(own),
        "rank": float(np.mean([effective_rank(latent) for latent in latents])),
        "difference": versus.estimate if versus else np.nan,
        "difference_low": versus.low if versus else np.nan,
        "difference_high": versus.high if versus else np.nan,
    }
    known = {key: float(number) if np.isfinite(number) else None for key, number in numbers.items()}
    return {"task": task, "model": arm, "replicates": len(own), "width": int(latents[0].shape[1])} | known
