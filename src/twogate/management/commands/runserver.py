"""``manage.py runserver``: the project through both gateways, with a restart when code changes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from twogate.management import become

__all__ = ["Command"]


class Command(BaseCommand):  # type: ignore[misc]
    """Takes the place of Django's command of this name, and its arguments."""

    help = (
        "Serves the project with Twogate, as `twogate serve --reload` does: pages through WSGI,"
        " async views and WebSockets through ASGI, and static files under DEBUG."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Those of Django's own command that mean something here."""
        parser.add_argument("addrport", nargs="?", help="a port, or an address and a port")
        parser.add_argument("--noreload", action="store_true", help="do not watch the code")
        parser.add_argument("--ipv6", "-6", action="store_true", help="the default is [::1]:8000")
        parser.add_argument(
            "--nothreading", action="store_true", help="one worker thread for sync views"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Become the server."""
        arguments = ["serve", "--bind", _address(options["addrport"], options["ipv6"])]
        arguments.append("--no-reload" if options["noreload"] else "--reload")
        if options["nothreading"]:
            arguments += ["--threads", "1"]
        become(arguments)


def _address(given: str | None, ipv6: bool) -> str:
    """What Django takes for ``addrport``, as ``--bind`` takes it."""
    host, colon, port = (given or "8000").rpartition(":")
    if not colon:
        host = "::1" if ipv6 else "127.0.0.1"
    host = "0.0.0.0" if host == "0" else host.strip("[]")  # noqa: S104 - Django's short spelling
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
