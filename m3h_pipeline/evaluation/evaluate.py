"""The verb ``evaluate``: opens the test part, once, and writes every table of the evaluation."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline import contracts
from m3h_pipeline.cohort.synthetic.found import write_planted
from m3h_pipeline.config import Evaluation, Search
from m3h_pipeline.evaluation.arms import Arms, Chosen, FinalFiles, attention_rows, read_finals
from m3h_pipeline.evaluation.choice.candidates import TOLERANCE
from m3h_pipeline.evaluation.choice.choose import Choice, choices
from m3h_pipeline.evaluation.contrast import Contrast, contrast
from m3h_pipeline.evaluation.curves import agreement, calibration, roc
from m3h_pipeline.evaluation.headline import headline
from m3h_pipeline.evaluation.optimism import DRAWS, search_luck, search_optimism
from m3h_pipeline.evaluation.summary import said_choices, write_summary
from m3h_pipeline.evaluation.survival import survival_rows
from m3h_pipeline.evaluation.tested import comparison_rows, evaluation_rows
from m3h_pipeline.evaluation.validation import network_scores, read_references, reference_scores
from m3h_pipeline.files import read_json, replacing, write_table
from m3h_pipeline.inference.resampled import TEST, Cohort, part_seeds
from m3h_pipeline.layout import EvaluationFiles
from m3h_pipeline.search.scores import read_scores
from m3h_pipeline.tasks.assessed import marked

Rows = list[dict[str, Any]]
Predictions = Mapping[str, Mapping[str, npt.NDArray[np.float32]]]
_ARMS = ("single", "multi")


def evaluate(
    *,
    selection: Path,
    trajectory: Path,
    scores: Sequence[Path],
    predictions: Sequence[Path],
    attention: Sequence[Path],
    baselines: Sequence[Path],
    search_scores: Sequence[Path],
    search_predictions: Sequence[Path],
    tasks: Path,
    labels: Path,
    split: Path,
    samples: Path,
    out: Path,
    evaluation: Evaluation,
    search: Search,
    quantiles: int,
    seed: int,
    looks: int = 1,
    truth: Path | None = None,
) -> None:
    """Compare the selected models with their single-task controls and the references.

    Writes into ``out``: ``evaluation.parquet`` (EVALUATION; how it was done in the schema's metadata under
    ``evaluation``, JSON), ``comparison.parquet`` (COMPARISON), ``calibration.parquet`` (CALIBRATION),
    ``roc.parquet`` (ROC), ``agreement.parquet`` (AGREEMENT), ``attention.parquet`` (ATTENTION),
    ``optimism.parquet`` (OPTIMISM), ``calibration_slopes.parquet`` (CALIBRATION_SLOPES), ``choice.parquet``
    (CHOICE, with words and weights in its metadata), ``summary.tsv`` and ``headline.txt``. A task whose
    comparison is undefined keeps its row, with NaN, and a note in the summary.

    Args:
        selection: table of contracts.SELECTION.
        trajectory: table of contracts.TRAJECTORY.
        scores: SCORES of the final fits.
        predictions: PREDICTIONS of the final fits.
        attention: FIT_ATTENTION of the final fits.
        baselines: BASELINE_PREDICTIONS, any number of files.
        search_scores: SCORES of all search rounds.
        search_predictions: PREDICTIONS of all search rounds.
        tasks: ``labels/tasks.json``.
        labels: folder of the labels.
        split: the split file.
        samples: ``cohort/samples.parquet``.
        out: folder to write.
        evaluation: number of bootstrap draws, false discovery rate, and whether a blend can be chosen.
        search: least improvement, for repeating the selection.
        quantiles: risk quantiles of the calibration.
        seed: of the bootstrap.
        looks: with how many sets of models the test part was opened, this one included (``ledger.opened``).
        truth: of a synthetic cohort what was planted; then ``planted.tsv`` is written, too.

    Raises:
        InputError: a file is absent or unreadable, or the folder cannot be written.
        ContractError: a file does not follow its contract, or files do not fit each other.
    """
    files = FinalFiles(
        selection=selection,
        tasks=tasks,
        labels=labels,
        split=split,
        samples=samples,
        scores=scores,
        predictions=predictions,
    )
    finals = read_finals(files, evaluation.draws, part_seeds(seed))
    chosen, cohort, arms, said = finals.chosen, finals.cohort, finals.arms, finals.said
    table = read_scores(search_scores)
    references = read_references(baselines, cohort)
    optimism = search_optimism(chosen, trajectory, table, search_predictions, cohort, search)
    choice, chosen_rows, slopes = choices(
        chosen,
        said,
        references,
        cohort,
        evaluation.blend,
        search_luck(optimism),
        read_references(baselines, cohort, settled=True),
    )
    # Chosen out of fold; without predictions for the test part nothing can be held against it.
    strongest = {
        one.task: one.reference
        for one in choice
        if one.reference is not None and TEST in references[one.task, one.reference]
    }
    contrasts = {
        one.task: contrast(
            cohort,
            one.task,
            TEST,
            said[one.task]["single"][TEST],
            said[one.task]["multi"][TEST],
            one.alone,
            references[one.task, strongest[one.task]][TEST] if one.task in strongest else None,
        )
        for one in chosen
        if TEST in said[one.task]["multi"]
    }
    rows = evaluation_rows(chosen, contrasts, strongest, cohort, evaluation.fdr)
    notes = {one.task: _note(contrasts.get(one.task), arms[one.task]) for one in chosen}
    chosen_rows = marked(chosen_rows, cohort.tasks)
    networks = network_scores(said, cohort, [one.task for one in chosen if one.alone])
    compared = comparison_rows(rows, networks, reference_scores(references, cohort))
    curves = curve_rows(chosen, contrasts, cohort, quantiles)
    survived = survival_rows(contrasts, cohort, references)
    attended = marked(attention_rows(chosen, arms, attention), cohort.tasks, "companion", "companion_control")
    tables: list[tuple[str, pa.Schema, Rows]] = [
        ("comparison", contracts.COMPARISON, compared),
        ("calibration", contracts.CALIBRATION, curves["calibration"]),
        ("roc", contracts.ROC, curves["roc"]),
        ("agreement", contracts.AGREEMENT, curves["agreement"]),
        ("survival", contracts.SURVIVAL, survived["survival"]),
        ("dynamic_auroc", contracts.DYNAMIC_AUROC, survived["dynamic_auroc"]),
        ("kaplan_meier", contracts.KAPLAN_MEIER, survived["kaplan_meier"]),
        ("attention", contracts.ATTENTION, attended),
        ("optimism", contracts.OPTIMISM, optimism),
        ("calibration_slopes", contracts.CALIBRATION_SLOPES, slopes),
    ]
    said_of_all = headline(rows, looks)
    overall = {"headline": said_of_all, "looks": looks}
    how = json.dumps(_described(evaluation, arms, notes, seed) | overall, sort_keys=True)
    tables.append(("evaluation", contracts.EVALUATION.with_metadata({"evaluation": how}), rows))
    why = json.dumps(_chosen(choice), sort_keys=True)
    tables.append(("choice", contracts.CHOICE.with_metadata({"choice": why}), chosen_rows))
    made = EvaluationFiles(out)
    for name, schema, content in tables:
        if "control" in schema.names:
            content = marked(content, cohort.tasks)
        write_table(pa.Table.from_pylist(content, schema=schema), made.table(name), schema)
    write_summary(rows, compared, optimism, choice, chosen_rows, notes, made.summary)
    with replacing(made.headline) as temporary:
        temporary.write_text(f"{said_of_all}\n", encoding="utf-8")
    if truth is not None:
        said_of_all += f"\nplanted: {write_planted(read_json(truth), rows, made.planted)}"
    _report(said_of_all, choice, chosen_rows, notes)


def curve_rows(
    chosen: Sequence[Chosen], contrasts: Mapping[str, Contrast], cohort: Cohort, quantiles: int
) -> dict[str, Rows]:
    """Rows of contracts.CALIBRATION, ROC and AGREEMENT of both arms on the test part, but for control."""
    found: dict[str, Rows] = {"calibration": [], "roc": [], "agreement": []}
    part = cohort.parts[TEST]
    groups = {name: members[part.rows] for name, members in cohort.subgroups.items()}
    for one in chosen:
        if one.task not in contrasts:
            continue
        task, y = cohort.tasks[one.task], cohort.observed(one.task, TEST)
        ensembles = contrasts[one.task].ensembles
        cells = (
            agreement(y, {arm: values[:, 0] for arm, values in ensembles.items()}, part.unit)
            if task.problem_class == "regression"
            else {}
        )
        risks = {arm: ensembles[arm][:, 0] for arm in _ARMS} if task.problem_class == "binary" else {}
        rates = calibration(y, risks, part.unit, groups, quantiles)
        for arm in _ARMS:
            named = {"task": one.task, "model": arm}
            found["calibration"] += [named | row for row in rates.get(arm, [])]
            if task.problem_class == "multiclass":
                found["roc"] += [named | row for row in roc(y, ensembles[arm], part.unit, task.classes)]
            found["agreement"] += [named | row for row in cells.get(arm, [])]
    return found


def _note(contrast: Contrast | None, arms: Arms) -> str:
    if contrast is None:
        return "no comparison: in every replicate a fit diverged"
    texts = []
    if np.isnan(contrast.quantities["difference"].value):
        texts.append("no comparison: the metric is undefined on the test part")
    if contrast.replicates < arms.planned:
        texts.append(f"{contrast.replicates} of {arms.planned} replicates: a fit of the others diverged")
    if contrast.replicates == 1 and not contrast.identical:
        texts.append("one replicate: the interval does not count seeds, and nothing is claimed")
    return "; ".join(texts)


def _described(
    evaluation: Evaluation, arms: Mapping[str, Arms], notes: Mapping[str, str], seed: int
) -> dict[str, Any]:
    return {
        "draws": evaluation.draws,
        "optimism_draws": min(DRAWS, evaluation.draws),
        "seed": seed,
        "replicates": {task: len(one.multi) for task, one in arms.items()},
        "score": "metric of the replicates' mean prediction; silhouette: mean over replicates",
        "interval": "95 %, t distribution; variance over patients (bootstrap) and seeds (jackknife)",
        "fdr": evaluation.fdr,
        "q": "Benjamini-Hochberg over the tasks that were tested",
        "verdict": "better: q at most the rate, the difference's interval above 0, the model's own lower "
        "bound above chance; worse: the same the other way round",
        "detectable": "(t at 0.975 + t at 0.8) times the difference's standard error",
        "notes": {task: note for task, note in notes.items() if note},
    }


def _chosen(choice: Sequence[Choice]) -> dict[str, Any]:
    return {
        "rule": "best score out of fold; of those within the tolerance the simplest",
        "order": "references (clinical, linear, gradient_boosting, realmlp, ...), alone, together, blend",
        "tolerance": TOLERANCE,
        "words": {one.task: one.words for one in choice},
        "blend": {one.task: one.members for one in choice if one.members},
    }


def _report(said: str, choice: Sequence[Choice], chosen: Rows, notes: Mapping[str, str]) -> None:
    """Say on standard error what came out, in aggregates."""
    sys.stderr.write(f"{said}\n")
    for line in said_choices(choice, chosen):
        sys.stderr.write(f"{line}\n")
    for task, note in notes.items():
        if note:
            sys.stderr.write(f"{task}: {note}\n")
