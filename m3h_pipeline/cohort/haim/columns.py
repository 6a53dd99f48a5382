"""What to take from which column of HAIM-MIMIC-MM, decided by name, never by position or count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from m3h_pipeline.config.base import Subgroup
from m3h_pipeline.config.mimic import CHEXPERT
from m3h_pipeline.config.sources import HaimSource
from m3h_pipeline.errors import ConfigError, InputError, nearest
from m3h_pipeline.tables.parsing import Layout

#: Columns that identify; never offered to label definitions.
IDENTIFIERS = ("haim_id", "img_id", "img_charttime", "subject_id", "hadm_id", "stay_id")
#: Columns that the publication defines as numbers; text in them makes the line malformed.
NUMERIC = (
    "img_deltacharttime",
    "img_length_of_stay",
    "death_status",
    *CHEXPERT,
)
_NUMBERED = re.compile(r"(|.*?\D)(\d+)", re.DOTALL | re.ASCII)
#: This many columns of one prefix and a number are a block, fewer are columns in their own right.
_BLOCK = 5


@dataclass(frozen=True)
class Plan:
    """What of the header goes where."""

    layout: Layout
    sources: dict[str, slice]
    labels: tuple[str, ...]
    subgroups: dict[str, Subgroup]
    ignored_columns: list[str]
    ignored_blocks: dict[str, int]

    def fields(self, source: str) -> tuple[int, ...]:
        """The fields of one source's features."""
        return self.layout.singles[self.sources[source]]

    def place(self, subgroup: str) -> tuple[str, int]:
        """Where a subgroup's codes are parsed (``singles``, ``doubles``, ``texts``), and the index there."""
        field = self.layout.names.index(self.subgroups[subgroup].column)
        for kind in ("singles", "doubles", "texts"):
            if field in (fields := getattr(self.layout, kind)):
                return kind, fields.index(field)
        raise AssertionError("plan_columns parses every subgroup's column")


def plan_columns(names: Sequence[str], source: HaimSource, sources: Sequence[str], where: str) -> Plan:
    """Decide by name what to do with every column.

    Raises:
        InputError: a block or a subgroup's column is absent, or a column that is used stands twice.
        ConfigError: a source has no prefix, or shares it with another.
    """
    place: dict[str, int] = {}
    for i, name in enumerate(names):
        place.setdefault(name, i)
    blocks = _blocks(place)
    if shared := sorted(
        p for p, n in Counter(source.blocks[k] for k in sources if k in source.blocks).items() if n > 1
    ):
        raise ConfigError(f"the prefix `{shared[0]}` belongs to two sources", where="source.blocks")
    features: list[int] = []
    slices: dict[str, slice] = {}
    for key in sources:
        if key not in source.blocks:
            raise ConfigError(
                f"there is no source `{key}`", where="source.blocks", hint=nearest(key, source.blocks)
            )
        block = blocks.get(source.blocks[key], [])
        if not block:
            raise InputError(
                f"no column is named `{source.blocks[key]}` and a number, as source `{key}` says",
                where=f"{where}, line 1",
                hint=nearest(source.blocks[key], [prefix for prefix in blocks if prefix]),
            )
        slices[key] = slice(len(features), len(features) + len(block))
        features += block
    known = {i for prefix in source.blocks.values() for i in blocks.get(prefix, [])}
    ignored_blocks = {
        prefix: len(columns)
        for prefix, columns in sorted(blocks.items())
        if len(columns) >= _BLOCK and prefix not in source.blocks.values()
    }
    labels: list[str] = []
    ignored: list[str] = []
    for name, i in place.items():
        match = _NUMBERED.fullmatch(name)
        if i in known or (match and match[1] in ignored_blocks):
            continue
        if name not in IDENTIFIERS:
            # pandas writes its row number as a column without a name.
            (ignored if not name or name.startswith("Unnamed:") else labels).append(name)
    extra = [g.column for g in source.subgroups.values() if g.column not in labels]
    for name, group in source.subgroups.items():
        if group.column not in place:
            raise InputError(
                f"the column `{group.column}` of subgroup `{name}` is absent",
                where=f"{where}, line 1",
                hint=nearest(group.column, place),
            )
    texts = [name for name in labels if name not in NUMERIC]
    # A subgroup's column may also be a feature; a field is parsed once, so its code is then taken from there.
    texts += sorted({name for name in extra if place[name] not in features})
    numbers = [name for name in labels if name in NUMERIC]
    used = [names[i] for i in features] + numbers + texts + ["haim_id", "img_id"]
    if twice := sorted({name for name, n in Counter(names).items() if n > 1} & set(used)):
        raise InputError(f"column `{twice[0]}` stands twice in the header", where=f"{where}, line 1")
    layout = Layout(
        tuple(names), tuple(features), tuple(place[n] for n in numbers), tuple(place[n] for n in texts)
    )
    return Plan(layout, slices, tuple(labels), dict(source.subgroups), ignored, ignored_blocks)


def _blocks(place: dict[str, int]) -> dict[str, list[int]]:
    """Prefix -> the columns named the prefix and a number, by that number."""
    found: dict[str, list[tuple[int, int]]] = {}
    for name, i in place.items():
        if match := _NUMBERED.fullmatch(name):
            found.setdefault(match[1], []).append((int(match[2]), i))
    return {prefix: [i for _, i in sorted(columns)] for prefix, columns in found.items()}
