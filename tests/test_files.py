"""Files of a study: what is written is read back, what breaks a contract is refused, no file is half made."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from m3h_pipeline.contracts import SURVIVAL_LABELS, TIM, samples_schema
from m3h_pipeline.errors import ContractError, InputError
from m3h_pipeline.files import (
    check_schema,
    read_features,
    read_json,
    read_labels,
    read_samples,
    read_table,
    replacing,
    write_features,
    write_json,
    write_labels,
    write_table,
    writing,
)

SCHEMA = pa.schema([pa.field("task", pa.string(), nullable=False), pa.field("n", pa.int64())])
FLOATS = st.floats(width=32, allow_infinity=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@given(x=hnp.arrays(np.float32, st.tuples(st.integers(0, 7), st.integers(1, 5)), elements=FLOATS))
@settings(max_examples=40, deadline=None)
def test_features_are_read_as_written(x: npt.NDArray[np.float32], folder: Path) -> None:
    names = [f"feature {i}" for i in range(x.shape[1])]
    write_features(x, names, folder / "x.parquet")
    back, back_names = read_features(folder / "x.parquet")
    assert back_names == names
    assert back.dtype == np.float32
    assert back.tobytes() == x.tobytes()


@pytest.mark.parametrize("problem_class", ["binary", "survival"])
@given(y=hnp.arrays(np.float32, st.integers(0, 7), elements=FLOATS))
@settings(max_examples=40, deadline=None)
def test_labels_are_read_as_written(y: npt.NDArray[np.float32], folder: Path, problem_class: str) -> None:
    """Signed times as well: a time of 0 is an event or censored."""
    write_labels(y, folder / "y.parquet", {"id": "a", "problem_class": problem_class})
    back, description = read_labels(folder / "y.parquet")
    assert description == {"id": "a", "problem_class": problem_class}
    np.testing.assert_array_equal(back, y)
    known = ~np.isnan(y)
    np.testing.assert_array_equal(np.signbit(back[known]), np.signbit(y[known]))


@pytest.mark.parametrize(
    ("y", "time", "said"),
    [
        (0.5, 1.0, "neither 0 nor 1"),
        (1.0, -1.0, "negative or infinite"),
        (1.0, np.inf, "negative or infinite"),
    ],
)
def test_survival_labels_that_make_no_sense_are_refused(
    y: float, time: float, said: str, tmp_path: Path
) -> None:
    schema = SURVIVAL_LABELS.with_metadata({"task": '{"problem_class": "survival"}'})
    write_table(pa.table({"y": [y], "time": [time]}, schema=schema), tmp_path / "y.parquet")
    with pytest.raises(ContractError, match=said) as refused:
        read_labels(tmp_path / "y.parquet")
    assert str(tmp_path / "y.parquet") in str(refused.value)


def test_columns_come_in_the_order_of_the_schema() -> None:
    table = pa.table({"n": pa.array([1, None]), "task": ["a", "b"]})
    assert check_schema(table, SCHEMA, "here").column_names == ["task", "n"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pa.table({"task": ["a"]}), "missing: n"),
        (pa.table({"task": ["a"], "n": [1], "m": [1]}), "unknown column.*: m"),
        (pa.table({"task": ["a"], "n": [1.0]}), "`n` is double, not int64"),
        (pa.table({"task": pa.array([None], pa.string()), "n": [1]}), "`task` has 1 empty"),
    ],
)
def test_a_table_that_breaks_its_contract_is_neither_written_nor_read(
    table: pa.Table, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ContractError, match=said):
        write_table(table, tmp_path / "written.parquet", SCHEMA)
    assert not list(tmp_path.iterdir())
    write_table(table, tmp_path / "read.parquet")
    with pytest.raises(ContractError, match=said) as refused:
        read_table(tmp_path / "read.parquet", SCHEMA)
    assert str(tmp_path / "read.parquet") in str(refused.value)


def test_a_table_of_a_study_that_another_version_wrote_says_how_it_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "results/default/tim/tim.parquet"
    path.parent.mkdir(parents=True)
    older = [name for name in TIM.names if name not in {"task_control", "companion_control"}]
    write_table(TIM.empty_table().select(older), path)
    with pytest.raises(ContractError, match="missing: companion_control, task_control") as refused:
        read_table(path, TIM)
    assert str(path) == refused.value.where
    assert "another version" in str(refused.value)
    assert "run `snakemake` on its study; rule `tim` makes it again" in str(refused.value)
    # A table that no rule makes was written by somebody else.
    write_table(TIM.empty_table().select(older), tmp_path / "mine.parquet")
    with pytest.raises(ContractError) as refused:
        read_table(tmp_path / "mine.parquet", TIM)
    assert refused.value.hint is None


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["b", "a"], "not sorted, or not unique"),
        (["a", "a"], "not sorted, or not unique"),
        (["a", "b"], None),
    ],
)
def test_samples_are_sorted_and_unique(ids: list[str], said: str | None, tmp_path: Path) -> None:
    sex = pa.array(["f", "m"]).dictionary_encode()
    table = pa.table([ids, ["p", "q"], ["s", None], sex], schema=samples_schema(["sex"]))
    write_table(table, tmp_path / "samples.parquet")
    if said is None:
        assert read_samples(tmp_path / "samples.parquet").equals(table)
    else:
        with pytest.raises(ContractError, match=said):
            read_samples(tmp_path / "samples.parquet")


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_json({"a": 1}, tmp_path / "value.json")

    def fail() -> None:
        with replacing(tmp_path / "value.json") as temporary:
            temporary.write_text("half")
            assert temporary.parent == tmp_path, "a rename within one file system is one step"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["value.json"]
    assert read_json(tmp_path / "value.json") == {"a": 1}


def test_json_is_utf8_whatever_the_locale(tmp_path: Path) -> None:
    file = tmp_path / "value.json"
    code = (
        "import sys; from m3h_pipeline.files import read_json, write_json;"
        "write_json({'task': chr(228)}, sys.argv[1]); assert read_json(sys.argv[1]) == {'task': chr(228)}"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code, str(file)], env={**os.environ, **plain}, check=True)
    assert "ä" in file.read_text(encoding="utf-8")


def test_files_are_shared_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_json({}, tmp_path / "value.json")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "value.json").stat().st_mode) == 0o640


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write") as refused:
        write_json({}, tmp_path / "file/value.json")
    assert str(tmp_path / "file/value.json") in str(refused.value)


def test_what_the_system_says_of_writing_becomes_a_message_and_nothing_else_does(tmp_path: Path) -> None:
    def write(error: Exception, *hint: str) -> None:
        with writing(tmp_path / "cohort", *hint):
            raise error

    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(InputError) as refused:
        write(full)
    assert str(refused.value) == (
        f"cannot write: No space left on device\n  where: {tmp_path / 'cohort'}\n"
        "  to do: check the free space and the permissions of the folder"
    )
    assert refused.value.__cause__ is full
    with pytest.raises(InputError, match=r"cannot write: no reason known\n.*\n  to do: look elsewhere"):
        write(OSError("no reason known"), "look elsewhere")
    for other in (InputError("the table is empty"), ValueError("a bug")):
        with pytest.raises(type(other), match=str(other)):
            write(other)


@pytest.mark.parametrize("content", [None, b"PAR1 no more"])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    for read in (read_table, read_json):
        with pytest.raises(InputError) as refused:
            read(path)
        assert str(path) in str(refused.value)
