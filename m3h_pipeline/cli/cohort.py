"""Verbs up to what is trained on: files, cohort, labels, split."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from m3h_pipeline.cli.arguments import add_paths, add_verb, sections_of, seed_of
from m3h_pipeline.errors import InputError


def _check(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.check import check_study
        from m3h_pipeline.disclosure import true_numbers

        # The user's own screen, for what belongs to the user: true numbers.
        with true_numbers():
            check_study(options.study or options.configfile, sys.stdout, options.config)

    parser = add_verb(verbs, "check", run, "validate a study before anything is trained", settings=False)
    parser.add_argument("study", type=Path, nargs="?", metavar="FILE", help="the study's YAML file")
    parser.add_argument("--configfile", type=Path, default=Path("config/config.yaml"), metavar="FILE")
    parser.add_argument(
        "--config",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="values instead of the file's, as `snakemake --config` takes them",
    )


def _fetch_demo(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.cohort.mimic.fetch import fetch_demo

        files = fetch_demo(options.folder, **({"url": options.url} if options.url else {}))
        sys.stderr.write(f"{len(files)} files in {options.folder}, as published\n")

    text = "download the open MIMIC-IV demo (100 patients), verified and resumable"
    parser = add_verb(verbs, "fetch-demo", run, text, settings=False)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument(
        "--url", metavar="URL", help="another server that has the release, with its / at the end"
    )


def _simulate(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.cohort.synthetic.simulate import simulate
        from m3h_pipeline.config import SyntheticSource

        simulate(sections_of(options, source=SyntheticSource)["source"], seed_of(options), options.output)

    add_verb(verbs, "simulate", run, "write the files of a synthetic cohort", "output")


def _embed(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.cohort.mimic.embeddings import embed_source
        from m3h_pipeline.config import Compute, MimicSource

        sections = sections_of(options, source=MimicSource, compute=Compute)
        device = sections["compute"].device
        embed_source(sections["source"], options.source, options.store, options.output, device=device)

    parser = add_verb(verbs, "embed", run, "embed notes or images by a local model", "store", "output")
    parser.add_argument("--source", required=True, metavar="NAME", help="one of `source.embeddings`")


def _task_list(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.tasks.task_list import ENDINGS, write_definitions

        if options.list.suffix.lower() not in ENDINGS:
            raise InputError("a task list ends in .csv or .tsv", where=str(options.list))
        tasks = write_definitions(options.list, options.clinical, options.output)
        sys.stderr.write(f"{tasks} tasks in {options.output}\n")

    text = "turn a task list into task definitions, classes taken from the clinical file"
    add_verb(verbs, "task-list", run, text, "list", "clinical", "output", settings=False)


def _ingest(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.cohort.ingest import ingest, render_summary

        summary = ingest(_source(options), options.sources, options.output, embeddings=options.embeddings)
        sys.stderr.write(render_summary(summary) + "\n")

    parser = add_verb(verbs, "ingest", run, "bring a source's files into the cohort's form", "output")
    parser.add_argument("--sources", nargs="+", required=True, metavar="NAME")
    parser.add_argument("--simulated", type=Path, metavar="FOLDER", help="files that `m3h simulate` wrote")
    parser.add_argument("--embeddings", type=Path, metavar="FOLDER", help="tables that `m3h embed` wrote")


def _source(options: argparse.Namespace) -> Any:
    from m3h_pipeline.cohort.synthetic.simulate import haim_source
    from m3h_pipeline.config import SyntheticSource
    from m3h_pipeline.config.arguments import source_of
    from m3h_pipeline.hashes import check_digests

    source = source_of(options.settings)
    if not isinstance(source, SyntheticSource):
        return source
    check_digests(options.simulated)
    return haim_source(source, options.simulated)


def _label(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.tasks.definitions import TaskDefinition
        from m3h_pipeline.tasks.labels import label_task

        definition = sections_of(options, definition=TaskDefinition)["definition"]
        permute = seed_of(options) if options.permute else None
        label_task(options.task, definition, options.cohort, options.output, options.audit, permute)

    parser = add_verb(verbs, "label", run, "build one task's labels", "cohort", "output", "audit")
    parser.add_argument("--task", required=True)
    parser.add_argument("--permute", action="store_true", help="shuffle the labels between patients")


def _split(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import Split
        from m3h_pipeline.split import split_cohort

        labels, every = ({path.stem: path for path in paths} for paths in (options.labels, options.every))
        settings = sections_of(options, split=Split)["split"]
        split_cohort(options.samples, labels, options.output, settings, every)

    parser = add_verb(verbs, "split", run, "divide patients into parts and folds", "samples", "output")
    add_paths(parser, "labels", "every", required=False)


def _assess(verbs: Any) -> None:
    def run(options: argparse.Namespace) -> None:
        from m3h_pipeline.config import TaskSelection
        from m3h_pipeline.config.arguments import noise_of
        from m3h_pipeline.tasks.assess import assess

        assess(
            {path.stem: path for path in options.labels},
            options.split,
            options.samples,
            options.output,
            sections_of(options, tasks=TaskSelection)["tasks"],
            noise_of(options.settings),
        )

    parser = add_verb(verbs, "assess", run, "list tasks that can be evaluated", "split", "samples", "output")
    add_paths(parser, "labels")


#: In the order of the stages.
VERBS = (
    _check,
    _fetch_demo,
    _simulate,
    _embed,
    _task_list,
    _ingest,
    _label,
    _split,
    _assess,
)
