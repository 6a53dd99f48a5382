"""What slips by when values are judged one by one: truths among numbers, identifiers without all digits."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.identifiers import called
from m3h_pipeline.tables.reader import TableFileReader
from m3h_pipeline.tables.values import TRUTH, is_text

#: From here on a float is not every whole number.
_EXACT: Final = 2.0**53
#: How programs write large floats: 1.2345678901234568e+18, 9007199254740994.0.
_FLOATS = r"^-?([0-9](\.[0-9]+)?[eE]\+[0-9]{1,3}|[0-9]{16,}\.0*)$"


class Slips:
    """What is noted of the columns of a file while it is read, and refused where it matters.

    A column of the words true and false is one of 1 and 0; among other numbers they are a slip. A whole
    number of more than 15 digits that passed through a float is another one: as an identifier it may be
    somebody else's.

    Args:
        reader: of the file.
    """

    def __init__(self, reader: TableFileReader) -> None:
        self._reader = reader
        self._truths: dict[str, int] = {}
        self._others: set[str] = set()
        self._rounded: dict[str, int] = {}

    def note_truths(self, name: str, values: pa.Array, before: int, known: npt.NDArray[np.bool_]) -> None:
        """Note the first truth of a column.

        Args:
            name: key of the column.
            values: n of its values.
            before: rows that stand before them.
            known: (n,) which of them are not missing: a study may say that a word means nothing.
        """
        if is_text(values.type) and name not in self._truths:
            found = pc.match_substring_regex(pc.utf8_trim_whitespace(values), TRUTH)
            _first(self._truths, name, _true(found) & known, before)

    def note_floats(self, name: str, values: pa.Array, before: int) -> None:
        """Note the first large float of a column that is read as text.

        Args:
            name: key of the column.
            values: some of its values.
            before: rows that stand before them.
        """
        if pa.types.is_floating(values.type) and name not in self._rounded:
            _first(self._rounded, name, np.abs(_floats(values)) >= _EXACT, before)

    def check_numbers(self, name: str, numbers: npt.NDArray[np.float64]) -> None:
        """See that a column with truths holds no numbers but 1 and 0, here or in an earlier call.

        Args:
            name: key of the column.
            numbers: some of its values, NaN = missing.

        Raises:
            InputError: it does.
        """
        if name not in self._others and ((numbers != 0) & (numbers != 1) & ~np.isnan(numbers)).any():
            self._others.add(name)
        if name in self._others and name in self._truths:
            raise InputError(
                f"column `{called(name)}` holds true or false among numbers other than 1 and 0",
                where=self._reader.place([self._truths[name]]),
                hint="correct the value, or leave it empty if it was not observed",
            )

    def check_ids(self, name: str, text: pa.Array, before: int = 0) -> None:
        """See that no identifier of a column has passed through a float that does not hold all its digits.

        Args:
            name: key of the column.
            text: some of its values.
            before: rows that stand before them.

        Raises:
            InputError: one has.
        """
        if name not in self._rounded:
            found = _true(pc.match_substring_regex(pc.utf8_trim_whitespace(text), _FLOATS))
            at = np.flatnonzero(found)
            large = np.abs(_floats(pc.cast(text.take(pa.array(at)), pa.float64()))) >= _EXACT
            found[at] = large
            _first(self._rounded, name, found, before)
        if name in self._rounded:
            raise InputError(
                f"column `{called(name)}` holds identifiers as floats, which lose digits beyond the 15th",
                where=self._reader.place([self._rounded[name]]),
                hint="export it anew as text or as whole numbers (in pandas, read it with `dtype=str`)",
            )


def _first(found: dict[str, int], name: str, rows: npt.NDArray[np.bool_], before: int) -> None:
    if rows.any():
        found[name] = before + int(np.argmax(rows))


def _true(found: pa.Array) -> npt.NDArray[np.bool_]:
    return np.array(pc.fill_null(found, False).to_numpy(zero_copy_only=False), dtype=bool)


def _floats(values: pa.Array) -> npt.NDArray[np.float64]:
    x: npt.NDArray[np.float64] = values.to_numpy(zero_copy_only=False).astype(np.float64)
    return x
