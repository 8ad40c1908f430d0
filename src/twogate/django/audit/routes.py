"""Every URL pattern: its view, the gateway it goes through and why, and how often a request crosses
between event loop and thread on its way there.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from asgiref.sync import AsyncToSync
from django.conf import settings
from django.db import connections
from django.urls import URLPattern, URLResolver, get_resolver

from twogate.config import Config
from twogate.dispatch import Choice
from twogate.django.audit import catalogue
from twogate.django.audit.finding import Finding, Place
from twogate.django.audit.probe import Passage, Traits, pass_through, pass_through_stock
from twogate.django.audit.source import Source
from twogate.django.chooser import MOST_PATTERNS, Rule, choose_for_view, parse_rules
from twogate.django.views import is_async, name_of
from twogate.errors import ProjectError

__all__ = ["Route", "check_routes", "list_routes", "place_of"]


@dataclass(slots=True, frozen=True)
class Route:
    """One URL pattern.

    :ivar path: as the URLconf writes it, from the site's root.
    :ivar view: the view's dotted name.
    :ivar place: where it is defined, if it is Python code.
    :ivar gateway: ``"wsgi"`` or ``"asgi"``.
    :ivar why: the reason for that gateway.
    :ivar stock: crossings under Django's own ASGI handler; ``None`` when nobody counted.
    :ivar ours: crossings through the chosen gateway under Twogate.
    :ivar reached: a request of nobody in particular reaches the view; else a middleware answers.
    """

    path: str
    view: str
    place: Place | None
    is_async: bool
    gateway: str
    why: str
    stock: int | None
    ours: int | None
    reached: bool = True


def list_routes(
    config: Config, serves_http: bool, probing: bool
) -> tuple[list[Route], list[tuple[Any, Place]]]:
    """All of them, and the async views with their places.

    :param serves_http: whether the ASGI application does.
    :param probing: count crossings by sending requests through the middleware.
    """
    try:
        rules = parse_rules(getattr(settings, "TWOGATE_GATEWAYS", ()))
    except ProjectError:
        rules = []
    routes, views = [], []
    for path, view in _walk(get_resolver(None), "/", ()):
        choice = _choose(config, serves_http, rules, path, view)
        place = place_of(view)
        stock, ours, reached = None, None, True
        if probing:
            stock, ours, reached = _crossings(choice.gateway, Traits.of(view, is_async(view)))
        kind = is_async(view)
        routes.append(
            Route(
                path, name_of(view), place, kind, choice.gateway, choice.reason,
                stock, ours, reached,
            )
        )  # fmt: skip
        if place is not None:
            views.append((view, place))
        if len(routes) >= MOST_PATTERNS:
            break
    return routes, views


def _walk(
    resolver: URLResolver, prefix: str, above: tuple[URLResolver, ...]
) -> Iterator[tuple[str, Any]]:
    for entry in resolver.url_patterns:
        path = prefix + _readable(str(entry.pattern))
        if not isinstance(entry, URLResolver):
            assert isinstance(entry, URLPattern) or hasattr(entry, "callback")
            yield path, entry.callback
        elif entry not in above:
            yield from _walk(entry, path, (*above, entry))


def _readable(pattern: str) -> str:
    return pattern.removeprefix("^").removesuffix("$").removesuffix(r"\Z")


def _choose(config: Config, serves_http: bool, rules: list[Rule], path: str, view: Any) -> Choice:
    if config.gateway != "auto":
        return Choice(config.gateway, f"--gateway {config.gateway}")
    if not serves_http:
        return Choice("wsgi", "the ASGI application does not serve HTTP")
    ruled = next((rule.choice for rule in rules if rule.pattern.search(path)), None)
    return ruled or choose_for_view(view)


@cache
def _crossings(gateway: str, traits: Traits) -> tuple[int | None, int | None, bool]:
    """Those of all views alike: what the middleware cannot tell apart takes the same way."""
    stock, ours = pass_through_stock(traits), pass_through(gateway, traits)
    return _count(stock), _count(ours), ours.reached


def _count(passage: Passage) -> int | None:
    return passage.crossings if passage.status else None


def place_of(view: Any) -> Place | None:
    """The file and line of a view's definition, behind its decorators."""
    while isinstance(view, functools.partial):
        view = view.func
    thing = getattr(view, "view_class", None) or getattr(view, "cls", None)
    if thing is None:
        thing = inspect.unwrap(view)
    if not isinstance(thing, type):
        code = getattr(thing, "__code__", None)
        if code is not None:
            return Path(code.co_filename), code.co_firstlineno
        thing = type(thing)
    try:
        file = inspect.getsourcefile(thing)
    except TypeError:
        return None
    return (Path(file), _line_of_class(file, thing.__qualname__)) if file else None


def _line_of_class(file: str, name: str) -> int:
    return _classes(file).get(name, 1)


@cache
def _classes(file: str) -> dict[str, int]:
    """The lines of all classes in a file."""
    import ast

    found: dict[str, int] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                found[prefix + child.name] = child.lineno
                visit(child, f"{prefix}{child.name}.")

    try:
        visit(ast.parse(Path(file).read_bytes()), "")
    except (OSError, SyntaxError, ValueError):
        pass
    return found


def check_routes(
    source: Source, probing: bool, views: list[tuple[Any, Place]]
) -> Iterator[Finding]:
    """What is wrong with views, and with how they are reached."""
    yield from _gateways(source)
    for view, place in views:
        if source.is_own(place[0]):
            yield from _hidden(view, place)
            yield from _atomic(view, place)
    if probing:
        yield from _chain(source)


def _gateways(source: Source) -> Iterator[Finding]:
    try:
        parse_rules(getattr(settings, "TWOGATE_GATEWAYS", ()))
    except ProjectError as error:
        yield catalogue.BAD_GATEWAYS.at(
            source.setting("TWOGATE_GATEWAYS"), error.message, error.mend
        )


def _hidden(view: Any, place: Place) -> Iterator[Finding]:
    """A plain wrapper that calls a coroutine function and does nothing about the coroutine."""
    wrappers = list(_wrappers(view))
    inner = inspect.unwrap(view) if wrappers else view
    if is_async(view) or not inspect.iscoroutinefunction(inner):
        return
    code = [getattr(wrapper, "__code__", None) for wrapper in wrappers]
    names = {name for c in code if c is not None for name in (*c.co_names, *c.co_freevars)}
    cells = [c for w in wrappers for c in (getattr(w, "__closure__", None) or ())]
    adapted = any(isinstance(cell.cell_contents, AsyncToSync) for cell in cells)
    if None in code or adapted or names & {"async_to_sync", "run", "run_until_complete"}:
        return  # it is made sync on purpose
    # What wraps has taken the view's names; its code keeps its own.
    decorator = wrappers[-1].__code__.co_qualname.partition(".")[0]
    yield catalogue.SYNC_DECORATOR.at(
        place,
        f"{name_of(view)} is async, but {decorator} around it is a sync function.",
        f"Give {decorator} an async wrapper for async views (asgiref.sync.iscoroutinefunction"
        " tells), or mark what it returns with asgiref.sync.markcoroutinefunction.",
    )


def _wrappers(view: Any) -> Iterator[Any]:
    while hasattr(view, "__wrapped__"):
        yield view
        view = view.__wrapped__


def _atomic(view: Any, place: Place) -> Iterator[Finding]:
    if not is_async(view):
        return
    exempt: set[str] = getattr(view, "_non_atomic_requests", set())
    for alias in connections:
        if connections.settings[alias]["ATOMIC_REQUESTS"] and alias not in exempt:
            yield catalogue.ATOMIC_ASYNC.at(
                place,
                f"{name_of(view)} is async, and the database {alias!r} has ATOMIC_REQUESTS.",
                "Decorate it with django.db.transaction.non_atomic_requests, or make it sync.",
            )


def _chain(source: Source) -> Iterator[Finding]:
    passages: list[tuple[str, Callable[[], Passage]]] = [
        ("WSGI", lambda: pass_through("wsgi", Traits(False))),
        ("ASGI", lambda: pass_through("asgi", Traits(True))),
    ]
    for gateway, probe in passages:
        passage = probe()
        if passage.error is None or (passage.reached and passage.status < 500):
            continue
        from twogate.django.explain import explain

        explained = explain(passage.error, "sending a request through the middleware")
        message, _, _ = explained.message.partition("\nThis stopped")
        yield catalogue.CHAIN_FAILS.at(
            explained.place or source.setting("MIDDLEWARE"),
            f"Through {gateway}: {message}",
            explained.mend,
        )
        return
