"""k-means and silhouettes on the device, for a whole stack and reproducibly."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from m3h_pipeline.model.keys import RandomKey, generator

_RESTARTS = 3
_ITERATIONS = 100
#: Lloyd's iterations stop when the centres move by less than this, in units of the mean variance of a column.
_TOLERANCE = 1e-4
#: Entries of a distance block that is worked on at a time.
_BLOCK = 2**24


def squared_distances(x: Tensor, centres: Tensor) -> Tensor:
    """Squared Euclidean distances, (M, n, d) against (M, k, d): (M, n, k), not negative."""
    d = torch.baddbmm(centres.square().sum(2)[:, None, :], x, centres.mT, alpha=-2)
    return d.add_(x.square().sum(2, keepdim=True)).clamp_(min=0)


def k_means(x: Tensor, valid: Tensor, k: int, keys: Sequence[RandomKey]) -> Tensor:
    """Centres of k clusters, from the best of a few k-means++ starts (Arthur & Vassilvitskii 2007).

    An empty cluster keeps its centre. Centres are sorted by descending size of their cluster, so that their
    numbers do not depend on the start.

    Args:
        x: (M, n, d) float64.
        valid: (M, n) rows that count.
        k: number of clusters.
        keys: of each model: what its start is drawn for.

    Returns:
        (M, k, d).
    """
    # The rows of one model stay in the cache of a CPU; a GPU is given all models at once.
    step = 1 if x.device.type == "cpu" else len(x)
    parts = [slice(a, a + step) for a in range(0, len(x), step)]
    return torch.cat([_k_means(x[part], valid[part], k, keys[part]) for part in parts])


def _k_means(x: Tensor, valid: Tensor, k: int, keys: Sequence[RandomKey]) -> Tensor:
    best_centres = best_inertia = None
    for start in range(_RESTARTS):
        uniform = torch.stack(
            [torch.from_numpy(generator(*key, "k-means", start).random(k)) for key in keys]
        ).to(x.device)
        centres, inertia = _lloyd(x, valid, _plus_plus(x, valid, uniform))
        if best_centres is None or best_inertia is None:
            best_centres, best_inertia = centres, inertia
        else:
            better = inertia < best_inertia
            best_centres = torch.where(better[:, None, None], centres, best_centres)
            best_inertia = torch.where(better, inertia, best_inertia)
    assert best_centres is not None
    member = _one_hot(squared_distances(x, best_centres).argmin(2), valid, k)
    order = member.sum(1).argsort(dim=1, descending=True, stable=True)
    return best_centres.gather(1, order[:, :, None].expand_as(best_centres))


def _plus_plus(x: Tensor, valid: Tensor, uniform: Tensor) -> Tensor:
    """Seeds: each next centre is drawn in proportion to the squared distance from those chosen."""
    models, _, width = x.shape
    weight = valid.to(x.dtype)
    centres = []
    for j in range(uniform.shape[1]):
        total = weight.cumsum(1)
        wanted = uniform[:, j : j + 1] * total[:, -1:]
        index = torch.searchsorted(total, wanted, right=True).clamp(max=x.shape[1] - 1)
        centre = x.gather(1, index[:, :, None].expand(models, 1, width))
        centres.append(centre)
        nearest = squared_distances(x, centre)[:, :, 0]
        nearest = torch.where(valid, nearest, 0.0)
        weight = nearest if j == 0 else torch.minimum(weight, nearest)
    return torch.cat(centres, 1)


def _one_hot(cluster: Tensor, valid: Tensor, k: int) -> Tensor:
    member = torch.zeros((*cluster.shape, k), dtype=torch.float64, device=cluster.device)
    return member.scatter_(2, cluster[:, :, None], valid[:, :, None].to(member.dtype))


def _lloyd(x: Tensor, valid: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    k = centres.shape[1]
    count = valid.sum(1)[:, None, None].clamp(min=1)
    seen = torch.where(valid[:, :, None], x, 0.0)
    variance = (
        seen.square().sum(1, keepdim=True) / count - (seen.sum(1, keepdim=True) / count).square()
    ).mean(2)
    done = torch.zeros_like(variance, dtype=torch.bool)
    for iteration in range(_ITERATIONS):
        # The squared length of a row plays no part in which centre is nearest.
        half = 0.5 * centres.square().sum(2)[:, None, :]
        cluster = torch.baddbmm(half, x, centres.mT, alpha=-1).argmin(2)
        member = _one_hot(cluster, valid, k)
        size = member.sum(1)[:, :, None]
        moved = torch.where(size > 0, torch.bmm(member.mT, seen) / size.clamp(min=1), centres)
        shift = (moved - centres).square().sum((1, 2))[:, None]
        # A model that has converged stays as it is, so that it does not depend on the others of its stack.
        centres = torch.where(done[:, :, None], centres, moved)
        done = done | (shift <= _TOLERANCE * variance)
        # To ask is to wait for the device.
        if (x.device.type == "cpu" or iteration % 10 == 9) and bool(done.all()):
            break
    inertia = torch.where(valid, squared_distances(x, centres).amin(2), 0.0).sum(1)
    return centres, inertia


def silhouettes(x: Tensor, cluster: Tensor, valid: Tensor, k: int) -> Tensor:
    """Silhouette of each row (Rousseeuw 1987), Euclidean; NaN in rows that are not valid.

    (b - a) / max(a, b) with a the mean distance to the other rows of the own cluster and b the least mean
    distance to the rows of another; 0 for a row alone in its cluster, NaN if all rows are in one cluster.

    Args:
        x: (M, n, d) float64.
        cluster: (M, n) int64.
        valid: (M, n).
        k: number of clusters.

    Returns:
        (M, n) float64.
    """
    models, n, _ = x.shape
    member = _one_hot(cluster, valid, k)
    size = member.sum(1)
    out = x.new_empty(models, n)
    rows = max(1, _BLOCK // max(1, n))
    for m in range(models):
        norm = x[m].square().sum(1)
        for a in range(0, n, rows):
            part = x[m, a : a + rows]
            own = cluster[m, a : a + rows]
            d = torch.addmm(norm, part, x[m].T, alpha=-2).add_(norm[a : a + rows, None])
            d.clamp_(min=0)
            # The distance of a row from itself is 0, whatever rounding says.
            d.diagonal(a).zero_()
            total = d.sqrt_() @ member[m]
            own_size = size[m][own]
            within = total.gather(1, own[:, None])[:, 0] / (own_size - 1).clamp(min=1)
            mean = torch.where(size[m] > 0, total / size[m].clamp(min=1), torch.inf)
            between = mean.scatter(1, own[:, None], torch.inf).amin(1)
            value = (between - within) / torch.maximum(between, within)
            # Coinciding rows: both distances are 0.
            value = torch.where(torch.maximum(between, within) > 0, value, 0.0)
            value = torch.where(own_size > 1, value, 0.0)
            out[m, a : a + rows] = torch.where(torch.isinf(between), torch.nan, value)
    return torch.where(valid, out, torch.nan)
