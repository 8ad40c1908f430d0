"""What proofs stand on: a Django site of a few views, and callers that go through either gateway.

Made to be read: it does nothing that a learner could not write. It configures Django in its own
process, so only programs of their own may use it. Clients call from threads of their own; servers
listen on loopback only.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import logging
import socket
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from twogate.config import Config
from twogate.dispatch import Applications
from twogate.observe.observer import Observer
from twogate.server import Server

__all__ = ["Response", "Served", "ask_asgi", "ask_wsgi", "http_scope", "serve", "site"]

#: Seconds after which a client gives up.
PATIENCE = 8.0


@dataclass(frozen=True, slots=True)
class Response:
    """A response as its client saw it; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    text: str


# A Django site.


def site(views: Mapping[str, Any] | None = None, **settings: Any) -> None:
    """Configure Django: URL paths and their views, no middleware unless ``MIDDLEWARE`` is given."""
    import django
    from django.conf import settings as django_settings
    from django.urls import path

    urls = types.ModuleType("urls")
    urls.urlpatterns = [path(route, view) for route, view in (views or {}).items()]  # type: ignore[attr-defined]
    sys.modules["urls"] = urls
    defaults = {
        "SECRET_KEY": "for this lesson only",
        "ALLOWED_HOSTS": ["127.0.0.1"],
        "ROOT_URLCONF": "urls",
        "LOGGING_CONFIG": None,
    }
    django_settings.configure(**(defaults | settings))
    django.setup()
    logging.getLogger("django").addHandler(logging.NullHandler())


def ask_wsgi(path: str = "/", application: Any = None, **environ: Any) -> Response:
    """Call a WSGI application as a server does (PEP 3333), Django's by default."""
    if application is None:
        from django.core.wsgi import get_wsgi_application

        application = get_wsgi_application()
    started: list[Any] = []
    result = application(
        {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        | environ,
        lambda status, headers, exc_info=None: started.append((status, headers)),
    )
    body = b"".join(result)
    if hasattr(result, "close"):
        result.close()
    status, headers = started[-1]
    return Response(int(status[:3]), {k.lower(): v for k, v in headers}, body.decode())


def http_scope(path: str = "/") -> dict[str, Any]:
    """The scope of a GET request, as an ASGI server makes it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 80),
    }


async def ask_asgi(path: str = "/", application: Any = None) -> Response:
    """Await an ASGI application as a server does, Django's by default."""
    if application is None:
        from django.core.asgi import get_asgi_application

        application = get_asgi_application()
    events: list[Any] = [{"type": "http.request", "body": b"", "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if events:
            return events.pop()
        return await asyncio.get_running_loop().create_future()  # the client stays

    async def send(event: Any) -> None:
        sent.append(event)

    await application(http_scope(path), receive, send)
    headers = {k.decode().lower(): v.decode() for k, v in sent[0]["headers"]}
    body = b"".join(event.get("body", b"") for event in sent[1:])
    return Response(sent[0]["status"], headers, body.decode())


# A server on loopback, and its clients.


@dataclass(frozen=True, slots=True)
class Served:
    """Where a server listens, and clients for it."""

    port: int

    def get(self, path: str = "/", **headers: str) -> Response:
        """Ask for a page, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Response(response.status, fields, response.read().decode())

    def get_many(self, path: str, clients: int) -> list[Response]:
        """Have so many clients ask for a page at the same moment."""
        with ThreadPoolExecutor(clients) as pool:
            return list(pool.map(self.get, [path] * clients))

    def websocket(self, path: str = "/") -> ClientConnection:
        """Open a WebSocket: a context manager with ``send``, ``recv`` and ``close``.

        :raises InvalidStatus: the server refused.
        """
        return connect(f"ws://127.0.0.1:{self.port}{path}", proxy=None, open_timeout=PATIENCE)

    def websocket_status(self, path: str = "/") -> int:
        """The HTTP status that answers a WebSocket's opening request."""
        try:
            with self.websocket(path) as socket:
                assert socket.response is not None
                return socket.response.status_code
        except InvalidStatus as error:
            return error.response.status_code


@contextlib.contextmanager
def serve(
    *,
    wsgi: Callable[..., Any] | None = None,
    asgi: Callable[..., Any] | None = None,
    threads: int = 8,
    observer: Observer | None = None,
) -> Iterator[Served]:
    """Twogate, in a thread of this process, for the time of the block.

    With both applications each request goes through the gateway that suits its view.

    :param observer: is told what happens, in that thread.
    """
    chooser = None
    if wsgi is not None and asgi is not None:
        from twogate.django.chooser import ViewChooser

        chooser = ViewChooser()
    server = Server(
        Applications(wsgi, asgi, chooser), Config(threads=threads), observer or Observer()
    )
    logging.getLogger("twogate").addHandler(logging.NullHandler())
    loop = asyncio.new_event_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    loop.run_until_complete(server.start([listener]))
    thread = threading.Thread(target=loop.run_forever, name="loop")
    thread.start()
    try:
        yield Served(listener.getsockname()[1])
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        listener.close()
