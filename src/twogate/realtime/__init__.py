"""Real time: what one part of a project says to many browsers at once.

:func:`join` and :func:`broadcast` write one frame to many WebSockets; :func:`publish` and
:func:`apublish` keep what they say for those who are away for a moment, and need Django.
``ChannelLayer`` and ``LocalChannelLayer`` are for Django's ``CHANNEL_LAYERS``; they need Channels
and msgpack, which come with ``pip install "twogate[realtime]"``. Until somebody asks for those
names nothing here imports what they need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from twogate.realtime.topics import broadcast, join, leave

if TYPE_CHECKING:
    from twogate.django.topics import apublish, publish
    from twogate.realtime.layer import ChannelLayer
    from twogate.realtime.local import LocalChannelLayer

__all__ = [
    "ChannelLayer",
    "LocalChannelLayer",
    "apublish",
    "broadcast",
    "join",
    "leave",
    "publish",
]

#: Where names are that need more than Twogate itself, and the extra it comes with.
_ELSEWHERE = {
    "ChannelLayer": ("twogate.realtime.layer", "realtime"),
    "LocalChannelLayer": ("twogate.realtime.local", "realtime"),
    "publish": ("twogate.django.topics", "django"),
    "apublish": ("twogate.django.topics", "django"),
}


def __getattr__(name: str) -> object:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, extra = _ELSEWHERE[name]
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{name} needs {error.name}, which is not installed:"
            f' run `pip install "twogate[{extra}]"`.'
        ) from error
