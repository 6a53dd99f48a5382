"""Cross-task attention (the paper's Algorithm 1)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from m3h_pipeline.model.keys import Draws

#: The most tasks for which the weighted sum is written out term by term instead of as small matrix products.
_WRITTEN_OUT = 4
#: exp(-750) is 0 in float64.
_WHOLE = 750.0


class CrossTaskAttention(nn.Module):
    """Every task's embedding becomes a weighted sum of the values of all tasks of its model.

    ``W = softmax(c I + alpha * M / max M)``, ``M = Q K^T``: the identity keeps a task at itself, alpha is the
    strength of exploration. c is 1 in the paper: the weight of a task's own embedding, e / (e + T - 1)
    without exploration, fades from 0.73 of two tasks to 0.06 of 41. With c = 1 + log(T - 1) it is that of two
    tasks for any T. Q comes from one learned vector per task, K and V from the embeddings.

    Args:
        tasks: number of tasks T.
        width: width d of a task embedding.
        alpha: strength of exploration.
        normalise: ``max_abs`` divides by the largest magnitude of the T x T entries of each sample, clamped
            at 1e-6; ``published`` by the largest entry of the batch, to the paper's letter. The gradient
            passes through the maximum.
        draws: initial values, one key per model.
        task_draws: initial values of the task vectors, one key per model and task (models * T).
        own_weight: c is 1 (``published``), 1 + log(T - 1) (``constant``), or so large that the others have
            no weight (``whole``).
    """

    def __init__(
        self,
        tasks: int,
        width: int,
        alpha: float,
        normalise: Literal["max_abs", "published"],
        draws: Draws,
        task_draws: Draws,
        own_weight: Literal["published", "constant", "whole"] = "published",
    ) -> None:
        super().__init__()
        self.own = {
            "published": 1.0,
            "constant": 1.0 + math.log(max(tasks - 1, 1)),
            "whole": _WHOLE,
        }[own_weight]
        self.models, self.tasks, self.width = draws.models, tasks, width
        self.alpha, self.normalise = alpha, normalise
        bound = 1 / math.sqrt(width)
        embedding = task_draws.normal("embedding", (width,), 1.0)
        self.embedding = nn.Parameter(embedding.view(self.models, tasks, width))
        self.query = nn.Parameter(draws.uniform("query", (width, width), bound))
        self.key = nn.Parameter(draws.uniform("key", (width, width), bound))
        self.value = nn.Parameter(draws.uniform("value", (width, width), bound))

    def weights(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """The attention weights.

        Args:
            x: (models, T, d, B).
            valid: (G, B), False in rows of padding, which no maximum may see; None: all valid.

        Returns:
            (models, T, T, B): entry (u, t) is the weight of task u in task t, summing to 1 over u.
        """
        models, tasks = x.shape[:2]
        # Q K^T = (Q W_K) x^T: as few products per sample as possible.
        query = torch.bmm(self.embedding, self.query.mT)
        query = torch.bmm(query, self.key)
        query = query[:, None].expand(models, tasks, tasks, self.width)
        score = torch.matmul(query, x)
        if score.dtype in (torch.bfloat16, torch.float16):
            score = score.float()
        if self.normalise == "max_abs":
            largest = score.abs().amax((1, 2), keepdim=True).clamp(min=1e-6)
        else:
            seen = score
            if valid is not None:
                every = valid.repeat_interleave(models // len(valid), 0)[:, None, None, :]
                seen = torch.where(every, score, -torch.inf)
            largest = seen.amax((1, 2, 3), keepdim=True)
        identity = torch.eye(tasks, dtype=score.dtype, device=score.device)[:, :, None]
        if self.own != 1.0:
            identity = identity * self.own
        return torch.softmax(identity + self.alpha * score / largest, 1)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Attended embeddings and attention weights.

        Args:
            x: (models, T, d, B).
            valid: (G, B), False in rows of padding; None: all valid.

        Returns:
            (models, T, d, B) and (models, T, T, B), as in :meth:`weights`.
        """
        models, tasks, width = x.shape[:3]
        value = self.value[:, None].expand(models, tasks, width, width)
        if tasks == 1:
            # The softmax of one entry is 1.
            return torch.matmul(value, x), torch.ones_like(x[:, :, :1, :])
        weights = self.weights(x, valid)
        w = weights.to(x.dtype)
        if tasks <= _WRITTEN_OUT:
            sources = x.unbind(1)
            shares = [share.unsqueeze(2).unbind(1) for share in w.unbind(1)]
            rows = []
            for t in range(tasks):
                row = sources[0] * shares[0][t]
                for u in range(1, tasks):
                    row = torch.addcmul(row, sources[u], shares[u][t])
                rows.append(row)
            mixed = torch.stack(rows, 1)
        else:
            by_sample = torch.matmul(w.permute(0, 3, 2, 1), x.permute(0, 3, 1, 2))
            mixed = by_sample.permute(0, 2, 3, 1).contiguous()
        return torch.matmul(value, mixed), weights
