"""Colours of figures, and the looks of models wherever they appear."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle
from typing import Final

INK: Final = "#1A1A1A"
MUTED: Final = "#6B6B6B"
RULE: Final = "#DADADA"
FAINT: Final = "#F0F0F0"

# Okabe and Ito's palette, which readers with any colour vision can tell apart; markers double every colour.
BLUE: Final = "#0072B2"
ORANGE: Final = "#E69F00"
GREEN: Final = "#009E73"
VERMILLION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
SKY: Final = "#56B4E9"
GREY: Final = "#7A7A7A"

#: Models, wherever they appear: name, colour and marker.
MODELS: Final[dict[str, tuple[str, str, str]]] = {
    "multi": ("Multitask", BLUE, "o"),
    "single": ("Single-task", GREY, "s"),
    "linear": ("Linear", ORANGE, "^"),
    "gradient_boosting": ("Gradient boosting", GREEN, "D"),
    "blend": ("Blend", PURPLE, "P"),
}
#: Names that are no words.
_NAMES: Final = {"realmlp": "RealMLP", "tabm": "TabM"}
#: Of references that a study brings, in turn.
_FURTHER: Final = ((VERMILLION, "v"), (SKY, "X"), ("#8A6D3B", "*"), (INK, "h"))


def looks(present: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    """Name, colour and marker of the models present: :data:`MODELS`, then references that a study brings.

    Examples:
        >>> list(looks(["support_model", "linear", "multi"]).values())[1:]
        [('Linear', '#E69F00', '^'), ('Support model', '#D55E00', 'v')]
    """
    names = dict.fromkeys(present)
    found = {name: look for name, look in MODELS.items() if name in names}
    others = [name for name in names if name not in MODELS]
    for name, (colour, marker) in zip(others, cycle(_FURTHER), strict=False):
        title = name[:1].upper() + name[1:].replace("_", " ")
        found[name] = (_NAMES.get(name, title), colour, marker)
    return found
