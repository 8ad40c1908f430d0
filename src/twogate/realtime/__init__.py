"""Real time: what one part of a project says to many browsers at once.

:func:`join` and :func:`broadcast` write one frame to many WebSockets. ``LocalChannelLayer`` is for
Django's ``CHANNEL_LAYERS``; it needs Channels and msgpack, which come with ``pip install
"twogate[realtime]"``, and until somebody asks for it nothing here imports them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twogate.realtime.topics import broadcast, join, leave

if TYPE_CHECKING:
    from twogate.realtime.local import LocalChannelLayer

__all__ = ["LocalChannelLayer", "broadcast", "join", "leave"]


def __getattr__(name: str) -> object:
    if name != "LocalChannelLayer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from twogate.realtime.local import LocalChannelLayer
    except ModuleNotFoundError as error:
        raise ImportError(
            f"LocalChannelLayer needs {error.name}, which is not installed:"
            ' run `pip install "twogate[realtime]"`.'
        ) from error
    return LocalChannelLayer
