"""Task definitions: what a task is and how its labels follow from a cohort. Users add tasks by YAML alone.

A file of definitions looks like this::

    exclude:                          # optional: for every code of the file that is found by its title
      titles: ['\\bfamily history\\b']
      icd: {10: [Z00-Z99]}
    tasks:
      anemia:
        title: Anemia
        department: Blood Disorder
        class: binary
        criterion:
          kind: diagnosis
          titles: ['\\banemias?\\b']
          icd: {10: [D55-D59], 9: ["282"]}      # listed codes count whatever their title
          exclude: {titles: ['\\bfetal\\b']}
      tumor_size:
        title: Size of the tumor
        department: Oncology
        class: regression
        unit: cm
        criterion: {kind: number, column: size}
      overall_survival:
        title: Overall survival
        department: Outcome
        class: survival
        unit: months
        criterion: {kind: time_to_event, time: os_months, event: os_event}

A task may have ``variants``: keys that replace those above them where ``tasks.variant`` says so::

        variants:
          published:
            note: to the paper's letter
            criterion: {kind: diagnosis, icd: {10: [K50-K52], 9: ["555"]}}

The kinds of criterion are :data:`m3h_pipeline.tasks.kinds.KINDS` (docs/criteria.md); one of the user's own is
named by its dotted path, as a problem class is (docs/extending.md). A file that ends in ``.csv`` or ``.tsv``
is a task list (:mod:`m3h_pipeline.tasks.task_list`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, SerializeAsAny, model_validator

from m3h_pipeline.coding import METRICS
from m3h_pipeline.config import TaskSelection, read_yaml, validate
from m3h_pipeline.config.base import Name, Section, composed
from m3h_pipeline.dotted import is_path, locate
from m3h_pipeline.errors import ConfigError, TaskError, nearest
from m3h_pipeline.shipped import located
from m3h_pipeline.tasks.criteria import Codes, Criterion, Diagnosis, NoLabel, ProblemClass, Rule
from m3h_pipeline.tasks.kinds import KINDS, kind_of
from m3h_pipeline.tasks.task_list import ENDINGS, task_entries

VARIANTS = ("published", "corrected")


class TaskDefinition(Section):
    """One task: its name for people, its problem class, and the criterion of its labels."""

    title: str = Field(min_length=1, description="name for people")
    department: str = Field(min_length=1, description="group of tasks in tables and figures")
    problem_class: ProblemClass = Field(
        validation_alias=AliasChoices("class", "problem_class"),
        description="binary, multiclass, regression, survival or clustering, or a dotted path (key `class`)",
    )
    unit: str = Field(
        default="", description="unit of a regression label, or of the time of a survival label"
    )
    note: str = Field(default="", description="what a reader must know about the definition")
    own_class: str | None = Field(
        default=None, description="dotted path of a problem class of your own (key `class`)"
    )
    criterion: SerializeAsAny[Criterion] = Field(description="how the label follows from the cohort")

    @model_validator(mode="before")
    @classmethod
    def _classes_of_the_users_own(cls, data: Any) -> Any:
        """A dotted path for a problem class becomes the shipped class it is derived from, and the path."""
        if not isinstance(data, Mapping):
            return data
        found = dict(data)
        for key in ("class", "problem_class"):
            if isinstance(path := found.get(key), str) and is_path(path):
                found["own_class"], found[key] = path, own_class(path).name
        if isinstance(given := found.get("criterion"), Mapping):
            found["criterion"] = kind_of(str(given.get("kind"))).model_validate(given)
        return found

    @model_validator(mode="after")
    def _class_fits(self) -> TaskDefinition:
        kind, implied = self.criterion.kind, self.criterion.makes
        if implied != self.problem_class:
            of = f"{self.own_class}, a {self.problem_class} class" if self.own_class else self.problem_class
            raise ValueError(f"a criterion of kind `{kind}` makes a {implied} task, not {of}")
        return self

    @property
    def metric(self) -> str:
        """The metric that the problem class implies: a name of ``coding.METRICS``, or a dotted path."""
        return own_class(self.own_class).metric if self.own_class else METRICS[self.problem_class]

    def describe(self, task_id: str, *, permuted: bool = False) -> dict[str, Any]:
        """The description that travels with the labels (docs/architecture.md, Files)."""
        return {
            "id": task_id,
            "title": self.title,
            "department": self.department,
            "problem_class": self.problem_class,
            "metric": self.metric,
            "unit": self.unit,
            "classes": self.criterion.class_names,
            "clusters": self.criterion.clusters if isinstance(self.criterion, NoLabel) else 0,
            "note": self.note,
            "permuted": permuted,
            # Only where there is one: labels of a shipped class stay as they are.
            **({"own_class": self.own_class} if self.own_class else {}),
        }


@dataclass(frozen=True)
class OwnClass:
    """What labels and results take from a problem class of the user's own.

    Attributes:
        name: the shipped class it is derived from, which says what its labels and predictions are.
        metric: that class's, or the dotted path of a function.
    """

    name: ProblemClass
    metric: str


def own_class(path: str) -> OwnClass:
    """The problem class at a dotted path, as far as labels are concerned.

    The class is a subclass of one of ``m3h_pipeline.model.heads``, which is not imported here: training
    looks at the rest.

    Raises:
        ConfigError: there is no such class, or it is not derived from a shipped one.
    """
    made = locate(path)
    name, metric = getattr(made, "name", None), getattr(made, "metric", None)
    if name not in METRICS:
        raise ConfigError(
            "this is not derived from a shipped problem class",
            where=path,
            hint="derive it from Binary, Multiclass, Regression, Survival or Clustering of "
            "m3h_pipeline.model.heads, whichever has the labels it learns",
        )
    if metric != METRICS[name]:
        if not (isinstance(metric, str) and is_path(metric)):
            raise ConfigError(
                f"its `metric` is {metric!r}",
                where=path,
                hint=f"`{METRICS[name]}`, or the dotted path of a function (labels, predictions, weights)",
            )
        if not callable(locate(metric)):
            raise ConfigError(f"its metric `{metric}` is no function", where=path)
    return OwnClass(name, metric)


def load_definitions(files: Iterable[Path | str], variant: str = "corrected") -> dict[str, TaskDefinition]:
    """Read files of task definitions; both variants are validated, whichever is asked for.

    Args:
        files: YAML files, or task lists.
        variant: ``published`` or ``corrected``; a task that does not state the variant has but one form.

    Returns:
        Task id -> definition, in the order of the files.

    Raises:
        InputError: a file cannot be read.
        TaskError: a file or a definition is wrong; the message names file, task, key and what is nearest.
    """
    if variant not in VARIANTS:
        raise TaskError(f"there is no variant `{variant}`", hint=nearest(variant, VARIANTS))
    definitions: dict[str, TaskDefinition] = {}
    origin: dict[str, str] = {}
    for file in map(str, files):
        try:
            entries, shared = _entries(file)
            for task_id, entry in entries.items():
                if task_id in origin:
                    raise TaskError(
                        f"task `{task_id}` is defined twice", where=f"{origin[task_id]} and {file}"
                    )
                origin[task_id] = file
                forms = {v: _definition(entry, v, shared, f"{file}, task `{task_id}`") for v in VARIANTS}
                definitions[task_id] = forms[variant]
        except ConfigError as error:
            raise TaskError(error.what, where=error.where, hint=error.hint) from error
    if not definitions:
        raise TaskError("no task is defined", where=", ".join(origin) or "tasks.definitions")
    return definitions


def select(
    definitions: Mapping[str, TaskDefinition],
    include: Iterable[str] | Literal["all"] = "all",
    exclude: Iterable[str] = (),
) -> dict[str, TaskDefinition]:
    """The tasks of a study, in the order of their definitions.

    Raises:
        TaskError: a task is unknown, or none is left.
    """
    include = list(definitions) if include == "all" else list(include)
    exclude = list(exclude)
    for key, names in (("tasks.include", include), ("tasks.exclude", exclude)):
        for name in names:
            if name not in definitions:
                raise TaskError(f"there is no task `{name}`", where=key, hint=nearest(name, definitions))
    chosen = {name: d for name, d in definitions.items() if name in include and name not in exclude}
    if not chosen:
        raise TaskError("no task is left", where="tasks.include, tasks.exclude")
    return chosen


def tasks_of(selection: TaskSelection, located: Callable[[str], str] = located) -> dict[str, TaskDefinition]:
    """The tasks of a study, in the order of their definitions.

    Args:
        selection: section ``tasks`` of the configuration.
        located: where a file of definitions is, from what the section says; by default the user's own, else
            the one that ships.

    Raises:
        InputError: a file cannot be read.
        TaskError: a file or a definition is wrong, a task is unknown, or none is left.
    """
    definitions = load_definitions(map(located, selection.definitions), selection.variant)
    return select(definitions, selection.include, selection.exclude)


class _File(Section):
    exclude: dict[str, Any] = Field(default_factory=dict)
    tasks: dict[Name, dict[str, Any]] = Field(min_length=1)


def _entries(file: str) -> tuple[dict[str, dict[str, Any]], Codes]:
    if Path(file).suffix.lower() in ENDINGS:
        return validate(_File, {"tasks": task_entries(file)}, where=file).tasks, Codes()
    content = validate(_File, read_yaml(file), where=file)
    return content.tasks, validate(Codes, content.exclude, where=f"{file}, exclude")


def _definition(entry: dict[str, Any], variant: str, shared: Codes, where: str) -> TaskDefinition:
    """One variant of one entry. The criterion is validated as its kind: messages speak of that alone."""
    variants = entry.get("variants") or {}
    if not isinstance(variants, Mapping):
        raise TaskError("`variants` must be a mapping of variants to keys", where=where)
    for name, changes in variants.items():
        if name not in VARIANTS:
            raise TaskError(f"there is no variant `{name}`", where=where, hint=nearest(str(name), VARIANTS))
        if not isinstance(changes, Mapping):
            raise TaskError("it must be a mapping of keys to values", where=f"{where}, variants.{name}")
    merged = {key: value for key, value in entry.items() if key != "variants"} | variants.get(variant, {})
    if variant in variants:
        where = f"{where}, variants.{variant}"
    given = merged.get("criterion")
    if isinstance(given, Mapping):
        if "kind" not in given:
            hint = f"one of {', '.join(KINDS)}"
            raise TaskError("`kind` is missing", where=f"{where}, criterion", hint=hint)
        with _at(f"{where}, criterion"):
            kind = kind_of(str(given["kind"]))
        criterion = validate(kind, composed(dict(given)), where=f"{where}, criterion")
        merged["criterion"] = _with_shared(criterion, shared)
    if isinstance(path := merged.get("class"), str) and is_path(path):
        with _at(f"{where}, class"):
            own_class(path)
    return validate(TaskDefinition, merged, where=where)


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Messages of the block also say where in the definitions."""
    try:
        yield
    except (ConfigError, TaskError) as error:
        place = f"{where}, {error.where}" if error.where else where
        raise TaskError(error.what, where=place, hint=error.hint) from error


def _with_shared(criterion: Criterion, shared: Codes) -> Criterion:
    """The criterion with the file's exclusions in every rule that looks at titles."""

    def extended(rule: Rule) -> dict[str, Any]:
        own = rule.exclude
        versions = sorted(own.icd.keys() | shared.icd.keys())
        exclude = Codes(
            titles=[*own.titles, *shared.titles],
            icd={version: [*own.icd.get(version, []), *shared.icd.get(version, [])] for version in versions},
        )
        return {"exclude": exclude} if rule.titles else {}

    if not isinstance(criterion, Diagnosis):
        return criterion
    groups = {name: rule.model_copy(update=extended(rule)) for name, rule in criterion.groups.items()}
    return criterion.model_copy(update=extended(criterion) | {"groups": groups})
