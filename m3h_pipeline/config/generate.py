"""Files generated from the configuration models: default file, JSON schema, table for people.

Run ``python -m m3h_pipeline.config.generate`` after changing a model; a test fails where they have drifted.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from m3h_pipeline.config.base import Diagnoses
from m3h_pipeline.config.mimic import MimicEmbedding
from m3h_pipeline.config.model import GeneVectors, Modality, Model, Transcriptome
from m3h_pipeline.config.recipes import RECIPES, Recipe, keys_of
from m3h_pipeline.config.results import GenePairs, Given, Network, Networks, Stratum
from m3h_pipeline.config.sources import (
    SOURCE_KINDS,
    GeneOptions,
    TableBlock,
    TableFile,
)
from m3h_pipeline.config.study import Study
from m3h_pipeline.config.training import EarlyStopping, Race, Training

_CONFIG = Path(__file__).resolve().parents[2] / "config"

#: What the default study says beyond the defaults of the models: few widths and one batch size, so that the
#: whole path runs on a laptop in minutes.
DEFAULT_STUDY: dict[str, Any] = {
    "study": "default",
    "source": {"kind": "synthetic", "samples": 3800},
    "modalities": {
        "tabular": {"sources": ["demographics"]},
        "time_series": {"sources": ["ts_chart", "ts_lab", "ts_procedure"]},
        "language": {"sources": ["note_ecg", "note_echo", "note_radiology"]},
        "vision": {
            "sources": [
                "vision_dense",
                "vision_probabilities",
                "vision_dense_multi",
                "vision_probabilities_multi",
            ]
        },
    },
    "tasks": {
        "include": [
            "heart_failure",
            "chronic_kidney_disease",
            "diabetes",
            "pneumonia",
            "copd",
            "thoracic_pathology",
            "sepsis",
            "mortality_48h",
            "length_of_stay",
            "gout",
            "tuberculosis",
            "chronic_liver_disease",
            "phenotype",
        ],
        "permute": ["diabetes"],
    },
    # Half of the patients: a cohort made to be looked at shall show differences of a hundredth.
    "split": {
        "test_fraction": 0.5,
        "folds": 3,
        "stratify_by": ["tuberculosis", "mortality_48h", "thoracic_pathology"],
    },
    "model": {"encoder": [64], "projection": 32, "shared": [64], "task": [64], "decoder": [64]},
    # A fixed number of short epochs in place of early stopping, which trains every fit twice.
    "training": {
        "epochs": 8,
        "min_steps": 150,
        "batch_sizes": [64],
        "learning_rates": [2e-3],
        "early_stopping": None,
    },
    "search": {"beam": 2, "max_size": 3, "combinations_per_job": 40},
    "tim": {"controls": 2, "replicates": 2},
    "evaluation": {"replicates": 3, "draws": 500},
}

_README_HEAD = """# Configuration

One YAML file describes one study; `snakemake --configfile config/<study>.yaml` runs it. A file states only
what differs from the defaults below. `m3h check --configfile FILE` validates a file, its inputs and its tasks
before anything is trained; a wrong key is reported with its place and the nearest valid one.

| file | study |
|---|---|
| `config.yaml` | the default: an embedded cohort with planted structure |
| `ablation_m3h.yaml` | a smaller one, all tasks at once: what each part of the network contributes |
| `small_hospital.yaml` | five CSV files as a ward exports them |
| `support2.yaml` | SUPPORT2: seriously ill adults, eight outcomes |
| `eicu_demo.yaml` | the eICU demo: first day in intensive care, six outcomes |
| `diabetes130.yaml` | 76,199 hospital stays of patients with diabetes, 22 outcomes |
| `haim_mimic_mm.yaml` | the published study: HAIM-MIMIC-MM, 41 tasks |
| `mimic_demo.yaml` | the open MIMIC-IV demo, from its raw tables: 100 patients that prove the path |
| `tcga_brca.yaml` | TCGA breast cancer: gene expression and clinical data, several outcomes |
| `tcga_brca_txt.yaml` | the same patients with TxT's transformer over genes, beside M3H's MLP |
| `tcga_brca_values.yaml` | ways for expression to enter that transformer, compared |
| `gse7390.yaml` | GSE7390 breast cancer, from the data that scikit-survival carries; needs no download |
| `gse7390_txt.yaml` | the same patients with TxT's transformer over genes, beside M3H's MLP |

`config.yaml`, `schema.json` (for editors: `# yaml-language-server: $schema=schema.json`) and this page are
generated: `python -m m3h_pipeline.config.generate`.

"""


def default_yaml() -> str:
    """The text of ``config/config.yaml``: every key of the default study, with its description.

    What its recipe says stands there with a `#` in front, so that another recipe can say something else.
    """
    study = Study.model_validate(DEFAULT_STUDY)
    lines = [
        "# yaml-language-server: $schema=schema.json",
        "# The default study, with every key. Generated from the models; other studies state what differs.",
        "# What the recipe says has a `#` in front: without it, it stays whatever the recipe.",
        "",
    ]
    left = _left_to_recipes(
        DEFAULT_STUDY, keys_of({name: one.encoder for name, one in study.modalities.items()})
    )
    lines += _yaml_lines(study, 0, left)
    return "\n".join(lines) + "\n"


def _left_to_recipes(stated: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """Of the keys of recipes those that are not stated."""
    return {
        key: _left_to_recipes(stated[key], inner)
        if isinstance(inner, Mapping) and isinstance(stated.get(key), Mapping)
        else inner
        for key, inner in keys.items()
        if key not in stated or isinstance(inner, Mapping)
    }


def schema_json() -> str:
    """The text of ``config/schema.json``."""
    return json.dumps(Study.model_json_schema(), indent=1, sort_keys=True) + "\n"


def readme() -> str:
    """The text of ``config/README.md``: one table per section."""
    parts = [_README_HEAD]
    parts.append("## The study\n\n" + _table(Study, ""))
    parts.append(_recipes())
    for name, kind in SOURCE_KINDS.items():
        parts.append(f"## `source`, kind `{name}`\n\n{kind.__doc__}\n\n" + _table(kind, "source."))
    parts.append(
        "## `source.embeddings.<name>`\n\n" + f"{MimicEmbedding.__doc__}\n\n" + _table(MimicEmbedding, "")
    )
    table: dict[str, type[BaseModel]] = {
        "source.files[]": TableFile,
        "source.diagnoses": Diagnoses,
        "source.blocks.<name>": TableBlock,
        "source.blocks.<name>.genes": GeneOptions,
    }
    for key, section in table.items():
        parts.append(f"## `{key}`\n\n{section.__doc__}\n\n" + _table(section, ""))
    for key, field in Study.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is not None:
            parts.append(f"## `{key}`\n\n{inner.__doc__}\n\n" + _table(inner, f"{key}."))
    modality = get_args(Study.model_fields["modalities"].annotation)[1]
    parts.append("## `modalities.<name>`\n\n" + f"{modality.__doc__}\n\n" + _table(modality, ""))
    optional: dict[str, type[BaseModel]] = {
        "modalities.<name>.transcriptome": Transcriptome,
        "modalities.<name>.transcriptome.genes": GeneVectors,
        "training.early_stopping": EarlyStopping,
        "search.race": Race,
        "evaluation.given.<name>.<task>": Given,
        "gene_pairs": GenePairs,
        "gene_pairs.within": Stratum,
        "networks": Networks,
        "networks.others.<name>": Network,
    }
    for key, section in optional.items():
        parts.append(f"## `{key}`\n\n{section.__doc__}\n\n" + _table(section, ""))
    return "\n".join(parts)


def main() -> None:
    """Write the generated files."""
    for name, text in generated().items():
        (_CONFIG / name).write_text(text)


def generated() -> dict[str, str]:
    """File name -> text of every generated file in ``config/``."""
    return {"config.yaml": default_yaml(), "schema.json": schema_json(), "README.md": readme()}


def _yaml_lines(model: BaseModel, depth: int, left: Mapping[str, Any]) -> Iterator[str]:
    """A section's keys; those that are left to the recipe (``left``) commented out."""
    indent = "  " * depth
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if depth == 0 and name not in {"study", "recipe", "seed", "results", "data"}:
            yield ""
        if field.description:
            yield f"{indent}# {field.description}"
        if isinstance(value, BaseModel):
            of_recipes = left.get(name, {})
            # A section that could be null is the recipe's as a whole; one without a key would be null.
            if name in left and field.default is None:
                of_recipes = dict.fromkeys(type(value).model_fields)
            whole = set(type(value).model_fields) <= set(of_recipes)
            yield f"{indent}{'#' if whole and depth else ''}{name}:"
            yield from _yaml_lines(value, depth + 1, of_recipes)
        elif name == "modalities":
            yield f"{name}:"
            for own, modality in value.items():
                shown = {key: item for key, item in _plain(modality).items() if key not in left[name][own]}
                yield from ("  " + line for line in _dump({own: shown}))
                told = {key: getattr(modality, key) for key in left[name][own]}
                yield from (
                    "    #" + line for line in _dump({k: _plain(v) for k, v in told.items() if v is not None})
                )
        else:
            mark = "#" if name in left else ""
            yield from (indent + mark + line for line in _dump({name: _plain(value)}))


def _dump(value: dict[str, Any]) -> Iterator[str]:
    """Block style for mappings, flow style for lists and scalars."""
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield f"{key}:"
            yield from ("  " + line for line in _dump(inner))
        else:
            text = yaml.safe_dump(inner, default_flow_style=True, width=96).removesuffix("...\n").strip()
            yield f"{key}: {text}"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _table(model: type[BaseModel], prefix: str) -> str:
    rows = ["| key | meaning | default |", "|---|---|---|"]
    rows += [f"| `{key}` | {meaning} | {default} |" for key, meaning, default in _rows(model, prefix)]
    return "\n".join(rows) + "\n"


def _recipes() -> str:
    """The section on recipes: what each makes of the keys that some recipe names."""
    told = {name: dict(_told(recipe)) for name, recipe in RECIPES.items()}
    keys = dict.fromkeys(key for values in told.values() for key in values)
    fields = dict(_told(_FIELDS))
    rows = [f"| key | {' | '.join(f'`{name}`' for name in told)} |", "|---|" + "---|" * len(told)]
    for key in keys:
        cells = [f"`{json.dumps(values.get(key, fields[key]))}`" for values in told.values()]
        rows.append(f"| {key} | {' | '.join(cells)} |")
    head = (
        "What stands for a key that a study leaves out, by its `recipe`; of other keys, their defaults below."
    )
    return (
        f"## Recipes\n\n{head}\n[docs/recipes.md](../docs/recipes.md) says more.\n\n" + "\n".join(rows) + "\n"
    )


#: What holds where no recipe says anything.
_FIELDS = Recipe(
    Model().model_dump(mode="json"),
    Training().model_dump(mode="json"),
    *[Modality(sources=["any"]).model_dump(mode="json")] * 2,
)


def _told(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Key, as it is shown, -> value of all that a recipe says."""
    sections = (
        ("`model.{}`", recipe.model, _FIELDS.model),
        ("`training.{}`", recipe.training, _FIELDS.training),
        ("`modalities.<name>.{}`", recipe.modality, _FIELDS.modality),
        ("`modalities.<name>.{}`, encoder `transcriptome`", recipe.transcriptome, _FIELDS.modality),
    )
    for shown, values, fields in sections:
        yield from ((shown.format(key), value) for key, value in _flat(values, fields))


def _flat(values: Mapping[str, Any], fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted key -> value, of sections that are always there."""
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(fields[key], Mapping):
            yield from ((f"{key}.{inner}", one) for inner, one in _flat(value, fields[key]))
        else:
            yield key, value


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is not None and prefix:
            yield from _rows(inner, f"{prefix}{name}.")
            continue
        choices = _choices(field.annotation)
        meaning = (field.description or "") + (f" ({choices})" if choices else "")
        if name == "kind" and prefix:
            meaning = "which kind of source this is"
        yield prefix + name, meaning.replace("|", "\\|"), _default(field, inner)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _choices(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is typing.Literal:
        return ", ".join(f"`{v}`" for v in get_args(annotation))
    if origin in {list, typing.Union, types.UnionType}:
        return next((c for c in map(_choices, get_args(annotation)) if c), "")
    return ""


def _default(field: FieldInfo, inner: type[BaseModel] | None) -> str:
    if inner is not None:
        return "see below"
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        value = value.model_dump()
    text = json.dumps(_plain(value), ensure_ascii=False)
    return f"`{text}`" if len(text) <= 60 else "see `config.yaml` or `schema.json`"


if __name__ == "__main__":
    main()
