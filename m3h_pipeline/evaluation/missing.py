"""The verb ``missing``: what the selected models score where modalities are hidden from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from m3h_pipeline.config import Modality
from m3h_pipeline.contracts import MISSING
from m3h_pipeline.contracts.reported import RELIANCE
from m3h_pipeline.disclosure import is_small
from m3h_pipeline.errors import InputError
from m3h_pipeline.evaluation.arms import Setting, final_fits, read_selection
from m3h_pipeline.evaluation.performance.reliance import Leaned, leaned_on, reliance_rows, source_blocks
from m3h_pipeline.evaluation.shown import patients_of
from m3h_pipeline.files import write_table
from m3h_pipeline.inference.intervals import Interval, Quantity, bounded, pooled_intervals
from m3h_pipeline.inference.resampled import TEST, Cohort, load_cohort, part_seeds
from m3h_pipeline.inference.scored import Scored, difference, score, scored
from m3h_pipeline.layout import CohortFiles
from m3h_pipeline.model.keys import generator
from m3h_pipeline.progress import Progress
from m3h_pipeline.tasks.assessed import marked, read_tasks
from m3h_pipeline.training.data import StudyData, load_study_data
from m3h_pipeline.training.fitted import FittedModel, load_model

BoolArray = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
#: What share of the rows that have a modality it is hidden from.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
#: Draws of patients behind an interval: there are many scores, and intervals are not tested.
DRAWS = 500
#: Most test rows that are held scaled at a time.
_ROWS = 4096
#: Of which modality (None: of each by itself, all at once), and the share.
Case = tuple[str | None, float]
#: (case, task) -> predictions of each replicate, (replicates, n, width).
Predicted = dict[tuple[Case, str], Float32]


@dataclass(frozen=True)
class Sources:
    """The results of a study that are read.

    Attributes:
        cohort: folder of the cohort.
        labels: folder of the labels.
        tasks: ``labels/tasks.json``.
        split: the split file.
        selection: each task's combination.
        scores: SCORES of the final fits.
        models: folders of the final models.
    """

    cohort: Path
    labels: Path
    tasks: Path
    split: Path
    selection: Path
    scores: Sequence[Path]
    models: Sequence[Path]


def missing_scores(
    sources: Sources,
    modalities: Mapping[str, Modality],
    draws: int,
    seed: int,
    out: Path,
    reliance: Path,
    screen: TextIO,
) -> None:
    """Write the scores of every task's selected model by the share of rows without a modality.

    And what these models lean on, source by source and feature by feature. They are not trained again. Rows
    are drawn by the study's seed, the same for all tasks; what is hidden at one share is hidden at every
    larger one. Clustering tasks are left out: a silhouette says how well clusters are apart, not whether they
    are those that were found before. A study of one modality has no scores without it.

    Args:
        sources: where the study's results lie.
        modalities: modality -> its sources.
        draws: bootstrap draws of patients, no more than :data:`DRAWS` are used.
        seed: of the study.
        out: table of contracts.MISSING.
        reliance: table of contracts.RELIANCE.
        screen: where to report.

    Raises:
        InputError: a file is absent or unreadable, or the final models are missing.
        ContractError: a file does not follow its contract.
    """
    described = read_tasks(sources.tasks)
    chosen = [
        one
        for one in read_selection(sources.selection, described)
        if described[one.task].problem_class != "clustering"
    ]
    if not chosen:
        write_table(pa.Table.from_pylist([], schema=MISSING), out, MISSING)
        write_table(pa.Table.from_pylist([], schema=RELIANCE), reliance, RELIANCE)
        screen.write("nothing to hide: the study has clustering tasks alone\n")
        return
    names = {one.task: described[one.task] for one in chosen}
    samples = CohortFiles(sources.cohort).samples
    cohort = load_cohort(
        names, sources.labels, sources.split, samples, min(draws, DRAWS), test=part_seeds(seed)["test"]
    )
    data = load_study_data(sources.cohort, sources.labels, sources.split, (), _plain(modalities))
    rows = data.scored_rows(TEST)
    present = {name: there[rows] for name, there in data.present.items()}
    # Without its only modality nothing is known of anybody.
    asked = cases(data.features) if len(modalities) > 1 else []
    hidden = {case: hidden_rows(present, case, seed) for case in asked}
    blocks = source_blocks(sources.cohort, modalities)
    by_fit: dict[tuple[str, Setting], list[str]] = {}
    for one in chosen:
        by_fit.setdefault((one.combination, one.setting), []).append(one.task)
    fits = final_fits(sources.scores)
    models = {path.stem: path for folder in sources.models for path in Path(folder).glob("*.safetensors")}
    found: dict[tuple[str, Case], Scored] = {}
    leaned: list[Leaned] = []
    with Progress("models", len(by_fit), stream=screen) as bar:
        for (combination, setting), tasks in by_fit.items():
            statuses = fits.get((combination, setting), {}).get(TEST, {})
            keys = [key for _, (key, status) in sorted(statuses.items()) if status == "ok"]
            if missing := [key for key in keys if key not in models]:
                raise InputError(
                    f"{len(missing)} final model(s) of `{combination}` are missing",
                    where=", ".join(str(folder) for folder in sources.models),
                    hint="run the stage of the final fits",
                )
            if keys:
                loaded = [load_model(models[key]) for key in keys]
                said = _predicted(loaded, data, hidden, tasks) if hidden else {}
                found |= {(t, case): scored(cohort, t, {TEST: p}) for (case, t), p in said.items()}
                leaned += [leaned_on(loaded, data, cohort, task, blocks) for task in tasks]
            bar.advance(1)
    table = pa.Table.from_pylist(marked(missing_rows(found, cohort, hidden), names), schema=MISSING)
    write_table(table, out, MISSING)
    rows_of = marked(reliance_rows(sorted(leaned, key=lambda one: one.task), cohort), names)
    write_table(pa.Table.from_pylist(rows_of, schema=RELIANCE), reliance, RELIANCE)
    told = f"{len({task for task, _ in found})} tasks, {len(data.features)} modalities hidden"
    screen.write(f"{told if hidden else 'nothing to hide: the study has one modality'}\n")


def cases(modalities: Iterable[str]) -> list[Case]:
    """What is scored: each modality, then all, at each share."""
    return [(name, share) for name in (*modalities, None) for share in SHARES]


def hidden_rows(present: Mapping[str, BoolArray], case: Case, seed: int) -> dict[str, BoolArray]:
    """From which rows each modality is hidden: modality -> (n,).

    Args:
        present: modality -> (n,) which rows have it.
        case: modality and share; of all modalities, the share of each, drawn by itself.
        seed: of the study.
    """
    name, share = case
    found = {}
    for modality, there in present.items():
        gone = np.zeros(len(there), dtype=bool)
        if name in (modality, None):
            # The draw is of all rows, so that what one lacks moves no other.
            order = generator(seed, "missing", modality).permutation(len(there))
            have = order[there[order]]
            gone[have[: math.floor(share * len(have) + 0.5)]] = True
        found[modality] = gone
    return found


def _plain(modalities: Mapping[str, Modality]) -> dict[str, Modality]:
    """The modalities as they are read: models are finished, their encoders are of no matter."""
    return {name: Modality(sources=modality.sources) for name, modality in modalities.items()}


def _predicted(
    models: Sequence[FittedModel],
    data: StudyData,
    hidden: Mapping[Case, Mapping[str, BoolArray]],
    tasks: Sequence[str],
) -> Predicted:
    """What the replicates of a model predict for the test part, case by case."""
    every = [dict(_of_model(model, data, hidden, tasks)) for model in models]
    return {place: np.stack([one[place] for one in every]) for place in every[0]}


def _of_model(
    model: FittedModel,
    data: StudyData,
    hidden: Mapping[Case, Mapping[str, BoolArray]],
    tasks: Sequence[str],
) -> Iterator[tuple[tuple[Case, str], Float32]]:
    rows, parts = data.scored_rows(TEST), dict[tuple[Case, str], list[Float32]]()
    blank: dict[str, Float32] = {}
    for a in range(0, len(rows), _ROWS):
        raw = {name: x[rows[a : a + _ROWS]] for name, x in data.features.items()}
        x, present = model.standardise(raw), model.present(raw)
        for case, gone in hidden.items():
            away = np.stack([gone[name][a : a + _ROWS] for name in model.modalities])
            shown = present & ~torch.from_numpy(away)
            said = model.predict_scaled(x, shown)
            nothing = ~shown.any(0).numpy()
            for task in tasks:
                if nothing.any():
                    # Rows of which nothing is known are one and the same; rounding would order them.
                    said[task][nothing] = blank.setdefault(task, said[task][nothing][0])
                parts.setdefault((case, task), []).append(said[task])
    yield from ((place, np.concatenate(values)) for place, values in parts.items())


def shown_shares(
    hidden: Mapping[Case, Mapping[str, BoolArray]],
    modality: str | None,
    patient: npt.NDArray[np.intp],
    seen: BoolArray,
) -> set[float]:
    """The shares whose scores may be shown: from one to the next at least 11 patients lose it, or nobody.

    What two scores differ by where fewer lose it is what the model says of these.

    Args:
        hidden: case -> modality -> (n,) from which rows it is hidden.
        modality: of the cases; None: each by itself.
        patient: (n,).
        seen: (n,) the rows with a label.
    """
    kept = {0.0}
    before = hidden[modality, 0.0]
    for share in SHARES[1:]:
        gone = hidden[modality, share]
        lost = np.any([away & ~before[name] for name, away in gone.items()], axis=0)
        if not is_small(patients_of(patient, lost & seen)):
            kept.add(share)
            before = gone
    return kept


def missing_rows(
    found: Mapping[tuple[str, Case], Scored],
    cohort: Cohort,
    hidden: Mapping[Case, Mapping[str, BoolArray]],
) -> list[dict[str, Any]]:
    """Rows of contracts.MISSING, by task, modality (all last) and share.

    Args:
        found: (task, case) -> the selected model's score; of each modality with the share 0.
        cohort: labels, parts and drawn patients.
        hidden: case -> modality -> (n,) from which rows it is hidden.
    """
    places = sorted(found, key=lambda place: (place[0], place[1][0] is None, place[1][0] or "", place[1][1]))
    units = {task: cohort.informative(task, [TEST]) for task in {task for task, _ in places}}
    values = _intervals(places, cohort, [score(found[place], units[place[0]]) for place in places])
    hiding = [place for place in places if place[1][1] > 0]
    lost = [difference(found[task, case], found[task, (case[0], 0.0)], units[task]) for task, case in hiding]
    changes = _intervals(hiding, cohort, lost)
    unit = cohort.parts[TEST].unit
    shown = {
        (task, modality): shown_shares(hidden, modality, unit, ~np.isnan(cohort.observed(task, TEST)))
        for task, (modality, _) in places
    }
    rows = []
    for task, case in places:
        metric, value = cohort.tasks[task].metric, values[task, case]
        change = changes.get((task, case))
        # Nothing is hidden: nothing changes.
        changed = (0.0, 0.0, 0.0) if change is None else (change.estimate, change.low, change.high)
        numbers = (value.estimate, *bounded(value, metric), *changed)
        names = ("value", "low", "high", "change", "change_low", "change_high")
        known = {
            name: number if np.isfinite(number) and case[1] in shown[task, case[0]] else None
            for name, number in zip(names, numbers, strict=True)
        }
        rows.append({"task": task, "modality": case[0], "share": case[1], "metric": metric, **known})
    return rows


def _intervals(
    places: Sequence[tuple[str, Case]], cohort: Cohort, quantities: Sequence[Quantity]
) -> dict[tuple[str, Case], Interval]:
    metrics = [cohort.tasks[task].metric for task, _ in places]
    return dict(zip(places, pooled_intervals(quantities, metrics), strict=True))
