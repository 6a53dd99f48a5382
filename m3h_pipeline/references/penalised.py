"""Linear models with an L2 penalty, along a path of penalties.

A loss sees the n rows through ``X w + b`` alone. Weights are found by L-BFGS in the coordinates in which the
Hessian is about the identity: with X'X = V D V', the Hessian of a loss of curvature h per row is about
V (h D + penalty) V', so that w = V u / sqrt(h D + penalty). That takes few steps whatever the
penalty. V and D of the whole training part serve every fold, as the folds' matrices are alike; they decide
how fast weights are found and not which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize

from m3h_pipeline.references.design import Design, Float64, dense

#: From ``X w + b``, (n, k), to the sum of the rows' losses and its gradient, (n, k).
Loss = Callable[[Float64], tuple[float, Float64]]
#: Of the gradient in these coordinates; rows' values of ``X w`` are then right to about this in units of the
#: deviation that sampling gives them.
_TOLERANCE = 1e-4
_STEPS = 500


@dataclass(frozen=True)
class Basis:
    """Coordinates of the weights.

    Attributes:
        vectors: (F, F) V; None: the identity.
        values: (F,) D of one row.
    """

    vectors: Float64 | None
    values: Float64


def basis_of(x: Design) -> Basis:
    """The coordinates of a matrix with at least as many rows as columns."""
    values, vectors = eigh(x.gram() / max(1, len(x)), overwrite_a=True, check_finite=False, driver="evd")
    return Basis(vectors, np.maximum(values, 0.0))


def rotated(x: Design, scored: Design) -> tuple[Design, Design, Basis, Float64]:
    """Coordinates of two matrices in the space that the rows of the first span, and its axes, (F, rank).

    With fewer rows than columns this changes nothing but the time: a penalised solution lies in that space.
    """
    rows, others = x.dense(), scored.dense()
    values, vectors = np.linalg.eigh(rows @ rows.T)
    kept = values > 1e-10 * max(float(values[-1]), 1e-300)
    length = np.sqrt(values[kept])
    vectors = vectors[:, kept]
    nothing = np.zeros(len(length))
    axes = rows.T @ (vectors / length)
    found = dense(vectors * length, nothing), dense(others @ axes, nothing)
    return *found, Basis(None, values[kept] / max(1, len(x))), axes


def weights_path(
    x: Design,
    loss: Loss,
    outputs: int,
    curvature: float,
    penalties: Sequence[float],
    basis: Basis,
    intercept: bool = True,
) -> list[tuple[Float64, Float64]]:
    """Weights and intercepts that minimise loss + penalty / 2 * squared length of the weights.

    Args:
        x: (n, F).
        loss: of the rows.
        outputs: k.
        curvature: about the second derivative of a row's loss.
        penalties: each starts from the solution of the one before.
        basis: coordinates of the weights.
        intercept: whether there is one; it is not penalised.

    Returns:
        Per penalty (F, k) and (k,).
    """
    width, n = len(basis.values), len(x)
    # In coordinates V'w, unscaled: those of one penalty are a start for the next.
    start = np.zeros((width, outputs))
    level = np.zeros(outputs)
    stiff = np.sqrt(max(n * curvature, 1e-12))
    found = []
    for penalty in penalties:
        scale = np.sqrt(n * curvature * basis.values + penalty)[:, None]

        def objective(u: Float64, scale: Float64, penalty: float) -> tuple[float, Float64]:
            shift = u[: outputs * intercept] / stiff
            z = u[outputs * intercept :].reshape(width, outputs) / scale
            eta = x.times(_out_of(basis, z))
            value, slope = loss(eta + shift if intercept else eta)
            gradient = _into(basis, x.back(slope)) + penalty * z
            value += 0.5 * penalty * float((z * z).sum())
            head = slope.sum(axis=0) / stiff if intercept else np.zeros(0)
            return value, np.concatenate([head, (gradient / scale).ravel()])

        first = np.concatenate([level[: outputs * intercept] * stiff, (start * scale).ravel()])
        options = {"maxiter": _STEPS, "gtol": _TOLERANCE, "ftol": 1e-14, "maxcor": 20}
        # scipy's hints lack a function that also returns its gradient.
        done = minimize(objective, first, (scale, penalty), "L-BFGS-B", True, options=options)  # type: ignore[call-overload]
        u = done.x
        level = u[:outputs] / stiff if intercept else level
        start = u[outputs * intercept :].reshape(width, outputs) / scale
        found.append((_out_of(basis, start), level.copy()))
    return found


def _out_of(basis: Basis, z: Float64) -> Float64:
    return z if basis.vectors is None else basis.vectors @ z


def _into(basis: Basis, weights: Float64) -> Float64:
    return weights if basis.vectors is None else basis.vectors.T @ weights
