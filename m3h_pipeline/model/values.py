"""How a gene's expression enters a transformer over genes.

``untied`` is TxT's: expression acts as an untied positional encoding on the attention logits alone
(:mod:`m3h_pipeline.model.transcriptome`). The encodings here are what other models do: a vector made of the
value is added to the gene's token, so that the value also reaches what attention passes on. All of them map
scaled expression (models, B, G) to (models, B, G, width).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from m3h_pipeline.model.footprint import BINS
from m3h_pipeline.model.keys import Draws

#: Deviation of the initial frequencies (Gorishniy, Rubachev & Babenko 2022, section 3.3).
_FREQUENCY = 1.0


class ValueEncoding(nn.Module):
    """Base of the encodings: features of the value, then an affine map to the width of a token.

    Args:
        width: of a token.
        draws: initial values, one key per model.
    """

    features = 1

    def __init__(self, width: int, draws: Draws) -> None:
        super().__init__()
        bound = 1 / math.sqrt(self.features)
        self.weight = nn.Parameter(draws.uniform("weight", (width, self.features), bound))
        self.bias = nn.Parameter(draws.uniform("bias", (width,), bound))

    def describe(self, x: Tensor) -> Tensor:
        """Features of the value: (models, B, G) to (models, B, G, features)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map (models, B, G) to (models, B, G, width)."""
        z = self.describe(x)
        out = torch.baddbmm(self.bias[:, None], z.flatten(1, 2), self.weight.mT)
        return out.view(*z.shape[:3], -1)


class Projection(ValueEncoding):
    """The value times a learned vector (as in scGPT's continuous input)."""

    def describe(self, x: Tensor) -> Tensor:
        return x[..., None]


class Rank(ValueEncoding):
    """The value's rank among the sample's genes, 0 to 1 (the idea of Geneformer); ties share their mean."""

    def describe(self, x: Tensor) -> Tensor:
        ordered = x.detach().sort(-1).values.contiguous()
        value = x.detach().contiguous()
        below = torch.searchsorted(ordered, value)
        upto = torch.searchsorted(ordered, value, right=True)
        rank = (below + upto - 1).to(x.dtype) / 2
        return (rank / max(1, x.shape[-1] - 1))[..., None]


class SoftBins(ValueEncoding):
    """Soft membership in bins whose logits are a learned function of the value (as in xTrimoGene)."""

    features = BINS

    def __init__(self, width: int, draws: Draws) -> None:
        super().__init__(width, draws)
        self.slope = nn.Parameter(draws.uniform("slope", (BINS,), 1.0))
        self.offset = nn.Parameter(draws.uniform("offset", (BINS,), 1.0))

    def describe(self, x: Tensor) -> Tensor:
        return torch.softmax(x[..., None] * self.slope[:, None, None] + self.offset[:, None, None], -1)


class Periodic(ValueEncoding):
    """Sines and cosines of learned frequencies, and a ReLU (Gorishniy et al. 2022, section 3.3)."""

    features = 2 * BINS

    def __init__(self, width: int, draws: Draws) -> None:
        super().__init__(width, draws)
        self.frequency = nn.Parameter(draws.normal("frequency", (BINS,), _FREQUENCY))

    def describe(self, x: Tensor) -> Tensor:
        angle = 2 * math.pi * x[..., None] * self.frequency[:, None, None]
        return torch.cat([angle.sin(), angle.cos()], -1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(super().forward(x))


class PiecewiseLinear(ValueEncoding):
    """How far the value has come through each of equal pieces of its range 0 to 1 (Gorishniy et al., 3.2).

    The first and the last piece go on beyond the range.
    """

    features = BINS

    def describe(self, x: Tensor) -> Tensor:
        piece = torch.arange(BINS, device=x.device, dtype=x.dtype)
        z = x[..., None] * BINS - piece
        low = torch.where(piece == 0, -torch.inf, 0.0).to(x.dtype)
        high = torch.where(piece == BINS - 1, torch.inf, 1.0).to(x.dtype)
        return torch.minimum(torch.maximum(z, low), high)


#: By the name of the configuration; ``untied`` adds nothing to the tokens.
ENCODINGS: dict[str, type[ValueEncoding]] = {
    "projection": Projection,
    "bins": SoftBins,
    "rank": Rank,
    "periodic": Periodic,
    "piecewise_linear": PiecewiseLinear,
}
