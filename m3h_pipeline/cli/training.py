"""Verbs that plan and run training: rounds of the search, TIM, final fits, compared networks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from m3h_pipeline.cli.arguments import add_paths, add_verb, sections_of, seed_of


def _plan_round(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Search, Split, Tim, Training
        from m3h_pipeline.search.plan import plan_round

        s = sections_of(options, search=Search, tim=Tim, training=Training, split=Split)
        plan_round(
            options.round,
            options.tasks,
            options.scores,
            options.output,
            s["search"],
            s["tim"],
            _shaped(options, options.summary, s["training"], s["split"])[1],
            s["split"].folds,
            _sized(options, s["search"], s["training"], s["split"]),
        )

    parser = add_verb(verbs, "plan-round", run, "plan a search round", "tasks", "output")
    _summary(parser)
    parser.add_argument("--round", type=int, required=True)
    add_paths(parser, "scores", required=False)


def _embed_genes(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Modality
        from m3h_pipeline.genes.vectors import embed_genes

        modality = sections_of(options, modality=Modality)["modality"]
        embed_genes(modality, options.cohort, options.split, seed_of(options), options.output, sys.stderr)

    text = "vectors that a transformer's genes start from"
    add_verb(verbs, "embed-genes", run, text, "cohort", "split", "output")


def _train_pack(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Compute, Modality, Split, Training
        from m3h_pipeline.config.arguments import modalities_of
        from m3h_pipeline.layout import CohortFiles
        from m3h_pipeline.training.pack import train_pack
        from m3h_pipeline.training.spec import TrainingSettings

        s = sections_of(options, training=Training, compute=Compute, split=Split)
        modalities: dict[str, Modality] = modalities_of(options.settings)
        summary = CohortFiles(options.cohort).summary
        model, training = _shaped(options, summary, s["training"], s["split"])
        train_pack(
            options.plan,
            options.pack,
            options.cohort,
            options.labels,
            options.split,
            options.store,
            options.scores,
            options.predictions,
            TrainingSettings(model, training, s["compute"], modalities, seed_of(options)),
            models=options.models,
            attention=options.attention,
            latents=options.latents,
            genes=options.genes,
        )

    parser = add_verb(
        verbs,
        "train-pack",
        run,
        "train the combinations of one pack",
        *("plan", "cohort", "labels", "split", "store", "scores", "predictions"),
    )
    parser.add_argument("--pack", required=True)
    parser.add_argument("--genes", type=Path, metavar="PATH", help="vectors that genes start from")
    for name in ("models", "attention", "latents"):
        parser.add_argument(f"--{name}", type=Path, metavar="PATH", help="final fits only")


def _merge_scores(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.search.scores import merge_scores

        merge_scores(options.scores, options.output)

    parser = add_verb(verbs, "merge-scores", run, "join the packs' scores", "output", settings=False)
    add_paths(parser, "scores", required=False)


def _select(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Search
        from m3h_pipeline.search.selection import select

        search = sections_of(options, search=Search)["search"]
        select(
            options.tasks,
            options.scores,
            options.output,
            options.trajectory,
            options.report,
            options.summary,
            search,
        )

    paths = ("tasks", "output", "trajectory", "report", "summary")
    parser = add_verb(verbs, "select", run, "choose each task's combination", *paths)
    add_paths(parser, "scores")


def _plan_tim(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Search, Split, Tim, Training
        from m3h_pipeline.tim.plan import plan_tim

        s = sections_of(options, search=Search, tim=Tim, training=Training, split=Split)
        plan_tim(
            options.tasks,
            options.scores,
            options.output,
            s["search"],
            s["tim"],
            _shaped(options, options.summary, s["training"], s["split"])[1],
            s["split"].folds,
            seed_of(options),
            _sized(options, s["search"], s["training"], s["split"]),
        )

    parser = add_verb(verbs, "plan-tim", run, "plan the fits TIM needs beyond the search", "tasks", "output")
    _summary(parser)
    add_paths(parser, "scores")


def _plan_final(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Evaluation, Search, Split, Tim, Training
        from m3h_pipeline.evaluation.final import plan_final
        from m3h_pipeline.search.combinations import per_job_of

        s = sections_of(
            options, evaluation=Evaluation, search=Search, tim=Tim, training=Training, split=Split
        )
        plan_final(
            options.selection,
            options.tasks,
            options.output,
            s["evaluation"],
            s["search"],
            s["tim"],
            s["split"].folds,
            per_job_of(s["search"], _sized(options, s["search"], s["training"], s["split"])),
        )

    _summary(add_verb(verbs, "plan-final", run, "plan the final fits", "selection", "tasks", "output"))


def _plan_network(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Networks, Search, Split, Training
        from m3h_pipeline.networks.plan import plan_network
        from m3h_pipeline.search.combinations import per_job_of

        s = sections_of(options, networks=Networks, search=Search, training=Training, split=Split)
        plan_network(
            options.tasks,
            options.output,
            s["networks"],
            _shaped(options, options.summary, s["training"], s["split"])[1],
            s["split"].folds,
            per_job_of(s["search"], _sized(options, s["search"], s["training"], s["split"])),
        )

    _summary(add_verb(verbs, "plan-network", run, "plan the fits of one compared network", "tasks", "output"))


def _shaped(options: argparse.Namespace, summary: Path | None, training: Any, split: Any) -> Any:
    """The sections ``model`` and ``training`` with the sizes that follow from the shape of the study."""
    from m3h_pipeline.config import Model

    model = sections_of(options, model=Model)["model"]
    if not training.sizes:
        return model, training
    from m3h_pipeline.config.arguments import modalities_of
    from m3h_pipeline.search.sizes import read_sized

    return read_sized(model, training, modalities_of(options.settings), split, summary)


def _sized(options: argparse.Namespace, search: Any, training: Any, split: Any) -> Any:
    """How many combinations a job trains, from the shape of the study; None if given or unknown."""
    if options.summary is None or search.combinations_per_job is not None:
        return None
    from functools import partial

    from m3h_pipeline.config import Compute, Model
    from m3h_pipeline.config.arguments import modalities_of
    from m3h_pipeline.search.sizing import combinations_per_job, read_study

    s = sections_of(options, model=Model, compute=Compute)
    modalities = modalities_of(options.settings)
    study = read_study(options.summary, options.tasks, modalities, s["model"], training, s["compute"], split)
    return partial(combinations_per_job, study)


def _summary(parser: Any) -> None:
    parser.add_argument(
        "--summary",
        type=Path,
        metavar="PATH",
        help="cohort/summary.json, by which packs are sized, and what `training.sizes` names",
    )


#: In the order of the stages.
VERBS = (
    _plan_round,
    _embed_genes,
    _train_pack,
    _merge_scores,
    _select,
    _plan_tim,
    _plan_final,
    _plan_network,
)
