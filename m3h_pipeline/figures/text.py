"""Texts of figures: their widths, their shortening, and numbers for people."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

#: Font size in points of what is not said otherwise.
BASE: Final = 6.5

_SHORT: Final = {
    "acquired": "acq.",
    "antimicrobial": "antimicrob.",
    "bacterial": "bact.",
    "cardiovascular": "cardiovasc.",
    "chronic": "chron.",
    "degeneration": "degen.",
    "depressive": "depr.",
    "diseases": "dis.",
    "disease": "dis.",
    "disorders": "dis.",
    "disorder": "dis.",
    "gastroenterology": "gastroent.",
    "hepatology": "hepatol.",
    "hospital": "hosp.",
    "incontinence": "incont.",
    "infections": "inf.",
    "infection": "inf.",
    "infectious": "infect.",
    "inflammatory": "inflamm.",
    "intestinal": "intest.",
    "ischemic": "isch.",
    "medicine": "med.",
    "mortality": "mort.",
    "number": "no.",
    "obstructive": "obstr.",
    "operations": "oper.",
    "psychiatry": "psychiat.",
    "psychology": "psychol.",
    "pulmonary": "pulm.",
    "resistance": "resist.",
    "within": "in",
}


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Width of one line of text in inches."""
    font = FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, False)
    return float(width) / 72


def plain(text: str) -> str:
    """Text on one line, without characters that an SVG may not hold.

    Examples:
        >>> plain(" Chronic kidney\\n disease\\x00 ")
        'Chronic kidney disease'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def fit(text: str, inches: float, size: float = BASE, bold: bool = False) -> str:
    """``text`` made to fit a width: first usual abbreviations, longest words first, then a cut in the middle,
    because titles that differ often differ at their end.

    Examples:
        >>> fit("Chronic Obstructive Pulmonary Disease", 1.5, 6.5)
        'Chronic Obstr. Pulm. Disease'
        >>> fit("Anemia", 1.5, 6.5)
        'Anemia'
    """
    text = plain(text)
    if text_width(text, size, bold) <= inches:
        return text
    text = re.sub(r"\band\b", "&", text)
    for word in sorted(set(re.findall(r"[A-Za-z]+", text)), key=lambda w: (-len(w), w)):
        if text_width(text, size, bold) <= inches:
            return text
        if short := _SHORT.get(word.lower()):
            short = short.capitalize() if word[0].isupper() else short
            text = re.sub(rf"\b{word}\b\.?", short, text)
    if text_width(text, size, bold) <= inches:
        return text
    # The longest cut that fits; two letters stand even where nothing fits.
    least, most = 2, max(len(text) - 1, 2)
    while least < most:
        middle = (least + most + 1) // 2
        if text_width(_cut(text, middle), size, bold) <= inches:
            least = middle
        else:
            most = middle - 1
    return _cut(text, least)


def _cut(text: str, keep: int) -> str:
    if keep >= len(text):
        return text
    head = (2 * keep + 2) // 3
    tail = keep - head
    return text[:head].rstrip() + "…" + (text[len(text) - tail :].lstrip() if tail else "")


def wrapped(text: str, inches: float, size: float = BASE) -> list[str]:
    """``text`` in lines of at most a width; a word that is wider stands on a line of its own.

    Examples:
        >>> wrapped("Better than alone", 0.01), wrapped("Better than alone", 10)
        (['Better', 'than', 'alone'], ['Better than alone'])
    """
    lines: list[str] = []
    for word in plain(text).split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= inches:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def class_title(name: str) -> str:
    """A class as people read it: an identifier becomes words, what was written for people stays as it is.

    Examples:
        >>> class_title("enlarged_cardiomediastinum"), class_title("HER2+"), class_title("no event")
        ('Enlarged cardiomediastinum', 'HER2+', 'no event')
    """
    if re.fullmatch(r"[a-z][a-z0-9_]*", name) is None:
        return plain(name)
    return plain(name.replace("_", " ")).capitalize()


def number(value: float, digits: int = 3) -> str:
    """A score for people; a dash where there is none.

    Examples:
        >>> number(0.7124), number(-0.02, 2), number(float("nan"))
        ('0.712', '−0.02', '–')
    """
    return f"{value:.{digits}f}".replace("-", "−") if np.isfinite(value) else "–"


def q_text(q: float) -> str:
    """An adjusted p value for people.

    Examples:
        >>> q_text(0.00001), q_text(0.031), q_text(0.43)
        ('<0.001', '0.031', '0.43')
    """
    if not np.isfinite(q):
        return "–"
    return "<0.001" if q < 0.001 else f"{q:.3f}" if q < 0.1 else f"{q:.2f}"
