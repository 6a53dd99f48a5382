"""A real SLURM on this machine: a controller, virtual nodes, one of them with simulated GPUs.

Needs the binaries of Debian's ``PACKAGES`` (SLURM 22.05 or newer) and root: a slurmd starts jobs for others.
Everything is kept in one folder and on 127.0.0.1; nothing of the machine's own SLURM, if it has one, is read
or changed, and nothing is left running (see ``tests.slurm.supervisor``)::

    with Cluster(folder, accounting=True) as cluster:
        subprocess.run(["sinfo"], env=cluster.environment)

Every wait has an end.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

#: Debian packages with the binaries; the last two are needed with accounting.
PACKAGES = (
    "slurmctld",
    "slurmd",
    "slurm-client",
    "slurm-wlm-basic-plugins",
    "munge",
    "slurmdbd",
    "mariadb-server",
)
_BINARIES = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "sacct")
_ACCOUNTING = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb", "mariadb-admin", "mariadb-install-db")
_SBIN = "/usr/sbin:/sbin"
_ROOT = Path(__file__).resolve().parents[2]


def missing(accounting: bool = True) -> str | None:
    """Why no cluster can be started here, in words for people; None: it can."""
    needed = (*_BINARIES, *(_ACCOUNTING if accounting else ()))
    absent = [name for name in needed if shutil.which(name, path=f"{os.environ['PATH']}:{_SBIN}") is None]
    if absent:
        return (
            f"the SLURM tests need {', '.join(absent)}. On Debian or Ubuntu, as root:\n"
            f"  apt-get install --no-install-recommends {' '.join(PACKAGES)}\n"
            "(an executable /usr/sbin/policy-rc.d that exits 101 keeps their services from starting by"
            " themselves)"
        )
    if os.geteuid() != 0:
        return (
            "the SLURM tests start a slurmd, which needs root: run them as root, for instance in a container"
        )
    return None


class ClusterError(RuntimeError):
    """The cluster did not come up, or did not do as told; the message has the ends of its logs."""


class Cluster:
    """A SLURM cluster as a context manager.

    Args:
        folder: an empty or absent folder; keeps configuration, state and logs.
        accounting: with slurmdbd on MariaDB, or without any.
        nodes: number of virtual nodes, ``n1`` to ``n<nodes>``.
        gpus: simulated GPUs of the last node.
        cpus: of each node; more than the machine has are allowed.
        memory_mb: of each node, likewise.

    Attributes:
        environment: what a process needs to talk to this cluster.
    """

    def __init__(
        self,
        folder: Path,
        accounting: bool,
        nodes: int = 4,
        gpus: int = 2,
        cpus: int = 1,
        memory_mb: int = 16000,
    ) -> None:
        self.folder, self.accounting, self.gpus = folder.resolve(), accounting, gpus
        self.nodes = [f"n{i}" for i in range(1, nodes + 1)]
        self._shape = (cpus, memory_mb)
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()
        self._reader: threading.Thread | None = None
        self._ports = dict(
            zip(("slurmctld", "slurmdbd", "mariadb", *self.nodes), _free_ports(), strict=False)
        )
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_", "SRUN_"))},
            "SLURM_CONF": str(self.folder / "etc/slurm.conf"),
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}:{_SBIN}",
        }

    # --- life

    def __enter__(self) -> Self:
        reason = missing(self.accounting)
        if reason:
            raise ClusterError(reason)
        for name in ("etc", "run", "log", "state", "munge", "mysql", "bin", *self.nodes):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End every daemon and every job; harmless when there is nothing to end."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            if process.stdin:
                process.stdin.close()
        try:
            process.wait(45)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        if self._reader is not None:
            self._reader.join(5)
        if process.stdout:
            process.stdout.close()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.slurm.supervisor", str(self.folder)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
            start_new_session=True,
        )
        stdout = self._process.stdout
        assert stdout is not None
        self._reader = threading.Thread(target=lambda: [*map(self._answers.put, stdout)], daemon=True)
        self._reader.start()
        self._write_configuration()
        self._start_munge()
        if self.accounting:
            self._start_accounting()
        self._daemon("slurmctld", "slurmctld", "-D", "-i")
        self._until("slurmctld", lambda: "UP" in self.call("scontrol", "ping", check=False))
        for node in self.nodes:
            self.start_node(node)
        self.until_idle()

    # --- daemons

    def _daemon(self, name: str, *command: str) -> None:
        self._order(do="start", name=name, command=list(command))

    def _order(self, **order: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            answer = self._answers.get(timeout=20).strip()
        except (OSError, queue.Empty) as error:
            raise ClusterError(f"the supervisor does not answer: {order}") from error
        if answer != "ok":
            raise ClusterError(f"{order}: {answer}")

    def start_node(self, node: str) -> None:
        """Start the slurmd of a node (again)."""
        self._daemon(f"slurmd-{node}", "slurmd", "-D", "-N", node)

    def kill_node(self, node: str) -> None:
        """SIGKILL the slurmd of a node; its jobs go on until SLURM finds out."""
        self._order(do="kill", name=f"slurmd-{node}")

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        key = self.folder / "etc/munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        self._daemon(
            "munged",
            *("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"),
            *(f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log"),
            *(f"--seed-file={folder}/seed", "--num-threads=4"),
        )
        self._until("munged", (folder / "munge.socket").is_socket)

    def _start_accounting(self) -> None:
        folder = self.folder / "mysql"
        common = ["--no-defaults", f"--user={getpass.getuser()}", f"--datadir={folder}/data"]
        self.call(
            "mariadb-install-db",
            *common,
            "--auth-root-authentication-method=socket",
            "--skip-test-db",
            timeout=90,
        )
        self._daemon(
            "mariadbd",
            *("mariadbd", *common, f"--socket={folder}/s", f"--pid-file={folder}/pid"),
            *(
                "--bind-address=127.0.0.1",
                f"--port={self._ports['mariadb']}",
                "--innodb-buffer-pool-size=64M",
            ),
            *("--innodb-lock-wait-timeout=900", "--innodb-flush-log-at-trx-commit=2"),
        )
        client = ["--no-defaults", f"--socket={folder}/s"]
        self._until(
            "mariadbd", lambda: "alive" in self.call("mariadb-admin", *client, "ping", check=False), 60
        )
        password = os.urandom(12).hex()
        self.call(
            *("mariadb", *client, "-e"),
            "CREATE DATABASE slurm_acct_db; "
            + "".join(
                f"CREATE USER slurm@'{host}' IDENTIFIED BY '{password}';"
                f"GRANT ALL ON slurm_acct_db.* TO slurm@'{host}';"
                for host in ("127.0.0.1", "localhost")
            ),
        )
        path = self.folder / "etc/slurmdbd.conf"
        path.touch(0o600)
        path.write_text(self._slurmdbd_conf(password))
        self._daemon("slurmdbd", "slurmdbd", "-D")
        self._until("slurmdbd", lambda: self.succeeds("sacctmgr", "-n", "show", "cluster"), 60)
        for what in (("cluster", "lab"), ("account", "lab"), ("user", getpass.getuser(), "account=lab")):
            self.call("sacctmgr", "-i", "add", *what)

    # --- configuration

    def _write_configuration(self) -> None:
        etc = self.folder / "etc"
        (etc / "slurm.conf").write_text(self._slurm_conf())
        # Any device file does: a GPU is only counted here, never used.
        devices = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")[: self.gpus]
        (etc / "gres.conf").write_text(
            f"NodeName={self.nodes[-1]} Name=gpu Count={self.gpus} File={','.join(devices)}\n"
        )
        # The workflow's job steps drop SLURM_CONF and would look for the machine's own configuration.
        srun = self.folder / "bin/srun"
        real = shutil.which("srun")
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={etc}/slurm.conf exec {real} "$@"\n')
        srun.chmod(0o755)

    def _slurm_conf(self) -> str:
        folder, (cpus, memory) = self.folder, self._shape
        host = socket.gethostname().partition(".")[0]
        accounting = ["AccountingStorageType=accounting_storage/none"]
        if self.accounting:
            accounting = [
                "AccountingStorageType=accounting_storage/slurmdbd",
                "AccountingStorageHost=127.0.0.1",
                f"AccountingStoragePort={self._ports['slurmdbd']}",
                # Of this name, but read as the socket of munge.
                f"AccountingStoragePass={folder}/munge/munge.socket",
                "AccountingStoreFlags=job_comment",
                "AccountingStorageTRES=gres/gpu",
                "JobAcctGatherType=jobacct_gather/linux",
                "JobAcctGatherFrequency=5",
            ]
        lines = [
            "ClusterName=lab",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmUser={getpass.getuser()}",
            f"SlurmdUser={getpass.getuser()}",
            "AuthType=auth/munge",
            f"AuthInfo=socket={folder}/munge/munge.socket",
            "CryptoType=crypto/munge",
            f"SlurmctldPort={self._ports['slurmctld']}",
            f"SlurmctldPidFile={folder}/run/slurmctld.pid",
            f"SlurmdPidFile={folder}/run/slurmd-%n.pid",
            f"SlurmctldLogFile={folder}/log/slurmctld.log",
            f"SlurmdLogFile={folder}/log/slurmd-%n.log",
            f"StateSaveLocation={folder}/state",
            f"SlurmdSpoolDir={folder}/%n",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory",
            "SchedulerType=sched/backfill",
            "SchedulerParameters=sched_min_interval=200000,batch_sched_delay=1,bf_interval=5",
            "SwitchType=switch/none",
            "MpiDefault=none",
            "ReturnToService=2",
            "SlurmctldTimeout=60",
            # A dead node is found out within this many seconds.
            "SlurmdTimeout=20",
            "InactiveLimit=0",
            "KillWait=5",
            "OverTimeLimit=0",
            "MinJobAge=3600",
            "GresTypes=gpu",
            "SlurmdParameters=config_overrides",
            *accounting,
        ]
        for node in self.nodes:
            gres = f" Gres=gpu:{self.gpus}" if node == self.nodes[-1] and self.gpus else ""
            lines.append(
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={self._ports[node]} "
                f"CPUs={cpus} RealMemory={memory}{gres} State=UNKNOWN"
            )
        lines.append(f"PartitionName=main Nodes={','.join(self.nodes)} Default=YES MaxTime=INFINITE State=UP")
        return "\n".join(lines) + "\n"

    def _slurmdbd_conf(self, password: str) -> str:
        folder = self.folder
        lines = [
            "AuthType=auth/munge",
            f"AuthInfo=socket={folder}/munge/munge.socket",
            "DbdAddr=127.0.0.1",
            "DbdHost=localhost",
            f"DbdPort={self._ports['slurmdbd']}",
            f"SlurmUser={getpass.getuser()}",
            f"LogFile={folder}/log/slurmdbd.log",
            f"PidFile={folder}/run/slurmdbd.pid",
            "StorageType=accounting_storage/mysql",
            "StorageHost=127.0.0.1",
            f"StoragePort={self._ports['mariadb']}",
            "StorageUser=slurm",
            f"StoragePass={password}",
            "StorageLoc=slurm_acct_db",
        ]
        return "\n".join(lines) + "\n"

    # --- talking to it

    def call(self, *command: str, timeout: float = 15, check: bool = True) -> str:
        """The output of a command, with this cluster's environment.

        Raises:
            ClusterError: it fails, or takes longer than ``timeout`` seconds; only if ``check``.
        """
        try:
            done = subprocess.run(
                command,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as error:
            if not check:
                return ""
            raise ClusterError(f"no end after {timeout} s: {' '.join(command)}") from error
        if check and done.returncode:
            raise ClusterError(f"{' '.join(command)}: {done.stderr or done.stdout}")
        return done.stdout

    def succeeds(self, *command: str) -> bool:
        """Whether a command ends well."""
        try:
            self.call(*command)
        except ClusterError:
            return False
        return True

    def until_idle(self, timeout: float = 60) -> None:
        """Wait until all nodes are up and do nothing."""

        def idle() -> bool:
            states = self.call("sinfo", "-h", "-N", "-o", "%T", check=False).split()
            return len(states) == len(self.nodes) and set(states) == {"idle"}

        self._until("slurmd-" + self.nodes[0], idle, timeout)

    def jobs(self) -> list[dict[str, str]]:
        """The controller's own record of each job: the fields of ``scontrol show job``."""
        blocks = self.call("scontrol", "--oneliner", "--details", "show", "job", check=False).splitlines()
        return [
            dict(part.split("=", 1) for part in block.split() if "=" in part) for block in blocks if block
        ]

    def accounted(self) -> list[dict[str, str]]:
        """The accounting's record of each job."""
        columns = ["JobID", "JobName", "State", "NodeList", "AllocTRES", "ReqTRES", "Comment", "Elapsed"]
        text = self.call("sacct", "-X", "-n", "-P", "-a", "-S", "now-1day", f"--format={','.join(columns)}")
        return [dict(zip(columns, line.split("|"), strict=True)) for line in text.splitlines()]

    def _until(self, name: str, ready: Callable[[], bool], timeout: float = 30) -> None:
        deadline = time.monotonic() + timeout
        while not ready():
            if time.monotonic() > deadline:
                raise ClusterError(f"{name} is not ready after {timeout:.0f} s\n{self.logs()}")
            time.sleep(0.1)

    def logs(self, lines: int = 15) -> str:
        """The ends of all logs."""
        parts = []
        for path in sorted((self.folder / "log").iterdir()):
            text = path.read_text(errors="replace").splitlines()[-lines:]
            if text:
                parts.append("\n".join([f"--- {path.name}", *text]))
        return "\n".join(parts)


def _free_ports(count: int = 16) -> list[int]:
    """Ports that nothing listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
