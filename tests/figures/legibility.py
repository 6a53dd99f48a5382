"""Is a figure legible: no text beyond the edge, none over another, none too small, no more than a page."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from m3h_pipeline.figures import style

_DPI = 100


def texts(figure: Figure) -> list[Text]:
    """Every text that is drawn."""
    hidden = _not_drawn(figure)
    return [
        text
        for text in figure.findobj(Text)
        if isinstance(text, Text)
        and text.get_visible()
        and text.get_text().strip()
        and id(text) not in hidden
    ]


def _not_drawn(figure: Figure) -> set[int]:
    """Texts that exist but are not drawn: ticks beyond the view, and all of axes that are switched off."""
    hidden: set[int] = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                inside = low - 1e-9 <= tick.get_loc() <= high + 1e-9
                if not (inside and ax.axison and axis.get_visible()):
                    hidden |= {id(tick.label1), id(tick.label2)}
            if not ax.axison:
                hidden.add(id(axis.label))
    return hidden


def problems(figure: Figure) -> list[str]:
    """What is wrong with the layout, in words; an empty list if nothing is."""
    width, height = figure.get_size_inches()
    found = []
    if width > style.WIDTH + 1e-6 or height > style.HEIGHT + 1e-6:
        found.append(f"larger than a page: {width:.2f} x {height:.2f} inches")
    figure.set_dpi(_DPI)
    figure.draw_without_rendering()
    shown = texts(figure)
    boxes = np.array([text.get_window_extent().extents for text in shown]) / _DPI
    for text, (left, bottom, right, top) in zip(shown, boxes, strict=True):
        if left < -0.005 or bottom < -0.02 or right > width + 0.005 or top > height + 0.02:
            found.append(
                f"beyond the edge: {text.get_text()!r}, {left:.2f}-{right:.2f}, {bottom:.2f}-{top:.2f}"
            )
        if float(text.get_fontsize()) < style.SMALL - 1e-6:
            found.append(f"too small: {text.get_text()!r}")
    # A text's box has room for accents and descenders, which neighbouring lines may share.
    thickness = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    slack = 0.12 * thickness[:, None]
    low, high = boxes[:, :2] + slack, boxes[:, 2:] - slack
    meet = (low[:, None] < high[None]) & (low[None] < high[:, None])
    for i, j in np.argwhere(np.triu(meet.all(axis=2), k=1)):
        found.append(f"overlap: {shown[i].get_text()!r} and {shown[j].get_text()!r}")
    return found
