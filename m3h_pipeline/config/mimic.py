"""The section of the `mimic` source: a cohort built from MIMIC-IV as distributed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from m3h_pipeline.config.base import ByName, Name, Section, SourceSection, Subgroup, located

#: The sources that are computed from the tables; those in `embeddings` come beside them.
MIMIC_SOURCES = ("demographics", "ts_chart", "ts_lab", "ts_procedure")
#: The tables that are read, of MIMIC-IV and (for samples per image) of MIMIC-CXR-JPG.
MIMIC_TABLES = (
    "hosp/admissions",
    "hosp/d_icd_diagnoses",
    "hosp/d_labitems",
    "hosp/diagnoses_icd",
    "hosp/labevents",
    "hosp/patients",
    "icu/chartevents",
    "icu/d_items",
    "icu/icustays",
    "icu/procedureevents",
)
#: Of these, the ones that MIMIC-IV 1.0 has in the folder `core`.
CORE_TABLES = ("hosp/admissions", "hosp/patients")
CXR_TABLES = ("mimic-cxr-2.0.0-metadata", "mimic-cxr-2.0.0-chexpert")
#: The labels of a report by CheXpert in the published order, columns of the second of these tables and of
#: HAIM-MIMIC-MM: 1, 0, -1 (uncertain) or empty.
CHEXPERT = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
#: What subgroups may be made of: columns of `patients`, `admissions` and `icustays`.
MIMIC_GROUPS = ("gender", "race", "insurance", "language", "marital_status", "first_careunit")


class MimicEmbedding(Section):
    """Features of notes or images by a pretrained model whose files lie on this machine."""

    kind: Literal["language", "vision_dense", "vision_probabilities"] = Field(
        description="of notes, or of chest X-rays: their 1,024 features or their 18 predictions"
    )
    model: str = Field(
        description="folder of a Hugging Face encoder, or densenet121-res224-chex weights as safetensors"
    )
    notes: str | None = Field(
        default=None, description="table of MIMIC-IV-Note (`language`), such as `note/radiology.csv.gz`"
    )
    pooling: Literal["pooler", "cls", "mean"] = Field(
        default="pooler", description="a note's vector: the model's pooled output, first token, or token mean"
    )
    aggregate: Literal["time_weighted", "mean", "last"] = Field(
        default="time_weighted",
        description="how those known at a sample's time become one: weighted by time as published, or not",
    )

    @model_validator(mode="after")
    def _has_notes(self) -> MimicEmbedding:
        if (self.kind == "language") != (self.notes is not None):
            raise ValueError("`notes` is needed by `kind: language`, and by no other")
        return self


class MimicSource(SourceSection):
    """MIMIC-IV as distributed: `hosp/` and `icu/` (1.0: `core/` too); MIMIC-CXR-JPG for samples per image."""

    kind: Literal["mimic"] = "mimic"
    folder: str = Field(description="folder with `hosp/` and `icu/`, their tables as .csv or .csv.gz")
    cxr: str | None = Field(
        default=None, description="folder of MIMIC-CXR-JPG, for `samples: per_image`; null: none"
    )
    samples: Literal["per_stay", "every", "per_image"] = Field(
        default="per_stay",
        description="one per ICU stay at `hours` after its start, one every `hours`, or one per chest X-ray",
    )
    hours: PositiveFloat = Field(
        default=48, description="hour of the stay (`per_stay`) or hours between samples (`every`)"
    )
    max_per_stay: PositiveInt | None = Field(
        default=None, description="most samples of a stay (`every`), the first ones; null: all"
    )
    variant: Literal["published", "corrected"] = Field(
        default="corrected",
        description="features to the letter of the published code, or with its flaws mended",
    )
    embeddings: ByName[Name, MimicEmbedding] = Field(
        default_factory=dict, description="further sources, of notes or images -> model and aggregation"
    )
    subgroups: ByName[Name, Subgroup] = Field(
        default_factory=lambda: {"sex": Subgroup(column="gender", values={"F": "female", "M": "male"})},
        description="subgroup -> column of `patients`, `admissions` or `icustays`, and names of its codes",
    )
    memory_gb: PositiveFloat = Field(
        default=2.0, description="memory the database may take before it spills to disk; the rest takes ~1 GB"
    )
    temp: str | None = Field(
        default=None, description="folder for what is spilled; null: beside the cohort while it is built"
    )

    max_malformed: int = Field(
        default=10,
        ge=0,
        description="ICU stays without patient or admission that are set aside; one more is an error",
    )

    @property
    def blocks(self) -> dict[str, str]:
        """The sources this one can deliver, and where each comes from."""
        return {name: name for name in MIMIC_SOURCES} | {name: e.kind for name, e in self.embeddings.items()}

    @property
    def names(self) -> Collection[str]:
        return self.blocks

    @property
    def has_diagnoses(self) -> bool:
        return True

    def located(self, data: str) -> Self:
        embeddings = {
            name: e.model_copy(
                update={"model": located(e.model, data), "notes": located(e.notes, data) if e.notes else None}
            )
            for name, e in self.embeddings.items()
        }
        cxr = located(self.cxr, data) if self.cxr else None
        return self.model_copy(
            update={"folder": located(self.folder, data), "cxr": cxr, "embeddings": embeddings}
        )

    def paths(self) -> list[str]:
        """The tables, then what embeddings are made of; a table that is absent is named as distributed."""
        names = [folder_of(Path(self.folder), name) / Path(name).name for name in MIMIC_TABLES]
        if self.cxr is not None and self.samples == "per_image":
            names += [Path(self.cxr) / name for name in CXR_TABLES]
        found = [_as_distributed(path) for path in names]
        for name in self.embeddings:
            found += [path for path in self.embedding_paths(name) if path not in found]
        return [str(path) for path in found]

    def embedding_paths(self, name: str) -> list[Path]:
        """What a source of embeddings is made of: the model's files, and the notes or the list of images."""
        embedding = self.embeddings[name]
        model = Path(embedding.model)
        if embedding.notes is not None:
            return [Path(embedding.notes), model / "config.json", model / "model.safetensors"]
        return [_as_distributed(Path(str(self.cxr)) / CXR_TABLES[0]), model]

    @model_validator(mode="after")
    def _consistent(self) -> MimicSource:
        if self.samples == "per_image" and self.cxr is None:
            raise ValueError("`samples: per_image` needs `cxr`, the folder of MIMIC-CXR-JPG")
        if taken := sorted(set(self.embeddings) & set(MIMIC_SOURCES)):
            raise ValueError(f"`embeddings` names `{taken[0]}`, which is computed from the tables")
        for name, embedding in self.embeddings.items():
            if embedding.kind != "language" and self.cxr is None:
                raise ValueError(f"`embeddings.{name}` needs `cxr`, the folder of MIMIC-CXR-JPG")
        for name, group in self.subgroups.items():
            if group.column not in MIMIC_GROUPS:
                raise ValueError(
                    f"subgroup `{name}` names the column `{group.column}`; valid: {', '.join(MIMIC_GROUPS)}"
                )
        return self


def folder_of(root: Path, name: str) -> Path:
    """The folder of a table such as ``hosp/patients``; MIMIC-IV 1.0 has some tables of `hosp` in `core`."""
    given, core = (root / name).parent, root / "core"
    if name not in CORE_TABLES or _as_distributed(root / name).is_file() or not core.is_dir():
        return given
    return core


def _as_distributed(path: Path) -> Path:
    plain = path.with_name(f"{path.name}.csv")
    return plain if plain.is_file() else path.with_name(f"{path.name}.csv.gz")
