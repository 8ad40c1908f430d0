"""Whether a WebSocket handshake may go on to the application. The loop's thread.

Three rules, all before the application hears of it: its origin, how many WebSockets its address
has, and how many its user has. Knows no Django: which hosts are the project's own and what its
sessions are is handed in. ``docs/design/0013-socket-rules.md`` has the reasons.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias

from twogate.errors import PeerError
from twogate.protocol.origin import MALFORMED, Origin, origin_of, parse_origin
from twogate.sessions import Admitted, Sessions

if TYPE_CHECKING:
    from twogate.exchange import Exchange
    from twogate.observe.observer import Observer

__all__ = ["Admission", "Limits", "Origins"]

logger = logging.getLogger("twogate.websocket")

#: Seconds between two lines about the same rule.
_TELL_EVERY = 60.0
#: Characters of what strangers have sent that are logged.
_MOST_SHOWN = 200

_ORIGIN_REFUSED = PeerError(
    HTTPStatus.FORBIDDEN, "Pages of that origin may not open a WebSocket here."
)
_ADDRESS_REFUSED = PeerError(
    HTTPStatus.TOO_MANY_REQUESTS, "There are too many WebSockets from your address."
)
_USER_REFUSED = PeerError(HTTPStatus.TOO_MANY_REQUESTS, "You have too many WebSockets open.")

#: Takes a handshake to the application.
SocketGateway: TypeAlias = "Callable[[Exchange, Admitted], None]"
AllowsHost: TypeAlias = Callable[[str], bool]


class Origins:
    """Which origins may open WebSockets.

    :param allowed: see ``--websocket-origins``.
    :param allows_host: whether a host is the project's own; ``None`` where nobody knows, and then
        ``allowed-hosts`` means any.
    """

    def __init__(self, allowed: Sequence[str], allows_host: AllowsHost | None) -> None:
        own = "allowed-hosts" in allowed
        self._any = "any" in allowed or (own and allows_host is None)
        self._allows_host = allows_host if own else None
        self._listed = frozenset(map(parse_origin, allowed))

    def allows(self, origin: Origin | None) -> bool:
        """Whether a page of an origin may; who sends none is no browser, and may."""
        if self._any or origin is None:
            return True
        if origin is MALFORMED:
            return False
        if origin in self._listed:
            return True
        return self._allows_host is not None and self._allows_host(origin.host)


@dataclass(slots=True, frozen=True)
class Limits:
    """How many WebSockets one worker has at once for one of these; 0 for any number.

    :ivar per_address: a client's address; an IPv6 client's network of 64 bits.
    :ivar per_user: a user, as their session says.
    :ivar private: whether addresses count that are not public, too: they may be a proxy's.
    """

    per_address: int = 100
    per_user: int = 50
    private: bool = False


class _Complaint:
    """Says what was refused by one rule: at once, and then once a minute with the number."""

    __slots__ = ("_count", "_last", "_message", "_quiet_until", "total")

    def __init__(self, message: str) -> None:
        self._message = message
        self.total = 0
        self._count = 0
        self._last = ""
        self._quiet_until = 0.0

    def note(self, last: str) -> None:
        self.total += 1
        self._count += 1
        self._last = last

    def tick(self, now: float) -> None:
        if self._count and now >= self._quiet_until:
            self._quiet_until = now + _TELL_EVERY
            logger.warning(self._message, self._count, self._last)
            self._count = 0


class Admission:
    """Takes handshakes to a gateway, or refuses them.

    :param gateway: see :data:`SocketGateway`.
    :param origins: see :class:`Origins`.
    :param limits: see :class:`Limits`.
    :param sessions: of the project; ``None`` where there are none.
    :param observer: is told of refusals.
    """

    def __init__(
        self,
        gateway: SocketGateway,
        origins: Origins,
        limits: Limits,
        sessions: Sessions | None,
        observer: Observer,
    ) -> None:
        self._gateway = gateway
        self._origins = origins
        self._limits = limits
        self._sessions = sessions
        self._observer = observer
        self._addresses: dict[str, int] = {}
        self._left = self._leave  # one object for all who are let in
        self._tasks: set[asyncio.Task[None]] = set()
        self._bad_origin = _Complaint(
            "%d WebSocket handshake(s) were refused because of their origin, the last one %s: if"
            " its pages are yours, add its host to ALLOWED_HOSTS or the origin to"
            " --websocket-origins"
        )
        self._busy_address = _Complaint(
            "%d WebSocket handshake(s) were refused because their address has"
            f" {limits.per_address} in this worker, the last one from %s"
            " (--websocket-per-address)"
        )
        self._busy_user = _Complaint(
            f"%d WebSocket handshake(s) were refused because their user has {limits.per_user} in"
            " this worker, the last one user %s (--websocket-per-user)"
        )
        self._complaints = (self._bad_origin, self._busy_address, self._busy_user)

    def __call__(self, exchange: Exchange) -> None:
        """Let a handshake in, or refuse it; one with a session once that is known."""
        origin = origin_of(exchange.head.headers)
        if not self._origins.allows(origin):
            self._bad_origin.note(_shown(exchange))
            self._refuse(exchange, _ORIGIN_REFUSED)
            return
        address = self._counted(exchange)
        if address and self._addresses.get(address, 0) >= self._limits.per_address:
            self._busy_address.note(address)
            self._refuse(exchange, _ADDRESS_REFUSED)
            return
        if address:
            self._addresses[address] = self._addresses.get(address, 0) + 1
        admitted = Admitted(address, self._left)
        key = self._sessions.key(exchange.head) if self._sessions is not None else None
        if key is None:
            self._gateway(exchange, admitted)
            return
        task = asyncio.get_running_loop().create_task(self._admit(exchange, admitted, key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _admit(self, exchange: Exchange, admitted: Admitted, key: str) -> None:
        sessions = self._sessions
        assert sessions is not None
        session = sessions.hold(key, admitted)
        if not session.looked:
            await sessions.look([session])
        if exchange.disconnected:
            admitted.over()
            return
        user, most = session.user, self._limits.per_user
        if admitted.session is session and user and 0 < most < sessions.count(user):
            self._busy_user.note(user)
            admitted.over()
            self._refuse(exchange, _USER_REFUSED)
            return
        self._gateway(exchange, admitted)

    def _counted(self, exchange: Exchange) -> str:
        """What a handshake counts for; ``""`` for nothing."""
        client = exchange.peer.client
        if not self._limits.per_address or client is None:
            return ""
        try:
            address = ipaddress.ip_address(client[0].partition("%")[0])
        except ValueError:
            return ""
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if not (self._limits.private or address.is_global):
            return ""
        if isinstance(address, ipaddress.IPv6Address):
            # Whoever has one address has the network.
            return str(ipaddress.ip_network((address, 64), strict=False))
        return str(address)

    def _leave(self, admitted: Admitted) -> None:
        """A WebSocket and its application are over, or it never was one."""
        if self._sessions is not None:
            self._sessions.release(admitted)
        if admitted.address:
            left = self._addresses[admitted.address] - 1
            if left:
                self._addresses[admitted.address] = left
            else:
                del self._addresses[admitted.address]

    def _refuse(self, exchange: Exchange, error: PeerError) -> None:
        client = exchange.peer.client
        exchange.gateway, exchange.reason = "server", error.message
        self._observer.request_refused(client[0] if client else "", error.status, error.message)
        exchange.refuse(error)

    def statistics(self) -> dict[str, int]:
        """Handshakes refused so far, by rule, and sessions with WebSockets now."""
        return {
            "refused_origin": self._bad_origin.total,
            "refused_address": self._busy_address.total,
            "refused_user": self._busy_user.total,
            "sessions": len(self._sessions) if self._sessions is not None else 0,
        }

    def tick(self, now: float) -> None:
        """Tell of refusals, and ask about sessions; called about once a second.

        :param now: the loop's time in seconds.
        """
        for complaint in self._complaints:
            complaint.tick(now)
        if self._sessions is not None:
            self._sessions.tick(now)

    def close(self) -> None:
        """The server ends: tell what was not told, and stop looking."""
        for complaint in self._complaints:
            complaint.tick(math.inf)
        for task in self._tasks:
            task.cancel()
        if self._sessions is not None:
            self._sessions.close()


def _shown(exchange: Exchange) -> str:
    """The Origin as it was sent, fit for a log."""
    values = [value for name, value in exchange.head.headers if name == b"origin"]
    return ascii(b", ".join(values).decode("latin-1"))[:_MOST_SHOWN]
