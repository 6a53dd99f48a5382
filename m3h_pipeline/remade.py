"""Cohort, labels and split of a finished study, made anew from its inputs and compared with what it has.

Only this tells whether what a study was trained on is what its inputs say: the record's digests were taken
after its files had been written.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from m3h_pipeline.cohort.synthetic.structure import planted_noise
from m3h_pipeline.config import MimicSource, Study, SyntheticSource, located_source
from m3h_pipeline.errors import M3HError
from m3h_pipeline.files import read_json, read_table
from m3h_pipeline.hashes import digest_of
from m3h_pipeline.jobs.outputs import sources
from m3h_pipeline.layout import Layout
from m3h_pipeline.tasks.definitions import TaskDefinition, tasks_of

#: Stages of :func:`m3h_pipeline.jobs.code.code_of_stages` that make these files.
STAGES = ("cohort", "labels", "split")


class NotRemadeError(Exception):
    """Why something was not made anew: no fault of the study."""


def remade(
    layout: Layout, study: Study, definitions: Mapping[str, str], everything: bool = True
) -> Iterator[tuple[Path, bool]]:
    """Make the cohort, the labels and the split anew beside the study's own, and compare file by file.

    Args:
        layout: of the study; a temporary folder in it is removed again.
        study: its configuration, with ``data`` where the inputs lie.
        definitions: task -> digest of the definition that its labels were made by.
        everything: compare reports too, which name the inputs as the study configured them.

    Yields:
        A file of the study, and whether what was made anew is equal.

    Raises:
        NotRemadeError: it cannot be made here; what was made before has been yielded.
    """
    try:
        folder = tempfile.TemporaryDirectory(dir=layout.folder, prefix=".verify.")
    except OSError as error:
        raise NotRemadeError(f"{layout.folder} cannot be written: {error.strerror}") from error
    with folder as name:
        fresh = Layout(Path(name))
        try:
            for files in (_cohort(layout, study, fresh), _labels(study, definitions, fresh)):
                for path in files:
                    if everything or path.suffix == ".parquet":
                        mine = layout.folder / path.relative_to(fresh.folder)
                        yield mine, same(mine, path)
        except M3HError as error:
            raise NotRemadeError(f"it cannot be made here: {error.what} ({error.where})") from error


def _cohort(layout: Layout, study: Study, fresh: Layout) -> Iterator[Path]:
    from m3h_pipeline.cohort.ingest import ingest
    from m3h_pipeline.cohort.synthetic.simulate import haim_source, simulate

    source = located_source(study)
    embeddings = None
    if isinstance(source, SyntheticSource):
        simulate(source, study.seed, fresh.input)
        yield from _files(fresh.input)
        source = haim_source(source, fresh.input)
    if isinstance(source, MimicSource) and source.embeddings:
        embeddings = layout.embeddings
    ingest(source, sources(study), fresh.cohort.folder, embeddings=embeddings, stream=io.StringIO())
    yield from _files(fresh.cohort.folder)


def _labels(study: Study, definitions: Mapping[str, str], fresh: Layout) -> Iterator[Path]:
    from m3h_pipeline.split import split_cohort
    from m3h_pipeline.tasks.assess import assess
    from m3h_pipeline.tasks.labels import label_task

    tasks = _tasks(study, definitions)
    for name, definition in tasks.items():
        seed = study.seed if name in study.tasks.permute else None
        paths = fresh.labels.labels_of(name), fresh.labels.audit_of(name)
        label_task(name, definition, fresh.cohort.folder, *paths, seed)
    stratify = {name: fresh.labels.labels_of(name) for name in study.split.stratify_by}
    labels = {name: fresh.labels.labels_of(name) for name in tasks}
    split_cohort(fresh.cohort.samples, stratify, fresh.split, study.split, labels)
    yield fresh.split
    noise = planted_noise(study.source)
    assess(labels, fresh.split, fresh.cohort.samples, fresh.labels.folder, study.tasks, noise)
    yield from _files(fresh.labels.folder)


def _tasks(study: Study, definitions: Mapping[str, str]) -> dict[str, TaskDefinition]:
    """The definitions of the study's tasks, if they are at hand and those of its labels."""
    try:
        tasks = tasks_of(study.tasks)
    except M3HError as error:
        missing = f"labels and split: the tasks' definitions are not at hand: {error.what}"
        raise NotRemadeError(missing) from error
    found = {name: digest_of(task.model_dump(mode="json", exclude_none=True)) for name, task in tasks.items()}
    if found != dict(definitions):
        raise NotRemadeError("labels and split: the tasks' definitions have changed since")
    return tasks


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def same(mine: Path, fresh: Path) -> bool:
    """Whether two files say the same; another version of a library may write it in other bytes."""
    if not mine.is_file():
        return False
    if mine.read_bytes() == fresh.read_bytes():
        return True
    try:
        if mine.suffix == ".parquet":
            return _content(mine) == _content(fresh)
        return mine.suffix == ".json" and read_json(mine) == read_json(fresh)
    except M3HError:
        return False


def _content(path: Path) -> bytes:
    """What a table says, bit for bit: missing numbers are no numbers, and equal here."""
    table = read_table(path).combine_chunks()
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return bytes(stream.getvalue())
