"""Further data contracts: Arrow schemas of what a report of prediction models has to tell (TRIPOD+AI)."""

from __future__ import annotations

import pyarrow as pa


def _schema(**columns: pa.DataType) -> pa.Schema:
    """Numbers may be null, and what is not of every row; nothing else."""
    free = {"class_name", "rule", "level", "group"}
    return pa.schema(
        [
            pa.field(name, kind, nullable=name in free or (kind != pa.string() and kind != pa.bool_()))
            for name, kind in columns.items()
        ]
    )


_TEXT, _NUMBER = pa.string(), pa.float64()


def _texts(*names: str) -> dict[str, pa.DataType]:
    return dict.fromkeys(names, _TEXT)


def _numbers(*names: str) -> dict[str, pa.DataType]:
    return dict.fromkeys(names, _NUMBER)


#: A candidate of the choice, and whether it is the chosen one.
_CANDIDATE = {**_texts("task", "control", "candidate"), "chosen": pa.bool_()}

#: Beyond the score: every candidate of the choice on the test part, in the ``state`` of
#: ``contracts.CALIBRATION_SLOPES``; treat_all and treat_none are the strategies of the net benefit that need
#: no model. ``measure`` is of binary tasks brier, scaled_brier, auprc, and at thresholds sensitivity,
#: specificity, ppv, npv, alerts_per_100, net_benefit; of several classes brier, scaled_brier, accuracy, and
#: by ``class_name`` (``macro``: their mean) auprc, auroc and rates; of regression mae and rmse, by fourth of
#: the training values in ``class_name``; of survival observed_risk, predicted_risk, observed_to_expected and
#: slope.
#: ``rule`` says how ``at`` was found: a threshold by predictions out of fold (youden, ``sensitivity 80 %``,
#: ``top 10 %``, prevalence), one that the study states (risk), or a horizon. Null: undefined, or not of it.
PERFORMANCE = _schema(
    **_CANDIDATE,
    **_texts("state", "measure", "class_name", "rule"),
    **_numbers("at", "value", "low", "high"),
)

#: What alerting from a threshold ``at`` of the risk on does on the test part, threshold by threshold: rates,
#: and the net benefit. Thresholds are quantiles of predictions out of fold; ``state`` is after where the
#: candidate is recalibrated. Null: undefined. Fewer points where few patients have the event.
OPERATING_POINTS = _schema(
    **_CANDIDATE,
    **_texts("state"),
    **_numbers("at", "sensitivity", "specificity", "ppv", "npv", "alerts_per_100", "net_benefit"),
)

#: How many test samples of a class (``observed``) were taken for each class (``predicted``, the one with the
#: highest probability). Null: of few, or one could tell few from it.
CONFUSION = _schema(
    **_CANDIDATE,
    **_texts("observed", "predicted"),
    n=pa.int32(),
)

#: Candidates in subgroups of the test part: the task's metric (before), and as in
#: ``contracts.CALIBRATION_SLOPES`` slope and intercept, of binary tasks also observed_to_expected. ``gap``:
#: less the same of all others; null where there are none.
SUBGROUPS = _schema(
    **_CANDIDATE,
    **_texts("subgroup", "state", "measure"),
    **_numbers("value", "low", "high", "gap", "gap_low", "gap_high"),
)

#: Who is in the study, step by step: cohort, training part, its folds, test part.
FLOW = _schema(**_texts("step"), **dict.fromkeys(("samples", "patients"), pa.int32()))

#: Table 1 by part. ``what`` is subgroup, source (share of samples that lack it), feature (of sources with at
#: most 30) or outcome; ``level`` a class; ``group`` the subgroup that an outcome is looked at in, null: all
#: samples. ``control``: of an outcome, why nothing can be learned of it; else empty. ``measure``: share or
#: mean (with deviations). ``*_missing``: share without a value.
#: ``standardised``: mean of the test part less that of the training part, over the pooled deviation;
#: ``deviations``: the same in standard deviations of chance. Null: of few.
PARTICIPANTS = _schema(
    **_texts("what", "name", "control", "level", "group", "measure"),
    **_numbers(*(f"{part}{what}" for part in ("train", "test") for what in ("", "_sd", "_missing"))),
    **_numbers("standardised", "deviations"),
)

#: Phenotypes on the test part: ``silhouette`` by the distances of the standardised inputs, in which models
#: can be compared (``difference``: multi less single), ``own_silhouette`` in its own latents, in which they
#: cannot; ``stability``: adjusted Rand index between replicates; ``rank``: effective, of the latents.
PHENOTYPE_SCORES = _schema(
    **_texts("task", "control", "model"),
    **dict.fromkeys(("replicates", "width"), pa.int16()),
    **_numbers("silhouette", "low", "high", "own_silhouette", "stability", "rank"),
    **_numbers("difference", "difference_low", "difference_high"),
)

#: What the clusters of the selected model (as on the map its first replicate) are on the test part. ``what``
#: is size (``value``: its number of samples), stability (mean over other replicates of the largest Jaccard
#: index with one of their clusters), feature (``value``: mean less that of the other clusters, in standard
#: deviations of the training part; those that differ most), outcome and diagnosis (share with it, or mean;
#: ``rest``: of the other clusters). Null or left out: of few.
PHENOTYPE_PROFILES = pa.schema(
    [
        *(pa.field(name, _TEXT, nullable=False) for name in ("task", "control", "model")),
        pa.field("cluster", pa.int16(), nullable=False),
        *(pa.field(name, _TEXT, nullable=False) for name in ("what", "name")),
        *(pa.field(name, _NUMBER) for name in ("value", "rest")),
    ]
)

#: What the selected models lean on. ``what`` is source (``value``: how much of the task's metric is lost on
#: the test part where the source's values are taken away from every sample, with its interval) or feature
#: (``value``: how far the prediction moves with a standard deviation of it, all else equal, in log odds or in
#: the unit of the label: mean magnitude over the samples; ``direction``: mean. The largest).
RELIANCE = pa.schema(
    [
        *(pa.field(name, _TEXT, nullable=False) for name in ("task", "control", "what", "source", "name")),
        *(pa.field(name, _NUMBER) for name in ("value", "low", "high", "direction")),
    ]
)
