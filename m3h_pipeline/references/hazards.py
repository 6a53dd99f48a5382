"""The reference models of survival tasks: Cox regression with an L2 penalty, and boosting of hazards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import time_and_event
from m3h_pipeline.references.boosting import SETTINGS, Setting, boosted
from m3h_pipeline.references.design import Design, Float64
from m3h_pipeline.references.kept.models import Linear
from m3h_pipeline.references.kept.trees import Trees, no_trees
from m3h_pipeline.references.linear import STRENGTHS, in_coordinates, linear_model
from m3h_pipeline.references.penalised import Basis, weights_path
from m3h_pipeline.references.problem import Floats, Problem
from m3h_pipeline.survival import breslow, cox_prediction

#: Told a model of log hazards, and its cumulative baseline hazard.
Keep = Callable[[Linear | Trees, Float64], None]

#: Added to a leaf's expected events: leaves of a few early events, of which hardly any was expected, would
#: take steps without bound. (SUPPORT2, 160 trees of 8 leaves, three folds: concordance 0.702, without 0.699.)
_EXPECTED: Final = 5.0


class PartialLikelihood:
    """The negative log partial likelihood of log hazards, and its derivatives; ties after Breslow (1974).

    Time and memory are in proportion to the rows. (scikit-survival's Newton steps take a matrix of features
    by features for every row: thousands of features are out of its reach. It is the referee in the tests.)

    Args:
        y: signed times, (n,).
    """

    def __init__(self, y: Floats) -> None:
        self._order = np.argsort(-time_and_event(y)[0], kind="stable")
        time, self._event = time_and_event(y[self._order])
        # The risk set of a time: all rows up to the last one with that time.
        self._last = np.searchsorted(-time, -time, side="right") - 1
        self._first = np.searchsorted(-time, -time, side="left")

    def __call__(self, eta: Float64) -> tuple[float, Float64]:
        """The value, and the slope in each log hazard, (n, 1) as ``eta``."""
        ordered, hazard, at_risk, shift = self._risks(eta[:, 0])
        value = float((np.log(at_risk[self._event]) + shift - ordered[self._event]).sum())
        slope = np.empty_like(eta)
        slope[self._order, 0] = hazard * self._behind(1 / at_risk) - self._event
        return value, slope

    def curvature(self, eta: Float64) -> Float64:
        """The diagonal of the Hessian, (n,), at log hazards (n,): the variance of each row's events."""
        _, hazard, at_risk, _ = self._risks(eta)
        found = np.empty_like(hazard)
        found[self._order] = hazard * self._behind(1 / at_risk) - hazard**2 * self._behind(1 / at_risk**2)
        # Of the last at risk, whose event is certain, it is 0 and may round below.
        return np.maximum(found, 0)

    def _risks(self, eta: Float64) -> tuple[Float64, Float64, Float64, float]:
        """From the longest time to the shortest: log hazards, hazards, those at risk; and their log scale."""
        ordered = eta[self._order]
        shift = float(ordered.max(initial=0.0))
        hazard = np.exp(ordered - shift)
        return ordered, hazard, np.cumsum(hazard)[self._last], shift

    def _behind(self, terms: Float64) -> Float64:
        """Each row's sum over the events in whose risk sets it is: those at its time and before."""
        share = np.where(self._event, terms, 0.0)
        # Earlier times are behind a row here.
        return np.concatenate([np.cumsum(share[::-1])[::-1], [0.0]])[self._first]


def cox_path(
    problem: Problem[Design],
    grid: Floats,
    strengths: Sequence[float] = STRENGTHS,
    basis: Basis | None = None,
    keep: Keep | None = None,
) -> list[Floats]:
    """Predictions of L2-penalised Cox regression for each strength (penalty 1 / strength).

    Args:
        problem: labels are signed times.
        grid: times of the survival curves.
        strengths: of the penalty, strongest first.
        basis: see :func:`~m3h_pipeline.references.linear.linear_path`.
        keep: told the model of the last strength.

    Returns:
        One (m, 1 + SURVIVAL_TIMES) float64 array per strength: log hazard, and survival after Breslow.
    """
    events = int(time_and_event(problem.y)[1].sum())
    if not events:
        nothing = _curves(np.zeros(len(problem.x)), np.zeros(len(problem.scored)), problem, grid)
        if keep is not None:
            weights = np.zeros((problem.x.width, 1))
            keep(
                linear_model(problem, weights, np.zeros(1), None),
                _hazard(np.zeros(len(problem.x)), problem, grid),
            )
        return [nothing] * len(strengths)
    x, scored, basis, axes = in_coordinates(problem, basis)
    path = weights_path(
        x,
        PartialLikelihood(problem.y),
        1,
        events / len(problem.y),
        [1 / strength for strength in strengths],
        basis,
        intercept=False,
    )
    if keep is not None:
        last = path[-1][0]
        baseline = _hazard(x.times(last)[:, 0], problem, grid)
        keep(linear_model(problem, last, np.zeros(1), axes), baseline)
    return [_curves(x.times(w)[:, 0], scored.times(w)[:, 0], problem, grid) for w, _ in path]


def hazard_boosting_path(
    problem: Problem[Floats],
    grid: Floats,
    seed: int,
    settings: Sequence[Setting] = SETTINGS,
    keep: Keep | None = None,
) -> list[Floats]:
    """Predictions of histogram gradient boosting of Cox's partial likelihood for each setting.

    Newton steps (Friedman 2001; Chen & Guestrin 2016, equation 5) on the trees of
    :func:`~m3h_pipeline.references.boosting.boosting_path`, which takes missing values and categories as they
    are. (scikit-survival's takes neither, sorts each feature anew at every split, and time in proportion to
    the square of the rows.)

    Args:
        problem: labels are signed times.
        grid: times of the survival curves.
        seed: of the features that splits see.
        settings: rate, leaves and trees.
        keep: told the model of the last setting.

    Returns:
        One (m, 1 + SURVIVAL_TIMES) float64 array per setting: log hazard, and survival after Breslow.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    if not time_and_event(problem.y)[1].any() or np.isnan(problem.x).all():
        nothing = _curves(np.zeros(len(problem.x)), np.zeros(len(problem.scored)), problem, grid)
        if keep is not None:
            keep(no_trees(), _hazard(np.zeros(len(problem.x)), problem, grid))
        return [nothing] * len(settings)
    trees: list[Trees] = []
    found = boosted(
        problem,
        seed,
        settings,
        partial(HistGradientBoostingRegressor, loss=_trees_loss(problem.y), l2_regularization=_EXPECTED),
        problem.y,
        lambda model, x, scored: zip(model.staged_predict(x), model.staged_predict(scored), strict=True),
        None if keep is None else trees.append,
    )
    if keep is not None:
        keep(trees[-1], _hazard(found[settings[-1]][0], problem, grid))
    return [_curves(found[one][0], found[one][1], problem, grid) for one in settings]


def _trees_loss(y: Floats) -> Any:
    """The partial likelihood as scikit-learn's trees take a loss; rows in the order of ``y``."""
    from sklearn._loss.link import IdentityLink
    from sklearn._loss.loss import BaseLoss

    likelihood = PartialLikelihood(y)

    class TreesLoss(BaseLoss):  # type: ignore[misc]  # scikit-learn has no types
        def fit_intercept_only(self, y_true: Floats, sample_weight: Floats | None = None) -> Float64:
            # Only differences of log hazards are identified.
            return np.zeros(())

        def gradient_hessian(
            self,
            y_true: Floats,
            raw_prediction: Float64,
            sample_weight: Floats | None = None,
            gradient_out: npt.NDArray[np.float32] | None = None,
            hessian_out: npt.NDArray[np.float32] | None = None,
            n_threads: int = 1,
        ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            assert gradient_out is not None
            assert hessian_out is not None
            eta = np.asarray(raw_prediction, dtype=np.float64).reshape(-1, 1)
            gradient_out[...] = likelihood(eta)[1].reshape(gradient_out.shape)
            hessian_out[...] = likelihood.curvature(eta[:, 0]).reshape(hessian_out.shape)
            return gradient_out, hessian_out

    return TreesLoss(closs=None, link=IdentityLink())


def _curves(training: Floats, scored: Floats, problem: Problem[Any], grid: Floats) -> Floats:
    return cox_prediction(scored, _hazard(training, problem, grid))


def _hazard(training: Floats, problem: Problem[Any], grid: Floats) -> Float64:
    return breslow(training, problem.y, grid)
