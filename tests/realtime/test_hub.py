"""Topics and their sinks, without a socket or a loop."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from twogate.realtime.hub import DROP_OLDEST, Hub, check_topic


class Inbox:
    """A sink that keeps what it takes."""

    def __init__(self, *, open: bool = True) -> None:
        self.open = open
        self.frames: list[bytes] = []
        self.on_offer: Callable[[], None] = lambda: None

    def offer(self, frame: bytes) -> bool:
        self.on_offer()
        if self.open:
            self.frames.append(frame)
        return self.open


def test_all_who_joined_a_topic_get_the_same_frame() -> None:
    hub, inboxes, stranger = Hub(), [Inbox() for _ in range(3)], Inbox()
    for inbox in inboxes:
        hub.join("news", inbox)
    hub.join("weather", stranger)
    assert hub.deliver("news", "☃") == 3
    assert hub.deliver("news", b"\x00") == 3
    assert hub.deliver("nobody's", "unheard") == 0
    assert [inbox.frames for inbox in inboxes] == [[b"\x81\x03\xe2\x98\x83", b"\x82\x01\x00"]] * 3
    assert inboxes[0].frames[0] is inboxes[1].frames[0]
    assert stranger.frames == []


def test_joining_twice_is_joining_once() -> None:
    hub, inbox = Hub(), Inbox()
    hub.join("news", inbox)
    hub.join("news", inbox)
    assert hub.deliver("news", "x") == 1
    hub.leave("news", inbox)
    assert hub.deliver("news", "x") == 0


def test_nothing_is_left_of_one_that_leaves() -> None:
    hub, one, other = Hub(), Inbox(), Inbox()
    for topic in ("a", "b", "c"):
        hub.join(topic, one)
    hub.join("a", other)
    hub.leave("b", one)
    hub.leave("b", one)
    hub.leave("never joined", one)
    assert (hub.statistics().topics, hub.statistics().sockets) == (2, 2)
    hub.drop(one)
    hub.drop(one)
    assert (hub.statistics().topics, hub.statistics().sockets) == (1, 1)
    hub.leave("a", other)
    assert (hub.statistics().topics, hub.statistics().sockets) == (0, 0)
    assert not hub._topics
    assert not hub._joined


def test_sinks_that_leave_during_a_fan_out_disturb_nobody() -> None:
    hub, leaving, staying = Hub(), [Inbox(open=False) for _ in range(25)], []

    def all_leave() -> None:
        for inbox in leaving:
            hub.drop(inbox)

    for inbox in leaving:
        inbox.on_offer = all_leave
        staying.append(Inbox())
        hub.join("news", inbox)
        hub.join("news", staying[-1])
    assert hub.deliver("news", "x") == 25
    assert [len(inbox.frames) for inbox in staying] == [1] * 25
    assert hub.statistics().sockets == hub.statistics().delivered == 25


@pytest.mark.parametrize(
    ("topic", "error"),
    [(5, TypeError), (b"x", TypeError), ("", ValueError), ("x" * 201, ValueError)],
)
def test_what_is_no_topic(topic: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_topic(topic)
    check_topic("room.5")
    check_topic("☃" * 200)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=300), st.binary(max_size=300), st.integers(0, 70_000))))
def test_prepared_frames_are_read_by_somebody_else_s_client(
    messages: list[str | bytes | int],
) -> None:
    hub, inbox = Hub(), Inbox()
    hub.join("t", inbox)
    sent = [bytes(each) if isinstance(each, int) else each for each in messages]
    for message in sent:
        hub.deliver("t", message)
    client = ClientProtocol(parse_uri("ws://x/"), state=OPEN, max_size=None)
    client.receive_data(b"".join(inbox.frames))
    read = []
    for frame in client.events_received():
        assert isinstance(frame, Frame)
        assert frame.fin
        read.append(str(frame.data, "utf-8") if frame.opcode is Opcode.TEXT else bytes(frame.data))
    assert read == sent
    assert client.parser_exc is None


@pytest.mark.parametrize("size", [0, 125, 126, 127, 65535, 65536, 1 << 20])
def test_the_sizes_at_which_the_length_is_written_otherwise(size: int) -> None:
    hub, inbox = Hub(), Inbox()
    hub.join("t", inbox)
    hub.deliver("t", "x" * size)
    client = ClientProtocol(parse_uri("ws://x/"), state=OPEN, max_size=None)
    client.receive_data(inbox.frames[0])
    (frame,) = client.events_received()
    assert isinstance(frame, Frame)
    assert frame.data == b"x" * size


def test_what_was_dropped_is_told_at_most_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub(slow_reader=DROP_OLDEST)
    with caplog.at_level(logging.WARNING, "twogate.realtime"):
        hub.tick(100.0)
        assert not caplog.messages
        hub.dropped = 7
        hub.tick(101.0)
        assert "7 messages were dropped and 0 WebSockets closed" in caplog.messages[0]
        hub.dropped, hub.closed, hub.lost = 10, 2, 1
        hub.tick(102.0)
        hub.tick(160.0)
        assert len(caplog.messages) == 1
        hub.tick(161.0)
        assert "3 messages were dropped and 2 WebSockets closed" in caplog.messages[1]
        assert "1 messages came too fast" in caplog.messages[1]
        hub.tick(1000.0)
        assert len(caplog.messages) == 2
