"""Hosts that are the project's own: the same that Django takes in the header Host."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.settings import configure

NAMES = st.lists(
    st.text(string.ascii_lowercase + string.digits + "-_.", min_size=1, max_size=6),
    min_size=1,
    max_size=3,
).map(".".join)
HOSTS = NAMES | st.ip_addresses().map(lambda ip: f"[{ip}]" if ip.version == 6 else str(ip))
OWN = ["example.com", ".sub.example.com", "192.0.2.1", "[2001:db8::1]"]


def django_takes(host: str) -> bool:
    from django.core.exceptions import DisallowedHost
    from django.http import HttpRequest

    request = HttpRequest()
    request.META = {"HTTP_HOST": host}
    try:
        request.get_host()
    except DisallowedHost:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "allowed", "debug", "own"),
    [
        ("example.com", ["example.com"], False, True),
        ("www.example.com", ["example.com"], False, False),
        ("www.example.com", [".example.com"], False, True),
        ("example.com.evil.example", [".example.com"], False, False),
        ("anything.example", ["*"], False, True),
        ("localhost", [], True, True),
        ("shop.localhost", [], True, True),
        ("127.0.0.1", [], True, True),
        ("[::1]", [], True, True),
        ("example.com", [], True, False),
        ("localhost", [], False, False),
        ("localhost", ["example.com"], True, False),
        ("", ["*"], False, False),
    ],
)
def test_which_hosts_are_own(host: str, allowed: list[str], debug: bool, own: bool) -> None:
    configure()
    from django.test import override_settings

    from twogate.django.origins import allows_host

    with override_settings(ALLOWED_HOSTS=allowed, DEBUG=debug):
        assert allows_host(host) is own
        assert django_takes(host) is own


@given(HOSTS | st.sampled_from([*OWN, "a.sub.example.com", "example.com."]))
def test_they_are_those_that_django_takes(host: str) -> None:
    configure()
    from django.test import override_settings

    from twogate.django.origins import allows_host

    with override_settings(ALLOWED_HOSTS=OWN, DEBUG=False):
        assert allows_host(host) is django_takes(host)
