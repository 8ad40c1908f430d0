"""Questions on threads and event loops: how many requests at once, and what they share."""

from twogate.lab.bank import EASY, HARD, MEDIUM, choose_all, choose_one, prints, right, wrong


@choose_one(
    EASY,
    "A WSGI server has 4 worker threads. 12 visitors ask at once for a page whose view waits for"
    " another service. How many of these views are under way at the same moment?",
    [
        right("4, one for each thread; the others queue.", lambda f: f.most == 4),
        wrong("12: waiting costs nothing.", lambda f: f.most == 12),
        wrong("1: WSGI serves one request at a time.", lambda f: f.most == 1),
    ],
    hint="What can a thread do while the view that it runs is waiting?",
    because=[
        "Through WSGI a request has a worker thread to itself, from the call to the end of the"
        " response.",
        "A thread whose view waits is taken. With 4 threads, 4 views can wait at once.",
        "The other 8 get their turn as threads become free: 12 visitors need three rounds.",
        "All 12 are answered in the end. More threads would serve more at once, and each costs"
        " memory.",
    ],
    mistakes=["“WSGI serves one request at a time.” Each thread does; a server has many."],
)
def waiting_through_wsgi():
    import threading

    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse

    from twogate.lab.stage import serve, site

    four_are_here = threading.Barrier(4)  # nobody leaves a round before four have come
    lock, inside, counts = threading.Lock(), set(), []

    def page(request):
        with lock:
            inside.add(request)
            counts.append(len(inside))
        four_are_here.wait(5)
        with lock:
            inside.remove(request)
        four_are_here.wait(5)
        return HttpResponse()

    site({"": page})
    with serve(wsgi=get_wsgi_application(), threads=4) as server:
        responses = server.get_many("/", 12)
    print("answered:", sum(response.status == 200 for response in responses))
    print("most:", max(counts))


@choose_one(
    EASY,
    "60 visitors ask at once, through ASGI, for an async view that awaits another service. How many"
    " are under way at the same moment, on how many threads?",
    [
        right("60, on one thread.", lambda f: f.most == 60 and f.threads == 1),
        wrong("60, on 60 threads.", lambda f: f.threads == 60),
        wrong("One, as there is only one loop.", lambda f: f.most == 1),
        wrong("As many as the server has worker threads: 4.", lambda f: f.most == 4),
    ],
    hint="At each `await` the loop may turn to another visitor.",
    because=[
        "Each request is a task on the event loop, and all tasks share the loop's thread.",
        "While a view awaits, the loop begins with the next visitor.",
        "So 60 can wait together, and all are done after about one wait.",
        "Waiting is what the loop does well. If the views computed instead, they would take turns.",
    ],
    mistakes=["To think that many requests at once need many threads."],
)
def waiting_through_asgi():
    import asyncio
    import threading

    from django.core.asgi import get_asgi_application
    from django.http import HttpResponse

    from twogate.lab.stage import serve, site

    inside, counts, threads = set(), [], set()
    all_are_here = asyncio.Event()

    async def page(request):
        inside.add(request)
        counts.append(len(inside))
        threads.add(threading.current_thread())
        if len(inside) == 60:
            all_are_here.set()
        await asyncio.wait_for(all_are_here.wait(), 5)
        inside.remove(request)
        return HttpResponse()

    site({"": page})
    with serve(asgi=get_asgi_application(), threads=4) as server:
        server.get_many("/", 60)
    print("most:", max(counts))
    print("threads:", len(threads))


@prints(
    MEDIUM,
    "Two coroutines run together. What does this print?",
    [
        right("a1 b1 a2 b2"),
        wrong("a1 a2 b1 b2"),
        wrong("b1 a1 b2 a2"),
        wrong("a1 b1 b2 a2"),
    ],
    hint="`asyncio.sleep(0)` says: let the others have a turn, then come back to me.",
    because=[
        "`gather` makes a task of each, in order, so `a` begins.",
        "At its `await`, `a` gives the loop back and stands in line again behind `b`.",
        "`b` prints its first and gives back as well; now `a` goes on, then `b`.",
        "Between two `await`s nobody can interrupt a task.",
    ],
    mistakes=["To expect that `a` is run to its end first."],
)
def turns_of_two_coroutines():
    import asyncio

    said = []

    async def speak(name):
        said.append(name + "1")
        await asyncio.sleep(0)
        said.append(name + "2")

    async def main():
        await asyncio.gather(speak("a"), speak("b"))

    asyncio.run(main())
    print(*said)


@choose_one(
    HARD,
    "`sync_to_async(work)` is awaited five times together with `asyncio.gather`. Does the work run"
    " in parallel?",
    [
        right(
            "No: by default all five run one after the other, on one thread.",
            lambda f: f.sensitive_threads == 1 and f.sensitive_most == 1,
        ),
        wrong("Yes, on five threads.", lambda f: f.sensitive_threads == 5),
        wrong("No, and nothing can be done about it.", lambda f: f.insensitive_most == 1),
    ],
    hint="Its argument `thread_sensitive` is true by default.",
    because=[
        "Much sync code expects to stay on one thread: a database connection belongs to the thread"
        " that opened it.",
        "So `sync_to_async` is thread-sensitive by default: all such calls of one context share one"
        " thread and take turns.",
        "`thread_sensitive=False` lets them use several threads. Then the code must be safe for"
        " that, and it must not use Django's database connections as if they were shared.",
    ],
    mistakes=["To gather five database queries and expect a fifth of the time."],
)
def sync_to_async_in_parallel():
    import asyncio
    import threading

    from asgiref.sync import sync_to_async

    async def five(sensitive):
        lock, inside, counts, threads = threading.Lock(), set(), [], set()
        # Without turns, all five meet here; with turns, they never do.
        meeting = threading.Barrier(1 if sensitive else 5)

        def work(number):
            with lock:
                inside.add(number)
                counts.append(len(inside))
                threads.add(threading.current_thread())
            meeting.wait(5)
            with lock:
                inside.remove(number)

        call = sync_to_async(work, thread_sensitive=sensitive)
        await asyncio.gather(*[call(number) for number in range(5)])
        name = "sensitive" if sensitive else "insensitive"
        print(f"{name} threads:", len(threads))
        print(f"{name} most:", max(counts))

    asyncio.run(five(True))
    asyncio.run(five(False))


@choose_all(
    MEDIUM,
    "An async view sets some values, then awaits a function through `sync_to_async`. Which values"
    " does that function see? Choose all.",
    [
        right("A `ContextVar`", lambda f: f.context_variable == "set"),
        right("An asgiref `Local`", lambda f: f.asgiref_local == "set"),
        right("A global variable of the module", lambda f: f.module_global == "set"),
        wrong("A `threading.local`", lambda f: f.threading_local == "set"),
    ],
    hint="The function runs on another thread, as a part of the same request.",
    because=[
        "`sync_to_async` copies the context to the thread, so a `ContextVar` keeps its value.",
        "asgiref's `Local` follows the request across threads: that is what it was made for.",
        "A global is seen by everybody, by other requests as well, which is why one must not keep a"
        " request's data there.",
        "A `threading.local` has a value of its own on each thread.",
    ],
    mistakes=[
        "To keep “the current user” in a `threading.local`: under ASGI it gets lost or mixed."
    ],
)
def what_follows_to_the_thread():
    import asyncio
    import threading
    from contextvars import ContextVar

    from asgiref.local import Local
    from asgiref.sync import sync_to_async

    variable = ContextVar("variable", default="lost")
    local, thread_local, module = Local(), threading.local(), {"value": "lost"}

    def look():
        print("context variable:", variable.get())
        print("asgiref local:", getattr(local, "value", "lost"))
        print("module global:", module["value"])
        print("threading local:", getattr(thread_local, "value", "lost"))

    async def view():
        variable.set("set")
        local.value = thread_local.value = module["value"] = "set"
        await sync_to_async(look)()

    asyncio.run(view())


@choose_one(
    HARD,
    "An async view calls `async_to_sync(fetch)()` instead of `await fetch()`. What happens?",
    [
        right(
            "RuntimeError: the thread already runs an event loop.",
            lambda f: f.error == "RuntimeError" and f.fetched == 0,
        ),
        wrong("It works, in a second loop.", lambda f: f.error == "none"),
        wrong("It hangs for ever.", lambda f: f.error == "TimeoutError"),
        wrong("The view's loop runs `fetch` and goes on.", lambda f: f.fetched == 1),
    ],
    hint="To wait without `await` means to block the thread. Which thread would that be?",
    because=[
        "`async_to_sync` blocks its thread until the coroutine is done.",
        "On the loop's own thread this could never end, if the coroutine needs that loop.",
        "So asgiref refuses with a RuntimeError, and says to await it instead.",
        "`async_to_sync` is for sync code: a sync view, a signal, a management command.",
    ],
    mistakes=["To wrap and unwrap without looking which side one is on."],
)
def async_to_sync_on_the_loop():
    import asyncio

    from asgiref.sync import async_to_sync

    fetched = []

    async def fetch():
        fetched.append("it")

    async def view():
        try:
            async_to_sync(fetch)()
            print("error:", "none")
        except RuntimeError as error:
            print("error:", type(error).__name__)
            print("message:", error)

    asyncio.run(view())
    print("fetched:", len(fetched))
