"""The columns that criteria read: text or numbers, some of them not observed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.errors import TaskError
from m3h_pipeline.tables.values import composed, read_number

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
#: What a definition compares a column with.
Value = str | float


class Outcome(NamedTuple):
    """What a criterion made of some rows: the column, the values concerned, the verdict, which rows."""

    column: str
    value: str
    status: str
    rows: BoolArray


#: Labels, (n,) float64 with NaN = not observed, and what became of every value.
Labelled = tuple[FloatArray, list[Outcome]]


class Column:
    """One column of ``cohort/columns.parquet``: text or numbers, some of them not observed.

    Args:
        name: its name, for messages.
        values: (n,) strings or float64; null and NaN mean: not observed.
    """

    def __init__(self, name: str, values: pa.ChunkedArray | pa.Array) -> None:
        self.name = name
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            texts = values.to_pylist()
            self._text = np.array([None if text is None else text.strip() for text in texts], dtype=object)
            self.number = np.array([_as_number(text) for text in self._text], dtype=np.float64)
            self.observed = np.array([text is not None for text in texts], dtype=bool)
        else:
            numbers = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)
            self.number = np.asarray(numbers, dtype=np.float64)
            self._text = np.array([None] * len(self.number), dtype=object)
            self.observed = ~np.isnan(self.number)

    def is_any(self, values: Sequence[Value]) -> BoolArray:
        """Rows that hold one of the values; what reads as a number is compared as a number."""
        numbers = [number for value in values if not np.isnan(number := _as_number(value))]
        wanted = {composed(str(value)) for value in values}
        text = np.array([item in wanted for item in self._text], dtype=bool)
        return np.asarray(self.observed & (text | np.isin(self.number, numbers)))

    def numbers(self) -> FloatArray:
        """The values as numbers, NaN = not observed.

        Raises:
            TaskError: a value is no number.
        """
        wrong = self.observed & np.isnan(self.number)
        if wrong.any():
            raise TaskError(
                f"column `{self.name}` is to hold numbers and holds {self.shown(wrong)}",
                hint="add it to `source.missing_values` if it means: not observed",
            )
        return self.number

    def shown(self, rows: BoolArray) -> str:
        """Some of the distinct values of these rows, for a message."""
        values = {
            f"{number:g}" if text is None else str(text)
            for text, number in zip(self._text[rows], self.number[rows], strict=True)
        }
        return ", ".join(f"`{value}`" for value in sorted(values)[:3]) + (", …" if len(values) > 3 else "")


def nothing_left(column: Column, left: BoolArray, where: str) -> None:
    """Refuse values that no list of a criterion names.

    Args:
        column: that holds them.
        left: (n,) rows with such a value.
        where: the lists, for the message.

    Raises:
        TaskError: there are some.
    """
    if left.any():
        raise TaskError(
            f"column `{column.name}` holds {column.shown(left)}, which the criterion does not name",
            hint=f"list every value as {where}",
        )


def listed(values: Sequence[Value]) -> str:
    """Values as the audit table shows them.

    Examples:
        >>> listed(["yes", 1.0])
        'yes | 1'
    """
    return " | ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def _as_number(value: Value | None) -> float:
    """The value as a number, truths as 1 and 0; NaN if it is none."""
    if value is None or isinstance(value, float | int):
        return np.nan if value is None else float(value)
    number = read_number(value)
    return np.nan if number is None else number
