"""What a stack is measured against: the ways in which one would train many models otherwise.

All train the pairs of a stack, as the ordinary modules of docs/model.py, on data without a missing value: no
loop looks for labels that are absent, which the stack does.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.utils.data import DataLoader, TensorDataset

from docs.model import PlainM3H
from m3h_pipeline.config import Model


class Dense(PlainM3H):
    """A model of binary tasks where everything is observed: no rows are picked, so that nothing waits."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The total loss of a minibatch (B, F) with labels (B, T)."""
        encodings = self.encode(x)
        parts = list(self.inputs)
        z = [
            F.normalize(self.projections[n](h).float(), dim=1) for n, h in zip(parts, encodings, strict=True)
        ]
        same = torch.arange(len(x), device=x.device)
        terms = []
        for a, b in itertools.combinations(z, 2):
            logits = a @ b.T / self.model.temperature
            terms.append((F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2)
        attended, _ = self.attend(encodings)
        total = torch.stack(terms).mean()
        for t in range(len(self.tasks)):
            logit = self.heads[t](attended[:, t])[:, 0].float()
            total = total + F.binary_cross_entropy_with_logits(logit, y[:, t])
        return total


@dataclass(frozen=True)
class Work:
    """What a loop trains.

    Attributes:
        x: (n, F) scaled features on the device.
        labels: (K, n, T) of each model.
        inputs: modality -> features.
        model: the configured network.
        batch: rows of a minibatch.
        rate: of Adam.
        precision: ``float32``, ``tf32`` or ``bfloat16``.
    """

    x: Tensor
    labels: Tensor
    inputs: dict[str, int]
    model: Model
    batch: int
    rate: float
    precision: str

    def models(self, count: int) -> list[Dense]:
        """Models with first weights of their own."""
        tasks = [("binary", 1)] * self.labels.shape[2]
        return [Dense(self.inputs, tasks, self.model).to(self.x.device) for _ in range(count)]

    def arithmetic(self) -> AbstractContextManager[object]:
        """The context of a forward pass."""
        if self.precision == "bfloat16":
            return torch.autocast(self.x.device.type, torch.bfloat16)
        return nullcontext()

    def batches(self) -> list[Tensor]:
        """Row numbers of the minibatches of an epoch, on the device."""
        order = torch.randperm(len(self.x) // self.batch * self.batch)
        return list(order.view(-1, self.batch).to(self.x.device))


def with_loader(work: Work) -> tuple[Callable[[], None], int]:
    """(a) A ``DataLoader`` over tensors on the host, default Adam: an epoch of one model, and its steps."""
    (model,) = work.models(1)
    optimiser = torch.optim.Adam(model.parameters(), lr=work.rate)
    rows = len(work.x) // work.batch * work.batch
    dataset = TensorDataset(work.x[:rows].cpu(), work.labels[0, :rows].cpu())
    loader = DataLoader(dataset, batch_size=work.batch, shuffle=True)
    device = work.x.device

    def epoch() -> None:
        for x, y in loader:
            optimiser.zero_grad()
            with work.arithmetic():
                loss = model(x.to(device), y.to(device))
            loss.backward()
            optimiser.step()

    return epoch, rows // work.batch


def _indexed(work: Work, captured: bool = False) -> Callable[[Tensor], None]:
    (model,) = work.models(1)
    optimiser = torch.optim.Adam(model.parameters(), lr=work.rate, fused=True, capturable=captured)

    def step(rows: Tensor) -> None:
        optimiser.zero_grad()
        with work.arithmetic():
            loss = model(work.x[rows], work.labels[0][rows])
        loss.backward()
        optimiser.step()

    return step


def indexed(work: Work) -> Callable[[], None]:
    """(b) Minibatches by row numbers from tensors on the device, fused Adam: a step of one model."""
    return in_turn(_indexed(work), work.batches())


def captured(work: Work) -> Callable[[], None]:
    """(c) The loop of :func:`indexed` under a CUDA graph."""
    return replayed(_indexed(work, captured=True), work.batches())


def vectorised(work: Work) -> Callable[[], None]:
    """(d) ``torch.func.vmap`` over the parameters of all K models, fused Adam: a step of all of them."""
    models: Sequence[nn.Module] = work.models(len(work.labels))
    stacked, _ = stack_module_state(list(models))
    parameters = {name: nn.Parameter(value.detach()) for name, value in stacked.items()}
    base = copy.deepcopy(models[0]).to("meta")
    optimiser = torch.optim.Adam(parameters.values(), lr=work.rate, fused=True)

    def loss(own: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        with work.arithmetic():
            found: Tensor = functional_call(base, own, (x, y))
        return found

    gradients = vmap(grad(loss), in_dims=(0, None, 0))

    def step(rows: Tensor) -> None:
        values = {name: p.detach() for name, p in parameters.items()}
        found = gradients(values, work.x[rows], work.labels[:, rows])
        for name, p in parameters.items():
            p.grad = found[name]
        optimiser.step()

    return in_turn(step, work.batches())


def in_turn(step: Callable[[Tensor], object], batches: Sequence[Tensor]) -> Callable[[], None]:
    """A step on the next minibatch at each call, for ever."""
    coming = itertools.cycle(batches)

    def run() -> None:
        step(next(coming))

    return run


def replayed(step: Callable[[Tensor], object], batches: Sequence[Tensor]) -> Callable[[], None]:
    """A step captured once as a CUDA graph, replayed on the next minibatch at each call."""
    rows = batches[0].clone()
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(rows)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(rows)
    coming = itertools.cycle(batches)

    def replay() -> None:
        rows.copy_(next(coming))
        graph.replay()

    return replay
