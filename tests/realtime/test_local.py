"""The layer as Channels specifies it and as its users need it: processes, loops and threads."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from channels.consumer import AsyncConsumer
from channels.exceptions import ChannelFull, MessageTooLarge
from channels.layers import channel_layers, get_channel_layer
from django.test import override_settings

from twogate.errors import ConfigError
from twogate.realtime import LocalChannelLayer, local
from twogate.realtime.store import Busy

from .conftest import (
    DEADLINE,
    QUIET,
    ROOT,
    MakeLayer,
    StartProcess,
    descriptors,
    run,
    sockets,
    wait_until,
)  # fmt: skip

Message = dict[str, Any]


def numbered(number: int) -> Message:
    return {"type": "test", "number": number}


def layer_threads() -> int:
    return sum(thread.name == "twogate-realtime" for thread in threading.enumerate())


async def nothing_comes(layer: LocalChannelLayer, channel: str) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(layer.receive(channel), QUIET)


# The specification


@pytest.mark.parametrize(
    "message",
    [
        {"type": "a", "bytes": b"\x00\xff", "text": "é", "int": -(2**63), "float": 1.5},
        {"type": "a", "none": None, "bool": True, "list": [1, [2]], "dict": {"b": {}}},
        {"type": "a", "by number": {1: 2}},
        {"type": "a", "text": "x" * (1 << 20)},
    ],
    ids=["scalars", "containers", "keys", "a megabyte"],
)  # fmt: skip
def test_messages_arrive_as_they_were(
    layer: LocalChannelLayer, make_layer: MakeLayer, message: Message
) -> None:
    other = make_layer()

    async def main() -> None:
        channel = await layer.new_channel()
        for sender in (layer, other):
            await sender.send(channel, message)
            assert await layer.receive(channel) == message
            await sender.send("named", message)
            assert await layer.receive("named") == message

    run(main())


def test_receivers_of_a_group_do_not_share_a_message(layer: LocalChannelLayer) -> None:
    async def main() -> None:
        channels = [await layer.new_channel() for _ in range(2)]
        message = {"type": "a", "list": [1]}
        for channel in channels:
            await layer.group_add("g", channel)
        await layer.group_send("g", message)
        message["type"] = "changed later"
        first = await layer.receive(channels[0])
        first["list"].append(2)
        assert await layer.receive(channels[1]) == {"type": "a", "list": [1]}

    run(main())


def test_capacity_is_by_channel_and_by_pattern(make_layer: MakeLayer) -> None:
    layer = make_layer(capacity=3, channel_capacity={"tiny*": 1, "ti*": 2})

    async def main() -> None:
        for channel, capacity in (("normal", 3), ("tiny.1", 1), ("tiger", 2)):
            mine = await layer.new_channel(f"{channel}.")
            for target in (channel, mine):
                for number in range(capacity):
                    await layer.send(target, numbered(number))
                with pytest.raises(ChannelFull, match=target):
                    await layer.send(target, numbered(9))
        assert layer.statistics().refused == 6

    run(main())


def test_a_group_never_says_that_it_is_full(make_layer: MakeLayer) -> None:
    layer = make_layer(capacity=1)

    async def main() -> None:
        full, roomy = await layer.new_channel(), await layer.new_channel()
        for channel in (full, roomy, "named"):
            await layer.group_add("g", channel)
        await layer.group_send("g", numbered(1))
        assert await layer.receive(roomy) == numbered(1)
        await layer.group_send("g", numbered(2))
        assert await layer.receive(roomy) == numbered(2)
        assert layer.statistics().dropped["capacity"] == 2

    run(main())


def test_a_message_that_is_too_large_is_told_apart(make_layer: MakeLayer) -> None:
    layer = make_layer(max_message_size=1000)

    async def main() -> None:
        channel = await layer.new_channel()
        await layer.send(channel, {"type": "x" * 900})
        for target in (channel, "named"):
            with pytest.raises(MessageTooLarge, match="1009 bytes; max_message_size is 1000"):
                await layer.send(target, {"type": "x" * 1000})
        with pytest.raises(MessageTooLarge):
            await layer.group_send("g", {"type": "x" * 1000})

    run(main())


@pytest.mark.parametrize("name", ["=+135!", "é", "", "x" * 100, None])
def test_bad_names_are_refused(layer: LocalChannelLayer, name: Any) -> None:
    async def main() -> None:
        mine = await layer.new_channel()
        for attempt in (
            layer.send(name, {}), layer.receive(name), layer.new_channel(f"{name}!"),
            layer.group_add(name, mine), layer.group_add("g", name), layer.group_send(name, {}),
            layer.group_discard(name, mine), layer.group_discard("g", name),
        ):  # fmt: skip
            with pytest.raises(TypeError):
                await attempt

    run(main())


def test_what_msgpack_cannot_hold_is_the_senders_fault(layer: LocalChannelLayer) -> None:
    with pytest.raises(TypeError):
        run(layer.group_send("g", {"type": "a", "object": object()}))


def test_only_its_own_process_receives_from_a_channel(
    layer: LocalChannelLayer, make_layer: MakeLayer
) -> None:
    async def main() -> None:
        with pytest.raises(AssertionError, match="another process"):
            await make_layer().receive(await layer.new_channel())

    run(main())


def test_messages_and_memberships_expire(make_layer: MakeLayer) -> None:
    layer = make_layer(expiry=0.05, group_expiry=0.3)

    async def main() -> None:
        channel = await layer.new_channel()
        for target in (channel, "named"):
            await layer.send(target, numbered(1))
            await layer.group_add("g", target)
        await asyncio.sleep(0.1)
        for target in (channel, "named"):
            await layer.send(target, numbered(2))
            assert await layer.receive(target) == numbered(2)
        await layer.group_send("g", numbered(3))
        for target in (channel, "named"):
            assert await layer.receive(target) == numbered(3)
        await asyncio.sleep(0.3)
        await layer.group_send("g", numbered(4))
        for target in (channel, "named"):
            await nothing_comes(layer, target)

    run(main())
    assert layer.statistics().dropped["expired"] == 2


def test_flush_forgets_and_goes_on(layer: LocalChannelLayer, make_layer: MakeLayer) -> None:
    other = make_layer()

    async def main() -> None:
        channel = await other.new_channel()
        for target in (channel, "named"):
            await other.group_add("g", target)
        await layer.group_send("g", numbered(1))
        await layer.flush()
        await layer.group_send("g", numbered(2))
        await layer.send(channel, numbered(3))
        await layer.send("named", numbered(4))
        assert await other.receive(channel) == numbered(3)
        assert await other.receive("named") == numbered(4)

    run(main())


def test_a_channel_without_a_home_gives_each_message_to_one(
    layer: LocalChannelLayer, make_layer: MakeLayer
) -> None:
    others = [make_layer() for _ in range(3)]
    count = 30

    async def main() -> None:
        got: list[int] = []

        async def work(worker: LocalChannelLayer) -> None:
            while True:
                got.append((await worker.receive("jobs"))["number"])

        tasks = [asyncio.create_task(work(worker)) for worker in (*others, layer)]
        for number in range(count):
            await layer.send("jobs", numbered(number))
        while len(got) < count:
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert sorted(got) == list(range(count))

    run(main())


def test_a_channel_in_a_group_without_a_home_gets_it_once(
    layer: LocalChannelLayer, make_layer: MakeLayer
) -> None:
    other = make_layer()

    async def main() -> None:
        await layer.group_add("g", "named")
        await other.group_add("g", "named")
        await layer.group_send("g", numbered(1))
        assert await other.receive("named") == numbered(1)
        await other.group_discard("g", "named")
        await layer.group_send("g", numbered(2))
        await nothing_comes(layer, "named")

    run(main())


def test_whoever_is_not_told_of_a_stored_message_finds_it(
    layer: LocalChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "POLL", 0.05)

    async def main() -> None:
        task = asyncio.create_task(layer.receive("jobs"))
        await asyncio.sleep(0.01)
        # As by a sender that was killed before it could tell.
        layer.bus.store.put("jobs", 60, layer.serialize(numbered(1)), 5)
        assert await task == numbered(1)

    run(main())


def test_a_held_store_makes_nobody_wait_for_long(
    layer: LocalChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    monkeypatch.setattr(local, "PATIENCE", 0.1)
    run(layer.send("jobs", numbered(1)))
    holder = sqlite3.connect(layer.bus.store._path, isolation_level=None, check_same_thread=False)
    run(layer.group_add("g", "jobs"))
    holder.execute("BEGIN EXCLUSIVE")

    async def main() -> None:
        receiving = asyncio.create_task(layer.receive("jobs"))
        with pytest.raises(ChannelFull):
            await layer.send("jobs", numbered(2))
        await layer.group_send("g", numbered(3))
        assert layer.statistics().dropped["capacity"] == 1
        with pytest.raises(Busy):
            await layer.group_add("h", "jobs")
        holder.close()
        assert await receiving == numbered(1)

    run(main())


# Loops and threads


def test_loops_come_and_go_and_leave_nothing(layer: LocalChannelLayer, folder: Path) -> None:
    channel = async_to_sync(layer.new_channel)()
    async_to_sync(layer.group_add)("g", channel)
    before, threads = descriptors(), layer_threads()
    for number in range(20):
        async_to_sync(layer.group_send)("g", numbered(number))
        assert async_to_sync(layer.receive)(channel) == numbered(number)
        async_to_sync(layer.send)("jobs", numbered(number))
        assert async_to_sync(layer.receive)("jobs") == numbered(number)
    assert descriptors() == before
    assert layer_threads() == threads
    assert len(sockets(folder)) == 1


def test_threads_reach_a_loop_that_waits(layer: LocalChannelLayer) -> None:
    async def main() -> None:
        channel = await layer.new_channel()
        await layer.group_add("g", channel)
        for number in range(20):
            receiving = asyncio.create_task(layer.receive(channel))
            await asyncio.sleep(0)
            await asyncio.to_thread(async_to_sync(layer.group_send), "g", numbered(number))
            assert await receiving == numbered(number)

    run(main())


def test_a_layer_that_is_forgotten_leaves_nothing(make_layer: MakeLayer, folder: Path) -> None:
    make_layer()  # Django is configured
    before = descriptors()

    def use() -> None:
        layer = LocalChannelLayer(folder=folder)
        channel = async_to_sync(layer.new_channel)()
        async_to_sync(layer.send)(channel, numbered(1))

    use()
    gc.collect()
    wait_until(lambda: descriptors() == before)
    assert sockets(folder) == []


def test_a_closed_layer_begins_anew(layer: LocalChannelLayer, folder: Path) -> None:
    old = async_to_sync(layer.new_channel)()
    async_to_sync(layer.close)()
    async_to_sync(layer.close)()
    assert sockets(folder) == []
    new = async_to_sync(layer.new_channel)()
    async_to_sync(layer.send)(new, numbered(1))
    assert async_to_sync(layer.receive)(new) == numbered(1)
    async_to_sync(layer.send)(old, numbered(2))
    assert layer.statistics().dropped["gone"] == 1


# Processes


def test_messages_go_from_process_to_process_in_order(
    layer: LocalChannelLayer, start_process: StartProcess
) -> None:
    a, b = start_process(capacity=1000), start_process(capacity=1000)
    for process in (a, b):
        process.do("join", group="g")
    a.do("group_send", group="g", message={"from": "a"}, count=300)
    b.do("group_send", group="g", message={"from": "b"}, count=300)
    run(layer.group_send("g", {"from": "here", "number": 0}))
    for process in (a, b):
        wait_until(lambda process=process: len(process.received) == 601)  # type: ignore[misc]
        for sender in "ab":
            theirs = [m["number"] for m in process.received if m["from"] == sender]
            assert theirs == list(range(300))


def test_a_script_that_ends_at_once_has_sent_all(
    layer: LocalChannelLayer, start_process: StartProcess, folder: Path
) -> None:
    script = """
import sys
from asgiref.sync import async_to_sync
from django.conf import settings
settings.configure(SECRET_KEY=sys.argv[1], CHANNEL_LAYERS={"default": {
    "BACKEND": "twogate.realtime.LocalChannelLayer", "CONFIG": {"folder": sys.argv[2]}}})
from channels.layers import get_channel_layer
send = async_to_sync(get_channel_layer().group_send)
for number in range(40):
    send("g", {"type": "test", "number": number, "text": "x" * 100_000})
"""
    from django.conf import settings

    receiver = start_process()
    receiver.do("join", group="g")
    subprocess.run(
        [sys.executable, "-c", script, settings.SECRET_KEY, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=True, timeout=DEADLINE,
    )  # fmt: skip
    wait_until(lambda: len(receiver.received) == 40)
    assert [m["number"] for m in receiver.received] == list(range(40))
    assert len(sockets(folder)) == 1


def test_who_is_killed_harms_nobody_and_is_forgotten(
    layer: LocalChannelLayer, start_process: StartProcess, folder: Path
) -> None:
    victims, witness = [start_process() for _ in range(2)], start_process()
    for process in (*victims, witness):
        channel = process.do("join", group="g")
    channels = [process.do("join", group="h") for process in victims]
    run(layer.group_send("g", {"type": "test", "number": 0}))
    victims[0].tell("group_send", group="g", message={"from": "victim"}, count=10_000)
    wait_until(lambda: len(witness.received) > 20)
    for victim in victims:
        victim.kill()
    assert len(sockets(folder)) == 3

    async_to_sync(layer.send)(channels[0], numbered(1))
    run(layer.group_send("g", {"type": "test", "last": True}))
    wait_until(lambda: "last" in witness.received[-1])
    assert layer.statistics().dropped["gone"] == 1
    assert [path.stem for path in sockets(folder)] == [channel.rpartition("!")[0][-12:]]


def test_who_is_stopped_makes_no_sender_wait_or_grow(
    make_layer: MakeLayer, start_process: StartProcess
) -> None:
    layer = make_layer(max_message_size=1 << 20)
    options = {"max_message_size": 1 << 20, "expiry": 1.0}
    stopped, witness = start_process(**options), start_process(capacity=1000)
    for process in (stopped, witness):
        channel = process.do("join", group="g")
    stopped_channel = stopped.do("join", group="h")
    stopped.stop()
    message = {"type": "test", "text": "x" * 100_000}

    async def main() -> None:
        slowest = 0.0
        for _ in range(200):
            begun = time.perf_counter()
            await layer.group_send("g", message)
            slowest = max(slowest, time.perf_counter() - begun)
            while layer.statistics().backlog > 5 << 20:  # the witness, too, needs time
                await asyncio.sleep(0.001)
        assert slowest < 0.5
        with pytest.raises(ChannelFull):
            while True:
                await layer.send(stopped_channel, message)

    run(main())
    statistics = layer.statistics()
    assert statistics.dropped["backlog"] > 50
    assert statistics.backlog <= (4 << 20) + (1 << 20)
    assert channel
    wait_until(lambda: len(witness.received) == 200)
    stopped.go_on()
    wait_until(lambda: layer.statistics().backlog == 0)
    run(layer.group_send("g", numbered(1)))
    wait_until(lambda: stopped.received and stopped.received[-1] == numbered(1))


def test_a_flood_leaves_others_served(make_layer: MakeLayer, start_process: StartProcess) -> None:
    layer = make_layer(capacity=10)
    flooder, sender = start_process(), start_process()

    async def main() -> None:
        for _ in range(20):
            await layer.group_add("flood", await layer.new_channel())  # who do not receive
        channel = await layer.new_channel()
        await layer.group_add("g", channel)
        await asyncio.to_thread(flooder.do, "flood", group="flood", size=1000)
        while layer.statistics().dropped["capacity"] < 1000:
            await asyncio.sleep(0.01)
        for number in range(10):
            await asyncio.to_thread(sender.do, "group_send", group="g", message={"n": number})
            assert (await layer.receive(channel))["n"] == number
        assert layer.statistics().queued <= 20 * 10

    run(main())


def test_a_forked_process_is_another_node(layer: LocalChannelLayer, folder: Path) -> None:
    channel = async_to_sync(layer.new_channel)()
    before = sockets(folder)
    script = """
import asyncio, os, sys, warnings
from asgiref.sync import async_to_sync
from django.conf import settings
settings.configure(SECRET_KEY=sys.argv[1])
from twogate.realtime import LocalChannelLayer
layer = LocalChannelLayer(folder=sys.argv[2])
channel = async_to_sync(layer.new_channel)()
async_to_sync(layer.group_add)("g", channel)
warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads is the point
child = os.fork()
if child == 0:
    async_to_sync(layer.send)(channel, {"from": "child"})
    async_to_sync(layer.group_send)("g", {"from": "child, to all"})
    assert async_to_sync(layer.new_channel)().split("!")[0] != channel.split("!")[0]
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
receive = async_to_sync(layer.receive)
print(receive(channel)["from"], "|", receive(channel)["from"])
"""
    from django.conf import settings

    done = subprocess.run(
        [sys.executable, "-c", script, settings.SECRET_KEY, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=True, timeout=DEADLINE,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "child | child, to all\n", done.stderr
    assert sockets(folder) == before
    assert channel


# The project


def test_it_is_used_by_its_name_alone(
    monkeypatch: pytest.MonkeyPatch, make_layer: MakeLayer, folder: Path
) -> None:
    make_layer()
    monkeypatch.setattr("twogate.realtime.folder.default_parent", lambda: folder / "default")
    backend = {"BACKEND": "twogate.realtime.LocalChannelLayer"}

    class Consumer(AsyncConsumer):  # type: ignore[misc]
        async def begin(self, message: Message) -> None:
            await self.channel_layer.group_add("g", self.channel_name)
            await self.send({"type": "begun"})

        async def chat(self, message: Message) -> None:
            await self.send({"type": "said", "text": message["text"]})

    async def main() -> None:
        application: Any = ApplicationCommunicator(Consumer(), {"type": "test"})  # type: ignore[no-untyped-call]
        await application.send_input({"type": "begin"})
        assert await application.receive_output() == {"type": "begun"}
        layer = get_channel_layer()
        await layer.group_send("g", {"type": "chat", "text": "hello"})
        assert await application.receive_output() == {"type": "said", "text": "hello"}
        application.stop()
        await layer.close()

    with override_settings(CHANNEL_LAYERS={"default": backend}):
        assert channel_layers.backends == {}
        run(main())
        assert list(channel_layers.backends) == ["default"]


def test_projects_and_names_are_apart(make_layer: MakeLayer) -> None:
    here, named = make_layer(), make_layer(name="other")
    with override_settings(SECRET_KEY="another project's"):
        elsewhere = make_layer()
        elsewhere.statistics()  # it is made at its first use

    async def main() -> None:
        channels = []
        for layer in (here, named, elsewhere):
            channels.append(await layer.new_channel())
            await layer.group_add("g", channels[-1])
        await here.group_send("g", numbered(1))
        assert await here.receive(channels[0]) == numbered(1)
        await nothing_comes(named, channels[1])
        await nothing_comes(elsewhere, channels[2])

    run(main())


def test_an_unsafe_folder_is_refused_with_its_reason(
    layer: LocalChannelLayer, folder: Path
) -> None:
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match=r"folder = .*others can write to .*chmod go-w"):
        run(layer.new_channel())


def test_options_that_do_not_exist_are_refused() -> None:
    with pytest.raises(TypeError, match="hosts"):
        LocalChannelLayer(hosts=["redis://localhost"])  # type: ignore[call-arg]
