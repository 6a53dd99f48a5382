"""A task's candidates with what they predict, as they predict it and recalibrated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from m3h_pipeline.evaluation.choice.candidates import BLEND, Candidates
from m3h_pipeline.evaluation.choice.maps import recalibration
from m3h_pipeline.inference.metrics import Float64
from m3h_pipeline.inference.resampled import TEST

#: As in contracts.CALIBRATION_SLOPES: as a model predicts, and recalibrated by predictions out of fold.
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Predicted:
    """What a candidate predicts, in one of the two states.

    Attributes:
        crossed: out of fold, the folds one after another, (n_train, width).
        test: with its jackknife, (1 + replicates, n_test, width).
    """

    crossed: Float64
    test: Float64


@dataclass(frozen=True)
class Recalibrated:
    """The candidates of a task that predict every fold and the test part.

    Attributes:
        candidates: of the choice.
        chosen: the one that was chosen; None: none.
        learned: labels of the training part, the folds one after another, (n_train,).
        patient: whose they are, (n_train,).
        models: candidate -> state -> predictions; recalibrated ones are absent where nothing says how.
    """

    candidates: Candidates
    chosen: str | None
    learned: npt.NDArray[np.float32]
    patient: npt.NDArray[np.intp]
    models: dict[str, dict[str, Predicted]]

    @property
    def task(self) -> str:
        """Its id."""
        return self.candidates.task

    @property
    def problem_class(self) -> str:
        """Its class."""
        return self.candidates.cohort.tasks[self.task].problem_class


def recalibrated(candidates: Candidates, chosen: str | None) -> Recalibrated:
    """Every candidate before and after recalibration, a blend with weights of the other folds.

    Args:
        candidates: of the task.
        chosen: the one that was chosen.
    """
    cohort, folds, kind = candidates.cohort, candidates.cohort.folds, candidates.cohort.tasks
    rows = [cohort.parts[fold].rows for fold in folds]
    learned = np.concatenate([cohort.labels[candidates.task][each] for each in rows])
    patient = np.concatenate([cohort.patient[each] for each in rows])
    number = np.repeat(folds, [len(each) for each in rows])
    blended = [BLEND] if candidates.blend and candidates.blend_of(folds) else []
    models: dict[str, dict[str, Predicted]] = {}
    for name in (*candidates.parts, *blended):
        crossed, test = candidates.crossed(name, folds), candidates.predictions(name, TEST, folds)
        if test is None or len(crossed) < len(folds):
            continue
        said = np.concatenate([crossed[fold][0] for fold in folds])
        models[name] = {BEFORE: Predicted(said, test)}
        try:
            mapped = recalibration(
                kind[candidates.task].problem_class, learned, said, candidates.grid(), patient, number
            )
        except ValueError:
            continue  # no label, or no event, to recalibrate by
        models[name][AFTER] = Predicted(mapped(said), np.stack([mapped(each) for each in test]))
    return Recalibrated(candidates, chosen, learned, patient, models)
