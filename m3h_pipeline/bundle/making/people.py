"""Who is in a study: numbers that tell of no few patients."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline.bundle.schema import Who
from m3h_pipeline.disclosure import LEAST
from m3h_pipeline.disclosure.suppression import Sum, hidden
from m3h_pipeline.evaluation.shown import patients_of, shown_number
from m3h_pipeline.inference.resampled import TEST, Cohort

#: What values of few patients are together, and samples without a value.
OTHER, MISSING = "other", "missing"


def who_is_in_it(samples: pa.Table, cohort: Cohort) -> Who:
    """Samples and patients by part, and patients of the training part by subgroup.

    Args:
        samples: ``cohort/samples.parquet``.
        cohort: parts and patients.
    """
    test = cohort.parts[TEST].rows
    train = np.concatenate([cohort.parts[fold].rows for fold in cohort.folds])
    people = {
        part: len(np.unique(cohort.patient[rows])) for part, rows in (("training", train), ("test", test))
    }
    rows = {"training": len(train), "test": len(test)}
    few = any(shown_number(n, sum(people.values())) is None for n in people.values())
    columns = [name for name in samples.column_names if name not in {"sample_id", "patient_id", "stay_id"}]
    return Who(
        samples={part: None if few else n for part, n in rows.items()},
        patients={part: None if few else n for part, n in people.items()},
        subgroups={
            name: _subgroup(
                np.array(samples.column(name).to_pylist(), dtype=object)[train], cohort.patient[train]
            )
            for name in columns
        },
    )


def _subgroup(values: npt.NDArray[np.object_], patient: npt.NDArray[np.intp]) -> dict[str, int | None]:
    """Patients of each value; values of fewer than 11 patients are one, `other`."""
    named = np.array([MISSING if value is None else str(value) for value in values], dtype=object)
    counts = {value: patients_of(patient, named == value) for value in sorted(set(named))}
    rare = [value for value, n in counts.items() if n < LEAST and value != MISSING]
    if rare:
        named[np.isin(named, [*rare, OTHER])] = OTHER
        counts = {value: patients_of(patient, named == value) for value in sorted(set(named))}
    order = list(counts)
    # A patient whose samples differ is in several groups: they add up to no less than all.
    numbers = [len(np.unique(patient)), *counts.values()]
    masked = hidden(numbers, [Sum(0, range(1, len(numbers)))], known=[0])
    return {value: None if masked[i + 1] else counts[value] for i, value in enumerate(order)}
