"""A worker without a supervisor: the only process."""

from __future__ import annotations

import signal

import pytest

from .conftest import Load, Project, StartSite, wait_for


def test_serves_and_says_so(start: StartSite) -> None:
    site = start(workers=0)
    assert site.get() == f"one {site.process.pid}"
    assert "one process without a supervisor" in site.log
    site.said("version one")


def test_term_lets_requests_finish(start: StartSite) -> None:
    site = start(workers=0)
    with site.begin("/slow/1") as sock, sock.makefile("rb") as stream:
        site.signal(signal.SIGTERM)
        assert f"one {site.process.pid}".encode() in stream.read()
    assert site.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
def test_told_to_stop_while_it_loads_it_leaves_in_order(
    project: Project, start: StartSite, number: int
) -> None:
    more = "\nprint('loading', file=sys.stderr, flush=True)\ntime.sleep(60)\n"
    project.write("slow", more)
    path = project.folder / "site.sock"
    site = start(workers=0, bind=[f"unix:{path}"])
    site.said("loading")
    site.signal(number)
    assert site.ended() == 0
    assert not path.exists()


def test_a_closed_terminal_ends_it(start: StartSite) -> None:
    site = start(workers=0)
    assert site.version() == "one"
    site.signal(signal.SIGHUP)
    assert site.ended() == 0


def test_max_requests_have_no_effect(start: StartSite) -> None:
    site = start(workers=0, max_requests=3)
    site.said("--max-requests has no effect")
    with Load(site, clients=1) as load:
        load.more(10)
    assert load.errors == []


def test_ctrl_c_works_while_the_loop_is_blocked(start: StartSite) -> None:
    site = start(workers=0)
    with site.begin("/block"):
        site.signal(signal.SIGINT)
        wait_for(lambda: _again(site.signal, site.process.poll))
        assert site.ended() == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_what_was_loaded_is_out_of_the_collectors_sight(
    project: Project, start: StartSite, workers: int
) -> None:
    more = (
        "\nimport gc\n"
        "class Frozen:\n    def __str__(self): return str(gc.get_freeze_count())\n"
        "VERSION = Frozen()\n"
        "def load(config): return Applications(asgi=asgi)\n"
    )
    project.write("one", more)
    assert int(start(workers=workers).version()) > 10_000


def test_warnings_of_the_project_are_told_as_such(project: Project, start: StartSite) -> None:
    more = "\ndef load(config):\n    return Applications(asgi=asgi, notes=['warning: oh dear'])\n"
    project.write("one", more)
    assert start(workers=0).said("oh dear") == "WARNING oh dear"


def test_a_lifespan_that_fails_is_a_failed_start(project: Project, start: StartSite) -> None:
    site = start(workers=0, lifespan="on")
    assert site.ended() == 1
    assert "no lifespan" in site.log
    assert "Traceback" not in site.log
    site = start(workers=2, lifespan="on", level="INFO")
    assert site.ended() == 1
    assert site.log.count("no lifespan") == 1


def _again(send: object, poll: object) -> bool:
    """Ctrl-C once more, unless that was enough: two at once count as one."""
    assert callable(send)
    assert callable(poll)
    if poll() is None:
        send(signal.SIGINT)
    return poll() is not None
