"""Leases: which thread a request's calls run on, and for how long it keeps it."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextvars import Context, ContextVar
from typing import Any, TypeVar

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.http import HttpResponse
from django.urls import path
from tests.support.http import eventually

from .conftest import Database
from .test_handler import call

T = TypeVar("T")


class Local(threading.local):
    """One of those that have something from the beginning."""

    def __init__(self) -> None:
        self.value = -1


LOCALS = {"plain": threading.local(), "with __init__": Local()}
LOCAL = LOCALS["plain"]
NAME: ContextVar[str] = ContextVar("name", default="nobody")
#: Seconds within which what may not deadlock is over.
SOON = 15.0


@pytest.fixture(autouse=True)
def loaded(urlconf: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    urlconf()
    from twogate.django import traces

    traces.look_around()
    # As in a project where nobody has marked a connection yet.
    monkeypatch.setattr(traces, "_marks_are_used", False)
    yield


def thread() -> str:
    return threading.current_thread().name


def run(main: Callable[[], Awaitable[T]], threads: int = 4) -> T:
    """Run a coroutine on a loop whose leases have so many threads, and see that these end."""
    from twogate.django.executors import use_threads
    from twogate.gateway.threads import WorkerThreads

    async def with_threads() -> T:
        pool = WorkerThreads(asyncio.get_running_loop(), threads)
        use_threads(pool)
        try:
            return await asyncio.wait_for(main(), SOON)
        finally:
            assert await asyncio.to_thread(pool.close, 5.0)

    return asyncio.run(with_threads())


def request(view: Callable[..., Awaitable[T]], *arguments: Any) -> asyncio.Task[T]:
    """Begin a request: a task with a context and a lease of its own."""
    from twogate.django.executors import leased

    async def answer() -> T:
        with leased():
            return await view(*arguments)

    return asyncio.get_running_loop().create_task(answer(), context=Context())


async def together(count: int, view: Callable[[int, asyncio.Barrier], Awaitable[T]]) -> list[T]:
    """The results of so many requests at once, which share a barrier."""
    barrier = asyncio.Barrier(count)
    return list(await asyncio.gather(*(request(view, n, barrier) for n in range(count))))


def execute(statement: str, *parameters: Any) -> Any:
    """Run SQL on this thread's connection; the first value it returns."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchone()[0] if cursor.description else None


def backend() -> int:
    return int(execute("SELECT pg_backend_pid()"))


def insert(line: str) -> None:
    execute("INSERT INTO line VALUES (%s)", line)


def atomic() -> Any:
    from django.db import transaction

    return transaction.atomic()


# Which thread.


def test_a_request_holds_no_thread_between_calls() -> None:
    async def view(_: int, barrier: asyncio.Barrier) -> str:
        found: str = await sync_to_async(thread)()
        await barrier.wait()  # all fifty are under way at once
        return found

    names = run(lambda: together(50, view), threads=2)
    assert set(names) <= {"thread-1", "thread-2"}


def test_calls_run_in_the_order_submitted_and_never_side_by_side() -> None:
    seen: list[int] = []
    inside: list[str] = []

    def note(number: int) -> None:
        inside.append(thread())
        time.sleep(0.0005)
        seen.append(number)
        assert len(inside) == 1
        inside.clear()

    async def view(_: int, barrier: asyncio.Barrier) -> None:
        await asyncio.gather(*map(sync_to_async(note), range(50)))

    run(lambda: together(1, view))
    assert seen == list(range(50))


def test_a_thread_local_that_was_set_to_the_same_before_keeps_the_thread() -> None:
    def remember(value: int) -> None:
        LOCAL.value = value

    def recall() -> int | None:
        return getattr(LOCAL, "value", None)

    async def view(number: int, barrier: asyncio.Barrier) -> int | None:
        assert await sync_to_async(recall)() is None  # nobody else's
        await sync_to_async(remember)(number)
        await barrier.wait()
        found: int | None = await sync_to_async(recall)()
        return found

    async def rounds() -> list[list[int | None]]:
        # The second round sets what the first has left on some of the threads.
        return [await together(4, view) for _ in range(2)]

    assert run(rounds, threads=4) == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize("local", LOCALS.values(), ids=LOCALS)
def test_a_thread_local_keeps_the_thread(local: Any) -> None:
    def remember(value: int) -> None:
        local.value = value

    async def view(number: int, barrier: asyncio.Barrier) -> int | None:
        await sync_to_async(remember)(number)
        await barrier.wait()
        return await sync_to_async(lambda: getattr(local, "value", None))()

    assert run(lambda: together(4, view), threads=4) == [0, 1, 2, 3]


def test_context_variables_cross_both_ways() -> None:
    def rename(name: str) -> str:
        before = NAME.get()
        NAME.set(name)
        return before

    async def view(number: int, barrier: asyncio.Barrier) -> tuple[str, str]:
        NAME.set(f"request {number}")
        await barrier.wait()
        before = await sync_to_async(rename)(f"renamed {number}")
        await barrier.wait()
        return before, NAME.get()

    found = run(lambda: together(10, view), threads=2)
    assert found == [(f"request {n}", f"renamed {n}") for n in range(10)]


def test_an_exception_reaches_its_caller_alone() -> None:
    def fail() -> None:
        raise ValueError("of one call")

    async def view(number: int, barrier: asyncio.Barrier) -> str:
        if number == 0:
            with pytest.raises(ValueError, match="of one call"):
                await sync_to_async(fail)()
        await barrier.wait()
        found: str = await sync_to_async(thread)()
        return found

    assert run(lambda: together(5, view), threads=1) == ["thread-1"] * 5


def test_a_cancelled_call_that_waits_is_never_run() -> None:
    ran: list[str] = []
    begun, gate = threading.Event(), threading.Event()

    def occupy() -> None:
        begun.set()
        assert gate.wait(SOON)

    async def main() -> None:
        first = request(sync_to_async(occupy))
        await asyncio.to_thread(begun.wait)
        second = request(sync_to_async(ran.append), "second")
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.set()
        await first
        await request(sync_to_async(ran.append), "third")

    run(main, threads=1)
    assert ran == ["third"]


def test_a_call_that_runs_when_its_request_is_cancelled_disturbs_nobody() -> None:
    begun, gate = threading.Event(), threading.Event()

    def occupy() -> None:
        begun.set()
        assert gate.wait(SOON)

    async def main() -> list[str]:
        cancelled = request(sync_to_async(occupy))
        await asyncio.to_thread(begun.wait)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        others = asyncio.ensure_future(together(3, lambda _n, _b: sync_to_async(thread)()))
        gate.set()
        return await others

    assert run(main, threads=1) == ["thread-1"] * 3


def test_a_worker_thread_goes_back_without_the_loop_of_the_request() -> None:
    """A sync view on the WSGI side that runs a coroutine gets a loop of its own, whoever had the
    thread before."""
    from twogate.gateway.threads import WorkerThreads

    loops: list[asyncio.AbstractEventLoop] = []

    async def note() -> None:
        loops.append(asyncio.get_running_loop())

    async def main() -> None:
        from twogate.django.executors import use_threads

        pool = WorkerThreads(asyncio.get_running_loop(), 1)
        use_threads(pool)
        await request(sync_to_async(thread))
        pool.submit(lambda _argument, _name: async_to_sync(note)(), None)
        await asyncio.to_thread(lambda: eventually(lambda: loops))
        assert loops[0] is not asyncio.get_running_loop()
        assert await asyncio.to_thread(pool.close, 5.0)

    asyncio.run(main())


def test_loops_that_come_and_go_leave_no_threads() -> None:
    async def main() -> None:
        await together(3, lambda _n, _b: sync_to_async(thread)())

    for _ in range(20):
        asyncio.run(main())

    def workers() -> int:
        return sum(found.name.startswith("thread-") for found in threading.enumerate())

    # The last loop's wait for the next one.
    eventually(lambda: workers() <= 3, "threads of closed loops are left")


# What is open on a thread.


def test_a_transaction_stays_on_its_thread_and_nobody_else_gets_into_it(database: Database) -> None:
    """Two requests hold one each over several awaits, while twenty others work around them."""

    async def view(number: int, barrier: asyncio.Barrier) -> set[int]:
        if number >= 2:
            await barrier.wait()
            await sync_to_async(insert)(f"beside {number}")
            assert await sync_to_async(execute)("SELECT count(*) FROM line WHERE text ~ 'in'") == 0
            await barrier.wait()
            return set()
        block = atomic()
        await sync_to_async(block.__enter__)()
        backends = {await sync_to_async(backend)()}
        await sync_to_async(insert)(f"in {number}")
        await barrier.wait()
        backends.add(await sync_to_async(backend)())
        await barrier.wait()
        assert database.lines() == sorted(f"beside {n}" for n in range(2, 22))
        backends.add(await sync_to_async(backend)())
        await sync_to_async(block.__exit__)(None, None, None)
        return backends

    first, second, *_ = run(lambda: together(22, view), threads=3)
    assert len(first) == len(second) == 1
    assert first != second
    assert database.lines()[-2:] == ["in 0", "in 1"]


@pytest.mark.parametrize("how", ["atomic", "autocommit", "wrapper", "cursor"])
def test_what_an_ended_request_left_open_is_not_the_next_ones(database: Database, how: str) -> None:
    """It was cancelled, say, before it could close it; another request had used the thread, too."""
    from django.db import connection

    left: list[Any] = []

    def leave_open() -> None:
        if how == "atomic":
            atomic().__enter__()
        elif how == "autocommit":
            connection.set_autocommit(False)
        elif how == "wrapper":
            left.append(connection.execute_wrapper(lambda *_: None))
            left[0].__enter__()
        else:
            left.append(connection.chunked_cursor())
            left[0].execute("SELECT generate_series(1, 1000)")

    async def leaving() -> None:
        await sync_to_async(leave_open)()
        if how in ("atomic", "autocommit"):
            await sync_to_async(insert)("never committed")

    async def lasting(used: asyncio.Event, over: asyncio.Event) -> None:
        await sync_to_async(backend)()
        used.set()
        await over.wait()

    async def main() -> None:
        used, over = asyncio.Event(), asyncio.Event()
        other = request(lasting, used, over)
        await used.wait()
        await request(leaving)
        for line in ("next", "one more"):
            await request(sync_to_async(insert), line)
        over.set()
        await other
        assert database.lines() == ["next", "one more"]

    run(main, threads=1)
    assert database.lines() == ["next", "one more"]


def test_a_query_that_failed_keeps_no_thread(database: Database) -> None:
    from django.db import ProgrammingError

    async def view(number: int, barrier: asyncio.Barrier) -> str:
        try:
            await sync_to_async(execute)("SELECT nothing FROM nowhere")
        except ProgrammingError as error:
            await barrier.wait()  # all are under way, and each still has its error
            return str(error)
        raise AssertionError("it did not fail")

    found = run(lambda: together(10, view), threads=2)
    assert all("nowhere" in error for error in found)


def test_the_first_use_of_a_connection_keeps_no_thread(database: Database) -> None:
    async def view(number: int, barrier: asyncio.Barrier) -> int:
        found = await sync_to_async(backend)()
        await barrier.wait()
        return found

    assert len(set(run(lambda: together(10, view), threads=2))) <= 2


def test_a_mark_on_a_connection_keeps_the_thread(database: Database) -> None:
    def use(tenant: str) -> None:
        from django.db import connection

        connection.tenant = tenant

    def tenant() -> str:
        from django.db import connection

        return str(connection.tenant)

    async def view(number: int, barrier: asyncio.Barrier) -> str:
        await sync_to_async(use)(f"tenant {number}")
        await barrier.wait()
        return await sync_to_async(tenant)()

    assert run(lambda: together(3, view), threads=3) == ["tenant 0", "tenant 1", "tenant 2"]


@pytest.fixture
def rows(database: Database) -> Iterator[int]:
    """Rows of a model: sessions."""
    count = 500
    database.own.execute(
        "CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY,"
        " session_data text NOT NULL, expire_date timestamptz NOT NULL)"
    )
    database.own.execute(
        "INSERT INTO django_session SELECT to_char(n, 'FM0000'), '', now()"
        f" FROM generate_series(1, {count}) n"
    )
    yield count
    database.own.execute("DROP TABLE django_session")


def test_many_requests_read_by_server_side_cursors_on_one_thread(rows: int) -> None:
    from django.contrib.sessions.models import Session

    async def view(number: int, barrier: asyncio.Barrier) -> list[str]:
        keys = []
        async for session in Session.objects.order_by("pk").aiterator(chunk_size=50):
            keys.append(session.pk)
            if len(keys) % 70 == 0:
                await asyncio.sleep(0)
        return keys

    for keys in run(lambda: together(8, view), threads=1):
        assert keys == [f"{n:04}" for n in range(1, rows + 1)]


# Connections.


def configured(**options: Any) -> Any:
    """Change the entry of the database in ``DATABASES``."""
    from django.db import connections

    connections.settings["default"].update(options)


@pytest.mark.parametrize("waits", [False, True])
def test_without_a_maximum_age_a_connection_ends_with_its_request(
    database: Database, waits: bool
) -> None:
    async def view(number: int, barrier: asyncio.Barrier) -> set[int]:
        backends = {await sync_to_async(backend)() for _ in range(5)}
        if waits:  # so long that its thread has gone to sleep
            await asyncio.sleep(0.2)
        return backends

    async def main() -> None:
        used = [(await together(1, view))[0] for _ in range(5)]
        # On a busy machine a thread may have had nothing to do for 50 ms between two queries.
        assert min(map(len, used)) == 1
        await asyncio.to_thread(
            eventually, lambda: database.connections() == 0, "a connection is left open"
        )

    run(main)


def test_no_connection_outlives_many_requests_at_once(database: Database) -> None:
    """Also where the governor sends a thread to sleep right after its last call."""

    async def view(number: int, barrier: asyncio.Barrier) -> int:
        await sync_to_async(execute)("SELECT pg_sleep(0.02)")
        await barrier.wait()
        found: int = await sync_to_async(database_connections)()
        assert found <= 4 or database.has_at_most(4)
        return found

    def database_connections() -> int:
        return int(
            execute("SELECT count(*) FROM pg_stat_activity WHERE application_name ~ 'twogate'")
        )

    async def main() -> None:
        assert min(await together(200, view)) >= 1
        await asyncio.to_thread(
            eventually, lambda: database.connections() == 0, "a connection is left open"
        )

    run(main, threads=4)


def test_a_persistent_connection_serves_all_requests(database: Database) -> None:
    configured(CONN_MAX_AGE=None)

    async def main() -> set[int]:
        return {(await together(1, lambda _n, _b: sync_to_async(backend)()))[0] for _ in range(100)}

    assert len(run(main, threads=1)) == 1
    eventually(lambda: database.connections() == 0, "a thread left its connection open")


def test_connections_never_outnumber_threads(database: Database) -> None:
    configured(CONN_MAX_AGE=None)

    async def view(number: int, barrier: asyncio.Barrier) -> set[int]:
        backends = {await sync_to_async(backend)()}
        await barrier.wait()
        assert database.has_at_most(4)
        backends.add(await sync_to_async(backend)())
        return backends

    assert len(set().union(*run(lambda: together(200, view), threads=4))) <= 4


def test_a_connection_that_broke_is_replaced_although_others_use_its_thread(
    database: Database,
) -> None:
    """A stream that lasts for hours has used the connection; then the database restarts."""
    configured(CONN_MAX_AGE=None)
    from django.db import OperationalError

    async def lasting(first: asyncio.Future[int], over: asyncio.Event) -> None:
        first.set_result(await sync_to_async(backend)())
        await over.wait()

    async def main() -> None:
        first, over = asyncio.get_running_loop().create_future(), asyncio.Event()
        other = request(lasting, first, over)
        assert database.value("SELECT pg_terminate_backend(%s, 5000)", await first)
        with pytest.raises(OperationalError):  # nobody could know
            await request(sync_to_async(backend))
        assert await request(sync_to_async(backend)) != await first
        over.set()
        await other

    run(main, threads=1)


def test_djangos_own_pool_serves_async_code(database: Database) -> None:
    """Two connections for four threads and fifty requests that all wait at the same time."""
    from django.db import connections
    from django.db.backends.postgresql.base import DatabaseWrapper

    options = connections.settings["default"]["OPTIONS"]
    configured(OPTIONS={**options, "pool": {"min_size": 1, "max_size": 2, "timeout": 10}})

    async def view(number: int, barrier: asyncio.Barrier) -> int:
        await sync_to_async(backend)()
        await barrier.wait()
        assert database.has_at_most(2)
        found: int = await sync_to_async(backend)()
        return found

    try:
        assert len(set(run(lambda: together(50, view), threads=4))) <= 2
    finally:
        DatabaseWrapper._connection_pools.pop("default").close()


# The end of a request, and what comes after it.


def test_a_task_that_outlives_its_request_can_use_the_database(database: Database) -> None:
    tasks: list[asyncio.Task[None]] = []

    async def later(over: asyncio.Event) -> None:
        await over.wait()
        block = atomic()
        await sync_to_async(block.__enter__)()
        await sync_to_async(insert)("in a transaction")
        await together(5, lambda n, _b: sync_to_async(insert)(f"other {n}"))
        assert database.lines() == [f"other {n}" for n in range(5)]
        await sync_to_async(block.__exit__)(None, None, None)

    async def view(over: asyncio.Event) -> None:
        await sync_to_async(backend)()
        tasks.append(asyncio.create_task(later(over)))

    async def main() -> None:
        over = asyncio.Event()
        await request(view, over)
        over.set()
        await tasks[0]
        await asyncio.to_thread(
            eventually, lambda: database.connections() == 0, "a connection is left open"
        )

    run(main, threads=2)
    assert "in a transaction" in database.lines()


# Nobody waits for ever.


def test_requests_that_keep_every_thread_and_wait_for_another(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets a thread beyond the limit, after a while, and can have another call afterwards."""
    monkeypatch.setattr("twogate.django.executors.PATIENCE", 0.2)

    async def view(number: int, barrier: asyncio.Barrier) -> None:
        for _ in range(2):
            block = atomic()
            await sync_to_async(block.__enter__)()
            await sync_to_async(insert)(f"{number}")
            await barrier.wait()
            await sync_to_async(block.__exit__)(None, None, None)
            await barrier.wait()

    run(lambda: together(3, view), threads=2)
    assert database.lines() == sorted("012" * 2)
    eventually(lambda: database.connections() == 0, "a thread left its connection open")


def test_a_few_threads_beyond_the_limit_help_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twogate.django.executors.PATIENCE", 0.2)
    alive: list[int] = []

    def remember() -> None:
        LOCAL.value = object()

    def look() -> None:
        alive.append(threading.active_count())

    async def view(number: int, barrier: asyncio.Barrier) -> None:
        if number < 2:
            await sync_to_async(remember)()
        await barrier.wait()
        if number >= 2:
            await sync_to_async(look)()
            await sync_to_async(look)()
        await barrier.wait()

    before = threading.active_count()
    run(lambda: together(102, view), threads=2)
    assert len(alive) == 200
    assert max(alive) - before <= 2 + 3


class SyncOnly:
    """A middleware as they were written before there was another kind."""

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        response = self.get_response(request)
        response["X-Sync"] = thread()
        return response


def handler(urlconf: Callable[..., None], *views: Any, **settings: Any) -> Any:
    from twogate.django.handler import AsgiHandler

    patterns = [path(f"{view.__name__}/", view) for view in views]
    urlconf(*patterns, **{"MIDDLEWARE": [], "ALLOWED_HOSTS": ["testserver"], **settings})
    return AsgiHandler()


def body(sent: list[dict[str, Any]]) -> str:
    return b"".join(message.get("body", b"") for message in sent[1:]).decode()


def test_a_sync_middleware_around_an_async_view_that_needs_the_thread(
    urlconf: Callable[..., None],
) -> None:
    async def view(request: Any) -> HttpResponse:
        return HttpResponse(await sync_to_async(thread)())

    application = handler(urlconf, view, MIDDLEWARE=[f"{__name__}.SyncOnly"])

    async def main() -> list[str]:
        answers = asyncio.gather(*(call(application, path="/view/") for _ in range(20)))
        return [body(sent) for sent in await answers]

    assert run(main, threads=1) == ["thread-1"] * 20


def test_an_async_call_in_a_sync_view_that_needs_the_thread(urlconf: Callable[..., None]) -> None:
    async def inner() -> str:
        found: str = await sync_to_async(nested)()
        return found

    def nested() -> str:
        return async_to_sync(innermost)()

    async def innermost() -> str:
        found: str = await sync_to_async(thread)()
        return found

    def view(request: Any) -> HttpResponse:
        return HttpResponse(async_to_sync(inner)())

    application = handler(urlconf, view)

    async def main() -> list[str]:
        answers = asyncio.gather(*(call(application, path="/view/") for _ in range(20)))
        return [body(sent) for sent in await answers]

    assert run(main, threads=1) == ["thread-1"] * 20


def test_requests_on_every_thread_that_wait_on_the_loop_for_another(
    urlconf: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync middleware keeps a thread as long as its view waits."""
    monkeypatch.setattr("twogate.django.executors.PATIENCE", 0.2)

    async def view(request: Any) -> HttpResponse:
        await barriers[0].wait()
        return HttpResponse("met")

    application = handler(urlconf, view, MIDDLEWARE=[f"{__name__}.SyncOnly"])
    barriers: list[asyncio.Barrier] = []

    async def main() -> list[str]:
        barriers.append(asyncio.Barrier(4))
        answers = asyncio.gather(*(call(application, path="/view/") for _ in range(4)))
        return [body(sent) for sent in await answers]

    assert run(main, threads=2) == ["met"] * 4


# What Django promises sync code.


@pytest.mark.parametrize("fails", [False, True])
def test_atomic_requests_hold_for_sync_views(
    database: Database, urlconf: Callable[..., None], fails: bool
) -> None:
    configured(ATOMIC_REQUESTS=True)

    def view(request: Any) -> HttpResponse:
        insert("of the view")
        assert database.lines() == []
        if fails:
            raise ValueError("rolled back")
        return HttpResponse("done")

    application = handler(urlconf, view)
    sent = run(lambda: call(application, path="/view/"))
    assert sent[0]["status"] == (500 if fails else 200)
    assert database.lines() == ([] if fails else ["of the view"])


PROJECT = """
import sys

from django.conf import settings

settings.configure(
    SECRET_KEY="x", ROOT_URLCONF="tests_of_it", ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
from twogate.django import get_asgi_application

get_asgi_application()
from django.test.runner import DiscoverRunner

raise SystemExit(DiscoverRunner(verbosity=2).run_tests(sys.argv[1:]))
"""

TESTS = """
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import AsyncClient, TestCase, TransactionTestCase
from django.urls import path


async def count(request):
    await User.objects.acreate(username="of the view")
    return HttpResponse(str(await User.objects.acount()))


urlpatterns = [path("", count)]


class InATransaction(TestCase):
    @classmethod
    def setUpTestData(cls):
        User.objects.create(username="of the class")

    def test_a_sync_client(self):
        self.assertEqual(self.client.get("/").content, b"2")
        self.assertEqual(User.objects.count(), 2)

    async def test_an_async_client(self):
        self.assertEqual((await AsyncClient().get("/")).content, b"2")
        self.assertEqual(await User.objects.acount(), 2)


class WithoutOne(TransactionTestCase):
    async def test_an_async_client(self):
        self.assertEqual((await AsyncClient().get("/")).content, b"1")
"""


def test_djangos_test_cases_see_the_transaction_of_the_test(
    write: Callable[[str, str], Any],
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    write("project.py", PROJECT)
    write("tests_of_it.py", TESTS)
    done = run_python("project.py", "tests_of_it", PYTHONWARNINGS="error")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran 3 tests" in done.stderr
