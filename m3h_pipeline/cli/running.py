"""The verb that runs a study."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any


def _run(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.shipped.workflow import command, environment

        given: list[str] = options.arguments
        if given[:1] in (["-h"], ["--help"]):
            parser.print_help()
            return
        named = bool(given) and not given[0].startswith("-")
        words = command(given[0] if named else None, given[named:])
        # https://no-color.org: Snakemake does not look at it.
        if os.environ.get("NO_COLOR") and "--nocolor" not in given:
            words.append("--nocolor")
        sys.stdout.flush()
        sys.stderr.flush()
        # Snakemake takes this process' place: its exit status, its screen, its interrupts.
        os.execve(words[0], words, environment())

    text = "run a study, or go on with it"
    # No word is an option of this verb's own: all after the configuration are Snakemake's, in their order.
    parser = verbs.add_parser(
        "run",
        help=text,
        description=text[0].upper() + text[1:] + ".",
        usage="m3h run [CONFIG] [SNAKEMAKE'S OPTIONS]",
        prefix_chars="\0",
        add_help=False,
        epilog="Exit status and options are Snakemake's (`snakemake --help`): -n says what would run, "
        "--cores 4 uses four cores (default: all), --profile slurm sends jobs to a cluster, "
        "--config key=value changes a key.",
    )
    parser.add_argument(
        "arguments",
        nargs=argparse.REMAINDER,
        metavar="...",
        help="the study's YAML file (default: config/config.yaml, else the default study), then options",
    )
    parser.set_defaults(verb=run)


VERBS = (_run,)
