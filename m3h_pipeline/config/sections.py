"""One pydantic model per section of a study's configuration.

A verb's function takes its own section, never the whole. Every field carries its description: the shipped
default file, the JSON schema and the table in ``config/README.md`` are generated from here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from m3h_pipeline.config.base import Fraction, Name, Section, Width
from m3h_pipeline.config.sources import Source, SyntheticSource
from m3h_pipeline.errors import nearest


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
    hidden: list[Width] | None = Field(
        default=None, description="widths of this encoder's layers; null: `model.encoder`"
    )
    scaling: Literal["standard", "minmax"] = Field(
        default="standard",
        description="by mean and deviation, or to the range 0 to 1, of the training rows of the fold",
    )
    transcriptome: Transcriptome | None = Field(
        default=None, description="options of that encoder; null: the published ones"
    )

    @model_validator(mode="after")
    def _options_fit_the_encoder(self) -> Modality:
        if self.transcriptome is not None and self.encoder != "transcriptome":
            raise ValueError(f"options of `transcriptome`, but the encoder is `{self.encoder}`")
        return self

    @property
    def options(self) -> Transcriptome | None:
        """Options of a transcriptome encoder; None: it is another one."""
        return (self.transcriptome or Transcriptome()) if self.encoder == "transcriptome" else None


class TaskSelection(Section):
    """Which tasks are learned and where they are defined."""

    definitions: list[str] = Field(
        default_factory=lambda: ["resources/tasks/m3h.yaml"], description="YAML files of task definitions"
    )
    variant: Literal["published", "corrected"] = Field(
        default="corrected", description="`published`: to the paper's letter; `corrected`: its slips mended"
    )
    include: list[Name] | Literal["all"] = Field(default="all", description="task ids, or `all`")
    exclude: list[Name] = Field(default_factory=list, description="task ids left out")
    permute: list[Name] = Field(
        default_factory=list,
        description="tasks whose labels are shuffled between patients: negative controls",
    )
    min_per_fold: PositiveInt = Field(
        default=5,
        description="least samples of each class of a task in every fold and in the test part",
    )
    unevaluable: Literal["drop", "refuse"] = Field(
        default="drop", description="what happens to a task with fewer than that"
    )


class Split(Section):
    """Patients into parts and folds."""

    test_fraction: Fraction = Field(default=0.2, description="share of the patients in the test part")
    folds: int = Field(default=5, ge=2, description="folds of the cross-validation")
    stratify_by: list[Name] = Field(
        default_factory=list,
        description="tasks whose prevalence is balanced over parts and folds (it depends on no other)",
    )
    seed: int = Field(default=0, description="another seed gives another split")


class Attention(Section):
    """Cross-task attention (the paper's Algorithm 1)."""

    alpha: NonNegativeFloat = Field(default=0.1, description="strength of exploration of the other tasks")
    normalise: Literal["max_abs", "published"] = Field(
        default="max_abs",
        description="divide by the largest magnitude per sample, or (`published`) by the batch's maximum",
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


class Model(Section):
    """The network."""

    encoder: list[Width] = Field(default=[256, 128], min_length=1, description="widths of a modality encoder")
    projection: Width = Field(default=64, description="width of the contrastive projection")
    temperature: PositiveFloat = Field(default=0.1, description="temperature of the contrastive loss")
    shared: list[Width] = Field(default=[256, 128], min_length=1, description="widths of the shared module")
    task: list[Width] = Field(default=[64], min_length=1, description="widths of a task network")
    task_network: str = Field(default="mlp", description="`mlp`, or a dotted path to a class of your own")
    decoder: list[Width] = Field(default=[256], description="hidden widths of the clustering decoder")
    attention: Attention = Field(default=Attention(), description="cross-task attention")
    survival: SurvivalHead = Field(default=SurvivalHead(), description="what survival tasks learn")
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


class EarlyStopping(Section):
    """When a fit stops before `training.epochs`."""

    patience: PositiveInt = Field(
        default=30, description="epochs without a smaller loss on the patients set aside"
    )
    fraction: float = Field(
        default=0.15, gt=0, le=0.5, description="training patients that are set aside, with all of their rows"
    )


class Training(Section):
    """How a fit is trained."""

    epochs: PositiveInt = Field(default=15, description="passes over the training rows")
    batch_sizes: list[PositiveInt] = Field(
        default=[256, 512], min_length=1, description="batch sizes to choose from"
    )
    learning_rates: list[PositiveFloat] = Field(
        default=[5e-4, 1e-3], min_length=1, description="learning rates to choose from (Adam)"
    )
    weight_decay: NonNegativeFloat = Field(
        default=0.0, description="decoupled weight decay of the weight matrices"
    )
    update: Literal["sum", "sequential", "pcgrad"] = Field(
        default="sum",
        description="one step on the total loss, (`sequential`, published for M3H) one step per loss, or "
        "(`pcgrad`, TxT's option) gradient surgery between the losses",
    )
    early_stopping: EarlyStopping | None = Field(
        default=None,
        description="`{patience: 30, fraction: 0.15}`: each fit stops after so many epochs without a smaller "
        "loss on that share of its training patients, set aside, and keeps its best weights; null: those of "
        "the last epoch",
    )
    contrastive_weight: NonNegativeFloat = Field(default=1.0, description="weight of the contrastive loss")
    task_weights: dict[Name, NonNegativeFloat] = Field(
        default_factory=dict, description="task -> weight of its loss; 1 if not given"
    )
    rare_below: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="binary tasks rarer than this start from the log odds as output bias",
    )
    gradient_clip: PositiveFloat | None = Field(
        default=None, description="largest gradient norm of a model; null: none"
    )


class Compute(Section):
    """Where and how fits are computed."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="`auto`: the GPU where there is one"
    )
    precision: Literal["float32", "tf32", "bfloat16", "float64"] = Field(
        default="float32", description="arithmetic of training; results carry it"
    )
    threads: PositiveInt = Field(default=1, description="CPU threads of one training job")
    stack: PositiveInt | None = Field(
        default=None, description="most fits trained together; null: as many as fit the memory"
    )
    memory_gb: PositiveFloat = Field(default=4.0, description="memory a stack may take on the CPU")


class Search(Section):
    """Greedy search for each task's companions."""

    beam: PositiveInt = Field(default=3, description="combinations kept per source task and round")
    max_size: PositiveInt | None = Field(
        default=None, description="largest combination; null: until no improvement"
    )
    replicates: PositiveInt = Field(default=1, description="seeds per combination")
    min_improvement: NonNegativeFloat = Field(
        default=0.0, description="least gain over the best so far that counts as an improvement"
    )
    combinations_per_job: PositiveInt | None = Field(
        default=None,
        description="combinations that one job trains; null: as many as make jobs of 5 to 30 minutes",
    )


class Tim(Section):
    """Task interaction measurement."""

    mode: Literal["pairs", "sampled", "exact"] = Field(
        default="pairs", description="pairs against single tasks (Figure 3), random chains, or all sets"
    )
    replicates: PositiveInt = Field(default=3, description="seeds per combination")
    chains: PositiveInt = Field(default=20, description="random chains of the `sampled` mode")
    max_size: PositiveInt = Field(default=4, description="largest combination of the `sampled` mode")
    draws: PositiveInt = Field(default=500, description="bootstrap draws of patients")
    fdr: Fraction = Field(default=0.05, description="false discovery rate of the significance flag")


class Evaluation(Section):
    """Final fits and the comparison on the test part."""

    replicates: PositiveInt = Field(
        default=5, description="seeds per final model; their predictions are averaged"
    )
    draws: PositiveInt = Field(default=1000, description="bootstrap draws of patients")
    baselines: list[Literal["linear", "gradient_boosting"]] = Field(
        default=["linear", "gradient_boosting"], description="references trained on the same rows"
    )


class Stratum(Section):
    """Patients of one class of a task."""

    task: Name = Field(description="a binary or multiclass task")
    value: str = Field(description="the class; of a binary task `0` or `1`")


class GenePairs(Section):
    """Gene-gene interactions in the final models; needs a modality with a `transcriptome` encoder."""

    tasks: list[Name] = Field(min_length=1, description="tasks whose final models are read")
    groups: Name | None = Field(
        default=None,
        description="binary or survival task that divides patients for differential attention; null: the "
        "task itself",
    )
    horizon: PositiveFloat | None = Field(
        default=None,
        description="time, in the unit of a survival task, that divides patients: those with an event until "
        "then from those known to be without one beyond it; null: a survival task divides nobody",
    )
    within: Stratum | None = Field(default=None, description="only patients of this class; null: all")
    permutations: PositiveInt = Field(default=1000, description="permutations of patients between the groups")
    samples: PositiveInt = Field(
        default=200, description="most test samples over which interactions are averaged"
    )
    fdr: Fraction = Field(default=0.05, description="false discovery rate of differential attention")
    top: PositiveInt = Field(default=40, description="pairs in networks, heatmaps and gene sets")
    gene_sets: str | None = Field(
        default=None, description="GMT file; genes of the top pairs are tested for over-representation"
    )


class Network(Section):
    """Another network: what differs from the study's own, key by key; a value replaces, null too."""

    modalities: dict[Name, dict[str, Any]] = Field(
        default_factory=dict, description="modality -> keys of `modalities.<name>`"
    )
    model: dict[str, Any] = Field(default_factory=dict, description="keys of `model`")
    training: dict[str, Any] = Field(default_factory=dict, description="keys of `training`")


class Networks(Section):
    """Networks compared on the same rows and folds: all tasks together, and each of them alone."""

    own: Name = Field(default="own", description="what the study's own network is called")
    others: dict[Name, Network] = Field(
        default_factory=dict, description="further networks: name -> what differs"
    )
    replicates: PositiveInt = Field(
        default=5, description="seeds of each; their predictions are averaged, as in the evaluation"
    )
    alone: bool = Field(default=True, description="learn each task alone, too")

    @model_validator(mode="after")
    def _names_differ(self) -> Networks:
        if self.own in self.others:
            raise ValueError(f"`{self.own}` is the name of the study's own network and of another one")
        return self

    @property
    def names(self) -> list[str]:
        """The networks, the study's own one first."""
        return [self.own, *self.others]


class Figures(Section):
    """What the figures show."""

    formats: list[Literal["svg", "png"]] = Field(
        default=["svg", "png"], min_length=1, description="file formats"
    )
    calibration_tasks: list[Name] = Field(
        default_factory=list,
        description="binary tasks of the calibration figure; empty: the most frequent ones",
    )
    calibration_subgroup: str = Field(default="sex", description="subgroup of the calibration figure")
    quantiles: PositiveInt = Field(default=10, description="risk quantiles of the calibration figure")
    umap_samples: PositiveInt = Field(default=3000, description="samples drawn in the phenotype map")


class Study(Section):
    """A whole study."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = Field(
        description="name; results go to `results/<study>/`"
    )
    seed: int = Field(default=20240418, ge=0, description="seed of everything random but the split")
    results: str = Field(default="results", description="folder of the results")
    data: str = Field(default=".", description="folder that relative paths of the source start from")
    source: Source = Field(description="where the cohort comes from")
    modalities: dict[Name, Modality] = Field(min_length=1, description="modality -> its sources and encoder")
    tasks: TaskSelection = Field(default=TaskSelection(), description="which tasks are learned")
    split: Split = Field(default=Split(), description="patients into parts and folds")
    model: Model = Field(default=Model(), description="the network")
    training: Training = Field(default=Training(), description="how a fit is trained")
    compute: Compute = Field(default=Compute(), description="where and how fits are computed")
    search: Search = Field(default=Search(), description="search for companions")
    tim: Tim = Field(default=Tim(), description="task interaction")
    evaluation: Evaluation = Field(default=Evaluation(), description="final fits and comparison")
    gene_pairs: GenePairs | None = Field(
        default=None, description="gene-gene interactions in the final models; null: not looked for"
    )
    networks: Networks | None = Field(
        default=None, description="networks compared with the study's own; null: none"
    )
    figures: Figures = Field(default=Figures(), description="figures")

    @model_validator(mode="before")
    @classmethod
    def _source_kind(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("source"), dict) and "kind" not in data["source"]:
            raise ValueError("source.kind is missing; valid: haim, mimic, table, synthetic")
        return data

    @model_validator(mode="after")
    def _modalities_have_sources(self) -> Study:
        available = set(
            self.source.widths if isinstance(self.source, SyntheticSource) else self.source.blocks
        )
        seen: dict[str, str] = {}
        for modality, spec in self.modalities.items():
            for source in spec.sources:
                if source not in available:
                    raise ValueError(
                        f"modalities.{modality}.sources names `{source}`, which the source does not have; "
                        + nearest(source, available)
                    )
                if source in seen:
                    raise ValueError(
                        f"source `{source}` stands in two modalities: {seen[source]} and {modality}"
                    )
                seen[source] = modality
        return self
