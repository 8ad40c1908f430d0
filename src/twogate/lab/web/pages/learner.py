"""Who learns in this browser, and what they have done: names, export, import, reset."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.views.decorators.http import require_POST, require_safe

from twogate.lab.web import learners, progress
from twogate.lab.web.models import Learner

__all__ = ["urlpatterns"]

#: Bytes of a file that is imported.
MOST = 6 * 1024 * 1024
#: Names that are offered.
_NAMES = 200

#: What the address of the page may ask it to say.
_DONE = {
    "import": "The file was imported.",
    "reset": "All is forgotten. You can begin anew.",
    "rename": "Renamed.",
}


@require_safe
def learner(request: HttpRequest) -> HttpResponse:
    """The page."""
    done = _DONE.get(request.GET.get("done", ""))
    return _show(request, {"kind": "good", "text": done} if done else None)


def _show(request: HttpRequest, message: Any = None, status: int = 200) -> HttpResponse:
    who = learners.of(request)
    numbers = [(what, len(progress.values(who, kind))) for kind, what in progress.KINDS.items()]
    shown = {
        "counts": [{"what": what, "number": number} for what, number in numbers if number],
        "names": Learner.objects.order_by("name").values_list("name", flat=True)[:_NAMES],
        "folder": settings.DATA,
        "message": message,
    }
    return render(request, "lab/learner.html", shown, status=status)


def _refuse(request: HttpRequest, sentence: str) -> HttpResponse:
    return _show(request, {"kind": "bad", "text": sentence}, 400)


def _back(done: str = "") -> HttpResponse:
    return HttpResponseRedirect(reverse("learner") + (f"?done={done}" if done else ""))


@require_POST
def become(request: HttpRequest) -> HttpResponse:
    """Be somebody else, or somebody new."""
    try:
        learners.become(request, request.POST.get("name", ""))
    except ValueError as error:
        return _refuse(request, str(error))
    return _back()


@require_POST
def rename(request: HttpRequest) -> HttpResponse:
    """Have another name."""
    who = learners.ensure(request)
    try:
        who.name = learners.check_name(request.POST.get("name", ""))
        with transaction.atomic():
            who.save(update_fields=["name"])
    except ValueError as error:
        return _refuse(request, str(error))
    except IntegrityError:
        who.refresh_from_db()
        return _refuse(request, "Somebody else has this name.")
    return _back("rename")


@require_safe
def export(request: HttpRequest) -> HttpResponse:
    """All of it, as a file."""
    document = progress.dump(learners.ensure(request))
    text = json.dumps(document, indent=1)
    response = HttpResponse(text, content_type="application/json; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="twogate-lab.json"'
    return response


@require_POST
def restore(request: HttpRequest) -> HttpResponse:
    """A file in the place of what is kept."""
    file = request.FILES.get("file")
    if file is None:
        return _refuse(request, "Choose a file first.")
    if file.size > MOST:
        return _refuse(request, "This file is too large; the lab exports no such file.")
    try:
        progress.restore(learners.ensure(request), file.read())
    except ValueError as error:
        return _refuse(request, f"{error} Nothing has changed.")
    return _back("import")


@require_POST
def reset(request: HttpRequest) -> HttpResponse:
    """Forget everything."""
    if request.POST.get("sure") != "yes":
        return _refuse(request, "Tick the box first.")
    progress.reset(learners.ensure(request))
    return _back("reset")


urlpatterns = [
    path("", learner, name="learner"),
    path("become/", become, name="learner-become"),
    path("rename/", rename, name="learner-rename"),
    path("export/", export, name="learner-export"),
    path("import/", restore, name="learner-import"),
    path("reset/", reset, name="learner-reset"),
]
