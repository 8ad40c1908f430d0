"""Every exception Twogate raises on purpose; any other exception is a bug.

::

    TwogateError
    ├── ConfigError             an option has a value that cannot be used (exit status 2)
    ├── ProjectError            the project cannot be found or loaded (exit status 1)
    ├── PeerError               the peer broke the rules: answered with 4xx/5xx, logged at info
    ├── ApplicationError        the application broke the rules of its gateway: 500, logged
    ├── RealtimeError           a real-time function cannot be used here
    ├── ClientDisconnected      the client is gone (also an OSError: that is what code expects)
    └── WorkerFailed            a worker process could not start (exit status 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

__all__ = [
    "ApplicationError",
    "ClientDisconnected",
    "ConfigError",
    "PeerError",
    "ProjectError",
    "RealtimeError",
    "TwogateError",
    "WorkerFailed",
]


class TwogateError(Exception):
    """The base of all of Twogate's exceptions."""


class ConfigError(TwogateError):
    """An option cannot be used.

    :param option: the option as the user spells it, for example ``--bind``.
    :param value: the value as it was given.
    :param source: where the value came from, for example ``TWOGATE_BIND`` or ``pyproject.toml``.
    :param message: what is wrong and how to mend it, one sentence each.
    """

    def __init__(self, option: str, value: object, source: str, message: str) -> None:
        self.option = option
        self.value = value
        self.source = source
        self.message = message
        super().__init__(f"{option} = {value!r} (from {source}): {message}")


class ProjectError(TwogateError):
    """The project cannot be found or loaded.

    :param message: the cause, in one sentence that names the file, module or setting.
    :param mend: what to do about it.
    :param place: the file and line of the project's code to look at, where one is known.
    """

    def __init__(self, message: str, mend: str = "", place: tuple[Path, int] | None = None) -> None:
        self.message = message
        self.mend = mend
        self.place = place
        super().__init__(f"{message}\n{mend}" if mend else message)


class PeerError(TwogateError):
    """The peer broke a rule of the protocol, or a limit of ours.

    :param status: the HTTP status that answers it.
    :param message: one plain sentence for the log and the response body; it may quote the
        rule (``RFC 9112 §6.3``) and never anything the peer sent.
    :param headers: header fields the answer must have, for example ``Allow`` with a 405.
    """

    def __init__(
        self,
        status: HTTPStatus | int,
        message: str,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.status = HTTPStatus(status)
        self.message = message
        self.headers = headers
        super().__init__(f"{self.status.value} {self.status.phrase}: {message}")


class ApplicationError(TwogateError):
    """The application broke a rule of WSGI or ASGI; the message quotes the rule."""


class RealtimeError(TwogateError):
    """A real-time function cannot be used here; the message says why and what to do about it."""


class ClientDisconnected(TwogateError, OSError):
    """The client is gone: nothing more can be read from it or sent to it.

    Also an :class:`OSError`, as the ASGI specification asks of ``send()`` (HTTP connection scope,
    "Disconnected Client - send exception") and as Django expects of ``wsgi.input``.
    """


class WorkerFailed(TwogateError):
    """A worker process could not load the application or could not start to serve."""
