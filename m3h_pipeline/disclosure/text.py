"""Names and titles that come from elsewhere, made harmless where they are written or printed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

#: How a spreadsheet's formula begins.
_FORMULA: Final = ("=", "+", "-", "@")
#: A number, and its interval beside it.
_ESTIMATE: Final = re.compile(r"[-+]?[\d.,]+(?: \([-+]?[\d.,]+ to [-+]?[\d.,]+\))?", re.ASCII)
#: Joiners without which words of some scripts are not spelled right.
_JOINERS: Final = "\u200c\u200d"
_SHORT: Final = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
# Everything that `plain` may change; most text has none of it and is passed on as it is.
_SUSPECT: Final = re.compile(r"[^\x20-\x7e\xa0-\xac\xae-\u02ff\u0370-\u03ff\u0400-\u04ff\u4e00-\u9fff]")
# A line of ours that follows another is indented.
_OWN_BREAK: Final = re.compile(r"\n(?= {2})|\n\Z")


def plain(text: str) -> str:
    """Text on one line without anything that a terminal, a table or a reader would take for a command.

    Control characters (tabs, line ends, escape sequences), characters that turn the direction of writing,
    other invisible ones, and line and paragraph separators are spelled out.

    Examples:
        >>> plain("a\\tb\\n\\x1b[31mred\\u202e")
        'a\\\\tb\\\\n\\\\x1b[31mred\\\\u202e'
        >>> plain("Größe ≥ 3 µg/l")
        'Größe ≥ 3 µg/l'
    """
    return _SUSPECT.sub(lambda found: _spelled(found[0]), text)


def _spelled(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}:
        return character
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def message(text: str) -> str:
    """A message for a screen or a log as :func:`plain` text; lines of ours stay lines.

    A line end is ours where the next line is indented, or nothing follows.

    Examples:
        >>> print(message("no column `a\\nb`\\n  where: x.csv\\x07"))
        no column `a\\nb`
          where: x.csv\\x07
    """
    lines = _OWN_BREAK.split(text)
    return "\n".join(plain(line) for line in lines)


def cell(value: object) -> str:
    """A value as a cell of a text table: :func:`plain`, and never a spreadsheet's formula.

    A text that begins like a formula, and is no number alone or with its interval, gets an apostrophe first.

    Examples:
        >>> cell("=HYPERLINK(1)"), cell("-0.5"), cell(-0.5), cell("a\\tb"), cell("-"), cell(None)
        ("'=HYPERLINK(1)", '-0.5', '-0.5', 'a\\\\tb', '-', '')
        >>> cell("+0.027 (-0.004 to +0.050)"), cell("+1+cmd|' /C calc'!A0")
        ('+0.027 (-0.004 to +0.050)', "'+1+cmd|' /C calc'!A0")
    """
    if value is None:
        return ""
    text = plain(value if isinstance(value, str) else str(value))
    if not text.lstrip().startswith(_FORMULA) or len(text.strip()) == 1 or _is_number(text):
        return text
    return f"'{text}"


def _is_number(text: str) -> bool:
    if _ESTIMATE.fullmatch(text):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def tsv(rows: Iterable[Sequence[object]]) -> str:
    """Rows as the text of a table with tabs, every value a :func:`cell`.

    Examples:
        >>> tsv([("task", "n"), ("@sum", 3)])
        "task\\tn\\n'@sum\\t3\\n"
    """
    return "".join("\t".join(map(cell, row)) + "\n" for row in rows)
