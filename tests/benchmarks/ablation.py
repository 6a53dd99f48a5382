"""What each part of the network contributes, over any number of studies; writes docs/ablation.md.

    python -m tests.benchmarks.ablation config/ablation_m3h.yaml config/support2.yaml --data FOLDER
    python -m tests.benchmarks.ablation --at-once config/config.yaml config/support2.yaml --data FOLDER
    python -m tests.benchmarks.ablation --document docs/ablation.md results/ablation_* results/at_once_*

The first line lays the section ``networks`` of ``config/ablation_m3h.yaml`` over each study, and trains
nothing else; the second compares each study's own network on all tasks at once with each task alone; the
third reads what came out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

ROOT = Path(__file__).parents[2]
ABLATION = ROOT / "config/ablation_m3h.yaml"
#: Between these the text of the page is generated.
BEGIN, END = "<!-- tables: python -m tests.benchmarks.ablation -->", "<!-- end -->"


def study_of(path: Path, at_once: bool) -> dict[str, Any]:
    """The study that asks the questions of the ablation of another one."""
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    name = content["study"].removeprefix("ablation_")
    # Without references differences are taken from the study's own network: a part's worth has an interval.
    content |= {"evaluation": {"baselines": []}}
    if at_once:
        return content | {"study": f"at_once_{name}", "networks": {"own": "default", "replicates": 3}}
    networks = yaml.safe_load(ABLATION.read_text(encoding="utf-8"))["networks"]
    return content | {"study": f"ablation_{name}", "networks": networks}


def run(paths: Sequence[Path], data: str | None, cores: int, at_once: bool) -> None:
    """Train and compare the networks of every study."""
    for path in paths:
        study = study_of(path, at_once)
        file = ROOT / "results" / f"{study['study']}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
        # What follows `--configfile` is read as one more of them.
        command = ["snakemake", "draw_networks", "--cores", str(cores), "--configfile", str(file)]
        command += ["--config", f"data={data}"] if data and "data" in study else []
        subprocess.run(command, cwd=ROOT, check=True)


def losses_of(folder: Path) -> pd.DataFrame:
    """What each network scores out of fold less the study's own, over its supervised tasks.

    Returns:
        A row per network: mean over tasks of the score and of the difference, their number, the least and the
        largest difference with their tasks, what averaging the seeds adds, and the seeds' deviation.
    """
    table = pd.read_parquet(folder / "networks/comparison.parquet")
    table = table[(table["part"] == "validation") & (table["learned"] == "together")]
    table = table[table["metric"] != "silhouette"]
    own = table["network"].iloc[0]
    wide = table.pivot(index="task", columns="network", values="value")
    rows = []
    for network in table["network"].unique():
        mine = table[table["network"] == network].set_index("task")
        less = (wide[network] - wide[own]).dropna()
        rows.append(
            {
                "network": network,
                "mean": wide[network].mean(),
                "difference": less.mean(),
                "low": less.min(),
                "worst": less.idxmin(),
                "high": less.max(),
                "best": less.idxmax(),
                "averaging": (mine["value"] - mine["one_seed"]).mean(),
                "deviation": mine["deviation"].mean(),
                "tasks": len(less),
            }
        )
    return pd.DataFrame(rows)


def at_once(folders: Sequence[Path]) -> str:
    """The table of all tasks at once beside each of them alone; a row per study."""
    lines = [
        "### All tasks at once, and each alone",
        "",
        "Mean score out of fold over the supervised tasks, three seeds.",
        "",
        "| study | tasks | alone | at once | difference | most lost | most gained |",
        "|---|---|---|---|---|---|---|",
    ]
    for folder in folders:
        table = pd.read_parquet(folder / "networks/comparison.parquet")
        kept = (table["part"] == "validation") & (table["network"] == "default")
        table = table[kept & (table["metric"] != "silhouette")]
        wide = table.pivot(index="task", columns="learned", values="value")
        less = wide["together"] - wide["alone"]
        means = f"{wide['alone'].mean():.4f} | {wide['together'].mean():.4f} | {less.mean():+.4f}"
        ends = f"{less.min():+.3f} {less.idxmin()} | {less.max():+.3f} {less.idxmax()}"
        lines.append(f"| {folder.name.removeprefix('at_once_')} | {len(less)} | {means} | {ends} |")
    return "\n".join(lines)


def page(folders: Sequence[Path]) -> str:
    """The tables of the page."""
    parts = [at_once([folder for folder in folders if folder.name.startswith("at_once_")])]
    for folder in folders:
        if folder.name.startswith("at_once_"):
            continue
        table = losses_of(folder)
        own = table.iloc[0]
        lines = [
            f"### {folder.name.removeprefix('ablation_')}",
            "",
            (
                f"All {own['tasks']} supervised tasks at once, five seeds. `{own['network']}`: mean score "
                f"{own['mean']:.3f} (averaging five seeds adds {own['averaging']:+.3f} to one; seeds deviate "
                f"by {own['deviation']:.3f})."
            ),
            "",
            "| network | mean difference | most lost | most gained |",
            "|---|---|---|---|",
        ]
        for row in table.iloc[1:].sort_values("difference").to_dict("records"):
            lost, gained = f"{row['low']:+.3f} {row['worst']}", f"{row['high']:+.3f} {row['best']}"
            lines.append(f"| `{row['network']}` | {row['difference']:+.4f} | {lost} | {gained} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def main(arguments: Sequence[str]) -> None:
    """Run, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--at-once", action="store_true")
    parser.add_argument("--data")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--document", type=Path)
    asked = parser.parse_args(arguments)
    if asked.document is None:
        run(asked.paths, asked.data, asked.cores, asked.at_once)
        return
    text = asked.document.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    asked.document.write_text(f"{head}{BEGIN}\n\n{page(asked.paths)}\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
