"""What the report is made from: the tables of a finished study, read once and checked.

Nothing here opens predictions, labels of patients or the cohort: all that is read are aggregates. What stays
private of a study (``layout.PRIVATE``) is read where it is an aggregate without counts, or through
:mod:`m3h_pipeline.disclosure`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from m3h_pipeline import contracts
from m3h_pipeline.config import Study
from m3h_pipeline.contracts import reported
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import read_json, read_table
from m3h_pipeline.files.makers import again
from m3h_pipeline.layout import EVALUATION_TABLES, Layout
from m3h_pipeline.tasks.assessed import Task, read_assessed

Row = dict[str, Any]

_HERE: Final = Layout(Path())
#: Name of a table -> its path in the results, and its contract.
TABLES: Final[dict[str, tuple[Path, pa.Schema]]] = {
    "selection": (_HERE.selection, contracts.SELECTION),
    "trajectory": (_HERE.trajectory, contracts.TRAJECTORY),
    "search": (_HERE.search_report, contracts.SEARCH_REPORT),
    "tim": (_HERE.tim_table, contracts.TIM),
    "phenotypes": (_HERE.evaluation.phenotypes, contracts.PHENOTYPES),
    "phenotype_scores": (_HERE.evaluation.phenotype_scores, reported.PHENOTYPE_SCORES),
    "missing": (_HERE.evaluation.missing, contracts.MISSING),
    "performance": (_HERE.evaluation.performance, reported.PERFORMANCE),
    "operating_points": (_HERE.evaluation.operating_points, reported.OPERATING_POINTS),
    "confusion": (_HERE.evaluation.confusion, reported.CONFUSION),
    "phenotype_profiles": (_HERE.evaluation.phenotype_profiles, reported.PHENOTYPE_PROFILES),
    "reliance": (_HERE.evaluation.reliance, reported.RELIANCE),
    "subgroups": (_HERE.evaluation.subgroups, reported.SUBGROUPS),
    "flow": (_HERE.evaluation.flow, reported.FLOW),
    "participants": (_HERE.evaluation.participants, reported.PARTICIPANTS),
    **{name: (_HERE.evaluation.table(name), getattr(contracts, name.upper())) for name in EVALUATION_TABLES},
}
#: Metadata of tables that the report reads: table -> name.
_SAID: Final = {"evaluation": "evaluation", "choice": "choice"}


@dataclass(frozen=True)
class Gathered:
    """All that the report shows of a study.

    Attributes:
        study: its configuration.
        tasks: every task that was assessed, dropped ones too, in the study's order.
        tables: name (:data:`TABLES`) -> rows.
        said: ``evaluation``, ``choice`` -> how it was done (``evaluate.py``).
        texts: ``values``, ``prevalence`` and, of a synthetic study, ``planted`` -> rows of these text tables.
        summary: ``cohort/summary.json``.
        provenance: what the study was made from and with (``record.made_from``).
        openings: entries of the ledger of the test part, by time.
        intervals: regression task -> the interval that the bundle says a value with
            (``bundle.schema.Interval``).
    """

    study: Study
    tasks: Mapping[str, Task]
    tables: Mapping[str, tuple[Row, ...]]
    said: Mapping[str, Mapping[str, Any]]
    texts: Mapping[str, tuple[dict[str, str], ...]]
    summary: Mapping[str, Any]
    provenance: Mapping[str, Any]
    openings: tuple[Mapping[str, str], ...] = field(default=())
    intervals: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def learned(self) -> dict[str, Task]:
        """The tasks that can be evaluated."""
        return {name: task for name, task in self.tasks.items() if task.learned}

    def rows(self, table: str, task: str | None = None) -> list[Row]:
        """Rows of a table; of one task, where one is given."""
        if task is None:
            return list(self.tables[table])
        return self._by_task[table].get(task, [])

    def row(self, table: str, task: str) -> Row | None:
        """The row of a table that has one a task."""
        return next(iter(self.rows(table, task)), None)

    def title(self, task: str) -> str:
        """A task's name for people; of a permuted companion (``diabetes~1``) that of its task."""
        name, _, copy = task.partition("~")
        # A link needs a name that can be seen.
        title = (self.tasks[name].title.strip() if name in self.tasks else "") or name
        return f"{title} (permuted)" if copy else title

    @cached_property
    def _by_task(self) -> dict[str, dict[str, list[Row]]]:
        found: dict[str, dict[str, list[Row]]] = {}
        for table, rows in self.tables.items():
            found[table] = {}
            for row in rows:
                found[table].setdefault(str(row.get("task")), []).append(row)
        return found


def gather(layout: Layout, study: Study, provenance: Mapping[str, Any]) -> Gathered:
    """Read what the report shows.

    Args:
        layout: of a finished study.
        study: its configuration.
        provenance: what it was made from and with.

    Raises:
        InputError: the study is not finished, or a table is damaged.
        ContractError: a table does not follow its schema.
    """
    missing = [path for path, _ in TABLES.values() if not (layout.folder / path).is_file()]
    if missing:
        raise InputError(
            f"the study is not finished: {len(missing)} of its {len(TABLES)} tables are missing",
            where=f"{layout.folder}: {', '.join(map(str, missing[:3]))}",
            hint="run `snakemake`, or `m3h status`, which says what remains",
        )
    read = {name: read_table(layout.folder / path, schema) for name, (path, schema) in TABLES.items()}
    texts = {"values": layout.labels.values, "prevalence": layout.labels.prevalence}
    if layout.evaluation.planted.is_file():
        texts["planted"] = layout.evaluation.planted
    return Gathered(
        study=study,
        tasks=read_assessed(layout.labels.tasks),
        tables={name: tuple(table.to_pylist()) for name, table in read.items()},
        said={name: _metadata(read[name], key) for name, key in _SAID.items()},
        texts={name: _text_table(path) for name, path in texts.items()},
        summary=read_json(layout.cohort.summary),
        provenance=provenance,
        openings=_openings(layout.ledger),
        intervals=_intervals(layout.bundle.description),
    )


def _intervals(description: Path) -> dict[str, Mapping[str, Any]]:
    # Who gives results on may leave the models out.
    tasks = read_json(description)["tasks"] if description.is_file() else {}
    return {name: entry["interval"] for name, entry in tasks.items() if entry.get("interval")}


def _metadata(table: pa.Table, name: str) -> dict[str, Any]:
    text = (table.schema.metadata or {}).get(name.encode(), b"{}")
    found: dict[str, Any] = json.loads(text)
    return found


def _text_table(path: Path) -> tuple[dict[str, str], ...]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the table cannot be read: {error}", where=str(path), hint=again(path)) from error
    lines = csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    header, *rows = list(lines) or [[]]
    return tuple(dict(zip(header, row, strict=False)) for row in rows)


def _openings(ledger: Path) -> tuple[Mapping[str, str], ...]:
    """When which verb opened the test part; a damaged entry is said to be one."""
    found = []
    for path in sorted(ledger.glob("*.json")):
        try:
            entry = read_json(path)
        except InputError:
            entry = {"time": path.name.partition("Z-")[0] + "Z", "verb": "damaged entry"}
        found.append({key: str(entry.get(key, "")) for key in ("time", "verb", "models", "settings")})
    return tuple(sorted(found, key=lambda entry: (entry["time"], entry["verb"], entry["settings"])))
