"""What runs in a worker process, and, without a supervisor, in the only process.

Loads what is to be served by its import string, serves it on one event loop, and stops when told:
by a signal, or by the supervisor's death. Knows the server by four methods and no supervisor: only
the end of a channel to talk into.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import importlib
import logging
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import twogate
from twogate.errors import ProjectError, TwogateError
from twogate.process.child import leave, leave_when_told
from twogate.process.sockets import describe

if TYPE_CHECKING:
    from twogate.config import Config
    from twogate.dispatch import Applications
    from twogate.observe.observer import Observer
    from twogate.process.channel import ChildEnd

__all__ = ["LEEWAY", "Announce", "MakeServer", "Serves", "log_start", "run"]

log = logging.getLogger("twogate.worker")

#: Seconds after the graceful timeout for what follows the last request: WebSockets' closing
#: handshakes, lifespan shutdown, the project's own exit functions.
LEEWAY = 2.0

_MOST_TRACEBACK = 16_384
_SECONDS_BETWEEN_BEATS = 1.0


class Serves(Protocol):
    """What a worker asks of a server; :class:`twogate.server.Server` is one."""

    #: Called once, on the loop, when ``--max-requests`` is reached.
    on_retire: Callable[[], None] | None

    async def start(self, sockets: list[socket.socket]) -> None:
        """Accept connections."""

    async def stop(self, graceful_timeout: float) -> None:
        """Stop accepting, finish what was begun, close the rest; timeout in seconds."""

    def statistics(self) -> dict[str, Any]:
        """Numbers of this moment, ``connections`` among them."""


MakeServer: TypeAlias = Callable[["Applications", "Config", "Observer"], Serves]
#: Takes the configuration, how many workers there are, the addresses, and the notes of loading.
Announce: TypeAlias = Callable[["Config", int, Sequence[str], Sequence[str]], None]


def run(
    config: Config,
    sockets: Sequence[socket.socket],
    load: str,
    channel: ChildEnd | None = None,
    *,
    observer: Callable[[Config], Observer],
    make_server: MakeServer | None = None,
    announce: Announce | None = None,
) -> int:
    """Serve until told to stop.

    :param sockets: listening sockets; they are closed when the worker stops.
    :param load: ``"module:function"`` that takes the configuration and returns
        :class:`~twogate.dispatch.Applications`.
    :param channel: the line to the supervisor; ``None`` when there is none.
    :param observer: makes the observer, in this process.
    :param make_server: makes the server; the default is :class:`twogate.server.Server`.
    :param announce: tells people what is served, when there is no supervisor to do it; the
        default is :func:`log_start`.
    :return: the exit status, 0 or 1.
    """
    faulthandler.enable(2)  # SIGABRT, which the supervisor sends when we hang, shows the stacks
    orders = _Orders(config.graceful_timeout, supervised=channel is not None)
    if channel is not None:
        threading.Thread(
            target=orders.outlive_nobody, args=(channel,), name="twogate-supervisor", daemon=True
        ).start()
    else:
        leave_when_told(signal.SIGINT)  # which a shell's background job is born ignoring
    try:
        applications = _named(load)(config)
        listening = observer(config)
        server = (make_server or _server())(applications, config, listening)
        _keep_for_good()
    except KeyboardInterrupt:
        return 0
    except BaseException as error:  # SystemExit, too: settings may well call sys.exit()
        return _failed(error, channel, config.traceback)
    worker = _Worker(config, server, channel, orders, announce)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(worker.serve(list(sockets), applications.notes))
    except KeyboardInterrupt:
        return 0
    finally:
        listening.close()


def log_start(config: Config, workers: int, urls: Sequence[str], notes: Sequence[str]) -> None:
    """Log what is served, where, and what looks wrong.

    :param workers: how many; 0 for one process without a supervisor.
    """
    who = {0: "one process without a supervisor", 1: "1 worker"}.get(workers, f"{workers} workers")
    log.info(
        "Twogate %s serves %s with %s, up to %d threads each",
        twogate.__version__,
        " and ".join(urls),
        who,
        config.threads,
    )
    tell_notes(log, notes)


def tell_notes(to: logging.Logger, notes: Sequence[str]) -> None:
    """Log what the project's loading found."""
    for note in notes:
        warning = note.startswith("warning: ")
        to.log(logging.WARNING if warning else logging.INFO, "%s", note.removeprefix("warning: "))


class _Worker:
    """One server on one loop, from its start to its end."""

    __slots__ = ("_announce", "_channel", "_config", "_orders", "_pause", "_server")

    def __init__(
        self,
        config: Config,
        server: Serves,
        channel: ChildEnd | None,
        orders: _Orders,
        announce: Announce | None,
    ) -> None:
        self._config = config
        self._server = server
        self._channel = channel
        self._orders = orders
        self._announce = announce or log_start
        # Four beats fit into the time after which we are taken for hung.
        self._pause = min(_SECONDS_BETWEEN_BEATS, (config.timeout or 60.0) / 4)

    async def serve(self, sockets: list[socket.socket], notes: list[str]) -> int:
        urls = [describe(sock) for sock in sockets]
        self._prepare_to_retire()
        try:
            await self._server.start(sockets)
        except Exception as error:
            return _failed(error, self._channel, self._config.traceback)
        told = self._orders.listen()
        if self._channel is None:
            self._announce(self._config, 0, urls, notes)
        else:
            self._channel.tell("ready", notes)
            self._beat(self._channel)
        await self._stop(await told)
        return 0

    def _prepare_to_retire(self) -> None:
        if self._channel is not None:
            channel = self._channel
            self._server.on_retire = lambda: channel.tell("retiring")
        elif self._config.max_requests:
            log.warning("--max-requests has no effect with --workers 0: nobody could take over")

    def _beat(self, channel: ChildEnd) -> None:
        channel.beat(_connections(self._server))
        asyncio.get_running_loop().call_later(self._pause, self._beat, channel)

    async def _stop(self, grace: float) -> None:
        _leave_after(grace + LEEWAY, self._server)
        log.log(
            logging.INFO if self._channel is None else logging.DEBUG,
            "stopping; %d connections are open",
            _connections(self._server),
        )
        await self._server.stop(grace)


class _Orders:
    """Whether, and how soon, to stop: signals and the supervisor's death say so.

    ==================  ==========================  =========================================
    what                with a supervisor           without
    ==================  ==========================  =========================================
    SIGTERM             drain                       drain
    SIGINT              nothing (a terminal sends   drain; the second time leave at once
                        it to all of us; the
                        supervisor decides)
    SIGHUP              nothing                     drain (the terminal was closed)
    SIGQUIT             stop, waiting for nobody    stop, waiting for nobody
    SIGINT or SIGQUIT   leave at once               leave at once
    while stopping
    supervisor is gone  drain                       (there is none)
    ==================  ==========================  =========================================
    """

    __slots__ = ("_future", "_graceful", "_loop", "_supervised", "_told")

    def __init__(self, graceful_timeout: float, supervised: bool) -> None:
        self._graceful = graceful_timeout
        self._supervised = supervised
        self._told = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._future: asyncio.Future[float] | None = None

    def listen(self) -> asyncio.Future[float]:
        """Obey from now on; before, SIGTERM and SIGQUIT make us leave: there is nothing to finish.

        :return: becomes the seconds that requests may go on.
        """
        self._loop = asyncio.get_running_loop()
        self._future = self._loop.create_future()
        heeded = [signal.SIGTERM, signal.SIGQUIT]
        if not self._supervised:
            heeded += [signal.SIGINT, signal.SIGHUP]
        for number in heeded:
            # Not loop.add_signal_handler(): a second Ctrl-C must work while the loop is blocked.
            signal.signal(number, self._on_signal)
        return self._future

    def outlive_nobody(self, channel: ChildEnd) -> None:
        """Stop when the supervisor is gone. A thread of its own, so that a blocked loop leaves,
        too."""
        channel.wait_for_end()
        if self._loop is None:
            os._exit(1)  # still loading: there is nothing to finish
        self._stop(self._graceful)
        time.sleep(self._graceful + LEEWAY + 1)
        os._exit(1)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._told:
            self._stop(0.0 if number == signal.SIGQUIT else self._graceful)
        elif number in (signal.SIGINT, signal.SIGQUIT):
            leave(0, wait=False)

    def _stop(self, grace: float) -> None:
        assert self._loop is not None
        self._told = True
        try:
            self._loop.call_soon_threadsafe(self._resolve, grace)
        except RuntimeError:  # the loop is closed: we are leaving already
            pass

    def _resolve(self, grace: float) -> None:
        assert self._future is not None
        if not self._future.done():
            self._future.set_result(grace)


def _keep_for_good() -> None:
    """Take what was loaded out of the garbage collector's sight.

    The project's modules, classes and URL patterns live as long as the worker. Each full collection
    would look at all of them again, several percent of the time of a request, and write to the
    pages that processes forked from here share.
    """
    gc.collect()
    gc.freeze()


def _leave_after(seconds: float, server: Serves) -> None:
    """See to it that this process ends: a thread stuck in the project's code cannot be stopped."""

    def give_up() -> None:
        log.warning(
            "the graceful timeout is over; leaving %d connections open", _connections(server)
        )
        leave(0, wait=False)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()


def _connections(server: Serves) -> int:
    return int(server.statistics()["connections"])


def _named(load: str) -> Callable[[Config], Applications]:
    module, _, name = load.partition(":")
    function: Callable[[Config], Applications] = getattr(importlib.import_module(module), name)
    return function


def _server() -> MakeServer:
    make: MakeServer = importlib.import_module("twogate.server").Server
    return make


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # PyPy, or a platform uvloop does not run on
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _failed(error: BaseException, channel: ChildEnd | None, show_traceback: bool) -> int:
    """Tell the supervisor, or the log when there is none."""
    message, details = _explain(error)
    if channel is not None:
        channel.tell("failed", [message, details])
        return 1
    log.error("%s", message)
    if details:
        log.log(logging.ERROR if show_traceback else logging.DEBUG, "%s", details)
    return 1


def _explain(error: BaseException) -> tuple[str, str]:
    """What failed in plain words, and the traceback when it was the project's own code."""
    if isinstance(error, ProjectError):
        return str(error), _traceback(error.__cause__)
    if isinstance(error, TwogateError):
        return str(error), ""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"the application cannot be loaded: {what}{_place(error)}", _traceback(error)


def _place(error: BaseException) -> str:
    """Where it happened; a SyntaxError says so itself."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) or not frames:
        return ""
    return f' (file "{frames[-1].filename}", line {frames[-1].lineno})'


def _traceback(error: BaseException | None) -> str:
    if error is None:
        return ""
    return "".join(traceback.format_exception(error)).rstrip()[-_MOST_TRACEBACK:]
