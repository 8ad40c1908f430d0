"""Broadcasts from one process to others: carriers of this process, and of real other ones."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from twogate.realtime.carrier import BACKLOG, LocalCarrier
from twogate.realtime.folder import RuntimeFolder
from twogate.realtime.topics import MAX_FRAME

from .conftest import DEADLINE, ROOT, descriptors, sockets, wait_until


class Ear:
    """A carrier, and what it has delivered."""

    def __init__(self, folder: Path) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.carrier = LocalCarrier(
            RuntimeFolder("test", folder, "TWOGATE_TOPICS"),
            lambda topic, frame: self.heard.append((topic, frame)),
        )

    def frames(self) -> list[bytes]:
        return [frame for _, frame in self.heard]


@pytest.fixture
def ears(folder: Path) -> Iterator[list[Ear]]:
    made = [Ear(folder) for _ in range(3)]
    yield made
    for ear in made:
        ear.carrier.close()


def carrier_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "twogate-realtime"]


def test_all_others_that_listen_get_the_frame_as_it_is(ears: list[Ear]) -> None:
    one, other, deaf = ears
    one.carrier.listen()
    other.carrier.listen()
    said = [("room", b"\x81\x02hi"), ("room ☃ \ud800", b"\x82\x00"), ("x" * 200, b"")]
    for topic, frame in said:
        deaf.carrier.publish(topic, frame)
    wait_until(lambda: one.heard == other.heard == said)
    one.carrier.publish("back", b"frame")
    wait_until(lambda: other.heard == [*said, ("back", b"frame")])
    assert one.heard == said and deaf.heard == []
    assert [ear.carrier.statistics().sent for ear in ears] == [1, 0, 3]
    assert [ear.carrier.statistics().received for ear in ears] == [3, 4, 0]
    assert deaf.carrier.statistics().peers == 2


def test_who_only_speaks_has_no_thread_and_no_socket(ears: list[Ear], folder: Path) -> None:
    before = carrier_threads()
    ears[0].carrier.publish("room", b"frame")
    assert carrier_threads() == before
    assert sockets(folder) == []
    ears[0].carrier.listen()
    ears[0].carrier.listen()
    assert len(sockets(folder)) == 1
    ears[1].carrier.publish("room", b"frame")
    assert len(carrier_threads()) == len(before) + 1
    wait_until(lambda: ears[0].frames() == [b"frame"])


def test_the_order_of_each_sender_is_kept(ears: list[Ear]) -> None:
    ears[0].carrier.listen()

    def say(name: bytes) -> None:
        for number in range(2000):
            ears[1].carrier.publish("room", b"%s %d" % (name, number))

    threads = [threading.Thread(target=say, args=(name,)) for name in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(ears[0].heard) == 4000)
    for name in (b"a", b"b"):
        mine = [frame for frame in ears[0].frames() if frame.startswith(name)]
        assert mine == [b"%s %d" % (name, number) for number in range(2000)]


def test_the_longest_frame_comes_through(ears: list[Ear]) -> None:
    ears[0].carrier.listen()
    longest = bytes(MAX_FRAME)
    ears[1].carrier.publish("☃" * 200, longest)
    wait_until(lambda: ears[0].heard == [("☃" * 200, longest)])
    assert ears[0].carrier.statistics().broken_links == 0


def test_a_socket_that_was_removed_is_put_back(ears: list[Ear], folder: Path) -> None:
    ears[0].carrier.listen()
    sockets(folder)[0].unlink()
    ears[0].carrier.listen()  # as every second
    ears[1].carrier.publish("room", b"frame")
    wait_until(lambda: ears[0].frames() == [b"frame"])


def test_closing_leaves_nothing_behind(folder: Path) -> None:
    before, threads = descriptors(), carrier_threads()
    ears = [Ear(folder) for _ in range(2)]
    ears[0].carrier.listen()
    ears[1].carrier.publish("room", b"frame")
    wait_until(lambda: ears[0].heard)
    for ear in ears:
        ear.carrier.close()
        ear.carrier.close()
    assert sockets(folder) == []
    assert carrier_threads() == threads
    assert descriptors() == before


def test_a_folder_that_is_not_safe_fails_nobody_and_is_told_once(
    ears: list[Ear], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.chmod(0o777)
    for _ in range(3):
        ears[0].carrier.publish("room", b"frame")
        ears[0].carrier.listen()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert all("TWOGATE_TOPICS" in line and "chmod go-w" in line for line in told)
    assert ears[0].carrier.statistics().failed == 3
    folder.chmod(0o700)
    ears[1].carrier.listen()
    ears[0].carrier.publish("room", b"frame")
    wait_until(lambda: ears[1].frames() == [b"frame"])
    folder.chmod(0o777)
    ears[2].carrier.publish("room", b"frame")
    assert len(caplog.records) == 3


LISTENER = """
import json, sys
from pathlib import Path
from twogate.realtime.carrier import LocalCarrier
from twogate.realtime.folder import RuntimeFolder
heard = []
carrier = LocalCarrier(
    RuntimeFolder("test", Path(sys.argv[1])), lambda topic, frame: heard.append(len(frame))
)
carrier.listen()
print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps(heard), flush=True)
"""


class Listener:
    """Another process that listens."""

    def __init__(self, folder: Path) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", LISTENER, str(folder)],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.line() == "ready\n"

    def line(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline()

    def heard(self) -> list[int]:
        assert self.popen.stdin is not None
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()
        lengths: list[int] = json.loads(self.line())
        return lengths

    def stop(self) -> None:
        self.popen.send_signal(19)
        os.waitid(os.P_PID, self.popen.pid, os.WSTOPPED)

    def close(self) -> None:
        self.popen.kill()
        self.popen.communicate(timeout=DEADLINE)


@pytest.fixture
def listener(folder: Path) -> Iterator[Listener]:
    listener = Listener(folder)
    yield listener
    listener.close()


def test_a_process_that_does_not_read_is_bounded_and_what_it_loses_is_counted(
    ears: list[Ear], listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    speaker, other = ears[0].carrier, ears[1]
    other.carrier.listen()
    listener.stop()
    frame = bytes(1 << 20)
    for number in range(20):
        speaker.publish("room", frame)
        wait_until(lambda: len(other.heard) == number + 1, "the others have all of it")  # noqa: B023
    told = speaker.statistics()
    assert told.sent == 20
    assert told.backlog <= BACKLOG
    assert 14 <= told.dropped["backlog"] < 20
    listener.popen.send_signal(18)
    wait_until(lambda: speaker.statistics().backlog == 0)
    wait_until(lambda: listener.heard() == [len(frame)] * (20 - told.dropped["backlog"]))
    with caplog.at_level(logging.WARNING, "twogate.realtime"):
        speaker.close()
    assert f"Broadcasting to other processes dropped {told.dropped['backlog']} messages" in (
        caplog.text
    )


def test_a_process_that_is_killed_is_forgotten_and_what_waited_for_it_is_counted(
    ears: list[Ear], listener: Listener, folder: Path
) -> None:
    speaker, other = ears[0].carrier, ears[1]
    other.carrier.listen()
    listener.stop()
    for number in range(6):
        speaker.publish("room", bytes(1 << 20))
        wait_until(lambda: len(other.heard) == number + 1)  # noqa: B023
    waiting = 6 - speaker.statistics().dropped["backlog"]
    assert speaker.statistics().backlog > 0
    listener.close()
    wait_until(lambda: speaker.statistics().dropped["gone"] == waiting)
    speaker.publish("room", b"and on it goes")
    wait_until(lambda: len(other.heard) == 7)
    assert speaker.statistics().backlog == 0
    assert speaker.statistics().peers == 1
    assert len(sockets(folder)) == 1


FORK = """
import os, sys, threading, time
from pathlib import Path
from twogate.realtime.carrier import LocalCarrier
from twogate.realtime.folder import RuntimeFolder
heard = []
carrier = LocalCarrier(
    RuntimeFolder("test", Path(sys.argv[1])), lambda topic, frame: heard.append(frame)
)
carrier.listen()
with carrier._lock:  # as if another thread were at it
    child = os.fork()
    if child == 0:
        carrier.publish("room", b"from the child")
        assert carrier.statistics().sent == 1 and carrier.statistics().peers == 1
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
deadline = time.monotonic() + 15
while not heard and time.monotonic() < deadline:
    time.sleep(0.005)
assert heard == [b"from the child"], heard
assert len(list(Path(sys.argv[1]).glob("*/*.sock"))) == 1
"""


def test_a_fork_is_another_process_and_the_end_cleans_up(folder: Path) -> None:
    subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=True,
        timeout=DEADLINE,
    )
    assert sockets(folder) == []
