"""Read and validate a study's configuration; messages name the key, its place and the nearest valid one."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from m3h_pipeline.config.base import Section
from m3h_pipeline.config.mimic import CXR_TABLES, MIMIC_TABLES, MimicSource
from m3h_pipeline.config.sections import GenePairs, Modality, Study
from m3h_pipeline.config.sources import HaimSource, Source, TableSource
from m3h_pipeline.errors import ConfigError, InputError, nearest

M = TypeVar("M", bound=BaseModel)


def read_yaml(path: Path | str) -> Any:
    """Read one YAML file.

    Raises:
        InputError: the file does not exist or cannot be read.
        ConfigError: it is no YAML or names a key twice; the message has line and column.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read the file: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the file is not UTF-8: {error.reason}", where=str(path)) from error
    try:
        return yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "unreadable"
        raise ConfigError(f"this is no valid YAML: {problem}", where=place) from error


class _UniqueKeys(yaml.SafeLoader):
    """The safe loader, which by itself keeps the last of two equal keys and says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key `{key.value}` stands here a second time", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_study(path: Path | str) -> Study:
    """Read a study's configuration file.

    Raises:
        InputError: the file does not exist.
        ConfigError: it is no YAML or does not follow the schema.
    """
    return validate(Study, read_yaml(path), where=str(path))


def located_source(study: Study) -> Source:
    """The study's source with its relative paths joined to ``data``."""

    def located(path: str) -> str:
        return path if path.startswith("python:") else str(Path(study.data) / path)

    source = study.source
    if isinstance(source, HaimSource):
        hosp = located(source.hosp) if source.hosp else None
        paths = {"table": located(source.table), "key_ids": located(source.key_ids), "hosp": hosp}
        return source.model_copy(update=paths)
    if isinstance(source, MimicSource):
        return source.model_copy(
            update={
                "folder": located(source.folder),
                "cxr": located(source.cxr) if source.cxr else None,
                "embeddings": {
                    name: e.model_copy(
                        update={"model": located(e.model), "notes": located(e.notes) if e.notes else None}
                    )
                    for name, e in source.embeddings.items()
                },
            }
        )
    if isinstance(source, TableSource):
        files = [file.model_copy(update={"path": located(file.path)}) for file in source.files]
        blocks = {
            name: block.model_copy(
                update={"genes": block.genes.model_copy(update={"keep": located(block.genes.keep)})}
            )
            if block.genes is not None and isinstance(block.genes.keep, str)
            else block
            for name, block in source.blocks.items()
        }
        return source.model_copy(update={"files": files, "blocks": blocks})
    return source


def located_modality(study: Study, name: str) -> Modality:
    """A modality with the relative path of its genes' vectors joined to ``data``."""
    modality = study.modalities[name]
    options = modality.options
    if options is None or options.genes is None or options.genes.path is None:
        return modality
    genes = options.genes.model_copy(update={"path": str(Path(study.data) / options.genes.path)})
    return modality.model_copy(update={"transcriptome": options.model_copy(update={"genes": genes})})


def gene_files(study: Study, names: Iterable[str] | None = None) -> list[str]:
    """Networks and files of vectors that the modalities (None: all of them) start their genes from."""
    found = []
    for name in study.modalities if names is None else names:
        options = located_modality(study, name).options
        if options is not None and options.genes is not None and options.genes.path is not None:
            found.append(options.genes.path)
    return found


def located_gene_pairs(study: Study) -> GenePairs | None:
    """The section ``gene_pairs`` with the relative path of gene sets joined to ``data``."""
    chosen = study.gene_pairs
    if chosen is None or chosen.gene_sets is None:
        return chosen
    return chosen.model_copy(update={"gene_sets": str(Path(study.data) / chosen.gene_sets)})


def gene_pair_files(study: Study) -> list[str]:
    """Files that the stage of gene pairs reads beside the study's results."""
    chosen = located_gene_pairs(study)
    return [chosen.gene_sets] if chosen is not None and chosen.gene_sets is not None else []


def source_paths(study: Study) -> list[str]:
    """The files and folders that a study's ingestion reads; none for a synthetic one.

    Files inside Python packages (``python:package/file``) are left out: its version stands for them.
    """
    source = located_source(study)
    if isinstance(source, HaimSource):
        return [source.table, source.key_ids, *([source.hosp] if source.hosp else [])]
    if isinstance(source, MimicSource):
        return [str(path) for path in mimic_files(source)]
    if isinstance(source, TableSource):
        lists = [block.genes.keep for block in source.blocks.values() if block.genes is not None]
        paths = [*(file.path for file in source.files), *(keep for keep in lists if isinstance(keep, str))]
        return [path for path in paths if not path.startswith("python:")]
    return []


def mimic_files(source: MimicSource) -> list[Path]:
    """The tables that a `mimic` source reads; one that is absent is named as distributed."""
    names = [Path(source.folder) / name for name in MIMIC_TABLES]
    if source.cxr is not None and source.samples == "per_image":
        names += [Path(source.cxr) / name for name in CXR_TABLES]
    found = [_as_distributed(path) for path in names]
    for name in source.embeddings:
        found += [path for path in embedding_files(source, name) if path not in found]
    return found


def embedding_files(source: MimicSource, name: str) -> list[Path]:
    """What a source of embeddings is made of: the model's files, and the notes or the list of images."""
    embedding = source.embeddings[name]
    model = Path(embedding.model)
    if embedding.notes is not None:
        return [Path(embedding.notes), model / "config.json", model / "model.safetensors"]
    return [_as_distributed(Path(str(source.cxr)) / CXR_TABLES[0]), model]


def _as_distributed(path: Path) -> Path:
    plain = path.with_name(f"{path.name}.csv")
    return plain if plain.is_file() else path.with_name(f"{path.name}.csv.gz")


def validate(model: type[M], data: Any, where: str) -> M:
    """Validate ``data`` as ``model``.

    Raises:
        ConfigError: one message with every wrong key or value, its place and the nearest valid key.
    """
    if not isinstance(data, Mapping):
        raise ConfigError("the configuration must be a mapping of keys to values", where=where)
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        problems = [_problem(model, item) for item in error.errors(include_url=False)]
        raise ConfigError("\n".join(problems), where=where) from error


def settings(text: str, **sections: type[M]) -> dict[str, M]:
    """Parse the JSON of a verb's ``--settings``: the sections it uses.

    Raises:
        ConfigError: no JSON, or a section is wrong.
    """
    data = _mapping(text)
    return {
        name: validate(kind, data.get(name, {}), f"--settings, {name}") for name, kind in sections.items()
    }


def _mapping(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"`--settings` is no JSON: {error}", where="command line") from error
    if not isinstance(data, dict):
        raise ConfigError("`--settings` must be a JSON object", where="command line")
    return data


#: Sections of a study that had another name.
RENAMED = {"interactions": "gene_pairs", "variants": "networks"}


def _problem(model: type[BaseModel], item: Any) -> str:
    # A discriminated union puts its tag into the location; the user's file has no such level.
    place = [part for part in item["loc"] if part not in {"haim", "mimic", "table", "synthetic"}]
    dotted = ".".join(str(part) for part in place) or "the file"
    if item["type"] == "extra_forbidden":
        parent = ".".join(str(part) for part in place[:-1])
        valid = _keys_at(model, item["loc"][:-1])
        inside = f" in `{parent}`" if parent else ""
        if model is Study and (name := RENAMED.get(dotted)):
            return f"unknown key `{dotted}`; this section is called `{name}` now"
        return f"unknown key `{place[-1]}`{inside}; {nearest(str(place[-1]), valid)}"
    if item["type"] == "missing":
        return f"`{dotted}` is missing"
    if item["type"].startswith("union_tag_"):
        context = item["ctx"]
        key = ".".join([*map(str, place), context["discriminator"].strip("'")])
        valid = [tag.strip("' ") for tag in context.get("expected_tags", "").split(",")]
        if item["type"] == "union_tag_invalid":
            return f"`{key}` is `{context['tag']}`; {nearest(context['tag'], valid)}"
        return f"`{key}` is missing"
    message = item["msg"].removeprefix("Value error, ")
    given = item.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) or given is None else ""
    return f"`{dotted}`: {message}{shown}" if place else message


def _keys_at(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    kind: Any = model
    for part in place:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(part))
            kind = field.annotation if field else None
        else:
            kind = _step(kind, part)
        kind = _model_of(kind, part)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return list(kind.model_fields)
    return []


def _step(kind: Any, part: int | str) -> Any:
    """The type inside a container or union when the location moves one step into it."""
    arguments = get_args(kind)
    if get_origin(kind) in {typing.Union, types.UnionType}:
        return next(
            (
                a
                for a in arguments
                if getattr(a, "model_fields", {}).get("kind") is not None
                and a.model_fields["kind"].default == part
            ),
            None,
        )
    return arguments[-1] if arguments else None


def _model_of(kind: Any, part: int | str) -> Any:
    if get_origin(kind) is typing.Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in {typing.Union, types.UnionType}:
        rest = [a for a in get_args(kind) if a is not type(None)]
        if len(rest) == 1:
            return rest[0]
    return kind


def seed_of(text: str) -> int:
    """The study's seed in the JSON of ``--settings``.

    Raises:
        ConfigError: it is absent or no whole number.
    """
    seed = _mapping(text).get("seed")
    if not isinstance(seed, int):
        raise ConfigError("`seed` is missing or no whole number", where="--settings")
    return seed


def source_of(text: str) -> Source:
    """The source in the JSON of ``--settings``, of whichever kind.

    Raises:
        ConfigError: it is absent, of no known kind, or wrong.
    """
    return validate(_Sourced, {"source": part_of(text, "source")}, "--settings").source


class _Sourced(Section):
    source: Source


def modalities_of(text: str) -> dict[str, Modality]:
    """The modalities in the JSON of ``--settings``.

    Raises:
        ConfigError: they are absent or wrong.
    """
    modalities = part_of(text, "modalities")
    if not modalities:
        raise ConfigError("`modalities` is empty", where="--settings")
    return {name: validate(Modality, value, f"--settings, {name}") for name, value in modalities.items()}


def part_of(text: str, name: str) -> dict[str, Any]:
    """One mapping in the JSON of ``--settings``, as it is.

    Raises:
        ConfigError: it is absent or no mapping.
    """
    part = _mapping(text).get(name)
    if not isinstance(part, dict):
        raise ConfigError(f"`{name}` is missing or no mapping", where="--settings")
    return part
