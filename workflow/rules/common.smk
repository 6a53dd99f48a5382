# What every stage needs: the validated study, where its files are, what its jobs are told, and its plans. What
# can be known without Snakemake is known by the package: m3h_pipeline/layout and m3h_pipeline/jobs.
import sys

from snakemake.exceptions import WorkflowError

from m3h_pipeline.config import Study, located_source, validate
from m3h_pipeline.config.networks import networks
from m3h_pipeline.config.paths import gene_files, gene_pair_files, source_paths
from m3h_pipeline.errors import M3HError
from m3h_pipeline.evaluation.phenotypes.map import needs
from m3h_pipeline.figures.registry import FIGURES
from m3h_pipeline.jobs import outputs, plans
from m3h_pipeline.jobs.code import (
    code_of,
    code_of_assets,
    code_of_figure,
    code_of_source,
    code_of_stages,
)
from m3h_pipeline.jobs.resources import TrainingResources, by_input, growing
from m3h_pipeline.jobs.settings import JobSettings
from m3h_pipeline.layout import GENE_PAIR_FIGURES, Layout
from m3h_pipeline.tasks.definitions import tasks_of


def explained(function, *arguments, **keywords):
    """Call a function of the package; its errors become messages instead of tracebacks."""
    try:
        return function(*arguments, **keywords)
    except M3HError as error:
        raise WorkflowError(str(error)) from None


def read(function, *arguments):
    """The same where rules ask for their inputs: Snakemake adds a traceback to all that ends such a question."""
    try:
        return function(*arguments)
    except M3HError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


STUDY = explained(validate, Study, config, where="the configuration")
# Of a study that compares networks: each with its sections in the place of the study's.
NETWORKS = explained(networks, STUDY)
SOURCE = located_source(STUDY)
TASKS = explained(tasks_of, STUDY.tasks)
FILES = Layout(Path(STUDY.results) / STUDY.study)
SETTINGS = JobSettings(STUDY, TASKS)
# A dotted path that leads nowhere, or a package that is not there, is told before any rule is made.
explained(SETTINGS.train)
explained(needs, STUDY.figures.phenotype_map)
ASKED = workflow.resource_settings.overwrite_resources.get("train_pack", {})
TRAINING = TrainingResources(FILES, STUDY, NETWORKS, ASKED)
SYNTHETIC = SOURCE.kind == "synthetic"
SIMULATED = outputs.simulated(FILES)
FEATURES = outputs.features(FILES, STUDY)
EMBEDDED = outputs.embeddings(FILES, STUDY)
GENES = outputs.gene_vectors(FILES, STUDY)
LABELS = outputs.labels(FILES, TASKS)


wildcard_constraints:
    modality="[A-Za-z][A-Za-z0-9_]*",
    source="[A-Za-z][A-Za-z0-9_]*",
    task="[A-Za-z][A-Za-z0-9_]*",
    round=r"\d+",
    pack=r"\d+",
    stage=r"search/(round_\d+|tim)",
    network="|".join(NETWORKS) or "none",


def planned(stage):
    """A stage that trains, once it has a plan. Asking for it makes Snakemake plan it."""
    planner, wildcards = plans.planner(stage)
    getattr(checkpoints, planner).get(**wildcards)
    read(plans.packs, FILES.stage(stage).plan)
    return FILES.stage(stage)


def pack_inputs(stage_of):
    """Plan and labels of a pack; ``stage_of``: its stage, from the wildcards."""
    return dict(
        plan=lambda wildcards: planned(stage_of(wildcards)).plan,
        labels=lambda wildcards: plans.pack_labels(
            FILES, planned(stage_of(wildcards)), wildcards.pack
        ),
        features=FEATURES,
        cohort=outputs.shape_of_fits(FILES, STUDY),
        split=FILES.split,
        genes=GENES,
    )


def pack_files(kind, *stages):
    """Tables of one kind of every pack of some stages."""
    return lambda wildcards: [
        path for stage in stages for path in plans.pack_files(planned(stage), kind)
    ]


def rounds():
    """The rounds of the search; the last one has nothing to train."""
    found = [planned("search/round_1")]
    while plans.packs(found[-1].plan):
        found.append(planned(f"search/round_{len(found) + 1}"))
    return found


def round_plans(wildcards):
    """Plans of all rounds: a search that goes on after an edit is noticed only where jobs take its plans too."""
    return [stage.plan for stage in rounds()]


def round_scores(wildcards):
    """Scores of all rounds that train."""
    return [stage.scores for stage in rounds()[:-1]]


def round_predictions(wildcards):
    """Predictions of all packs of the search."""
    return [
        path for stage in rounds() for path in plans.pack_files(stage, "predictions")
    ]


def references(wildcards):
    """Predictions of the reference models, once it is known which tasks are learned."""
    # The first plan comes right after the tasks, and needs nothing that is trained.
    planned("search/round_1")
    return read(outputs.baselines, FILES, STUDY)


def reference_models(wildcards):
    """Models of the references, once it is known which tasks are learned."""
    planned("search/round_1")
    return read(outputs.reference_models, FILES, STUDY)


# What every training job passes to its verb, beside its settings.
TRAINED_WITH = dict(
    cohort=FILES.cohort.folder,
    label_folder=FILES.labels.folder,
    genes=["--genes", FILES.genes] if GENES else [],
    store=FILES.store,
    code=code_of("train-pack"),
)
