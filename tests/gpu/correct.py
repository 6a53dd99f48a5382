"""Whether a device computes what a CPU computes: the same fits, step for step.

The reference is a CPU, one fit after another. On the device the same fits stand in one stack, so that on a
CPU, too, what is compared was computed in another way.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from m3h_pipeline import config
from m3h_pipeline.coding import signed_time
from m3h_pipeline.config.model import Transcriptome
from m3h_pipeline.model.keys import Dropout
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.export import train_stack
from m3h_pipeline.training.fits import arithmetic
from m3h_pipeline.training.prepared import prepare
from m3h_pipeline.training.spec import FitResult, FitSpec, TrainingSettings
from m3h_pipeline.training.stacks import Stack, make_stacks
from m3h_pipeline.training.trainer import Trainer, plan_epoch
from tests.training.studies import settings, spec, study

CPU = torch.device("cpu")
#: What is learned -> tasks of each of two combinations.
SIGNATURES: dict[str, list[tuple[str, ...]]] = {
    "binary": [("anemia",), ("gout",)],
    "binary pair": [("anemia", "gout"), ("anemia", "sepsis")],
    "multiclass": [("grade",), ("grade", "sepsis")],
    "regression": [("stay",), ("size",)],
    "clustering": [("phenotype",), ("subtype",)],
    "survival, discrete": [("death",), ("death", "relapse")],
    "survival, cox": [("death",), ("death", "relapse")],
    "all classes": [("anemia", "death", "grade", "phenotype", "stay"), ("anemia", "death", "grade", "size")],
    "transcriptome": [("anemia", "stay"), ("gout", "stay")],
    "transcriptome, batch": [("anemia", "stay"), ("gout", "stay")],
}
UPDATES = ("sum", "sequential", "pcgrad")
NORMALISATIONS = ("max_abs", "published")
#: Largest error of losses of the first steps, relative where losses exceed 1, against float64 on the CPU.
FIRST_LOSSES = {"float32": 1e-5, "tf32": 5e-3, "bfloat16": 2e-2}


@dataclass(frozen=True)
class Size:
    """How much is compared.

    Attributes:
        epochs: of four steps each.
        full: every update with every normalisation, for each signature; else each signature once.
        budget: seconds after which nothing new is compared; what was not reached is counted.
    """

    epochs: int = 15
    full: bool = True
    budget: float = 165.0


REHEARSAL = Size(epochs=2, full=False)


@dataclass(frozen=True)
class Case:
    """One kind of fit.

    Attributes:
        signature: of :data:`SIGNATURES`.
        update: of :data:`UPDATES`.
        normalise: of :data:`NORMALISATIONS`.
    """

    signature: str
    update: str
    normalise: str

    def settings(self, precision: str, epochs: int) -> TrainingSettings:
        """Of a small network with everything that draws or limits: dropout, clipping, decay."""
        model: dict[str, Any] = {
            "attention": {"normalise": self.normalise},
            "survival": {"loss": "cox" if "cox" in self.signature else "discrete", "bins": 8},
            "dropout": 0.2,
            "input_dropout": 0.1,
        }
        chosen = settings(
            precision=precision,
            epochs=epochs,
            update=self.update,
            model=model,
            gradient_clip=1.0,
            weight_decay=0.01,
        )
        if self.signature.startswith("transcriptome"):
            small: dict[str, Any] = {"layers": 2, "heads": 2, "width": 8, "feed_forward": 8, "dropout": 0.2}
            small["normalise"] = "batch" if "batch" in self.signature else "layer"
            chosen.modalities["beta"] = config.Modality(
                sources=["beta"],
                encoder="transcriptome",
                scaling="minmax",
                transcriptome=Transcriptome(**small),
            )
        return chosen

    @property
    def inert(self) -> tuple[str, ...]:
        """Ends of parameters whose gradient is 0 but for rounding, so that Adam lets them drift.

        What they add, a softmax or a mean takes out; Cox's likelihood does not know a constant, which its
        baseline hazard takes back. Predictions, which are compared as well, depend on none of them.
        """
        cox = ("heads.0.bias", "/baseline") if "cox" in self.signature else ()
        return (*cox, "key.bias", "layers.1.second.offset", "norms.0.mean")

    def specs(self, replicates: Sequence[int] = (0,)) -> list[FitSpec]:
        """Fits of two folds and two learning rates."""
        found = [
            spec(*tasks, fold=fold, replicate=replicate, rate=rate)
            for tasks in SIGNATURES[self.signature]
            for fold, rate, replicate in itertools.product((0, 2), (1e-2, 2e-3), replicates)
        ]
        # One stack has one signature.
        return [one for one in found if len(one.combination) == len(found[0].combination)]


def data() -> StudyData:
    """The study of the trainer's tests, with two survival tasks."""
    found = study()
    rng = np.random.default_rng(3)
    x = np.nan_to_num(found.features["alpha"][:, 0].astype(np.float64))
    risk = (x - x.mean()) / x.std()
    for name, hazard in (("death", np.exp(risk)), ("relapse", np.ones(found.n))):
        time_, censored = rng.exponential(1 / hazard), rng.exponential(2.0, found.n)
        y = signed_time(np.minimum(time_, censored), time_ <= censored)
        y[rng.random(found.n) < 0.1] = np.nan
        found.labels[name] = y
        found.tasks[name] = {"id": name, "title": name, "problem_class": "survival", "metric": "concordance"}
    found.names = {name: [f"{name}{i}" for i in range(x.shape[1])] for name, x in found.features.items()}
    return found


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses what makes the host wait for a device, or copies to it, whichever device computes."""

    _NAMES = (
        "_local_scalar_dense",
        "is_nonzero",
        "nonzero",
        "masked_select",
        "unique",
        "equal",
        "lift_fresh",
    )

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = str(func).removeprefix("aten.").split(".")[0]
        picks = name in {"index", "index_put", "index_put_"} and any(
            isinstance(one, Tensor) and one.dtype == torch.bool for one in args[1] if one is not None
        )
        moved = (kwargs or {}).get("device")
        if moved is not None and name == "_to_copy":
            picks = picks or torch.device(moved) != args[0].device
        counted = str(func) == "aten.repeat_interleave.Tensor"
        if picks or counted or any(name.startswith(one) for one in self._NAMES):
            raise RuntimeError(f"{func} within a step makes the host wait")
        return func(*args, **(kwargs or {}))


@contextmanager
def no_waiting(device: torch.device) -> Iterator[None]:
    """Whatever makes the host wait for the device is an error here."""
    before = torch.cuda.get_sync_debug_mode() if device.type == "cuda" else 0
    try:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("error")
        with Waits():  # type: ignore[no-untyped-call]
            yield
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode(before)


@dataclass(frozen=True)
class Run:
    """A stack that was trained.

    Attributes:
        results: in the order of its fits.
        losses: (steps, K, n_losses), not weighted.
    """

    results: list[FitResult]
    losses: Tensor


def trained(specs: Sequence[FitSpec], chosen: TrainingSettings, device: torch.device) -> Run:
    """Train fits as one stack on a device."""
    on_device, stack = placed(specs, chosen, device)
    losses: list[Tensor] = []
    with arithmetic(chosen):
        results = train_stack(stack, on_device, chosen, keep_models=True, trace=losses.append)
    return Run(results, torch.stack(losses).double().cpu())


def placed(
    specs: Sequence[FitSpec], chosen: TrainingSettings, device: torch.device
) -> tuple[DeviceData, Stack]:
    """The study on a device, and fits as one stack."""
    on_device = DeviceData(data(), chosen, device)
    (stack,) = make_stacks(specs, on_device.data, chosen, 1e15, device)
    return on_device, stack


def farthest(pairs: Iterable[tuple[Any, Any]]) -> float:
    """The largest difference of arrays; infinite where one is not a number and the other is."""
    worst = 0.0
    for a, b in pairs:
        a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
        if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
            return float("inf")
        worst = max(worst, float(np.abs(np.nan_to_num(a) - np.nan_to_num(b)).max(initial=0.0)))
    return worst


def differences(a: FitResult, b: FitResult, inert: tuple[str, ...] = ()) -> dict[str, float]:
    """How far two trainings of one fit are apart: parameters, metrics, attention; predictions and latents.

    Args:
        a: a kept fit.
        b: the other.
        inert: ends of names of parameters that are left out.
    """
    assert a.parameters is not None
    assert b.parameters is not None
    if (a.status, a.epochs, a.n_scored) != (b.status, b.epochs, b.n_scored):
        return {"exact": float("inf"), "recorded": float("inf")}
    names = [name for name in a.parameters if not name.endswith(inert)]
    exact: list[tuple[Any, Any]] = [(a.parameters[name], b.parameters[name]) for name in names]
    exact += [(a.attention, b.attention), (list(a.values.values()), list(b.values.values()))]
    # Recorded in float32.
    recorded = [(a.predictions[task], b.predictions[task]) for task in a.predictions]
    recorded += [(a.latents[task], b.latents[task]) for task in a.latents]
    scale = max([1.0, *(float(np.nan_to_num(np.abs(x)).max(initial=0)) for x, _ in recorded)])
    return {"exact": farthest(exact), "recorded": farthest(recorded) / scale}


class Checks:
    """All comparisons, and what they found.

    Args:
        size: how much is compared.
        device: compared with the CPU.
        say: told what fails.
    """

    def __init__(self, size: Size, device: torch.device, say: Callable[[str], object]) -> None:
        self.size, self.device, self._say = size, device, say
        self.found: list[dict[str, Any]] = []

    def note(self, what: str, where: str, error: float, limit: float) -> None:
        """Keep what a comparison found."""
        passed = error <= limit
        self.found.append({"what": what, "where": where, "error": error, "limit": limit, "passed": passed})
        if not passed:
            self._say(f"FAILED: {what}, {where}: {error:.3g} where {limit:.3g} is the most")

    def attempt(self, check: Callable[[Case, str], None], case: Case, where: str) -> None:
        """Make a comparison; what it raises is a failure like others, and the next one is made.

        A card is lent for minutes: one kernel that it lacks shall not keep all else from being known.
        """
        try:
            check(case, where)
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            self._say(f"{where}, {check.__name__}: {type(error).__name__}: {lines[0]}")
            self.note(f"ended in an error ({type(error).__name__})", f"{where}: {lines[0][:200]}", 1.0, 0.0)

    def cases(self) -> list[Case]:
        """Every signature with every update and normalisation, or each signature with one of them."""
        ways = list(itertools.product(UPDATES, NORMALISATIONS))
        if self.size.full:
            return [Case(signature, *way) for signature in SIGNATURES for way in ways]
        return [Case(signature, *ways[i % len(ways)]) for i, signature in enumerate(SIGNATURES)]

    def rows(self) -> list[tuple[Case, tuple[str, ...]]]:
        """What is compared of which kind of fit, the longest first."""
        found: list[tuple[Case, tuple[str, ...]]] = [
            (case, ("steps", "first_losses", "no_host")) for case in self.cases()
        ]
        found.sort(key=lambda row: (row[0].update != "sequential", "transcriptome" not in row[0].signature))
        for i, signature in enumerate(SIGNATURES):
            found.append(
                (Case(signature, UPDATES[i % len(UPDATES)], "max_abs"), ("draws", "neighbours", "twice"))
            )
        return found

    def compare(self, case: Case, checks: Sequence[str]) -> None:
        """Make some comparisons of one kind of fit."""
        where = f"{case.signature}, {case.update}, {case.normalise}"
        for check in checks:
            self.attempt(getattr(self, check), case, where)

    def run(self, workers: int = 1) -> dict[str, Any]:
        """Make all comparisons.

        Args:
            workers: processes that share the device, each with a processor for the references.
        """
        started = time.monotonic()
        rows = self.rows()
        late = 0
        if workers == 1:
            for case, checks in rows:
                if time.monotonic() - started > self.size.budget:
                    late += 1
                    continue
                self.compare(case, checks)
        else:
            # Forks of a process that uses a card cannot.
            context = multiprocessing.get_context("spawn")
            deadline = time.time() + self.size.budget
            with ProcessPoolExecutor(workers, mp_context=context) as pool:
                jobs = [pool.submit(_compared, self.size, str(self.device), *row, deadline) for row in rows]
                for job in as_completed(jobs):
                    said, found, reached = job.result()
                    late += not reached
                    self.found += found
                    for line in said:
                        self._say(line)
        if late:
            self._say(
                f"FAILED: {late} of {len(rows)} kinds of fits not reached within {self.size.budget:.0f} s"
            )
        failed = sum(not one["passed"] for one in self.found)
        worst: dict[str, float] = {}
        for one in self.found:
            worst[one["what"]] = max(worst.get(one["what"], 0.0), one["error"])
        return {
            "comparisons": len(self.found),
            "failed": failed,
            "not_reached": late,
            "failures": [one for one in self.found if not one["passed"]],
            "steps": 4 * self.size.epochs,
            "largest": {what: float(f"{value:.3g}") for what, value in sorted(worst.items())},
            "seconds": round(time.monotonic() - started, 1),
        }

    def steps(self, case: Case, where: str) -> None:
        """In float64 a fit is the same after all steps, scored, kept and recorded alike."""
        chosen, specs = case.settings("float64", self.size.epochs), case.specs()
        run = trained(specs, chosen, self.device)
        for index in (0, len(specs) - 1):
            alone = trained([run.results[index].spec], chosen, CPU)
            found = differences(alone.results[0], run.results[index], case.inert)
            self.note("float64: parameters, scores, attention", where, found["exact"], 1e-9)
            self.note("float64: predictions, latents as recorded", where, found["recorded"], 1e-6)

    def first_losses(self, case: Case, where: str) -> None:
        """In lower precision the losses of the first steps are about the same."""
        specs = case.specs()
        alone = trained(specs[:1], case.settings("float64", 1), CPU).losses[:3, 0]
        for precision, limit in FIRST_LOSSES.items():
            if precision == "tf32" and self.device.type == "cpu":
                continue
            chosen = case.settings(precision, 1)
            run = trained(specs, chosen, self.device)
            index = [result.spec for result in run.results].index(specs[0])
            # In the first step all parameters are equal; further ones follow Adam, which amplifies rounding.
            number = 3 if precision == "float32" else 1
            mine, wanted = run.losses[:number, index], alone[:number]
            error = (mine - wanted).abs() / wanted.abs().clamp(min=1)
            self.note(f"{precision}: first losses", where, float(error.max()), limit)

    def no_host(self, case: Case, where: str) -> None:
        """Within a step the host does not wait for the device."""
        chosen = case.settings("float32", 1)
        on_device, stack = placed(case.specs(), chosen, self.device)
        trainer = Trainer(prepare(stack, on_device, chosen))
        plan = plan_epoch(stack, trainer.prepared.training_rows, 0, chosen.seed)
        rows, keys = plan.rows.to(self.device), plan.keys.to(self.device)
        valid = plan.valid.to(self.device)
        orders = trainer.orders(0, len(plan.sizes))
        with arithmetic(chosen):
            trainer.step(rows[0], valid[0], keys[0], None if orders is None else orders[0], 0)
            try:
                with no_waiting(self.device):
                    for s in (1, 2):
                        trainer.step(rows[s], valid[s], keys[s], None if orders is None else orders[s], 0)
            except RuntimeError as error:
                self._say(f"{where}: {error}")
                self.note("the host waits within a step", where, 1.0, 0.0)
            else:
                self.note("the host waits within a step", where, 0.0, 0.0)

    def draws(self, case: Case, where: str) -> None:
        """First weights, minibatches and masks of dropout are the same numbers."""
        chosen = case.settings("float32", 1)
        first, second = (prepare(*self._stack(case, chosen, device)) for device in (CPU, self.device))
        a, b = first.network.state_dict(), second.network.state_dict()
        unequal = sum(not torch.equal(a[name], b[name].cpu()) for name in a)
        keys = torch.arange(1, 4) * 7919
        for rate in (0.1, 0.5):
            h = torch.ones(6, 17, 33)
            one, other = (Dropout(rate, keys.to(d))(h.to(d), 2) for d in (CPU, self.device))
            unequal += not torch.equal(one, other.cpu())
        self.note("draws that differ", where, float(unequal), 0.0)

    def _stack(
        self, case: Case, chosen: TrainingSettings, device: torch.device
    ) -> tuple[Stack, DeviceData, TrainingSettings]:
        on_device, stack = placed(case.specs(), chosen, device)
        return stack, on_device, chosen

    def neighbours(self, case: Case, where: str) -> None:
        """A fit that is not a number leaves the others of its stack as they are, to the bit."""
        chosen = case.settings("float32", 2)
        states = []
        for poisoned in (False, True):
            prepared = prepare(*self._stack(case, chosen, self.device))
            if poisoned:
                with torch.no_grad():
                    for p in prepared.parameters:
                        p.value[p.rows : 2 * p.rows] = torch.nan
            trainer = Trainer(prepared)
            with arithmetic(chosen):
                for epoch in range(2):
                    trainer.train_epoch(epoch)
            states.append((prepared.network, trainer.diverged.tolist()))
        (clean, none), (network, diverged) = states
        self.note("a poisoned fit not recorded", where, float(none[1] != 0 or diverged[1] != 1), 0.0)
        unequal = sum(
            not torch.equal(value, other)
            for k in range(len(diverged))
            if k != 1
            for value, other in zip(clean.take(k).values(), network.take(k).values(), strict=True)
        )
        self.note("parameters that a neighbour's NaN changes", where, float(unequal), 0.0)

    def twice(self, case: Case, where: str) -> None:
        """The same stack trained twice is the same to the bit."""
        chosen = case.settings("float32", 2)
        first, second = (trained(case.specs(), chosen, self.device) for _ in range(2))
        unequal = 0
        for a, b in zip(first.results, second.results, strict=True):
            assert a.parameters is not None
            assert b.parameters is not None
            unequal += str(a.values) != str(b.values)
            unequal += sum(a.parameters[n].tobytes() != b.parameters[n].tobytes() for n in a.parameters)
            unequal += sum(a.predictions[t].tobytes() != b.predictions[t].tobytes() for t in a.predictions)
        self.note("numbers that a second run changes", where, float(unequal), 0.0)


def _compared(
    size: Size, device: str, case: Case, checks: Sequence[str], deadline: float
) -> tuple[list[str], list[dict[str, Any]], bool]:
    """What a process of several says and finds; False: the time was up.

    Args:
        size: as of :class:`Checks`.
        device: by name, for this process to open.
        case: compared.
        checks: of :class:`Checks`, by name.
        deadline: of the clock.
    """
    if time.time() > deadline:
        return [], [], False
    torch.set_num_threads(1)
    said: list[str] = []
    mine = Checks(size, torch.device(device), said.append)
    mine.compare(case, checks)
    return said, mine.found, True


def workers_of(device: torch.device) -> int:
    """How many processes compare: on a card, where these fits fill little, half the processors, at most 8."""
    return max(1, min(8, (os.cpu_count() or 1) // 2)) if device.type == "cuda" else 1
