"""Task interaction (TIM) of a study, or of a model on the rows that it was fitted on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from m3h_pipeline.api.asked import brief, whole
from m3h_pipeline.api.model import MultitaskModel
from m3h_pipeline.api.study import Study
from m3h_pipeline.api.tables import with_tasks
from m3h_pipeline.api.training import Rows, one_setting
from m3h_pipeline.coding import labelled_by
from m3h_pipeline.config import Split, Tim
from m3h_pipeline.contracts import PREDICTIONS, SCORES, SPLIT, TIM, combination_tasks, samples_schema
from m3h_pipeline.errors import ConfigError, InputError
from m3h_pipeline.files import read_table, write_json, write_labels, write_table
from m3h_pipeline.layout import Layout
from m3h_pipeline.split import make_split
from m3h_pipeline.tasks.permuted import permuted_companions, permuted_labels
from m3h_pipeline.tim.design import design_of
from m3h_pipeline.tim.estimate import compute_tim
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.pack import predictions_table, scores_table
from m3h_pipeline.training.spec import FitResult, FitSpec


def tim_scores(
    of: MultitaskModel | Study,
    X: pd.DataFrame | None = None,
    y: pd.DataFrame | None = None,
    groups: Sequence[Any] | pd.Series[Any] | str | None = None,
    *,
    folds: int = 5,
    replicates: int = 3,
    controls: int = 3,
    draws: int = 500,
    fdr: float = 0.05,
) -> pd.DataFrame:
    """How much learning another task too changes the score of a task.

    Of a study this is its table. Of a model every task is learned by itself and with each other one, and
    scored out of fold, and with each of the permuted companions, which say what sharing costs:
    ``(tasks + controls) + tasks (tasks - 1) / 2 + tasks controls`` combinations, times folds, times
    replicates. Estimates, intervals and the flag are those of a study's ``pairs`` mode, by the same code.

    Args:
        of: a study, or a fitted model.
        X, y, groups: rows to learn from, as of :meth:`MultitaskModel.fit`; None: those that the model was
            fitted on, which a model that was read from disk does not have.
        folds: of the cross-validation, by group; from 3 on.
        replicates: seeds; from 2 on what seeds change counts in the intervals.
        controls: permuted companions; 0: none, and flags include the general cost of sharing.
        draws: of the bootstrap over groups.
        fdr: rate of false discoveries among the pairs that are called significant.

    Returns:
        One row per ordered pair: ``task``, ``companion``, ``estimate`` (of the task's metric), ``low`` and
        ``high`` (95 %), ``p``, ``q``, the same of ``excess`` (the estimate less that of permuted companions),
        ``significant``, ``control``, ``task_control`` and ``companion_control`` (why nothing can be learned
        of it; empty: an outcome), ``n_differences``, ``mode``. ``plot.tim`` draws it.

    Raises:
        InputError: rows are needed and not given, there are too few groups, or it is neither study nor model.
        ConfigError: a number cannot be used, or the model has one task.
    """
    if isinstance(of, Study):
        return of.results.tim
    if not isinstance(of, MultitaskModel):
        raise InputError(f"task interaction is of a study or of a fitted model, not of {brief(of)}")
    check_is_fitted(of)
    rows = of.training_rows(X, y, groups)
    if len(rows.outcomes) < 2:
        raise ConfigError("task interaction needs two tasks, and the model has one", where="tasks")
    folds, replicates = whole(folds, "folds", 3), whole(replicates, "replicates", 1)
    draws, controls = whole(draws, "draws", 2), whole(controls, "controls", 0, 20)
    if not isinstance(fdr, int | float | np.number) or not 0 < fdr < 1:
        raise ConfigError(f"`fdr` is a rate between 0 and 1, not {brief(fdr)}")
    settings = of.training_settings(rows)
    tim = Tim(mode="pairs", controls=controls, replicates=replicates, draws=draws, fdr=fdr)
    samples, split = _split(rows, folds, of.seed)
    fold = split.column("fold").to_numpy().astype(np.int64)
    data = rows.arrays(settings, fold)
    known = {name: one.task for name, one in rows.outcomes.items()}
    permuted = permuted_companions(known, controls, of.seed)
    for name in permuted:
        labels = rows.labels[labelled_by(name)]
        data.labels[name] = permuted_labels(labels, rows.groups, fold, of.seed, name)
        data.tasks[name] = data.tasks[labelled_by(name)]
    batch_size, rate = one_setting(settings.training)
    specs = [
        FitSpec(combination_tasks(key), number, replicate, batch_size, rate)
        for key in design_of(known, permuted, tim, of.seed).keys
        for replicate in range(replicates)
        for number in range(folds)
    ]
    results = run_fits(specs, data, settings, progress=sys.stderr)
    with TemporaryDirectory(prefix="m3h-tim-") as folder:
        layout = Layout(Path(folder))
        _write(rows, samples, split, results, data.tasks, layout)
        scores, predictions = layout.tim.scores, layout.tim.of_pack("0", "predictions")
        compute_tim(
            layout.labels.tasks,
            [scores],
            [predictions],
            layout.labels.folder,
            layout.split,
            layout.cohort.samples,
            layout.tim_table,
            tim,
            of.seed,
        )
        return with_tasks(read_table(layout.tim_table, TIM), known.values())


def _split(rows: Rows, folds: int, seed: int) -> tuple[pa.Table, pa.Table]:
    """Samples by name, and folds of equal size, all in the training part.

    Raises:
        InputError: there are fewer groups than folds.
    """
    digits = len(str(rows.n))
    schema = samples_schema([])
    samples = pa.table(
        {
            "sample_id": [f"{i:0{digits}d}" for i in range(rows.n)],
            "patient_id": rows.groups,
            "stay_id": pa.nulls(rows.n, pa.string()),
        },
        schema=schema,
    )
    if (groups := len(set(rows.groups))) < folds:
        raise InputError(f"{groups} groups cannot fill {folds} folds", where="groups")
    balanced = {
        name: y
        for name, y in rows.labels.items()
        if rows.outcomes[name].problem_class in {"binary", "multiclass"}
    }
    # A test part as large as each fold is one more fold.
    parts = make_split(samples, balanced, Split(test_fraction=1 / folds, folds=folds - 1, seed=seed))
    number = parts.column("fold").to_numpy()
    columns = [
        parts.column("sample_id"),
        pa.array(["train"] * rows.n),
        pa.array(np.where(number < 0, folds - 1, number), pa.int16()),
    ]
    return samples, pa.Table.from_arrays(columns, schema=SPLIT)


def _write(
    rows: Rows,
    samples: pa.Table,
    split: pa.Table,
    results: Sequence[FitResult],
    tasks: dict[str, dict[str, Any]],
    layout: Layout,
) -> None:
    """What the estimate reads, as the stages of a study write it."""
    write_table(samples, layout.cohort.samples, samples.schema)
    write_table(split, layout.split, SPLIT)
    for name, y in rows.labels.items():
        write_labels(y, layout.labels.labels_of(name), tasks[name])
    write_json(
        {"tasks": {name: {**tasks[name], "status": "ok"} for name in rows.labels}}, layout.labels.tasks
    )
    write_table(scores_table(results, tasks), layout.tim.scores, SCORES)
    write_table(predictions_table(results), layout.tim.of_pack("0", "predictions"), PREDICTIONS)
