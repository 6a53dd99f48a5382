"""What a model is asked to learn, and from which columns: understood, or refused."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from m3h_pipeline.api.frames import check_columns, checked_frame
from m3h_pipeline.api.outcomes import Outcome
from m3h_pipeline.errors import ConfigError, InputError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def modalities_of(given: Any) -> dict[str, list[str]]:
    """The modalities of a model.

    Raises:
        ConfigError: they cannot be understood.
    """
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(
            "`modalities` is a mapping of names to lists of columns with at least one modality",
            hint='for example {"labs": ["urea", "sodium"]}',
        )
    found: dict[str, list[str]] = {}
    holder: dict[str, str] = {}
    for name, columns in given.items():
        where = f"modalities[{name!r}]"
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError(
                "the name of a modality has letters, digits and `_`, and begins with a letter", where=where
            )
        if isinstance(columns, str) or not isinstance(columns, Sequence | pd.Index | np.ndarray):
            raise ConfigError("a modality is a list of columns", where=where)
        found[name] = [str(column) for column in columns]
        if not found[name]:
            raise ConfigError("a modality has at least one column", where=where)
        for column in found[name]:
            if column in holder:
                both = f"in `{holder[column]}` and `{name}`" if holder[column] != name else "twice"
                raise ConfigError(f"column `{column}` stands {both}", where="modalities")
            holder[column] = name
    return found


def check_disjoint(modalities: Mapping[str, Sequence[str]], outcomes: Mapping[str, Outcome]) -> None:
    """Refuse an outcome that is a feature, too.

    Raises:
        ConfigError: a column is both.
    """
    features = {column: name for name, columns in modalities.items() for column in columns}
    for task, outcome in outcomes.items():
        for column in outcome.columns:
            if column in features:
                raise ConfigError(
                    f"column `{column}` is an outcome of `{task}` and a feature of `{features[column]}`: a "
                    "model would be given the label that it shall predict",
                    where="modalities",
                    hint="take it out of one of the two",
                )


def answers_of(frame: pd.DataFrame, y: pd.DataFrame | None, outcomes: Mapping[str, Outcome]) -> pd.DataFrame:
    """The frame that holds the outcomes.

    Raises:
        InputError: it lacks columns, or has other rows.
    """
    answers = frame if y is None else checked_frame(y, "`y`")
    check_columns(answers, [name for one in outcomes.values() for name in one.columns])
    if len(answers) != len(frame):
        raise InputError(f"`y` has {len(answers):,} rows, `X` {len(frame):,}")
    check_same_rows(frame, answers, "`y`")
    return answers


def check_same_rows(frame: pd.DataFrame, other: Any, what: str) -> None:
    """Refuse what has no rows, or an index of its own that is not the frame's: its rows would be others.

    Args:
        frame: with n rows.
        other: with n rows; lists and arrays have no index, and are taken row by row.
        what: it is, for the message.

    Raises:
        InputError: its index is another one, or in another order, or it is one value.

    Examples:
        >>> frame = pd.DataFrame({"age": [50, 60]}, index=["ann", "bob"])
        >>> check_same_rows(frame, [0, 1], "`groups`")
        >>> check_same_rows(frame, pd.Series([0, 1], index=["bob", "ann"]), "`groups`")
        Traceback (most recent call last):
        m3h_pipeline.errors.InputError: `groups` has another index than `X`, or in another order
          to do: give both the same: `.loc[X.index]`, or, where row belongs to row, `.set_axis(X.index)`
    """
    if not isinstance(other, Iterable):
        raise InputError(
            f"{what} needs a value for each row, and is {brief(other)}", hint="give a list as long as `X`"
        )
    if isinstance(other, pd.DataFrame | pd.Series) and not other.index.equals(frame.index):
        raise InputError(
            f"{what} has another index than `X`, or in another order",
            hint="give both the same: `.loc[X.index]`, or, where row belongs to row, `.set_axis(X.index)`",
        )


def place(path: Any, what: str) -> Path:
    """A path, as it was given.

    Args:
        path: a text, or what Python takes for a path.
        what: it is, for the message.

    Raises:
        InputError: it is none.

    Examples:
        >>> place("config/ward.yaml", "the study's file")
        PosixPath('config/ward.yaml')
        >>> place(3, "the study's file")
        Traceback (most recent call last):
        m3h_pipeline.errors.InputError: the study's file is a path, not 3 (int)
          to do: give it as text or as a `pathlib.Path`
    """
    try:
        found = os.fspath(path)
    except TypeError:
        found = None
    if not isinstance(found, str):
        raise InputError(
            f"{what} is a path, not {brief(path)}", hint="give it as text or as a `pathlib.Path`"
        )
    if not found or "\0" in found:
        raise InputError(f"{what} is a path, not {found!r}", hint="give the path of one that is there")
    return Path(found)


def stream(given: Any, what: str, default: TextIO) -> TextIO:
    """Where something is printed.

    Args:
        given: what can be written to; None: the default.
        what: it is called, for the message.
        default: such as standard output.

    Raises:
        InputError: it cannot be written to.

    Examples:
        >>> import sys
        >>> stream("log.txt", "progress", sys.stderr)
        Traceback (most recent call last):
        m3h_pipeline.errors.InputError: `progress` is what can be written to, not 'log.txt' (str)
          to do: give an open file, `io.StringIO()`, or nothing
    """
    if given is None:
        return default
    if not callable(getattr(given, "write", None)):
        raise InputError(
            f"`{what}` is what can be written to, not {brief(given)}",
            hint="give an open file, `io.StringIO()`, or nothing",
        )
    found: TextIO = given
    return found


def whole(number: Any, what: str, least: int = 0, most: int | None = None) -> int:
    """A whole number, as it was asked for.

    Args:
        number: perhaps one of NumPy.
        what: it is called, for the message.
        least: it may be.
        most: it may be; None: any.

    Raises:
        ConfigError: it is none, or too small or too large.

    Examples:
        >>> whole(np.int64(3), "folds", 3)
        3
        >>> whole("3", "folds", 3)
        Traceback (most recent call last):
        m3h_pipeline.errors.ConfigError: `folds` is a whole number from 3 on, not '3' (str)
    """
    valid = isinstance(number, int | np.integer) and not isinstance(number, bool)
    if not valid or number < least or (most is not None and number > most):
        limits = f"from {least} on" if most is None else f"from {least} to {most}"
        raise ConfigError(f"`{what}` is a whole number {limits}, not {brief(number)}")
    return int(number)


def brief(thing: Any) -> str:
    """A thing as it is called in a message: its value where that is short, and its type.

    Nothing of what frames and long lists hold.

    Examples:
        >>> brief(3), brief(None), brief(pd.DataFrame()), brief(list(range(99)))
        ('3 (int)', 'None', 'a value of type DataFrame', 'a value of type list')
    """
    if thing is None:
        return "None"
    kind = type(thing).__name__
    text = repr(thing) if isinstance(thing, str | bytes | int | float | tuple | list | dict) else ""
    return f"{text} ({kind})" if 0 < len(text) <= 40 else f"a value of type {kind}"


def several(names: Sequence[str], what: str, example: str = "labs", kind: str = "names") -> list[str]:
    """A list of names, as it was asked for; one text is no list of its letters.

    Args:
        names: the list.
        what: it is called, for the message.
        example: of what it may hold, for the message.
        kind: of what it is a list.

    Raises:
        InputError: it is a text, or holds something else.

    Examples:
        >>> several(["labs"], "absent")
        ['labs']
        >>> several("labs", "absent")
        Traceback (most recent call last):
        m3h_pipeline.errors.InputError: `absent` is a list of names
          to do: say ['labs']
    """
    if isinstance(names, str):
        raise InputError(f"`{what}` is a list of {kind}", hint=f"say [{names!r}]")
    found = list(names) if isinstance(names, Iterable) else [None]
    if not all(isinstance(name, str) for name in found):
        raise InputError(f"`{what}` is a list of {kind}", hint=f'for example ["{example}"]')
    return [str(name) for name in found]
