"""Questions on databases: queries in async code, connections and threads, transactions."""

from twogate.lab.bank import EASY, HARD, MEDIUM, choose_one, find_line, order, prints, right, wrong


@choose_one(
    EASY,
    "An async view asks the database with the ordinary, sync methods. What does Django do?",
    [
        right(
            "It raises SynchronousOnlyOperation before anything is asked.",
            lambda f: f.error == "SynchronousOnlyOperation" and f.queries == 0,
        ),
        wrong("It asks, and blocks the loop meanwhile.", lambda f: f.queries == 1),
        wrong("It moves the query to a thread by itself.", lambda f: f.error == "none"),
    ],
    hint="What would a query of a second do to all other requests on the loop?",
    because=[
        "A sync query blocks its thread until the database answers.",
        "On the loop's thread that would stop everybody, so Django checks: does an event loop run"
        " here? If so, it raises.",
        "Use the async methods, whose names begin with `a` (`aget`, `acount`, `async for`), or"
        " `sync_to_async`.",
    ],
    mistakes=[
        "To switch the check off with DJANGO_ALLOW_ASYNC_UNSAFE: the error goes, the blocking"
        " stays.",
    ],
)
def sync_query_in_async_view():
    import asyncio

    from django.db import connection

    from twogate.lab.stage import site

    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}
    site(DATABASES={"default": sqlite})
    queries = []

    async def view():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            queries.append("asked")

    try:
        asyncio.run(view())
        print("error:", "none")
    except Exception as error:
        print("error:", type(error).__name__)
    print("queries:", len(queries))


@prints(
    MEDIUM,
    "What does this print?",
    [
        right("coroutine 0 1"),
        wrong("int 0 1"),
        wrong("coroutine 1 1"),
        wrong("coroutine 0 0"),
    ],
    hint="Methods of the ORM that begin with `a` are coroutine functions.",
    because=[
        "`acount()` without `await` is a coroutine: nobody has asked the database yet.",
        "Awaited, it asks: there are no content types yet, so 0.",
        "`acreate` makes one, and counting again gives 1.",
    ],
    mistakes=["To compare a coroutine with a number, because `await` was forgotten."],
)
def async_methods_of_the_orm():
    import asyncio

    from django.core.management import call_command

    from twogate.lab.stage import site

    site(
        INSTALLED_APPS=["django.contrib.contenttypes"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
        MIGRATION_MODULES={"contenttypes": None},
    )
    call_command("migrate", run_syncdb=True, verbosity=0)
    from django.contrib.contenttypes.models import ContentType

    async def view():
        await ContentType.objects.all().adelete()
        counting = ContentType.objects.acount()
        kind = type(counting).__name__
        before = await counting
        await ContentType.objects.acreate(app_label="lab", model="lesson")
        print(kind, before, await ContentType.objects.acount())

    asyncio.run(view())


@choose_one(
    MEDIUM,
    "Four worker threads each ask the database. How many database connections does Django open?",
    [
        right("Four, one for each thread.", lambda f: f.connections == 4),
        wrong("One, shared by all.", lambda f: f.connections == 1),
        wrong("Eight: two for each thread.", lambda f: f.connections == 8),
    ],
    hint="May two threads talk at once over one connection?",
    because=[
        "`django.db.connection` stands for the connection of the thread that uses it.",
        "A thread opens its own when it first asks.",
        "So the number of threads that ask is the number of connections, for each process. The"
        " database's limit must allow for it.",
    ],
    mistakes=["To raise the number of threads without a look at the database's limit."],
)
def connections_of_threads():
    import threading

    from django.db import connection
    from django.db.backends.signals import connection_created

    from twogate.lab.stage import site

    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}
    site(DATABASES={"default": sqlite})
    opened = []
    connection_created.connect(lambda **_: opened.append(1), weak=False)

    def work():
        for _ in range(2):
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("connections:", len(opened))


@choose_one(
    HARD,
    "`CONN_MAX_AGE = None` asks Django to keep database connections. Five requests, one after the"
    " other, for a sync view that makes a query: how many connections are opened by Django's own"
    " handlers?",
    [
        right(
            "1 through WSGI on one thread, 5 through ASGI.",
            lambda f: f.wsgi == 1 and f.asgi == 5 and f.twogate_asgi < 5,
        ),
        wrong("1 through either.", lambda f: f.asgi == 1),
        wrong("5 through either.", lambda f: f.wsgi == 5),
        wrong("5 through WSGI, 1 through ASGI.", lambda f: f.wsgi == 5 and f.asgi == 1),
    ],
    hint="A connection belongs to its thread. How long does the thread live?",
    because=[
        "Through WSGI a worker thread serves one request after another and keeps its connection.",
        "Through ASGI, Django's handler runs sync code of each request in a thread made for that"
        " request.",
        "With the thread goes its connection, whatever `CONN_MAX_AGE` says.",
        "Twogate's handlers lend threads that live on, so that connections persist and their number"
        " stays bounded.",
    ],
    mistakes=["To set `CONN_MAX_AGE` under ASGI and to think that it works."],
)
def connections_that_persist():
    import asyncio

    from django.db import connection
    from django.db.backends.signals import connection_created
    from django.http import HttpResponse

    from twogate.django import get_asgi_application
    from twogate.lab.stage import ask_asgi, ask_wsgi, serve, site

    def page(request):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return HttpResponse()

    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3", "CONN_MAX_AGE": None}
    site({"": page}, DATABASES={"default": sqlite})
    opened = []
    connection_created.connect(lambda **_: opened.append(1), weak=False)

    async def through_asgi():
        for _ in range(5):
            await ask_asgi("/")

    for _ in range(5):
        ask_wsgi("/")
    print("wsgi:", len(opened))
    opened.clear()
    asyncio.run(through_asgi())
    print("asgi:", len(opened))
    opened.clear()
    with serve(asgi=get_asgi_application()) as server:  # Twogate's handler
        for _ in range(5):
            server.get("/")
    print("twogate asgi:", len(opened))


@choose_one(
    HARD,
    "How can a transaction with several queries be used from an async view?",
    [
        right(
            "In a sync function with `transaction.atomic()`, called through `sync_to_async`.",
            lambda f: f.function == "works",
        ),
        wrong("With `async with transaction.atomic():`", lambda f: f.async_with == "works"),
        wrong("With `with transaction.atomic():` in the view", lambda f: f.plain_with == "works"),
    ],
    hint="A transaction is a state of one connection, and that belongs to one thread.",
    because=[
        "`atomic` is a sync context manager: `async with` does not know what to do with it.",
        "A plain `with` talks to the database on the loop's thread, which Django forbids.",
        "In a function of its own, all queries run on one thread, over one connection, within one"
        " transaction.",
    ],
    mistakes=["To begin the transaction in one `sync_to_async` call and to end it in another."],
)
def transaction_in_async_view():
    import asyncio

    from asgiref.sync import sync_to_async
    from django.db import connection, transaction

    from twogate.lab.stage import site

    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}
    site(DATABASES={"default": sqlite})

    def work():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    async def function():
        await sync_to_async(work)()

    async def async_with():
        async with transaction.atomic():
            pass

    async def plain_with():
        with transaction.atomic():
            pass

    for way in (function, async_with, plain_with):
        try:
            asyncio.run(way())
            print(way.__name__ + ":", "works")
        except Exception as error:
            print(way.__name__ + ":", type(error).__name__)


@order(
    MEDIUM,
    "A WSGI request asks the database, with `CONN_MAX_AGE = 0`. In what order does this happen?",
    {
        "started": "The signal `request_started`",
        "opened": "The connection is opened.",
        "response": "The view returns its response.",
        "finished": "The signal `request_finished`",
        "closed": "The connection is closed.",
    },
    hint="A connection is opened late, and it is still needed while a response is streamed.",
    because=[
        "`request_started` comes before the middleware and the view.",
        "Django connects when the first query needs it.",
        "`request_finished` is sent when the server calls `close()` of the response, after the"
        " body.",
        "One of Django's own receivers of that signal closes connections that are too old; with 0"
        " each one is.",
    ],
    mistakes=["To think that the connection is gone when the view has returned."],
)
def life_of_a_connection():
    from django.core.signals import request_finished, request_started

    steps = []
    request_started.connect(lambda **_: steps.append("started"), weak=False)
    request_finished.connect(lambda **_: steps.append("finished"), weak=False)

    # Only now, so that Django's own receivers of the signals come after ours.
    from django.db import connection
    from django.db.backends.signals import connection_created
    from django.http import HttpResponse

    from twogate.lab.stage import ask_wsgi, site

    def page(request):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        steps.append("response")
        return HttpResponse()

    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3", "CONN_MAX_AGE": 0}
    site({"": page}, DATABASES={"default": sqlite})
    connection_created.connect(lambda **_: steps.append("opened"), weak=False)
    close = connection.close

    def noting_close():
        steps.append("closed")
        close()

    connection.close = noting_close
    ask_wsgi("/")
    print("order:", *steps)


@find_line(
    MEDIUM,
    "This async view raises SynchronousOnlyOperation. In which line?",
    line=6,
    holds=lambda f: f.error == "SynchronousOnlyOperation",
    file="views.py",
    code="""
        from asgiref.sync import sync_to_async
        from django.contrib.contenttypes.models import ContentType

        async def page(request):
            kinds = ContentType.objects.filter(app_label="lab")
            names = [kind.model for kind in kinds]
            number = await sync_to_async(kinds.count)()
            return names, number
    """,
    hint="A query set is lazy: it asks the database only when somebody wants its rows.",
    because=[
        "Line 5 only describes a query. Nothing is asked, so nothing is wrong.",
        "Line 6 iterates it: now the database is asked, on the loop's thread.",
        "Line 7 would be fine: the query runs on a thread.",
        "The mend: `[kind.model async for kind in kinds]`.",
    ],
    mistakes=["To blame the line in which the query set is made."],
)
def line_of_the_sync_query():
    import asyncio
    import traceback

    from twogate.lab.stage import site

    site(
        INSTALLED_APPS=["django.contrib.contenttypes"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
    )
    import views  # the file above

    try:
        asyncio.run(views.page(None))
    except Exception as error:
        print("error:", type(error).__name__)
        frames = traceback.extract_tb(error.__traceback__)
        # Of a view's lines, the last one on the way to the error.
        print("line:", [frame.lineno for frame in frames if frame.filename == views.__file__][-1])
