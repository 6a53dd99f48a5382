"""The candidates of a task: the network alone, the selected combination, each reference, and a blend.

Predictions carry their jackknife: a leading axis of 1 + replicates, first the mean over all replicates and
    then the
means with one replicate left out each. What has no seeds stands there alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from m3h_pipeline.evaluation.choice.blend import Blend, blended, fit_blend, moved
from m3h_pipeline.evaluation.choice.evidence import marginal
from m3h_pipeline.inference.metrics import Float64, Floats, metric
from m3h_pipeline.inference.resampled import TEST, Cohort, MeanDraws, score_draws
from m3h_pipeline.inference.scored import FEW, Scored, ensemble
from m3h_pipeline.survival import time_grid

#: The single-task network, the selected combination, and the blend of a network and a reference.
ALONE, TOGETHER, BLEND = "alone", "together", "blend"
NETWORKS = (ALONE, TOGETHER)
#: References from the simplest one on; what came with the data stands after them, by name.
_SIMPLE_REFERENCES = ("clinical", "linear", "gradient_boosting", "realmlp", "tabm")
#: Scores that differ by no more are a tie, which the simpler candidate wins.
TOLERANCE = {"auroc": 0.002, "macro_auroc": 0.002, "concordance": 0.002, "r2": 0.004}

#: Weights that sum to less are none.
_LIGHT = 1e-12

#: Number of a fold, or of the test part -> predictions, (1 + replicates, n, width).
Parts = Mapping[int, Floats]
#: The network and the reference of a blend, and their weights.
Made = tuple[tuple[str, str], Blend]


def jackknifed(predictions: Floats, problem_class: str) -> Float64:
    """The mean prediction of some replicates, then the means with one left out each.

    Shape:
        (replicates, n, width) -> (1 + replicates, n, width); (1, n, width) of a single replicate
    """
    whole = ensemble(predictions, problem_class)[None]
    if len(predictions) < 2:
        return whole
    each = [ensemble(np.delete(predictions, r, axis=0), problem_class) for r in range(len(predictions))]
    return np.concatenate([whole, np.stack(each)])


def by_simplicity(names: Sequence[str]) -> list[str]:
    """Candidates from the simplest one on: references, the network alone, the combination, the blend.

    Examples:
        >>> by_simplicity(["blend", "together", "alone", "other", "gradient_boosting", "linear"])
        ['linear', 'gradient_boosting', 'other', 'alone', 'together', 'blend']
    """
    late = (*NETWORKS, BLEND)

    def place(name: str) -> tuple[int, str]:
        if name in late:
            return len(_SIMPLE_REFERENCES) + 1 + late.index(name), ""
        if name in _SIMPLE_REFERENCES:
            return _SIMPLE_REFERENCES.index(name), ""
        return len(_SIMPLE_REFERENCES), name

    return sorted(names, key=place)


def best(scores: Mapping[str, float], tolerance: float) -> str | None:
    """The simplest of those whose score is at most ``tolerance`` below the largest; None: none has a score.

    Examples:
        >>> best({"blend": 0.801, "linear": 0.8, "alone": 0.7}, 0.002)
        'linear'
    """
    known = {name: score for name, score in scores.items() if np.isfinite(score)}
    top = max(known.values(), default=0.0)
    return next((name for name in by_simplicity(list(known)) if known[name] >= top - tolerance), None)


@dataclass
class Candidates:
    """The candidates of a task with what they predict, and blends of them.

    Args:
        cohort: labels and parts.
        task: its id.
        parts: candidate -> predictions of every fold, and of the test part where there are some.
        settled: reference -> predictions of every fold with the setting of the whole training part: what
            maps and weights for the test part are learned from. What is not in it is as in ``parts``.
        blend: whether a blend of a network and a reference is a candidate, too.
        luck: what the search's having looked at the same patients is worth in a score out of fold of the
            combination that it selected (:mod:`m3h_pipeline.evaluation.optimism`).
    """

    cohort: Cohort
    task: str
    parts: Mapping[str, Parts]
    settled: Mapping[str, Parts] = field(default_factory=dict)
    blend: bool = True
    luck: float = 0.0
    _fold_scores: dict[tuple[str, int], float] = field(default_factory=dict)
    _blends: dict[tuple[int, ...], Made | None] = field(default_factory=dict)

    @property
    def tolerance(self) -> float:
        """What counts as a tie."""
        return TOLERANCE.get(self.cohort.tasks[self.task].metric, 0.0)

    @property
    def references(self) -> list[str]:
        """The reference models among the candidates."""
        return [name for name in self.parts if name not in NETWORKS]

    def score(self, name: str, folds: Sequence[int]) -> float:
        """Mean score of a candidate over folds where it is defined; a blend's weights are of the others.

        The selected combination goes without its luck, a blend with it without the network's share of that.
        """
        found = _mean([self._fold_score(name, fold, folds) for fold in folds])
        if name == TOGETHER:
            return found - self.luck
        if name == BLEND and self.luck and (made := self.blend_of(folds)) and made[0][0] == TOGETHER:
            network, _ = made[1].weights
            return found - self.luck * float(network / max(made[1].weights.sum(), _LIGHT))
        return found

    def best_of(self, names: Sequence[str], folds: Sequence[int]) -> str | None:
        """The best of some candidates by their score over folds, ties to the simpler one."""
        return best({name: self.score(name, folds) for name in names}, self.tolerance)

    def choose(self, folds: Sequence[int]) -> str | None:
        """The best candidate by its score over folds; None: none has a score."""
        names = [*self.parts, *([BLEND] if self.blend and len(folds) > 1 else [])]
        return self.best_of(names, folds)

    def blend_of(self, folds: Sequence[int], number: int = TEST) -> Made | None:
        """The better network and the better reference, and their weights; None: it cannot be made.

        Where all folds decide, the weights are for references with their settings of the whole training part.

        Args:
            folds: whose predictions decide all of it.
            number: of the part that it is to predict.
        """
        place = tuple(sorted(folds))
        if place not in self._blends:
            network = self.best_of([name for name in self.parts if name in NETWORKS], place)
            reference = self.best_of(self.references, place)
            self._blends[place] = None
            if place and network is not None and reference is not None:
                whole = place == tuple(sorted(self.cohort.folds))
                parts, share = (self._settled, self.share) if whole else (self.parts, 1.0)
                weights = self._weights((network, reference), place, parts, share)
                self._blends[place] = None if weights is None else ((network, reference), weights)
        made = self._blends[place]
        return None if made is None else (made[0], moved(self._class, made[1], self.marginal(number)))

    @property
    def share(self) -> float:
        """Of the patients of the whole training part, those that a fold's model has learned from."""
        return 1 - 1 / len(self.cohort.folds)

    def marginal(self, number: int) -> Float64:
        """What the model that predicts a part says if it knows no feature, (1, width)."""
        learned = [fold for fold in self.cohort.folds if fold != number]
        y = np.concatenate([np.zeros(0), *(self.cohort.observed(self.task, fold) for fold in learned)])
        return marginal(self._class, y, self.cohort.tasks[self.task].width, self.grid())

    def of_rows(self, folds: Sequence[int]) -> Float64:
        """The same of the model that predicts each row of some folds, (n, width)."""
        each = [np.repeat(self.marginal(fold), len(self.cohort.parts[fold].rows), axis=0) for fold in folds]
        return np.concatenate(each)

    def _weights(
        self, members: tuple[str, str], folds: Sequence[int], parts: Mapping[str, Parts], share: float = 1.0
    ) -> Blend | None:
        """Weights by some folds, not moved; None: without a label there is nothing to weigh by."""
        y = np.concatenate([self.cohort.observed(self.task, fold) for fold in folds])
        of_folds = [np.concatenate([parts[name][fold][0] for fold in folds]) for name in members]
        numbers = np.repeat(folds, [len(self.cohort.parts[fold].rows) for fold in folds])
        try:
            return fit_blend(self._class, y, of_folds, self.grid(), numbers, self.of_rows(folds), share)
        except ValueError:
            return None

    @property
    def _settled(self) -> Mapping[str, Parts]:
        return {**self.parts, **{name: self.settled[name] for name in self.settled if name in self.parts}}

    def predictions(self, name: str, number: int, folds: Sequence[int]) -> Float64 | None:
        """What a candidate predicts for a part, (1 + replicates, n, width); None: nothing.

        Args:
            name: of the candidate.
            number: of the part.
            folds: that decide a blend.
        """
        if name != BLEND:
            found = self.parts[name].get(number)
            return None if found is None else np.asarray(found, dtype=np.float64)
        made = self.blend_of(folds, number)
        if made is None or any(number not in self.parts[member] for member in made[0]):
            return None
        members = _alike([self.parts[member][number] for member in made[0]])
        return np.stack(
            [blended(self._class, made[1], [each[r] for each in members]) for r in range(len(members[0]))]
        )

    def crossed(self, name: str, folds: Sequence[int]) -> dict[int, Float64]:
        """Predictions out of fold; of a blend that the other folds decided."""
        found = {
            fold: self.predictions(name, fold, [other for other in folds if other != fold]) for fold in folds
        }
        return {fold: values for fold, values in found.items() if values is not None}

    def as_used(self, name: str) -> dict[int, Floats]:
        """Predictions out of fold, (n, width), of the model that predicts the test part.

        A reference has its setting of the whole training part, a blend its members, with weights by the other
        folds. A map that corrects the model is learned from these; as scores they would be flattered.
        """
        folds, parts = self.cohort.folds, self._settled
        if name != BLEND:
            return {fold: parts[name][fold][0] for fold in folds}
        made, found = self.blend_of(folds), dict[int, Floats]()
        for fold in folds:
            others = [other for other in folds if other != fold]
            weights = self._weights(made[0], others, parts) if made and others else None
            if made and weights is not None:
                here = moved(self._class, weights, self.marginal(fold))
                found[fold] = blended(self._class, here, [parts[member][fold][0] for member in made[0]])
        return found

    def scored(self, parts: Parts) -> Scored | None:
        """The score of predictions with a jackknife; None without predictions."""
        if not parts:
            return None
        alike = dict(zip(parts, _alike(list(parts.values())), strict=True))
        replicates = len(next(iter(alike.values())))
        means = [
            _mean([self._metric(number, values[r]) for number, values in alike.items()])
            for r in range(replicates)
        ]
        few = self.cohort.first(FEW)
        without = [self._drawn(few, alike, one) for one in range(1, replicates)]
        return Scored(
            means[0],
            self._drawn(self.cohort, alike, 0),
            np.array(means[1:]),
            np.array(without).reshape(len(without), few.draws),
        )

    def _drawn(self, cohort: Cohort, parts: Parts, one: int) -> Float64:
        """The score of one of each part's predictions under every draw of patients."""
        draws = MeanDraws(cohort.draws)
        for number, values in parts.items():
            draws.add("all", score_draws(cohort, self.task, number, values[one]))
        return draws.mean("all")

    def _fold_score(self, name: str, fold: int, folds: Sequence[int]) -> float:
        if name == BLEND:
            found = self.predictions(name, fold, [other for other in folds if other != fold])
            return float("nan") if found is None else self._metric(fold, found[0])
        if (name, fold) not in self._fold_scores:
            self._fold_scores[name, fold] = self._metric(fold, self.parts[name][fold][0])
        return self._fold_scores[name, fold]

    def _metric(self, number: int, prediction: Floats) -> float:
        return metric(
            self.cohort.tasks[self.task].metric, self.cohort.observed(self.task, number), prediction
        )

    @property
    def _class(self) -> str:
        return self.cohort.tasks[self.task].problem_class

    def grid(self) -> Float64 | None:
        """Times of survival curves: those of the whole training part, as in every prediction."""
        if self._class != "survival":
            return None
        rows = np.concatenate([self.cohort.parts[fold].rows for fold in self.cohort.folds])
        return time_grid(self.cohort.labels[self.task][rows])


def _alike(members: Sequence[Floats]) -> list[Floats]:
    """The same number of replicates left out of each: what has no seeds stays what it is."""
    most = max(len(each) for each in members)
    return [np.broadcast_to(each, (most, *each.shape[1:])) if len(each) == 1 else each for each in members]


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if np.isfinite(value)]
    return float(np.mean(defined)) if defined else float("nan")
