"""TIM on a table of measured scores, in place of training: the second half of the verb ``replay``.

Estimates are those of a study with these scores. Intervals are not: nobody's predictions are there to be
resampled, so that they count what folds and seeds change (:mod:`m3h_pipeline.tim.uncertainty`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa

from m3h_pipeline.coding import is_permuted
from m3h_pipeline.config import Tim
from m3h_pipeline.contracts import TIM
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import write_table
from m3h_pipeline.layout import Layout
from m3h_pipeline.search.measured import tasks_of
from m3h_pipeline.search.scores import Scores, scores_of
from m3h_pipeline.tasks.assessed import Task
from m3h_pipeline.tim.contrasts import Contrasts
from m3h_pipeline.tim.design import design_of
from m3h_pipeline.tim.estimate import tim_table


def replay_tim(
    measured: pa.Table, out: Path, settings: Tim, seed: int, stream: TextIO, asked: bool = True
) -> None:
    """Write TIM(task, companion) of every ordered pair of the tasks of a table, from its scores.

    Permuted companions are those of the table, by their names; ``settings.controls`` 0 leaves them out, and
    where it is given another number must be theirs.

    Args:
        measured: contracts.SCORES, as :func:`m3h_pipeline.search.measured.read_measured` gives them.
        out: folder for ``tim/tim.parquet`` (contracts.TIM); an older one there is removed in any case.
        settings: mode, permuted companions, random sets, false discovery rate.
        seed: of the random sets.
        stream: where it is said what was written, or why nothing was.
        asked: whether scores that the table lacks are an error; else they are said, and that is all.

    Raises:
        ContractError: the table lacks what TIM is made of, and it was asked for.
        ConfigError: the exact mode is asked for too many tasks.
    """
    path = Layout(out).tim_table
    path.unlink(missing_ok=True)
    try:
        table = _measured_tim(measured, settings, seed)
    except ContractError as error:
        if asked:
            raise
        stream.write(f"No TIM: {error}\n")
        return
    write_table(table, path, TIM)
    variance = json.loads(table.schema.metadata[b"tim"])["variance"]
    stream.write(f"TIM is in {path}. Variance behind its intervals: {variance} (docs/tim.md)\n")
    if len(table) and not any(table.column("control").to_pylist()):
        stream.write("There are no permuted companions: its flags hold what sharing costs\n")


def _measured_tim(measured: pa.Table, settings: Tim, seed: int) -> pa.Table:
    scores = scores_of(measured, [])
    names = tasks_of(measured)
    permuted = _permuted(names, settings)
    tasks = [name for name in names if not is_permuted(name)]
    design = design_of(tasks, permuted, settings, seed)
    replicates = scores.common(*design.keys) if design.pairs else ()
    if design.pairs and not replicates:
        raise ContractError(
            _absent(design.keys, scores, settings.mode),
            hint='measure them, in every fold; or ask for less with `--tim`: `"mode": "pairs"` needs tasks '
            'alone and pairs, `"controls": 0` no permuted companions; `--seed` draws the sets of `sampled`',
        )
    contrasts = Contrasts.of(design, scores, replicates)
    metrics = dict(zip(*(measured.column(name).to_pylist() for name in ("task", "metric")), strict=True))
    known = {name: Task(name, "", metrics[name]) for name in (*tasks, *permuted)}
    nobody = np.empty((len(contrasts.slots), len(replicates), 0))
    return tim_table(contrasts, nobody, known, permuted, None, settings)


def _permuted(names: Sequence[str], settings: Tim) -> list[str]:
    found = [name for name in names if is_permuted(name)]
    if "controls" not in settings.model_fields_set or settings.controls == len(found):
        return found
    if settings.controls:
        raise ContractError(
            f"`tim.controls` asks for {settings.controls} permuted companions, the table has {len(found)}"
            + (f": {', '.join(found)}" if found else ""),
            hint="leave `controls` out to take those of the table, or say 0 for none",
        )
    return []


def _absent(keys: Sequence[str], scores: Scores, mode: str) -> str:
    """Which combinations a table lacks, in a sentence."""
    lacking = [key for key in keys if not scores.trained(key)]
    if lacking:
        return (
            f"TIM (`mode: {mode}`) needs {len(keys):,} combinations, of which {len(lacking):,} are absent "
            f"or lack a fold in every replicate: {', '.join(lacking)}"
        )
    by_replicate = (
        f"replicate {replicate} lacks "
        + ", ".join(key for key in keys if replicate not in scores.trained(key))
        for replicate in scores.replicates
    )
    return (
        f"TIM (`mode: {mode}`) needs {len(keys):,} combinations of the same replicate, and none has all of "
        "them in every fold: " + "; ".join(by_replicate)
    )
