"""Completion for shells, generated from the parser: verbs, their options, and values where they are few."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from m3h_pipeline.cli.arguments import add_verb

SHELLS = ("bash", "zsh")


@dataclass(frozen=True)
class Words:
    """What can follow a verb.

    Attributes:
        text: what the verb does.
        options: option -> what it does.
        values: option -> its values, where they are few; ``""``: of the argument that has no name.
    """

    text: str
    options: dict[str, str] = field(default_factory=dict)
    values: dict[str, list[str]] = field(default_factory=dict)


def words(parser: argparse.ArgumentParser) -> dict[str, Words]:
    """Verb -> what can follow it; ``""``: what stands before any verb."""
    (verbs,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    texts = {action.dest: action.help or "" for action in verbs._choices_actions}
    found = {"": _words("", parser)}
    return found | {name: _words(texts.get(name, ""), one) for name, one in verbs.choices.items()}


def _words(text: str, parser: argparse.ArgumentParser) -> Words:
    found = Words(text)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        names = [name for name in action.option_strings if name.startswith("--")]
        for name in names:
            text = "" if action.help in (None, argparse.SUPPRESS) else str(action.help)
            found.options[name] = text.replace("%%", "%")
        if action.choices is not None:
            found.values.update({name: [str(one) for one in action.choices] for name in names or [""]})
    return found


def script(shell: str, known: Mapping[str, Words]) -> str:
    """The script that a shell reads."""
    return _BASH.format(cases=_bash(known)) if shell == "bash" else _ZSH.format(**_zsh(known))


_BASH = r"""# Completion of m3h for bash. Now: source <(m3h completion bash)
# For good: m3h completion bash > ~/.local/share/bash-completion/completions/m3h
_m3h() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} verb='' offered='' values='' i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
            --log) ((i++)) ;;
            -*) ;;
            *) verb=${{COMP_WORDS[i]}}; break ;;
        esac
    done
    case $verb in
{cases}
    esac
    COMPREPLY=()
    if [[ -n $values ]]; then
        COMPREPLY=($(compgen -W "$values" -- "$word"))
    elif [[ $word == -* || ( -z $verb && $before != --log ) ]]; then
        COMPREPLY=($(compgen -W "$offered" -- "$word"))
    fi
}}
# Where nothing is offered: names of files.
complete -o bashdefault -o default -F _m3h m3h
"""


def _bash(known: Mapping[str, Words]) -> str:
    verbs = " ".join(name for name in known if name)
    lines = [f"        '') offered='{verbs} {' '.join(known[''].options)}' ;;"]
    for verb, one in known.items():
        if not verb:
            continue
        values = [f"{name}) values='{' '.join(v)}' ;;" for name, v in one.values.items() if name]
        if "" in one.values:
            values.append(f"{verb}) values='{' '.join(one.values[''])}' ;;")
        inner = f" case $before in {' '.join(values)} esac ;;" if values else " ;;"
        lines.append(f"        {verb}) offered='{' '.join(one.options)}';{inner}".replace("; ;;", " ;;"))
    return "\n".join(lines)


_ZSH = r"""#compdef m3h
# Completion of m3h for zsh. For good: m3h completion zsh > a file `_m3h` in a folder of $fpath
_m3h() {{
    local -a verbs
    verbs=(
{verbs}
    )
    local context state line
    _arguments -C {before} '1:verb:->verb' '*::argument:->argument'
    case $state in
        verb) _describe verb verbs ;;
        argument)
            case $words[1] in
{cases}
            esac ;;
    esac
}}
if [ "$funcstack[1]" = _m3h ]; then _m3h "$@"; else compdef _m3h m3h; fi
"""


def _zsh(known: Mapping[str, Words]) -> dict[str, str]:
    cases = [
        f"                {verb}) _arguments {_arguments(one)} '*:file:_files' ;;"
        if "" not in one.values
        else f"                {verb}) _arguments {_arguments(one)} '*:value:({' '.join(one.values[''])})' ;;"
        for verb, one in known.items()
        if verb
    ]
    verbs = [f"        '{verb}:{_quoted(one.text)}'" for verb, one in known.items() if verb]
    return {"verbs": "\n".join(verbs), "before": _arguments(known[""]), "cases": "\n".join(cases)}


def _arguments(one: Words) -> str:
    found = []
    for name, text in one.options.items():
        flag = name in {"--help", "--version", "--quiet"}
        action = f":value:({' '.join(one.values[name])})" if name in one.values else ":value:_files"
        found.append(f"'{name}[{_quoted(text)}]{'' if flag else action}'")
    return " ".join(found)


def _quoted(text: str) -> str:
    """Text within single quotes and brackets, on one line."""
    plain = " ".join(text.split())
    for old, new in (("'", "’"), ("[", "("), ("]", ")"), (":", " -")):
        plain = plain.replace(old, new)
    return plain


def completion(verbs: Any) -> None:
    """The verb ``completion``."""

    def run(options: argparse.Namespace) -> None:
        sys.stdout.write(script(options.shell, words(options.parser)))

    text = "write a shell's completion: `source <(m3h completion bash)`"
    made = add_verb(verbs, "completion", run, text, settings=False)
    made.add_argument("shell", choices=SHELLS, metavar="bash|zsh")
