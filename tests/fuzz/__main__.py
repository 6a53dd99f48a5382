"""Try damaged inputs for some minutes: ``python -m tests.fuzz --minutes 30``.

Every input follows from the seed and its number: ``python -m tests.fuzz --seed 1 --only 4711`` tries one
again. They are tried in processes of their own, as libraries in C can end one. A failure is anything but
success or an error that people read: a traceback, a warning, more than 30 seconds, or the end of the process.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from m3h_pipeline.errors import M3HError
from m3h_pipeline.tables import matrices
from tests.fuzz.inputs import TRIALS

#: Inputs that one process tries.
_BATCH = 50
_SECONDS = 30


def tried(seed: int, number: int) -> tuple[str, str]:
    """Try one input; what was tried, and ``read``, ``refused``, or what went wrong."""
    rng = random.Random(f"{seed} {number}")
    (trial,) = rng.choices([trial for _, trial in TRIALS], [weight for weight, _ in TRIALS])
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder, contextlib.chdir(folder):
        signal.alarm(_SECONDS)
        try:
            with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("error")
                trial(rng, Path(folder))
            outcome = "read"
        except M3HError as error:
            outcome = (
                "refused" if error.what.strip() and error.what == str(error).splitlines()[0] else repr(error)
            )
            outcome = "refused" if error.what.strip() else "an empty message"
        except BaseException:
            outcome = traceback.format_exc()
        finally:
            signal.alarm(0)
    return trial.__name__, outcome


def _late(*_: Any) -> None:
    raise TimeoutError(f"more than {_SECONDS} seconds")


def _batch(seed: int, first: int, out: Path) -> int:
    """Try some inputs in a child; return how it ended."""
    child = os.fork()
    if child:
        return _watched(child, out)
    status = 1
    try:
        signal.signal(signal.SIGALRM, _late)
        matrices._PROBED = _SECONDS // 3
        with out.open("w", encoding="utf-8", errors="replace") as lines:
            for number in range(first, first + _BATCH):
                lines.write(f"{number}\t")
                lines.flush()
                name, outcome = tried(seed, number)
                lines.write(f"{name}\t{outcome!r}\n")
        status = 0
    finally:
        os._exit(status)


def _watched(child: int, out: Path) -> int:
    """How a child ended; it is ended if it stands still where Python's own alarm does not ring."""
    size, since = -1, time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        now = out.stat().st_size if out.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > 1.5 * _SECONDS:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.05)


def run(seed: int, seconds: float, least: int = 0) -> tuple[Counter[str], dict[int, str]]:
    """Try inputs for some time and of a least number; what became of them, and the failures by number."""
    counts: Counter[str] = Counter()
    failures: dict[int, str] = {}
    end, number = time.monotonic() + seconds, 0
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "outcomes"
        while number < least or time.monotonic() < end:
            status = _batch(seed, number, out)
            done = out.read_text(encoding="utf-8").split("\n")
            for line in done:
                which, _, rest = line.partition("\t")
                name, _, outcome = rest.partition("\t")
                if not which:
                    continue
                if outcome in {"'read'", "'refused'"}:
                    counts[f"{name} {outcome[1:-1]}"] += 1
                else:
                    text = (
                        outcome.encode().decode("unicode_escape", "replace")
                        if outcome
                        else f"the process ended ({status})"
                    )
                    failures[int(which)] = text
                    counts["failed"] += 1
                number = int(which) + 1
    return counts, failures


def main() -> int:
    """The program; 1 if there was a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--inputs", type=int, default=0, help="try at least so many")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", type=int, help="number of one input to try again")
    options = parser.parse_args()
    if options.only is not None:
        signal.signal(signal.SIGALRM, _late)
        print(*tried(options.seed, options.only), sep="\n")
        return 0
    counts, failures = run(options.seed, 60 * options.minutes, options.inputs)
    last: dict[str, int] = {}
    for number, text in failures.items():
        last.setdefault("\n".join(text.strip().splitlines()[-3:]), number)
    for number in last.values():
        print(f"--- seed {options.seed}, input {number}\n{failures[number].strip()[-3000:]}\n")
    print(
        f"seed {options.seed}: {sum(counts.values()):,} inputs,",
        ", ".join(f"{k} {n:,}" for k, n in sorted(counts.items())),
    )
    print(f"{len(failures)} failures, {len(last)} of them different")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
