"""Typical wrong answers, and the sentence and line that each gets."""

from __future__ import annotations

from tests.support.verdicts import verdicts

from twogate.lab.exercises.course import find
from twogate.lab.exercises.exercise import Exercise


def exercise(key: str) -> Exercise:
    found = find(key)
    assert found is not None
    return found


WSGI = "from django.core.wsgi import get_wsgi_application\n"

#: Code; the line and the sentence that it gets.
CODE: list[tuple[str, str, int | None, str]] = [
    ("facts", "\ndjango_project = {'name': 'my_project'}", 2,
     "`django_project['name']` is `'my_project'`; `'myproject'` was expected."),
    ("facts", "django_project = {\n 'nam': 'myproject',\n}", 2,
     "`django_project` has no key `'name'`, but it has `'nam'`."),
    ("facts", "django_projct = {}", 1,
     "There is no `django_project`, but there is `django_projct`."),
    ("facts", "django_project = 'myproject'", 1,
     "`django_project` is a `str`; a dict was expected."),
    ("facts", "django_project = {", 1,
     "myproject/entry.py, line 1: SyntaxError: '{' was never closed"),
    ("facts", "import sys\nsys.exit()", 2,
     "myproject/entry.py, line 2: SystemExit: the code called sys.exit(None)"),
    ("names", "wsgi_application = 'myproject.wsgi:application'", 1,
     "`wsgi_application` is `'myproject.wsgi:application'`;"
     " `'myproject.wsgi.application'` was expected."),
    ("callables", WSGI + "application_wsgi = get_wsgi_application", 2,
     "`application_wsgi` is the function `get_wsgi_application` itself, and was expected to be"
     " what the function returns."),
    ("callables", WSGI + "application_wsgi = application_asgi = get_wsgi_application()", 2,
     "`application_asgi` is a `WSGIHandler`; `get_asgi_application()` returns an"
     " `ASGIHandler`."),
]  # fmt: skip

#: What of a solution is replaced by what; the line, and parts of the sentence and of the mend.
MISTAKES: list[tuple[str, str, str, int | None, str, str]] = [
    ("entries", "application = application_wsgi", "application = application_asgi", 15,
     "`application` is an `ASGIHandler`", "application = get_wsgi_application()"),
    ("mistake", "asgi import get_asgi_application", "wsgi import get_wsgi_application as"
     " get_asgi_application", 9, "but `application` is a `WSGIHandler`", "In `asgi.py`"),
    ("view", "await asyncio", "asyncio", 10, "the first was done before", "`await`"),
    ("view", "async def wait", "def wait", 11, "SyntaxError: 'await' outside async", ""),
    ("view", "asyncio.sleep(0.2)", "asyncio.slep(0.2)", 11, "has no attribute 'slep'", ""),
    ("consumer", "await self.accept()", "pass", 5, "did not accept", "await self.accept()"),
    ("consumer", "await self.send", "self.send", 9, "only makes a coroutine", "`await` before"),
    ("consumer", "text_data=text_data", "text_data='hi'", None, "'hi' came back", ""),
    ("consumer", "text_data=None, bytes_data=None", "text", None,
     "TypeError: ChatConsumer.receive() got an unexpected keyword", "the hints help"),
    ("consumer", "print(", "prnt(", 12, "NameError: name 'prnt' is not defined", ""),
    ("routing", "ws/chat", "/ws/chat", 6, "begins with a slash", "'ws/chat/'"),
    ("routing", "ws/chat", "ws/caht", 6, "no route fits it; there is `ws/caht/`", "'ws/chat/'"),
    ("routing", ".as_asgi()", "", 6, "the class `ChatConsumer` itself", "as_asgi()"),
    ("protocols", '"websocket"', '"ws"', 14, "The router has no `'websocket'`", "'websocket'"),
    ("both", "channels", "chanels", None, "No module named 'chanels'", "INSTALLED_APPS"),
]  # fmt: skip


def test_a_step_names_what_was_found_and_expected() -> None:
    found = verdicts([(exercise(key), code) for key, code, *_ in CODE])
    for (_, code, line, sentence), verdict in zip(CODE, found, strict=True):
        told = (verdict["passed"], verdict["line"], verdict["sentence"])
        assert told == (False, line, sentence), code


def test_a_solution_with_one_mistake() -> None:
    cases = []
    for key, right, wrong, *_ in MISTAKES:
        solution = exercise(key).whole_solution
        assert right in solution
        cases.append((exercise(key), solution.replace(right, wrong)))
    for row, verdict in zip(MISTAKES, verdicts(cases), strict=True):
        line, sentence, mend = row[3:]
        assert not verdict["passed"] and verdict["line"] == line, (row, verdict)
        assert sentence in verdict["sentence"] and mend in verdict["mend"], (row, verdict)
