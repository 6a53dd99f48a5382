"""Methods with every number filled in, the ledger of the test part, how it was made, and how to cite it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from m3h_pipeline.config import Modality, Study
from m3h_pipeline.report.blocks import Block, Chapter, heading, points, table, words
from m3h_pipeline.report.facts import counts_seeds
from m3h_pipeline.report.gather import Gathered
from m3h_pipeline.report.methodology.checklist import checklist
from m3h_pipeline.report.methodology.reproducibility import reproducibility
from m3h_pipeline.report.wording import counted, listed, percent


def methods(gathered: Gathered) -> Chapter:
    """The chapter."""
    blocks = [
        *_paragraphs(gathered),
        *_ledger(gathered),
        heading("TRIPOD+AI"),
        *checklist(gathered),
        *reproducibility(gathered),
    ]
    return Chapter("methods", "Methods", blocks)


def _paragraphs(gathered: Gathered) -> Iterator[Block]:
    study = gathered.study
    flow = {row["step"]: row for row in gathered.rows("flow")}
    whole = flow.get("cohort")
    yield heading("Participants and parts")
    yield words(
        (f"{_n(whole, 'samples')} samples of {_n(whole, 'patients')} patients. " if whole else "")
        + f"{percent(study.split.test_fraction, 0)} of the patients were put in the test part at random "
        f"(seed {study.split.seed}), the others in {counted(study.split.folds, 'fold')} of the training "
        "part; nobody is in two of them."
        + (
            " Parts and folds were balanced by "
            f"{listed([gathered.title(t) for t in study.split.stratify_by])}."
            if study.split.stratify_by
            else ""
        )
    )
    yield heading("Predictors and outcomes")
    yield words(_modalities(study))
    kinds: dict[str, int] = {}
    for task in gathered.learned.values():
        kinds[task.problem_class] = kinds.get(task.problem_class, 0) + 1
    said = listed([f"{n} {kind}" for kind, n in kinds.items()])
    permuted = listed([gathered.title(task) for task in study.tasks.permute])
    yield words(
        f"{counted(len(gathered.learned), 'outcome')} were learned ({said}); definitions are the "
        f"{study.tasks.variant} ones, and the audit of labels says which code counts for which. An outcome "
        f"with fewer than {study.tasks.min_per_fold} samples of a class in a fold or in the test part is "
        f"{'left out' if study.tasks.unevaluable == 'drop' else 'refused'}."
        + (f" As a negative control, labels were shuffled between patients: {permuted}." if permuted else "")
    )
    yield heading("Network and training")
    yield points([*_network(study), *_sizes(gathered)])
    yield heading("Search for companions and task interaction")
    yield points(_search(gathered))
    yield heading("Evaluation")
    yield points(_evaluation(gathered))


def _n(row: Any, name: str) -> str:
    return "–" if row[name] is None else f"{row[name]:,}"


def _modalities(study: Study) -> str:
    def said(name: str, modality: Modality) -> str:
        return f"{name.replace('_', ' ')} ({', '.join(modality.sources)})"

    names = [said(name, modality) for name, modality in study.modalities.items()]
    return (
        f"Predictors come in {counted(len(names), 'modality').replace('modalitys', 'modalities')}: "
        f"{listed(names)}. They are scaled by the training part of each fold alone; a missing value takes "
        "the middle of its feature."
    )


def _network(study: Study) -> list[str]:
    model, training = study.model, study.training
    stopping = training.early_stopping
    return [
        (
            f"Each modality has an encoder of {_widths(model.encoder)} units; the encodings are joined by a "
            f"shared module of {_widths(model.shared)} and a network of {_widths(model.task)} for each "
            f"outcome; outcomes attend to each other (alpha {model.attention.alpha:g})."
        ),
        f"Training: learning rates {_values(training.learning_rates)}, batches of "
        f"{_values(training.batch_sizes)}, at most {training.epochs} epochs"
        + (", stopped early on a part of the training patients" if stopping else "")
        + f"; contrastive loss weighted by {training.contrastive_weight:g}. Seed of the study: {study.seed}.",
    ]


def _sizes(gathered: Gathered) -> list[str]:
    """Sizes that the study left to its shape, as they were decided."""
    found = gathered.provenance.get("sizes", {}).get(gathered.study.study, {})
    said = [f"{name.replace('_', ' ')} {json.dumps(value)}" for name, value in found.items()]
    return [f"Of these, by the shape of the study: {', '.join(said)}."] if said else []


def _widths(widths: Sequence[int]) -> str:
    return " and ".join(map(str, widths)) if widths else "no"


def _values(values: Sequence[float]) -> str:
    return listed([f"{value:g}" for value in values])


def _search(gathered: Gathered) -> list[str]:
    search, tim = gathered.study.search, gathered.study.tim
    whole: dict[str, Any] = next((r for r in gathered.rows("search") if r["task"] is None), {})
    cost = (
        f" {whole['combinations']:,} combinations were looked at in {whole['fits']:,} fits."
        if whole.get("combinations")
        else ""
    )
    limit = f" up to {search.max_size} outcomes" if search.max_size else ""
    modes = sorted({row["mode"] for row in gathered.rows("tim")})
    return [
        (
            f"From each outcome alone, companions were added one at a time{limit}, "
            f"of which the best {search.beam} combinations went on ({counted(search.replicates, 'seed')}). A "
            "combination was preferred by its score out of fold; a larger one had to gain "
            f"{search.standard_errors:g} standard error{'' if search.standard_errors == 1 else 's'}.{cost}"
        ),
        (
            f"Task interaction: {', '.join(modes) or tim.mode}, {counted(tim.replicates, 'seed')}, by "
            "differences of the same folds and seeds with and without the companion; companions with "
            "shuffled labels show what sharing costs by itself. q is Benjamini and Hochberg's."
        ),
    ]


def _evaluation(gathered: Gathered) -> list[str]:
    evaluation, how = gathered.study.evaluation, gathered.said["evaluation"]
    references = [name.replace("_", " ") for name in evaluation.baselines]
    references += ["clinical"] if evaluation.clinical else []
    references += list(evaluation.given)
    blended = ", and a blend of network and reference may be chosen" if evaluation.blend else ""
    return [
        (
            f"Final models: {counted(evaluation.replicates, 'seed')} each that neither search nor "
            "interaction had used; their predictions are averaged."
        ),
        (
            f"Intervals: 95 %, from {int(how.get('draws', evaluation.draws)):,} bootstrap draws of patients"
            f"{' and a jackknife over seeds' if counts_seeds(gathered) else ''}, t distribution."
        ),
        (
            f"Better: q at most {evaluation.fdr:g} among the outcomes that were tested, the interval of the "
            "difference above 0, and the model's own lower bound above chance. Worse: the same the other way "
            "round. Detectable: the difference that one test at 5 % finds with a power of 80 %; the "
            "correction for all outcomes asks for more."
        ),
        (
            f"References on the same rows and folds: {listed(references) or 'none'}; the strongest is chosen "
            f"out of fold{blended}."
        ),
        "Use: the best score out of fold; of those within a tolerance of it the simplest.",
    ]


def _ledger(gathered: Gathered) -> Iterator[Block]:
    yield heading("Ledger of the test part")
    made = gathered.provenance.get("test_part", {})
    looked = max(made.values(), default=0)
    yield words(
        "The test part is opened once, or what is found then was chosen after a look. "
        + (
            "Every verb opened it with one set of models."
            if looked <= 1
            else f"It was opened with up to {looked} sets of models: "
            + listed([f"{verb} {n}" for verb, n in made.items() if n > 1])
            + "."
        )
    )
    rows = [[one["time"], one["verb"], one["models"], one["settings"]] for one in gathered.openings]
    if rows:
        header = ["When (UTC)", "Verb", "Models", "Settings"]
        yield table("Openings", header, rows, name="ledger-table", folded=len(rows) > 8)
