"""``manage.py twogate …``: the same as ``twogate …``, with the settings of ``manage.py``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from twogate.management import become

__all__ = ["Command"]


class Command(BaseCommand):  # type: ignore[misc]
    """Passes its arguments on as they are."""

    help = "Does what the command twogate does; manage.py twogate --help lists it."
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """All that follows is for the other parser, ``--help`` too.

        :param argv: ``["manage.py", "twogate", …]``.
        """
        become(argv[2:])

    def handle(self, *args: Any, **options: Any) -> None:
        """For ``call_command("twogate", "check")``."""
        become([str(argument) for argument in args])

    def add_arguments(self, parser: Any) -> None:
        """Anything."""
        parser.add_argument("args", nargs="*")
