"""Any files into features: which kind they are, and whether the study's reading fits them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from m3h_pipeline.cohort.apply.batch import Batch
from m3h_pipeline.cohort.apply.folders import cohort_batches, haim_batches, mimic_batches
from m3h_pipeline.cohort.apply.problems import Problems
from m3h_pipeline.cohort.apply.tables import table_batches
from m3h_pipeline.cohort.haim.index import IDENTITY
from m3h_pipeline.cohort.reading import Reading
from m3h_pipeline.dotted import is_path
from m3h_pipeline.errors import InputError, M3HError, nearest
from m3h_pipeline.layout import CohortFiles
from m3h_pipeline.tables.textfile import open_bytes, read_header, split_header

_KINDS = {
    "table": "tables",
    "haim": "a table in the form of HAIM-MIMIC-MM",
    "mimic": "a folder as MIMIC-IV is distributed",
}


def apply_reading(
    reading: Reading,
    paths: Sequence[str | Path],
    scratch: Path,
    problems: Problems,
    *,
    absent: Sequence[str] = (),
    embeddings: Path | None = None,
    stream: TextIO | None = None,
) -> Iterator[Batch]:
    """Features of new files, a batch of samples at a time, each sample by itself.

    Outcomes are not needed. What is wrong is said at once, after the files were read as far as they can
    be.

    Args:
        reading: how the study's files became features.
        paths: the files as the study's source reads them, in any order, or one folder of a cohort.
        scratch: a private folder for what does not fit memory.
        problems: takes what is only worth saying.
        absent: sources that nobody has; their files and columns may be lacking.
        embeddings: of a `mimic` source with notes or images, the folder that `m3h embed` wrote.
        stream: where progress is written.

    Raises:
        InputError: with the complete list of what keeps the files from being read.
    """
    given = [str(path) for path in paths]
    if embeddings is not None and reading.kind != "mimic":
        what = f"the study's source is `{reading.kind}`, which has no embeddings of `m3h embed`"
        problems.add(InputError(what, where=str(embeddings), hint="leave `--embeddings` out"))
    check_given(reading, given, absent, problems)
    kinds = {path: _kind(path) for path in given}
    _check_kinds(reading, kinds, problems)
    problems.check()
    try:
        if set(kinds.values()) == {"cohort"}:
            yield from cohort_batches(reading, Path(given[0]), absent, problems)
        elif reading.kind == "haim":
            yield from haim_batches(reading, given[0], absent, problems, scratch)
        elif reading.kind == "mimic":
            yield from mimic_batches(reading, given[0], absent, problems, scratch, embeddings, stream)
        else:
            yield from table_batches(reading, given, absent, problems, scratch)
    except M3HError as error:
        problems.add(error)
    problems.check()


def check_given(reading: Reading, paths: Sequence[str], absent: Sequence[str], problems: Problems) -> None:
    """See that files are there, each once, and that the sources that are absent are known.

    Raises:
        InputError: with the complete list of what is wrong.
    """
    for name in absent:
        if name not in reading.sources:
            hint = nearest(name, reading.sources)
            problems.add(InputError(f"there is no source `{name}` to be absent", hint=hint))
    if set(absent) >= set(reading.sources):
        problems.add(InputError("every source is absent", hint="there is nothing to predict from"))
    for path in sorted({path for path in paths if paths.count(path) > 1}):
        problems.add(InputError("the file is given twice", where=path, hint="give it once"))
    for path in paths:
        if not path.startswith("python:") and not Path(path).exists():
            problems.add(InputError("the file does not exist", where=path, hint="check the path"))
    problems.check()
    if not paths:
        raise InputError("no file is given", hint="give the study's files, as new patients have them")


def _check_kinds(reading: Reading, kinds: dict[str, str], problems: Problems) -> None:
    wanted = _KINDS.get(reading.kind, f"what `{reading.kind}` reads")
    for path, kind in kinds.items():
        if kind == "cohort":
            if len(kinds) > 1:
                problems.add(InputError("a cohort's folder stands alone", where=path, hint="give it alone"))
        elif is_path(reading.kind):
            problems.add(
                InputError(
                    f"the study's source is one of its own, `{reading.kind}`",
                    where=path,
                    hint="bring the files into a cohort's folder by it (`m3h ingest`), and give that folder",
                )
            )
        elif reading.kind == "haim" and len(kinds) > 1:
            hint = "give it alone; neither key ids nor diagnoses are needed"
            problems.add(InputError(f"the study's source reads one file: {wanted}", hint=hint))
        elif kind != reading.kind and not (reading.kind == "table" and kind == "haim"):
            problems.add(
                InputError(
                    f"this is {_KINDS[kind]}, and the study's source reads {wanted}",
                    where=path,
                    hint="give files as the study had them, or a cohort's folder",
                )
            )
        elif kind == "mimic" and len(kinds) > 1:
            problems.add(InputError(f"the study's source reads one: {wanted}", where=path))


def _kind(path: str) -> str:
    """What the files look like."""
    place = Path(path)
    if path.startswith("python:"):
        return "table"
    if place.is_dir():
        if CohortFiles(place).samples.exists():
            return "cohort"
        return "mimic" if (place / "hosp").is_dir() or (place / "icu").is_dir() else "table"
    names: list[str] = []
    with contextlib.suppress(M3HError, OSError), open_bytes(path) as stream:
        names = split_header(read_header(stream, path)[0], path)
    # Which of its columns are absent is said when it is read.
    return "table" if set(IDENTITY).isdisjoint(names) else "haim"
