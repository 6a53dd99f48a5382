"""Which figures there are, what each is drawn from, and which module draws it.

Light on purpose: the workflow imports it to list the figures; matplotlib is loaded when one is rendered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from m3h_pipeline.errors import ConfigError, nearest
from m3h_pipeline.layout import Layout

if TYPE_CHECKING:
    from m3h_pipeline.config import Figures
    from m3h_pipeline.figures.drawn import Drawn


@dataclass(frozen=True)
class FigureSpec:
    """A figure.

    Attributes:
        module: dotted name of the module that draws it; the digest of its code decides on a new render.
        inputs: the files it is drawn from, relative to the study's results.
        title: what it shows, in a line.
        chapter: of the report that it belongs to; chapters sort in the order they are read.
        settings: the keys of the configuration's ``figures`` that it reads.
        problem_class: the only one whose tasks it shows; empty: any. A study without them has no such figure.
    """

    module: str
    inputs: tuple[str, ...]
    title: str
    chapter: str
    settings: tuple[str, ...] = ("formats",)
    problem_class: str = ""


#: Paths relative to the results.
_FILES: Final = Layout(Path())
_TEST: Final = "5 Test"


def _spec(
    name: str,
    chapter: str,
    title: str,
    *inputs: Path,
    settings: tuple[str, ...] = (),
    of: str = "",
) -> tuple[str, FigureSpec]:
    module = f"m3h_pipeline.figures.{name}"
    files = tuple(path.as_posix() for path in (*inputs, _FILES.labels.tasks))
    return name, FigureSpec(module, files, title, chapter, ("formats", *settings), of)


#: Name -> figure, in the order in which a report tells the study.
FIGURES: Final[dict[str, FigureSpec]] = dict(
    [
        _spec(
            "trajectories",
            "3 Search",
            "Search for companions, task by task",
            _FILES.trajectory,
            _FILES.search_report,
            _FILES.selection,
            _FILES.evaluation.table("optimism"),
        ),
        _spec(
            "improvement",
            _TEST,
            "Improvement over the single-task model",
            _FILES.evaluation.table("evaluation"),
            _FILES.evaluation.phenotype_scores,
        ),
        _spec(
            "comparison",
            _TEST,
            "Every model beside the references, and the chosen one",
            _FILES.evaluation.table("comparison"),
            _FILES.evaluation.table("choice"),
            _FILES.evaluation.table("evaluation"),
            _FILES.evaluation.phenotype_scores,
        ),
        _spec("tim", "6 Task interaction", "Task interaction (TIM)", _FILES.tim_table),
        _spec(
            "calibration",
            _TEST,
            "Observed event rate by predicted risk",
            _FILES.evaluation.table("calibration"),
            _FILES.evaluation.table("calibration_slopes"),
            settings=("calibration_tasks", "calibration_subgroup"),
            of="binary",
        ),
        _spec(
            "roc",
            _TEST,
            "ROC curves of multiclass tasks",
            _FILES.evaluation.table("roc"),
            of="multiclass",
        ),
        _spec(
            "agreement",
            _TEST,
            "Predicted against observed values",
            _FILES.evaluation.table("agreement"),
            _FILES.evaluation.table("evaluation"),
            of="regression",
        ),
        _spec(
            "survival",
            _TEST,
            "Survival by predicted risk, and scores over time",
            _FILES.evaluation.table("kaplan_meier"),
            _FILES.evaluation.table("dynamic_auroc"),
            _FILES.evaluation.table("survival"),
            of="survival",
        ),
        _spec(
            "phenotypes",
            _TEST,
            "Map of the phenotypes, and what they are worth",
            _FILES.evaluation.phenotypes,
            _FILES.evaluation.phenotype_scores,
            of="clustering",
        ),
        _spec("missing", _TEST, "Scores where modalities are missing", _FILES.evaluation.missing),
        _spec("attention", "7 Attention", "Mean cross-task attention", _FILES.evaluation.table("attention")),
    ]
)


def figures_of(problem_classes: Iterable[str]) -> list[str]:
    """The figures of a study whose tasks are of some problem classes: no placeholder for tasks it has not.

    Examples:
        >>> "survival" in figures_of(["binary"]), "survival" in figures_of(["binary", "survival"])
        (False, True)
    """
    known = {"", *problem_classes}
    return [name for name, spec in FIGURES.items() if spec.problem_class in known]


def render(name: str, root: Path, settings: Figures, out: Path) -> None:
    """Draw one figure of a study.

    Args:
        name: a key of :data:`FIGURES`.
        root: the study's results, which :attr:`FigureSpec.inputs` are relative to.
        settings: the configuration of the figures.
        out: folder for ``<name>.svg``, ``<name>.png`` (as configured) and ``<name>.csv``.

    Raises:
        ConfigError: there is no such figure.
        InputError: an input is missing or the folder cannot be written.
        ContractError: an input does not follow its schema.
    """
    spec = _known(name)
    import_module(spec.module).render(_inputs(spec, root), Path(out) / name, settings, spec.title)


def drawn(name: str, root: Path, settings: Figures) -> Drawn:
    """Draw one figure of a study and write nothing.

    Args:
        name: as of :func:`render`.
        root: as of :func:`render`.
        settings: the configuration of the figures.

    Raises:
        M3HError: as of :func:`render`.
    """
    spec = _known(name)
    made: Drawn = import_module(spec.module).drawn(_inputs(spec, root), settings)
    return made


def _known(name: str) -> FigureSpec:
    if name not in FIGURES:
        raise ConfigError(f"there is no figure `{name}`", hint=nearest(name, FIGURES))
    return FIGURES[name]


def _inputs(spec: FigureSpec, root: Path) -> dict[str, Path]:
    return {Path(file).stem: Path(root) / file for file in spec.inputs}
