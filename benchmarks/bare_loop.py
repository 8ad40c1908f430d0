"""The limit: Django's own WSGI handler called in a loop, with no server at all.

Runs as a process of its own in the project's folder: ``bare_loop.py SECONDS`` prints calls/s.
"""

from __future__ import annotations

import io
import os
import sys
import time
from typing import Any

sys.path.insert(0, str(__import__("pathlib").Path.cwd()))
os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"

ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/hello/",
    "QUERY_STRING": "",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "8000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "127.0.0.1:8000",
    "REMOTE_ADDR": "127.0.0.1",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}


def start_response(status: str, headers: list[Any], exc_info: object = None) -> None:
    assert status == "200 OK", status


def call(application: Any) -> None:
    response = application({**ENVIRON, "wsgi.input": io.BytesIO()}, start_response)
    assert b"".join(response) == b"Hello"
    response.close()


def main(seconds: float) -> None:
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
    for _ in range(500):
        call(application)
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        for _ in range(100):
            call(application)
        count += 100
    print(count / elapsed)


if __name__ == "__main__":
    main(float(sys.argv[1]))
