"""A task's candidates with what they predict, as they predict it and recalibrated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from m3h_pipeline.evaluation.choice.calibrated import learned_from, recalibration_of
from m3h_pipeline.evaluation.choice.candidates import BLEND, Candidates
from m3h_pipeline.inference.metrics import Floats
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

    crossed: Floats
    test: Floats


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
    learned: Floats
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
    """Every candidate before and after recalibration, out of fold as it is used (:meth:`Candidates.as_used`).

    Args:
        candidates: of the task.
        chosen: the one that was chosen.
    """
    folds = candidates.cohort.folds
    blended = [BLEND] if candidates.blend and candidates.blend_of(folds) else []
    models: dict[str, dict[str, Predicted]] = {}
    y: Floats = np.zeros(0)
    patient = np.zeros(0, dtype=np.intp)
    for name in (*candidates.parts, *blended):
        test, learned = candidates.predictions(name, TEST, folds), learned_from(candidates, name)
        if test is None or learned is None:
            continue
        y, patient = learned.y, learned.patient
        models[name] = {BEFORE: Predicted(learned.said, test)}
        if (mapped := recalibration_of(candidates, learned)) is not None:
            models[name][AFTER] = Predicted(mapped(learned.said), np.stack([mapped(each) for each in test]))
    return Recalibrated(candidates, chosen, y, patient, models)
