"""`m3h init`: look at a user's tables, write a study and its tasks, and say what was found."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from m3h_pipeline.config import Study, validate
from m3h_pipeline.config.load import parse_yaml
from m3h_pipeline.draft.joins import meet
from m3h_pipeline.draft.look import look_at
from m3h_pipeline.draft.plan import Plan, plan_of
from m3h_pipeline.draft.render import DOUBT, counts, render_study, render_tasks
from m3h_pipeline.draft.telling import withhold_telling
from m3h_pipeline.errors import ConfigError, InputError
from m3h_pipeline.files import replacing, writing
from m3h_pipeline.tasks.definitions import tasks_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def draft_study(name: str, paths: Sequence[str], folder: Path, screen: TextIO) -> tuple[Path, Path]:
    """Write ``<folder>/<name>.yaml`` and ``<folder>/<name>_tasks.yaml``.

    Args:
        name: of the study.
        paths: the user's tables.
        folder: where the files go.
        screen: what was found is said here, with true numbers: it is the user's own.

    Returns:
        The two files.

    Raises:
        InputError: a table cannot be read, no column is left for a model, or a file is there already.
        ConfigError: the name is none, or a table has an unknown ending.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"`{name}` is no name of a study", hint="letters, digits, `_`, `.` and `-`")
    study, tasks = folder / f"{name}.yaml", folder / f"{name}_tasks.yaml"
    for path in (study, tasks):
        if path.exists():
            raise InputError(
                "the file is there already, and is not overwritten",
                where=str(path),
                hint="give the study another name, or move the file away",
            )
    if not paths:
        raise InputError("no table is given", hint="name at least one after `--from`")
    if len(set(paths)) < len(paths):
        raise InputError("a table is given twice", where=", ".join(paths), hint="name each once")
    meeting = meet(look_at(paths))
    plan = plan_of(meeting)
    withhold_telling(plan)
    if not plan.blocks:
        raise InputError(
            "no column is left that a model could see",
            where=", ".join(paths),
            hint=_unused(plan) or "give tables with what is known before the outcome, too",
        )
    coded = [meeting.codes.table.path] if meeting.codes else []
    data, short = _common([*(file.table.path for file in meeting.files), *coded])
    texts = {
        study: render_study(plan, name, data, short, tasks.as_posix()),
        tasks: render_tasks(plan, name),
    }
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
    # What is written is what the package itself would read.
    tasks_of(validate(Study, parse_yaml(texts[study], str(study)), where=str(study)).tasks)
    _say(plan, study, tasks, screen)
    return study, tasks


def _unused(plan: Plan) -> str:
    """Why columns that might have been features are none; empty: there is none."""
    reasons = [f"`{name}`: {why}" for columns in plan.ignored.values() for name, why in columns.items()]
    more = f" and {len(reasons) - 5:,} more" if len(reasons) > 5 else ""
    return f"no use was found for {'; '.join(reasons[:5])}{more}" if reasons else ""


def _common(paths: Sequence[str]) -> tuple[str, list[str]]:
    """The folder that all paths share, and the rest of each."""
    given = [Path(path) for path in paths]
    if len({path.is_absolute() for path in given}) == 2:
        given = [path.absolute() for path in given]
    folder = Path(os.path.commonpath([path.parent for path in given]) or ".")
    return folder.as_posix(), [path.relative_to(folder).as_posix() for path in given]


def _say(plan: Plan, study: Path, tasks: Path, screen: TextIO) -> None:
    for i, file in enumerate(plan.meeting.files):
        role = "the samples" if i == 0 else f"joined on `{file.on or plan.meeting.files[0].id}`"
        screen.write(f"{file.table.path}: {file.table.rows:,} rows, {len(file.table.columns):,} columns")
        screen.write(f", id `{file.id}`: {role}\n" if file.id else ": no column names its rows\n")
    if codes := plan.meeting.codes:
        screen.write(f"{codes.table.path}: ICD-{codes.version} codes in `{codes.code}`, of the {codes.of}\n")
    screen.writelines(f"{path}: left out: {why}\n" for path, why in plan.meeting.left.items())
    screen.write(f"patient: {f'`{plan.patient}`' if plan.patient else 'each row its own'}\n")
    for block in plan.blocks:
        categories = f", {len(block.categorical):,} of them categories" if block.categorical else ""
        screen.write(f"features {block.name}: {len(block.columns):,} columns{categories}\n")
    screen.writelines(
        f"task {one.name} ({one.problem_class}, {one.sure}): {counts(one)}\n" for one in plan.outcomes
    )
    if not plan.outcomes:
        screen.write(f"no column looks like an outcome: name yours in {tasks}\n")
    screen.writelines(f"withheld: `{name}` {why}\n" for name, why in plan.later.items())
    ignored = sum(map(len, plan.ignored.values()))
    if ignored:
        screen.write(f"not used: {ignored:,} columns; the study file says which and why\n")
    screen.write(
        f"written: {study}, {tasks}\nLook for `{DOUBT}` in both: what only you can decide. Then\n"
        f"  m3h check {study}\n  m3h run {study}\n"
    )
