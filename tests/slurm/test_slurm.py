"""A study through ``snakemake --profile slurm`` on a real SLURM, with accounting and without.

Where jobs ran, and what they asked for, is read from the scheduler's own records.
Both clusters, with accounting and without, run a small study; with ``M3H_SLURM_STUDY=default`` the one with
accounting runs the default study.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, ClusterError, missing
from tests.slurm.studies import (
    ROOT,
    SMALL,
    Run,
    differences,
    figures,
    snakemake,
    store,
    write_study,
)

DEFAULT = os.environ.get("M3H_SLURM_STUDY", "small") == "default"


class Both:
    """A study run on this machine and on a cluster."""

    def __init__(self, folder: Path, study: Path, name: str, exact: bool) -> None:
        self.folder, self.study, self.name, self.exact = folder, study, name, exact
        self._local: Run | None = None

    @property
    def local(self) -> Path:
        """Results of the run on this machine, made at the first call."""
        if self._local is None:
            self._local = snakemake(
                self.folder / "local", os.environ, "--cores", "all", "--configfile", str(self.study)
            )
            assert self._local.status == 0, self._local.output[-5000:]
        return self._local.results(self.name)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp("small")
    study = write_study(folder / "study.yaml", SMALL, compute={"precision": "float64"})
    return Both(folder, study, "small", exact=True)


@pytest.fixture(scope="session")
def default(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return Both(tmp_path_factory.mktemp("default"), ROOT / "config/config.yaml", "default", exact=False)


@pytest.fixture(scope="module")
def both(request: pytest.FixtureRequest, cluster: Cluster) -> Both:
    name = "default" if DEFAULT and cluster.accounting else "small"
    found: Both = request.getfixturevalue(name)
    return found


def call(cluster: Cluster, site: Path, folder: Path, *arguments: str) -> Run:
    environment = {**cluster.environment, "M3H_SITE": str(site)}
    return snakemake(folder, environment, *arguments, "--profile", "slurm")


@pytest.fixture(scope="module")
def run(cluster: Cluster, both: Both, quick_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The study on the cluster, as it stands after clone but for the site file."""
    folder = tmp_path_factory.mktemp("on_slurm")
    done = call(cluster, quick_site, folder, "--configfile", str(both.study))
    assert done.status == 0, done.output[-5000:] + cluster.logs()
    return done


def test_tables_equal_those_of_a_local_run(both: Both, run: Run) -> None:
    tolerance = 0.0 if both.exact else 1e-4
    assert differences(both.local, run.results(both.name), tolerance) == []


def rules(comments: list[str]) -> set[str]:
    return {comment.removeprefix("rule_").partition("_wildcards")[0] for comment in comments}


TRAINING = {"train_pack", "train_final"}
COSTLY = {
    *TRAINING,
    "ingest",
    "tim",
    "baselines",
    "evaluate",
    "performance",
    "phenotypes",
    "missing",
    "export_bundle",
}


def test_the_controller_says_where_jobs_ran_and_that_only_training_had_a_gpu(
    cluster: Cluster, run: Run
) -> None:
    jobs = cluster.jobs()
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    assert len({job["NodeList"] for job in jobs}) > 1
    with_gpu = {job["Comment"] for job in jobs if "gpu" in job.get("TresPerJob", "") + job["TRES"]}
    without = {job["Comment"] for job in jobs} - with_gpu
    assert rules(list(with_gpu)) == TRAINING
    assert rules(list(without)) == COSTLY - TRAINING
    # The nodes' own GPUs: only one has any.
    gpu_nodes = {job["NodeList"] for job in jobs if job["Comment"] in with_gpu}
    assert gpu_nodes == {cluster.nodes[-1]}
    # Memory and time are the rules' own; nothing was left to the site's defaults.
    assert all(job["TimeLimit"] not in ("UNLIMITED", "365-00:00:00") for job in jobs)
    assert all(job["MinMemoryNode"].endswith("M") for job in jobs)


def test_the_accounting_says_the_same(cluster: Cluster, run: Run) -> None:
    if not cluster.accounting:
        with pytest.raises(ClusterError, match="accounting storage is disabled"):
            cluster.accounted()
        return
    jobs = cluster.accounted()
    assert {job["State"] for job in jobs} == {"COMPLETED"}
    assert len({job["NodeList"] for job in jobs}) > 1
    with_gpu = [job["Comment"] for job in jobs if "gres/gpu=1" in job["AllocTRES"]]
    assert rules(with_gpu) == TRAINING
    assert len(with_gpu) == sum("train_" in job["Comment"] for job in jobs)
    assert {job["JobID"] for job in jobs} == {job["JobId"] for job in cluster.jobs()}


def test_a_second_call_has_nothing_to_do(cluster: Cluster, both: Both, run: Run, quick_site: Path) -> None:
    before = len(cluster.jobs())
    again = call(cluster, quick_site, run.folder, "--configfile", str(both.study))
    assert again.status == 0, again.output
    assert "Nothing to be done" in again.output
    assert len(cluster.jobs()) == before


def test_figures_are_made_again_byte_identical_and_no_fit_is_touched(
    cluster: Cluster, both: Both, run: Run, quick_site: Path
) -> None:
    results = run.results(both.name)
    before, fits, jobs = figures(results), store(results), len(cluster.jobs())
    for path in (results / "figures").iterdir():
        path.unlink()
    again = call(cluster, quick_site, run.folder, "figures", "--configfile", str(both.study))
    assert again.status == 0, again.output
    assert before
    assert figures(results) == before
    assert fits
    assert store(results) == fits
    assert len(cluster.jobs()) == jobs


def test_a_failed_job_keeps_its_logs_and_the_message_names_them(
    cluster: Cluster, quick_site: Path, run: Run, tmp_path: Path
) -> None:
    """An encoder that cannot be made: training fails on the node, once per attempt."""
    (tmp_path / "my_encoders.py").write_text("class Unmade:\n    def __init__(self): ...\n")
    study = write_study(
        tmp_path / "study.yaml",
        SMALL,
        modalities={"tabular": {"sources": ["demographics"], "encoder": "my_encoders.Unmade"}},
        search={"combinations_per_job": 100},
    )
    target = "results/small/search/round_1/scores.parquet"
    failed = call(cluster, quick_site, tmp_path, target, "--configfile", str(study), "--retries", "1")
    assert failed.status != 0
    jobs = [job for job in cluster.jobs() if job["WorkDir"] == str(tmp_path) and "train" in job["Comment"]]
    assert [job["JobState"] for job in jobs] == ["FAILED", "FAILED"]
    first, second = sorted(jobs, key=lambda job: int(job["JobId"]))
    assert second["TimeLimit"] > first["TimeLimit"]
    assert int(second["MinMemoryNode"][:-1]) == 2 * int(first["MinMemoryNode"][:-1])
    for job in jobs:
        log = Path(job["StdOut"])
        assert log.read_text()
        assert log.name == f"{job['JobId']}.log"
        assert str(log) in failed.output
    assert "my_encoders.Unmade" in failed.output


def test_the_profile_needs_no_site_file_and_no_gpus(cluster: Cluster, run: Run, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study.yaml", SMALL)
    target = "results/small/search/round_1/packs/0000.scores.parquet"
    quick = ("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "1")
    options = ("--slurm-array-jobs", "train_pack", *quick)
    done = snakemake(
        tmp_path, cluster.environment, target, "--profile", "slurm", *options, "--configfile", str(study)
    )
    assert done.status == 0, done.output
    jobs = [job for job in cluster.jobs() if job["WorkDir"] == str(tmp_path)]
    assert jobs
    assert not any("gpu" in job["TRES"] for job in jobs)


def test_training_jobs_as_an_array(cluster: Cluster, run: Run, quick_site: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study.yaml", SMALL, search={"combinations_per_job": 2})
    target = "results/small/search/round_1/scores.parquet"
    array = ("--slurm-array-jobs", "train_pack")
    done = call(cluster, quick_site, tmp_path, target, "--configfile", str(study), *array)
    assert done.status == 0, done.output
    jobs = [job for job in cluster.jobs() if job["WorkDir"] == str(tmp_path) and "train" in job["Comment"]]
    assert len(jobs) > 1
    assert len({job["ArrayJobId"] for job in jobs}) == 1
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}


def test_nothing_is_left_running(tmp_path: Path) -> None:
    """Neither after a failed start nor when the process that holds the cluster is killed."""
    if reason := missing(accounting=False):
        pytest.fail(reason, pytrace=False)

    class Broken(Cluster):
        def _slurm_conf(self) -> str:
            return super()._slurm_conf() + "NoSuchKey=1\n"

    broken = Broken(tmp_path / "broken", accounting=False)
    with pytest.raises(ClusterError), broken:
        pass
    assert processes_of(tmp_path / "broken") == []
    script = (
        "import sys, time; from pathlib import Path; from tests.slurm.cluster import Cluster\n"
        f"with Cluster(Path({str(tmp_path / 'killed')!r}), accounting=False) as c:\n"
        "    c.call('sbatch', '--wrap', 'setsid sleep 1000 & sleep 1000'); time.sleep(1)\n"
        "    print('up', flush=True); time.sleep(1000)\n"
    )
    python = [sys.executable, "-c", script]
    with subprocess.Popen(python, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert processes_of(tmp_path / "killed")
        process.kill()
    deadline = time.monotonic() + 20
    while processes_of(tmp_path / "killed") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes_of(tmp_path / "killed") == []


def processes_of(folder: Path) -> list[str]:
    """Processes whose environment or command line names a cluster's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            text = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in text and int(path.name) != os.getpid():
            found.append(text[:100].decode(errors="replace"))
    return found
