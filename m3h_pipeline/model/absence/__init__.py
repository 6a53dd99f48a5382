"""Modalities that a row lacks: what stands for their encoding, and how training hides them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from m3h_pipeline.model.keys import Draws, mix, seed_of

_BITS = 2**31 - 1


class Absence(nn.Module):
    """What stands for the encoding of a row without the modality: a learned vector per model, 0 at first.

    Args:
        width: of the encoding.
        draws: one key per model. Nothing is drawn: at 0 the modality says nothing, whatever the seed.
    """

    def __init__(self, width: int, draws: Draws) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(draws.models, width, dtype=draws.dtype))

    def forward(self, encoding: Tensor, present: Tensor) -> Tensor:
        """Put the vector where the modality is absent.

        Args:
            encoding: (models, B, width).
            present: (G, B), False where the modality is absent; G divides the models.

        Shape:
            (models, B, width)
        """
        seen = present.repeat_interleave(len(encoding) // len(present), 0)[:, None]
        # Activations lie feature by feature.
        return torch.where(seen, encoding.mT, self.vector[:, :, None].to(encoding.dtype)).mT


def hide(rate: float, keys: Tensor, names: Sequence[str], present: Tensor) -> Tensor:
    """Hide each modality of each row with probability ``rate``, but never all that a row has.

    Whether a modality is hidden hashes (key of the step, its name, position in the batch), as dropout does
    (:class:`m3h_pipeline.model.keys.Dropout`). Where all that a row has were to be hidden, the one of the
    largest number stays: of m modalities each is hidden in a share of rate - rate^m / m.

    Args:
        rate: probability.
        keys: (G,) 31-bit int64, one per group for this step.
        names: of the modalities.
        present: (G, modalities, B), False where a modality is absent.

    Returns:
        ``present``, with more of it False.
    """
    device, batch = present.device, present.shape[2]
    sites = torch.tensor([seed_of("absence", name) & _BITS for name in names], device=device)
    rows = mix((keys[:, None] + mix(sites)) & _BITS)
    drawn = mix((rows[:, :, None] + mix(torch.arange(1, batch + 1, device=device))) & _BITS)
    last = torch.where(present, drawn, -1).argmax(1, keepdim=True)
    kept = (drawn >= int(rate * (_BITS + 1))).scatter_(1, last, True)
    return present & kept


def replaced(x: Tensor, present: Tensor, widths: Sequence[int], centre: Tensor | None = None) -> Tensor:
    """Features in which those of absent modalities are their means on the training rows.

    Args:
        x: (G, B, F) scaled features.
        present: (G, modalities, B), False where a modality is absent.
        widths: features of each modality; they add up to F.
        centre: (G, 1, F), the means; None: 0 for all.
    """
    sizes = torch.tensor(widths, device=x.device)
    seen = present.mT.repeat_interleave(sizes, 2, output_size=x.shape[2])
    return torch.where(seen, x, 0.0 if centre is None else centre)
