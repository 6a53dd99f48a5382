"""What becomes of every column of a study's files: identifier, feature, outcome, or nothing, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from m3h_pipeline.draft import words
from m3h_pipeline.draft.columns import Column, Table
from m3h_pipeline.draft.joins import Meeting
from m3h_pipeline.draft.outcomes import Outcome, is_outcome, outcome_of, pairs

#: So many columns of numbers are written as a pattern, and are a modality of their own.
WIDE = 100
LISTED = 40
_GENE = re.compile(r"[A-Z][A-Z0-9]{1,9}([-.][A-Z0-9]+)?|ENSG[0-9.]+|C[0-9XY]+orf[0-9]+|LOC[0-9]+")


@dataclass
class Block:
    """The features of one file.

    Attributes:
        name: of the source.
        file: number of the file.
        columns: its columns, in order.
        categorical: those of them that are text.
        wide: whether it is a modality of its own.
        genes: whether its columns are genes, by their names.
        exclude: further columns of the file, which a pattern must not take.
    """

    name: str
    file: int
    columns: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    wide: bool = False
    genes: bool = False
    exclude: list[str] = field(default_factory=list)


@dataclass
class Plan:
    """A study as it is drafted.

    Attributes:
        meeting: its files.
        patient: column, or none.
        blocks: features.
        outcomes: tasks.
        later: columns withheld from the features -> why.
        ignored: file number -> column -> why nothing is made of it.
        codes: columns of diagnosis codes within the files.
        version: of ICD, of these.
        subgroups: columns that divide the samples.
        missing_values: texts that mean: not observed.
        limits: columns with values beyond what can be measured.
        doubts: key of the study file -> what the user should look at there.
    """

    meeting: Meeting
    patient: str | None = None
    blocks: list[Block] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    later: dict[str, str] = field(default_factory=dict)
    ignored: dict[int, dict[str, str]] = field(default_factory=dict)
    codes: list[str] = field(default_factory=list)
    version: int = 0
    subgroups: list[str] = field(default_factory=list)
    missing_values: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    doubts: dict[str, list[str]] = field(default_factory=dict)

    def doubt(self, key: str, text: str) -> None:
        """Remember what is doubtful at a key."""
        self.doubts.setdefault(key, []).append(text)


def plan_of(meeting: Meeting) -> Plan:
    """Give every column of the files a use, or none."""
    plan = Plan(meeting)
    files = meeting.files
    _people(plan)
    identifiers = {file.id for file in files} | {file.on for file in files} | {plan.patient}
    rest: list[tuple[int, Column]] = []
    for i, file in enumerate(files):
        plan.ignored[i] = {}
        for column in file.table.columns:
            if column.name in identifiers:
                continue
            why = _useless(column, file.table)
            if why:
                plan.ignored[i][column.name] = why
            elif column.icd and not meeting.codes:
                plan.codes.append(column.name)
                plan.version = column.icd
            else:
                rest.append((i, column))
    left = _predicted(plan, rest)
    plan.blocks = [block for i in range(len(files)) if (block := _block(plan, i, left))]
    used = [column for _, column in left]
    plan.subgroups = [
        c.name for c in used if c.category and words.has(c.name, words.GROUPS) and 2 <= len(c.values) <= 10
    ][:3]
    plan.limits = [column.name for column in used if column.limits]
    plan.missing_values = sorted({value for column in used for value in column.unknown})
    for column in used:
        if column.sentinel:
            plan.doubt(
                "missing_values",
                f'`{column.name}`: does {column.sentinel} mean: not observed? Then add "{column.sentinel}"',
            )
    return plan


def _people(plan: Plan) -> None:
    """Who the patient is."""
    first = plan.meeting.files[0]
    named = [name for name in first.table.ids if words.has(name, words.PATIENTS)]
    others = [name for name in named if name != first.id]
    linked = [file.on for file in plan.meeting.files if file.on is not None]
    if patients := [*(name for name in linked if name in named), *others, *named, *linked]:
        plan.patient = patients[0]
        return
    everywhere = [n for f in plan.meeting.files[1:] for n in f.table.ids if words.has(n, words.PATIENTS)]
    if found := [name for name in everywhere if name not in {f.id for f in plan.meeting.files}]:
        plan.patient = found[0]
        return
    plan.doubt(
        "patient_id",
        "no column names the patient: each row is taken for a patient of its own. If a patient can have "
        "several rows, this must name the column: the split keeps them together",
    )


def _useless(column: Column, table: Table) -> str:
    """Why nothing can be made of a column; empty: something can."""
    if column.repeated and not _genes(table):
        return "its name stands more than once in the header"
    if column.vector:
        return ""
    if not column.observed:
        return "it is empty"
    if column.distinct == 1:
        return "it has one value"
    if _numbering(column):
        return "it numbers the rows"
    if column.dates:
        return "dates are no features; days between two of them would be"
    if column.why:
        return f"its values are no numbers: {column.why}"
    if column.icd:
        return ""
    naming = column.name in table.ids and 2 * column.distinct > column.observed
    if naming and (not column.numeric or words.has(column.name, words.IDS)):
        return "an identifier or free text"
    if not column.numeric and not column.values and 20 * column.distinct > column.observed:
        return "free text, or too many values for categories"
    return ""


def _numbering(column: Column) -> bool:
    """Whether a column counts through the rows, as an index does that was written along with a table."""
    counted = column.numeric and column.whole and column.unique
    return counted and column.rows > 10 and column.high - column.low == column.rows - 1


def _predicted(plan: Plan, rest: Sequence[tuple[int, Column]]) -> list[tuple[int, Column]]:
    """Take outcomes, and what is known only after them, out of the columns; return the others."""
    files = plan.meeting.files
    genes = {i for i, file in enumerate(files) if _genes(file.table)}
    # Among thousands of genes some are called like an outcome; those have numbers.
    open_ = [(i, c) for i, c in rest if i not in genes or not c.numeric or c.distinct <= 2]
    times = pairs([column for _, column in open_])
    timed = {time for time, _ in times.values()}
    opened = {id(column) for _, column in open_}
    left = [(i, c) for i, c in rest if id(c) not in opened]
    ended = False
    for i, column in open_:
        of_outcomes = words.has(Path(files[i].table.path).name, _OF_OUTCOMES)
        sure = is_outcome(column, of_outcomes=of_outcomes)
        if column.name in timed:
            continue
        if column.name in times or sure:
            made = outcome_of(column, sure or "unsure", times.get(column.name))
            if isinstance(made, str):
                plan.later[column.name] = f"seems to be an outcome, but {made}"
            else:
                plan.outcomes.append(made)
                ended = True
        elif words.has(column.name, words.LATER):
            plan.later[column.name] = "seems to be known only afterwards, or to be a prediction itself"
        else:
            left.append((i, column))
    if not ended:
        plan.doubt("tasks", "no column looks like an outcome: name yours in the file of tasks")
    order = {id(column): n for n, (_, column) in enumerate(rest)}
    return sorted(left, key=lambda item: order[id(item[1])])


_OF_OUTCOMES = ("outcome", "label", "endpoint", "target", "response", "followup", "follow_up")


def _is_wide(table: Table) -> bool:
    return sum(column.numeric for column in table.columns) >= WIDE


def _genes(table: Table) -> bool:
    """Whether a table's columns are genes, by their names."""
    names = [column.name for column in table.columns if column.numeric]
    if table.transposed:
        return True
    if len(names) < WIDE or sum(bool(_GENE.fullmatch(name)) for name in names) < 0.6 * len(names):
        return False
    return len({re.sub(r"[0-9]+$", "", name) for name in names}) > len(names) / 10


def _block(plan: Plan, i: int, left: Sequence[tuple[int, Column]]) -> Block | None:
    own = [column for number, column in left if number == i]
    if not own:
        return None
    table = plan.meeting.files[i].table
    coded = [c.name for c in own if c.whole and c.values and len(c.values) > 2 and words.has(c.name, _CODED)]
    for name in coded:
        plan.doubt("blocks", f"`{name}` holds numbers that seem to be codes: one feature per value")
    persons = all(words.has(column.name, words.PERSONS) for column in own)
    name = "person" if persons else words.slug(Path(table.path).name.partition(".")[0])
    known = {block.name for block in plan.blocks}
    block = Block(
        name if name not in known else f"{name}_{i}",
        i,
        [column.name for column in own],
        [c.name for c in own if not (c.numeric or c.vector) or c.name in coded],
        _is_wide(table),
        _genes(table),
        list(plan.ignored[i]),
    )
    if block.genes and any(column.repeated for column in own):
        plan.doubt("blocks", "some genes stand several times: their mean is taken")
    return block


_CODED = ("id", "code", "type", "category", "class", "group")
