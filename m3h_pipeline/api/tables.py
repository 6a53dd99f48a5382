"""Tables of a study as data frames that know the study's tasks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final

import pandas as pd
import pyarrow as pa

from m3h_pipeline.figures.catalogue import Catalogue
from m3h_pipeline.tasks.assessed import Task

#: Where a frame has its tasks, in ``DataFrame.attrs``.
_TASKS: Final = "tasks"


def with_tasks(table: pa.Table, tasks: Iterable[Task]) -> pd.DataFrame:
    """A table as a data frame that figures can title."""
    frame: pd.DataFrame = table.to_pandas()
    frame.attrs[_TASKS] = [asdict(task) for task in tasks]
    return frame


def catalogue_of(frame: pd.DataFrame) -> Catalogue:
    """The tasks that a frame came with; of one that has lost them, none."""
    said: list[dict[str, Any]] = frame.attrs.get(_TASKS, [])
    return Catalogue(Task(**{**one, "classes": tuple(one["classes"])}) for one in said)
