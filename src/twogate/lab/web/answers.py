"""Views that take and give JSON. Sync; any thread."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, TypeAlias

from django.http import HttpRequest, JsonResponse
from django.http.request import RawPostDataException, UnreadablePostError

__all__ = ["Refused", "read", "takes_json"]

#: Bytes of a request's body.
MOST = 256 * 1024

#: Takes the request, what was posted, and what is in the address.
View: TypeAlias = Callable[..., dict[str, Any]]


class Refused(Exception):
    """What was sent cannot be done.

    :param sentence: for the learner: what is wrong, and what to do.
    """

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status


def takes_json(view: View) -> Callable[..., JsonResponse]:
    """Make a view of a function that takes the object which was posted and returns another.

    Whatever cannot be done is answered by ``{"error": sentence}``.
    """

    @functools.wraps(view)
    def answer(request: HttpRequest, *arguments: Any, **named: Any) -> JsonResponse:
        try:
            return JsonResponse(view(request, read(request), *arguments, **named))
        except Refused as refused:
            return JsonResponse({"error": refused.sentence}, status=refused.status)

    return answer


def read(request: HttpRequest) -> dict[str, Any]:
    """The object that was posted.

    :raises Refused: there is none.
    """
    if request.method != "POST":
        raise Refused("This address takes POST.", 405)
    if request.content_type != "application/json":
        raise Refused("This address takes JSON.", 415)
    if int(request.META.get("CONTENT_LENGTH") or 0) > MOST:
        raise Refused("That is too much at once.", 413)
    try:
        body = request.body
    except (UnreadablePostError, RawPostDataException):
        raise Refused("What was sent did not arrive whole.") from None
    if len(body) > MOST:
        raise Refused("That is too much at once.", 413)
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused("What was sent is not JSON.") from None
    if not isinstance(data, dict):
        raise Refused("What was sent is not a JSON object.")
    return data
