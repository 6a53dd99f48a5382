"""A cohort of new files with outcomes: whose samples they are, and what labels are made of."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from m3h_pipeline.cohort.apply.matching import match_files
from m3h_pipeline.cohort.apply.problems import Problems
from m3h_pipeline.cohort.apply.read import check_given
from m3h_pipeline.cohort.ingest import left_out
from m3h_pipeline.cohort.reading import Reading
from m3h_pipeline.config.mimic import MimicSource
from m3h_pipeline.config.sources import HaimSource, TableFile, TableSource
from m3h_pipeline.errors import InputError
from m3h_pipeline.layout import CohortFiles
from m3h_pipeline.tables.formats import open_table
from m3h_pipeline.tables.reader import TableFileReader
from m3h_pipeline.tables.textfile import open_bytes, read_header, split_header


def outcome_cohort(
    reading: Reading,
    paths: Sequence[str],
    out: Path,
    problems: Problems,
    absent: Sequence[str] = (),
    embeddings: Path | None = None,
) -> tuple[Path, list[str | Path]]:
    """Bring new files with outcomes into the form of a cohort.

    Args:
        reading: how the study's files became features.
        paths: the files as the study had them, or one folder of a cohort.
        out: a folder for the cohort.
        problems: takes whatever is wrong, and what is only worth saying.
        absent: sources that nobody has; their files and columns may be lacking.
        embeddings: of a `mimic` source with notes or images.

    Returns:
        The cohort's folder, and from what to make features by the reading.

    Raises:
        InputError: a file is absent or damaged, or has not what labels are made of.
    """
    check_given(reading, paths, absent, problems)
    if len(paths) == 1 and CohortFiles(Path(paths[0])).samples.exists():
        return Path(paths[0]), list(paths)
    if reading.kind == "table":
        from m3h_pipeline.cohort.table.ingest import ingest_table

        source, features = _table(reading, paths, absent, problems)
        problems.check()
        ingested = ingest_table(source, [], out, stream=io.StringIO())
        # What no sample has a row for is said when features are read.
        problems.notes += left_out({"without_key": ingested["ignored"]["without_key"]})
        return out, list(features)
    names = [name for name in reading.sources if name not in absent]
    if reading.kind == "haim":
        from m3h_pipeline.cohort.haim.ingest import ingest_haim

        ingested = ingest_haim(_haim(reading, paths), names, out, stream=io.StringIO())
        problems.notes += left_out(ingested["ignored"])
        return out, [out]
    if reading.kind == "mimic":
        from m3h_pipeline.cohort.mimic.ingest import ingest_mimic

        if len(paths) > 1:
            what = "the study's source reads one folder, as MIMIC-IV is distributed"
            raise InputError(what, where=", ".join(paths), hint="give it alone")
        more = {key: paths[0] for key in ("cxr", "notes") if reading.source.get(key)}
        found = MimicSource.model_validate({**reading.source, "folder": paths[0], "temp": None, **more})
        ingested = ingest_mimic(found, names, out, embeddings=embeddings, stream=io.StringIO())
        problems.notes += left_out(ingested["ignored"])
        return out, [paths[0]]
    raise InputError(
        f"the study's source is one of its own, `{reading.kind}`",
        hint="bring the files into a cohort's folder by it (`m3h ingest`), and give that folder",
    )


def _table(
    reading: Reading, paths: Sequence[str], absent: Sequence[str], problems: Problems
) -> tuple[TableSource, list[str]]:
    """The study's section ``source`` with the given files in their places; the files that hold features."""
    with ExitStack() as stack:
        matched = match_files(reading, paths, absent, problems, stack, outcomes=True)
        source = matched.source
        given = [None if reader is None else reader.shown for reader in matched.readers]
        diagnoses = source.diagnoses
        if diagnoses is not None and diagnoses.path is not None:
            wanted = [name for name in (diagnoses.id, *diagnoses.named) if name is not None]
            for path in paths:
                reader = open_table(path, stack)
                if path not in given and all(reader.count(name) for name in wanted):
                    diagnoses = diagnoses.model_copy(update={"path": path, "titles": None})
                    break
            else:
                problems.add(
                    InputError(
                        f"no given file is the study's `{diagnoses.path}`, with diagnosis codes",
                        hint=f"its columns are {', '.join(wanted)}",
                    )
                )
    held = {part.file for one in reading.sources.values() for part in one.parts}
    files = [
        file.model_copy(update={"path": reader.shown, "annotation": _there(reader, file)})
        for file, reader in zip(source.files, matched.readers, strict=True)
        if reader is not None
    ]
    features = [path for i, path in enumerate(given) if path is not None and i in held]
    return source.model_copy(update={"files": files, "diagnoses": diagnoses}), features


def _there(reader: TableFileReader, file: TableFile) -> list[str]:
    """The columns that are left out, as far as the file has them."""
    known = set(reader.header)
    return [name for name in file.annotation if file.transposed or name in known]


def _haim(reading: Reading, paths: Sequence[str]) -> HaimSource:
    """The study's section ``source``: the table, its key ids, and a folder of diagnoses."""
    found: dict[str, str | None] = {"hosp": None}
    for path in paths:
        if Path(path).is_dir():
            found["hosp"] = path
            continue
        with open_bytes(path) as stream:
            names = split_header(read_header(stream, path)[0], path)
        found["key_ids" if {"haim_id", "subject_id"} <= set(names) and len(names) < 10 else "table"] = path
    for key, what in (("table", "the table is"), ("key_ids", "the key ids (haim_id, subject_id, ...) are")):
        if key not in found:
            raise InputError(
                f"{what} not among the files",
                where=", ".join(paths),
                hint="labels are made of both: give it, too",
            )
    return HaimSource.model_validate({**reading.source, **found})
