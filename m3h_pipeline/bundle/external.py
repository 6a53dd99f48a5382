"""`m3h evaluate-bundle`: how a bundle does on other patients, beside what it did in its own study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import numpy.typing as npt

from m3h_pipeline.bundle.load import Bundle, Prediction
from m3h_pipeline.bundle.predict import batches, spare, task_names
from m3h_pipeline.bundle.report import page
from m3h_pipeline.bundle.schema import Slope, TaskModel
from m3h_pipeline.cohort.apply.outcomes import outcome_cohort
from m3h_pipeline.cohort.apply.problems import Problems
from m3h_pipeline.disclosure import LEAST, is_small, small_count
from m3h_pipeline.disclosure.text import tsv
from m3h_pipeline.dotted import is_path
from m3h_pipeline.errors import InputError, M3HError, TaskError
from m3h_pipeline.evaluation.choice.slopes import calibration_of
from m3h_pipeline.evaluation.shown import patients_of, shown_number
from m3h_pipeline.files import read_labels, read_samples, replacing
from m3h_pipeline.files.leftovers import scratch
from m3h_pipeline.inference.bootstrap import patient_counts
from m3h_pipeline.inference.intervals import Interval, bounded, pooled_intervals
from m3h_pipeline.inference.resampled import TEST, Cohort, Part, subgroup_rows
from m3h_pipeline.inference.scored import Scored, score, scored
from m3h_pipeline.layout import CohortFiles
from m3h_pipeline.split import patient_index
from m3h_pipeline.tasks.assessed import Task
from m3h_pipeline.tasks.definitions import TaskDefinition
from m3h_pipeline.tasks.labels import label_task

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Row = dict[str, Any]
COLUMNS = (
    *("task", "group", "measure", "value", "low", "high", "patients"),
    *("study", "study_low", "study_high", "remark"),
)
_SEED = 0
#: Fewer draws of patients make no interval.
LEAST_DRAWS = 20
_UNTOLD = "its outcome cannot be made of these files; why is said on the screen"


def evaluate_files(
    bundle: Bundle,
    paths: Sequence[str],
    out: Path,
    *,
    tasks: Sequence[str] | None = None,
    absent: Sequence[str] = (),
    embeddings: Path | None = None,
    draws: int = 1000,
    stream: TextIO,
) -> list[Row]:
    """Score a bundle on files with outcomes; write a page, and the same numbers as a .tsv beside it.

    Both can be given away: no count of 1 to 10, no score of a class or group of fewer than 11 patients.

    Args:
        bundle: what predicts.
        paths: files as the study had them, those of the outcomes included, or one folder of a cohort.
        out: the page, .html.
        tasks: which; None: all whose outcomes the files have.
        absent: sources that nobody has.
        embeddings: of a `mimic` source with notes or images.
        draws: of patients, behind an interval.
        stream: where progress and remarks are written.

    Returns:
        The rows of the table, as in :data:`COLUMNS`.

    Raises:
        InputError: with the complete list of what keeps the files from being read; or no task has outcomes.
    """
    spare(paths, out, out.with_suffix(".tsv"))
    if out.suffix != ".html":
        raise InputError("the report is written as .html", where=str(out), hint="name the file so")
    if draws < LEAST_DRAWS:
        raise InputError(f"{draws} draws make no interval", hint=f"give `--draws` of at least {LEAST_DRAWS}")
    names = task_names(bundle, tasks)
    problems = Problems()
    with scratch(out.parent, "evaluate", "check its free space and its permissions") as folder:
        cohort, files = outcome_cohort(
            bundle.description.reading,
            [str(path) for path in paths],
            folder / "cohort",
            problems,
            absent,
            embeddings,
        )
        labels, reasons = _labels(bundle, names, cohort, folder)
        if not labels:
            hint = "; ".join(f"{name}: {why.screen}" for name, why in reasons.items())
            raise InputError("no task has outcomes in these files", hint=hint)
        samples = read_samples(CohortFiles(cohort).samples)
        said = _predictions(bundle, list(labels), files, folder, problems, absent, embeddings, stream)
        place = {name: i for i, name in enumerate(said[0])}
        ids = samples["sample_id"].to_pylist()
        if not set(ids) & set(place):
            # Row numbers: the cohort writes them with zeros before.
            ids = [str(int(name)) if name.isdigit() else name for name in ids]
        there = np.array([name in place for name in ids], dtype=bool)
        at = np.array([place[name] for name in ids if name in place], dtype=np.int64)
        patient = patient_index(samples["patient_id"].to_pylist())[there]
        groups = {name: rows[there] for name, rows in subgroup_rows(samples).items()}
        predictions = {name: _rows_of(one, at) for name, one in said[1].items()}
        observed = {name: y[there] for name, y in labels.items()}
    rows = list(measured(bundle, observed, predictions, patient, groups, draws))
    rows += [{"task": name, "group": "", "measure": "", "remark": why.page} for name, why in reasons.items()]
    table = [COLUMNS, *(tuple(_text(row.get(column)) for column in COLUMNS) for row in rows)]
    with replacing(out.with_suffix(".tsv")) as temporary:
        temporary.write_text(tsv(table), encoding="utf-8")
    who = f"{small_count(len(patient))} samples of {small_count(len(np.unique(patient)))} patients"
    with replacing(out) as temporary:
        temporary.write_text(page(bundle, who, table), encoding="utf-8")
    unscored = [f"{name} is not scored: {why.screen}" for name, why in reasons.items()]
    stream.write("".join(f"{note}\n" for note in [*problems.notes, *unscored]))
    return rows


class _Reason(NamedTuple):
    """Why a task is not scored: for the screen, and for a page that is given away and repeats no value."""

    screen: str
    page: str


def _labels(
    bundle: Bundle, names: Sequence[str], cohort: Path, folder: Path
) -> tuple[dict[str, Float32], dict[str, _Reason]]:
    """Labels of the tasks that have any, and why others have none."""
    found: dict[str, Float32] = {}
    reasons: dict[str, _Reason] = {}
    for name in names:
        task = bundle.tasks[name]
        if task.problem_class == "clustering":
            reasons[name] = _Reason(*2 * ("phenotypes have no outcome to be compared with",))
            continue
        if not task.definition:
            reasons[name] = _Reason(*2 * ("the bundle does not say how its outcome is defined",))
            continue
        path = folder / f"{name}.parquet"
        definition = TaskDefinition.model_validate(task.definition)
        try:
            label_task(name, definition, cohort, path, folder / f"{name}.tsv")
            found[name] = read_labels(path)[0]
        except M3HError as error:
            # What a criterion of the user's own says of values is not known.
            own = is_path(definition.criterion.kind)
            shown = error.shown if isinstance(error, TaskError) and not own else _UNTOLD
            reasons[name] = _Reason(error.what, shown)
    return found, reasons


def _predictions(
    bundle: Bundle,
    names: Sequence[str],
    files: Sequence[str | Path],
    folder: Path,
    problems: Problems,
    absent: Sequence[str],
    embeddings: Path | None,
    stream: TextIO,
) -> tuple[list[str], dict[str, Prediction]]:
    ids: list[str] = []
    parts: dict[str, list[Prediction]] = {name: [] for name in names}
    for batch in batches(
        bundle, files, folder, problems, absent=absent, embeddings=embeddings, stream=stream
    ):
        ids += batch.ids
        features = {name: batch.features.get(name) for name in bundle.sources}
        for name, one in bundle.predict_features(features, names).items():
            parts[name].append(one)
    return ids, {
        name: Prediction(
            np.concatenate([one.raw for one in found]),
            np.concatenate([one.calibrated for one in found]),
            None
            if found[0].interval is None
            else np.concatenate([one.interval for one in found if one.interval is not None]),
        )
        for name, found in parts.items()
    }


def _rows_of(said: Prediction, at: npt.NDArray[np.int64]) -> Prediction:
    interval = None if said.interval is None else said.interval[at]
    return Prediction(said.raw[at], said.calibrated[at], interval)


def measured(
    bundle: Bundle,
    labels: Mapping[str, Float32],
    said: Mapping[str, Prediction],
    patient: npt.NDArray[Any],
    groups: Mapping[str, npt.NDArray[np.bool_]],
    draws: int,
) -> Iterator[Row]:
    """What a bundle scores on some samples, with intervals by patient.

    Args:
        bundle: with the study's own numbers.
        labels: task -> (n,), NaN = not observed.
        said: task -> predictions of the same samples.
        patient: (n,) whose each sample is.
        groups: subgroup -> (n,).
        draws: of patients.

    Yields:
        Rows of :data:`COLUMNS`: the task's metric on what the model says, then Brier score, slope, intercept
        and coverage of intervals on what is calibrated, then the metric in each subgroup.
    """
    for name, y in labels.items():
        task, one = bundle.tasks[name], said[name]
        people = _informative(task, y, patient)
        if people < LEAST:
            remark = "fewer than 11 patients have the outcome, or do not have it"
            yield {"task": name, "group": "", "measure": task.metric, "remark": remark}
            continue
        value = _score(task, y, one.raw, patient, draws)
        yield _row(name, "", task.metric, value, _patients(y, patient), _own(task, task.metric))
        seen = ~np.isnan(y)
        if task.problem_class in {"binary", "multiclass"}:
            brier = _mean(_brier(task, y, one.calibrated), patient, seen, draws)
            yield _row(name, "", "brier", brier, _patients(y, patient), _own(task, "brier"))
        grid = np.array(task.times) if task.problem_class == "survival" else None
        for state, prediction in (("after", one.calibrated), ("before", one.raw)):
            fit = calibration_of(task.problem_class, y, prediction, patient, grid)
            own = next((slope for slope in task.calibration if slope.state == state), None)
            more = "" if state == "after" else ", as the model says"
            for what, found in (("slope", fit.slope), ("intercept", fit.intercept)):
                if np.isfinite(found.estimate):
                    known = _slope(own, what)
                    yield _row(name, "", f"calibration {what}{more}", found, _patients(y, patient), known)
        if one.interval is not None and task.interval is not None:
            inside = (one.interval[:, 0] <= y) & (y <= one.interval[:, 1])
            stated = f"coverage of {100 * task.interval.coverage:g} % intervals"
            if any(is_small(patients_of(patient, seen & rows)) for rows in (inside, ~inside)):
                remark = "values of fewer than 11 patients are in the intervals, or out of them"
                yield {"task": name, "group": "", "measure": stated, "remark": remark}
            else:
                covered = _mean(inside.astype(np.float64), patient, seen, draws)
                own_share = {"study": task.interval.test_coverage}
                yield _row(name, "", stated, covered, _patients(y, patient), own_share)
        for group, rows in groups.items():
            inside = rows & seen
            rest = len(np.unique(patient[~rows & seen]))
            if _informative(task, np.where(inside, y, np.nan), patient) < LEAST or 0 < rest < LEAST:
                continue
            part = _score(task, y[inside], one.raw[inside], patient[inside], draws)
            yield _row(name, group, task.metric, part, None, _own(task, task.metric, group))


def _score(task: TaskModel, y: Float32, said: Float64, patient: npt.NDArray[Any], draws: int) -> Interval:
    unit = np.unique(patient, return_inverse=True)[1].reshape(-1)
    weights = np.ascontiguousarray(patient_counts(int(unit.max()) + 1, draws, _SEED).T)
    described = Task("task", task.problem_class, task.metric, classes=tuple(task.classes))
    part = Part(np.arange(len(y)), unit, weights)
    cohort = Cohort({"task": described}, {"task": y}, {TEST: part}, unit, {}, draws)
    found: Scored = scored(cohort, "task", {TEST: said[None]})
    interval = pooled_intervals([score(found, cohort.informative("task", [TEST]))], [task.metric])[0]
    low, high = bounded(interval, task.metric)
    return replace(interval, low=low, high=high)


def _mean(values: Float64, patient: npt.NDArray[Any], seen: npt.NDArray[np.bool_], draws: int) -> Interval:
    """A mean over samples, with an interval by patient."""
    from m3h_pipeline.inference.bootstrap import bootstrap_variance
    from m3h_pipeline.inference.intervals import paired_interval

    unit = np.unique(patient[seen], return_inverse=True)[1].reshape(-1)
    n = int(unit.max()) + 1
    total, count = np.bincount(unit, values[seen], n), np.bincount(unit, minlength=n)
    drawn = patient_counts(n, draws, _SEED).astype(np.float64)
    means = (drawn @ total) / (drawn @ count)
    found = paired_interval(
        float(values[seen].mean()), [(bootstrap_variance(means, n), float(max(1, n - 1)))]
    )
    return replace(found, low=max(0.0, found.low), high=min(2.0, found.high))


def _brier(task: TaskModel, y: Float32, said: Float64) -> Float64:
    seen = ~np.isnan(y)
    found = np.full(len(y), np.nan)
    if task.problem_class == "binary":
        found[seen] = (said[seen, 0] - y[seen]) ** 2
    else:
        truth = np.eye(said.shape[1])[y[seen].astype(np.intp)]
        found[seen] = ((said[seen] - truth) ** 2).sum(1)
    return found


def _patients(y: Float32, patient: npt.NDArray[Any]) -> int | None:
    """Patients with an outcome; None where they, or those without one, are few.

    Of subgroups nothing is said: together they would tell how many patients are in none, or in a small one.
    """
    return shown_number(patients_of(patient, ~np.isnan(y)), len(np.unique(patient)))


def _informative(task: TaskModel, y: Float32, patient: npt.NDArray[Any]) -> int:
    """Patients of the rarest class, or with an event, or without one."""
    seen = ~np.isnan(y)
    if task.problem_class in {"binary", "multiclass"}:
        classes = np.unique(y[seen])
        if len(classes) < 2:
            return 0
        return min(len(np.unique(patient[y == c])) for c in classes)
    if task.problem_class == "survival":
        event = seen & ~np.signbit(y)
        return len(np.unique(patient[event]))
    return len(np.unique(patient[seen]))


def _own(task: TaskModel, measure: str, group: str = "") -> Row:
    """The study's own score on its test part."""
    for one in task.scores:
        if one.part == "test" and one.group == group and one.metric == measure:
            return {"study": one.value, "study_low": one.low, "study_high": one.high}
    return {}


def _slope(own: Slope | None, which: str) -> Row:
    if own is None:
        return {}
    keys = {"study": which, "study_low": f"{which}_low", "study_high": f"{which}_high"}
    return {name: getattr(own, key) for name, key in keys.items()}


def _row(task: str, group: str, measure: str, found: Interval, patients: int | None, own: Row) -> Row:
    shown = {"value": found.estimate, "low": found.low, "high": found.high}
    told = "" if patients is None else f"{patients:,}"
    return {"task": task, "group": group, "measure": measure, **shown, "patients": told, **own}


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
