from __future__ import annotations

from pathlib import Path

import pytest

from twogate.django.audit import Audit
from twogate.django.audit.catalogue import DOOR_MISSING, SLEEPS, SYNC_QUERY
from twogate.django.audit.middleware import Step
from twogate.django.audit.routes import Route
from twogate.django.discovery import Project


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """One finding of each level, a route of the project and 300 of a package."""
    views = tmp_path / "my shop" / "views.py"
    findings = [
        SYNC_QUERY.at((views, 7), "live calls [bold]Shop.objects.get().", "Await aget(…)."),
        SLEEPS.at((views, 9), "live calls time.sleep().", "Await asyncio.sleep(…) instead."),
        DOOR_MISSING.at((Path("/elsewhere/settings.py"), 1), "There is no asgi.py.", "Add it."),
    ]
    own = Route("/live/<int:pk>/", "shop.views.live", (views, 5), True, "asgi",
                "async view shop.views.live", 15, 0)  # fmt: skip
    packaged = Route("/admin/", "django.x", (Path("/lib/site-packages/django/x.py"), 3), False,
                     "wsgi", "pattern ^/admin/ in TWOGATE_GATEWAYS", 16, 0)  # fmt: skip
    hidden = Route("/me/", "shop.views.me", (views, 8), False, "wsgi", "sync view shop.views.me",
                   9, 0, reached=False)  # fmt: skip
    return Audit(
        Project("shop.settings", tmp_path, "a test"),
        findings,
        [own, hidden, *[packaged] * 300],
        [Step("shop.middleware.plain", "it is sync only", (views, 1))],
        ignored=2,
    )
