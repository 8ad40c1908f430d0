"""What an application's exception means: a failure to tell, or only a client that went away.

Both gateways ask, on whatever thread the application ran.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twogate.errors import ClientDisconnected

if TYPE_CHECKING:
    from twogate.exchange import Exchange
    from twogate.observe.observer import Observer

__all__ = ["report_failure"]


def report_failure(observer: Observer, exchange: Exchange, error: BaseException) -> None:
    """Tell the observer, unless the client is gone and this is how the application took the news.

    ASGI, "Disconnected Client - send exception": a server should not log the exception it raised
    itself. Frameworks turn it into one of their own (Starlette's ``ClientDisconnect``), which is
    the same news.
    """
    if not (exchange.disconnected and _tells_of_disconnect(error)):
        observer.application_failed(exchange, error)


def _tells_of_disconnect(error: BaseException) -> bool:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        if isinstance(link, ClientDisconnected):
            return True
        if isinstance(link, BaseExceptionGroup):
            return all(map(_tells_of_disconnect, link.exceptions))
        seen.add(id(link))
        link = link.__cause__ or link.__context__
    return False
