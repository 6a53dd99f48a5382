"""Columns of a data frame as features, by name: numbers as they are, categories as one feature per value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.cohort.rare import values_left, with_others
from m3h_pipeline.errors import InputError, nearest

#: A column with more values than this is no category.
MOST_CATEGORIES = 1000
#: Most problems that one message lists.
_LISTED = 50
_WORDS = {"number": "numbers", "category": "text or categories"}


@dataclass(frozen=True)
class Column:
    """How a column becomes features.

    Attributes:
        name: of the column.
        kind: ``number``: one feature; ``category``: one per value.
        values: of a category those that 11 patients had, ascending; ``other`` stands for the rest.
    """

    name: str
    kind: Literal["number", "category"]
    values: tuple[str, ...] = ()

    @property
    def features(self) -> list[str]:
        """Names of its features."""
        return [self.name] if self.kind == "number" else [f"{self.name}={value}" for value in self.values]


def checked_frame(frame: Any, what: str = "the data") -> pd.DataFrame:
    """The frame, if it is one whose columns have names of their own.

    Raises:
        InputError: it is something else, has no rows, or two columns of one name.
    """
    if not isinstance(frame, pd.DataFrame):
        raise InputError(
            f"{what} must be a pandas DataFrame, whose columns are known by name; this is "
            f"{type(frame).__name__}",
            hint="pandas.DataFrame(values, columns=[...]) gives an array's columns their names",
        )
    if doubled := sorted({str(name) for name in frame.columns[frame.columns.duplicated()]}):
        raise InputError(f"{what} has two columns named {_named(doubled)}", hint="rename one of them")
    if not len(frame):
        raise InputError(f"{what} has no rows")
    return frame


def check_columns(frame: pd.DataFrame, wanted: Iterable[str]) -> None:
    """Refuse a frame that lacks columns; the message lists all of them.

    Raises:
        InputError: columns are missing.
    """
    have = [str(name) for name in frame.columns]
    missing = [name for name in dict.fromkeys(wanted) if name not in frame.columns]
    if missing:
        close = "; ".join(
            f"`{name}`: {hint}"
            for name in missing[:3]
            if (hint := nearest(name, have)).startswith("did you mean")
        )
        raise InputError(
            f"{len(missing)} column(s) are missing: {_named(missing, most=len(missing))}",
            hint=close or "give each of them; a value that is not known is NaN",
        )


def learned_columns(
    frame: pd.DataFrame, names: Iterable[str], patient: npt.NDArray[Any]
) -> dict[str, Column]:
    """How some columns of a training frame become features.

    Args:
        frame: has the columns.
        names: of the columns.
        patient: (n,) whose the rows are; a category needs 11 patients to have a feature of its own.

    Raises:
        InputError: columns hold neither numbers nor categories; the message lists all of them.
    """
    found: dict[str, Column] = {}
    wrong = []
    whose = pa.array([str(one) for one in patient])
    for name in names:
        kind = kind_of(frame[name])
        if kind in {"number", "nothing"}:
            found[name] = Column(name, "number")
        elif kind == "category":
            text = _categories(frame[name])
            if len(text.drop_null().unique()) > MOST_CATEGORIES:
                wrong.append(f"`{name}` has more than {MOST_CATEGORIES:,} different texts")
                continue
            found[name] = Column(name, "category", tuple(values_left(text, whose)[0]))
        else:
            wrong.append(f"`{name}` holds {kind}")
    if wrong:
        raise InputError(
            "columns hold neither numbers nor categories: " + _listed(wrong),
            hint="turn them into numbers (dates into days since something), or leave them out",
        )
    return found


def check_types(frame: pd.DataFrame, columns: Iterable[Column]) -> None:
    """Refuse a frame whose columns hold what they did not hold before.

    Raises:
        InputError: the message lists all of them.
    """
    wrong = []
    for column in columns:
        kind = kind_of(frame[column.name])
        if kind not in {column.kind, "nothing"}:
            have = _WORDS.get(kind, kind)
            wrong.append(f"`{column.name}` holds {have}, where the model knows {_WORDS[column.kind]}")
    if wrong:
        raise InputError(
            "columns have another type than in training: " + _listed(wrong),
            hint="turn them into what the model knows (`pandas.to_numeric` makes numbers of texts)",
        )


def feature_values(frame: pd.DataFrame, columns: Sequence[Column]) -> Float32Array:
    """Features of a frame whose columns are there, and of the types that they were.

    A category that the columns do not know is ``other`` where that is one of theirs, else missing.

    Shape:
        (n, D), NaN = missing

    Raises:
        InputError: a number is infinite.
    """
    x = np.empty((len(frame), sum(len(column.features) for column in columns)), dtype=np.float32)
    at = 0
    for column in columns:
        if column.kind == "number":
            x[:, at] = numbers(frame[column.name])
            at += 1
            continue
        known = with_others(_categories(frame[column.name]), column.values)
        for value in column.values:
            x[:, at] = pc.cast(pc.equal(known, value), pa.float32()).to_numpy(zero_copy_only=False)
            at += 1
    return x


def kind_of(values: pd.Series[Any]) -> str:
    """What a column holds: ``number``, ``category``, ``nothing`` (all missing), or in words what else.

    Examples:
        >>> [kind_of(pd.Series(v)) for v in ([1, None], [True], ["a", None], [None], [1, "a"])]
        ['number', 'number', 'category', 'nothing', 'numbers and text']
        >>> kind_of(pd.Series(["", " "]))
        'nothing'
        >>> kind_of(pd.Series([True, 2.5])), kind_of(pd.Series([True, None, False]))
        ('truths among other numbers', 'number')
        >>> kind_of(pd.Series(pd.to_datetime(["2024-05-01"])))
        'dates'
    """
    if values.isna().all():
        return "nothing"
    if isinstance(values.dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_bool_dtype(values) or pd.api.types.is_numeric_dtype(values):
        return "number" if not pd.api.types.is_complex_dtype(values) else "complex numbers"
    if pd.api.types.is_datetime64_any_dtype(values) or isinstance(values.dtype, pd.PeriodDtype):
        return "dates"
    if pd.api.types.is_timedelta64_dtype(values):
        return "durations"
    held = {_held(value) for value in values.dropna().unique()} if _hashable(values) else {"objects"}
    if held == {"text"}:
        return "category" if any(value.strip() for value in values.dropna().unique()) else "nothing"
    if held == {"numbers"}:
        known = values.dropna().tolist()
        mixed = any(isinstance(value, bool | np.bool_) for value in known) and not {*known} <= {0, 1}
        return "truths among other numbers" if mixed else "number"
    return " and ".join(sorted(held))


def numbers(values: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """The numbers of a column, (n,); NaN = missing.

    Raises:
        InputError: one is infinite.
    """
    if kind_of(values) == "nothing":
        return np.full(len(values), np.nan)
    found = pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
    with np.errstate(over="ignore"):
        beyond = np.isinf(found.astype(np.float32))
    if beyond.any():
        raise InputError(
            f"column `{values.name}` has {int(beyond.sum()):,} infinite value(s), or beyond 3e38",
            hint="use NaN where a value is not known",
        )
    return found


def texts(values: pd.Series[Any]) -> list[str | None]:
    """The values of a column of categories as text; None = missing.

    Examples:
        >>> texts(pd.Series([2.0, None, 3.0], dtype="category"))
        ['2', None, '3']
    """
    return [None if pd.isna(value) else _text(value) for value in values.tolist()]


def _categories(values: pd.Series[Any]) -> pa.Array:
    """The values of a feature of categories: blanks around one say nothing, as in a study's tables.

    Examples:
        >>> _categories(pd.Series(["MICU ", " ", None])).to_pylist()
        ['MICU', None, None]
    """
    return pa.array([None if one is None else one.strip() or None for one in texts(values)], pa.string())


def _text(value: Any) -> str:
    # A column of whole numbers with a missing value is one of floats: its categories are the same.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _held(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    return "numbers" if isinstance(value, int | float | np.number | np.bool_) else type(value).__name__


def _hashable(values: pd.Series[Any]) -> bool:
    try:
        values.dropna().unique()
    except TypeError:
        return False
    return True


def _named(names: Sequence[str], most: int = _LISTED) -> str:
    return _listed([f"`{name}`" for name in names], most)


def _listed(texts: Sequence[str], most: int = _LISTED) -> str:
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def column_names(modalities: Mapping[str, Sequence[Column]]) -> list[str]:
    """Names of the columns of all modalities, each once."""
    return list(dict.fromkeys(column.name for columns in modalities.values() for column in columns))
