"""Files generated from the schema of a bundle: JSON schema, and the table of docs/bundle.md.

Run ``python -m m3h_pipeline.bundle.generate`` after changing a model; a test fails where they have drifted.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel

from m3h_pipeline.bundle.schema import Description

_DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
_START: Final = "<!-- keys: python -m m3h_pipeline.bundle.generate -->\n"
_END: Final = "<!-- end -->"


def generated() -> dict[Path, str]:
    """Every generated file with its text."""
    page = (_DOCS / "bundle.md").read_text(encoding="utf-8")
    before, _, rest = page.partition(_START)
    _, _, after = rest.partition(_END)
    schema = json.dumps(Description.model_json_schema(), indent=1, ensure_ascii=False) + "\n"
    return {
        _DOCS / "bundle.md": f"{before}{_START}{table()}{_END}{after}",
        _DOCS / "bundle.schema.json": schema,
    }


def table() -> str:
    """The keys of ``bundle.json`` for people."""
    rows = [f"| `{key}` | {text} |" for key, text in _rows(Description, "")]
    return "\n".join(["| key | holds |", "|---|---|", *rows]) + "\n"


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        inner, among = _section(field.annotation)
        key = f"{prefix}{name}{among}"
        yield key, (field.description or "").replace("|", "\\|")
        if inner is not None:
            yield from _rows(inner, f"{key}.")


def _section(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The part of the description that an annotation holds, and how it is reached: ``.<name>``, ``[]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        found = [_section(one) for one in arguments if one is not type(None)]
        return found[0] if len(found) == 1 else (None, "")
    if origin is dict:
        inner, among = _section(arguments[1])
        return inner, (f".<name>{among}" if inner else "")
    if origin is list:
        inner, among = _section(arguments[0])
        return inner, (f"[]{among}" if inner else "")
    return None, ""


def main() -> None:
    """Write the files."""
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
