"""Questions on streaming: pieces as they are made, through either gateway."""

from twogate.lab.bank import EASY, HARD, MEDIUM, choose_all, choose_one, prints, right, wrong


@prints(
    EASY,
    "A view streams two pieces through WSGI. What does this print?",
    [
        right("make 1\nsend 1\nmake 2\nsend 2"),
        wrong("make 1\nmake 2\nsend 1\nsend 2"),
        wrong("make 1\nmake 2\nsend 12"),
        wrong("send 1\nmake 1\nsend 2\nmake 2"),
    ],
    hint="A generator makes the next piece when it is asked for it.",
    because=[
        "The server iterates the response and sends each piece at once.",
        "The generator goes on only when the next piece is asked for.",
        "So a large export needs the memory of one piece. The worker thread is taken until the"
        " end.",
    ],
    mistakes=["To build a list of all pieces first: then nothing is streamed."],
)
def pieces_through_wsgi():
    from django.core.wsgi import get_wsgi_application
    from django.http import StreamingHttpResponse
    from django.test import RequestFactory

    from twogate.lab.stage import site

    def pieces():
        for number in "12":
            print("make", number)
            yield number

    site({"": lambda request: StreamingHttpResponse(pieces())})
    environ = RequestFactory(SERVER_NAME="127.0.0.1").get("/").environ
    for piece in get_wsgi_application()(environ, lambda status, headers: None):
        print("send", piece.decode())


@choose_one(
    MEDIUM,
    "A view returns `StreamingHttpResponse` with an ordinary generator, through ASGI and Django's"
    " own handler. When does the first piece go out?",
    [
        right(
            "When the generator is at its end: Django reads it whole first, and warns.",
            lambda f: f.made_before_first_send == 3 and f.warnings == 1,
        ),
        wrong("As soon as it is made.", lambda f: f.made_before_first_send == 1),
        wrong("Never: it is an error.", lambda f: f.sent == 0),
    ],
    hint="Who would wait for the next piece, if not the loop itself?",
    because=[
        "A sync generator may block while it makes a piece, so the loop may not iterate it.",
        "Django therefore makes a list of all pieces on a thread, warns, and sends them then.",
        "With an async generator each piece goes out as it is made.",
    ],
    mistakes=["To move a site with sync streams to ASGI and to wonder about its memory."],
)
def sync_stream_through_asgi():
    import asyncio
    import warnings

    from django.core.asgi import get_asgi_application
    from django.http import StreamingHttpResponse

    from twogate.lab.stage import http_scope, site

    made, sent, made_at_send = [], [], []
    stays = [{"type": "http.request", "body": b"", "more_body": False}]

    def pieces():
        for number in range(3):
            made.append(number)
            yield str(number)

    async def receive():
        return stays.pop() if stays else await asyncio.get_running_loop().create_future()

    async def send(event):
        if event.get("body"):
            sent.append(event["body"])
            made_at_send.append(len(made))

    site({"": lambda request: StreamingHttpResponse(pieces())})
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        asyncio.run(get_asgi_application()(http_scope("/"), receive, send))
    print("sent:", len(sent))
    print("made before first send:", made_at_send[0])
    print("warnings:", sum("StreamingHttpResponse" in str(w.message) for w in seen))


@choose_one(
    MEDIUM,
    "And the other way round: `StreamingHttpResponse` with an async generator, through WSGI?",
    [
        right(
            "It is read whole first, with a warning, then sent.",
            lambda f: f.made_before_first_send == 3 and f.warnings == 1 and f.text == "012",
        ),
        wrong("Each piece goes out as it is made.", lambda f: f.made_before_first_send == 1),
        wrong("The body is empty.", lambda f: f.text == ""),
        wrong("Django raises a TypeError.", lambda f: f.error == "TypeError"),
    ],
    hint="A WSGI server iterates with `for`, not with `async for`.",
    because=[
        "The server can only ask for the next piece in a sync way.",
        "Django runs the async generator to its end in a loop of its own and makes a list.",
        "For an endless stream that end never comes: such a view needs the ASGI gateway.",
    ],
    mistakes=[
        "Server-Sent Events from an async generator on a WSGI server: not one event arrives."
    ],
)
def async_stream_through_wsgi():
    import warnings

    from django.http import StreamingHttpResponse
    from django.test import RequestFactory

    from twogate.lab.stage import site

    made, made_at_send, text = [], [], ""

    async def pieces():
        for number in range(3):
            made.append(number)
            yield str(number)

    site({"": lambda request: StreamingHttpResponse(pieces())})
    from django.core.wsgi import get_wsgi_application

    environ = RequestFactory(SERVER_NAME="127.0.0.1").get("/").environ
    error_seen = "none"
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            for piece in get_wsgi_application()(environ, lambda status, headers: None):
                made_at_send.append(len(made))
                text += piece.decode()
        except TypeError as error:
            error_seen = type(error).__name__
    print("error:", error_seen)
    print("text:", repr(text))
    print("made before first send:", made_at_send[0])
    print("warnings:", sum("StreamingHttpResponse" in str(w.message) for w in seen))


@choose_one(
    HARD,
    "A visitor leaves in the middle of an endless async stream, served through ASGI. What happens"
    " to the generator?",
    [
        right(
            "It is stopped at the `await` where it waits, and its `finally` runs.",
            lambda f: f.cleaned_up and f.pieces < 100,
        ),
        wrong("It goes on until the server ends.", lambda f: not f.cleaned_up),
        wrong("It is dropped, and its `finally` never runs.", lambda f: not f.cleaned_up),
    ],
    hint="Django listens for `http.disconnect` while it sends.",
    because=[
        "The server notices the closed connection and says `http.disconnect`.",
        "Django cancels the task that runs the response: CancelledError is raised at its `await`.",
        "`finally` and context managers run, so nothing stays open. Let CancelledError pass on.",
    ],
    mistakes=["`except BaseException: pass` around the loop: the stream cannot be stopped then."],
)
def visitor_leaves_a_stream():
    import asyncio
    import socket
    import threading

    from django.core.asgi import get_asgi_application
    from django.http import StreamingHttpResponse

    from twogate.lab.stage import serve, site

    made, cleaned_up = [], threading.Event()

    async def pieces():
        try:
            while True:
                made.append("piece")
                yield "hello "
                await asyncio.sleep(0.1)
        finally:
            cleaned_up.set()

    async def page(request):
        return StreamingHttpResponse(pieces())

    site({"": page})
    with serve(asgi=get_asgi_application()) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as visitor:
            visitor.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            visitor.recv(4096)  # the first bytes, then the visitor leaves
        print("cleaned up:", cleaned_up.wait(5))
    print("pieces:", len(made))


@choose_all(
    MEDIUM,
    "40 visitors hold an endless stream open on one server. Which of these still answer a 41st"
    " visitor's ordinary page? Choose all.",
    [
        right("Async streams through ASGI", lambda f: f.asgi == 200),
        wrong("Sync streams through WSGI with 8 threads", lambda f: f.wsgi_8 == 200),
        right("Sync streams through WSGI with 48 threads", lambda f: f.wsgi_48 == 200),
    ],
    hint="What does an open stream take from the server, through each gateway?",
    because=[
        "Through ASGI an open stream is a task that waits: the loop is free for others.",
        "Through WSGI each open stream takes a worker thread until its end, and an endless one has"
        " no end.",
        "With 8 threads, 8 streams are served; the 41st visitor stands in the queue behind the"
        " rest.",
        "48 threads are enough for these 40, and not for 60. That is why live notifications want"
        " the ASGI gateway.",
    ],
    mistakes=["To add threads until it works: the next forty visitors are on their way."],
)
def many_open_streams():
    import asyncio
    import http.client
    import socket
    import threading

    from twogate.lab.stage import serve

    end = threading.Event()

    def wsgi(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"hello"
        if environ["PATH_INFO"] == "/stream":
            end.wait(5)

    async def asgi(scope, receive, send):
        if scope["type"] != "http":
            return
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"hello", "more_body": True})
        while scope["path"] == "/stream" and not end.is_set():
            await asyncio.sleep(0.02)
        await send({"type": "http.response.body", "body": b""})

    servers = {
        "asgi": {"asgi": asgi, "threads": 8},
        "wsgi 8": {"wsgi": wsgi, "threads": 8},
        "wsgi 48": {"wsgi": wsgi, "threads": 48},
    }
    for name, options in servers.items():
        end.clear()
        with serve(**options) as server:
            address = ("127.0.0.1", server.port)
            visitors = [socket.create_connection(address) for _ in range(40)]
            for visitor in visitors:
                visitor.sendall(b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            for visitor in visitors[:8]:
                visitor.recv(16)  # the first streams are open
            # An answer may take its time; for one that cannot come, nobody waits that long.
            patience = 0.5 if name == "wsgi 8" else 5
            late = http.client.HTTPConnection(*address, timeout=patience)
            try:
                late.request("GET", "/page")
                print(name + ":", late.getresponse().status)
            except TimeoutError:
                print(name + ":", "no answer")
            end.set()
            late.close()
            for visitor in visitors:
                visitor.close()
