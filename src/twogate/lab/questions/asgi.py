"""Questions on ASGI: scope, receive and send, and what differs from WSGI."""

from twogate.lab.bank import EASY, HARD, MEDIUM, choose_one, find_line, order, prints, right, wrong


@choose_one(
    EASY,
    "What is the main difference between the two interfaces?",
    [
        right(
            "A WSGI application is called and returns; an ASGI application is awaited, and receives"
            " and sends events meanwhile.",
            lambda f: f.wsgi_is_coroutine is False and f.asgi_is_coroutine and f.events_sent == 2,
        ),
        wrong("ASGI is WSGI with another name of the file.", lambda f: not f.asgi_is_coroutine),
        wrong("WSGI applications are awaited as well.", lambda f: f.wsgi_is_coroutine),
        wrong("ASGI sends the whole response as one return value.", lambda f: f.asgi_returns),
    ],
    hint="Look at how each of Django's two applications may be called.",
    because=[
        "WSGI: one call, one response. The thread that calls is busy until it has all of it.",
        "ASGI: one `await`. While the application waits for something, the loop serves others.",
        "As an ASGI application receives and sends events, and as many as it likes, it can hold a"
        " conversation such as a WebSocket. A call with one return value cannot.",
    ],
    mistakes=["To reduce it to speed. A lone request is no faster through ASGI."],
)
def main_difference():
    import asyncio
    import inspect

    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse

    from twogate.lab.stage import http_scope, site

    site({"": lambda request: HttpResponse("hello")})
    wsgi, asgi = get_wsgi_application(), get_asgi_application()
    print("wsgi is coroutine:", inspect.iscoroutinefunction(type(wsgi).__call__))
    print("asgi is coroutine:", inspect.iscoroutinefunction(type(asgi).__call__))

    sent, to_receive = [], [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if to_receive:
            return to_receive.pop()
        return await asyncio.get_running_loop().create_future()  # the client stays

    async def send(event):
        sent.append(event)

    result = asyncio.run(asgi(http_scope("/"), receive, send))
    print("asgi returns:", result)
    print("events sent:", len(sent))


@prints(
    EASY,
    "A browser asks for a page and then opens a WebSocket. What does the ASGI application print?",
    [
        right("http\nwebsocket"),
        wrong("http\nhttp"),
        wrong("GET\nWEBSOCKET"),
        wrong("request\nsocket"),
    ],
    hint="An ASGI application can look into its scope to see what kind of connection it has.",
    because=[
        "`scope['type']` says which protocol the connection speaks.",
        "A page is `http`. A WebSocket begins as an HTTP request, but the server recognises it and"
        " gives it a scope of type `websocket`.",
        "A third type, `lifespan`, is for start-up and shut-down of the server.",
    ],
    mistakes=["To look for the method in `scope['type']`: that is `scope['method']`."],
)
def types_of_scope():
    from twogate.lab.stage import serve

    async def application(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        print(scope["type"])
        await receive()
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"hello"})
        else:
            await send({"type": "websocket.close"})

    with serve(asgi=application) as server:
        server.get("/")
        server.websocket_status("/")


@order(
    MEDIUM,
    "Django answers one HTTP request through ASGI. In what order do these events pass?",
    {
        "http.request": "`http.request`: the body of the request",
        "http.response.start": "`http.response.start`: status and headers",
        "http.response.body": "`http.response.body`: the body of the response",
        "http.disconnect": "`http.disconnect`: the connection is over",
    },
    hint="Two of them are received and two are sent.",
    because=[
        "The application receives the request's body first, in one event or in several.",
        "It sends the status with the headers, then the body, in one event or in several.",
        "When all is sent, or the client has left, whoever still asks `receive` is told so.",
    ],
    mistakes=["To send the body before `http.response.start`: the server refuses."],
)
def events_of_http():
    import threading

    from django.core.asgi import get_asgi_application
    from django.http import HttpResponse

    from twogate.lab.stage import serve, site

    site({"": lambda request: HttpResponse("hello")})
    django_application = get_asgi_application()
    events, over = [], threading.Event()

    async def application(scope, receive, send):
        if scope["type"] == "lifespan":
            return

        async def note_received():
            event = await receive()
            events.append(event["type"])
            return event

        async def note_sent(event):
            events.append(event["type"])
            await send(event)

        await django_application(scope, note_received, note_sent)
        if "http.disconnect" not in events:
            await note_received()
        over.set()

    with serve(asgi=application) as server:
        server.get("/")
        over.wait(5)
    print("order:", *events)


@choose_one(
    MEDIUM,
    "What does `get_asgi_application()` alone do with a WebSocket?",
    [
        right(
            "It raises: Django itself serves only HTTP. Something such as Channels must take it.",
            lambda f: f.error == "ValueError" and "websocket" in f.message,
        ),
        wrong("It accepts it and waits for messages.", lambda f: "websocket.accept" in f.sent),
        wrong("It answers with the page at that path.", lambda f: "http.response.start" in f.sent),
        wrong("It closes it with code 1000.", lambda f: "websocket.close" in f.sent),
    ],
    hint="ASGI can carry WebSockets. Is there anything in Django that would talk over one?",
    because=[
        "ASGI is only the interface: an application need not serve every type of scope.",
        "Django has views, and a view answers an HTTP request. For another type it raises an"
        " error.",
        "Channels' `ProtocolTypeRouter` stands in front: `http` goes to Django, `websocket` to"
        " consumers.",
    ],
    mistakes=[
        "“With asgi.py in place, WebSockets work.” The door is open, but nobody is behind it."
    ],
)
def django_alone_and_websockets():
    import asyncio

    from django.core.asgi import get_asgi_application

    from twogate.lab.stage import site

    site({})
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(event):
        sent.append(event["type"])

    async def main():
        application = get_asgi_application()
        try:
            await application({"type": "websocket", "path": "/"}, receive, send)
        except Exception as error:
            print("error:", type(error).__name__)
            print("message:", error)
        print("sent:", sent)

    asyncio.run(main())


@choose_one(
    HARD,
    "Through ASGI, when does a view begin that is asked for with a large upload?",
    [
        right(
            "When all of the body has arrived: Django collects it first.",
            lambda f: f.steps == ["piece 1", "piece 2", "piece 3", "view"],
        ),
        wrong("With the first piece of the body.", lambda f: f.steps.index("view") == 1),
        wrong("Before the body, with the headers.", lambda f: f.steps.index("view") == 0),
    ],
    hint="Could `request.POST` be an ordinary, sync attribute if the body were still to come?",
    because=[
        "A view may read `request.body` without `await`, so the body must be there already.",
        "Django's ASGI handler therefore receives all `http.request` events into a temporary file"
        " (in memory while it is small), then calls the view.",
        "A view that shall read an upload while it arrives has to do that through WSGI, or as an"
        " ASGI application of its own beside Django.",
    ],
    mistakes=["To expect that an async view can `await` pieces of `request.body`."],
)
def upload_through_asgi():
    import asyncio

    from django.core.asgi import get_asgi_application
    from django.http import HttpResponse

    from twogate.lab.stage import http_scope, site

    steps, pieces = [], [b"one", b"two", b"three"]

    async def page(request):
        steps.append("view")
        return HttpResponse()

    async def receive():
        if not pieces:
            return await asyncio.get_running_loop().create_future()  # the client stays
        steps.append(f"piece {4 - len(pieces)}")
        body = pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(pieces)}

    async def send(event):
        pass

    site({"": page})
    scope = http_scope("/") | {"method": "POST"}
    asyncio.run(get_asgi_application()(scope, receive, send))
    print("steps:", steps)


@find_line(
    HARD,
    "Twogate answers 500 for this ASGI application. At which line does it find the rules broken?",
    line=5,
    holds=lambda f: f.status == 500,
    file="asgi.py",
    code="""
        async def application(scope, receive, send):
            assert scope["type"] == "http"
            await receive()
            headers = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.body", "body": b"hello"})
            await send({"type": "http.response.start", "status": 200, "headers": headers})
    """,
    hint="What must a client be told before it can make sense of a body?",
    because=[
        "`receive` is allowed, and so is to ignore what it gives.",
        "Line 5 sends a body, but the status was not sent yet.",
        "The server raises an error there, into the application. As nothing has gone out, the"
        " visitor gets a clean 500.",
    ],
    mistakes=["To think that the server sorts the events."],
)
def body_before_start():
    import traceback

    from asgi import application  # the file above

    from twogate.lab.stage import serve

    lines = []

    async def watched(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        try:
            await application(scope, receive, send)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            lines.extend(f.lineno for f in frames if f.filename.endswith("asgi.py"))
            raise

    with serve(asgi=watched) as server:
        print("status:", server.get("/").status)
    print("line:", lines[0])
