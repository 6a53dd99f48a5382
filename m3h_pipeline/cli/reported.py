"""Verbs of what a report has to tell beside the scores."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path
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


def _report(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.report.told import report

        sys.stderr.write(f"{report(options.study, options.out)}\n")

    text = "write the report of a finished study: one HTML file, to be opened in a browser"
    parser = add_verb(verbs, "report", run, text, settings=False)
    shown = "configuration, results or name of the study (default: config/config.yaml, or the only results)"
    parser.add_argument("study", nargs="?", metavar="STUDY", help=shown)
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: report.html in its results")


def _report_page(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Study
        from m3h_pipeline.config.arguments import part_of
        from m3h_pipeline.layout import Layout
        from m3h_pipeline.record import made_from
        from m3h_pipeline.report.stage import write_report

        layout, study = Layout(options.study), sections_of(options, study=Study)["study"]
        inputs, definitions = (part_of(options.settings, name) for name in ("inputs", "definitions"))
        write_report(layout, made_from(layout, study, inputs, definitions), options.output)

    text = "write the report of a study whose record is not yet made"
    add_verb(verbs, "report-page", run, text, "study", "output")


VERBS = (_participants, _performance, _report, _report_page)
