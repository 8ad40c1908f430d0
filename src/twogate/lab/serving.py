"""A process that serves the scenes through one gateway at a time, and says what that took.

:mod:`twogate.lab.experiments` starts it: ``python -m twogate.lab.serving FLAGS``, where FLAGS is a
JSON object with the ``folder`` of the project. It loads the project once; for each order ``serve``
it forks, so every run begins with the same memory and without threads. Orders and answers are JSON,
one to a line. The parent has one thread; the child an event loop on its main thread.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO
from urllib.parse import parse_qs

from twogate.config import Config
from twogate.django.project import load
from twogate.errors import TwogateError
from twogate.observe.observer import Observer
from twogate.server import Server

if TYPE_CHECKING:
    from twogate.dispatch import Applications
    from twogate.exchange import Exchange

__all__ = ["main"]

#: Seconds that one child may live, whatever happens.
_LONGEST = 90
#: The unit of ``ru_maxrss`` in bytes.
_UNIT = 1 if sys.platform == "darwin" else 1024


def main(arguments: list[str]) -> int:
    """Fork a server for each order, until standard input ends.

    :param arguments: one JSON object; ``folder`` is where ``manage.py`` lies.
    :return: the exit status.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)  # who started us has settings of its own
    try:
        os.chdir(Path(json.loads(arguments[0])["folder"]))
        applications = load(Config())
    except (TwogateError, OSError) as error:
        _say(answers, {"error": str(error)})
        return 1
    # From here on, who started us says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    _say(answers, {"ready": {}})
    while order := sys.stdin.readline():
        child = os.fork()
        if not child:
            _serve(applications, json.loads(order), answers)
        _, status = os.waitpid(child, 0)
        if status:
            _say(answers, {"error": f"The process that serves has ended (status {status})."})
    return 0


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _serve(applications: Applications, order: dict[str, Any], answers: TextIO) -> NoReturn:
    """The child's whole life."""
    status = 1
    try:
        signal.alarm(_LONGEST)
        config = Config(
            gateway=order["gateway"], threads=order["threads"], lifespan="off", stall_threshold=0
        )
        asyncio.run(_run(applications, config, answers))
        status = 0
    finally:
        # Nothing of the parent's is to be ended here, and no thread is to be waited for.
        os._exit(status)


async def _run(applications: Applications, config: Config, answers: TextIO) -> None:
    """Serve on a new port; tell what is used at the order ``begin`` and at ``end``."""
    workers = _Workers()
    server = Server(applications, config, workers)
    listening = socket.create_server(("127.0.0.1", 0), backlog=config.backlog)
    await server.start([listening])
    _say(answers, {"port": listening.getsockname()[1]})
    await _told()
    workers.of.clear()
    begun = time.process_time()
    _say(answers, {"memory": _memory()})
    await _told()
    used = time.process_time() - begun
    _say(answers, {"memory": _memory(), "cpu": used, "workers": workers.of})


async def _told() -> None:
    """Wait for the next order; without a thread, which would be counted. Ends with the orders."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    loop.add_reader(0, told.set)
    await told.wait()
    loop.remove_reader(0)
    if not os.read(0, 4096):
        os._exit(0)


def _memory() -> int:
    """The most resident memory that this process has had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


class _Workers(Observer):
    """Which thread or loop each client's request was handed to."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}

    def request_finished(self, exchange: Exchange, duration: float) -> None:
        query = parse_qs(exchange.head.query_string.decode("latin-1"))
        self.of[query.get("client", [""])[0]] = exchange.served_by


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
