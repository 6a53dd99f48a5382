"""A few seconds of what ``make fuzz`` does for half an hour."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.conftest import ROOT


def test_damaged_inputs_end_in_a_sentence() -> None:
    # In a process of its own: a copy of one that runs threads may wait for ever for what these held.
    call = [sys.executable, "-m", "tests.fuzz", "--seed", "0", "--minutes", "0", "--inputs", "150"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(re.findall(r"(\w+ (?:read|refused)) (\d+)", done.stdout))
    assert sum(map(int, counts.values())) >= 150
    assert sum(int(n) for name, n in counts.items() if name.endswith("refused")) > 40
