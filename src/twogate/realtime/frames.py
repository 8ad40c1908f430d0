"""Frames between the processes of one machine, bytes to frames and back.

No I/O, no clock, no logging. A frame is a head of fixed size, a name and a body, which nobody here
looks into. Once a decoder has met garbage it makes nothing of what follows.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

__all__ = ["OVERHEAD", "Frame", "FrameDecoder", "Kind", "encode"]


class Kind(IntEnum):
    """What a frame is for: who its name names, and what its body holds."""

    #: For a channel of the receiver: the message.
    MESSAGE = 1
    #: For those of the receiver's channels that are members of a group: the message.
    GROUP = 2
    #: A channel of the receiver enters the group that the body names.
    JOIN = 3
    #: A channel of the receiver leaves the group that the body names.
    LEAVE = 4
    #: A message waits in the store for whoever receives from a channel without a home. No body.
    WAKE = 5
    #: Forget all messages and groups. No name, no body.
    FLUSH = 6
    #: For the sockets that have joined a topic: the topic and a WebSocket frame. No name.
    BROADCAST = 7


class Frame(NamedTuple):
    """One frame.

    :ivar kind: a :class:`Kind`.
    :ivar name: ASCII, at most 255 characters.
    :ivar deadline: when it expires, by :func:`time.monotonic`, which all processes of a machine
        share.
    :ivar body: as it was given to :func:`encode`.
    """

    kind: int
    name: str
    deadline: float
    body: bytes


#: The length of what follows the length; the kind; the length of the name; the deadline.
_HEAD = Struct("!IBBd")
_SIZE_OF_LENGTH = 4
_MAX_NAME = 255
_KINDS = frozenset(Kind)

#: Bytes of a frame beside its body, at most.
OVERHEAD = _HEAD.size + _MAX_NAME


def encode(kind: Kind, name: str, deadline: float = 0.0, body: bytes = b"") -> bytes:
    """A frame as bytes.

    :raises ValueError: the name is not ASCII (also :class:`UnicodeEncodeError`) or too long.
    """
    encoded = name.encode("ascii")
    if len(encoded) > _MAX_NAME:
        raise ValueError(f"A name has at most {_MAX_NAME} characters, this one {len(encoded)}.")
    length = _HEAD.size - _SIZE_OF_LENGTH + len(encoded) + len(body)
    return _HEAD.pack(length, kind, len(encoded), deadline) + encoded + body


class FrameDecoder:
    """Takes bytes as they come, in pieces of any size.

    :param max_body: the longest body that is taken, in bytes.
    :ivar error: what is wrong with the bytes, once something is; for the log.
    """

    __slots__ = ("_max_length", "_partial", "error")

    def __init__(self, max_body: int) -> None:
        self.error = ""
        self._max_length = OVERHEAD - _SIZE_OF_LENGTH + max_body
        self._partial = bytearray()

    def feed(self, data: bytes | memoryview) -> list[Frame]:
        """The frames that are complete now, up to the first garbage; look at :attr:`error`."""
        if self.error:
            return []
        if not self._partial:
            frames, taken = self._decode(data)
            self._partial += memoryview(data)[taken:]
        else:
            self._partial += data
            frames, taken = self._decode(self._partial)
            del self._partial[:taken]
        if self.error:
            self._partial.clear()
        return frames

    def _decode(self, data: bytes | bytearray | memoryview) -> tuple[list[Frame], int]:
        """Complete frames, and how many bytes they took."""
        frames: list[Frame] = []
        start, size, head = 0, len(data), _HEAD.size
        with memoryview(data) as view:
            while size - start >= head:
                length, kind, name_length, deadline = _HEAD.unpack_from(view, start)
                name_from = start + head
                body_from = name_from + name_length
                end = start + _SIZE_OF_LENGTH + length
                if length > self._max_length or kind not in _KINDS or body_from > end:
                    self.error = "not a frame, or one that is too long"
                    break
                if end > size:
                    break
                try:
                    name = str(view[name_from:body_from], "ascii")
                except UnicodeDecodeError:
                    self.error = "a name that is not ASCII"
                    break
                frames.append(Frame(kind, name, deadline, bytes(view[body_from:end])))
                start = end
        return frames, start
