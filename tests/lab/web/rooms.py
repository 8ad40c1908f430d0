"""The room of a learner without a browser, for tests of what is in it."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import Any

from tests.lab.web.conftest import Answer, Lab, Visitor
from websockets.sync.client import ClientConnection, connect


class Room:
    """A learner's room.

    :param visitor: the learner, a new one by default.
    :ivar name: as it stands in addresses.
    """

    def __init__(self, lab: Lab, name: str = "", visitor: Visitor | None = None) -> None:
        self._lab = lab
        self._visitor = visitor or Visitor(lab)
        found = re.search(r"/live/traces/([^/]+)/", self._visitor.get("/live/").text)
        assert found is not None
        self.name = name or found[1]

    def get(self, path: str) -> Answer:
        return self._visitor.get(f"/live/room/{self.name}/{path}")

    def post(self, path: str, **data: Any) -> Answer:
        return self._visitor.post(f"/live/room/{self.name}/{path}", data)

    def socket(self, path: str, **more: Any) -> AbstractContextManager[ClientConnection]:
        address = f"{self._lab.url}/live/room/{self.name}/{path}".replace("http", "ws", 1)
        opened: AbstractContextManager[ClientConnection] = connect(address, proxy=None, **more)
        return opened

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._visitor.get(f"/live/traces/{self.name}/").data["rows"]
        return rows

    def trace(self, number: int) -> Answer:
        return self._visitor.get(f"/live/traces/{self.name}/{number}/")
