"""Questions on Channels: consumers, routing, groups and channel layers."""

from twogate.lab.bank import (
    EASY,
    HARD,
    MEDIUM,
    choose_all,
    choose_one,
    find_line,
    order,
    prints,
    right,
    wrong,
)


@choose_one(
    EASY,
    "What happens when a consumer's `connect` runs `await self.accept()`?",
    [
        right(
            "The opening handshake is completed: the client's WebSocket is open from now on.",
            lambda f: f.before == [] and f.after == ["websocket.accept"],
        ),
        wrong(
            "The first message is accepted; the WebSocket was open before.",
            lambda f: "websocket.accept" in f.before,
        ),
        wrong("The client joins all groups.", lambda f: f.groups != 0),
        wrong("Nothing; it only silences a warning.", lambda f: f.after == []),
    ],
    hint="Up to then, the client's `new WebSocket(…)` is still waiting.",
    because=[
        "`connect` is called when the client's opening request has arrived.",
        "`accept()` sends the event `websocket.accept` to the server, which answers the client with"
        " 101.",
        "From here on both sides may send. Groups are joined by `group_add`, nothing else.",
    ],
    mistakes=["To leave `accept()` out of a `connect` that one has overridden: the client waits."],
)
def consumer_accepts():
    import asyncio

    from asgiref.testing import ApplicationCommunicator
    from channels.generic.websocket import AsyncWebsocketConsumer

    from twogate.lab.stage import site

    site(CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}})
    sent = []

    class Consumer(AsyncWebsocketConsumer):
        async def connect(self):
            print("before:", sent)
            await self.accept()
            print("after:", sent)
            print("groups:", len(self.channel_layer.groups))

    async def application(scope, receive, send):
        async def noting(event):
            sent.append(event["type"])
            await send(event)

        await Consumer.as_asgi()(scope, receive, noting)

    async def main():
        client = ApplicationCommunicator(application, {"type": "websocket", "path": "/"})
        await client.send_input({"type": "websocket.connect"})
        await client.receive_output(5)
        await client.send_input({"type": "websocket.disconnect", "code": 1000})
        await client.wait(5)

    asyncio.run(main())


@choose_one(
    MEDIUM,
    "A consumer overrides `connect` and neither accepts nor closes. What does the client see?",
    [
        right("Nothing: the opening request stays without an answer.", lambda f: f.silent),
        wrong("An open WebSocket.", lambda f: f.first == "websocket.accept"),
        wrong("A refusal.", lambda f: f.first == "websocket.close"),
    ],
    hint="Who else would answer in the consumer's stead?",
    because=[
        "The inherited `connect` accepts. Whoever overrides it takes over that duty.",
        "Without an answer the client waits until it, or the server, gives up.",
        "End each way through `connect` with `await self.accept()` or `await self.close()`.",
    ],
    mistakes=["A `return` for users who are not logged in, without `close()`."],
)
def consumer_says_nothing():
    import asyncio

    from asgiref.testing import ApplicationCommunicator
    from channels.generic.websocket import AsyncWebsocketConsumer

    from twogate.lab.stage import site

    site()

    class Consumer(AsyncWebsocketConsumer):
        async def connect(self):
            pass

    async def main():
        client = ApplicationCommunicator(Consumer.as_asgi(), {"type": "websocket", "path": "/"})
        await client.send_input({"type": "websocket.connect"})
        silent = await client.receive_nothing(0.2)
        print("silent:", silent)
        print("first:", None if silent else (await client.receive_output(1))["type"])
        await client.send_input({"type": "websocket.disconnect", "code": 1006})
        await client.wait(5)

    asyncio.run(main())


@order(
    EASY,
    "A client connects, sends a message and leaves. In what order are the consumer's methods"
    " called?",
    {
        "connect": "`connect`",
        "receive": "`receive`",
        "disconnect": "`disconnect`",
    },
    hint="The names say it.",
    because=[
        "`connect` decides whether the client may come in.",
        "`receive` is called for each message.",
        "`disconnect` is called at the end, however the end came: here the place to leave groups.",
    ],
    mistakes=["To tidy up in `receive` when a “bye” arrives. Clients vanish without a word."],
)
def methods_of_a_consumer():
    import threading

    from channels.generic.websocket import AsyncWebsocketConsumer

    from twogate.lab.stage import serve, site

    site()
    called, over = [], threading.Event()

    class Consumer(AsyncWebsocketConsumer):
        async def connect(self):
            called.append("connect")
            await self.accept()

        async def receive(self, text_data=None, bytes_data=None):
            called.append("receive")
            await self.send(text_data)

        async def disconnect(self, code):
            called.append("disconnect")
            over.set()

    with serve(asgi=Consumer.as_asgi()) as server:
        with server.websocket("/") as socket:
            socket.send("hello")
            socket.recv()
        over.wait(5)
    print("order:", *called)


@choose_one(
    MEDIUM,
    "Three consumers are in the group `room`, one of them sends to the group with `group_send`. Who"
    " gets the message?",
    [
        right("All three, the sender included.", lambda f: f.received == ["a", "b", "c"]),
        wrong("The two others.", lambda f: f.received == ["b", "c"]),
        wrong("One of them, whichever is free.", lambda f: len(f.received) == 1),
    ],
    hint="A layer knows channels in a group. Does it know which of them is calling?",
    because=[
        "`group_add` puts a channel's name into the group.",
        "`group_send` puts a copy of the message into each of these channels.",
        "The sender is in the group as well, so it gets its own message. A chat shows it in that"
        " way: everybody sees the same.",
    ],
    mistakes=["To show one's own message at once and again when it comes back from the group."],
)
def who_gets_a_group_message():
    import asyncio

    from channels.layers import get_channel_layer

    from twogate.lab.stage import site

    site(CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}})

    async def main():
        layer = get_channel_layer()
        channels = {name: await layer.new_channel() for name in "abc"}
        for channel in channels.values():
            await layer.group_add("room", channel)
        await layer.group_send("room", {"type": "chat.message", "from": "a"})
        received = []
        for name, channel in channels.items():
            try:
                await asyncio.wait_for(layer.receive(channel), 0.2)
                received.append(name)
            except TimeoutError:
                pass
        print("received:", received)

    asyncio.run(main())


@choose_one(
    MEDIUM,
    "A message of type `chat.message` arrives from the layer. Which method of the consumer is"
    " called?",
    [
        right("`chat_message`", lambda f: f.called == "chat_message"),
        wrong("`receive`", lambda f: f.called == "receive"),
        wrong("`on_chat_message`", lambda f: f.called == "on_chat_message"),
        wrong("`message`", lambda f: f.called == "message"),
    ],
    hint="A method's name cannot have a dot in it.",
    because=[
        "The consumer takes the type and puts `_` for each dot.",
        "It calls the method of that name with the whole message.",
        "`receive` is for what the client sends over its WebSocket.",
        "If there is no such method, the consumer ends with a ValueError: no handler for that"
        " type.",
    ],
    mistakes=["To wait in `receive` for what other consumers send."],
)
def method_for_a_message():
    import asyncio

    from asgiref.testing import ApplicationCommunicator
    from channels.generic.websocket import AsyncWebsocketConsumer
    from channels.layers import get_channel_layer

    from twogate.lab.stage import site

    site(CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}})

    class Consumer(AsyncWebsocketConsumer):
        groups = ["room"]

        async def tell(self, name):
            await self.send(name)

        async def receive(self, text_data=None, bytes_data=None):
            await self.tell("receive")

        async def chat_message(self, event):
            await self.tell("chat_message")

        async def on_chat_message(self, event):
            await self.tell("on_chat_message")

        async def message(self, event):
            await self.tell("message")

    async def main():
        client = ApplicationCommunicator(Consumer.as_asgi(), {"type": "websocket", "path": "/"})
        await client.send_input({"type": "websocket.connect"})
        await client.receive_output(5)
        await get_channel_layer().group_send("room", {"type": "chat.message"})
        print("called:", (await client.receive_output(5))["text"])
        await client.send_input({"type": "websocket.disconnect", "code": 1000})
        await client.wait(5)

    asyncio.run(main())


@prints(
    EASY,
    "What does this routing print?",
    [
        right("consumer\ndjango"),
        wrong("django\nconsumer"),
        wrong("django\ndjango"),
        wrong("consumer\nconsumer"),
    ],
    hint="Look at the type of the scope that is passed in each of the last lines.",
    because=[
        "`ProtocolTypeRouter` looks at `scope['type']` and nothing else.",
        "The first call has type `websocket`, so the consumer gets it; the second is a page.",
        "Thus pages and WebSockets share one `application`, one server and one port.",
    ],
    mistakes=["To take the router for a router of URLs: that is `URLRouter`, inside it."],
)
def router_by_protocol():
    import asyncio

    from channels.routing import ProtocolTypeRouter

    async def django(scope, receive, send):
        print("django")

    async def consumer(scope, receive, send):
        print("consumer")

    router = ProtocolTypeRouter({"http": django, "websocket": consumer})
    asyncio.run(router({"type": "websocket"}, None, None))
    asyncio.run(router({"type": "http"}, None, None))


@choose_one(
    HARD,
    "A site runs in two worker processes and uses Channels' `InMemoryChannelLayer`. A message is"
    " sent to a group in one process. Do consumers in the other get it?",
    [
        right(
            "No: each process has a layer of its own.",
            lambda f: f.same_process and not f.other_process,
        ),
        wrong("Yes: a layer is there to connect processes.", lambda f: f.other_process),
        wrong("No, and those in the same process do not either.", lambda f: not f.same_process),
    ],
    hint="Whose memory is it?",
    because=[
        "The in-memory layer keeps its groups in a dict of its own process.",
        "Another process has another dict, which knows nothing of it.",
        "That goes unnoticed with one worker, as in development, and half of a chat is missing with"
        " two.",
        "Several processes need a layer that crosses them: Twogate's `ChannelLayer` on one machine,"
        " Redis or Valkey on several.",
    ],
    mistakes=["To try a chat with one worker and to serve it with four."],
)
def layer_in_memory():
    import asyncio
    import os

    from channels.layers import InMemoryChannelLayer

    ready, tell_ready = os.pipe()

    async def listen():
        layer = InMemoryChannelLayer()
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        os.write(tell_ready, b"!")
        await asyncio.wait_for(layer.receive(channel), 0.5)

    async def send():
        layer = InMemoryChannelLayer()
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        os.read(ready, 1)  # the other process listens
        await layer.group_send("room", {"type": "chat.message"})
        await asyncio.wait_for(layer.receive(channel), 0.5)
        print("same process:", True)

    child = os.fork()  # one process becomes two
    if child == 0:
        try:
            asyncio.run(listen())
            os._exit(0)
        except TimeoutError:
            os._exit(1)
    asyncio.run(send())
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print("other process:", status == 0)


@choose_all(
    MEDIUM,
    "Which of these can ordinary sync code, such as a view, do to reach consumers? Choose all.",
    [
        right("`async_to_sync(layer.group_send)(…)`", lambda f: f.wrapped == 1),
        wrong("`layer.group_send(…)`, plainly", lambda f: f.plain == 1),
        wrong("`await layer.group_send(…)`", lambda f: f.awaited != "SyntaxError"),
    ],
    hint="`group_send` is a coroutine function.",
    because=[
        "A plain call only makes a coroutine: nothing is sent.",
        "`await` is not allowed outside of an `async def`: Python refuses the file.",
        "`async_to_sync` runs the coroutine to its end, so the message is sent when it returns.",
    ],
    mistakes=["To forget the second pair of parentheses: `async_to_sync(f)(arguments)`."],
)
def sync_code_to_consumers():
    import asyncio

    from asgiref.sync import async_to_sync
    from channels.layers import InMemoryChannelLayer

    layer = InMemoryChannelLayer()
    channel = async_to_sync(layer.new_channel)()
    async_to_sync(layer.group_add)("room", channel)
    message = {"type": "news"}

    def waiting():
        queue = layer.channels.get(channel, asyncio.Queue())
        return queue.qsize()

    layer.group_send("room", message).close()  # a coroutine that nobody ran
    print("plain:", waiting())
    async_to_sync(layer.group_send)("room", message)
    print("wrapped:", waiting())
    try:
        compile(
            "def view(request):\n    await layer.group_send('room', message)", "views.py", "exec"
        )
        print("awaited:", "fine")
    except SyntaxError:
        print("awaited:", "SyntaxError")


@find_line(
    EASY,
    "This consumer never opens its WebSocket, and Python warns. Which line is at fault?",
    line=5,
    holds=lambda f: f.silent and "never awaited" in f.warning,
    file="consumers.py",
    code="""
        from channels.generic.websocket import AsyncWebsocketConsumer

        class Echo(AsyncWebsocketConsumer):
            async def connect(self):
                self.accept()

            async def receive(self, text_data=None, bytes_data=None):
                await self.send(text_data)
    """,
    hint="The warning says: coroutine was never awaited.",
    because=[
        "`accept` is a coroutine function. Called without `await` it only makes a coroutine.",
        "Nothing is sent to the server, and the client goes on waiting.",
        "Line 8 does it right: `await self.send(…)`.",
    ],
    mistakes=["To look for the fault in the routing, because no message ever arrives."],
)
def accept_without_await():
    import asyncio
    import warnings

    from asgiref.testing import ApplicationCommunicator

    from twogate.lab.stage import site

    site()
    from consumers import Echo  # the file above

    async def main():
        client = ApplicationCommunicator(Echo.as_asgi(), {"type": "websocket", "path": "/"})
        await client.send_input({"type": "websocket.connect"})
        print("silent:", await client.receive_nothing(0.2))
        await client.send_input({"type": "websocket.disconnect", "code": 1006})
        await client.wait(5)

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", RuntimeWarning)
        asyncio.run(main())
    warning = next(warning for warning in seen if "never awaited" in str(warning.message))
    print("warning:", warning.message)
    print("line:", warning.lineno)


@choose_one(
    HARD,
    "A client's connection breaks without a word: no close frame arrives. Does the consumer learn"
    " of it?",
    [
        right(
            "Yes: `disconnect` is called, with code 1006.",
            lambda f: f.called == ["connect", "disconnect"] and f.code == 1006,
        ),
        wrong("Yes: `disconnect` is called, with code 1000.", lambda f: f.code == 1000),
        wrong("No: `disconnect` is only for a proper close.", lambda f: f.code is None),
        wrong("Yes: `receive` is called with nothing.", lambda f: "receive" in f.called),
    ],
    hint="Code 1006 can never stand in a close frame.",
    because=[
        "The server sees the end of the TCP connection.",
        "It tells the application by `websocket.disconnect`, as at every end.",
        "The code for “no close frame came” is 1006.",
        "So `disconnect` is the one place to tidy up. If even the end of the connection does not"
        " arrive, the server finds out by a ping without an answer.",
    ],
    mistakes=["To leave groups only where the client says goodbye."],
)
def client_vanishes():
    import socket
    import threading

    from channels.generic.websocket import AsyncWebsocketConsumer

    from twogate.lab.stage import serve, site

    site()
    called, codes, over = [], [], threading.Event()

    class Consumer(AsyncWebsocketConsumer):
        async def connect(self):
            called.append("connect")
            await self.accept()

        async def receive(self, text_data=None, bytes_data=None):
            called.append("receive")

        async def disconnect(self, code):
            called.append("disconnect")
            codes.append(code)
            over.set()

    with serve(asgi=Consumer.as_asgi()) as server:
        with server.websocket("/") as client:
            client.socket.shutdown(socket.SHUT_RDWR)  # as if the cable were cut
            over.wait(5)
    print("called:", called)
    print("code:", codes[0] if codes else None)
