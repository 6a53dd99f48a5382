"""What the network is made of: modalities with their encoders, and the sections below ``model``."""

from __future__ import annotations

from typing import Annotated, Literal

from m3h_pipeline.config.base import Name, Section, Width
from m3h_pipeline.config.fields import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator


class GeneVectors(Section):
    """The vectors that genes start from; they are learned further."""

    kind: Literal["network", "coexpression", "file"] = Field(
        description="node2vec on a gene network, or on that of the genes' correlations in the training rows "
        "(of each fold by itself), or vectors of a file"
    )
    path: str | None = Field(
        default=None,
        description="`network`: edge list with columns `protein1`, `protein2`; `file`: gene, numbers",
    )
    neighbours: PositiveInt = Field(default=10, description="`coexpression`: partners that a gene chooses")
    min_correlation: float = Field(
        default=0.5, gt=0, le=1, description="`coexpression`: least magnitude of a correlation"
    )
    walks: PositiveInt = Field(default=10, description="node2vec: walks from each gene")
    walk_length: int = Field(default=80, ge=2, description="node2vec: genes in a walk")
    window: PositiveInt = Field(default=10, description="node2vec: context on either side")
    p: PositiveFloat = Field(default=1.0, description="node2vec: return parameter")
    q: PositiveFloat = Field(default=1.0, description="node2vec: in-out parameter")
    epochs: PositiveInt = Field(default=5, description="node2vec: passes of skip-gram over the walks")

    @model_validator(mode="after")
    def _path_fits_the_kind(self) -> GeneVectors:
        if (self.path is None) != (self.kind == "coexpression"):
            need = "takes no `path`" if self.kind == "coexpression" else "needs a `path`"
            raise ValueError(f"`{self.kind}` {need}")
        return self


class Transcriptome(Section):
    """The transformer over genes (TxT); its defaults are the published ones."""

    layers: PositiveInt = Field(default=8, description="layers of the transformer")
    heads: PositiveInt = Field(default=4, description="attention heads; they divide `width`")
    width: Width = Field(default=64, description="width of a gene's token")
    feed_forward: Width = Field(default=256, description="hidden width of the network of each token")
    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="dropout of what each layer adds to the tokens"
    )
    pre_norm: bool = Field(default=False, description="normalise before attention and network, not after")
    xavier: bool = Field(default=True, description="Xavier initialisation of the transformer")
    pooling: Literal["flatten", "mean"] = Field(
        default="flatten", description="tokens side by side, or their mean"
    )
    normalise: Literal["layer", "batch", "none"] = Field(
        default="layer",
        description="of the hidden layers behind the pooled tokens: each sample by itself, by the minibatch "
        "(published; couples patients in training), or not at all",
    )
    value: Literal["untied", "projection", "bins", "rank", "periodic", "piecewise_linear"] = Field(
        default="untied",
        description="how expression enters: untied positional encoding (published), or added to the token",
    )
    strength: PositiveFloat | None = Field(
        default=None,
        description="`untied`: magnitude at which the weight of two genes' product in the logits starts; "
        "null: as drawn (published), about 0.2",
    )
    genes: GeneVectors | None = Field(
        default=None, description="where genes' vectors start from; null: random ones"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> Transcriptome:
        if self.width % self.heads:
            raise ValueError(f"`heads` ({self.heads}) does not divide `width` ({self.width})")
        return self


class Modality(Section):
    """A set of sources that share one encoder."""

    sources: list[Name] = Field(min_length=1, description="the sources, in the order they are concatenated")
    encoder: str = Field(
        default="mlp", description="`mlp`, `transcriptome`, or a dotted path to a class of your own"
    )
    hidden: Annotated[list[Width], Field(min_length=1)] | None = Field(
        default=None, description="widths of this encoder's layers; null: `model.encoder`"
    )
    scaling: Literal["robust", "standard", "minmax"] = Field(
        default="robust",
        description="by mean and deviation of the training rows of the fold, to which a value counts as at "
        "most ten typical distances from the median (`robust`), or as what it is (`standard`, published for "
        "M3H); or to their range, 0 to 1 (`minmax`, published for TxT)",
    )
    indicators: bool = Field(
        default=False,
        description="also tell the encoder which values are missing: a column of 0 and 1 for each feature "
        "that 11 patients of the training part lack (not for `transcriptome`)",
    )
    transcriptome: Transcriptome | None = Field(
        default=None, description="options of that encoder; null: the published ones"
    )

    @model_validator(mode="after")
    def _options_fit_the_encoder(self) -> Modality:
        if self.transcriptome is not None and self.encoder != "transcriptome":
            raise ValueError(f"options of `transcriptome`, but the encoder is `{self.encoder}`")
        if self.indicators and self.encoder == "transcriptome":
            raise ValueError("`indicators`, but the encoder is `transcriptome`, which takes genes alone")
        return self

    @property
    def options(self) -> Transcriptome | None:
        """Options of a transcriptome encoder; None: it is another one."""
        return (self.transcriptome or Transcriptome()) if self.encoder == "transcriptome" else None

    def widths(self, model: Model) -> tuple[int, ...]:
        """Widths of the encoder's layers in a network."""
        return tuple(model.encoder if self.hidden is None else self.hidden)

    def resolved(self, model: Model) -> Modality:
        """The modality in a network, with nothing left to a default that stands elsewhere."""
        return self.model_copy(update={"hidden": list(self.widths(model)), "transcriptome": self.options})


class Attention(Section):
    """Cross-task attention (the paper's Algorithm 1)."""

    alpha: NonNegativeFloat = Field(default=0.1, description="strength of exploration of the other tasks")
    normalise: Literal["max_abs", "published"] = Field(
        default="max_abs",
        description="divide by the largest magnitude per sample, or (`published`) by the batch's maximum",
    )
    own_weight: Literal["published", "constant", "whole"] = Field(
        default="published",
        description="weight of a task's own embedding beside T - 1 others, before exploration: "
        "e / (e + T - 1), that of two tasks, 0.73, in all combinations (`constant`), or all of it (`whole`): "
        "no task attends to another",
    )


class SurvivalHead(Section):
    """What survival tasks learn; fits without one do not depend on it."""

    loss: Literal["discrete", "cox"] = Field(
        default="discrete",
        description="hazard in bins of time, or (`cox`) the partial likelihood within the minibatch (Efron)",
    )
    bins: int = Field(
        default=64, ge=2, description="bins of `discrete`, at quantiles of the training events' times"
    )

    @property
    def outputs(self) -> int:
        """Raw outputs of a survival task."""
        return self.bins if self.loss == "discrete" else 1


class RegressionHead(Section):
    """What regression tasks learn; fits without one do not depend on it."""

    loss: Literal["absolute", "squared", "huber", "poisson"] = Field(
        default="absolute",
        description="error of the standardised target: `absolute` (published) learns the median, `squared` "
        "the mean, which R^2 asks for; `huber` is squared up to a deviation and absolute beyond; `poisson` "
        "learns the logarithm of the mean of a target that is never negative (charges, length of stay), and "
        "is `squared` for others",
    )


class Model(Section):
    """The network."""

    encoder: list[Width] = Field(default=[256, 128], min_length=1, description="widths of a modality encoder")
    projection: Width = Field(default=64, description="width of the contrastive projection")
    temperature: PositiveFloat = Field(default=0.1, description="temperature of the contrastive loss")
    shared: list[Width] = Field(
        default=[256, 128], description="widths of the shared module; none: task networks read the encodings"
    )
    task: list[Width] = Field(default=[64], min_length=1, description="widths of a task network")
    linear_path: bool = Field(
        default=False,
        description="a linear map from the scaled features straight to each head, beside the deep path",
    )
    task_network: str = Field(default="mlp", description="`mlp`, or a dotted path to a class of your own")
    decoder: list[Width] = Field(default=[256], description="hidden widths of the clustering decoder")
    attention: Attention = Field(default=Attention(), description="cross-task attention")
    survival: SurvivalHead = Field(default=SurvivalHead(), description="what survival tasks learn")
    regression: RegressionHead = Field(default=RegressionHead(), description="what regression tasks learn")
    absence: Literal["mean", "learned"] = Field(
        default="mean",
        description="a row that lacks a whole modality enters its encoder with the features' means "
        "(published), or (`learned`) a learned vector stands for its encoding, of modalities that 11 "
        "training patients lack or that training hides (`training.modality_dropout`)",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout after every hidden layer")
    input_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="dropout of the scaled features, which become their mean on the training rows",
    )
    negative_slope: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="slope below 0 of the activations of encoders, shared module and task networks: 0 is "
        "ReLU; TxT's task networks have 0.2",
    )
