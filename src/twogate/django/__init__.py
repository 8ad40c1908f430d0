"""Everything that knows Django's inside; only this room and the lab import Django.

For projects: :func:`get_asgi_application` and :func:`get_wsgi_application` are Django's functions
of these names with Twogate's handlers, for any server (``twogate serve`` puts them in place by
itself); :func:`gateway` says by which gateway a view wants to be served, and :func:`nonblocking`
what may run on the event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twogate.django.views import gateway, nonblocking

if TYPE_CHECKING:
    from twogate.django.handler import AsgiHandler, WsgiHandler

__all__ = ["gateway", "get_asgi_application", "get_wsgi_application", "nonblocking"]


def get_asgi_application() -> AsgiHandler:
    """Set Django up and return its application for ASGI servers."""
    import django

    django.setup(set_prefix=False)
    from twogate.django.handler import AsgiHandler
    from twogate.django.traces import look_around

    application = AsgiHandler()
    look_around()
    return application


def get_wsgi_application() -> WsgiHandler:
    """Set Django up and return its application for WSGI servers."""
    import django

    django.setup(set_prefix=False)
    from twogate.django.handler import WsgiHandler

    return WsgiHandler()
