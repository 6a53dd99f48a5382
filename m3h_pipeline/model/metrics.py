"""Metrics of a whole stack at once, on the device, masked per model.

Arguments have a leading model axis M; rows that are not valid play no part. Undefined metrics are NaN. The
referee in the tests is scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from m3h_pipeline.dotted import call, is_path
from m3h_pipeline.model.heads import ProblemClass

_NAN = float("nan")


def auroc(score: Tensor, positive: Tensor, valid: Tensor) -> Tensor:
    """Area under the ROC curve; ties count half (Mann-Whitney).

    Args:
        score: (M, n).
        positive: (M, n) bool.
        valid: (M, n) bool.

    Returns:
        (M,) float64; NaN where only one class is observed.
    """
    # Rows that are not valid go to the end, behind every rank that counts.
    score = torch.where(valid, score, torch.inf)
    ordered = score.sort(1).values.contiguous()
    score = score.contiguous()
    below = torch.searchsorted(ordered, score)
    upto = torch.searchsorted(ordered, score, right=True)
    rank = (below + upto + 1).to(torch.float64) / 2
    positive = positive & valid
    n_positive = positive.sum(1).to(torch.float64)
    n_negative = valid.sum(1).to(torch.float64) - n_positive
    total = torch.where(positive, rank, 0.0).sum(1) - n_positive * (n_positive + 1) / 2
    pairs = n_positive * n_negative
    area = total / pairs.clamp(min=1)
    defined = (pairs > 0) & ~torch.isnan(torch.where(valid, score, 0.0)).any(1)
    return torch.where(defined, area, _NAN)


def binary_auroc(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """AUROC of probabilities (M, n, 1) for labels 0 and 1."""
    return auroc(prediction[:, :, 0], target == 1, valid)


def macro_auroc(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean one-vs-rest AUROC over the classes that occur, of probabilities (M, n, C); NaN below two."""
    areas = torch.stack(
        [auroc(prediction[:, :, c], target == c, valid) for c in range(prediction.shape[2])], 1
    )
    return torch.nanmean(areas, 1)


def r2(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Coefficient of determination of (M, n, 1); NaN with fewer than two rows or a constant target."""
    y = torch.where(valid, target, 0.0).double()
    count = valid.sum(1, keepdim=True)
    mean = y.sum(1, keepdim=True) / count.clamp(min=1)
    total = torch.where(valid, (y - mean).square(), 0.0).sum(1)
    rest = torch.where(valid, (y - prediction[:, :, 0].double()).square(), 0.0).sum(1)
    defined = (count[:, 0] >= 2) & (total > 0)
    return torch.where(defined, 1 - rest / torch.where(defined, total, 1.0), _NAN)


def silhouette_metric(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean silhouette of (M, n, 2) pairs of cluster and silhouette; NaN with fewer than two clusters."""
    cluster = prediction[:, :, 0]
    low = torch.where(valid, cluster, torch.inf).amin(1)
    high = torch.where(valid, cluster, -torch.inf).amax(1)
    count = valid.sum(1)
    mean = torch.where(valid, prediction[:, :, 1], 0.0).double().sum(1) / count.clamp(min=1)
    return torch.where((low < high) & (count > 0), mean, _NAN)


#: Numbers of a tensor of pairs that is in memory at once.
_PAIRS = 2**24


def concordance(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Harrell's concordance of risks (M, n, 1 or more; column 0) for signed times; NaN where no pair counts.

    A pair counts if the one with the shorter time had the event; of equal times, if one had the event and
    the other was censored. Equal risks count half.
    """
    risk = torch.where(valid, prediction[:, :, 0], 0.0)
    time = torch.where(valid, target.abs(), -1.0)
    event = valid & ~torch.signbit(target)
    other = valid & ~event
    models, n = risk.shape
    good, pairs = (torch.zeros(models, dtype=torch.int64, device=risk.device) for _ in range(2))
    step = max(1, _PAIRS // max(models * n, 1))
    for a in range(0, n, step):
        mine = slice(a, a + step)
        t, r = time[:, mine, None], risk[:, mine, None]
        later = (t < time[:, None]) | ((t == time[:, None]) & other[:, None])
        later &= event[:, mine, None] & valid[:, None]
        pairs += later.sum((1, 2))
        # Twice the number of concordant pairs, so that ties are whole numbers.
        good += (later & (r > risk[:, None])).sum((1, 2)) + (later & (r >= risk[:, None])).sum((1, 2))
    defined = (pairs > 0) & ~torch.isnan(torch.where(valid, prediction[:, :, 0], 0.0)).any(1)
    return torch.where(defined, good.double() / (2 * pairs.clamp(min=1)), _NAN)


METRICS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "auroc": binary_auroc,
    "macro_auroc": macro_auroc,
    "r2": r2,
    "silhouette": silhouette_metric,
    "concordance": concordance,
}


def score(kind: ProblemClass, prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """The metric of a problem class, (M,) float64.

    Args:
        kind: the class.
        prediction: (M, n, width), as recorded.
        target: (M, n) in the label's unit, anything where not valid.
        valid: (M, n), whether the label was observed.
    """
    if not is_path(kind.metric):
        return METRICS[kind.metric](prediction, target, valid)
    return torch.tensor(
        [
            _own_score(kind.metric, y[rows].cpu().numpy(), p[rows].cpu().numpy())
            for p, y, rows in zip(prediction, target, valid, strict=True)
        ],
        dtype=torch.float64,
        device=prediction.device,
    )


def _own_score(path: str, y: npt.NDArray[Any], prediction: npt.NDArray[Any]) -> float:
    """A metric of the user's own over the rows of one model; NaN where no row or no finite prediction is."""
    if not len(y) or not np.isfinite(prediction).all():
        return _NAN
    return float(call(path, y, prediction, np.ones(len(y))))
