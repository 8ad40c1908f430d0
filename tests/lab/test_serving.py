"""The process that serves the scenes, driven as an experiment drives it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from twogate.errors import ProjectError
from twogate.lab.experiments import FOLDER
from twogate.lab.stage import Served
from twogate.trace.driver import Host


@contextlib.contextmanager
def _host(folder: Path = FOLDER) -> Iterator[Host]:
    host = Host("twogate.lab.serving", {"folder": str(folder)})
    try:
        yield host
    finally:
        host.close()


def test_it_serves_each_time_afresh_and_says_what_it_took() -> None:
    with _host() as host:
        for gateway, path in (("wsgi", "/slow/"), ("asgi", "/async-slow/")):
            server = Served(host.tell("serve", gateway=gateway, threads=2)["port"])
            assert server.get(path + "?wait=0&client=1").status == 200
            before = host.tell("begin")["memory"]
            responses = [server.get(f"{path}?wait=0&client={number}") for number in (2, 3)]
            said = host.tell("end")
            assert said["memory"] >= before > 1e6
            assert said["cpu"] > 0
            assert list(said["workers"]) == ["2", "3"]
            thread = json.loads(responses[0].text)["thread"]
            if gateway == "wsgi":
                assert said["workers"]["2"] == thread == "thread-1"
            else:
                assert (said["workers"]["2"], thread) == ("loop", "MainThread")


def test_it_ends_with_who_started_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "twogate.lab.serving", json.dumps({"folder": str(FOLDER)})],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"ready": {}}
        process.stdin.write(b'{"do": "serve", "gateway": "wsgi", "threads": 1}\n')
        process.stdin.flush()
        server = Served(json.loads(process.stdout.readline())["port"])
        assert server.get("/slow/?wait=0").status == 200
        process.stdin.close()
        assert process.wait(15) == 0
        # Nobody else is left who could still say something.
        assert process.stdout.read() == b""
    with pytest.raises(OSError, match="refused"):
        server.get("/")


def test_what_serves_may_be_killed() -> None:
    with _host() as host:
        host.tell("serve", gateway="wsgi", threads=1)
        parent = next(pid for pid in _children(os.getpid()) if _is_serving(pid))
        (child,) = _children(parent)
        os.kill(child, signal.SIGKILL)
        with pytest.raises(ProjectError, match="ended"):
            host.tell("begin")


def test_a_folder_without_a_project_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="No Django project"), _host(tmp_path):
        pass


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_serving(pid: int) -> bool:
    return b"twogate.lab.serving" in Path(f"/proc/{pid}/cmdline").read_bytes()
