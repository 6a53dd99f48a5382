"""Matching of ICD-9-CM and ICD-10-CM codes against lists as papers print them.

One pattern is one of

========================  ==================================================================================
``I50``, ``A41.01``       the code and everything below it in the hierarchy: a category covers its subcodes, a
                          full ICD-10 code its seventh-character extensions
``480x``, ``T82.7-``      the same, said explicitly; any number of trailing ``x``, ``-`` or ``*``
``250.x0``, ``E11.?1``    exactly one character at that place (``x`` or ``?``), and everything below
``J12-J18``, ``001–009``  a range: everything below any code from the first to the last, both included
========================  ==================================================================================

Dots and blanks do not matter, hyphens and dashes of any length are one; MIMIC writes codes without dots in
upper case. A capital ``X`` inside an ICD-10 code is that code's placeholder (``T81.4XXA``); a small ``x`` is
a wildcard. A pattern names at least a category (three characters; four in ICD-9 codes that begin with E), so
that the hierarchy is that of prefixes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline.errors import TaskError

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

#: What a code looks like without its dot; ``?`` stands for one unknown character. ICD-10-CM uses neither the
#: letter I nor O behind the first character, which tells a misread 1 or 0 from a code.
_SHAPES = {
    9: re.compile(r"(?:[0-9]{3}|V[0-9]{2})[0-9?]{0,2}|E[0-9]{3}[0-9?]?"),
    10: re.compile(r"[A-Z][0-9][0-9AB][0-9A-HJ-NP-Z?]{0,4}"),
}
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—−", "-"))
_FORMS = {
    9: "write codes like `428`, `038.11`, `480x`, `001-009`, in quotes",
    10: "write codes like `I50`, `A41.01`, `T82.7-`, `J12-J18`",
}


@dataclass(frozen=True)
class IcdPattern:
    """One parsed pattern: every code from ``low`` to ``high`` and what lies below them.

    Attributes:
        text: as it was written.
        version: 9 or 10.
        low: first stem, without dot; may hold ``?`` where ``high`` is the same.
        high: last stem.
    """

    text: str
    version: int
    low: str
    high: str

    def matches(self, code: str) -> bool:
        """Whether a code (no dot, upper case) of this pattern's version is meant.

        Examples:
            >>> parse_icd("J12–J18", 10).matches("J189"), parse_icd("J12-J18", 10).matches("J20")
            (True, False)
        """
        if "?" in self.low:
            stem = code[: len(self.low)]
            return len(stem) == len(self.low) and all(
                p in ("?", c) for p, c in zip(self.low, stem, strict=True)
            )
        # A header above the last code (A01 for A00.5-A01.3) holds codes beyond the range.
        above = len(code) < len(self.high) and self.high.startswith(code)
        return code[: len(self.low)] >= self.low and code[: len(self.high)] <= self.high and not above


def parse_icd(text: str, version: int, where: str | None = None) -> IcdPattern:
    """Parse one pattern.

    Args:
        text: as papers print it, see the module's description.
        version: 9 or 10.
        where: task and key for the message.

    Raises:
        TaskError: it is none of the forms; the message names the nearest one that is.

    Examples:
        >>> parse_icd("T82.7-", 10).low, parse_icd("038.11", 9).low
        ('T827', '03811')
        >>> print(parse_icd("A4l.O1", 10, where="task `sepsis`, icd10"))
        Traceback (most recent call last):
        m3h_pipeline.errors.TaskError: `A4l.O1` is no ICD-10 code, wildcard or range
          where: task `sepsis`, icd10
          to do: did you mean `A41.01`?
    """
    found = _parse(text, version)
    if found is None:
        raise TaskError(
            f"`{text}` is no ICD-{version} code, wildcard or range",
            where=where,
            hint=suggestion(text, version),
        )
    return IcdPattern(text, version, *found)


def first_match(patterns: Sequence[IcdPattern], codes: pa.Array, versions: pa.Array) -> IntArray:
    """The number of the first pattern that each code matches, -1 for none.

    Patterns are looked up among the sorted distinct codes, so that millions of rows cost little more than
    their dictionary encoding.

    Args:
        patterns: P parsed patterns.
        codes: (n,) codes, without dots, upper case.
        versions: (n,) ICD versions, integer.

    Shape:
        (n,) int64.

    Examples:
        >>> lists = [parse_icd("428", 9), parse_icd("I50", 10)]
        >>> first_match(lists, pa.array(["I5022", "4280", "4280"]), pa.array([10, 9, 10])).tolist()
        [1, 0, -1]
    """
    encoded = pa.chunked_array([codes]) if isinstance(codes, pa.Array) else codes
    encoded = encoded.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    names, rank = np.unique(np.asarray(encoded.dictionary.to_pylist(), dtype=str), return_inverse=True)
    index = rank[encoded.indices.to_numpy(zero_copy_only=False)]
    version = np.asarray(versions.to_numpy()).astype(np.int64)
    result = np.full(len(index), -1, dtype=np.int64)
    for v in {p.version for p in patterns}:
        hit = np.full(len(names), -1, dtype=np.int64)
        # From the last to the first, so that the first of several patterns stays.
        for i, pattern in reversed(list(enumerate(patterns))):
            if pattern.version == v:
                hit[_matching(pattern, names)] = i
        rows = version == v
        result[rows] = hit[index[rows]]
    return result


def _matching(pattern: IcdPattern, names: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """Numbers of the codes that match, among sorted distinct ones: one stretch of them."""
    first = np.searchsorted(names, pattern.low.split("?")[0])
    # "~" sorts behind all characters of a code.
    last = np.searchsorted(names, pattern.high.split("?")[0] + "~")
    stretch = np.arange(first, last)
    if "?" in pattern.low:
        return np.array([i for i in stretch if pattern.matches(str(names[i]))], dtype=np.int64)
    above = [pattern.high[:n] for n in range(1, len(pattern.high))]
    return stretch[~np.isin(names[stretch], above)] if pattern.low != pattern.high else stretch


def _parse(text: str, version: int) -> tuple[str, str] | None:
    """First and last stem of a pattern, or None if it is none."""
    plain = re.sub(r"\s+", "", text.translate(_DASHES))
    if not plain:
        return None
    sides = plain.rstrip("-").split("-")
    if len(sides) > 2:
        return None
    stems = [_stem(side, version) for side in sides]
    if any(stem is None for stem in stems):
        return None
    low, high = str(stems[0]), str(stems[-1])
    if len(sides) == 2 and ("?" in low + high or low > high or low[0].isdigit() != high[0].isdigit()):
        return None
    return low, high


def _stem(side: str, version: int) -> str | None:
    """One code without its dot and its trailing wildcards, or None if it is none."""
    body = side[:1].upper() + (side[1:].replace("x", "?") if version == 10 else re.sub("[xX]", "?", side[1:]))
    body = body.upper().rstrip("?*")
    # At the end of a stem a placeholder holds nothing: T81.4XX means T81.4 and all its extensions.
    if version == 10 and len(body.replace(".", "")) < 7:
        body = body.rstrip("X")
    category = 4 if version == 9 and body.startswith("E") else 3
    dot = body.find(".")
    if dot not in (-1, category) or body.count(".") > 1:
        return None
    body = body.replace(".", "")
    if "?" in body[:category] or not _SHAPES[version].fullmatch(body):
        return None
    return body


def suggestion(text: str, version: int) -> str:
    """What was probably meant by a pattern that is none.

    Examples:
        >>> suggestion("38.11", 9), suggestion("J18-J12", 10), suggestion("J12-18", 10)
        ('did you mean `038.11`?', 'did you mean `J12-J18`?', 'did you mean `J12-J18`?')
        >>> suggestion("J18.9", 9)
        'this is an ICD-10 code: move it to `icd10`'
    """
    plain = re.sub(r"\s+", "", text.translate(_DASHES)).replace("_", "-").replace(",", ".").strip(".;'\"`")
    sides = [side for side in plain.split("-") if side]
    tail = "-" if plain.endswith("-") else ""
    if 1 <= len(sides) <= 2:
        mended = [_mend(side, version) for side in sides]
        if len(mended) == 2 and version == 10 and sides[1].isdigit() and mended[0] is not None:
            mended[1] = _mend(mended[0][0] + sides[1], version)
        known = [side for side in mended if side is not None]
        if len(known) == len(sides):
            candidate = "-".join(sorted(known) if len(known) == 2 else known) + tail
            if candidate != text and _parse(candidate, version) is not None:
                return f"did you mean `{candidate}`?"
    other = 19 - version
    if _parse(text, other) is not None:
        return f"this is an ICD-{other} code: move it to `icd{other}`"
    return _FORMS[version]


def _mend(side: str, version: int) -> str | None:
    """The code that one side was probably meant to be, with its dot, or None."""
    if _stem(side, version) is not None:
        return side
    misread = str.maketrans({"O": "0", "o": "0", "I": "1", "l": "1", "L": "1"})
    tries = [side[:1].upper() + side[1:].translate(misread)]
    if version == 9:
        whole, _, rest = tries[0].partition(".")
        tries += [side.translate(misread), whole.zfill(3) + ("." + rest if rest else "")]
    for attempt in list(tries):
        body = attempt.replace(".", "")
        category = 4 if version == 9 and body[:1] == "E" else 3
        tries.append(body[:category] + ("." + body[category:] if len(body) > category else ""))
    tries += [attempt[:-1] for attempt in list(tries)]
    return next((attempt for attempt in tries if _stem(attempt, version) is not None), None)
