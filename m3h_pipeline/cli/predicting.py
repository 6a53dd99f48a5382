"""Verbs for whoever has a bundle and files of new samples."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from m3h_pipeline.cli.arguments import add_verb


def _predict(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.bundle.load import Bundle
        from m3h_pipeline.bundle.predict import predict_files

        count = predict_files(
            Bundle.load(options.bundle, trust=options.trust),
            options.files,
            options.out,
            tasks=options.tasks,
            with_attention=options.attention,
            with_contributions=options.contributions,
            absent=options.absent,
            embeddings=options.embeddings,
            stream=sys.stderr,
        )
        sys.stderr.write(f"{count:,} samples in {options.out}\n")

    parser = add_verb(verbs, "predict", run, "predict new samples from files and a bundle", settings=False)
    _add_files(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="predictions, .csv or .parquet"
    )
    parser.add_argument(
        "--attention", action="store_true", help="add how much each task attends to the tasks learned with it"
    )
    parser.add_argument(
        "--contributions", action="store_true", help="add what each source contributes (exact Shapley values)"
    )


def _evaluate_bundle(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.bundle.external import evaluate_files
        from m3h_pipeline.bundle.load import Bundle

        evaluate_files(
            Bundle.load(options.bundle, trust=options.trust),
            options.files,
            options.out,
            tasks=options.tasks,
            absent=options.absent,
            embeddings=options.embeddings,
            draws=options.draws,
            stream=sys.stderr,
        )
        sys.stderr.write(f"{options.out}, and the numbers in {options.out.with_suffix('.tsv')}\n")

    text = "score a bundle on files with outcomes, beside the study's own scores"
    parser = add_verb(verbs, "evaluate-bundle", run, text, settings=False)
    _add_files(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="report, .html")
    parser.add_argument("--draws", type=int, default=1000, help="draws of patients behind an interval")


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="files as the study had them, or one folder of a cohort"
    )
    parser.add_argument("--tasks", nargs="+", metavar="NAME", help="tasks; all of the bundle by default")
    parser.add_argument(
        "--absent",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="sources that nobody has; their files may lack",
    )
    parser.add_argument(
        "--embeddings", type=Path, metavar="FOLDER", help="of MIMIC-IV: tables that `m3h embed` wrote"
    )
    parser.add_argument(
        "--trust", action="store_true", help="run code of its own that the bundle names; it could do anything"
    )


VERBS = (_predict, _evaluate_bundle)
