"""Verbs of the references and of what opens the test part."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from m3h_pipeline.cli.arguments import add_ledger, add_paths, add_verb, note, sections_of, seed_of


def _baselines(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Evaluation
        from m3h_pipeline.config.arguments import modalities_of
        from m3h_pipeline.references.stage import run_baselines

        run_baselines(
            options.task,
            options.cohort,
            options.labels,
            options.split,
            options.output,
            modalities_of(options.settings),
            sections_of(options, evaluation=Evaluation)["evaluation"],
            seed_of(options),
            options.store,
            options.models,
        )

    parser = add_verb(
        verbs, "baselines", run, "fit the reference models", "cohort", "labels", "split", "output"
    )
    parser.add_argument("--task", required=True)
    parser.add_argument("--store", type=Path, help="folder of finished fits; without it none are kept")
    parser.add_argument("--models", type=Path, help="folder of the models of the whole training part")


def _evaluate(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Evaluation, Figures, Search
        from m3h_pipeline.evaluation.evaluate import evaluate

        s = sections_of(options, evaluation=Evaluation, search=Search, figures=Figures)
        evaluate(
            selection=options.selection,
            trajectory=options.trajectory,
            scores=options.scores,
            predictions=options.predictions,
            attention=options.attention,
            baselines=options.baselines,
            search_scores=options.search_scores,
            search_predictions=options.search_predictions,
            tasks=options.tasks,
            labels=options.labels,
            split=options.split,
            samples=options.samples,
            out=options.output,
            evaluation=s["evaluation"],
            search=s["search"],
            quantiles=s["figures"].quantiles,
            seed=seed_of(options),
            looks=note(options, options.scores, options.baselines),
            truth=options.truth,
        )

    parser = add_verb(
        verbs,
        "evaluate",
        run,
        "compare the models on the test part",
        *("selection", "trajectory", "tasks", "labels", "split", "samples", "output"),
    )
    add_paths(parser, "scores", "predictions", "attention", "search-scores", "search-predictions")
    add_paths(parser, "baselines", required=False)
    parser.add_argument("--truth", type=Path, help="what a synthetic cohort planted (`input/truth.json`)")
    add_ledger(parser)


def _phenotypes(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Evaluation, Figures
        from m3h_pipeline.config.arguments import modalities_of
        from m3h_pipeline.evaluation.phenotypes.map import phenotype_map
        from m3h_pipeline.evaluation.phenotypes.scores import Sources, phenotype_scores
        from m3h_pipeline.layout import CohortFiles

        s = sections_of(options, figures=Figures, evaluation=Evaluation)
        sources = Sources(
            cohort=options.cohort,
            labels=options.labels,
            tasks=options.tasks,
            split=options.split,
            selection=options.selection,
            scores=options.scores,
            predictions=options.predictions,
            latents=options.latents,
        )
        modalities, draws = modalities_of(options.settings), s["evaluation"].draws
        note(options, options.scores)
        phenotype_scores(sources, modalities, draws, seed_of(options), options.compared, options.profiles)
        phenotype_map(
            options.selection,
            options.scores,
            options.predictions,
            options.latents,
            options.split,
            CohortFiles(options.cohort).samples,
            options.output,
            s["figures"].phenotype_map,
            s["figures"].map_samples,
            seed_of(options),
        )

    paths = ("cohort", "labels", "tasks", "split", "selection", "compared", "profiles", "output")
    parser = add_verb(verbs, "phenotypes", run, "map the phenotypes, and compare them", *paths)
    add_paths(parser, "scores", "predictions", "latents")
    add_ledger(parser)


def _missing(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Evaluation
        from m3h_pipeline.config.arguments import modalities_of
        from m3h_pipeline.evaluation.missing import Sources, missing_scores

        sources = Sources(
            options.cohort,
            options.labels,
            options.tasks,
            options.split,
            options.selection,
            options.scores,
            options.models,
        )
        draws = sections_of(options, evaluation=Evaluation)["evaluation"].draws
        modalities = modalities_of(options.settings)
        note(options, options.scores)
        missing_scores(
            sources, modalities, draws, seed_of(options), options.output, options.reliance, sys.stderr
        )

    text = "score the selected models where modalities are hidden"
    paths = ("cohort", "labels", "tasks", "split", "selection", "reliance", "output")
    parser = add_verb(verbs, "missing", run, text, *paths)
    add_paths(parser, "scores", "models")
    add_ledger(parser)


#: In the order of the stages.
VERBS = (_baselines, _evaluate, _phenotypes, _missing)
