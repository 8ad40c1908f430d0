"""Questions on WebSockets: how one is opened, and what each gateway can do with it."""

from twogate.lab.bank import EASY, HARD, MEDIUM, choose_all, choose_one, order, right, wrong


@choose_one(
    EASY,
    "A browser tries to open a WebSocket, and the server has only a WSGI application. What"
    " happens?",
    [
        right(
            "It is refused with an HTTP error; no WebSocket comes to be.",
            lambda f: f.websocket_status == 501 and f.page_status == 200,
        ),
        wrong("It opens, and messages are lost.", lambda f: f.websocket_status == 101),
        wrong("It opens, with long polling instead.", lambda f: f.websocket_status == 200),
        wrong("Pages stop working, too.", lambda f: f.page_status != 200),
    ],
    hint="A WSGI application is called once and returns one response.",
    because=[
        "A WebSocket begins as an HTTP request that asks to change the protocol.",
        "WSGI has no way to say yes: a call with one request and one response cannot carry messages"
        " that go to and fro for hours.",
        "The server has to refuse. Twogate answers 501 (not implemented) and says why.",
        "Pages are served as ever.",
    ],
    mistakes=["To look for the fault in the browser's code when the server cannot do it."],
)
def websocket_meets_wsgi():
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse

    from twogate.lab.stage import serve, site

    site({"": lambda request: HttpResponse("hello")})
    with serve(wsgi=get_wsgi_application()) as server:
        print("websocket status:", server.websocket_status("/"))
        print("page status:", server.get("/").status)


@choose_one(
    EASY,
    "Which HTTP status opens a WebSocket?",
    [
        right("101", lambda f: f.status == 101),
        wrong("200", lambda f: f.status == 200),
        wrong("201", lambda f: f.status == 201),
        wrong("426", lambda f: f.status == 426),
    ],
    hint="It is called “Switching Protocols”.",
    because=[
        "The client asks for an upgrade in an ordinary GET request.",
        "A server that agrees answers 101. From then on the same TCP connection carries WebSocket"
        " frames instead of HTTP.",
        "Any other status is a refusal.",
    ],
    mistakes=["To see a 200 in the log and take the WebSocket for open."],
)
def status_that_opens():
    from twogate.lab.stage import serve

    async def application(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()

    with serve(asgi=application) as server:
        print("status:", server.websocket_status("/"))


@order(
    MEDIUM,
    "A client opens a WebSocket, sends one message, gets it back and leaves. In what order does the"
    " ASGI application see or send these events?",
    {
        "websocket.connect": "`websocket.connect`",
        "websocket.accept": "`websocket.accept`",
        "websocket.receive": "`websocket.receive`",
        "websocket.send": "`websocket.send`",
        "websocket.disconnect": "`websocket.disconnect`",
    },
    hint="The application is asked first, and it is told at the end.",
    because=[
        "`websocket.connect` asks: will you have this client?",
        "`websocket.accept` says yes. Only now the client's connection is open.",
        "`websocket.receive` brings a message, `websocket.send` sends one. Either may come at any"
        " time, and as often as one likes.",
        "`websocket.disconnect` is the last event, whoever closed.",
    ],
    mistakes=["To send before `websocket.accept`: there is no WebSocket yet to send over."],
)
def life_of_a_websocket():
    import threading

    from twogate.lab.stage import serve

    events, over = [], threading.Event()

    async def application(scope, receive, send):
        if scope["type"] != "websocket":
            return

        async def take():
            event = await receive()
            events.append(event["type"])
            return event

        async def give(event):
            events.append(event["type"])
            await send(event)

        await take()
        await give({"type": "websocket.accept"})
        message = await take()
        await give({"type": "websocket.send", "text": message["text"]})
        await take()
        over.set()

    with serve(asgi=application) as server:
        with server.websocket("/") as socket:
            socket.send("hello")
            assert socket.recv() == "hello"
        over.wait(5)
    print("order:", *events)


@choose_one(
    MEDIUM,
    "An ASGI application answers `websocket.connect` with `websocket.close`. What does the client"
    " see?",
    [
        right("An HTTP response with status 403.", lambda f: f.status == 403),
        wrong("An open WebSocket that closes with code 1000.", lambda f: f.status == 101),
        wrong("Status 500.", lambda f: f.status == 500),
        wrong("Status 404.", lambda f: f.status == 404),
    ],
    hint="The WebSocket is not open yet, so there can be no close frame.",
    because=[
        "Before `websocket.accept` the connection still speaks HTTP.",
        "A close in that phase means: I will not have this client. The server answers 403.",
        "After the accept, the same event sends a close frame with a code.",
    ],
    mistakes=["To look for a close code of one's own in the browser: a refusal shows only 1006."],
)
def close_before_accept():
    from twogate.lab.stage import serve

    async def application(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4001})

    with serve(asgi=application) as server:
        print("status:", server.websocket_status("/"))


@choose_one(
    HARD,
    "The client sends a random `Sec-WebSocket-Key`. What does the server send back as"
    " `Sec-WebSocket-Accept`?",
    [
        right(
            "A SHA-1 hash of the key and a fixed identifier, in Base64.",
            lambda f: f.accept == f.hashed,
        ),
        wrong("The same key.", lambda f: f.accept == f.key),
        wrong("The key, decoded from Base64.", lambda f: f.accept == f.decoded),
        wrong("A secret of its own, which encrypts the messages.", lambda f: f.accept != f.hashed),
    ],
    hint="It proves that the server knows WebSockets and did not only repeat what it was sent.",
    because=[
        "RFC 6455 fixes one identifier for all servers in the world.",
        "The server hashes the key with it. The client does the same and compares.",
        "So a server that merely echoes headers is not taken for a WebSocket server.",
        "It protects nothing and encrypts nothing: for that there is `wss://`.",
    ],
    mistakes=["To take the key for a password or a session."],
)
def key_and_accept():
    import base64
    import hashlib

    from twogate.lab.stage import serve

    async def application(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()

    with serve(asgi=application) as server, server.websocket("/") as socket:
        key = socket.request.headers["Sec-WebSocket-Key"]
        accept = socket.response.headers["Sec-WebSocket-Accept"]
    identifier = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    digest = hashlib.sha1((key + identifier).encode()).digest()
    print("key:", repr(key))
    print("decoded:", repr(base64.b64decode(key).hex()))
    print("hashed:", repr(base64.b64encode(digest).decode()))
    print("accept:", repr(accept))


@choose_all(
    MEDIUM,
    "In the execution table there are four rows. If WSGI could carry WebSockets, which rows would"
    " look different? Choose all.",
    [
        wrong("WSGI server, HTTP request", lambda f: f.wsgi_http == "refused"),
        wrong("ASGI server, HTTP request", lambda f: f.asgi_http == "refused"),
        wrong("ASGI server, WebSocket", lambda f: f.asgi_websocket == "refused"),
        right("WSGI server, WebSocket", lambda f: f.wsgi_websocket == "refused"),
    ],
    hint="Which row tells of something that does not work today?",
    because=[
        "Both server types answer HTTP requests.",
        "The ASGI server opens the WebSocket.",
        "Only WSGI with a WebSocket is refused. That row would then say “accepted”, and the other"
        " three would stay as they are.",
    ],
    mistakes=["To change the row of the ASGI server as well: it does not depend on WSGI."],
)
def row_that_would_change():
    from twogate.lab.stage import serve

    def wsgi(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    async def asgi(scope, receive, send):
        if scope["type"] == "http":
            await receive()
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"hello"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()

    for name, applications in {"wsgi": {"wsgi": wsgi}, "asgi": {"asgi": asgi}}.items():
        with serve(**applications) as server:
            page, socket = server.get("/").status, server.websocket_status("/")
        print(name, "http:", "answered" if page == 200 else "refused")
        print(name, "websocket:", "accepted" if socket == 101 else "refused")


@choose_all(
    MEDIUM,
    "Reading the execution table: in which rows is the application called asynchronously, that is,"
    " awaited? Choose all.",
    [
        wrong("WSGI server, HTTP request", lambda f: f.wsgi_http == "awaited"),
        right("ASGI server, HTTP request", lambda f: f.asgi_http == "awaited"),
        right("ASGI server, WebSocket", lambda f: f.asgi_websocket == "awaited"),
        wrong("WSGI server, WebSocket", lambda f: f.wsgi_websocket == "awaited"),
    ],
    hint="It is the gateway that decides how the application is called, not the request.",
    because=[
        "The WSGI gateway calls the application on a worker thread, with no event loop.",
        "The ASGI gateway awaits it on the loop, for pages and WebSockets alike. The call step of"
        " those two rows is the asynchronous one.",
        "In the row of WSGI with a WebSocket the application is not called at all.",
    ],
    mistakes=["To call only WebSockets asynchronous: pages through ASGI are awaited as well."],
)
def rows_that_are_awaited():
    import asyncio

    from twogate.lab.stage import serve

    calls = {}

    def how():
        try:
            asyncio.get_running_loop()
            return "awaited"
        except RuntimeError:
            return "called"

    def wsgi(environ, start_response):
        kind = "websocket" if environ.get("HTTP_UPGRADE") == "websocket" else "http"
        calls["wsgi " + kind] = how()
        start_response("200 OK", [])
        return []

    async def asgi(scope, receive, send):
        calls["asgi " + scope["type"]] = how()
        if scope["type"] == "http":
            await receive()
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})

    for applications in ({"wsgi": wsgi}, {"asgi": asgi}):
        with serve(**applications) as server:
            server.get("/")
            server.websocket_status("/")
    for row in ("wsgi http", "asgi http", "asgi websocket", "wsgi websocket"):
        print(row + ":", calls.get(row, "not called"))
