"""The ledger of the test part: who opened it, when, with which models.

The test part is opened once, or what was found the last time was chosen after a look. So every verb that
reads what models say of it leaves an entry, a file of its own in ``ledger/``: nothing is written over, no
rule makes or removes it, and jobs on several machines need no lock. An entry names no machine and nobody.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

import pyarrow.compute as pc

from m3h_pipeline.contracts import SCORES
from m3h_pipeline.errors import M3HError
from m3h_pipeline.files import read_json, read_table, write_json
from m3h_pipeline.hashes import digest_of, sha256

#: The verbs that open the test part.
OPENING: Final = (
    *("evaluate", "performance", "phenotypes", "missing"),
    *("export-bundle", "gene-pairs", "compare-networks"),
)
#: The fold number of what was trained on the whole training part, and is scored on the test part.
_TEST = -1


def opened(
    ledger: Path,
    verb: str,
    scores: Iterable[Path],
    settings: str,
    screen: TextIO,
    references: Iterable[Path] = (),
    now: datetime | None = None,
) -> int:
    """Enter that a verb opens the test part, and say so if it did before with other models.

    Args:
        ledger: folder of the entries.
        verb: that opens it.
        scores: SCORES whose fits of the whole training part are the models.
        settings: what the verb was told, as JSON.
        screen: where to say it.
        references: predictions of the reference models.
        now: when; None: now.

    Returns:
        With how many sets of models the verb has opened the test part, this one included: 1 the first time,
        and as often as the same models are looked at again.

    Raises:
        InputError: a file is absent or unreadable, or the entry cannot be written.
    """
    entry = {
        "time": (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "verb": verb,
        "models": digest_of(sorted(_models(scores))),
        "references": digest_of(sorted(sha256(path) for path in references)),
        "settings": digest_of(settings),
    }
    name = f"{entry['time'].replace(':', '')}-{verb}-{secrets.token_hex(8)}.json"
    write_json(entry, Path(ledger) / name)
    looked = looks(ledger, verb)
    if looked > 1:
        screen.write(
            f"{verb}: the test part is opened with set {looked} of models; see {Path(ledger).name}/: what is "
            "found now is found after a look\n"
        )
    return looked


def looks(ledger: Path, verb: str) -> int:
    """With how many sets of models a verb has opened the test part; a damaged entry counts as one."""
    seen = set()
    for path in sorted(Path(ledger).glob(f"*-{verb}-*.json")):
        try:
            entry = read_json(path)
            seen.add((str(entry.get("models")), str(entry.get("references"))))
        except M3HError:
            seen.add((path.name, "damaged"))
    return len(seen)


def openings(ledger: Path) -> dict[str, int]:
    """Verb -> :func:`looks`, of those that opened the test part at all."""
    return {verb: number for verb in OPENING if (number := looks(ledger, verb))}


def _models(scores: Iterable[Path]) -> set[str]:
    """Keys of the fits of the whole training part that were finished: a key says all that made a model."""
    found: set[str] = set()
    for path in scores:
        table = read_table(path, SCORES, ["fit_key", "fold", "status"])
        whole = table.filter((pc.field("fold") == _TEST) & (pc.field("status") == "ok"))
        found.update(whole.column("fit_key").to_pylist())
    return found
