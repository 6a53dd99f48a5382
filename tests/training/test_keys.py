"""What determines a fit is in its key: every field of every section of a study's configuration."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from m3h_pipeline import config
from m3h_pipeline.config import Compute, Modality, Model, Study, Training
from m3h_pipeline.config.arguments import modalities_of, seed_of
from m3h_pipeline.config.model import Transcriptome
from m3h_pipeline.jobs.settings import JobSettings
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.fits import fit_keys
from m3h_pipeline.training.spec import FitSpec, TrainingSettings
from tests.training.studies import settings, spec, study
from tests.training.test_survival_fits import survival_study

#: Fields, by the beginning of their path, that cannot change a fit, and why.
CANNOT = {
    "study": "names a folder",
    "results": "names a folder",
    "data": "what is read is in the key",
    "source": "the features it gives are in the key by their values, genes by name too",
    "tasks": "the labels it gives are in the key by their values",
    "split": "the parts and folds it gives are in the key by their values",
    "search": "says which fits are made; what a fit is made for is in its key",
    "tim": "says which fits are made, and reads them",
    "evaluation": "says which fits are made, and reads them",
    "gene_pairs": "reads finished fits",
    "networks": "each compared network has sections of its own, which are in the keys of its fits",
    "bundle": "is said of finished fits",
    "figures": "reads finished fits",
    "training.batch_sizes": "says which fits are made; a fit's own is in the key",
    "training.learning_rates": "says which fits are made; a fit's own is in the key",
    "training.sizes": "says which keys follow from the shape; what they come to is in the key",
    "training.task_weights.stay": "weighs a task that the fit does not learn",
    "compute.device": "the type of the device that it comes to is in the key",
    "compute.threads": "changes the rounding of sums only",
    "compute.stack": "changes the rounding of sums only: a fit is the same in any stack",
    "compute.memory_gb": "changes the rounding of sums only: a fit is the same in any stack",
    "modalities.beta.transcriptome.genes": "the vectors that it gives are in the key by their values",
}

#: A study in which every section is there and every option matters to the fit below.
CONTENT: dict[str, Any] = {
    "study": "keys",
    "source": {"kind": "synthetic", "widths": {"alpha": 5, "beta": 7, "gamma": 4, "delta": 3}},
    "modalities": {
        "alpha": {"sources": ["alpha"], "hidden": [8, 8]},
        "beta": {
            "sources": ["beta"],
            "encoder": "transcriptome",
            "transcriptome": {"strength": 1.0, "genes": {"kind": "network", "path": "edges.csv"}},
        },
        "gamma": {"sources": ["gamma", "delta"]},
    },
    "training": {"early_stopping": {}, "gradient_clip": 1.0, "task_weights": {"death": 2.0, "stay": 3.0}},
    "gene_pairs": {"tasks": ["death"], "groups": "anemia", "within": {"task": "anemia", "value": "1"}},
    "networks": {"others": {"wide": {"model": {"encoder": [512]}}}},
}
STUDY = Study.model_validate(CONTENT)
FIT = spec("anemia", "death", "size")
Place = tuple[Any, ...]
DATA: StudyData = survival_study(60)


def key(of: Study) -> str:
    """The key of a fit as the job that trains it makes it: from what it is told of the study."""
    text = JobSettings(of, {}).train()
    told = config.settings(text, model=Model, training=Training, compute=Compute)
    told["training"] = told["training"].model_copy(update={"sizes": []})
    own = TrainingSettings(**told, modalities=modalities_of(text), seed=seed_of(text))  # type: ignore[arg-type]
    return fit_keys([FIT], DATA, own, "code", "cpu")[0]


def _sections(annotation: Any, into: set[type]) -> set[type]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        into.add(annotation)
        for field in annotation.model_fields.values():
            _sections(field.annotation, into)
    for argument in get_args(annotation):
        _sections(argument, into)
    return into


def fields(value: Any, field: str, annotation: Any, place: Place = ()) -> Iterator[tuple[str, Place, Any]]:
    """Of every field that holds no section, at any depth: its name, where it stands, its type."""
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            one = f"{type(value).__name__}.{name}"
            yield from fields(getattr(value, name), one, info.annotation, (*place, name))
    elif isinstance(value, dict) and value:
        for name, part in value.items():
            yield from fields(part, field, get_args(annotation)[-1], (*place, name))
    elif value is not None or not _sections(annotation, set()):
        # A section that is not here is in another place: see below.
        yield field, place, annotation


def others(annotation: Any, value: Any) -> Iterator[Any]:
    """Other values that a field of this type might take; not all of them may be valid."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from others(arguments[0], value)
    elif origin in (Union, types.UnionType):
        for argument in arguments:
            yield from others(argument, value)
    elif origin is Literal:
        yield from (argument for argument in arguments if argument != value)
    elif origin is list:
        known = value if isinstance(value, list) else []
        yield known[:-1]
        for other in others(arguments[0], known[-1] if known else None):
            yield [*known[:-1], other]
    elif origin is dict:
        for other in others(arguments[1], None):
            yield {**(value or {}), "another": other}
    elif annotation is type(None):
        yield None
    elif annotation is bool:
        yield not value
    elif annotation is int:
        yield from (1, 2, 3, 64) if value is None else (value + 1, 2 * value)
    elif annotation is float:
        yield from (0.25, 0.5) if value is None else (value / 2 + 0.1, value / 2)
    elif annotation is str:
        yield from ("another", "a.b") if value is None else (f"{value}x", f"{value}.x")
    elif annotation is Any:
        yield 1


def changed(place: Place, annotation: Any) -> Study | None:
    """The study with another value at a place; None if every other value is refused."""
    value: Any = STUDY
    for step in place:
        value = value[step] if isinstance(value, dict) else getattr(value, step)
    for other in others(annotation, value):
        content = copy.deepcopy(CONTENT)
        at = content
        for step in place[:-1]:
            at = at.setdefault(step, {})
        at[place[-1]] = other
        try:
            found = Study.model_validate(content)
        except ValidationError:
            continue
        if found != STUDY:
            return found
    return None


#: Name of a field, as Section.field -> where it stands in the study above, and its type.
FIELDS: dict[str, list[tuple[Place, Any]]] = {}
for _name, _place, _annotation in fields(STUDY, "Study", Study):
    FIELDS.setdefault(_name, []).append((_place, _annotation))


def excuse(place: Place) -> str | None:
    """What excuses a place from being in the key."""
    dotted = ".".join(map(str, place))
    return next((start for start in CANNOT if f"{dotted}.".startswith(f"{start}.")), None)


@pytest.mark.parametrize("field", FIELDS)
def test_another_value_is_another_key_or_cannot_change_the_fit(field: str) -> None:
    base = key(STUDY)
    found = [(place, changed(place, annotation)) for place, annotation in FIELDS[field]]
    for place, other in found:
        if other is not None and excuse(place) is not None:
            assert key(other) == base, place
        elif other is not None:
            assert key(other) != base, f"{place} is in no key: add it, or say in CANNOT why it need not be"
    tried = any(other is not None or excuse(place) for place, other in found)
    assert tried, f"no other value of {field} was found: extend `others`"


def test_the_list_of_what_cannot_is_about_fields_that_there_are() -> None:
    assert {excuse(place) for places in FIELDS.values() for place, _ in places} == {None, *CANNOT}


def test_every_section_that_training_is_told_is_in_the_study_above() -> None:
    told: set[type] = set()
    for field in dataclasses.fields(TrainingSettings):
        _sections(Study.model_fields[field.name].annotation, told)
    there: set[type] = set()

    def walk(value: Any) -> None:
        if isinstance(value, BaseModel):
            there.add(type(value))
            for name in type(value).model_fields:
                walk(getattr(value, name))
        elif isinstance(value, dict):
            for part in value.values():
                walk(part)

    walk(STUDY)
    assert told <= there


def test_everything_that_a_fit_is_specified_by_is_in_its_key() -> None:
    other: dict[str, Any] = {"combination": ("death",), "fold": 1, "replicate": 1}
    other |= {"batch_size": 32, "learning_rate": 2e-2}
    assert other.keys() == {field.name for field in dataclasses.fields(FitSpec)}
    specs = [FIT, *(dataclasses.replace(FIT, **{name: value}) for name, value in other.items())]
    assert len(set(fit_keys(specs, DATA, settings(), "code", "cpu"))) == 1 + len(other)


@pytest.mark.parametrize(
    ("task", "change"),
    [
        ("anemia", {"problem_class": "regression"}),
        ("stay", {"metric": "another"}),
        ("organ", {"classes": list("abc")}),
        ("phenotype", {"clusters": 4}),
    ],
)
def test_what_training_reads_of_a_description_is_in_the_key(task: str, change: dict[str, Any]) -> None:
    data, other = study(), study()
    other.tasks[task].update(change)
    first, second = (fit_keys([spec(task)], one, settings(), "code", "cpu") for one in (data, other))
    assert first != second


def test_options_left_to_their_defaults_are_in_the_key() -> None:
    """A changed default is another network: what was trained with the old one is not served for it."""

    def of(**modality: Any) -> str:
        own = settings(modalities=["alpha", "beta"])
        own.modalities["beta"] = Modality(sources=["beta"], **modality)
        return fit_keys([spec("anemia")], study(), own, "code", "cpu")[0]

    published = of(encoder="transcriptome")
    assert published == of(encoder="transcriptome", transcriptome=Transcriptome())
    assert published == of(encoder="transcriptome", transcriptome=Transcriptome(layers=8))
    assert published != of(encoder="transcriptome", transcriptome=Transcriptome(layers=2))
    widths = settings().model.encoder
    assert of() == of(hidden=widths) != of(hidden=[*widths, 4])


NETWORK = """
from torch import nn

def network(inputs, hidden):
    return nn.Sequential(nn.Linear(inputs, {width}), nn.ReLU())
"""
PROBLEM = """
from m3h_pipeline.model.heads import Regression

class Problem(Regression):
    metric = "r2"
    weight = {width}
"""


@pytest.mark.parametrize("part", ["encoder", "task network", "problem class"])
def test_changed_code_of_the_users_own_is_another_key(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    name = f"own_{part.replace(' ', '_')}"
    file = tmp_path / f"{name}.py"
    text = PROBLEM if part == "problem class" else NETWORK
    data = study()
    if part == "problem class":
        data.tasks["stay"]["own_class"] = f"{name}.Problem"
        own = settings()
    elif part == "encoder":
        own = settings(encoder=f"{name}.network")
    else:
        own = settings(model={"task_network": f"{name}.network"})

    def keys() -> list[str]:
        return fit_keys([spec("anemia", "stay"), spec("anemia")], data, own, "code", "cpu")

    file.write_text(text.format(width=4))
    importlib.invalidate_caches()
    first = keys()
    assert keys() == first
    file.write_text(text.format(width=8))
    # Code that a fit does not run is not in its key.
    same = [a == b for a, b in zip(first, keys(), strict=True)]
    assert same == [False, part == "problem class"]
    sys.modules.pop(name)
