"""Which exceptions are failures, and which only say that the client went away."""

from __future__ import annotations

from typing import Any, cast

import pytest
from tests.support.gateways import Recorder

from twogate.errors import ClientDisconnected
from twogate.exchange import Exchange, Peer
from twogate.gateway.failures import report_failure
from twogate.protocol.events import RequestHead

GONE = ClientDisconnected("gone")


def caused(error: Exception, by: Exception, *, context: bool = False) -> Exception:
    if context:
        error.__context__ = by
    else:
        error.__cause__ = by
    return error


LOOP = ValueError("its own cause, by way of another")
LOOP.__cause__ = caused(KeyError("other"), LOOP)


@pytest.mark.parametrize(
    ("error", "told_when_gone"),
    [
        (GONE, False),
        (caused(ValueError("translated"), GONE), False),
        (caused(ValueError("translated"), GONE, context=True), False),
        (ExceptionGroup("both", [GONE, caused(ValueError("too"), GONE)]), False),
        (ExceptionGroup("one is a failure", [GONE, ValueError("own")]), True),
        (ValueError("own"), True),
        (OSError("some other"), True),
        (LOOP, True),
    ],
)
@pytest.mark.parametrize("gone", [True, False])
def test_only_a_client_that_is_gone_excuses(
    error: BaseException, told_when_gone: bool, gone: bool
) -> None:
    head = RequestHead("GET", b"/", b"", "1.1", [])
    exchange = Exchange(head, Peer(None, ("", None)), cast(Any, None))
    exchange.disconnected = gone
    recorder = Recorder()
    report_failure(recorder, exchange, error)
    assert recorder.failures == ([error] if told_when_gone or not gone else [])
