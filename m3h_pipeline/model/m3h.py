"""The assembled network: modality encoders, contrastive projection, shared module, task networks, cross-task
attention, heads.

Everything has a leading model axis K; K = 1 is the ordinary model. K models are divided into G groups of
equal size that read the same minibatch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from m3h_pipeline.config.model import Model
from m3h_pipeline.model.absence import Absence
from m3h_pipeline.model.absence.noise import Noise
from m3h_pipeline.model.architecture import Architecture, Input, Signature
from m3h_pipeline.model.attention import CrossTaskAttention
from m3h_pipeline.model.contrastive import info_nce
from m3h_pipeline.model.encoders import build
from m3h_pipeline.model.heads import ProblemClass, problem_class
from m3h_pipeline.model.keys import Draws, RandomKey
from m3h_pipeline.model.layers import StackedLinear, StackedModule, join
from m3h_pipeline.model.transcriptome import Transcriptome


@dataclass(frozen=True)
class Span:
    """Adjacent positions of one problem class and number of outputs, which share a head module.

    Attributes:
        kind: the problem class.
        outputs: raw outputs of a task.
        start: first position.
        stop: one past the last.
    """

    kind: ProblemClass
    outputs: int
    start: int
    stop: int

    @property
    def count(self) -> int:
        """Number of positions."""
        return self.stop - self.start


def spans(signature: Signature, model: Model) -> list[Span]:
    """The spans of a signature, in order, their classes as the network is configured."""
    found: list[Span] = []
    for i, (name, outputs) in enumerate(signature):
        if i and signature[i - 1] == (name, outputs):
            last = found.pop()
            found.append(Span(last.kind, outputs, last.start, i + 1))
        else:
            found.append(Span(problem_class(name).configured(model), outputs, i, i + 1))
    return found


def _encoder(item: Input, draws: Draws, slope: float) -> StackedModule:
    """The encoder of a modality; ``slope``: of its activations below 0."""
    if item.options is None:
        return build(item.encoder, item.features, item.hidden, draws, slope)
    return Transcriptome(item.genes, item.hidden, item.options, draws, slope)


class M3H(nn.Module):
    """K models of one signature.

    Args:
        architecture: shape of the models.
        seeds: of each model, (study seed, replicate): the key of what is common to all combinations.
        tasks: of each model, the task at each position.
        dtype: of the parameters.
    """

    def __init__(
        self,
        architecture: Architecture,
        seeds: Sequence[RandomKey],
        tasks: Sequence[Sequence[str]],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        config = architecture.model
        self.architecture = architecture
        self.models, self.positions = len(seeds), len(architecture.signature)
        draws = Draws(seeds, dtype)
        keys = [[(*seed, "task", task) for task in row] for seed, row in zip(seeds, tasks, strict=True)]
        task_draws = Draws([key for row in keys for key in row], dtype)
        slope = config.negative_slope
        self.encoders = nn.ModuleDict(
            {item.name: _encoder(item, draws.at("encoder", item.name), slope) for item in architecture.inputs}
        )
        # Items of a module dictionary are hinted as bare modules.
        widths = [int(encoder.width) for encoder in self.encoders.values()]  # type: ignore[arg-type]
        self.absent = nn.ModuleDict(
            {
                item.name: Absence(width, draws.at("absence", item.name))
                for item, width in zip(architecture.inputs, widths, strict=True)
                if item.absence
            }
        )
        self.projections = nn.ModuleDict()
        if architecture.contrastive:
            for item, width in zip(architecture.inputs, widths, strict=True):
                at = draws.at("projection", item.name)
                self.projections[item.name] = StackedLinear(width, config.projection, at)
        self.shared = build("mlp", sum(widths), config.shared, draws.at("shared"), slope)
        joined = int(self.shared.width)
        self.networks = build(config.task_network, joined, config.task, task_draws.at("network"), slope)
        width = self.networks.width
        self.attention = CrossTaskAttention(
            self.positions,
            width,
            config.attention.alpha,
            config.attention.normalise,
            draws.at("attention"),
            task_draws.at("attention"),
            config.attention.own_weight,
        )
        self.spans = spans(architecture.signature, config)
        self.heads, self.linear = nn.ModuleList(), nn.ModuleDict()
        for index, span in enumerate(self.spans):
            at = Draws([key for row in keys for key in row[span.start : span.stop]], dtype).at("head")
            self.heads.append(span.kind.head(width, span.outputs, architecture.features, config.decoder, at))
            if config.linear_path:
                path = span.kind.linear(architecture.features, span.outputs, at)
                if path is not None:
                    self.linear[str(index)] = path

    @property
    def n_losses(self) -> int:
        """Number of losses of a model: the contrastive one, if there is one, then one per position."""
        return int(self.architecture.contrastive) + self.positions

    def encode(
        self,
        x: Tensor,
        noise: Noise | None = None,
        valid: Tensor | None = None,
        present: Tensor | None = None,
    ) -> list[Tensor]:
        """Encode the modalities of (G, B, F): one (K, B, width) each.

        Where a row lacks a modality, its encoding is that of the features' means or, of modalities that have
        one, the learned vector.

        Args:
            x: scaled features, some of them dropped where there is dropout of the inputs.
            noise: dropout; None: no dropout.
            valid: (G, B), False in rows of padding, which batch normalisation leaves out; None: no padding.
            present: (G, modalities, B), False where a modality is missing; None: none is.
        """
        encodings, start = [], 0
        for i, item in enumerate(self.architecture.inputs):
            part = x[:, :, start : start + item.features]
            start += item.features
            encodings.append(
                self.encode_one(i, part, noise, valid, None if present is None else present[:, i])
            )
        return encodings

    def encode_one(
        self,
        index: int,
        part: Tensor,
        noise: Noise | None = None,
        valid: Tensor | None = None,
        present: Tensor | None = None,
    ) -> Tensor:
        """Encode one modality: (K, B, width).

        Args:
            index: of the modality.
            part: its scaled features, (G, B, F of it).
            noise: as of :meth:`encode`.
            valid: as of :meth:`encode`.
            present: (G, B), False where the modality is missing; None: nowhere.
        """
        item = self.architecture.inputs[index]
        site = None if noise is None else noise.site(f"encoder/{item.name}")
        seen = None if not item.absence else present
        # Rows of padding have no modality.
        more = (valid if seen is None else seen,) if item.options is not None else ()
        encoding: Tensor = self.encoders[item.name](part, site, *more)
        return encoding if seen is None else self.absent[item.name](encoding, seen)

    def contrast(self, encodings: Sequence[Tensor], present: Tensor | None) -> Tensor:
        """Contrastive loss, (K,).

        Args:
            encodings: as of :meth:`encode`.
            present: (G, modalities, B), False where a modality is missing; None: none is.
        """
        projected = [
            self.projections[item.name](encoding)
            for item, encoding in zip(self.architecture.inputs, encodings, strict=True)
        ]
        if projected[0].dtype in (torch.bfloat16, torch.float16):
            projected = [projection.float() for projection in projected]
        with torch.autocast(projected[0].device.type, enabled=False):
            return info_nce(projected, present, self.architecture.model.temperature)

    def attend(
        self, encodings: Sequence[Tensor], valid: Tensor | None = None, noise: Noise | None = None
    ) -> tuple[Tensor, Tensor]:
        """Attended task embeddings (K, T, d, B) and attention weights (K, T source, T, B)."""
        shared = self.shared(join(encodings), None if noise is None else noise.site("shared"))
        x = self.networks(shared, None if noise is None else noise.task("network")).mT
        x = x.reshape(self.models, self.positions, self.networks.width, -1)
        out: tuple[Tensor, Tensor] = self.attention(x, valid)
        return out

    def raw(self, attended: Tensor, index: int, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Raw outputs of a span: (K * count, B, outputs).

        Args:
            attended: embeddings of its tasks, (K, count, d, B).
            index: of the span.
            x: as in :meth:`encode`; what the linear path reads.
            noise: dropout; None: no dropout.
        """
        span = self.spans[index]
        part = attended.flatten(0, 1)
        dropout = None
        if noise is not None and span.kind.clusters:
            row = torch.arange(self.models * self.positions, device=attended.device)
            row = row.view(self.models, self.positions)[:, span.start : span.stop].reshape(-1)
            dropout = noise.task("decoder", row)
        out: Tensor = self.heads[index](part.mT, dropout)
        if str(index) in self.linear:
            out = out + self.linear[str(index)](x)
        return out

    def losses(
        self,
        x: Tensor,
        target: Tensor,
        observed: Tensor,
        present: Tensor | None = None,
        valid: Tensor | None = None,
        noise: Noise | None = None,
        only: int | None = None,
    ) -> Tensor:
        """All losses, (K, n_losses); their plain sum has independent gradients.

        Args:
            x: (G, B, F) standardised features.
            target: (K, T, B) labels, NaN where not observed; standardised where the class asks for it.
            observed: (K, T, B).
            present: as in :meth:`contrast`, and False in rows of padding; None: all True. Clustering
                reconstructs ``x``, hidden modalities included.
            valid: (G, B), False in rows of padding; None: no padding.
            noise: dropout; None: no dropout.
            only: compute this loss alone; the other columns are 0.
        """
        seen = x if noise is None else noise.shown(x, present, self.architecture.inputs)
        encodings = self.encode(seen, noise, valid, present)
        columns: list[Tensor] = []
        zero = target.new_zeros(self.models)
        if self.architecture.contrastive:
            wanted = only in (None, 0)
            columns.append(self.contrast(encodings, present).to(target.dtype) if wanted else zero)
        first = len(columns)
        if only is not None and only < first:
            return torch.stack(columns + [zero] * self.positions, 1)
        attended, _ = self.attend(encodings, valid, noise)
        parts = torch.split(attended, [span.count for span in self.spans], 1)
        for index, span in enumerate(self.spans):
            if only is not None and not span.start <= only - first < span.stop:
                columns += [zero] * span.count
                continue
            part = slice(span.start, span.stop)
            loss = span.kind.loss(
                self.raw(parts[index], index, seen, noise),
                target[:, part].flatten(0, 1),
                observed[:, part].flatten(0, 1),
                x,
            ).view(self.models, span.count)
            for i, column in enumerate(loss.unbind(1)):
                mine = only is None or only - first == span.start + i
                columns.append(column if mine else zero)
        return torch.stack(columns, 1)

    def take(self, index: int) -> dict[str, Tensor]:
        """The parameters of one model of the stack, as a state of a stack of one: slices, no copies."""
        found = {}
        for name, value in self.named_parameters():
            rows = len(value) // self.models
            found[name] = value.detach()[index * rows : (index + 1) * rows]
        return found
