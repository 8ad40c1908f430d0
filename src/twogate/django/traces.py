"""What code leaves on a thread: thread-locals, and marks on database connections.

Others must not find it, and whoever left it must. On the thread in question.
"""

from __future__ import annotations

import functools
import gc
import threading
import weakref
from collections import deque
from collections.abc import Hashable, Iterator
from typing import Any, TypeAlias

from asgiref.sync import AsyncToSync, SyncToAsync
from django.db import connections
from django.db.backends.dummy.base import DatabaseWrapper as DummyWrapper

__all__ = ["bring_back", "has_changed", "look_around", "set_aside", "spare", "traces"]

#: The attributes that Django sets on every connection; the last when it connects.
_ALWAYS_SET = {*vars(DummyWrapper({})), "make_cursor", "make_debug_cursor", "isolation_level"}


@functools.cache
def _djangos_attributes(kind: Hashable) -> frozenset[str]:
    """The attributes that Django sets on connections of a class, cached properties among them."""
    assert isinstance(kind, type)
    djangos = [base for base in kind.__mro__ if base.__module__.startswith("django.")]
    return frozenset(_ALWAYS_SET.union(*map(vars, djangos)))


_thread_locals: list[weakref.ref[threading.local]] = []

#: What was on the thread's plain thread-locals before a lease came to it.
Aside: TypeAlias = list[tuple[dict[str, Any], dict[str, Any]]]


def set_aside() -> Aside:
    """Empty this thread's thread-locals, as they are on a thread that was made for the request.

    Else a value that an earlier request has left would hide that this one sets the same.
    """
    aside: Aside = []
    for found in _plain_locals():
        values = vars(found)
        if values:
            aside.append((values, values.copy()))
            values.clear()
    return aside


def bring_back(aside: Aside) -> None:
    """Put back what :func:`set_aside` has taken away, in the place of what is there now."""
    for found in _plain_locals():
        vars(found).clear()
    for values, before in aside:
        values.update(before)


def _plain_locals() -> Iterator[threading.local]:
    """Those that may be emptied: one with an ``__init__`` would not run it again."""
    for reference in _thread_locals:
        found = reference()
        if found is not None and type(found).__init__ is threading.local.__init__:
            yield found


#: Thread-locals that are a thread's own business, whoever it serves.
_spared: list[Any] = [AsyncToSync.executors, SyncToAsync.threadlocal]


def spare(local: threading.local) -> None:
    """Leave a thread-local alone, and look for no traces in it."""
    _spared.append(local)


def look_around() -> None:
    """Find the thread-locals of all that is loaded. Call it when the application is."""
    spared = {id(local) for local in _spared}
    spared.add(id(getattr(connections._connections, "_storage", None)))
    _thread_locals[:] = [
        weakref.ref(found)
        for found in gc.get_objects()
        # By type(): isinstance() would wake Django's lazy objects.
        if issubclass(type(found), threading.local) and id(found) not in spared
    ]


#: Somebody has marked a connection. A mark stays on it, so from then on nobody can see whether the
#: next request sets the same: every call that is not Django's own is taken to have set it.
_marks_are_used = False


def has_changed(before: tuple[list[Any], list[Any]]) -> bool:
    """Whether a call has left traces that were not there before it."""
    global _marks_are_used
    locals_before, marks_before = before
    locals_now, marks_now = traces()
    if marks_before != marks_now:
        _marks_are_used = True
    return _marks_are_used or locals_before != locals_now


def traces() -> tuple[list[Any], list[Any]]:
    """The state of this thread that other requests would find, as far as it can be compared: its
    thread-locals, and the marks on its connections."""
    values = []
    for reference in _thread_locals:
        found = reference()
        if found is not None:
            # Where it has an __init__, that runs now, if it has not yet on this thread.
            values.append([(name, _mark(value)) for name, value in vars(found).items()])
    marks = []
    for connection in connections.all(initialized_only=True):
        others = vars(connection).keys() - _djangos_attributes(connection.__class__)
        marks.append([(name, _mark(getattr(connection, name))) for name in sorted(others)])
    return values, marks


def _mark(value: Any) -> tuple[int, int]:
    return id(value), len(value) if isinstance(value, list | dict | set | deque) else 0
