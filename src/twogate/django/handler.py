"""Django's handlers with the same answers and less work in between."""

from __future__ import annotations

import asyncio
import copy
import io
import logging
import tempfile
import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, MiddlewareNotUsed, RequestAborted
from django.core.handlers import asgi, base, wsgi
from django.http import HttpRequest
from django.http.response import HttpResponseBase, ResponseHeaders
from django.urls import get_script_prefix, set_script_prefix
from django.utils.log import log_response

from twogate.django import signals
from twogate.django.client import Client, Receive
from twogate.django.executors import is_busy, leased
from twogate.django.late import ASGIRequest, WSGIRequest
from twogate.django.middleware import (
    Chain,
    Core,
    Middleware,
    is_awaited,
    is_coroutine_function,
    is_plain,
    on_thread,
    watched,
)
from twogate.django.sync_stream import from_thread
from twogate.protocol.headers import BoundedMemo

__all__ = ["AsgiHandler", "Handler", "WsgiHandler"]

Send = Callable[[dict[str, Any]], Awaitable[None]]

logger = logging.getLogger("django.request")


class Handler(base.BaseHandler):  # type: ignore[misc]
    """What both handlers share: the middleware, loaded into a :class:`Chain`."""

    #: Django's class, as which ours sends its signals: it is what receivers ask for.
    _stands_for: type[base.BaseHandler] | None = None

    @property
    def _sender(self) -> type[base.BaseHandler]:
        """Who sends the signals of a request; a class derived from ours is itself again."""
        kind = type(self)
        return vars(kind).get("_stands_for") or kind

    def load_middleware(self, is_async: bool = False) -> None:
        """Load ``settings.MIDDLEWARE``, innermost first.

        :raises ImproperlyConfigured: a factory returned nothing.
        """
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        # In async mode, a second handler whose hooks are sync answers on threads.
        sync_side = copy.copy(self) if is_async else self
        if is_async:
            sync_side._view_middleware = []
            sync_side._template_response_middleware = []
            sync_side._exception_middleware = []
        core = Core(sync_side, is_async)
        chain = Chain((), core)
        for path in reversed(settings.MIDDLEWARE):
            try:
                middleware, awaited = _make_middleware(self, path, chain)
            except MiddlewareNotUsed as error:
                _say_not_used(path, error)
                continue
            core.add_hooks(middleware)
            self._add_hooks(middleware, is_async)
            if is_async:
                sync_side._add_hooks(middleware, False)
            if is_plain(middleware):
                chain = chain.around(middleware, awaited)
            else:
                chain = Chain((), Middleware(watched(middleware, middleware), awaited))
        # Last: others take it for the sign that all is loaded.
        self._middleware_chain: Any = chain.run_async if is_async else chain.run

    def _add_hooks(self, middleware: Any, is_async: bool) -> None:
        adapt = self.adapt_method_mode
        if hasattr(middleware, "process_view"):
            hook = watched(middleware.process_view, middleware, "process_view")
            self._view_middleware.insert(0, adapt(is_async, hook))
        if hasattr(middleware, "process_template_response"):
            self._template_response_middleware.append(
                adapt(is_async, middleware.process_template_response)
            )
        if hasattr(middleware, "process_exception"):
            # Always called on a thread, as Django does.
            self._exception_middleware.append(adapt(False, middleware.process_exception))

    def get_response(self, request: HttpRequest) -> Any:
        """The response to a request, on this thread."""
        signals.use_urlconf()
        response = self._middleware_chain(request)
        response._resource_closers.append(request.close)
        if response.status_code >= 400:
            _log(request, response)
        return response

    async def get_response_async(self, request: HttpRequest) -> Any:
        """The response to a request, on the loop."""
        signals.use_urlconf()
        response = await self._middleware_chain(request)
        response._resource_closers.append(request.close)
        if response.status_code >= 400 and not getattr(response, "_has_been_logged", False):
            await on_thread(_log, request, response)
        return response


def _make_middleware(handler: Handler, path: str, chain: Chain) -> tuple[Any, bool]:
    """One middleware around a chain, and whether it must be awaited.

    The mode is chosen as Django does: sync as long as what is within is sync.
    """
    factory = base.import_string(path)  # through the module, where tracers hook in
    can_sync = getattr(factory, "sync_capable", True)
    can_async = getattr(factory, "async_capable", False)
    if not can_sync and not can_async:
        raise RuntimeError(
            f"Middleware {path} must have at least one of sync_capable/async_capable set to True."
        )
    awaited = can_async and (chain.is_async or not can_sync)
    if settings.DEBUG and awaited != chain.is_async:
        # For its line in the log alone: the chain has both modes.
        handler.adapt_method_mode(
            awaited, chain.get_response, chain.is_async, debug=True, name=f"middleware {path}"
        )
    middleware = factory(chain.run_async if awaited else chain.run)
    if middleware is None:
        raise ImproperlyConfigured(f"Middleware factory {path} returned None.")
    return middleware, awaited


def _say_not_used(path: str, error: MiddlewareNotUsed) -> None:
    if not settings.DEBUG:
        return
    if str(error):
        logger.debug("MiddlewareNotUsed(%r): %s", path, error)
    else:
        logger.debug("MiddlewareNotUsed: %r", path)


def _log(request: HttpRequest, response: Any) -> None:
    log_response("%s: %s", response.reason_phrase, request.path, response=response, request=request)


def header_items(response: Any) -> list[tuple[str, str]]:
    """A response's headers and cookies as (name, value) pairs."""
    headers = response.headers
    if type(headers) is ResponseHeaders:
        items = list(headers._store.values())  # what items() would look up one by one
    else:
        items = list(response.items())
    if response.cookies:
        items += [("Set-Cookie", cookie.OutputString()) for cookie in response.cookies.values()]
    return items


class WsgiHandler(Handler, wsgi.WSGIHandler):  # type: ignore[misc]
    """A :class:`~django.core.handlers.wsgi.WSGIHandler` that does less between the hooks."""

    _stands_for = wsgi.WSGIHandler
    request_class = WSGIRequest

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """PEP 3333: one call for each request."""
        _use_script_prefix(wsgi.get_script_name(environ))
        signals.started.send(self._sender, environ=environ)
        response = self.get_response(self.request_class(environ))
        response._handler_class = self._sender
        start_response(f"{response.status_code} {response.reason_phrase}", header_items(response))
        if getattr(response, "file_to_stream", None) is not None and environ.get(
            "wsgi.file_wrapper"
        ):
            # FileWrapper takes close() from the file.
            response.file_to_stream.close = response.close
            return environ["wsgi.file_wrapper"](  # type: ignore[no-any-return]
                response.file_to_stream, response.block_size
            )
        if _closes_as_django_does(response):
            response.close = _Closer(response)
        return response  # type: ignore[no-any-return]


class _Closer:
    """``close()`` of a response, with the signal sent our way.

    Holds the response weakly, or each would be garbage that only the collector finds; the server
    holds it until it is closed (PEP 3333).
    """

    __slots__ = ("_response",)

    def __init__(self, response: Any) -> None:
        self._response = weakref.ref(response)

    def __call__(self) -> None:
        response = self._response()
        if response is not None:
            close_response(response)


def _closes_as_django_does(response: Any) -> bool:
    """Whether ``close`` is Django's own. Monitoring tools put theirs in its place."""
    return type(response).close is HttpResponseBase.close and "close" not in vars(response)


def close_response(response: Any) -> None:
    """What :meth:`HttpResponseBase.close` does."""
    close_quietly(response)
    signals.finished.send(response._handler_class)


def close_quietly(response: Any) -> None:
    """The same without the signal."""
    for closer in response._resource_closers:
        try:
            closer()
        except Exception:  # noqa: S110 - as Django does: one must not keep another open
            pass
    response._resource_closers.clear()
    response.closed = True


def _use_script_prefix(prefix: str) -> None:
    wanted = prefix if prefix.endswith("/") else prefix + "/"
    if get_script_prefix() != wanted:
        set_script_prefix(wanted)


def _encode_header(header: tuple[Any, Any]) -> tuple[bytes, bytes]:
    name, value = header
    return (
        bytes(name.encode("ascii") if isinstance(name, str) else name),
        bytes(value.encode("latin-1") if isinstance(value, str) else value),
    )


_headers: BoundedMemo[tuple[str, str], tuple[bytes, bytes]] = BoundedMemo(_encode_header)


class AsgiHandler(Handler, asgi.ASGIHandler):  # type: ignore[misc]
    """An :class:`~django.core.handlers.asgi.ASGIHandler` that leaves the loop only to block.

    Its threads are leased (:mod:`twogate.django.executors`), and a view that never waits costs no
    task beside the one that calls the handler. Serves under any ASGI server.
    """

    _stands_for = asgi.ASGIHandler
    request_class = ASGIRequest

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """ASGI 3: one call for each request.

        :raises ValueError: the scope is not one of HTTP.
        """
        if scope["type"] != "http":
            raise ValueError(f"Django can only handle ASGI/HTTP connections, not {scope['type']}.")
        with leased():
            await self.handle(scope, receive, send)

    def make_view_atomic(self, view: Any) -> Any:
        """The view, to be awaited on the loop from its first line on.

        What ``as_view()`` makes calls ``dispatch()`` before there is a coroutine to await, and
        asgiref would leave that on the thread of a sync middleware around it.
        """
        view = super().make_view_atomic(view)
        if is_coroutine_function(view) or not is_awaited(view):
            return view

        async def begin_on_loop(*arguments: Any, **keywords: Any) -> Any:
            return await view(*arguments, **keywords)

        return begin_on_loop

    async def handle(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Read the body, answer, and clean up."""
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        try:
            _use_script_prefix(asgi.get_script_prefix(scope))
            await signals.started.asend(self._sender, scope=scope)
            request, refusal = self.create_request(scope, body)
            if request is None:
                await self.send_response(refusal, send)
                await _close(refusal)
                return
            await self._answer(request, Client(scope, receive), send)
        finally:
            body.close()

    async def _answer(self, request: HttpRequest, client: Client, send: Send) -> None:
        responses: list[Any] = []
        try:
            try:
                await client.watched(self._respond(request, send, responses))
            finally:
                client.leave()
        except asyncio.CancelledError:
            if not client.gone:
                raise
        except Exception as error:
            # A view that took no hint finds out when it sends (ASGI, "Disconnected Client - send
            # exception").
            if not (client.gone and isinstance(error, OSError)):
                await self._clean_up(request, responses)
                raise
        if client.gone and is_busy():
            await on_thread(_nothing)  # a sync view goes on to its end, with its files open
        if client.error is not None:
            raise client.error
        await self._clean_up(request, responses)

    async def _clean_up(self, request: HttpRequest, responses: list[Any]) -> None:
        """Close all that is the request's, and say that it has finished."""
        if responses:
            await _close(responses[0])
            return
        if "_files" in vars(request):
            await on_thread(request.close)
        await signals.finished.asend(self._sender)

    async def _respond(self, request: HttpRequest, send: Send, responses: list[Any]) -> None:
        """Get the response and send it; it is in ``responses`` even if sending is cut short."""
        response = await self.run_get_response(request)
        response._handler_class = self._sender
        responses.append(response)
        await self.send_response(response, send)

    async def read_body(self, receive: Receive) -> Any:
        """The request's body as a file: in memory up to ``FILE_UPLOAD_MAX_MEMORY_SIZE``, else on
        disk.

        :raises RequestAborted: the client went away before it had sent it.
        """
        message = await receive()
        if not message.get("more_body", False) and not message.get("body"):
            _require_connected(message)
            return io.BytesIO()
        most = settings.FILE_UPLOAD_MAX_MEMORY_SIZE
        body = tempfile.SpooledTemporaryFile(max_size=most, mode="w+b")  # noqa: SIM115
        try:
            while True:
                _require_connected(message)
                piece = message.get("body", b"")
                if getattr(body, "_rolled", False):
                    await on_thread(body.write, piece)
                else:
                    body.write(piece)
                if not message.get("more_body", False):
                    break
                message = await receive()
        except BaseException:
            body.close()
            raise
        body.seek(0)
        return body

    async def send_response(self, response: Any, send: Send) -> None:
        """Send a response as ASGI messages; a stream piece by piece."""
        await send(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": _encoded(response),
            }
        )
        if response.streaming:
            await self._send_stream(response, send)
            return
        content = response.content
        if len(content) <= self.chunk_size:
            await send({"type": "http.response.body", "body": content, "more_body": False})
            return
        for chunk, last in self.chunk_bytes(content):
            await send({"type": "http.response.body", "body": chunk, "more_body": not last})

    async def _send_stream(self, response: Any, send: Send) -> None:
        pieces = aiter(response) if response.is_async else from_thread(iter(response))
        try:
            async for part in pieces:
                for chunk, _ in self.chunk_bytes(part):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            close = getattr(pieces, "aclose", None)
            if close is not None:
                await close()
        await send({"type": "http.response.body"})


def _nothing() -> None:
    """For a thread, to have come to the end of what was asked of it before."""


def _require_connected(message: dict[str, Any]) -> None:
    if message["type"] == "http.disconnect":
        raise RequestAborted


def _encoded(response: Any) -> list[tuple[bytes, bytes]]:
    encoded = _headers
    try:
        return [encoded[item] for item in header_items(response)]
    except TypeError:  # unhashable
        return [_encode_header(item) for item in header_items(response)]


async def _close(response: Any) -> None:
    """Close a response where it may block nobody."""
    if (
        _closes_as_django_does(response)
        and all(map(_closes_at_once, response._resource_closers))
        and not signals.finished.may_block
    ):
        close_quietly(response)
        signals.finished.send_on_loop(response._handler_class)
    else:
        await on_thread(response.close)


def _closes_at_once(closer: Any) -> bool:
    """Whether it is ``request.close`` of a request without uploaded files."""
    request = getattr(closer, "__self__", None)
    return (
        isinstance(request, asgi.ASGIRequest)
        and type(request).close is asgi.ASGIRequest.close
        and "_files" not in vars(request)
    )
