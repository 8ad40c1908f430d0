"""Questions on servers and entry points: wsgi.py, asgi.py and the settings that name them."""

from twogate.lab.bank import EASY, HARD, MEDIUM, choose_all, choose_one, find_line, right, wrong


@choose_one(
    EASY,
    "Which pair of lines belongs into `asgi.py`?",
    [
        right(
            "`from django.core.asgi import get_asgi_application`\n"
            "`application = get_asgi_application()`",
            lambda f: f.first == "ASGIHandler",
        ),
        wrong(
            "`from django.core.wsgi import get_wsgi_application`\n"
            "`application = get_wsgi_application()`",
            lambda f: f.second == "ASGIHandler",
        ),
        wrong(
            "`from django.core.asgi import get_asgi_application`\n"
            "`application = get_asgi_application`",
            lambda f: f.third == "ASGIHandler",
        ),
        wrong(
            "`from django.core.asgi import get_asgi_application`\n"
            "`application = get_wsgi_application()`",
            lambda f: f.fourth == "ASGIHandler",
        ),
    ],
    hint="Two things must fit: the getter that is imported and the one that is called.",
    because=[
        "A server imports the module and takes the name `application` from it.",
        "For ASGI this must be Django's ASGI handler, which `get_asgi_application()` makes.",
        "Without the parentheses `application` is the getter itself, which makes handlers and"
        " serves no requests.",
    ],
    mistakes=[
        "To copy `wsgi.py` and change only one of the two places.",
        "To leave out the parentheses.",
    ],
)
def declaration_in_asgi():
    from twogate.lab.stage import site

    site({})
    files = {
        "first": "from django.core.asgi import get_asgi_application\n"
        "application = get_asgi_application()",
        "second": "from django.core.wsgi import get_wsgi_application\n"
        "application = get_wsgi_application()",
        "third": "from django.core.asgi import get_asgi_application\n"
        "application = get_asgi_application",
        "fourth": "from django.core.asgi import get_asgi_application\n"
        "application = get_wsgi_application()",
    }
    for name, text in files.items():
        module = {}
        try:
            exec(text, module)
            print(name + ":", type(module["application"]).__name__)
        except Exception as error:
            print(name + ":", type(error).__name__)


@find_line(
    EASY,
    "This `asgi.py` does not load. Which line raises the error?",
    line=7,
    holds=lambda f: f.error == "NameError",
    file="asgi.py",
    code='''
        """The ASGI entry point of this project."""

        import os
        from django.core.asgi import get_asgi_application

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "myproject.settings")
        application = get_wsgi_application()
    ''',
    hint="Which name is used that nothing in this file has defined?",
    because=[
        "Line 4 brings the name `get_asgi_application` into the file.",
        "Line 7 calls `get_wsgi_application`, a name that was never imported.",
        "Python looks a name up when the line runs, so line 7 raises a NameError.",
        "The mend: call `get_asgi_application()` there.",
    ],
    mistakes=["To suspect the settings: the file fails before anybody reads them."],
)
def name_error_in_asgi():
    import importlib
    import traceback

    try:
        importlib.import_module("asgi")  # the file above
    except Exception as error:
        print("error:", type(error).__name__)
        print("message:", error)
        frames = traceback.extract_tb(error.__traceback__)
        print("line:", next(f.lineno for f in frames if f.filename.endswith("asgi.py")))


@choose_one(
    MEDIUM,
    "That mistake in `asgi.py` (imported `get_asgi_application`, called `get_wsgi_application`):"
    " when does it show?",
    [
        right(
            "As soon as a server imports the file, before any request.",
            lambda f: f.error == "NameError" and f.requests == 0,
        ),
        wrong("With the first request.", lambda f: f.requests == 1),
        wrong("With the first WebSocket.", lambda f: f.requests == 1),
        wrong("Never: Django calls the right one.", lambda f: f.error == "none"),
    ],
    code="""
        from django.core.asgi import get_asgi_application

        application = get_wsgi_application()
    """,
    file="asgi.py",
    hint="Which lines of a module run when it is imported?",
    because=[
        "Importing a module runs all of its lines from top to bottom.",
        "The call stands at the top level, so the NameError is raised while the file is imported.",
        "A server that imports the application before it listens refuses to start, which is the"
        " best moment to learn of it. `twogate serve --check-config` only loads and tells.",
    ],
    mistakes=["To expect an ImportError: the import line itself is fine."],
)
def when_the_name_error_shows():
    from twogate.lab.stage import serve

    requests, error_seen = 0, "none"
    try:
        from asgi import application  # the file above

        with serve(asgi=application) as server:
            requests += 1
            server.get("/")
    except Exception as error:
        error_seen = type(error).__name__
    print("error:", error_seen)
    print("requests:", requests)


@choose_one(
    HARD,
    "In `asgi.py`, somebody imports and calls `get_wsgi_application()`: the names fit each other,"
    " but not the file. What happens when an ASGI server uses it?",
    [
        right(
            "It loads; each request fails with a TypeError about the number of arguments.",
            lambda f: f.loaded and f.error == "TypeError" and f.twogate == "ProjectError",
        ),
        wrong("A NameError while it loads.", lambda f: f.error == "NameError"),
        wrong("It works: the server sees which kind it is.", lambda f: f.error == "none"),
    ],
    code="""
        from django.core.wsgi import get_wsgi_application

        application = get_wsgi_application()
    """,
    file="asgi.py",
    hint="How many arguments does each kind of application take?",
    because=[
        "The file imports without an error, as every name in it exists.",
        "The server calls `application(scope, receive, send)`: three arguments.",
        "A WSGI application takes two, `environ` and `start_response`: TypeError.",
        "Twogate looks at what it loads and refuses to start, naming the file and the mend.",
    ],
    mistakes=["To think an entry point is right because it can be imported."],
)
def wsgi_handler_in_asgi():
    import asyncio

    from twogate.config import Config
    from twogate.django.project import load
    from twogate.lab.stage import ask_asgi, site

    site({})
    import asgi  # the file above

    print("loaded:", True)
    try:
        asyncio.run(ask_asgi("/", asgi.application))
        print("error:", "none")
    except Exception as error:
        print("error:", type(error).__name__)
        print("message:", error)
    try:
        load(Config(asgi="asgi:application"))
        print("twogate:", "serves it")
    except Exception as error:
        print("twogate:", type(error).__name__)
        print("it says:", error)


@choose_one(
    MEDIUM,
    "The settings have no `WSGI_APPLICATION`. What does Django's `runserver` serve?",
    [
        right(
            "What `get_wsgi_application()` returns.",
            lambda f: f.without == "WSGIHandler" and f.with_setting == "function",
        ),
        wrong("Nothing: it raises an error.", lambda f: f.without == "error"),
        wrong("What `ASGI_APPLICATION` names.", lambda f: f.without == "ASGIHandler"),
    ],
    code="""
        def application(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"hello from wsgi.py"]
    """,
    file="wsgi.py",
    hint="The setting exists so that what wraps the application in `wsgi.py` is served, too.",
    because=[
        "`WSGI_APPLICATION` is the dotted name of the callable, such as"
        " `myproject.wsgi.application`.",
        "`runserver` imports it and serves it.",
        "Without the setting it makes a bare Django handler, and what `wsgi.py` wraps around the"
        " application is missing.",
    ],
    mistakes=["To believe that `runserver` finds `wsgi.py` by its file name."],
)
def without_wsgi_application():
    from django.core.servers.basehttp import get_internal_wsgi_application
    from django.test import override_settings

    from twogate.lab.stage import site

    site({}, WSGI_APPLICATION=None)
    try:
        print("without:", type(get_internal_wsgi_application()).__name__)
    except Exception:
        print("without:", "error")
    with override_settings(WSGI_APPLICATION="wsgi.application"):  # in the file above
        print("with setting:", type(get_internal_wsgi_application()).__name__)


@choose_all(
    MEDIUM,
    "`wsgi.py` defines `application = get_wsgi_application()`. Which of these can call it, with no"
    " change to the file? Choose all.",
    [
        right("The small server in Python's own `wsgiref`", lambda f: f.wsgiref == 200),
        right("Twogate", lambda f: f.twogate == 200),
        right("A test that calls it with a dict and a function", lambda f: f.test == 200),
        wrong("An ASGI server that awaits it", lambda f: f.asgi_server == 200),
    ],
    hint="The interface is the same for every server that speaks it.",
    because=[
        "That is what the interface is for: any WSGI server can serve any WSGI application.",
        "A server is only something that makes `environ` and calls, and so is a test.",
        "An ASGI server calls it in another way. It would need an adapter between the two, such as"
        " `asgiref.wsgi.WsgiToAsgi`.",
    ],
    mistakes=["To write an entry point that fits only one server."],
)
def who_can_call_wsgi():
    import asyncio
    import http.client
    import threading
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse

    from twogate.lab.stage import ask_asgi, ask_wsgi, serve, site

    class Quiet(WSGIRequestHandler):
        def log_message(self, *arguments):
            pass

    site({"": lambda request: HttpResponse("hello")})
    application = get_wsgi_application()

    with make_server("127.0.0.1", 0, application, handler_class=Quiet) as little:
        thread = threading.Thread(target=little.handle_request)
        thread.start()
        client = http.client.HTTPConnection(*little.server_address)
        client.request("GET", "/")
        print("wsgiref:", client.getresponse().status)
        client.close()
        thread.join()
    with serve(wsgi=application) as server:
        print("twogate:", server.get("/").status)
    print("test:", ask_wsgi("/", application).status)
    try:
        print("asgi server:", asyncio.run(ask_asgi("/", application)).status)
    except TypeError:
        print("asgi server:", "TypeError")
