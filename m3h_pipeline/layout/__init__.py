"""Where a study's files are: each path of its results stands here, once.

Everything asks here. Nothing is read, nothing slow is imported, and names may be the wildcards of a rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Tables of the evaluation, beside its summary and the map of phenotypes.
EVALUATION_TABLES: Final = (
    *("evaluation", "comparison", "calibration", "roc", "agreement"),
    *("survival", "kaplan_meier", "dynamic_auroc", "attention", "optimism", "choice"),
    "calibration_slopes",
)
#: Figures of a task's pairs of genes.
GENE_PAIR_FIGURES: Final = ("network", "heads", "volcano")


@dataclass(frozen=True)
class Files:
    """Files of one folder.

    Args:
        folder: where they lie; ``Path()``: paths are relative to it.
    """

    folder: Path


class _Named:
    """The path of a file or folder that always has the same name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, files: Files, owner: type[Files] | None = None) -> Path:
        return files.folder / self._name


class CohortFiles(Files):
    """``cohort/``: the samples, what is known of them, and a report of the ingestion."""

    samples = _Named("samples.parquet")  # identifiers and subgroups; all other tables have its order of rows
    columns = _Named("columns.parquet")  # what task definitions read
    diagnoses = _Named("diagnoses.parquet")  # codes of the stays; absent where the source has none
    summary = _Named("summary.json")  # what was read and what was ignored
    reading = _Named("reading.json")  # how columns became features, by which new files are read
    quarantine = _Named("quarantine.tsv")  # malformed lines that were set aside
    feature_folder = _Named("features")

    def features(self, source: str) -> Path:
        """Features of one source."""
        return self.feature_folder / f"{source}.parquet"

    def tables(self) -> list[Path]:
        """All but the features."""
        return [self.samples, self.columns, self.diagnoses, self.summary, self.reading, self.quarantine]


class LabelFiles(Files):
    """``labels/``: labels and audit table of each task, and which of them can be evaluated."""

    tasks = _Named("tasks.json")  # description and status of each task
    audit = _Named("audit.tsv")  # the audit tables of all tasks as one
    values = _Named("values.tsv")  # the audit as it can be given away: no counts, no value of few
    prevalence = _Named("prevalence.tsv")  # samples of each class by part and fold

    def labels_of(self, task: str) -> Path:
        """Labels of one task."""
        return self.folder / f"{task}.parquet"

    def audit_of(self, task: str) -> Path:
        """Audit table of one task."""
        return self.folder / f"{task}.audit.tsv"


class StageFiles(Files):
    """A stage that trains: its plan, and what its packs leave behind."""

    plan = _Named("plan.json")  # which fits are trained, and how they are shared out in packs
    scores = _Named("scores.parquet")  # of a round of the search: the packs' scores as one table
    pack_folder = _Named("packs")

    def of_pack(self, pack: str, kind: str) -> Path:
        """A table of one pack: ``scores``, ``predictions``; of final fits ``attention``, ``latents`` too."""
        return self.pack_folder / f"{pack}.{kind}.parquet"


class EvaluationFiles(Files):
    """``evaluation/``: the comparison of the models on the test part."""

    summary = _Named("summary.tsv")  # the comparison for people
    headline = _Named("headline.txt")  # what the study may say, in a paragraph
    planted = _Named("planted.tsv")  # of a synthetic study: what was planted, what was found
    phenotypes = _Named("phenotypes.parquet")  # a map of them
    phenotype_scores = _Named("phenotype_scores.parquet")
    phenotype_profiles = _Named("phenotype_profiles.parquet")  # what their clusters are
    missing = _Named("missing.parquet")  # scores where modalities are hidden
    reliance = _Named("reliance.parquet")  # what each source and feature is worth to the selected models
    performance = _Named("performance.parquet")  # errors, rates at thresholds, net benefit
    subgroups = _Named("subgroups.parquet")  # scores and calibration by subgroup
    operating_points = _Named("operating_points.parquet")  # rates at every threshold
    confusion = _Named("confusion.parquet")  # which class was taken for which
    flow = _Named("flow.parquet")  # samples and patients, step by step
    participants = _Named("participants.parquet")  # Table 1 by part, outcomes by part and subgroup
    participants_summary = _Named("participants.tsv")  # the same for people

    def table(self, name: str) -> Path:
        """One of :data:`EVALUATION_TABLES`."""
        return self.folder / f"{name}.parquet"

    def tables(self) -> list[Path]:
        """All of :data:`EVALUATION_TABLES`."""
        return [self.table(name) for name in EVALUATION_TABLES]

    def baselines(self, task: str) -> Path:
        """Predictions of a task's reference models: rows of patients, beside those of the search."""
        return self.folder.parent / "search" / "baselines" / f"{task}.parquet"


class GenePairFiles(Files):
    """``gene_pairs/<task>/``: what a task's final models say about pairs of genes."""

    pairs = _Named("pairs.parquet")
    genes = _Named("genes.parquet")  # importance of each
    heads = _Named("heads.parquet")  # attention of the top pairs in every head
    network = _Named("network.graphml")  # the top pairs as a graph
    gene_sets = _Named("gene_sets.parquet")  # absent where no sets are given

    def figure(self, name: str, suffix: str) -> Path:
        """One of :data:`GENE_PAIR_FIGURES`, or (``csv``) what it shows."""
        return self.folder / f"{name}.{suffix}"


class NetworkFiles(Files):
    """``networks/``: what the comparison of networks says, and where their fits are."""

    def fits_of(self, network: str) -> StageFiles:
        """The fits of one network."""
        return StageFiles(self.folder.parent / "search" / "networks" / network)

    def comparison(self, suffix: str) -> Path:
        """The comparison: table (``parquet``, ``tsv``), figure, what it shows (``csv``)."""
        return self.folder / f"comparison.{suffix}"


class BundleFiles(Files):
    """``bundle/``: what predicts new samples, and all that it takes to use it."""

    description = _Named("bundle.json")
    card = _Named("MODEL_CARD.md")  # the same for people
    features = _Named("features.safetensors")  # how the training part's features lie
    network_folder = _Named("networks")
    reference_folder = _Named("references")

    def network(self, key: str) -> Path:
        """A trained network, by the key of its fit."""
        return self.network_folder / f"{key[:16]}.safetensors"

    def reference(self, task: str, model: str) -> Path:
        """A reference model of a task."""
        return self.reference_folder / f"{task}.{model}.safetensors"


class Layout(Files):
    """The results of a study, ``results/<study>``.

    Examples:
        >>> layout = Layout(Path("results/default"))
        >>> layout.labels.labels_of("sepsis").as_posix()
        'results/default/labels/sepsis.parquet'
        >>> layout.round(2).of_pack("0001", "scores").as_posix()
        'results/default/search/round_2/packs/0001.scores.parquet'
    """

    input = _Named("input")  # of a synthetic study: what a source delivers
    truth = _Named("input/truth.json")  # what was planted in it
    embeddings = _Named("cohort/embeddings")
    embedding_store = _Named("cohort/embeddings/store")  # vectors are computed once, whichever source asks
    split = _Named("split.parquet")
    genes = _Named("genes")
    search = _Named("search")
    store = _Named("search/store")  # finished fits, whichever stage asked for them
    trajectory = _Named("search/trajectory.parquet")  # what the search found, size by size
    search_report = _Named("search/report.parquet")  # what it cost, and why it ended
    selection = _Named("selection.parquet")  # each task's combination
    selection_summary = _Named("selection.tsv")
    tim_table = _Named("tim/tim.parquet")
    figures = _Named("figures")
    logs = _Named("logs")
    settings = _Named("logs/settings")  # what jobs are told; paths of this machine among it
    code = _Named("logs/code")  # what the code said that ran, a file per version
    running = _Named("logs/running.json")  # there while a run writes here
    input_digests = _Named("logs/inputs.json")  # by size and time, so that no input is read twice
    ledger = _Named("ledger")  # every opening of the test part, a file each; no rule makes it
    report = _Named("report.html")  # what people look at
    record = _Named("provenance.json")

    @property
    def cohort(self) -> CohortFiles:
        """The samples and their features."""
        return CohortFiles(self.folder / "cohort")

    @property
    def labels(self) -> LabelFiles:
        """The tasks."""
        return LabelFiles(self.folder / "labels")

    @property
    def evaluation(self) -> EvaluationFiles:
        """The comparison on the test part."""
        return EvaluationFiles(self.folder / "evaluation")

    @property
    def networks(self) -> NetworkFiles:
        """Compared networks."""
        return NetworkFiles(self.folder / "networks")

    @property
    def tim(self) -> StageFiles:
        """The fits of task interaction beyond those of the search."""
        return self.stage("search/tim")

    @property
    def final(self) -> StageFiles:
        """Fits on the whole training part; their models are in :meth:`models_of`."""
        return self.stage("search/final")

    def models_of(self, pack: str) -> Path:
        """The folder of the models of a pack of final fits."""
        return self.folder / "final" / "models" / pack

    def references_of(self, task: str) -> Path:
        """The folder of the models of a task's references, of the whole training part."""
        return self.folder / "final" / "references" / task

    @property
    def bundle(self) -> BundleFiles:
        """The models that are carried to where patients are."""
        return BundleFiles(self.folder / "bundle")

    def round(self, number: int | str) -> StageFiles:
        """A round of the search; the first is number 1."""
        return StageFiles(self.search / f"round_{number}")

    def stage(self, name: str) -> StageFiles:
        """A stage by its folder in the results, such as ``search/round_1``."""
        return StageFiles(self.folder / name)

    def embedding(self, source: str) -> Path:
        """Vectors of the notes or images of one source."""
        return self.embeddings / f"{source}.parquet"

    def gene_vectors(self, modality: str) -> Path:
        """Vectors that the genes of one modality start from."""
        return self.genes / f"{modality}.parquet"

    def gene_pairs(self, task: str) -> GenePairFiles:
        """Pairs of genes in one task's final models."""
        return GenePairFiles(self.folder / "gene_pairs" / task)

    def figure(self, name: str, suffix: str) -> Path:
        """One figure, or (``csv``) what it shows."""
        return self.figures / f"{name}.{suffix}"

    def log(self, job: str) -> Path:
        """Messages of one job."""
        return self.logs / f"{job}.log"

    def made(self, job: str) -> Path:
        """An empty file that says that a job has made its folder, of which Snakemake knows the time alone."""
        return self.logs / f"{job}.made"

    def benchmark(self, job: str) -> Path:
        """Time and memory that one job took."""
        return self.folder / "benchmarks" / f"{job}.tsv"

    def tables(self) -> list[Path]:
        """Results that every study has, beside those that its plans, tasks and figures name."""
        cohort, labels, evaluation = self.cohort, self.labels, self.evaluation
        return [
            *(cohort.samples, cohort.columns, cohort.summary, cohort.reading, cohort.quarantine),
            *(labels.tasks, labels.audit, labels.values, labels.prevalence, self.split),
            *(self.trajectory, self.search_report, self.selection, self.selection_summary, self.tim_table),
            *(*evaluation.tables(), evaluation.phenotypes, evaluation.phenotype_scores, evaluation.missing),
            *(evaluation.summary, evaluation.headline, evaluation.performance, evaluation.subgroups),
            *(evaluation.phenotype_profiles, evaluation.reliance),
            *(evaluation.operating_points, evaluation.confusion, evaluation.flow),
            *(evaluation.participants, evaluation.participants_summary, self.report),
        ]
