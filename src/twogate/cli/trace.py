"""``twogate trace``: sends one real request through each gateway and shows what happened.

The project is loaded by processes of their own; this one asks them, compares, and draws.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twogate.cli.configure import add_option, add_project, configure
from twogate.cli.parser import FAILED, FINE
from twogate.config import OPTIONS, Config
from twogate.errors import ConfigError
from twogate.observe.startup import Style

if TYPE_CHECKING:
    from twogate.trace.client import Request

__all__ = ["add", "run"]

#: What serves the project and records: it is run, not imported, because it knows Django.
SERVER = "twogate.django.trace_server"

_EXAMPLES = """\
examples:
  twogate trace /                           one page, through WSGI and ASGI
  twogate trace /account/ --user anna       as that user, without a password
  twogate trace /cart/ --method POST --data product=3
  twogate trace /ws/chat/lobby/ --ws hello  a WebSocket, and how WSGI refuses it
  twogate trace / --repeat 20               the request with the median duration
  twogate trace / --diff                    fail where the gateways answer differently
  twogate trace / --html trace.html         a page with the timelines
  twogate trace / --json - | jq .differences
  twogate trace / --chrome trace.json       for Perfetto (ui.perfetto.dev)

Each gateway gets the request once before, which is not shown, so that imports are
not what is measured. A view that writes really writes, once for each gateway.
"""


def add(commands: Any) -> argparse.ArgumentParser:
    """Describe the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "trace",
        help="send one request through each gateway and show what happened",
        description="Send one real request to the project through the WSGI gateway and through the"
        " ASGI gateway, with Django's handler and with Twogate's, and show side by side what"
        " happened: each step, each crossing between loop and threads with its cause, the queries"
        " and the connections.",
        epilog=_EXAMPLES,
        usage="twogate trace PATH [PROJECT] [option ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("path", metavar="PATH", help="the path of the page, with its query")
    add_project(parser)
    asked = parser.add_argument_group("the request")
    asked.add_argument("--method", metavar="NAME", help="GET, or POST where there is --data")
    asked.add_argument(
        "--data", metavar="TEXT", help="the body; @FILE reads it from a file, @- from the input"
    )
    asked.add_argument(
        "--header", metavar="NAME:VALUE", action="append", default=[], help="may be repeated"
    )
    asked.add_argument(
        "--user", metavar="NAME", help="log in as this user, by a session made for the trace"
    )
    asked.add_argument(
        "--ws", metavar="MESSAGE", nargs="*", help="open a WebSocket and send these messages"
    )
    asked.add_argument(
        "--repeat", metavar="N", type=_times, default=1,
        help="send it so often, and show the one with the median duration",
    )  # fmt: skip
    shown = parser.add_argument_group("what is shown")
    shown.add_argument(
        "--diff", action="store_true", help="exit with 1 where the gateways answer differently"
    )
    shown.add_argument("--json", metavar="FILE", help="write the trace document; - is the output")
    shown.add_argument("--chrome", metavar="FILE", help="write Chrome's trace format")
    shown.add_argument("--html", metavar="FILE", help="write a page with the timelines")
    group = parser.add_argument_group("project")
    for option in OPTIONS:
        if option.name in _OPTIONS:
            add_option(group, option)
    return parser


_OPTIONS = ("settings", "chdir", "wsgi", "asgi", "threads", "lifespan", "traceback")


def _times(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("a whole number from 1 to 1000")
    return number


def run(known: argparse.Namespace) -> int:
    """Trace."""
    from twogate.trace.differences import disagreements
    from twogate.trace.driver import trace

    request = _request(known)
    outputs = [known.json, known.chrome, known.html]
    paths = [Path(name).absolute() if name and name != "-" else None for name in outputs]
    config = configure(known)
    if config.wsgi is None and config.asgi is None:
        from twogate.django.discovery import find_project

        find_project(config)
    _warn(known, request)
    document = trace(SERVER, _flags(config), request, user=known.user, repeat=known.repeat)
    _write(known, document, paths)
    wrong = disagreements(document["differences"])
    return FAILED if known.diff and wrong else FINE


def _request(known: argparse.Namespace) -> Request:
    from twogate.trace.client import Request

    path: str = known.path
    if not path.startswith("/"):
        raise _wrong("PATH", path, "It should begin with a slash, for example /about/.")
    if not path.isascii() or any(ord(letter) <= 32 for letter in path):
        raise _wrong("PATH", path, "Write other letters and spaces percent-encoded: %20.")
    body = _body(known.data)
    method = str(known.method or ("POST" if known.data is not None else "GET")).upper()
    if not method.isalpha():
        raise _wrong("--method", method, "It should be the name of a method, for example POST.")
    headers = [_header(text) for text in known.header]
    if known.data is not None and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", _type_of(body)))
    if known.ws is not None and (known.data is not None or known.method):
        raise _wrong("--ws", " ".join(known.ws), "A WebSocket has no --method and no --data.")
    return Request(method, path, headers, body, messages=known.ws)


def _body(data: str | None) -> bytes:
    if data is None or not data.startswith("@"):
        return (data or "").encode()
    if data == "@-":
        return sys.stdin.buffer.read()
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise _wrong("--data", data, f"The file cannot be read: {error.strerror}.") from error


def _type_of(body: bytes) -> str:
    if body.lstrip()[:1] in (b"{", b"["):
        return "application/json"
    return "application/x-www-form-urlencoded"


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or "\n" in text or "\r" in text or not text.isascii():
        raise _wrong("--header", text, 'It should be "Name: value".')
    return name.strip(), value.strip()


def _wrong(name: str, value: object, message: str) -> ConfigError:
    return ConfigError(name, value, "command line", message)


def _flags(config: Config) -> dict[str, Any]:
    """What the processes that serve have to know; they start in this folder."""
    names = ("settings", "wsgi", "asgi", "threads", "lifespan", "traceback")
    flags = {name: getattr(config, name) for name in names}
    return {**flags, "access_logfile": "off", "log_level": "warning"}


def _warn(known: argparse.Namespace, request: Request) -> None:
    from twogate.trace.driver import SAFE

    style = Style(sys.stderr)
    if request.method not in SAFE:
        times = 3 * known.repeat
        print(
            f"{style.yellow('warning:')} {request.method} {request.path} is really sent, {times}"
            " times: what the view writes is written.",
            file=sys.stderr,
        )


def _write(known: argparse.Namespace, document: dict[str, Any], paths: list[Path | None]) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=False)
    for kind, name, path in zip(("json", "chrome", "html"), (known.json, known.chrome, known.html),
                                paths, strict=True):  # fmt: skip
        if name is None:
            continue
        made = text if kind == "json" else _made(kind, document)
        if path is None:
            print(made)
            continue
        try:
            path.write_text(made, encoding="utf-8")
        except OSError as error:
            message = f"The file cannot be written: {error.strerror}."
            raise ConfigError(f"--{kind}", name, "command line", message) from error
        print(f"{kind:<8}{path}", file=sys.stderr)
    if "-" not in (known.json, known.chrome, known.html):
        from twogate.trace import terminal

        terminal.show(document, sys.stdout)


def _made(kind: str, document: dict[str, Any]) -> str:
    if kind == "chrome":
        from twogate.trace import chrome

        return json.dumps(chrome.export(document))
    from twogate.trace import page

    return page.render(document)
