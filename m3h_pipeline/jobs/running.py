"""One run at a time writes the results of a study, wherever it was started.

Snakemake locks the folder it is started in; two folders may have the same results, on machines that share a
file system. So a run keeps a sign of life beside the results. Locks of the system (``flock``) do not reach
every machine of every shared file system; a file that is created once does, and times are compared by the
clock of the file system alone.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from m3h_pipeline.errors import InputError
from m3h_pipeline.files import writing

#: Seconds between signs of life, and after how many without one a run on another machine counts as dead.
BEAT, SILENCE = 15.0, 120.0
#: Seconds after which a claim that was taken over is sure.
_SETTLED = 0.2


class Running:
    """The claim of this process to the results of a study.

    Args:
        path: the file that claims them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name = uuid.uuid4().hex
        self._process = 0
        self._ended = threading.Event()

    def look(self) -> None:
        """Refuse at once what :meth:`begin` would refuse.

        Raises:
            InputError: another run has claimed the results and is alive.
        """
        claim = self._found() if self._process != os.getpid() else None
        if claim is not None:
            with writing(self._path):
                self._refuse_living(claim)

    def living(self) -> str:
        """Where the run is that has claimed the results and is alive; empty: there is none."""
        with contextlib.suppress(OSError):
            claim = self._found()
            return "" if claim is None else self._alive(claim)
        return ""

    def begin(self) -> None:
        """Claim the results until :meth:`end` or the end of the process; again: nothing happens.

        Raises:
            InputError: another run has claimed them and is alive, or the folder cannot be written.
        """
        if self._process == os.getpid():
            return
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            taken = False
            while not self._created():
                self._take_over(self._found())
                taken = True
            if taken:
                # Of several that found the same claim dead, whoever moved the new one has put it back by now.
                time.sleep(_SETTLED)
                if (claim := self._found() or {}).get("name") != self._name:
                    self._refuse_living(claim)
        self._process = os.getpid()
        threading.Thread(target=self._beat, daemon=True).start()
        atexit.register(self.end)

    def end(self) -> None:
        """Give the results free; of a forked process that has not claimed them: nothing."""
        if self._process != os.getpid():
            return
        self._ended.set()
        self._process = 0
        if (self._found() or {}).get("name") == self._name:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _created(self) -> bool:
        """Whether the claim could be made: a file is created by one process alone, on shared folders too."""
        try:
            handle = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        said = {"name": self._name, "folder": _inode(self._path.parent), **_here(os.getpid())}
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(said, file)
        return True

    def _found(self) -> dict[str, Any] | None:
        """The claim that there is; empty: it says nothing (yet); None: there is none."""
        try:
            said = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}

    def _take_over(self, claim: dict[str, Any] | None) -> None:
        """Put aside the claim of a run that is dead.

        Raises:
            InputError: it is alive.
        """
        if claim is None:
            return
        self._refuse_living(claim)
        # Of two that find it dead one moves it; the other may have moved the new claim of the first.
        aside = self._path.with_name(f"{self._path.name}.{self._name}")
        try:
            self._path.rename(aside)
        except FileNotFoundError:
            return
        moved = aside.read_bytes()
        if claim and str(claim.get("name")).encode() not in moved:
            with contextlib.suppress(OSError):
                os.link(aside, self._path)
        aside.unlink()

    def _refuse_living(self, claim: dict[str, Any]) -> None:
        if not (where := self._alive(claim)):
            return
        local = claim.get("machine") == _machine()
        raise InputError(
            "another run is writing these results",
            where=f"{self._path.parent.parent} ({where})",
            hint="wait until it ends, or give this run other `results`"
            + (
                ""
                if local
                else f"; one that was killed is forgotten {SILENCE:.0f} s after its last sign of life"
            ),
        )

    def _alive(self, claim: dict[str, Any]) -> str:
        """Where a run is and when it gave its last sign of life; empty: it is dead."""
        copied = "folder" in claim and claim["folder"] != _inode(self._path.parent)
        known = {key: claim.get(key) for key in ("machine", "process", "since")}
        local = known["machine"] == _machine()
        silent = self._silence()
        alive = isinstance(known["process"], int) and _here(known["process"]) == known
        if copied or (local and not alive) or (not local and silent > SILENCE):
            return ""
        which = f"process {known['process']} on this machine" if local else "on another machine"
        return f"{which}; last sign of life {silent:.0f} s ago"

    def _silence(self) -> float:
        """Seconds since the claim's last sign of life, by the clock of the file system."""
        now = self._path.with_name(f"{self._path.name}.{self._name}.now")
        now.touch()
        try:
            with self._path.open("rb") as file:
                return now.stat().st_mtime - os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return 0.0
        finally:
            now.unlink()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(self._path)


def _here(process: int) -> dict[str, Any]:
    """What tells a process of this machine from any other, a later one of the same number included.

    ``since`` is null where there is no such process.
    """
    return {"machine": _machine(), "process": process, "since": _since(process)}


def _since(process: int) -> str | None:
    try:
        # The 22nd field is the time of start; the second may hold blanks and parentheses.
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "unknown"


def _machine() -> str:
    """A number for this machine since it was switched on, and for the processes that this one can see."""
    parts = [str(uuid.getnode())]
    with contextlib.suppress(OSError):
        parts = [Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")]
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def _inode(folder: Path) -> int:
    return folder.stat().st_ino
