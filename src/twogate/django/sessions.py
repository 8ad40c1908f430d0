"""Django's sessions, for WebSockets that are to end with them.

What ends a session is noticed in the process where it happens: whatever deletes it (``logout()``,
``flush()``, ``cycle_key()``), and a change of its user that makes its hash worthless (a password,
``is_active``). It is told to all worker processes by a topic of the server's own, as digests. The
store itself is asked at the handshake and when a session should be over, on a worker thread.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.base import SessionBase
from django.db.models.signals import post_delete, post_save
from django.http.cookie import parse_cookie
from django.utils import timezone

from twogate.django.executors import leased
from twogate.django.topics import hear, tell
from twogate.realtime.feed import Lagging, Subscription
from twogate.sessions import Known, digest

if TYPE_CHECKING:
    from twogate.protocol.events import RequestHead
    from twogate.sessions import Sessions

__all__ = ["TOPIC", "ProjectSessions", "watch"]

logger = logging.getLogger("twogate.sessions")

#: What workers tell each other: ``{"session": digest}``, or ``{"user": id, "proofs": [digest, …]}``
#: with the proofs that go on to count.
TOPIC = "twogate.sessions"

#: Seconds after which a session is looked at again at the latest: it may have been deleted in a
#: process that tells nobody.
_HORIZON = 3600.0
#: Fields of a user on which it depends whether a session counts. Each login saves others.
_DECISIVE = frozenset(("password", "is_active"))
#: Keys in one query.
_MOST_KEYS = 500
#: A key that is longer names no session of any store but that of signed cookies.
_LONGEST_KEY = 4096


class ProjectSessions:
    """See :class:`twogate.sessions.SessionStore`.

    :param closing: whether WebSockets end with their session; else it only says whose they are.
    """

    def __init__(self, closing: bool) -> None:
        self._closing = closing
        self._store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
        self._cookie = f"{settings.SESSION_COOKIE_NAME}=".encode("latin-1")
        self._following: asyncio.Task[None] | None = None
        self._complained = False

    def key(self, head: RequestHead) -> str | None:
        """The value of the session cookie."""
        for name, value in head.headers:
            if name == b"cookie" and self._cookie in value:
                key = parse_cookie(value.decode("latin-1")).get(settings.SESSION_COOKIE_NAME)
                return key if key and len(key) <= _LONGEST_KEY else None
        return None

    async def look(self, keys: Sequence[str]) -> list[Known | None]:
        """Ask the store, on a thread; one query where sessions are in the database."""
        with leased():
            found: list[Known | None] = await sync_to_async(self._look)(keys)
        return found

    def _look(self, keys: Sequence[str]) -> list[Known | None]:
        if not hasattr(self._store, "get_model_class"):
            return [self._look_for_one(key) for key in keys]
        found: dict[str, Known] = {}
        now = timezone.now()
        for begin in range(0, len(keys), _MOST_KEYS):
            rows = self._store.get_model_class()._default_manager.filter(
                session_key__in=keys[begin : begin + _MOST_KEYS], expire_date__gt=now
            )
            for row in rows:
                data = self._store().decode(row.session_data)
                left = (row.expire_date - now).total_seconds()
                found[row.session_key] = self._known(data, left)
        return [found.get(key) for key in keys]

    def _look_for_one(self, key: str) -> Known | None:
        session = self._store(key)
        data = session.load()
        if not data:  # also what a store says that does not know the key
            return None
        return self._known(data, session.get_expiry_age(expiry=data.get("_session_expiry")))

    def _known(self, data: dict[str, Any], left: float) -> Known:
        user = str(data.get(SESSION_KEY, "")) if BACKEND_SESSION_KEY in data else ""
        proof = digest(str(data.get(HASH_SESSION_KEY, "")))
        return Known(user, proof, min(left, _HORIZON) if self._closing else math.inf)

    def listen(self, sessions: Sessions) -> bool:
        """Follow what all processes of the project tell."""
        if not self._closing:
            return True
        try:
            subscription = hear(TOPIC)
        except Exception:
            self._complain()
            return False
        self._following = asyncio.ensure_future(_follow(subscription, sessions))
        if self._complained:
            self._complained = False
            sessions.doubt()  # what was said meanwhile was not heard
        return True

    def _complain(self) -> None:
        """Once: each handshake tries again."""
        if not self._complained:
            self._complained = True
            logger.exception(
                "This worker cannot hear of logouts; until it can, WebSockets of a session that"
                " has ended are closed within %g s",
                _HORIZON,
            )

    def close(self) -> None:
        """Follow it no longer."""
        if self._following is not None:
            self._following.cancel()


async def _follow(subscription: Subscription, sessions: Sessions) -> None:
    try:
        while True:
            try:
                async for entry in subscription:
                    _obey(json.loads(entry.data), sessions)
                return  # the feed was closed
            except Lagging:
                subscription = hear(TOPIC)
                sessions.doubt()
    finally:
        subscription.close()


def _obey(order: dict[str, Any], sessions: Sessions) -> None:
    if "session" in order:
        sessions.end(order["session"])
    else:
        sessions.end_others(order["user"], order["proofs"])


# What ends sessions, in whatever thread it happens.


def watch() -> None:
    """Tell all workers of sessions that end in this process; may be called again."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if store not in _watched:
        _watched.add(store)
        store.delete = _telling(store.delete)
        if store.adelete is not SessionBase.adelete:  # the base's calls delete()
            store.adelete = _atelling(store.adelete)
    if apps.is_installed("django.contrib.auth"):
        for model in apps.get_models():
            if issubclass(model, get_user_model()):
                post_save.connect(_user_saved, model)
                post_delete.connect(_user_deleted, model)


_watched: set[type[SessionBase]] = set()


def _telling(delete: Callable[..., None]) -> Callable[..., None]:
    """A store's ``delete()`` that tells of it afterwards."""

    @functools.wraps(delete)
    def telling(session: SessionBase, session_key: str | None = None) -> None:
        key = session_key or session.session_key
        delete(session, session_key)
        _session_ended(key)

    return telling


def _atelling(adelete: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """The same for ``adelete()``."""

    @functools.wraps(adelete)
    async def telling(session: SessionBase, session_key: str | None = None) -> None:
        key = session_key or session.session_key
        await adelete(session, session_key)
        _session_ended(key)

    return telling


def _session_ended(key: str | None) -> None:
    if key:
        tell(TOPIC, {"session": digest(key)})


def _user_saved(
    instance: Any,
    created: bool = False,
    raw: bool = False,
    update_fields: Collection[str] | None = None,
    **_: Any,
) -> None:
    if not created and not raw and (update_fields is None or _DECISIVE & set(update_fields)):
        _user_changed(instance, _proofs(instance) if instance.is_active else [])


def _user_deleted(instance: Any, **_: Any) -> None:
    _user_changed(instance, [])


def _user_changed(user: Any, proofs: list[str]) -> None:
    tell(TOPIC, {"user": user._meta.pk.value_to_string(user), "proofs": proofs})


def _proofs(user: Any) -> list[str]:
    """Digests of the hashes that a session of the user may have."""
    if not hasattr(user, "get_session_auth_hash"):
        return [digest("")]
    return [
        digest(each)
        for each in (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
    ]
