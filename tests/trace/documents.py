"""A trace document, made by hand of recordings made by hand."""

from __future__ import annotations

from typing import Any

from tests.trace.test_timeline import SEEN, recorded

from twogate.trace.conclusions import conclude
from twogate.trace.differences import compare
from twogate.trace.timeline import FORMAT, make_run

_SAME: Any = ([(SEEN["response"], b"a")], [(SEEN["response"], b"a")])


def document(**facts: Any) -> dict[str, Any]:
    runs = [_run("wsgi", "wsgi", **facts), _run("asgi-stock", "asgi"), _run("asgi", "asgi")]
    for run, count in zip(runs, (0, 16, 1), strict=True):
        run["counts"]["crossings"] = count
    runs[0]["crossings"] = []
    made: dict[str, Any] = {
        "format": FORMAT,
        "versions": {"twogate": "1", "django": "5.2"},
        "project": {"chosen": {"gateway": "wsgi", "reason": "sync view pages.page"}},
        "request": {"method": "GET", "path": "/", "user": None, "repeat": 1},
        "runs": runs,
        "differences": [found for left in runs[:2] for found in compare(left, runs[2], _SAME)],
    }
    made["conclusions"] = conclude(made)
    return made


def _run(identity: str, gateway: str, **facts: Any) -> dict[str, Any]:
    made = recorded()
    made["facts"].update(gateway=gateway, **facts)
    return make_run(identity, f"HTTP through {gateway}", "Twogate's", made, SEEN)
