"""The problem class of times to an event: discrete-time hazards, or Cox's partial likelihood."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def discrete_loss(raw: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Negative log-likelihood of discrete-time hazards, mean over the observed rows, (M,).

    The hazard of bin b is the logistic function of output b. A row contributes the bins it survived in full,
    and an event its own bin (Brown 1975; Gensheimer & Narasimhan 2019). What is censored within its first
    bin says nothing; it counts in the mean.

    Args:
        raw: (M, B, bins).
        target: (M, B) bins survived, negative (-0.0 included) where censored, see
            :func:`m3h_pipeline.survival.survived_bins`.
        valid: (M, B).
    """
    survived = torch.where(valid, target.abs(), 0.0)
    event = valid & ~torch.signbit(target)
    logit = raw.to(target.dtype)
    bins = torch.arange(raw.shape[2], device=raw.device)
    loss = torch.where(bins < survived[:, :, None], F.softplus(logit), 0.0).sum(2)
    # An event behind the last bin does not occur on training rows.
    own = logit.gather(2, survived.long().clamp(max=raw.shape[2] - 1)[:, :, None])[:, :, 0]
    loss = loss + torch.where(event, F.softplus(-own), 0.0)
    return torch.where(valid, loss, 0.0).sum(1) / valid.sum(1).clamp(min=1)


def cox_loss(raw: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Negative log partial likelihood, mean over the events, (M,); ties after Efron (1977).

    The risk sets are those of the rows given: of the minibatch. Without an event the loss is 0 and has no
    gradient. Memory grows with the square of the rows.

    Args:
        raw: (M, B, 1) log hazards.
        target: (M, B) signed times.
        valid: (M, B).
    """
    eta = torch.where(valid, raw[:, :, 0].to(target.dtype), 0.0)
    time = torch.where(valid, target.abs(), -1.0)
    event = valid & ~torch.signbit(target)
    at_risk = valid[:, None, :] & (time[:, None, :] >= time[:, :, None])
    tied = event[:, None, :] & event[:, :, None] & (time[:, None, :] == time[:, :, None])
    # Of d tied events the k-th (from 0) has the share 1 - k / d of each of them in its risk set.
    count = tied.sum(2)
    before = tied.tril(-1).sum(2)
    share = 1 - before / count.clamp(min=1)
    log_share = torch.where(tied, share.to(eta.dtype).log()[:, :, None], 0.0)
    # Rows that are no event get a harmless set, so that no logarithm is infinite.
    inside = torch.where(event[:, :, None], at_risk, True)
    logits = torch.where(inside, eta[:, None, :] + log_share, -torch.inf)
    loss = torch.where(event, torch.logsumexp(logits, 2) - eta, 0.0)
    return loss.sum(1) / event.sum(1).clamp(min=1)


def survived_bins(target: Tensor, edges: Tensor) -> Tensor:
    """:func:`m3h_pipeline.survival.survived_bins` of a stack: signed times (K, T, B), edges (K, T, bins)."""
    time = target.abs().nan_to_num(0.0).contiguous()
    event = ~torch.signbit(target)
    before = torch.searchsorted(edges, time).to(target.dtype)
    upto = torch.searchsorted(edges, time, right=True).to(target.dtype)
    return torch.where(torch.isnan(target), target, torch.where(event, before, -upto))


def discrete_prediction(raw: Tensor, weights: Tensor) -> Tensor:
    """Risk and survival curves from the logits of the hazards.

    The risk is one minus the mean of the curve over the grid's times: the expected share of the events' times
    that is not survived. It lies between 0 and 1, and the mean over models of the risks is the risk of the
    mean curve.

    Args:
        raw: (M, n, bins).
        weights: (M, bins + 1, times) as of :func:`m3h_pipeline.survival.interpolation`.

    Shape:
        (M, n, 1 + times) float64
    """
    log_survival = -F.softplus(raw.double()).cumsum(2)
    survival = F.pad(log_survival, (1, 0)).exp() @ weights.double()
    return torch.cat([1 - survival.mean(2, keepdim=True), survival], 2)
