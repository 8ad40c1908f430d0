"""Questions on WSGI (PEP 3333): what a server and an application say to each other."""

from twogate.lab.bank import EASY, HARD, MEDIUM, choose_all, choose_one, order, prints, right, wrong


@choose_one(
    EASY,
    "How does a web server hand a request to the `application` in `wsgi.py`?",
    [
        right(
            "It calls it with a dict and a function, and gets back the body as bytes to iterate.",
            lambda f: f.kinds == ["dict", "function"] and f.body == b"hello",
        ),
        wrong("It awaits it with a scope and two coroutine functions.", lambda f: f.awaited),
        wrong("It hands over the client's socket.", lambda f: "socket" in f.kinds),
        wrong("It gives it the request as text to standard input.", lambda f: f.kinds == []),
    ],
    hint="PEP 3333 names two arguments: `environ` and `start_response`.",
    because=[
        "`environ` is a dict: method, path, headers, the body as a file.",
        "`start_response` is a function of the server: the application calls it with the status"
        " and the headers.",
        "What the application returns is iterated; each item is a piece of the body, as bytes.",
    ],
    mistakes=["To look for `await` anywhere in it. A WSGI call is an ordinary function call."],
)
def how_wsgi_is_called():
    import inspect
    from wsgiref.util import setup_testing_defaults

    environ, started = {}, []
    setup_testing_defaults(environ)  # what a server would fill in

    def start_response(status, headers):
        started.append(status)

    def application(*arguments):
        print("kinds:", [type(argument).__name__ for argument in arguments])
        arguments[1]("200 OK", [("Content-Type", "text/plain")])
        return [b"hel", b"lo"]

    result = application(environ, start_response)
    print("awaited:", inspect.isawaitable(result))
    print("status:", started[0])
    print("body:", b"".join(result))


@choose_all(
    EASY,
    "Which of these does a WSGI server put into `environ`? Choose all.",
    [
        right("`REQUEST_METHOD`", lambda f: "REQUEST_METHOD" in f.keys),
        right("`wsgi.input`", lambda f: "wsgi.input" in f.keys),
        right("`HTTP_X_COLOUR` for a header `X-Colour`", lambda f: "HTTP_X_COLOUR" in f.keys),
        wrong("`receive`", lambda f: "receive" in f.keys),
        wrong("`type`, with the value `http`", lambda f: "type" in f.keys),
    ],
    hint="Names in capitals come from CGI, those with a dot from WSGI itself.",
    because=[
        "The request line and the headers become keys in capitals, as CGI had them.",
        "A header gets `HTTP_` in front, and `_` for each `-`.",
        "`wsgi.input` is the body, as a file to read.",
        "`type` and `receive` are ASGI's words: a WSGI request is always HTTP, so it needs none.",
    ],
    mistakes=["To look for `X-Colour` itself in the dict."],
)
def what_environ_has():
    from twogate.lab.stage import serve

    seen = {}

    def application(environ, start_response):
        seen.update(environ)
        start_response("200 OK", [])
        return []

    with serve(wsgi=application) as server:
        server.get("/", **{"X-Colour": "green"})
    print("keys:", sorted(seen))


@order(
    MEDIUM,
    "A WSGI server answers one request. Put the steps in order.",
    {
        "asked": "The client sends its request.",
        "called": "The server calls the application with `environ`.",
        "start_response": "The application calls `start_response`.",
        "iterated": "The server iterates the body and sends each piece.",
        "close": "The server calls `close()` of what the application returned.",
    },
    hint="Who needs what from whom? The status must be known before the body is sent.",
    because=[
        "The request is read first: the application gets it whole, as a dict.",
        "The call happens on one thread, which does nothing else until the response is over.",
        "Status and headers go to the client together with the first piece of the body.",
        "`close()` comes last, even when the client has left: that is where Django ends the"
        " request and gives its database connection back.",
    ],
    mistakes=["To take the return of the application for the end of the request."],
)
def steps_of_wsgi():
    from twogate.lab.stage import serve

    steps = []

    class Body:
        def __iter__(self):
            steps.append("iterated")
            yield b"hello"

        def close(self):
            steps.append("close")

    def application(environ, start_response):
        steps.append("called")
        start_response("200 OK", [("Content-Type", "text/plain")])
        steps.append("start_response")
        return Body()

    with serve(wsgi=application) as server:
        steps.append("asked")
        server.get("/page")
    print("order:", *steps)


@prints(
    MEDIUM,
    "This WSGI application is a generator. What does the program print?",
    [
        right("called\nstarted\nhello"),
        wrong("started\ncalled\nhello"),
        wrong("called\nhello\nstarted"),
        wrong("started\nhello\ncalled"),
    ],
    hint="When does the body of a generator function begin to run?",
    because=[
        "Calling a generator function runs nothing of its body.",
        "The first `next()` runs it up to the first `yield`, and `start_response` is on the way.",
        "So a server may not rely on `start_response` before it asks for the first piece. PEP 3333"
        " says so.",
    ],
    mistakes=["To send the headers as soon as the application has returned."],
)
def generator_application():
    def application(environ, start_response):
        start_response("200 OK", [])
        yield b"hello"

    body = application({}, lambda status, headers: print("started"))
    print("called")
    print(next(body).decode())


@choose_one(
    HARD,
    "A WSGI application returns `['hello']`: text instead of bytes. What does Twogate answer?",
    [
        right(
            "500: bytes are asked for, and guessing an encoding would be worse.",
            lambda f: f.text_status == 500 and f.bytes_status == 200,
        ),
        wrong("200, with the text encoded as UTF-8.", lambda f: f.text_status == 200),
        wrong("400: the request is at fault.", lambda f: f.text_status == 400),
        wrong("500, for bytes as well.", lambda f: f.bytes_status == 500),
    ],
    hint="A body may be a picture. What type do both have in common?",
    because=[
        "PEP 3333 says: each piece of the body is a byte string.",
        "The server does not know which encoding the page was meant to have.",
        "Django encodes the text itself, by the response's charset, and hands bytes over.",
    ],
    mistakes=["To write small WSGI applications by hand and forget the `b` before the string."],
)
def text_instead_of_bytes():
    from twogate.lab.stage import serve

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return ["hello"] if environ["PATH_INFO"] == "/text" else [b"hello"]

    with serve(wsgi=application) as server:
        print("text status:", server.get("/text").status)
        print("bytes status:", server.get("/bytes").status)
