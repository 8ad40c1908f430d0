"""What proofs stand on, in processes of their own: it configures Django."""

from __future__ import annotations

from twogate.lab.runner import run

SITE = """
from django.http import HttpResponse

from twogate.lab.stage import ask_asgi, ask_wsgi, serve, site

def page(request):
    response = HttpResponse(type(request).__name__)
    response["X-Path"] = request.path
    return response

site({"page": page})
"""


def said(program: str) -> list[str]:
    done = run(program, timeout=60)
    assert done.fine and done.errors == "", done.errors
    return done.output.splitlines()


def test_a_site_is_asked_through_either_gateway() -> None:
    program = """
import asyncio
for response in (ask_wsgi("/page"), asyncio.run(ask_asgi("/page"))):
    print(response.status, response.headers["x-path"], response.text)
print(ask_wsgi("/nowhere").status, asyncio.run(ask_asgi("/nowhere")).status)
"""
    assert said(SITE + program) == ["200 /page WSGIRequest", "200 /page ASGIRequest", "404 404"]


def test_a_site_is_served() -> None:
    program = """
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
with serve(wsgi=get_wsgi_application()) as server:
    print(server.get("/page").text)
    print([response.status for response in server.get_many("/page", 5)])
    print(server.websocket_status("/page"))
with serve(asgi=get_asgi_application()) as server:
    print(server.get("/page").text)
"""
    assert said(SITE + program) == ["WSGIRequest", str([200] * 5), "501", "ASGIRequest"]


def test_a_websocket_is_served() -> None:
    program = """
from twogate.lab.stage import serve

async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"].upper()})
        await receive()

with serve(asgi=application) as server:
    with server.websocket("/") as socket:
        socket.send("hello")
        print(socket.recv())
"""
    assert said(program) == ["HELLO"]


def test_it_listens_on_loopback_only_and_ends() -> None:
    program = """
import threading, socket
from twogate.lab.stage import serve

with serve(wsgi=lambda environ, start_response: []) as server:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        print(client.getpeername()[0])
try:
    socket.create_connection(("127.0.0.1", server.port))
except ConnectionRefusedError:
    print("gone")
print(threading.active_count())
"""
    assert said(program) == ["127.0.0.1", "gone", "1"]
