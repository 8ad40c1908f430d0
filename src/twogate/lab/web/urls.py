"""Addresses of the lab."""

from __future__ import annotations

from django.urls import include, path
from django.views.static import serve

from twogate.lab.web.settings import HERE

_PAGES = ("watch", "many", "build", "practise", "recall", "live", "learner")

urlpatterns = [
    path("", include("twogate.lab.web.pages.home")),
    *(path(f"{page}/", include(f"twogate.lab.web.pages.{page}")) for page in _PAGES),
    path("static/<path:path>", serve, {"document_root": HERE / "static"}, name="static"),
]
handler400 = "twogate.lab.web.safety.bad_request"
handler404 = "twogate.lab.web.safety.not_found"
handler500 = "twogate.lab.web.safety.server_error"
