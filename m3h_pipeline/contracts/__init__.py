"""The data contracts: Arrow schemas of every file of a study.

:mod:`m3h_pipeline.files` checks them at each read and each write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa


def _required(kind: pa.DataType, *names: str) -> list[pa.Field]:
    return [pa.field(name, kind, nullable=False) for name in names]


def _optional(kind: pa.DataType, *names: str) -> list[pa.Field]:
    return [pa.field(name, kind) for name in names]


def _schema(*groups: list[pa.Field]) -> pa.Schema:
    return pa.schema([field for group in groups for field in group])


#: One row per fit and member task.
SCORES = _schema(
    _required(pa.string(), "fit_key", "combination", "task"),
    _required(pa.int16(), "replicate", "fold"),
    _required(pa.int32(), "batch_size"),
    _required(pa.float64(), "learning_rate"),
    _required(pa.string(), "metric"),
    _optional(pa.float64(), "value"),
    _required(pa.int32(), "n_scored", "epochs"),
    _required(pa.string(), "status"),
    _required(pa.float64(), "seconds"),
)

#: Predictions for the scored rows of a fit, in the row order of the cohort restricted to the scored part.
#: ``width`` numbers a row: binary 1 (probability), multiclass C (probabilities), regression 1 (in the
#: unit of the label), clustering 2 (cluster, silhouette of the sample), survival 1 + ``SURVIVAL_TIMES``
#: (risk: the larger, the sooner the event; then the probability of no event until each time of the task's
#: grid, see ``m3h_pipeline.survival.time_grid``). ``prediction`` is row-major.
PREDICTIONS = _schema(
    _required(pa.string(), "fit_key", "task"),
    _required(pa.int16(), "width"),
    _required(pa.list_(pa.float32()), "prediction"),
)

#: Row-aligned with ``samples``: the part (train/test) and the fold (0..k-1 in train, -1 in test).
SPLIT = _schema(
    _required(pa.string(), "sample_id", "part"),
    _required(pa.int16(), "fold"),
)

#: The diagnosis codes of a stay's hospital admission, without dots; the title is empty if unknown.
DIAGNOSES = _schema(
    _required(pa.string(), "patient_id", "stay_id", "icd_code"),
    _required(pa.int8(), "icd_version"),
    _required(pa.string(), "long_title"),
)

#: One task's labels, row-aligned with ``samples``; NaN = not observed. A multiclass label is the class index.
LABELS = _schema(_required(pa.float32(), "y"))

#: Labels of a survival task: ``y`` is 1 for an observed event and 0 for a censored time, ``time`` when that
#: was, in the unit of the description; both are NaN where either is not observed.
SURVIVAL_LABELS = _schema(_required(pa.float32(), "y", "time"))

#: The best combination of each task, and its single-task control (``score``: mean over folds and replicates).
SELECTION = _schema(
    _required(pa.string(), "task", "problem_class", "metric", "combination"),
    _required(pa.int16(), "size"),
    _required(pa.int32(), "batch_size"),
    _required(pa.float64(), "learning_rate", "score"),
    _required(pa.int32(), "single_batch_size"),
    _required(pa.float64(), "single_learning_rate", "single_score"),
)

#: Every combination a source task looked at, by size: ``score`` by all its replicates, which ranks a size;
#: ``compared`` by those of all that the task looked at to the end; ``left`` before it was trained whole.
TRAJECTORY = _schema(
    *(_required(pa.string(), "task", "combination"), _required(pa.int16(), "size")),
    *(_optional(pa.float64(), "score", "compared"), _required(pa.bool_(), "kept", "left")),
)

#: What each task's search cost and why it ended (docs/search.md); the row without a task: the whole search.
SEARCH_REPORT = _schema(
    _optional(pa.string(), "task", "combination", "stopped"),
    _optional(pa.int16(), "size", "last_size"),
    _optional(pa.float64(), "score", "single_score", "last_gain", "last_error"),
    _required(pa.int64(), "combinations", "left", "fits", "saved"),
)

#: TIM(task, companion): how much learning ``companion`` too changes the score of ``task``. ``excess`` is the
#: estimate less the mean of the task's permuted companions, NaN where there are none; ``significant`` goes by
#: it, or without permuted companions by the estimate. ``control``: task or companion is a permuted one.
TIM = _schema(
    _required(pa.string(), "task", "companion"),
    _required(pa.float64(), "estimate", "low", "high", "p", "q"),
    _required(pa.float64(), "excess", "excess_low", "excess_high", "excess_p", "excess_q"),
    _required(pa.bool_(), "significant", "control"),
    _required(pa.int32(), "n_differences"),
    _required(pa.string(), "mode"),
)

#: Test part, one row per task: the selected multitask model against the single-task model, and against
#: ``reference``, the best reference by its score out of fold (null: there is none). ``verdict``,
#: ``reference_verdict``: better, worse, not significant, not tested or no comparison
#: (``evaluation/claims.py``); ``q`` is over the tasks that were tested, NaN of the others, ``detectable``
#: the least difference that would have been found with a power of 80 %. Of phenotypes no difference is
#: taken: each silhouette is of a model's own space. ``control``: why nothing can be learned of a task
#: (permuted labels, planted noise), empty of an outcome. Here and in the tables below a number of samples or
#: patients that would tell of 1 to 10 is null, or its row left out.
EVALUATION = _schema(
    _required(pa.string(), "task", "title", "department", "problem_class", "metric", "combination"),
    _required(pa.string(), "control", "verdict"),
    _required(pa.float64(), "single", "single_low", "single_high"),
    _required(pa.float64(), "multi", "multi_low", "multi_high"),
    _required(pa.float64(), "difference", "difference_low", "difference_high"),
    _required(pa.float64(), "relative", "relative_low", "relative_high", "p", "q", "detectable"),
    _optional(pa.string(), "reference"),
    _required(pa.string(), "reference_verdict"),
    _required(pa.float64(), "versus_reference", "versus_reference_low", "versus_reference_high"),
    _required(pa.float64(), "reference_p", "reference_q", "reference_detectable"),
    _optional(pa.int32(), "n_samples", "n_patients"),
)

#: Every model beside every other: ``model`` is multi, single or the name of a reference; ``part`` is
#: validation (out of fold) or test.
COMPARISON = _schema(
    _required(pa.string(), "task", "model", "part", "metric"),
    _optional(pa.float64(), "value", "low", "high"),
)

#: What to use for each supervised task. ``candidate`` is alone (the single-task network), together (the
#: selected combination), a reference, blend, or chosen: the rule itself, out of fold with each fold predicted
#: by what the other folds choose, on the test part the candidate that was chosen. ``part`` as in
#: ``COMPARISON``; a blend's weights are of the other folds, or of all of them. ``versus_reference`` and
#: ``versus_alone``: the difference to ``reference``, the best one by its score out of fold (of the rule: by
#: that on the other folds), and to the network alone, paired by patient and seed. ``chosen`` marks the
#: candidate that was chosen, and the rule. In words, and with the weights of each blend: JSON under
#: ``choice`` in the schema's metadata.
CHOICE = _schema(
    _required(pa.string(), "task", "candidate", "part", "metric"),
    _required(pa.bool_(), "chosen"),
    _optional(pa.float64(), "value", "low", "high"),
    _optional(pa.string(), "reference"),
    _optional(pa.float64(), "versus_reference", "versus_reference_low", "versus_reference_high"),
    _optional(pa.float64(), "versus_alone", "versus_alone_low", "versus_alone_high"),
)

#: Calibration of every candidate of the choice on the test part: ``state`` is before (as it predicts) or
#: after (recalibrated by predictions out of fold; ``method`` says how: logistic, isotonic, temperature,
#: linear or hazards). A slope of 1 and an intercept of 0 are right; 95 % intervals count patients. Null:
#: undefined, as the intercept of several classes. ``events`` of binary and survival tasks.
CALIBRATION_SLOPES = _schema(
    _required(pa.string(), "task", "candidate"),
    _required(pa.bool_(), "chosen"),
    _required(pa.string(), "state", "method"),
    _optional(pa.float64(), "slope", "slope_low", "slope_high"),
    _optional(pa.float64(), "intercept", "intercept_low", "intercept_high"),
    _optional(pa.int32(), "events"),
)

#: Networks compared (section ``networks``), beside the references: ``network`` is a network's name or that of
#: a reference; ``learned`` is alone (each task by itself), together (all tasks) or reference; ``part``
#: as in ``COMPARISON``. ``value``: metric of the mean prediction of all ``replicates`` (0: a model without
#: seeds), out of fold the mean over folds. ``one_seed`` and ``deviation``: mean and deviation of the scores
#: of single replicates. ``difference``: less the linear reference, or less the study's own network of the
#: task alone where the task has none; null of that model itself.
NETWORK_COMPARISON = _schema(
    _required(pa.string(), "task", "network", "learned", "part", "metric"),
    _required(pa.int16(), "replicates"),
    _optional(pa.float64(), "value", "low", "high", "one_seed", "deviation", "difference"),
    _optional(pa.float64(), "difference_low", "difference_high"),
)

#: Observed event rate by predicted-risk quantile (Figure 4a). ``subgroup`` is "all" or a group's name.
CALIBRATION = _schema(
    _required(pa.string(), "task", "model", "subgroup"),
    _required(pa.int16(), "quantile"),
    _required(pa.float64(), "predicted", "observed", "low", "high"),
    _required(pa.int32(), "n"),
)

#: One-vs-rest ROC curves on a grid of false positive rates (Figure 4b).
ROC = _schema(
    _required(pa.string(), "task", "model", "class_name"),
    _required(pa.float64(), "fpr", "tpr", "auroc"),
)

#: Predicted against observed values of regression tasks as counts on a grid of cells (Figure 4c), cell
#: edges in the label's unit.
AGREEMENT = _schema(
    _required(pa.string(), "task", "model"),
    _required(pa.float64(), "observed_low", "observed_high", "predicted_low", "predicted_high"),
    _required(pa.int32(), "n"),
)

#: Survival tasks on the test part beyond the concordance: ``score`` is uno (concordance weighted by the
#: inverse probability of censoring), brier (integrated over the grid's times; the smaller the better) or
#: dynamic_auroc (mean over these times). ``model`` is as in ``COMPARISON``, or kaplan_meier: the training
#: part's curve for all.
SURVIVAL = _schema(
    _required(pa.string(), "task", "model", "score"),
    _optional(pa.float64(), "value", "low", "high"),
    _optional(pa.int32(), "n", "events"),
)

#: Kaplan-Meier curves of the test part by third of the predicted risk, at evenly spaced times between which
#: no patient, or at least 11, have the event. ``n`` and ``events`` are the group's; ``p`` is of the log-rank
#: test between the groups.
KAPLAN_MEIER = _schema(
    _required(pa.string(), "task", "model", "group"),
    _required(pa.float64(), "time", "survival", "low", "high"),
    _optional(pa.int32(), "n", "events"),
    _required(pa.float64(), "p"),
)

#: AUROC of the predicted risk for an event until each time against none until then (cumulative / dynamic).
DYNAMIC_AUROC = _schema(
    _required(pa.string(), "task", "model"),
    _required(pa.float64(), "time", "auroc", "low", "high"),
)

#: Map of the phenotypes' latents, binned (Figure 4d): the cluster most samples of a cell belong to.
PHENOTYPES = _schema(
    _required(pa.string(), "task", "model", "projection"),
    _required(pa.float64(), "x", "y"),
    _required(pa.int16(), "cluster"),
    _required(pa.int32(), "n"),
    _required(pa.float64(), "silhouette"),
)

#: The selected models on the test part where a modality is hidden from a ``share`` of the rows that have it;
#: null: each modality from that share, drawn by itself. ``change``: less the score with nothing hidden. Null:
#: undefined, or fewer than 11 patients lose the modality from one share to the next.
MISSING = _schema(
    _required(pa.string(), "task"),
    _optional(pa.string(), "modality"),
    _required(pa.float64(), "share"),
    _required(pa.string(), "metric"),
    _optional(pa.float64(), "value", "low", "high", "change", "change_low", "change_high"),
)

#: Mean cross-task attention of the final models: the row of ``task`` within its selected combination.
ATTENTION = _schema(
    _required(pa.string(), "task", "companion"),
    _required(pa.float64(), "weight"),
)

#: Files of final fits: mean attention within every final combination, over the test samples.
FIT_ATTENTION = _schema(
    _required(pa.string(), "fit_key", "combination"),
    _required(pa.int16(), "replicate"),
    _required(pa.string(), "task", "companion"),
    _required(pa.float64(), "weight"),
)

#: ``genes/<modality>.parquet``: the vectors that genes start from; ``fold`` is null where all folds share
#: them, -1 of final fits.
GENE_EMBEDDINGS = _schema(
    _optional(pa.int16(), "fold"),
    _required(pa.string(), "gene"),
    _required(pa.list_(pa.float32()), "vector"),
)

#: ``gene_pairs/<task>/pairs.parquet``: every pair of genes. ``effect`` and ``magnitude`` are mixed
#: differences of the task's output (mean, and mean magnitude, over samples; of the class with the largest
#: ``magnitude``); ``attention`` is the mean over layers, heads and directions; the rest compares two groups
#: of patients and is null where there are none.
GENE_PAIRS = _schema(
    _required(pa.string(), "gene_a", "gene_b"),
    _required(pa.float64(), "effect", "magnitude", "attention"),
    _optional(pa.float64(), "difference", "statistic", "p", "q"),
    _optional(pa.bool_(), "called"),
)

#: ``gene_pairs/<task>/genes.parquet``: mean magnitude of the effect of one deviation of each gene.
GENE_IMPORTANCE = _schema(
    _required(pa.string(), "gene"),
    _required(pa.float64(), "importance"),
)

#: ``gene_pairs/<task>/heads.parquet``: attention of the top pairs, both directions together, in every head,
#: as a multiple of what even attention would give.
GENE_HEADS = _schema(
    _required(pa.int16(), "layer", "head"),
    _required(pa.string(), "gene_a", "gene_b"),
    _required(pa.float64(), "ratio"),
)

#: ``gene_pairs/<task>/gene_sets.parquet``: over-representation of gene sets among the top pairs' genes.
GENE_SETS = _schema(
    _required(pa.string(), "gene_set"),
    _required(pa.int32(), "overlap", "size"),
    _required(pa.float64(), "p", "q"),
    _required(pa.string(), "genes"),
)

#: Files of final fits: latents of clustering tasks for the test samples, (n_test, width) row-major.
LATENTS = _schema(
    _required(pa.string(), "fit_key", "combination"),
    _required(pa.int16(), "replicate"),
    _required(pa.string(), "task"),
    _required(pa.int16(), "width"),
    _required(pa.list_(pa.float32()), "latent"),
)

#: Predictions of the references (linear, gradient boosting) for one task: fold 0..k-1 out of fold, fold -1
#: for the test part; rows and width as in ``PREDICTIONS``. ``setting`` says what was chosen ("C=0.01").
#: ``purpose``: score (of a fold with the setting that the other folds chose) or map (of a fold with that of
#: fold -1: what maps of that model's predictions are learned from; left out where it is the same).
BASELINE_PREDICTIONS = _schema(
    _required(pa.string(), "task", "model", "purpose", "setting"),
    _required(pa.int16(), "fold", "width"),
    _required(pa.list_(pa.float32()), "prediction"),
)

#: How much of a selected combination's validation score is luck of the search (BBC-CV, Tsamardinos 2018):
#: ``corrected`` is the mean out-of-bag score of the combination that wins in the bag, with its 95 % interval;
#: ``chosen`` is the share of the draws in which the combination that was selected wins again.
OPTIMISM = _schema(
    _required(pa.string(), "task", "metric", "combination"),
    _required(pa.float64(), "selected", "corrected", "low", "high", "chosen"),
    _required(pa.int32(), "n_combinations"),
)


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
    groups = [pa.field(name, pa.dictionary(pa.int32(), pa.string())) for name in subgroups]
    return _schema(
        _required(pa.string(), "sample_id", "patient_id"), _optional(pa.string(), "stay_id"), groups
    )
