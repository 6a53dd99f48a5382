"""One run at a time writes a study's results, whichever folder and machine it was started on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from m3h_pipeline.errors import InputError
from m3h_pipeline.jobs import running
from m3h_pipeline.jobs.running import SILENCE, Running


def _claim(path: Path, **changes: Any) -> None:
    """Change what the claim says."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results/study/logs/running.json"


def test_the_second_is_told_and_the_third_goes_on(path: Path) -> None:
    first, second = Running(path), Running(path)
    second.look()
    first.begin()
    first.begin()
    first.look()
    with pytest.raises(InputError, match="another run is writing these results"):
        second.look()
    with pytest.raises(InputError, match="another run is writing these results") as caught:
        second.begin()
    assert f"process {os.getpid()} on this machine" in str(caught.value)
    assert str(path.parent.parent) in str(caught.value)
    first.end()
    assert not path.exists()
    second.begin()
    second.end()
    assert list(path.parent.iterdir()) == []


def test_another_process_is_told_until_it_is_dead(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from m3h_pipeline.jobs.running import Running;"
        "Running(Path(sys.argv[1])).begin(); print('begun', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"begun\n"
        with pytest.raises(InputError, match="another run"):
            Running(path).begin()
        other.kill()
    assert path.exists()
    mine = Running(path)
    mine.begin()
    assert json.loads(path.read_text())["process"] == os.getpid()
    mine.end()


def test_a_run_on_another_machine_is_judged_by_its_signs_of_life(path: Path) -> None:
    first = Running(path)
    first.begin()
    _claim(path, machine="another")
    with pytest.raises(InputError, match="on another machine"):
        Running(path).begin()
    late = path.stat().st_mtime - SILENCE - 5
    os.utime(path, (late, late))
    second = Running(path)
    second.begin()
    # What the first leaves behind when it ends after all is the second's.
    first.end()
    assert path.exists()
    second.end()


def test_a_number_that_another_process_has_now_is_no_sign_of_life(path: Path) -> None:
    Running(path).begin()
    _claim(path, since="1")
    second = Running(path)
    second.begin()
    second.end()


def test_a_copied_study_is_free(path: Path, tmp_path: Path) -> None:
    first = Running(path)
    first.begin()
    shutil.copytree(tmp_path / "results", tmp_path / "copy")
    copied = Running(tmp_path / "copy" / path.relative_to(tmp_path / "results"))
    copied.begin()
    copied.end()
    first.end()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"name": 3}'])
def test_a_claim_that_says_nothing_holds_for_a_while(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(InputError, match="another run"):
        Running(path).begin()
    late = path.stat().st_mtime - SILENCE - 5
    os.utime(path, (late, late))
    mine = Running(path)
    mine.begin()
    mine.end()


def test_of_many_that_find_a_dead_run_one_goes_on(path: Path) -> None:
    for _ in range(8):
        dead = Running(path)
        dead.begin()
        _claim(path, since="1")
        runs = [Running(path) for _ in range(8)]
        begun: list[Running] = []
        refused: list[Running] = []

        def begin(run: Running, begun: list[Running] = begun, refused: list[Running] = refused) -> None:
            try:
                run.begin()
                begun.append(run)
            except InputError:
                refused.append(run)

        threads = [threading.Thread(target=begin, args=[run]) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(begun), len(refused)) == (1, 7)
        begun[0].end()
        assert [one.name for one in path.parent.iterdir()] == []


def test_it_shows_signs_of_life(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "BEAT", 0.01)
    mine = Running(path)
    mine.begin()
    os.utime(path, (1, 1))
    for _ in range(500):
        if path.stat().st_mtime > 1:
            break
        threading.Event().wait(0.01)
    assert path.stat().st_mtime > 1
    mine.end()
