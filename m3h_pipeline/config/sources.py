"""The section ``source``: what a cohort is made from. That of MIMIC-IV is in ``mimic.py``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from m3h_pipeline.config.base import (
    ByName,
    CodedSource,
    Name,
    OwnSource,
    Section,
    SourceSection,
    Subgroup,
    Width,
    as_meant,
    files_of,
    located,
)
from m3h_pipeline.config.mimic import MimicSource
from m3h_pipeline.config.missing import MISSING
from m3h_pipeline.dotted import is_path, locate
from m3h_pipeline.errors import ConfigError


class HaimSource(SourceSection):
    """HAIM-MIMIC-MM as published: one CSV of embeddings, the key-ids file, MIMIC-IV hosp tables."""

    kind: Literal["haim"] = "haim"
    table: str = Field(description="the embedding table, `cxr_ic_fusion_1103.csv`, also gzipped")
    key_ids: str = Field(description="`haim_mimiciv_key_ids.csv`: haim_id -> subject, admission, stay")
    hosp: str | None = Field(
        default=None,
        description="folder of MIMIC-IV hosp tables (diagnoses_icd, d_icd_diagnoses); needed by ICD tasks",
    )
    blocks: ByName[Name, str] = Field(
        default_factory=lambda: {
            "demographics": "de_",
            "vision_dense": "vd_",
            "vision_probabilities": "vp_",
            "vision_dense_multi": "vmd_",
            "vision_probabilities_multi": "vmp_",
            "ts_chart": "ts_ce_",
            "ts_lab": "ts_le_",
            "ts_procedure": "ts_pe_",
            "note_ecg": "n_ecg_",
            "note_echo": "n_ech_",
            "note_radiology": "n_rad_",
        },
        description="source -> prefix of its columns, which are the prefix and a number",
    )
    subgroups: ByName[Name, Subgroup] = Field(
        default_factory=lambda: {"sex": Subgroup(column="de_1", values={"0": "female", "1": "male"})},
        description="subgroup -> column and names of its codes",
    )
    max_malformed: int = Field(
        default=10,
        ge=0,
        description="lines that are malformed or have no key and are set aside; one more is an error",
    )

    @property
    def names(self) -> Collection[str]:
        return self.blocks

    @property
    def has_diagnoses(self) -> bool:
        return bool(self.hosp)

    def located(self, data: str) -> Self:
        hosp = located(self.hosp, data) if self.hosp else None
        paths = {"table": located(self.table, data), "key_ids": located(self.key_ids, data), "hosp": hosp}
        return self.model_copy(update=paths)

    def paths(self) -> list[str]:
        return [self.table, self.key_ids, *([self.hosp] if self.hosp else [])]


#: Numbers need no quotes.
MissingValue = Annotated[
    str, Field(coerce_numbers_to_str=True), WithJsonSchema({"type": ["string", "number"]})
]


class TableFile(Section):
    """One file of a `table` source."""

    path: str = Field(
        description="CSV, TSV, `.txt` (also GEO's series matrix), Parquet, ARFF, also gzipped; a folder of "
        "Parquet parts; AnnData `.h5ad`; `python:package/file` is a file inside a package"
    )
    id: str | None = Field(
        default=None, description="column to join the files on; null: the row number (one file only)"
    )
    on: str | None = Field(
        default=None,
        description="column of an earlier file that `id` is compared with, where several samples share a row "
        "(samples in one file, patients in another); null: the sample's id, or, where `id` is the column of "
        "`patient_id` or `stay_id`, that",
    )
    join: Literal["left", "inner", "outer"] | None = Field(
        default=None,
        description="how this file meets the first: `left` leaves out its rows that belong to no sample, "
        "`inner` samples that it lacks too, `outer` makes samples of its rows; null: like `left`, and a "
        "sample that stands in one file alone is refused",
    )
    annotation: list[str] = Field(
        default_factory=list,
        description="columns that are left out, as if the file did not have them; of a `transposed` file "
        "those that are no samples (`Entrez_Gene_Id`)",
    )
    header: PositiveInt | None = Field(
        default=None, description="line of a text file's header; null: the first that is no comment (`#`)"
    )
    transposed: bool = Field(
        default=False,
        description="features in rows, samples in columns; the samples' names are then the column `sample`",
    )
    layer: str | None = Field(default=None, description="`.h5ad`: layer of the values; null: `X`")
    symbols: str | None = Field(
        default=None,
        description="column that names the features: of a `transposed` file (null: the first), or of `var` "
        "of a `.h5ad` (null: its index)",
    )

    @model_validator(mode="after")
    def _options_fit_the_format(self) -> TableFile:
        anndata = self.path.endswith(".h5ad")
        if self.transposed and anndata:
            raise ValueError("a `.h5ad` file is never `transposed`")
        if not anndata and self.layer is not None:
            raise ValueError("`layer` belongs to `.h5ad` files")
        if not anndata and not self.transposed and self.symbols is not None:
            raise ValueError("`symbols` belongs to `.h5ad` and `transposed` files")
        if self.on is not None and (self.id is None or self.join == "outer"):
            raise ValueError("a file joined `on` a column has an `id`, and its rows are no samples (`outer`)")
        return self


class GeneOptions(Section):
    """How gene expression is prepared, in this order; no step knows an outcome."""

    strip_version: bool = Field(
        default=False,
        description="`ENSG00000141510.18` becomes `ENSG00000141510`, `NM_000546.6` `NM_000546`; no other "
        "name with a dot changes",
    )
    keep: list[str] | str | None = Field(
        default=None, description="genes to keep, or a file with one per line; null: all"
    )
    log: Literal["none", "log2", "log1p"] = Field(
        default="none", description="logarithm, of the value plus `pseudo_count` or (`log1p`) plus 1"
    )
    pseudo_count: PositiveFloat = Field(default=1.0, description="added before `log2`")
    clip: tuple[float, float] | None = Field(
        default=None, description="least and largest value; what lies beyond becomes that"
    )
    min_observed: float = Field(
        default=0.0, ge=0, le=1, description="least share of samples in which a gene is observed"
    )
    duplicates: Literal["error", "mean", "max_variance", "first"] = Field(
        default="error", description="what becomes of columns of the same gene"
    )
    top_variance: PositiveInt | None = Field(
        default=None, description="so many genes, those that vary most over all samples; null: all"
    )

    @model_validator(mode="after")
    def _clip_is_a_range(self) -> GeneOptions:
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise ValueError("`clip` is not [least, largest]")
        return self


class TableBlock(Section):
    """The columns of one source of a `table` cohort: by pattern, by list, or both."""

    pattern: str | None = Field(default=None, description="regular expression a column's whole name matches")
    columns: list[str] = Field(
        default_factory=list,
        description="column names; a column of vectors (a list column of Parquet, `obsm:X_pca` of a `.h5ad`) "
        "stands for all their elements",
    )
    exclude: list[str] = Field(default_factory=list, description="column names left out")
    file: int | None = Field(
        default=None, ge=0, description="number of the file the columns stand in; null: any"
    )
    categorical: list[str] = Field(
        default_factory=list, description="columns turned into one 0/1 column per value"
    )
    genes: GeneOptions | None = Field(
        default=None,
        description="the columns are expression of genes, prepared like this; null: used as they are",
    )

    @model_validator(mode="after")
    def _genes_are_numbers(self) -> TableBlock:
        if self.genes is not None and self.categorical:
            raise ValueError("a block of `genes` has no `categorical` columns")
        return self


class TableSource(CodedSource):
    """Any table: CSV, TSV, Parquet, ARFF; several files are joined on an id."""

    kind: Literal["table"] = "table"
    files: list[TableFile] = Field(
        min_length=1, description="the files; the first one decides which samples exist"
    )
    patient_id: str | None = Field(
        default=None, description="column of the patient; null: each sample its own"
    )
    stay_id: str | None = Field(default=None, description="column of the stay; null: none")
    blocks: ByName[Name, TableBlock] = Field(min_length=1, description="source -> its columns")
    columns: list[str] = Field(
        default_factory=list, description="columns that task definitions read; those no block may contain"
    )
    subgroups: ByName[Name, Subgroup] = Field(
        default_factory=dict, description="subgroup -> column and names"
    )
    missing_values: list[MissingValue] = Field(
        default_factory=list,
        description="further texts that mean: not observed, beside "
        + ", ".join(f"`{text}`" if text else "nothing at all" for text in MISSING)
        + " (`None` as it is, the others in any case); numbers are compared as numbers, in every format",
    )
    limits: Literal["number", "half", "missing"] | None = Field(
        default=None,
        description="what a feature's value beyond what can be measured (`<5`, `>=1000`) becomes: the "
        "`number`, `half` of it where it is the least, or `missing`; they are counted; null: refused",
    )
    max_malformed: int = Field(
        default=10, ge=0, description="rows without id or patient that are set aside; one more is an error"
    )

    @model_validator(mode="before")
    @classmethod
    def _names_are_composed(cls, data: Any) -> Any:
        return as_meant(data)

    @model_validator(mode="after")
    def _the_first_file_joins_nothing(self) -> TableSource:
        if self.files[0].on is not None or self.files[0].join is not None:
            raise ValueError("`on` and `join` say how a file meets the first one: write them at the others")
        return self

    @property
    def names(self) -> Collection[str]:
        return self.blocks

    def located(self, data: str) -> Self:
        files = [file.model_copy(update={"path": located(file.path, data)}) for file in self.files]
        blocks = {
            name: block.model_copy(
                update={"genes": block.genes.model_copy(update={"keep": located(block.genes.keep, data)})}
            )
            if block.genes is not None and isinstance(block.genes.keep, str)
            else block
            for name, block in self.blocks.items()
        }
        return super().located(data).model_copy(update={"files": files, "blocks": blocks})

    def paths(self) -> list[str]:
        lists = [block.genes.keep for block in self.blocks.values() if block.genes is not None]
        paths = [*(file.path for file in self.files), *(keep for keep in lists if isinstance(keep, str))]
        own = [path for path in paths if not path.startswith("python:")]
        return [*(part for path in own for part in files_of(path)), *super().paths()]


class SyntheticSource(SourceSection):
    """A HAIM-format cohort with planted structure, written as files and read back like real data."""

    kind: Literal["synthetic"] = "synthetic"
    samples: int = Field(default=2400, ge=200, description="rows (chest X-rays) before the planted traps")
    samples_per_patient: PositiveFloat = Field(default=1.5, ge=1, description="mean samples of a patient")
    widths: ByName[Name, Width] = Field(
        default_factory=lambda: (
            {"demographics": 6, "ts_chart": 27, "ts_lab": 33, "ts_procedure": 10}
            | dict.fromkeys(("vision_dense", "vision_dense_multi", "note_radiology"), 32)
            | dict.fromkeys(("vision_probabilities", "vision_probabilities_multi"), 18)
            | dict.fromkeys(("note_ecg", "note_echo"), 16)
        ),
        description="source -> number of features (published: 6, 768 x 3, 99, 242, 110, 1024 x 2, 18 x 2)",
    )
    tasks: Literal["default", "all"] = Field(
        default="default",
        description="which tasks get planted structure: a dozen (`default`) or all 41 of the paper (`all`)",
    )
    signal: PositiveFloat = Field(default=1.0, description="strength of the shared factors in the features")
    interactions: float = Field(
        default=1.0,
        ge=0,
        le=10,
        description="strength of what is beyond linear reach in the risks of some tasks (products of a "
        "factor and age, U-shapes, exclusive-or); 0: none",
    )
    max_malformed: int = Field(default=10, ge=0, description="as in the `haim` source")

    @property
    def names(self) -> Collection[str]:
        return self.widths

    @property
    def has_diagnoses(self) -> bool:
        return True


def _own(value: Any, shipped: ValidatorFunctionWrapHandler) -> Any:
    """A source of a kind of the user's own, by its dotted path; any other as shipped."""
    if isinstance(value, OwnSource):
        return value
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if not isinstance(kind, str) or not is_path(kind):
        return shipped(value)
    made = locate(kind)
    if not (isinstance(made, type) and issubclass(made, OwnSource)):
        raise ConfigError(
            "this is no subclass of m3h_pipeline.config.base.OwnSource", where=f"source, {kind}"
        )
    try:
        return made.model_validate(value)
    except ValidationError as error:
        wrong = [f"`{'.'.join(map(str, e['loc']))}`: {e['msg']}" for e in error.errors(include_url=False)]
        raise ConfigError("\n".join(wrong), where=f"source, {kind}") from error


Source = Annotated[
    HaimSource | MimicSource | TableSource | SyntheticSource,
    Field(discriminator="kind"),
    WrapValidator(_own),
    SerializeAsAny(),
]
#: The kinds by their name.
SOURCE_KINDS: dict[str, type[SourceSection]] = {
    str(kind.model_fields["kind"].default): kind
    for kind in (HaimSource, MimicSource, TableSource, SyntheticSource)
}
