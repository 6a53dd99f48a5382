"""Keeps the daemons of a test cluster, and leaves none of them behind.

A process of its own (``python -m tests.slurm.supervisor FOLDER``) between the tests and the daemons. It is a
*subreaper*: whatever daemons and jobs start becomes its descendant, even what detaches itself, so that it can
end all of it. It obeys lines on its standard input and ends when that is closed, which also happens when the
process of the tests is killed. Daemons die with it (parent death signal), should it be killed itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import psutil

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _die_with_parent() -> None:
    """In a daemon before it runs: a session of its own (no Ctrl-C), and an end with the supervisor's."""
    os.setsid()
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)


class Supervisor:
    """Starts daemons by name, kills them, and ends all of their descendants.

    Args:
        folder: of the cluster; logs and process ids go to ``log/`` and ``run/``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        """Start a daemon in the foreground mode of its own."""
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                preexec_fn=_die_with_parent,
            )
        (self.folder / "run" / f"{name}.supervised").write_text(str(self.daemons[name].pid))

    def kill(self, name: str) -> None:
        """SIGKILL a daemon, and wait until it is gone."""
        self.daemons[name].kill()
        self.daemons[name].wait()

    def end(self) -> None:
        """End everything that descends from this process: politely for some seconds, then not."""
        me = psutil.Process()
        for name in reversed(list(self.daemons)):
            daemon = self.daemons[name]
            with contextlib.suppress(ProcessLookupError):
                daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(10 if name in ("mariadbd", "slurmdbd") else 3)
        deadline = time.monotonic() + 10
        while (rest := _reaped(me)) and time.monotonic() < deadline:
            for process in rest:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            time.sleep(0.05)


def _reaped(me: psutil.Process) -> list[psutil.Process]:
    """Living descendants; the dead ones that were inherited are reaped."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return [p for p in me.children(recursive=True) if _alive(p)]


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def main(folder: Path) -> None:
    """Obey ``{"do": "start"|"kill", "name": ..}`` lines until the input is closed; answer ``ok`` to each."""
    _prctl(_SET_CHILD_SUBREAPER, 1)
    supervisor = Supervisor(folder)

    def stop(*_: object) -> NoReturn:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for line in sys.stdin:
            order = json.loads(line)
            try:
                if order["do"] == "start":
                    supervisor.start(order["name"], order["command"], order.get("environment", {}))
                else:
                    supervisor.kill(order["name"])
                answer = "ok"
            except (OSError, KeyError) as error:
                answer = f"{type(error).__name__}: {error}".replace("\n", " ")
            sys.stdout.write(answer + "\n")
            sys.stdout.flush()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        supervisor.end()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
