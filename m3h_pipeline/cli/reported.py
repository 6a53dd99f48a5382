"""Verbs of what a report has to tell beside the scores."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from typing import Any

from m3h_pipeline.cli.arguments import add_ledger, add_paths, add_verb, note, sections_of, seed_of


def _performance(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Evaluation, Figures
        from m3h_pipeline.evaluation.performance.stage import Sources, measure_performance

        s = sections_of(options, evaluation=Evaluation, figures=Figures)
        sources = Sources(**{each.name: getattr(options, each.name) for each in fields(Sources)})
        quantiles, seed = s["figures"].quantiles, seed_of(options)
        note(options, options.scores, options.baselines)
        measure_performance(sources, s["evaluation"], quantiles, seed, options.evaluation, sys.stderr)

    text = "measure errors, alerts, net benefit and subgroups"
    paths = ("selection", "tasks", "labels", "split", "samples", "evaluation")
    parser = add_verb(verbs, "performance", run, text, *paths)
    add_paths(parser, "scores", "predictions")
    add_paths(parser, "baselines", required=False)
    add_ledger(parser)


def _participants(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.evaluation.participants.stage import describe_participants

        paths = (options.cohort, options.labels, options.split, options.output)
        describe_participants(*paths, sys.stderr)

    text = "describe who is in which part"
    add_verb(verbs, "participants", run, text, "cohort", "labels", "split", "output", settings=False)


VERBS = (_participants, _performance)
