"""Makes a recording of each request a server takes, from its head to the end of its response.

A server is handed a :class:`Tracer` and asks it for wrappers at three places: where an exchange is
dispatched, where the WSGI gateway runs a call on its thread, and around the applications. Without a
tracer none of this is in a request's way. Runs on the loop; a WSGI call on its worker thread.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from twogate.observe.observer import Observer, Observers, Relay
from twogate.trace.recorder import LIMIT, Recording, Span, current, enter, span
from twogate.trace.timeline import discreet

if TYPE_CHECKING:
    from twogate.dispatch import Applications
    from twogate.exchange import Exchange

__all__ = ["Tracer"]

#: Messages of a WebSocket that are recorded.
_MESSAGES = 100
#: Headers of a response that are kept.
_MOST_HEADERS = 100
#: Recordings that are under way at once; more requests are not recorded.
_MOST = 1000


class Tracer(Observer):
    """Records requests.

    :param keep: is given each recording once its response is complete and its application has
        returned; any thread.
    :param limit: spans that one recording keeps.
    :param answer: is asked first: whether it has taken an exchange on itself. That is neither
        recorded nor told to other observers.
    :param wanted: says whether to record an exchange; all are recorded without it.
    """

    def __init__(
        self,
        keep: Callable[[Recording], None],
        limit: int = LIMIT,
        answer: Callable[[Exchange], bool] | None = None,
        wanted: Callable[[Exchange], bool] | None = None,
    ) -> None:
        self._keep = keep
        self._limit = limit
        self._answer = answer
        self._wanted = wanted
        #: By the identity of the exchange, which lives as long as its entry.
        self._open: dict[int, _Open] = {}

    def record(self, applications: Applications) -> None:
        """Record what these applications are asked."""
        applications.tracer = self
        if applications.wsgi is not None:
            applications.wsgi = self.wsgi(applications.wsgi)
        if applications.asgi is not None:
            applications.asgi = self.asgi(applications.asgi)

    def under_way(self) -> list[Recording]:
        """Those that are not complete, of open WebSockets for example, with what is known so far;
        any thread."""
        return [opened.recording for opened in list(self._open.values()) if opened.look()]

    # For the server.

    def listening(self, observer: Observer) -> Observer:
        """What a server tells what happens: this tracer and another observer."""
        return Observers([self, _Others(observer)])

    def dispatching(self, dispatch: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
        """Wrap what takes an exchange to its gateway; on the loop."""

        def traced(exchange: Exchange) -> None:
            if self._answer is not None:
                exchange.gateway, exchange.reason = "server", _OURS
                if self._answer(exchange):
                    return
            if len(self._open) >= _MOST or not (self._wanted is None or self._wanted(exchange)):
                dispatch(exchange)
                return
            opened = self._begin(exchange)
            with enter(opened.root), span("dispatch", "dispatch") as choosing:
                assert choosing is not None
                # The gateway may take hold of the context at once: what it does is the request's.
                with enter(opened.root):
                    dispatch(exchange)
                choosing.name = f"dispatch to {exchange.gateway}"
                choosing.detail.update(gateway=exchange.gateway, reason=exchange.reason)
                opened.dispatched = time.perf_counter_ns()

        return traced

    def running(self, run: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
        """Wrap what runs one call of the WSGI application; on its worker thread."""

        def traced(call: Any, thread: str) -> None:
            opened = self._open.get(id(call.exchange))
            if opened is None:
                run(call, thread)
                return
            with enter(opened.root), _application(opened):
                waited = Span(
                    opened.recording, opened.root, "wait", "wait for a worker thread",
                    start=opened.dispatched or opened.root.start,
                )  # fmt: skip
                waited.close()
                with span("gateway", "WSGI gateway") as gateway:
                    assert gateway is not None
                    gateway.detail.update(
                        call="sync", waited_us=(waited.end - waited.start) // 1000
                    )
                    run(call, thread)

        return traced

    def wsgi(self, application: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a WSGI application."""

        def traced(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            opened = _opened()
            if opened is None:
                return application(environ, start_response)

            def traced_start(status: str, headers: Any, *exc_info: Any) -> Any:
                opened.respond(status, headers)
                return start_response(status, headers, *exc_info)

            return application(environ, traced_start)

        return traced

    def asgi(self, application: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap an ASGI application."""

        async def traced(scope: dict[str, Any], receive: Any, send: Any) -> None:
            opened = _opened()
            if opened is None or scope["type"] == "lifespan":
                await application(scope, receive, send)
                return

            async def traced_send(message: dict[str, Any]) -> None:
                kind = message.get("type")
                if kind == "http.response.start":
                    opened.respond(str(message.get("status")), message.get("headers", ()))
                elif scope["type"] == "websocket":
                    opened.say("sends", message)
                await send(message)

            async def traced_receive() -> Any:
                message = await receive()
                if scope["type"] == "websocket":
                    opened.say("receives", message)
                return message

            with _application(opened), span("gateway", "ASGI gateway") as gateway:
                assert gateway is not None
                gateway.detail.update(call="async", scope=scope["type"])
                await application(scope, traced_receive, traced_send)

        return traced

    # What the observer points tell.

    def request_finished(self, exchange: Exchange, duration: float) -> None:  # noqa: D102
        opened = self._open.get(id(exchange))
        if opened is None or (opened.websocket and exchange.encoder.status == 101):
            return
        opened.finish()
        self._end(opened)

    def application_failed(self, exchange: Exchange, error: BaseException) -> None:  # noqa: D102
        opened = self._open.get(id(exchange))
        if opened is not None:
            opened.recording.facts["error"] = f"{type(error).__name__}: {error}"[:500]

    def websocket_closed(  # noqa: D102
        self, exchange: Exchange, code: int, reason: str, duration: float
    ) -> None:
        opened = self._open.get(id(exchange))
        if opened is not None:
            opened.recording.facts["close_code"] = code
            opened.finish()
            self._end(opened)

    def _begin(self, exchange: Exchange) -> _Open:
        recording = Recording(self._limit)
        opened = self._open[id(exchange)] = _Open(self, exchange, recording)
        recording.facts.update(opened=opened, request=_request(exchange), at=time.time())
        return opened

    def _end(self, opened: _Open) -> None:
        """Keep the recording, once both ends have been seen. Any thread."""
        done = opened.finished and not opened.running
        if done and opened.recording.facts.pop("opened", None) is not None:
            self._keep(opened.recording)
            del self._open[id(opened.exchange)]  # now, so that it is always in one of both


#: The reason on an exchange that shows traces.
_OURS = "traces"


class _Others(Relay):
    """An observer that hears nothing of the pages that show traces, which ask again and again."""

    def __init__(self, observer: Observer) -> None:
        super().__init__(observer)
        self._finished = observer.request_finished

    def request_finished(self, exchange: Exchange, duration: float) -> None:
        if exchange.reason is not _OURS:
            self._finished(exchange, duration)


class _Open:
    """A request that is being recorded."""

    def __init__(self, tracer: Tracer, exchange: Exchange, recording: Recording) -> None:
        head = exchange.head
        self._tracer = tracer
        self.exchange = exchange
        self.recording = recording
        self.websocket = head.is_websocket
        self.root = Span(
            recording, None, "request", f"{head.method} {_target(exchange)}",
            start=int(exchange.received_at * 1e9),
        )  # fmt: skip
        self.dispatched = 0
        self.running = 0
        self.finished = False
        self._response: Span | None = None
        self._messages = 0

    def respond(self, status: str, headers: Any) -> None:
        """The application begins its response."""
        if self._response is None:
            self.recording.facts["headers"] = _texts(headers)
            self._response = Span(self.recording, self.root, "response", f"response {status[:3]}")

    def say(self, verb: str, message: dict[str, Any]) -> None:
        """A message passes between a WebSocket's application and the gateway."""
        self._messages += 1
        if self._messages <= _MESSAGES:
            kind, here = str(message.get("type")), current()
            if here is None or here.recording is not self.recording:
                here = self.root  # a task that serves many WebSockets is of another's context
            told = Span(self.recording, here, "response" if verb == "sends" else "protocol",
                        f"{verb} {kind}")  # fmt: skip
            told.detail["bytes"] = len(message.get("text") or message.get("bytes") or b"")
            told.close()

    def finish(self) -> None:
        """The last byte is handed to the socket."""
        self.finished = True
        now = time.perf_counter_ns()
        self.root.end = now
        if self._response is not None:
            self._response.end = now
        self.look()

    def look(self) -> bool:
        """Note what is known of it; whether it has a gateway yet."""
        exchange = self.exchange
        self.recording.facts.update(
            gateway=exchange.gateway, reason=exchange.reason, status=exchange.encoder.status,
            body_sent=exchange.encoder.bytes_sent, body_received=exchange.body.received,
            served_by=exchange.served_by,
        )  # fmt: skip
        return bool(exchange.gateway)


@contextlib.contextmanager
def _application(opened: _Open) -> Iterator[None]:
    """While the application runs, the recording is not complete."""
    opened.running += 1
    try:
        yield
    finally:
        opened.running -= 1
        opened._tracer._end(opened)


def _opened() -> _Open | None:
    """The request that is being recorded here."""
    here = current()
    return None if here is None else here.recording.facts.get("opened")


def _target(exchange: Exchange) -> str:
    head = exchange.head
    query = b"?" + head.query_string if head.query_string else b""
    return (head.raw_path + query).decode("latin-1")


def _texts(headers: Any) -> list[list[str]]:
    """Headers of either gateway as text; what is malformed is the gateway's to report."""
    try:
        return [[_text(name), _text(value)] for name, value in list(headers)[:_MOST_HEADERS]]
    except (TypeError, ValueError):
        return []


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _request(exchange: Exchange) -> dict[str, Any]:
    """The request as in the trace document."""
    head = exchange.head
    headers = [[_text(name), _text(value)] for name, value in head.headers]
    return {"method": head.method, "path": _target(exchange), "headers": discreet(headers),
            "body": "", "user": None, "repeat": 1}  # fmt: skip
