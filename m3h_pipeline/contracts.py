"""The data contracts: Arrow schemas of every file of a study, and what their values mean.

:mod:`m3h_pipeline.files` checks them at each read and each write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Float32Array = npt.NDArray[np.float32]

#: Times at which survival curves are recorded.
SURVIVAL_TIMES = 32

#: One row per fit and member task.
SCORES = pa.schema(
    [
        pa.field("fit_key", pa.string(), nullable=False),
        pa.field("combination", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("replicate", pa.int16(), nullable=False),
        pa.field("fold", pa.int16(), nullable=False),
        pa.field("batch_size", pa.int32(), nullable=False),
        pa.field("learning_rate", pa.float64(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("n_scored", pa.int32(), nullable=False),
        pa.field("epochs", pa.int32(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
    ]
)

#: Predictions for the scored rows of a fit, in the row order of the cohort restricted to the scored part.
#: ``width`` numbers a row: binary 1 (probability), multiclass C (probabilities), regression 1 (in the
#: unit of the label), clustering 2 (cluster, silhouette of the sample), survival 1 + ``SURVIVAL_TIMES``
#: (risk: the larger, the sooner the event; then the probability of no event until each time of the task's
#: grid, see ``m3h_pipeline.survival.time_grid``). ``prediction`` is row-major.
PREDICTIONS = pa.schema(
    [
        pa.field("fit_key", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("width", pa.int16(), nullable=False),
        pa.field("prediction", pa.list_(pa.float32()), nullable=False),
    ]
)

#: Row-aligned with ``samples``: the part (train/test) and the fold (0..k-1 in train, -1 in test).
SPLIT = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("fold", pa.int16(), nullable=False),
    ]
)

#: The diagnosis codes of a stay's hospital admission, without dots; the title is empty if unknown.
DIAGNOSES = pa.schema(
    [
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("stay_id", pa.string(), nullable=False),
        pa.field("icd_code", pa.string(), nullable=False),
        pa.field("icd_version", pa.int8(), nullable=False),
        pa.field("long_title", pa.string(), nullable=False),
    ]
)

#: One task's labels, row-aligned with ``samples``; NaN = not observed. A multiclass label is the class index.
LABELS = pa.schema([pa.field("y", pa.float32(), nullable=False)])

#: Labels of a survival task: ``y`` is 1 for an observed event and 0 for a censored time, ``time`` when that
#: was, in the unit of the description; both are NaN where either is not observed.
SURVIVAL_LABELS = pa.schema(
    [pa.field("y", pa.float32(), nullable=False), pa.field("time", pa.float32(), nullable=False)]
)

#: The best combination of each task, and its single-task control (``score``: mean over folds and replicates).
SELECTION = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("problem_class", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("combination", pa.string(), nullable=False),
        pa.field("size", pa.int16(), nullable=False),
        pa.field("batch_size", pa.int32(), nullable=False),
        pa.field("learning_rate", pa.float64(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("single_batch_size", pa.int32(), nullable=False),
        pa.field("single_learning_rate", pa.float64(), nullable=False),
        pa.field("single_score", pa.float64(), nullable=False),
    ]
)

#: Every combination a source task looked at: its round, score, and whether the beam kept it.
TRAJECTORY = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("round", pa.int16(), nullable=False),
        pa.field("combination", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("kept", pa.bool_(), nullable=False),
    ]
)

#: TIM(task, companion): how much learning ``companion`` too changes the score of ``task``.
TIM = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("companion", pa.string(), nullable=False),
        pa.field("estimate", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("p", pa.float64(), nullable=False),
        pa.field("q", pa.float64(), nullable=False),
        pa.field("significant", pa.bool_(), nullable=False),
        pa.field("n_differences", pa.int32(), nullable=False),
        pa.field("mode", pa.string(), nullable=False),
    ]
)

#: Test part, one row per task: the selected multitask model against the single-task model.
EVALUATION = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("department", pa.string(), nullable=False),
        pa.field("problem_class", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("combination", pa.string(), nullable=False),
        pa.field("single", pa.float64(), nullable=False),
        pa.field("single_low", pa.float64(), nullable=False),
        pa.field("single_high", pa.float64(), nullable=False),
        pa.field("multi", pa.float64(), nullable=False),
        pa.field("multi_low", pa.float64(), nullable=False),
        pa.field("multi_high", pa.float64(), nullable=False),
        pa.field("difference", pa.float64(), nullable=False),
        pa.field("difference_low", pa.float64(), nullable=False),
        pa.field("difference_high", pa.float64(), nullable=False),
        pa.field("relative", pa.float64(), nullable=False),
        pa.field("relative_low", pa.float64(), nullable=False),
        pa.field("relative_high", pa.float64(), nullable=False),
        pa.field("p", pa.float64(), nullable=False),
        pa.field("q", pa.float64(), nullable=False),
        pa.field("n_samples", pa.int32(), nullable=False),
        pa.field("n_patients", pa.int32(), nullable=False),
    ]
)

#: Every model beside every other: ``model`` is multi, single, linear or gradient_boosting; ``part`` is
#: validation (out of fold) or test.
COMPARISON = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
    ]
)

#: Networks compared (section ``networks``), beside the references: ``network`` is a network's name, linear or
#: gradient_boosting; ``learned`` is alone (each task by itself), together (all tasks) or reference; ``part``
#: as in ``COMPARISON``. ``value``: metric of the mean prediction of all ``replicates`` (0: a model without
#: seeds), out of fold the mean over folds. ``one_seed`` and ``deviation``: mean and deviation of the scores
#: of single replicates. ``difference``: less the linear reference, or less the study's own network of the
#: task alone where the task has none; null of that model itself.
NETWORK_COMPARISON = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("network", pa.string(), nullable=False),
        pa.field("learned", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("replicates", pa.int16(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("one_seed", pa.float64()),
        pa.field("deviation", pa.float64()),
        pa.field("difference", pa.float64()),
        pa.field("difference_low", pa.float64()),
        pa.field("difference_high", pa.float64()),
    ]
)

#: Observed event rate by predicted-risk quantile (Figure 4a). ``subgroup`` is "all" or a group's name.
CALIBRATION = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("subgroup", pa.string(), nullable=False),
        pa.field("quantile", pa.int16(), nullable=False),
        pa.field("predicted", pa.float64(), nullable=False),
        pa.field("observed", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("n", pa.int32(), nullable=False),
    ]
)

#: One-vs-rest ROC curves on a grid of false positive rates (Figure 4b).
ROC = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("class_name", pa.string(), nullable=False),
        pa.field("fpr", pa.float64(), nullable=False),
        pa.field("tpr", pa.float64(), nullable=False),
        pa.field("auroc", pa.float64(), nullable=False),
    ]
)

#: Predicted against observed values of regression tasks as counts on a grid of cells (Figure 4c), cell
#: edges in the label's unit.
AGREEMENT = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("observed_low", pa.float64(), nullable=False),
        pa.field("observed_high", pa.float64(), nullable=False),
        pa.field("predicted_low", pa.float64(), nullable=False),
        pa.field("predicted_high", pa.float64(), nullable=False),
        pa.field("n", pa.int32(), nullable=False),
    ]
)

#: Survival tasks on the test part beyond the concordance: ``score`` is uno (concordance weighted by the
#: inverse probability of censoring), brier (integrated over the grid's times; the smaller the better) or
#: dynamic_auroc (mean over these times). ``model`` is as in ``COMPARISON``, or kaplan_meier: the training
#: part's curve for all.
SURVIVAL = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("score", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("n", pa.int32(), nullable=False),
        pa.field("events", pa.int32(), nullable=False),
    ]
)

#: Kaplan-Meier curves of the test part by third of the predicted risk, at evenly spaced times. ``n`` and
#: ``events`` are the group's; ``p`` is of the log-rank test between the groups.
KAPLAN_MEIER = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("time", pa.float64(), nullable=False),
        pa.field("survival", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("at_risk", pa.int32(), nullable=False),
        pa.field("n", pa.int32(), nullable=False),
        pa.field("events", pa.int32(), nullable=False),
        pa.field("p", pa.float64(), nullable=False),
    ]
)

#: AUROC of the predicted risk for an event until each time against none until then (cumulative / dynamic).
DYNAMIC_AUROC = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("time", pa.float64(), nullable=False),
        pa.field("auroc", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
    ]
)

#: UMAP of the phenotypes' latents, binned (Figure 4d): the cluster most samples of a cell belong to.
PHENOTYPES = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("x", pa.float64(), nullable=False),
        pa.field("y", pa.float64(), nullable=False),
        pa.field("cluster", pa.int16(), nullable=False),
        pa.field("n", pa.int32(), nullable=False),
        pa.field("silhouette", pa.float64(), nullable=False),
    ]
)

#: Mean cross-task attention of the final models: the row of ``task`` within its selected combination.
ATTENTION = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("companion", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
    ]
)

#: Files of final fits: mean attention within every final combination, over the test samples.
FIT_ATTENTION = pa.schema(
    [
        pa.field("fit_key", pa.string(), nullable=False),
        pa.field("combination", pa.string(), nullable=False),
        pa.field("replicate", pa.int16(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("companion", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
    ]
)

#: ``genes/<modality>.parquet``: the vectors that genes start from; ``fold`` is null where all folds share
#: them, -1 of final fits.
GENE_EMBEDDINGS = pa.schema(
    [
        pa.field("fold", pa.int16()),
        pa.field("gene", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.float32()), nullable=False),
    ]
)

#: ``gene_pairs/<task>/pairs.parquet``: every pair of genes. ``effect`` and ``magnitude`` are mixed
#: differences of the task's output (mean, and mean magnitude, over samples; of the class with the largest
#: ``magnitude``); ``attention`` is the mean over layers, heads and directions; the rest compares two groups
#: of patients and is null where there are none.
GENE_PAIRS = pa.schema(
    [
        pa.field("gene_a", pa.string(), nullable=False),
        pa.field("gene_b", pa.string(), nullable=False),
        pa.field("effect", pa.float64(), nullable=False),
        pa.field("magnitude", pa.float64(), nullable=False),
        pa.field("attention", pa.float64(), nullable=False),
        pa.field("difference", pa.float64()),
        pa.field("statistic", pa.float64()),
        pa.field("p", pa.float64()),
        pa.field("q", pa.float64()),
        pa.field("called", pa.bool_()),
    ]
)

#: ``gene_pairs/<task>/genes.parquet``: mean magnitude of the effect of one deviation of each gene.
GENE_IMPORTANCE = pa.schema(
    [
        pa.field("gene", pa.string(), nullable=False),
        pa.field("importance", pa.float64(), nullable=False),
    ]
)

#: ``gene_pairs/<task>/heads.parquet``: attention of the top pairs, both directions together, in every head,
#: as a multiple of what even attention would give.
GENE_HEADS = pa.schema(
    [
        pa.field("layer", pa.int16(), nullable=False),
        pa.field("head", pa.int16(), nullable=False),
        pa.field("gene_a", pa.string(), nullable=False),
        pa.field("gene_b", pa.string(), nullable=False),
        pa.field("ratio", pa.float64(), nullable=False),
    ]
)

#: ``gene_pairs/<task>/gene_sets.parquet``: over-representation of gene sets among the top pairs' genes.
GENE_SETS = pa.schema(
    [
        pa.field("gene_set", pa.string(), nullable=False),
        pa.field("overlap", pa.int32(), nullable=False),
        pa.field("size", pa.int32(), nullable=False),
        pa.field("p", pa.float64(), nullable=False),
        pa.field("q", pa.float64(), nullable=False),
        pa.field("genes", pa.string(), nullable=False),
    ]
)

#: Files of final fits: latents of clustering tasks for the test samples, (n_test, width) row-major.
LATENTS = pa.schema(
    [
        pa.field("fit_key", pa.string(), nullable=False),
        pa.field("combination", pa.string(), nullable=False),
        pa.field("replicate", pa.int16(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("width", pa.int16(), nullable=False),
        pa.field("latent", pa.list_(pa.float32()), nullable=False),
    ]
)

#: Predictions of the references (linear, gradient boosting) for one task: fold 0..k-1 out of fold, fold -1
#: for the test part; rows and width as in ``PREDICTIONS``. ``setting`` says what was chosen ("C=0.01").
BASELINE_PREDICTIONS = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("setting", pa.string(), nullable=False),
        pa.field("fold", pa.int16(), nullable=False),
        pa.field("width", pa.int16(), nullable=False),
        pa.field("prediction", pa.list_(pa.float32()), nullable=False),
    ]
)

#: How much of a selected combination's validation score is luck of the search (BBC-CV, Tsamardinos 2018):
#: ``corrected`` is the mean out-of-bag score of the combination that wins in the bag, with its 95 % interval;
#: ``chosen`` is the share of the draws in which the combination that was selected wins again.
OPTIMISM = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("combination", pa.string(), nullable=False),
        pa.field("selected", pa.float64(), nullable=False),
        pa.field("corrected", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("chosen", pa.float64(), nullable=False),
        pa.field("n_combinations", pa.int32(), nullable=False),
    ]
)

#: The metric of a problem class.
METRICS = {
    "binary": "auroc",
    "multiclass": "macro_auroc",
    "regression": "r2",
    "clustering": "silhouette",
    "survival": "concordance",
}


def prediction_width(problem_class: str, classes: int) -> int:
    """Numbers per row of a prediction, see ``PREDICTIONS``."""
    return {"multiclass": classes, "clustering": 2, "survival": 1 + SURVIVAL_TIMES}.get(problem_class, 1)


def combination_key(tasks: Iterable[str]) -> str:
    """The key of a combination; it ignores order.

    Examples:
        >>> combination_key(["sepsis", "anemia"])
        'anemia+sepsis'
    """
    return "+".join(sorted(tasks))


def combination_tasks(key: str) -> tuple[str, ...]:
    """The tasks of a combination's key, sorted."""
    return tuple(key.split("+"))


def samples_schema(subgroups: Mapping[str, Any] | list[str]) -> pa.Schema:
    """Schema of ``cohort/samples.parquet`` with the given subgroup columns."""
    fields = [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("stay_id", pa.string()),
    ]
    fields += [pa.field(name, pa.dictionary(pa.int32(), pa.string())) for name in subgroups]
    return pa.schema(fields)


def signed_time(time: npt.ArrayLike, event: npt.ArrayLike) -> Float32Array:
    """Times to an event as one number a row: negative (-0.0 included) where the time is censored.

    So survival labels travel as those of all other tasks do. NaN where the time or whether there was an event
    (``event`` NaN) is not known.

    Examples:
        >>> signed_time([3.0, 2.0, 0.0, 1.0], [1, 0, 0, np.nan]).tolist()
        [3.0, -2.0, -0.0, nan]
    """
    t, happened = np.asarray(time, dtype=np.float32), np.asarray(event, dtype=np.float32)
    return np.where(np.isnan(t) | np.isnan(happened), np.float32(np.nan), np.where(happened == 1, t, -t))


def time_and_event(y: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The inverse of :func:`signed_time`: times (NaN = not observed), and where an event was observed."""
    return np.abs(y.astype(np.float64)), ~np.signbit(y) & ~np.isnan(y)
