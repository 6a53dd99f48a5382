"""The default study with other seeds: what was planted, what was found, and what was claimed.

    python -m tests.benchmarks.seeds --seeds 101 102 103 104 105 --cores 2 [--folder FOLDER]

runs ``config/config.yaml`` up to the evaluation, once for each seed, from which the cohort, the weights and
the minibatches follow, and writes the table of docs/planted.md. The seeds were named before anything was
tuned on them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from m3h_pipeline.contracts import COMPARISON, EVALUATION, combination_tasks
from m3h_pipeline.files import read_table
from tests.conftest import ROOT
from tests.end_to_end.conftest import environment, linked

PAGE = ROOT / "docs/planted.md"
_HEAD, _END = "<!-- seeds: python -m tests.benchmarks.seeds -->\n", "<!-- end of seeds -->\n"
Row = Mapping[str, Any]


def run(seed: int, folder: Path, cores: int) -> dict[str, Any]:
    """Run the study with a seed, unless it is finished, and say what came out."""
    content = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    content |= {"seed": seed, "study": f"seed_{seed}"}
    linked(folder)
    config = folder / f"seed_{seed}.yaml"
    config.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    results = folder / f"results/seed_{seed}"
    wanted = str((results / "evaluation/planted.tsv").relative_to(folder))
    subprocess.run(
        ["snakemake", wanted, "--configfile", str(config), "--cores", str(cores), "--quiet", "all"],
        cwd=folder,
        env=environment(None),
        check=True,
    )
    truth = json.loads((results / "input/truth.json").read_text(encoding="utf-8"))
    return {"seed": seed} | said(truth, *tables(results))


def tables(results: Path) -> tuple[list[Row], list[Row]]:
    """What the study says of its test part: of both networks, and of the references."""
    return (
        read_table(results / "evaluation/evaluation.parquet", EVALUATION).to_pylist(),
        read_table(results / "evaluation/comparison.parquet", COMPARISON).to_pylist(),
    )


def said(truth: Mapping[str, Any], evaluation: Sequence[Row], comparison: Sequence[Row]) -> dict[str, Any]:
    """What a study found of what was planted in it.

    Args:
        truth: of ``truth.json``.
        evaluation: rows of contracts.EVALUATION.
        comparison: rows of contracts.COMPARISON.
    """
    controls = {row["task"] for row in evaluation if row["control"]}
    group_of = {
        task: set(group) - controls - {task} for group in truth["groups"] for task in set(group) - controls
    }
    there = {row["task"] for row in evaluation}
    grouped = [row for row in evaluation if group_of.get(row["task"], set()) & there]
    found = [row for row in grouped if set(combination_tasks(row["combination"])) & group_of[row["task"]]]
    better = [row["task"] for row in evaluation if row["verdict"] == "better"]
    test = {(r["task"], r["model"]): r["value"] for r in comparison if r["part"] == "test"}
    beyond = [task for task in truth["interactions"] if (task, "linear") in test and task not in controls]
    level = [task for task in beyond if test[task, "multi"] >= test[task, "linear"]]
    return {
        "groups": (len(found), len(grouped)),
        "gain": float(np.mean([row["difference"] for row in grouped])),
        "better": (sum(task in group_of for task in better), len(better)),
        "worse": [row["task"] for row in evaluation if row["verdict"] == "worse"],
        "controls": [
            row["task"]
            for row in evaluation
            if row["control"] and {row["verdict"], row["reference_verdict"]} & {"better", "worse"}
        ],
        "beyond": (len(level), len(beyond)),
    }


def lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table, as lines of Markdown."""
    rows = [
        "| seed | found theirs | gain | better (in groups) | worse | controls | not below linear |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        cells = [
            str(one["seed"]),
            f"{one['groups'][0]} of {one['groups'][1]}",
            f"{one['gain']:+.4f}",
            f"{one['better'][1]} ({one['better'][0]})",
            ", ".join(one["worse"]) or "none",
            ", ".join(one["controls"]) or "none",
            f"{one['beyond'][0]} of {one['beyond'][1]}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def main() -> None:
    """Run the studies, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103, 104, 105])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="of the studies; without it they are not kept")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        found = [run(seed, folder, options.cores) for seed in options.seeds]
    text = options.page.read_text(encoding="utf-8")
    start, end = text.index(_HEAD) + len(_HEAD), text.index(_END)
    options.page.write_text(text[:start] + "\n".join([*lines(found), ""]) + text[end:], encoding="utf-8")


if __name__ == "__main__":
    main()
