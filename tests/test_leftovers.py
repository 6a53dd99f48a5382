"""What a killed run leaves behind goes with the next one; what a living one is writing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from m3h_pipeline.cohort.writer import CohortWriter
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import replacing
from m3h_pipeline.files.leftovers import remove_leftovers, scratch
from tests.conftest import ROOT

KILLED = """
import sys, time
from pathlib import Path
from m3h_pipeline.cohort.writer import CohortWriter
from m3h_pipeline.files import replacing
folder = Path(sys.argv[1])
with CohortWriter(folder / "cohort", {"x": ["a"]}) as writer, replacing(folder / "split.parquet") as part:
    part.write_text("patient 17")
    (writer.staging / "samples.parquet").write_text("patient 17")
    print("there", flush=True)
    time.sleep(60)
"""


def test_the_next_ingestion_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    call = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, cwd=ROOT) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "there\n"
        left = {path.name.split(".")[1] for path in tmp_path.iterdir()}
        assert left == {"cohort", "split"}
        # While it runs, nothing of it is touched.
        remove_leftovers(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
        run.send_signal(signal.SIGKILL)
    (tmp_path / ".mine").write_text("no leftover")
    with CohortWriter(tmp_path / "cohort", {"x": ["a"]}) as writer:
        assert {path.name for path in tmp_path.iterdir()} == {".mine", writer.staging.name}
    assert [path.name for path in tmp_path.iterdir()] == [".mine"]


def test_what_another_machine_left_stays_for_a_week(tmp_path: Path) -> None:
    other = tmp_path / ".split.parquet.00000000-1.abc.part"
    other.write_text("patient 17")
    remove_leftovers(tmp_path)
    assert other.exists()
    week = time.time() - 8 * 24 * 3600
    os.utime(other, (week, week))
    remove_leftovers(tmp_path, tmp_path / "absent")
    assert not other.exists()


def test_a_scratch_folder_leaves_no_trace(tmp_path: Path) -> None:
    with scratch(tmp_path / "results", "check") as folder:
        (folder / "samples.parquet").write_text("patient 17")
        assert folder.parent == tmp_path / "results"
    assert list(tmp_path.iterdir()) == []
    with replacing(tmp_path / "kept") as part:
        part.write_text("a result")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("name", ["x" * 400, "x" * 200 + "/" + "y" * 400])
def test_a_scratch_folder_that_cannot_be_made_is_said(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(InputError, match="cannot write: File name too long"),
        scratch(tmp_path / name, "check"),
    ):
        raise AssertionError("it was made")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
