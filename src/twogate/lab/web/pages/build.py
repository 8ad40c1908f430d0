"""Build: exercises whose answers are programs, checked by running them; a project at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_safe

from twogate.lab.exercises import exercise as exercises
from twogate.lab.exercises.course import EXERCISES, STEPS, find, owner
from twogate.lab.exercises.exercise import MOST_CODE, Exercise, Verdict
from twogate.lab.web import learners, progress
from twogate.lab.web.answers import Refused, read, takes_json
from twogate.lab.web.models import Learner

__all__ = ["urlpatterns"]


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of an exercise.

    :ivar code: as it was left, if it was touched.
    :ivar done: whether some code has passed.
    :ivar hints: how many were asked for.
    :ivar passed: the last code that has passed.
    """

    code: str | None = None
    done: bool = False
    hints: int = 0
    passed: str | None = None


def _kept(value: Any) -> _Kept:
    """A kept value; an imported one may be anything."""
    if not isinstance(value, dict):
        return _Kept()
    code, passed = (_code_or_none(value.get(name)) for name in ("code", "passed"))
    hints = value.get("hints")
    asked = hints if isinstance(hints, int) and 0 <= hints < 100 else 0
    return _Kept(code, value.get("done") is True, asked, passed)


def _code_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) <= MOST_CODE else None


def _change(learner: Learner, exercise: Exercise, **new: Any) -> _Kept:
    """Change what is kept; of two requests at once, neither undoes the other's."""

    def changed(value: Any) -> dict[str, Any]:
        return {**asdict(_kept(value)), **new}

    return _kept(progress.change(learner, "step", exercise.key, changed))


def _all(learner: Learner | None) -> dict[str, _Kept]:
    values = progress.values(learner, "step") if learner else {}
    return {exercise.key: _kept(values.get(exercise.key)) for exercise in EXERCISES}


# The page.


@require_safe
def build(request: HttpRequest) -> HttpResponse:
    """The first exercise that is not done yet."""
    kept = _all(learners.of(request))
    waiting = (exercise for exercise in EXERCISES if not kept[exercise.key].done)
    return _show(request, next(waiting, EXERCISES[0]))


@require_safe
def one(request: HttpRequest, key: str) -> HttpResponse:
    """One exercise."""
    return _show(request, _find(key))


def _show(request: HttpRequest, exercise: Exercise) -> HttpResponse:
    kept = _all(learners.of(request))
    mine, place = kept[exercise.key], EXERCISES.index(exercise)
    start = _start(exercise, kept)
    shown = {
        "exercise": exercise,
        "hints": exercise.hints[: mine.hints],
        "hints_left": max(0, len(exercise.hints) - mine.hints),
        "code": start if mine.code is None else mine.code,
        "start": start,
        "done": mine.done,
        "steps": [_entry(other, kept, exercise) for other in STEPS],
        "more": [_entry(other, kept, exercise) for other in EXERCISES[len(STEPS) :]],
        "counts": _counts(kept),
        "number": place + 1 if exercise in STEPS else None,
        "before": EXERCISES[place - 1] if place else None,
        "after": EXERCISES[place + 1] if place + 1 < len(EXERCISES) else None,
        "files": sorted(_files(kept)),
        "most": MOST_CODE,
    }
    return render(request, "lab/build.html", shown)


def _entry(exercise: Exercise, kept: dict[str, _Kept], here: Exercise) -> dict[str, Any]:
    return {"exercise": exercise, "done": kept[exercise.key].done, "here": exercise is here}


def _counts(kept: dict[str, _Kept]) -> dict[str, int]:
    steps = sum(kept[exercise.key].done for exercise in STEPS)
    everything = sum(kept[exercise.key].done for exercise in EXERCISES)
    return {
        "steps": steps,
        "steps_all": len(STEPS),
        "steps_percent": 100 * steps // len(STEPS),
        "more": everything - steps,
        "more_all": len(EXERCISES) - len(STEPS),
    }


def _start(exercise: Exercise, kept: dict[str, _Kept]) -> str:
    """What to begin with: after a step, the learner's own code of that step."""
    return exercise.whole_start(kept[exercise.before.key].passed if exercise.before else None)


def _files(kept: dict[str, _Kept]) -> dict[str, str]:
    """The learner's own files of the project."""
    mine = {}
    for file in exercises.given():
        exercise = owner(file)
        passed = kept[exercise.key].passed if exercise else None
        if passed is not None:
            mine[file] = passed
    return mine


def _find(key: str) -> Exercise:
    exercise = find(key)
    if exercise is None:
        raise Http404
    return exercise


# What the page asks for.


async def check(request: HttpRequest, key: str) -> JsonResponse:
    """Run the code and say what was found. Who waits for that holds no thread of the lab."""
    exercise = _find(key)
    try:
        code = _code(read(request))
    except Refused as refused:
        return JsonResponse({"error": refused.sentence}, status=refused.status)
    learner = await sync_to_async(learners.ensure)(request)
    await sync_to_async(_change)(learner, exercise, code=code)
    kept = await sync_to_async(_all)(learner)
    others = _files(kept) if exercise is EXERCISES[-1] else None
    verdict = await _aside(partial(exercises.check, exercise, code, others))
    if verdict.passed:
        await sync_to_async(_change)(learner, exercise, done=True, passed=code)
    kept = await sync_to_async(_all)(learner)
    done = [key for key, value in kept.items() if value.done]
    return JsonResponse({**asdict(verdict), "done": done, "counts": _counts(kept)})


async def _aside(work: Callable[[], Verdict]) -> Verdict:
    """The result of what blocks, from a thread that nobody waits for when the lab ends."""
    result: Future[Verdict] = Future()

    def run() -> None:
        result.set_running_or_notify_cancel()  # from here on, who leaves does not undo it
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, name="check", daemon=True).start()
    return await asyncio.wrap_future(result)


@takes_json
def keep(request: HttpRequest, data: dict[str, Any], key: str) -> dict[str, Any]:
    """Keep the code as it is."""
    _change(learners.ensure(request), _find(key), code=_code(data))
    return {}


@takes_json
def reset(request: HttpRequest, data: dict[str, Any], key: str) -> dict[str, Any]:
    """Begin anew; what has passed stays."""
    learner, exercise = learners.ensure(request), _find(key)
    _change(learner, exercise, code=None)
    return {"code": _start(exercise, _all(learner))}


@takes_json
def hint(request: HttpRequest, data: dict[str, Any], key: str) -> dict[str, Any]:
    """The next hint."""
    learner, exercise = learners.ensure(request), _find(key)
    asked = _kept(progress.value(learner, "step", key)).hints + 1
    if asked > len(exercise.hints):
        raise Refused("There are no more hints; the solution is next.")
    _change(learner, exercise, hints=asked)
    return {"hint": exercise.hints[asked - 1], "left": len(exercise.hints) - asked}


@takes_json
def solution(request: HttpRequest, data: dict[str, Any], key: str) -> dict[str, Any]:
    """Code that passes."""
    return {"code": _find(key).whole_solution}


def _code(data: dict[str, Any]) -> str:
    code = data.get("code")
    if not isinstance(code, str):
        raise Refused("There is no code in what was sent.")
    if len(code) > MOST_CODE:
        raise Refused(f"This is more than {MOST_CODE} characters, more than one needs.")
    if "\0" in code or any(0xD800 <= ord(letter) < 0xE000 for letter in code):
        raise Refused("There is a character in the code that no file of Python can hold.")
    return code


@require_safe
def project(request: HttpRequest) -> HttpResponse:
    """The project as a zip file."""
    files = {**exercises.given(), **_files(_all(learners.of(request)))}
    response = HttpResponse(exercises.archive(files), content_type="application/zip")
    response.headers["Content-Disposition"] = 'attachment; filename="myproject.zip"'
    return response


urlpatterns = [
    path("", build, name="build"),
    path("myproject.zip", project, name="build-project"),
    path("<slug:key>/", one, name="build-exercise"),
    path("<slug:key>/check/", check, name="build-check"),
    path("<slug:key>/keep/", keep, name="build-keep"),
    path("<slug:key>/reset/", reset, name="build-reset"),
    path("<slug:key>/hint/", hint, name="build-hint"),
    path("<slug:key>/solution/", solution, name="build-solution"),
]
