"""What Snakemake would run, and its reasons, from what a dry run of it says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_JOB = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):\n((?: +.*\n?)*)", flags=re.MULTILINE)
_LINE = re.compile(r"^ +(reason|wildcards|output): (.*)$", flags=re.MULTILINE)
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'")
_REASONS = {
    "missing": "Missing output files: ",
    "incomplete": "Incomplete output files: ",
    "changed": "Updated input files: ",
    "upstream": "Input files updated by another job: ",
    "params": "Params have changed since last execution: ",
}
_OTHER = {
    "Set of input files has changed": "other input files",
    "Code has changed": "the rule itself",
    "Software environment definition has changed": "its environment",
    "Forced execution": "it is forced",
    "always executed": "it always runs",
}
_PART = re.compile(r"; (?=[A-Z])")


@dataclass(frozen=True)
class Job:
    """A job that would run.

    Attributes:
        rule: its rule.
        wildcards: their values.
        missing, incomplete, changed: files that are its reason, or inputs of it.
        upstream: inputs that other jobs make again.
        before, now: parameters that have changed.
        other: further reasons, in words.
    """

    rule: str
    wildcards: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    now: tuple[str, ...] = ()
    other: tuple[str, ...] = field(default=())

    @property
    def follows(self) -> bool:
        """Whether it runs again only because others do."""
        mine = (self.missing, self.incomplete, self.changed, self.before, self.now, self.other)
        return bool(self.upstream) and not any(mine)


def jobs_of(said: str) -> list[Job]:
    """The jobs of a dry run, targets left out.

    Args:
        said: what ``snakemake --dry-run`` printed.

    Examples:
        >>> said = '''rule figure:
        ...     output: a.svg
        ...     reason: Missing output files: a.svg
        ...     wildcards: figure=roc
        ... '''
        >>> job = jobs_of(said)[0]
        >>> job.rule, job.wildcards, job.missing
        ('figure', ('roc',), ('a.svg',))
    """
    found = []
    for rule, body in _JOB.findall(said):
        if rule in {"all", "figures"}:
            continue
        lines = dict(_LINE.findall(body))
        values = [part.partition("=")[2] for part in lines.get("wildcards", "").split(", ") if part]
        found.append(_job(rule, tuple(values), lines.get("reason", "")))
    return found


def _job(rule: str, wildcards: tuple[str, ...], reason: str) -> Job:
    files: dict[str, tuple[str, ...]] = {}
    before: tuple[str, ...] = ()
    now: tuple[str, ...] = ()
    other = []
    for part in _PART.split(reason):
        kind = next((kind for kind, text in _REASONS.items() if part.startswith(text)), "")
        if kind == "params":
            said, _, new = part.partition(" now: ")
            before = tuple(_QUOTED.findall(said.partition("before: ")[2]))
            now = tuple(_QUOTED.findall(new))
        elif kind:
            files[kind] = tuple(one for one in part.removeprefix(_REASONS[kind]).strip().split(", ") if one)
        else:
            other += [words for text, words in _OTHER.items() if text in part]
    return Job(rule, wildcards, before=before, now=now, other=tuple(other), **files)
