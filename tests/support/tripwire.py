"""Tells when code that runs on an event loop does what may block it.

Files, directories, sockets, processes and SQLite's files are seen by an audit hook, database
connections by Django's own guard, and what a rule also counts as blocking (a log record, a
template, a mail) by a wrapper around it. Modules and time zones are left out: a process reads each
of them once.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from django.core.exceptions import SynchronousOnlyOperation
from django.core.mail import EmailMessage
from django.template.base import Template

__all__ = ["Tripwire"]

_BLOCKING = ("open", "os.", "socket.", "sqlite3.", "subprocess.", "tempfile.", "shutil.", "fcntl.",
             "time.sleep", "urllib.")  # fmt: skip
_HARMLESS = ("os.putenv", "os.unsetenv")

#: By thread: the tripwire that is armed there.
_armed: dict[int, Tripwire] = {}


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    tripwire = _armed.get(threading.get_ident())
    if tripwire is None or not event.startswith(_BLOCKING) or event in _HARMLESS:
        return
    path = str(arguments[0]) if event == "open" else ""
    if path.endswith((".py", ".pyc", ".so")) or "/zoneinfo/" in path:
        return
    tripwire.trip(event, str(arguments[:1]))


@functools.cache
def _install() -> None:
    sys.addaudithook(_audit)  # for good: there is no way to take one away


@contextmanager
def _logging_all() -> Iterator[None]:
    """Within the block Django's loggers log, whatever an earlier test has made of them."""
    names = ("django", "django.request", "django.security", "django.template", "django.server")
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.level, logger.disabled, logger.propagate) for logger in loggers]
    disabled = logging.root.manager.disable
    try:
        logging.disable(logging.NOTSET)
        for logger in loggers:
            logger.setLevel(logging.DEBUG)
            logger.disabled, logger.propagate = False, True
        yield
    finally:
        logging.disable(disabled)
        for logger, (level, off, propagate) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.disabled, logger.propagate = off, propagate


class Tripwire(logging.Handler):
    """Guards functions; once :meth:`stretched`.

    :ivar tripped: the function and what it did.
    :ivar passed: the functions that have run on a loop.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tripped: list[tuple[str, str, str]] = []
        self.passed: set[str] = set()
        self._running: list[str] = []

    def trip(self, event: str, what: str) -> None:
        """Note that the function that runs has done something."""
        self.tripped.append((self._running[-1], event, what))

    def guard(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, guarded whenever it runs on a loop's thread."""

        @functools.wraps(function)
        def guarded(*arguments: Any, **keywords: Any) -> Any:
            if asyncio._get_running_loop() is None:
                return function(*arguments, **keywords)
            self.passed.add(name)
            self._running.append(name)
            outer = _armed.get(threading.get_ident())
            _armed[threading.get_ident()] = self
            try:
                return function(*arguments, **keywords)
            finally:
                if outer is None:
                    del _armed[threading.get_ident()]
                self._running.pop()

        return guarded

    @contextmanager
    def stretched(self) -> Iterator[Tripwire]:
        """Within the block, all that blocks is seen."""
        _install()
        logger = logging.getLogger("django")
        logger.addHandler(self)
        try:
            with (
                _logging_all(),
                mock.patch.object(Template, "render", self._seeing(Template.render)),
                mock.patch.object(EmailMessage, "send", self._seeing(EmailMessage.send)),
                # Where it is made: there is middleware that catches everything.
                mock.patch("django.utils.asyncio.SynchronousOnlyOperation", self._refused),
            ):
                yield self
        finally:
            logger.removeHandler(self)

    def _refused(self, message: str) -> SynchronousOnlyOperation:
        if threading.get_ident() in _armed:
            self.trip("database", message)
        return SynchronousOnlyOperation(message)

    def _seeing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def seen(*arguments: Any, **keywords: Any) -> Any:
            if threading.get_ident() in _armed:
                self.trip("call", function.__qualname__)
            return function(*arguments, **keywords)

        return seen

    def emit(self, record: logging.LogRecord) -> None:
        """A log record is made."""
        if threading.get_ident() in _armed:
            self.trip("log", record.getMessage())
