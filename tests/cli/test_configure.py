from __future__ import annotations

import re

import pytest
from tests.support.shell import PROJECT, Shell, says

from twogate.config import OPTIONS


def test_each_value_and_where_it_came_from(shell: Shell) -> None:
    shell.write({"pyproject.toml": "[tool.twogate]\nthreads = 8\nbind = ['8001']\n"})
    shell.environment["TWOGATE_TIMEOUT"] = "7"
    shell.environment["TWOGATE_TIMEOUTS"] = "7"
    done = shell("serve", "--print-config", "-w", "3", "--no-server-header")
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert done.returncode == 0
    assert len(rows) == len(OPTIONS)
    assert re.fullmatch(r"workers +3 +command line", rows["workers"])
    assert re.fullmatch(r"server-header +off +command line", rows["server-header"])
    assert re.fullmatch(r"timeout +7 +TWOGATE_TIMEOUT", rows["timeout"])
    assert re.fullmatch(r"threads +8 +/.*/pyproject.toml", rows["threads"])
    assert re.fullmatch(r"bind +127.0.0.1:8001 +/.*/pyproject.toml", rows["bind"])
    assert re.fullmatch(r"keep-alive +5 +default", rows["keep-alive"])
    assert "TWOGATE_TIMEOUTS is set but is no option; did you mean TWOGATE_TIMEOUT?" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["serve", "-w", "two"], ["--workers = 'two' (from command line)", "whole number"]),
        (["serve", "-b", "here:there"], ["--bind", "host:port"]),
        (["serve", "shop:app"], ["--wsgi shop:app or --asgi shop:app"]),
        (["serve", "my-site"], ["--settings = 'my-site'", "dotted name"]),
        (["serve", "no/such/folder"], ["no/such/folder", "No such file"]),
        (["serve", ".", "--chdir", "."], ["--chdir; give one of the two"]),
    ],
)
def test_wrong_use_is_told_in_one_message(
    shell: Shell, arguments: list[str], parts: list[str]
) -> None:
    says(shell(*arguments), 2, "error:", *parts)


def test_a_bad_file_is_named(shell: Shell) -> None:
    shell.write({"pyproject.toml": "[tool.twogate]\nworker = 8\n"})
    says(shell("serve"), 2, "pyproject.toml", "no such option; did you mean workers?")


def test_a_folder_and_settings_can_be_named(shell: Shell) -> None:
    shell.write({f"below/{name}": content for name, content in PROJECT.items()})
    shell.write({"below/mysite/other.py": "from mysite.settings import *\nDEBUG = False\n"
                 "ALLOWED_HOSTS = ['127.0.0.1']\n"})  # fmt: skip
    with shell.serving("below", "--settings", "mysite.other", "-w", "0") as served:
        assert served.get("/")[1:] == ("page", "")
