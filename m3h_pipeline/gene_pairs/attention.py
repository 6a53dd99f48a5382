"""Attention of a transcriptome encoder as a network of genes, and its difference between two groups.

The test is by permutation of patients between the groups. A pair's p value is its rank among the statistics
of all pairs in all permutations, which makes p values small enough for thousands of pairs; it takes for
granted that where nothing differs the statistics of all pairs are distributed alike, which studentised ones
nearly are. Attention of different pairs is strongly dependent (softmax sums to 1), so that a chance finding
seldom comes alone. So pairs are called only where the largest statistic of all is beyond what permutations
reach: where no pair differs, any pair is called in at most a share ``fdr`` of studies, exactly, whatever the
dependence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import Tensor

from m3h_pipeline.model.transcriptome import Transcriptome

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
#: Elements of a block of permuted statistics.
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Attention:
    """Attention of samples.

    Attributes:
        heads: (layers, heads, G, G) mean over samples, row = the gene that attends.
        pairs: (n, P) per sample the mean over layers, heads and both directions; pairs as of
            :func:`numpy.triu_indices` with ``k=1``.
    """

    heads: Float64Array
    pairs: Float32Array


@torch.no_grad()
def read_attention(
    encoder: Transcriptome, x: Tensor, rows: int = 16, advance: Callable[[int], None] = lambda rows: None
) -> Attention:
    """Attention of a model (a stack of one) for scaled expression (n, G)."""
    genes = x.shape[1]
    above = torch.triu_indices(genes, genes, 1)
    total: Tensor | None = None
    pairs = np.empty((len(x), above.shape[1]), dtype=np.float32)
    for a in range(0, len(x), rows):
        part = x[None, a : a + rows]
        layers = [weights[0].double() for weights in encoder.maps(part)]
        # Before the first layer of untied models all samples have the same tokens, but not the same logits.
        summed = torch.stack([weights.sum(0) for weights in layers])
        total = summed if total is None else total + summed
        mean = torch.stack([weights.mean(1) for weights in layers]).mean(0)
        both = (mean + mean.mT) / 2
        pairs[a : a + rows] = both[:, above[0], above[1]].float().numpy()
        advance(part.shape[1])
    assert total is not None
    return Attention((total / len(x)).numpy(), pairs)


@dataclass(frozen=True)
class Difference:
    """Comparison of two groups, pair by pair.

    Attributes:
        difference: (P,) mean of the group less that of the others.
        statistic: (P,) the difference divided by its standard error (Student's t).
        p: (P,) by permutation, pooled over pairs.
        q: (P,) of Benjamini & Hochberg.
        overall: p value of the largest statistic of all.
    """

    difference: Float64Array
    statistic: Float64Array
    p: Float64Array
    q: Float64Array
    overall: float

    def called(self, fdr: float) -> BoolArray:
        """(P,) which pairs differ at a false discovery rate."""
        return (self.q <= fdr) & (self.overall <= fdr)


def compare(values: npt.NDArray[np.floating], group: BoolArray, permutations: int, seed: int) -> Difference:
    """Compare samples of a group with the others.

    Args:
        values: (n, P).
        group: (n,) True in the group; both have at least 2 samples.
        permutations: of the samples.
        seed: of the permutations.
    """
    centred = values.astype(np.float64)
    centred -= centred.mean(0)
    squares = np.square(centred).sum(0)
    # Rounding must not make a difference of what is constant.
    scale = np.square(values.astype(np.float64)).sum(0)
    varies = squares > 1e-12 * np.maximum(scale, 1e-300)

    def statistics(members: npt.NDArray[np.floating]) -> tuple[Float64Array, Float64Array]:
        """Differences and statistics of memberships (m, n): (m, P) each."""
        n, n1 = members.shape[1], members.sum(1, keepdims=True)
        n0 = n - n1
        mean = members @ centred / n1
        # The means weighted by size add up to 0.
        difference = mean * n / n0
        within = squares - np.square(mean) * n1 * n / n0
        error = np.sqrt(np.maximum(within, 1e-300) / (n - 2) * (1 / n1 + 1 / n0))
        return difference, np.where(varies, difference / error, 0.0)

    difference, statistic = (part[0] for part in statistics(group[None].astype(np.float64)))
    size = np.abs(statistic)
    ascending = np.sort(size)
    rng = np.random.Generator(np.random.Philox(seed))
    beyond = np.zeros(len(size) + 1, dtype=np.int64)
    largest = 0
    per_block = max(1, _BLOCK // max(1, len(size)))
    for a in range(0, permutations, per_block):
        count = min(per_block, permutations - a)
        members = np.stack([rng.permutation(group) for _ in range(count)]).astype(np.float64)
        null = np.abs(statistics(members)[1])
        # Ties are those of equal memberships: rounding must not decide on which side they fall.
        place = np.searchsorted(ascending, null.ravel() * (1 + 1e-9), side="right")
        beyond += np.bincount(place, minlength=len(size) + 1)
        largest += int((null.max(1) * (1 + 1e-9) >= ascending[-1]).sum())
    # Of the i-th smallest statistic: how many permuted ones are not smaller.
    at_least = beyond[::-1].cumsum()[::-1][1:]
    p = np.empty(len(size))
    p[np.argsort(size, kind="stable")] = (1 + at_least) / (1 + permutations * len(size))
    q = stats.false_discovery_control(p)
    return Difference(difference, statistic, p, q, (1 + largest) / (1 + permutations))
