"""What stands in ``bundle.json``: one model per part of it, versioned, strict.

Unknown keys are refused, so that nothing is read over. ``python -m m3h_pipeline.bundle.generate`` writes the
JSON schema and the table of docs/bundle.md; a test fails where they have drifted. A change that a reader of
an older version would misunderstand raises :data:`VERSION`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from m3h_pipeline.cohort.reading import Reading, reading_of
from m3h_pipeline.config.results import Purpose
from m3h_pipeline.errors import InputError

#: The version that is written, and the newest that is read.
VERSION: Final = 1
#: Names of the files beside the models.
DESCRIPTION: Final = "bundle.json"
CARD: Final = "MODEL_CARD.md"

Share = Annotated[float, Field(ge=0, le=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Described(BaseModel):
    """A part of a bundle's description."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BundleFile(Described):
    """A file beside ``bundle.json``."""

    sha256: Digest = Field(description="of the whole file")
    bytes: int = Field(ge=0, description="its size")
    holds: Literal["network", "reference", "features"] = Field(
        description="a trained network, a reference model, or the summary of the training part's features"
    )


class Estimate(Described):
    """A score on one part of the study."""

    part: Literal["validation", "test"] = Field(description="out of fold, or the test part")
    group: str = Field(default="", description="subgroup; empty: everybody")
    metric: str = Field(description="what is measured")
    value: float | None = Field(description="null: undefined, or told by few")
    low: float | None = Field(description="lower end of the 95 % interval")
    high: float | None = Field(description="upper end")
    patients: int | None = Field(description="patients behind it; null: told nowhere, or few")


class Slope(Described):
    """Calibration on the test part; 1 and 0 are right."""

    state: Literal["before", "after"] = Field(description="as the model predicts, or recalibrated")
    slope: float | None = Field(description="null: undefined")
    slope_low: float | None = Field(description="lower end of the 95 % interval")
    slope_high: float | None = Field(description="upper end")
    intercept: float | None = Field(description="null: undefined")
    intercept_low: float | None = Field(description="lower end of the 95 % interval")
    intercept_high: float | None = Field(description="upper end")


class Weights(Described):
    """A blend of models, or the recalibration of one: slopes, intercepts, and where evidence is looked at."""

    weights: list[float] = Field(min_length=1, description="one per model, not negative")
    intercepts: list[float] = Field(
        description="of the log odds of each class but the first, of the value, or (survival) the cumulative "
        "baseline hazard at `times`"
    )
    told: list[list[bool]] | None = Field(
        default=None,
        description="survival: per model the times at which its curve says something; null of other tasks",
    )


class Calibrator(Described):
    """The map from what the chosen model says to what was observed, fitted out of fold."""

    method: Literal["logistic", "isotonic", "temperature", "linear", "hazards"] = Field(
        description="kind of map"
    )
    map: Weights | None = Field(description="slope and intercepts; null of `isotonic`")
    knots: list[tuple[float, float]] = Field(
        default_factory=list, description="`isotonic`: said and observed probability, linear in between"
    )


class Candidate(Described):
    """A model, or a blend of two others of the same task."""

    kind: Literal["network", "reference", "blend"] = Field(description="what it is")
    files: list[str] = Field(
        default_factory=list,
        description="names in `files`; of a network one per replicate, which are averaged",
    )
    tasks: list[str] = Field(default_factory=list, description="tasks that a network learned together")
    setting: str = Field(default="", description="what was chosen for a reference or a network")
    alone: bool = Field(
        default=True,
        description="whether what it says of a sample depends on that sample alone; a network with "
        "`attention.normalise: published` looks at the other samples of a batch",
    )
    members: list[str] = Field(default_factory=list, description="of a blend: names of candidates")
    blend: Weights | None = Field(default=None, description="of a blend")


class Rates(Described):
    """How a threshold does; null where a count behind it is of fewer than 11 patients."""

    sensitivity: Share | None = Field(description="share of the events above the threshold")
    specificity: Share | None = Field(description="share of the others below it")
    ppv: Share | None = Field(description="share of those above it that have the event")
    npv: Share | None = Field(description="share of those below it that have none")
    alerts: Share | None = Field(description="share of all samples above it")


class Threshold(Described):
    """A calibrated probability at or above which a sample counts as positive."""

    chosen_for: Literal["youden", "sensitivity", "alerts"] = Field(
        description="largest sensitivity + specificity; a sensitivity; a share of samples above it"
    )
    target: Share | None = Field(description="the sensitivity or share asked for; null of `youden`")
    value: Share = Field(description="the threshold; chosen out of fold, rounded to four digits")
    validation: Rates = Field(description="out of fold, where it was chosen")
    test: Rates = Field(description="on the test part")


class Interval(Described):
    """Conformal interval of a value: calibrated value plus and minus a half-width."""

    coverage: Share = Field(description="share of patients whose value it holds, at least")
    half_width: float = Field(ge=0, description="in the task's unit; rounded up to three digits")
    patients: int = Field(description="training patients behind it; one sample of each counts, on average")
    test_coverage: Share | None = Field(description="on the test part; null: told by few")


class Typical(Described):
    """How far training samples lie from the centre of their cluster: says how typical a new one is."""

    distances: list[float] = Field(description="quantiles of the distance at 5 %, 10 %, ..., 95 %")
    sizes: list[Share | None] = Field(description="share of the training samples in each cluster; null: few")


class Outcome(Described):
    """The outcome in the training part; null: told by few, or of other problem classes."""

    samples: int | None = Field(description="with a label")
    patients: int | None = Field(description="with a label")
    prevalence: Share | None = Field(default=None, description="binary: share of samples with the event")
    shares: dict[str, Share | None] = Field(
        default_factory=dict, description="multiclass: share of each class"
    )
    mean: float | None = Field(default=None, description="regression")
    deviation: float | None = Field(default=None, description="regression")
    events: int | None = Field(default=None, description="survival: samples with an event")


class TaskModel(Described):
    """What a bundle holds for one task."""

    title: str = Field(description="for people")
    department: str = Field(description="group of tasks")
    problem_class: Literal["binary", "multiclass", "regression", "clustering", "survival"] = Field(
        description="what is predicted"
    )
    metric: str = Field(description="by which models were compared")
    unit: str = Field(default="", description="of the value, or of times")
    classes: list[str] = Field(default_factory=list, description="multiclass: names, in the order of columns")
    clusters: int = Field(default=0, description="clustering: how many")
    note: str = Field(default="", description="of the definition")
    definition: dict[str, Any] = Field(
        default_factory=dict,
        description="how outcomes are made of columns, as the study defined the task; empty: not known",
    )
    permuted: bool = Field(default=False, description="labels were shuffled: a negative control")
    chosen: str = Field(description="the candidate that predicts")
    words: str = Field(description="the choice for people")
    instead_of: str = Field(
        default="", description="the study's own choice, where that cannot be carried; empty: it is `chosen`"
    )
    candidates: dict[str, Candidate] = Field(description="the chosen one, and what it is a blend of")
    calibrator: Calibrator | None = Field(description="null: clustering, or nothing to recalibrate by")
    times: list[float] = Field(default_factory=list, description="survival: times of the curve")
    thresholds: list[Threshold] = Field(default_factory=list, description="binary")
    interval: Interval | None = Field(default=None, description="regression; null: too few patients")
    typical: Typical | None = Field(default=None, description="clustering")
    training: Outcome = Field(description="the outcome in the training part")
    scores: list[Estimate] = Field(description="of the chosen candidate")
    calibration: list[Slope] = Field(default_factory=list, description="of the chosen candidate")


class Who(Described):
    """Who is in the study; numbers of 1 to 10, and those that would tell one, are null."""

    samples: dict[str, int | None] = Field(description="part (`training`, `test`) -> samples")
    patients: dict[str, int | None] = Field(description="part -> patients")
    subgroups: dict[str, dict[str, int | None]] = Field(
        description="column -> value -> patients of the training part"
    )


class Description(Described):
    """``bundle.json``."""

    format: Literal["m3h-bundle"] = Field(description="says what the file is")
    version: int = Field(ge=1, description="of the format")
    study: str = Field(description="name of the study")
    seed: int = Field(description="of the study")
    purpose: Purpose = Field(description="section `bundle` of the study's configuration")
    who: Who = Field(description="who is in the study")
    modalities: dict[str, list[str]] = Field(
        description="modality -> its sources, in the order they are joined"
    )
    reading: Reading = Field(description="how a user's files become features, in the order of models")
    tasks: dict[str, TaskModel] = Field(description="task -> what predicts it")
    files: dict[str, BundleFile] = Field(description="files beside this one, by their path")
    own_code: dict[str, str] = Field(
        default_factory=dict,
        description="dotted paths of code of the user's own that the models need, and digests of their files",
    )
    versions: dict[str, str] = Field(description="of Python and the packages it was made with")
    digests: dict[str, str] = Field(
        description="of what it was made from: configuration, labels, split, code"
    )

    @model_validator(mode="after")
    def _whole(self) -> Description:
        known = self.reading.sources
        wrong = [
            f"modality `{modality}` has no source `{name}`"
            for modality, names in self.modalities.items()
            for name in names
            if name not in known
        ]
        for name, task in self.tasks.items():
            wrong += [f"task `{name}`: {what}" for what in _broken(task, self.files)]
        if wrong:
            raise ValueError(wrong[0])
        return self


def _broken(task: TaskModel, files: Mapping[str, BundleFile]) -> Iterator[str]:
    """What of a task's models refers to nothing, or is of another length than what it belongs to."""
    if task.chosen not in task.candidates:
        yield f"there is no candidate `{task.chosen}`"
    maps = [] if task.calibrator is None or task.calibrator.map is None else [(task.calibrator.map, 1)]
    if task.calibrator is not None:
        isotonic = task.calibrator.method == "isotonic"
        if isotonic != (task.calibrator.map is None) or (isotonic and not task.calibrator.knots):
            yield "the calibrator has no map"
    for name, one in task.candidates.items():
        if one.kind == "blend":
            # Of a blend of blends there would be no end.
            plain = [other for other in one.members if other in task.candidates]
            if plain != one.members or any(task.candidates[other].kind == "blend" for other in plain):
                yield f"candidate `{name}` is a blend of what is no single model"
            if one.blend is None:
                yield f"candidate `{name}` has no weights"
            else:
                maps.append((one.blend, len(one.members)))
        elif not one.files or any(file not in files or files[file].holds != one.kind for file in one.files):
            yield f"candidate `{name}` has no file of a {one.kind}"
    for weights, models in maps:
        times = len(task.times)
        curves: list[list[Any]] = []
        if task.problem_class == "survival":
            curves = [weights.intercepts, *(weights.told or [])]
        if len(weights.weights) != models or any(len(curve) != times for curve in curves):
            yield "the weights of a map are more or fewer than what they weigh"
        if weights.told is not None and len(weights.told) != models:
            yield "the weights of a map are more or fewer than what they weigh"


def described(content: Mapping[str, Any], where: str) -> Description:
    """A bundle's description from its JSON.

    Args:
        content: of ``bundle.json``.
        where: the file, for messages.

    Raises:
        InputError: it is no bundle, of a newer version, or does not follow its schema.

    Examples:
        >>> described({"format": "m3h-bundle", "version": 99}, "b/bundle.json")
        Traceback (most recent call last):
        m3h_pipeline.errors.InputError: the bundle is of version 99, and this program reads up to 1
          where: b/bundle.json
          to do: install a newer m3h_pipeline
    """
    if content.get("format") != "m3h-bundle":
        raise InputError(
            "this is no bundle", where=where, hint="name the folder that `m3h export-bundle` made"
        )
    version = content.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError("the bundle does not say its version", where=where)
    if version > VERSION:
        raise InputError(
            f"the bundle is of version {version}, and this program reads up to {VERSION}",
            where=where,
            hint="install a newer m3h_pipeline",
        )
    if isinstance(content.get("reading"), dict):
        reading_of(content["reading"], where)
    try:
        return Description.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"the bundle does not follow its schema: {place}: {first['msg']}",
            where=where,
            hint="get a whole copy of the bundle",
        ) from None
