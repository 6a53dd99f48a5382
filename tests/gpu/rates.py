"""How long a step of one model takes in a stack, and in the loops that one would write otherwise."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls

from m3h_pipeline import config
from m3h_pipeline.model.footprint import footprint
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.fits import arithmetic
from m3h_pipeline.training.prepared import prepare
from m3h_pipeline.training.spec import FitSpec, TrainingSettings
from m3h_pipeline.training.stacks import make_stacks, planned_bytes
from m3h_pipeline.training.trainer import Trainer, plan_epoch
from tests.gpu import loops
from tests.gpu.card import now, roofline, seconds

#: Name -> features of each modality, and widths of the encoders and of the shared module.
WIDTHS: dict[str, tuple[dict[str, int], tuple[int, ...]]] = {
    "small": ({"language": 64, "tabular": 6, "time_series": 70, "vision": 100}, (64, 64)),
    "published": ({"language": 2304, "tabular": 6, "time_series": 451, "vision": 2084}, (256, 128)),
}
PRECISIONS = ("float32", "tf32", "bfloat16")
BATCH = 256
_TASKS = 24
_BATCHES = 4
ABSENT = "not on this device"
LATE = "not reached in the time given"
#: Stacks of up to so many models leave a card waiting for the host.
_HOSTS = 32
#: So many points have four rates fitted to them.
_ENOUGH = 4
#: A precision's arithmetic is told from a stack of which it is at least such a part.
_PART = 0.3
#: A stack fills a device if a model of it takes at most so many times what one of the largest stack takes.
_FILLED = 1.2


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        widths: of :data:`WIDTHS`.
        models: K of the stacks.
        precisions: of :data:`PRECISIONS`.
        shapes: (batch size, tasks) of the stacks that the forecast's rates are fitted to, beside pairs.
        least: seconds of one measurement; a column takes about four times as much.
        matrix, megabytes: of the device's own rates.
        compiled: K of the stacks that ``torch.compile`` is tried on.
        budget: seconds after which nothing new is measured.
    """

    widths: tuple[str, ...] = ("small", "published")
    models: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    precisions: tuple[str, ...] = PRECISIONS
    shapes: tuple[tuple[int, int], ...] = ((512, 2), (256, 1), (256, 4), (128, 3))
    least: float = 0.1
    matrix: int = 8192
    megabytes: int = 1024
    compiled: tuple[int, ...] = (64,)
    budget: float = 165.0


#: On a CPU for a table: one thread, and no larger stacks than a CPU trains.
ON_CPU = Size(models=(1, 32), least=0.2, matrix=2048, megabytes=256, compiled=(), budget=900.0)
#: On a CPU, to see that it works.
REHEARSAL = Size(
    widths=("small",),
    models=(1, 4),
    shapes=((64, 1), (128, 4), (128, 1)),
    least=0.01,
    matrix=256,
    megabytes=4,
    compiled=(),
)


def study(widths: dict[str, int], batch: int) -> StudyData:
    """Binary tasks on random features, all observed; speed does not depend on the values."""
    rng = np.random.default_rng(0)
    rows = 2 * _BATCHES * batch
    features = {name: rng.standard_normal((rows, width), dtype=np.float32) for name, width in widths.items()}
    names = [f"task{i:02d}" for i in range(_TASKS)]
    labels = {name: (rng.random(rows) < 0.3).astype(np.float32) for name in names}
    tasks = {name: {"id": name, "problem_class": "binary", "metric": "auroc"} for name in names}
    train = np.ones(rows, dtype=bool)
    return StudyData(features, labels, tasks, train, np.arange(rows) % 2)


@dataclass
class Bench:
    """A study on the device in one precision, and what is trained on it.

    Attributes:
        name: of the widths.
        precision: of the arithmetic.
        device: measured.
        batch: rows of a minibatch.
        tasks: of each model.
    """

    name: str
    precision: str
    device: torch.device
    batch: int = BATCH
    tasks: int = 2
    data: StudyData = field(init=False)
    settings: TrainingSettings = field(init=False)
    on_device: DeviceData = field(init=False)

    def __post_init__(self) -> None:
        widths, hidden = WIDTHS[self.name]
        self.data = study(widths, self.batch)
        self.settings = TrainingSettings(
            config.Model(encoder=list(hidden), shared=list(hidden)),
            config.Training(batch_sizes=[self.batch]),
            config.Compute(device=self.device.type, precision=self.precision),
            {name: config.Modality(sources=[name]) for name in widths},
            0,
        )
        self.on_device = DeviceData(self.data, self.settings, self.device)

    def specs(self, models: int) -> list[FitSpec]:
        """So many fits of one fold."""
        combinations = itertools.combinations(sorted(self.data.tasks), self.tasks)
        return [FitSpec(c, 0, 0, self.batch, 1e-3) for c in itertools.islice(combinations, models)]

    def trainer(self, models: int) -> Trainer:
        """A stack of so many models."""
        (stack,) = make_stacks(self.specs(models), self.data, self.settings, 1e15, torch.device("cuda"))
        return Trainer(prepare(stack, self.on_device, self.settings))

    def steps(self, trainer: Trainer) -> tuple[Callable[[torch.Tensor], object], list[torch.Tensor]]:
        """A step of a stack on given rows, and the rows of an epoch's minibatches."""
        plan = plan_epoch(trainer.prepared.stack, trainer.prepared.training_rows, 0, 0)
        rows, keys = plan.rows.to(self.device), plan.keys[0].to(self.device)
        assert all(size == self.batch for size in plan.sizes)
        return lambda batch: trainer.step(batch, None, keys, None, 0), list(rows)

    def work(self, models: int) -> loops.Work:
        """The same models for a loop."""
        widths, _ = WIDTHS[self.name]
        rows = torch.from_numpy(self.data.training_rows(0)).to(self.device)
        x = self.on_device.inputs(rows[None], self.on_device.statistics([0]))[0]
        labels = np.stack([[self.data.labels[t] for t in spec.combination] for spec in self.specs(models)])
        y = torch.from_numpy(labels).to(self.device).mT[:, rows].contiguous()
        return loops.Work(x, y, widths, self.settings.model, self.batch, 1e-3, self.precision)


def _vectorised(bench: Bench, models: int) -> Callable[[], None]:
    return loops.vectorised(bench.work(models))


class Rates:
    """Measures until its time is used up.

    Args:
        size: how much.
        device: measured.
        say: told what was measured.
    """

    def __init__(self, size: Size, device: torch.device, say: Callable[[str], object]) -> None:
        self.size, self.device, self._say = size, device, say
        self._end = time.monotonic() + size.budget
        self.cuda = device.type == "cuda"

    def measured(self, run: Callable[[], Callable[[], object]], per: int) -> float | str:
        """Microseconds per model and step of what ``run`` makes; why not, where it could not be measured.

        Args:
            run: makes what is called.
            per: models times steps of one call.
        """
        if time.monotonic() > self._end:
            return LATE
        try:
            return round(1e6 * seconds(run(), self.device, self.size.least) / per, 2)
        except torch.OutOfMemoryError:
            return "out of memory"

    def attempt(self, run: Callable[[], Callable[[], object]], per: int) -> float | str:
        """As :meth:`measured`, of what need not work on every machine (captured, compiled)."""
        try:
            return self.measured(run, per)
        except Exception as error:  # Whatever a compiler raises: the column says it.
            lines = str(error).strip().splitlines() or [""]
            return f"failed: {type(error).__name__}: {lines[0][:120]}"

    def stack(self, bench: Bench, models: int) -> dict[str, Any]:
        """A stack: eager, under a CUDA graph, compiled; what memory it takes, and was reckoned to take."""
        if time.monotonic() > self._end:
            return dict.fromkeys(("stack", "graph", "peak_mb", "planned_mb"), LATE)
        taken: dict[str, Any] = {"peak_mb": ABSENT}
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        trainer = bench.trainer(models)
        step, rows = bench.steps(trainer)
        taken["stack"] = self.measured(lambda: loops.in_turn(step, rows), models)
        planned = planned_bytes(trainer.prepared.stack, bench.data, bench.settings)
        taken["planned_mb"] = round(planned / 1e6, 1)
        if self.cuda:
            taken["peak_mb"] = round((torch.cuda.max_memory_allocated() - before) / 1e6, 1)
        taken["graph"] = ABSENT
        if self.cuda:
            taken["graph"] = self.attempt(lambda: loops.replayed(step, rows), models)
        if models in self.size.compiled:
            network = trainer.prepared.network
            network.__dict__["losses"] = torch.compile(network.losses, dynamic=False)
            taken["compiled"] = self.attempt(lambda: loops.in_turn(step, rows), models)
        return taken

    def loops(self, bench: Bench) -> dict[str, float | str]:
        """The loops that train one model after another."""
        work = bench.work(1)
        epoch, steps = loops.with_loader(work)
        return {
            "loader": self.measured(lambda: epoch, steps),
            "indexed": self.measured(lambda: loops.indexed(work), 1),
            "captured": self.attempt(lambda: loops.captured(work), 1) if self.cuda else ABSENT,
        }

    def run(self) -> dict[str, Any]:
        """All of it: a table of each width and precision, the device's own rates, those of the forecast."""
        size, started = self.size, now(self.device)
        found: dict[str, Any] = {"roofline": roofline(self.device, size.matrix, size.megabytes, size.least)}
        self._say(f"the device itself: {found['roofline']}")
        tables: list[dict[str, Any]] = []
        points: list[Point] = []
        for name, precision in itertools.product(size.widths, size.precisions):
            if precision == "tf32" and not self.cuda:
                continue
            bench = Bench(name, precision, self.device)
            with arithmetic(bench.settings):
                table: dict[str, Any] = {"widths": name, "precision": precision, **self.loops(bench)}
                table["stacks"] = {}
                for models in size.models:
                    row = self.stack(bench, models)
                    row["vmap"] = self.attempt(partial(_vectorised, bench, models), models)
                    table["stacks"][str(models)] = row
                    self._say(f"{name}, {precision}, K = {models}: {row}")
            one = bench.trainer(1).prepared.network.architecture
            table["parameters"], table["products"] = footprint(one).parameters, footprint(one).products
            tables.append(table)
            self._say(f"{name}, {precision}, one after another: {[table[c] for c in LOOPS]}")
            points += self._points(bench)
        found["tables"] = tables
        found["batch"] = BATCH
        found["threads"] = ABSENT if self.cuda else 1
        found["shapes"] = [asdict(point) for point in points]
        found["sizing"] = sizing(found)
        found["seconds"] = round(now(self.device) - started, 1)
        return found

    def _points(self, bench: Bench) -> list[Point]:
        """Stacks of other shapes than a pair in usual minibatches, as the forecast sees them."""
        points: list[Point] = []
        if bench.precision != "float32":
            return points
        for batch, tasks in self.size.shapes if time.monotonic() < self._end else ():
            other = Bench(bench.name, bench.precision, self.device, batch, tasks)
            models = min(_TASKS if tasks == 1 else 64, max(self.size.models))
            with arithmetic(other.settings):
                step, rows = other.steps(other.trainer(models))
                if self.cuda:
                    each = self.attempt(partial(loops.replayed, step, rows), models)
                else:
                    each = self.measured(partial(loops.in_turn, step, rows), models)
            if isinstance(each, float):
                points.append(Point.of(other, each))
        return points


#: The loops that train one model after another.
LOOPS = ("loader", "indexed", "captured")


@dataclass(frozen=True)
class Point:
    """A measured stack, as the forecast sees it: what one step of one model has to do, and took.

    Attributes:
        products: operations of forward and backward pass on the whole minibatch.
        rows: of the minibatch.
        tasks: rows times tasks.
        traffic: bytes of the optimiser.
        precision: of the arithmetic.
        seconds: per model and step.
    """

    products: float
    rows: float
    tasks: float
    traffic: float
    precision: str
    seconds: float

    @classmethod
    def of(cls, bench: Bench, microseconds: float) -> Point:
        """A measured stack of a bench's models."""
        taken = footprint(bench.trainer(1).prepared.network.architecture)
        return cls(
            6.0 * taken.products * bench.batch,
            float(bench.batch),
            float(bench.batch * bench.tasks),
            36.0 * taken.parameters,
            bench.precision,
            microseconds * 1e-6,
        )


def pair_of(table: Mapping[str, Any], batch: int) -> Point | None:
    """The largest stack of pairs of a table: on a card under a CUDA graph, which the host does not slow.

    Args:
        table: of a width and precision.
        batch: rows of its minibatches.
    """
    for models in sorted(map(int, table["stacks"]), reverse=True):
        row = table["stacks"][str(models)]
        each = row["stack"] if row["graph"] == ABSENT else row["graph"]
        if isinstance(each, float):
            return Point(
                6.0 * table["products"] * batch,
                float(batch),
                2.0 * batch,
                36.0 * table["parameters"],
                table["precision"],
                each * 1e-6,
            )
    return None


def fills(table: Mapping[str, Any], tables: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a precision's largest measured stack fills the device: one as large does in float32.

    What a time limit leaves of a table are its small stacks, which say nothing about arithmetic.
    """

    def measured(one: Mapping[str, Any]) -> dict[int, float]:
        column = {
            int(k): row["stack"] if row["graph"] == ABSENT else row["graph"]
            for k, row in one["stacks"].items()
        }
        return {models: each for models, each in column.items() if isinstance(each, float)}

    mine = measured(table)
    wanted = next(
        (
            measured(one)
            for one in tables
            if one["widths"] == table["widths"] and one["precision"] == "float32"
        ),
        {},
    )
    if table["precision"] == "float32" or not (mine and wanted):
        return True
    each = wanted.get(max(mine))
    return each is not None and each <= _FILLED * wanted[max(wanted)]


def sizing(part: Mapping[str, Any]) -> dict[str, Any]:
    """The forecast's rates, from all that the part ``rates`` has measured.

    A step takes the host as long as it takes to start its kernels, however many models the stack has: that is
    what a small stack takes on a card.

    Args:
        part: ``roofline``, ``tables``, ``batch`` and, where other shapes were measured, ``shapes``.
    """
    filled = [table for table in part["tables"] if fills(table, part["tables"])]
    pairs = [point for table in filled if (point := pair_of(table, part["batch"]))]
    found = fitted([*pairs, *(Point(**one) for one in part.get("shapes", ()))], part["roofline"])
    hosts = [
        int(models) * row["stack"] * 1e-6
        for table in part["tables"]
        for models, row in table["stacks"].items()
        if int(models) <= _HOSTS and isinstance(row["graph"], float) and isinstance(row["stack"], float)
    ]
    found["per_step"] = float(f"{np.median(hosts):.3g}") if hosts else 0.0
    return found


def fitted(points: Sequence[Point], roofline: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Rates of :class:`m3h_pipeline.search.rates.Device`: what explains the measured stacks best.

    Non-negative least squares of relative errors, in float32; then the arithmetic of each other precision.

    Args:
        points: measured stacks.
        roofline: the device's own rates, which stand for arithmetic and traffic where the points are too few.

    Returns:
        Seconds per operation, byte, row, and row and task; how much faster other precisions compute; the
        largest relative error over the points; how many they are.
    """
    full = [p for p in points if p.precision == "float32"]
    if not full or (len(full) < _ENOUGH and roofline is None):
        return {"points": len(full)}
    columns = np.array([[p.products, p.traffic, p.rows, p.tasks] for p in full])
    took = np.array([p.seconds for p in full])
    if len(full) < _ENOUGH:
        assert roofline is not None
        each = np.array([1e-9 / roofline["float32"], 1e-9 / roofline["copy"], 0.0, 0.0])
        # The most that a point leaves for it: limits shall hold.
        each[3] = max(0.0, float(((took - columns @ each) / columns[:, 3]).max()))
    else:
        scale = (columns / took[:, None]).max(0)
        found, _ = nnls(columns / took[:, None] / scale, np.ones(len(full)))
        each = found / scale
    speed = {"float32": 1.0}
    for precision in sorted({p.precision for p in points} - {"float32"}):
        # Of the widest network: there arithmetic is most of the work.
        widest = max((p for p in points if p.precision == precision), key=lambda p: p.products)
        if each[0] * widest.products < _PART * widest.seconds:
            continue
        rest = widest.seconds - each[1:] @ [widest.traffic, widest.rows, widest.tasks]
        speed[precision] = float(each[0] * widest.products / max(rest, 0.1 * widest.seconds)) or 1.0
    return {
        "per_operation": float(each[0]),
        "per_byte": float(each[1]),
        "per_row": float(each[2]),
        "per_task": float(each[3]),
        "speed": {name: round(value, 3) for name, value in speed.items()},
        "error": round(float(np.abs(columns @ each / took - 1).max()), 3),
        "points": len(full),
    }
