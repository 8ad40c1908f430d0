"""``twogate lab``: opens the pages on which both gateways are watched, compared and learned.

The lab is a Django project of its own, served as any other. It runs code that a learner writes, so
it is bound to this machine unless somebody says otherwise, and then it asks for a token.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twogate.config import Config, resolve
from twogate.errors import ConfigError, ProjectError
from twogate.observe.startup import Style

__all__ = ["add", "run"]

#: Where the lab is found if nobody says otherwise: not where projects are served.
BIND = "127.0.0.1:8010"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,200}")
#: Run in a process of its own, because it knows Django.
PREPARE = "twogate.lab.web.prepare"
#: What the worker imports to get its applications.
LOADER = "twogate.lab.web.loader:load"

_EXAMPLES = """\
examples:
  twogate lab                       opens the lab in your browser
  twogate lab --no-browser          only prints its address
  twogate lab --bind 127.0.0.1:9000 another port
  twogate lab --data ~/lessons      keeps what you have done in that folder
  twogate lab --bind 0.0.0.0:8010 --allow-others
                                    for a class room: the printed address has a
                                    token, and whoever has it can run code here

Stop it with Ctrl-C. What you have done is kept; several people may use one lab,
each by a name.
"""


def add(commands: Any) -> argparse.ArgumentParser:
    """Describe the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "lab",
        help="learn what the two doors do, by running them",
        description="Open pages on which real requests go through both gateways side by side, and"
        " on which you build, practise and remember.",
        epilog=_EXAMPLES,
        usage="twogate lab [option ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "-b", "--bind", metavar="ADDRESS", default=BIND, help=f"where (default: {BIND})"
    )
    parser.add_argument("--no-browser", action="store_true", help="open no browser")
    parser.add_argument(
        "--data", metavar="FOLDER", help="where to keep what learners have done (default: a folder"
        " for data of programs, such as ~/.local/share/twogate-lab)",
    )  # fmt: skip
    parser.add_argument(
        "--allow-others", action="store_true",
        help="let other machines in: whoever has the token can run code on this one",
    )  # fmt: skip
    parser.add_argument(
        "--token", metavar="TEXT", help="the token, instead of a new one at each start"
    )
    parser.add_argument("--traceback", action="store_true", help=argparse.SUPPRESS)
    return parser


def run(known: argparse.Namespace) -> int:
    """Serve the lab."""
    from twogate.observe import logs
    from twogate.process import supervisor

    token = _token(known)
    config = _configure(known)
    folder = _folder(known)
    os.environ["TWOGATE_LAB_DATA"] = str(folder)
    os.environ["TWOGATE_LAB_TOKEN"] = token
    os.environ["DJANGO_SETTINGS_MODULE"] = "twogate.lab.web.settings"
    _prepare()
    logs.configure(config)
    tell = partial(_tell, token, not known.no_browser)
    return supervisor.serve(config, load=LOADER, observer=logs.make_observer, announce=tell)


def _token(known: argparse.Namespace) -> str:
    """The token that browsers must show; empty where only this machine can reach the lab.

    :raises ConfigError: the options do not go together.
    """
    if _is_local(known.bind):
        if known.token or known.allow_others:
            given = "--token" if known.token else "--allow-others"
            message = (
                f"{given} is for other machines, and this address is for this one alone. Leave"
                f" {given} out, or bind to another address as well: --bind 0.0.0.0:8010."
            )
            raise ConfigError("--bind", known.bind, "command line", message)
        return ""
    if not known.allow_others:
        message = (
            "The lab runs code for whoever reaches it, and others can reach this address. Leave"
            " --bind out, or add --allow-others, which asks them for a token."
        )
        raise ConfigError("--bind", known.bind, "command line", message)
    token = known.token or os.environ.get("TWOGATE_LAB_TOKEN") or secrets.token_urlsafe(24)
    if not _TOKEN.fullmatch(token):
        message = "It should have 16 letters and digits or more; leave it out, and one is made."
        raise ConfigError("--token", token, "command line", message)
    return str(token)


def _is_local(bind: str) -> bool:
    from twogate.django.project import is_local

    return is_local(bind)


def _configure(known: argparse.Namespace) -> Config:
    flags: dict[str, Any] = {
        "bind": [known.bind],
        "wsgi": "twogate.lab.web.wsgi:application",
        "asgi": "twogate.lab.web.asgi:application",
        "workers": 1,
        "threads": 32,
        "access_logfile": "off",
        "log_level": "warning",
        "traceback": known.traceback,
    }
    return resolve(flags, {})


def _folder(known: argparse.Namespace) -> Path:
    if known.data:
        return Path(known.data).expanduser().absolute()
    from twogate.lab.web.folder import default_folder

    return default_folder()


def _prepare() -> None:
    """Have the folder and its database made.

    :raises ProjectError: that does not work, or a package is missing.
    """
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", PREPARE], capture_output=True, text=True, check=False
    )
    if done.returncode:
        *_, message, mend = ("no reason was given", "", *done.stderr.strip().splitlines())
        raise ProjectError(f"The lab cannot start: {message}", mend)


def _tell(
    token: str, open_browser: bool, config: Config, workers: int, urls: Sequence[str], notes: Any
) -> None:
    """Say where the lab is, once it can be reached, and go there."""
    style = Style(sys.stdout)
    for url in urls:
        address = _address(url, token)
        print(f"{style.bold('The lab is open:')} {address}", flush=True)
    print("Stop it with Ctrl-C.", flush=True)
    if open_browser:
        # Some browsers keep the call until they are closed.
        there = _address(urls[0], token)
        threading.Thread(target=webbrowser.open, args=(there,), daemon=True).start()


def _address(url: str, token: str) -> str:
    """The address for a browser: no browser goes to 0.0.0.0."""
    parts = urlsplit(url)
    if parts.hostname in {"0.0.0.0", "::"}:  # noqa: S104 - nothing is bound here
        url = f"{parts.scheme}://localhost:{parts.port}"
    return f"{url}/?token={token}" if token else f"{url}/"
