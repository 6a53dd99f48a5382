"""The data contracts: Arrow schemas of every file of a study.

:mod:`m3h_pipeline.files` checks them at each read and each write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from m3h_pipeline.contracts.columns import optional, required, schema

#: One row per fit and member task.
SCORES = schema(
    required(pa.string(), "fit_key", "combination", "task"),
    required(pa.int16(), "replicate", "fold"),
    required(pa.int32(), "batch_size"),
    required(pa.float64(), "learning_rate"),
    required(pa.string(), "metric"),
    optional(pa.float64(), "value"),
    required(pa.int32(), "n_scored", "epochs"),
    required(pa.string(), "status"),
    required(pa.float64(), "seconds"),
)

#: Predictions for the scored rows of a fit, in the row order of the cohort restricted to the scored part.
#: ``width`` numbers a row: binary 1 (probability), multiclass C (probabilities), regression 1 (in the
#: unit of the label), clustering 2 (cluster, silhouette of the sample), survival 1 + ``SURVIVAL_TIMES``
#: (risk: the larger, the sooner the event; then the probability of no event until each time of the task's
#: grid, see ``m3h_pipeline.survival.time_grid``). ``prediction`` is row-major.
PREDICTIONS = schema(
    required(pa.string(), "fit_key", "task"),
    required(pa.int16(), "width"),
    required(pa.list_(pa.float32()), "prediction"),
)

#: Row-aligned with ``samples``: the part (train/test) and the fold (0..k-1 in train, -1 in test).
SPLIT = schema(
    required(pa.string(), "sample_id", "part"),
    required(pa.int16(), "fold"),
)

#: The diagnosis codes of a stay's hospital admission, without dots; the title is empty if unknown.
DIAGNOSES = schema(
    required(pa.string(), "patient_id", "stay_id", "icd_code"),
    required(pa.int8(), "icd_version"),
    required(pa.string(), "long_title"),
)

#: One task's labels, row-aligned with ``samples``; NaN = not observed. A multiclass label is the class index.
LABELS = schema(required(pa.float32(), "y"))

#: Labels of a survival task: ``y`` is 1 for an observed event and 0 for a censored time, ``time`` when that
#: was, in the unit of the description; both are NaN where either is not observed.
SURVIVAL_LABELS = schema(required(pa.float32(), "y", "time"))

#: The best combination of each task, and its single-task control (``score``: mean over folds and replicates).
#: ``control``: why nothing can be learned of the task (permuted labels, planted noise), empty of an outcome.
SELECTION = schema(
    required(pa.string(), "task", "control", "problem_class", "metric", "combination"),
    required(pa.int16(), "size"),
    required(pa.int32(), "batch_size"),
    required(pa.float64(), "learning_rate", "score"),
    required(pa.int32(), "single_batch_size"),
    required(pa.float64(), "single_learning_rate", "single_score"),
)

#: Every combination a source task looked at, by size: ``score`` by all its replicates, which ranks a size;
#: ``compared`` by those of all that the task looked at to the end; ``left`` before it was trained whole.
TRAJECTORY = schema(
    *(required(pa.string(), "task", "combination"), required(pa.int16(), "size")),
    *(optional(pa.float64(), "score", "compared"), required(pa.bool_(), "kept", "left")),
)

#: What each task's search cost and why it ended (docs/search.md); the row without a task: the whole search.
SEARCH_REPORT = schema(
    optional(pa.string(), "task", "combination", "stopped"),
    optional(pa.int16(), "size", "last_size"),
    optional(pa.float64(), "score", "single_score", "last_gain", "last_error"),
    required(pa.int64(), "combinations", "left", "fits", "saved"),
)

#: TIM(task, companion): how much learning ``companion`` too changes the score of ``task``. ``excess`` is the
#: estimate less the mean of the task's permuted companions, NaN where there are none; ``significant`` goes by
#: it, or without permuted companions by the estimate. ``control``: task or companion is a permuted one.
#: ``task_control``, ``companion_control``: why nothing can be learned of it (permuted companions: permuted
#: labels), empty of an outcome.
TIM = schema(
    required(pa.string(), "task", "companion"),
    required(pa.float64(), "estimate", "low", "high", "p", "q"),
    required(pa.float64(), "excess", "excess_low", "excess_high", "excess_p", "excess_q"),
    required(pa.bool_(), "significant", "control"),
    required(pa.string(), "task_control", "companion_control"),
    required(pa.int32(), "n_differences"),
    required(pa.string(), "mode"),
)

#: Test part, one row per task: the selected multitask model against the single-task model, and against
#: ``reference``, the best reference by its score out of fold (null: there is none). ``verdict``,
#: ``reference_verdict``: better, worse, not significant, not tested or no comparison
#: (``evaluation/claims.py``); ``q`` is over the tasks that were tested, NaN of the others, ``detectable``
#: the least difference that would have been found with a power of 80 %. Of phenotypes no difference is
#: taken: each silhouette is of a model's own space. ``control``: why nothing can be learned of a task
#: (permuted labels, planted noise), empty of an outcome; so in all tables of models below. Here and
#: there a number of samples or patients that would tell of 1 to 10 is null, or its row left out.
EVALUATION = schema(
    required(pa.string(), "task", "title", "department", "problem_class", "metric", "combination"),
    required(pa.string(), "control", "verdict"),
    required(pa.float64(), "single", "single_low", "single_high"),
    required(pa.float64(), "multi", "multi_low", "multi_high"),
    required(pa.float64(), "difference", "difference_low", "difference_high"),
    required(pa.float64(), "relative", "relative_low", "relative_high", "p", "q", "detectable"),
    optional(pa.string(), "reference"),
    required(pa.string(), "reference_verdict"),
    required(pa.float64(), "versus_reference", "versus_reference_low", "versus_reference_high"),
    required(pa.float64(), "reference_p", "reference_q", "reference_detectable"),
    optional(pa.int32(), "n_samples", "n_patients"),
)

#: Every model beside every other: ``model`` is multi, single or the name of a reference; ``part`` is
#: validation (out of fold) or test.
COMPARISON = schema(
    required(pa.string(), "task", "control", "model", "part", "metric"),
    optional(pa.float64(), "value", "low", "high"),
)

#: What to use for each supervised task. ``candidate`` is alone (the single-task network), together (the
#: selected combination), a reference, blend, or chosen: the rule itself, out of fold with each fold predicted
#: by what the other folds choose, on the test part the candidate that was chosen. ``part`` as in
#: ``COMPARISON``; a blend's weights are of the other folds, or of all of them. ``versus_reference`` and
#: ``versus_alone``: the difference to ``reference``, the best one by its score out of fold (of the rule: by
#: that on the other folds), and to the network alone, paired by patient and seed. ``chosen`` marks the
#: candidate that was chosen, and the rule. In words, and with the weights of each blend: JSON under
#: ``choice`` in the schema's metadata.
CHOICE = schema(
    required(pa.string(), "task", "control", "candidate", "part", "metric"),
    required(pa.bool_(), "chosen"),
    optional(pa.float64(), "value", "low", "high"),
    optional(pa.string(), "reference"),
    optional(pa.float64(), "versus_reference", "versus_reference_low", "versus_reference_high"),
    optional(pa.float64(), "versus_alone", "versus_alone_low", "versus_alone_high"),
)

#: Calibration of every candidate of the choice on the test part: ``state`` is before (as it predicts) or
#: after (recalibrated by predictions out of fold; ``method`` says how: logistic, isotonic, temperature,
#: linear or hazards). A slope of 1 and an intercept of 0 are right; 95 % intervals count patients. Null:
#: undefined, as the intercept of several classes. ``events`` of binary and survival tasks.
CALIBRATION_SLOPES = schema(
    required(pa.string(), "task", "control", "candidate"),
    required(pa.bool_(), "chosen"),
    required(pa.string(), "state", "method"),
    optional(pa.float64(), "slope", "slope_low", "slope_high"),
    optional(pa.float64(), "intercept", "intercept_low", "intercept_high"),
    optional(pa.int32(), "events"),
)

#: Networks compared (section ``networks``), beside the references: ``network`` is a network's name or that of
#: a reference; ``learned`` is alone (each task by itself), together (all tasks) or reference; ``part``
#: as in ``COMPARISON``. ``value``: metric of the mean prediction of all ``replicates`` (0: a model without
#: seeds), out of fold the mean over folds. ``one_seed`` and ``deviation``: mean and deviation of the scores
#: of single replicates. ``difference``: less the linear reference, or less the study's own network of the
#: task alone where the task has none; null of that model itself.
NETWORK_COMPARISON = schema(
    required(pa.string(), "task", "control", "network", "learned", "part", "metric"),
    required(pa.int16(), "replicates"),
    optional(pa.float64(), "value", "low", "high", "one_seed", "deviation", "difference"),
    optional(pa.float64(), "difference_low", "difference_high"),
)

#: Observed event rate by predicted-risk quantile (Figure 4a). ``subgroup`` is "all" or a group's name.
CALIBRATION = schema(
    required(pa.string(), "task", "control", "model", "subgroup"),
    required(pa.int16(), "quantile"),
    required(pa.float64(), "predicted", "observed", "low", "high"),
    required(pa.int32(), "n"),
)

#: One-vs-rest ROC curves on a grid of false positive rates (Figure 4b).
ROC = schema(
    required(pa.string(), "task", "control", "model", "class_name"),
    required(pa.float64(), "fpr", "tpr", "auroc"),
)

#: Predicted against observed values of regression tasks as counts on a grid of cells (Figure 4c), cell
#: edges in the label's unit.
AGREEMENT = schema(
    required(pa.string(), "task", "control", "model"),
    required(pa.float64(), "observed_low", "observed_high", "predicted_low", "predicted_high"),
    required(pa.int32(), "n"),
)

#: Survival tasks on the test part beyond the concordance: ``score`` is uno (concordance weighted by the
#: inverse probability of censoring), brier (integrated over the grid's times; the smaller the better) or
#: dynamic_auroc (mean over these times). ``model`` is as in ``COMPARISON``, or kaplan_meier: the training
#: part's curve for all.
SURVIVAL = schema(
    required(pa.string(), "task", "control", "model", "score"),
    optional(pa.float64(), "value", "low", "high"),
    optional(pa.int32(), "n", "events"),
)

#: Kaplan-Meier curves of the test part by third of the predicted risk, at evenly spaced times between which
#: no patient, or at least 11, have the event. ``n`` and ``events`` are the group's; ``p`` is of the log-rank
#: test between the groups.
KAPLAN_MEIER = schema(
    required(pa.string(), "task", "control", "model", "group"),
    required(pa.float64(), "time", "survival", "low", "high"),
    optional(pa.int32(), "n", "events"),
    required(pa.float64(), "p"),
)

#: AUROC of the predicted risk for an event until each time against none until then (cumulative / dynamic).
DYNAMIC_AUROC = schema(
    required(pa.string(), "task", "control", "model"),
    required(pa.float64(), "time", "auroc", "low", "high"),
)

#: Map of the phenotypes' latents, binned (Figure 4d): the cluster most samples of a cell belong to.
PHENOTYPES = schema(
    required(pa.string(), "task", "control", "model", "projection"),
    required(pa.float64(), "x", "y"),
    required(pa.int16(), "cluster"),
    required(pa.int32(), "n"),
    required(pa.float64(), "silhouette"),
)

#: The selected models on the test part where a modality is hidden from a ``share`` of the rows that have it;
#: null: each modality from that share, drawn by itself. ``change``: less the score with nothing hidden. Null:
#: undefined, or fewer than 11 patients lose the modality from one share to the next.
MISSING = schema(
    required(pa.string(), "task", "control"),
    optional(pa.string(), "modality"),
    required(pa.float64(), "share"),
    required(pa.string(), "metric"),
    optional(pa.float64(), "value", "low", "high", "change", "change_low", "change_high"),
)

#: Mean cross-task attention of the final models: the row of ``task`` within its selected combination.
#: ``companion_control``: as ``control``, of the companion.
ATTENTION = schema(
    required(pa.string(), "task", "control", "companion", "companion_control"),
    required(pa.float64(), "weight"),
)

#: Files of final fits: mean attention within every final combination, over the test samples.
FIT_ATTENTION = schema(
    required(pa.string(), "fit_key", "combination"),
    required(pa.int16(), "replicate"),
    required(pa.string(), "task", "companion"),
    required(pa.float64(), "weight"),
)

#: ``genes/<modality>.parquet``: the vectors that genes start from; ``fold`` is null where all folds share
#: them, -1 of final fits.
GENE_EMBEDDINGS = schema(
    optional(pa.int16(), "fold"),
    required(pa.string(), "gene"),
    required(pa.list_(pa.float32()), "vector"),
)

#: Files of final fits: latents of clustering tasks for the test samples, (n_test, width) row-major.
LATENTS = schema(
    required(pa.string(), "fit_key", "combination"),
    required(pa.int16(), "replicate"),
    required(pa.string(), "task"),
    required(pa.int16(), "width"),
    required(pa.list_(pa.float32()), "latent"),
)

#: Predictions of the references (linear, gradient boosting) for one task: fold 0..k-1 out of fold, fold -1
#: for the test part; rows and width as in ``PREDICTIONS``. ``setting`` says what was chosen ("C=0.01").
#: ``purpose``: score (of a fold with the setting that the other folds chose) or map (of a fold with that of
#: fold -1: what maps of that model's predictions are learned from; left out where it is the same).
BASELINE_PREDICTIONS = schema(
    required(pa.string(), "task", "model", "purpose", "setting"),
    required(pa.int16(), "fold", "width"),
    required(pa.list_(pa.float32()), "prediction"),
)

#: How much of a selected combination's validation score is luck of the search (BBC-CV, Tsamardinos 2018):
#: ``corrected`` is the mean out-of-bag score of the combination that wins in the bag, with its 95 % interval;
#: ``chosen`` is the share of the draws in which the combination that was selected wins again. ``single`` is
#: the score of the task alone, ``equal_budget`` that of the best of as many fits of it, by the luck of seeds.
OPTIMISM = schema(
    required(pa.string(), "task", "control", "metric", "combination"),
    required(pa.float64(), "selected", "corrected", "low", "high", "chosen", "single", "equal_budget"),
    required(pa.int32(), "n_combinations"),
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
    return schema(required(pa.string(), "sample_id", "patient_id"), optional(pa.string(), "stay_id"), groups)
