"""What two records differ by: inputs, settings, tasks, code, versions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: Where a study lies, and what it is called, is no difference of what it says.
_PLACES = ("study", "results", "data")
#: Longer values are cut on the screen.
_LONG = 60


@dataclass(frozen=True)
class Change:
    """What one study has in one way and the other in another; empty: it has no such thing.

    Attributes:
        section: data, setting, task, code, version.
        name: of what differs.
        a: in the first study.
        b: in the second one.
    """

    section: str
    name: str
    a: str
    b: str


def changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Change]:
    """The differences of two records, in a fixed order."""
    return [
        *_named("data", _inputs(a), _inputs(b)),
        *_named("setting", settings(a["configuration"]), settings(b["configuration"])),
        *_named("size", settings(a.get("sizes") or {}), settings(b.get("sizes") or {})),
        *_named("task", a["definitions"], b["definitions"], "defined otherwise"),
        *_named("code", a["code"], b["code"], "other code"),
        *_named("version", a["versions"], b["versions"]),
    ]


def settings(section: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Every key of a configuration with its value as text, those of sections joined by points.

    Examples:
        >>> settings({"study": "x", "search": {"beam": 3, "rates": [1, 2]}, "networks": None})
        {'search.beam': '3', 'search.rates': '[1, 2]', 'networks': 'null'}
    """
    found: dict[str, str] = {}
    for key, value in section.items():
        if not above and key in _PLACES:
            continue
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            found |= settings(value, f"{name}.")
        else:
            found[name] = json.dumps(value, ensure_ascii=False)
    return found


def _inputs(record: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: f"{entry['bytes']:,} bytes, {entry['sha256'][:12]}" for name, entry in record["inputs"].items()
    }


def _named(section: str, a: Mapping[str, Any], b: Mapping[str, Any], said: str = "") -> Iterator[Change]:
    for name in [*a, *(name for name in b if name not in a)]:
        one, other = a.get(name), b.get(name)
        if one == other:
            continue
        if said:
            texts = [said if name in a and name in b else "there" if name in mine else "" for mine in (a, b)]
            yield Change(section, name, *texts)
        else:
            yield Change(section, name, *("" if v is None else _cut(str(v)) for v in (one, other)))


def _cut(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"
