"""ICD codes as tables hold them, into one form: no dot, upper case, every zero in its place.

A code that passed through a number has lost the zeros at its ends: ``042`` is 42, ``038.11`` without its dot
is 3811, ``250.80`` is 250.8. It is read where only one code can have been meant, and refused otherwise: a
missing zero turns sepsis into otitis.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from m3h_pipeline.disclosure import listing, may_be_listed, small_count
from m3h_pipeline.errors import InputError, as_list

#: What a recorded code looks like, with or without its dot.
_SHAPES = {
    9: re.compile(r"[0-9]{3}(\.?[0-9]{1,2})?|V[0-9]{2}(\.?[0-9]{1,2})?|E[0-9]{3}(\.?[0-9])?"),
    10: re.compile(r"[A-Z][0-9][0-9AB](\.?[0-9A-Z]{1,4})?"),
}
#: Marks behind a code: dagger and asterisk of WHO, additional codes of ICD-10-GM, a category's dash.
_MARKS = "†*+!-. "
_FRACTION = re.compile(r"[0-9]{1,3}\.[0-9]*[1-9][0-9]*")
_WHOLE = re.compile(r"[0-9]+(\.0*)?")
_VERSION = re.compile(r"(?:icd|i)?[ _-]?0?(9|10)(?:[ _-]?cm)?(?:\.0*)?", re.IGNORECASE)


def version_of(text: str) -> int | None:
    """The ICD version that a text names, or None.

    Examples:
        >>> [version_of(text) for text in ("9", "10.0", "ICD-10-CM", "icd9cm", "I10", "ICD-10-PCS", "SNOMED")]
        [9, 10, 10, 9, 10, None, None]
    """
    found = _VERSION.fullmatch(text.strip())
    return int(found[1]) if found else None


def recorded(
    counts: Mapping[str, int], version: int, where: str, known: Collection[str] = (), *, numbers: bool = False
) -> dict[str, str]:
    """The codes that texts stand for.

    Args:
        counts: the distinct texts of one ICD version, and how many rows hold each.
        version: 9 or 10.
        where: file and columns, for messages.
        known: all codes of this version without dots, where a list of titles is given.
        numbers: whether the file holds them as numbers.

    Returns:
        Text -> code without dot, in upper case.

    Raises:
        InputError: a text is no code of this version, or a number that may have been several codes.

    Examples:
        >>> recorded({"250.83": 1, "V57": 2, "38": 1, "e878.1 ": 1}, 9, "t.csv")
        {'250.83': '25083', 'V57': 'V57', '38': '038', 'e878.1 ': 'E8781'}
        >>> recorded({"42.0": 1, "4280.0": 2}, 9, "t.csv", known={"042", "4280"})
        {'42.0': '042', '4280.0': '4280'}
    """
    plain = {text: text.strip().upper().rstrip(_MARKS) for text in counts}
    digits = {code for code in plain.values() if _WHOLE.fullmatch(code) or _FRACTION.fullmatch(code)}
    dotted = any(_FRACTION.fullmatch(code) for code in digits)
    long = any(len(code.split(".")[0]) > 3 for code in digits)
    lost = version == 9 and (numbers or _went_through_numbers(digits, dotted))
    codes: dict[str, str] = {}
    strange: dict[str, int] = {}
    doubtful: dict[str, list[str]] = {}
    for text, code in plain.items():
        if version == 9 and code in digits:
            if lost and not code.startswith("0"):
                readings = _readings(code, dotted, long)
                possible = [one for one in readings if one in known] if known else readings
                if len(possible) == 1:
                    codes[text] = possible[0]
                else:
                    doubtful[text] = readings
                continue
            # Where points stand, they say how many digits stood before them.
            whole, point, rest = code.partition(".")
            code = whole.zfill(3) + point + rest
        if _SHAPES[version].fullmatch(code):
            codes[text] = code.replace(".", "")
        else:
            strange[text] = counts[text]
    if strange:
        few = may_be_listed(len(strange))
        raise InputError(
            f"{small_count(sum(strange.values()))} values are no ICD-{version} codes: {listing(strange)}",
            where=where,
            hint="is the version right, and the column? "
            + (f"What is no code can be named: `not_codes: {as_list(strange)}`" if few else ""),
        )
    if doubtful:
        told = [
            f"`{text}` may be {' or '.join(map(with_dot, readings)) or 'no code at all'}"
            for text, readings in doubtful.items()
        ]
        if may_be_listed(len(told)):
            shown = "; ".join([*told[:3], *["…"][: len(told[3:])]])
        else:
            shown = f"{len(told):,} different ones could be several codes, or none"
        raise InputError(
            f"ICD-9 codes came as numbers, which lose zeros: {shown}",
            where=where,
            hint="write the codes as text (with pandas: `dtype=str`), or give `source.diagnoses.titles`, a "
            "list of all codes: where only one of the readings exists, it is taken",
        )
    return codes


def with_dot(code: str) -> str:
    """An ICD-9 code as people write it.

    Examples:
        >>> with_dot("4280"), with_dot("042"), with_dot("E8781")
        ('428.0', '042', 'E878.1')
    """
    category = 4 if code.startswith("E") else 3
    return code[:category] + ("." + code[category:] if len(code) > category else "")


def _went_through_numbers(digits: Iterable[str], dotted: bool) -> bool:
    """Whether codes were numbers once: 4280.0 shows it, and 42 where no point says which digits it lacks."""
    bare = [code for code in digits if _WHOLE.fullmatch(code)]
    whole = [code.split(".")[0] for code in bare]
    if any(len(part) > 3 and "." in code for part, code in zip(whole, bare, strict=True)):
        return True
    if any(part.startswith("0") for part in whole):
        return False
    if dotted and not any(len(part) > 3 for part in whole):
        return False
    short = any(len(part) < 3 for part in whole)
    return short or (not dotted and len(bare) > 2 and all("." in code for code in bare))


def _readings(number: str, dotted: bool, long: bool) -> list[str]:
    """The codes, without dots, of which a number can be what is left.

    Args:
        number: it.
        dotted: whether a number beside it shows that the codes had points.
        long: whether one shows that they had none.
    """
    whole, _, rest = number.partition(".")
    rest = rest.rstrip("0")
    if rest:
        stem = whole.zfill(3) + rest
        return [stem] if len(rest) == 2 else [stem, stem + "0"]
    if len(whole) > 5:
        return []
    stem = whole.zfill(3)
    pointed = [stem, stem + "0", stem + "00"] if len(whole) <= 3 and not (long and not dotted) else []
    bare = [] if dotted and not long else [whole.zfill(width) for width in range(max(3, len(whole)), 6)]
    return list(dict.fromkeys([*pointed, *bare]))
