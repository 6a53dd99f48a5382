"""What each part of the network contributes, over any number of studies; writes docs/ablation.md.

    python -m tests.benchmarks.ablation config/ablation_m3h.yaml config/support2.yaml --data FOLDER
    python -m tests.benchmarks.ablation STUDY.yaml --replicates 2 --networks published,no_attention
    python -m tests.benchmarks.ablation --at-once config/config.yaml config/support2.yaml --data FOLDER
    python -m tests.benchmarks.ablation --document docs/ablation.md results/ablation_* results/at_once_*

The first line lays the section ``networks`` of ``config/ablation_m3h.yaml`` over each study, and trains
nothing else; the second does so with fewer networks and seeds, where a study is large; the third compares
each study's own network on all tasks at once with each task alone; the fourth reads what came out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from m3h_pipeline.inference.intervals import Interval, paired_interval
from m3h_pipeline.inference.resampled import load_cohort, part_seeds
from m3h_pipeline.inference.scored import Scored, quantity, scored
from m3h_pipeline.networks.compare import network_predictions
from m3h_pipeline.tasks.assessed import read_tasks

ROOT = Path(__file__).parents[2]
ABLATION = ROOT / "config/ablation_m3h.yaml"
#: Of patients, for intervals.
DRAWS = 400
#: Between these the text of the page is generated.
BEGIN, END = "<!-- tables: python -m tests.benchmarks.ablation -->", "<!-- end -->"


def study_of(path: Path, at_once: bool, replicates: int | None, networks: Sequence[str]) -> dict[str, Any]:
    """The study that asks the questions of the ablation of another one.

    Args:
        path: of the other study.
        at_once: whether its own network is compared with itself, each task alone.
        replicates: seeds of every network; None: as many as the page has.
        networks: which of the ablation's; empty: all of them.
    """
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    name = content["study"].removeprefix("ablation_")
    # Without references differences are taken from the study's own network: a part's worth has an interval.
    content |= {"evaluation": {"baselines": []}}
    if at_once:
        section = {"own": "default", "replicates": replicates or 3}
        return content | {"study": f"at_once_{name}", "networks": section}
    section = yaml.safe_load(ABLATION.read_text(encoding="utf-8"))["networks"]
    section["replicates"] = replicates or section["replicates"]
    section["others"] = {name: section["others"][name] for name in networks or section["others"]}
    return content | {"study": f"ablation_{name}", "networks": section}


def run(asked: argparse.Namespace) -> None:
    """Train and compare the networks of every study."""
    data = asked.data
    for path in asked.paths:
        study = study_of(path, asked.at_once, asked.replicates, asked.networks)
        file = ROOT / "results" / f"{study['study']}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
        # What follows `--configfile` is read as one more of them.
        command = ["snakemake", "draw_networks", "--cores", str(asked.cores), "--configfile", str(file)]
        command += ["--config", f"data={data}"] if data and "data" in study else []
        subprocess.run(command, cwd=ROOT, check=True)


@dataclass(frozen=True)
class Compared:
    """The networks of a study, learned on all tasks at once, by what they predict out of fold.

    Attributes:
        scores: (network, task) -> its score, supervised tasks only.
        table: of contracts.NETWORK_COMPARISON.
        units: patients that carry any task's information, at most.
    """

    scores: Mapping[tuple[str, str], Scored]
    table: pd.DataFrame
    units: int


def read_compared(folder: Path) -> Compared:
    """Score the networks of a finished study anew, under the same draws of patients for all of them."""
    described = read_tasks(folder / "labels/tasks.json")
    cohort = load_cohort(
        described,
        folder / "labels",
        folder / "split.parquet",
        folder / "cohort/samples.parquet",
        DRAWS,
        **part_seeds(0),
    )
    table = pd.read_parquet(folder / "networks/comparison.parquet")
    scores = {
        (network, task): scored(cohort, task, {n: predictions[n] for n in cohort.folds})
        for network in table["network"].unique()
        for task, learned, predictions in network_predictions(folder / "search/networks" / network, cohort)
        if learned == "together" and described[task].metric != "silhouette"
    }
    units = max(cohort.informative(task, cohort.folds) for _, task in scores)
    return Compared(scores, table, units)


def mean_difference(compared: Compared, network: str, own: str) -> tuple[Interval, pd.Series]:
    """The mean over tasks of what a network scores less the study's own, with its interval; and each task's.

    The interval counts patients (drawn for all tasks and networks together) and seeds (left out one by one).
    """
    tasks = [t for n, t in compared.scores if n == own and (network, t) in compared.scores]
    pairs = [(compared.scores[network, task], compared.scores[own, task]) for task in tasks]
    each = pd.Series([a.value - b.value for a, b in pairs], index=tasks).dropna()
    kept = [pair for pair, task in zip(pairs, tasks, strict=True) if task in each.index]
    draws = np.mean([a.draws - b.draws for a, b in kept], axis=0)
    left_out = np.mean([a.left_out - b.left_out for a, b in kept], axis=0)
    mean = quantity(float(each.mean()), draws, [left_out], compared.units)
    components = [(mean.patients, float(compared.units - 1)), (mean.seeds, mean.seeds_freedom)]
    return paired_interval(mean.value, components), each


def at_once(folders: Sequence[Path]) -> str:
    """The table of all tasks at once beside each of them alone; a row per study."""
    lines = [
        "### All tasks at once, and each alone",
        "",
        "Mean score out of fold over the supervised tasks.",
        "",
        "| study | tasks | seeds | alone | at once | difference | most lost | most gained |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for folder in folders:
        table = pd.read_parquet(folder / "networks/comparison.parquet")
        kept = (table["part"] == "validation") & (table["network"] == "default")
        table = table[kept & (table["metric"] != "silhouette")]
        wide = table.pivot(index="task", columns="learned", values="value")
        less = wide["together"] - wide["alone"]
        means = f"{wide['alone'].mean():.4f} | {wide['together'].mean():.4f} | {less.mean():+.4f}"
        ends = f"{less.min():+.3f} {less.idxmin()} | {less.max():+.3f} {less.idxmax()}"
        seeds = int(table["replicates"].max())
        lines.append(f"| {folder.name.removeprefix('at_once_')} | {len(less)} | {seeds} | {means} | {ends} |")
    return "\n".join(lines)


def page(folders: Sequence[Path]) -> str:
    """The tables of the page."""
    parts = [at_once([folder for folder in folders if folder.name.startswith("at_once_")])]
    for folder in folders:
        if folder.name.startswith("at_once_"):
            continue
        compared = read_compared(folder)
        own = str(compared.table["network"].iloc[0])
        mine = compared.table[
            (compared.table["network"] == own)
            & (compared.table["part"] == "validation")
            & (compared.table["learned"] == "together")
            & (compared.table["metric"] != "silhouette")
        ]
        seeds = int(mine["replicates"].max())
        lines = [
            f"### {folder.name.removeprefix('ablation_')}",
            "",
            (
                f"All {len(mine)} supervised tasks at once, {seeds} seeds. `{own}`: mean score "
                f"{mine['value'].mean():.3f} (averaging them adds "
                f"{(mine['value'] - mine['one_seed']).mean():+.3f} to one; seeds deviate by "
                f"{mine['deviation'].mean():.3f})."
            ),
            "",
            "| network | mean difference (95 % interval) | most lost | most gained |",
            "|---|---|---|---|",
        ]
        others = [network for network in compared.table["network"].unique() if network != own]
        found = {network: mean_difference(compared, network, own) for network in others}
        for network, (mean, each) in sorted(found.items(), key=lambda item: item[1][0].estimate):
            ranked = each.sort_values()
            lost, gained = (f"{ranked.iloc[i]:+.3f} {ranked.index[i]}" for i in (0, -1))
            interval = f"{mean.estimate:+.4f} ({mean.low:+.4f} to {mean.high:+.4f})"
            lines.append(f"| `{network}` | {interval} | {lost} | {gained} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def main(arguments: Sequence[str]) -> None:
    """Run, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--at-once", action="store_true")
    parser.add_argument("--data")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--replicates", type=int)
    parser.add_argument("--networks", type=lambda text: text.split(","), default=[])
    parser.add_argument("--document", type=Path)
    asked = parser.parse_args(arguments)
    if asked.document is None:
        run(asked)
        return
    text = asked.document.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    asked.document.write_text(f"{head}{BEGIN}\n\n{page(asked.paths)}\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
