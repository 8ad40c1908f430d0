"""Channels' consumers on leased threads, without a crossing around every message.

An async consumer asks Channels to close old database connections before each message, on a thread.
Threads of leases see to their connections themselves, before and after they serve a lease; unless
one serves it now there is nothing to ask for, and the asking costs more than the rest of a message.

Knows of Channels one function, ``channels.db.aclose_old_connections``, and imports nothing of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from twogate.django.executors import is_busy

__all__ = ["spare_crossings"]


def spare_crossings() -> None:
    """Let Channels ask the lease first; call it when the application is loaded.

    It replaces what that one function finds under a name of its module: whoever has imported the
    function has it still. Does nothing where Channels is not used, or has changed.
    """
    module: Any = sys.modules.get("channels.db")
    if getattr(module, "sync_to_async", None) is sync_to_async:
        module.sync_to_async = _crossing


def _crossing(function: Callable[..., Any]) -> Callable[..., Any]:
    if function is close_old_connections and not is_busy():
        return _do_nothing
    return sync_to_async(function)


async def _do_nothing() -> None:
    pass
