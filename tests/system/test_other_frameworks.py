"""Applications that are not Django's: `--wsgi` and `--asgi` serve anything, alone or together."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from websockets.sync.client import connect

from .conftest import Serve, Site

FLASK = """
from flask import Flask, request

app = Flask(__name__)


@app.route("/hello/<name>", methods=["GET", "POST"])
def hello(name):
    return f"Hello {name} {request.get_data(as_text=True)}", 203, {"X-Made-By": "flask"}
"""

STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute


async def hello(request):
    name = request.path_params["name"]
    return PlainTextResponse(f"Hello {name} {(await request.body()).decode()}", 203)


async def shout(websocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text.upper())


app = Starlette(
    routes=[
        Route("/hello/{name}", hello, methods=["GET", "POST"]),
        WebSocketRoute("/shout", shout),
    ]
)
"""


def ask(site: Site, path: str, body: bytes | None = None) -> tuple[int, str, str]:
    """Status, the header that tells the application, text."""
    request = urllib.request.Request(f"{site.url}{path}", data=body)
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.status, response.headers.get("X-Made-By", ""), response.read().decode()


def shout(site: Site, text: str) -> str | bytes:
    with connect(f"ws://{site.host}:{site.port}/shout", open_timeout=10) as websocket:
        websocket.send(text)
        return websocket.recv(timeout=10)


def test_flask(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "flask_hello.py").write_text(FLASK)
    with serve(tmp_path, "--wsgi=flask_hello:app") as site:
        assert ask(site, "/hello/G%C3%A9za") == (203, "flask", "Hello Géza ")
        assert ask(site, "/hello/you", b"twice") == (203, "flask", "Hello you twice")


def test_starlette(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "starlette_hello.py").write_text(STARLETTE)
    with serve(tmp_path, "--asgi=starlette_hello:app") as site:
        assert ask(site, "/hello/G%C3%A9za") == (203, "", "Hello Géza ")
        assert ask(site, "/hello/you", b"twice") == (203, "", "Hello you twice")
        assert shout(site, "hey") == "HEY"


def test_flask_pages_and_starlette_websockets_on_one_port(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "flask_hello.py").write_text(FLASK)
    (tmp_path / "starlette_hello.py").write_text(STARLETTE)
    with serve(tmp_path, "--wsgi=flask_hello:app", "--asgi=starlette_hello:app") as site:
        assert ask(site, "/hello/you") == (203, "flask", "Hello you ")
        assert shout(site, "hey") == "HEY"
