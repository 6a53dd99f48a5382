"""Try what a study names by dotted path, at small size, before anything is trained with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m3h_pipeline.coding import prediction_width
from m3h_pipeline.config.model import Model
from m3h_pipeline.dotted import call, is_path
from m3h_pipeline.errors import ConfigError, M3HError
from m3h_pipeline.model.encoders import build
from m3h_pipeline.model.heads import ProblemClass, class_of
from m3h_pipeline.model.keys import Draws

_ROWS = 6
#: Two models: what holds for one alone may not hold for a stack.
_KEYS = (("try", 0), ("try", 1))


def try_network(path: str, inputs: int, hidden: Sequence[int]) -> int:
    """Make two encoders or task networks of the user's own, run them forwards and backwards.

    Args:
        path: dotted path.
        inputs: width of the input.
        hidden: configured widths.

    Returns:
        The width of its output.

    Raises:
        ConfigError: it does not keep the contract of :func:`m3h_pipeline.model.encoders.build`.
    """
    with _explained(path):
        part = build(path, inputs, hidden, Draws(_KEYS))
        out = part(_random(1, _ROWS, inputs))
        _shape(path, "the output", out, (len(_KEYS), _ROWS, part.width))
        parameters = dict(part.named_parameters())
        found = torch.autograd.grad(out.sum(), list(parameters.values()), allow_unused=True)
    unused = [name for name, gradient in zip(parameters, found, strict=True) if gradient is None]
    if unused:
        raise ConfigError(
            f"the output does not depend on `{unused[0]}`: it would never be learned", where=path
        )
    return part.width


def try_class(description: Mapping[str, Any], model: Model) -> None:
    """Make two heads of a problem class of the user's own, and compute loss, prediction and metric.

    Args:
        description: of a task that names the class under ``own_class``.
        model: the configured network.

    Raises:
        ConfigError: the class does not keep the contract of :class:`m3h_pipeline.model.heads.ProblemClass`.
    """
    path = str(description["own_class"])
    inputs = 4
    with _explained(path):
        kind = class_of(description)
        outputs = kind.outputs(description, model)
        head = kind.head(model.task[-1], outputs, inputs, model.decoder, Draws(_KEYS))
        raw = head(_random(len(_KEYS), _ROWS, model.task[-1]))
        _shape(path, "the head's output", raw, (len(_KEYS), _ROWS, inputs if kind.clusters else outputs))
        target = _target(kind, description, outputs)
        valid = torch.ones_like(target, dtype=torch.bool)
        # The second model sees no label, the first all but one.
        valid[0, 0] = valid[1] = False
        loss = kind.loss(raw, torch.where(valid, target, torch.nan), valid, _random(1, _ROWS, inputs))
        _shape(path, "the loss", loss, (len(_KEYS),))
        (gradient,) = torch.autograd.grad(loss.sum(), raw)
    if not torch.isfinite(loss).all() or not torch.isfinite(gradient).all():
        raise ConfigError("a label that is not observed (NaN) reaches the loss", where=path, hint=_MASKED)
    if loss[1] != 0 or (gradient[1] != 0).any() or (gradient[0, 0] != 0).any():
        raise ConfigError("a row without a label changes the loss", where=path, hint=_MASKED)
    if not kind.clusters and not kind.timed:
        with _explained(path):
            prediction = kind.predict(raw.detach())
        width = prediction_width(str(description["problem_class"]), len(description.get("classes") or ()))
        _shape(path, "the prediction", prediction, (len(_KEYS), _ROWS, width))
        if is_path(kind.metric):
            value = call(kind.metric, target[0].numpy(), prediction[0].numpy(), np.ones(_ROWS))
            if not np.isscalar(value) or not np.isreal(value):
                raise ConfigError(f"it returns {value!r}, not a number", where=kind.metric)


_MASKED = "take the mean with m3h_pipeline.model.heads.masked_mean(values, valid)"


def _target(kind: ProblemClass, description: Mapping[str, Any], outputs: int) -> Tensor:
    """Labels as the loss of a class gets them, the same for both models."""
    labels = torch.arange(_ROWS, dtype=torch.float32)
    if kind.timed:
        # Bins survived, or times; every other one is censored.
        labels = (labels + 1 if outputs == 1 else labels % outputs) * (1 - 2 * (labels % 2))
    elif kind.clusters:
        labels = torch.zeros(_ROWS)
    elif description["problem_class"] == "regression":
        labels = labels / 2
    else:
        labels = labels % max(2, len(description.get("classes") or ()))
    return labels.repeat(len(_KEYS), 1)


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def _shape(path: str, what: str, value: Any, shape: tuple[int, ...]) -> None:
    found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    if found != shape:
        raise ConfigError(f"{what} of two models is {found}, not {shape}", where=path)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """The user's code may fail in any way: a message says where."""
    try:
        yield
    except M3HError:
        raise
    except Exception as error:  # whatever it is, it is said
        line = error.__traceback__
        while line is not None and line.tb_next is not None:
            line = line.tb_next
        place = f", {line.tb_frame.f_code.co_filename}, line {line.tb_lineno}" if line is not None else ""
        raise ConfigError(
            f"it fails: {type(error).__name__}: {error}",
            where=f"{path}{place}",
            hint="docs/extending.md gives the contract",
        ) from error
