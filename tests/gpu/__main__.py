"""``make gpu``: prove and time the trainer on a card, in parts of under three minutes each.

    python -m tests.gpu [PART ...] [--device cuda|cpu] [--size full|table|rehearsal] [--out FOLDER]
        [--budget SECONDS]

Needs Python 3.11, PyTorch, NumPy, pandas, SciPy, scikit-learn and safetensors, and fetches nothing. What each
part finds goes into ``docs/gpu/<card>.json``; ``python -m tests.gpu.document`` writes docs/gpu.md from there.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from tests.gpu import correct, rates, study
from tests.gpu.card import ROOT, described, record

PARTS = ("correct", "rates", "study")
Limited = TypeVar("Limited", correct.Size, rates.Size)


def main(arguments: list[str] | None = None) -> int:
    """Run parts; 1 if something is not computed as on a CPU."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument(
        "--size",
        choices=["full", "table", "rehearsal"],
        help="`table`: rates of a CPU as docs/gpu.md has them; `rehearsal`: as little as shows that it works "
        "(default: full on a card, rehearsal on a CPU)",
    )
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="of `correct` and of `rates`, each (default: 165 on a card)",
    )
    given = parser.parse_args(arguments)
    parts = given.parts or list(PARTS)
    if wrong := [part for part in parts if part not in PARTS]:
        parser.error(f"there is no part `{wrong[0]}`; valid: {', '.join(PARTS)}")
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write(
            "error: PyTorch finds no GPU\n  to do: run it where there is one, or rehearse with DEVICE=cpu\n"
        )
        return 2
    device = torch.device(given.device)
    size = given.size or ("full" if given.device == "cuda" else "rehearsal")
    small = size == "rehearsal"
    # What was seen on a CPU is no card's: it stays out of the documentation unless it is asked for.
    out = given.out or ROOT / ("docs/gpu" if given.device == "cuda" else "results/gpu")
    about = described(device)
    say(f"{about['device']['name']}, PyTorch {about['versions']['torch']}, size {size}")
    threads = torch.get_num_threads()
    if given.device == "cpu":
        torch.set_num_threads(1)

    def within(size: Limited) -> Limited:
        return size if given.budget is None else replace(size, budget=given.budget)

    failed = False
    try:
        for part in parts:
            started = time.monotonic()
            if part == "correct":
                checks = correct.Checks(within(correct.REHEARSAL if small else correct.Size()), device, say)
                found = checks.run(correct.workers_of(device))
                failed = failed or found["failed"] + found["not_reached"] > 0
                say(f"{found['comparisons']} comparisons, {found['failed']} failed: {found['largest']}")
            elif part == "rates":
                chosen = {"full": rates.Size(), "table": rates.ON_CPU, "rehearsal": rates.REHEARSAL}[size]
                found = rates.Rates(within(chosen), device, say).run()
            else:
                found = study.run(study.REHEARSAL if small else study.Size(), device, say)
                say(
                    f"{found['fits']} of {found['fits_of_study']} fits in {found['seconds']} s: "
                    f"all pairs of a study of this size in {found['minutes_of_study']} minutes"
                )
            path = record(out, device, part, found)
            say(f"{part}: {time.monotonic() - started:.0f} s, written to {path}")
    finally:
        torch.set_num_threads(threads)
    return int(failed)


def say(line: str) -> None:
    """A line on the screen."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
