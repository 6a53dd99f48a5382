"""A study from its file: checked, run, and its results as data frames."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TextIO

import pandas as pd
import pyarrow as pa

from m3h_pipeline import config, contracts
from m3h_pipeline.api.asked import brief, place, several, stream
from m3h_pipeline.api.tables import with_tasks
from m3h_pipeline.config import load_study
from m3h_pipeline.errors import InputError, WorkflowError, nearest
from m3h_pipeline.files import read_table
from m3h_pipeline.layout import EVALUATION_TABLES, Layout
from m3h_pipeline.tasks.assessed import read_assessed


class Study:
    """A study.

    Args:
        configfile: its file, as for ``m3h check --configfile``.
        changes: of the configuration, ``KEY=VALUE`` each, as Snakemake's ``--config`` takes them.

    Attributes:
        configfile: as given.
        configuration: what the file says, validated.

    Raises:
        InputError: there is no such file, or it is no path.
        ConfigError: the file does not follow the schema; the message names every wrong key.
    """

    def __init__(self, configfile: Path | str, changes: Sequence[str] = ()) -> None:
        self.configfile = place(configfile, "a study's file")
        self._changes = tuple(several(changes, "changes", "seed=7", "texts"))
        self.configuration: config.Study = load_study(self.configfile, self._changes)

    def __repr__(self) -> str:
        return f"Study({str(self.configfile)!r})"

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.configuration.study

    @property
    def folder(self) -> Path:
        """Where the results go, relative to the working directory unless the study says otherwise."""
        return Path(self.configuration.results) / self.configuration.study

    def check(self, screen: TextIO | None = None) -> None:
        """Read the inputs, build labels and split, and forecast the training; the same as ``m3h check``.

        Counts of 1 to 10 are hidden: what a notebook prints is kept and given away with it.

        Args:
            screen: where it is printed; None: standard output.

        Raises:
            M3HError: what is wrong; nothing is written to the study's results.
        """
        from m3h_pipeline.check import check_study

        check_study(self.configfile, stream(screen, "screen", sys.stdout), self._changes)

    def run(self, cores: int | str = "all", *options: str) -> None:
        """Run the study, or go on with it; the same as ``m3h run``.

        What is finished is not made again. Messages go where those of this process go.

        Args:
            cores: how many may be used.
            options: further ones of Snakemake, such as ``--dry-run``.

        Raises:
            InputError: ``cores`` is no number of cores, or an option is no text.
            WorkflowError: it did not come to its end.
        """
        if cores != "all" and (not str(cores).isdecimal() or int(cores) < 1 or isinstance(cores, bool)):
            raise InputError(f"`cores` is a number from 1 on or `all`, not {brief(cores)}")
        options = tuple(several(options, "options", "--dry-run", "texts"))
        from m3h_pipeline.shipped.workflow import command, environment

        changes = ["--config", *self._changes] if self._changes else []
        words = command(str(self.configfile), ["--cores", str(cores), *options, *changes])
        sys.stdout.flush()
        sys.stderr.flush()
        status = subprocess.run(words, env=environment(), check=False).returncode
        if status:
            raise WorkflowError(
                f"the run ended with status {status}",
                where=str(self.folder / "logs"),
                hint="the messages above say which job failed; `study.check()` says what a study lacks",
            )

    @cached_property
    def results(self) -> Results:
        """What the study has found so far."""
        return Results(self.folder)


class Results:
    """Tables of a study as data frames, read and checked when they are asked for.

    Args:
        folder: ``results/<study>``.
    """

    def __init__(self, folder: Path) -> None:
        self._layout = Layout(Path(folder))

    def __repr__(self) -> str:
        return f"Results({str(self._layout.folder)!r})"

    @property
    def evaluation(self) -> pd.DataFrame:
        """Test part: the selected multitask model against the single-task model, one row per task."""
        return self.table("evaluation")

    @property
    def comparison(self) -> pd.DataFrame:
        """Every model beside every other, out of fold and on the test part."""
        return self.table("comparison")

    @property
    def choice(self) -> pd.DataFrame:
        """What to use for each task, and what the candidates score."""
        return self.table("choice")

    @property
    def calibration(self) -> pd.DataFrame:
        """Observed event rate by quantile of the predicted risk."""
        return self.table("calibration")

    @property
    def tim(self) -> pd.DataFrame:
        """Task interaction, one row per ordered pair of tasks."""
        return self._read(self._layout.tim_table, contracts.TIM)

    @property
    def selection(self) -> pd.DataFrame:
        """Each task's best combination and its single-task control."""
        return self._read(self._layout.selection, contracts.SELECTION)

    @property
    def trajectories(self) -> pd.DataFrame:
        """Every combination that the search looked at."""
        return self._read(self._layout.trajectory, contracts.TRAJECTORY)

    @property
    def predictions(self) -> pd.DataFrame:
        """What the final models predict for the study's own samples, one row per sample, task and output.

        Rows of patients, unlike the other tables: not to be given away. See
        :func:`m3h_pipeline.api.predictions.predictions` for the columns.
        """
        from m3h_pipeline.api.predictions import predictions

        _there(self._layout.selection)
        return predictions(self._layout)

    def table(self, name: str) -> pd.DataFrame:
        """One of the tables of ``evaluation/``.

        Args:
            name: such as ``roc`` or ``calibration_slopes``.

        Raises:
            InputError: there is no such table, or it is not there yet.
        """
        if name not in EVALUATION_TABLES:
            raise InputError(f"there is no table `{name}`", hint=nearest(str(name), EVALUATION_TABLES))
        return self._read(self._layout.evaluation.table(name), getattr(contracts, name.upper()))

    def _read(self, path: Path, schema: pa.Schema) -> pd.DataFrame:
        _there(path)
        return with_tasks(read_table(path, schema), read_assessed(self._layout.labels.tasks).values())


def _there(path: Path) -> None:
    """Say what to run where a table is absent."""
    if not path.exists():
        raise InputError("the study has not come this far: the table is absent", where=str(path), hint=_RUN)


_RUN = (
    "run the study first: `study.run()`, or `snakemake --configfile FILE`; this takes from minutes to hours"
)
