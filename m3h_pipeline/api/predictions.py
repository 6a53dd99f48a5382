"""What a study's final models predict for its own samples, as one data frame."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from m3h_pipeline.evaluation.arms import final_files, read_finals
from m3h_pipeline.files import read_samples
from m3h_pipeline.inference.resampled import TEST, Cohort
from m3h_pipeline.inference.scored import ensemble
from m3h_pipeline.layout import Layout
from m3h_pipeline.survival import time_grid
from m3h_pipeline.tasks.assessed import Task

Floats = npt.NDArray[np.floating]


def predictions(layout: Layout) -> pd.DataFrame:
    """Predictions of both networks of every task, mean over replicates: rows of patients.

    Returns:
        One row per sample, task, model and output: ``sample_id``, ``part`` (``test``: by models of the whole
        training part; ``train``: out of fold), ``fold``, ``task``, ``model`` (``multi``: the selected
        combination; ``single``), ``output``, ``prediction``, ``observed``. The output is ``probability`` of a
        binary task, a class, ``value``, ``risk`` and ``survival TIME``, or ``cluster`` and ``silhouette``;
        what was observed is NaN where it is not known, and of a survival task negative where censored.

    Raises:
        InputError: a file is absent or damaged.
        ContractError: files do not fit each other.
    """
    # Parts and labels are wanted; nothing is drawn that is looked at.
    finals = read_finals(final_files(layout), 1, {"train": 0, "test": 0})
    cohort, found = finals.cohort, finals.said
    ids = read_samples(layout.cohort.samples).column("sample_id").to_numpy(zero_copy_only=False)
    frames = [
        frame
        for task, of_arm in sorted(found.items())
        for model, parts in sorted(of_arm.items())
        for number, values in sorted(parts.items())
        for frame in _outputs(cohort, task, number, values, ids, model)
    ]
    columns = ["sample_id", "part", "fold", "task", "model", "output", "prediction", "observed"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _outputs(
    cohort: Cohort, task: str, number: int, values: Floats, ids: npt.NDArray[np.object_], model: str
) -> Iterator[pd.DataFrame]:
    mean = ensemble(values, cohort.tasks[task].problem_class)
    rows = cohort.parts[number].rows
    for output, prediction in zip(_names(cohort, cohort.tasks[task]), mean.T, strict=True):
        yield pd.DataFrame(
            {
                "sample_id": ids[rows],
                "part": "test" if number == TEST else "train",
                "fold": number,
                "task": task,
                "model": model,
                "output": output,
                "prediction": prediction,
                "observed": cohort.labels[task][rows].astype(np.float64),
            }
        )


def _names(cohort: Cohort, task: Task) -> list[str]:
    """Names of a prediction's numbers, in their order (``contracts.PREDICTIONS``)."""
    if task.problem_class == "multiclass":
        return list(task.classes)
    if task.problem_class == "survival":
        rows = np.concatenate([cohort.parts[fold].rows for fold in cohort.folds])
        return ["risk", *(f"survival {time:g}" for time in time_grid(cohort.labels[task.id][rows]))]
    return {"binary": ["probability"], "clustering": ["cluster", "silhouette"]}.get(
        task.problem_class, ["value"]
    )
