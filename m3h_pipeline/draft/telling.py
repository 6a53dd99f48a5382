"""Features that tell an outcome nearly by themselves: known only afterwards, or the outcome itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from m3h_pipeline.disclosure import LEAST
from m3h_pipeline.draft.joins import File
from m3h_pipeline.draft.look import texts_of
from m3h_pipeline.draft.outcomes import Outcome
from m3h_pipeline.draft.plan import Block, Plan
from m3h_pipeline.tables.values import read_number

Floats = npt.NDArray[np.float64]
#: From this share on of pairs of patients that a feature puts in the right order.
TELLS = 0.98
#: First rows and columns that are looked at, and columns at once.
_ROWS, _COLUMNS, _AT_ONCE = 5_000, 2_000, 500


def withhold_telling(plan: Plan) -> None:
    """Take features that tell a binary outcome nearly by themselves out of the blocks.

    Raises:
        InputError: a file cannot be read.
    """
    files = plan.meeting.files
    labels = {one.name: found for one in plan.outcomes if (found := _labels(files, one))}
    for block in plan.blocks:
        if block.genes or files[block.file].id is None or files[block.file].on is not None:
            continue
        for column, outcome in _telling(files[block.file], block, labels).items():
            plan.later[column] = f"tells the outcome `{outcome}` nearly by itself: is it known before?"
            block.columns.remove(column)
            block.exclude.append(column)
            if column in block.categorical:
                block.categorical.remove(column)
    plan.blocks = [block for block in plan.blocks if block.columns]


def _labels(files: Sequence[File], outcome: Outcome) -> dict[str, float]:
    """Id of a sample -> 1 or 0, of a binary outcome."""
    if outcome.problem_class not in {"binary", "survival"}:
        return {}
    for file in files:
        if file.id is not None and file.on is None and file.table.column(outcome.column):
            texts = texts_of(file.table, [file.id, outcome.column], None)
            sides = {v: float(side == "positive") for side, vs in outcome.classes.items() for v in vs}
            pairs = zip(texts[file.id], texts[outcome.column], strict=True)
            return {name: sides[value] for name, value in pairs if name and value in sides}
    return {}


def _telling(file: File, block: Block, labels: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """Column -> the outcome that it tells."""
    names = [name for name in block.columns[:_COLUMNS] if not _vector(file, name)]
    if not labels or not names or file.id is None:
        return {}
    found: dict[str, str] = {}
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        texts = texts_of(file.table, [file.id, *some], _ROWS)
        for outcome, known in labels.items():
            y = np.array([known.get(one or "", np.nan) for one in texts[file.id]])
            found |= {
                name: outcome
                for name in some
                if name not in found and tells(texts[name], y, category=name in block.categorical)
            }
    return found


def _vector(file: File, name: str) -> bool:
    column = file.table.column(name)
    return column is None or column.vector


def tells(texts: Sequence[str | None], y: Floats, *, category: bool) -> bool:
    """Whether a column tells a binary label nearly by itself: by its values, or by being there.

    Args:
        texts: the column.
        y: (n,) 1 or 0, NaN = not observed.
        category: whether its values are names.

    Examples:
        >>> y = np.array([0.0, 1.0] * 20)
        >>> tells([str(2 * v + 5) for v in y], y, category=False)
        True
        >>> tells(["7" if v else None for v in y], y, category=False)
        True
        >>> tells([str(i % 7) for i in range(40)], y, category=False)
        False
    """
    there = np.array([text is not None for text in texts], dtype=np.float64)
    if _separates(there, y):
        return True
    if category:
        rates: dict[str, float] = {}
        for value in {text for text in texts if text is not None}:
            mine = y[[text == value for text in texts]]
            known = mine[~np.isnan(mine)]
            rates[value] = float(known.mean()) if len(known) else np.nan
        few = len(rates) <= 20
        x = np.array([np.nan if text is None else rates[text] for text in texts])
        return few and _separates(x, y)
    x = np.array([_number(text) for text in texts])
    return _separates(x, y)


def _number(text: str | None) -> float:
    number = None if text is None else read_number(text.lstrip("<>≤≥= "))
    return np.nan if number is None else number


def _separates(x: Floats, y: Floats) -> bool:
    seen = ~np.isnan(x) & ~np.isnan(y)
    positive = int((y[seen] == 1).sum())
    negative = int(seen.sum()) - positive
    if min(positive, negative) < LEAST or len(np.unique(x[seen])) < 2:
        return False
    from sklearn.metrics import roc_auc_score

    auroc = float(roc_auc_score(y[seen], x[seen]))
    return max(auroc, 1 - auroc) >= TELLS
