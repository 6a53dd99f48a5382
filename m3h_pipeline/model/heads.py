"""Problem classes: the head of a task, its loss, and what its raw output means.

Every loss is a mean over the rows whose label was observed; without one it is 0 and has no gradient.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from m3h_pipeline.coding import METRICS
from m3h_pipeline.config.model import Model
from m3h_pipeline.dotted import is_path, locate
from m3h_pipeline.errors import ConfigError, TaskError, nearest
from m3h_pipeline.model.keys import Draws, Dropout
from m3h_pipeline.model.layers import Mlp, StackedLinear, StackedModule
from m3h_pipeline.model.survival import cox_loss, discrete_loss

#: Nothing is predicted to be more than a hundred times the mean.
_LARGEST_LOG = math.log(100)


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over the last axis of the entries where ``valid``; 0 where there is none.

    Entries that are not valid may be NaN: they are selected away, not multiplied by 0.
    """
    count = valid.sum(-1).clamp(min=1)
    return torch.where(valid, values, 0.0).sum(-1) / count


class ProblemClass:
    """A problem class. One object serves all tasks of the class in a network; it holds nothing of a fit.

    A class of the user's own derives from the shipped one whose labels it learns, and is named by its dotted
    path in a task's definition. It replaces what it likes of :meth:`outputs`, :meth:`head`, :meth:`loss`,
    :meth:`predict` and ``metric``; its predictions have the shipped class's form
    (``contracts.PREDICTIONS``), so that references, bootstrap, calibration and figures treat both alike.

    Attributes:
        name: as in a task's description; of a class of the user's own that of the class it derives from,
            of its object the dotted path.
        metric: name of the metric (``coding.METRICS``), or the dotted path of a function of labels (n,),
            predictions (n, width) and weights (n,) that returns a number; more is better.
        standardise: whether the target is standardised on the training rows.
        clusters: whether predictions are clusters of the latents (the attended embeddings).
        timed: whether the target is a time to an event (``coding.signed_time``); predictions then hold
            survival curves, which take the training rows' times.
    """

    name: str
    metric: str
    standardise = False
    clusters = False
    timed = False

    def configured(self, model: Model) -> Self:
        """The class as a network is configured."""
        return self

    def outputs(self, description: Mapping[str, Any], model: Model) -> int:
        """Number of raw outputs of a task; tasks of equal class and number are trained side by side.

        Args:
            description: of the task.
            model: the configured network.
        """
        return 1

    def head(
        self, width: int, outputs: int, inputs: int, decoder: Sequence[int], draws: Draws
    ) -> StackedModule:
        """The head: attended embedding (models, B, width) to raw output (models, B, outputs).

        Args:
            width: of the attended embedding.
            outputs: as of :meth:`outputs`.
            inputs: number of input features, what a clustering task reconstructs.
            decoder: configured hidden widths of the clustering decoder.
            draws: initial values, one key per model.
        """
        return StackedLinear(width, outputs, draws)

    def linear(self, inputs: int, outputs: int, draws: Draws) -> StackedModule | None:
        """The linear path: scaled features (G, B, inputs) to what is added to the raw output.

        It gives as many numbers as there are raw outputs, or one for all of them; None: there is no such
        path. It starts from 0, so that a network starts as the one without it.

        Args:
            inputs: number of input features.
            outputs: as of :meth:`outputs`.
            draws: one key per model.
        """
        return StackedLinear.zero(inputs, outputs, draws)

    def loss(self, raw: Tensor, target: Tensor, valid: Tensor, inputs: Tensor) -> Tensor:
        """Loss of each model, (models,).

        Args:
            raw: (models, B, outputs).
            target: (models, B), NaN where not valid.
            valid: (models, B), whether the label was observed.
            inputs: (G, B, F) standardised features; G divides the models.
        """
        raise NotImplementedError

    def predict(self, raw: Tensor) -> Tensor:
        """What is recorded of the raw output, (models, B, width of the prediction)."""
        raise NotImplementedError


class Binary(ProblemClass):
    """One logit, cross-entropy; the prediction is a probability."""

    name = "binary"
    metric = METRICS["binary"]

    def loss(self, raw: Tensor, target: Tensor, valid: Tensor, inputs: Tensor) -> Tensor:
        logit = raw[:, :, 0].to(target.dtype)
        y = torch.where(valid, target, 0.0)
        return masked_mean(F.softplus(logit) - y * logit, valid)

    def predict(self, raw: Tensor) -> Tensor:
        return torch.sigmoid(raw)


class Multiclass(ProblemClass):
    """C logits, negative log-likelihood; the predictions are probabilities."""

    name = "multiclass"
    metric = METRICS["multiclass"]

    def outputs(self, description: Mapping[str, Any], model: Model) -> int:
        classes = description.get("classes") or []
        if len(classes) < 2:
            raise TaskError(
                "a multiclass task needs at least two classes in its description",
                where=str(description.get("id", "?")),
            )
        return len(classes)

    def loss(self, raw: Tensor, target: Tensor, valid: Tensor, inputs: Tensor) -> Tensor:
        y = torch.where(valid, target, 0.0).long()
        likelihood = torch.log_softmax(raw.mT.to(target.dtype), 1).gather(1, y[:, None, :])[:, 0]
        return masked_mean(-likelihood, valid)

    def predict(self, raw: Tensor) -> Tensor:
        return torch.softmax(raw, 2)


class Regression(ProblemClass):
    """One output, and the mean error on the standardised target that ``model.regression.loss`` names.

    Squared errors count half, as they do in the likelihood of a normal distribution: then Huber's loss
    (Huber 1964) is that of small errors, and a task that knows nothing has a loss near that of a coin.

    Attributes:
        error: ``absolute``, ``squared`` (of ``poisson`` too, see :class:`Rate`) or ``huber``, which is
            absolute beyond one deviation.
    """

    name = "regression"
    metric = METRICS["regression"]
    standardise = True
    error = "absolute"

    def configured(self, model: Model) -> Self:
        kind = copy.copy(self)
        kind.error = model.regression.loss
        return kind

    def loss(self, raw: Tensor, target: Tensor, valid: Tensor, inputs: Tensor) -> Tensor:
        y = torch.where(valid, target, 0.0)
        difference = raw[:, :, 0].to(target.dtype) - y
        if self.error == "absolute":
            return masked_mean(difference.abs(), valid)
        if self.error in ("squared", "poisson"):
            return masked_mean(difference.square() / 2, valid)
        return masked_mean(F.huber_loss(difference, torch.zeros_like(difference), reduction="none"), valid)

    def predict(self, raw: Tensor) -> Tensor:
        return raw


class Rate(Regression):
    """The mean of a target that is never negative: its logarithm is the output, by half the Poisson deviance.

    The deviance (McCullagh & Nelder 1989, section 2.3) is least at the mean whatever the distribution, as
    squared errors are (Gourieroux, Monfort & Trognon 1984), and a value far up its tail weighs less.
    Nothing is transformed, and nothing has to be mapped back with a guess of the residuals' distribution.

    The target is standardised by its mean alone: the loss sees a multiple of it.
    """

    name = "rate"

    def loss(self, raw: Tensor, target: Tensor, valid: Tensor, inputs: Tensor) -> Tensor:
        y = torch.where(valid, target, 0.0)
        log = raw[:, :, 0].to(target.dtype)
        # Beyond the largest prediction the mean goes on along its tangent, so that nothing overflows.
        below = log.clamp(max=_LARGEST_LOG)
        mean = below.exp() * (1 + log - below)
        return masked_mean(mean - y * log + torch.xlogy(y, y) - y, valid)

    def predict(self, raw: Tensor) -> Tensor:
        return raw.clamp(max=_LARGEST_LOG).exp()


class Decoder(StackedModule):
    """The clustering decoder: hidden layers, then an affine map to the input features."""

    def __init__(self, width: int, hidden: Sequence[int], outputs: int, draws: Draws) -> None:
        super().__init__()
        self.models, self.width = draws.models, outputs
        self.hidden = Mlp(width, hidden, draws.at("hidden")) if hidden else None
        self.last = StackedLinear(hidden[-1] if hidden else width, outputs, draws.at("last"))

    def forward(self, x: Tensor, dropout: Dropout | None = None) -> Tensor:
        """Map (models, B, width) to (models, B, features)."""
        out: Tensor = self.last(x if self.hidden is None else self.hidden(x, dropout))
        return out


class Clustering(ProblemClass):
    """The attended embedding is the latent; a decoder reconstructs the standardised input from it."""

    name = "clustering"
    metric = METRICS["clustering"]
    clusters = True

    def outputs(self, description: Mapping[str, Any], model: Model) -> int:
        return 0

    def head(
        self, width: int, outputs: int, inputs: int, decoder: Sequence[int], draws: Draws
    ) -> StackedModule:
        return Decoder(width, decoder, inputs, draws)

    def linear(self, inputs: int, outputs: int, draws: Draws) -> StackedModule | None:
        """None: what is clustered is the latent, which a path around it would spoil."""
        return None

    def loss(self, raw: Tensor, target: Tensor, valid: Tensor, inputs: Tensor) -> Tensor:
        models, batch, features = raw.shape
        groups = len(inputs)
        difference = raw.mT.reshape(groups, models // groups, features, batch) - inputs.mT[:, None]
        error = difference.square().mean(2).to(target.dtype)
        return masked_mean(error.view(models, batch), valid)

    def predict(self, raw: Tensor) -> Tensor:
        return raw


class Survival(ProblemClass):
    """A time to an event, which may be censored. One output: Cox's partial likelihood; more: discrete time.

    The target of the loss is coded as the loss wants it: bins survived in full for discrete time, signed
    times for Cox.
    """

    name = "survival"
    metric = METRICS["survival"]
    timed = True

    def outputs(self, description: Mapping[str, Any], model: Model) -> int:
        return model.survival.outputs

    def linear(self, inputs: int, outputs: int, draws: Draws) -> StackedModule | None:
        """One number for all bins, as in a model of proportional odds (or, for Cox, hazards)."""
        return StackedLinear.zero(inputs, 1, draws)

    def loss(self, raw: Tensor, target: Tensor, valid: Tensor, inputs: Tensor) -> Tensor:
        return (cox_loss if raw.shape[2] == 1 else discrete_loss)(raw, target, valid)

    def predict(self, raw: Tensor) -> Tensor:
        return raw


SHIPPED: dict[str, ProblemClass] = {
    kind.name: kind for kind in (Binary(), Multiclass(), Regression(), Rate(), Survival(), Clustering())
}


def problem_class(name: str) -> ProblemClass:
    """A problem class by its shipped name or the dotted path of the user's own.

    Raises:
        ConfigError: there is no such class.
    """
    if not is_path(name):
        if name not in SHIPPED:
            raise ConfigError(
                f"unknown problem class `{name}`", where="task definition", hint=nearest(name, SHIPPED)
            )
        return SHIPPED[name]
    made: Any = locate(name)
    if not (isinstance(made, type) and issubclass(made, tuple(type(kind) for kind in SHIPPED.values()))):
        raise ConfigError(
            "this is not derived from a shipped problem class",
            where=name,
            hint="derive it from Binary, Multiclass, Regression, Survival or Clustering of " + __name__,
        )
    kind = made()
    assert isinstance(kind, ProblemClass)
    kind.name = name
    return kind


def class_of(description: Mapping[str, Any]) -> ProblemClass:
    """The problem class of a task by its description: the user's own where it names one.

    Raises:
        ConfigError: there is no such class.
    """
    return problem_class(str(description.get("own_class") or description["problem_class"]))


def rank(name: str) -> tuple[int, str]:
    """Order of the classes within a model: shipped ones first."""
    order = list(SHIPPED)
    return (order.index(name) if name in order else len(order), name)
