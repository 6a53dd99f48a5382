"""Verbs for people: a study drafted, looked at, compared, and why it would run again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from m3h_pipeline.cli.arguments import add_verb, told_json


def _init(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.draft.write import draft_study

        # A comma may stand in a name.
        given = [[text] if Path(text).exists() else text.split(",") for text in options.tables]
        paths = [path for some in given for path in some if path]
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
        from m3h_pipeline.status.named import named
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


def _compare(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.differences.show import compare_studies
        from m3h_pipeline.status.named import named

        a, b = (named(word).layout for word in (options.a, options.b))
        compare_studies(a, b, sys.stdout, options.out)

    text = "what two finished studies differ by: data, settings, scores on the same patients"
    parser = add_verb(verbs, "compare", run, text, settings=False)
    parser.add_argument("a", metavar="A", help="configuration, results or name of a study")
    parser.add_argument("b", metavar="B", help="of the other one")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.tsv", help="also write a table, which can be given away"
    )


def _explain_rerun(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.errors import InputError
        from m3h_pipeline.reruns.show import explain_rerun
        from m3h_pipeline.status.named import named

        found = named(options.study)
        if found.configfile is None:
            raise InputError(
                "the configuration of these results is not known",
                where=str(found.layout.folder),
                hint="give the study's YAML file: `m3h explain-rerun config/my_study.yaml`",
            )
        explain_rerun(found.configfile, sys.stdout)

    text = "what would run again, and why: settings, code, inputs"
    _add_study(add_verb(verbs, "explain-rerun", run, text, settings=False))


def _replay(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Search, Study, Tim, settings
        from m3h_pipeline.errors import ConfigError
        from m3h_pipeline.search.measured import replay_search
        from m3h_pipeline.tim.measured import replay_tim

        search = settings(f'{{"search": {options.search}}}', search=Search)["search"]
        tim = settings(f'{{"tim": {options.tim or "{}"}}}', tim=Tim)["tim"]
        seed = Study.model_fields["seed"].default if options.seed is None else options.seed
        if seed < 0:
            raise ConfigError("a seed is a whole number from 0 on", where="--seed")
        table = replay_search(options.scores, options.out, search, sys.stdout)
        replay_tim(table, options.out, tim, seed, sys.stderr, asked=options.tim is not None)

    text = "the search for companions and TIM on a table of measured scores; nothing is trained"
    parser = add_verb(verbs, "replay", run, text, settings=False)
    parser.add_argument(
        "scores",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="measured scores, Parquet or CSV (docs/search.md)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where its tables go")
    parser.add_argument(
        "--search",
        type=told_json,
        default="{}",
        metavar="JSON",
        help="the section `search` of a study, as JSON or @FILE (default: what a study does by default)",
    )
    parser.add_argument(
        "--tim",
        type=told_json,
        metavar="JSON",
        help="the section `tim` of a study, as JSON or @FILE (default: pairs, where the table has them all)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="of the study, by which the sets of `mode: sampled` were drawn (default: a study's default)",
    )


def _add_study(parser: Any) -> None:
    text = "configuration, results or name of the study (default: config/config.yaml, or the only results)"
    parser.add_argument("study", nargs="?", metavar="STUDY", help=text)


#: In the order in which a study meets them.
VERBS = (_init, _status, _compare, _explain_rerun, _replay)
