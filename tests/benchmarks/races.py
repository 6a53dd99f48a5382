"""What races save and lose on a real study: its search without a race, and races replayed on its scores.

    python -m tests.benchmarks.races config/eicu_demo.yaml --data FOLDER [--max-size 3] [--folder FOLDER]

trains the search of a study whole (``search.race: null``), with one seed more than it has, and nothing after
it. Searches are then replayed on all seeds but one; what they select is judged by that one, which none of
them saw: its mean over folds, in the task's own metric. Prints rows of a table of docs/search.md.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from m3h_pipeline.config import Race, Search, load_study
from m3h_pipeline.search.greedy import RACED, Wanted
from m3h_pipeline.search.measured import of_instalment, read_measured, searched, tasks_of
from m3h_pipeline.search.scores import scores_of
from tests.end_to_end.conftest import environment, linked

#: Name -> race.
RACES: dict[str, Race | None] = {"whole": None, "`z` 1": Race(), "`z` 0.5": Race(z=0.5)}


def measured(config: Path, data: str | None, max_size: int | None, folder: Path, cores: int) -> pa.Table:
    """Train the search of a study whole, with one seed more, and read its scores."""
    known = load_study(config, [f"data={data}"] if data else [])
    content: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))
    content |= {"study": f"{known.study}_whole"}
    if data:
        content["data"] = data
    seeds = {"replicates": known.tim.replicates + 1}
    content["tim"] = {**content.get("tim", {}), **seeds}
    own = {"race": None, "max_size": max_size, "replicates": known.search.replicates + 1}
    content["search"] = {**content.get("search", {}), **own}
    linked(folder)
    written = folder / f"{content['study']}.yaml"
    written.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    results = Path("results") / content["study"]
    wanted = [
        str(results / "selection.parquet"),
        "--configfile",
        str(written),
        "--cores",
        str(cores),
        "--quiet",
    ]
    subprocess.run(["snakemake", *wanted, "all"], cwd=folder, env=environment(None), check=True)
    return read_measured(sorted((folder / results / "search").glob("round_*/scores.parquet")))


def said(table: pa.Table, search: Search) -> dict[str, dict[str, Any]]:
    """Each search on all seeds but one, and what that one says of its selection.

    Args:
        table: contracts.SCORES of a search without a race, with one seed more than ``search`` asks for.
        search: of the study.

    Returns:
        Race -> ``fits``; ``beyond``, those of three and more tasks; ``selected``, task -> combination; and
        ``truth``, task -> score by the seed that nobody looked at.
    """
    scores = scores_of(table, [])
    # The last that combinations of three and more have.
    unseen = scores.replicates[search.replicates]
    seen = table.filter(pc.not_equal(table.column("replicate"), unseen))
    found = {}
    for name, race in RACES.items():
        chosen = search.model_copy(update={"race": race})

        def measure(wanted: Wanted, chosen: Search = chosen) -> pa.Table:
            some = seen.filter(
                pc.is_in(seen.column("combination"), pa.array(wanted.combinations, pa.string()))
            )
            return of_instalment(some, wanted.folds, chosen)

        progress, asked = searched(tasks_of(table), measure, chosen)
        selected = {one.task: one.best for one in progress.states}
        sizes = {key: len(key.split("+")) for key in asked.combinations}
        found[name] = {
            "fits": sum(asked.fits(key) for key in sizes),
            "beyond": sum(asked.fits(key) for key, size in sizes.items() if size >= RACED),
            "selected": selected,
            "truth": {task: scores.score(key, task, (unseen,)) for task, key in selected.items()},
        }
    return found


def lines(name: str, found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Rows of the table, as lines of Markdown."""
    whole = found["whole"]
    rows = []
    for race, one in found.items():
        loss = np.array([whole["truth"][task] - value for task, value in one["truth"].items()])
        loss = loss[np.isfinite(loss)]
        others = sum(whole["selected"][task] != key for task, key in one["selected"].items())
        share = [f"{100 * one[key] / whole[key]:.0f} %" if whole[key] else "-" for key in ("fits", "beyond")]
        cells = [name, race, f"{one['fits']:,}", *share, f"{others} of {len(one['selected'])}"]
        cells += ["", ""] if one is whole else [f"{loss.mean():+.4f}", f"{loss.max():.4f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, replay, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--max-size", type=int)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="of the results; without it they are not kept")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        table = measured(options.config, options.data, options.max_size, folder, options.cores)
    search = load_study(options.config, []).search
    search = search.model_copy(update={"max_size": options.max_size})
    print("| study | search | fits | of all | beyond pairs | another selection | loss, mean | largest |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(lines(options.config.stem, said(table, search))))


if __name__ == "__main__":
    main()
