"""Links to peers that read, do not read, or are gone; here a peer is a socket of the test."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from twogate.realtime.folder import RuntimeFolder
from twogate.realtime.links import Link, Links
from twogate.realtime.statistics import Drops

from .conftest import DEADLINE, descriptors, wait_until

LIMIT = 1 << 20
FRAME = bytes(100_000)


class Sender:
    """Links, and what they asked to have watched."""

    def __init__(self, parent: Path) -> None:
        self.folder = RuntimeFolder("test", parent)
        self.folder.prepare()
        self.drops = Drops(lambda: None)
        self.watched: list[Link] = []
        self.links = Links(self.folder, LIMIT, self.drops, self.watched.append)

    def peer(self, name: str, backlog: int = 5) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(self.folder.socket_path(name))
        sock.listen(backlog)
        sock.settimeout(DEADLINE)
        return sock

    def fill(self, peer: str) -> int:
        """Send until no more is taken; how many frames were."""
        taken = 0
        while self.links.send(peer, FRAME) is None:
            taken += 1
        return taken


@pytest.fixture
def sender(folder: Path) -> Iterator[Sender]:
    before = descriptors()
    sender = Sender(folder)
    yield sender
    sender.links.finish(0.0, wait_for_peers=False)
    for link in sender.watched:
        link.sock.close()
    sender.folder.release()
    assert descriptors() == before


def read(sock: socket.socket, count: int) -> int:
    while count and (data := sock.recv(min(count, 1 << 16))):
        count -= len(data)
    return count


def test_all_goes_over_one_connection(sender: Sender) -> None:
    with sender.peer("a") as listener:
        assert [sender.links.send("a", b"1"), sender.links.send("a", b"2")] == [None, None]
        with listener.accept()[0] as sock:
            assert sock.recv(10) == b"12"
        assert sender.links.sizes() == (1, 0)


def test_a_peer_that_does_not_read_costs_neither_time_nor_memory(sender: Sender) -> None:
    with sender.peer("a") as listener:
        begun = time.monotonic()
        taken = sender.fill("a")
        assert time.monotonic() - begun < 5
        assert sender.links.send("a", FRAME) == "backlog"
        assert LIMIT - len(FRAME) <= sender.links.sizes()[1] <= LIMIT
        [link] = sender.watched

        with listener.accept()[0] as sock:
            reader = threading.Thread(target=read, args=(sock, taken * len(FRAME)))
            reader.start()
            wait_until(link.flush)
            assert sender.links.sizes()[1] == 0
            assert sender.links.send("a", b"more") is None
            reader.join()


def test_a_peer_that_does_not_accept_has_a_backlog_too(sender: Sender) -> None:
    with sender.peer("a", backlog=0):
        others = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(sender.folder.socket_path("a"))
        assert sender.links.send("a", FRAME) == "backlog"
        assert sender.links.send_to_all(["a", "nobody"], FRAME) == 1
        for other in others:
            other.close()


def test_who_is_gone_is_noticed_and_its_socket_removed(sender: Sender) -> None:
    assert sender.links.send("nobody", b"1") == "gone"
    listener = sender.peer("a")
    assert sender.links.send("a", b"1") is None
    listener.accept()[0].close()
    listener.close()
    assert sender.links.send("a", b"2") == "gone"
    assert not Path(sender.folder.socket_path("a")).exists()
    assert sender.links.sizes() == (0, 0)


def test_a_broken_connection_is_made_again(sender: Sender) -> None:
    with sender.peer("a") as listener:
        sender.links.send("a", b"1")
        listener.accept()[0].close()
        assert sender.links.send("a", b"2") is None
        with listener.accept()[0] as sock:
            assert sock.recv(10) == b"2"


def test_what_a_broken_connection_loses_is_counted(sender: Sender) -> None:
    with sender.peer("a") as listener:
        sender.fill("a")
        listener.accept()[0].close()
        [link] = sender.watched
        with pytest.raises(OSError):
            link.flush()
        sender.links.discard(link)
        # What waited, the rest of one that was begun among it.
        assert sender.drops.counts()["gone"] in (LIMIT // len(FRAME), LIMIT // len(FRAME) + 1)


def test_links_to_others_are_closed(sender: Sender) -> None:
    with sender.peer("a") as a, sender.peer("b"):
        sender.links.send_to_all(["a", "b"], b"1")
        sender.links.keep_only(frozenset({"b"}))
        assert sender.links.sizes()[0] == 1
        with a.accept()[0] as sock:
            assert [sock.recv(10), sock.recv(10)] == [b"1", b""]


def test_finish_waits_until_the_peer_has_dealt_with_it(sender: Sender) -> None:
    with sender.peer("a") as listener:
        taken = sender.fill("a")
        left: list[int] = []

        def deal() -> None:
            with listener.accept()[0] as sock:
                left.append(read(sock, taken * len(FRAME)))
                left.append(len(sock.recv(10)))

        thread = threading.Thread(target=deal)
        thread.start()
        sender.links.finish(DEADLINE, wait_for_peers=True)
        assert left == [0, 0]
        thread.join()


def test_finish_gives_up_in_time(sender: Sender) -> None:
    with sender.peer("a"):
        sender.fill("a")
        begun = time.monotonic()
        sender.links.finish(0.1, wait_for_peers=True)
        assert 0.1 <= time.monotonic() - begun < 5
