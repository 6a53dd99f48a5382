"""Write the tables of docs/gpu.md from the files of the cards, and of the processors, that were measured.

    python -m tests.gpu.document

``docs/gpu/<card>.json`` come from ``make gpu``, ``docs/gpu/cpu/<processor>.json`` from the same command with
``--device cpu --size table``, ``docs/gpu/cpu/scores.json`` from tests/benchmarks/bench_precision.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.gpu.card import FORMAT, ROOT

MEASURED = ROOT / "docs" / "gpu"
PAGE = ROOT / "docs" / "gpu.md"
SCORES = "scores"

NOTHING = """\
Nothing was measured yet: this code has not run on a card. Until then the forecast, and the time limits of
jobs on a GPU, go by an estimate, and `m3h check` says so.
"""


def number(value: Any, digits: int = 1) -> str:
    """A number for a table; a reason why there is none as it is."""
    return f"{value:,.{digits}f}" if isinstance(value, int | float) else str(value)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def bounds(one: Mapping[str, Any], part: Mapping[str, Any]) -> tuple[float, float]:
    """Microseconds per model and step of the optimiser's traffic and of products, at the device's rates."""
    own = part["roofline"]
    traffic = 36 * one["parameters"] / (own["copy"] * 1e9)
    products = 6 * one["products"] * part["batch"] / (own[one["precision"]] * 1e9)
    return 1e6 * traffic, 1e6 * products


def rates_of(part: Mapping[str, Any]) -> str:
    """The tables of the part ``rates``."""
    own = part["roofline"]
    text = (
        f"The device itself, in the same run: {number(own['copy'])} GB/s copied (read and written), products "
        f"{number(own['float32'])} GFLOP/s in float32, {number(own['tf32'])} in TF32, "
        f"{number(own['bfloat16'])} in bfloat16.\n"
    )
    for one in part["tables"]:
        traffic, products = bounds(one, part)
        text += (
            f"\n{one['widths'].capitalize()} widths ({one['parameters']:,} parameters), {one['precision']}: "
            f"loader {number(one['loader'])}, indexed {number(one['indexed'])}, graph of it "
            f"{number(one['captured'])}; traffic {number(traffic)}, products {number(products)}.\n\n"
        )
        head = ["K", "eager", "indexed / eager", "CUDA graph", "compiled", "vmap", "MB at most", "MB planned"]
        rows = []
        for models, row in sorted(one["stacks"].items(), key=lambda item: int(item[0])):
            both = isinstance(one["indexed"], float) and isinstance(row["stack"], float)
            ratio = f"{one['indexed'] / row['stack']:.2f}" if both else ""
            cells = [row["stack"], row["graph"], row.get("compiled", ""), row["vmap"], row["peak_mb"]]
            eager, graph, compiled, vmap, peak = (number(cell) for cell in cells)
            rows.append([models, eager, ratio, graph, compiled, vmap, peak, number(row["planned_mb"])])
        text += table(head, rows)
    return text


def heading(content: Mapping[str, Any], part: Mapping[str, Any], what: str) -> str:
    """What was measured, when and with what."""
    device, versions = content["device"], content["versions"]
    driven = f"driver {device['driver']}, CUDA {device['cuda']}, " if device["type"] == "cuda" else ""
    return (
        f"{what}: {part['date']}, commit {part['commit']}, {driven}PyTorch {versions['torch']}, "
        f"Python {versions['python']}"
    )


def late(part: Mapping[str, Any]) -> str:
    """Of the part ``correct``: what it did not come to."""
    number = part.get("not_reached", 0)
    return f"; {number} kinds of fits were not reached in the time given" if number else ""


def device_section(content: Mapping[str, Any]) -> str:
    """All that was measured on a device."""
    parts, text = content["parts"], f"\n### {content['device']['name']}\n"
    if part := parts.get("correct"):
        text += f"\n{heading(content, part, 'correct')}. "
        text += (
            f"{part['comparisons']} comparisons, up to {part['steps']} steps, {part['failed']} failed"
            f"{late(part)}.\n\n"
        )
        worst = {one["what"] for one in part["failures"]}
        rows = [
            [what, f"{error:.2g}", "failed" if what in worst else "passed"]
            for what, error in part["largest"].items()
        ]
        text += table(["compared", "largest difference", ""], rows)
    if part := parts.get("rates"):
        where = "" if content["device"]["type"] == "cuda" else ", one thread"
        text += f"\n{heading(content, part, 'rates')}{where}. {rates_of(part)}"
    if part := parts.get("study"):
        text += (
            f"\n{heading(content, part, 'study')}. "
            f"{part['fits']:,} of {part['fits_of_study']:,} fits of pairs, "
            f"{part['rows']:,} samples of {part['features']:,} features, {part['epochs']} epochs, "
            f"{part['precision']}: {number(part['seconds'])} s with their scores; all pairs by extrapolation "
            f"in {number(part['minutes_of_study'])} minutes.\n"
        )
    return text


def scores_section(found: Mapping[str, Any]) -> str:
    """What bfloat16 did to scores."""
    rows = [
        [cohort, task, metric, f"{score:.4f}", f"{change:+.4f} ± {error:.4f}", f"{seeds:.4f}"]
        for cohort, one in found.items()
        for task, metric, score, change, error, seeds in one["tasks"]
    ]
    how = "; ".join(
        f"{cohort}: {one['rows']:,} rows, {one['folds']} folds, {one['seeds']} seeds"
        for cohort, one in found.items()
    )
    return f"{how}.\n\n" + table(
        ["study", "task", "metric", "float32", "bfloat16 - float32", "two seeds"], rows
    )


def blocks(folder: Path = MEASURED) -> dict[str, str]:
    """Block of the page -> its text, from what lies in a folder as docs/gpu does."""
    found = {}
    for name, inside in (("cards", folder), ("processors", folder / "cpu")):
        paths = [path for path in sorted(inside.glob("*.json")) if path.stem != SCORES]
        contents = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        assert all(content["format"] == FORMAT for content in contents)
        found[name] = "".join(map(device_section, contents)) or NOTHING
    scores = folder / "cpu" / f"{SCORES}.json"
    found["scores"] = scores_section(json.loads(scores.read_text(encoding="utf-8")))
    return found


def page(text: str, folder: Path = MEASURED) -> str:
    """The page with its blocks written again.

    Raises:
        ValueError: a block is not there.
    """
    for name, block in blocks(folder).items():
        start, end = f"<!-- {name}: python -m tests.gpu.document -->\n", "<!-- end -->"
        a = text.index(start) + len(start)
        text = text[:a] + block.strip("\n") + "\n" + text[text.index(end, a) :]
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
