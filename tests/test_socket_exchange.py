"""The WebSocket half of the waist: what it asks for is there, and both sides keep to it."""

from __future__ import annotations

import ast
from pathlib import Path

from twogate.connection.websocket import WebSocketConnection
from twogate.socket_exchange import SocketExchange

PACKAGE = Path(__file__).parent.parent / "src" / "twogate"


def members() -> set[str]:
    own = set(SocketExchange.__annotations__)
    return own | {name for name in vars(SocketExchange) if not name.startswith("_")}


def test_the_connection_has_every_member() -> None:
    assert members() == {
        "writable", "closed", "listener", "take", "send", "when_writable", "close",
        "join", "leave",
    }  # fmt: skip
    assert all(hasattr(WebSocketConnection, name) for name in members())


def test_the_gateway_uses_nothing_else() -> None:
    tree = ast.parse((PACKAGE / "gateway" / "asgi_websocket.py").read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("socket", "self._socket")
    }
    assert {"take", "send", "close"} < used
    assert used <= members()
