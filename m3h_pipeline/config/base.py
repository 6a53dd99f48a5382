"""What every section of a study's configuration is made of."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TextIO, TypeVar

from m3h_pipeline.config.fields import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    WrapSerializer,
    field_validator,
    model_validator,
)

_PARQUET = (".parquet", ".pq", ".parq")
K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Width = PositiveInt
#: Of what is listed one by one in plans and draws.
Count = Annotated[int, Field(ge=1, le=1_000_000)]


def _safe(path: str) -> str:
    """A folder of results, whose name becomes part of patterns, of command lines and of lists of files."""
    if found := next((sign for sign in "{}" if sign in path), None):
        raise ValueError(f"`{found}` stands for something else in the workflow's patterns: rename the folder")
    if not path.isprintable():
        raise ValueError("a line break, a tab or another control character: rename the folder")
    if path[:1] in {"-", "~", "@"}:
        raise ValueError(
            f"a path that begins with `{path[0]}` would be read as something else: write it in full"
        )
    return path


#: A folder that results go to.
Folder = Annotated[str, AfterValidator(_safe)]


#: Keys of files, whose names a file system compares as they are.
_PATHS = frozenset({"path", "keep", "table", "hosp"})


def composed(value: T) -> T:
    """A text, and all texts of lists and mappings but paths, with composed letters (NFC).

    macOS decomposes what it names, other systems do not: without this a column is absent that stands there.

    Examples:
        >>> composed({"a\u0301": ["o\u0308", 1]}) == {"\u00e1": ["\u00f6", 1]}
        True
    """
    made: Any = value
    if isinstance(value, str):
        made = value if value.isascii() else unicodedata.normalize("NFC", value)
    elif isinstance(value, list):
        made = [composed(one) for one in value]
    elif isinstance(value, dict):
        made = {
            composed(key): one if isinstance(one, str) and key in _PATHS else composed(one)
            for key, one in value.items()
        }
    found: T = made
    return found


def as_meant(section: Any) -> Any:
    """A section whose `files` have `on`: YAML reads it as a truth without quotes, also where it is a key.

    Examples:
        >>> as_meant({"files": [{"path": "t.csv", True: "mrn"}]})
        {'files': [{'path': 't.csv', 'on': 'mrn'}]}
    """
    made = composed(section)
    if isinstance(made, dict) and isinstance(files := made.get("files"), list):
        made["files"] = [
            {"on" if key is True else key: value for key, value in file.items()}
            if isinstance(file, dict)
            else file
            for file in files
        ]
    return made


def _by_name(value: dict[K, V]) -> dict[K, V]:
    return {key: _sorted_within(entry) for key, entry in sorted(value.items(), key=lambda item: str(item[0]))}


def _sorted_within(value: Any) -> Any:
    """Mappings of any values, such as keys that replace those of another section."""
    return _by_name(value) if isinstance(value, dict) else value


def _from_pairs(value: Any) -> Any:
    if not isinstance(value, list) or not all(isinstance(item, list) and len(item) == 2 for item in value):
        return value
    names = [name for name, _ in value]
    if doubled := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"`{doubled[0]}` stands there twice")
    return dict(value)


def _as_pairs(value: Any, plain: Callable[[Any], dict[str, Any]]) -> list[list[Any]]:
    return [[name, entry] for name, entry in plain(value).items()]


#: A mapping whose order says nothing. It is sorted at once, so that nothing can come to depend on the order
#: in which somebody wrote it, and the jobs of a study do not change with it.
ByName = Annotated[dict[K, V], AfterValidator(_by_name)]
#: A mapping whose order has a meaning. As JSON it is a list of pairs: readers and writers of JSON are free to
#: lose the order of a mapping, and those of this package sort it.
InOrder = Annotated[dict[K, V], BeforeValidator(_from_pairs), WrapSerializer(_as_pairs, when_used="json")]


class Section(BaseModel):
    """A section: unknown keys are forbidden, numbers finite; values do not change after validation.

    Each mapping of a section is :data:`ByName` or :data:`InOrder`; so are defaults.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class SourceSection(Section):
    """A kind of source, and what the other parts ask of it; ``cohort/<kind>/ingest.py`` reads it.

    Attributes:
        kind: its name in a study.
    """

    kind: str
    zero_is_missing: bool | list[Name] = Field(
        default=False,
        description="sources (`true`: all) of which a row that is zero throughout was not observed, as the "
        "embedding of an absent note or image",
    )

    @property
    def names(self) -> Collection[str]:
        """The sources that modalities may name."""
        raise NotImplementedError("a source says which blocks it has (`names`)")

    @property
    def has_diagnoses(self) -> bool:
        """Whether its cohort has diagnosis codes."""
        return False

    def absent_if_zero(self) -> Collection[str]:
        """The sources of which a row that is zero throughout was not observed."""
        if isinstance(self.zero_is_missing, bool):
            return self.names if self.zero_is_missing else ()
        return self.zero_is_missing

    @model_validator(mode="after")
    def _zero_is_of_its_sources(self) -> Self:
        if isinstance(self.zero_is_missing, list):
            for name in self.zero_is_missing:
                if name not in self.names:
                    raise ValueError(f"`zero_is_missing`: there is no source `{name}`")
        return self

    def located(self, data: str) -> Self:
        """The section with its relative paths joined to ``data``."""
        return self

    def paths(self) -> list[str]:
        """The files and folders that are read, after :meth:`located`.

        Files inside Python packages (``python:package/file``) are left out: its version stands for them.
        """
        return []


class Diagnoses(Section):
    """ICD codes from any table: one code a row (`code`), or several columns of codes (`columns`)."""

    path: str | None = Field(
        default=None, description="the table of codes; null: `columns` stand in the files of the source"
    )
    id: str | None = Field(default=None, description="column of `path` that says whose codes a row has")
    of: Literal["sample", "stay", "patient"] = Field(
        default="sample", description="what `id` names: a sample, a stay or a patient of the cohort"
    )
    code: str | None = Field(default=None, description="column of the code, where a row of `path` has one")
    columns: list[str] = Field(
        default_factory=list,
        description="columns of codes, where a row has several; no block may contain them",
    )
    version: Literal[9, 10] | None = Field(default=None, description="of ICD, where all codes have the same")
    version_column: str | None = Field(
        default=None, description="column of the version: `9`, `10`, `ICD-10-CM` and the like"
    )
    versions: ByName[str, Literal[9, 10] | None] = Field(
        default_factory=dict,
        description="other texts of `version_column` -> version; null: these rows are left out and counted",
    )
    not_codes: list[str] = Field(
        default_factory=list, description="values that are no ICD codes: left out and counted"
    )
    title: str | None = Field(default=None, description="column of `path` with the title of the code")
    titles: str | None = Field(
        default=None,
        description="table of titles, columns `icd_code, icd_version, long_title`, as `d_icd_diagnoses` of "
        "MIMIC-IV; it also tells which code a number was",
    )

    @field_validator("version", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value in {"9", "10"} else value

    @model_validator(mode="after")
    def _complete(self) -> Diagnoses:
        if (self.code is None) == (not self.columns):
            raise ValueError("give `code` (one code a row) or `columns` (several), and not both")
        if (self.version is None) == (self.version_column is None):
            raise ValueError("give `version` (9 or 10) or `version_column`, and not both")
        if self.path is None and (self.code is not None or self.id is not None or self.title is not None):
            raise ValueError("`code`, `id` and `title` belong to a table of codes: give its `path`")
        if self.path is not None and self.id is None:
            raise ValueError("give `id`, the column of `path` that says whose codes a row has")
        if self.title is not None and self.code is None:
            raise ValueError("`title` belongs to `code`")
        return self

    @property
    def named(self) -> list[str]:
        """The columns of codes and of their version."""
        codes = [*([self.code] if self.code else []), *self.columns]
        return list(dict.fromkeys([*codes, *([self.version_column] if self.version_column else [])]))


class CodedSource(SourceSection):
    """Base of the sources that take diagnosis codes from a table; ``cohort/coded.py`` reads it."""

    diagnoses: Diagnoses | None = Field(default=None, description="ICD codes of the cohort; null: none")

    @property
    def has_diagnoses(self) -> bool:
        return self.diagnoses is not None

    def located(self, data: str) -> Self:
        if self.diagnoses is None:
            return self
        files = {"path": self.diagnoses.path, "titles": self.diagnoses.titles}
        found = {key: located(path, data) for key, path in files.items() if path is not None}
        return self.model_copy(update={"diagnoses": self.diagnoses.model_copy(update=found)})

    def paths(self) -> list[str]:
        if self.diagnoses is None:
            return []
        paths = [self.diagnoses.path, self.diagnoses.titles]
        return [path for path in paths if path is not None and not path.startswith("python:")]


class OwnSource(CodedSource):
    """Base of a kind of source of the user's own, whose ``kind`` is its dotted path: it reads itself."""

    def ingest(self, sources: Sequence[str], out: Path, stream: TextIO | None = None) -> dict[str, Any]:
        """Write the cohort, best by :class:`m3h_pipeline.cohort.writer.CohortWriter`.

        Args:
            sources: those of :attr:`names` that the modalities use.
            out: the folder ``cohort/`` of a study.
            stream: where progress is written; standard error by default.

        Returns:
            The summary, as :meth:`CohortWriter.finish` returns it.
        """
        raise NotImplementedError("a source of one's own reads itself (`ingest`)")


def located(path: str, data: str) -> str:
    """A path of the configuration joined to ``data``; a file inside a package stays as it is.

    Examples:
        >>> located("cohort.csv", "data"), located("python:sksurv/datasets/data/veteran.arff", "data")
        ('data/cohort.csv', 'python:sksurv/datasets/data/veteran.arff')
    """
    return path if path.startswith("python:") else str(Path(data) / path)


class Subgroup(Section):
    """A column that divides the samples into named groups."""

    column: str = Field(description="column of the input that holds the group's code")
    values: ByName[str, str] = Field(
        default_factory=dict, description="code -> name; empty: the codes are the names"
    )


def files_of(path: str) -> list[str]:
    """The file, or, if it is a folder, the Parquet parts that it holds."""
    return [str(part) for part in parts_of(Path(path))] if Path(path).is_dir() else [path]


def parts_of(folder: Path) -> list[Path]:
    """The parts of a folder of Parquet files, as Spark, Dask and Arrow write it, by their numbers.

    What begins with `_` or `.` (`_SUCCESS`, `.crc`) is none.
    """
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix in _PARQUET
        and path.is_file()
        and not any(name[0] in "_." for name in path.relative_to(folder).parts)
    ]
    return sorted(found, key=lambda path: _natural(path.relative_to(folder).as_posix()))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A name whose numbers count as such: `part.2` stands before `part.10`."""
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in re.split(r"(\d+)", name)]
