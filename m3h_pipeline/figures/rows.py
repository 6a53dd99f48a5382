"""Tasks as rows under the headings of their departments: what forest plots and dot plots share."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from m3h_pipeline.figures import style
from m3h_pipeline.figures.catalogue import Catalogue

_INDENT = 0.08


@dataclass(frozen=True)
class Rows:
    """Where rows stand, in inches below the top of the block.

    Attributes:
        tasks: the tasks from top to bottom.
        at: task -> middle of its row.
        headings: (department, middle of its heading).
        height: height of the block.
    """

    tasks: list[str]
    at: dict[str, float]
    headings: list[tuple[str, float]]
    height: float

    def labels_width(self, catalogue: Catalogue, limit: float) -> float:
        """Width the labels need, at most ``limit`` inches; longer ones are shortened to it."""
        widths = [_INDENT + style.text_width(catalogue.title(t), style.BASE) for t in self.tasks]
        widths += [style.text_width(d, style.SMALL, bold=True) for d, _ in self.headings]
        return min(max(widths, default=0.5) + 0.02, limit)

    def write_labels(
        self, figure: Figure, catalogue: Catalogue, left: float, top: float, width: float, right: float
    ) -> None:
        """Write headings and titles; a thin line up to ``right`` stands above each department."""
        for department, y in self.headings:
            style.rule(figure, left, right, top + y - 0.075)
            style.write(
                figure,
                left,
                top + y,
                style.fit(department, width, style.SMALL, bold=True),
                fontsize=style.SMALL,
                fontweight="bold",
                color=style.MUTED,
            )
        for task in self.tasks:
            title = style.fit(catalogue.title(task), width - _INDENT, style.BASE)
            style.write(figure, left + _INDENT, top + self.at[task], title)

    def prepare(self, ax: Axes) -> None:
        """Give axes of the block's height the block's inches as y scale, without ticks."""
        ax.set_ylim(self.height, 0)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)


def rows(catalogue: Catalogue, tasks: list[str], pitch: float = 0.13, heading: float = 0.15) -> Rows:
    """Lay out ``tasks``, already in order, ``pitch`` inches apart under headings ``heading`` inches high."""
    at: dict[str, float] = {}
    headings: list[tuple[str, float]] = []
    y = 0.0
    for group in catalogue.groups(tasks):
        headings.append((group.department, y + heading / 2))
        y += heading
        for task in tasks[group.start : group.stop]:
            at[task] = y + pitch / 2
            y += pitch
        y += 0.02
    return Rows(tasks, at, headings, y)


def pitch_for(tasks: int, departments: int, height: float, largest: float = 0.17) -> float:
    """The row pitch with which a block fits ``height`` inches, between 0.105 and ``largest``."""
    return float(min(largest, max(0.105, (height - departments * 0.17) / max(tasks, 1))))
