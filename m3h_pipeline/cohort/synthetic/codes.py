"""ICD-9-CM and ICD-10-CM codes that a synthetic cohort writes, with their official titles.

They stand in ``icd_codes.tsv`` beside this module: what a code stands for, its version, the code without dot
(as in MIMIC-IV), its title. A task's codes are ones that nobody would dispute. ``background`` codes belong to
no task. ``trap`` codes belong to none either, but their titles name a task's disease: family and personal
history, screening, contact, newborn, "without", and other diseases of like name.

Code titles are those that the Centers for Medicare & Medicaid Services and the National Center for Health
Statistics publish, which are in the public domain.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from m3h_pipeline.errors import ContractError

BACKGROUND = "background"
TRAP = "trap"
#: SHA-256 of the table. It stands here because a change of code makes cohorts anew, and a change of a file of
#: data does not: another table must be other code.
TABLE_DIGEST = "72e4ba29319259d5a7dbe526c994c94d3936ae4b242c59a802d8a7410b8e8243"


@dataclass(frozen=True)
class IcdCode:
    """One diagnosis code.

    Attributes:
        kind: a task, :data:`BACKGROUND`, or :data:`TRAP`.
        version: 9 or 10.
        code: without its dot.
        title: the official long title.
    """

    kind: str
    version: int
    code: str
    title: str


@cache
def icd_codes() -> tuple[IcdCode, ...]:
    """Every code of the table, in its order.

    Raises:
        ContractError: the table is another than this module was written for.
    """
    table = files(__package__).joinpath("icd_codes.tsv")
    data = table.read_bytes()
    if (digest := hashlib.sha256(data).hexdigest()) != TABLE_DIGEST:
        raise ContractError(
            "the table of ICD codes is another than the code expects",
            where=str(table),
            hint=f"install the package again; after a wanted change, write {digest} into `TABLE_DIGEST`",
        )
    lines = [line.split("\t") for line in data.decode().splitlines()[1:]]
    return tuple(IcdCode(kind, int(version), code, title) for kind, version, code, title in lines)


def codes_of(kind: str, version: int) -> tuple[IcdCode, ...]:
    """The codes of a kind in one ICD version.

    Examples:
        >>> [item.code for item in codes_of("hiv_aids", 9)]
        ['042']
    """
    return tuple(item for item in icd_codes() if item.kind == kind and item.version == version)
