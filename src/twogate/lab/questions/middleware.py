"""Questions on middleware: its order, its two kinds, and what mixing them costs under ASGI."""

from twogate.lab.bank import EASY, HARD, MEDIUM, choose_one, order, prints, right, wrong


@order(
    EASY,
    "`MIDDLEWARE` lists `outer`, then `inner`. In what order is this run for one request?",
    {
        "outer-in": "`outer`, before it calls `get_response`",
        "inner-in": "`inner`, before it calls `get_response`",
        "view": "the view",
        "inner-out": "`inner`, after `get_response` has returned",
        "outer-out": "`outer`, after `get_response` has returned",
    },
    hint="Each one wraps all that stand below it in the list, like the skins of an onion.",
    because=[
        "The request passes the list from top to bottom.",
        "The innermost `get_response` is the view.",
        "The response passes the list the other way, from bottom to top.",
    ],
    mistakes=["To expect the response in the order of the list."],
)
def order_of_middleware():
    from django.http import HttpResponse

    from twogate.lab.stage import ask_wsgi, site

    steps = []

    def middleware(name):
        def factory(get_response):
            def call(request):
                steps.append(name + "-in")
                response = get_response(request)
                steps.append(name + "-out")
                return response

            return call

        return factory

    def page(request):
        steps.append("view")
        return HttpResponse()

    import sys

    here = sys.modules["__main__"]
    here.outer, here.inner = middleware("outer"), middleware("inner")
    site({"": page}, MIDDLEWARE=["__main__.outer", "__main__.inner"])
    ask_wsgi("/")
    print("order:", *steps)


@choose_one(
    MEDIUM,
    "A site served through ASGI has one middleware that knows only sync, and an async view. Where"
    " do the two run?",
    [
        right(
            "The middleware on another thread, the view on the event loop's.",
            lambda f: not f.middleware_on_loop and f.view_on_loop and f.status == 200,
        ),
        wrong("Both on the event loop's thread.", lambda f: f.middleware_on_loop),
        wrong("Both on another thread.", lambda f: not f.view_on_loop),
        wrong("Django refuses the combination.", lambda f: f.status == 500),
    ],
    hint="Sync code may block. Async code needs its loop.",
    because=[
        "A sync middleware might block, so Django runs it on a thread beside the loop.",
        "Its `get_response` leads to an async view, so Django goes back to the loop for that.",
        "The page is right, but the request crossed from the loop to a thread and back, and one"
        " thread was taken all the time that the view waited.",
    ],
    mistakes=[
        "One sync middleware in the list can undo what async views are for: with it, each waiting"
        " request holds a thread.",
    ],
)
def sync_middleware_async_view():
    import asyncio
    import sys
    import threading

    from django.http import HttpResponse

    from twogate.lab.stage import ask_asgi, site

    ran_on = {}

    def middleware(get_response):
        def call(request):
            ran_on["middleware"] = threading.current_thread()
            return get_response(request)

        return call

    async def page(request):
        ran_on["view"] = threading.current_thread()
        return HttpResponse()

    async def main():
        loop_thread = threading.current_thread()
        print("status:", (await ask_asgi("/")).status)
        print("middleware on loop:", ran_on["middleware"] is loop_thread)
        print("view on loop:", ran_on["view"] is loop_thread)

    sys.modules["__main__"].middleware = middleware
    site({"": page}, MIDDLEWARE=["__main__.middleware"])
    asyncio.run(main())


@prints(
    MEDIUM,
    "A middleware for both gateways looks at what it is given as `get_response`. What is printed?",
    [
        right("wsgi coroutine function: False\nasgi coroutine function: True"),
        wrong("wsgi coroutine function: True\nasgi coroutine function: True"),
        wrong("wsgi coroutine function: False\nasgi coroutine function: False"),
        wrong("wsgi coroutine function: True\nasgi coroutine function: False"),
    ],
    hint="`sync_and_async_middleware` tells Django: give me whatever you have, I can do both.",
    because=[
        "Under WSGI the chain is sync, so `get_response` is an ordinary function.",
        "Under ASGI it is a coroutine function, and the middleware must return one as well.",
        "So such a middleware looks at `get_response` once and returns the fitting inner function."
        " Nothing needs to be adapted.",
    ],
    mistakes=["To return a sync function in both cases: under ASGI it would get a coroutine."],
)
def both_kinds_of_middleware():
    import sys
    from inspect import iscoroutinefunction

    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application
    from django.utils.decorators import sync_and_async_middleware

    from twogate.lab.stage import site

    @sync_and_async_middleware
    def middleware(get_response):
        print(gateway, "coroutine function:", iscoroutinefunction(get_response))
        return get_response

    sys.modules["__main__"].middleware = middleware
    site({}, MIDDLEWARE=["__main__.middleware"])
    gateway = "wsgi"
    get_wsgi_application()
    gateway = "asgi"
    get_asgi_application()


@choose_one(
    HARD,
    "Three middlewares and an async view, through Django's own ASGI handler. Which list costs fewer"
    " hops to a thread?",
    [
        right(
            "`sync, sync, async`: neighbours of one kind share a hop.",
            lambda f: f.sync_sync_async < f.sync_async_sync,
        ),
        wrong(
            "`sync, async, sync`: the hops are spread evenly.",
            lambda f: f.sync_async_sync < f.sync_sync_async,
        ),
        wrong("Both cost the same.", lambda f: f.sync_async_sync == f.sync_sync_async),
    ],
    hint="Count how often the way from the top to the view changes from async to sync.",
    because=[
        "Django goes to a thread wherever an async part calls a sync one.",
        "Two sync middlewares in a row call each other directly, on the same thread: one hop.",
        "An async one between them leads back to the loop, and the next sync one to a thread again:"
        " two hops.",
        "So keep middlewares of one kind together where their order allows it.",
    ],
    mistakes=["To count middlewares instead of changes from one kind to the other."],
)
def hops_of_middleware():
    import asyncio
    import sys

    from asgiref.sync import SyncToAsync
    from django.http import HttpResponse
    from django.utils.decorators import async_only_middleware, sync_only_middleware

    from twogate.lab.stage import ask_asgi, site

    @sync_only_middleware
    def sync(get_response):
        def sync_call(request):
            return get_response(request)

        return sync_call

    @async_only_middleware
    def asynchronous(get_response):
        async def async_call(request):
            return await get_response(request)

        return async_call

    async def page(request):
        return HttpResponse()

    hops = []
    original = SyncToAsync.__call__

    async def counting(self, *args, **kwargs):
        # Only hops for a middleware: Django also sends signals in a thread.
        if getattr(self.func, "__name__", "") in ("sync_call", "inner"):
            hops.append(self.func)
        return await original(self, *args, **kwargs)

    SyncToAsync.__call__ = counting
    from django.test import override_settings

    main = sys.modules["__main__"]
    main.sync, main.asynchronous = sync, asynchronous
    site({"": page})
    for name in ("sync sync async", "sync async sync"):
        kinds = name.replace("async", "asynchronous").split()
        with override_settings(MIDDLEWARE=["__main__." + kind for kind in kinds]):
            asyncio.run(ask_asgi("/"))
        print(name + ":", len(hops))
        hops.clear()
