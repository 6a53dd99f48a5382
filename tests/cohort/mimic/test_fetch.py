"""Fetching the demo from a server on this machine that serves the real tables."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from m3h_pipeline.cli import main
from m3h_pipeline.cohort.mimic.fetch import fetch_demo
from m3h_pipeline.errors import InputError

pytestmark = pytest.mark.real_data


class Server:
    """What it serves, how it misbehaves, and what it was asked for."""

    def __init__(self, root: Path) -> None:
        self.files = {
            path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
        }
        sums = [f"{hashlib.sha256(data).hexdigest()} {name}" for name, data in self.files.items()]
        self.files["SHA256SUMS.txt"] = ("\n".join(sums) + "\n").encode()
        self.asked: list[tuple[str, str | None]] = []
        self.sent: dict[str, int] = {}
        self.cut: dict[str, int] = {}
        self.ranges = True
        self.url = ""

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked if path != "SHA256SUMS.txt"]


@pytest.fixture
def server(demo: Path) -> Iterator[Server]:
    state = Server(demo)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            wanted = self.headers.get("Range")
            state.asked.append((path, wanted))
            data = state.files.get(path)
            if data is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            if start and start >= len(data):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            sent = data[start : state.cut.pop(path, len(data))]
            state.sent[path] = len(sent)
            self.wfile.write(sent)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{running.server_port}/"
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield state
    running.shutdown()
    thread.join()
    running.server_close()


def fetch(server: Server, folder: Path) -> list[Path]:
    return fetch_demo(folder, url=server.url, stream=io.StringIO())


def whole(server: Server, folder: Path) -> bool:
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    return found == server.files


def test_everything_arrives_and_is_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    assert len(fetch(server, tmp_path / "demo")) == 13
    assert whole(server, tmp_path / "demo")
    before = len(server.paths())
    fetch(server, tmp_path / "demo")
    assert len(server.paths()) == before == 13


def test_a_broken_connection_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    name = "icu/chartevents.csv.gz"
    size = len(server.files[name])
    server.cut[name] = size // 2
    with pytest.raises(InputError, match="broke off"):
        fetch(server, tmp_path)
    assert not (tmp_path / name).exists()
    fetch(server, tmp_path)
    assert server.sent[name] == size - size // 2
    assert whole(server, tmp_path)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_part_of_something_else_is_started_anew(ranges: bool, server: Server, tmp_path: Path) -> None:
    server.ranges = ranges
    (tmp_path / "icu").mkdir()
    (tmp_path / "icu/d_items.csv.gz.part").write_bytes(b"of something else")
    (tmp_path / "icu/icustays.csv.gz").write_bytes(b"damaged")
    size = len(server.files["hosp/patients.csv.gz"])
    (tmp_path / "hosp").mkdir()
    (tmp_path / "hosp/patients.csv.gz.part").write_bytes(bytes(size + 5))
    fetch(server, tmp_path)
    assert whole(server, tmp_path)


def test_another_checksum_is_refused(server: Server, tmp_path: Path) -> None:
    server.files["hosp/patients.csv.gz"] += b"x"
    with pytest.raises(InputError, match="does not have the published checksum"):
        fetch(server, tmp_path)
    assert not (tmp_path / "hosp/patients.csv.gz").exists()
    assert not (tmp_path / "hosp/patients.csv.gz.part").exists()


@pytest.mark.parametrize("name", ["../outside", "/etc/outside"])
def test_a_list_that_leads_out_of_the_folder_is_refused(name: str, server: Server, tmp_path: Path) -> None:
    server.files["SHA256SUMS.txt"] = f"{'0' * 64} {name}\n".encode()
    with pytest.raises(InputError, match="no list of SHA-256"):
        fetch(server, tmp_path)


def test_what_the_server_lacks_and_no_server(server: Server, tmp_path: Path) -> None:
    del server.files["hosp/admissions.csv.gz"]
    with pytest.raises(InputError, match="404"):
        fetch(server, tmp_path / "a")
    with pytest.raises(InputError, match="cannot be reached"):
        fetch_demo(tmp_path / "b", url="http://127.0.0.1:9/", stream=io.StringIO())


def test_the_verb(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch-demo", str(tmp_path), "--url", server.url]) == 0
    assert "13 files" in capsys.readouterr().err
    assert main(["fetch-demo", str(tmp_path), "--url", "http://127.0.0.1:9/"]) == 2
