"""The state of a study on a screen, once or again and again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from m3h_pipeline.errors import InputError
from m3h_pipeline.jobs.running import Running
from m3h_pipeline.progress import duration
from m3h_pipeline.status.named import Named
from m3h_pipeline.status.remains import Remains, remains
from m3h_pipeline.status.state import Part, Reader, Stage, State

#: Clears a terminal.
_CLEAR = "\x1b[H\x1b[2J"


def show_status(
    named: Named,
    screen: TextIO,
    every: float | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Say how far a study is.

    Args:
        named: the study.
        screen: where it is said.
        every: seconds until it is said again, until the study is finished; None: once.
        pause: waits so many seconds.

    Raises:
        InputError: ``every`` is less than a second, or no number.
    """
    if every is not None and not 1 <= every < math.inf:
        raise InputError(f"`--watch {every:g}` is no number of seconds", hint="1 or more")
    reader, running = Reader(named.layout, named.study), Running(named.layout.running)
    while True:
        state = reader.read(running.living())
        text = "\n".join(lines(named, state, remains(state, named.layout, named.study))) + "\n"
        screen.write((_CLEAR if every is not None and screen.isatty() else "") + text)
        screen.flush()
        if every is None or (state.recorded and not state.running):
            return
        pause(every)


def lines(named: Named, state: State, left: Remains) -> Iterator[str]:
    """What is said."""
    folder = named.layout.folder
    if state.recorded and not state.running:
        what = "finished" if state.whole else "was finished, but files are missing now; run it again"
    elif state.running:
        what = f"running ({state.running})"
    elif folder.exists() and (any(part.there for part in state.parts) or state.stages):
        what = "not running; run it again to go on"
    else:
        what = "not begun"
    yield f"{folder.as_posix()}: {what}"
    if named.doubt:
        yield f"its configuration is not known: {named.doubt.splitlines()[0]}"
    if state.samples is not None:
        tasks = "" if state.tasks is None else f", {state.tasks[0]} tasks learned, {state.tasks[1]} left out"
        yield f"{state.samples:,} samples{tasks}"
    for part in state.parts[: state.before]:
        yield _part(part)
    yield f"  {'':<22}{'packs':>12}{'fits done':>18}{'cached':>9}{'diverged':>10}"
    for stage in state.stages:
        yield _stage(stage)
    if state.searched:
        yield "  the search has ended"
    for part in state.parts[state.before :]:
        yield _part(part)
    for name in state.damaged[:5]:
        yield f"damaged: {name} (run the study again: it says how the file is made again)"
    if len(state.damaged) > 5:
        yield f"damaged: {len(state.damaged) - 5} more files"
    if not state.recorded or left.fits:
        yield from _remains(state, left)


def _part(part: Part) -> str:
    of = "?" if part.of is None else f"{part.of:,}"
    done = "done" if part.finished else f"{part.there:,} of {of}" if part.there else "to do"
    return f"  {part.name:<22}{done:>12}"


def _stage(stage: Stage) -> str:
    if stage.packs is None:
        return f"  {stage.name:<22}{'not planned':>12}"
    done = sum(pack.state == "done" for pack in stage.packs)
    begun = sum(pack.state == "begun" for pack in stage.packs)
    cached = sum(pack.done for pack in stage.packs if pack.cached)
    diverged = sum(pack.diverged for pack in stage.packs)
    packs, fits = f"{done:,} of {len(stage.packs):,}", f"{stage.done:,} of {stage.fits:,}"
    said = f"  {stage.name:<22}{packs:>12}{fits:>18}{cached:>9,}{diverged:>10,}"
    return said + (f"  {begun:,} begun" if begun else "")


def _remains(state: State, left: Remains) -> Iterator[str]:
    more = f", and at most {left.expected:,} that are not planned yet" if left.expected else ""
    if not left.fits and not left.expected:
        if any(stage.packs for stage in state.stages):
            yield "to train: nothing more is known of; what is left takes seconds to minutes a job"
        else:
            yield "to train: not known yet; `m3h check` forecasts it"
        return
    yield f"to train: {left.fits:,} fits{more}"
    if left.seconds is None:
        return
    by = (
        "what this study's jobs took"
        if left.measured
        else "the forecast of `m3h check`; no job is finished yet"
    )
    yield f"  about {duration(left.seconds)} of jobs, one after the other, by {by}"
    if state.running and left.at_once > 1:
        yield f"  about {duration(left.seconds / left.at_once)} with {left.at_once} jobs at once, as now"
    yield "  beside it: references, evaluation and figures"
