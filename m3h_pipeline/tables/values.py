"""What a value of a table means: a number, a truth, a text, or nothing; the same whatever the file's format.

A value is judged by what it says, not by how its file stores it:

- Numbers are decimal digits with a point and perhaps an exponent. ``12_5``, ``0x1F``, ``1,5``, ``5 %``,
  digits of other scripts and the typographic minus are text.
- Truths are 1 and 0: a boolean of a typed file as much as the words true and false, in any case, of a text.
  In a column of other numbers the words are a slip, and refused (:class:`m3h_pipeline.tables.reader.Slips`).
- Blanks around a text do not count, and composed and decomposed letters (NFC, NFD) are the same.
- What is missing is said by :class:`Absent`: texts are compared as texts, numbers as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.config.missing import ANY_CASE, AS_WRITTEN, MISSING

Float64Array = npt.NDArray[np.float64]

#: A number, for Arrow's expressions and Python's.
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NUMBER = re.compile(NUMBER)
_INFINITE = re.compile(r"^[+-]?inf(inity)?$", re.IGNORECASE)
_TRUTHS = {"true": "1", "false": "0"}
#: The word true or false, for Arrow's expressions.
TRUTH = "(?i)^(true|false)$"
#: Whole numbers beyond have more digits than 64 bits hold, and are named by their exponent.
_LONGEST = 1e19
_NULL = pa.scalar(None, pa.string())


class Absent:
    """What means: not observed. Nulls and not-a-numbers of typed files always do.

    Args:
        added: texts, compared as they are but for blanks around them; what reads as a number is compared as a
            number, so that ``-9`` is ``-9.0`` and the -9 of a column of floats.
        usual: whether the usual spellings (:data:`~m3h_pipeline.config.missing.MISSING`) count too, in any
            case. If not, an empty text still does.

    Examples:
        >>> absent = Absent(["-9", "unknown"])
        >>> absent.texts(pa.array(["-9.0", "n/a", "Unknown", "unknown", "9"])).to_pylist()
        [None, None, 'Unknown', None, '9']
    """

    def __init__(self, added: Iterable[str] = (), *, usual: bool = True) -> None:
        given = [text.strip() for text in added]
        self._any_case = pa.array(ANY_CASE if usual else [""], pa.string())
        self._as_written = pa.array([*given, *(AS_WRITTEN if usual else ())], pa.string())
        self._truths = [_TRUTHS[text.lower()] for text in given if text.lower() in _TRUTHS]
        self._numbers = [float(text) for text in given if _NUMBER.match(text)]
        cases = [form for text in MISSING for form in (text, text.lower(), text.upper())] if usual else [""]
        #: Texts for a reader that compares them as they are; those it does not know are found afterwards.
        self.spellings = list(dict.fromkeys([*(t for t in cases if self.one(t)), *given]))

    def one(self, text: str) -> bool:
        """Whether a single text is missing."""
        return bool(self.texts(pa.array([text])).null_count)

    def texts(self, trimmed: pa.Array) -> pa.Array:
        """Trimmed strings, of which truths are 1 and 0 and missing ones are null."""
        lower = pc.ascii_lower(trimmed)
        missing = pc.or_(
            pc.is_in(lower, value_set=self._any_case), pc.is_in(trimmed, value_set=self._as_written)
        )
        if pc.any(truth := pc.match_substring_regex(trimmed, TRUTH)).as_py():
            trimmed = pc.if_else(truth, pc.if_else(pc.equal(lower, "true"), "1", "0"), trimmed)
            missing = pc.or_(
                missing, pc.and_(truth, pc.is_in(trimmed, value_set=pa.array(self._truths, pa.string())))
            )
        if self._numbers:
            missing = pc.or_(missing, self._is_number(trimmed))
        return pc.if_else(missing, _NULL, trimmed)

    def _is_number(self, texts: pa.Array) -> pa.Array:
        at = np.flatnonzero(
            pc.fill_null(pc.match_substring_regex(texts, NUMBER), False).to_numpy(zero_copy_only=False)
        )
        found = np.zeros(len(texts), dtype=bool)
        found[at] = np.isin(_cast(texts.take(pa.array(at))), self._numbers)
        return pa.array(found)

    def numbers(self, values: npt.NDArray[np.floating[Any]]) -> Float64Array:
        """Typed numbers as float64, missing ones NaN; the listed numbers are as narrow as they are."""
        x = values.astype(np.float64)
        for number in self._numbers:
            x[values == values.dtype.type(number)] = np.nan
        return x

    def truths(self, values: pa.Array) -> Float64Array:
        """Booleans as 1 and 0, missing ones NaN."""
        x = np.array([np.nan if value is None else float(value) for value in values.to_pylist()])
        for number in {*map(float, self._truths), *self._numbers}:
            x[x == number] = np.nan
        return x


def unwrapped(values: pa.Array) -> pa.Array:
    """A column without dictionary, run lengths, views or extension; bytes are UTF-8 text.

    Raises:
        pyarrow.ArrowInvalid: bytes of a text are not UTF-8, or the column is damaged.
    """
    values = getattr(values, "storage", values)
    values.validate(full=True)
    kind = values.type
    if pa.types.is_dictionary(kind):
        return unwrapped(values.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return unwrapped(pc.run_end_decode(values))
    if pa.types.is_fixed_size_binary(kind):
        return pc.cast(pc.cast(values, pa.binary()), pa.string())
    if is_text(kind):
        return pc.cast(values, pa.string())
    return values


def is_text(kind: pa.DataType) -> bool:
    """Whether a type holds texts, directly."""
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
    )
    return any(test(kind) for test in tests)


def is_time(kind: pa.DataType) -> bool:
    """Whether a type holds dates, times of day or durations."""
    return bool(pa.types.is_temporal(kind))


def as_text(values: pa.Array, absent: Absent) -> pa.Array:
    """Any unwrapped column as strings without surrounding blanks; missing values become null.

    Examples:
        >>> as_text(pa.array([" a", "NA", None]), Absent()).to_pylist()
        ['a', None, None]
        >>> as_text(pa.array([True, False]), Absent()).to_pylist()
        ['1', '0']
        >>> as_text(pa.array(["TRUE", "no"]), Absent()).to_pylist()
        ['1', 'no']
        >>> as_text(pa.array([0.1, 7.0], pa.float32()), Absent()).to_pylist()
        ['0.1', '7']
    """
    kind = values.type
    if pa.types.is_boolean(kind):
        truths = absent.truths(values)
        return pa.array(
            [None if value != value else str(int(value)) for value in truths.tolist()], pa.string()
        )
    if pa.types.is_floating(kind):
        # The shortest text of a narrow float is what other programs write of it.
        typed = values.to_numpy(zero_copy_only=False)
        values = pa.array([None if v != v else number_text(float(str(v))) for v in typed], pa.string())
    text = pc.utf8_trim_whitespace(pc.cast(values, pa.string()))
    if not pc.all(pc.string_is_ascii(text)).as_py():
        text = pc.utf8_normalize(text, form="NFC")
    return absent.texts(text)


def as_numbers(values: pa.Array, absent: Absent) -> tuple[Float64Array, int | None, pa.Array | None]:
    """An unwrapped column as float64 (NaN = missing), the first row that is no number, its text if read."""
    kind = values.type
    if pa.types.is_boolean(kind):
        return absent.truths(values), None, None
    if pa.types.is_floating(kind):
        return absent.numbers(values.to_numpy(zero_copy_only=False)), None, None
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        wide = pc.cast(values, pa.float64(), safe=False)
        return absent.numbers(wide.to_numpy(zero_copy_only=False)), None, None
    # Arrow itself does not round decimals correctly.
    text = as_text(values, absent)
    x, wrong = parse_numbers(text)
    return x, wrong, text


def parse_numbers(text: pa.Array) -> tuple[Float64Array, int | None]:
    """Strings as float64 (null = NaN), and the first row that is no number, or None.

    Examples:
        >>> parse_numbers(pa.array(["1.5", None, "2e3"]))
        (array([1.5e+00,     nan, 2.0e+03]), None)
        >>> parse_numbers(pa.array(["1.5", None, "<3"]))[1]
        2
    """
    try:
        return _cast(text), None
    except pa.ArrowInvalid:
        low, high = 0, len(text)
        while high - low > 1:
            middle = (low + high) // 2
            try:
                _cast(text.slice(low, middle - low))
                low = middle
            except pa.ArrowInvalid:
                high = middle
        return np.full(len(text), np.nan), low


def _cast(text: pa.Array) -> Float64Array:
    found: Float64Array = pc.cast(text, pa.float64()).to_numpy(zero_copy_only=False)
    # There is one zero: integers and decimals know no other.
    return found + 0.0


def is_number(text: str) -> bool:
    """Whether a text is a number of a table; infinite ones are, and are refused where they are read.

    Examples:
        >>> [is_number(text) for text in ("-9.0", "+.5", "inf", "12_5", "0x1F", "１", "1,5")]
        [True, True, True, False, False, False, False]
    """
    return bool(_NUMBER.match(text) or _INFINITE.match(text))


def read_number(text: str) -> float | None:
    """A text as the number or truth that it is in a table; None: it is neither.

    Examples:
        >>> read_number(" -9.0 "), read_number("True"), read_number("12_5"), read_number("nan")
        (-9.0, 1.0, None, None)
    """
    text = text.strip()
    text = _TRUTHS.get(text.lower(), text)
    return float(text) if _NUMBER.match(text) else None


def number_text(value: float) -> str:
    """A number as the text that stands for it among names: whole ones without fraction.

    Examples:
        >>> number_text(10003400.0), number_text(-0.0), number_text(1.5), number_text(1e-7)
        ('10003400', '0', '1.5', '1e-07')
    """
    # Identifiers that a missing one has made floats: 10003400.0 is the text 10003400 in other files.
    return str(int(value)) if value.is_integer() and abs(value) < _LONGEST else repr(value)


_LIMIT = re.compile(r"(<|>|≤|≥)=? ?([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")


class Limits:
    """Values beyond what was measured, such as ``<5`` and ``>1000``, as numbers, and how many there were.

    Args:
        rule: what becomes of them: the limit itself (``number``), half of it where it is the least that can
            be measured (``half``), or nothing (``missing``).

    Attributes:
        counts: column -> number of such values.

    Examples:
        >>> Limits("half").taken("troponin", pa.array(["<5", "14.7", ">= 1e3", "high", None])).to_pylist()
        ['2.5', '14.7', '1e3', 'high', None]
    """

    def __init__(self, rule: str) -> None:
        self._rule = rule
        self.counts: dict[str, int] = {}

    def taken(self, name: str, text: pa.Array) -> pa.Array:
        """The strings of a column, of which those that are limits are what the rule makes of them."""
        found = {one: match for one in text.unique().to_pylist() if one and (match := _LIMIT.fullmatch(one))}
        made = {one: self._value(*match.groups()) for one, match in found.items()}
        values = text.to_pylist()
        if count := sum(value in made for value in values):
            self.counts[name] = self.counts.get(name, 0) + count
        return pa.array([made.get(value, value) for value in values], pa.string())

    def _value(self, side: str, number: str) -> str | None:
        if self._rule == "missing":
            return None
        return repr(float(number) / 2) if self._rule == "half" and side in "<≤" else number


_EXPLAINED = (
    (re.compile(r"[+-]?[0-9]+,[0-9]+"), "decimals take a point, no comma"),
    (
        re.compile(r"[+-]?[0-9]{1,3}([ ',.’\u00a0\u202f][0-9]{3})+([.,][0-9]+)?"),
        "digits stand without separators",
    ),
    (re.compile(r"[+-]?[0-9][0-9_.]*(e[+-]?[0-9_]+)?", re.IGNORECASE), "digits stand without underscores"),
    (re.compile(r"[+-]?0x[0-9a-f]+", re.IGNORECASE), "numbers are decimal"),
    (re.compile(r"[<>≤≥~]=? ?[0-9.,e+-]+"), "a limit is no number: say `source.limits`"),
    (
        re.compile(r"[+-]?[0-9.,]+ ?(%|[a-zµ]+(/[a-z]+)?)", re.IGNORECASE),
        "units belong into the column's name",
    ),
)


def why_no_number(text: str) -> str:
    """What keeps a text that looks like a number from being one; empty if it does not look like one.

    Examples:
        >>> why_no_number("1,5"), why_no_number("12_5"), why_no_number("high")
        ('decimals take a point, no comma', 'digits stand without underscores', '')
    """
    if (
        not text.isascii()
        and any(c.isdigit() or c == "\u2212" for c in text)
        and not re.search("[<>≤≥~µ’\u00a0\u202f]", text)
    ):
        return "digits are 0 to 9 and minus is -"
    return next((why for pattern, why in _EXPLAINED if pattern.fullmatch(text)), "")
