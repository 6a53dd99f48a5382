"""The reasons of jobs, in words: which setting, which code, which input."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from m3h_pipeline.config import Study
from m3h_pipeline.differences.records import settings
from m3h_pipeline.digest import code_digest, definitions
from m3h_pipeline.errors import M3HError
from m3h_pipeline.files import read_json
from m3h_pipeline.jobs.code import CODE, modules_of
from m3h_pipeline.jobs.inputs import Inputs
from m3h_pipeline.jobs.settings import WHOLE, JobSettings
from m3h_pipeline.jobs.told import digest
from m3h_pipeline.layout import Layout
from m3h_pipeline.reruns.planned import Job

_TOLD = re.compile(r"([A-Za-z0-9_.]+)\.([0-9a-f]{16})\.(json|txt)")
_DIGEST = re.compile(r"[0-9a-f]{16,}")
#: Rule -> the verb that it calls, where the two are not called alike.
_VERBS = {"train_final": "train-pack", "train_network": "train-pack"}
#: Verbs that are passed a digest of the user's files.
_OF_INPUTS = ("ingest", "baselines", "embed", "embed-genes", "gene-pairs")


@dataclass(frozen=True)
class Reason:
    """Why jobs run again.

    Attributes:
        kind: setting, code, input, missing, result or other.
        text: what it is, in words.
    """

    kind: str
    text: str


class Explainer:
    """Puts the reasons of jobs into words.

    Args:
        study: its configuration.
        settings: what its jobs are told now.
        layout: of its results.
    """

    def __init__(self, study: Study, settings: JobSettings, layout: Layout) -> None:
        self._study, self._settings, self._layout = study, settings, layout

    def of(self, job: Job) -> list[Reason]:
        """The reasons of one job; none where it runs only because others do.

        Snakemake names no parameter of a job that runs again in any case: what it was told last, and what
        code ran last, say whether they have changed, too.
        """
        found = [Reason("missing", f"{self._short(path)} is missing") for path in job.missing]
        found += [Reason("missing", f"{self._short(path)} was not finished") for path in job.incomplete]
        found += [Reason("result", f"{self._short(path)} has changed") for path in job.changed]
        found += [Reason("other", text) for text in job.other]
        told = [Path(name) for name in job.before if _TOLD.fullmatch(Path(name).name)]
        for path in told or self._told_last(job):
            if path.suffix == ".json":
                found += self._setting(path)
        digests = [name for name in job.before if _DIGEST.fullmatch(name)]
        kept = next((one for one in self._kept_code for d in digests if d in one["codes"].values()), None)
        # Where a digest is that of the user's files, the code may be that of the last run.
        last = self._code_last if not digests or _verb(job) in _OF_INPUTS else None
        found += self._code(job, kept or last, known=not digests)
        codes = {digest for one in self._kept_code for digest in one["codes"].values()}
        if set(digests) - codes and _verb(job) in _OF_INPUTS:
            found += [Reason("input", text) for text in self._inputs]
        if not found and (job.before or job.now):
            found.append(_UNKNOWN)
        return list(dict.fromkeys(found))

    def _told_last(self, job: Job) -> list[Path]:
        """What a job was told when it was told anything last."""
        rule = "train" if job.rule.startswith("train_") else job.rule
        # Of a pack the wildcards say nothing of what it is told; of pairs of genes neither.
        names = (
            {rule}
            if job.rule in {"train_pack", "train_final"}
            else {rule, ".".join([rule, *job.wildcards[:1]])}
        )
        found = [
            path
            for path in self._layout.settings.glob(f"{rule}.*.json")
            if (told := _TOLD.fullmatch(path.name)) and told[1] in names
        ]
        return sorted(found, key=lambda path: path.stat().st_mtime)[-1:]

    def _setting(self, told: Path) -> list[Reason]:
        """What a job was told and is told now."""
        found = _TOLD.fullmatch(told.name)
        assert found is not None
        method, *of = found[1].split(".")
        made = getattr(self._settings, method, None)
        try:
            old = told.read_text(encoding="utf-8")
            before = settings({"": json.loads(old)}, ".")
        except (OSError, ValueError):
            return [Reason("setting", f"settings of `{method}` (what it was told is not kept)")]
        if made is None or method in WHOLE:
            return []
        try:
            new = str(made(*of))
        except (M3HError, KeyError):
            return [Reason("setting", f"settings of `{method}`")]
        if digest(new) == digest(old):
            return []
        now = settings({"": json.loads(new)}, ".")
        return [
            Reason("setting", f"{key.lstrip('.')}: {before.get(key, '(none)')} -> {now.get(key, '(none)')}")
            for key in [*before, *(key for key in now if key not in before)]
            if before.get(key) != now.get(key)
        ]

    def _code(self, job: Job, ran: Mapping[str, Any] | None, *, known: bool) -> list[Reason]:
        """Which definitions of a job's code say something else than those that ran."""
        verb = _verb(job)
        if verb not in {*CODE, "figure"} or (ran is None and known):
            return []
        if ran is None:
            text = f"code of `{verb}`, or what it reads (the version that ran was not kept)"
            return [] if verb in _OF_INPUTS else [Reason("code", text)]
        figure = job.wildcards[0] if verb == "figure" else ""
        modules = modules_of(verb, self._study.source.kind, figure)
        if code_digest(*modules) in ran["codes"].values():
            return []
        before = set(ran["definitions"].values())
        changed: dict[str, list[str]] = {}
        for name, said in definitions(*modules).items():
            module, _, definition = name.partition(":")
            if said not in before:
                changed.setdefault(module.removeprefix("m3h_pipeline."), []).append(definition)
        if not changed:
            return [Reason("code", f"code of `{verb}`: something that it no longer uses")]
        return [
            Reason("code", f"{module}: {', '.join(names[:4])}" + (" ..." if len(names) > 4 else ""))
            for module, names in sorted(changed.items())
        ]

    @property
    def _code_last(self) -> Mapping[str, Any] | None:
        """The code that ran last, if any was kept."""
        return self._kept_code[-1] if self._kept_code else None

    @cached_property
    def _kept_code(self) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for path in sorted(self._layout.code.glob("*.json"), key=lambda path: path.stat().st_mtime):
            try:
                content = read_json(path)
                found.append({"codes": dict(content["codes"]), "definitions": dict(content["definitions"])})
            except (M3HError, KeyError, TypeError, ValueError):
                continue
        return found

    @cached_property
    def _inputs(self) -> list[str]:
        """Inputs that are other than those of the record, in words."""
        try:
            now = Inputs(self._study, self._layout.input_digests).hashes()
            known = read_json(self._layout.record)["inputs"] if self._layout.record.exists() else None
        except (M3HError, KeyError):
            return ["an input file has changed"]
        if known is None:
            return ["an input file has changed (which one is not known before a study is finished)"]
        there = {name: entry.get("sha256") for name, entry in known.items()}
        mine = {name: entry["sha256"] for name, entry in now.items()}
        return [
            *(f"{name} has changed" for name in mine if name in there and there[name] != mine[name]),
            *(f"{name} is new" for name in mine if name not in there),
            *(f"{name} is gone" for name in there if name not in mine),
        ]

    def _short(self, path: str) -> str:
        name = path.removeprefix(f"{self._layout.folder.as_posix()}/")
        return name.removesuffix(" (deleted)")


_UNKNOWN = Reason("other", "a parameter of its rule")


def _verb(job: Job) -> str:
    return _VERBS.get(job.rule, job.rule.replace("_", "-"))
