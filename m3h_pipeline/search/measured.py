"""The verb ``replay``: the search on a table of measured scores, in place of training; TIM on the same is
:mod:`m3h_pipeline.tim.measured`.

What a search would have chosen and cost under other settings is asked of scores that somebody has measured:
a study's own (``search/round_*/scores.parquet`` of an exhaustive search), those of another project, simulated
ones. The format is in docs/search.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq

from m3h_pipeline.coding import PERMUTED_MARK
from m3h_pipeline.config import Search
from m3h_pipeline.contracts import SCORES, SEARCH_REPORT, TRAJECTORY, combination_key, combination_tasks
from m3h_pipeline.disclosure.text import tsv
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import write_table
from m3h_pipeline.layout import Layout
from m3h_pipeline.search.greedy import RACED, Progress, Wanted, ended, replay
from m3h_pipeline.search.race import instalments
from m3h_pipeline.search.report import report_table, trajectory_table
from m3h_pipeline.search.scores import Folds, Scores, scores_of
from m3h_pipeline.training.spec import Entry, FitSpec, Outcome, chosen, run_through

#: What a table of measured scores must say, and what it may.
REQUIRED = ("combination", "task", "replicate", "fold", "value")
OPTIONAL = ("batch_size", "learning_rate", "status", "metric")
#: Measures what a search wants: a table of contracts.SCORES.
Measure = Callable[[Wanted], pa.Table]


def replay_search(measured: Sequence[Path], out: Path, search: Search, stream: TextIO) -> pa.Table:
    """Run the search on measured scores; nothing is trained.

    Of every round it sees the scores that it would have had trained, and no others: with ``search.race``
    it leaves out what falls behind, although the table holds it.

    Args:
        measured: tables as docs/search.md says, Parquet or CSV.
        out: folder for ``search/trajectory.parquet`` (contracts.TRAJECTORY) and ``search/report.parquet``
            (contracts.SEARCH_REPORT), as in the results of a study.
        search: how combinations are searched. Tasks alone and pairs have all the replicates of the table.
        stream: where the report is shown.

    Returns:
        The measured scores (contracts.SCORES): those of permuted companions too, which no search looks at.

    Raises:
        InputError: a file is absent, unreadable, lacks a column, or scores permuted companions only.
        ContractError: the search wants scores that the table does not hold.
        TaskError: a task alone has no score.
    """
    everything = read_measured(measured)
    joined = pc.match_substring(everything.column("combination"), PERMUTED_MARK)
    table = everything.filter(pc.invert(joined))
    if not len(table):
        raise InputError("only permuted companions are scored", where=_named(measured))
    progress, scores = searched(tasks_of(table), _of_table(table, search), search)
    states = ended(progress, "measure them, or ask for less, such as `--search '{\"max_size\": 2}'`")
    trajectory, report = trajectory_table(states, scores), report_table(states, scores)
    files = Layout(out)
    write_table(trajectory, files.trajectory, TRAJECTORY)
    write_table(report, files.search_report, SEARCH_REPORT)
    stream.write(tsv([SEARCH_REPORT.names, *(list(map(_shown, row.values())) for row in report.to_pylist())]))
    return everything


def _shown(value: float | str | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else f"{value}"


def searched(tasks: Sequence[str], measure: Measure, search: Search) -> tuple[Progress, Scores]:
    """Search, round by round, on what ``measure`` gives; and all the scores that were asked for.

    It ends where nothing more is wanted, or where ``measure`` lacks what is: then that is still wanted.
    """
    table = SCORES.empty_table()
    scores = scores_of(table, [])
    progress = replay(tasks, scores, search)
    while progress.wanted is not None:
        before = progress
        found = measure(progress.wanted)
        if not len(found):
            break
        table = pa.concat_tables([table, found])
        scores = scores_of(table, [])
        progress = replay(tasks, scores, search)
        if progress.wanted == before.wanted:
            break
    return progress, scores


def tasks_of(table: pa.Table) -> list[str]:
    """The tasks of a table of measured scores, ascending."""
    return sorted(pc.unique(table.column("task")).to_pylist())


def _of_table(table: pa.Table, search: Search) -> Measure:
    replicates = sorted(pc.unique(table.column("replicate")).to_pylist())

    def measure(wanted: Wanted) -> pa.Table:
        some = replicates if wanted.size < RACED else replicates[: search.replicates]
        where = pc.is_in(table.column("combination"), pa.array(wanted.combinations, pa.string()))
        where = pc.and_(where, pc.is_in(table.column("replicate"), pa.array(some, pa.int16())))
        return of_instalment(table.filter(where), wanted.folds, search)

    return measure


def of_instalment(table: pa.Table, folds: Folds, search: Search) -> pa.Table:
    """Of measured scores those that a search would have had trained in some folds.

    Args:
        table: contracts.SCORES, every fold and setting of the combinations and replicates that are wanted.
        folds: of the instalment; None: all.
        search: says whether settings are left by halving, and what the first instalment is.
    """
    within = pc.is_in(table.column("fold"), pa.array(folds or table.column("fold").unique(), pa.int16()))
    settings = table.select(["batch_size", "learning_rate"]).group_by(["batch_size", "learning_rate"])
    if not search.halving or len(settings.aggregate([])) < 2:
        return table.filter(within)
    outcomes = _outcomes(table)
    every = sorted({spec.fold for spec in outcomes})
    first = instalments(every, search.race)[0] if folds is not None else tuple(every)
    trained: set[FitSpec] = set()
    by_combination: dict[tuple[str, ...], list[FitSpec]] = {}
    for spec in outcomes:
        by_combination.setdefault(spec.combination, []).append(spec)
    for combination, specs in by_combination.items():
        entry = Entry(
            combination,
            tuple(sorted({spec.replicate for spec in specs})),
            first,
            tuple(sorted({(spec.batch_size, spec.learning_rate) for spec in specs})),
            halving=True,
        )
        trained.update(run := run_through(entry, outcomes))
        setting = chosen(entry, {spec: outcomes[spec] for spec in run})
        if folds is not None and setting is not None:
            later = [entry.spec(setting, replicate, fold) for replicate in entry.replicates for fold in folds]
            trained.update(spec for spec in later if spec in outcomes)
    wanted = pa.array([spec in trained for spec in _specs(table)], pa.bool_())
    return table.filter(pc.and_(within, wanted))


def _specs(table: pa.Table) -> Iterator[FitSpec]:
    names = ("combination", "fold", "replicate", "batch_size", "learning_rate")
    for key, *rest in zip(*(table.column(name).to_pylist() for name in names), strict=True):
        yield FitSpec(combination_tasks(key), *rest)


def _outcomes(table: pa.Table) -> dict[FitSpec, Outcome]:
    found: dict[FitSpec, dict[str, float]] = {}
    diverged: set[FitSpec] = set()
    columns = (table.column(name).to_pylist() for name in ("task", "value", "status"))
    for spec, task, value, status in zip(_specs(table), *columns, strict=True):
        found.setdefault(spec, {})[task] = np.nan if value is None else value
        if status != "ok":
            diverged.add(spec)
    # A member without a row was not scored.
    for spec, scores in found.items():
        for task in spec.combination:
            scores.setdefault(task, np.nan)
    return {spec: None if spec in diverged else scores for spec, scores in found.items()}


def read_measured(paths: Sequence[Path]) -> pa.Table:
    """Measured scores as a table of contracts.SCORES.

    A score that is empty could not be had: where other models have one, the combination has no score at
    that setting.

    Raises:
        InputError: a file is absent, unreadable, empty, lacks a column or has one twice, or holds what is no
            score; a task has several metrics, or is scored at a combination that it does not belong to; a fit
            lacks one of its tasks; or two rows claim the same place with different scores.
    """
    table = pa.concat_tables([_read(path) for path in paths])
    metrics = table.group_by(["task", "metric"]).aggregate([]).group_by("task").aggregate([([], "count_all")])
    if len(several := metrics.filter(pc.greater(metrics.column("count_all"), 1))):
        raise InputError(
            f"task `{several.column('task')[0]}` has scores of several metrics",
            where=_named(paths),
            hint="`metric` is the same in all rows of a task, in every file",
        )
    _check_fits(table, paths)
    return table


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths)


def _check_fits(table: pa.Table, paths: Sequence[Path]) -> None:
    """Each fit scores all its tasks, and each of them once or as often alike."""
    where = _named(paths)
    place = ["fit_key", "task"]
    alike = (
        table.group_by([*place, "value", "status"])
        .aggregate([])
        .group_by(place)
        .aggregate([([], "count_all")])
    )
    twice = alike.filter(pc.greater(alike.column("count_all"), 1))
    if len(twice):
        raise InputError(
            f"rows differ in the score of task `{twice.column('task')[0]}` in one fit: "
            f"{_said(twice.column('fit_key')[0].as_py())}",
            where=where,
            hint="scores of different studies, or settings, were mixed: name these in `batch_size` and "
            "`learning_rate`, or leave one out",
        )
    scored = alike.group_by("fit_key").aggregate([([], "count_all")])
    for key, n in zip(*(scored.column(name).to_pylist() for name in ("fit_key", "count_all")), strict=True):
        members = combination_tasks(key.split("|")[0])
        if n < len(members):
            rows = table.filter(pc.equal(table.column("fit_key"), key))
            missing = sorted(set(members) - set(rows.column("task").to_pylist()))
            raise InputError(
                f"a fit has no row for its task `{missing[0]}`: {_said(key)}",
                where=where,
                hint="one row per fit and task of its combination; a score that could not be had is empty",
            )


def _said(fit: str) -> str:
    """A fit for people."""
    combination, replicate, fold, batch, rate = fit.split("|")
    return f"combination `{combination}`, replicate {replicate}, fold {fold}, setting {batch}, {rate}"


def _read(path: Path) -> pa.Table:
    try:
        table = pv.read_csv(path) if path.suffix == ".csv" else pq.read_table(path)
    except FileNotFoundError:
        raise InputError("the file does not exist", where=str(path)) from None
    except (OSError, pa.ArrowInvalid) as error:
        text = "the file cannot be read as CSV (`.csv`) or Parquet (any other name)"
        raise InputError(f"{text}: {error}", where=str(path)) from error
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        raise InputError(
            f"a table of measured scores needs the columns {', '.join(REQUIRED)}; there is no "
            + ", ".join(f"`{name}`" for name in missing),
            where=str(path),
            hint=f"settings may stand in `batch_size` and `learning_rate`; it has {table.column_names}",
        )
    n = len(table)
    if not n:
        raise InputError("there is no score in this table", where=str(path))
    twofold = [name for name in (*REQUIRED, *OPTIONAL) if table.column_names.count(name) > 1]
    if twofold:
        raise InputError(f"there are several columns `{twofold[0]}`", where=str(path))
    known = {name: table.column(name) for name in (*REQUIRED, *OPTIONAL) if name in table.column_names}
    known = {"batch_size": pa.repeat(0, n), "learning_rate": pa.repeat(0.0, n)} | known
    known = {"status": pa.repeat("ok", n), "metric": pa.repeat("measured", n)} | known
    try:
        cast = {name: pc.cast(column, SCORES.field(name).type) for name, column in known.items()}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"a column is not what it should be: {error}", where=str(path)) from error
    empty = [name for name, column in cast.items() if name != "value" and column.null_count]
    if empty:
        raise InputError(f"column `{empty[0]}` has empty fields", where=str(path))
    # The order of tasks in a combination means nothing.
    keys = {
        key: combination_key(combination_tasks(key)) for key in pc.unique(cast["combination"]).to_pylist()
    }
    for key in keys.values():
        names = combination_tasks(key)
        if not all(names) or len(set(names)) < len(names):
            raise InputError(f"combination `{key}` has a task without a name, or twice", where=str(path))
    combination = [keys[key] for key in cast["combination"].to_pylist()]
    members = {key: frozenset(combination_tasks(key)) for key in keys.values()}
    for key, task in zip(combination, cast["task"].to_pylist(), strict=True):
        if task not in members[key]:
            raise InputError(f"task `{task}` is no member of combination `{key}`", where=str(path))
    cast["combination"] = pa.array(combination, pa.string())
    places = ["combination", "replicate", "fold", "batch_size", "learning_rate"]
    fits = pc.binary_join_element_wise(*(pc.cast(cast[name], pa.string()) for name in places), "|")
    value = np.asarray(pc.fill_null(cast["value"], np.nan), dtype=np.float64)
    if np.isinf(value).any():
        raise InputError("column `value` holds an infinite score", where=str(path))
    rest = {
        "fit_key": fits,
        "n_scored": pa.array(np.zeros(n, np.int32)),
        "epochs": pa.array(np.zeros(n, np.int32)),
        "seconds": pa.array(np.zeros(n)),
        "value": pa.array(value, from_pandas=True),
    }
    columns = cast | rest
    return pa.table({field.name: columns[field.name] for field in SCORES}, schema=SCORES)
