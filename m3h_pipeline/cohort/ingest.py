"""Any source into the cohort's files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from m3h_pipeline.config.base import OwnSource, SourceSection
from m3h_pipeline.digest import code_digest
from m3h_pipeline.disclosure import LEAST, small_count
from m3h_pipeline.disclosure.text import plain
from m3h_pipeline.dotted import is_path, source_digest
from m3h_pipeline.errors import ConfigError, nearest
from m3h_pipeline.features.extremes import FAR

#: Names of features that one line of the summary lists.
_SHOWN = 5
#: The fewest features of what may be an embedding of a note or an image.
_EMBEDDING = 8

_OWNERS = ("sample", "stay", "patient")


def ingest(
    source: SourceSection,
    sources: Sequence[str],
    out: Path | str,
    *,
    embeddings: Path | str | None = None,
    stream: TextIO | None = None,
) -> dict[str, Any]:
    """Read a source and write ``cohort/``: samples, features, columns, diagnoses, summary and quarantine.

    Nothing is written unless all of it is. Relative paths are resolved against the current directory.

    Args:
        source: of any kind but `synthetic`, which is first written by ``simulate`` and then read as the
            `haim` source that ``haim_source`` returns.
        sources: the embedding blocks that the modalities use.
        out: the folder ``cohort/`` of a study.
        embeddings: of a `mimic` source with notes or images, the folder that `m3h embed` wrote.
        stream: where progress is written; standard error by default.

    Returns:
        The summary, as in ``summary.json``.

    Raises:
        InputError: a file is missing, malformed, or does not hold what the configuration says.
        ConfigError: the configuration contradicts itself.
    """
    for name in sources:
        if name not in source.names:
            raise ConfigError(
                f"there is no source `{name}`", where="source.blocks", hint=nearest(name, source.names)
            )
    if isinstance(source, OwnSource):
        return source.ingest(sources, Path(out), stream)
    more = {} if embeddings is None else {"embeddings": embeddings}
    read = getattr(import_module(reader_of(source.kind)), f"ingest_{source.kind}")
    summary: dict[str, Any] = read(source, sources, out, stream=stream, **more)
    return summary


def reader_of(kind: str) -> str:
    """The module that reads a shipped kind of source by its function ``ingest_<kind>``.

    Examples:
        >>> reader_of("table")
        'm3h_pipeline.cohort.table.ingest'
    """
    # The files of a synthetic cohort are those of HAIM-MIMIC-MM.
    return f"m3h_pipeline.cohort.{'haim' if kind == 'synthetic' else kind}.ingest"


def code_of(kind: str) -> str:
    """Digest of the code that an ingestion of this kind of source runs, and of no other kind's."""
    if is_path(kind):
        return code_digest(__name__) + source_digest(kind)
    more = ["m3h_pipeline.cohort.synthetic.simulate"] if kind == "synthetic" else []
    return code_digest(__name__, reader_of(kind), *more)


def render_summary(summary: Mapping[str, Any]) -> str:
    """The summary for the screen; counts of 1 to 10 are shown as "<11"."""
    n = small_count
    lines = [
        f"{n(summary['rows'])} samples of {n(summary['patients'])} patients, {n(summary['stays'])} stays"
    ]
    width = max(len(name) for name in summary["sources"])
    lines.append(f"{'source':<{width}}  features  missing  samples without")
    lines += [
        f"{name:<{width}}  {s['features']:>8,}  {100 * s['missing']:>6.1f}%  {n(s['samples_without']):>15}"
        for name, s in summary["sources"].items()
    ]
    for name, genes in summary.get("genes", {}).items():
        counts = ", ".join(f"{key.replace('_', ' ')} {n(value)}" for key, value in genes.items() if value)
        lines.append(f"genes of {name}: {counts}")
    for name, count in summary.get("rare_values", {}).items():
        lines.append(
            f"{name}: {count:,} values of fewer than {LEAST} patients, or to cover them, are `other`"
        )
    if infinite := sum(s["infinite"] for s in summary["sources"].values()):
        lines.append(f"infinite values, taken as missing: {n(infinite)}")
    lines += [said for name, found in summary["sources"].items() for said in _remarks(name, found)]
    if (limits := summary.get("limits")) and limits["values"]:
        lines.append(
            f"values beyond a limit of measurement, each taken as `{limits['taken_as']}`: "
            + ", ".join(f"{column} {n(count)}" for column, count in limits["values"].items())
        )
    for name, counts in summary["subgroups"].items():
        lines.append(f"{name}: " + ", ".join(f"{value} {n(count)}" for value, count in counts.items()))
    if found := summary.get("diagnoses"):
        lines.append(
            f"diagnoses: {n(found['rows'])} of {n(found['codes'])} codes; "
            f"stays without any: {n(found['stays_without'])}"
        )
        for key, said in (
            ("codes_without_title", "codes without a title, which tasks by title cannot judge"),
            ("left_out", "values left out, as they are no ICD codes"),
            ("without_id", "codes in rows without an id"),
            *((f"of_no_{of}", f"with diagnoses, but no {of} of the cohort") for of in _OWNERS),
        ):
            if found.get(key):
                lines.append(f"{said}: {n(found[key])}")
    for table, counts in summary.get("events", {}).items():
        lines.append(
            f"{table}: {n(counts['kept'])} events of the cohort's stays"
            + (
                f"; never used, as when they were known is not recorded: {n(counts['undated'])}"
                if counts["undated"]
                else ""
            )
        )
    if short := summary.get("stays_without_sample"):
        lines.append(f"ICU stays without a sample: {n(short)}")
    if shared := summary.get("images_in_several_stays"):
        lines.append(f"samples whose image is also a sample of another stay: {n(shared)}")
    ignored = summary.get("ignored", {})
    lines += left_out(ignored, " (quarantine.tsv)")
    if blocks := ignored.get("blocks"):
        lines.append("unknown blocks ignored: " + ", ".join(f"{p}* ({c:,})" for p, c in blocks.items()))
    for file in summary.get("files", ()) if len(summary.get("files", ())) > 1 else ():
        lines.append(
            f"{file['file']}: {n(file['rows'])} rows, samples without {n(file['samples_without'])}"
            + "".join(
                f", {said} {n(file[key])}"
                for key, said in (
                    ("ignored_rows", "rows without a sample"),
                    ("dropped_samples", "samples dropped as it lacks them"),
                    ("added_samples", "samples that it adds"),
                )
                if file[key]
            )
        )
    if labels := ignored.get("label_columns"):
        lines.append("columns of task definitions kept out of the features: " + ", ".join(labels))
    if unused := ignored.get("unused_sources"):
        lines.append("sources no modality uses: " + ", ".join(unused))
    if columns := ignored.get("columns"):
        shown = ", ".join(columns[:10]) + (f" and {len(columns) - 10} more" if len(columns) > 10 else "")
        lines.append(f"columns not offered to task definitions: {shown}")
    return "\n".join(map(plain, lines))


def left_out(ignored: Mapping[str, Any], listed: str = "") -> list[str]:
    """Which rows an ingestion left out, a line for each reason.

    Args:
        ignored: of its summary.
        listed: where malformed lines are listed.
    """
    return [
        f"{said}: {small_count(ignored[key])}"
        for key, said in (
            ("malformed", f"malformed lines set aside{listed}"),
            ("duplicates", "repeated images dropped"),
            ("duplicates_that_differ", "of these, not identical to the one kept"),
            ("rows", "rows that belong to no sample"),
            ("without_key", "rows without id or patient set aside"),
        )
        if ignored.get(key)
    ]


def _remarks(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    """What is strange about the features of a source, and what to do."""
    zero = found["zero_throughout"]
    # Of a few counts it is nothing strange.
    if zero and not found["zero_is_missing"] and found["features"] >= _EMBEDDING:
        # A summary that may be given away says so itself where they are few.
        many = zero if isinstance(zero, str) else small_count(zero)
        yield (
            f"{name}: {many} samples are zero throughout: absent? "
            f"Then say `zero_is_missing: [{name}]` of the source"
        )
    if far := found["far_values"]:
        some = ", ".join(far[:_SHOWN]) + (", ..." if len(far) > _SHOWN else "")
        one = len(far) == 1
        yield (
            f"{name}: {len(far):,} {'feature has' if one else 'features have'} a value over {FAR:g} robust "
            f"deviations from {'its' if one else 'their'} median ({some}): a slip, another unit, a long "
            f"tail? Correct it, or leave it to `scaling: robust`"
        )
