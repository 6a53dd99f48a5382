"""What is trained: a fit, its settings and its result; and what an entry of a plan asks for, in which order.

An entry asks for every fit at once, or leaves settings by halving. Then the first replicate chooses: all
settings in the first fold, the better half of them in the second, and so on until one is left. The other
replicates are trained at that one, and it is they that score: what a choice was made by flatters what was
chosen. (Jamieson and Talwalkar, AISTATS 2016, halve over epochs; here it is over folds.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from m3h_pipeline.config import Compute, Modality, Model, Training

FloatArray = npt.NDArray[Any]


@dataclass(frozen=True, order=True)
class FitSpec:
    """One fit.

    Attributes:
        combination: task ids, sorted.
        fold: 0..k-1: train on the other folds and score this one; -1: train on the whole training part and
            score the test part.
        replicate: repetition with another seed.
        batch_size: most rows of a minibatch.
        learning_rate: of Adam.
    """

    combination: tuple[str, ...]
    fold: int
    replicate: int
    batch_size: int
    learning_rate: float


@dataclass(frozen=True)
class TrainingSettings:
    """The configuration that training uses.

    Attributes:
        model: the network.
        training: how a fit is trained.
        compute: where and how.
        modalities: modality -> its sources and encoder.
        seed: of the study.
    """

    model: Model
    training: Training
    compute: Compute
    modalities: dict[str, Modality]
    seed: int

    def __post_init__(self) -> None:
        if self.training.sizes:
            raise ValueError("sizes that follow from a study's shape are resolved before training")


@dataclass
class FitResult:
    """A finished fit.

    Attributes:
        key: content key, see :func:`m3h_pipeline.training.fits.fit_keys`.
        spec: what was trained.
        status: ``ok`` or ``diverged``.
        epochs: epochs trained; of a diverged fit, the (1-based) epoch in which it diverged.
        seconds: wall time of its stack, divided by the fits in it.
        values: task -> metric on the scored rows; NaN where undefined or diverged.
        n_scored: task -> rows behind the metric.
        predictions: task -> (rows of the scored part, width) float32, all rows in cohort order; empty if
            diverged. See ``contracts.PREDICTIONS``.
        parameters: kept models: everything :func:`m3h_pipeline.training.fitted.load_model` needs.
        metadata: kept models: what the parameters mean.
        attention: kept models: (T, T), row = task of ``combination``, column = companion; mean over the
            scored rows.
        latents: kept models: clustering task -> (scored rows, d) float32.
    """

    key: str
    spec: FitSpec
    status: str
    epochs: int
    seconds: float
    values: dict[str, float]
    n_scored: dict[str, int]
    predictions: dict[str, FloatArray]
    parameters: dict[str, FloatArray] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    attention: FloatArray | None = None
    latents: dict[str, FloatArray] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether the model itself is there."""
        return self.parameters is not None


#: Scores of a fit's tasks, NaN = undefined; None: it diverged.
Outcome = Mapping[str, float] | None


@dataclass(frozen=True)
class Entry:
    """An entry of a pack (``plan.json`` of docs/architecture.md).

    Attributes:
        combination: tasks, sorted.
        replicates: their numbers; of several the first chooses the setting, if ``halving``.
        folds: their numbers.
        settings: (batch size, learning rate).
        halving: whether settings are left from fold to fold.
    """

    combination: tuple[str, ...]
    replicates: tuple[int, ...]
    folds: tuple[int, ...]
    settings: tuple[tuple[int, float], ...]
    halving: bool = False

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Entry:
        """An entry as it stands in a plan.

        Raises:
            KeyError, TypeError, ValueError: it is malformed.
        """
        return cls(
            tuple(sorted(str(task) for task in described["combination"])),
            tuple(int(number) for number in described["replicates"]),
            tuple(int(number) for number in described["folds"]),
            tuple((int(batch), float(rate)) for batch, rate in described["settings"]),
            bool(described.get("halving", False)),
        )

    def spec(self, setting: tuple[int, float], replicate: int, fold: int) -> FitSpec:
        """One fit of it."""
        return FitSpec(self.combination, fold, replicate, *setting)

    def fits_in(self, position: int) -> int:
        """How many fits its ``position``-th fold takes, if none diverges.

        Examples:
            >>> grid = ((8, 0.1), (8, 0.2), (16, 0.1), (16, 0.2))
            >>> entry = Entry(("a",), (0, 1, 2), (0, 1, 2, 3, 4), settings=grid, halving=True)
            >>> [entry.fits_in(position) for position in range(5)]
            [6, 4, 3, 3, 3]
        """
        if not self.halving:
            return len(self.replicates) * len(self.settings)
        return standing(len(self.settings), position) + len(self.replicates) - 1

    @property
    def fits(self) -> int:
        """How many fits it takes, if none diverges."""
        return sum(map(self.fits_in, range(len(self.folds))))


def standing(settings: int, position: int) -> int:
    """How many of the settings are trained in the ``position``-th fold.

    Examples:
        >>> [standing(4, position) for position in range(4)]
        [4, 2, 1, 1]
    """
    return max(1, math.ceil(settings / (1 << position)))


def next_fits(entry: Entry, done: Mapping[FitSpec, Outcome]) -> list[FitSpec]:
    """The fits of an entry that can be trained now; none: it is finished.

    A setting at which a fit diverged, or a task has no score in a fold where it has one at another setting,
    is out, and the next best takes its place. With no setting left the combination has no score.

    Args:
        entry: what is asked for.
        done: finished fits, of this entry or any other.
    """
    if not entry.halving:
        every = (
            entry.spec(setting, replicate, fold)
            for setting in entry.settings
            for replicate in entry.replicates
            for fold in entry.folds
        )
        return [spec for spec in every if spec not in done]
    first, *others = entry.replicates
    running = [setting for setting in entry.settings if not _out(entry, setting, done)]
    rung = 0
    for position, fold in enumerate(entry.folds):
        running = _best(entry, running, first, entry.folds[:position], done)
        running = running[: standing(len(entry.settings), rung)]
        if len(running) == 1 and position:
            break
        # A fold in which nothing can be scored says nothing about settings.
        rung += any(not math.isnan(v) for one in _outcomes(entry, first, fold, done) for v in one.values())
        if missing := [spec for s in running if (spec := entry.spec(s, first, fold)) not in done]:
            return missing
    best = _best(entry, running, first, entry.folds if len(running) > 1 else (), done)[:1]
    rest = [
        spec
        for setting in best
        for replicate in (first, *others)
        for fold in entry.folds
        if (spec := entry.spec(setting, replicate, fold)) not in done
    ]
    return rest or _second_opinions(entry, best, done)


def _second_opinions(
    entry: Entry, best: Sequence[tuple[int, float]], done: Mapping[FitSpec, Outcome]
) -> list[FitSpec]:
    """Where nobody but the best setting was tried and a task has no score: has it one at another setting?"""
    alive = [setting for setting in entry.settings if not _out(entry, setting, done)]
    others = _best(entry, alive, entry.replicates[0], entry.folds[:1], done)
    asked = []
    for setting in best:
        for replicate in entry.replicates:
            for fold in entry.folds:
                own = done[entry.spec(setting, replicate, fold)] or {}
                if (
                    any(map(math.isnan, own.values()))
                    and len(list(_outcomes(entry, replicate, fold, done))) < 2
                ):
                    asked += [entry.spec(other, replicate, fold) for other in others if other != setting][:1]
    return [spec for spec in asked if spec not in done]


def run_through(entry: Entry, outcomes: Mapping[FitSpec, Outcome]) -> list[FitSpec]:
    """The fits that an entry would have had trained, of fits whose outcomes are known.

    Those that are not known are left out, and what depends on them.
    """
    done: dict[FitSpec, Outcome] = {}
    while specs := [spec for spec in next_fits(entry, done) if spec in outcomes]:
        done |= {spec: outcomes[spec] for spec in specs}
    return list(done)


def chosen(entry: Entry, done: Mapping[FitSpec, Outcome]) -> tuple[int, float] | None:
    """The setting that an entry was trained at to the end; None: there is none."""
    places = [(replicate, fold) for replicate in entry.replicates for fold in entry.folds]
    whole = [
        setting
        for setting in entry.settings
        if not _out(entry, setting, done) and all(entry.spec(setting, *place) in done for place in places)
    ]
    return next(iter(_best(entry, whole, entry.replicates[0], entry.folds, done)), None)


def _out(entry: Entry, setting: tuple[int, float], done: Mapping[FitSpec, Outcome]) -> bool:
    """Whether a setting cannot be chosen, as far as is known."""
    for replicate in entry.replicates:
        for fold in entry.folds:
            spec = entry.spec(setting, replicate, fold)
            if spec not in done:
                continue
            if (own := done[spec]) is None:
                return True
            for other in _outcomes(entry, replicate, fold, done):
                if any(math.isnan(own[task]) and not math.isnan(other[task]) for task in entry.combination):
                    return True
    return False


def _outcomes(
    entry: Entry, replicate: int, fold: int, done: Mapping[FitSpec, Outcome]
) -> Iterator[Mapping[str, float]]:
    for setting in entry.settings:
        outcome = done.get(entry.spec(setting, replicate, fold))
        if outcome is not None:
            yield outcome


def _best(
    entry: Entry,
    settings: Sequence[tuple[int, float]],
    replicate: int,
    folds: Sequence[int],
    done: Mapping[FitSpec, Outcome],
) -> list[tuple[int, float]]:
    """Settings by the sum over tasks of their mean score over folds, best first; equals as they stand."""

    def total(setting: tuple[int, float]) -> float:
        found = [done[entry.spec(setting, replicate, fold)] or {} for fold in folds]
        scores = [[one[task] for one in found if not math.isnan(one[task])] for task in entry.combination]
        return sum(sum(known) / len(known) for known in scores if known)

    return sorted(settings, key=lambda setting: -total(setting))
