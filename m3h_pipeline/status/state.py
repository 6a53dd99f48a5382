"""What lies among a study's results, whatever their state: nothing is written, and nothing need be whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from m3h_pipeline.config import Study
from m3h_pipeline.config.networks import networks
from m3h_pipeline.errors import M3HError
from m3h_pipeline.figures.registry import FIGURES, figures_of
from m3h_pipeline.files import read_json
from m3h_pipeline.layout import Layout, StageFiles
from m3h_pipeline.training.spec import Entry

_FITS = re.compile(r"^([\d,]+) of ([\d,]+) fits in ", flags=re.MULTILINE)
#: What reading a file raises that is not what it should be.
_DAMAGED = (OSError, ValueError, TypeError, LookupError, pa.ArrowException)


@dataclass(frozen=True)
class Pack:
    """The fits of one job.

    Attributes:
        fits: that the plan names.
        done: that are finished.
        diverged: of these.
        state: ``done``, ``begun`` (its log is there) or ``open``.
        cached: whether all were in the store.
        seconds: that its job took, where that is known.
    """

    fits: int
    done: int = 0
    diverged: int = 0
    state: str = "open"
    cached: bool = False
    seconds: float | None = None


@dataclass(frozen=True)
class Stage:
    """A stage that trains.

    Attributes:
        name: for people.
        folder: relative to the results.
        packs: of its plan; None: there is no plan yet.
    """

    name: str
    folder: str
    packs: list[Pack] | None

    @property
    def fits(self) -> int:
        """That the plan names."""
        return sum(pack.fits for pack in self.packs or [])

    @property
    def done(self) -> int:
        """That are finished."""
        return sum(pack.done for pack in self.packs or [])


@dataclass(frozen=True)
class Part:
    """Files of another stage: so many are there of so many; ``of`` is None where that is not known yet."""

    name: str
    there: int
    of: int | None

    @property
    def finished(self) -> bool:
        """Whether all are there."""
        return self.of is not None and self.there >= self.of


@dataclass(frozen=True)
class State:
    """How far a study is.

    Attributes:
        parts: stages that do not train, in order, before training and after it.
        before: how many of them stand before training.
        stages: those that train.
        searched: whether the search has ended.
        recorded: whether the record is there: the study was finished.
        running: where a run is at work on it; empty: none is.
        damaged: files that cannot be read.
        tasks: learned, and left out.
        samples: of the cohort; None: there is none yet.
    """

    parts: list[Part]
    before: int
    stages: list[Stage]
    searched: bool
    recorded: bool
    running: str = ""
    damaged: list[str] = field(default_factory=list)
    tasks: tuple[int, int] | None = None
    samples: int | None = None

    @property
    def whole(self) -> bool:
        """Whether every stage has all its files."""
        packs = [pack for stage in self.stages for pack in stage.packs or []]
        return all(part.finished for part in self.parts) and all(pack.state == "done" for pack in packs)


class Reader:
    """Reads states again and again; a table that has not changed is not read again.

    Args:
        layout: of the study.
        study: its configuration, where it is known.
    """

    def __init__(self, layout: Layout, study: Study | None) -> None:
        self._layout, self._study = layout, study
        self._known: dict[Path, tuple[tuple[int, int], Any]] = {}
        self._damaged: list[str] = []

    def read(self, running: str = "") -> State:
        """The state now."""
        self._damaged = []
        layout = self._layout
        stages, searched = self._stages()
        tasks = self._tasks()
        learned = sum(task["status"] == "ok" for task in tasks.values()) if tasks else 0
        before = [
            Part("cohort", int(layout.cohort.samples.exists()), 1),
            Part("labels", _count(layout.labels.folder, "*.parquet"), len(tasks) or None),
            Part("split", int(layout.split.exists()), 1),
        ]
        return State(
            [*before, *self._after(tasks)],
            len(before),
            stages,
            searched,
            layout.record.exists(),
            running,
            self._damaged,
            (learned, len(tasks) - learned) if tasks else None,
            self._rows(layout.cohort.samples),
        )

    def _after(self, tasks: dict[str, Any]) -> Iterator[Part]:
        layout, study = self._layout, self._study
        yield Part("selection", int(layout.selection.exists()), 1)
        yield Part("TIM", int(layout.tim_table.exists()), 1)
        supervised = [
            n for n, t in tasks.items() if t["status"] == "ok" and t["problem_class"] != "clustering"
        ]
        wanted: int | None = len(supervised) if tasks else None
        if study is not None and tasks:
            wanted = sum(study.evaluation.has_references(name) for name in supervised)
        if wanted != 0:
            folder = layout.evaluation.baselines("x").parent
            yield Part("references", _count(folder, "*.parquet"), wanted)
        tables = [path for path in layout.tables() if path.parent == layout.evaluation.folder]
        yield Part("evaluation", sum(path.exists() for path in tables), len(tables))
        suffix = study.figures.formats[0] if study else "svg"
        names = figures_of(t["problem_class"] for t in tasks.values()) if tasks else list(FIGURES)
        figures = [layout.figure(name, suffix) for name in names]
        yield Part("figures", sum(path.exists() for path in figures), len(figures))
        if study is not None and study.gene_pairs is not None:
            pairs = [layout.gene_pairs(task).pairs for task in study.gene_pairs.tasks]
            yield Part("pairs of genes", sum(path.exists() for path in pairs), len(pairs))
        if study is not None and study.networks is not None:
            yield Part("networks compared", int(layout.networks.comparison("parquet").exists()), 1)

    def _stages(self) -> tuple[list[Stage], bool]:
        layout = self._layout
        found: list[Stage] = []
        searched, number = False, 0
        while not searched:
            number += 1
            stage = self._stage(f"round {number}", layout.round(number))
            if stage.packs is None and not layout.round(number + 1).plan.exists():
                break
            searched = stage.packs == []
            if not searched:
                found.append(stage)
        compared = list(networks(self._study)) if self._study is not None and self._study.networks else []
        more = {"TIM": layout.tim, "final fits": layout.final}
        more |= {f"network {name}": layout.networks.fits_of(name) for name in compared}
        for name, files in more.items():
            stage = self._stage(name, files)
            if stage.packs != [] and (stage.packs is not None or name != "TIM"):
                found.append(stage)
        return found, searched

    def _stage(self, name: str, files: StageFiles) -> Stage:
        folder = files.folder.relative_to(self._layout.folder).as_posix()
        packs = None
        if files.plan.exists():
            plan = self._kept(files.plan, _plan)
            packs = [self._pack(files, folder, pack, fits) for pack, fits in (plan or {}).items()]
            packs = packs if plan is not None else None
        return Stage(name, folder, packs)

    def _pack(self, files: StageFiles, folder: str, name: str, fits: int) -> Pack:
        # Logs and benchmarks of final fits lie one level up.
        job = f"{folder}/pack_{name}"
        places = [job, job.removeprefix("search/")]
        log = next((p for one in places if (p := self._layout.log(one)).exists()), None)
        scores = files.of_pack(name, "scores")
        if scores.exists():
            found = self._kept(scores, _scores)
            if found is None:
                return Pack(fits, state="begun")
            done, diverged = found
            text = _text(log)
            bench = next((p for one in places if (p := self._layout.benchmark(one)).exists()), None)
            seconds = self._kept(bench, _seconds) if bench is not None else None
            return Pack(done, done, diverged, "done", log is not None and "fits in" not in text, seconds)
        if log is None:
            return Pack(fits)
        told = _FITS.findall(_text(log))
        done = int(told[-1][0].replace(",", "")) if told else 0
        return Pack(fits, min(done, fits), state="begun")

    def _tasks(self) -> dict[str, Any]:
        path = self._layout.labels.tasks
        if not path.exists():
            return {}
        return self._kept(path, lambda one: dict(read_json(one)["tasks"])) or {}

    def _rows(self, path: Path) -> int | None:
        rows = self._kept(path, lambda one: pq.read_metadata(one).num_rows) if path.exists() else None
        return None if rows is None else int(rows)

    def _kept(self, path: Path, read: Any) -> Any:
        """What is read from a file, or None, and the file among the damaged ones."""
        try:
            stat = path.stat()
            stamp = (stat.st_size, stat.st_mtime_ns)
            if path in self._known and self._known[path][0] == stamp:
                return self._known[path][1]
            found = read(path)
        except (M3HError, *_DAMAGED):
            self._damaged.append(path.relative_to(self._layout.folder).as_posix())
            return None
        self._known[path] = (stamp, found)
        return found


def _plan(path: Path) -> dict[str, int]:
    """Pack -> how many fits it has."""
    return {
        str(pack): sum(Entry.of(entry).fits for entry in entries)
        for pack, entries in read_json(path)["packs"].items()
    }


def _scores(path: Path) -> tuple[int, int]:
    """Fits of a pack, and how many of them diverged."""
    table = pq.read_table(path, columns=["fit_key", "status"])
    status = dict(zip(table["fit_key"].to_pylist(), table["status"].to_pylist(), strict=True))
    return len(status), sum(one != "ok" for one in status.values())


def _seconds(path: Path) -> float:
    return float(path.read_text(encoding="utf-8").splitlines()[1].split("\t")[0])


def _text(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _count(folder: Path, pattern: str) -> int:
    return sum(1 for _ in folder.glob(pattern)) if folder.is_dir() else 0
