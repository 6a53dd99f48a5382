"""What the screen shows of a study as a whole: one line while it runs, and its answer when it is finished."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from m3h_pipeline.config import Study, TableSource
from m3h_pipeline.layout import Layout
from m3h_pipeline.progress import ELSEWHERE, duration
from m3h_pipeline.status.remains import Remains, remains
from m3h_pipeline.status.state import Reader, State

#: Seconds between two looks at the results, and how much longer than a look takes the pause after it is.
EVERY, _SPARING = 20.0, 20.0
#: Columns of the last screen where the terminal is wider, or is none.
_WIDEST = 96


class Screen:
    """Tells of one run of a study; jobs' own progress then goes to their logs alone.

    Args:
        layout: of its results.
        study: its configuration.
        screen: where it is said.
        quiet: say nothing.
        every: seconds between two looks.
    """

    def __init__(
        self, layout: Layout, study: Study, screen: TextIO, quiet: bool = False, every: float = EVERY
    ) -> None:
        self._layout, self._study, self._screen, self._quiet = layout, study, screen, quiet
        self._every = every
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Look at the results from time to time, until :meth:`end`, and say in a line what has changed."""
        self._started = time.monotonic()
        self._benchmarks = _stamps(self._layout)
        self._record = _stamp(self._layout.record)
        os.environ[ELSEWHERE] = "1"
        if not self._quiet:
            self._thread = threading.Thread(target=self._follow, daemon=True)
            self._thread.start()

    def end(self, finished: bool) -> None:
        """Say the answer, or how to go on; nothing where the run made only a part of the study."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        seconds = time.monotonic() - self._started
        if self._quiet:
            return
        if not finished:
            folder = self._layout.folder.as_posix()
            self._say(
                f"{folder}: not finished. What is done stays: mend what is said above, and run it again."
            )
        elif _stamp(self._layout.record) != self._record:
            stamps = _stamps(self._layout)
            ran = [path for path, stamp in stamps.items() if self._benchmarks.get(path) != stamp]
            width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
            self._say("\n".join(ending(self._layout, self._study, seconds, ran, width)))

    def _follow(self) -> None:
        reader, last, pause = Reader(self._layout, self._study), "", self._every
        while not self._ended.wait(pause):
            began = time.monotonic()
            # Nothing that is wrong with a look may disturb the run that it looks at.
            with contextlib.suppress(Exception):
                state = reader.read("here")
                said = progress(state, remains(state, self._layout, self._study))
                if said and said != last:
                    last = said
                    after = duration(began - self._started)
                    self._say(f"{self._layout.folder.as_posix()}, after {after}: {said}")
            pause = max(self._every, _SPARING * (time.monotonic() - began))

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._screen.write(text + "\n")
            self._screen.flush()


def progress(state: State, left: Remains) -> str:
    """How far a study is, in less than a line; empty: nothing is known yet."""
    done = sum(stage.done for stage in state.stages)
    open_stages = [stage.name for stage in state.stages if stage.done < stage.fits]
    parts = [part.name for part in state.parts if not part.finished]
    now = (open_stages or parts or [""])[0]
    if not done and not left.fits:
        return now
    whole = done + left.fits + left.expected
    share = f"{100 * done // max(whole, 1)} % of the training"
    said = f"{done:,} of {'at most ' if left.expected else ''}{whole:,} fits ({share})"
    if left.seconds and left.at_once:
        said += f", about {duration(_rounded(left.seconds / left.at_once))} of it to go"
    return f"{said}; {now}" if now else said


def ending(layout: Layout, study: Study, seconds: float, benchmarks: list[Path], width: int) -> Iterator[str]:
    """The last screen: the answer, where everything is, what it took.

    Args:
        layout: of a finished study.
        study: its configuration.
        seconds: of the run.
        benchmarks: of the jobs that ran.
        width: columns.
    """
    yield ""
    yield f"Study {layout.folder.name} is finished."
    headline = layout.evaluation.headline
    with contextlib.suppress(OSError):
        yield ""
        yield from textwrap.wrap(headline.read_text(encoding="utf-8"), width)
    yield ""
    if layout.report.exists():
        yield f"  report   {layout.report.as_posix()}"
    yield f"  tables   {layout.evaluation.summary.as_posix()}"
    bundle = layout.bundle.folder.as_posix()
    yield f"  models   {bundle}, to be used by:"
    yield f"           m3h predict {shlex.join([bundle, *_asked_of(study)])} --out predictions.csv"
    yield f"  it took  {', '.join(took(seconds, benchmarks))}"


def _asked_of(study: Study) -> list[str]:
    """Files of new patients, by the names that the study's own have."""
    source = study.source
    if not isinstance(source, TableSource):
        return ["FILE"]
    # A block without a file takes its columns from any.
    holding = {block.file for block in source.blocks.values()}
    some = [file for at, file in enumerate(source.files) if at in holding or None in holding]
    return [Path(file.path).name for file in some]


def took(seconds: float, benchmarks: list[Path]) -> Iterator[str]:
    """What a run took, in pieces: its time, that of its jobs together, and the memory of the largest."""
    yield duration(seconds)
    found = [row for path in benchmarks if (row := _benchmark(path)) is not None]
    if found:
        yield f"{len(found):,} jobs that took {duration(sum(row[0] for row in found))} together"
        yield f"at most {max(row[1] for row in found) / 1000:.1f} GB in one of them"


def _benchmark(path: Path) -> tuple[float, float] | None:
    """Seconds and megabytes of a job."""
    try:
        head, row = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[:2])
        known = dict(zip(head, row, strict=True))
        return float(known["s"]), float(known["max_rss"])
    except (OSError, ValueError, KeyError):
        # Of a job that ended before it was measured.
        return None


def _stamps(layout: Layout) -> dict[Path, int]:
    return {path: _stamp(path) for path in layout.benchmark("x").parent.rglob("*.tsv")}


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _rounded(seconds: float) -> float:
    """An estimate to the minute, where it is longer than some."""
    return seconds if seconds < 120 else 60 * round(seconds / 60)
