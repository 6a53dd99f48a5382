"""Verbs for people: a study drafted, looked at, compared, and why it would run again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from m3h_pipeline.cli.arguments import add_verb


def _init(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.draft.write import draft_study

        paths = [path for text in options.tables for path in text.split(",") if path]
        draft_study(options.study, paths, options.folder, sys.stdout)

    text = "write a commented study file and its tasks, after a look at your tables"
    parser = add_verb(verbs, "init", run, text, settings=False)
    parser.add_argument("study", metavar="NAME", help="of the study: letters, digits, `_`")
    parser.add_argument(
        "--from",
        dest="tables",
        nargs="+",
        required=True,
        metavar="FILE",
        help="tables (CSV, TSV, Parquet, ARFF, .h5ad, also gzipped), with blanks or commas between them",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("config"),
        metavar="DIR",
        help="where the two files go (default: config)",
    )


def _status(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.named import named
        from m3h_pipeline.status.show import show_status

        show_status(named(options.study), sys.stdout, options.watch)

    parser = add_verb(verbs, "status", run, "how far a study is, and what remains", settings=False)
    _add_study(parser)
    parser.add_argument(
        "--watch",
        type=float,
        nargs="?",
        const=5.0,
        metavar="SECONDS",
        help="again and again until the study is finished (default: every 5 seconds)",
    )


def _add_study(parser: Any) -> None:
    text = "configuration, results or name of the study (default: config/config.yaml, or the only results)"
    parser.add_argument("study", nargs="?", metavar="STUDY", help=text)


#: In the order in which a study meets them.
VERBS = (_init, _status)
