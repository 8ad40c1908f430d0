"""The exercises: every solution passes, every start fails with a sentence, and so on."""

from __future__ import annotations

from tests.support.verdicts import verdicts

from twogate.lab.exercises.checks import CHECKS
from twogate.lab.exercises.course import EXERCISES, STEPS, find, owner
from twogate.lab.exercises.exercise import given

#: What the check says to the code that an exercise begins with.
BEGUN = {
    "facts": (None, "There is no `django_project` yet."),
    "names": (None, "There is no `wsgi_application` yet."),
    "callables": (None, "There is no `application_wsgi` yet."),
    "entries": (None, "There is no `application` yet."),
    "mistake": (
        9, "myproject/asgi.py, line 9: NameError: name 'get_wsgi_application' is not defined",
    ),
    "view": (
        11, "The view called `time.sleep` on the event loop: meanwhile, nobody else was served.",
    ),
    "consumer": (4, "`ChatConsumer` has no `connect` of its own yet."),
    "routing": (None, "There is no `websocket_urlpatterns` yet."),
    "protocols": (
        14, "`application` is Django's `ASGIHandler` alone, which knows no WebSocket.",
    ),
    "both": (None, "There is no `WSGI_APPLICATION` yet."),
}  # fmt: skip

#: Through which gateways the solution was asked, and what came back.
ANSWERED = {
    "facts": [("Python", "the settings of myproject")],
    "names": [("Django", "a WSGIHandler"), ("Django", "a ProtocolTypeRouter")],
    "callables": [("WSGI", "class is WSGIRequest"), ("ASGI", "class is ASGIRequest")],
    "entries": [("WSGI", "class is WSGIRequest"), ("ASGI", "class is ASGIRequest")],
    "mistake": [("ASGI", "class is ASGIRequest"), ("ASGI", "class is ASGIRequest")],
    "view": [("ASGI", "200"), ("ASGI", "200"), ("ASGI", "both were inside")],
    "consumer": [
        ("ASGI", "101"), ("ASGI", "'hello'"), ("ASGI", "'one more'"), ("ASGI", "disconnect was"),
    ],
    "routing": [("ASGI", "101"), ("ASGI", "received 'hello'")],
    "protocols": [("ASGI", "200"), ("ASGI", "101"), ("ASGI", "received 'hello'")],
    "both": [("WSGI", "200"), ("ASGI", "200"), ("ASGI", "101"), ("ASGI", "received 'hello'")],
}  # fmt: skip


def test_every_solution_passes() -> None:
    found = verdicts([(exercise, exercise.whole_solution) for exercise in EXERCISES])
    for exercise, verdict in zip(EXERCISES, found, strict=True):
        assert verdict["passed"], verdict
        talk = [(row["through"], row["answered"]) for row in verdict["talk"]]
        assert len(talk) == len(ANSWERED[exercise.key])
        for (gateway, answered), (through, part) in zip(talk, ANSWERED[exercise.key], strict=True):
            assert gateway == through and part in answered, talk


def test_the_code_to_begin_with_fails_with_a_sentence() -> None:
    found = verdicts([(exercise, exercise.whole_start()) for exercise in EXERCISES])
    for exercise, verdict in zip(EXERCISES, found, strict=True):
        assert (verdict["line"], verdict["sentence"]) == BEGUN[exercise.key], verdict
        assert not verdict["passed"] and verdict["mend"]


def test_each_exercise_has_all_it_needs() -> None:
    assert {exercise.key for exercise in EXERCISES} == set(CHECKS)
    assert [exercise.key for exercise in EXERCISES[:4]] == [exercise.key for exercise in STEPS]
    for exercise in EXERCISES:
        assert find(exercise.key) is exercise
        assert exercise.file in given()
        assert 2 <= len(exercise.hints) <= 3 and exercise.mistakes and exercise.text
        for text in (*exercise.text, *exercise.hints, *exercise.mistakes):
            assert text.count("`") % 2 == 0 and text[-1] in ".`", text
    assert find("nothing") is None


def test_the_project_has_the_code_of_the_last_exercise_of_each_file() -> None:
    asgi = owner("myproject/asgi.py")
    assert asgi is not None and asgi.key == "protocols"
    assert owner("manage.py") is None
    for file, text in given().items():
        exercise = owner(file)
        if exercise is not None and exercise not in STEPS:
            assert exercise.whole_solution == text


def test_a_step_goes_on_from_the_learners_own_code() -> None:
    assert STEPS[1].whole_start("mine = 1\n") == f"mine = 1\n\n{STEPS[1].start}"
    assert STEPS[0].whole_start("mine = 1\n") == STEPS[0].start
    assert "django_project" in STEPS[1].whole_start()
