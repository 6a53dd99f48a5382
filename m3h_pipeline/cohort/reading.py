"""How a study's columns became features: ``cohort/reading.json``, by which later files are read the same way.

Whatever an ingestion learns from the files it reads stands here: which column is which feature, the values
that a category has, which genes are kept and what is done to them. New files are read by this record alone
(:mod:`m3h_pipeline.cohort.apply`): nothing is learned from them, so that a sample's features do not depend on
the others beside it.

Values that fewer than 11 patients have stand nowhere in it; it leaves a study in its bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Final

from pydantic import Field, ValidationError

from m3h_pipeline.config.base import OwnSource, Section, SourceSection
from m3h_pipeline.config.sources import GeneOptions, TableSource
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import read_json, write_json

#: The version that is written, and the newest that is read.
VERSION: Final = 1


class Part(Section):
    """What one feature, or the features of one category, are made of, in a file of a `table` source."""

    file: int = Field(ge=0, description="number of the file under `source.files`")
    columns: list[str] = Field(
        min_length=1,
        description="keys of the columns (tables.identifiers.called); several, of one gene, are averaged",
    )
    values: list[str] | None = Field(
        default=None, description="of a category: its values, each a feature; null: a number"
    )
    numbers: bool = Field(default=False, description="whether the category's values are numbers")
    of: int = Field(default=1, ge=1, description="columns that the gene has, of which `columns` are used")


class SourceReading(Section):
    """The features of one source, in their order."""

    names: list[str] = Field(description="one per feature; of a `haim` source they are the columns")
    units: list[str] = Field(description="of each feature; empty: not known")
    zero_is_missing: bool = Field(description="whether a row that is zero throughout was not observed")
    parts: list[Part] = Field(default_factory=list, description="`table`: what the features are made of")
    genes: GeneOptions | None = Field(
        default=None, description="`table`: logarithm and clipping of every value, names without versions"
    )


class Reading(Section):
    """How a user's files become features."""

    version: int = Field(default=VERSION, ge=1, description="of this record")
    kind: str = Field(description="`source.kind`: table, haim, mimic, or the dotted path of an own one")
    source: dict[str, Any] = Field(
        default_factory=dict, description="section `source`, files by their names alone; empty: an own kind"
    )
    sources: dict[str, SourceReading] = Field(description="source -> its features")
    columns: list[list[str]] = Field(
        default_factory=list,
        description="`table`: per file its columns that are label inputs, subgroups or codes",
    )
    codes: dict[str, dict[str, float]] = Field(
        default_factory=dict,
        description="`mimic`, `variant: published`: column -> value -> its number; without values of few",
    )


def without_folders(source: SourceSection) -> dict[str, Any]:
    """A section `source` as JSON, with the names of files and no folder of this machine.

    Examples:
        >>> from m3h_pipeline.config.sources import HaimSource
        >>> found = without_folders(HaimSource(table="/home/me/t.csv", key_ids="/home/me/k.csv"))
        >>> found["table"], found["key_ids"]
        ('t.csv', 'k.csv')
    """
    if isinstance(source, OwnSource):
        return {}
    content = source.model_dump(mode="json")
    for key in ("table", "key_ids"):
        if isinstance(content.get(key), str):
            content[key] = PurePath(content[key]).name
    for key in ("hosp", "folder", "cxr", "notes", "temp"):
        # Of folders there is one each; what it is called says nothing.
        if isinstance(content.get(key), str):
            content[key] = "."
    for embedding in (content.get("embeddings") or {}).values():
        for key, value in embedding.items():
            if isinstance(value, str) and "/" in value:
                embedding[key] = PurePath(value).name
    if isinstance(source, TableSource):
        for file in content["files"]:
            file["path"] = PurePath(file["path"]).name
        for block in content["blocks"].values():
            if block["genes"] is not None:
                # Which genes are kept stands in the reading itself.
                block["genes"]["keep"] = None
        if content["diagnoses"] is not None:
            for key in ("path", "titles"):
                if content["diagnoses"].get(key):
                    content["diagnoses"][key] = PurePath(content["diagnoses"][key]).name
    return content


def write_reading(reading: Reading, path: Path) -> None:
    """Write the record whole or not at all, with its digest."""
    write_json(reading.model_dump(mode="json", exclude_defaults=True) | {"version": VERSION}, path)


def read_reading(path: Path) -> Reading:
    """Read ``cohort/reading.json``.

    Raises:
        InputError: it is absent, damaged, of a newer version, or does not follow its schema.
    """
    return reading_of(read_json(path), str(path))


def reading_of(content: Mapping[str, Any], where: str) -> Reading:
    """A reading from its JSON, as a bundle carries it.

    Raises:
        InputError: it is of a newer version, or does not follow its schema.

    Examples:
        >>> reading_of({"version": 99, "kind": "table"}, "b/bundle.json")
        Traceback (most recent call last):
        m3h_pipeline.errors.InputError: the reading is of version 99, and this program reads up to 1
          where: b/bundle.json
          to do: install a newer m3h_pipeline
    """
    version = content.get("version", VERSION)
    if isinstance(version, int) and version > VERSION:
        raise InputError(
            f"the reading is of version {version}, and this program reads up to {VERSION}",
            where=where,
            hint="install a newer m3h_pipeline",
        )
    try:
        reading = Reading.model_validate(content)
        if reading.kind == "table" and (reading.source or any(one.parts for one in reading.sources.values())):
            files = len(TableSource.model_validate(reading.source).files)
            for name, one in reading.sources.items():
                if any(part.file >= files for part in one.parts):
                    raise InputError(
                        f"the reading of source `{name}` names a file that there is not", where=where
                    )
        return reading
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"the reading does not follow its schema: {place}: {first['msg']}", where=where
        ) from None


def plain_reading(
    kind: str,
    names: Mapping[str, Sequence[str]],
    units: Mapping[str, Sequence[str]],
    zero_is_missing: Sequence[str],
) -> Reading:
    """What every cohort can say: names and units of its features. A cohort's folder is read by it.

    Args:
        kind: of the source.
        names: source -> names of its features.
        units: source -> their units, where known.
        zero_is_missing: sources of which a row that is zero throughout is not observed.
    """
    return Reading(
        kind=kind,
        sources={
            source: SourceReading(
                names=list(found),
                units=list(units.get(source) or [""] * len(found)),
                zero_is_missing=source in zero_is_missing,
            )
            for source, found in names.items()
        },
    )
