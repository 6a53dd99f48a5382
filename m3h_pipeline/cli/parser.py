"""The parser of the command line: help with people's verbs first, and what was probably meant."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from m3h_pipeline.errors import nearest

#: What a person calls, in the order in which a study meets it. Every other verb is the workflow's.
PEOPLE = (
    *("init", "check", "run", "status", "report", "predict", "evaluate-bundle", "compare", "explain-rerun"),
    *("replay", "verify", "fetch-demo", "task-list", "completion"),
)
#: What an exit status says; docs/cli.md has the same table.
EXITS = {
    0: "it is done",
    1: "a fault of m3h, with a traceback: please report it",
    2: "something that you can mend, in the arguments or in the files; the message says what",
    130: "interrupted (Ctrl-C); what is finished stays",
    141: "whoever read the output stopped reading (`m3h check | head`)",
}


#: Options of the whole command alone, and what follows them.
_FIRST = {"--log": " FILE VERB ...", "--version": ""}


class Parser(argparse.ArgumentParser):
    """A parser that says what was probably meant; that of the whole command lists people's verbs first."""

    def parse_known_args(  # type: ignore[override]  # overloaded for namespaces of other types
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        # A wrong option first: without this, argparse complains of the right one, which is absent.
        if args is not None and self._verbs() is None and not self._passes_on():
            self._check_options(args)
        if args is not None and self._verbs() is not None:
            # Of the whole command only what stands before the verb.
            self._check_options(itertools.takewhile(lambda word: word.startswith("-"), args))
        return super().parse_known_args(args, namespace)

    def parse_args(  # type: ignore[override]  # overloaded for namespaces of other types
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self._check_options(unknown)
            self.error(f"`{unknown[0]}` is one argument too many")
        return known

    def format_help(self) -> str:
        verbs = self._verbs()
        if verbs is None:
            return super().format_help()
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        known = {action.dest: action for action in verbs._choices_actions}
        people = [name for name in PEOPLE if name in known]
        parts = {
            "verbs": [known.pop(name) for name in people],
            "stages of a study, which the workflow calls": list(known.values()),
            "options": [action for action in self._actions if action is not verbs],
        }
        for title, actions in parts.items():
            formatter.start_section(title)
            formatter.add_arguments(actions)
            formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            raise argparse.ArgumentError(None, f"there is no verb `{value}`; {meant(value, action.choices)}")
        super()._check_value(action, value)

    def error(self, message: str) -> NoReturn:
        if message == "the following arguments are required: VERB":
            message = "say what to do: `m3h --help` lists the verbs"
        super().error(message)

    def _verbs(self) -> Any:
        return next((a for a in self._actions if isinstance(a, argparse._SubParsersAction)), None)

    def _passes_on(self) -> bool:
        """Whether the rest of the line is for another program."""
        return any(action.nargs == argparse.REMAINDER for action in self._actions)

    def _check_options(self, args: Iterable[str]) -> None:
        known = [name for name in self._option_string_actions if name.startswith("--")]
        for word in args:
            if word == "--":
                return
            name = word.partition("=")[0]
            if name in _FIRST and name not in known:
                self.error(f"`{name}` stands before the verb: `m3h {name}{_FIRST[name]}`")
            if name.startswith("--") and " " not in name and not any(one.startswith(name) for one in known):
                self.error(f"there is no option `{name}`; {nearest(name, known)}")


def meant(verb: str, verbs: Iterable[str]) -> str:
    """What to do about a verb that there is not.

    Examples:
        >>> meant("chek", ["check", "init"]), meant("frobnicate", ["check", "init"])
        ('did you mean `check`?', '`m3h --help` lists them')
    """
    found = nearest(verb, verbs)
    return found if found.startswith("did") else "`m3h --help` lists them"
