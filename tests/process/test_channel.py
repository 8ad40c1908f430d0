"""The line between a child and its supervisor."""

from __future__ import annotations

import socket

from twogate.process.channel import ChildEnd, Message, SupervisorEnd, open_channel


def pair() -> tuple[SupervisorEnd, ChildEnd, socket.socket]:
    ours, theirs = open_channel()
    return ours, ChildEnd(theirs), theirs


def test_messages_arrive_in_order_and_whole() -> None:
    ours, child, theirs = pair()
    child.tell("ready", ["two\nlines", "ünïcödé"])
    child.beat(7)
    assert ours.receive() == [Message("ready", ["two\nlines", "ünïcödé"]), Message("beat", 7)]
    assert ours.receive() == []
    theirs.close()
    ours.close()


def test_last_words_come_before_the_end() -> None:
    ours, child, theirs = pair()
    child.tell("failed", ["why", "where"])
    theirs.close()
    assert ours.receive() == [Message("failed", ["why", "where"])]
    assert ours.receive() is None
    ours.close()


def test_half_a_message_waits_for_the_rest_and_is_dropped_at_the_end() -> None:
    ours, _, theirs = pair()
    theirs.sendall(b'["be')
    assert ours.receive() == []
    theirs.sendall(b'at", 1]\n["rea')
    assert ours.receive() == [Message("beat", 1)]
    theirs.close()
    assert ours.receive() is None
    ours.close()


def test_beats_never_wait_for_a_supervisor_that_does_not_read() -> None:
    ours, child, theirs = pair()
    for _ in range(100_000):
        child.beat(1)
    received = ours.receive()
    assert received
    assert set(received) == {Message("beat", 1)}
    theirs.close()
    ours.close()


def test_the_child_learns_of_the_supervisors_end() -> None:
    ours, child, theirs = pair()
    assert not child.wait_for_end(0.0)
    ours.close()
    assert child.wait_for_end(5.0)
    assert child.wait_for_end()
    child.tell("ready", [])  # nobody hears it, and nothing happens
    child.beat(1)
    theirs.close()
