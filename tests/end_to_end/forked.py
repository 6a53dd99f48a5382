"""Run programs in forks of a process that has loaded the heavy libraries, and none of this package.

A tiny study is dozens of jobs, each of which takes seconds to import torch and a tenth of a second for its
work. A fork imports the package afresh, from whatever `PYTHONPATH` says: what runs is the ordinary verb.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

HEAVY = [
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "pyarrow.compute",
    "pyarrow.csv",
    "torch",
    "safetensors.numpy",
    "pydantic",
    "yaml",
    "numba",
    "scipy.stats",
    "scipy.special",
    "sklearn.linear_model",
    "sklearn.ensemble",
    "sklearn.metrics",
    "sklearn.cluster",
    "sklearn.model_selection",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "threadpoolctl",
    "snakemake.cli",
    "snakemake.workflow",
    "snakemake.api",
    "snakemake.dag",
    "snakemake.scheduling.milp",
]

CLIENT = r"""#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect("\0" + {address!r})
    call = [os.path.basename(sys.argv[0]), sys.argv[1:], os.getcwd(), dict(os.environ)]
    socket.send_fds(s, [b"."], [1, 2])
    s.sendall(json.dumps(call).encode() + b"\n")
    answer = s.makefile().readline()
os._exit(int(answer or 70))
"""


@contextlib.contextmanager
def forked_programs(folder: Path) -> Iterator[Path]:
    """A folder with the programs ``m3h`` and ``snakemake``, for the front of ``PATH``."""
    # A socket's address holds about a hundred characters; folders of tests are longer.
    address = f"m3h-tests-{os.getpid()}-{folder.name}"
    for name in ("m3h", "snakemake"):
        path = folder / name
        path.write_text(CLIENT.format(python=sys.executable, address=address))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-P", str(Path(__file__).resolve()), address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield folder
        finally:
            server.terminate()


def _serve(address: str) -> None:
    for name in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    assert "m3h_pipeline" not in sys.modules
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + address)
        listener.listen(64)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _child(connection)
            connection.close()


def _child(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 2)
    program, arguments, folder, environment = json.loads(connection.makefile().readline())
    status = 1
    try:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for number, descriptor in zip((1, 2), descriptors, strict=True):
            os.dup2(descriptor, number)
        sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
        sys.argv = [program, *arguments]
        module = importlib.import_module({"m3h": "m3h_pipeline.cli", "snakemake": "snakemake.cli"}[program])
        status = module.main(arguments) or 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    with contextlib.suppress(OSError):
        connection.sendall(f"{status}\n".encode())
    os._exit(status)


if __name__ == "__main__":
    _serve(sys.argv[1])
