"""Dispatch by view: async views go to the ASGI gateway, the others to the WSGI gateway.

It knows Django's URL resolver and no server. It is called on the loop's thread, where a path that
it remembers costs one dictionary lookup; :meth:`ViewChooser.learn` is called from worker threads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import Resolver404, URLPattern, URLResolver, get_resolver
from django.utils import translation

from twogate.dispatch import Choice
from twogate.django.views import declared_gateway, is_async, name_of
from twogate.errors import ProjectError
from twogate.protocol.events import RequestHead

__all__ = ["Counts", "Rule", "ViewChooser", "count_patterns", "parse_rules", "watch_streams"]

#: Paths in one generation; at most two generations are kept.
GENERATION = 4096
#: Longer paths are resolved each time, which keeps the memory for strangers' paths below 4 MB.
LONGEST_REMEMBERED = 256
#: Where counting stops in a URLconf that has no end.
MOST_PATTERNS = 20_000

_NO_MATCH = Choice("wsgi", "no URL matches")


@dataclass(slots=True, frozen=True)
class Rule:
    """One entry of the setting ``TWOGATE_GATEWAYS``: paths that match go to the gateway."""

    pattern: re.Pattern[str]
    choice: Choice


def parse_rules(setting: object) -> list[Rule]:
    """Check ``TWOGATE_GATEWAYS``, a list of (regular expression, gateway).

    :raises ProjectError: an entry is no such pair; names the entry.
    """
    if not isinstance(setting, list | tuple):
        raise ProjectError(
            "The setting TWOGATE_GATEWAYS is not a list.",
            'Write it as a list of pairs: TWOGATE_GATEWAYS = [(r"^/live/", "asgi")].',
        )
    return [_parse_rule(index, entry) for index, entry in enumerate(setting)]


def _parse_rule(index: int, entry: Any) -> Rule:
    try:
        expression, name = entry
        pattern = re.compile(expression)
        if name not in ("wsgi", "asgi"):
            raise ValueError(f"the gateway is 'wsgi' or 'asgi' and not {name!r}")
    except (TypeError, ValueError, re.error) as error:
        raise ProjectError(
            f"TWOGATE_GATEWAYS[{index}] = {entry!r}: {error}.",
            'Each entry is a pair of a regular expression and a gateway: (r"^/live/", "asgi").',
        ) from error
    reason = f"pattern {pattern.pattern} in TWOGATE_GATEWAYS"
    return Rule(pattern, Choice(name, reason))


class ViewChooser:
    """Chooses the gateway of each HTTP request by the view that will serve it.

    In this order: a rule of ``TWOGATE_GATEWAYS``, the view's own ``@gateway``, what was learned,
    and whether Django would await the view. Never raises: what cannot be decided goes to the
    WSGI gateway.

    What was decided is remembered by path, in two generations: when the younger is full it becomes
    the older, and the older is dropped. A path in use moves to the younger generation, so strangers
    who ask for random paths push out each other's and never one that is in use.

    :param rules: see :func:`parse_rules`.
    :param routes: whether the ASGI application itself routes this path, past Django's URLconf.
    :param constant: the answer for all paths, when it is known and needs no view's name.
    """

    def __init__(
        self,
        rules: Sequence[Rule] = (),
        routes: Callable[[str], bool] | None = None,
        constant: Choice | None = None,
    ) -> None:
        self._rules = tuple(rules)
        self._routes = routes
        self._constant = constant
        self._recent: dict[bytes, Choice] = {}
        self._older: dict[bytes, Choice] = {}
        # By the id of the view: views need not be hashable, and the resolver keeps them alive.
        self._learned: dict[int, Choice] = {}

    def __call__(self, head: RequestHead) -> Choice:
        """The gateway for a request, and why. On the loop's thread."""
        choice = self._recent.get(head.raw_path)
        if choice is not None:
            return choice
        return self._constant or self._recall(head)

    def learn(self, path: str) -> None:
        """The view at this path is sync and returned an async stream: serve it by ASGI from now on.

        Any thread.
        """
        try:
            view = _resolve(path)
        except Exception:
            # What cannot be resolved again, say because a middleware set another URLconf, cannot
            # be learned; the response at hand is right all the same.
            return
        if declared_gateway(view) is not None or self._rule_for(path) is not None:
            return
        reason = f"view {name_of(view)} returned an async stream"
        self._learned[id(view)] = Choice("asgi", reason)
        self._constant = None
        # The loop may just be writing down what it decided before this lesson. Then the view comes
        # here once more, and everything is forgotten once more.
        self._recent, self._older = {}, {}

    def statistics(self) -> dict[str, int]:
        """How many paths are remembered and how many views were learned."""
        remembered = len(self._recent) + len(self._older)
        return {"remembered": remembered, "learned": len(self._learned)}

    def _recall(self, head: RequestHead) -> Choice:
        choice = self._older.get(head.raw_path) or self._decide(head.path)
        if len(head.raw_path) <= LONGEST_REMEMBERED:
            self._remember(head.raw_path, choice)
        return choice

    def _remember(self, raw_path: bytes, choice: Choice) -> None:
        if len(self._recent) >= GENERATION:
            self._recent, self._older = {}, self._recent
        self._recent[raw_path] = choice

    def _decide(self, path: str) -> Choice:
        try:
            return self._rule_for(path) or self._of_path(path)
        except Exception as error:
            # A path converter that queries the database is one of the things that fail on the
            # loop. Django meets the same error, or none, and answers as it would anyway.
            return Choice("wsgi", f"undecided: {type(error).__name__} while resolving the path")

    def _rule_for(self, path: str) -> Choice | None:
        return next((rule.choice for rule in self._rules if rule.pattern.search(path)), None)

    def _of_path(self, path: str) -> Choice:
        if self._routes is not None and self._routes(path):
            return Choice("asgi", "route of the ASGI application")
        try:
            view = _resolve(path)
        except Resolver404:
            return _NO_MATCH
        return self._learned.get(id(view)) or choose_for_view(view)


def choose_for_view(view: Any) -> Choice:
    """The gateway for a view, by what it declares or else by what it is."""
    declared = declared_gateway(view)
    if declared is not None:
        return Choice(declared, f"declared by @gateway on {name_of(view)}")
    if is_async(view):
        return Choice("asgi", f"async view {name_of(view)}")
    return Choice("wsgi", f"sync view {name_of(view)}")


def _resolve(path: str) -> Any:
    """The view function for a path, in the language that the path names.

    A project's ``LocaleMiddleware`` activates that language before Django resolves the path.
    """
    language = translation.get_language_from_path(path)
    if language is None:
        return get_resolver(None).resolve(path).func
    with translation.override(language, deactivate=True):
        return get_resolver(None).resolve(path).func


def watch_streams(
    application: Callable[..., Any], learn: Callable[[str], None]
) -> Callable[..., Any]:
    """Wrap a WSGI application so that a view which returns an async stream is learned.

    Django serves such a response under WSGI too, by running the stream to its end first.
    """

    def watching(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        result = application(environ, start_response)
        if getattr(result, "is_async", False) is True and getattr(result, "streaming", False):
            path = environ.get("PATH_INFO", "/").encode("latin-1")
            learn(path.decode("utf-8", "replace"))
        return result

    return watching


@dataclass(slots=True)
class Counts:
    """How many URL patterns go to each gateway.

    :ivar complete: false when there are more than anybody counts.
    """

    wsgi: int = 0
    asgi: int = 0
    complete: bool = True

    @property
    def total(self) -> int:
        """All patterns counted."""
        return self.wsgi + self.asgi


def count_patterns() -> Counts:
    """Walk the project's URLconf, which imports it.

    Rules of ``TWOGATE_GATEWAYS`` are about paths and are not counted in.
    """
    counts = Counts()
    for pattern in _walk(get_resolver(None), ()):
        if counts.total >= MOST_PATTERNS:
            counts.complete = False
            break
        if choose_for_view(pattern.callback).gateway == "asgi":
            counts.asgi += 1
        else:
            counts.wsgi += 1
    return counts


def _walk(resolver: URLResolver, above: tuple[URLResolver, ...]) -> Iterator[URLPattern]:
    for entry in resolver.url_patterns:
        if not isinstance(entry, URLResolver):
            yield entry
        elif entry not in above:  # a URLconf that includes itself has no end
            yield from _walk(entry, (*above, entry))
