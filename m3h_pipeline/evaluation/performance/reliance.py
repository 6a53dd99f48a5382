"""What the selected models lean on: the score that each source is worth, and the features that move it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from m3h_pipeline.config import Modality
from m3h_pipeline.files.features import feature_names
from m3h_pipeline.inference.intervals import pooled_intervals
from m3h_pipeline.inference.resampled import TEST, Cohort
from m3h_pipeline.inference.scored import Scored, difference, scored
from m3h_pipeline.layout import CohortFiles
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.fitted import FittedModel

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
#: Features of a task that are named.
NAMED: Final = 10
#: Most test rows that are held scaled at a time.
_ROWS: Final = 4096


class Block(NamedTuple):
    """Where a source's features stand: in its modality, from one number to another."""

    source: str
    modality: str
    first: int
    last: int
    names: Sequence[str]


@dataclass(frozen=True)
class Leaned:
    """What a task's selected model leans on.

    Attributes:
        task: its id.
        whole: its score with everything.
        without: source -> its score without it.
        features: (source, name) -> mean magnitude and mean of how far the prediction moves.
    """

    task: str
    whole: Scored
    without: Mapping[str, Scored]
    features: Mapping[tuple[str, str], tuple[float, float]]


def source_blocks(cohort: Path, modalities: Mapping[str, Modality]) -> list[Block]:
    """Every source of a study, as modalities hold them.

    Raises:
        InputError: features of a source are absent.
    """
    blocks = []
    for name, modality in modalities.items():
        first = 0
        for source in modality.sources:
            names = feature_names(CohortFiles(cohort).features(source))
            blocks.append(Block(source, name, first, first + len(names), names))
            first += len(names)
    return blocks


def leaned_on(
    models: Sequence[FittedModel], data: StudyData, cohort: Cohort, task: str, blocks: Sequence[Block]
) -> Leaned:
    """Take each source away from every test sample, and move each feature by a standard deviation.

    A source that is taken away is missing, as models meet that: its values become the training part's centre,
    and where the whole modality is gone, what the network learned for its absence.

    Args:
        models: the replicates of the task's selected model.
        data: the study's features.
        cohort: its labels, parts and drawn patients.
        task: its id.
        blocks: the sources.
    """
    rows = data.scored_rows(TEST)
    asked: list[Block | None] = [None, *blocks]
    said: dict[str | None, list[Float32]] = {block and block.source: [] for block in asked}
    sums: list[Float64] = []
    for model in models:
        parts: dict[str | None, list[Float32]] = {source: [] for source in said}
        moved = []
        for a in range(0, len(rows), _ROWS):
            raw = {name: x[rows[a : a + _ROWS]] for name, x in data.features.items()}
            for block in asked:
                shown = raw if block is None else raw | {block.modality: _blank(raw[block.modality], block)}
                x, present = model.standardise(shown), model.present(shown)
                parts[block and block.source].append(model.predict_scaled(x, present)[task])
                if block is None:
                    # Where it is missing a feature does not move.
                    slope = model.slopes(x, present, task).astype(np.float64)
                    moved.append(np.stack([np.abs(slope), slope, x.numpy(), x.numpy() ** 2]).sum(axis=1))
        for source, values in parts.items():
            said[source].append(np.concatenate(values))
        size, signed, mean, square = np.sum(moved, axis=0) / max(1, len(rows))
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        sums.append(np.stack([size * deviation, signed * deviation]))
    scores = {source: scored(cohort, task, {TEST: np.stack(values)}) for source, values in said.items()}
    at = {(block.modality, j): block for block in blocks for j in range(block.first, block.last)}
    features = {}
    for (modality, j), size, signed in zip(models[0].inputs(), *np.mean(sums, axis=0), strict=True):
        if (modality, j) in at:
            block = at[modality, j]
            features[block.source, block.names[j - block.first]] = (float(size), float(signed))
    without = {source: score for source, score in scores.items() if source is not None}
    return Leaned(task, scores[None], without, features)


def reliance_rows(leaned: Sequence[Leaned], cohort: Cohort) -> list[dict[str, Any]]:
    """Rows of contracts.reported.RELIANCE, sources and features from the largest on.

    Args:
        leaned: the tasks.
        cohort: labels, parts and drawn patients.
    """
    units = {one.task: cohort.informative(one.task, [TEST]) for one in leaned}
    places = [(one, source) for one in leaned for source in one.without]
    lost = [difference(one.whole, one.without[source], units[one.task]) for one, source in places]
    intervals = pooled_intervals(lost, [cohort.tasks[one.task].metric for one, _ in places])
    rows: list[dict[str, Any]] = []
    for one in leaned:
        mine = [
            (source, interval)
            for (other, source), interval in zip(places, intervals, strict=True)
            if other.task == one.task
        ]
        for source, found in sorted(mine, key=lambda each: (-np.nan_to_num(each[1].estimate), each[0])):
            named = {"task": one.task, "what": "source", "source": source, "name": source}
            rows.append(named | _known(value=found.estimate, low=found.low, high=found.high))
        most = sorted(one.features.items(), key=lambda item: (-item[1][0], item[0]))[:NAMED]
        for (source, name), (size, signed) in most:
            named = {"task": one.task, "what": "feature", "source": source, "name": name}
            rows.append(named | _known(value=size, direction=signed))
    return rows


def _blank(x: Float32, block: Block) -> Float32:
    """A modality without one of its sources; indicators behind its features say that it is missing."""
    gone = np.array(x)
    gone[:, block.first : block.last] = np.nan
    return gone


def _known(**numbers: float) -> dict[str, float | None]:
    return {name: float(f"{v:.6g}") if np.isfinite(v) else None for name, v in numbers.items()}
