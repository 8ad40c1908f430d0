from __future__ import annotations

import inspect
import pickle
import typing
from pathlib import Path
from typing import Any

import pytest

from twogate.config import (
    GROUPS,
    OPTIONS,
    Config,
    find_file,
    read_file,
    resolve,
)
from twogate.errors import ConfigError

BY_NAME = {option.name: option for option in OPTIONS}

BAD: dict[str, list[Any]] = {
    "settings": ["my site", "a..b", 3],
    "wsgi": ["a:", ":app", "a b:c", "a/b.py:app"],
    "asgi": ["a:b:c"],
    "gateway": ["both", 1],
    "lifespan": ["maybe"],
    "bind": ["::1:8000", "host:port", "host:70000", "unix:", "fd://x", "[::1", "a b:80", "", 8000],
    "backlog": ["0", "many", 1.5],
    "server_header": ["perhaps", 2, 0.5],
    "workers": ["-1", "two", True, 2.5, "9999"],
    "threads": ["0", 0],
    "max_requests": ["-5"],
    "timeout": ["-1", "soon", "nan", "inf", True, [1]],
    "limit_request_body": ["10X", "-1", "1.5M", True],
    "limit_request_fields": ["10K"],
    "access_log_format": ["xml"],
    "access_logfile": [3],
    "log_level": ["loud"],
    "reload_dir": [3, [1]],
    "websocket_origins": ["", "example.com", "https://", "https://a.example/path", "null", [1], 5],
    "websocket_per_address": ["-1", "many"],
    "websocket_close_window": ["-1", "soon"],
}


def test_every_field_with_a_value_for_users_is_an_option() -> None:
    private = {"warnings", "trace_folder", "_sources"}
    names = set(inspect.get_annotations(Config)) - private
    assert names == set(BY_NAME)


def test_the_defaults_pass_their_own_checks_and_have_the_annotated_types() -> None:
    types = typing.get_type_hints(Config)
    for option in OPTIONS:
        checked = option.check(option.default)
        assert checked == option.default, option.name
        origin = typing.get_origin(types[option.name])
        allowed = typing.get_args(types[option.name]) or (types[option.name],)
        if origin is list:
            assert isinstance(checked, list), option.name
        else:
            assert type(checked) in allowed, option.name


def test_every_option_is_told_in_a_group_that_exists_and_has_help() -> None:
    for option in OPTIONS:
        assert option.group in GROUPS, option.name
        assert option.help.endswith("."), option.name
        assert option.is_switch != bool(option.metavar), option.name


def test_flags_variables_and_keys_are_spelled_from_the_name() -> None:
    option = BY_NAME["graceful_timeout"]
    assert (option.flag, option.environment, option.key) == (
        "--graceful-timeout",
        "TWOGATE_GRACEFUL_TIMEOUT",
        "graceful-timeout",
    )


def test_options_are_spelled_as_in_gunicorn() -> None:
    flags = {flag for option in OPTIONS for flag in (option.flag, *option.aliases)}
    assert flags >= {
        "-b", "--bind", "-w", "--workers", "--threads", "-t", "--timeout", "--graceful-timeout",
        "--keep-alive", "--max-requests", "--max-requests-jitter", "--backlog", "--chdir",
        "--limit-request-line", "--limit-request-fields", "--limit-request-field_size",
        "--access-logfile", "--log-level", "--reload",
    }  # fmt: skip


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_default() -> None:
    file = {"threads": 1, "workers": 1, "backlog": 1}
    environment = {"TWOGATE_THREADS": "2", "TWOGATE_WORKERS": "2"}
    config = resolve({"threads": "3"}, environment, file, Path("pyproject.toml"))
    assert (config.threads, config.workers, config.backlog, config.timeout) == (3, 2, 1, 30.0)
    sources = [config.source(name) for name in ("threads", "workers", "backlog", "timeout")]
    assert sources == ["command line", "TWOGATE_WORKERS", "pyproject.toml", "default"]


def test_an_empty_variable_is_no_value() -> None:
    assert resolve({}, {"TWOGATE_WORKERS": ""}).source("workers") == "default"


def test_asking_for_the_source_of_no_option_is_a_bug() -> None:
    with pytest.raises(KeyError):
        Config().source("colour")


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("8000", "127.0.0.1:8000"),
        (":8000", "0.0.0.0:8000"),
        ("localhost", "localhost:8000"),
        ("example.org:80", "example.org:80"),
        ("[::1]", "[::1]:8000"),
        ("[::1]:0", "[::1]:0"),
        ("unix:run/a.sock", "unix:run/a.sock"),
        ("unix:///run/a.sock", "unix:/run/a.sock"),
        ("fd://3", "fd://3"),
    ],
)
def test_addresses_get_their_full_spelling(given: str, address: str) -> None:
    assert resolve({"bind": [given]}, {}).bind == [address]


def test_lists_are_written_with_commas_in_the_environment() -> None:
    config = resolve({}, {"TWOGATE_BIND": "8000, unix:/a", "TWOGATE_RELOAD_DIR": "a,b"})
    assert config.bind == ["127.0.0.1:8000", "unix:/a"]
    assert config.reload_dir == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "size"),
    [("0", 0), (8190, 8190), ("64K", 65536), ("10 MiB", 10 << 20), ("1g", 1 << 30)],
)
def test_sizes_have_units(given: object, size: int) -> None:
    assert resolve({"limit_request_body": given}, {}).limit_request_body == size


@pytest.mark.parametrize(
    ("word", "value"), [("on", True), ("NO", False), ("1", True), (False, False)]
)
def test_switches_have_words(word: object, value: bool) -> None:
    assert resolve({"reload": word}, {}).reload is value


def test_off_is_no_access_log() -> None:
    assert resolve({"access_logfile": "off"}, {}).access_logfile == ""


def test_the_name_of_an_application_may_be_left_out() -> None:
    assert resolve({"wsgi": "mysite.wsgi"}, {}).wsgi == "mysite.wsgi:application"


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in BAD.items() for v in values])
def test_a_bad_value_is_named_with_its_option_source_and_mend(name: str, value: object) -> None:
    option = BY_NAME[name]
    with pytest.raises(ConfigError) as caught:
        resolve({}, {}, {option.key: value}, Path("/site/pyproject.toml"))
    error = caught.value
    assert (error.option, error.value) == (option.key, value)
    assert error.source == "/site/pyproject.toml"
    assert error.message.startswith("It should be ")


def test_errors_are_spelled_as_the_user_spelled_the_option() -> None:
    with pytest.raises(ConfigError, match=r"--workers = 'two' \(from command line\)"):
        resolve({"workers": "two"}, {})
    with pytest.raises(ConfigError, match="TWOGATE_WORKERS = 'two'"):
        resolve({}, {"TWOGATE_WORKERS": "two"})


def test_an_unknown_key_in_the_file_is_an_error_that_suggests() -> None:
    with pytest.raises(ConfigError, match="did you mean graceful-timeout"):
        resolve({}, {}, {"gracefull-timeout": 3})


def test_a_table_in_the_file_is_no_value() -> None:
    with pytest.raises(ConfigError, match="not a table"):
        resolve({}, {}, {"workers": {"web": 3}})


def test_an_unknown_variable_is_a_warning_that_suggests() -> None:
    config = resolve({}, {"TWOGATE_WORKER": "3", "OTHER_WORKER": "3"})
    assert config.warnings == [
        "TWOGATE_WORKER is set but is no option; did you mean TWOGATE_WORKERS?"
    ]


def test_keys_may_have_underscores() -> None:
    assert resolve({}, {}, {"graceful_timeout": 3}).graceful_timeout == 3.0


def test_the_file_is_found_upward(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.twogate]\nworkers = 3\n")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    found = find_file(below)
    assert found == tmp_path / "pyproject.toml"
    assert read_file(found) == {"workers": 3}


@pytest.mark.parametrize("content", ["[project]\nname = 'x'\n", ""])
def test_a_file_without_our_table_is_empty(tmp_path: Path, content: str) -> None:
    (tmp_path / "pyproject.toml").write_text(content)
    assert read_file(tmp_path / "pyproject.toml") == {}


@pytest.mark.parametrize("content", [b"[tool.twogate", b"\xff", b"[tool]\ntwogate = 3\n"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pyproject.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"pyproject\.toml"):
        read_file(tmp_path / "pyproject.toml")


def test_configurations_do_not_share_lists_and_cross_processes() -> None:
    first, second = Config(), Config()
    first.bind.append("unix:/a")
    assert second.bind == ["127.0.0.1:8000"]
    config = resolve({"workers": "3"}, {})
    copied = pickle.loads(pickle.dumps(config))
    assert copied == config
    assert copied.source("workers") == "command line"
