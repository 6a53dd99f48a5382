"""Many records at once: the same as :func:`m3h_pipeline.tables.parsing.parse_records`, compiled.

The compiled loop reads usual records only. One that holds anything else (a byte that is not ASCII, quotation
marks, blanks, texts in numeric columns, the wrong number of fields, a number too close to the middle between
two float32) is handed to the rules, so that both give the same result to the bit, whatever the file. It is
worth its start-up on large files.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.tables.parsing import Data, Layout, Rows, Spans, empty_rows, parse_by_rules

# The compiled loop is kept on disk with these numbers in it, and is made anew only when this file changes:
# they must not come from elsewhere.
SKIP, SINGLE, DOUBLE, TEXT = 0, 1, 2, 3
_COMMA, _DOT, _MINUS, _PLUS, _ZERO, _QUOTE = 44, 46, 45, 43, 48, 34
#: Bytes of fields nobody wants that are looked at together.
_STRIDE = 64
_LARGEST = 300


def is_available() -> bool:
    """Whether what compiles the loop is installed: it comes with the part ``umap``."""
    return importlib.util.find_spec("numba") is not None


def parse_records(data: Data, spans: Spans, layout: Layout) -> Rows:
    """Parse the records at ``spans`` (n, 2) of ``data``, one after the other.

    No digit may follow a record directly: a line end does, or the end of ``data``.
    """
    if int(spans[:, 1].max(initial=0)) >= len(data):
        # The compiled loop finds the end of a number by the byte behind it.
        data = bytes(data) + b"\n"
    rows = empty_rows(len(spans), layout)
    usual = np.full(len(spans), data.isascii())
    if not usual.all():
        usual[:] = [data[start:stop].isascii() for start, stop in spans.tolist()]
    places = np.empty((len(spans), len(layout.texts), 2), dtype=np.int64)
    kind, slot = _kinds(layout)
    buffer, runs = np.frombuffer(data, dtype=np.uint8), _runs(kind)
    _compiled()(buffer, spans, kind, runs, slot, _powers(), rows.singles, rows.doubles, places, usual)
    for i in np.flatnonzero(usual).tolist():
        rows.texts[i] = [str(data[a:b], "ascii").strip() for a, b in places[i].tolist()]
    parse_by_rules(data, spans, np.flatnonzero(~usual).tolist(), layout, rows)
    return rows


@functools.cache
def _powers() -> npt.NDArray[np.float64]:
    # float("1e..") is the nearest double; 10.0 ** k is not for every k.
    return np.array([float(f"1e{k}") for k in range(_LARGEST + 1)])


def _kinds(layout: Layout) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]]:
    """Per field, what it is (skip, single, double, text) and its index among those."""
    kind = np.full(len(layout.names), SKIP, dtype=np.int8)
    slot = np.zeros(len(layout.names), dtype=np.int32)
    for code, fields in ((SINGLE, layout.singles), (DOUBLE, layout.doubles), (TEXT, layout.texts)):
        kind[list(fields)] = code
        slot[list(fields)] = np.arange(len(fields))
    return kind, slot


def _runs(kind: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    """From each field on, how many fields in a row are skipped."""
    runs = np.zeros(len(kind) + 1, dtype=np.int64)
    for field in range(len(kind) - 1, -1, -1):
        runs[field] = runs[field + 1] + 1 if kind[field] == SKIP else 0
    return runs[:-1]


@functools.cache
def _compiled() -> Callable[..., None]:
    numba: Any = importlib.import_module("numba")
    try:
        # Kept beside this module's bytecode, so that it is compiled once.
        compiled: Callable[..., None] = numba.njit(nogil=True, cache=True)(_parse)
    except RuntimeError:
        # Neither there nor in the user's cache can be written.
        compiled = numba.njit(nogil=True)(_parse)
    return compiled


def _parse(
    buffer: npt.NDArray[np.uint8],
    spans: npt.NDArray[np.int64],
    kind: npt.NDArray[np.int8],
    runs: npt.NDArray[np.int64],
    slot: npt.NDArray[np.int32],
    powers: npt.NDArray[np.float64],
    singles: npt.NDArray[np.float32],
    doubles: npt.NDArray[np.float64],
    places: npt.NDArray[np.int64],
    usual: npt.NDArray[np.bool_],
) -> None:
    n_fields = kind.size
    for row in range(spans.shape[0]):
        p, stop = spans[row, 0], spans[row, 1]
        field = 0
        good = usual[row]
        while good:
            what = kind[field]
            if what == SINGLE or what == DOUBLE:  # noqa: SIM109 - for numba
                sign = 1.0
                if p < stop and buffer[p] == _MINUS:
                    sign = -1.0
                    p += 1
                first = p
                dots = 0
                mantissa = np.uint64(0)
                significant = 0
                exponent = 0
                # The byte at ``stop`` exists and is no digit: it ends the loops over digits.
                while buffer[p] == _ZERO:
                    p += 1
                while True:
                    digit = np.uint8(buffer[p] - _ZERO)
                    if digit > 9:
                        break
                    mantissa = mantissa * np.uint64(10) + np.uint64(digit)
                    significant += 1
                    p += 1
                if p < stop and buffer[p] == _DOT:
                    dots = 1
                    p += 1
                    begin = p
                    if significant == 0:
                        while buffer[p] == _ZERO:
                            p += 1
                    after = p
                    while True:
                        digit = np.uint8(buffer[p] - _ZERO)
                        if digit > 9:
                            break
                        mantissa = mantissa * np.uint64(10) + np.uint64(digit)
                        p += 1
                    significant += p - after
                    exponent = begin - p
                digits = p - first - dots
                if p < stop and (buffer[p] == 101 or buffer[p] == 69) and digits > 0:
                    p += 1
                    down = False
                    if p < stop and (buffer[p] == _MINUS or buffer[p] == _PLUS):
                        down = buffer[p] == _MINUS
                        p += 1
                    begin = p
                    shift = np.int64(0)
                    while p - begin < 4:
                        digit = np.uint8(buffer[p] - _ZERO)
                        if digit > 9:
                            break
                        shift = shift * 10 + np.int64(digit)
                        p += 1
                    if p == begin:
                        good = False
                        break
                    exponent += -int(shift) if down else int(shift)
                if digits == 0 and p == first and sign > 0 and stop - p >= 3:
                    # "nan" in any case; the other words for missing are left to the rules.
                    n, a, m = buffer[p] | 32, buffer[p + 1] | 32, buffer[p + 2] | 32
                    if n == 110 and a == 97 and m == 110:
                        p += 3
                        first = p
                if p < stop and buffer[p] != _COMMA:
                    good = False
                    break
                value = np.nan
                if digits > 0:
                    if significant > 19 or exponent < -_LARGEST or exponent > _LARGEST:
                        good = False
                        break
                    value = np.float64(mantissa)
                    if exponent < 0:
                        value /= powers[-exponent]
                    else:
                        value *= powers[exponent]
                    if mantissa > np.uint64(1 << 53) or exponent < -22 or exponent > 22:
                        # The double may be off by a few units in its last place: harmless as float32 unless a
                        # rounding boundary lies that near, never harmless as float64.
                        low, high = np.float32(value * (1 - 1e-15)), np.float32(value * (1 + 1e-15))
                        if what == DOUBLE or low != high:
                            good = False
                            break
                    value *= sign
                elif p > first or sign < 0:
                    good = False
                    break
                if what == SINGLE:
                    singles[row, slot[field]] = np.float32(value)
                else:
                    doubles[row, slot[field]] = value
            else:
                # Of a long run of unwanted fields whole strides are skipped by their number of commas.
                while runs[field] > _STRIDE and p + _STRIDE <= stop:
                    commas = 0
                    quotes = 0
                    for i in range(_STRIDE):
                        commas += buffer[p + i] == _COMMA
                        quotes += buffer[p + i] == _QUOTE
                    if quotes > 0:
                        break
                    field += commas
                    p += _STRIDE
                if p < stop and buffer[p] == _QUOTE:
                    good = False
                    break
                first = p
                while p < stop and buffer[p] != _COMMA:
                    p += 1
                if what == TEXT:
                    places[row, slot[field], 0] = first
                    places[row, slot[field], 1] = p
            field += 1
            if p >= stop:
                break
            p += 1
            if field == n_fields:
                good = False
        usual[row] = good and field == n_fields
