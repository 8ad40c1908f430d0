"""publish() and the stream of events, in one process."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from tests.support.redis import redis_process

from twogate.realtime.feed import feed_of


def everything(request: HttpRequest, topic: str) -> bool:
    return True


async def public(request: HttpRequest, topic: str) -> bool:
    return topic.startswith("public.")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: the names of sockets may not be long."""
    with tempfile.TemporaryDirectory(prefix="tg-") as name:
        yield Path(name)


@pytest.fixture
def topics(
    urlconf: Callable[..., None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """The module, with a log of its own."""
    urlconf(TWOGATE_TOPICS={"folder": str(folder), "allow": f"{__name__}.everything"})
    from twogate.django import topics

    monkeypatch.setattr(topics, "_channel", topics._Channel())
    yield topics
    topics._channel.close()


class Reader:
    """What a response of the stream sends, event by event."""

    def __init__(self, response: Any) -> None:
        assert response.status_code == 200, response.content
        assert response.headers["Content-Type"] == "text/event-stream"
        self._pieces: AsyncIterator[bytes] = aiter(response)

    async def next(self) -> dict[str, str]:
        piece = await asyncio.wait_for(anext(self._pieces), 10)
        lines = piece.decode().strip().split("\n")
        return dict(line.split(": ", 1) for line in lines)

    async def data(self) -> Any:
        return json.loads((await self.next())["data"])

    async def close(self) -> None:
        await self._pieces.aclose()  # type: ignore[attr-defined]


async def open_stream(topics: Any, query: str, **headers: str) -> Reader:
    reader = Reader(await topics.events(RequestFactory().get(f"/?{query}", headers=headers)))
    assert await reader.next() == {"retry": "2000"}
    assert (await reader.next())["event"] == "subscribed"
    return reader


def test_subscribers_get_what_is_published(topics: Any) -> None:
    async def main() -> None:
        stream = await open_stream(topics, "topic=news&topic=room.5")
        topics.publish("room.5", {"text": "hé\n"})
        topics.publish("other", 1)
        await topics.apublish("news", [1, None])
        said = await stream.next()
        assert json.loads(said["data"]) == {
            "type": "message", "id": int(said["id"]), "topic": "room.5", "data": {"text": "hé\n"},
        }  # fmt: skip
        assert (await stream.data())["data"] == [1, None]
        await stream.close()

    asyncio.run(main())


def test_who_comes_back_goes_on_where_they_were(topics: Any) -> None:
    async def main() -> None:
        stream = await open_stream(topics, "topic=a")
        topics.publish("a", 1)
        last = (await stream.next())["id"]
        await stream.close()
        topics.publish("a", 2)
        for again in (
            await open_stream(topics, "topic=a", last_event_id=last),
            await open_stream(topics, f"topic=a&after={last}"),
        ):
            assert (await again.data())["data"] == 2
            await again.close()

    asyncio.run(main())


def test_a_page_can_say_from_where_its_browser_subscribes(topics: Any) -> None:
    async def main() -> None:
        topics.publish("a", 1)
        now = topics.position()
        topics.publish("a", 2)
        stream = await open_stream(topics, f"topic=a&after={now}")
        assert (await stream.data())["data"] == 2
        await stream.close()

    asyncio.run(main())


def test_each_topic_may_have_a_number_of_its_own(topics: Any) -> None:
    async def main() -> None:
        start = topics.position()
        for number in range(6):
            topics.publish("ab"[number % 2], number)
        stream = await open_stream(
            topics, f"topic=a&after={start}&topic=b&after={start + 2}&topic=c&after="
        )
        assert [(await stream.data())["data"] for _ in range(5)] == [0, 2, 3, 4, 5]
        await stream.close()

    asyncio.run(main())


def test_what_may_not_be_had_is_told_beside_what_may(topics: Any, folder: Path) -> None:
    from django.test import override_settings

    async def main() -> None:
        response = await topics.events(RequestFactory().get("/?topic=secret&topic=public.a"))
        reader = Reader(response)
        assert await reader.next() == {"retry": "2000"}
        assert (await reader.next())["event"] == "denied"
        assert json.loads((await reader.next())["data"])["topics"].keys() == {"public.a"}
        await reader.close()

    with override_settings(TWOGATE_TOPICS={"folder": str(folder), "allow": f"{__name__}.public"}):
        asyncio.run(main())


def test_a_stream_tells_who_is_here(topics: Any) -> None:
    from django.conf import settings
    from django.test import override_settings

    async def main() -> None:
        stream = await open_stream(topics, "topic=a&presence=1")
        assert await stream.data() == {"type": "presence", "topic": "a", "here": ["guest"]}
        assert topics.here("a") == ["guest"]
        await stream.close()

    extra = {"presence": f"{__name__}.guest"}
    with override_settings(TWOGATE_TOPICS={**settings.TWOGATE_TOPICS, **extra}):
        asyncio.run(main())


async def guest(request: HttpRequest, topic: str) -> str:
    return "guest"


def test_a_stream_ends_with_when_to_come_back(topics: Any) -> None:
    async def main() -> None:
        stream = await open_stream(topics, "topic=a")
        topics.feed_of(*topics._channel.open()).close()
        assert 100 <= int((await stream.next())["retry"]) <= 1600
        with pytest.raises(StopAsyncIteration):
            await stream.next()

    asyncio.run(main())


def test_who_was_away_for_too_long_is_told(topics: Any) -> None:
    from django.test import override_settings

    async def main() -> None:
        first = topics._channel.open()[0].append("a", "first")
        for number in range(200):
            topics.publish("a", number)
        stream = await open_stream(topics, "topic=a", last_event_id=str(first))
        assert await stream.next() == {"event": "reset", "data": '{"type":"reset","topic":"a"}'}
        assert (await stream.data())["data"] > 0
        await stream.close()

    from django.conf import settings

    with override_settings(TWOGATE_TOPICS={**settings.TWOGATE_TOPICS, "keep": 10}):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("", 400, "Name at least one topic"),
        ("topic=", 400, "1 to 200"),
        ("topic=" + "x" * 201, 400, "1 to 200"),
        ("&".join(f"topic={n}" for n in range(51)), 400, "50 topics"),
        ("topic=a&topic=b&topic=c&after=1&after=2", 400, "once for each"),
        ("topic=twogate.presence.a", 403, "server's own"),
        ("topic=a&after=-1", 400, "number of the last event"),
        ("topic=a&after=%D9%A3", 400, "number of the last event"),
        ("topic=a&after=" + "9" * 30, 400, "number of the last event"),
    ],
)
def test_bad_questions(topics: Any, query: str, status: int, says: str) -> None:
    response = asyncio.run(topics.events(RequestFactory().get(f"/?{query}")))
    assert response.status_code == status
    assert says in response.content.decode()


@pytest.mark.parametrize(("topic", "status"), [("public.a", 200), ("private", 403)])
def test_who_may_subscribe(topics: Any, folder: Path, topic: str, status: int) -> None:
    from django.test import override_settings

    async def ask() -> int:
        response = await topics.events(RequestFactory().get(f"/?topic={topic}"))
        if response.streaming:
            await Reader(response).close()
        return int(response.status_code)

    with override_settings(TWOGATE_TOPICS={"folder": str(folder), "allow": f"{__name__}.public"}):
        assert asyncio.run(ask()) == status


def test_nobody_may_subscribe_unless_somebody_says_so(
    topics: Any, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from django.test import override_settings

    with override_settings(TWOGATE_TOPICS={"folder": str(folder)}):
        response = asyncio.run(topics.events(RequestFactory().get("/?topic=a")))
    assert response.status_code == 403
    assert "TWOGATE_TOPICS has no 'allow'" in caplog.text


def test_a_transaction_is_waited_for(topics: Any) -> None:
    from django.db import connection, transaction

    log, _ = topics._channel.open()
    first = log.newest()

    def newest() -> int:
        return int(log.newest() - first)

    try:
        with transaction.atomic():
            topics.publish("a", 1)
            assert newest() == 0
            topics.publish("a", 2, on_commit=False)
            assert newest() == 1
        assert newest() == 2
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            topics.publish("a", 3)
            raise ZeroDivisionError
        assert newest() == 2
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("topic", "data", "error"),
    [
        ("a", object(), TypeError), ("a", "x" * (1 << 20), ValueError),
        ("", 1, ValueError), (5, 1, TypeError), ("twogate.x", 1, ValueError),
    ],
)  # fmt: skip
def test_what_cannot_be_published(topics: Any, topic: Any, data: Any, error: type) -> None:
    with pytest.raises(error):
        topics.publish(topic, data)


def test_a_message_that_cannot_be_written_is_counted_and_fails_nobody(
    topics: Any, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log, _ = topics._channel.open()
    with log._writer as connection:
        connection.execute("PRAGMA max_page_count = 1")  # a disk that is full
    for _ in range(50):
        topics.publish("a", "x" * 10_000)
    assert topics.statistics()["lost"] > 0
    assert "could not be published" in caplog.text


def test_over_redis_it_is_the_same(
    urlconf: Callable[..., None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from twogate.django import topics
    from twogate.realtime.redis_topics import RedisTopics

    async def main() -> None:
        stream = await open_stream(topics, "topic=a")
        topics.publish("a", 1)  # on the loop
        await topics.apublish("a", 2)
        found = [await stream.next() for _ in range(2)]
        # A loop hands over what it publishes, so the two need not keep their order.
        assert sorted(json.loads(each["data"])["data"] for each in found) == [1, 2]
        await stream.close()
        topics.publish("a", 3)
        back = await open_stream(topics, "topic=a", last_event_id=found[-1]["id"])
        assert (await back.data())["data"] == 3
        await back.close()
        old = await open_stream(topics, "topic=a&after=41")
        assert (await old.next())["event"] == "reset"
        await old.close()
        feed_of(*topics._channel.open()).close()
        await asyncio.to_thread(log.close)

    with redis_process() as redis:
        urlconf(TWOGATE_REALTIME_URL=redis.url, TWOGATE_TOPICS={"allow": f"{__name__}.everything"})
        monkeypatch.setattr(topics, "_channel", topics._Channel())
        log = topics._channel.open()[0]
        assert isinstance(log, RedisTopics)
        asyncio.run(main())
        redis.kill()
        topics.publish("a", 4)  # fails nobody
        assert topics.statistics() == {"lost": 1}
