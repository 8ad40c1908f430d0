"""The options: each declared once, as a field of :class:`Config` that carries its :class:`Option`.

Flag, environment name, file key, check, help and default all come from that one line. This room
describes and never acts: it opens no socket, sets up no log and imports no project, and it knows
nothing above the errors. It runs once, in the process that reads the command line.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

from twogate.errors import ConfigError

__all__ = ["GROUPS", "OPTIONS", "Config", "Option", "find_file", "read_file", "resolve"]

#: Turns what was given into the option's value, or raises :class:`ValueError` whose message says
#: what is expected, as the end of the sentence "… should be".
Check: TypeAlias = Callable[[Any], Any]

ENVIRONMENT_PREFIX = "TWOGATE_"


@dataclass(slots=True, frozen=True)
class Option:
    """One option and everything that is known of it.

    :ivar name: the attribute of :class:`Config`.
    :ivar default: the value when nobody gives one.
    :ivar check: see :data:`Check`.
    :ivar help: one or two sentences, with the unit.
    :ivar group: the heading it stands under in the help.
    :ivar aliases: other spellings of the flag.
    :ivar metavar: what stands for the value in the help; ``""`` for a switch.
    :ivar many: the flag may be repeated.
    :ivar alone: the value when the flag is given without one; ``None`` where it needs one.
    """

    name: str
    default: Any
    check: Check
    help: str
    group: str
    aliases: tuple[str, ...] = ()
    metavar: str = ""
    many: bool = False
    alone: Any = None

    @property
    def flag(self) -> str:
        """The flag, for example ``--graceful-timeout``."""
        return "--" + self.key

    @property
    def environment(self) -> str:
        """The environment variable, for example ``TWOGATE_GRACEFUL_TIMEOUT``."""
        return ENVIRONMENT_PREFIX + self.name.upper()

    @property
    def key(self) -> str:
        """The key in ``[tool.twogate]``, for example ``graceful-timeout``."""
        return self.name.replace("_", "-")

    @property
    def is_switch(self) -> bool:
        """Whether it is on or off, so that its flag takes no value."""
        return self.check is switch


# Checks.


def switch(value: object) -> bool:
    """``True`` or ``False``, or the words for them."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise ValueError("true or false")


def integer(minimum: int = 0, maximum: int | None = None) -> Check:
    """A whole number between two bounds."""
    expected = f"a whole number of at least {minimum}"
    if maximum is not None:
        expected = f"a whole number from {minimum} to {maximum}"

    def check(value: object) -> int:
        number = _number(value, int, expected)
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError(expected)
        return int(number)

    return check


def seconds(value: object) -> float:
    """A time, 0 or more."""
    number = _number(value, float, "a number of seconds, 0 or more")
    if not 0 <= number < float("inf"):
        raise ValueError("a number of seconds, 0 or more")
    return float(number)


_SIZE = re.compile(r"(\d+)\s*([kmg]?)(?:i?b)?", re.IGNORECASE)


def size(value: object) -> int:
    """A number of bytes; ``K``, ``M`` and ``G`` stand for powers of 1024."""
    match = _SIZE.fullmatch(str(value).strip())
    if match is None or isinstance(value, bool):
        raise ValueError("a number of bytes such as 8190, 64K or 10M")
    return int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[match[2].lower()]


def choice(*names: str) -> Check:
    """One of a few words."""

    def check(value: object) -> str:
        word = value.strip().lower() if isinstance(value, str) else value
        if word in names:
            return str(word)
        raise ValueError(f"one of {', '.join(names)}")

    return check


def text(value: object) -> str:
    """Any string."""
    if not isinstance(value, str):
        raise ValueError("a string")
    return value


def log_target(value: object) -> str:
    """``-``, a path, or ``""`` for none (``off`` is another word for it)."""
    target = text(value)
    return "" if target.lower() == "off" else target


_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"


def dotted_name(value: object) -> str:
    """The name of a module."""
    if not isinstance(value, str) or not re.fullmatch(_DOTTED, value):
        raise ValueError("the dotted name of a module, for example mysite.settings")
    return value


def application(value: object) -> str:
    """``module:attribute``; the attribute is ``application`` when it is left out."""
    if isinstance(value, str) and re.fullmatch(_DOTTED, value):
        return value + ":application"
    if isinstance(value, str) and re.fullmatch(f"{_DOTTED}:{_DOTTED}", value):
        return value
    raise ValueError("a module and a name in it, for example mysite.wsgi:application")


def strings(value: object) -> list[str]:
    """A list, or a string with commas."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError("a list of strings")
    return [item.strip() for item in items if item.strip()]


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]{1,5})?")


def origins(value: object) -> list[str]:
    """Words and origins such as ``https://example.com``."""
    found = [item.lower() for item in strings(value)]
    if not found or not all(
        item in {"allowed-hosts", "any"} or _ORIGIN.fullmatch(item) for item in found
    ):
        raise ValueError("allowed-hosts, any, or origins such as https://example.com, with commas")
    return found


_ADDRESS_EXPECTED = "host:port, [IPv6]:port, unix:/path or fd://number"


def addresses(value: object) -> list[str]:
    """Where to listen; each in its full spelling."""
    found = [address(item) for item in strings(value)]
    if not found:
        raise ValueError(f"at least one address: {_ADDRESS_EXPECTED}")
    return found


def address(value: str) -> str:
    """``host:port``, ``[::1]:port``, ``unix:/path`` or ``fd://N``.

    A port alone means 127.0.0.1, ``:port`` means every IPv4 interface, a host alone port 8000.
    """
    if value.startswith("unix:"):
        path = value.removeprefix("unix://").removeprefix("unix:")
        return "unix:" + _expect(path, path, _ADDRESS_EXPECTED)
    if value.startswith("fd://"):
        number = value.removeprefix("fd://")
        return "fd://" + _expect(number, number.isdecimal(), _ADDRESS_EXPECTED)
    if value.isdecimal():
        return f"127.0.0.1:{_port(value)}"
    host, colon, port = value.rpartition(":")
    if value.endswith("]") or not colon:
        host, port = value, "8000"
    return f"{_host(host)}:{_port(port)}"


def _host(host: str) -> str:
    if host.startswith("["):
        return _expect(host, re.fullmatch(r"\[[0-9A-Fa-f:.]+(%\w+)?\]", host), _ADDRESS_EXPECTED)
    if ":" in host:
        raise ValueError(f"{_ADDRESS_EXPECTED} (put the IPv6 address in brackets)")
    return _expect(host or "0.0.0.0", not re.search(r"[\s/@?#]", host), _ADDRESS_EXPECTED)  # noqa: S104 - asked for by ":port"


def _port(port: str) -> int:
    valid = port.isascii() and port.isdecimal() and int(port) <= 65535
    return int(_expect(port, valid, f"{_ADDRESS_EXPECTED}, with a port from 0 to 65535"))


def _expect(value: str, condition: object, expected: str) -> str:
    if not condition:
        raise ValueError(expected)
    return value


def _number(value: object, kind: type[int] | type[float], expected: str) -> float:
    allowed = (int, str) if kind is int else (int, float, str)
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise ValueError(expected)
    try:
        return kind(value)
    except ValueError:
        raise ValueError(expected) from None


def optional(check: Check) -> Check:
    """The same, or ``None``, which only the default can be."""

    def check_or_none(value: object) -> Any:
        return None if value is None else check(value)

    return check_or_none


# The options.

GROUPS = {
    "project": "What is served. Found without help in the folder of a Django project.",
    "listening": "Where Twogate listens.",
    "processes": "Worker processes and threads.",
    "timeouts": "Times in seconds; 0 switches one off, but --graceful-timeout 0 waits for nobody.",
    "limits": "What a request may weigh, in bytes unless said otherwise; 0 means no limit.",
    "websockets": "WebSocket connections; times in seconds, sizes in bytes.",
    "logging": "What is told, and where.",
    "development": "Comfort while writing code.",
}


def option(
    default: Any,
    check: Check,
    group: str,
    description: str,
    *aliases: str,
    metavar: str = "",
    many: bool = False,
    alone: Any = None,
) -> Any:
    """Declare an option as a field of :class:`Config`."""
    make = {"default_factory": default.copy} if isinstance(default, list) else {"default": default}
    declared = Option("", default, check, description, group, aliases, metavar, many, alone)
    return field(**make, metadata={"option": declared})


@dataclass(slots=True, kw_only=True)
class Config:
    """The value of each option, and where it came from.

    Made by :func:`resolve`; ``Config(workers=2)`` takes the given values unchecked and the
    defaults for the rest.
    """

    # fmt: off
    settings: str | None = option(
        None, optional(dotted_name), "project",
        "The Django settings module. Else DJANGO_SETTINGS_MODULE, else what manage.py says.",
        metavar="MODULE",
    )
    chdir: str | None = option(
        None, optional(text), "project",
        "Change to this folder before anything is loaded.", metavar="PATH",
    )
    wsgi: str | None = option(
        None, optional(application), "project",
        "Serve this WSGI application, Django or not, alone or with --asgi.",
        metavar="MODULE:NAME",
    )
    asgi: str | None = option(
        None, optional(application), "project",
        "Serve this ASGI application, Django or not, alone or with --wsgi.",
        metavar="MODULE:NAME",
    )
    gateway: str = option(
        "auto", choice("auto", "wsgi", "asgi"), "project",
        "Which gateway serves HTTP requests: auto asks each view, the others force one.",
        metavar="auto|wsgi|asgi",
    )
    stock_handler: bool = option(
        False, switch, "project",
        "Keep Django's own handlers; Twogate's give the same answers with fewer threads.",
    )
    lifespan: str = option(
        "auto", choice("auto", "on", "off"), "project",
        "The ASGI lifespan protocol: auto speaks it if the application does, on insists.",
        metavar="auto|on|off",
    )

    bind: list[str] = option(  # noqa: RUF009 - it is a field
        ["127.0.0.1:8000"], addresses, "listening",
        "Listen here: host:port, [IPv6]:port, unix:/path or fd://number. May be repeated.",
        "-b", metavar="ADDRESS", many=True,
    )
    backlog: int = option(
        2048, integer(1), "listening",
        "How many connections the kernel keeps waiting to be accepted.", metavar="N",
    )
    server_header: bool = option(
        True, switch, "listening", "Send the header “Server: twogate”.",
    )

    workers: int = option(
        1, integer(0, 1024), "processes",
        "How many worker processes; 0 serves from this one, without a supervisor.",
        "-w", metavar="N",
    )
    threads: int = option(
        64, integer(1, 4096), "processes",
        "The most threads one worker uses for sync code; it keeps as few awake as pay off.",
        metavar="N",
    )
    max_requests: int = option(
        0, integer(0), "processes",
        "Replace a worker after this many requests; 0 never does.", metavar="N",
    )
    max_requests_jitter: int = option(
        0, integer(0), "processes",
        "Add up to this many to --max-requests, at random, so that workers take turns.",
        metavar="N",
    )

    timeout: float = option(
        30.0, seconds, "timeouts",
        "A worker that is silent for so long is taken for hung and replaced.",
        "-t", metavar="SECONDS",
    )
    graceful_timeout: float = option(
        30.0, seconds, "timeouts",
        "How long requests may go on after a worker was told to stop; 0 cuts them at once.",
        metavar="SECONDS",
    )
    keep_alive: float = option(
        5.0, seconds, "timeouts",
        "How long an idle connection is kept for the next request.", metavar="SECONDS",
    )
    header_timeout: float = option(
        10.0, seconds, "timeouts",
        "How long a client may take to send a request's head.", metavar="SECONDS",
    )
    body_timeout: float = option(
        30.0, seconds, "timeouts",
        "How long a client may pause while it sends a request's body.", metavar="SECONDS",
    )

    limit_request_line: int = option(
        4094, size, "limits", "The request line.", metavar="BYTES",
    )
    limit_request_fields: int = option(
        100, integer(0), "limits", "How many headers.", metavar="N",
    )
    limit_request_field_size: int = option(
        8190, size, "limits",
        "One header, name and value.", "--limit-request-field_size", metavar="BYTES",
    )
    limit_request_head: int = option(
        65536, size, "limits", "The request line and all headers together.", metavar="BYTES",
    )
    limit_request_body: int = option(
        0, size, "limits", "The body.", metavar="BYTES",
    )

    websocket_ping_interval: float = option(
        20.0, seconds, "websockets",
        "Ping a client that was silent for so long; 0 never does.", metavar="SECONDS",
    )
    websocket_ping_timeout: float = option(
        20.0, seconds, "websockets",
        "Close the connection when no answer came to a ping for so long.", metavar="SECONDS",
    )
    websocket_origins: list[str] = option(  # noqa: RUF009 - it is a field
        ["allowed-hosts"], origins, "websockets",
        "Pages of these origins may open WebSockets: allowed-hosts are those of Django's"
        " ALLOWED_HOSTS, any means all, and https://example.com that one. May be repeated.",
        metavar="ORIGIN", many=True,
    )
    websocket_per_address: int | None = option(
        None, optional(integer(0)), "websockets",
        "How many WebSockets one client address may have in one worker; 0 means no limit. By"
        " default 100, but only for public addresses: another may be a proxy's.",
        metavar="N",
    )
    websocket_per_user: int = option(
        50, integer(0), "websockets",
        "How many WebSockets one user of a Django project may have in one worker, by their session;"
        " 0 means no limit.",
        metavar="N",
    )
    websocket_close_window: float = option(
        5.0, seconds, "websockets",
        "When a worker stops, it closes WebSockets (1012) and ends streams of events one after the"
        " other within this time, so that their clients do not all return at once. Never more than"
        " a third of --graceful-timeout; 0 closes all at once.",
        metavar="SECONDS",
    )
    websocket_max_message_size: int = option(
        1048576, size, "websockets", "The longest message a client may send.", metavar="BYTES",
    )
    websocket_compression: bool = option(
        True, switch, "websockets", "Compress messages (permessage-deflate) if the client can.",
    )
    websocket_broadcast_buffer: int = option(
        1048576, size, "websockets",
        "How much of what is broadcast may wait for one client that reads slowly.",
        metavar="BYTES",
    )
    websocket_slow_reader: str = option(
        "close", choice("close", "drop-oldest"), "websockets",
        "What happens beyond that: the client is told to come back later (1013), or loses the"
        " oldest messages.",
        metavar="close|drop-oldest",
    )

    access_logfile: str = option(
        "-", log_target, "logging",
        "Write a line per request to this file; - is standard output, off means none.",
        metavar="PATH",
    )
    access_log_format: str = option(
        "text", choice("text", "json"), "logging", "How these lines look.", metavar="text|json",
    )
    log_level: str = option(
        "info", choice("debug", "info", "warning", "error", "critical"), "logging",
        "The least important messages that are told on standard error.", metavar="LEVEL",
    )

    reload: bool = option(
        False, switch, "development", "Start the workers anew when code changes.",
    )
    reload_dir: list[str] = option(  # noqa: RUF009 - it is a field
        [], strings, "development",
        "Watch this folder too. May be repeated.", metavar="PATH", many=True,
    )
    trace: int = option(
        0, integer(0, 200), "development",
        "Record requests and keep the last N (50), shown at /__twogate__/traces/ to this machine"
        " alone; needs DEBUG.",
        metavar="N", alone=50,
    )
    stall_threshold: float = option(
        0.1, seconds, "development",
        "With --reload or DEBUG, tell which code holds the event loop for so long; 0 never does.",
        metavar="SECONDS",
    )
    traceback: bool = option(
        False, switch, "development", "Show the traceback of an error that stops Twogate.",
    )

    # fmt: on
    #: Lines for the start-up message: what looks wrong and is not an error.
    warnings: list[str] = field(default_factory=list)
    #: Where the workers keep what ``--trace`` records; set by the command.
    trace_folder: str = ""
    _sources: dict[str, str] = field(default_factory=dict, repr=False)

    def source(self, name: str) -> str:
        """Where an option's value came from.

        :return: ``"command line"``, the name of an environment variable, the path of a file, or
            ``"default"``.
        """
        _by_name(name)
        return self._sources.get(name, "default")

    def items(self) -> Iterator[tuple[Option, Any]]:
        """Each option with its value."""
        for known in OPTIONS:
            yield known, getattr(self, known.name)


def _declared(declaring: Field[Any]) -> Option:
    found: Option = declaring.metadata["option"]
    return replace(found, name=declaring.name)


#: Every option, in the order of the help.
OPTIONS: tuple[Option, ...] = tuple(_declared(f) for f in fields(Config) if "option" in f.metadata)

_OPTIONS = {known.name: known for known in OPTIONS}


def _by_name(name: str) -> Option:
    return _OPTIONS[name]


# Where values come from.


def find_file(start: Path) -> Path | None:
    """The nearest ``pyproject.toml`` in ``start`` or above it."""
    start = start.resolve()
    return next((f for d in (start, *start.parents) if (f := d / "pyproject.toml").is_file()), None)


def read_file(path: Path) -> dict[str, Any]:
    """The table ``[tool.twogate]`` of a ``pyproject.toml``; empty when there is none.

    :raises ConfigError: the file cannot be read, or is not TOML.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError("[tool.twogate]", path.name, str(path), f"{error}.") from error
    table = content.get("tool", {}).get("twogate", {})
    if not isinstance(table, dict):
        raise ConfigError("[tool.twogate]", table, str(path), "It should be a table.")
    return table


def resolve(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    file: Mapping[str, Any] | None = None,
    path: Path | None = None,
) -> Config:
    """Check what was given and decide: flag, else environment, else file, else default.

    :param flags: attribute names and values from the command line; ``None`` means not given.
    :param environment: an environment such as ``os.environ``; an empty variable counts as not set.
    :param file: the table ``[tool.twogate]``.
    :param path: the file that the table came from.
    :raises ConfigError: a value cannot be used, or the file has an unknown key.
    """
    config = Config()
    config.warnings.extend(_unknown_variables(environment))
    for name, value in _from_file(file or {}, str(path or "pyproject.toml")).items():
        _set(config, _by_name(name), value, str(path or "pyproject.toml"), _by_name(name).key)
    for known in OPTIONS:
        if environment.get(known.environment):
            given = environment[known.environment]
            _set(config, known, given, known.environment, known.environment)
        if flags.get(known.name) is not None:
            _set(config, known, flags[known.name], "command line", known.flag)
    return config


def _set(config: Config, known: Option, value: Any, source: str, spelling: str) -> None:
    try:
        checked = known.check(value)
    except ValueError as error:
        message = f"It should be {error}."
        raise ConfigError(spelling, value, source, message) from None
    setattr(config, known.name, checked)
    config._sources[known.name] = source


def _from_file(table: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The table with attribute names for keys."""
    values = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in _OPTIONS:
            hint = _did_you_mean(key, (known.key for known in OPTIONS))
            raise ConfigError(key, value, source, f"There is no such option{hint}")
        if value is None or isinstance(value, dict):
            raise ConfigError(key, value, source, "It should be a value, not a table.")
        values[name] = value
    return values


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    # A warning and no error: the name may be somebody else's.
    known = {known.environment for known in OPTIONS}
    for name in environment:
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known:
            yield f"{name} is set but is no option{_did_you_mean(name, known)}"


def _did_you_mean(given: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(given), list(known), n=1)
    return f"; did you mean {close[0]}?" if close else "."
