"""The audit of labels: what each task made of every value and code, exact, and as it can be given away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from m3h_pipeline.disclosure import FEW, is_small

#: Columns of ``labels/<task>.audit.tsv``. For a diagnosis, ``code`` is an ICD code of ``version`` and
#: ``title`` its title; without a code, ``title`` says why labels are as ``status`` has it. For other criteria
#: they are a column and one of its values. ``status`` says what became of it, ``by`` which pattern decided.
#: Counts are of the samples' stays and patients, as they are: the table stays with the patients' data.
AUDIT_COLUMNS = ("task", "group", "version", "code", "title", "status", "by", "samples", "stays", "patients")
#: Columns of ``labels/values.tsv``, which the report embeds: the audit without counts, as value by value they
#: add up to those of other tables; values and codes of fewer than 11 patients are one row, :data:`RARE`.
VALUES_COLUMNS = AUDIT_COLUMNS[:7]
#: What stands for all values and codes of few patients that a task made the same of.
RARE: Final = f"other (of {FEW} patients each)"


def values_told(rows: Iterable[Sequence[str]]) -> Iterator[tuple[str, ...]]:
    """Rows of the audit as they can be given away, in their order; those of few patients come last.

    Args:
        rows: of the audit, columns :data:`AUDIT_COLUMNS`, all of one task.

    Examples:
        >>> rows = [["t", "", "", "ward", value, "positive", "", n, n, n] for value, n in
        ...         [("north", "20"), ("attic", "3"), ("cellar", "1")]]
        >>> for row in values_told(rows):
        ...     print(row)
        ('t', '', '', 'ward', 'north', 'positive', '')
        ('t', '', '', '', 'other (of <11 patients each)', 'positive', '')
    """
    rare: dict[tuple[str, str], None] = {}
    for row in rows:
        one = dict(zip(AUDIT_COLUMNS, row, strict=True))
        if is_small(int(one["patients"])):
            rare[one["task"], one["status"]] = None
        else:
            yield tuple(one[name] for name in VALUES_COLUMNS)
    for task, status in rare:
        yield (task, "", "", "", RARE, status, "")
