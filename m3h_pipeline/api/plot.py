"""Figures of a study in memory, drawn by the code that draws those of its report.

Each function returns a :class:`matplotlib.figure.Figure`; in a notebook ``display`` shows it, and ``savefig``
writes it. Figures hold aggregates only (docs/disclosure.md).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from m3h_pipeline.api.asked import brief
from m3h_pipeline.api.study import Study
from m3h_pipeline.api.tables import catalogue_of
from m3h_pipeline.contracts import TIM
from m3h_pipeline.errors import InputError
from m3h_pipeline.figures import registry, style
from m3h_pipeline.figures import tim as tim_figure


def improvement(study: Study) -> Figure:
    """The selected multitask model against the single-task model, task by task."""
    return _drawn("improvement", study)


def tim(of: Study | pd.DataFrame) -> Figure:
    """Heatmap of task interaction.

    Args:
        of: a study, or what :func:`tim_scores` returned.

    Raises:
        InputError: it is neither.
    """
    if isinstance(of, Study):
        return _drawn("tim", of)
    if not isinstance(of, pd.DataFrame):
        raise InputError(f"`tim` draws a study, or what `m3h.tim_scores` returned, not {brief(of)}")
    if lacking := [f"`{name}`" for name in TIM.names if name not in of]:
        raise InputError(
            "this is no table of task interaction: it lacks " + ", ".join(lacking),
            hint="give what `m3h.tim_scores` returned, with all its columns",
        )
    catalogue = catalogue_of(of)
    with style.applied():
        return tim_figure.draw(tim_figure.table(of, catalogue), catalogue)


def comparison(study: Study) -> Figure:
    """Every model beside the references, and the chosen one."""
    return _drawn("comparison", study)


def calibration(study: Study) -> Figure:
    """Observed event rate by predicted risk."""
    return _drawn("calibration", study)


def trajectories(study: Study) -> Figure:
    """The search for companions, task by task."""
    return _drawn("trajectories", study)


def roc(study: Study) -> Figure:
    """ROC curves of multiclass tasks."""
    return _drawn("roc", study)


def agreement(study: Study) -> Figure:
    """Predicted against observed values of regression tasks."""
    return _drawn("agreement", study)


def survival(study: Study) -> Figure:
    """Survival by predicted risk, and scores over time."""
    return _drawn("survival", study)


def phenotypes(study: Study) -> Figure:
    """Map of the phenotypes."""
    return _drawn("phenotypes", study)


def missing(study: Study) -> Figure:
    """Scores where modalities are missing."""
    return _drawn("missing", study)


def attention(study: Study) -> Figure:
    """Mean cross-task attention."""
    return _drawn("attention", study)


def _drawn(name: str, study: Study) -> Figure:
    """One figure of a study.

    Raises:
        InputError: a table that it is drawn from is absent or damaged; the message says what makes it. Or
            this is no study.
    """
    if not isinstance(study, Study):
        raise InputError(f"`{name}` draws a study, not {brief(study)}", hint="give `m3h.Study(FILE)`")
    return registry.drawn(name, Path(study.folder), study.configuration.figures).figure
