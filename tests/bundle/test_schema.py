"""The description of a bundle: generated files, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from m3h_pipeline.bundle.generate import generated
from m3h_pipeline.bundle.load import Bundle
from m3h_pipeline.bundle.schema import VERSION, described
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import read_json, write_json

SMALL: dict[str, Any] = {
    "format": "m3h-bundle",
    "version": VERSION,
    "study": "s",
    "seed": 1,
    "purpose": {},
    "who": {"samples": {}, "patients": {}, "subgroups": {}},
    "reading": {
        "kind": "table",
        "sources": {"labs": {"names": ["crp"], "units": ["mg/l"], "zero_is_missing": False}},
    },
    "modalities": {"labs": ["labs"]},
    "tasks": {},
    "files": {},
    "versions": {},
    "digests": {},
}


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_a_generated_file_has_not_drifted(path: Path) -> None:
    assert path.read_text() == generated()[path], "run: python -m m3h_pipeline.bundle.generate"


def test_every_key_says_what_it_holds() -> None:
    page = next(text for path, text in generated().items() if path.suffix == ".md")
    assert "|  |" not in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "other"}, "this is no bundle"),
        ({"version": VERSION + 1}, f"of version {VERSION + 1}, and this program reads up to {VERSION}"),
        ({"version": True}, "does not say its version"),
        ({"version": "1"}, "does not say its version"),
        ({"extra": 1}, "extra"),
        ({"reading": SMALL["reading"] | {"version": 99}}, "reading is of version 99"),
        ({"seed": None}, "seed"),
        ({"who": {"samples": {}}}, "who.patients"),
    ],
)
def test_what_is_no_bundle_of_this_version_is_refused(change: dict[str, Any], said: str) -> None:
    described(SMALL, "b")
    with pytest.raises(InputError, match=said):
        described(SMALL | change, "b")


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no bundle"):
        Bundle.load(tmp_path)


def test_a_file_outside_the_folder_is_refused(tmp_path: Path) -> None:
    file = {"sha256": "0" * 64, "bytes": 0, "holds": "network"}
    write_json(SMALL | {"files": {"../x.safetensors": file}}, tmp_path / "bundle.json")
    with pytest.raises(InputError, match="outside its folder"):
        Bundle.load(tmp_path)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("reading.source.files", 3, "files"),
        ("reading.source.subgroups", {"ward": 1e308}, "subgroups"),
        ("reading.sources.lab.parts.0.file", 7, "names a file that there is not"),
        ("modalities.tabular", ["person", "genes"], "has no source `genes`"),
        ("tasks.sick.chosen", "none", "there is no candidate `none`"),
        ("tasks.sick.calibrator.map", None, "the calibrator has no map"),
        ("tasks.stay.calibrator.map.weights", [1.0, 2.0], "more or fewer than what they weigh"),
        ("tasks.death.calibrator.map.intercepts", [0.5], "more or fewer than what they weigh"),
        ("tasks.death.calibrator.map.told", [[True]], "more or fewer than what they weigh"),
        ("files", {}, "has no file of a"),
    ],
)
def test_what_does_not_hold_together_is_refused(bundle: Bundle, place: str, value: Any, said: str) -> None:
    content = read_json(bundle.folder / "bundle.json")
    described(content, "b")
    *folders, last = place.split(".")
    at: Any = content
    for key in folders:
        at = at[int(key)] if isinstance(at, list) else at[key]
    at[last] = value
    with pytest.raises(InputError, match=said):
        described(content, "b")


@pytest.mark.parametrize(
    ("members", "blend", "said"),
    [
        (["theirs", "theirs"], {"weights": [1, 1], "intercepts": [0]}, "a blend of what is no single model"),
        (["mixed", "mixed"], {"weights": [1, 1], "intercepts": [0]}, "a blend of what is no single model"),
        (["{0}", "{0}"], None, "has no weights"),
        (["{0}", "{0}"], {"weights": [1], "intercepts": [0]}, "more or fewer than what they weigh"),
    ],
)
def test_a_blend_is_of_models_that_are_there(
    bundle: Bundle, members: list[str], blend: dict[str, Any] | None, said: str
) -> None:
    content = read_json(bundle.folder / "bundle.json")
    candidates = content["tasks"]["sick"]["candidates"]
    plain = next(name for name, one in candidates.items() if one["kind"] != "blend")
    named = [name.format(plain) for name in members]
    candidates["mixed"] = {"kind": "blend", "members": named, "blend": blend}
    with pytest.raises(InputError, match=said):
        described(content, "b")
