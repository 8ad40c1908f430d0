"""The command ``twogate`` as people run it: in a process of its own, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent.parent.parent / "src"

#: A small project with a sync view at / and an async one at /live/.
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

    def serving(
        self, *arguments: str, waits: str = URL
    ) -> contextlib.AbstractContextManager[Served]:
        return self.running("-m", "twogate", "serve", "-b", "127.0.0.1:0", *arguments, waits=waits)

    @contextlib.contextmanager
    def running(self, *arguments: str, waits: str = URL, cwd: str = ".") -> Iterator[Served]:
        """A server that Python is told to run; ``waits`` is what it says when it has started."""
        log = self.folder / "stderr.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=self.folder / cwd, env=self.environment,
                stdout=subprocess.PIPE, stderr=errors,
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


def says(done: subprocess.CompletedProcess[str], status: int, *parts: str) -> None:
    assert done.returncode == status, done.stderr
    for part in parts:
        assert part in done.stderr
    assert "Traceback" not in done.stderr
