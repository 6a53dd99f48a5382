# What every stage needs: the validated study, where its files go, and what a rule passes to its verb.
import json
from functools import cache, partial

from snakemake.exceptions import WorkflowError

from m3h_pipeline.cohort.ingest import code_of
from m3h_pipeline.config import Study, located_source, validate
from m3h_pipeline.config.paths import (
    gene_files,
    gene_pair_files,
    located_gene_pairs,
    located_modality,
    source_paths,
)
from m3h_pipeline.config.networks import networks
from m3h_pipeline.digest import code_digest
from m3h_pipeline.errors import M3HError
from m3h_pipeline.figures.registry import FIGURES
from m3h_pipeline.files import read_json
from m3h_pipeline.hashes import digest_of, hashed, input_files
from m3h_pipeline.record import code_of_stages
from m3h_pipeline.search import sizing
from m3h_pipeline.tasks.assessed import read_assessed, read_tasks
from m3h_pipeline.tasks.definitions import load_definitions, select


def explained(function, *arguments, **keywords):
    """Call a function of the package; its errors become messages instead of tracebacks."""
    try:
        return function(*arguments, **keywords)
    except M3HError as error:
        raise WorkflowError(str(error)) from None


STUDY = explained(validate, Study, config, where="the configuration")
# Of a study that compares networks: each with its sections in the place of the study's.
NETWORKS = explained(networks, STUDY)
SOURCE = located_source(STUDY)
KIND = SOURCE.kind
RESULTS = Path(STUDY.results) / STUDY.study
LOGS = RESULTS / "logs"
BENCHMARKS = RESULTS / "benchmarks"


def definition_file(path):
    """A file of task definitions: the user's own, or the one that comes with the workflow."""
    shipped = path.startswith("resources/tasks/") and not Path(path).exists()
    return str(workflow.source_path(f"../../{path}")) if shipped else path


DEFINITIONS = explained(
    load_definitions,
    [definition_file(path) for path in STUDY.tasks.definitions],
    STUDY.tasks.variant,
)
TASKS = explained(select, DEFINITIONS, STUDY.tasks.include, STUDY.tasks.exclude)
SOURCES = [name for modality in STUDY.modalities.values() for name in modality.sources]
FEATURES = [RESULTS / f"cohort/features/{name}.parquet" for name in SOURCES]
# Of a source with notes or images: those that the modalities use.
EMBEDDED = [
    RESULTS / f"embeddings/{name}.parquet"
    for name in SOURCES
    if name in getattr(SOURCE, "embeddings", {})
]
# Of modalities whose genes start from vectors of a network, of co-expression, or of a file.
GENES = [
    RESULTS / f"genes/{name}.parquet"
    for name, modality in STUDY.modalities.items()
    if modality.options and modality.options.genes
]
GENE_PAIR_FIGURES = ("network", "heads", "volcano")
GENE_PAIRS = [
    RESULTS / f"gene_pairs/{task}/{name}.{suffix}"
    for task in (STUDY.gene_pairs.tasks if STUDY.gene_pairs else [])
    for name in GENE_PAIR_FIGURES
    for suffix in [*STUDY.figures.formats, "csv"]
]
NETWORK_COMPARISON = [
    RESULTS / f"networks/comparison.{suffix}"
    for suffix in (
        ["parquet", "tsv", *STUDY.figures.formats, "csv"] if NETWORKS else []
    )
]
LABELS = [RESULTS / f"labels/{task}.parquet" for task in TASKS]


wildcard_constraints:
    modality="[A-Za-z][A-Za-z0-9_]*",
    source="[A-Za-z][A-Za-z0-9_]*",
    task="[A-Za-z][A-Za-z0-9_]*",
    round=r"\d+",
    pack=r"\d+",
    stage=r"search/round_\d+|tim",
    network="|".join(NETWORKS) or "none",


def settings(*names, of=STUDY, **more):
    """The named sections (``seed``) and keys (``search.beam``) of the study as the JSON of ``--settings``.

    Jobs name only what their verb reads, so that another value beside it does not run them again.
    """
    own = {"networks": STUDY.model_dump(mode="json")["networks"]}
    study = (
        of.model_dump(mode="json") | own | {"source": SOURCE.model_dump(mode="json")}
    )
    chosen = {}
    for name in names:
        section, _, key = name.partition(".")
        if key:
            chosen.setdefault(section, {})[key] = study[section][key]
        else:
            chosen[section] = study[section]
    return json.dumps(chosen | more, sort_keys=True)


def input_hashes():
    """Size and SHA-256 of the study's files, which are read once per size and time."""
    files = input_files(
        [*source_paths(STUDY), *gene_files(STUDY), *gene_pair_files(STUDY)],
        STUDY.data,
    )
    return explained(hashed, files, RESULTS / "logs/inputs.json") if files else {}


def content_of(paths):
    """What is in files of the study, whatever their times say."""
    names = input_files(paths, STUDY.data)
    return digest_of(
        {name: known for name, known in sorted(input_hashes().items()) if name in names}
    )


def inputs_digest(wildcards):
    """What is in the source's files."""
    return content_of(source_paths(STUDY))


def packs(plan):
    """Pack ids of a plan, and the tasks each of them learns."""
    return {
        pack: sorted({task for entry in entries for task in entry["combination"]})
        for pack, entries in read_json(plan)["packs"].items()
    }


def trains_on_gpu():
    """Whether training gets a GPU: the study may say so, else the command line or the profile does."""
    if STUDY.compute.device != "auto":
        return STUDY.compute.device == "cuda"
    asked = workflow.resource_settings.overwrite_resources.get("train_pack", {})
    return any("gpu" in name or "gpu" in str(asked[name].value) for name in asked)


@cache
def measured(plan, written, measure, network):
    """Memory or time of a plan's jobs at the first attempt; ``written``: when it was made."""
    of = NETWORKS.get(network, STUDY)
    shape = sizing.study_of(
        read_json(RESULTS / "cohort/summary.json"),
        read_tasks(RESULTS / "labels/tasks.json"),
        of.modalities,
        of.model,
        of.training,
        of.compute,
        of.split,
    )
    return measure(shape, read_json(plan)["packs"].values(), trains_on_gpu(), 1)


def training_resource(measure):
    """Memory or time of training jobs, from the plan; more on retry, up to four times as much.

    The same for all packs of a plan, so that they can be one array job.
    """

    def resource(wildcards, input, attempt):
        plan = Path(str(input.plan))
        written, network = plan.stat().st_mtime_ns, wildcards.get("network")
        return min(attempt, 4) * measured(plan, written, measure, network)

    return resource


def by_input(base, factor):
    """Memory in MB of a rule that holds its input some times over; more on retry."""
    return lambda wildcards, input, attempt: attempt * int(
        base + factor * input.size_mb
    )


def minutes(least):
    """A time limit that grows on retry."""
    return lambda wildcards, attempt: least * attempt


def source_files(wildcards):
    """The files an ingestion reads; those inside Python packages are none of Snakemake's business."""
    if KIND == "synthetic":
        return [RESULTS / "input"]
    return source_paths(STUDY)


def label_inputs(wildcards):
    """A diagnosis task reads the diagnosis codes, any other one the cohort's columns."""
    name = (
        "diagnoses"
        if TASKS[wildcards.task].criterion.kind == "diagnosis"
        else "columns"
    )
    return RESULTS / f"cohort/{name}.parquet"


def planned(stage):
    """The plan of a round or of TIM, once it is made."""
    if stage == "tim":
        return checkpoints.plan_tim.get().output[0]
    return checkpoints.plan_round.get(round=stage.rpartition("_")[2]).output[0]


def pack_labels(stage, pack):
    """Labels of the tasks that a pack learns: no other task's definition touches it."""
    return [
        RESULTS / f"labels/{task}.parquet"
        for task in packs(RESULTS / stage / "plan.json")[pack]
    ]


def pack_files(plan, kind):
    """Files of one kind of every pack of a plan."""
    return [Path(plan).parent / f"packs/{pack}.{kind}.parquet" for pack in packs(plan)]


def round_plans(wildcards):
    """Plans of all rounds; the last one has nothing to train. Asking for one makes Snakemake plan it.

    What reads the scores of all rounds takes these as inputs too: a plan that no job takes as an input is not
    looked at again, and a search that goes on after an edit would not be noticed.
    """
    plans = []
    while not plans or packs(plans[-1]):
        plans.append(checkpoints.plan_round.get(round=len(plans) + 1).output[0])
    return plans


def round_scores(wildcards):
    return [
        Path(plan).parent / "scores.parquet" for plan in round_plans(wildcards)[:-1]
    ]


def round_predictions(wildcards):
    plans = round_plans(wildcards)[:-1]
    return [path for plan in plans for path in pack_files(plan, "predictions")]


def tim_files(kind):
    """Scores or predictions of the search and of the packs TIM adds."""

    def files(wildcards):
        added = pack_files(checkpoints.plan_tim.get().output[0], kind)
        return (round_scores if kind == "scores" else round_predictions)(
            wildcards
        ) + added

    return files


def references(wildcards):
    """Predictions of the reference models; a clustering task has none."""
    # The first plan comes right after the tasks, and needs nothing that is trained.
    checkpoints.plan_round.get(round=1)
    return [
        RESULTS / f"evaluation/baselines/{name}.parquet"
        for name, task in read_assessed(RESULTS / "labels/tasks.json").items()
        if task.learned
        and task.problem_class != "clustering"
        and STUDY.evaluation.baselines
    ]


def network_files(kind):
    """Scores or predictions of all compared networks."""
    plans = [checkpoints.plan_network.get(network=name).output[0] for name in NETWORKS]
    return [path for plan in plans for path in pack_files(plan, kind)]


def final_files(kind):
    return lambda wildcards: pack_files(checkpoints.plan_final.get().output[0], kind)


def final_models(wildcards):
    """Folders of the final fits' models."""
    return [
        RESULTS / f"final/models/{pack}"
        for pack in packs(checkpoints.plan_final.get().output[0])
    ]


def sized_by(of=STUDY):
    """What the number of combinations in a pack follows from, where the study leaves that open."""
    if STUDY.search.combinations_per_job is not None:
        return {}
    read = {
        "model": ("encoder", "projection", "shared", "task", "decoder"),
        "compute": ("device", "precision", "threads"),
        "training": ("epochs", "update", "batch_sizes", "learning_rates"),
        "split": ("folds", "test_fraction"),
    }
    keys = [f"{section}.{key}" for section, found in read.items() for key in found]
    return json.loads(settings("modalities", *keys, of=of))


SIZED = sized_by()


def training_settings(of):
    """What a training job is told of a network. Its plan says which batch sizes and learning rates to train."""
    return settings(
        "model",
        "compute",
        "modalities",
        "seed",
        of=of,
        training=of.training.model_dump(
            mode="json", exclude={"batch_sizes", "learning_rates"}
        ),
    )


# What every training job passes to its verb.
TRAINING = dict(
    settings=training_settings(STUDY),
    cohort=RESULTS / "cohort",
    label_folder=RESULTS / "labels",
    genes=f"--genes {RESULTS}/genes" if GENES else "",
    store=RESULTS / "search/store",
    code=code_digest("m3h_pipeline.training.pack"),
)
