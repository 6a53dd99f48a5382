"""Bundles and files that somebody has changed: a sentence, and nothing written."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import m3h_pipeline as m3h
from m3h_pipeline.bundle.external import evaluate_files
from m3h_pipeline.bundle.load import Bundle, sha256
from m3h_pipeline.bundle.predict import predict_files
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import read_json, write_json
from tests.bundle.studies import patients

DATA = Path(__file__).parent / "data/version_1"
NETWORK = "networks/127c659282bbd801.safetensors"


def _swapped(folder: Path) -> None:
    """One task's reference in the place of another's, with its digest."""
    mine, theirs = "references/death.linear.safetensors", "references/grade.linear.safetensors"
    shutil.copyfile(folder / theirs, folder / mine)
    content = read_json(folder / "bundle.json")
    content["files"][mine]["sha256"] = sha256(folder / mine)
    write_json(content, folder / "bundle.json", sort_keys=False)


def _cut(folder: Path) -> None:
    (folder / NETWORK).write_bytes((folder / NETWORK).read_bytes()[:100])


def _edited(folder: Path) -> None:
    path = folder / "bundle.json"
    path.write_text(path.read_text().replace("0.", "1.", 1))


#: What is done to a bundle, and what is said of it.
CHANGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a model of another task": (_swapped, "the model is not one of task `death`"),
    "a model cut short": (_cut, "the file is damaged: it is not what was exported"),
    "a number edited": (_edited, "the file is damaged: its content is not what was written"),
    "no JSON": (lambda f: (f / "bundle.json").write_bytes(b"\xff\xfe"), "the file carries no digest"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_bundle_is_refused(name: str, tmp_path: Path) -> None:
    change, said = CHANGED[name]
    folder = tmp_path / "a bundle"
    shutil.copytree(DATA, folder)
    change(folder)
    patients().iloc[:9].to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(InputError, match=said):
        predict_files(Bundle.load(folder), [tmp_path / "new.csv"], tmp_path / "out.csv", stream=io.StringIO())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a bundle", "new.csv"]


#: What is done to a table, and what alone is said of it.
BROKEN: dict[str, tuple[Callable[[pd.DataFrame, Path], object], str]] = {
    "empty": (lambda _, path: path.touch(), "the file is empty"),
    "UTF-16": (lambda t, path: t.to_csv(path, index=False, encoding="utf-16"), "but text in UTF-16"),
    "Latin 1": (
        lambda t, path: t.assign(sex="é").to_csv(path, index=False, encoding="latin-1"),
        "no valid UTF-8",
    ),
    "semicolons": (lambda t, path: t.to_csv(path, index=False, sep=";"), "separated by semicolons"),
    "another case": (
        lambda t, path: t.rename(columns={"age": "AGE "}).to_csv(path, index=False),
        "is `AGE` meant for `age`",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_thing_wrong_is_one_thing_said(name: str, tmp_path: Path) -> None:
    """A file that cannot be opened is not said to be absent, too."""
    write, said = BROKEN[name]
    path = tmp_path / "new.csv"
    write(patients().iloc[:30], path)
    bundle, stream = Bundle.load(DATA), io.StringIO()
    for refused in (
        lambda: predict_files(bundle, [path], tmp_path / "out.csv", stream=stream),
        lambda: evaluate_files(bundle, [str(path)], tmp_path / "out.html", stream=stream),
    ):
        with pytest.raises(InputError, match=said) as caught:
            refused()
        assert "things keep these files" not in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["new.csv"]


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    path, bundle, stream = tmp_path / "new.csv", Bundle.load(DATA), io.StringIO()
    patients().iloc[:30].to_csv(path, index=False)
    for draws in (-1, 0, 1):
        with pytest.raises(InputError, match=f"{draws} draws make no interval"):
            evaluate_files(bundle, [str(path)], tmp_path / "out.html", draws=draws, stream=stream)
    with pytest.raises(InputError, match="has no embeddings of `m3h embed`"):
        predict_files(bundle, [path], tmp_path / "out.csv", embeddings=tmp_path, stream=stream)


def test_no_data_and_what_is_no_table_are_refused(tmp_path: Path) -> None:
    bundle, frame = m3h.load_bundle(DATA), patients().iloc[:20]
    sparse = frame.assign(age=pd.arrays.SparseArray(frame["age"]))
    truths = pd.Series([True, 2.5] * 10, dtype=object, index=frame.index)
    given: list[tuple[Any, str]] = [
        (None, "this is no data: None"),
        (3, "this is no data: 3"),
        ({"new": frame.assign(age=truths)}, "`age` holds truths among other numbers"),
        ({"new": sparse}, "`new` cannot be written as a table"),
    ]
    for data, said in given:
        with pytest.raises(InputError, match=said):
            bundle.predict(data, progress=io.StringIO())
    for names in (3, [1]):
        with pytest.raises(InputError, match="`tasks` is a list of names"):
            bundle.predict({"new": frame}, names)  # type: ignore[arg-type]
