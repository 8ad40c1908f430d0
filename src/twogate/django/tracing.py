"""Records what Django does for a request: handlers, middleware, views, receivers, queries, more.

Wraps Django's methods once, in processes that trace, before the project is loaded. Django's own
handlers and hooks keep their identity, by which the rules know them: what is traced is what runs
untraced. The methods of the stock handlers are wrapped only where those are served. Runs wherever
the code does that it wraps.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from typing import Any

from asgiref.sync import iscoroutinefunction

from twogate.django import middleware as ours
from twogate.django.views import name_of
from twogate.trace import crossings
from twogate.trace.recorder import Span, current, span
from twogate.trace.wrap import place_of, traced

__all__ = ["install"]

#: Characters of a query that are kept.
_MOST_SQL = 500

_installed = False


def install(stock: bool = False) -> None:
    """Record in this process from now on; the second call does nothing.

    :param stock: Django's own handlers are served, so theirs may be wrapped.
    """
    global _installed
    if _installed:
        return
    _installed = True
    crossings.install(_blame)
    _wrap_middleware()
    _wrap_views()
    _wrap_signals()
    _wrap_templates()
    _wrap_databases()
    _wrap_threads()
    _wrap_handlers(stock)
    _wrap_consumers()


# Who is to blame for a crossing.


def _blame(function: Any, arguments: tuple[Any, ...]) -> tuple[str, str] | None:
    while isinstance(function, functools.partial):
        function = function.func
    return _of_chain(function, arguments) or _of_django(function, arguments)


def _of_chain(function: Any, arguments: tuple[Any, ...]) -> tuple[str, str] | None:
    """What made one of our chains leave the loop."""
    chain: Any = getattr(function, "__self__", None)
    plain = getattr(function, "__func__", None)
    if plain is ours.Chain._enter:
        return "middleware", _hook_name(chain._before[arguments[1]][1])
    if plain is ours.Chain._unwind:
        return "middleware", _leaving(chain, arguments)
    if plain is ours.Chain._explain:
        return "error", f"{type(arguments[1]).__name__} is turned into a page"
    if plain is ours.Chain._complete:
        return _completes(arguments)
    if plain is ours.Core._view_hooks_from:
        return "middleware", _hook_name(chain._view_hooks[arguments[0]][0])
    if plain is ours.Core._render_on_thread:
        return "template", _template_of(arguments[1])
    return None


def _completes(arguments: tuple[Any, ...]) -> tuple[str, str]:
    call, request = arguments
    if isinstance(getattr(call, "__self__", None), ours.Core):
        match = getattr(request, "resolver_match", None)
        return "view", name_of(match.func) if match is not None else "the view"
    if getattr(call, "__name__", "") == "rendered":
        return "template", "the template of the response"
    return "middleware", _hook_name(call)


def _leaving(chain: Any, arguments: tuple[Any, ...]) -> str:
    entered = arguments[2]
    for still_entered, hook, rule in chain._after[entered]:
        if still_entered == entered and rule is not None:
            return _hook_name(hook)
    return "the way back"


def _of_django(function: Any, arguments: tuple[Any, ...]) -> tuple[str, str] | None:
    """What the function itself says: a hook, the ORM, a receiver, a template."""
    owner = getattr(function, "__self__", None)
    module = str(getattr(function, "__module__", ""))
    name = str(getattr(function, "__name__", ""))
    if name == "close_old_connections":
        return "connection", "close_old_connections, which Channels calls around each message"
    if isinstance(owner, type):
        owner = None
    if name in _HOOKS and owner is not None:
        return "middleware", f"{type(owner).__name__}.{name}"
    if module.startswith(("django.db", "django.contrib.contenttypes")):
        return "orm", crossings.name_of(function)
    if module.startswith(("django.contrib.sessions", "django.contrib.auth")):
        return "orm", crossings.name_of(function)
    if owner is not None and hasattr(owner, "_meta"):
        return "orm", crossings.name_of(function)
    if name == "render" and hasattr(owner, "template_name"):
        return "template", _template_of(owner)
    if name == "close" and hasattr(owner, "_resource_closers"):
        return "response", "response.close(), which sends request_finished"
    if hasattr(function, "twogate_view"):
        return "view", str(function.twogate_view)
    if module.startswith(("channels.db", "channels.auth", "channels.sessions")):
        return "orm", crossings.name_of(function)
    if module == "channels.consumer":
        return "consumer", crossings.name_of(function)
    return None


_HOOKS = frozenset(
    ("process_request", "process_response", "process_view", "process_exception",
     "process_template_response")
)  # fmt: skip


def _hook_name(hook: Any) -> str:
    return str(getattr(hook, "twogate_name", None) or crossings.name_of(hook))


def _template_of(response: Any) -> str:
    name = getattr(response, "template_name", None)
    return str(name[0] if isinstance(name, list | tuple) and name else name or "a template")


# Middleware.


def _wrap_middleware() -> None:
    from django.core.handlers import base

    ours.watch_hooks(_watch)
    convert = base.convert_exception_to_response

    def traced_convert(get_response: Any) -> Any:
        # Called once for each middleware, and for what the innermost surrounds.
        call = convert(get_response)
        if getattr(get_response, "__name__", "") in ("_get_response", "_get_response_async"):
            return call
        name = _middleware_name(get_response)
        return _named(traced(call, "middleware", name, place_of(get_response)), name)

    base.convert_exception_to_response = traced_convert


def _watch(call: Any, middleware: Any, hook: str) -> Any:
    name = _middleware_name(middleware) + (f".{hook}" if hook else "")
    place = place_of(getattr(middleware, hook) if hook else middleware)
    return _named(traced(call, "middleware", name, place), name)


def _named(function: Any, name: str) -> Any:
    function.twogate_name = name
    return function


def _middleware_name(middleware: Any) -> str:
    plain = hasattr(middleware, "__qualname__")
    name = str(middleware.__qualname__ if plain else type(middleware).__qualname__)
    return name.removesuffix(".<locals>.middleware") if "<locals>" in name else name


# Views.


def _wrap_views() -> None:
    from django.core.handlers.base import BaseHandler

    make = BaseHandler.make_view_atomic

    @functools.wraps(make)
    def make_view_atomic(self: Any, view: Any) -> Any:
        name = name_of(view)
        wrapped = traced(make(self, view), "view", name, _place_of_view(view))
        wrapped.twogate_view = name
        return wrapped

    BaseHandler.make_view_atomic = make_view_atomic


def _place_of_view(view: Any) -> tuple[str, int] | None:
    return place_of(getattr(view, "view_class", None) or getattr(view, "cls", None) or view)


# Signals.

_SIGNALS = (
    "django.core.signals", "django.db.models.signals", "django.db.backends.signals",
    "django.test.signals", "django.contrib.auth.signals",
)  # fmt: skip


@functools.cache
def _signal_names() -> dict[int, str]:
    from django.dispatch import Signal

    return {
        id(found): name
        for module in _SIGNALS
        if module in sys.modules
        for name, found in vars(sys.modules[module]).items()
        if isinstance(found, Signal)
    }


def _wrap_signals() -> None:
    from django.dispatch import Signal

    for method in ("send", "asend", "send_robust", "asend_robust"):
        setattr(Signal, method, _traced_send(getattr(Signal, method)))
    live = Signal._live_receivers

    @functools.wraps(live)
    def live_receivers(self: Any, sender: Any) -> Any:
        found = live(self, sender)
        if current() is None:
            return found
        return tuple([_traced_receiver(receiver) for receiver in some] for some in found)

    Signal._live_receivers = live_receivers


def _traced_send(send: Any) -> Any:
    if iscoroutinefunction(send):

        @functools.wraps(send)
        async def traced_asend(self: Any, *arguments: Any, **keywords: Any) -> Any:
            with _signal_span(self):
                return await send(self, *arguments, **keywords)

        return traced_asend

    @functools.wraps(send)
    def traced_send(self: Any, *arguments: Any, **keywords: Any) -> Any:
        with _signal_span(self):
            return send(self, *arguments, **keywords)

    return traced_send


def _signal_span(signal: Any) -> Any:
    if not signal.receivers:
        return _NOTHING
    return span("receiver", f"signal {_signal_names().get(id(signal), 'of the project')}")


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


_NOTHING = _Nothing()


def _traced_receiver(receiver: Any) -> Any:
    name = f"{getattr(receiver, '__module__', '?')}.{crossings.name_of(receiver)}"
    return traced(receiver, "receiver", name, place_of(receiver))


# Templates.


def _wrap_templates() -> None:
    for module in ("django.template.backends.django", "django.template.backends.jinja2"):
        try:
            backend = importlib.import_module(module)
        except ImportError:  # Jinja2 is not installed
            continue
        backend.Template.render = _traced_render(backend.Template.render)


def _traced_render(render: Any) -> Any:
    @functools.wraps(render)
    def traced_render(self: Any, *arguments: Any, **keywords: Any) -> Any:
        origin = getattr(self, "origin", None)
        name = getattr(getattr(self, "template", None), "name", None) or "a template of a string"
        file = str(getattr(origin, "name", "") or "")
        with span("template", str(name), (file, 1) if file.startswith("/") else None) as opened:
            if opened is not None:
                opened.recording.count("templates")
            return render(self, *arguments, **keywords)

    return traced_render


# Databases.


def _wrap_databases() -> None:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.utils import CursorWrapper

    execute, connect = CursorWrapper._execute_with_wrappers, BaseDatabaseWrapper.connect

    @functools.wraps(execute)
    def traced_execute(self: Any, sql: Any, params: Any, many: Any, executor: Any) -> Any:
        # Not by connection.execute_wrappers: a lease would keep the thread for that.
        with span("query", _short(sql)) as opened:
            if opened is not None:
                _note_query(opened, self.db, sql, many)
            return execute(self, sql, params, many, executor)

    @functools.wraps(connect)
    def traced_connect(self: Any) -> Any:
        with span("connect", f"connect to {self.alias} ({self.vendor})") as opened:
            result = connect(self)
            if opened is not None:
                opened.recording.count("connections_opened")
                _known(opened).add(id(self.connection))
            return result

    CursorWrapper._execute_with_wrappers = traced_execute
    BaseDatabaseWrapper.connect = traced_connect


def _short(sql: Any) -> str:
    text = " ".join(str(sql)[: 2 * _MOST_SQL].split())
    return text if len(text) <= 80 else text[:79] + "…"


def _note_query(opened: Span, connection: Any, sql: Any, many: bool) -> None:
    recording = opened.recording
    recording.count("queries")
    opened.detail.update(
        sql=str(sql)[:_MOST_SQL], alias=connection.alias, vendor=connection.vendor, many=bool(many)
    )
    known, inner = _known(opened), id(connection.connection)
    if inner not in known:
        known.add(inner)
        recording.count("connections_reused")


def _known(opened: Span) -> set[int]:
    """The connections that the request has used so far."""
    known: set[int] = opened.recording.facts.setdefault("connections", set())
    return known


# Threads.


def _wrap_threads() -> None:
    start = threading.Thread.start

    @functools.wraps(start)
    def traced_start(self: threading.Thread) -> None:
        here = current()
        if here is not None:
            here.recording.count("threads_started")
        start(self)

    threading.Thread.start = traced_start  # type: ignore[method-assign]


# Handlers.


def _wrap_handlers(stock: bool) -> None:
    from django.core.handlers.asgi import ASGIHandler
    from django.core.handlers.wsgi import WSGIHandler

    from twogate.django.handler import AsgiHandler, WsgiHandler

    _wrap_handler(AsgiHandler, "Twogate's ASGI handler")
    _wrap_handler(WsgiHandler, "Twogate's WSGI handler")
    if stock:
        _wrap_handler(ASGIHandler, "Django's ASGI handler")
        _wrap_handler(WSGIHandler, "Django's WSGI handler")


def _wrap_handler(handler: Any, name: str) -> None:
    handler.__call__ = traced(handler.__call__, "handler", name)


# Consumers of Channels.


def _wrap_consumers() -> None:
    try:
        from channels.consumer import AsyncConsumer
        from channels.exceptions import StopConsumer
    except ImportError:
        return
    dispatch = AsyncConsumer.dispatch

    @functools.wraps(dispatch)
    async def traced_dispatch(self: Any, message: Any) -> Any:
        kind = str(message.get("type", "")).replace(".", "_")
        name = f"{type(self).__module__}.{type(self).__qualname__}.{kind}"
        with span("view", name, place_of(getattr(self, kind, type(self)))):
            try:
                return await dispatch(self, message)
            except StopConsumer as stop:  # no failure: how a consumer ends
                stopped = stop
        raise stopped

    AsyncConsumer.dispatch = traced_dispatch
