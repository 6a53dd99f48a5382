"""The second pass over HAIM-MIMIC-MM: which record of a sample is kept, and what is kept of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.cohort.haim.columns import Plan
from m3h_pipeline.cohort.haim.index import Index, Quarantine
from m3h_pipeline.cohort.subgroups import code
from m3h_pipeline.tables.parsing import Rows


@dataclass
class Kept:
    """What is kept of the samples besides their features.

    Attributes:
        index: of the records.
        plan: what is read of each.
        quarantine: takes the malformed ones.
        record: (n,) number of each sample's record.
        doubles: parts of (n, D).
        texts: n lists.
        codes: subgroup -> n codes.
        duplicates: further records of a sample; ``differing``: of these, not the same as the one kept.
    """

    index: Index
    plan: Plan
    quarantine: Quarantine
    record: list[int] = field(default_factory=list)
    doubles: list[npt.NDArray[np.float64]] = field(default_factory=list)
    texts: list[list[str]] = field(default_factory=list)
    codes: dict[str, list[str]] = field(default_factory=dict)
    duplicates: int = 0
    differing: int = 0
    _last: tuple[Rows, int] | None = None

    def take(self, chunk: npt.NDArray[np.int64], rows: Rows) -> Mapping[str, Float32Array]:
        """Set malformed records aside, drop further records of a sample, and keep the others.

        Args:
            chunk: numbers of records, in the order of their samples; calls follow that order, too.
            rows: what stands in them.

        Returns:
            Source -> (records kept, D) features.

        Raises:
            InputError: too many are malformed.
        """
        keep: list[int] = []
        for i, r in enumerate(chunk.tolist()):
            reason = rows.malformed[i]
            if reason is not None:
                self.quarantine.add(int(self.index.records.lines[r]), reason)
            elif self.record and self.index.sample[self.record[-1]] == self.index.sample[r]:
                self.duplicates += 1
                self.differing += self._last is not None and not _same(*self._last, rows, i)
            else:
                self.record.append(r)
                self._last = (rows, i)
                keep.append(i)
        self.doubles.append(rows.doubles[keep])
        self.texts.extend(rows.texts[i] for i in keep)
        for name in self.plan.subgroups:
            kind, column = self.plan.place(name)
            values = (
                [rows.texts[i][column] for i in keep]
                if kind == "texts"
                else map(str, getattr(rows, kind)[keep, column].tolist())
            )
            self.codes.setdefault(name, []).extend(map(code, values))
        x = rows.singles if len(keep) == len(chunk) else rows.singles[keep]
        return {name: x[:, part] for name, part in self.plan.sources.items()}


def _same(a: Rows, i: int, b: Rows, j: int) -> bool:
    return (
        np.array_equal(a.singles[i], b.singles[j], equal_nan=True)
        and np.array_equal(a.doubles[i], b.doubles[j], equal_nan=True)
        and a.texts[i] == b.texts[j]
    )
