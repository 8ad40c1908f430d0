"""Every rule of the audit, with its stable id. ``docs/check.md`` has the same in one table.

Hundreds stand for a group: 0 loading and entry points, 1 views and middleware, 2 what blocks the
event loop, 3 real time, 4 databases, 5 operation. A number is never given twice.
"""

from __future__ import annotations

from twogate.django.audit.finding import Rule

__all__ = ["RULES"]

CANNOT_LOAD = Rule(
    "E001", "the project cannot be loaded", "No server can serve a project that does not import."
)
SYNTAX_ERROR = Rule(
    "E002", "a file is not valid Python", "Whatever imports this file fails, and the site with it."
)
OTHER_GETTER = Rule(
    "E003",
    "an entry point calls a function that it does not import",
    "Python raises a NameError when a server imports the file, so the site does not start.",
)
WRONG_GETTER = Rule(
    "E004",
    "an entry point has the other gateway's application",
    "WSGI and ASGI servers call their applications differently: each request would fail.",
)
NO_SUCH_APPLICATION = Rule(
    "E005",
    "an entry point is not where it is looked for",
    "Servers find the application by this name, and stop where there is none.",
)
SETTINGS_NOT_NAMED = Rule(
    "W006",
    "an entry point asks for the application before it names the settings",
    "Django reads DJANGO_SETTINGS_MODULE when the application is made. A server other than Twogate"
    " has not set it, and stops with ImproperlyConfigured.",
)
IMPORTED_TOO_EARLY = Rule(
    "W007",
    "models are imported before Django is set up",
    "get_asgi_application() sets Django up; a model that is imported before it raises"
    " AppRegistryNotReady under servers that, other than Twogate, have not done so already.",
)
ROUTER_WITHOUT_HTTP = Rule(
    "W008",
    "the ASGI application does not serve HTTP",
    "Async views then run through WSGI, each on a thread and an event loop of its own, and other"
    " ASGI servers answer no page at all.",
)
SETTING_MISSING = Rule(
    "I009",
    "no setting names an entry point",
    "Twogate finds the file by its place; runserver and other tools look at the setting alone.",
)
DOOR_MISSING = Rule(
    "I010",
    "the project has only one entry point",
    "Twogate then makes the other application itself, without what the project's own file adds.",
)

SYNC_DECORATOR = Rule(
    "E101",
    "a sync decorator hides an async view",
    "Django sees a sync function and does not await what it returns: each request fails with"
    " “it returned an unawaited coroutine instead”.",
)
ATOMIC_ASYNC = Rule(
    "E102",
    "an async view in a project with ATOMIC_REQUESTS",
    "Transactions do not work across awaits, so Django raises a RuntimeError at each request.",
)
BAD_GATEWAYS = Rule(
    "E103",
    "TWOGATE_GATEWAYS cannot be used",
    "The server does not start with a list that it cannot read.",
)
CHAIN_FAILS = Rule(
    "W104",
    "the middleware fails before a view is reached",
    "An ordinary request for / through the project's middleware ended with an exception.",
)
FORCES_THREAD = Rule(
    "I105",
    "a middleware takes a thread for each async request",
    "The event loop hands the request to a worker thread and back, which costs time, and the"
    " number of async requests that wait at once is then that of threads.",
)
BETTER_ORDER = Rule(
    "I106",
    "another order of middleware crosses to a thread less often",
    "Each crossing between the event loop and a thread costs time in every async request.",
)

SYNC_QUERY = Rule(
    "E201",
    "a sync database call on the event loop",
    "Django refuses it there with SynchronousOnlyOperation, or, where that is switched off, all"
    " other requests of the process wait for the database.",
)
SLEEPS = Rule(
    "W202",
    "a sleep that stops the event loop",
    "All other requests and WebSockets of the process stand still meanwhile.",
)
SYNC_HTTP = Rule(
    "W203",
    "a sync request to another server on the event loop",
    "All other requests and WebSockets of the process wait for the other server, too.",
)
SYNC_FILE = Rule(
    "W204",
    "a file is opened on the event loop",
    "A slow or remote disk then holds up all other requests and WebSockets of the process.",
)
SYNC_PROCESS = Rule(
    "W205",
    "the event loop waits for a child process",
    "All other requests and WebSockets of the process wait until the child has ended.",
)
SYNC_SOCKET = Rule(
    "W206",
    "a blocking network call on the event loop",
    "All other requests and WebSockets of the process wait for the network, too.",
)
SYNC_LOCK = Rule(
    "W207",
    "the event loop waits for a thread's lock",
    "While a thread holds it nothing else runs; if that thread needs the loop, nothing ever does.",
)

NO_ORIGIN_CHECK = Rule(
    "W301",
    "a WebSocket that any web site may open",
    "Browsers send cookies along with WebSockets to any site, so another site's page can speak in"
    " the name of whoever looks at it.",
)
LAYER_IN_MEMORY = Rule(
    "W302",
    "an in-memory channel layer with several workers",
    "A message stays in the worker that sent it and never reaches the sockets of the others.",
)
BAD_ORIGINS = Rule(
    "E303",
    "TWOGATE_WEBSOCKET_ORIGINS cannot be used",
    "The server does not start with a list that it cannot read.",
)
ORIGIN_CHECK_OF_SERVER = Rule(
    "I304",
    "a WebSocket that any web site may open under other servers",
    "Twogate checks the origin of each WebSocket; served by another ASGI server, any site's page"
    " can speak in the name of whoever looks at it.",
)
NO_SUCH_LAYER = Rule(
    "E305",
    "CHANNEL_LAYERS names a backend that cannot be imported",
    "Each consumer fails when it connects, and each message to a group where it is sent.",
)

UNREACHABLE = Rule(
    "W401",
    "a database cannot be reached",
    "Each view that needs it fails with an error 500.",
)
SQLITE_WITHOUT_WAL = Rule(
    "W402",
    "SQLite without write-ahead log, under threads",
    "Each write then shuts out all readers, and under load some fail with “database is locked”.",
)
CONN_MAX_AGE = Rule(
    "I403",
    "CONN_MAX_AGE works under Twogate, not under other ASGI servers",
    "Their threads end with the request and leave the connection open, unused, until the database"
    " refuses more. Twogate keeps its threads, and their connections with them.",
)

DEBUG_IS_ON = Rule(
    "W501",
    "DEBUG is on where others can reach the site",
    "Error pages show strangers the code, the settings and the visitor's data.",
)
SECRET_KEY = Rule(
    "W502",
    "SECRET_KEY is not secret",
    "Whoever knows it can forge sessions, password reset links and signed cookies.",
)
NO_HOSTS = Rule(
    "E503",
    "ALLOWED_HOSTS is empty and DEBUG is off",
    "Django answers every request with 400.",
)
ANY_HOST = Rule(
    "W504",
    "ALLOWED_HOSTS lets any host name in",
    "A forged Host header then gets into password reset links and caches, and WebSockets that are"
    " checked against this list are open to every web site.",
)
SESSIONS_IN_MEMORY = Rule(
    "W505",
    "sessions in the memory of one of several workers",
    "Whoever is logged in at one worker is a stranger to the next, at random.",
)
RUNSERVER_TAKEN = Rule(
    "W506",
    "another app's runserver comes before Twogate's",
    "Django takes the command of the app that stands first in INSTALLED_APPS, so manage.py"
    " runserver does not serve through both gateways.",
)

#: By code, in the order of the codes' numbers.
RULES: dict[str, Rule] = {
    rule.code: rule
    for rule in sorted(
        (value for value in list(globals().values()) if isinstance(value, Rule)),
        key=lambda rule: rule.code[1:],
    )
}
