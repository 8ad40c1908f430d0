"""The command as people run it: in a process of its own, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from twogate import __version__
from twogate.cli import main
from twogate.config import OPTIONS

SOURCE = Path(__file__).parent.parent / "src"
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
PROJECT = {
    "manage.py": "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n",
    "mysite/__init__.py": "",
    "mysite/settings.py": (
        "SECRET_KEY = 'x'\nDEBUG = True\nROOT_URLCONF = 'mysite.urls'\nINSTALLED_APPS = []\n"
        "MIDDLEWARE = []\n"
    ),
    "mysite/urls.py": (
        "from django.http import HttpResponse\nfrom django.urls import path\n"
        "def page(request): return HttpResponse('page')\n"
        "async def live(request): return HttpResponse('live')\n"
        "urlpatterns = [path('', page), path('live/', live)]\n"
    ),
    "mysite/asgi.py": (
        "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n"
    ),
    "mysite/wsgi.py": (
        "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n"
    ),
}

URL = r"http://127\.0\.0\.1:\d+"


class Shell:
    """Runs ``twogate`` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = ("TWOGATE", "DJANGO", "NO_COLOR")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(names)}
        self.environment["PYTHONPATH"] = str(SOURCE)

    def write(self, files: dict[str, str]) -> None:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "twogate", *arguments], cwd=self.folder, env=self.environment,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    @contextlib.contextmanager
    def serving(self, *arguments: str, waits: str = URL) -> Iterator[Served]:
        log = self.folder / "stderr.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "twogate", "serve", "-b", "127.0.0.1:0", *arguments],
                cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        try:
            yield Served(self, process, log, waits)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


class Served:
    """A server that runs.

    :param waits: what it says when it has started.
    """

    def __init__(
        self, shell: Shell, process: subprocess.Popen[bytes], log: Path, waits: str
    ) -> None:
        self._shell, self.process, self._log = shell, process, log
        self.wait_for(waits)

    @property
    def url(self) -> str:
        return self.wait_for(URL)

    def save_until(self, files: dict[str, str], pattern: str) -> None:
        """Save again while nothing happens: nobody says when the watcher has begun to look."""
        for _ in range(10):
            self._shell.write(files)
            with contextlib.suppress(AssertionError):
                self.wait_for(pattern, 3)
                return
        self.wait_for(pattern, 3)

    def wait_for(self, pattern: str, patience: float = 30) -> str:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            said = self._log.read_text(encoding="utf-8")
            if found := re.search(pattern, said):
                return found[0]
            assert self.process.poll() is None, said
            time.sleep(0.02)
        raise AssertionError(f"never said {pattern}: {said}")

    def get(self, path: str) -> tuple[int, str, str]:
        with urllib.request.urlopen(self.url + path, timeout=10) as response:
            timing = response.headers.get("Server-Timing", "")
            return response.status, response.read().decode(), timing


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def says(done: subprocess.CompletedProcess[str], status: int, *parts: str) -> None:
    assert done.returncode == status, done.stderr
    for part in parts:
        assert part in done.stderr
    assert "Traceback" not in done.stderr


# Looking.


def test_the_version(shell: Shell) -> None:
    done = shell("--version")
    assert (done.returncode, done.stdout) == (0, f"twogate {__version__}\n")


def test_help_has_every_option_and_the_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    for option in OPTIONS:
        assert f"{option.flag}" in told, option.name
    assert "examples:" in told
    assert "[tool.twogate]" in told


def test_no_command_shows_what_there_is(shell: Shell) -> None:
    says(shell(), 2, "usage: twogate", "serve")


def test_each_value_and_where_it_came_from(shell: Shell) -> None:
    shell.write({"pyproject.toml": "[tool.twogate]\nthreads = 8\nbind = ['8001']\n"})
    shell.environment["TWOGATE_TIMEOUT"] = "7"
    shell.environment["TWOGATE_TIMEOUTS"] = "7"
    done = shell("serve", "--print-config", "-w", "3", "--no-server-header")
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert done.returncode == 0
    assert len(rows) == len(OPTIONS)
    assert re.fullmatch(r"workers +3 +command line", rows["workers"])
    assert re.fullmatch(r"server-header +off +command line", rows["server-header"])
    assert re.fullmatch(r"timeout +7 +TWOGATE_TIMEOUT", rows["timeout"])
    assert re.fullmatch(r"threads +8 +/.*/pyproject.toml", rows["threads"])
    assert re.fullmatch(r"bind +127.0.0.1:8001 +/.*/pyproject.toml", rows["bind"])
    assert re.fullmatch(r"keep-alive +5 +default", rows["keep-alive"])
    assert "TWOGATE_TIMEOUTS is set but is no option; did you mean TWOGATE_TIMEOUT?" in done.stderr


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


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["serve", "--thraeds", "4"], ["no option --thraeds; did you mean --threads?"]),
        (["serve", "--worker=4"], ["no option --worker; did you mean --workers?"]),
        (["srve"], ["no command 'srve'; did you mean serve?"]),
        (["serve", "-w", "two"], ["--workers = 'two' (from command line)", "whole number"]),
        (["serve", "-b", "here:there"], ["--bind", "host:port"]),
        (["serve", "shop:app"], ["--wsgi shop:app or --asgi shop:app"]),
        (["serve", "my-site"], ["--settings = 'my-site'", "dotted name"]),
        (["serve", "no/such/folder"], ["no/such/folder", "No such file"]),
        (["serve", ".", "--chdir", "."], ["--chdir; give one of the two"]),
        (["serve", "--workers"], ["expected one argument"]),
    ],
)
def test_wrong_use_is_told_in_one_message(
    shell: Shell, arguments: list[str], parts: list[str]
) -> None:
    says(shell(*arguments), 2, "error:", *parts)


def test_a_bad_file_is_named(shell: Shell) -> None:
    shell.write({"pyproject.toml": "[tool.twogate]\nworker = 8\n"})
    says(shell("serve"), 2, "pyproject.toml", "no such option; did you mean workers?")


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


def test_a_folder_and_settings_can_be_named(shell: Shell) -> None:
    shell.write({f"below/{name}": content for name, content in PROJECT.items()})
    shell.write({"below/mysite/other.py": "from mysite.settings import *\nDEBUG = False\n"
                 "ALLOWED_HOSTS = ['127.0.0.1']\n"})  # fmt: skip
    with shell.serving("below", "--settings", "mysite.other", "-w", "0") as served:
        assert served.get("/")[1:] == ("page", "")


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
