"""What the jobs of a finished run asked a scheduler for, and what Snakemake measured that they used."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: MB that Snakemake asks for in the place of a rule which says nothing, and more for large inputs.
UNSAID: Final = 1000
_JOB = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):\n((?:    .*\n)+)", re.MULTILINE)


@dataclass(frozen=True)
class Asked:
    """One job.

    Attributes:
        rule: of the workflow.
        benchmark: the file of what it used.
        asked: memory in MB; None: the rule says nothing.
        used: the largest memory in MB that was seen, of the job and what it started.
    """

    rule: str
    benchmark: str
    asked: int | None
    used: float


def jobs_of(output: str, folder: Path) -> list[Asked]:
    """The jobs of a run that have been measured.

    Args:
        output: what Snakemake printed.
        folder: it ran in.
    """
    found = []
    for rule, text in _JOB.findall(output):
        benchmark = re.search(r"^    benchmark: (\S+)", text, re.MULTILINE)
        asked = re.search(r"^    resources: .*\bmem_mb=(\d+)", text, re.MULTILINE)
        if benchmark is None:
            continue
        with (folder / benchmark[1]).open(encoding="utf-8") as lines:
            peak = [row["max_rss"] for row in csv.DictReader(lines, delimiter="\t")][-1]
        # A job of less than a moment is not measured; units are 2**20 bytes.
        if peak not in ("NA", "-"):
            used = float(peak) * 2**20 / 1e6
            found.append(Asked(rule, benchmark[1], int(asked[1]) if asked else None, used))
    return found
