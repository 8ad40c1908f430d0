"""What blocks, by name: functions, methods of what a class made, and Django's database calls.

Tables only; :mod:`twogate.django.audit.blocking` looks for these in the code.
"""

from __future__ import annotations

from twogate.django.audit import catalogue
from twogate.django.audit.finding import Rule

__all__ = [
    "CONSUMING",
    "FUNCTIONS",
    "INSTANCES",
    "IN_FUNCTION",
    "LAZY",
    "LOCKS",
    "LOCK_MEND",
    "MANAGERS",
    "METHODS",
    "QUERIES",
    "QUERY_MEND",
    "SAVES",
]

_TO_THREAD = "Await asyncio.to_thread({call}, …) instead."
_HTTP_MEND = (
    "Use an async client: httpx.AsyncClient or aiohttp; or await asyncio.to_thread({call}, …)."
)
_PROCESS_MEND = "Await asyncio.create_subprocess_exec(…) instead."
_CONNECT_MEND = "Await asyncio.open_connection(…) instead."
_LOOKUP_MEND = "Await loop.getaddrinfo(…) instead."
#: How a transaction is mended.
IN_FUNCTION = "Put it in a function, and await sync_to_async(function)()."
#: How a lock is mended; ``{call}`` is its method.
LOCK_MEND = "Use asyncio.Lock if only async code shares it; else await asyncio.to_thread({call})."
#: How a query is mended; ``{twin}`` is the async method.
QUERY_MEND = "Await {twin}(…), or call it within sync_to_async."

_VERBS = frozenset(("get", "post", "put", "patch", "delete", "head", "options", "request"))
_RUNS = ("run", "call", "check_call", "check_output", "getoutput", "getstatusoutput")
_LOOKUPS = ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr")

#: By full name: the rule and the mend, where ``{call}`` is the call as the code writes it.
FUNCTIONS: dict[str, tuple[Rule, str]] = {
    "time.sleep": (catalogue.SLEEPS, "Await asyncio.sleep(…) instead."),
    **{f"requests.{name}": (catalogue.SYNC_HTTP, _HTTP_MEND) for name in _VERBS},
    **{f"httpx.{name}": (catalogue.SYNC_HTTP, _HTTP_MEND) for name in (*_VERBS, "stream")},
    "urllib.request.urlopen": (catalogue.SYNC_HTTP, _HTTP_MEND),
    "urllib.request.urlretrieve": (catalogue.SYNC_HTTP, _HTTP_MEND),
    "urllib3.request": (catalogue.SYNC_HTTP, _HTTP_MEND),
    "open": (catalogue.SYNC_FILE, _TO_THREAD),
    "io.open": (catalogue.SYNC_FILE, _TO_THREAD),
    **{f"subprocess.{name}": (catalogue.SYNC_PROCESS, _PROCESS_MEND) for name in _RUNS},
    "os.system": (catalogue.SYNC_PROCESS, _PROCESS_MEND),
    "os.popen": (catalogue.SYNC_PROCESS, _PROCESS_MEND),
    "socket.create_connection": (catalogue.SYNC_SOCKET, _CONNECT_MEND),
    **{f"socket.{name}": (catalogue.SYNC_SOCKET, _LOOKUP_MEND) for name in _LOOKUPS},
    "smtplib.SMTP": (catalogue.SYNC_SOCKET, _TO_THREAD),
    "smtplib.SMTP_SSL": (catalogue.SYNC_SOCKET, _TO_THREAD),
    "django.core.mail.send_mail": (catalogue.SYNC_SOCKET, "Await sync_to_async({call})(…)."),
    "django.shortcuts.get_object_or_404": (catalogue.SYNC_QUERY, "Await aget_object_or_404(…)."),
    "django.shortcuts.get_list_or_404": (catalogue.SYNC_QUERY, "Await aget_list_or_404(…)."),
    "django.db.connection.cursor": (catalogue.SYNC_QUERY, IN_FUNCTION),
}

_THREADS = ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition")
#: What ``with`` takes hold of.
LOCKS = frozenset(f"threading.{name}" for name in _THREADS)

_CLIENT = (_VERBS | {"send", "stream"}, catalogue.SYNC_HTTP, _HTTP_MEND)
_SOCKET = frozenset(("connect", "accept", "recv", "recvfrom", "sendall", "send"))
_FILES = frozenset(("open", "read_text", "read_bytes", "write_text", "write_bytes"))
_WAITS = (frozenset(("acquire", "wait", "join")), catalogue.SYNC_LOCK, LOCK_MEND)

#: By the full name of what made an object: its methods that block, the rule and the mend.
METHODS: dict[str, tuple[frozenset[str], Rule, str]] = {
    "requests.Session": _CLIENT,
    "requests.session": _CLIENT,
    "httpx.Client": _CLIENT,
    "urllib3.PoolManager": (frozenset(("request", "urlopen")), catalogue.SYNC_HTTP, _HTTP_MEND),
    "subprocess.Popen": (
        frozenset(("wait", "communicate")),
        catalogue.SYNC_PROCESS,
        _PROCESS_MEND,
    ),
    "socket.socket": (_SOCKET, catalogue.SYNC_SOCKET, "Use asyncio's streams."),
    "pathlib.Path": (_FILES, catalogue.SYNC_FILE, _TO_THREAD),
    **dict.fromkeys(LOCKS, _WAITS),
    "threading.Event": _WAITS,
    "threading.Thread": _WAITS,
    "queue.Queue": (frozenset(("get", "put", "join")), catalogue.SYNC_LOCK, "Use asyncio.Queue."),
}

# Django's ORM.


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MANAGERS = _words("objects _default_manager _base_manager")
#: Methods of managers and querysets that ask the database at once; each has a twin with an ``a``.
QUERIES = _words(
    "aggregate bulk_create bulk_update contains count create delete earliest exists explain first"
    " get get_or_create in_bulk last latest update update_or_create"
)
#: Those that make another queryset and ask nothing.
LAZY = _words(
    "all annotate alias complex_filter defer dates datetimes difference distinct exclude extra"
    " filter intersection none only order_by prefetch_related reverse select_for_update"
    " select_related union using values values_list"
)
#: Those that return one instance.
INSTANCES = _words(
    "aget acreate afirst alast alatest aearliest get create first last latest earliest"
)
#: Methods of instances that ask the database.
SAVES = _words("save delete refresh_from_db")
#: Builtins that iterate what they are given.
CONSUMING = _words("list tuple set frozenset sorted len bool dict sum")
