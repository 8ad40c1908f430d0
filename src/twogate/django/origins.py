"""Which hosts are the project's own, as Django's ``ALLOWED_HOSTS`` says. The loop's thread."""

from __future__ import annotations

from django.conf import settings
from django.http.request import split_domain_port, validate_host

__all__ = ["allows_host"]

#: What Django allows while ``DEBUG`` is on and the setting is empty.
_LOCAL = (".localhost", "127.0.0.1", "[::1]")


def allows_host(host: str) -> bool:
    """Whether ``HttpRequest.get_host()`` would take a host.

    :param host: without a port; an IPv6 address in brackets.
    """
    allowed = settings.ALLOWED_HOSTS
    if settings.DEBUG and not allowed:
        allowed = _LOCAL
    domain, _ = split_domain_port(host)
    return bool(domain) and bool(validate_host(domain, allowed))
