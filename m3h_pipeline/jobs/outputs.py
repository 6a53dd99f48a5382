"""Which files a study has: every list of inputs and outputs that follows from its configuration."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from m3h_pipeline.cohort.synthetic.simulate import simulated_files
from m3h_pipeline.config import Study
from m3h_pipeline.config.networks import networks
from m3h_pipeline.figures.registry import figures_of
from m3h_pipeline.jobs.plans import CROSSED_KINDS, FINAL_KINDS, packs, rounds, stages
from m3h_pipeline.layout import GENE_PAIR_FIGURES, Layout
from m3h_pipeline.tasks.assessed import read_assessed, read_tasks
from m3h_pipeline.tasks.definitions import TaskDefinition


def sources(study: Study) -> list[str]:
    """The sources that the modalities use."""
    return [name for modality in study.modalities.values() for name in modality.sources]


def features(layout: Layout, study: Study) -> list[Path]:
    """Features of every source that the modalities use."""
    return [layout.cohort.features(name) for name in sources(study)]


def simulated(layout: Layout) -> list[Path]:
    """The files of a synthetic cohort."""
    return simulated_files(layout.input)


def embeddings(layout: Layout, study: Study) -> list[Path]:
    """Vectors of the notes and images that the modalities use."""
    known = getattr(study.source, "embeddings", {})
    return [layout.embedding(name) for name in sources(study) if name in known]


def gene_vectors(layout: Layout, study: Study) -> list[Path]:
    """Vectors that genes start from: of a network, of co-expression, or of a file."""
    return [
        layout.gene_vectors(name)
        for name, modality in study.modalities.items()
        if modality.options and modality.options.genes
    ]


def shape_of_fits(layout: Layout, study: Study) -> list[Path]:
    """The samples that fits are of, and where sizes follow from the shape of the study, what says that."""
    every = [study, *networks(study).values()]
    return [layout.cohort.samples, *([layout.cohort.summary] if any(o.training.sizes for o in every) else [])]


def label_input(layout: Layout, definition: TaskDefinition) -> Path:
    """The table of the cohort that a definition reads: diagnosis codes, or columns."""
    kind = definition.criterion.kind
    return layout.cohort.diagnoses if kind == "diagnosis" else layout.cohort.columns


def labels(layout: Layout, tasks: Iterable[str]) -> list[Path]:
    """Labels of tasks."""
    return [layout.labels.labels_of(task) for task in tasks]


def baselines(layout: Layout, study: Study) -> list[Path]:
    """Predictions of the reference models of every task that is learned; a clustering task has none.

    Raises:
        InputError: the tasks have not been assessed.
    """
    if not (study.evaluation.baselines or study.evaluation.clinical or study.evaluation.given):
        return []
    return [
        layout.evaluation.baselines(name)
        for name, task in read_tasks(layout.labels.tasks).items()
        if task.problem_class != "clustering" and study.evaluation.has_references(name)
    ]


def reference_models(layout: Layout, study: Study) -> list[Path]:
    """Folders of the models of the references.

    Raises:
        InputError: the tasks have not been assessed.
    """
    return [layout.references_of(path.stem) for path in baselines(layout, study)]


def given(layout: Layout, study: Study, task: str) -> list[Path]:
    """The columns of the cohort, where a reference of a task stands in one of them."""
    named = any(task in tasks for tasks in study.evaluation.given.values())
    return [layout.cohort.columns] if named else []


def figures(layout: Layout, study: Study, problem_classes: Iterable[str]) -> list[Path]:
    """Every figure that tasks of such problem classes have, and what it shows."""
    return [
        layout.figure(name, suffix) for name in figures_of(problem_classes) for suffix in _suffixes(study)
    ]


def gene_pair_figures(layout: Layout, study: Study) -> list[Path]:
    """Figures of the tasks whose pairs of genes are asked for, and what they show."""
    return [
        layout.gene_pairs(task).figure(name, suffix)
        for task in (study.gene_pairs.tasks if study.gene_pairs else [])
        for name in GENE_PAIR_FIGURES
        for suffix in _suffixes(study)
    ]


def gene_pair_tables(layout: Layout, study: Study, task: str) -> list[Path]:
    """What is found about pairs of genes of one task."""
    files = layout.gene_pairs(task)
    sets = [files.gene_sets] if study.gene_pairs and study.gene_pairs.gene_sets else []
    return [files.pairs, files.genes, files.heads, files.network, *sets]


def network_names(study: Study) -> list[str]:
    """The networks that a study compares, its own one first; none if it compares none."""
    return study.networks.names if study.networks else []


def network_comparison(layout: Layout, study: Study) -> list[Path]:
    """The comparison of networks: tables, figure, and what it shows."""
    suffixes = ("parquet", "tsv", *_suffixes(study)) if network_names(study) else ()
    return [layout.networks.comparison(suffix) for suffix in suffixes]


def score_files(layout: Layout, study: Study) -> list[Path]:
    """The scores of every pack that a finished study trained.

    Raises:
        InputError: a plan is missing.
    """
    return [
        stage.of_pack(pack, "scores")
        for stage in stages(layout, network_names(study))
        for pack in packs(stage.plan)
    ]


def reported(layout: Layout, study: Study) -> list[Path]:
    """The tables that the report shows."""
    evaluation, labels = layout.evaluation, layout.labels
    planted = [evaluation.planted] if study.source.kind == "synthetic" else []
    return [
        *(layout.selection, layout.trajectory, layout.search_report, layout.tim_table),
        *(*evaluation.tables(), evaluation.phenotypes, evaluation.phenotype_scores, evaluation.missing),
        *(evaluation.performance, evaluation.subgroups, evaluation.flow, evaluation.participants),
        *(evaluation.operating_points, evaluation.confusion),
        *(evaluation.phenotype_profiles, evaluation.reliance),
        *(labels.tasks, labels.values, labels.prevalence, layout.cohort.summary, *planted),
    ]


def results(layout: Layout, study: Study) -> list[Path]:
    """Every result of a finished study but the store, in a fixed order.

    Raises:
        InputError: a plan or the list of tasks is missing.
    """
    files = layout.tables()
    files += [path for path in [layout.cohort.diagnoses] if path.exists()]
    if study.source.kind == "synthetic":
        files += [*simulated(layout), layout.evaluation.planted]
    files += [*features(layout, study), *gene_vectors(layout, study)]
    assessed = read_assessed(layout.labels.tasks)
    for name in assessed:
        files += [layout.labels.labels_of(name), layout.labels.audit_of(name)]
    for path in baselines(layout, study):
        files += [path, *_found(layout.references_of(path.stem))]
    files += [stage.scores for stage in rounds(layout) if packs(stage.plan)]
    for stage in stages(layout, network_names(study)):
        files.append(stage.plan)
        final = stage == layout.final
        for pack in packs(stage.plan):
            files += [stage.of_pack(pack, kind) for kind in (FINAL_KINDS if final else CROSSED_KINDS)]
            files += _found(layout.models_of(pack)) if final else []
    files += _found(layout.bundle.folder)
    for task in study.gene_pairs.tasks if study.gene_pairs else []:
        files += _found(layout.gene_pairs(task).folder)
    drawn = figures(layout, study, {task.problem_class for task in assessed.values()})
    return [*files, *network_comparison(layout, study), *drawn]


def _suffixes(study: Study) -> list[str]:
    return [*study.figures.formats, "csv"]


def _found(folder: Path) -> list[Path]:
    """Files of a folder, at any depth; hidden ones are Snakemake's."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
