"""What would run again, on one screen: first why, then what, by stage."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from m3h_pipeline.config import load_study
from m3h_pipeline.disclosure.text import message
from m3h_pipeline.errors import InputError
from m3h_pipeline.jobs.settings import WHOLE, JobSettings
from m3h_pipeline.layout import Layout
from m3h_pipeline.reruns.planned import Job, jobs_of
from m3h_pipeline.reruns.reasons import Explainer, Reason
from m3h_pipeline.shipped import located
from m3h_pipeline.shipped.workflow import command, environment
from m3h_pipeline.tasks.definitions import tasks_of

#: Stage -> its rules, in the order of a study.
STAGES = {
    "cohort": ("simulate", "embed", "ingest"),
    "labels": ("label", "assess"),
    "split": ("split", "participants"),
    "genes": ("embed_genes",),
    "search": ("plan_round", "train_pack", "merge_scores", "select"),
    "TIM": ("plan_tim", "tim"),
    "references": ("baselines",),
    "final fits": ("plan_final", "train_final"),
    "evaluation": ("evaluate", "performance", "phenotypes", "missing"),
    "networks": ("plan_network", "train_network", "compare_networks", "draw_networks"),
    "pairs of genes": ("gene_pairs", "draw_gene_pairs"),
    "figures": ("figure",),
    "bundle": ("export_bundle",),
    "report": ("report_page",),
    "record": ("record",),
}
_KINDS = {
    "setting": "settings",
    "code": "code",
    "input": "input files",
    "missing": "files",
    "result": "results changed by hand",
    "other": "other",
}
#: Lines of one kind of reason, and jobs named one by one.
_LINES, _NAMED = 12, 4


def explain_rerun(configfile: Path, screen: TextIO) -> None:
    """Say what a call of ``m3h run`` would run again, and why. Nothing is run or written.

    Args:
        configfile: of the study.
        screen: where it is said.

    Raises:
        ConfigError: the configuration is wrong.
        InputError: Snakemake cannot plan the study; its message says why.
    """
    study = load_study(Path(located(str(configfile))))
    layout = Layout(Path(study.results) / study.study)
    jobs = jobs_of(_dry_run(configfile))
    explainer = Explainer(study, JobSettings(study, tasks_of(study.tasks)), layout)
    why = {job: explainer.of(job) for job in jobs}
    screen.writelines(message(line) + "\n" for line in explained(jobs, why, layout))


def _dry_run(configfile: Path) -> str:
    words = command(str(configfile), ["--dry-run", "--nocolor", "--cores", "1"])
    done = subprocess.run(
        words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        at = next((i for i, line in enumerate(lines) if "Error" in line or "rror in" in line), len(lines) - 3)
        raise InputError(
            "Snakemake cannot plan the study: " + " ".join(line.strip() for line in lines[at : at + 4]),
            where=str(configfile),
            hint="`m3h check` says what is wrong with a study",
        )
    return done.stdout


def explained(jobs: Sequence[Job], why: Mapping[Job, list[Reason]], layout: Layout) -> Iterable[str]:
    """What is said."""
    folder = layout.folder.as_posix()
    if not jobs:
        yield f"{folder}: nothing would run"
        return
    own = [job for job in jobs if job.rule not in WHOLE and (why[job] or not job.follows)]
    yield f"{folder}: {len(jobs):,} jobs would run, {len(own):,} of them for a reason of their own"
    reasons: dict[Reason, list[Job]] = {}
    for job in jobs:
        for reason in why[job] if job.rule not in WHOLE else []:
            reasons.setdefault(reason, []).append(job)
    fresh = not layout.cohort.samples.exists()
    if fresh:
        yield "the study has not begun"
    for kind, title in _KINDS.items():
        of_kind = {reason: of for reason, of in reasons.items() if reason.kind == kind}
        if not of_kind or (fresh and kind == "missing"):
            continue
        yield f"{title}:"
        for reason, of in list(of_kind.items())[:_LINES]:
            yield f"  {reason.text}  [{_names(of)}]"
        if len(of_kind) > _LINES:
            yield f"  and {len(of_kind) - _LINES} more"
    yield "what would run:"
    counts = Counter(job.rule for job in jobs)
    following = Counter(job.rule for job in jobs if job not in own)
    for stage, rules in STAGES.items():
        there = [rule for rule in rules if counts[rule]]
        if there:
            some = ", ".join(f"{rule} x {counts[rule]}" if counts[rule] > 1 else rule for rule in there)
            after = sum(following[rule] for rule in there)
            total = sum(counts[rule] for rule in there)
            note = "" if not after else " (after others)" if after == total else f" ({after} after others)"
            yield f"  {stage:<16}{total:>6,}  {some}{note}"
    if any(job.rule.startswith("plan_") for job in jobs):
        yield "new plans may name further packs; fits that are in the store are not trained again"
    elif any(job.rule.startswith("train_") for job in jobs):
        yield "fits that are in the store are not trained again"


def _names(jobs: Sequence[Job]) -> str:
    names = [f"{job.rule}({' '.join(job.wildcards)})" if job.wildcards else job.rule for job in jobs]
    if len(names) > _NAMED:
        counts = Counter(job.rule for job in jobs)
        names = [f"{rule} x {n}" if n > 1 else rule for rule, n in counts.items()]
    return ", ".join(names)
