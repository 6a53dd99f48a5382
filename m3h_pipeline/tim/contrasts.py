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
from m3h_pipeline.tim.contexts import Context, weights

Pair = tuple[str, str]


@dataclass
class Contrasts:
    """The defined differences of all pairs, and the scores they are made of.

    A slot is a task within a combination at the combination's setting.

    Attributes:
        pairs: (task, companion), sorted.
        contexts: of each pair, its defined contexts.
        slots: (combination, task).
        value: score of each slot by replicate and fold, NaN = undefined; (slots, replicates, folds).
        fits: number of each score's fit; same shape.
        matrix: weight of each slot in each pair's estimate; (pairs, slots).
    """

    pairs: list[Pair]
    contexts: list[list[Context]]
    slots: list[Pair]
    value: Float64
    fits: npt.NDArray[np.int32]
    matrix: csr_array

    @classmethod
    def of(cls, every: dict[Pair, list[Context]], table: Scores, replicates: tuple[int, ...]) -> Contrasts:
        """Gather the differences whose two combinations both have a score."""
        choice = table.choice(replicates)
        chosen = [table.replicates.index(r) for r in replicates]
        numbers: dict[Pair, int] = {}
        members: list[int] = []
        data: list[float] = []
        rows: list[int] = []
        columns: list[int] = []
        kept: list[list[Context]] = []
        for row, ((task, _), found) in enumerate(every.items()):
            usable = [
                c
                for c in found
                if np.isfinite(choice.score[table.member(c.without, task)])
                and np.isfinite(choice.score[table.member(c.with_companion, task)])
            ]
            kept.append(usable)
            for context, weight in zip(usable, weights(usable), strict=True):
                for key, sign in ((context.with_companion, 1.0), (context.without, -1.0)):
                    slot = numbers.setdefault((key, task), len(numbers))
                    if slot == len(members):
                        members.append(table.member(key, task))
                    data.append(sign * weight)
                    rows.append(row)
                    columns.append(slot)
        member = np.array(members, dtype=np.intp)
        setting = choice.setting[table.combination_of[member]]
        return cls(
            pairs=list(every),
            contexts=kept,
            slots=list(numbers),
            value=table.value[member, setting][:, chosen],
            fits=table.fit[member, setting][:, chosen],
            matrix=csr_array((data, (rows, columns)), shape=(len(every), len(numbers))),
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
        """Number of a pair's differences: contexts times replicates times folds with a score."""
        slots = self.matrix[[row], :].indices
        return len(self.contexts[row]) * int(np.isfinite(self.value[slots[0]]).sum()) if len(slots) else 0

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

    def context_values(self) -> list[list[tuple[int, int, float, float]]]:
        """Of each pair its contexts: size, number of sets of that size, weight, difference."""
        mean = np.nanmean(self.value, axis=(1, 2)) if len(self.slots) else np.zeros(0)
        score = dict(zip(self.slots, mean.tolist(), strict=True))
        return [
            [
                (c.size, c.share, w, score[c.with_companion, task] - score[c.without, task])
                for c, w in zip(found, weights(found), strict=True)
            ]
            for (task, _), found in zip(self.pairs, self.contexts, strict=True)
        ]


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
