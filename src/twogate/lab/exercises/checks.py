"""The checks of the exercises: each loads a learner's file, runs it against Django and says what it
found.

Runs in a process of its own (see :mod:`twogate.lab.exercises.exercise`), in the folder of the
learner's project, and configures Django there. The clients are in the main thread; the server has
a thread of its own.
"""

from __future__ import annotations

import ast
import asyncio
import difflib
import functools
import importlib
import json
import logging
import os
import sys
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from websockets.exceptions import ConnectionClosed, InvalidStatus

from twogate.django.explain import explain
from twogate.errors import ProjectError
from twogate.lab.exercises.exercise import Talk
from twogate.lab.stage import Response, Served, ask_asgi, ask_wsgi, serve
from twogate.observe.observer import Observer

__all__ = ["CHECKS", "Wrong", "main"]

PROJECT = "myproject"
#: Seconds until a client gives up waiting for what should come at once.
PATIENCE = 6.0
#: Names of the steps, which resemble one another: none of them is a misspelling of another.
_EXPECTED = {
    "django_project", "wsgi_application", "asgi_application", "application_wsgi",
    "application_asgi", "application", "asgi_application_entry",
}  # fmt: skip


class Wrong(Exception):
    """The code does not do what the exercise asks for.

    :param sentence: what was found and what was expected.
    :param mend: what to do about it.
    """

    def __init__(self, sentence: str, line: int | None = None, mend: str = "") -> None:
        super().__init__(sentence)
        self.sentence, self.line, self.mend = sentence, line, mend


def main(key: str, file: str, found: str) -> None:
    """Check a file and write what was found, as JSON, to another."""
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    os.environ["DJANGO_SETTINGS_MODULE"] = f"{PROJECT}.settings"
    your = Learner(file)
    try:
        sentence = CHECKS[key](your)
        verdict: dict[str, Any] = {"passed": True, "sentence": sentence}
    except Wrong as wrong:
        verdict = {"passed": False, "sentence": wrong.sentence, "line": wrong.line}
        verdict["mend"] = wrong.mend
    talk = [asdict(row) for row in your.talk]
    text = json.dumps({**verdict, "talk": talk})
    sys.stdout.flush()
    Path(found).write_text(text, encoding="utf-8")
    os._exit(0)  # whatever the code left running


class Learner:
    """A learner's file: its text, its module, and the lines where things are."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.talk: list[Talk] = []
        self._tree: ast.Module = ast.Module([], [])

    def load(self) -> types.ModuleType:
        """Import it.

        :raises Wrong: that fails; says why, where, and what to do.
        """
        name = self.file.removesuffix(".py").replace("/", ".")
        with self.explaining(f"importing {self.file}"):
            module = importlib.import_module(name)
        self._tree = ast.parse(Path(self.file).read_text(encoding="utf-8"))
        return module

    @contextmanager
    def explaining(self, doing: str) -> Iterator[None]:
        """Make a :class:`Wrong` of whatever the block raises."""
        try:
            yield
        except Wrong:
            raise
        except (Exception, SystemExit) as error:
            raise self.explained(error, doing) from error

    def explained(self, error: BaseException, doing: str) -> Wrong:
        """What an exception means for the learner."""
        told = error if isinstance(error, ProjectError) else explain(error, doing)
        sentence = str(told.message).partition("\n")[0]
        mend = told.mend.replace("; --traceback shows how the code got there", "")
        line = None
        if told.place and Path(told.place[0]).resolve() == Path(self.file).resolve():
            line = told.place[1]
        elif isinstance(error, TypeError):
            mend = "Something is called in another way than it was written for; the hints help."
        return Wrong(sentence, line, mend)

    # Where things are.

    def line(self, name: str) -> int | None:
        """The line that last gives a name its value, or defines it; also ``Class.method``."""
        first, _, rest = name.partition(".")
        found = None
        for node in self._tree.body:
            if first in _names_of(node):
                found = node
        if rest and isinstance(found, ast.ClassDef):
            inner = [node for node in found.body if rest in _names_of(node)]
            found = inner[-1] if inner else found
        return found.lineno if found else None

    def line_of_key(self, name: str, key: str) -> int | None:
        """The line of a key in a dict that is written out; otherwise that of the name."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Assign) and name in _names_of(node):
                for inner in ast.walk(node.value):
                    if isinstance(inner, ast.Constant) and inner.value == key:
                        return inner.lineno
        return self.line(name)

    def line_of_call(self, *names: str) -> int | None:
        """The first line that calls a function or method of one of these names."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Call):
                called = node.func
                name = (
                    called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                )
                if name in names:
                    return node.lineno
        return None

    def awaits(self, name: str) -> bool:
        """Whether a call of that method stands right after an ``await``."""
        return any(
            isinstance(node, ast.Await)
            and isinstance(node.value, ast.Call)
            and getattr(node.value.func, "attr", "") == name
            for node in ast.walk(self._tree)
        )

    def value(self, module: types.ModuleType, name: str) -> Any:
        """A value of the module.

        :raises Wrong: it has none of that name; suggests what may be meant.
        """
        values = vars(module)
        if name in values:
            return values[name]
        mine = {found for node in self._tree.body for found in _names_of(node)} - _EXPECTED
        if close := difflib.get_close_matches(name, sorted(mine), 1):
            raise Wrong(
                f"There is no `{name}`, but there is `{close[0]}`.",
                self.line(close[0]),
                f"Spell it `{name}`.",
            )
        raise Wrong(
            f"There is no `{name}` yet.", None, f"Write a line that begins with `{name} =`."
        )

    def same(self, module: types.ModuleType, name: str, expected: str) -> None:
        """A string must be what is expected."""
        value = self.value(module, name)
        if value != expected:
            raise Wrong(
                f"`{name}` is `{value!r}`; `{expected!r}` was expected.",
                self.line(name),
                "" if isinstance(value, str) else "It is a string: put it between quotes.",
            )

    # Asking.

    def note(self, asked: str, through: str, answered: object) -> None:
        """Keep what was asked and answered."""
        self.talk.append(Talk(asked, through, str(answered)))

    def answered(self, asked: str, through: str, response: Response) -> None:
        """Keep a response, which must be fine."""
        self.note(asked, through, f"{response.status} · {response.text.strip()[:200]}")
        if response.status != 200:
            raise Wrong(f"`{asked}` was answered with {response.status}; 200 was expected.")


def _names_of(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
    elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield node.name


def _kind(value: object) -> str:
    return _article(type(value).__name__)


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} `{name}`"


# Serving.


class _Watcher(Observer):
    """Notes which gateway served what, and what went wrong. The server's thread and others."""

    def __init__(self) -> None:
        self.gateways: dict[str, str] = {}
        self.failed: list[BaseException] = []

    def request_finished(self, exchange: Any, duration: float) -> None:
        self.gateways[exchange.head.raw_path.decode()] = exchange.gateway

    def websocket_opened(self, exchange: Any) -> None:
        self.gateways[exchange.head.raw_path.decode()] = exchange.gateway

    def application_failed(self, exchange: Any, error: BaseException) -> None:
        self.failed.append(error)


class _Errors(logging.Handler):
    """Django answers 500 and tells its log why."""

    def __init__(self, failed: list[BaseException]) -> None:
        super().__init__(logging.ERROR)
        self._failed = failed

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self._failed.append(record.exc_info[1])


class Site:
    """A learner's project, served by Twogate, and clients that keep what is said."""

    def __init__(self, your: Learner, served: Served, watcher: _Watcher) -> None:
        self._your, self._served, self._watcher = your, served, watcher

    def get(self, path: str) -> Response:
        """Ask for a page.

        :raises Wrong: it did not come, or not with 200.
        """
        try:
            response = self._served.get(path)
        except OSError as error:
            self.blame(f"answering GET {path}")
            raise Wrong(f"`GET {path}` got no answer: {error}.") from error
        return self._fine(path, response)

    def get_twice(self, path: str) -> None:
        """Have two clients ask for a page at the same moment."""
        with ThreadPoolExecutor(2) as pool:
            responses = list(pool.map(self._served.get, [path] * 2))
        for response in responses:
            self._fine(path, response)

    def _fine(self, path: str, response: Response) -> Response:
        if response.status >= 500:
            self.blame(f"answering GET {path}")
        self._your.answered(f"GET {path}", self._gateway(path), response)
        return response

    def _gateway(self, path: str) -> str:
        _until(lambda: path in self._watcher.gateways)
        return self._watcher.gateways.get(path, "").upper()

    def blame(self, doing: str) -> None:
        """Tell what went wrong inside, if something did."""
        if self._watcher.failed:
            raise self._your.explained(self._watcher.failed[0], doing)

    def converse(self, path: str, *messages: str, done: Callable[[], bool] = bool) -> None:
        """Open a WebSocket, send messages, expect each one back, and close it.

        :param done: whether the application has nothing more to say to a message.
        """
        asked = f"WebSocket {path}"
        try:
            with self._served.websocket(path) as socket:
                self._your.note(f"{asked}: open", self._gateway(path), "101 · open")
                for message in messages:
                    socket.send(message)
                    answer = _receive(socket, done)
                    if answer is None:
                        self.blame(f"answering the message {message!r}")
                        raise Wrong(f"The message {message!r} was sent, and nothing came back.")
                    self._your.note(f"{asked}: send {message!r}", "ASGI", f"received {answer!r}")
                    if answer != message:
                        raise Wrong(
                            f"The message {message!r} was sent and {answer!r} came back; the same"
                            " text was expected."
                        )
        except InvalidStatus as refused:
            self.blame(f"opening the WebSocket {path}")
            status = refused.response.status_code
            self._your.note(f"{asked}: open", self._gateway(path), f"{status} · refused")
            raise Wrong(f"The WebSocket `{path}` was refused with {status}.") from refused
        except ConnectionClosed as closed:
            self.blame(f"talking on the WebSocket {path}")
            raise Wrong(f"The WebSocket `{path}` was closed by the server.") from closed
        except TimeoutError as late:
            raise Wrong(f"The WebSocket `{path}` was neither opened nor refused.") from late


def _receive(socket: Any, done: Callable[[], bool]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        finished = done()
        try:
            return socket.recv(timeout=0.2)
        except TimeoutError:
            if finished:
                return None
    return None


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)


@contextmanager
def _serving(your: Learner, *, wsgi: Any = None, asgi: Any = None) -> Iterator[Site]:
    watcher = _Watcher()
    handler = _Errors(watcher.failed)
    logger = logging.getLogger("django.request")
    logger.addHandler(handler)
    logger.propagate = False
    with serve(wsgi=wsgi, asgi=asgi, observer=watcher) as served:
        yield Site(your, served, watcher)


# The four steps.


def facts(your: Learner) -> str:
    """The dict with the project's facts."""
    module = your.load()
    project = your.value(module, "django_project")
    line = your.line("django_project")
    if not isinstance(project, dict):
        raise Wrong(
            f"`django_project` is {_kind(project)}; a dict was expected.", line,
            "A dict stands between braces: `{'name': …, 'settings_module': …}`.",
        )  # fmt: skip
    for key, expected in (("name", PROJECT), ("settings_module", f"{PROJECT}.settings")):
        if key not in project:
            _no_key(your, project, key)
        if project[key] != expected:
            raise Wrong(
                f"`django_project['{key}']` is `{project[key]!r}`; `{expected!r}` was expected.",
                your.line_of_key("django_project", key),
            )
    settings = importlib.import_module(project["settings_module"])
    your.note(
        "import django_project['settings_module']", "Python",
        f"the settings of {project['name']}, with ROOT_URLCONF = {settings.ROOT_URLCONF!r}",
    )  # fmt: skip
    return "Both facts are there, and Python imports the settings that you named."


def _no_key(your: Learner, project: dict[Any, Any], key: str) -> NoReturn:
    close = difflib.get_close_matches(key, [str(other) for other in project], 1)
    has = f", but it has `{close[0]!r}`" if close else ""
    line = your.line_of_key("django_project", close[0] if close else key)
    raise Wrong(f"`django_project` has no key `{key!r}`{has}.", line, f"Add the key `{key!r}`.")


def names(your: Learner) -> str:
    """Where servers find the two callables."""
    import django
    from django.utils.module_loading import import_string

    module = your.load()
    for kind in ("wsgi", "asgi"):
        your.same(module, f"{kind}_application", f"{PROJECT}.{kind}.application")
    django.setup()
    for kind in ("wsgi", "asgi"):
        name = getattr(module, f"{kind}_application")
        your.note(f"import {name}", "Django", _kind(import_string(name)).replace("`", ""))
    return "Django followed both names and found an application at the end of each."


def callables(your: Learner) -> str:
    """Both getters, called."""
    module = your.load()
    for kind in ("wsgi", "asgi"):
        _expect_handler(your, module, f"application_{kind}", kind)
    with your.explaining("calling application_wsgi"):
        response = ask_wsgi("/", module.application_wsgi)
    your.answered("call application_wsgi, GET /", "WSGI", response)
    with your.explaining("awaiting application_asgi"):
        response = asyncio.run(ask_asgi("/", module.application_asgi))
    your.answered("await application_asgi, GET /", "ASGI", response)
    return "Django is loaded, and both callables have answered a request for the same page."


def _handlers() -> dict[str, type]:
    from django.core.handlers.asgi import ASGIHandler
    from django.core.handlers.wsgi import WSGIHandler

    return {"wsgi": WSGIHandler, "asgi": ASGIHandler}


def _expect_handler(your: Learner, module: types.ModuleType, name: str, kind: str) -> None:
    """A name must be what the getter of that kind returns."""
    value, line, getter = your.value(module, name), your.line(name), f"get_{kind}_application"
    if getattr(value, "__name__", "") in ("get_wsgi_application", "get_asgi_application"):
        raise Wrong(
            f"`{name}` is the function `{value.__name__}` itself, and was expected to be what the"
            " function returns.", line, f"Call it: `{getter}()`.",
        )  # fmt: skip
    handler = _handlers()[kind]
    if not isinstance(value, handler):
        raise Wrong(
            f"`{name}` is {_kind(value)}; `{getter}()` returns {_article(handler.__name__)}.", line,
            f"Write `{name} = {getter}()`.",
        )  # fmt: skip


def entries(your: Learner) -> str:
    """The two entry points."""
    module = your.load()
    for name, source, kind in (
        ("application", "application_wsgi", "wsgi"),
        ("asgi_application_entry", "application_asgi", "asgi"),
    ):
        if your.value(module, name) is not your.value(module, source):
            _expect_handler(your, module, name, kind)
            raise Wrong(
                f"`{name}` is another object than `{source}`.", your.line(name),
                f"Give the one that is there a second name: `{name} = {source}`.",
            )  # fmt: skip
    with _serving(your, wsgi=module.application, asgi=module.asgi_application_entry) as site:
        site.get("/")
        site.get("/wait/")
    return (
        "Twogate has served your two entry points on one port: the sync view through WSGI, the"
        " async view through ASGI."
    )


# More.


def mistake(your: Learner) -> str:
    """The asgi.py that imports one getter and calls the other."""
    module = your.load()
    application = your.value(module, "application")
    if isinstance(application, _handlers()["wsgi"]):
        raise Wrong(
            "It can be imported now, but `application` is a `WSGIHandler`: a server that speaks"
            " ASGI could not await it.", your.line("application"),
            "In `asgi.py`, import and call `get_asgi_application`.",
        )  # fmt: skip
    _expect_handler(your, module, "application", "asgi")
    with _serving(your, asgi=application) as site:
        site.get("/")
        site.get("/wait/")
    return "The file can be imported, and Twogate has served it through ASGI."


def view(your: Learner) -> str:
    """An async view that leaves the loop to others."""
    import django

    django.setup()
    sleeps = _note_sleeps(your)
    module = your.load()
    wait = your.value(module, "wait")
    if not asyncio.iscoroutinefunction(wait):
        raise Wrong("`wait` is no async view.", your.line("wait"), "Define it by `async def`.")
    with your.explaining("calling wait"):
        overlapped = asyncio.run(_two_at_once(wait))
    if sleeps:
        raise Wrong(
            "The view called `time.sleep` on the event loop: meanwhile, nobody else was served.",
            sleeps[0], "`await asyncio.sleep(0.2)` waits as long and lets others go on.",
        )  # fmt: skip
    if not overlapped:
        raise Wrong(
            "Two requests came together, and the first was done before the second began.",
            your.line("wait"), "Let the view `await` what it waits for: `asyncio.sleep(0.2)`.",
        )  # fmt: skip
    with _serving(your, asgi=_django("asgi")) as site:
        site.get_twice("/wait/")
    your.note(
        "two requests together, on one event loop", "ASGI", "both were inside the view at once"
    )
    return "Two requests were inside your view at the same time, on one event loop."


def _django(kind: str) -> Any:
    return importlib.import_module(f"django.core.{kind}").__dict__[f"get_{kind}_application"]()


def _note_sleeps(your: Learner) -> list[int]:
    """From now on, note the lines of the learner's file that call ``time.sleep`` on a loop."""
    lines: list[int] = []
    sleep = time.sleep

    @functools.wraps(sleep)
    def noting(seconds: float) -> None:
        caller = sys._getframe(1)
        if asyncio._get_running_loop() and caller.f_code.co_filename.endswith(your.file):
            lines.append(caller.f_lineno)
        sleep(seconds)

    time.sleep = noting  # type: ignore[assignment]
    return lines


async def _two_at_once(view: Callable[[Any], Any]) -> bool:
    """Whether two calls of a view were inside it at the same time."""
    from django.test import AsyncRequestFactory

    inside = most = 0

    async def one() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            await view(AsyncRequestFactory().get("/wait/"))
        finally:
            inside -= 1

    await asyncio.gather(one(), one())
    return most == 2


def consumer(your: Learner) -> str:
    """A consumer that accepts, echoes and notices the end."""
    import django
    from channels.generic.websocket import AsyncWebsocketConsumer
    from channels.routing import URLRouter
    from django.urls import path

    django.setup()
    module = your.load()
    chat = your.value(module, "ChatConsumer")
    if not (isinstance(chat, type) and issubclass(chat, AsyncWebsocketConsumer)):
        raise Wrong(
            "`ChatConsumer` is no `AsyncWebsocketConsumer`.", your.line("ChatConsumer"),
            "Write `class ChatConsumer(AsyncWebsocketConsumer):`.",
        )  # fmt: skip
    for method in ("connect", "receive", "disconnect"):
        if method not in vars(chat):
            raise Wrong(
                f"`ChatConsumer` has no `{method}` of its own yet.", your.line("ChatConsumer"),
                f"Add `async def {method}(…)` to the class.",
            )  # fmt: skip
        if not asyncio.iscoroutinefunction(getattr(chat, method)):
            raise Wrong(
                f"`{method}` is no coroutine function, and Channels awaits it.",
                your.line(f"ChatConsumer.{method}"), f"Define it by `async def {method}(…)`.",
            )  # fmt: skip
    seen = _note_calls(chat)
    application: Any = chat
    router = URLRouter([path("ws/chat/", application.as_asgi())])
    with _serving(your, asgi=router) as site:
        try:
            site.converse("/ws/chat/", "hello", "one more", done=lambda: "receive" in seen.done)
        except Wrong as wrong:
            raise _why(your, seen, wrong) from wrong
        _until(lambda: "disconnect" in seen.done)
        site.blame("disconnecting")
    if "disconnect" not in seen.done:
        raise Wrong(
            "The client has left, and `disconnect` did not come to its end.",
            your.line("ChatConsumer.disconnect"),
        )
    your.note("WebSocket /ws/chat/: close", "ASGI", "disconnect was called")
    return "A client connected, both its messages came back, and `disconnect` ran when it left."


class _Seen:
    """Which methods of a consumer have come to their ends, and what was called in between."""

    def __init__(self) -> None:
        self.done: set[str] = set()
        self.called: set[str] = set()


def _note_calls(chat: Any) -> _Seen:
    seen = _Seen()

    def noting(name: str, into: set[str], method: Any) -> Any:
        @functools.wraps(method)
        async def noted(self: Any, *arguments: Any, **named: Any) -> Any:
            try:
                return await method(self, *arguments, **named)
            finally:
                into.add(name)
                if name == "connect" and not seen.called & {"accept", "close"}:
                    await self.close()  # else the client would wait without end

        return noted

    for name in ("accept", "close", "send"):
        setattr(chat, name, noting(name, seen.called, getattr(chat, name)))
    for name in ("connect", "receive", "disconnect"):
        setattr(chat, name, noting(name, seen.done, getattr(chat, name)))
    return seen


def _why(your: Learner, seen: _Seen, wrong: Wrong) -> Wrong:
    """What of a consumer made a conversation fail."""
    if wrong.mend:  # somebody knows better
        return wrong
    for method, call, sentence in (
        ("connect", "accept", "`connect` was called and did not accept the WebSocket"),
        ("receive", "send", "`receive` was called and sent nothing back"),
    ):
        if method in seen.done and call not in seen.called:
            line = your.line_of_call(call)
            if line and not your.awaits(call):
                return Wrong(
                    f"{sentence}: `self.{call}(…)` only makes a coroutine.", line,
                    f"Put `await` before it: `await self.{call}(…)`.",
                )  # fmt: skip
            return Wrong(
                f"{sentence}.", your.line(f"ChatConsumer.{method}"),
                f"Let `{method}` do `await self.{call}({'text_data=…' * (call == 'send')})`.",
            )  # fmt: skip
    return wrong


def routing(your: Learner) -> str:
    """Which path goes to which consumer."""
    import django
    from channels.routing import URLRouter

    django.setup()
    module = your.load()
    patterns = your.value(module, "websocket_urlpatterns")
    line = your.line("websocket_urlpatterns")
    if not isinstance(patterns, list | tuple) or not patterns:
        raise Wrong(
            f"`websocket_urlpatterns` is {'empty' if patterns == [] else _kind(patterns)}; a list"
            " with one `path(…)` was expected.", line,
        )  # fmt: skip
    for pattern in patterns:
        _check_pattern(your, pattern)
    with your.explaining("making a URLRouter"):
        router = URLRouter(patterns)
    with _serving(your, asgi=router) as site:
        try:
            site.converse("/ws/chat/", "hello")
        except Wrong as wrong:
            raise _unrouted(your, patterns, wrong) from wrong
    return "A client opened `/ws/chat/`, and your routing took it to the consumer."


def _check_pattern(your: Learner, pattern: Any) -> None:
    line = your.line_of_call("path", "re_path")
    callback = getattr(pattern, "callback", None)
    if isinstance(callback, type):
        raise Wrong(
            f"The route leads to the class `{callback.__name__}` itself.", line,
            f"Make an application of it: `{callback.__name__}.as_asgi()`.",
        )  # fmt: skip
    if str(getattr(pattern, "pattern", "")).startswith("/"):
        raise Wrong(
            "The route begins with a slash, and Django matches paths without the first slash.",
            line, "Write `'ws/chat/'`.",
        )  # fmt: skip


def _unrouted(your: Learner, patterns: Any, wrong: Wrong) -> Wrong:
    routes = ", ".join(f"`{pattern.pattern}`" for pattern in patterns)
    if "No route found" not in wrong.sentence:
        return wrong
    return Wrong(
        f"A client asked for `/ws/chat/`, and no route fits it; there is {routes}.",
        your.line_of_call("path", "re_path"), "Write `'ws/chat/'`.",
    )  # fmt: skip


def protocols(your: Learner) -> str:
    """HTTP to Django, WebSocket to the consumers."""
    from channels.routing import ProtocolTypeRouter

    module = your.load()
    application = your.value(module, "application")
    line = your.line("application")
    if isinstance(application, _handlers()["asgi"]):
        raise Wrong(
            "`application` is Django's `ASGIHandler` alone, which knows no WebSocket.", line,
            "Put it into a `ProtocolTypeRouter`, under the key `'http'`.",
        )  # fmt: skip
    if isinstance(application, ProtocolTypeRouter):
        for key in ("http", "websocket"):
            if key not in application.application_mapping:
                has = ", ".join(f"`{k!r}`" for k in application.application_mapping) or "nothing"
                raise Wrong(
                    f"The router has no `{key!r}`; it has {has}.", line,
                    f"Add the key `{key!r}`.",
                )  # fmt: skip
    with _serving(your, asgi=application) as site:
        site.get("/")
        site.converse("/ws/chat/", "hello")
    return "One `application` has answered a page and held a WebSocket."


def both(your: Learner) -> str:
    """The settings that name both doors, and the whole project behind them."""
    import django

    module = your.load()
    for kind in ("wsgi", "asgi"):
        name = f"{kind.upper()}_APPLICATION"
        your.same(module, name, f"{PROJECT}.{kind}.application")
    with your.explaining("loading the project"):
        django.setup()
        from django.utils.module_loading import import_string

        wsgi, asgi = (
            import_string(getattr(module, f"{kind}_APPLICATION")) for kind in ("WSGI", "ASGI")
        )
    with _serving(your, wsgi=wsgi, asgi=asgi) as site:
        site.get("/")
        site.get("/wait/")
        site.converse("/ws/chat/", "hello")
    return (
        "Your project is served: pages through WSGI, the async view and the WebSocket through ASGI."
    )


#: By the key of the exercise. Each returns what was shown, or raises :class:`Wrong`.
CHECKS: dict[str, Callable[[Learner], str]] = {
    check.__name__: check
    for check in (
        facts, names, callables, entries, mistake, view, consumer, routing, protocols, both,
    )
}  # fmt: skip
