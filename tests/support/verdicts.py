"""Many checks of exercises in little time: a process loads Django, and each check is a fork of it.

What a fork has not run yet is as fresh as in a process of its own: settings, apps, the project.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.system.conftest import environment
from twogate.lab.exercises.exercise import Exercise, given

__all__ = ["verdicts"]

_PROGRAM = """
import json, os, sys
import channels.generic.websocket, channels.routing, django.core.asgi, django.core.wsgi
import django.test, django.urls, django.views
from twogate.lab.exercises.checks import main
for folder, key, file in json.loads(sys.argv[1]):
    if os.fork() == 0:
        os.chdir(folder)
        main(key, file, "found.json")
    os.wait()
"""


def verdicts(cases: Sequence[tuple[Exercise, str]]) -> list[dict[str, Any]]:
    """What the check of each exercise says to some code."""
    with tempfile.TemporaryDirectory() as place:
        jobs = []
        for number, (exercise, code) in enumerate(cases):
            folder = Path(place) / str(number)
            for path, text in {**given(), exercise.file: code}.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text)
            jobs.append((str(folder), exercise.key, exercise.file))
        program = [sys.executable, "-B", "-c", _PROGRAM, json.dumps(jobs)]
        done = subprocess.run(program, env=environment(), capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return [json.loads((Path(folder) / "found.json").read_text()) for folder, *_ in jobs]
