"""The sessions that open WebSockets were opened with, so that they end together. Loop's thread.

Knows no Django: what a session is, whether it still is, and who says that it has ended, is handed
in as a :class:`SessionStore`. There is no timer here: the server's sweep calls
:meth:`Sessions.tick`.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from twogate.protocol.events import RequestHead
    from twogate.socket_exchange import SocketExchange

__all__ = ["Admitted", "Known", "Session", "SessionStore", "Sessions", "digest"]

logger = logging.getLogger("twogate.sessions")

#: RFC 6455 §7.4.1: "a generic status code that can be returned when there is no other".
_POLICY_VIOLATION = 1008
_LOGGED_OUT = "logged out"
_EXPIRED = "session expired"

#: Seconds after its end that a session is looked for again, and after a look that failed.
_AFTER_THE_END = 1.0
_AFTER_A_FAILURE = 60.0
#: Entries of the agenda that may be out of date before it is made anew.
_SPARE = 64


def digest(text: str) -> str:
    """What stands for a secret where it is compared or sent."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(slots=True, frozen=True)
class Known:
    """What the store says of a session that has not ended.

    :ivar user: whose it is; ``""`` for nobody's.
    :ivar proof: a :func:`digest` of what changes with the user's password.
    :ivar ends_in: seconds until it is worth another look.
    """

    user: str
    proof: str
    ends_in: float


class SessionStore(Protocol):
    """What is asked of the project's sessions. On the loop; nothing may block it."""

    def key(self, head: RequestHead) -> str | None:
        """The session that a request names, if it names any."""

    async def look(self, keys: Sequence[str]) -> list[Known | None]:
        """What is known of some sessions, in their order; ``None`` for one that has ended."""

    def listen(self, sessions: Sessions) -> bool:
        """From now on call :meth:`Sessions.end` and :meth:`Sessions.end_others`, whichever process
        the sessions end in.

        :return: false if that is not possible now and should be tried again.
        """

    def close(self) -> None:
        """Listen no longer."""


class Admitted:
    """One WebSocket from its handshake to the end of its application; see
    :class:`twogate.socket_exchange.Ticket`.

    :ivar address: what it counts for, or ``""``.
    :ivar session: the session it was opened with, while that goes on.
    :param leave: called once, when it is over.
    """

    __slots__ = ("_ended", "_leave", "_socket", "address", "session")

    def __init__(self, address: str, leave: Callable[[Admitted], None]) -> None:
        self.address = address
        self.session: Session | None = None
        self._leave: Callable[[Admitted], None] | None = leave
        self._socket: SocketExchange | None = None
        self._ended = ""

    def opened(self, socket: SocketExchange) -> None:
        """The application has accepted it."""
        self._socket = socket
        if self._ended:
            socket.close(_POLICY_VIOLATION, self._ended)

    def end(self, reason: str) -> None:
        """Its session is over: close it, now or as soon as it opens."""
        self.session = None
        self._ended = reason
        if self._socket is not None:
            self._socket.close(_POLICY_VIOLATION, reason)

    def over(self) -> None:
        """The application is done with it, or it never was one. May be called again."""
        leave, self._leave = self._leave, None
        self._socket = None
        if leave is not None:
            leave(self)


class Session:
    """One session that WebSockets were opened with."""

    __slots__ = ("due", "key", "looked", "name", "proof", "sockets", "user")

    def __init__(self, name: str, key: str) -> None:
        #: The :func:`digest` of the key.
        self.name = name
        self.key = key
        self.user = self.proof = ""
        #: Whether the store was asked, and when it is to be asked again, by the loop's clock.
        self.looked = False
        self.due = 0.0
        self.sockets: set[Admitted] = set()


class Sessions:
    """All sessions with WebSockets in this worker.

    :param store: see :class:`SessionStore`.
    :param loop: the running loop.
    """

    def __init__(self, store: SessionStore, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop
        self._sessions: dict[str, Session] = {}
        self._users: dict[str, set[Session]] = {}
        #: When to look at which session again; one that has gone or was put off is passed over.
        self._agenda: list[tuple[float, str]] = []
        self._looking: asyncio.Task[None] | None = None
        self._listens = False
        self._quiet_until = 0.0

    def __len__(self) -> int:
        return len(self._sessions)

    def key(self, head: RequestHead) -> str | None:
        """See :meth:`SessionStore.key`."""
        return self._store.key(head)

    def hold(self, key: str, admitted: Admitted) -> Session:
        """Count a WebSocket to its session. Before the store is asked: the session may end then."""
        if not self._listens:
            self._listens = self._store.listen(self)
        name = digest(key)
        session = self._sessions.get(name)
        if session is None:
            session = self._sessions[name] = Session(name, key)
        session.sockets.add(admitted)
        admitted.session = session
        return session

    def release(self, admitted: Admitted) -> None:
        """A WebSocket is gone, or has no session after all."""
        session, admitted.session = admitted.session, None
        if session is not None:
            session.sockets.discard(admitted)
            if not session.sockets:
                self._forget(session)

    def _forget(self, session: Session) -> None:
        if self._sessions.get(session.name) is session:
            del self._sessions[session.name]
        self._set_user(session, "")

    def count(self, user: str) -> int:
        """WebSockets of one user."""
        return sum(len(session.sockets) for session in self._users.get(user, ()))

    async def look(self, sessions: Sequence[Session]) -> None:
        """Ask the store about sessions, and let go of those that have ended."""
        try:
            found = await self._store.look([session.key for session in sessions])
        except Exception:
            self._complain()
            for session in sessions:
                self._put_off(session, _AFTER_A_FAILURE)
            return
        for session, known in zip(sessions, found, strict=True):
            if known is None and not session.looked:
                self._ignore(session)
            elif known is None or session.user not in ("", known.user):
                self._end(session, _EXPIRED)
            else:
                session.looked = True
                session.proof = known.proof
                self._set_user(session, known.user)
                self._put_off(session, known.ends_in + _AFTER_THE_END)

    def _complain(self) -> None:
        """Log the exception at hand; once a minute, for there may be thousands of handshakes."""
        now = self._loop.time()
        if now >= self._quiet_until:
            self._quiet_until = now + _AFTER_A_FAILURE
            logger.exception(
                "Sessions of WebSockets could not be looked up; again in %g s", _AFTER_A_FAILURE
            )

    def _put_off(self, session: Session, seconds: float) -> None:
        if session.sockets:
            session.due = self._loop.time() + seconds
            heapq.heappush(self._agenda, (session.due, session.name))
            if len(self._agenda) > 2 * len(self._sessions) + _SPARE:
                self._tidy_agenda()

    def _tidy_agenda(self) -> None:
        """Drop what would be passed over: who comes and goes leaves an entry each time."""
        self._agenda = [(each.due, name) for name, each in self._sessions.items() if each.due]
        heapq.heapify(self._agenda)

    def _set_user(self, session: Session, user: str) -> None:
        if session.user == user:
            return
        if session.user:
            others = self._users[session.user]
            others.discard(session)
            if not others:
                del self._users[session.user]
        session.user = user
        if user and session.sockets:
            self._users.setdefault(user, set()).add(session)

    # What ends sessions.

    def end(self, name: str) -> None:
        """A session has ended.

        :param name: the :func:`digest` of its key.
        """
        session = self._sessions.get(name)
        if session is not None:
            self._end(session, _LOGGED_OUT)

    def end_others(self, user: str, proofs: Collection[str]) -> None:
        """All sessions of a user have ended but for those with one of these proofs."""
        for session in tuple(self._users.get(user, ())):
            if session.proof not in proofs:
                self._end(session, _LOGGED_OUT)

    def _end(self, session: Session, reason: str) -> None:
        self._forget(session)
        sockets, session.sockets = session.sockets, set()
        for admitted in sockets:
            admitted.end(reason)

    def _ignore(self, session: Session) -> None:
        """It was over before the handshake: these are sockets without one."""
        self._forget(session)
        for admitted in session.sockets:
            admitted.session = None
        session.sockets.clear()

    def doubt(self) -> None:
        """Something that was said was not heard: ask about all of them again."""
        for session in self._sessions.values():
            self._put_off(session, 0.0)

    def tick(self, now: float) -> None:
        """Ask about sessions whose time has come; called about once a second.

        :param now: the loop's time in seconds.
        """
        if not self._agenda or self._agenda[0][0] > now or self._looking is not None:
            return
        due: dict[str, Session] = {}
        while self._agenda and self._agenda[0][0] <= now:
            when, name = heapq.heappop(self._agenda)
            session = self._sessions.get(name)
            if session is not None and session.due == when:
                due[name] = session
        if due:
            self._looking = self._loop.create_task(self.look(list(due.values())))
            self._looking.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None

    def close(self) -> None:
        """The server ends."""
        if self._looking is not None:
            self._looking.cancel()
        if self._listens:
            self._store.close()
