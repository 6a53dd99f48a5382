"""A figure before it is written: what was drawn, the table behind it, and which of its columns are counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from m3h_pipeline.config import Figures
from m3h_pipeline.figures import style


@dataclass(frozen=True)
class Drawn:
    """A figure in memory.

    Attributes:
        figure: drawn inside :func:`style.applied`.
        frame: the table behind it; it holds aggregates only.
        counts: columns of ``frame`` in which counts from 1 to 10 are hidden when it is written.
    """

    figure: Figure
    frame: pd.DataFrame
    counts: tuple[str, ...] = ()

    def save(self, out: Path, settings: Figures, title: str) -> None:
        """Write it; see :func:`style.save`."""
        with style.applied():
            style.save(self.figure, self.frame, out, settings, title, self.counts)
