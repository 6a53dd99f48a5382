"""What a study has written is there when the power fails: ``power_loss.c`` loses what was not synced."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from m3h_pipeline.files.durable import make_folder, moved, synced
from m3h_pipeline.files.sealed import SEALED, check_seal
from tests.conftest import ROOT

SHIM = Path(__file__).with_name("power_loss.c")
#: What the package does wrong where it does not sync; the tests below must notice each.
FORGETFUL = {
    "nothing is synced": "durable.synced = lambda path: None",
    "only folders are": "real = durable.synced; durable.synced = lambda p: real(p) if p.is_dir() else None",
    "names of folders are not": "durable._settle = lambda path: None",
    "only files are": "real = durable.synced; durable.synced = lambda p: real(p) if p.is_file() else None",
}


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or sys.platform != "linux":
        pytest.skip("the shim needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("shim") / "power_loss.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
    return library


def _until_the_power_fails(code: str, folder: Path, shim: Path) -> list[str]:
    """Run Python code in a folder; what was lost when it ended."""
    lost = folder.with_name(f"{folder.name}.lost")
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={
            **os.environ,
            "LD_PRELOAD": str(shim),
            "LOST": str(lost),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    said = lost.read_text().splitlines() if lost.exists() else []
    # What others of Python's libraries keep for themselves is no study's.
    return [line for line in said if str(folder) in line or not Path(line.split(" ", 1)[1]).is_absolute()]


PLAIN = """
import os
def write(name, file, folder):
    with open("." + name, "w") as out:
        out.write("content")
        out.flush()
        if file:
            os.fsync(out.fileno())
    os.replace("." + name, name)
    if folder:
        number = os.open(".", os.O_RDONLY)
        os.fsync(number)
write("neither", False, False)
write("folder", False, True)
write("both", True, True)
write("file", True, False)
"""


def test_the_shim_loses_what_was_not_synced(shim: Path, tmp_path: Path) -> None:
    _until_the_power_fails(PLAIN, tmp_path / "plain", shim)
    left = {path.name: path.read_text() for path in (tmp_path / "plain").iterdir()}
    # The first one's name was kept by the sync of the folder for the second.
    assert left == {"neither": "", "folder": "", "both": "content"}


WRITE = """
from pathlib import Path
import numpy as np, pyarrow as pa
from m3h_pipeline.files import durable
{before}
from m3h_pipeline.files import write_features, write_json, write_labels, replacing
from m3h_pipeline.cohort.synthetic.simulate import simulate
from m3h_pipeline.config import SyntheticSource
write_features(np.zeros((3, 2), np.float32), ["a", "b"], Path("deep/er/x.parquet"))
write_labels(np.zeros(3, np.float32), Path("labels/a.parquet"), {{"id": "a"}})
# As Snakemake makes folders for what a job will write.
Path("search/round_1").mkdir(parents=True)
write_json({{"a": 1}}, Path("search/round_1/plan.json"))
write_json({{"a": 1}}, Path("labels/tasks.json"))
with replacing(Path("figures/a.svg")) as temporary:
    temporary.write_text("<svg/>")
simulate(SyntheticSource(samples=200), 1, Path("results/s/input"))
"""
WRITTEN = {
    *("deep/er/x.parquet", "labels/a.parquet", "labels/tasks.json", "figures/a.svg"),
    "search/round_1/plan.json",
    *(f"results/s/input/{name}" for name in ("digests.json", "truth.json", "haim_mimiciv_key_ids.csv")),
}


def _left(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_size
    }


def test_what_is_written_stays(shim: Path, tmp_path: Path) -> None:
    assert _until_the_power_fails(WRITE.format(before=""), tmp_path / "kept", shim) == []
    assert _left(tmp_path / "kept") >= WRITTEN
    for path in (tmp_path / "kept").rglob("*"):
        if path.suffix in SEALED:
            check_seal(path)


@pytest.mark.parametrize("before", FORGETFUL)
def test_a_package_that_forgets_to_sync_is_caught(before: str, shim: Path, tmp_path: Path) -> None:
    lost = _until_the_power_fails(WRITE.format(before=FORGETFUL[before]), tmp_path / "lost", shim)
    assert lost
    assert not _left(tmp_path / "lost") >= WRITTEN


STUDY = """
from pathlib import Path
from m3h_pipeline.config import Study, validate
from tests.end_to_end.in_process import Whole
from tests.end_to_end.small_study import STUDY
small = STUDY | {"tasks": {**STUDY["tasks"], "definitions": [DEFINITIONS]}}
whole = Whole(validate(Study, small, "the study"), Path("results/small"))
whole.run()
whole.draw(["tim", "comparison"])
"""


@pytest.mark.study
def test_a_whole_study_stays(shim: Path, tmp_path: Path) -> None:
    """Every stage by the function of its verb; then the power fails."""
    from tests.end_to_end.small_study import write_inputs

    folder = tmp_path / "study"
    folder.mkdir()
    write_inputs(folder)
    definitions = str(ROOT / "resources/tasks/m3h.yaml")
    assert _until_the_power_fails(STUDY.replace("DEFINITIONS", repr(definitions)), folder, shim) == []
    results = folder / "results/small"
    left = _left(results)
    for name in (
        *("cohort/samples.parquet", "cohort/features/ts_lab.parquet", "cohort/quarantine.tsv"),
        *("split.parquet", "labels/audit.tsv", "search/round_1/plan.json", "search/trajectory.parquet"),
        *("selection.tsv", "tim/tim.parquet", "evaluation/summary.tsv", "figures/tim.svg"),
    ):
        assert name in left
    assert sum(name.startswith("search/store/") for name in left) > 5
    assert any(name.endswith(".safetensors") for name in left)
    for path in results.rglob("*"):
        if path.suffix in SEALED:
            check_seal(path)


def test_a_file_is_synced_before_its_rename_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of the calls, without a shim."""
    calls: list[str] = []
    sync, replace = os.fsync, Path.replace

    def fsync(number: int) -> None:
        path = Path(f"/proc/self/fd/{number}").readlink()
        calls.append(f"sync {path.relative_to(tmp_path) if path.is_relative_to(tmp_path) else path}")
        sync(number)

    def rename(source: Path, target: Path) -> Path:
        calls.append(f"rename {source.relative_to(tmp_path)} {target.relative_to(tmp_path)}")
        return replace(source, target)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no /proc")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", rename)
    (tmp_path / "new/in").mkdir(parents=True)
    (tmp_path / "new/in/file").write_text("x")
    make_folder(tmp_path / "a/b")
    moved(tmp_path / "new", tmp_path / "a/b/new")
    # The names of the folders above are synced too, once.
    made = calls[: len(calls) - 5]
    assert {"sync .", "sync a"} <= set(made)
    assert calls[len(made) :] == [
        *("sync new/in/file", "sync new/in", "sync new", "rename new a/b/new", "sync a/b"),
    ]
    calls.clear()
    make_folder(tmp_path / "a/b")
    assert calls == []


def test_a_folder_that_cannot_be_synced_is_let_be_and_a_broken_disk_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for number, folder_fails in ((22, False), (5, True)):

        def fail(_: int, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match=os.strerror(number)):
            synced(tmp_path / "file")
        if folder_fails:
            with pytest.raises(OSError, match=os.strerror(number)):
                synced(tmp_path)
        else:
            synced(tmp_path)
