"""The verb ``report``, for people: which study is meant, and what its record says."""

from __future__ import annotations

from pathlib import Path

from m3h_pipeline.record import read_record
from m3h_pipeline.report.stage import write_report
from m3h_pipeline.status.named import named


def report(study: str | None, out: Path | None = None) -> Path:
    """Write the report of a finished study, and say where it is.

    Args:
        study: configuration, results or name; None: the only or the default one.
        out: the file; None: where the layout has it.

    Raises:
        InputError: there is no such study, it is not finished, or a table is damaged.
        ContractError: a table does not follow its schema.
    """
    layout = named(study).layout
    written = out or layout.report
    write_report(layout, read_record(layout), written)
    return written
