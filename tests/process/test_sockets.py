"""Binds become listening sockets, or errors that say what to do."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from twogate.errors import ConfigError
from twogate.process.sockets import describe, open_listeners


def connect(sock: socket.socket) -> None:
    with socket.socket(sock.family, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        client.connect(sock.getsockname())


@pytest.mark.parametrize(
    ("bind", "start"),
    [
        ("127.0.0.1:0", "http://127.0.0.1:"),
        ("[::1]:0", "http://[::1]:"),
        (":0", "http://0.0.0.0:"),
    ],
)
def test_tcp(bind: str, start: str) -> None:
    with open_listeners([bind]) as listeners:
        (sock,) = listeners.sockets
        assert listeners.urls == [describe(sock)]
        assert describe(sock).startswith(start)
        assert not sock.get_inheritable()
        assert not sock.getblocking()
        connect(sock)
    assert sock.fileno() == -1


def test_a_host_name_is_bound_at_each_of_its_addresses_on_one_port() -> None:
    with open_listeners(["localhost:0"]) as listeners:
        addresses = {sock.getsockname()[0] for sock in listeners.sockets}
        assert "127.0.0.1" in addresses
        assert len({sock.getsockname()[1] for sock in listeners.sockets}) == 1
        for sock in listeners.sockets:
            connect(sock)


def test_both_families_on_one_port() -> None:
    with open_listeners(["0.0.0.0:0"]) as first:
        port = first.sockets[0].getsockname()[1]
    with open_listeners([f"0.0.0.0:{port}", f"[::]:{port}"]) as listeners:
        assert len(listeners.sockets) == 2


def test_any_ipv6_address_takes_ipv4_as_well() -> None:
    with open_listeners(["[::]:0"]) as listeners:
        port = listeners.sockets[0].getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_a_port_is_free_again_at_once() -> None:
    with open_listeners(["127.0.0.1:0"]) as listeners:
        sock = listeners.sockets[0]
        port = sock.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        sock.setblocking(True)
        accepted, _ = sock.accept()
    accepted.close()  # the server closes first: TIME_WAIT stays on its side
    client.close()
    open_listeners([f"127.0.0.1:{port}"]).close()


def test_unix(tmp_path: Path) -> None:
    path = tmp_path / "site.sock"
    with open_listeners([f"unix:{path}"]) as listeners:
        assert listeners.urls == [f"unix:{path}"]
        assert path.stat().st_mode & 0o777 == 0o666
        connect(listeners.sockets[0])
    assert not path.exists()


def test_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "site.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with open_listeners([f"unix:{path}"]) as listeners:
        connect(listeners.sockets[0])


def test_a_socket_file_of_somebody_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "site.sock"
    with open_listeners([f"unix:{path}"]):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            # Without a file in between, the new one could get the old one's inode.
            (tmp_path / "between").touch()
            other.bind(str(path))
    assert path.exists()


def test_a_child_removes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "site.sock"
    with open_listeners([f"unix:{path}"]) as listeners:
        pid = os.fork()
        if pid == 0:
            listeners.close()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        connect(listeners.sockets[0])


def test_an_inherited_descriptor() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        number = os.dup(given.fileno())
        with open_listeners([f"fd://{number}"]) as listeners:
            assert listeners.sockets[0].getsockname() == given.getsockname()
            assert not os.get_inheritable(number)


def _taken(folder: Path) -> str:
    sock = socket.create_server(("127.0.0.1", 0))
    _kept.append(sock)
    return f"127.0.0.1:{sock.getsockname()[1]}"


def _served(folder: Path) -> str:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(folder / "served"))
    sock.listen()
    _kept.append(sock)
    return f"unix:{folder / 'served'}"


def _file(folder: Path) -> str:
    (folder / "file").write_text("mine")
    return f"unix:{folder / 'file'}"


def _plain_descriptor(folder: Path) -> str:
    (folder / "file").write_text("")
    return f"fd://{os.open(folder / 'file', os.O_RDONLY)}"


def _datagrams(folder: Path) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return f"fd://{os.dup(sock.fileno())}"


_kept: list[socket.socket] = []

WRONG: list[tuple[Callable[[Path], str], str]] = [
    (_taken, "already in use"),
    (lambda _: "192.0.2.1:0", "this machine has no address 192.0.2.1"),
    (lambda _: "no-such-host.invalid:80", "'no-such-host.invalid' is not known"),
    (lambda _: "127.0.0.1:http", "not an address"),
    (lambda _: "127.0.0.1:70000", "not an address"),
    (_served, "already listens"),
    (_file, "is no socket"),
    (lambda folder: f"unix:{folder}/missing/x", "does not exist; create it"),
    (lambda folder: f"unix:{folder}/{'x' * 120}", "too long"),
    (lambda _: "fd://999", "descriptor 999 is no socket"),
    (_plain_descriptor, "is no socket"),
    (_datagrams, "no stream socket"),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_cannot_be_opened_is_told(
    make: Callable[[Path], str], message: str, tmp_path: Path
) -> None:
    bind = make(tmp_path)
    try:
        with pytest.raises(ConfigError, match=message) as caught:
            open_listeners(["127.0.0.1:0", bind], source="TWOGATE_BIND")
    finally:
        while _kept:
            _kept.pop().close()
    assert caught.value.option == "--bind"
    assert caught.value.value == bind
    assert caught.value.source == "TWOGATE_BIND"


def test_all_or_none(tmp_path: Path) -> None:
    path = tmp_path / "site.sock"
    with pytest.raises(ConfigError):
        open_listeners([f"unix:{path}", "fd://999"])
    assert not path.exists()
