"""Nodes find each other, and outlive what the others do."""

from __future__ import annotations

import logging
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from twogate.errors import ConfigError
from twogate.realtime.folder import RuntimeFolder
from twogate.realtime.frames import Frame, Kind, encode
from twogate.realtime.node import Node
from twogate.realtime.statistics import Drops

from .conftest import DEADLINE, descriptors, sockets, wait_until


class Receiver:
    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.ticks = 0
        self.ended = threading.Event()
        self.fault: Exception | None = None

    def receive(self, frames: list[Frame]) -> None:
        self.frames += frames
        if self.fault is not None:
            raise self.fault

    def tick(self) -> float | None:
        self.ticks += 1
        return None

    def end(self) -> None:
        self.ended.set()

    @property
    def names(self) -> list[str]:
        return [frame.name for frame in self.frames]


class Nodes:
    def __init__(self, parent: Path) -> None:
        self.parent = parent
        self.made: list[Node] = []

    def make(self, listening: bool = True) -> tuple[Node, Receiver]:
        receiver = Receiver()
        folder = RuntimeFolder("test", self.parent)
        folder.prepare()
        node = Node(folder, receiver, 1000, 1 << 20, Drops(lambda: None))
        self.made.append(node)
        if listening:
            node.listen()
        return node, receiver


@pytest.fixture
def nodes(folder: Path) -> Iterator[Nodes]:
    before = descriptors()
    nodes = Nodes(folder)
    yield nodes
    for node in nodes.made:
        node.close()
    assert sockets(folder) == []
    assert descriptors() == before


def test_frames_come_in_the_order_they_were_sent(nodes: Nodes) -> None:
    (a, _), (b, got) = nodes.make(listening=False), nodes.make()
    assert a.peers() == {b.name}
    assert b.peers() == frozenset()
    for number in range(1000):
        assert a.links.send(b.name, encode(Kind.WAKE, f"n{number}")) is None
    wait_until(lambda: len(got.frames) == 1000)
    assert got.names == [f"n{number}" for number in range(1000)]


def test_a_backlog_is_written_as_it_is_read(nodes: Nodes) -> None:
    (a, _), (b, got) = nodes.make(), nodes.make()
    hold = threading.Event()
    receive = got.receive
    got.receive = lambda frames: (hold.wait(DEADLINE), receive(frames))[1]  # type: ignore[method-assign]
    sent = 0
    while a.links.sizes()[1] == 0:
        assert a.links.send(b.name, encode(Kind.MESSAGE, f"n{sent}", 0.0, bytes(900))) is None
        sent += 1
    hold.set()
    wait_until(lambda: len(got.frames) == sent)
    assert got.names == [f"n{number}" for number in range(sent)]
    assert a.links.sizes() == (1, 0)


def test_garbage_closes_its_connection_and_harms_nobody(
    nodes: Nodes, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (a, _), (b, got) = nodes.make(), nodes.make()
    a.links.send(b.name, encode(Kind.WAKE, "before"))
    [path] = [path for path in sockets(folder) if path.stem == b.name]
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(DEADLINE)
        stranger.connect(str(path))
        stranger.sendall(encode(Kind.WAKE, "good") + b"GET / HTTP/1.1\r\n\r\n")
        assert stranger.recv(10) == b""
    a.links.send(b.name, encode(Kind.WAKE, "after"))
    wait_until(lambda: len(got.frames) == 3)
    assert sorted(got.names) == ["after", "before", "good"]
    assert b.broken_links == 1
    assert "Closed a connection of another process: not a frame" in caplog.text


def test_a_dead_socket_is_removed_by_whoever_begins_to_listen(nodes: Nodes, folder: Path) -> None:
    _, _ = nodes.make(listening=False)
    dead = next(folder.iterdir()) / "dead.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(dead))
    nodes.make()
    assert not dead.exists()


def test_a_socket_that_was_removed_is_put_back(nodes: Nodes, folder: Path) -> None:
    (a, _), (b, got) = nodes.make(), nodes.make()
    for path in sockets(folder):
        path.unlink()
    b.listen()
    assert a.peers() == {b.name}
    a.links.send(b.name, encode(Kind.WAKE, "again"))
    wait_until(lambda: got.names == ["again"])


def test_only_the_user_can_connect(nodes: Nodes, folder: Path) -> None:
    nodes.make()
    [path] = sockets(folder)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.parent.chmod(0o755)
    with pytest.raises(ConfigError, match="others can enter it"):
        nodes.make()
    path.parent.chmod(0o700)


def test_the_thread_outlives_the_faults_of_others(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    (a, _), (b, got) = nodes.make(), nodes.make()
    got.fault = RuntimeError("a fault")
    a.links.send(b.name, encode(Kind.WAKE, "1"))
    wait_until(lambda: got.names == ["1"])
    got.fault = None
    a.links.send(b.name, encode(Kind.WAKE, "2"))
    wait_until(lambda: got.names == ["1", "2"])
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "a fault" in (record.exc_text or "")


def test_a_poke_makes_it_tick(nodes: Nodes) -> None:
    node, receiver = nodes.make(listening=False)
    assert receiver.ticks == 0
    node.poke()
    wait_until(lambda: receiver.ticks)


def test_a_node_that_only_sends_has_no_thread(nodes: Nodes) -> None:
    (a, _), (b, got) = nodes.make(listening=False), nodes.make()
    before = threading.active_count()
    a.links.send(b.name, encode(Kind.WAKE, "1"))
    wait_until(lambda: got.frames)
    assert threading.active_count() == before


def test_close_writes_what_waits_and_says_so(nodes: Nodes) -> None:
    (a, ended), (b, got) = nodes.make(listening=False), nodes.make()
    sent = 0
    while a.links.sizes()[1] == 0:
        a.links.send(b.name, encode(Kind.MESSAGE, f"n{sent}", 0.0, bytes(900)))
        sent += 1
    a.close()
    assert ended.ended.is_set()
    wait_until(lambda: len(got.frames) == sent)


def test_close_without_waiting_is_the_work_of_the_thread(nodes: Nodes, folder: Path) -> None:
    node, receiver = nodes.make()
    node.close(wait=False)
    assert receiver.ended.wait(DEADLINE)
    assert sockets(folder) == []


def test_out_of_descriptors_it_waits_for_some(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (a, _), (b, got) = nodes.make(), nodes.make()
    accept, failures = socket.socket.accept, list[int]()

    def fail_once(self: socket.socket) -> object:
        if not failures:
            failures.append(1)
            raise OSError(24, os.strerror(24))
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", fail_once)
    a.links.send(b.name, encode(Kind.WAKE, "1"))
    wait_until(lambda: got.frames)
    assert failures == [1]
