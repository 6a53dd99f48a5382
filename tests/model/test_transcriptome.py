"""The transcriptome transformer: against its literal form, in stacks, gene names, encodings."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import Tensor

from m3h_pipeline.config.model import Modality, Transcriptome
from m3h_pipeline.model.footprint import BINS
from m3h_pipeline.model.keys import Draws, Dropout
from m3h_pipeline.model.transcriptome import Transcriptome as Encoder
from m3h_pipeline.model.values import ENCODINGS, PiecewiseLinear, Rank
from tests.model.plain_transcriptome import PlainTranscriptome, plain_state

GENES = ["TP53", "ESR1", "GATA3", "MYC", "ERBB2", "KRT5", "PTEN"]
SHAPES: list[dict[str, Any]] = [
    {"pre_norm": pre, "pooling": pool, "xavier": xavier}
    for pre, pool, xavier in itertools.product([False, True], ["flatten", "mean"], [False, True])
] + [{"normalise": kind, "pooling": pool} for kind in ["batch", "none"] for pool in ["flatten", "mean"]]
SLOPE = 0.2


def options(**changes: Any) -> Transcriptome:
    return Transcriptome(**{"layers": 2, "heads": 2, "width": 10, "feed_forward": 12, **changes})


def encoder(
    chosen: Transcriptome, models: int = 3, genes: list[str] = GENES, hidden: tuple[int, ...] = (6, 5)
) -> Encoder:
    return Encoder(genes, hidden, chosen, Draws([(0, k) for k in range(models)], torch.float64), SLOPE)


def expression(groups: int = 3, batch: int = 4, genes: int = len(GENES)) -> Tensor:
    return torch.rand(groups, batch, genes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def plain(stacked: Encoder, model: int, hidden: tuple[int, ...] = (6, 5)) -> PlainTranscriptome:
    made = PlainTranscriptome(len(GENES), hidden, stacked.options, SLOPE).double()
    state = plain_state(dict(stacked.named_parameters()), model, stacked.options)
    # PyTorch's batch normalisation counts batches, too.
    strict = stacked.options.value == "untied" and stacked.options.normalise != "batch"
    made.load_state_dict(state, strict=strict)
    return made


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("hidden", [(6, 5), (5,)])
def test_collapsed_and_literal_form_are_one_function(shape: dict[str, Any], hidden: tuple[int, ...]) -> None:
    stacked, x = encoder(options(**shape), hidden=hidden), expression()
    literals = [plain(stacked, k, hidden) for k in range(3)]
    out = stacked(x)
    assert out.shape == (3, 4, hidden[-1])
    learned = {name: p for name, p in stacked.named_parameters() if p.requires_grad}
    by_name = dict(zip(learned, torch.autograd.grad(out.square().sum(), list(learned.values())), strict=True))
    for k, literal in enumerate(literals):
        want = literal.encode(x[k])
        torch.testing.assert_close(out[k], want, rtol=0, atol=1e-10)
        # They are trained alike, too.
        literal.zero_grad()
        torch.autograd.backward(want.square().sum())
        for name, gradient in plain_state(by_name, k, stacked.options).items():
            have = literal.get_parameter(name).grad
            assert have is not None
            torch.testing.assert_close(gradient, have, rtol=1e-9, atol=1e-10)


def test_batch_normalisation_is_pytorchs_with_and_without_padding() -> None:
    stacked, x = encoder(options(normalise="batch")), expression(batch=6)
    literals = [plain(stacked, k) for k in range(3)]
    sizes = [6, 4, 5]
    valid = torch.arange(6) < torch.tensor(sizes)[:, None]
    for _ in range(3):
        padded, whole = stacked(x, valid=valid), stacked(x)
        for k, literal in enumerate(literals):
            want = literal.encode(x[k, : sizes[k]])
            torch.testing.assert_close(padded[k, : sizes[k]], want, rtol=0, atol=1e-10)
            torch.testing.assert_close(whole[k], literal.encode(x[k]), rtol=0, atol=1e-10)
        x = x.roll(1, 1) * 0.9
    stacked.eval()
    alone = torch.cat([stacked(x[:, b : b + 1]) for b in range(6)], 1)
    # Afterwards no sample depends on another one.
    torch.testing.assert_close(alone, stacked(x), rtol=0, atol=1e-12)
    for k, literal in enumerate(literals):
        torch.testing.assert_close(alone[k], literal.eval().encode(x[k]), rtol=0, atol=1e-10)


@pytest.mark.parametrize("value", list(ENCODINGS))
def test_other_encodings_add_to_the_tokens(value: str) -> None:
    stacked, x = encoder(options(value=value)), expression()
    assert stacked.values is not None
    added = stacked.values(x)
    assert added.shape == (3, 4, len(GENES), 10)
    for k in range(3):
        want = plain(stacked, k).encode(x[k], added[k])
        torch.testing.assert_close(stacked(x)[k], want, rtol=0, atol=1e-10)
    torch.autograd.backward(stacked(x).sum())
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in stacked.parameters())


@pytest.mark.parametrize("pre_norm", [False, True])
def test_attention_maps_are_those_of_the_plain_module(pre_norm: bool) -> None:
    stacked, x = encoder(options(pre_norm=pre_norm)), expression()
    maps = torch.stack([weights.mean(1) for weights in stacked.maps(x)], 1)
    assert maps.shape == (3, 2, 2, len(GENES), len(GENES))
    torch.testing.assert_close(maps.sum(-1), torch.ones_like(maps[..., 0]))
    for k in range(3):
        want = plain(stacked, k).maps(x[k])
        torch.testing.assert_close(maps[k], torch.stack([m.mean(0) for m in want]), rtol=0, atol=1e-10)


def test_values_reach_the_attention_and_nothing_else() -> None:
    stacked, x = encoder(options(layers=1)), expression()
    with torch.no_grad():
        assert stacked.position is not None
        stacked.position.zero_()
    same = stacked(x)
    torch.testing.assert_close(same, same[:, :1].expand_as(same))


@pytest.mark.parametrize("shape", [{}, {"pooling": "mean"}, {"value": "periodic"}])
def test_genes_are_known_by_name(shape: dict[str, Any]) -> None:
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    one, other = encoder(options(**shape)), encoder(options(**shape), genes=[GENES[i] for i in order])
    x = expression()
    noise = Dropout(0.5, torch.tensor([11, 12, 13]))
    for dropout in (None, noise):
        have = other(x[..., order], dropout)
        torch.testing.assert_close(have, one(x, dropout), rtol=0, atol=1e-12)
    assert not torch.allclose(one(x, noise), one(x))


def test_a_model_is_the_same_alone_and_in_a_stack() -> None:
    stacked, x = encoder(options()), expression()
    keys = torch.tensor([11, 12, 13])
    together = stacked(x, Dropout(0.3, keys))
    for k in range(3):
        alone = Encoder(GENES, (6, 5), options(), Draws([(0, k)], torch.float64), SLOPE)
        for name, value in alone.named_parameters():
            assert torch.equal(value[0], stacked.get_parameter(name)[k]), name
        out = alone(x[k : k + 1], Dropout(0.3, keys[k : k + 1]))
        torch.testing.assert_close(out[0], together[k], rtol=0, atol=1e-12)


def test_models_of_a_group_read_the_same_samples() -> None:
    stacked = Encoder(GENES, (5,), options(), Draws([(0, k) for k in range(4)], torch.float64))
    x = expression(groups=2)
    torch.testing.assert_close(stacked(x), stacked(x.repeat_interleave(2, 0)), rtol=0, atol=0)


def test_ranks_are_those_of_scipy() -> None:
    x = torch.tensor([[[0.3, 0.1, 0.3, 0.9, 0.0]]], dtype=torch.float64)
    rank = Rank(4, Draws([(0,)], torch.float64)).describe(x)[..., 0]
    np.testing.assert_allclose(rank[0, 0], (rankdata(x[0, 0].numpy()) - 1) / 4)


def test_pieces_add_up_to_the_value() -> None:
    x = torch.tensor([[[-0.5, 0.0, 0.31, 1.0, 1.7]]], dtype=torch.float64)
    pieces = PiecewiseLinear(4, Draws([(0,)], torch.float64)).describe(x)
    torch.testing.assert_close(pieces.sum(-1) / BINS, x)
    assert ((pieces[..., 1:-1] >= 0) & (pieces[..., 1:-1] <= 1)).all()


def test_wrong_options_are_explained() -> None:
    with pytest.raises(ValueError, match=r"`heads` \(3\) does not divide `width` \(64\)"):
        Transcriptome(heads=3)
    with pytest.raises(ValueError, match="but the encoder is `mlp`"):
        Modality(sources=["expression"], transcriptome=Transcriptome())
    assert Modality(sources=["expression"], encoder="transcriptome").options == Transcriptome()


@pytest.mark.parametrize("strength", [0.01, 3.0])
def test_the_strength_of_products_starts_where_it_is_told(strength: float) -> None:
    drawn, told = encoder(options()).strength(), encoder(options(strength=strength)).strength()
    width = options().width // options().heads
    np.testing.assert_allclose(told.abs().detach() / np.sqrt(2 * width), strength, rtol=1e-12)
    assert torch.equal(told.sign(), drawn.sign())
