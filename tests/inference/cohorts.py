"""Made-up cohorts with drawn patients, in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import METRICS
from m3h_pipeline.inference.bootstrap import patient_counts
from m3h_pipeline.inference.resampled import Cohort, Part
from m3h_pipeline.tasks.assessed import Task

Floats = npt.NDArray[np.floating[Any]]


def cohort_of(y: Floats, patient: npt.NDArray[np.intp], kind: str, draws: int = 100, seed: int = 0) -> Cohort:
    """One task, ``t``; all samples are in the test part."""
    weights = np.ascontiguousarray(patient_counts(int(patient.max()) + 1, draws, seed).T)
    part = Part(np.arange(len(y)), patient, weights)
    tasks = {"t": Task("t", kind, METRICS[kind])}
    return Cohort(tasks, {"t": y.astype(np.float32)}, {-1: part}, patient, draws=draws)
