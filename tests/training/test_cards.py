"""Several cards on a machine: every job finds one of its own, whatever became of the jobs before it."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from m3h_pipeline.training.device import one_of, own_card

CARDS = ["GPU-a", "GPU-b", "GPU-c"]


def test_jobs_side_by_side_hold_different_cards(tmp_path: Path) -> None:
    with ExitStack() as jobs:
        held = [jobs.enter_context(one_of(CARDS, tmp_path)) for _ in range(4)]
        assert held == [0, 1, 2, None]
    with one_of(CARDS, tmp_path) as index:
        assert index == 0
    with one_of(CARDS, tmp_path / "absent") as index:
        assert index is None


def test_a_job_that_fails_or_is_killed_gives_its_card_back(tmp_path: Path) -> None:
    with pytest.raises(KeyError), one_of(CARDS, tmp_path):
        raise KeyError
    code = f"""
import sys, time
from pathlib import Path
from m3h_pipeline.training.device import one_of
with one_of({CARDS}, Path({str(tmp_path)!r})) as index:
    print(index, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "0\n"
        with one_of(CARDS, tmp_path) as index:
            assert index == 1
        other.send_signal(signal.SIGKILL)
    with one_of(CARDS, tmp_path) as index:
        assert index == 0


def test_the_card_is_the_current_one_while_a_job_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three cards, of which the last is the emptiest: the first three jobs each have their own."""
    chosen: list[int] = []

    class Current:
        def __init__(self, index: int) -> None:
            chosen.append(index)

        def __enter__(self) -> None: ...
        def __exit__(self, *error: object) -> None: ...

    class Properties:
        def __init__(self, index: int) -> None:
            self.uuid = CARDS[index]

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(CARDS))
    monkeypatch.setattr(torch.cuda, "get_device_properties", Properties)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (index, 80))
    monkeypatch.setattr(torch.cuda, "device", Current)
    with ExitStack() as jobs:
        for _ in range(4):
            jobs.enter_context(own_card(torch.device("cuda")))
        jobs.enter_context(own_card(torch.device("cpu")))
    assert chosen == [0, 1, 2, 2]
