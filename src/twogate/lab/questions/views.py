"""Questions on sync and async views, and on what it costs to adapt one to the other gateway."""

from twogate.lab.bank import EASY, HARD, MEDIUM, choose_all, choose_one, prints, right, wrong


@choose_one(
    EASY,
    "A view is written with `async def`, and the site is served through WSGI. What does a visitor"
    " of that page get?",
    [
        right(
            "The page: Django runs the view in an event loop made for this one request.",
            lambda f: f.status == 200 and f.text == "hello" and f.running_loop,
        ),
        wrong("A page, and a RuntimeWarning in the log.", lambda f: "RuntimeWarning" in f.warnings),
        wrong("An error page: an AttributeError was raised.", lambda f: f.status == 500),
        wrong("Nothing, as nobody awaits the coroutine.", lambda f: f.text == ""),
    ],
    hint="Django knows which of its views are coroutine functions, and which gateway it is in.",
    because=[
        "The WSGI handler is sync, so it cannot `await` the view.",
        "Django wraps the view in `async_to_sync`, which starts an event loop for this call, runs"
        " the view in it to its end, and closes it.",
        "The visitor gets the page. The worker thread was busy all the time: nothing was won by"
        " `async def`, and starting a loop cost a little.",
    ],
    mistakes=[
        "“WSGI cannot run async views.” It can. What it cannot do is let one thread serve"
        " others while the view waits.",
        "A RuntimeWarning about a coroutine that was never awaited comes from code that calls the"
        " view by hand and forgets `await`. Django does not forget.",
    ],
)
def async_view_through_wsgi():
    import asyncio
    import warnings

    from django.http import HttpResponse

    from twogate.lab.stage import ask_wsgi, site

    async def page(request):
        await asyncio.sleep(0.01)
        print("running loop:", asyncio.get_running_loop().is_running())
        return HttpResponse("hello")

    site({"": page})
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        response = ask_wsgi("/")
    print("status:", response.status)
    print("text:", response.text)
    print("warnings:", [warning.category.__name__ for warning in seen])


@choose_one(
    EASY,
    "Through ASGI, on which thread does Django run an ordinary view, written with `def`?",
    [
        right(
            "On a thread beside the event loop's, so that the loop stays free.",
            lambda f: f.view_ran_on_the_loop is False and f.status == 200,
        ),
        wrong("On the event loop's thread.", lambda f: f.view_ran_on_the_loop is True),
        wrong("On none: ASGI serves only async views.", lambda f: f.status != 200),
    ],
    hint="What would happen to all other requests if the view slept for a second on the loop?",
    because=[
        "A sync view may block: it asks the database, reads files, calls other services.",
        "Everything on the event loop shares one thread. One view that blocks it stops everybody.",
        "So Django wraps the view in `sync_to_async`, which runs it on another thread and lets the"
        " loop go on.",
    ],
    mistakes=[
        "“To move to ASGI, every view must be rewritten.” Sync views go on working; each costs a"
        " hop to a thread and back.",
    ],
)
def sync_view_through_asgi():
    import asyncio
    import threading

    from django.http import HttpResponse

    from twogate.lab.stage import ask_asgi, site

    ran_on = []

    def page(request):
        ran_on.append(threading.current_thread())
        return HttpResponse("hello")

    async def main():
        response = await ask_asgi("/")
        print("status:", response.status)
        print("view ran on the loop:", ran_on == [threading.current_thread()])

    site({"": page})
    asyncio.run(main())


@choose_one(
    MEDIUM,
    "The same async view is asked for twice through WSGI, by one worker thread. How many event"
    " loops did the two requests use?",
    [
        right("Two, each closed after its request.", lambda f: f.loops == 2 and f.closed == 2),
        wrong("One: the thread keeps its loop.", lambda f: f.loops == 1),
        wrong("None: the view is run without a loop.", lambda f: f.loops == 0),
    ],
    hint="`async_to_sync` works much like `asyncio.run`.",
    because=[
        "Through WSGI every call of an async view starts a loop of its own.",
        "When the view is done, that loop is closed.",
        "So nothing that belongs to a loop (an open connection of an async client, a task, a lock)"
        " can be kept from one request to the next.",
    ],
    mistakes=[
        "Keeping an async client in a module and using it from async views under WSGI: it belongs"
        " to the loop of a request that is over.",
    ],
)
def loops_through_wsgi():
    import asyncio

    from django.http import HttpResponse

    from twogate.lab.stage import ask_wsgi, site

    loops = []

    async def page(request):
        loops.append(asyncio.get_running_loop())
        return HttpResponse("hello")

    site({"": page})
    ask_wsgi("/")
    ask_wsgi("/")
    print("loops:", len(set(loops)))
    print("closed:", sum(loop.is_closed() for loop in loops))


@choose_one(
    HARD,
    "An async view starts a task with `asyncio.create_task(send_mail())`, does not await it, and"
    " returns. The site is served through WSGI. What becomes of the task?",
    [
        right(
            "It is cancelled when the view has returned.",
            lambda f: f.cancelled and not f.finished and f.goes_on_in_asgi,
        ),
        wrong("It goes on in the background until it is done.", lambda f: f.finished),
        wrong("The request waits until it is done.", lambda f: f.finished),
        wrong("The request fails.", lambda f: f.status == 500),
    ],
    hint="A task lives on a loop. How long does this loop live?",
    because=[
        "Through WSGI the view runs in a loop made for this one request.",
        "When the view returns, the loop is wound up: what is still running on it is cancelled.",
        "Through ASGI the loop outlives the request, and the same task would go on. Code that must"
        " be done in either case belongs into a queue of background work.",
    ],
    mistakes=[
        "To try such code only with an ASGI server, and to serve it through WSGI later.",
    ],
)
def background_task_through_wsgi():
    import asyncio

    from django.http import HttpResponse

    from twogate.lab.stage import ask_asgi, ask_wsgi, site

    seen = {"cancelled": False, "finished": False}
    tasks = []

    async def send_mail():
        try:
            await asyncio.sleep(5)
            seen["finished"] = True
        except asyncio.CancelledError:
            seen["cancelled"] = True
            raise

    async def page(request):
        tasks.append(asyncio.create_task(send_mail()))
        await asyncio.sleep(0)  # the task begins
        return HttpResponse("sent, or is it?")

    site({"": page})
    print("status:", ask_wsgi("/").status)
    print("cancelled:", seen["cancelled"])
    print("finished:", seen["finished"])

    async def through_asgi():
        await ask_asgi("/")
        await asyncio.sleep(0)
        print("goes on in asgi:", not tasks[-1].done())

    asyncio.run(through_asgi())


@choose_one(
    MEDIUM,
    "Five visitors ask at once for an async view that calls `time.sleep()`, through ASGI. How many"
    " of the five calls are under way at the same moment, at most?",
    [
        right("One.", lambda f: f.blocking == 1),
        wrong("Five.", lambda f: f.blocking == 5),
        wrong(
            "One, and with `asyncio.sleep()` it would be one as well.",
            lambda f: f.awaiting == 1,
        ),
    ],
    hint="Only at an `await` can the loop turn to somebody else.",
    because=[
        "Async views run on the event loop's thread, all of them on the same one.",
        "`time.sleep()` holds that thread: nothing else happens until it returns.",
        "`await asyncio.sleep()` gives the thread back, so the other four begin meanwhile.",
        "The same holds for every call that blocks: a sync HTTP client, a long computation.",
    ],
    mistakes=[
        "To believe that `async def` makes what is inside wait politely. Only `await` does.",
    ],
)
def blocking_call_in_async_view():
    import asyncio
    import time

    from django.core.asgi import get_asgi_application
    from django.http import HttpResponse

    from twogate.lab.stage import serve, site

    inside, most = set(), {"polite": 0, "rude": 0}

    def enter(name):
        visitor = object()
        inside.add(visitor)
        most[name] = max(most[name], len(inside))
        return visitor

    async def rude(request):
        visitor = enter("rude")
        time.sleep(0.02)
        inside.remove(visitor)
        return HttpResponse()

    async def polite(request):
        visitor = enter("polite")
        while most["polite"] < 5:  # stays until all five were here
            await asyncio.sleep(0.02)
        inside.remove(visitor)
        return HttpResponse()

    site({"rude": rude, "polite": polite})
    with serve(asgi=get_asgi_application()) as server:
        server.get_many("/rude", 5)
        server.get_many("/polite", 5)
    print("blocking:", most["rude"])
    print("awaiting:", most["polite"])


@prints(
    EASY,
    "A function is written with `async def` and called without `await`. What does this print?",
    [
        right("<class 'coroutine'>\n0"),
        wrong("<class 'str'>\n1"),
        wrong("<class 'coroutine'>\n1"),
        wrong("<class 'str'>\n0"),
    ],
    hint="Calling is not yet running.",
    because=[
        "Calling a coroutine function makes a coroutine: an object that can be run.",
        "Nothing of its body has been run, so `runs` is still empty.",
        "`await`, or an event loop that is given the coroutine, runs it.",
    ],
    mistakes=["To forget `await` and to wonder why nothing happens and nothing fails."],
)
def call_without_await():
    runs = []

    async def view():
        runs.append("ran")
        return "a page"

    result = view()
    print(type(result))
    print(len(runs))
    result.close()


@choose_all(
    HARD,
    "In which of these cases does Django have to take the view across, from a thread to a loop or"
    " from a loop to a thread? Choose all.",
    [
        right("An async view through WSGI.", lambda f: f.async_by_wsgi == "adapted"),
        right("A sync view through ASGI.", lambda f: f.sync_by_asgi == "adapted"),
        wrong("A sync view through WSGI.", lambda f: f.sync_by_wsgi == "adapted"),
        wrong("An async view through ASGI.", lambda f: f.async_by_asgi == "adapted"),
    ],
    hint="When do the view and the handler that calls it speak the same way?",
    because=[
        "The WSGI handler calls, the ASGI handler awaits.",
        "A sync view under WSGI is called, an async view under ASGI is awaited: nothing to adapt.",
        "In the other two cases Django puts `async_to_sync` or `sync_to_async` around the view.",
        "Both combinations give the right page. The adapter costs time, which is why Twogate picks"
        " the gateway that suits each view.",
    ],
    mistakes=["To think that the mixed combinations are errors: they are only slower."],
)
def who_is_adapted():
    import asyncio

    from asgiref.sync import AsyncToSync, SyncToAsync
    from django.http import HttpResponse

    from twogate.lab.stage import ask_asgi, ask_wsgi, site

    def sync_view(request):
        return HttpResponse()

    async def async_view(request):
        return HttpResponse()

    adapted = []
    for adapter in (AsyncToSync, SyncToAsync):  # note what each adapter is put around

        def note(self, function, *args, original=adapter.__init__, **kwargs):
            adapted.append(function)
            original(self, function, *args, **kwargs)

        adapter.__init__ = note

    def tell(name, view):
        print(name + ":", "adapted" if view in adapted else "called as it is")
        adapted.clear()

    site({"sync": sync_view, "async": async_view})
    ask_wsgi("/sync")
    tell("sync by wsgi", sync_view)
    ask_wsgi("/async")
    tell("async by wsgi", async_view)
    asyncio.run(ask_asgi("/sync"))
    tell("sync by asgi", sync_view)
    asyncio.run(ask_asgi("/async"))
    tell("async by asgi", async_view)
