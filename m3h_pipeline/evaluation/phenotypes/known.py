"""What is known of the test samples of a phenotype: their features, outcomes and diagnoses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from m3h_pipeline.contracts import DIAGNOSES
from m3h_pipeline.disclosure.text import plain
from m3h_pipeline.evaluation.phenotypes.profiles import Clustered, Floats, Index, Row, profile_rows
from m3h_pipeline.features.scaling import CLIP
from m3h_pipeline.files import read_labels, read_samples, read_table
from m3h_pipeline.layout import CohortFiles, LabelFiles
from m3h_pipeline.tasks.assessed import Task
from m3h_pipeline.training.data import StudyData

#: Modalities with more features than this hold embeddings, whose numbers name nothing.
WIDEST: Final = 1000
#: So many of the most frequent diagnoses are looked at.
LOOKED_AT: Final = 60


@dataclass(frozen=True)
class Tested:
    """The test part of a study.

    Attributes:
        cohort: folder of the cohort.
        labels: folder of the labels.
        tasks: all of the study.
        rows: numbers of the test samples, (n,).
        data: the features.
    """

    cohort: Path
    labels: Path
    tasks: Mapping[str, Task]
    rows: npt.NDArray[np.intp]
    data: StudyData


def described_clusters(
    task: str, said: npt.NDArray[np.float32], tested: Tested, patient: Index
) -> Iterator[Row]:
    """Rows of contracts.reported.PHENOTYPE_PROFILES of the selected model of a task, but for control.

    Args:
        task: its id.
        said: cluster and silhouette by each replicate, NaN where a sample has none, (replicates, n, 2).
        tested: what is known of the samples.
        patient: (n,).

    Raises:
        InputError: a file is absent or unreadable.
    """
    seen = np.flatnonzero(~np.isnan(said[:, :, 0]).any(axis=0))
    if not len(seen):
        return
    cluster = said[:, seen, 0].astype(np.intp)
    rows = tested.rows[seen]
    x, names = _features(tested.data, rows)
    outcomes, values = _outcomes(tested, rows)
    found = Clustered(cluster[0], cluster[1:], patient[seen])
    for row in profile_rows(found, x, names, outcomes, values, _diagnoses(tested, rows)):
        yield {"task": task, "model": "multi", **row}


def _features(data: StudyData, rows: npt.NDArray[np.intp]) -> tuple[Floats, list[str]]:
    """Used features in standard deviations of the training part, those of embeddings left out."""
    parts, names, start = [], list[str](), 0
    for modality, used in data.columns.items():
        width = int(used.sum())
        if len(used) <= WIDEST:
            parts.append(np.clip(data.scaled.x[rows, start : start + width], -CLIP, CLIP))
            every = data.feature_names(modality)
            names += [every[j] if j < len(every) else f"{modality} {j}" for j in np.flatnonzero(used)]
        start += width
    return (np.concatenate(parts, axis=1) if parts else np.zeros((len(rows), 0))), names


def _outcomes(tested: Tested, rows: npt.NDArray[np.intp]) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Outcomes of the study: those that one has or has not, and those that are numbers. No controls."""
    shares: dict[str, Floats] = {}
    values: dict[str, Floats] = {}
    for name, task in tested.tasks.items():
        if task.problem_class in {"binary", "regression"} and not task.control:
            kept = shares if task.problem_class == "binary" else values
            kept[name] = read_labels(LabelFiles(tested.labels).labels_of(name))[0][rows]
    return shares, values


def _diagnoses(tested: Tested, rows: npt.NDArray[np.intp]) -> dict[str, Floats]:
    """The most frequent diagnoses of the test samples' stays; none where the cohort has none."""
    path = CohortFiles(tested.cohort).diagnoses
    if not path.is_file():
        return {}
    stays = read_samples(CohortFiles(tested.cohort).samples)["stay_id"].to_pylist()
    mine: dict[str, list[int]] = {}
    for i, row in enumerate(rows.tolist()):
        if stays[row] is not None:
            mine.setdefault(stays[row], []).append(i)
    has: dict[str, set[int]] = {}
    table = read_table(path, DIAGNOSES)
    for stay, title in zip(table["stay_id"].to_pylist(), table["long_title"].to_pylist(), strict=True):
        if title and stay in mine:
            has.setdefault(plain(title), set()).update(mine[stay])
    often = Counter({title: len(samples) for title, samples in has.items()})
    found: dict[str, Floats] = {}
    for title, _ in sorted(often.items(), key=lambda item: (-item[1], item[0]))[:LOOKED_AT]:
        found[title] = np.zeros(len(rows))
        found[title][sorted(has[title])] = 1.0
    return found
