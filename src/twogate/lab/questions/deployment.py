"""Questions on deployment: which set-up a site needs, and what changes behind a proxy."""

from twogate.lab.bank import EASY, HARD, MEDIUM, choose_all, choose_one, prints, right, wrong


@choose_one(
    EASY,
    "A site has pages and a chat. Which set-up gives both, with the least to run?",
    [
        right(
            "One server with both gateways: pages and WebSockets on one port.",
            lambda f: f.both == "page and chat",
        ),
        wrong(
            "A WSGI server alone: with async switched off, less can go wrong.",
            lambda f: f.wsgi == "page and chat",
        ),
        wrong(
            "An ASGI server that passes on HTTP and nothing else.",
            lambda f: f.only_http == "page and chat",
        ),
        wrong(
            "Two servers on the same port, one for the pages and one for the chat.",
            lambda f: f.second_server == "same port",
        ),
    ],
    hint="Who can answer the WebSocket, and on which address does the browser look for it?",
    because=[
        "A WSGI server alone serves the pages and refuses the chat's WebSocket.",
        "An ASGI application that only has its HTTP side does the same.",
        "A second server for the chat works, but it needs a port of its own, a proxy that routes"
        " between the two, and a second deployment, log and restart.",
        "One server with both gateways needs none of that.",
    ],
    mistakes=[
        "“A chat needs a separate server.” It needs the ASGI gateway, and that may stand beside"
        " the other.",
    ],
)
def pages_and_chat():
    import socket

    from channels.generic.websocket import AsyncWebsocketConsumer
    from channels.routing import ProtocolTypeRouter
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse

    from twogate.lab.stage import serve, site

    site({"": lambda request: HttpResponse("hello")})
    pages = get_asgi_application()
    chat = ProtocolTypeRouter({"http": pages, "websocket": AsyncWebsocketConsumer.as_asgi()})

    def what_works(server):
        found = ["page"] if server.get("/").status == 200 else []
        found += ["chat"] if server.websocket_status("/") == 101 else []
        return " and ".join(found)

    with serve(wsgi=get_wsgi_application(), asgi=chat) as server:
        print("both:", what_works(server))
        try:
            socket.create_server(("127.0.0.1", server.port)).close()
            print("second server:", "same port")
        except OSError:
            print("second server:", "another port")
    with serve(wsgi=get_wsgi_application()) as server:
        print("wsgi:", what_works(server))
    with serve(asgi=pages) as server:
        print("only http:", what_works(server))


@prints(
    MEDIUM,
    "Twogate serves both gateways on one port. Which kind of request do the two views see?",
    [
        right("WSGIRequest\nASGIRequest"),
        wrong("ASGIRequest\nASGIRequest"),
        wrong("WSGIRequest\nWSGIRequest"),
        wrong("ASGIRequest\nWSGIRequest"),
    ],
    hint="Each request goes through the gateway that suits its view.",
    because=[
        "The sync view is asked for first: it goes through the WSGI gateway, on a worker thread.",
        "The async view goes through the ASGI gateway, on the loop.",
        "Neither has to be adapted. Both classes are HttpRequests: views seldom notice.",
    ],
    mistakes=["To choose one gateway for the whole site because of a single view."],
)
def gateway_by_view():
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse

    from twogate.lab.stage import serve, site

    def sync_view(request):
        print(type(request).__name__)
        return HttpResponse()

    async def async_view(request):
        print(type(request).__name__)
        return HttpResponse()

    site({"sync": sync_view, "async": async_view})
    with serve(wsgi=get_wsgi_application(), asgi=get_asgi_application()) as server:
        server.get("/sync")
        server.get("/async")


@choose_one(
    EASY,
    "One of the two interfaces is so well established that Python itself brings a small server for"
    " it. Which one?",
    [
        right(
            "WSGI, the older one; for a site of plain pages it is still the simpler choice.",
            lambda f: f.wsgiref and not f.asgiref and f.page == 200,
        ),
        wrong("ASGI.", lambda f: f.asgiref and not f.wsgiref),
        wrong("Both.", lambda f: f.wsgiref and f.asgiref),
        wrong("Neither.", lambda f: not f.wsgiref and not f.asgiref),
    ],
    hint="One of the two has been there since 2003, long before Python had `async`.",
    because=[
        "WSGI was first written down as PEP 333 in 2003 and renewed as PEP 3333 in 2010.",
        "Python's library has `wsgiref`. ASGI's reference library, asgiref, comes from Django's"
        " makers and is installed on its own.",
        "A site whose pages are asked for and answered, with nothing live, needs no event loop:"
        " threads are easy to understand, and every library works in them.",
    ],
    mistakes=["To take the older for the outdated. It is the simpler one."],
)
def which_is_older():
    import sys
    import threading
    import urllib.request
    from wsgiref.simple_server import WSGIRequestHandler, demo_app, make_server

    print("wsgiref:", "wsgiref" in sys.stdlib_module_names)
    print("asgiref:", "asgiref" in sys.stdlib_module_names)

    class Quiet(WSGIRequestHandler):
        def log_message(self, *arguments):
            pass

    with make_server("127.0.0.1", 0, demo_app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/") as page:
            print("page:", page.status)
        thread.join()


@choose_all(
    MEDIUM,
    "For which of these does a site gain from the ASGI gateway? Choose all.",
    [
        right("Many visitors who chat over WebSockets", lambda f: f.chat_needs_asgi),
        right("Pages that wait long for other services", lambda f: f.waiting_asgi > f.waiting_wsgi),
        wrong("Pages that compute all the time", lambda f: f.computing_asgi > f.computing_wsgi),
    ],
    hint="An event loop is good at one thing: waiting for many at once.",
    because=[
        "WebSockets are only possible through ASGI.",
        "Views that `await` wait together on one thread; through WSGI the threads are a limit.",
        "A view that computes keeps its thread busy. On the loop there is only one such thread, so"
        " computing views take turns: there, threads and processes are the better choice.",
    ],
    mistakes=["To make a computation `async def` in the hope that it gets faster."],
)
def who_gains_from_asgi():
    import asyncio
    import threading

    from twogate.lab.stage import serve

    inside, counts, lock = set(), [], threading.Lock()
    twelve_are_here = threading.Event()

    def enter():
        visit = object()
        with lock:
            inside.add(visit)
            counts.append(len(inside))
        if len(inside) == 12:
            twelve_are_here.set()
        return visit

    def compute():
        for _ in range(20):
            sum(range(5000))

    def wsgi(environ, start_response):
        visit = enter()
        if environ["PATH_INFO"] == "/wait":
            twelve_are_here.wait(0.2)
        else:
            compute()
        inside.discard(visit)
        start_response("200 OK", [])
        return []

    async def asgi(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        await receive()
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await receive()
            return
        visit = enter()
        if scope["path"] == "/wait":
            while not twelve_are_here.is_set():
                await asyncio.sleep(0.02)
        else:
            compute()
        inside.discard(visit)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    sockets = {}
    for name, applications in {"wsgi": {"wsgi": wsgi}, "asgi": {"asgi": asgi}}.items():
        with serve(**applications, threads=4) as server:
            sockets[name] = server.websocket_status("/")
            for kind, path in {"waiting": "/wait", "computing": "/compute"}.items():
                counts.clear()
                twelve_are_here.clear()
                server.get_many(path, 12)
                print(f"{kind} {name}:", max(counts))
    print("chat needs asgi:", sockets == {"wsgi": 501, "asgi": 101})


@choose_one(
    MEDIUM,
    "A proxy in front speaks HTTPS with visitors and plain HTTP with the server. What does"
    " `request.is_secure()` say in the view?",
    [
        right(
            "False, until SECURE_PROXY_SSL_HEADER names the header that the proxy sets.",
            lambda f: not f.without_setting and f.with_setting,
        ),
        wrong("True: Django sees how the visitor came.", lambda f: f.without_setting),
        wrong("False, and no setting can change it.", lambda f: not f.with_setting),
    ],
    hint="The server sees the connection from the proxy, and nothing but headers of the rest.",
    because=[
        "The gateway tells Django the scheme of the connection it has: `http`.",
        "A proxy can add a header such as `X-Forwarded-Proto: https`.",
        "Anybody could send that header, so Django believes it only when a setting says so. The"
        " proxy must remove it from what visitors send.",
    ],
    mistakes=["To switch the setting on without a proxy that guards the header."],
)
def https_at_the_proxy():
    from django.http import HttpResponse
    from django.test import override_settings

    from twogate.lab.stage import ask_wsgi, site

    site({"": lambda request: HttpResponse(str(request.is_secure()))})
    header = {"HTTP_X_FORWARDED_PROTO": "https"}
    print("without setting:", ask_wsgi("/", **header).text)
    with override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https")):
        print("with setting:", ask_wsgi("/", **header).text)


@choose_one(
    HARD,
    "A view counts its visits in a variable of its module. The site runs in two worker processes,"
    " and each serves three visits. What does the variable say?",
    [
        right("3 in each process.", lambda f: f.counts == [3, 3]),
        wrong("6 in each process.", lambda f: f.counts == [6, 6]),
        wrong("3 in one and 6 in the other.", lambda f: f.counts == [3, 6]),
    ],
    hint="Do processes share their memory?",
    because=[
        "Each worker process imports the module for itself and has its own variable.",
        "Visits that the other process serves do not change it.",
        "What all workers must know belongs into the database, a cache that they share, or a"
        " channel layer.",
    ],
    mistakes=["To keep logins, locks or rooms of a chat in a module's variable."],
)
def variable_of_a_module():
    import os

    from django.http import HttpResponse

    from twogate.lab.stage import ask_wsgi, site

    visits = []

    def page(request):
        visits.append(request)
        return HttpResponse(str(len(visits)))

    site({"": page})
    counts = []
    for _ in range(2):
        reader, writer = os.pipe()
        if os.fork() == 0:  # a worker process
            for _ in range(3):
                last = ask_wsgi("/").text
            os.write(writer, last.encode())
            os._exit(0)
        os.wait()
        counts.append(int(os.read(reader, 10)))
    print("counts:", counts)


@choose_one(
    EASY,
    "A request arrives with a Host header that is not in ALLOWED_HOSTS. What does the visitor get?",
    [
        right("400, through either gateway.", lambda f: f.wsgi == 400 and f.asgi == 400),
        wrong("The page.", lambda f: f.wsgi == 200),
        wrong(
            "400 through WSGI, the page through ASGI.", lambda f: f.wsgi == 400 and f.asgi == 200
        ),
        wrong("404.", lambda f: f.wsgi == 404),
    ],
    hint="Who checks it: the server, or Django?",
    because=[
        "Django checks the header when somebody asks for the host: `request.get_host()`, which"
        " CommonMiddleware does for each request.",
        "A name that is not allowed is a bad request: 400.",
        "Both gateways lead to the same Django, so both answer the same.",
    ],
    mistakes=["To allow `*` in production, because it makes the error go away."],
)
def strange_host():
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse

    from twogate.lab.stage import serve, site

    site(
        {"": lambda request: HttpResponse("hello")},
        ALLOWED_HOSTS=["example.org"],
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    )
    with serve(wsgi=get_wsgi_application()) as server:
        print("wsgi:", server.get("/", Host="example.com").status)
    with serve(asgi=get_asgi_application()) as server:
        print("asgi:", server.get("/", Host="example.com").status)
