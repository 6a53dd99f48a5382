"""What of a study stays, and what can be given away: each file of its results, and what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from m3h_pipeline.layout import Layout

#: What stays: rows of patients, and counts as they are. Everything else of a study can be given away.
PRIVATE: Final = ("cohort", "labels", "search", "split.parquet")


def is_private(path: Path) -> bool:
    """Whether a file of a study, relative to its results, must stay with those who may see its patients.

    Examples:
        >>> is_private(Path("search/round_1/plan.json")), is_private(Path("figures/roc.csv"))
        (True, False)
    """
    return path.parts[0] in PRIVATE


def given_away() -> list[tuple[str, str]]:
    """Every file of a study that can be given away: a pattern relative to its results, and what it holds."""
    files = Layout(Path())
    tables = {
        "evaluation": "scores of both networks on the test part, their differences, numbers of samples",
        "comparison": "scores of every model, out of fold and on the test part",
        "calibration": "event rates by quantile of the predicted risk, none of few",
        "roc": "ROC curves, at corners at least 11 patients apart",
        "agreement": "numbers of samples on a grid of observed and predicted values, cells of few left out",
        "survival": "scores of survival tasks",
        "kaplan_meier": "survival by third of the predicted risk, at times at least 11 events apart",
        "dynamic_auroc": "AUROC at times rounded to a hundredth of the range",
        "attention": "mean attention between tasks, over the test part",
        "optimism": "what the search's luck adds to a score",
        "calibration_slopes": "slopes and intercepts of every candidate, as it predicts and recalibrated",
        "choice": "what to use for each task: scores and differences of the candidates, weights of blends",
    }
    pairs, compared = files.gene_pairs("*"), files.networks.comparison("*")
    return [
        (files.selection.as_posix(), "each task's combination, settings and mean scores"),
        (files.selection_summary.as_posix(), "the same for people"),
        (files.tim_table.as_posix(), "task interaction: estimates, intervals, p and q"),
        *((files.evaluation.table(name).as_posix(), holds) for name, holds in tables.items()),
        (files.evaluation.phenotypes.as_posix(), "a map of clusters in cells of at least 11 patients"),
        (files.evaluation.phenotype_scores.as_posix(), "silhouettes, stability and rank of phenotypes"),
        ("evaluation/phenotype_profiles.parquet", "sizes, features and outcomes of clusters, none of few"),
        ("evaluation/reliance.parquet", "what sources and features are worth to the selected models"),
        (files.evaluation.missing.as_posix(), "scores where modalities are hidden from some samples"),
        ("evaluation/performance.parquet", "errors, rates at thresholds and net benefit, none of few"),
        ("evaluation/subgroups.parquet", "scores and calibration by subgroup, none of few"),
        ("evaluation/operating_points.parquet", "rates and net benefit at thresholds, none of few"),
        ("evaluation/confusion.parquet", "numbers of samples by class and predicted class, none of few"),
        ("evaluation/flow.parquet", "numbers of samples and patients by part and fold"),
        ("evaluation/participants.*", "Table 1 by part; outcomes by part and subgroup, none of few"),
        (files.evaluation.summary.as_posix(), "the evaluation for people"),
        (files.evaluation.headline.as_posix(), "what the study may say, in a paragraph"),
        (files.evaluation.planted.as_posix(), "of a synthetic study only: what was planted, what was found"),
        (
            f"{files.models_of('*').as_posix()}/*.safetensors",
            "a final model: weights, means and deviations of features, centres of clusters, rounded times",
        ),
        (f"{files.references_of('*').as_posix()}/*.safetensors", "a reference model: coefficients or trees"),
        (f"{files.bundle.folder.as_posix()}/**", "the models to use, their card, how features lie in bins"),
        (files.gene_vectors("*").as_posix(), "vectors that genes start from"),
        (f"{pairs.folder.as_posix()}/*", "effects and attention of pairs of genes, and figures of them"),
        (compared.as_posix(), "networks compared: table, figure, and what it shows"),
        (files.figure("*", "*").as_posix(), "figures, and the table behind each"),
        (f"{files.input.as_posix()}/**", "of a synthetic study only: simulated files, of nobody"),
        (files.report.as_posix(), "all of it for people, in one file"),
        (files.input_digests.as_posix(), "sizes, times and digests of the input files, by name"),
        (f"{files.logs.as_posix()}/**", "messages of every job; small counts hidden, no row of any table"),
        (f"{files.benchmark('**').as_posix()}", "time and memory that every job took"),
        (f"{files.ledger.as_posix()}/*", "when which models were held against the test part: times, digests"),
        (files.record.as_posix(), "configuration, versions, devices, digests of inputs and results"),
    ]
