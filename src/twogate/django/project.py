"""Loads what a worker serves: a Django project's entry points, or any two applications.

A worker names :func:`load` by its import string, so that no other room needs Django; it runs once,
on the main thread of each worker, before the loop starts.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twogate.config import Config, origins
from twogate.dispatch import Applications
from twogate.django.discovery import Project, find_project
from twogate.django.explain import explaining, missing_attribute
from twogate.errors import ProjectError
from twogate.observe import logs

if TYPE_CHECKING:
    from twogate.django.chooser import Counts

__all__ = [
    "beside",
    "count_views",
    "entry_point",
    "http_side",
    "import_from",
    "is_local",
    "layer_is_in_memory",
    "load",
    "set_origins",
    "set_up",
    "split_name",
]

_HINT = {
    "wsgi": "from django.core.wsgi import get_wsgi_application",
    "asgi": "from django.core.asgi import get_asgi_application",
}


def load(config: Config) -> Applications:
    """Import what the configuration says and make it ready to be served.

    :raises ProjectError: it cannot be found or loaded; says what to mend.
    """
    if config.trace:
        _prepare_traces(config)
    if config.wsgi is not None or config.asgi is not None:
        loaded = _load_named(config)
    else:
        loaded = _load_project(config, find_project(config))
    logs.enable()
    _check_forced(config, loaded)
    if config.trace:
        _trace(config, loaded)
    return loaded


def _prepare_traces(config: Config) -> None:
    """Wrap Django before the project gets hold of it."""
    if not all(map(is_local, config.bind)):
        raise ProjectError(
            "--trace keeps what requests carry, and others can reach this address.",
            "Bind to 127.0.0.1, or leave --trace out.",
        )
    try:
        from twogate.django import tracing
    except ImportError:  # what says so better comes next
        return
    tracing.install(stock=config.stock_handler)


def _trace(config: Config, loaded: Applications) -> None:
    """Record each request, and show the recordings."""
    from twogate.trace.live import make_tracer

    if not loaded.debug:
        raise ProjectError(
            "--trace shows what requests carry, so it needs a Django project with DEBUG = True.",
            "Set DEBUG = True while you develop, or leave --trace out.",
        )
    tracer = make_tracer(Path(config.trace_folder), config.trace)
    tracer.record(loaded)
    loaded.notes.append(
        f"trace: the last {config.trace} requests, at /__twogate__/traces/ for this machine alone"
    )


def _check_forced(config: Config, loaded: Applications) -> None:
    if config.gateway != "auto" and getattr(loaded, config.gateway) is None:
        raise ProjectError(
            f"--gateway {config.gateway} needs an application for that gateway.",
            f"Give one with --{config.gateway} module:name, or leave --gateway out.",
        )


# Named applications.


def _load_named(config: Config) -> Applications:
    import_from(Path.cwd())
    applications = Applications()
    if config.wsgi is not None:
        applications.wsgi = _import_application(config, config.wsgi, "--wsgi")
        applications.notes.append(f"WSGI: {config.wsgi}")
    if config.asgi is not None:
        applications.asgi = _import_application(config, config.asgi, "--asgi")
        applications.notes.append(f"ASGI: {config.asgi}")
    if {"django.core.wsgi", "django.core.asgi"} & set(sys.modules):
        _check_kind("wsgi", applications.wsgi, config.wsgi or "")
        _check_kind("asgi", applications.asgi, config.asgi or "")
    if _all_django(config, applications):
        _add_django(config, applications)
    elif config.wsgi and config.asgi and config.gateway == "auto":
        applications.notes.append("views: HTTP goes to WSGI, WebSocket to ASGI")
    return applications


def _all_django(config: Config, applications: Applications) -> bool:
    """Whether what was named belongs to one Django project, so that its URLconf decides."""
    if "django.conf" not in sys.modules or not sys.modules["django.conf"].settings.configured:
        return False
    from django.conf import settings
    from django.core.handlers.asgi import ASGIHandler
    from django.core.handlers.wsgi import WSGIHandler

    def is_django(application: Any, spelling: str, setting: str, handler: type) -> bool:
        spelled = spelling.replace(":", ".") == getattr(settings, setting, None)
        http = getattr(application, "application_mapping", {}).get("http", application)
        return spelled or isinstance(http, handler)

    wsgi = config.wsgi is None or is_django(
        applications.wsgi, config.wsgi, "WSGI_APPLICATION", WSGIHandler
    )
    return wsgi and (
        config.asgi is None
        or is_django(applications.asgi, config.asgi, "ASGI_APPLICATION", ASGIHandler)
    )


def _import_application(config: Config, spelling: str, setting: str) -> Callable[..., Any]:
    name, _, attributes = spelling.partition(":")
    with explaining(f"importing {name}"):
        if not _exists(name):
            raise ProjectError(
                f"{setting} names the module {name!r}, which does not exist.",
                f"Check the spelling; modules are looked for in {sys.path[0]} first.",
            )
        with _handlers(config):
            module = importlib.import_module(name)
    found: Any = module
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            raise missing_attribute(module, attribute, setting)
        found = getattr(found, attribute)
    if not callable(found):
        raise ProjectError(
            f"{spelling} is no application: it is {type(found).__name__} and cannot be called.",
            f"Name the application itself with {setting}.",
        )
    return found  # type: ignore[no-any-return]


def _handlers(config: Config) -> AbstractContextManager[None]:
    """While entry points are imported: where they ask Django for a handler, they get ours."""
    if "django.conf" not in sys.modules:  # neither of the named applications may be Django's
        return nullcontext()
    from twogate.django.substitution import handlers_in_place

    return handlers_in_place(not config.stock_handler)


def import_from(folder: Path) -> None:
    """Import the project's modules from this folder, as its ``manage.py`` would."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


# Django projects.


def _load_project(config: Config, project: Project) -> Applications:
    import_from(project.root)
    os.environ["DJANGO_SETTINGS_MODULE"] = project.settings
    set_up(project)
    applications = Applications()
    applications.notes.append(f"project: {project.settings} (named by {project.found_by})")
    for kind in ("wsgi", "asgi"):
        setattr(applications, kind, entry_point(config, kind, project, applications.notes))
    _add_django(config, applications)
    return applications


def set_up(project: Project) -> None:
    """Import the settings and the apps, which is where most projects that fail do fail.

    :raises ProjectError: they do not load.
    """
    try:
        import django
        from django.conf import settings
    except ImportError as error:
        raise ProjectError(
            "Django is not installed for this Python.",
            f"Install it where twogate is installed: {sys.executable} -m pip install django",
        ) from error
    _check_settings_module(project)
    with explaining(f"importing the settings {project.settings}"):
        settings.INSTALLED_APPS  # noqa: B018 - the first use imports the settings
    with explaining("setting up the apps in INSTALLED_APPS"):
        django.setup()


def _check_settings_module(project: Project) -> None:
    with explaining(f"importing the settings {project.settings}"):
        exists = _exists(project.settings)
    if not exists:
        raise ProjectError(
            f"There is no settings module {project.settings!r} (named by {project.found_by}).",
            f"Check the spelling; modules are looked for in {project.root}.",
        )


def _exists(module: str) -> bool:
    """Whether a module can be found; its packages are imported, itself not."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError as error:
        if error.name is not None and (module + ".").startswith(error.name + "."):
            return False
        raise


def entry_point(
    config: Config, kind: str, project: Project, notes: list[str]
) -> Callable[..., Any]:
    """The application of one gateway; Django's own where the project has none.

    :param kind: ``"wsgi"`` or ``"asgi"``.
    :param notes: gets a line for the start-up message.
    :raises ProjectError: it does not load.
    """
    spelling, setting = _find_entry_point(kind, project)
    if spelling is None:
        return _missing(config, kind, project, notes)
    application = _import_application(config, spelling, setting)
    _check_kind(kind, application, spelling)
    notes.append(f"{kind.upper()}: {spelling.replace(':', '.')}{_protocols(application)}")
    return application


def _find_entry_point(kind: str, project: Project) -> tuple[str | None, str]:
    """The entry point as ``module:name``, and the setting that says so."""
    from django.conf import settings

    setting = f"{kind.upper()}_APPLICATION"
    named = getattr(settings, setting, None)
    other = getattr(settings, "ASGI_APPLICATION" if kind == "wsgi" else "WSGI_APPLICATION", None)
    usual = beside(kind, project.settings, str(other or ""))
    if named:
        spelling = split_name(str(named), kind, setting)
        module = spelling.partition(":")[0]
        if module not in usual or _does_exist(module):
            return spelling, setting
        # startproject names wsgi.py in the settings; who serves by ASGI may well delete the file.
    for module in usual:
        if _does_exist(module):
            return f"{module}:application", setting
    return None, setting


def split_name(named: str, kind: str, setting: str) -> str:
    """A dotted name as ``module:name``."""
    module, dot, attribute = named.rpartition(".")
    if not dot:
        raise ProjectError(
            f"{setting} = {named!r} names no module.", f'Write "{named}.{kind}.application".'
        )
    return f"{module}:{attribute}"


def _does_exist(module: str) -> bool:
    with explaining(f"looking for {module}"):
        return _exists(module)


def beside(kind: str, settings: str, other: str) -> list[str]:
    """Where an entry point may be: in the packages around the settings, innermost first, or beside
    the other entry point."""
    packages = settings.split(".")[:-1]
    found = [".".join([*packages[:depth], kind]) for depth in range(len(packages), 0, -1)]
    if not packages:
        found.append(kind)
    beside_other = other.split(".")[:-2]
    if beside_other:
        found.append(".".join([*beside_other, kind]))
    return found


def _missing(config: Config, kind: str, project: Project, notes: list[str]) -> Callable[..., Any]:
    """A bare handler in place of an entry point that the project does not have."""
    getter = f"get_{kind}_application"
    with explaining(f"calling Django's {getter}()"), _handlers(config):
        application = getattr(importlib.import_module(f"django.core.{kind}"), getter)()
    notes.append(f"{kind.upper()}: Django's own {getter}()")
    file = "/".join([*project.settings.split(".")[:-1][:1], f"{kind}.py"])
    notes.append(
        f"warning: the project has only one entry point, and what that adds is missing from the"
        f" other gateway; add {file} with application = {getter}()"
    )
    return application  # type: ignore[no-any-return]


def _check_kind(kind: str, application: Any, spelling: str) -> None:
    """The commonest mistake that still imports: the other gateway's handler."""
    from django.core.handlers.asgi import ASGIHandler
    from django.core.handlers.wsgi import WSGIHandler

    wrong = WSGIHandler if kind == "asgi" else ASGIHandler
    if isinstance(application, wrong):
        raise ProjectError(
            f"{spelling.replace(':', '.')} is a {wrong.__name__}: the application of the other"
            " gateway.",
            f"Use {_HINT[kind]} and application = get_{kind}_application() there.",
        )


def _protocols(application: Any) -> str:
    """What a Channels ``ProtocolTypeRouter`` routes, for the note."""
    mapping = getattr(application, "application_mapping", None)
    return f" ({', '.join(mapping)})" if isinstance(mapping, dict) else ""


# What both kinds of loading add once Django is there.


@dataclass(slots=True)
class _Http:
    """The HTTP side of an ASGI application.

    :ivar served: there is one.
    :ivar routes: routes of its own, past Django's URLconf.
    """

    served: bool = True
    routes: list[Any] = field(default_factory=list)

    def route(self, path: str) -> bool:
        """Whether one of its own routes takes this path."""
        return any(route.pattern.match(path.lstrip("/")) for route in self.routes)


def _add_django(config: Config, applications: Applications) -> None:
    """The chooser, static files under ``DEBUG``, and the notes."""
    from django.conf import settings

    applications.debug = bool(settings.DEBUG)
    http, sockets = http_side(applications.asgi), _speaks_websocket(applications.asgi)
    _add_handlers(config, applications)
    counts = count_views(applications.notes)
    if config.gateway == "auto" and applications.wsgi and applications.asgi and http.served:
        _add_chooser(applications, http, counts)
    if not http.served:
        _check_http_is_optional(config, counts, applications.notes)
    _warn(config, counts, applications.notes)
    _add_socket_rules(config, applications, sockets)
    _serve_static(applications)


def _add_handlers(config: Config, applications: Applications) -> None:
    """Threads for what the ASGI side may not do on the loop, and the note on the handlers."""
    from twogate.django import substitution
    from twogate.django.consumers import spare_crossings
    from twogate.django.executors import leasing, use_threads
    from twogate.django.traces import look_around

    loaded = [app for app in (applications.wsgi, applications.asgi) if app is not None]
    wanted = not config.stock_handler
    applications.notes.append(f"handler: {substitution.describe(wanted, loaded)}")
    if wanted and applications.asgi is not None:
        look_around()
        spare_crossings()
        applications.asgi = leasing(applications.asgi)
        applications.use_threads = use_threads


def _add_socket_rules(config: Config, applications: Applications, sockets: bool) -> None:
    """Which pages may open WebSockets, and what these end with.

    :raises ProjectError: the setting for the origins cannot be used.
    """
    from django.apps import apps
    from django.conf import settings

    from twogate.django.origins import allows_host

    applications.allows_host = allows_host
    if sockets and apps.is_installed("django.contrib.sessions"):
        from twogate.django.sessions import ProjectSessions, watch

        closing = bool(getattr(settings, "TWOGATE_CLOSE_WITH_SESSION", True))
        applications.sessions = ProjectSessions(closing)
        if closing:
            watch()
    applications.websocket_origins = set_origins(config)


def set_origins(config: Config) -> list[str] | None:
    """What the settings say of the origins of WebSockets, unless the option was given.

    :raises ProjectError: the setting cannot be used.
    """
    from django.conf import settings

    wanted = getattr(settings, "TWOGATE_WEBSOCKET_ORIGINS", None)
    if wanted is None or config.source("websocket_origins") != "default":
        return None
    try:
        return origins(wanted)
    except ValueError as error:
        raise ProjectError(
            f"The setting TWOGATE_WEBSOCKET_ORIGINS = {wanted!r} cannot be used.",
            f"It should be {error}.",
        ) from None


def _speaks_websocket(asgi: Any) -> bool:
    """Whether an ASGI application may accept WebSockets; Django's own handler does not."""
    from django.core.handlers.asgi import ASGIHandler

    mapping = getattr(asgi, "application_mapping", None)
    if isinstance(mapping, dict):
        return "websocket" in mapping
    return asgi is not None and not isinstance(asgi, ASGIHandler)


def http_side(asgi: Any) -> _Http:
    """What an ASGI application does with HTTP."""
    from django.core.handlers.asgi import ASGIHandler

    mapping = getattr(asgi, "application_mapping", None)
    if not isinstance(mapping, dict):
        return _Http()
    routes = getattr(mapping.get("http"), "routes", None) or []
    own = [route for route in routes if not isinstance(route.callback, ASGIHandler)]
    return _Http("http" in mapping, own)


def _check_http_is_optional(config: Config, counts: Counts, notes: list[str]) -> None:
    """The ASGI application speaks WebSocket only, which is fine as long as WSGI serves HTTP."""
    mend = 'add "http": get_asgi_application() to its ProtocolTypeRouter'
    if config.gateway == "asgi":
        raise ProjectError(
            "--gateway asgi, but the ASGI application does not serve HTTP.",
            f"Leave --gateway out, or {mend}.",
        )
    if counts.asgi:
        notes.append(
            f"warning: the ASGI application does not serve HTTP, so {counts.asgi} async views run"
            f" through WSGI; {mend}"
        )


def count_views(notes: list[str]) -> Counts:
    """Import the URLconf and with it the views, so that broken code stops here and not at the first
    request: a reload then keeps the old workers.

    :raises ProjectError: it does not load.
    """
    from django.conf import settings

    from twogate.django.chooser import Counts, count_patterns

    urlconf = getattr(settings, "ROOT_URLCONF", None)
    if not urlconf:  # a site of WebSockets only needs none
        notes.append(
            "warning: the settings name no ROOT_URLCONF, so Django has no pages to serve; add"
            ' ROOT_URLCONF = "mysite.urls"'
        )
        return Counts(complete=False)
    with explaining(f"importing the URLconf {urlconf}"):
        counts = count_patterns()
    more = "" if counts.complete else " at least"
    notes.append(
        f"views:{more} {counts.total} URL patterns, {counts.wsgi} to WSGI and {counts.asgi} to ASGI"
    )
    return counts


def _add_chooser(applications: Applications, http: _Http, counts: Counts) -> None:
    from django.conf import settings

    from twogate.dispatch import Choice
    from twogate.django.chooser import Rule, ViewChooser, parse_rules, watch_streams

    rules = parse_rules(getattr(settings, "TWOGATE_GATEWAYS", ()))
    if _serves_static():
        pattern = re.compile("^" + re.escape(settings.STATIC_URL or "/static/"))
        rules.append(Rule(pattern, Choice("wsgi", "static file")))
    constant = None
    # Where all views agree, nobody needs to resolve a path but for the name of its view, which is
    # worth the time only while somebody develops.
    undivided = counts.complete and not rules and not http.routes and not settings.DEBUG
    if undivided and 0 in (counts.wsgi, counts.asgi):
        gateway = "asgi" if counts.asgi else "wsgi"
        constant = Choice(gateway, f"all {counts.total} URL patterns go to {gateway}")
    chooser = ViewChooser(rules, http.route if http.routes else None, constant)
    assert applications.wsgi is not None
    applications.chooser = chooser
    applications.wsgi = watch_streams(applications.wsgi, chooser.learn)


def _serves_static() -> bool:
    """Whether static files are ours to serve: as runserver does, only under ``DEBUG``."""
    from django.apps import apps
    from django.conf import settings

    return (
        bool(settings.DEBUG)
        and apps.is_installed("django.contrib.staticfiles")
        and not apps.is_installed("whitenoise.runserver_nostatic")
    )


def _serve_static(applications: Applications) -> None:
    if not _serves_static():
        return
    from django.conf import settings
    from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler, StaticFilesHandler
    from django.core.exceptions import ImproperlyConfigured

    try:
        if applications.wsgi is not None:
            applications.wsgi = StaticFilesHandler(applications.wsgi)
        if applications.asgi is not None:
            applications.asgi = ASGIStaticFilesHandler(applications.asgi)
    except ImproperlyConfigured as error:
        applications.notes.append(f"warning: static files are not served: {error}")
    else:
        applications.notes.append(f"static: {settings.STATIC_URL} served because DEBUG is on")


def _warn(config: Config, counts: Counts, notes: list[str]) -> None:
    """What looks wrong, each with its mend."""
    from django.conf import settings

    if settings.DEBUG and not all(is_local(address) for address in config.bind):
        notes.append(
            "warning: DEBUG is on and others can reach this address: errors show them your code"
            " and settings; set DEBUG = False, or bind to 127.0.0.1"
        )
    if not settings.DEBUG and not settings.ALLOWED_HOSTS:
        notes.append(
            "warning: ALLOWED_HOSTS is empty and DEBUG is off: every request is answered with 400;"
            ' set ALLOWED_HOSTS = ["your.host"]'
        )
    if counts.asgi and config.gateway == "wsgi":
        notes.append(
            f"warning: {counts.asgi} async views run through WSGI, each on a thread and a loop of"
            " its own; leave --gateway out to serve them by ASGI"
        )
    if config.workers > 1 and layer_is_in_memory(settings):
        notes.append(
            f"warning: {config.workers} workers with an in-memory channel layer: messages do not"
            " reach the other workers; use a shared layer (channels_redis) or --workers 1"
        )


def layer_is_in_memory(settings: Any) -> bool:
    """Whether the project's channel layer does not leave its process."""
    try:
        backend = settings.CHANNEL_LAYERS["default"]["BACKEND"]
    except (AttributeError, KeyError, TypeError):
        return False
    return str(backend).endswith("InMemoryChannelLayer")


def is_local(address: str) -> bool:
    """Whether only this machine can reach an address of ``--bind``."""
    return address.startswith(("127.", "localhost:", "[::1]", "unix:", "fd:"))
