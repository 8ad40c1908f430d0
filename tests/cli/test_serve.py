from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.shell import PROJECT, Shell, says
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from twogate import __version__
from twogate.cli import main
from twogate.config import OPTIONS

WSGI_HELLO = (
    "def app(environ, start_response):\n"
    "    start_response('200 OK', [('Content-Length', '5')])\n"
    "    return [b'hello']\n"
)
ASGI_HELLO = (
    "async def app(scope, receive, send):\n"
    "    assert scope['type'] == 'http'\n"
    "    await send({'type': 'http.response.start', 'status': 200})\n"
    "    await send({'type': 'http.response.body', 'body': b'hello'})\n"
)
LIVE = (
    "async def app(scope, receive, send):\n"
    "    assert scope['type'] == 'websocket'\n"
    "    await send({'type': 'websocket.accept'})\n"
    "    await send({'type': 'websocket.send', 'text': 'hello'})\n"
    "    while (await receive())['type'] != 'websocket.disconnect': pass\n"
)
# Looking.


def test_help_has_every_option_and_the_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    for option in OPTIONS:
        assert f"{option.flag}" in told, option.name
    assert "examples:" in told
    assert "[tool.twogate]" in told


def test_checking_loads_the_project_and_stops(shell: Shell) -> None:
    shell.write(PROJECT)
    done = shell("serve", "--check-config")
    assert done.returncode == 0, done.stderr
    assert "WSGI      mysite.wsgi.application\n" in done.stdout
    assert "views     2 URL patterns, 1 to WSGI and 1 to ASGI\n" in done.stdout
    assert "fine" in done.stdout
    shell.write({"mysite/settings.py": "import nowhere_at_all"})
    says(shell("serve", "--check-config"), 1, "settings.py, line 1", "mend:", "nowhere_at_all")
    says(shell("serve", "--check-config", "-w", "x"), 2, "--workers")


# Wrong use.


def test_no_project(shell: Shell) -> None:
    says(shell("serve"), 1, "error: No Django project", "mend:  Go to the folder with manage.py")


def test_a_port_in_use(shell: Shell) -> None:
    shell.write(PROJECT)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = shell("serve", "-b", f"127.0.0.1:{port}")
    says(done, 2, f"port {port} is already in use", "--bind")


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_project_that_does_not_load(shell: Shell, workers: str) -> None:
    shell.write(PROJECT)
    shell.write({"mysite/asgi.py": "from django.core.asgi import get_asgi_application\n\n"
                 "application = get_wsgi_application()\n"})  # fmt: skip
    done = shell("serve", "-b", "127.0.0.1:0", "-w", workers)
    says(done, 1, "mysite/asgi.py, line 3: NameError", "call get_asgi_application() there")


def test_a_module_without_application(shell: Shell) -> None:
    shell.write({"shop.py": WSGI_HELLO})
    done = shell("serve", "-b", "127.0.0.1:0", "--wsgi", "shop")
    says(done, 1, "shop.py has no attribute 'application'", "Did you mean --wsgi shop:app?")


def test_a_traceback_when_asked(shell: Shell) -> None:
    done = shell("serve", "--traceback")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    shell.write(PROJECT)
    shell.write({"mysite/settings.py": "1 / 0"})
    done = shell("serve", "-b", "127.0.0.1:0", "--traceback")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError" in done.stderr


BROKEN_VIEWS = {
    "SyntaxError": "def page(:\n",
    "NameError": "from django.http import HttpResponse\npage = HttpRespons\n",
}


@pytest.mark.parametrize("fault", BROKEN_VIEWS)
@pytest.mark.parametrize("workers", ["0", "2"])
def test_views_that_do_not_load(shell: Shell, fault: str, workers: str) -> None:
    shell.write(PROJECT | {"mysite/views.py": BROKEN_VIEWS[fault]})
    shell.write({"mysite/urls.py": "from mysite.views import page\n"})
    done = shell("serve", "-b", "127.0.0.1:0", "-w", workers)
    says(done, 1, "mysite/views.py, line ", fault)
    assert done.stderr.count(fault) == 1


# Serving.


@pytest.mark.parametrize("fault", BROKEN_VIEWS)
def test_a_reload_with_broken_views_keeps_the_old_workers(shell: Shell, fault: str) -> None:
    shell.write(PROJECT)
    with shell.serving("-w", "2") as served:
        shell.write({"mysite/views.py": BROKEN_VIEWS[fault]})
        shell.write({"mysite/urls.py": "from mysite.views import page\n"})
        served.process.send_signal(signal.SIGHUP)
        line = served.wait_for(r"the old workers go on serving: .*")
        assert "mysite/views.py, line " in line
        assert fault in line
        assert served.get("/")[:2] == (200, "page")
        shell.write({"mysite/urls.py": PROJECT["mysite/urls.py"].replace("'page'", "'mended'")})
        served.process.send_signal(signal.SIGHUP)
        served.wait_for(r"reloaded: 2 worker")
        assert served.get("/")[:2] == (200, "mended")


def test_with_reload_broken_views_wait_for_the_next_save(shell: Shell) -> None:
    urls = PROJECT["mysite/urls.py"]
    shell.write(PROJECT | {"mysite/urls.py": "urlpatterns = [\n"})
    with shell.serving("--reload", waits=r"mysite/urls.py, line 1: SyntaxError") as served:
        served.wait_for("waiting for a change")
        served.save_until({"mysite/urls.py": urls}, r"http://127\.0\.0\.1:\d+")
        assert served.get("/")[:2] == (200, "page")


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_project_is_served_through_both_gateways(shell: Shell, workers: str) -> None:
    shell.write(PROJECT)
    with shell.serving("-w", workers, "--access-logfile", "access.log") as served:
        status, body, timing = served.get("/")
        assert (status, body) == (200, "page")
        assert 'gateway;desc="wsgi: sync view mysite.urls.page"' in timing
        status, body, timing = served.get("/live/")
        assert (status, body) == (200, "live")
        assert 'gateway;desc="asgi: async view mysite.urls.live"' in timing
        message = served.wait_for(r"(?s)Twogate .*to ASGI")
    assert message.splitlines() == [
        f"Twogate {__version__}",
        f"  serves    {served.url}",
        f"  workers   {'1 process' if workers == '1' else 'one process without a supervisor'}",
        "  threads   up to 64 per worker, as many awake as pay off",
        "  project   mysite.settings (named by manage.py)",
        "  WSGI      mysite.wsgi.application",
        "  ASGI      mysite.asgi.application",
        "  handler   Twogate's, in the place of Django's",
        "  views     2 URL patterns, 1 to WSGI and 1 to ASGI",
    ]
    lines = (shell.folder / "access.log").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("sync view mysite.urls.page")


@pytest.mark.parametrize("grace", ["0", "5"])
@pytest.mark.parametrize("workers", ["0", "1"])
def test_the_last_moment_is_in_the_access_log(shell: Shell, workers: str, grace: str) -> None:
    shell.write({"live.py": LIVE})
    arguments = ["--asgi", "live:app", "-w", workers, "--graceful-timeout", grace]
    with contextlib.ExitStack() as stack:
        with shell.serving(*arguments, "--access-logfile", "access.log") as served:
            client = stack.enter_context(connect(served.url.replace("http", "ws") + "/live"))
            assert client.recv(10) == "hello"
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012
    lines = (shell.folder / "access.log").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert '"GET /live HTTP/1.1" websocket opened' in lines[0]
    assert '"GET /live HTTP/1.1" websocket closed 1012 ' in lines[1]
    assert served.process.returncode == 0


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_any_application_is_served(shell: Shell, kind: str) -> None:
    shell.write({"wsgi_hello.py": WSGI_HELLO, "asgi_hello.py": ASGI_HELLO})
    with shell.serving(f"--{kind}", f"{kind}_hello:app", "-w", "0") as served:
        assert served.get("/")[:2] == (200, "hello")


def test_main_can_be_called_from_python(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    called: Callable[[list[str]], int] = main
    assert called(["serve", "--print-config"]) == 0
    assert "workers" in capsys.readouterr().out
