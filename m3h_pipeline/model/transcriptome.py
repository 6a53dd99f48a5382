"""The transcriptome transformer (TxT; Koo, Sung, Lee & Kim, Briefings in Bioinformatics 2025, bbaf628).

One token per gene, a learned vector that says which gene it is. A sample's expression enters as an *untied
positional encoding* (after TUPE, Ke, He & Liu 2021): bias-free maps Linear(1, d) turn the scaled value x_g of
each gene into a position query and a position key, and the logits of head h in every layer are

    (q_g . k_g' + p_g . r_g') / sqrt(2 d_h),    p_g = x_g w_q,    r_g' = x_g' w_k.

Of a scalar value the second product is c_h x_g x_g' with c_h = w_q . w_k over the head's entries: one number
per head. So a query needs one further entry, c_h x_g, and a key one, x_g', instead of d_h each, and the whole
is one plain attention, without a matrix of biases. Values never enter V: expression decides which genes
attend to which, never what is passed on.

Everything carries a leading model axis K. Genes are known by name: what is drawn for a gene depends on its
name and not on its place, so that columns in another order make the same model.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3h_pipeline.config.model import Transcriptome as Options
from m3h_pipeline.model.footprint import MULTIPLE
from m3h_pipeline.model.keys import Draws, Dropout, seed_of
from m3h_pipeline.model.layers import BatchNorm, LayerNorm, StackedLinear, StackedModule, activate
from m3h_pipeline.model.values import ENCODINGS


def per_gene(draws: Draws, name: str, genes: Sequence[str], shape: tuple[int, ...], bound: float) -> Tensor:
    """Uniform in (-bound, bound) by gene: (models, G, *shape), the same for a gene wherever it stands."""
    return torch.stack([draws.at("gene", gene).uniform(name, shape, bound) for gene in genes], 1)


class Affine(nn.Module):
    """An affine map of the last axis, per model: (models, ..., in) to (models, ..., out).

    Args:
        inputs, width: of the map.
        draws: initial values, one key per model.
        xavier: draw within sqrt(6 / (in + out)) and start without bias (Glorot & Bengio 2010), instead of
            within 1 / sqrt(in) for both.
    """

    def __init__(self, inputs: int, width: int, draws: Draws, xavier: bool) -> None:
        super().__init__()
        plain = 1 / math.sqrt(inputs)
        bound = math.sqrt(6 / (inputs + width)) if xavier else plain
        self.weight = nn.Parameter(draws.uniform("weight", (width, inputs), bound))
        self.bias = nn.Parameter(draws.uniform("bias", (width,), 0.0 if xavier else plain))

    def forward(self, t: Tensor) -> Tensor:
        """Map (models, ..., in) to (models, ..., out)."""
        y = torch.baddbmm(self.bias[:, None], t.reshape(len(t), -1, t.shape[-1]), self.weight.mT)
        return y.view(*t.shape[:-1], -1)


class Noise:
    """Dropout of tokens; what is dropped depends on the genes' names, never on their order.

    Args:
        dropout: of the encoder.
        genes: (G,) 31-bit int64, one number per gene.
        width: of a token.
    """

    def __init__(self, dropout: Dropout, genes: Tensor, width: int) -> None:
        self._dropout = dropout
        place = torch.arange(width, device=genes.device)
        self._units = (genes[:, None] + place * 7_368_787).flatten()

    def __call__(self, t: Tensor, site: int) -> Tensor:
        """Drop entries of (models, B, G, width)."""
        return self._dropout(t.flatten(2), site, self._units).reshape(t.shape)


class Layer(nn.Module):
    """Attention between genes, then a network of its own for each gene's token; both add to the token.

    Args:
        options: of the encoder.
        draws: initial values, one key per model.
    """

    def __init__(self, options: Options, draws: Draws) -> None:
        super().__init__()
        width, self.heads = options.width, options.heads
        self.pre_norm, self.untied = options.pre_norm, options.value == "untied"
        self.query, self.key, self.value, self.out = (
            Affine(width, width, draws.at(name), options.xavier) for name in ("query", "key", "value", "out")
        )
        self.up = Affine(width, options.feed_forward, draws.at("up"), options.xavier)
        self.down = Affine(options.feed_forward, width, draws.at("down"), options.xavier)
        self.first, self.second = LayerNorm(width, draws), LayerNorm(width, draws)

    def _split(self, t: Tensor) -> Tensor:
        """(models, B, G, width) to (models, B, heads, G, width / heads)."""
        return t.view(*t.shape[:-1], self.heads, -1).transpose(2, 3)

    def _scale(self, width: int) -> float:
        return 1 / math.sqrt(2 * width if self.untied else width)

    def attend(self, t: Tensor, extra: tuple[Tensor, Tensor] | None) -> Tensor:
        """What attention adds: (models, B or 1, G, width) to (models, B, G, width).

        Args:
            t: tokens; before the first layer they are the same for all samples of untied models (B = 1).
            extra: further entry of the queries (models, B, heads, G) and of the keys (models, B, 1, G).
        """
        q, k, v = (self._split(part(t)) for part in (self.query, self.key, self.value))
        width = q.shape[-1]
        if extra is not None:
            batch = extra[0].shape[1]
            q, k, v = (part.expand(-1, batch, -1, -1, -1) for part in (q, k, v))
            fill = -(width + 1) % MULTIPLE
            q = F.pad(torch.cat([q, extra[0][..., None]], -1), (0, fill))
            k = F.pad(torch.cat([k, extra[1].expand(-1, -1, self.heads, -1)[..., None]], -1), (0, fill))
            v = F.pad(v, (0, fill + 1))
        o = F.scaled_dot_product_attention(
            q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), scale=self._scale(width)
        )
        o = o.view(len(t), -1, *o.shape[1:])[..., :width]
        out: Tensor = self.out(o.transpose(2, 3).flatten(3))
        return out

    def weights(self, t: Tensor, extra: tuple[Tensor, Tensor] | None) -> Tensor:
        """Attention weights (models, B, heads, G, G), row = the gene that attends."""
        t = self.first(t) if self.pre_norm else t
        q, k = self._split(self.query(t)), self._split(self.key(t))
        logits = q @ k.mT
        if extra is not None:
            logits = logits + extra[0][..., None] * extra[1][..., None, :]
        return torch.softmax(logits * self._scale(q.shape[-1]), -1)

    def forward(
        self, t: Tensor, extra: tuple[Tensor, Tensor] | None, noise: Noise | None, site: int
    ) -> Tensor:
        """Map tokens (models, B or 1, G, width) to (models, B, G, width)."""

        def dropped(part: Tensor, which: int) -> Tensor:
            return part if noise is None else noise(part, 2 * site + which)

        if self.pre_norm:
            t = t + dropped(self.attend(self.first(t), extra), 0)
            return t + dropped(self.down(torch.relu(self.up(self.second(t)))), 1)
        t = self.first(t + dropped(self.attend(t, extra), 0))
        out: Tensor = self.second(t + dropped(self.down(torch.relu(self.up(t))), 1))
        return out


class Transcriptome(StackedModule):
    """A transformer over genes as the encoder of a modality.

    Args:
        genes: names of the genes, in the order of the columns, each once.
        hidden: widths of the layers behind the pooled tokens; the last one is the encoding's.
        options: section ``transcriptome`` of the modality.
        draws: initial values, one key per model.
        slope: of the activations behind the pooled tokens, below 0.
    """

    def __init__(
        self,
        genes: Sequence[str],
        hidden: Sequence[int],
        options: Options,
        draws: Draws,
        slope: float = 0.0,
    ) -> None:
        super().__init__()
        self.models, self.options = draws.models, options
        width = options.width
        # As wide as standard normal entries.
        self.embedding = nn.Parameter(per_gene(draws, "embedding", genes, (width,), math.sqrt(3)))
        numbers = [seed_of("gene", gene) & (2**31 - 1) for gene in genes]
        self.register_buffer("numbers", torch.tensor(numbers), persistent=False)
        self.position: nn.Parameter | None = None
        self.values: nn.Module | None = None
        if options.value == "untied":
            self.position = nn.Parameter(
                draws.uniform("position", (2, options.heads, width // options.heads), 1.0)
            )
            if options.strength is not None:
                self._strengthen(options.strength)
        else:
            self.values = ENCODINGS[options.value](width, draws.at("values"))
        self.layers = nn.ModuleList(Layer(options, draws.at("layer", i)) for i in range(options.layers))
        self.last = LayerNorm(width, draws) if options.pre_norm else None
        # Batch normalisation takes out whatever a bias before it adds.
        biased = options.normalise != "batch"
        self.pool_bias: nn.Parameter | None = None
        if options.pooling == "flatten":
            bound = 1 / math.sqrt(len(genes) * width)
            self.pool = nn.Parameter(per_gene(draws, "pool", genes, (hidden[0], width), bound))
            self.pool_bias = nn.Parameter(draws.uniform("pool_bias", (hidden[0],), bound)) if biased else None
        widths = list(hidden) if options.pooling == "flatten" else [width, *hidden]
        self.tail = nn.ModuleList(
            StackedLinear(a, b, draws.at("tail", i), biased)
            for i, (a, b) in enumerate(itertools.pairwise(widths))
        )
        self.norms = nn.ModuleList()
        if options.normalise != "none":
            norm = {"layer": LayerNorm, "batch": BatchNorm}[options.normalise]
            self.norms.extend(norm(b, draws) for b in hidden)
        self.slope, self.width = slope, hidden[-1]

    @torch.no_grad()
    def _strengthen(self, wanted: float) -> None:
        """Stretch position queries and keys alike until |c_h| / sqrt(2 d_h) is ``wanted`` in every head."""
        assert self.position is not None
        reached = self.strength().abs() / math.sqrt(2 * self.position.shape[-1])
        self.position.mul_((wanted / reached).sqrt()[:, None, :, None])

    @torch.no_grad()
    def start_from(self, index: int, vectors: Tensor) -> None:
        """Start the genes of a model from given vectors (G, width); genes of NaN keep the drawn ones."""
        own = self.embedding[index]
        own.copy_(torch.where(torch.isnan(vectors), own, vectors.to(own.dtype)))

    def strength(self) -> Tensor:
        """c, the strength of the product of two genes' expression in each head's logits: (models, heads)."""
        assert self.position is not None
        return (self.position[:, 0] * self.position[:, 1]).sum(-1)

    def _extra(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        if self.position is None:
            return None
        return x[:, :, None] * self.strength()[:, None, :, None], x[:, :, None]

    def _start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Expression (models, B, G), and the tokens of the first layer."""
        x = x.repeat_interleave(self.models // len(x), 0)
        t = self.embedding[:, None]
        return x, t if self.values is None else t + self.values(x)

    def tokens(self, x: Tensor, dropout: Dropout | None = None) -> Tensor:
        """The genes' tokens after the last layer: (G, B, genes) to (models, B, genes, width)."""
        x, t = self._start(x)
        extra, noise = self._extra(x), None
        if dropout is not None:
            # A buffer is a tensor; torch's hints allow a module, too.
            numbers: Tensor = self.numbers  # type: ignore[assignment]
            noise = Noise(replace(dropout, rate=self.options.dropout), numbers, self.options.width)
        for i, layer in enumerate(self.layers):
            t = layer(t, extra, noise, i)
        return t if self.last is None else self.last(t)

    def forward(self, x: Tensor, dropout: Dropout | None = None, valid: Tensor | None = None) -> Tensor:
        """Map scaled expression (G, B, genes) to encodings (models, B, width).

        Args:
            x: scaled expression.
            dropout: of the hidden layers; tokens have a rate of their own.
            valid: (G, B), False in rows of padding; None: no padding.
        """
        t = self.tokens(x, dropout)
        layers = iter(self.tail)
        if self.options.pooling == "mean":
            h = next(layers)(t.mean(2))
        else:
            weight = self.pool.transpose(1, 2).flatten(2)
            h = torch.bmm(t.flatten(2), weight.mT)
            h = h if self.pool_bias is None else h + self.pool_bias[:, None]
        h = self._hidden(h, 0, dropout, valid)
        for i, layer in enumerate(layers, start=1):
            h = self._hidden(layer(h), i, dropout, valid)
        return h

    def _hidden(self, h: Tensor, i: int, dropout: Dropout | None, valid: Tensor | None) -> Tensor:
        """What follows the affine map of hidden layer ``i``."""
        h = activate(self.norms[i](h, valid) if self.norms else h, self.slope)
        return h if dropout is None else dropout(h, 2 * len(self.layers) + i)

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        """Attention weights, layer by layer, (models, B, heads, genes, genes), of (G, B, genes).

        Row = the gene that attends, column = the gene attended to; rows sum to 1.
        """
        x, t = self._start(x)
        extra = self._extra(x)
        for layer in self.layers:
            # Items of a module list are hinted as bare modules.
            yield layer.weights(t, extra)  # type: ignore[operator]
            t = layer(t, extra, None, 0)
