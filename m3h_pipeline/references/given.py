"""References that came with the data: predictions in a column, of another model, of physicians, of a score.

They are held against the same labels on the same rows as every other model, and never are features. A row
without such a prediction gets what says nothing of it, the mean of the training rows: a model that is silent
about some patients is judged as it would be used on all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.config.results import MEANINGS, Given
from m3h_pipeline.disclosure import FEW, is_small, small_count
from m3h_pipeline.errors import ConfigError, nearest
from m3h_pipeline.files import read_table
from m3h_pipeline.layout import CohortFiles
from m3h_pipeline.references.design import designed
from m3h_pipeline.references.hazards import cox_path
from m3h_pipeline.references.linear import linear_path
from m3h_pipeline.references.problem import Floats, Problem
from m3h_pipeline.references.registry import Part, Reference
from m3h_pipeline.survival import breslow, cox_prediction
from m3h_pipeline.tasks.columns import Column

Float64 = npt.NDArray[np.float64]

#: Penalty of the model that translates a score: with one standardised input it only keeps perfect separation
#: from an infinite coefficient.
_STRENGTH = (1.0,)
#: A probability of exactly 0 or 1 has no finite hazard.
_LEAST = 1e-6


def given_references(
    given: Mapping[str, Mapping[str, Given]],
    task: str,
    description: Mapping[str, Any],
    cohort: Path,
    features: Mapping[str, Sequence[str]],
) -> dict[str, Reference]:
    """The references of a task that are columns of the cohort: name -> reference.

    Args:
        given: ``evaluation.given``: name -> task -> column.
        task: its id; a name that says nothing of it is left out.
        description: of the task, from its labels.
        cohort: folder with ``columns.parquet``.
        features: modality -> names of its features.

    Raises:
        ConfigError: as :func:`read_given`.
    """
    return {
        name: reference(
            read_given(one[task], f"evaluation.given.{name}.{task}", description, cohort, features)
        )
        for name, one in given.items()
        if task in one
    }


class Predicted:
    """A column of predictions, read.

    Attributes:
        given: the column and its meaning.
        values: (n,) float64, NaN = none.
    """

    def __init__(self, given: Given, values: Float64) -> None:
        self.given = given
        self.values = values

    @property
    def described(self) -> str:
        """The column, and how many rows are without a prediction."""
        known = np.isfinite(self.values)
        n, without = len(known), int((~known).sum())
        # That nearly all rows are without tells how few have one.
        said = f"all but {FEW}" if is_small(n - without) else small_count(without)
        return f"column={self.given.column}, {said} of {n:,} rows without"


def read_given(
    given: Given,
    where: str,
    description: Mapping[str, Any],
    cohort: Path,
    features: Mapping[str, Sequence[str]],
) -> Predicted:
    """Read a column of predictions, and refuse what cannot be held against the task.

    Args:
        given: the column and its meaning.
        where: its key, for messages.
        description: of the task.
        cohort: folder with ``columns.parquet``.
        features: modality -> names of its features.

    Raises:
        ConfigError: the cohort has no such column, or it holds text, no prediction at all, or probabilities
            beyond 0 to 1; it means something that the task's problem class does not know; it is a feature.
    """
    name, kind = given.column, str(description["problem_class"])
    if kind not in MEANINGS[given.means]:
        possible = [means for means, kinds in MEANINGS.items() if kind in kinds]
        raise ConfigError(
            f"`means: {given.means}` says nothing of a {kind} task",
            where=where,
            hint=f"one of {', '.join(possible)}" if possible else "take it out",
        )
    for modality, names in features.items():
        # Of a category a feature is called by the column and the value.
        if any(one == name or one.startswith(f"{name}=") for one in names):
            raise ConfigError(
                f"`{name}` is a feature of the modality `{modality}`: it would predict itself",
                where=where,
                hint="take the column out of the features of the source",
            )
    path = CohortFiles(cohort).columns
    table = read_table(path) if path.is_file() else None
    if table is None or name not in table.column_names:
        known = [] if table is None else table.column_names
        raise ConfigError(
            f"the cohort has no column `{name}`",
            where=where,
            hint="name it in `source.columns`" + (f"; {nearest(name, known)}" if known else ""),
        )
    column = Column(name, table[name])
    if (wrong := np.isnan(column.number) & column.observed).any():
        raise ConfigError(
            f"column `{name}` is to hold predictions, and {small_count(int(wrong.sum()))} rows hold text",
            where=where,
            hint="name what stands for a missing one in `source.missing_values`",
        )
    values = column.number
    if not np.isfinite(values).any():
        raise ConfigError(f"column `{name}` holds no prediction", where=where)
    if (np.abs(values) > np.finfo(np.float32).max).any():
        raise ConfigError(
            f"column `{name}` holds numbers too large for a prediction",
            where=where,
            hint="name what stands for a missing one in `source.missing_values`, or give a smaller unit",
        )
    if given.means in ("event", "no_event"):
        beyond = int(((values < 0) | (values > 1)).sum())
        if beyond:
            raise ConfigError(
                f"column `{name}` is to hold probabilities, and {small_count(beyond)} rows are not between 0 "
                "and 1",
                where=where,
                hint="`means: score` takes any numbers",
            )
    return Predicted(given, values)


def reference(predicted: Predicted) -> Reference:
    """A column of predictions as a reference model with one setting.

    - *event*, *no_event*, binary: the probability, as it is.
    - *event*, *no_event*, survival: a hazard in proportion to the one the probability tells,
      log(-log S(t)); proportional hazards make its time t a constant. The baseline is Breslow's, of the
      training rows.
    - *value*: the value, as it is.
    - *score*: logistic, linear or Cox regression on it alone, fitted to the training rows.
    """
    means = predicted.given.means

    def path(part: Part, chosen: Sequence[int]) -> list[Floats]:
        values = _filled(predicted.values, part)
        if means == "score":
            found = _translated(values, part)
        elif part.problem_class == "survival":
            surviving = np.clip(values if means == "no_event" else 1 - values, _LEAST, 1 - _LEAST)
            hazard = np.log(-np.log(surviving))
            known = part.labelled
            baseline = breslow(hazard[known], part.study.y[known], part.study.grid)
            found = cox_prediction(hazard[part.scored], baseline)
        else:
            found = (1 - values if means == "no_event" else values)[part.scored, None]
        return [found for _ in chosen]

    return Reference(frozenset(MEANINGS[means]), lambda _: [predicted.described], path, stored=False)


def _filled(values: Float64, part: Part) -> Float64:
    """The values with the mean of the training rows' where there is none."""
    known = values[part.training]
    known = known[np.isfinite(known)]
    return np.where(np.isfinite(values), values, known.mean() if len(known) else 0.5)


def _translated(values: Float64, part: Part) -> Floats:
    learned = values[part.labelled]
    # Without a label there is nothing to scale by, and nothing to translate.
    centre, spread = (learned.mean(), learned.std() or 1.0) if len(learned) else (0.0, 1.0)
    x = ((values - centre) / spread)[:, None]
    y = part.study.y[part.labelled]
    problem = designed(Problem(part.problem_class, part.classes, x[part.labelled], y, x[part.scored]))
    if part.problem_class == "survival":
        return cox_path(problem, part.study.grid, _STRENGTH)[0]
    return linear_path(problem, _STRENGTH)[0]
