"""Django's sessions as WebSockets see them: whose, until when, and who says that they are over."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

PROGRAM = """
import asyncio, json, os, sys, tempfile, time
import django
from django.conf import settings

engine = sys.argv[1]
folder = tempfile.mkdtemp(prefix="tg-")
settings.configure(
    SECRET_KEY="x",
    INSTALLED_APPS=["django.contrib." + app for app in ("auth", "contenttypes", "sessions")],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder + "/db"}},
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    SESSION_ENGINE="django.contrib.sessions.backends." + engine,
    SESSION_FILE_PATH=folder,
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    TWOGATE_TOPICS={"folder": folder},
    USE_TZ=True,
)
django.setup()
from django.contrib.auth import alogout, get_user_model, login, logout
from django.core.management import call_command
from django.http import HttpRequest
from twogate.django import sessions, topics
from twogate.protocol.events import RequestHead
from twogate.sessions import digest

call_command("migrate", verbosity=0)
told = []
topics._channel.write = lambda topic, data: told.append((topic, json.loads(data)))
sessions.watch()
sessions.watch()
store = sessions.ProjectSessions(True)
User = get_user_model()

def new(user=None):
    request = HttpRequest()
    request.META = {}
    request.session = store._store()
    if user is not None:
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    request.session["x"] = 1
    request.session.save()
    return request

def look(*keys):
    return asyncio.run(store.look(list(keys)))

def ends(action):
    told.clear()
    action()
    assert all(topic == "twogate.sessions" for topic, _ in told)
    # Some stores say it twice: their adelete() calls delete().
    return [order for n, (_, order) in enumerate(told) if (_, order) not in told[:n]]
"""


@pytest.fixture
def run_program(run_python: Run) -> Callable[[str, str], None]:
    def run(engine: str, program: str) -> None:
        done = run_python("-c", PROGRAM + program, engine)
        assert done.returncode == 0, done.stderr

    return run


ENGINES = ["db", "cached_db", "cache", "file", "signed_cookies"]


@pytest.mark.parametrize("engine", ENGINES)
def test_whose_a_session_is_and_for_how_long(
    run_program: Callable[[str, str], None], engine: str
) -> None:
    run_program(
        engine,
        """
ann = User.objects.create(username="ann")
named, nobodys = new(ann), new()
named.session.set_expiry(100); named.session.save()
found = look(named.session.session_key, "unknown-key-of-nobody", nobodys.session.session_key)
known, unknown, anonymous = found
assert unknown is None, unknown
assert known.user == str(ann.pk)
assert known.proof == digest(ann.get_session_auth_hash())
assert 90 < known.ends_in <= 100, known
assert (anonymous.user, anonymous.ends_in) == ("", 3600.0), anonymous
assert look("x", "", "../../etc/passwd", "a" * 4000) == [None] * 4
assert sessions.ProjectSessions(False)._look([named.session.session_key])[0].ends_in == float("inf")
""",
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_all_that_ends_a_session_is_told(
    run_program: Callable[[str, str], None], engine: str
) -> None:
    run_program(
        engine,
        """
ann = User.objects.create(username="ann")

def over(key):
    return [{"session": digest(key)}]

request = new(ann)
key = request.session.session_key
assert ends(lambda: logout(request)) == over(key)
request = new(ann)
key = request.session.session_key
assert ends(lambda: asyncio.run(alogout(request))) == over(key)
request = new(ann)
key = request.session.session_key
if sys.argv[1] != "signed_cookies":  # whose key is all there is of it
    assert ends(lambda: request.session.cycle_key()) == over(key)
    key = request.session.session_key
    assert ends(lambda: request.session.delete(key)) == over(key)
assert ends(lambda: new().session.save()) == []
""",
    )


def test_of_a_user_all_that_makes_sessions_worthless_is_told(
    run_program: Callable[[str, str], None],
) -> None:
    run_program(
        "db",
        """
from django.contrib.auth.models import update_last_login
from django.db import transaction
ann = User.objects.create(username="ann")
pk = str(ann.pk)

def proofs():
    return [digest(ann.get_session_auth_hash())]

assert ends(lambda: User.objects.create(username="bob")) == []
assert ends(lambda: update_last_login(None, ann)) == []
assert ends(ann.save) == [{"user": pk, "proofs": proofs()}]
before = proofs()
ann.set_password("another")
(order,) = ends(ann.save)
assert order == {"user": pk, "proofs": proofs()} and proofs() != before
settings.SECRET_KEY_FALLBACKS = ["old"]
(order,) = ends(ann.save)
assert len(order["proofs"]) == 2 and order["proofs"][0] == proofs()[0]
settings.SECRET_KEY_FALLBACKS = []
ann.is_active = False
assert ends(ann.save) == [{"user": pk, "proofs": []}]
assert ends(ann.delete) == [{"user": pk, "proofs": []}]

# Nobody hears of what is rolled back, or too early.
def in_transaction():
    with transaction.atomic():
        new_one = new(User.objects.get(username="bob"))
        told.clear()
        logout(new_one)
        assert told == []
assert len(ends(in_transaction)) == 1
def rolled_back():
    try:
        with transaction.atomic():
            logout(new(User.objects.get(username="bob")))
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
assert ends(rolled_back) == []
""",
    )


def test_the_key_is_the_session_cookies(run_program: Callable[[str, str], None]) -> None:
    run_program(
        "db",
        """
def key(*cookies):
    headers = [(b"cookie", cookie) for cookie in cookies]
    return store.key(RequestHead("GET", b"/", b"", "1.1", headers))

assert key() is None
assert key(b"a=1; b=2") is None
assert key(b"a=1; sessionid=abc; b=2") == "abc"
assert key(b"a=1", b"sessionid=abc") == "abc"
assert key(b"xsessionid=abc") is None
assert key(b"sessionid=") is None
assert key(b"sessionid=" + b"x" * 5000) is None
assert key(b"\\xff; sessionid=abc") == "abc"
""",
    )


def test_a_database_is_asked_once_for_all(run_program: Callable[[str, str], None]) -> None:
    run_program(
        "db",
        """
from django.db import connection
from django.test.utils import CaptureQueriesContext
keys = [new().session.session_key for _ in range(20)]
with CaptureQueriesContext(connection) as queries:
    assert None not in store._look(keys)
assert len(queries) == 1, queries.captured_queries
""",
    )


def test_orders_are_obeyed_and_what_was_missed_makes_it_ask(
    run_program: Callable[[str, str], None],
) -> None:
    run_program(
        "db",
        """
class Sessions:
    def __init__(self):
        self.heard = []
    def end(self, name):
        self.heard.append(name)
    def end_others(self, user, proofs):
        self.heard.append((user, proofs))
    def doubt(self):
        self.heard.append("doubt")

del topics._channel.write

async def main():
    heard = Sessions()
    store.listen(heard)
    await asyncio.sleep(0)
    topics.tell(sessions.TOPIC, {"session": "abc"})
    topics.tell(sessions.TOPIC, {"user": "5", "proofs": ["x"]})
    async with asyncio.timeout(15):
        while len(heard.heard) < 2:
            await asyncio.sleep(0.01)
    assert heard.heard == ["abc", ("5", ["x"])], heard.heard
    for number in range(3000):  # more than are kept
        topics.tell(sessions.TOPIC, {"session": str(number)})
    async with asyncio.timeout(15):
        while "doubt" not in heard.heard:
            await asyncio.sleep(0.01)
    count = len(heard.heard)
    topics.tell(sessions.TOPIC, {"session": "last"})
    async with asyncio.timeout(15):
        while heard.heard[-1] != "last":
            await asyncio.sleep(0.01)
    store.close()
    from twogate.realtime.feed import _feeds
    for feed in _feeds.values():
        feed.close()
    await asyncio.sleep(0)

asyncio.run(main())
""",
    )


def test_a_logout_works_where_nobody_can_be_told(run_program: Callable[[str, str], None]) -> None:
    run_program(
        "db",
        """
from django.db import transaction
del topics._channel.write
os.chmod(folder, 0o777)  # others could get at what is in there
settings.TWOGATE_TOPICS = {"folder": folder}
logout(new(User.objects.create(username="ann")))
with transaction.atomic():
    logout(new(User.objects.create(username="bob")))
assert topics.statistics()["lost"] >= 2, topics.statistics()
""",
    )
