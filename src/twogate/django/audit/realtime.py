"""WebSockets that any site may open, and channel layers that end at their process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from twogate.config import Config
from twogate.django.audit import catalogue
from twogate.django.audit.entry_points import websocket_line
from twogate.django.audit.finding import Finding
from twogate.django.audit.source import Source
from twogate.django.project import layer_is_in_memory, set_origins
from twogate.errors import ProjectError

__all__ = ["check_backends", "check_layer", "check_sockets"]

_VALIDATOR = "Put AllowedHostsOriginValidator(…) of channels.security.websocket around it."


def check_sockets(config: Config, source: Source, asgi: Any) -> Iterator[Finding]:
    """WebSocket routes without a check of the origin.

    :param asgi: the ASGI application.
    """
    try:
        origins = set_origins(config) or config.websocket_origins
    except ProjectError as error:
        place = source.setting("TWOGATE_WEBSOCKET_ORIGINS")
        yield catalogue.BAD_ORIGINS.at(place, error.message, error.mend)
        return
    mapping = getattr(asgi, "application_mapping", None)
    socket = mapping.get("websocket") if isinstance(mapping, dict) else None
    open_to_all = [] if socket is None else list(_unchecked(socket, ""))
    if not open_to_all:
        return
    shown = ", ".join(open_to_all[:3]) + (" and others" if len(open_to_all) > 3 else "")
    if "any" in origins:
        yield catalogue.NO_ORIGIN_CHECK.at(
            websocket_line(source), f"Nothing asks which site opens {shown}.", _VALIDATOR
        )
    else:
        yield catalogue.ORIGIN_CHECK_OF_SERVER.at(
            websocket_line(source), f"Only Twogate asks which site opens {shown}.", _VALIDATOR
        )


def _unchecked(application: Any, path: str, depth: int = 0) -> Iterator[str]:
    """The paths below an ASGI application that no ``OriginValidator`` stands before."""
    from channels.routing import URLRouter
    from channels.security.websocket import OriginValidator

    if isinstance(application, OriginValidator) or depth > 30:
        return
    if isinstance(application, URLRouter):
        for route in application.routes:
            pattern = str(route.pattern).removeprefix("^").removesuffix("$")
            yield from _unchecked(route.callback, f"{path}{pattern}", depth + 1)
        return
    inner = getattr(application, "inner", None) or getattr(application, "application", None)
    if inner is not None:
        yield from _unchecked(inner, path, depth + 1)
    elif _is_consumer(application):
        yield f"/{path}"


def _is_consumer(application: Any) -> bool:
    """Whether it is what ``as_asgi()`` made; others may well check for themselves."""
    from channels.consumer import AsyncConsumer

    kind = getattr(application, "consumer_class", None)
    if not (isinstance(kind, type) and issubclass(kind, AsyncConsumer)):
        return False
    return not any(map(_reads_origin, kind.__mro__))


def _reads_origin(kind: type) -> bool:
    """Whether a class of the project looks for an origin itself: then it knows what to do."""
    if kind.__module__.startswith(("channels.", "builtins")):
        return False
    codes = [getattr(value, "__code__", None) for value in vars(kind).values()]
    said = [(*code.co_consts, *code.co_names) for code in codes if code is not None]
    return any("origin" in str(word).lower() for words in said for word in words)


def check_layer(config: Config, source: Source) -> Iterator[Finding]:
    """An in-memory channel layer with more than one worker."""
    if config.workers > 1 and layer_is_in_memory(settings):
        yield catalogue.LAYER_IN_MEMORY.at(
            source.setting("CHANNEL_LAYERS"),
            f"InMemoryChannelLayer serves {config.workers} workers.",
            'CHANNEL_LAYERS = {"default": {"BACKEND": "twogate.realtime.ChannelLayer"}}',
        )


def check_backends(source: Source) -> Iterator[Finding]:
    """Channel layers that are not there; imports those that are."""
    layers = getattr(settings, "CHANNEL_LAYERS", None)
    for name, layer in layers.items() if isinstance(layers, dict) else ():
        backend = layer.get("BACKEND") if isinstance(layer, dict) else None
        try:
            import_string(str(backend))
        except ImportError as error:
            yield catalogue.NO_SUCH_LAYER.at(
                source.setting("CHANNEL_LAYERS"),
                f"The layer {name!r} is {backend!r}: {error}",
                "Install the package that provides it, or name twogate.realtime.ChannelLayer,"
                " which needs none.",
            )
