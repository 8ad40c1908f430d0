"""Live traces: what is kept, who may see it, and what the pages say."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.http import Response, Serving, eventually, get
from tests.trace.test_tracer import asgi, wsgi

from twogate.config import Config
from twogate.dispatch import Applications
from twogate.trace.live import PATH, Shelf, make_tracer

TRACES = PATH.decode()


@contextlib.contextmanager
def live(folder: Path, most: int = 3, unix: Path | None = None) -> Iterator[Serving]:
    tracer = make_tracer(folder, most)
    applications = Applications(wsgi, asgi)
    tracer.record(applications)
    family = socket.AF_INET if unix is None else socket.AF_UNIX
    address = ("127.0.0.1", 0) if unix is None else str(unix)
    server = Serving(applications, Config(lifespan="off"), family, address)
    server.start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with live(tmp_path) as running:
        yield running


def ask(server: Serving, name: str = "", *fields: str, host: str = "localhost") -> Response:
    sent = get(TRACES + name, *fields).replace(b"example.test", host.encode())
    return server.ask(sent)


def listed(server: Serving, after: str = "") -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(ask(server, f"list?after={after}").body)
    return found


def test_requests_are_listed_as_they_come(server: Serving) -> None:
    assert listed(server) == []
    server.ask(get("/one?a=b", "Cookie: sessionid=secret"))
    eventually(lambda: len(listed(server)) == 1)
    (first,) = listed(server)
    assert (first["method"], first["path"], first["status"]) == ("GET", "/one?a=b", 200)
    assert (first["gateway"], first["crossings"]) == ("wsgi", 0)
    server.ask(get("/two"))
    eventually(lambda: len(listed(server)) == 2)
    assert [found["path"] for found in listed(server, str(first["id"]))] == ["/two"]


def test_a_trace_has_its_page_and_its_document(server: Serving) -> None:
    server.ask(get("/one", "Cookie: sessionid=secret"))
    eventually(lambda: listed(server))
    name = str(listed(server)[0]["id"])
    page = ask(server, name)
    assert page.status == 200
    assert b"GET /one" in page.body
    assert "default-src 'none'" in page.headers["content-security-policy"]
    document = json.loads(ask(server, f"{name}.json").body)
    assert document["format"] == "twogate-trace/1"
    assert document["runs"][0]["response"]["headers"] == [["Content-Type", "text/plain"]]
    assert "secret" not in json.dumps(document)


def test_the_last_ones_are_kept(server: Serving, tmp_path: Path) -> None:
    for number in range(6):
        server.ask(get(f"/{number}"))
    eventually(lambda: [found["path"] for found in listed(server)] == ["/3", "/4", "/5"])
    assert len(list(tmp_path.iterdir())) == 3


def test_workers_share_them(tmp_path: Path) -> None:
    with live(tmp_path) as one, live(tmp_path) as other:
        one.ask(get("/one"))
        other.ask(get("/other"))
        eventually(lambda: len(listed(one)) == 2)
        assert listed(one) == listed(other)


def test_the_pages_are_neither_recorded_nor_logged(server: Serving) -> None:
    ask(server)
    server.ask(get("/one"))
    eventually(lambda: listed(server))
    assert server.record.finished == [("/one", 200)]
    assert [found["path"] for found in listed(server)] == ["/one"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:8000", "LOCALHOST:1"])
def test_names_of_this_machine(server: Serving, host: str) -> None:
    assert b"<title>Traces</title>" in ask(server, host=host).body


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "x]"])
def test_for_other_names_they_do_not_exist(server: Serving, host: str) -> None:
    assert b"Traces" not in ask(server, host=host).body


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_for_a_proxy_they_do_not_exist(server: Serving, name: str) -> None:
    assert b"Traces" not in ask(server, "", f"{name}: 192.0.2.1").body


def test_on_a_unix_socket_they_do_not_exist(tmp_path: Path) -> None:
    with live(tmp_path / "..", unix=tmp_path / "s") as server:
        assert b"Traces" not in ask(server).body


@pytest.mark.parametrize("name", ["nowhere", "../etc", "%2e%2e/x", "0" * 5000, "", "list/x", "*"])
def test_what_is_no_trace(server: Serving, name: str) -> None:
    answer = ask(server, f"x{name}" if name != "../etc" else "..%2fetc")
    assert answer.status in (404, 414)


def test_they_are_only_read(server: Serving) -> None:
    sent = get(TRACES, "Content-Length: 0", method="POST").replace(b"example.test", b"localhost")
    assert server.ask(sent).status == 405


def test_the_folder_may_go(tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    with live(folder) as server:
        server.ask(get("/one"))
        eventually(lambda: listed(server))
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        assert server.ask(get("/two")).status == 200
        assert listed(server) == []


def test_a_shelf_reads_no_other_files(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    shelf = Shelf(tmp_path, 3)
    assert shelf.names() == []
    assert shelf.read("secret") is None
