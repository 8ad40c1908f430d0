"""Which gateway gets a request, and the reason on record."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.support.gateways import Reply, Served, StartResponse, head_of, serve, wait_for
from twogate.dispatch import Choice
from twogate.protocol.events import RequestHead

UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


def wsgi(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [b"wsgi " + body]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    body = b""
    while (message := await receive()).get("more_body"):
        body += message["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"asgi " + body + message["body"]})


def choose(head: RequestHead) -> Choice:
    if head.path == "/broken":
        raise LookupError("no such view")
    gateway = "asgi" if head.path.startswith("/live") else "wsgi"
    return Choice(gateway, f"the test wants {gateway}")


def reason(served: Served, gateway: str) -> str:
    """The reason on record for the only request there was."""
    wait_for(lambda: served.observer.finished)
    (exchange,) = served.observer.finished
    assert exchange.gateway == gateway
    return exchange.reason


@pytest.mark.parametrize(("path", "gateway"), [("/page", "wsgi"), ("/live", "asgi")])
def test_the_chooser_decides(path: str, gateway: str) -> None:
    with serve(wsgi=wsgi, asgi=asgi, chooser=choose) as served:
        assert served.request(path).body == gateway.encode() + b" "
        assert reason(served, gateway) == f"the test wants {gateway}"


@pytest.mark.parametrize(
    ("options", "gateway", "expected"),
    [
        ({"wsgi": wsgi}, "wsgi", "the only gateway"),
        ({"asgi": asgi}, "asgi", "the only gateway"),
        ({"wsgi": wsgi, "asgi": asgi}, "wsgi", "the default for HTTP"),
        ({"wsgi": wsgi, "asgi": asgi, "chooser": choose, "gateway": "wsgi"}, "wsgi", "--gateway"),
        ({"wsgi": wsgi, "asgi": asgi, "chooser": choose, "gateway": "asgi"}, "asgi", "--gateway"),
    ],
)
def test_without_a_choice_there_is_still_a_reason(
    options: dict[str, Any], gateway: str, expected: str
) -> None:
    with serve(**options) as served:
        assert served.request("/anything").body == gateway.encode() + b" "
        assert expected in reason(served, gateway)


def test_a_chunked_body_goes_to_asgi_because_django_reads_it_only_there() -> None:
    with serve(wsgi=wsgi, asgi=asgi, chooser=choose) as served:
        reply = served.request(
            "/page", "POST", (("Transfer-Encoding", "chunked"),), b"3\r\nabc\r\n0\r\n\r\n"
        )
        assert reply.body == b"asgi abc"
        assert reason(served, "asgi") == "request body of unknown length"


def test_a_chooser_that_fails_costs_a_log_record_and_no_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serve(wsgi=wsgi, asgi=asgi, chooser=choose) as served, served.client() as client:
        for path, expected in (("/broken", b"wsgi "), ("/live", b"asgi ")):
            client.send(head_of(path))
            assert client.reply().body == expected
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "/broken" in record.getMessage()


def test_options_asterisk_asks_the_server() -> None:
    with serve(wsgi=wsgi) as served:
        reply = served.request("*", "OPTIONS")
        assert reply.status == 204
        assert "GET" in (reply.header("allow") or "")
        assert reason(served, "server") == "OPTIONS *"


@pytest.mark.parametrize("options", [{"wsgi": wsgi}, {"wsgi": wsgi, "asgi": asgi}])
def test_a_websocket_without_asgi_is_refused_with_one_plain_sentence(
    options: dict[str, Any],
) -> None:
    forced: dict[str, Any] = {"gateway": "wsgi"} if "asgi" in options else {}
    with serve(**options, **forced) as served:
        reply = served.request("/chat", headers=UPGRADE)
        assert reply.status == 501
        assert b"WebSocket needs the ASGI gateway" in reply.body
        assert b"give the project an asgi.py" in reply.body
        assert reply.body.count(b". ") == 0
        assert reply.header("content-type") == "text/plain; charset=utf-8"
        assert reason(served, "server") == "WebSocket without the ASGI gateway"
        assert served.request("/page").body == b"wsgi "
        assert served.observer.failures == []


@pytest.mark.parametrize("gateway", ["wsgi", "asgi"])
def test_under_debug_the_browser_is_told(gateway: str) -> None:
    def timing(reply: Reply) -> str:
        return reply.header("server-timing") or ""

    with serve(wsgi=wsgi, asgi=asgi, gateway=gateway, debug=True) as served:
        assert timing(served.request()).startswith(f'gateway;desc="{gateway}: --gateway {gateway}"')
    with serve(wsgi=wsgi, asgi=asgi, gateway=gateway) as served:
        assert timing(served.request()) == ""
