"""What verbs share: a parser each, paths, and the configuration sections they use as JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Verb = Callable[[argparse.Namespace], None]


def add_verb(verbs: Any, name: str, run: Verb, text: str, *paths: str, settings: bool = True) -> Any:
    """Add a verb and return its parser.

    Args:
        verbs: what ``add_subparsers`` returned.
        name: of the verb.
        run: what the verb does with its parsed options.
        text: what it does, in words; begins with a small letter.
        paths: names of required options that are one path each.
        settings: whether the verb takes ``--settings``.
    """
    parser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    for path in paths:
        parser.add_argument(f"--{path}", type=Path, required=True, metavar="PATH")
    if settings:
        parser.add_argument(
            "--settings",
            type=told_json,
            required=True,
            metavar="JSON",
            help="the configuration sections this verb uses, as JSON, or @FILE",
        )
    # Before the verb or after it.
    parser.add_argument("--quiet", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.set_defaults(verb=run)
    return parser


def told_json(text: str) -> str:
    """JSON as given, or what a file says that is named after an @."""
    return _told(text[1:]) if text.startswith("@") else text


def _told(name: str) -> str:
    """What a file says that is named after an @."""
    from m3h_pipeline.jobs.told import damaged

    try:
        text = Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise argparse.ArgumentTypeError(f"{name} is not UTF-8") from error
    if damaged(Path(name), text):
        raise argparse.ArgumentTypeError(f"{name} is damaged; run `snakemake`, which writes it again")
    return text


def _listed(text: str) -> list[Path]:
    """One path, or those that a file lists."""
    return [Path(line) for line in _told(text[1:]).splitlines()] if text.startswith("@") else [Path(text)]


class _Paths(argparse.Action):
    """Paths on the command line and in lists, in the order in which they are given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        options: argparse.Namespace,
        values: Any,
        option: str | None = None,
    ) -> None:
        setattr(options, self.dest, [path for paths in values for path in paths])


def add_paths(parser: Any, *names: str, required: bool = True) -> None:
    """Add options that are several paths each, or files that list them."""
    for name in names:
        parser.add_argument(
            f"--{name}",
            type=_listed,
            action=_Paths,
            nargs="+" if required else "*",
            default=[],
            metavar="PATH",
            help="paths, or @FILE with one a line",
        )


def sections_of(options: argparse.Namespace, **kinds: Any) -> dict[str, Any]:
    """The named sections of ``--settings``, validated.

    Raises:
        ConfigError: no JSON, or a section is wrong.
    """
    from m3h_pipeline.config import settings

    return settings(options.settings, **kinds)


def seed_of(options: argparse.Namespace) -> int:
    """The study's seed in ``--settings``.

    Raises:
        ConfigError: it is absent or no whole number.
    """
    from m3h_pipeline.config import arguments

    return arguments.seed_of(options.settings)


def add_ledger(parser: Any) -> None:
    """Add the option of a verb that opens the test part."""
    text = "where it is noted that the test part is opened"
    parser.add_argument("--ledger", type=Path, required=True, metavar="FOLDER", help=text)


def note(options: argparse.Namespace, scores: list[Path], references: Sequence[Path] = ()) -> int:
    """Note that this verb opens the test part; see :func:`m3h_pipeline.evaluation.ledger.opened`."""
    from m3h_pipeline.evaluation.ledger import opened

    return opened(options.ledger, options.name, scores, options.settings, sys.stderr, references)
