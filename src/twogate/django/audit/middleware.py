"""Which middleware takes a thread for async views, and the order that crosses least.

An order is only proposed where a real request through it crosses less often, and where it keeps
what Django's documentation says of its own middleware: the project's own middlewares may move
further in, past others, and nothing else moves.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.test.utils import override_settings
from django.utils.module_loading import import_string

from twogate.django.audit import catalogue
from twogate.django.audit.finding import Finding, Place
from twogate.django.audit.probe import Traits, pass_through, pass_through_stock
from twogate.django.audit.source import Source
from twogate.django.middleware import is_plain
from twogate.django.rules import NEVER, is_declared_nonblocking, rule_of

__all__ = ["Step", "check_middleware", "list_middleware"]

_HOOKS = ("process_request", "process_view", "process_response")
#: What must stay innermost: they answer when nothing else did, or keep what the view answered.
_LAST = (
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
    "django.contrib.redirects.middleware.RedirectFallbackMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
    "wagtail.contrib.redirects.middleware.RedirectMiddleware",
)
_BY_ITSELF = "it goes to a thread by itself"
#: Where trying out orders stops.
_MOST_PROBES = 60


@dataclass(slots=True, frozen=True)
class Step:
    """One middleware of the setting.

    :ivar path: its dotted name in ``MIDDLEWARE``.
    :ivar reason: why it takes a thread for each async request; ``""`` if it does not.
    :ivar place: the hook or the class that does.
    """

    path: str
    reason: str
    place: Place | None


def list_middleware(causes: Sequence[Place] = ()) -> list[Step]:
    """All of ``MIDDLEWARE`` that can be imported, outermost first.

    :param causes: lines that are known to have made a crossing.
    """
    steps = []
    for path in settings.MIDDLEWARE:
        try:
            factory = import_string(path)
        except ImportError:
            continue  # loading says so
        step = _step(path, factory)
        steps.append(step if step.reason else _seen(step, factory, causes))
    return steps


def _seen(step: Step, factory: Any, causes: Sequence[Place]) -> Step:
    """The same, with what was seen of a middleware whose flags and hooks tell nothing."""
    module = getattr(sys.modules.get(getattr(factory, "__module__", "")), "__file__", None)
    lines = [line for file, line in causes if module is not None and file == Path(module)]
    if not lines:
        return step
    return Step(step.path, _BY_ITSELF, (Path(str(module)), lines[0]))


def _step(path: str, factory: Any) -> Step:
    if is_declared_nonblocking(factory):
        return Step(path, "", None)
    stand_in = _stand_in(factory)
    if stand_in is not None and is_plain(stand_in):
        hooks = [hook for hook in _HOOKS if _takes_thread(factory, stand_in, hook)]
        reason = f"its {' and '.join(hooks)} may block" if hooks else ""
        return Step(path, reason, _place(getattr(factory, hooks[0])) if hooks else None)
    if not getattr(factory, "async_capable", False):
        return Step(path, "it is sync only", _place(factory))
    hooks = [hook for hook in ("process_view",) if _takes_thread(factory, stand_in, hook)]
    reason = f"its {hooks[0]} may block" if hooks else ""
    return Step(path, reason, _place(getattr(factory, hooks[0])) if hooks else None)


def _stand_in(factory: Any) -> Any:
    """An instance whose ``__init__`` never ran: enough for those who look at the class."""
    try:
        return object.__new__(factory) if isinstance(factory, type) else None
    except TypeError:
        return None


def _takes_thread(factory: Any, stand_in: Any, hook: str) -> bool:
    function = getattr(factory, hook, None)
    if function is None or stand_in is None or iscoroutinefunction(function):
        return False
    return rule_of(stand_in, hook) is NEVER


def _place(thing: Any) -> Place | None:
    try:
        file = inspect.getsourcefile(inspect.unwrap(thing))
        _, line = inspect.getsourcelines(inspect.unwrap(thing))
    except (OSError, TypeError):
        return None
    return (Path(file), max(line, 1)) if file else None


def check_middleware(source: Source, steps: Sequence[Step]) -> Iterator[Finding]:
    """Findings for a project that has async views; others lose nothing to a thread."""
    own = [step for step in steps if step.reason and step.place and source.is_own(step.place[0])]
    for step in steps:
        if step.reason:
            yield _forces(source, step, step in own)
    if own:
        yield from _order(source, own)


def _forces(source: Source, step: Step, is_own: bool) -> Finding:
    place = source.setting("MIDDLEWARE")
    where = ""
    if is_own and step.place is not None:
        place = step.place
    elif step.place is not None:
        where = f" ({step.place[0].name}, line {step.place[1]})"
    return catalogue.FORCES_THREAD.at(
        place, f"{step.path}: {step.reason}{where}.", _mend(step, is_own)
    )


def _mend(step: Step, is_own: bool) -> str:
    if step.reason == _BY_ITSELF:
        return "Use async code there, or leave it out where nobody needs it."
    if is_own:
        return (
            "If it never blocks, say so with @twogate.django.nonblocking; else write it for both"
            " modes (django.utils.decorators.sync_and_async_middleware)."
        )
    return f'If it never blocks, say so: TWOGATE_NONBLOCKING = ["{step.path}"].'


# The order.


def _order(source: Source, movable: Sequence[Step]) -> Iterator[Finding]:
    now = list(settings.MIDDLEWARE)
    cost = _cost(now)
    if cost is None:
        return
    best, best_cost = now, cost
    for number, order in enumerate(_orders(now, {step.path for step in movable})):
        if number >= _MOST_PROBES:
            break
        probed = _cost(order)
        if probed is not None and probed < best_cost:
            best, best_cost = order, probed
    if best is now:
        return
    with override_settings(MIDDLEWARE=best):
        stock = pass_through_stock(Traits(True)).crossings
    stock_now = pass_through_stock(Traits(True)).crossings
    yield catalogue.BETTER_ORDER.at(
        source.setting("MIDDLEWARE"),
        f"An async view costs {cost} crossings in this order, and {best_cost} in another"
        f" (Django's own handler: {stock_now} and {stock}).",
        _moves(now, best),
    )


def _cost(order: Sequence[str]) -> int | None:
    """Crossings of an async view under Twogate, or ``None`` where none was reached."""
    with override_settings(MIDDLEWARE=list(order)):
        passage = pass_through("asgi", Traits(True))
    return passage.crossings if passage.reached and passage.error is None else None


def _orders(now: list[str], movable: set[str]) -> Iterator[list[str]]:
    """Orders in which own middlewares stand further in: each alone, then all of them together."""
    last = next((index for index, path in enumerate(now) if path in _LAST), len(now))
    for index, path in enumerate(now[:last]):
        if path in movable:
            rest = now[:index] + now[index + 1 :]
            for position in range(last - 1, index, -1):
                # Own middlewares keep their order: one may rely on another.
                if not movable & set(rest[index:position]):
                    yield [*rest[:position], path, *rest[position:]]
    inner = [path for path in now[:last] if path in movable]
    yield [path for path in now[:last] if path not in movable] + inner + now[last:]


def _moves(now: list[str], best: list[str]) -> str:
    moved = [
        path for path in now if now.index(path) < best.index(path) and _is_moved(path, best, now)
    ]
    parts = []
    for path in moved:
        before = best[best.index(path) - 1]
        parts.append(f"{path} behind {before}")
    return f"Move {'; '.join(parts)}, if they need not see the request before it."


def _is_moved(path: str, best: list[str], now: list[str]) -> bool:
    """Whether it, and not its neighbours, has changed place."""
    behind = set(now[now.index(path) + 1 :])
    return bool(behind & set(best[: best.index(path)]))
