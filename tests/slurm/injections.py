"""Kill a study in many ways while it trains on a cluster, go on, and compare with an undisturbed run.

    python -m tests.slurm.injections --seed 1 --document docs/resilience.md

An *episode* runs one study on a fresh copy of what stands before training, and injects faults of one kind at
seeded random moments. After each fault it is checked that nothing half-written stands under a final name and
that the store of finished fits only grew. At the end of the episode all tables must equal those of the
undisturbed run (float64: identical), and no fit may be in the store twice: no finished stack was trained
again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from tests.slurm.cluster import Cluster
from tests.slurm.studies import SMALL, command, differences, prepare, snakemake, with_project, write_study

#: Half a minute of training per round in stacks of one to two seconds, two jobs at a time.
STUDY = {
    **SMALL,
    "study": "killed",
    "tasks": {"include": ["heart_failure", "copd", "length_of_stay", "phenotype"], "min_per_fold": 2},
    "training": {"epochs": 150, "batch_sizes": [64], "learning_rates": [1e-3]},
    "compute": {"stack": 4, "device": "cpu", "precision": "float64"},
    "search": {"beam": 1, "max_size": 2, "combinations_per_job": 5},
    "tim": {"replicates": 5, "draws": 50},
}
#: A third of the training, for tests.
SHORT = {
    **STUDY,
    "training": {"epochs": 100, "batch_sizes": [64], "learning_rates": [1e-3]},
    "tim": {"replicates": 3, "draws": 50},
}
TARGET = "results/killed/selection.parquet"
#: Seconds until an episode is given up.
_LIMIT = 900
#: How often each kind is injected when nothing else is said.
COUNTS = {"training job": 20, "snakemake": 5, "node": 2, "scancel": 2, "time limit": 2}


@dataclass
class Injection:
    """A fault and what came of it.

    Attributes:
        kind: what was done.
        after: seconds after the training process had started.
        stored: fits in the store at that moment.
        lost: seconds of training that were not in the store: since the last stack was stored.
        checks: what was wrong right afterwards; empty: nothing.
    """

    kind: str
    after: float
    stored: int
    lost: float
    checks: list[str] = field(default_factory=list)


@dataclass
class Episode:
    """Faults of one kind in one run of the study, and how it compares with the undisturbed run."""

    kind: str
    injections: list[Injection]
    fits: int
    trained_twice: int
    longest_stack: float
    differences: list[str]
    seconds: float

    @property
    def sound(self) -> bool:
        """Whether nothing was lost, damaged or different."""
        return not (self.differences or self.trained_twice or any(i.checks for i in self.injections))


class Bench:
    """The undisturbed run, and copies of the state before training."""

    def __init__(self, folder: Path, study: Mapping[str, Any] = STUDY) -> None:
        self.folder = folder
        self.study = write_study(folder / "study.yaml", study)
        self.reference = folder / "undisturbed"

    def prepare(self) -> None:
        """Run the study undisturbed, on this machine."""
        if self.reference.exists():
            return
        split = "results/killed/split.parquet"
        configured = ("--cores", "2", "--configfile", str(self.study))
        # Labels, split and audit first: the state that episodes start from.
        for target in ((split, "results/killed/labels/tasks.json"), (TARGET,)):
            run = snakemake(self.reference, os.environ, *target, *configured)
            if run.status:
                raise RuntimeError(run.output[-3000:])
            if target[0] == split:
                shutil.copytree(self.reference, self.folder / "start", symlinks=True)

    def episode_folder(self, name: str) -> Path:
        """A copy of the state before training."""
        folder = self.folder / re.sub(r"\W", "_", name)
        shutil.copytree(self.folder / "start", folder, symlinks=True)
        return prepare(folder)


def training_processes(folder: Path) -> list[psutil.Process]:
    """The running ``m3h train-pack`` of a working folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = process.cmdline()
            if "train-pack" in line and "python" in line[0] and Path(process.cwd()) == folder:
                found.append(process)
    return found


def stored_keys(results: Path) -> Counter[str]:
    """Fits in the store, and how often."""
    keys: Counter[str] = Counter()
    for path in (results / "search/store").glob("*.parquet"):
        keys.update(pq.read_table(path, columns=["fit_key"])["fit_key"].to_pylist())
    return keys


def half_written(results: Path) -> list[str]:
    """Tables under their final names that cannot be read to their end."""
    wrong = []
    for path in results.rglob("*.parquet"):
        if path.name.startswith("."):
            continue
        try:
            pq.ParquetFile(path, page_checksum_verification=True).read()
        except FileNotFoundError:
            continue  # The scheduler removes the outputs of failed jobs.
        except (OSError, ValueError) as error:
            wrong.append(f"{path.name}: {error}")
    return wrong


class Watched:
    """A study that runs on the cluster while faults are injected."""

    def __init__(self, cluster: Cluster, bench: Bench, folder: Path, seed: int) -> None:
        self.cluster, self.bench, self.folder = cluster, bench, folder
        self.results = folder / "results/killed"
        self.random = random.Random(seed)
        self.log = (folder / "snakemake.out").open("ab")
        self.process: subprocess.Popen[bytes] | None = None
        self.deadline = time.monotonic() + _LIMIT
        self.seen: Counter[str] = Counter()

    def arguments(self, *more: str) -> list[str]:
        options = ("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1")
        wait = ("--latency-wait", "20", "--retries", "0", "--configfile", str(self.bench.study))
        return command(TARGET, "--profile", "slurm", *options, *wait, *more)

    def start(self) -> None:
        """Start Snakemake, after taking away the lock that a killed one leaves."""
        environment = with_project(self.cluster.environment)
        unlock = subprocess.run(
            self.arguments("--unlock"), cwd=self.folder, env=environment, stdout=self.log, stderr=self.log,
            timeout=60, check=False,
        )  # fmt: skip
        assert unlock.returncode == 0
        self.process = subprocess.Popen(
            self.arguments(),
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def running(self) -> bool:
        """Whether the study is not done; where a fault has ended Snakemake, it is started again."""
        assert self.process is not None
        if time.monotonic() > self.deadline:
            self.end()
            raise TimeoutError(f"the episode did not end within {_LIMIT} s; see {self.log.name}")
        status = self.process.poll()
        if status:
            self.start()
        return status != 0

    def trainings(self) -> Iterator[psutil.Process]:
        """A training process to disturb, again and again, until the study is done."""
        while self.running():
            processes = training_processes(self.folder)
            if processes:
                yield self.random.choice(processes)
            time.sleep(0.1)

    def inject(self, kind: str, act: Callable[[psutil.Process], None], spread: float) -> Injection | None:
        """Do ``act`` to a training at a random moment of its first ``spread`` seconds; None: too late."""
        for process in self.trainings():
            try:
                age = time.time() - process.create_time()
                moment = self.random.uniform(0, spread)
                time.sleep(max(0.0, moment - age))
                if not process.is_running():
                    continue
                now, began = time.time(), process.create_time()
                segments = [p.stat().st_mtime for p in (self.results / "search/store").glob("*.parquet")]
                act(process)
            except (psutil.Error, FileNotFoundError):
                continue
            keys = stored_keys(self.results)
            wrong = half_written(self.results)
            if gone := self.seen.keys() - keys.keys():
                wrong.append(f"{len(gone)} fits vanished from the store")
            self.seen = keys
            lost = now - max([began, *(t for t in segments if t >= began)])
            return Injection(kind, now - began, len(keys), lost, wrong)
        return None

    def end(self) -> None:
        """Leave nothing running."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.cluster.call("scancel", "--me", check=False)
        self.log.close()


def slurm_job_of(cluster: Cluster, process: psutil.Process) -> tuple[str, str]:
    """SLURM's number of a training process's job, and its node."""
    job = process.environ()["SLURM_JOB_ID"]
    node = next(j["NodeList"] for j in cluster.jobs() if j["JobId"] == job)
    return job, node


def kill_tree(process: psutil.Process) -> None:
    """SIGKILL a process and all it has started."""
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            one.kill()


def node_death(cluster: Cluster) -> Callable[[psutil.Process], None]:
    """The slurmd of a node, its job steps and their processes die at once; the node is back after 25 s."""

    def act(process: psutil.Process) -> None:
        _, node = slurm_job_of(cluster, process)
        mine = {
            j["JobId"] for j in cluster.jobs() if j.get("NodeList") == node and j["JobState"] == "RUNNING"
        }
        cluster.kill_node(node)
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                title = " ".join(one.cmdline())
                if any(title.startswith(f"slurmstepd: [{job}.") for job in mine):
                    kill_tree(one)
        time.sleep(25)
        cluster.start_node(node)

    return act


def time_limit(cluster: Cluster) -> Callable[[psutil.Process], None]:
    """The time that the job was given is over."""

    def act(process: psutil.Process) -> None:
        job, _ = slurm_job_of(cluster, process)
        cluster.call("scontrol", "update", f"JobId={job}", "EndTime=now")
        deadline = time.monotonic() + 120
        while process.is_running() and time.monotonic() < deadline:
            time.sleep(0.1)

    return act


def run_episode(
    cluster: Cluster, bench: Bench, kind: str, count: int, seed: int, spread: float = 12.0
) -> Episode:
    """Inject ``count`` faults of one kind into one run, in the first ``spread`` seconds of a training."""
    started = time.monotonic()
    folder = bench.episode_folder(f"{kind} {seed}")
    watched = Watched(cluster, bench, folder, seed)

    def kill_snakemake(_: psutil.Process) -> None:
        assert watched.process is not None
        os.killpg(watched.process.pid, signal.SIGKILL)
        watched.process.wait()
        watched.start()

    def scancel(process: psutil.Process) -> None:
        cluster.call("scancel", slurm_job_of(cluster, process)[0])

    acts: dict[str, Callable[[psutil.Process], None]] = {
        "training job": lambda process: process.send_signal(signal.SIGKILL),
        "snakemake": kill_snakemake,
        "node": node_death(cluster),
        "scancel": scancel,
        "time limit": time_limit(cluster),
    }
    injections: list[Injection] = []
    try:
        watched.start()
        while len(injections) < count:
            injection = watched.inject(kind, acts[kind], spread)
            if injection is None:
                break
            injections.append(injection)
        while watched.running():
            time.sleep(0.2)
    finally:
        watched.end()
    found = differences(bench.reference / "results/killed", watched.results)
    keys = stored_keys(watched.results)
    longest = longest_stack(watched.results)
    twice = sum(n - 1 for n in keys.values())
    return Episode(kind, injections, len(keys), twice, longest, found, time.monotonic() - started)


def longest_stack(results: Path) -> float:
    """Seconds of the stack that took longest."""
    sums = [
        sum(pq.read_table(path, columns=["seconds"])["seconds"].to_pylist())
        for path in (results / "search/store").glob("*.parquet")
    ]
    return max(sums, default=0.0)


def table(episodes: list[Episode], seed: int) -> str:
    """The table of docs/resilience.md."""
    header = (
        "| fault | injected | seconds after the start of training | lost work per fault (median, most) "
        "| longest stack | fits trained again | half-written files | tables that differ |"
    )
    lines = [header, "|---|---|---|---|---|---|---|---|"]
    for e in episodes:
        if not e.injections:
            continue
        lost = sorted(i.lost for i in e.injections)
        after = [i.after for i in e.injections]
        wrong = sum(len(i.checks) for i in e.injections)
        lines.append(
            f"| {e.kind} | {len(e.injections)} | {min(after):.1f} to {max(after):.1f} "
            f"| {lost[len(lost) // 2]:.1f} s, {lost[-1]:.1f} s | {e.longest_stack:.1f} s "
            f"| {e.trained_twice} of {e.fits} | {wrong} | {len(e.differences)} |"
        )
    total = sum(len(e.injections) for e in episodes)
    lines += ["", f"{total} faults, seed {seed}."]
    return "\n".join(lines)


def put_into(page: Path, text: str) -> None:
    """Replace the table of a page."""
    start, end = "<!-- injections -->\n", "<!-- /injections -->"
    before, _, rest = page.read_text().partition(start)
    page.write_text(before + start + text + "\n" + end + rest.partition(end)[2])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=list(COUNTS), default=list(COUNTS))
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder if not given")
    parser.add_argument("--document", type=Path, help="the page whose table is replaced")
    options = parser.parse_args()
    # As on Ctrl-C, so that nothing is left running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = options.folder or Path(tempfile.mkdtemp(prefix="m3h_injections_"))
    bench = Bench(folder)
    bench.prepare()
    episodes = []
    with Cluster(folder / "lab", accounting=True) as cluster:
        for kind in options.kinds:
            left, seed = COUNTS[kind], options.seed
            # A run ends when its training does: what is left goes into another one.
            while left > 0 and seed < options.seed + 5:
                episode = run_episode(cluster, bench, kind, left, seed)
                episodes.append(episode)
                left, seed = left - len(episode.injections), seed + 1
                sys.stdout.write(f"{kind}: {len(episode.injections)} in {episode.seconds:.0f} s, ")
                sys.stdout.write(f"{'sound' if episode.sound else 'NOT SOUND'}: {episode}\n")
                sys.stdout.flush()
    text = table(episodes, options.seed)
    sys.stdout.write(text + "\n")
    if options.document:
        put_into(options.document, text)
    if options.folder is None:
        shutil.rmtree(folder)
    done = {kind: sum(len(e.injections) for e in episodes if e.kind == kind) for kind in options.kinds}
    complete = all(done[kind] == COUNTS[kind] for kind in options.kinds)
    return 0 if complete and all(e.sound for e in episodes) else 1


if __name__ == "__main__":
    sys.exit(main())
