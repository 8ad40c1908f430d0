"""Frames survive any split; garbage ends a stream and nothing else."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twogate.realtime.frames import OVERHEAD, Frame, FrameDecoder, Kind, encode

MAX_BODY = 1000

names = st.text(st.characters(max_codepoint=127), max_size=255)
frames = st.builds(
    Frame,
    st.sampled_from(Kind),
    names,
    st.floats(allow_nan=False),
    st.binary(max_size=MAX_BODY),
)


def joined(frames: list[Frame]) -> bytes:
    return b"".join(encode(Kind(f.kind), f.name, f.deadline, f.body) for f in frames)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


@given(st.lists(frames, max_size=5), st.lists(st.integers(0, 1 << 20), max_size=10))
def test_any_split_gives_the_same_frames(sent: list[Frame], cuts: list[int]) -> None:
    data = joined(sent)
    decoder = FrameDecoder(MAX_BODY)
    assert [f for piece in split(data, cuts) for f in decoder.feed(piece)] == sent
    assert decoder.error == ""


@given(st.lists(frames, max_size=2), st.binary(max_size=300), st.lists(st.integers(0, 1 << 20)))
def test_any_split_of_garbage_gives_the_same_frames_and_error(
    sent: list[Frame], garbage: bytes, cuts: list[int]
) -> None:
    data = joined(sent) + garbage
    whole, pieces = FrameDecoder(MAX_BODY), FrameDecoder(MAX_BODY)
    frames = whole.feed(data)
    assert frames[: len(sent)] == sent
    # repr: a deadline of garbage may be NaN
    assert repr([f for piece in split(data, cuts) for f in pieces.feed(piece)]) == repr(frames)
    assert pieces.error == whole.error


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0" * 64,
        encode(Kind.WAKE, "a")[:4] + b"\xff" + encode(Kind.WAKE, "a")[5:],
        encode(Kind.MESSAGE, "a", 0.0, bytes(MAX_BODY + 256)),
        encode(Kind.WAKE, "abc").replace(b"abc", b"a\xffc"),
    ],
)
def test_after_garbage_nothing_is_believed(garbage: bytes) -> None:
    decoder = FrameDecoder(MAX_BODY)
    assert decoder.feed(encode(Kind.WAKE, "before") + garbage) == [(Kind.WAKE, "before", 0.0, b"")]
    assert decoder.error
    assert decoder.feed(encode(Kind.WAKE, "after")) == []


def test_the_longest_body_is_taken() -> None:
    body = bytes(MAX_BODY)
    frame = encode(Kind.MESSAGE, "n" * 255, 1.5, body)
    assert len(frame) == OVERHEAD + MAX_BODY
    assert FrameDecoder(MAX_BODY).feed(frame) == [(Kind.MESSAGE, "n" * 255, 1.5, body)]


@pytest.mark.parametrize("name", ["n" * 256, "é"])
def test_a_name_that_does_not_fit_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        encode(Kind.WAKE, name)
