"""The Redis of the tests starts, answers, and leaves nothing."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from tests.support.redis import RedisError, redis_process, redis_server


def test_two_run_side_by_side_and_leave_nothing() -> None:
    with redis_server() as one, redis_server() as other:
        assert one != other
        folders = [Path(url.removeprefix("unix://")).parent for url in (one, other)]
        for folder in folders:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(folder / "socket"))
                sock.sendall(b"SET name value\r\n")
                assert sock.recv(16) == b"+OK\r\n"
    assert not any(folder.exists() for folder in folders)


def test_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RedisError, match="apt-get install redis-server"), redis_server():
        pass


def test_it_says_why_it_did_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/false")
    with pytest.raises(RedisError, match="did not start"), redis_server():
        pass


def test_one_that_is_killed_comes_back_empty_at_its_place() -> None:
    with redis_process(start=False) as server:
        path = server.url.removeprefix("unix://")
        for _ in range(2):
            server.start()
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                sock.sendall(b"INCR name\r\n")
                assert sock.recv(16) == b":1\r\n"
            server.kill()
            with socket.socket(socket.AF_UNIX) as sock, pytest.raises(ConnectionRefusedError):
                sock.connect(path)
