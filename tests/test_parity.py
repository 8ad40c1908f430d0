"""The same request, the same answer: through both gateways and through Django's own handlers.

Each case goes four ways: over TCP through Twogate's WSGI and ASGI gateway, and in process through
Django's stock WSGI and ASGI handler, called as the specifications say and by nothing of ours. Where
Django's two handlers differ from each other, :data:`DIFFERENCES` says so and why.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import django
import pytest
from django.core import signing
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.test import override_settings

from tests.projects import parity
from tests.support.gateways import Served, head_of, serve

# Django warns when a handler has to adapt the iterator of a streaming response.
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")

Fields = tuple[tuple[str, str], ...]
FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")
BOUNDARY = "parity-boundary"
MULTIPART = ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
SESSION_SALT = "django.contrib.sessions.backends.signed_cookies"
TOKEN = "a" * 32


@dataclass(frozen=True)
class Case:
    """One valid request."""

    name: str
    target: str
    method: str = "GET"
    headers: Fields = ()
    body: bytes = b""
    chunked: bool = False


@dataclass(frozen=True)
class Answer:
    """What matters of a response, with what chance and time put in taken out."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def multipart(*parts: tuple[str, str, bytes]) -> bytes:
    pieces = []
    for disposition, kind, content in parts:
        head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n"
        pieces.append(f"{head}{kind}\r\n".encode() + content + b"\r\n")
    return b"".join(pieces) + f"--{BOUNDARY}--\r\n".encode()


UPLOAD = multipart(
    ('name="title"', "", "Ünïcode".encode()),
    ('name="file"; filename="a.txt"', "Content-Type: text/plain\r\n", b"small"),
    ('name="file"; filename="p\xc3\xa4ge.bin"', "", bytes(range(256)) * 20),
)
HUGE = multipart(
    ('name="file"; filename="huge"', "Content-Type: x/y\r\n", bytes(range(256)) * 12_000),
)
LINES = b"line of text\n" * 20_000

METHODS = [
    Case(f"method {method}", "/echo/", method, body=b"abc" if method in ("PUT", "PATCH") else b"")
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
]
TARGETS = [
    Case(f"target {target}", target)
    for target in (
        "/echo/?",
        "/echo/?a=1&a=2&b=&c",
        "/echo/?q=%C3%A9%20+%26%3D",
        "/echo/?a=b?c=d/e",
        "/echo/?bad=%ff%zz",
        "/any/caf%C3%A9",
        "/any/a%2Fb",
        "/any/a%20b+c",
        "/any/%25%32%35",
        "/any/%ff%C3%A9%e9",
        "/any/%F0%9F%90%8D",
        "/any/a;b=c,d:e@f!$&'()*",
        "/any//double//slash/",
        "/any/./a/../b",
        "/any/%2e%2e/%2E",
        "/any/" + "x" * 2000,
        "http://testserver/any/absolute?form=1",
        "/nowhere",
        "/nowhere/%ff",
        "/echo",
        "/echo?and=query",
        "//testserver/echo/",
    )
]
HEADERS = [
    Case("repeated header", "/echo/", headers=(("X-Many", "a"), ("X-Many", "b"))),
    Case("one cookie header", "/echo/", headers=(("Cookie", 'a=1; b="2"; c=é'),)),
    Case("repeated cookies", "/echo/", headers=(("Cookie", "a=1"), ("Cookie", "b=2"))),
    Case("underscore header", "/echo/", headers=(("X_Forged", "1"), ("X-Real", "2"))),
    Case("latin-1 header", "/echo/", headers=(("X-Latin", "caf\xe9"),)),
    Case("empty header", "/echo/", headers=(("X-Empty", ""),)),
    Case("many headers", "/echo/", headers=tuple((f"X-{i}", str(i)) for i in range(80))),
    Case("content type of a get", "/echo/", headers=(("Content-Type", "a/b; charset=latin-1"),)),
    Case("range is ignored", "/file", headers=(("Range", "bytes=0-9"),)),
]
BODIES = [
    Case("form", "/echo/", "POST", (FORM,), b"a=1&a=2&b=%C3%A9+x&empty="),
    Case("form through an async view", "/async/", "POST", (FORM,), b"a=1"),
    Case(
        "form in latin-1", "/echo/", "POST", ((FORM[0], FORM[1] + "; charset=latin-1"),), b"a=%E9"
    ),
    Case("multipart", "/upload/", "POST", (MULTIPART,), UPLOAD),
    Case("multipart of 3 MB", "/upload/", "POST", (MULTIPART,), HUGE),
    Case("broken multipart", "/upload/", "POST", (MULTIPART,), b"nothing of the kind"),
    Case("json", "/json/", "POST", (JSON,), json.dumps({"a": ["ü", 1, None]}).encode()),
    Case("json that is none", "/json/", "POST", (JSON,), b"{"),
    Case("binary", "/echo/", "POST", (), bytes(range(256))),
    Case("300 KB", "/echo/", "PUT", (("Content-Type", "x/y"),), bytes(range(256)) * 1200),
    Case(
        "beyond the limit in memory", "/echo/", "PUT", (("Content-Type", "x/y"),), b"x" * 3_000_000
    ),
    Case("read by lines", "/read/", "POST", (("Content-Type", "x/y"),), LINES),
    Case("not read", "/unread/", "POST", (("Content-Type", "x/y"),), LINES),
    Case("length 0", "/echo/", "POST", (("Content-Length", "0"),)),
    Case("chunked form", "/echo/", "POST", (FORM,), b"a=1&b=2", chunked=True),
    Case("chunked and empty", "/echo/", "POST", (FORM,), b"", chunked=True),
    Case("chunked json", "/json/", "POST", (JSON,), b'{"a": 1}', chunked=True),
    Case("chunked by lines", "/read/", "POST", (("Content-Type", "x/y"),), LINES, chunked=True),
    Case(
        "chunked 300 KB", "/echo/", "PUT", (("Content-Type", "x/y"),), b"x" * 300_000, chunked=True
    ),
    Case("chunked multipart", "/upload/", "POST", (MULTIPART,), UPLOAD, chunked=True),
]
GZIP = (("Accept-Encoding", "gzip"),)
RESPONSES = [
    Case(target, target)
    for target in (
        "/text",
        "/empty",
        "/large",
        "/status/201",
        "/status/204",
        "/status/400",
        "/status/503",
        "/status/599",
        "/reason",
        "/headers",
        "/redirect",
        "/moved",
        "/304",
        "/broken",
        "/async/broken",
        "/stream",
        "/async/stream",
        "/stream/length",
        "/file",
        "/file?offset=100000",
        "/file?save",
        "/buffer",
        "/message",
        "/session",
        "/session/set",
        "/zipped",
        "/dated",
        "/locale",
        "/guarded",
    )
]
COOKIE = ("Cookie", f"csrftoken={TOKEN}")
NEGOTIATED = [
    *(Case(f"HEAD {t}", t, "HEAD") for t in ("/text", "/large", "/file", "/stream", "/broken")),
    *(
        Case(f"gzip {t}", t, headers=GZIP)
        for t in ("/zipped", "/stream", "/async/stream", "/large")
    ),
    Case("etag that matches", "/dated", headers=(("If-None-Match", '"v1"'),)),
    Case("etag that does not", "/dated", headers=(("If-None-Match", '"v2"'),)),
    Case("etag required", "/dated", headers=(("If-Match", '"v2"'),)),
    Case("since", "/dated", headers=(("If-Modified-Since", "Thu, 29 Feb 2024 12:00:00 GMT"),)),
    Case("german", "/locale", headers=(("Accept-Language", "de-AT,de;q=0.9,en;q=0.1"),)),
    Case("csrf refuses", "/guarded", "POST", (FORM,), b"a=1"),
    Case("csrf by form", "/guarded", "POST", (FORM, COOKIE), b"csrfmiddlewaretoken=" + b"a" * 32),
    Case("csrf by header", "/guarded", "POST", (FORM, COOKIE, ("X-CSRFToken", TOKEN)), b"a=1"),
    Case(
        "session used",
        "/session",
        headers=(("Cookie", "sessionid=" + signing.dumps({"count": 7}, salt=SESSION_SALT)),),
    ),
    Case("session forged", "/session", headers=(("Cookie", "sessionid=x:y:z"),)),
]
CASES = [*METHODS, *TARGETS, *HEADERS, *BODIES, *RESPONSES, *NEGOTIATED]

ALL = {frozenset({"wsgi", "asgi", "django wsgi", "django asgi"})}
BY_GATEWAY = {frozenset({"wsgi", "django wsgi"}), frozenset({"asgi", "django asgi"})}
NO_LENGTH = {frozenset({"django wsgi"}), frozenset({"wsgi", "asgi", "django asgi"})}
UNREAD = "Django's WSGI handler reads no further than Content-Length, which chunks lack."
#: name of the case → (which ways agree with each other, why Django makes the difference)
DIFFERENCES: dict[str, tuple[set[frozenset[str]], str]] = {
    "one cookie header": (
        BY_GATEWAY,
        "Django decodes cookies from UTF-8 under WSGI and from latin-1 under ASGI.",
    ),
    "chunked form": (NO_LENGTH, UNREAD),
    "chunked json": (NO_LENGTH, UNREAD),
    "chunked by lines": (BY_GATEWAY, UNREAD + " Beyond 64 KiB Twogate cannot know it either."),
    "chunked 300 KB": (BY_GATEWAY, UNREAD + " Beyond 64 KiB Twogate cannot know it either."),
    "chunked multipart": (
        {frozenset({"wsgi"}), frozenset({"asgi", "django wsgi", "django asgi"})},
        "Django parses no multipart form without a Content-Length, under ASGI either.",
    ),
}
if django.VERSION < (6, 0):
    DIFFERENCES["repeated cookies"] = (
        BY_GATEWAY,
        "Before 6.0, Django's ASGI handler joins repeated Cookie headers with a comma.",
    )


# The four ways.


def over(served: Served, case: Case) -> Answer:
    """Over TCP."""
    headers, body = case.headers, case.body
    if case.chunked:
        headers = (*headers, ("Transfer-Encoding", "chunked"))
        blocks = [body[i : i + 50_000] for i in range(0, len(body), 50_000)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(b), b) for b in blocks) + b"0\r\n\r\n"
    elif body:
        headers = (*headers, ("Content-Length", str(len(body))))
    with served.client() as client:
        client.send(head_of(case.target, case.method, headers) + body)
        reply = client.reply(case.method)
    assert not reply.cut
    return normal(reply.status, reply.headers, reply.body)


def split(case: Case) -> tuple[str, str]:
    """Path and query of the target, as they stand."""
    path, _, query = case.target.partition("?")
    if path.startswith("http://"):
        path = "/" + path.removeprefix("http://").partition("/")[2]
    return path, query


def all_headers(case: Case) -> Fields:
    headers = (("Host", "testserver"), *case.headers)
    if case.chunked:
        return (*headers, ("Transfer-Encoding", "chunked"))
    return (*headers, ("Content-Length", str(len(case.body)))) if case.body else headers


def django_wsgi(case: Case) -> Answer:
    """Django's WSGI handler, called as PEP 3333 says."""
    path, query = split(case)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": case.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(case.body),
        "wsgi.input_terminated": True,
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in all_headers(case):
        key = name.upper().replace("-", "_")
        if "_" not in name:
            key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key
            separator = "; " if key == "HTTP_COOKIE" else ","
            environ[key] = environ[key] + separator + value if key in environ else value
    started: list[Any] = []
    result = get_wsgi_application()(environ, lambda *answer: started.append(answer))
    body = b"".join(result)
    result.close()
    status, headers = started[0]
    return normal(int(status[:3]), headers, b"" if bodiless(case, int(status[:3])) else body)


def django_asgi(case: Case) -> Answer:
    """Django's ASGI handler, called as the HTTP message format says."""
    path, query = split(case)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": case.method,
        "scheme": "http",
        "path": decoded(unquote_to_bytes(path)),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(n.lower().encode(), v.encode("latin-1")) for n, v in all_headers(case)],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[dict[str, Any]] = []

    async def run() -> None:
        requests = [{"type": "http.request", "body": case.body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if requests:
                return requests.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await get_asgi_application()(scope, receive, send)

    asyncio.run(run())
    start, *rest = sent
    headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in start["headers"]]
    body = b"".join(message.get("body", b"") for message in rest)
    return normal(start["status"], headers, b"" if bodiless(case, start["status"]) else body)


def decoded(path: bytes) -> str:
    """A path as text; bytes that are no UTF-8 stay encoded, as under Django's WSGI handler."""
    text = path.decode("utf-8", "surrogateescape")
    return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in text)


def bodiless(case: Case, status: int) -> bool:
    return case.method == "HEAD" or status in (204, 304)


# What chance, time and the connection add is taken out.

_OF_THE_CONNECTION = {"date", "server", "connection", "transfer-encoding"}


def normal(status: int, headers: list[tuple[str, str]], body: bytes) -> Answer:
    # Names may change places (RFC 9110 §5.3), values of one name may not; spaces around a value are
    # none of it.
    fields = [(n.lower(), v.strip()) for n, v in headers if n.lower() not in _OF_THE_CONNECTION]
    fields.sort(key=lambda field: field[0])
    if ("content-encoding", "gzip") in fields:
        # Django puts a random number of bytes into the gzip header, against BREACH.
        body = gzip.decompress(body) if body else body
        fields = [field for field in fields if field[0] != "content-length"]
    if status == 204:
        # RFC 9110 §8.6: no Content-Length, though CommonMiddleware sets one.
        fields = [field for field in fields if field[0] != "content-length"]
    return Answer(status, [(n, steady(n, v)) for n, v in fields], body)


def steady(name: str, value: str) -> str:
    if name == "set-cookie" and value.startswith("sessionid="):
        signed = value.partition("=")[2].partition(";")[0]
        if signed == '""':
            return value  # deleted
        return f"sessionid {signing.loads(signed, salt=SESSION_SALT)}"
    return value


def without_length(answer: Answer) -> Answer:
    """A server may add the length that the application left out."""
    headers = [field for field in answer.headers if field[0] != "content-length"]
    return Answer(answer.status, headers, answer.body)


@pytest.fixture(scope="module", autouse=True)
def project() -> Iterator[None]:
    """Django is the parity project for as long as this module's tests run."""
    parity.FILE.write_bytes(bytes(range(256)) * 2000)
    django.setup()
    with override_settings(**parity.SETTINGS):
        yield
    parity.FILE.unlink()


@pytest.fixture(scope="module")
def ways(project: None) -> Iterator[dict[str, Served]]:
    with (
        serve(wsgi=get_wsgi_application()) as wsgi,
        serve(asgi=get_asgi_application()) as asgi,
    ):
        yield {"wsgi": wsgi, "asgi": asgi}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name[:40])
def test_every_way_gives_the_same_answer(ways: dict[str, Served], case: Case) -> None:
    answers = {name: over(served, case) for name, served in ways.items()}
    answers["django wsgi"] = django_wsgi(case)
    answers["django asgi"] = django_asgi(case)
    stock = answers["django wsgi"].headers + answers["django asgi"].headers
    if not any(name == "content-length" for name, _ in stock):
        answers = {name: without_length(answer) for name, answer in answers.items()}
    expected, _ = DIFFERENCES.get(case.name, (ALL, ""))
    assert alike(answers) == expected, answers
    for served in ways.values():
        assert served.observer.failures == []


def alike(answers: dict[str, Answer]) -> set[frozenset[str]]:
    """The ways, those with equal answers together."""
    return {
        frozenset(name for name, other in answers.items() if other == answer)
        for answer in answers.values()
    }


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60
    assert {case.name for case in CASES} >= DIFFERENCES.keys()
