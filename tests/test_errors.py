from __future__ import annotations

import inspect
from http import HTTPStatus

import pytest

from twogate import errors
from twogate.errors import (
    ClientDisconnected,
    ConfigError,
    PeerError,
    ProjectError,
    TwogateError,
)


def test_every_exception_is_in_the_tree() -> None:
    classes = [
        c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__
    ]
    assert {c.__name__ for c in classes} == set(errors.__all__)
    assert all(issubclass(c, TwogateError) for c in classes)
    for c in classes:
        assert c.__name__ in (errors.__doc__ or "")


def test_a_configuration_error_names_option_value_source_and_mend() -> None:
    error = ConfigError("--workers", "two", "command line", "It should be a whole number.")
    assert str(error) == "--workers = 'two' (from command line): It should be a whole number."


def test_a_project_error_has_a_cause_and_a_mend() -> None:
    assert str(ProjectError("The cause.", "The mend.")) == "The cause.\nThe mend."
    assert str(ProjectError("The cause.")) == "The cause."


def test_a_peer_error_has_the_status_that_answers_it() -> None:
    error = PeerError(431, "Too many header fields.")
    assert error.status is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    assert str(error).startswith("431 ")


def test_a_disconnect_is_an_os_error_for_those_who_expect_one() -> None:
    with pytest.raises(OSError):
        raise ClientDisconnected
