"""The one style of all figures: sizes, colours, text, layout in inches, and saving.

Figures are laid out by hand, in inches from the upper left corner, with the measured widths of their texts,
so that no label is clipped whatever the number of tasks. Two renders of the same data are byte-identical:
fonts are the ones bundled with matplotlib, the user's ``matplotlibrc`` is ignored, identifiers inside the SVG
come from a fixed salt, and nothing carries a date.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from m3h_pipeline.config import Figures
from m3h_pipeline.disclosure import FEW, is_small, small_count
from m3h_pipeline.disclosure.text import cell
from m3h_pipeline.figures.looks import BLUE as BLUE
from m3h_pipeline.figures.looks import FAINT as FAINT
from m3h_pipeline.figures.looks import GREEN as GREEN
from m3h_pipeline.figures.looks import GREY as GREY
from m3h_pipeline.figures.looks import INK as INK
from m3h_pipeline.figures.looks import MODELS as MODELS
from m3h_pipeline.figures.looks import MUTED as MUTED
from m3h_pipeline.figures.looks import ORANGE as ORANGE
from m3h_pipeline.figures.looks import PURPLE as PURPLE
from m3h_pipeline.figures.looks import RULE as RULE
from m3h_pipeline.figures.looks import SKY as SKY
from m3h_pipeline.figures.looks import VERMILLION as VERMILLION
from m3h_pipeline.figures.looks import looks as looks
from m3h_pipeline.figures.text import BASE as BASE
from m3h_pipeline.figures.text import class_title as class_title
from m3h_pipeline.figures.text import fit as fit
from m3h_pipeline.figures.text import number as number
from m3h_pipeline.figures.text import plain as plain
from m3h_pipeline.figures.text import q_text as q_text
from m3h_pipeline.figures.text import text_width as text_width
from m3h_pipeline.files import replacing

#: Two journal columns, in inches (183 mm).
WIDTH: Final = 7.2
#: Largest page height, in inches (247 mm).
HEIGHT: Final = 9.7
DPI: Final = 300

#: Font sizes in points: labels of panels and the smallest that is used anywhere (``BASE`` lies between).
LARGE: Final = 7.5
SMALL: Final = 5.5

# Height of a capital of DejaVu Sans, in font sizes.
_CAPITAL: Final = 0.73

BETTER: Final = BLUE
WORSE: Final = VERMILLION

#: Groups without an order (subgroups, classes).
CATEGORIES: Final = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, INK, "#8A6D3B")
LINES: Final = ("-", "--", ":")

METRIC_NAMES: Final = {
    "auroc": "AUROC",
    "macro_auroc": "Macro AUROC",
    "r2": "R²",
    "silhouette": "Silhouette",
    "concordance": "Concordance",
}

_RC: Final[dict[str, Any]] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": BASE,
    "text.color": INK,
    # A title is shown as it is written, dollar signs included.
    "text.parse_math": False,
    "text.usetex": False,
    "axes.labelsize": BASE,
    "axes.titlesize": BASE,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.use_mathtext": False,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2.0,
    "ytick.major.size": 2.0,
    "xtick.major.pad": 1.8,
    "ytick.major.pad": 1.8,
    "lines.linewidth": 0.9,
    "lines.dashed_pattern": [4, 1.5],
    "lines.dotted_pattern": [1, 1.2],
    "lines.solid_capstyle": "butt",
    "hatch.linewidth": 0.4,
    "legend.frameon": False,
    "legend.fontsize": BASE,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "m3h_pipeline",
    "svg.image_inline": True,
    "agg.path.chunksize": 0,
    "path.simplify": False,
}

# Defaults that belong to the process (back end, interactive mode) are not touched.
_KEEP: Final = {"backend", "backend_fallback", "interactive", "toolbar", "timezone", "webagg.port"}


@contextmanager
def applied() -> Iterator[None]:
    """The style, and nothing of the user's ``matplotlibrc``, for the block."""
    defaults = {
        key: value
        for key, value in mpl.rcParamsDefault.items()
        if key not in _KEEP and not key.startswith(("webagg", "keymap", "animation", "tk", "docstring"))
    }
    with mpl.rc_context(defaults | _RC):  # type: ignore[arg-type]  # matplotlib's stubs list literal keys
        yield


def diverging() -> Colormap:
    """Colours of a signed change: red harms, white is none, blue helps; readable with any colour vision."""
    return LinearSegmentedColormap.from_list(
        "m3h_diverging",
        ["#7F1D1D", "#B8402F", "#E08A6E", "#F6CDBD", "#FFFFFF", "#C5DCEC", "#78B0D3", "#2C7AB4", "#0B3C6B"],
    )


def sequential() -> Colormap:
    """Colours of an amount, from a light to a dark blue."""
    return LinearSegmentedColormap.from_list("m3h_sequential", ["#DCE9F3", "#8FBBD9", "#2C7AB4", "#0B3C6B"])


def metric_name(metric: str) -> str:
    """A metric's name for people; of the user's own, the last part of its dotted path.

    Examples:
        >>> metric_name("auroc"), metric_name("my_classes.explained_deviance")
        ('AUROC', 'explained deviance')
    """
    return METRIC_NAMES.get(metric, metric.replace(":", ".").rpartition(".")[2].replace("_", " "))


# --- layout, in inches from the upper left corner ---


def canvas(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def axes(figure: Figure, left: float, top: float, width: float, height: float, **options: Any) -> Axes:
    """Axes of the given size whose upper left corner lies at (``left``, ``top``), in inches."""
    total_width, total_height = figure.get_size_inches()
    box = (left / total_width, 1 - (top + height) / total_height, width / total_width, height / total_height)
    return figure.add_axes(box, **options)


def write(figure: Figure, left: float, top: float, text: str, **options: Any) -> Text:
    """Text at (``left``, ``top``) inches, by default anchored at its left and the middle of its capitals."""
    total_width, total_height = figure.get_size_inches()
    options = {"ha": "left", "fontsize": BASE, **options}
    if "va" not in options:
        # Centring on the text's own box would shift lines with and without descenders against each other.
        options["va"] = "baseline"
        top += _CAPITAL / 2 * options["fontsize"] / 72
    return figure.text(left / total_width, 1 - top / total_height, text, **options)


def rule(figure: Figure, left: float, right: float, top: float, **options: Any) -> None:
    """A thin horizontal line, in inches."""
    total_width, total_height = figure.get_size_inches()
    options = {"color": RULE, "linewidth": 0.5, **options}
    y = 1 - top / total_height
    figure.add_artist(Line2D([left / total_width, right / total_width], [y, y], **options))


def upright(figure: Figure, left: float, first: float, last: float, **options: Any) -> None:
    """A vertical line from ``first`` to ``last``, in inches."""
    total_width, total_height = figure.get_size_inches()
    ends = [1 - first / total_height, 1 - last / total_height]
    figure.add_artist(Line2D([left / total_width] * 2, ends, **options))


#: An entry of a legend: its label, and the options of its :class:`Line2D`.
Entry = tuple[str, dict[str, Any]]


def key(figure: Figure, left: float, top: float, entries: Sequence[Entry]) -> float:
    """A legend on one line; returns where it ends, in inches."""
    total_width, total_height = figure.get_size_inches()
    for label, options in entries:
        wide = options.get("linestyle", "none") != "none"
        length = 0.18 if wide else 0.08
        xs = [left, left + length / 2, left + length] if wide else [left + length / 2]
        look: dict[str, Any] = {
            "markersize": 3.6,
            "markeredgewidth": 0.8,
            "linestyle": "none",
            "linewidth": 1.0,
        }
        figure.add_artist(
            Line2D(
                [x / total_width for x in xs],
                [1 - top / total_height] * len(xs),
                markevery=[1] if wide else None,
                **(look | options),
            )
        )
        write(figure, left + length + 0.05, top, label, fontsize=SMALL)
        left += length + 0.05 + text_width(label, SMALL) + 0.16
    return left


def note(figure: Figure, top: float, text: str) -> None:
    """A small remark at the right edge, ``top`` inches down, where a figure has no key to say it in."""
    edge = float(figure.get_size_inches()[0]) - 0.06
    write(figure, edge, top, text, ha="right", fontsize=SMALL, color=MUTED)


def strokes(ax: Axes, lines: Iterable[npt.ArrayLike], **options: Any) -> None:
    """Many lines, each of (points, 2), as one path: a hundred times lighter than as many artists."""
    gap = np.full((1, 2), np.nan)
    path = np.concatenate([part for line in lines for part in (np.asarray(line, float), gap)] or [gap])
    ax.plot(path[:, 0], path[:, 1], **options)


def letter(index: int) -> str:
    """The letter of a panel: a, b, c, ...

    Examples:
        >>> letter(0), letter(27)
        ('a', 'ab')
    """
    return ("" if index < 26 else letter(index // 26 - 1)) + chr(ord("a") + index % 26)


def notice(text: str) -> Figure:
    """A small figure that says plainly why there is nothing to see."""
    text = plain(text)
    figure = canvas(max(3.5, text_width(text, LARGE) + 0.5), 0.7)
    width, height = figure.get_size_inches()
    write(figure, width / 2, height / 2, text, ha="center", fontsize=LARGE, color=MUTED)
    return figure


def count(n: Any) -> str:
    """A count for people; small ones are not shown, and a missing one was hidden.

    Examples:
        >>> count(4), count(1200.0), count(float("nan"))
        ('<11', '1,200', '–')
    """
    return "–" if n != n or n is None else small_count(int(n))


# --- saving ---


def csv_bytes(frame: pd.DataFrame, counts: Sequence[str] = ()) -> bytes:
    """The table as CSV: six significant digits, counts from 1 to 10 as ``<11``, no formulas.

    Examples:
        >>> csv_bytes(pd.DataFrame({"x": [0.123456789, float("nan")], "n": [10, 11]}), ["n"])
        b'x,n\\n0.123457,<11\\n,11\\n'
    """
    shown = frame.rename(columns=cell)
    for name, column in shown.items():
        if column.dtype.kind == "O" or isinstance(column.dtype, pd.CategoricalDtype | pd.StringDtype):
            shown[name] = [cell(value) if isinstance(value, str) else value for value in column]
    for name in counts:
        shown[name] = [FEW if is_small(n) else "" if n != n else f"{int(n)}" for n in frame[name]]
    return shown.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()


def save(
    figure: Figure,
    frame: pd.DataFrame,
    out: Path,
    settings: Figures,
    title: str,
    counts: Sequence[str] = (),
) -> None:
    """Write ``<out>.svg`` and ``<out>.png`` (as configured) and ``<out>.csv``.

    Everything is rendered before the first file is written, and each file appears whole or not at all.

    Args:
        figure: what to draw, made inside :func:`applied`.
        frame: the table behind it; it holds aggregates only.
        out: path without suffix.
        settings: its ``formats`` are written.
        title: title inside the SVG, for screen readers.
        counts: columns of ``frame`` in which counts from 1 to 10 are shown as ``<11``.

    Raises:
        InputError: the folder cannot be written.
    """
    files: dict[str, bytes] = {}
    for kind in sorted(set(settings.formats)):
        metadata: dict[str, Any] = (
            {"Date": None, "Creator": "m3h_pipeline", "Title": plain(title)}
            if kind == "svg"
            else {"Software": None, "Title": plain(title)}
        )
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
        files[kind] = buffer.getvalue()
    files["csv"] = csv_bytes(frame, counts)
    for suffix, data in files.items():
        with replacing(out.parent / f"{out.name}.{suffix}") as temporary:
            temporary.write_bytes(data)
