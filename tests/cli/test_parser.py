from __future__ import annotations

import pytest
from tests.support.shell import Shell, says

from twogate import __version__


def test_the_version(shell: Shell) -> None:
    done = shell("--version")
    assert (done.returncode, done.stdout) == (0, f"twogate {__version__}\n")


def test_no_command_shows_what_there_is(shell: Shell) -> None:
    says(shell(), 2, "usage: twogate", "serve")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["serve", "--thraeds", "4"], ["no option --thraeds; did you mean --threads?"]),
        (["serve", "--worker=4"], ["no option --worker; did you mean --workers?"]),
        (["srve"], ["no command 'srve'; did you mean serve?"]),
        (["serve", "--workers"], ["expected one argument"]),
    ],
)
def test_what_was_probably_meant(shell: Shell, arguments: list[str], parts: list[str]) -> None:
    says(shell(*arguments), 2, "error:", *parts)
