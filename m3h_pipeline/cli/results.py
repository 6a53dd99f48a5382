"""Verbs that say what was found: TIM, the bundle, pairs of genes, networks, figures, the record."""

from __future__ import annotations

import argparse
import sys
from itertools import chain
from pathlib import Path
from typing import Any

from m3h_pipeline.cli import evaluation
from m3h_pipeline.cli.arguments import add_ledger, add_paths, add_verb, note, sections_of, seed_of


def _tim(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Tim
        from m3h_pipeline.tim.estimate import compute_tim

        compute_tim(
            options.tasks,
            options.scores,
            options.predictions,
            options.labels,
            options.split,
            options.samples,
            options.output,
            sections_of(options, tim=Tim)["tim"],
            seed_of(options),
        )

    parser = add_verb(
        verbs, "tim", run, "measure task interaction", "tasks", "labels", "split", "samples", "output"
    )
    add_paths(parser, "scores", "predictions")


def _export_bundle(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.bundle.making.export import Results, export_bundle
        from m3h_pipeline.config import Evaluation, Purpose
        from m3h_pipeline.config.arguments import modalities_of, name_of

        results = Results(
            cohort=options.cohort,
            labels=options.labels,
            tasks=options.tasks,
            split=options.split,
            selection=options.selection,
            scores=options.scores,
            predictions=options.predictions,
            models=options.models,
            baselines=options.baselines,
            references=options.references,
            evaluation=options.evaluation,
        )
        s = sections_of(options, evaluation=Evaluation, bundle=Purpose)
        note(options, options.scores, options.baselines)
        export_bundle(
            results,
            options.output,
            sys.stderr,
            study=name_of(options.settings),
            seed=seed_of(options),
            modalities=modalities_of(options.settings),
            evaluation=s["evaluation"],
            purpose=s["bundle"],
        )

    paths = ("cohort", "labels", "tasks", "split", "selection", "evaluation", "output")
    parser = add_verb(verbs, "export-bundle", run, "write the bundle of the chosen models", *paths)
    add_paths(parser, "scores", "predictions", "models")
    add_paths(parser, "baselines", "references", required=False)
    add_ledger(parser)


def _gene_pairs(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import GenePairs
        from m3h_pipeline.config.arguments import modalities_of
        from m3h_pipeline.gene_pairs.stage import Sources, find_gene_pairs

        settings = sections_of(options, gene_pairs=GenePairs)["gene_pairs"]
        sources = Sources(
            options.cohort,
            options.labels,
            options.split,
            options.selection,
            options.scores,
            options.models,
        )
        modalities = modalities_of(options.settings)
        seed = seed_of(options)
        note(options, options.scores)
        find_gene_pairs(options.task, sources, modalities, settings, seed, options.output, sys.stderr)

    text = "what a task's final models say about pairs of genes"
    parser = add_verb(verbs, "gene-pairs", run, text, "cohort", "labels", "split", "selection", "output")
    parser.add_argument("--task", required=True)
    add_paths(parser, "scores", "models")
    add_ledger(parser)


def _compare_networks(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Evaluation
        from m3h_pipeline.networks.compare import compare_networks

        packs = [folder.glob("packs/*.scores.parquet") for folder in options.networks]
        note(options, sorted(chain.from_iterable(packs)), options.baselines)
        compare_networks(
            {folder.name: folder for folder in options.networks},
            options.baselines,
            options.tasks,
            options.labels,
            options.split,
            options.samples,
            options.output,
            sections_of(options, evaluation=Evaluation)["evaluation"].draws,
            seed_of(options),
        )

    parser = add_verb(
        verbs,
        "compare-networks",
        run,
        "compare networks with each other and with the references",
        *("tasks", "labels", "split", "samples", "output"),
    )
    parser.add_argument(
        "--networks",
        type=Path,
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="one folder with packs/ each, named like the network; the study's own first",
    )
    add_ledger(parser)
    add_paths(parser, "baselines", required=False)


def _draw_gene_pairs(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Figures, GenePairs
        from m3h_pipeline.figures.gene_pairs import draw_gene_pairs

        s = sections_of(options, figures=Figures, gene_pairs=GenePairs)
        draw_gene_pairs(options.task, options.tasks, options.folder, s["gene_pairs"], s["figures"])

    text = "draw a task's pairs of genes"
    parser = add_verb(verbs, "draw-gene-pairs", run, text, "tasks", "folder")
    parser.add_argument("--task", required=True)


def _draw_networks(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Figures
        from m3h_pipeline.figures.networks import draw_networks

        figures = sections_of(options, figures=Figures)["figures"]
        draw_networks(options.comparison, options.tasks, options.output, figures)

    text = "draw the comparison of networks"
    add_verb(verbs, "draw-networks", run, text, "comparison", "tasks", "output")


def _figure(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Figures
        from m3h_pipeline.figures.registry import render

        figures = sections_of(options, figures=Figures)["figures"]
        render(options.figure, options.study, figures, options.output)

    parser = add_verb(verbs, "figure", run, "render one figure", "study", "output")
    parser.add_argument("--figure", required=True, metavar="NAME")


def _record(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Study
        from m3h_pipeline.config.arguments import part_of
        from m3h_pipeline.layout import Layout
        from m3h_pipeline.record import record

        study = sections_of(options, study=Study)["study"]
        inputs, definitions = (part_of(options.settings, name) for name in ("inputs", "definitions"))
        record(Layout(options.study), study, inputs, definitions, options.output)

    add_verb(verbs, "record", run, "write the record of a finished study", "study", "output")


def _verify(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.verify import verify

        verify(
            *(options.results, options.fits, options.seed, options.data, options.tolerance),
            trust=options.trust,
            cohort=not options.no_cohort,
        )

    parser = add_verb(verbs, "verify", run, "compare a study with its record", settings=False)
    parser.add_argument("results", type=Path, metavar="FOLDER", help="results/<study>")
    parser.add_argument("--fits", type=int, default=3, metavar="N", help="fits to train again (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other fits")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="where the inputs lie, if not as configured"
    )
    parser.add_argument(
        "--trust", action="store_true", help="import code that the study names by dotted path"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.02,
        help="largest difference of a score on another device or with other versions (default: 0.02)",
    )
    parser.add_argument(
        "--no-cohort", action="store_true", help="do not make cohort, labels and split anew from the inputs"
    )


#: In the order of the stages.
VERBS = (
    _tim,
    *evaluation.VERBS,
    _export_bundle,
    _gene_pairs,
    _compare_networks,
    _draw_gene_pairs,
    _draw_networks,
    _figure,
    _record,
    _verify,
)
