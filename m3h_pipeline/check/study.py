"""Ingest, label and split a study for a look, and forecast its training.

The inputs are ingested, labelled and split in a temporary folder by the functions the workflow calls, so that
what passes here passes there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from m3h_pipeline.check.references import try_references
from m3h_pipeline.cohort.synthetic.structure import planted_noise
from m3h_pipeline.config import MimicSource, Study, SyntheticSource, load_study, located_source
from m3h_pipeline.config.networks import networks
from m3h_pipeline.dotted import is_path
from m3h_pipeline.errors import ConfigError, InputError, M3HError, nearest
from m3h_pipeline.evaluation.phenotypes import map as phenotypes
from m3h_pipeline.files.leftovers import scratch
from m3h_pipeline.jobs.outputs import sources
from m3h_pipeline.layout import Layout
from m3h_pipeline.references.deep import needs
from m3h_pipeline.tasks.assessed import Task, read_assessed, read_tasks
from m3h_pipeline.tasks.definitions import TaskDefinition, tasks_of


def check_study(configfile: Path, screen: TextIO = sys.stdout, changes: Sequence[str] = ()) -> None:
    """Check a study and print what was found; tasks that cannot be evaluated are listed with the numbers.

    Args:
        configfile: of the study.
        screen: where it is printed.
        changes: of the configuration, ``KEY=VALUE`` each.

    Raises:
        M3HError: what is wrong; nothing is written to the study's results.
    """
    study = load_study(configfile, changes)
    networks(study)
    needs(study.evaluation.baselines)
    phenotypes.needs(study.figures.phenotype_map)
    tasks = checked_tasks(study, str(configfile))
    screen.write(f"configuration: {study.study}, {len(tasks)} tasks defined\n")
    with scratch(Path(study.results), "check") as folder:
        layout = Layout(folder)
        try:
            assessed, embedded = _stages(study, tasks, layout, screen)
            shaped = _shaped(study, layout, screen)
            _try_own_code(shaped, layout, screen)
            doubts = _try_networks(study, shaped, layout, embedded)
            parts = _parts(layout)
            try_references(study, layout, screen)
            training = _forecast(study, shaped, layout)
        except M3HError as error:
            # What is made for the check is gone with it: a file is called as in a study's results.
            error.where = error.where and error.where.replace(f"{folder}{os.sep}", "")
            raise
    doubts += parts
    dropped = [task for task in assessed.values() if not task.learned]
    screen.writelines(f"  dropped: {task.id}: {task.reason}\n" for task in dropped)
    screen.writelines(f"warning: {text}\n" for text in doubts)
    screen.write(f"{len(assessed) - len(dropped)} of {len(assessed)} tasks can be evaluated\n{training}\n")


def checked_tasks(study: Study, where: str) -> dict[str, TaskDefinition]:
    """The study's task definitions, with every task name elsewhere in the configuration checked against them.

    Raises:
        ConfigError: ``split.stratify_by``, ``tasks.permute``, ``training.task_weights``,
            ``figures.calibration_tasks`` or ``evaluation.given`` names a task that the study does not learn.
        TaskError: a definition is wrong, or ``tasks.include`` or ``tasks.exclude`` names none.
    """
    tasks = tasks_of(study.tasks)
    named = {
        "split.stratify_by": study.split.stratify_by,
        "tasks.permute": study.tasks.permute,
        "training.task_weights": list(study.training.task_weights),
        "figures.calibration_tasks": study.figures.calibration_tasks,
    }
    named |= {f"evaluation.given.{name}": list(columns) for name, columns in study.evaluation.given.items()}
    if (chosen := study.gene_pairs) is not None:
        named["gene_pairs.tasks"] = chosen.tasks
        named["gene_pairs.groups"] = [chosen.groups] if chosen.groups else []
        named["gene_pairs.within"] = [chosen.within.task] if chosen.within else []
    for key, names in named.items():
        for name in names:
            if name not in tasks:
                raise ConfigError(
                    f"`{key}` names `{name}`, which is no task of this study",
                    where=where,
                    hint=nearest(name, tasks),
                )
    return tasks


def _stages(
    study: Study, tasks: Mapping[str, TaskDefinition], layout: Layout, screen: TextIO
) -> tuple[dict[str, Task], dict[str, int]]:
    """The tasks, and the sources that are not embedded for the check -> their widths."""
    from m3h_pipeline.cohort.ingest import ingest, render_summary
    from m3h_pipeline.cohort.synthetic.simulate import haim_source, simulate
    from m3h_pipeline.files import write_json
    from m3h_pipeline.split import split_cohort
    from m3h_pipeline.tasks.assess import assess
    from m3h_pipeline.tasks.labels import label_task

    cohort, labels = layout.cohort, layout.labels
    source = located_source(study)
    if isinstance(source, SyntheticSource):
        simulate(source, study.seed, layout.input)
        source = haim_source(source, layout.input)
    names = sources(study)
    embedded: dict[str, int] = {}
    if isinstance(source, MimicSource) and source.embeddings:
        from m3h_pipeline.cohort.mimic.embeddings import width_of

        # Embedding takes hours: here the models are only loaded.
        embedded = {name: width_of(how) for name, how in source.embeddings.items() if name in names}
        names = [name for name in names if name not in embedded] or ["demographics"]
    summary = ingest(source, names, cohort.folder)
    screen.write(render_summary(summary) + "\n")
    if embedded:
        summary["sources"] |= {name: {"features": width, "missing": 0.0} for name, width in embedded.items()}
        write_json(summary, cohort.summary)
        screen.write(f"not embedded for this check: {', '.join(embedded)}\n")
    for modality, spec in study.modalities.items():
        if all(summary["sources"][name]["missing"] == 1 for name in spec.sources):
            raise InputError(
                "no sample has a value of this modality",
                where=f"modalities.{modality}",
                hint=f"check the columns of {', '.join(spec.sources)}, or take the modality out",
            )
    for name, definition in tasks.items():
        permute = study.seed if name in study.tasks.permute else None
        label_task(name, definition, cohort.folder, labels.labels_of(name), labels.audit_of(name), permute)
    paths = {name: labels.labels_of(name) for name in tasks}
    stratify = {name: paths[name] for name in study.split.stratify_by}
    split_cohort(cohort.samples, stratify, layout.split, study.split, paths)
    noise = planted_noise(study.source)
    assess(paths, layout.split, cohort.samples, labels.folder, study.tasks, noise)
    return read_assessed(labels.tasks), embedded


def _parts(layout: Layout) -> list[str]:
    """What the test part differs from the training part by."""
    from m3h_pipeline.evaluation.participants.stage import differences, participant_rows, read_people

    people = read_people(layout.cohort.folder, layout.split)
    return differences(participant_rows(people, layout.cohort.folder, layout.labels.folder))


def _shaped(study: Study, layout: Layout, screen: TextIO) -> dict[str, Study]:
    """Every network (of a study that compares none, its own) with the sizes that follow from the shape."""
    from m3h_pipeline.search.sizes import said, sized_study

    every = networks(study) or {study.study: study}
    for name, one in every.items():
        if text := said(one, layout.cohort.summary):
            screen.write(f"network {name}: {text}" if study.networks else text)
    return {name: sized_study(one, layout.cohort.summary) for name, one in every.items()}


def _try_own_code(shaped: Mapping[str, Study], layout: Layout, screen: TextIO) -> None:
    """Make what the study names by dotted path, and run it, at the widths of the study."""
    from m3h_pipeline.files import read_json, read_labels

    summary = read_json(layout.cohort.summary)
    described = [read_labels(path)[1] for path in sorted(layout.labels.folder.glob("*.parquet"))]
    tried: set[tuple[str, int, tuple[int, ...]]] = set()
    for one in shaped.values():
        for modality in one.modalities.values():
            width = sum(int(summary["sources"][name]["features"]) for name in modality.sources)
            tried.add((modality.encoder, width, modality.widths(one.model)))
        encoded = sum(modality.widths(one.model)[-1] for modality in one.modalities.values())
        tried.add((one.model.task_network, [encoded, *one.model.shared][-1], tuple(one.model.task)))
    own = sorted(network for network in tried if is_path(network[0]))
    classes = {task["own_class"]: task for task in described if "own_class" in task}
    from m3h_pipeline.model.own import try_class, try_network

    for path, width, hidden in own:
        screen.write(f"{path}: {width} features to {try_network(path, width, hidden)}\n")
    for path, task in sorted(classes.items()):
        try_class(task, next(iter(shaped.values())).model)
        screen.write(f"{path}: a {task['problem_class']} class, scored by {task['metric']}\n")


def _try_networks(
    study: Study, shaped: Mapping[str, Study], layout: Layout, embedded: Mapping[str, int]
) -> list[str]:
    """Read what training reads, and make each network once; what makes it doubtful that they learn."""
    from m3h_pipeline.check.networks import try_networks
    from m3h_pipeline.files import read_json
    from m3h_pipeline.training.spec import TrainingSettings

    tasks = list(read_tasks(layout.labels.tasks))
    known = read_json(layout.cohort.summary)["sources"]
    widths = {name: int(source["features"]) for name, source in known.items()}
    doubts = []
    for name, one in shaped.items():
        settings = TrainingSettings(one.model, one.training, one.compute, one.modalities, one.seed)
        where = f"network `{name}`" if study.networks else "`modalities`, `model`"
        found = try_networks(
            layout.cohort.folder, layout.labels.folder, layout.split, tasks, settings, widths, embedded, where
        )
        doubts += [f"network {name}: {text}" if study.networks else text for text in found]
    return doubts


def _forecast(study: Study, shaped: Mapping[str, Study], layout: Layout) -> str:
    """What training takes; where the study leaves the device open, on a GPU and on a CPU."""
    from m3h_pipeline.environment import computes_bfloat16
    from m3h_pipeline.forecast import forecast, hint_of_precision, render
    from m3h_pipeline.jobs.resources import shape_of

    own = next(iter(shaped.values()))
    shape = shape_of(layout, own)
    every = shaped if study.networks else {}
    compared = {name: (shape_of(layout, one), one.training) for name, one in every.items()}
    tasks = read_tasks(layout.labels.tasks)
    sections = (study.search, study.tim, own.training, study.evaluation.replicates, study.seed)
    devices = {"cpu": [False], "cuda": [True], "auto": [True, False]}[study.compute.device]
    tables = [
        render(forecast(shape, tasks, *sections, gpu, compared, study.networks), gpu) for gpu in devices
    ]
    if not devices[-1] and (hint := hint_of_precision(shape, tasks, computes_bfloat16())):
        tables.append(hint)
    return "\n".join(tables)
