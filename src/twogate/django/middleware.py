"""Django's middleware, called without the ladder between its rungs.

Django nests middleware: each calls the next, each inside a wrapper that turns exceptions into
responses, and in async mode each hook of each built-in middleware crosses to a thread of its own.
Here, consecutive middlewares whose ``__call__`` is that of
:class:`django.utils.deprecation.MiddlewareMixin` are one :class:`Chain`, whose hooks are called in
a loop, in the very order and with the very handling of exceptions that the nesting gives. On the
event loop a hook runs where its rule (:mod:`twogate.django.rules`) says that it cannot block; the
first that may block takes a thread, and from there the request stays on it as far as a thread can
go: through the other hooks, a sync view, and the way back.

Any other middleware is called as Django calls it, with the rest of the chain as ``get_response``.
"""

from __future__ import annotations

from asyncio import iscoroutine
from collections.abc import Callable
from inspect import CO_COROUTINE
from types import FunctionType
from typing import Any, Protocol, TypeAlias

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.core.handlers.exception import response_for_exception
from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin

from twogate.django.late import stand_in
from twogate.django.rules import Rule, rule_of

__all__ = ["Chain", "Core", "Middleware", "is_plain", "on_thread", "watch_hooks", "watched"]

Hook: TypeAlias = Callable[..., Any]
#: On a thread: call what makes the response, then the hooks on the way back.
Complete: TypeAlias = Callable[[Callable[[HttpRequest], Any], HttpRequest], Any]

#: Wraps a middleware, or one of its hooks, while the middleware is loaded, for those who record
#: its calls: takes what is called, the middleware, and the hook's name or ``""``.
Watch: TypeAlias = Callable[[Hook, Any, str], Hook]
_watch: Watch | None = None


def watch_hooks(watch: Watch) -> None:
    """Let each hook that is loaded from now on be wrapped; it is to stay sync, or async."""
    global _watch
    _watch = watch


def watched(call: Hook, middleware: Any, name: str = "") -> Hook:
    """What is called for a middleware or a hook: itself, unless somebody records."""
    return call if _watch is None else _watch(call, middleware, name)


#: What :meth:`Inner.on_thread` returns when a thread cannot go on by itself.
UNFINISHED = object()


def on_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Await ``function(*arguments)`` on the request's thread: one crossing."""
    return sync_to_async(function, thread_sensitive=True)(*arguments)


def is_coroutine_function(view: Any) -> bool:
    """Whether a view is an ``async def``, and not only marked like one."""
    return type(view) is FunctionType and bool(view.__code__.co_flags & CO_COROUTINE)


def is_awaited(view: Any) -> bool:
    """Whether Django awaits a view; asks the code itself where that is as good."""
    return is_coroutine_function(view) or bool(iscoroutinefunction(view))


class Unanswered:
    """In the place of a response: an exception that nobody was able to turn into one."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


def explain(request: HttpRequest, error: Exception, entered: int) -> tuple[Any, int]:
    """Turn the exception that is being handled into a response.

    Where that fails too (the project's own page for failures raises, or exceptions are to be
    propagated), Django's nesting lets the next middleware outside try, then the next.

    :param entered: how many middlewares may see the response.
    :returns: the response, and how many still may.
    """
    try:
        return response_for_exception(request, error), entered
    except Exception as another:
        return explain(request, another, entered - 1) if entered else (Unanswered(another), 0)


def _needs_thread(rule: Rule, *arguments: Any) -> bool:
    try:
        return not rule(*arguments)
    except Exception:
        return True  # what the rule stumbled on is the hook's to report


def is_plain(middleware: Any) -> bool:
    """Whether a middleware is no more than its hooks, so that they may be called in its stead."""
    kind = type(middleware)
    return (
        isinstance(middleware, MiddlewareMixin)
        and kind.__call__ is MiddlewareMixin.__call__
        and kind.__acall__ is MiddlewareMixin.__acall__
        and not iscoroutinefunction(getattr(middleware, "process_request", None))
        and not iscoroutinefunction(getattr(middleware, "process_response", None))
    )


def _hook(middleware: Any, name: str) -> Hook | None:
    hook: Hook | None = getattr(middleware, name, None)
    kind = type(middleware)
    if hook is None:
        return None
    stand = stand_in(f"{kind.__module__}.{kind.__qualname__}.{name}", hook)
    return watched(stand, middleware, name)


class Inner(Protocol):
    """What a chain surrounds: the view, or a middleware that is called as a whole."""

    #: Whether it would rather be awaited than called.
    is_async: bool

    def run(self, request: HttpRequest) -> Any:
        """Answer on this thread. May raise what the view or the middleware raises."""

    async def run_async(self, request: HttpRequest, complete: Complete) -> tuple[Any, bool]:
        """Answer on the loop. Where a thread is needed it runs ``complete`` and says so."""

    def on_thread(self, request: HttpRequest) -> Any:
        """Answer on the thread that a hook has taken, or return :data:`UNFINISHED`."""


class Middleware:
    """An :class:`Inner` that is one middleware, called as Django calls it.

    :param call: the middleware; takes a request.
    :param is_async: whether the call must be awaited.
    """

    __slots__ = ("_call", "is_async")

    def __init__(self, call: Callable[[HttpRequest], Any], is_async: bool) -> None:
        self._call = call
        self.is_async = is_async

    def run(self, request: HttpRequest) -> Any:  # noqa: D102
        return async_to_sync(self._await)(request) if self.is_async else self._call(request)

    async def _await(self, request: HttpRequest) -> Any:
        # All of the call on the loop: what is hybrid begins before it returns its coroutine.
        return await self._call(request)

    async def run_async(self, request: HttpRequest, complete: Complete) -> tuple[Any, bool]:  # noqa: D102
        if self.is_async:
            return await self._call(request), False
        return await on_thread(complete, self._call, request), True

    def on_thread(self, request: HttpRequest) -> Any:  # noqa: D102
        return UNFINISHED if self.is_async else self._call(request)


class Chain:
    """Plain middlewares, outermost first, and what they surround.

    :param middlewares: all of them :func:`is_plain`.
    :param inner: what the innermost surrounds.
    :param is_async: whether it would rather be awaited; as ``inner`` unless something is said.
    """

    __slots__ = (
        "_after",
        "_before",
        "_depth",
        "_inner",
        "_middlewares",
        "is_async",
    )

    def __init__(
        self, middlewares: tuple[Any, ...], inner: Inner, is_async: bool | None = None
    ) -> None:
        self._middlewares = middlewares
        self._inner = inner
        self._depth = len(middlewares)
        self.is_async = inner.is_async if is_async is None else is_async
        #: Each process_request, its rule, and how many middlewares are entered once it returns.
        self._before: list[tuple[int, Hook, Rule | None]] = []
        #: For each number of middlewares entered: each process_response to call, in order, with
        #: its rule and how many middlewares are still entered.
        self._after: list[tuple[tuple[int, Hook, Rule | None], ...]] = [()]
        for entered, middleware in enumerate(middlewares, 1):
            request_hook = _hook(middleware, "process_request")
            response_hook = _hook(middleware, "process_response")
            if request_hook is not None:
                rule = rule_of(middleware, "process_request")
                self._before.append((entered, request_hook, rule))
            after = self._after[-1]
            if response_hook is not None:
                rule = rule_of(middleware, "process_response")
                after = ((entered, response_hook, rule), *after)
            self._after.append(after)

    def around(self, middleware: Any, is_async: bool) -> Chain:
        """A chain with one more plain middleware, outside the others.

        :param is_async: whether that middleware would be awaited.
        """
        return Chain((middleware, *self._middlewares), self._inner, is_async)

    @property
    def get_response(self) -> Callable[[HttpRequest], Any]:
        """The chain as Django hands it to a middleware."""
        return self.run_async if self.is_async else self.run

    # On a thread.

    def run(self, request: HttpRequest) -> Any:
        """Answer a request on this thread. Raises what nobody was able to explain."""
        response, entered = self._go_in(request, self._before, self._inner.run)
        response = self._unwind(request, response, entered)
        if type(response) is Unanswered:
            raise response.error
        return response

    def _go_in(
        self,
        request: HttpRequest,
        before: list[tuple[int, Hook, Rule | None]],
        inner: Callable[[HttpRequest], Any],
    ) -> tuple[Any, int]:
        """The response, and how many middlewares see it."""
        for entered, hook, _ in before:
            try:
                response = hook(request)
            except Exception as error:
                # The middleware that failed does not see the response.
                return explain(request, error, entered - 1)
            if response:
                return response, entered
        try:
            return inner(request), self._depth
        except Exception as error:
            return explain(request, error, self._depth)

    def _unwind(self, request: HttpRequest, response: Any, entered: int) -> Any:
        """The way back, from so many middlewares. Called when no exception is being handled any
        more: hooks could tell."""
        for still_entered, hook, _ in self._after[entered]:
            try:
                response = hook(request, response)
            except Exception as error:
                response, left = explain(request, error, still_entered - 1)
            else:
                continue
            return self._unwind(request, response, left)
        return response

    def _enter(self, request: HttpRequest, position: int) -> Any:
        """The way in from one hook on, and as far as a thread can go."""
        response, entered = self._go_in(request, self._before[position:], self._inner.on_thread)
        return response if response is UNFINISHED else self._unwind(request, response, entered)

    def _complete(self, call: Callable[[HttpRequest], Any], request: HttpRequest) -> Any:
        """What a call answers that stands for the inner one, and the way back."""
        response, entered = self._go_in(request, [], call)
        return self._unwind(request, response, entered)

    def _explain(self, request: HttpRequest, error: Exception, entered: int) -> Any:
        """Turn an exception into a response, and the way back: logging, templates and mails may
        all block."""
        try:
            raise error
        except Exception:
            response, entered = explain(request, error, entered)
        finally:
            del error  # its traceback refers to this frame
        return self._unwind(request, response, entered)

    # On the loop.

    async def run_async(self, request: HttpRequest) -> Any:
        """Answer a request on the loop. Raises what nobody was able to explain."""
        response = await self._run_async(request)
        if type(response) is Unanswered:
            raise response.error
        return response

    async def _run_async(self, request: HttpRequest) -> Any:
        for position, (entered, hook, rule) in enumerate(self._before):
            if rule is not None and _needs_thread(rule, request):
                response = await on_thread(self._enter, request, position)
                if response is UNFINISHED:
                    break
                return response
            try:
                response = hook(request)
            except Exception as error:
                # Awaited below, where the exception is not being handled any more.
                explained = on_thread(self._explain, request, error, entered - 1)
            else:
                if response:
                    return await self._leave(request, response, entered)
                continue
            return await explained
        try:
            response, left = await self._inner.run_async(request, self._complete)
        except Exception as error:
            explained = on_thread(self._explain, request, error, self._depth)
        else:
            return response if left else await self._leave(request, response, self._depth)
        return await explained

    async def _leave(self, request: HttpRequest, response: Any, entered: int) -> Any:
        """The way back on the loop, as far as no hook may block."""
        for still_entered, hook, rule in self._after[entered]:
            if rule is not None and _needs_thread(rule, request, response):
                return await on_thread(self._unwind, request, response, still_entered)
            try:
                response = hook(request, response)
            except Exception as error:
                explained = on_thread(self._explain, request, error, still_entered - 1)
            else:
                continue
            return await explained
        return response


class Core:
    """The :class:`Inner` of all: resolves the URL, calls the view and what surrounds it alone.

    :param sync_side: a handler whose ``_get_response`` answers on a thread, and which has the hooks
        for exceptions.
    :param is_async: the handler's own mode.
    """

    def __init__(self, sync_side: Any, is_async: bool) -> None:
        self._sync = sync_side
        self.is_async = is_async
        #: Each process_view, whether it is awaited, and its rule.
        self._view_hooks: list[tuple[Hook, bool, Rule | None]] = []
        self._template_hooks: list[Hook] = []

    def add_hooks(self, middleware: Any) -> None:
        """Note the hooks of a middleware outside those noted before."""
        if hasattr(middleware, "process_view"):
            hook = watched(middleware.process_view, middleware, "process_view")
            rule = rule_of(middleware, "process_view")
            self._view_hooks.insert(0, (hook, iscoroutinefunction(hook), rule))
        if hasattr(middleware, "process_template_response"):
            self._template_hooks.append(middleware.process_template_response)

    def run(self, request: HttpRequest) -> Any:  # noqa: D102
        return self._sync._get_response(request)

    def on_thread(self, request: HttpRequest) -> Any:  # noqa: D102
        # Resolved here for the question alone: a path converter may well query the database.
        if self.is_async and is_awaited(self._sync.resolve_request(request).func):
            return UNFINISHED
        return self.run(request)

    async def run_async(self, request: HttpRequest, complete: Complete) -> tuple[Any, bool]:  # noqa: D102
        if not self.is_async:  # a sync handler answers on a thread, whatever the view
            return await on_thread(complete, self.run, request), True
        handler = self._sync
        view, arguments, keywords = handler.resolve_request(request)
        if not is_awaited(view):
            return await on_thread(complete, self.run, request), True
        response = await self._call_view_hooks(request, view, arguments, keywords)
        if response is None:
            wrapped = handler.make_view_atomic(view)
            try:
                response = await wrapped(request, *arguments, **keywords)
            except Exception as error:
                response = await self._ask_exception_hooks(error, request)
                if response is None:
                    raise
        handler.check_response(response, view)
        if hasattr(response, "render") and callable(response.render):
            return await self._render(request, response, complete)
        return response, False

    async def _call_view_hooks(
        self, request: HttpRequest, view: Any, arguments: Any, keywords: Any
    ) -> Any:
        hooks = self._view_hooks
        position, response = 0, None
        while position < len(hooks):
            hook, is_awaited, rule = hooks[position]
            position += 1
            if is_awaited:
                response = await hook(request, view, arguments, keywords)
            elif rule is None or not _needs_thread(rule, request, view, arguments, keywords):
                response = hook(request, view, arguments, keywords)
            else:
                response, position = await on_thread(
                    self._view_hooks_from, position - 1, request, view, arguments, keywords
                )
            if response:
                break
        return response

    def _view_hooks_from(
        self, position: int, request: HttpRequest, view: Any, arguments: Any, keywords: Any
    ) -> tuple[Any, int]:
        """On a thread: this hook and the sync ones that follow."""
        response = None
        while position < len(self._view_hooks) and not response:
            hook, is_awaited, _ = self._view_hooks[position]
            if is_awaited:
                break
            response = hook(request, view, arguments, keywords)
            position += 1
        return response, position

    async def _ask_exception_hooks(self, error: Exception, request: HttpRequest) -> Any:
        if not self._sync._exception_middleware:
            return None
        return await on_thread(self._sync.process_exception_by_middleware, error, request)

    async def _render(
        self, request: HttpRequest, response: Any, complete: Complete
    ) -> tuple[Any, bool]:
        """A response that is rendered late: the template hooks, then the template."""
        hooks = self._template_hooks
        if not iscoroutinefunction(response.render) and not any(map(iscoroutinefunction, hooks)):
            return await on_thread(self._render_on_thread, request, response, complete), True
        for hook in hooks:
            call = hook if iscoroutinefunction(hook) else sync_to_async(hook)
            response = await call(request, response)
            self._check_rendering(response, hook)
        try:
            render = response.render
            call = render if iscoroutinefunction(render) else sync_to_async(render)
            response = await call()
        except Exception as error:
            response = await self._ask_exception_hooks(error, request)
            if response is None:
                raise
        if iscoroutine(response):
            raise RuntimeError("Response is still a coroutine.")
        return response, False

    def _render_on_thread(self, request: HttpRequest, response: Any, complete: Complete) -> Any:
        def rendered(request: HttpRequest) -> Any:
            current = response
            for hook in self._template_hooks:
                current = hook(request, current)
                self._check_rendering(current, hook)
            try:
                return current.render()
            except Exception as error:
                explained = self._sync.process_exception_by_middleware(error, request)
                if explained is None:
                    raise
                return explained

        return complete(rendered, request)

    def _check_rendering(self, response: Any, hook: Any) -> None:
        name = f"{type(hook.__self__).__name__}.process_template_response"
        self._sync.check_response(response, hook, name=name)
