"""Try every mutant in a copy of the project, and say which of them no test notices.

``python -m tests.mutants [WORD ...] [--document FILE]``; with words, only mutants of files or decisions that
hold one of them. It ends with status 1 if a mutant survives or cannot be tried.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from m3h_pipeline.progress import Progress
from tests.conftest import ROOT
from tests.end_to_end.forked import HEAVY
from tests.mutants.table import Mutant, read_mutants

#: Seconds that the tests of a mutant may take; one that runs longer has been noticed.
LIMIT = 300
_START, _END = "<!-- mutants -->\n", "<!-- end -->\n"


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant.

    Attributes:
        mutant: the mutant.
        status: ``killed``, ``survived``, or ``not tried`` (its tests do not run).
        by: the test that noticed; else what pytest said.
    """

    mutant: Mutant
    status: str
    by: str


def copied(folder: Path) -> Path:
    """A copy of the project's files in a folder, beside the real data where the project has them."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    project = folder / "project"
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, project / name)
    if (ROOT.parent / "shared").is_dir():
        (folder / "shared").symlink_to(ROOT.parent / "shared")
    return project


def tests_in_a_fork(project: Path, tests: Sequence[str], output: Path) -> int:
    """Start tests in a copy of the project, in a fork that has the libraries and no code of the project."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    for name in [name for name in sys.modules if name.partition(".")[0] in {"m3h_pipeline", "tests"}]:
        del sys.modules[name]
    os.chdir(project)
    sys.path.insert(0, str(project))
    os.environ["PYTHONPATH"] = str(project)
    status = pytest.main(["-x", "-q", "-n0", "-p", "no:cacheprovider", *tests])
    sys.stdout.flush()
    os._exit(status)


@dataclass
class _Trial:
    """A mutant whose tests are running."""

    mutant: Mutant
    project: Path
    text: str
    output: Path
    started: float

    def ended(self, status: int | None) -> Outcome:
        """The outcome; ``status`` is pytest's, None: it was stopped."""
        (self.project / self.mutant.file).write_text(self.text, encoding="utf-8")
        said = self.output.read_text(encoding="utf-8", errors="replace")
        if status is None:
            return Outcome(self.mutant, "killed", f"ran longer than {LIMIT} s")
        failed = re.search(r"^FAILED ([^\s\[]+)", said, re.MULTILINE)
        if status == 1 and failed:
            return Outcome(self.mutant, "killed", failed[1])
        last = (said.strip().splitlines() or [f"ended with status {status}"])[-1]
        return Outcome(self.mutant, "survived" if status == 0 else "not tried", last)


def run(mutants: Sequence[Mutant], at_once: int) -> Iterator[Outcome]:
    """Try mutants, each in the next free copy of the project; outcomes as they come."""
    waiting, trials = list(reversed(mutants)), dict[int, _Trial]()
    for name in HEAVY:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as made, Progress("mutants", len(mutants)) as progress:
        free = [copied(Path(made) / str(number)) for number in range(at_once)]
        while waiting or trials:
            while waiting and free:
                mutant, project = waiting.pop(), free.pop()
                text = (project / mutant.file).read_text(encoding="utf-8")
                (project / mutant.file).write_text(mutant.applied(text), encoding="utf-8")
                output = project.parent / "output.txt"
                pid = tests_in_a_fork(project, mutant.tests, output)
                trials[pid] = _Trial(mutant, project, text, output, time.monotonic())
            time.sleep(0.05)
            for pid, trial in list(trials.items()):
                ended, code = os.waitpid(pid, os.WNOHANG)
                late = time.monotonic() - trial.started > LIMIT
                if not ended and not late:
                    continue
                if not ended:
                    os.killpg(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                outcome = trial.ended(os.waitstatus_to_exitcode(code) if ended else None)
                free.append(trials.pop(pid).project)
                progress.advance()
                yield outcome


def score(outcomes: Sequence[Outcome]) -> str:
    """How many mutants were killed."""
    killed = sum(outcome.status == "killed" for outcome in outcomes)
    return f"{killed} of {len(outcomes)} mutants are killed."


def document(outcomes: Sequence[Outcome], mutants: Sequence[Mutant], page: str) -> str:
    """A page with its table of mutants written anew; of those that were not tried now, the line stays."""
    head, _, rest = page.partition(_START)
    table, _, tail = rest.partition(_END)
    lines = {line.split(" | ")[1]: line for line in table.splitlines() if line.startswith("| `")}
    for one in outcomes:
        test = one.by.removeprefix("tests/").replace("::", " ")
        found = f"`{test}`" if one.status == "killed" else f"**{one.status}**"
        history = f"; survived at first: {one.mutant.survived}" if one.mutant.survived else ""
        file = one.mutant.file.removeprefix("m3h_pipeline/")
        lines[one.mutant.decides] = f"| `{file}` | {one.mutant.decides} | {found}{history} |"
    shown = [lines.get(m.decides, f"| `{m.file}` | {m.decides} | **not tried** |") for m in mutants]
    untried = sum("**not tried**" in line for line in shown)
    alive = sum("**survived**" in line for line in shown)
    first = sum(bool(mutant.survived) for mutant in mutants)
    tried = len(shown) - untried
    said = [
        f"Tried: {tried} of {len(shown)}. Killed: {tried - alive}. Survived: {alive}.",
        f"When first tried {first} survived, for the reason given, until a test was written.",
        "",
        "| file | what the line decides | noticed by |",
        "|---|---|---|",
        *shown,
    ]
    return head + _START + "\n" + "\n".join(said) + "\n\n" + _END + tail


def main() -> int:
    """Try mutants and print the score."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants of files or decisions that hold one of these")
    parser.add_argument("--at-once", type=int, default=2, help="mutants tried at a time")
    parser.add_argument("--document", type=Path, help="page whose table of mutants is written anew")
    arguments = parser.parse_args()
    words = arguments.words or [""]
    every = read_mutants()
    mutants = [m for m in every if any(word in f"{m.file} {m.decides}" for word in words)]
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    outcomes = []
    for outcome in run(mutants, arguments.at_once):
        outcomes.append(outcome)
        if outcome.status != "killed":
            print(f"{outcome.status}: {outcome.mutant.file}: {outcome.mutant.decides} ({outcome.by})")
        if arguments.document:
            # After each: what was tried is known if it is stopped.
            page = arguments.document.read_text(encoding="utf-8")
            arguments.document.write_text(document([outcome], every, page), encoding="utf-8")
    print(score(outcomes))
    return 0 if all(outcome.status == "killed" for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
