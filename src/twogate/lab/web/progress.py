"""What a learner has done: JSON values by kind and key. Any thread; blocks on the database."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from django.db import transaction

from twogate.lab.web.models import Learner, Progress

__all__ = ["FORMAT", "KINDS", "change", "dump", "put", "reset", "restore", "value", "values"]

#: What the kinds are about, in words; their keys are those of questions, cards, exercises, pages.
KINDS = {
    "seen": "watched",
    "step": "exercises",
    "answer": "questions",
    "test": "tests",
    "card": "cards",
    "explanation": "explanations",
}
FORMAT = "twogate-lab/1"
#: Bounds of what may be imported: rows, and characters of one value as JSON.
_MOST_ROWS = 5_000
_MOST_VALUE = 300_000


def value(learner: Learner | None, kind: str, key: str, default: Any = None) -> Any:
    """What is kept under a kind and a key."""
    row = Progress.objects.filter(learner=learner, kind=kind, key=key).first()
    return default if row is None else row.value


def values(learner: Learner | None, kind: str) -> dict[str, Any]:
    """All of a kind, by key."""
    rows = Progress.objects.filter(learner=learner, kind=kind).order_by("key")
    return dict(rows.values_list("key", "value"))


def put(learner: Learner, kind: str, key: str, value: Any) -> None:
    """Keep a value."""
    assert kind in KINDS, kind
    Progress.objects.update_or_create(
        learner=learner, kind=kind, key=key, defaults={"value": value}
    )


def change(
    learner: Learner, kind: str, key: str, function: Callable[[Any], Any], default: Any = None
) -> Any:
    """Make a new value of the one that is kept, with nobody else in between.

    :return: the new value.
    """
    with transaction.atomic():
        new = function(value(learner, kind, key, default))
        put(learner, kind, key, new)
    return new


def reset(learner: Learner) -> None:
    """Forget all that a learner has done."""
    Progress.objects.filter(learner=learner).delete()


def dump(learner: Learner) -> dict[str, Any]:
    """All that a learner has done, for :func:`restore`."""
    rows = Progress.objects.filter(learner=learner).order_by("kind", "key")
    fields = ("kind", "key", "value")
    return {"format": FORMAT, "learner": learner.name, "progress": list(rows.values(*fields))}


def restore(learner: Learner, text: bytes) -> int:
    """Put what :func:`dump` wrote, as JSON, in the place of what is kept.

    :return: how many things there are now.
    :raises ValueError: it is something else; says what is wrong. Then nothing has changed.
    """
    rows = _read(text)
    with transaction.atomic():
        reset(learner)
        Progress.objects.bulk_create(Progress(learner=learner, **row) for row in rows)
    return len(rows)


def _read(text: bytes) -> list[dict[str, Any]]:
    try:
        document = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ValueError("This file is not JSON.") from None
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise ValueError("This file was not exported by the lab.")
    rows = document.get("progress")
    if not isinstance(rows, list) or len(rows) > _MOST_ROWS:
        raise ValueError(f"“progress” should be a list of at most {_MOST_ROWS} things.")
    checked = [_check(number, row) for number, row in enumerate(rows, 1)]
    if len({(row["kind"], row["key"]) for row in checked}) < len(checked):
        raise ValueError("Something stands twice in “progress”.")
    return checked


def _refuse(word: str) -> None:
    raise ValueError(word)


def _check(number: int, row: Any) -> dict[str, Any]:
    where = f"Thing {number} of “progress”"
    if not isinstance(row, Mapping) or set(row) != {"kind", "key", "value"}:
        raise ValueError(f"{where} should have a kind, a key and a value.")
    if not isinstance(row["kind"], str) or row["kind"] not in KINDS:
        raise ValueError(f"{where} is of no known kind.")
    key = row["key"]
    if not isinstance(key, str) or not 0 < len(key) <= 100 or not key.isprintable():
        raise ValueError(f"{where} has no proper key.")
    if row["value"] is None:
        raise ValueError(f"{where} has no value.")
    if len(json.dumps(row["value"])) > _MOST_VALUE:
        raise ValueError(f"{where} is too large.")
    return dict(row)
