"""Requests of browsers, well-formed or not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twogate.realtime import wire
from twogate.realtime.wire import BadRequest, Ping, Subscribe, Unsubscribe, parse

topics = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
    min_size=1, max_size=wire.MAX_TOPICS, unique=True,
)  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["subscribe", "unsubscribe", "ping"]) | anything,
        "topics": topics | anything,
        "after": st.integers(-2, 1 << 60) | anything,
        "presence": anything,
        "more": anything,
    },
)


@given(topics, st.none() | st.integers(0, (1 << 53) - 1), st.booleans())
def test_what_a_client_says_is_understood(
    names: list[str], after: int | None, presence: bool
) -> None:
    value = {"type": "subscribe", "topics": names, "after": after, "presence": presence}
    assert parse(json.dumps(value)) == Subscribe(names, after, presence)
    assert parse(json.dumps({"type": "unsubscribe", "topics": names})) == Unsubscribe(names)


def test_what_may_be_left_out() -> None:
    assert parse('{"type":"subscribe","topics":["a","a"]}') == Subscribe(["a"], None, False)
    assert parse('{"type":"ping","more":1}') == Ping()


@given(st.text() | anything.map(json.dumps) | fields.map(json.dumps))
@example("[" * 60_000)
@example("1" * 60_000)
@example('{"type":"subscribe","topics":["\\ud800"]}')
def test_anything_else_is_refused_with_a_reason_that_fits(text: str) -> None:
    try:
        request = parse(text)
    except BadRequest as error:
        assert 0 < len(str(error).encode("ascii")) <= 123
    else:
        assert isinstance(request, Subscribe | Unsubscribe | Ping)
        if not isinstance(request, Ping):
            assert 0 < len(request.topics) <= wire.MAX_TOPICS
            "".join(request.topics).encode()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("5", "JSON object"),
        ("{}", '"type"'),
        ('{"type":"subscribe"}', "list"),
        ('{"type":"subscribe","topics":[]}', "list"),
        ('{"type":"subscribe","topics":"a"}', "list"),
        ('{"type":"unsubscribe","topics":[""]}', "1 to 200"),
        ('{"type":"unsubscribe","topics":[5]}', "1 to 200"),
        (json.dumps({"type": "subscribe", "topics": [str(n) for n in range(51)]}), "at most 50"),
        ('{"type":"subscribe","topics":["a"],"after":-1}', "number of a message"),
        ('{"type":"subscribe","topics":["a"],"after":true}', "number of a message"),
        ('{"type":"subscribe","topics":["a"],"after":9007199254740992}', "number of a message"),
        (" " * 70_000, "at most 65536"),
    ],
)
def test_each_error_names_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        parse(text)


def test_what_the_server_says_is_json() -> None:
    said: list[Any] = [
        wire.subscribed({"a": 5}), wire.reset("a"), wire.denied("a", "no"), wire.pong(),
        wire.here('"', ["1", '{"b":2}']), wire.moved("a", [], ["null"]),
    ]  # fmt: skip
    assert [json.loads(text) for text in said] == [
        {"type": "subscribed", "topics": {"a": 5}},
        {"type": "reset", "topic": "a"},
        {"type": "denied", "topic": "a", "reason": "no"},
        {"type": "pong"},
        {"type": "presence", "topic": '"', "here": [1, {"b": 2}]},
        {"type": "presence", "topic": "a", "joined": [], "left": [None]},
    ]
