"""Threads for what must not run on the event loop, lent to requests while they need one.

asgiref runs all thread-sensitive calls of a request on one thread. Django's stock handler makes
that thread anew for each request and ends it with the request, and every database connection with
it. Here the threads are those that serve sync views too: few and long-lived, so connections
persist.

A request, or a WebSocket, has a :class:`Lease`. It holds no thread until the first call, and gives
the thread back as soon as nothing on it is open that the next call would have to find again:

=============================  ==================================================================
kept for the next call while   seen by
=============================  ==================================================================
a transaction is open          ``in_atomic_block``, autocommit switched off
a cursor is open               cursors that were not closed
``execute_wrapper`` is on      the connection's list of them
a connection was marked        attributes that Django does not set, for example a tenant
a ``threading.local`` changed  the thread-locals known when the application was loaded
=============================  ==================================================================

The last two are looked at around calls that are not Django's own. Once seen, the thread stays with
the request to its end. ``docs/design/0010-leases.md`` says why that is enough and what is not seen.

What a request leaves open when it ends, because it was cancelled, say, is thrown away with its
connection: the next one must not get into its transaction.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from types import FrameType
from typing import Any

from asgiref.current_thread_executor import CurrentThreadExecutor
from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.db import connections

from twogate.django.signals import (
    close_old_connections_here,
    open_connections,
    reset_queries_here,
)
from twogate.django.traces import bring_back, has_changed, set_aside, spare, traces
from twogate.gateway.threads import WorkerThreads

__all__ = ["Lease", "is_busy", "leased", "leasing", "tidy", "use_threads"]

logger = logging.getLogger("twogate.threads")

#: Threads at most where no server hands in its own.
_LIMIT = 64
#: Seconds that a call waits for a thread while others keep theirs without using it; then it gets
#: one beyond the limit, because they may be waiting for what this call does. As long a thread is
#: kept for a task that has outlived its request with a transaction open.
PATIENCE = 5.0

_current: ContextVar[Lease] = ContextVar("twogate.lease")


class Lease:
    """The thread of one request or one WebSocket, whenever it needs one.

    Calls run one at a time, in the order submitted. Methods may be called by any thread.
    """

    __slots__ = (
        "_asked",
        "_calls",
        "_changed",
        "_ended",
        "_outlived",
        "_pool",
        "_served",
        "_states",
        "waits_since",
    )

    def __init__(self, pool: _Pool) -> None:
        self._pool = pool
        #: Made with the first call: most WebSockets of async consumers never have one.
        self._calls: _Calls | None = None
        #: A thread is asked for, and one has come.
        self._asked = self._served = False
        #: When a thread was last asked for, by the loop's clock.
        self.waits_since = 0.0
        #: The request is over, and a task of it has submitted a call since.
        self._ended = self._outlived = False
        #: Something was seen that other requests must not find.
        self._changed = False
        #: The threads whose connections this request has used.
        self._states: tuple[_ThreadState, ...] = ()

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Run a call on the lease's thread; the interface of :class:`concurrent.futures.Executor`
        as far as event loops use it."""
        calls = self._calls
        if calls is None:
            with _making_calls:
                calls = self._calls = self._calls or _Calls()
        future: Future[Any] = Future()
        with calls:
            self._outlived |= self._ended
            calls.waiting.append((future, function, arguments))
            ask, self._asked = not self._asked, True
            calls.notify()
        if ask:
            self._pool.ask(self)
        return future

    def end(self) -> None:
        """The request is over: its thread is free, and so are its connections. Calls may still be
        submitted, by tasks that outlive it."""
        for state in self._states:
            state.users.discard(self)
        self._states = ()
        self._ended = True
        calls = self._calls
        if calls is not None:
            with calls:
                calls.notify()

    @property
    def waits_for_thread(self) -> bool:
        """Whether a thread was asked for and none has come."""
        return self._asked and not self._served

    @property
    def is_busy(self) -> bool:
        """Whether a thread serves it, or is asked to."""
        return self._asked

    def serve(self) -> None:
        """Run the calls; on a worker thread, until it may be lent on."""
        if not self._claim():
            return  # another thread was quicker
        state = _thread_state()
        aside = set_aside()
        state.begin(self)
        while (call := self._next(state)) is not None:
            future, function, arguments = call
            if future.set_running_or_notify_cancel():
                self._changed |= state.run(future, function, arguments)
            # Else the next wait would keep the last call's values alive.
            del call, future, function, arguments
        state.finish(self._ended)
        bring_back(aside)

    def _claim(self) -> bool:
        calls = self._calls
        assert calls is not None
        with calls:
            claimed = self.waits_for_thread
            if claimed:
                self._served = True
            return claimed

    def _next(self, state: _ThreadState) -> Any:
        """The next call, waited for while the thread has to be kept; ``None`` if it has not."""
        calls = self._calls
        assert calls is not None
        waiting = calls.waiting
        with calls:
            if not waiting and self._outlived and state.is_open():
                # Nobody will say when that task is over.
                self._hold(calls, PATIENCE)
            elif not waiting and not self._ended and (self._changed or state.is_open()):
                self._hold(calls, None)
            if waiting:
                return waiting.popleft()
            self._asked = self._served = False
            return None

    def _hold(self, calls: _Calls, timeout: float | None) -> None:
        """Wait for the next call or the end."""
        held = self._pool.held
        held.add(self)
        calls.wait_for(lambda: calls.waiting or (self._ended and timeout is None), timeout)
        held.discard(self)

    def use(self, state: _ThreadState) -> None:
        """Note that the connections of a thread are this request's, too."""
        if not self._ended and state not in self._states:
            self._states += (state,)
            state.users.add(self)
            if self._ended:  # meanwhile
                state.users.discard(self)


class _Calls(threading.Condition):
    """Calls of one lease that wait for its thread; the lock of all that changes with them."""

    def __init__(self) -> None:
        super().__init__(threading.Lock())
        self.waiting: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()


_making_calls = threading.Lock()


class _Pool:
    """The worker threads of one event loop.

    :param threads: runs the leases.
    :param loop: whose they are.
    """

    def __init__(self, threads: WorkerThreads, loop: asyncio.AbstractEventLoop) -> None:
        threads.on_idle = tidy
        threads.on_end = close_connections
        self._threads = threads
        self._loop = loop
        #: Leases that keep a thread without a call for it.
        self.held: set[Lease] = set()
        #: Leases that have asked for a thread, in that order; those at the front still wait.
        self._waiting: deque[Lease] = deque()
        self._lock = threading.Lock()
        self._watching = False
        #: Calls of leases that threads beyond the limit have served.
        self._helped = 0
        #: What there was to see of the threads' work at the last look.
        self._progress = (0, 0)

    def ask(self, lease: Lease) -> None:
        """Have a thread serve a lease."""
        if asyncio._get_running_loop() is self._loop:
            self._submit(lease)
        else:
            self._loop.call_soon_threadsafe(self._submit, lease)

    def _submit(self, lease: Lease) -> None:
        lease.waits_since = self._loop.time()
        self._first_waiting()
        with self._lock:
            self._waiting.append(lease)
        self._threads.submit(_serve, lease)
        if not self._watching:
            self._watching = True
            self._loop.call_later(PATIENCE, self._watch)

    def _first_waiting(self) -> Lease | None:
        """Who has waited longest, after forgetting those who wait no more."""
        waiting = self._waiting
        with self._lock:
            while waiting and not waiting[0].waits_for_thread:
                waiting.popleft()
            return waiting[0] if waiting else None

    # Against deadlock.

    def _watch(self) -> None:
        """See to it that nobody waits for ever, as long as anybody waits."""
        first = self._first_waiting()
        if first is None:
            self._watching = False
            return
        left = first.waits_since + PATIENCE - self._loop.time()
        if left <= 0:
            if self._is_stuck():
                self._help()
            left = PATIENCE / 5
        self._loop.call_later(left, self._watch)

    def _is_stuck(self) -> bool:
        """Whether no job was finished since the last look, and some threads wait for what other
        requests do. Threads that compute for long do not count: more of them would not help."""
        before, self._progress = self._progress, (self._threads.statistics().done, self._helped)
        return before == self._progress and bool(self.held or _wait_for_loop())

    def _help(self) -> None:
        logger.warning(
            "A call has waited %g s for a thread, while %d threads are kept for requests that have"
            " a transaction, a cursor or thread-local state open, and %d wait for async code: it"
            " runs on a thread beyond --threads",
            PATIENCE,
            len(self.held),
            _wait_for_loop(),
        )
        threading.Thread(target=self._serve_waiting, name="thread-extra", daemon=True).start()

    def _serve_waiting(self) -> None:
        """On a thread beyond the limit: serve until nobody waits."""
        while (lease := self._first_waiting()) is not None:
            lease.serve()
            self._helped += 1
        close_connections()

    def close(self) -> None:
        """End the threads, of which none may be busy."""
        self._threads.close(0)


def _wait_for_loop() -> int:
    """Threads that wait in ``async_to_sync`` for what runs on an event loop."""
    return sum(map(_waits_for_loop, sys._current_frames().values()))


def _waits_for_loop(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_globals.get("__name__") in ("threading", "queue"):
        frame = frame.f_back
    return frame is not None and frame.f_code is CurrentThreadExecutor.run_until_future.__code__


def _serve(lease: Lease, thread: str) -> None:
    lease.serve()


#: What is logged then: whoever waits for the thread is not to blame.
_NOT_CLOSED = "Closing a database connection failed"


class _ThreadState:
    """What one thread has open, and for whom."""

    def __init__(self) -> None:
        #: Requests that have used this thread's connections and are not over.
        self.users: set[Lease] = set()
        self._used = False
        self._cursors: weakref.WeakSet[Any] = weakref.WeakSet()
        for alias in connections:
            self._watch_cursors(connections[alias])

    def _watch_cursors(self, connection: Any) -> None:
        """Note the cursors that a connection makes, to see which are still open."""
        cursors = self._cursors
        for name in ("make_cursor", "make_debug_cursor"):
            make = getattr(connection, name)

            def made(cursor: Any, make: Any = make) -> Any:
                wrapped = make(cursor)
                cursors.add(wrapped)
                wrapped.close = _Closing(wrapped, cursor, cursors)
                return wrapped

            setattr(connection, name, made)

    def begin(self, lease: Lease) -> None:
        """The thread is about to serve a lease: for a request it has not served, what Django does
        when a request starts."""
        if lease not in self.users:
            try:
                self._refresh()
            except Exception:
                logger.exception(_NOT_CLOSED)
            reset_queries_here()
            lease.use(self)
        self._used = True

    def _refresh(self) -> None:
        """Close connections that broke, or are too old. Without ``CONN_MAX_AGE`` they last as long
        as any of the requests that share them: not one for each call."""
        for connection in open_connections():
            close_at = connection.close_at
            shared = self.users and connection.settings_dict["CONN_MAX_AGE"] == 0
            if shared:
                connection.close_at = None
            connection.close_if_unusable_or_obsolete()
            if shared:
                connection.close_at = close_at

    def finish(self, ended: bool) -> None:
        """The thread is about to be lent on.

        :param ended: the request is over.
        """
        # A request of the WSGI side must not find the loop, or async_to_sync would run there.
        SyncToAsync.threadlocal.main_event_loop_pid = None
        try:
            if ended and self.is_open():
                self._abandon()
            for connection in open_connections():
                if connection.settings_dict["OPTIONS"].get("pool"):
                    connection.close()  # it goes back to the pool, where others may wait for it
            if ended and not self.users:
                self.tidy()
        except Exception:
            logger.exception(_NOT_CLOSED)

    def _abandon(self) -> None:
        """Throw away the connections on which something is open: nobody is left to close it."""
        with_cursors = {cursor.db.alias for cursor in self._cursors}
        for connection in list(connections.all(initialized_only=True)):
            alias = connection.alias
            if _is_open(connection) or alias in with_cursors:
                try:
                    connection.close()
                finally:
                    # One that is closed within a transaction stays in it.
                    del connections[alias]
                    self._watch_cursors(connections[alias])
        for cursor in list(self._cursors):
            cursor.close()  # nothing is asked of a connection that is closed

    def tidy(self) -> None:
        """What Django does with connections when a request ends. A thread that has nothing to do
        does it while requests that have used it go on: some of them go on for hours."""
        if self._used:
            self._used = False
            close_old_connections_here()

    def is_open(self) -> bool:
        """Whether something is open that the next call of the same request must find."""
        return len(self._cursors) > 0 or any(map(_is_open, connections.all(initialized_only=True)))

    def run(
        self, future: Future[Any], function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> bool:
        """Run a call; says whether it has left something on the thread that is nobody else's."""
        before = None if _is_djangos(function) else traces()
        try:
            result = function(*arguments)
        except BaseException as error:
            changed = before is not None and has_changed(before)
            future.set_exception(error)
            # The error knows this frame.
            del future
        else:
            changed = before is not None and has_changed(before)
            future.set_result(result)
        return changed


def _is_open(connection: Any) -> bool:
    """Whether a connection has a transaction or an ``execute_wrapper``."""
    return bool(
        connection.in_atomic_block
        or connection.execute_wrappers
        or (connection.connection is not None and not connection.autocommit)
    )


class _Closing:
    """The ``close`` of a cursor that is watched.

    Others may still refer to a closed cursor: the traceback of a query that failed does.
    """

    __slots__ = ("_close", "_cursors", "_wrapped")

    def __init__(self, wrapped: Any, cursor: Any, cursors: weakref.WeakSet[Any]) -> None:
        self._wrapped = weakref.ref(wrapped)
        self._close = cursor.close
        self._cursors = cursors

    def __call__(self) -> None:
        wrapped = self._wrapped()
        if wrapped is not None:
            self._cursors.discard(wrapped)
        self._close()


def _called(function: Any) -> Any:
    """What ``sync_to_async`` was given; ``None`` for a call that it has not made."""
    try:
        # functools.partial(thread_handler, loop, exc_info, task_context, func, child)
        return function.args[-1].func
    except (AttributeError, IndexError):
        return None


def _is_djangos(function: Any) -> bool:
    """Whether a call is one of Django's own methods, which leave nothing behind but what
    :meth:`_ThreadState.is_open` sees."""
    module = getattr(_called(function), "__module__", None)
    return isinstance(module, str) and module.startswith("django.")


class _Local(threading.local):
    state: _ThreadState | None = None


_local = _Local()
spare(_local)


def _thread_state() -> _ThreadState:
    state = _local.state
    if state is None:
        state = _local.state = _ThreadState()
    return state


def tidy() -> None:
    """For a thread that has nothing to do: close what no request needs any more."""
    if _local.state is not None:
        _local.state.tidy()


def close_connections() -> None:
    """For a thread that ends."""
    connections.close_all()


# How asgiref comes to use it.


class _CurrentLease:
    """Stands for the lease of whoever submits."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        return _current.get().submit(function, *arguments)


# One context for all requests: what differs is the lease, which is a context variable too. Unlike a
# ThreadSensitiveContext(executor=...), it stays valid for tasks that outlive their request.
_context = ThreadSensitiveContext()
SyncToAsync.context_to_thread_executor[_context] = _CurrentLease()  # type: ignore[assignment]

_pools: dict[asyncio.AbstractEventLoop, _Pool] = {}


def use_threads(threads: WorkerThreads) -> None:
    """Let the running loop's leases be served by a server's threads."""
    loop = asyncio.get_running_loop()
    _pools[loop] = _Pool(threads, loop)


def _pool() -> _Pool:
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None:
        for old in [old for old in list(_pools) if old.is_closed()]:
            if (closed := _pools.pop(old, None)) is not None:
                closed.close()
        pool = _pools[loop] = _Pool(WorkerThreads(loop, _LIMIT), loop)
    return pool


def is_busy() -> bool:
    """Whether a thread serves the current lease, or is asked to; true where there is no lease."""
    lease = _current.get(None)
    return lease is None or lease.is_busy


class leased:  # noqa: N801 - used like a function, and quicker than a generator
    """Let thread-sensitive calls of what is awaited within run on leased threads.

    Within another thread-sensitive context it changes nothing: the outermost counts, as ever.
    """

    __slots__ = ("_context_token", "_lease", "_lease_token")

    def __enter__(self) -> None:
        contexts = SyncToAsync.thread_sensitive_context
        if contexts.get(None) is not None:
            self._lease = None
            return
        self._lease = lease = Lease(_pool())
        self._context_token = contexts.set(_context)
        self._lease_token = _current.set(lease)

    def __exit__(self, *_: object) -> None:
        lease = self._lease
        if lease is not None:
            lease.end()  # first: a coroutine that is thrown away is closed in another context
            SyncToAsync.thread_sensitive_context.reset(self._context_token)
            _current.reset(self._lease_token)


def leasing(application: Any) -> Any:
    """Wrap an ASGI application so that each of its requests and WebSockets has a lease: consumers
    share the worker's threads instead of waiting for a single one.

    To be called in a task of its own: a WebSocket may live for hours, and the context ends with the
    task, so nothing is kept that would put it back.
    """

    async def call(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await application(scope, receive, send)
            return
        lease = Lease(_pool())
        SyncToAsync.thread_sensitive_context.set(_context)
        _current.set(lease)
        try:
            await application(scope, receive, send)
        finally:
            lease.end()

    return call
