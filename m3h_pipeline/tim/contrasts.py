"""TIM scores as contrasts: of each pair the weights of the scores that its estimate is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from m3h_pipeline.contracts import combination_tasks
from m3h_pipeline.inference.metrics import Float64
from m3h_pipeline.inference.resampled import MeanDraws, Wanted
from m3h_pipeline.search.scores import Scores
from m3h_pipeline.tim.design import Design, Pair


@dataclass
class Contrasts:
    """The estimates of all pairs, and the scores they are made of.

    A slot is a task within a combination at the combination's setting.

    Attributes:
        design: which combinations and weights.
        pairs: (task, companion), sorted.
        slots: (combination, task).
        value: score of each slot by replicate and fold, NaN = undefined; (slots, replicates, folds).
        fits: number of each score's fit; same shape.
        matrix: weight of each slot in each pair's estimate; (pairs, slots).
    """

    design: Design
    pairs: list[Pair]
    slots: list[Pair]
    value: Float64
    fits: npt.NDArray[np.int32]
    matrix: csr_array

    @classmethod
    def of(cls, design: Design, table: Scores, replicates: tuple[int, ...]) -> Contrasts:
        """Gather what is defined: a combination at which a task has no score has no weight."""
        choice = table.choice(replicates)
        chosen = [table.replicates.index(r) for r in replicates]
        scored: dict[str, dict[str, int]] = {}
        for key in design.keys:
            for task in combination_tasks(key):
                member = table.member(key, task)
                if np.isfinite(choice.score[member]):
                    scored.setdefault(task, {})[key] = member
        pairs = design.pairs
        row_of = {pair: row for row, pair in enumerate(pairs)}
        slots: list[Pair] = []
        members: list[int] = []
        entries: list[tuple[float, int, int]] = []
        for task in sorted({task for task, _ in pairs}):
            found = design.weights(task, scored.get(task, {}))
            number: dict[str, int] = {}
            for companion, mine in found.items():
                for key, weight in mine.items():
                    if key not in number:
                        number[key] = len(slots)
                        slots.append((key, task))
                        members.append(scored[task][key])
                    entries.append((weight, row_of[task, companion], number[key]))
        weight_of, rows, columns = zip(*entries, strict=True) if entries else ((), (), ())
        at = np.array(members, dtype=np.intp)
        setting = choice.setting[table.combination_of[at]]
        return cls(
            design=design,
            pairs=pairs,
            slots=slots,
            value=table.value[at, setting][:, chosen],
            fits=table.fit[at, setting][:, chosen],
            matrix=csr_array((weight_of, (rows, columns)), shape=(len(pairs), len(slots))),
        )

    def wanted(self, table: Scores, tasks: set[str]) -> dict[tuple[str, str], Wanted]:
        """The predictions behind the slots of the given tasks; folds without a score are not needed."""
        keys = table.fit_keys
        return {
            (keys[int(self.fits[slot, r, k])].as_py(), task): Wanted(fold, [(slot, r)])
            for slot, (_, task) in enumerate(self.slots)
            if task in tasks
            for r in range(self.fits.shape[1])
            for k, fold in enumerate(table.folds)
            if np.isfinite(self.value[slot, r, k])
        }

    def drawn(self, draws: MeanDraws, number: int) -> Float64:
        """Scores under resampled patients, mean over folds; (slots, replicates, draws)."""
        replicates = range(self.value.shape[1])
        found = [draws.mean((slot, r)) for slot in range(len(self.slots)) for r in replicates]
        return np.array(found).reshape(len(self.slots), len(replicates), number)

    def of_task(self, task: str) -> list[int]:
        """The slots of a source task."""
        return [number for number, (_, name) in enumerate(self.slots) if name == task]

    def count(self, row: int) -> int:
        """Scores beside the companion behind a pair's estimate: sets times replicates times folds."""
        here = slice(self.matrix.indptr[row], self.matrix.indptr[row + 1])
        companion = self.pairs[row][1]
        slots = [
            slot
            for slot, weight in zip(self.matrix.indices[here], self.matrix.data[here], strict=True)
            if weight and companion in combination_tasks(self.slots[slot][0])
        ]
        return int(np.isfinite(self.value[slots]).sum()) if slots else 0

    def by_replicate(self) -> Float64:
        """Each slot's score by replicate, mean over the folds that have one; (slots, replicates)."""
        count = np.isfinite(self.value).sum(axis=2)
        total = np.nan_to_num(self.value).sum(axis=2)
        return np.asarray(np.divide(total, count, out=np.zeros(total.shape), where=count > 0))

    def with_companion(self) -> csr_array:
        """Of each pair the weights of its task's mean score beside the companion; (pairs, slots)."""
        held = [set(combination_tasks(key)) for key, _ in self.slots]
        found = csr_array(self.matrix, copy=True)
        for row, (_, companion) in enumerate(self.pairs):
            here = slice(found.indptr[row], found.indptr[row + 1])
            beside = np.array([companion in held[slot] for slot in found.indices[here]], dtype=float)
            found.data[here] = beside / max(beside.sum(), 1)
        return found


def less_permuted(matrix: csr_array, pairs: list[Pair], controls: set[str]) -> csr_array:
    """Weights of the estimates less the mean of the source task's permuted companions.

    Rows whose task has no permuted companion with a difference, and rows of permuted companions, are empty.

    Shape:
        (pairs, slots) -> (pairs, slots)
    """
    measured = np.diff(matrix.indptr) > 0
    rows: dict[str, list[int]] = {}
    for row, (task, companion) in enumerate(pairs):
        if companion in controls and measured[row]:
            rows.setdefault(task, []).append(row)
    plain = [
        row
        for row, (task, companion) in enumerate(pairs)
        if task in rows and companion not in controls and measured[row]
    ]
    entries = [(row, row, 1.0) for row in plain]
    entries += [
        (row, other, -1.0 / len(rows[pairs[row][0]])) for row in plain for other in rows[pairs[row][0]]
    ]
    to, of, value = zip(*entries, strict=True) if entries else ((), (), ())
    return csr_array(csr_array((value, (to, of)), shape=(len(pairs), len(pairs))) @ matrix)
