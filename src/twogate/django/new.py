"""What ``twogate new`` writes: a whole project, or the doors that one lacks.

Says what is to be written and writes it; asks nobody. Projects are read, never run.
"""

from __future__ import annotations

import ast
import difflib
import keyword
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from django.core.management.utils import get_random_secret_key
from django.template import Context, Engine

from twogate.django.discovery import Project
from twogate.errors import ProjectError

__all__ = [
    "Addition",
    "add",
    "diff",
    "files_of",
    "missing",
    "project_files",
    "settings_file",
    "write_project",
]

_SCAFFOLD = Path(__file__).parent / "scaffold"
#: Its folders that every project gets; the others belong to the feature of their name.
_ALWAYS = {"PROJECT", "pages"}
#: Ends the name of a file that is a template; its own name is what comes before.
_TEMPLATE = "-tpl"
_EXECUTABLE = "manage.py"
_COMMENT = "# The doors: a server that knows one of them reads one line, Twogate reads both.\n"


def project_files(name: str, features: Collection[str]) -> dict[Path, str]:
    """The files of a new project, relative to its folder.

    :param features: of ``chat``, ``postgres`` and ``redis``.
    :raises ProjectError: the name cannot be that of a package, or is taken.
    """
    _check_name(name)
    values = {
        "name": name,
        "upper": name.upper(),
        "secret": get_random_secret_key(),
        **dict.fromkeys(features, True),
    }
    context = Context(values, autoescape=False, use_l10n=False)
    engine = Engine()
    wanted = _ALWAYS.union(features)
    files = {}
    for source in sorted(_SCAFFOLD.rglob("*")):
        path = source.relative_to(_SCAFFOLD)
        if source.is_dir() or (len(path.parts) > 1 and path.parts[0] not in wanted):
            continue
        text = source.read_text(encoding="utf-8")
        if path.name.endswith(_TEMPLATE):
            text = engine.from_string(text).render(context)
        files[_target(path, name)] = text
    return files


def _target(path: Path, name: str) -> Path:
    # A name that begins with a dot would be overlooked where the scaffold is packed.
    last = path.name.removesuffix(_TEMPLATE).replace("gitignore", ".gitignore")
    return Path(*(name if part == "PROJECT" else part for part in path.parts[:-1]), last)


def _check_name(name: str) -> None:
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name):
        better = "".join(c if c.isascii() and c.isalnum() else "_" for c in name).strip("_")
        hint = f", for example {better}" if better.isidentifier() else ""
        raise ProjectError(
            f"{name!r} cannot be the name of a project: it becomes a Python package.",
            f"Use letters, digits and underscores, beginning with a letter{hint}.",
        )
    if (_SCAFFOLD / name).exists():
        raise ProjectError(
            f"{name!r} is the name of an app in the new project.", "Choose another name."
        )
    if find_spec(name) is not None:
        raise ProjectError(
            f"{name!r} is the name of a package that is there already; Python would take one for"
            " the other.",
            "Choose another name.",
        )


def write_project(folder: Path, files: Mapping[Path, str]) -> None:
    """Write a project's files; all of them or, if that fails, none.

    :param folder: must not exist, or be empty.
    :raises ProjectError: it is in use, or cannot be written.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ProjectError(
                f"{folder} is there already, and not an empty folder.",
                "Name another one: twogate new NAME FOLDER. twogate new --here adds to a project.",
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for path, text in files.items():
                _write_new(beside / path, text)
            beside.chmod(0o777 & ~_umask())
            beside.replace(folder)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    except OSError as error:
        raise _unwritable(error, folder) from error


def _write_new(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    if path.name == _EXECUTABLE:
        path.chmod(path.stat().st_mode | (0o111 & ~_umask()))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _unwritable(error: OSError, path: Path) -> ProjectError:
    return ProjectError(
        f"{error.filename or path} cannot be written: {error.strerror}.",
        "Nothing was changed. Choose a folder that is yours.",
    )


# Adding to a project that is there.


@dataclass(slots=True, frozen=True)
class Addition:
    """What one file lacks.

    :ivar path: the file.
    :ivar before: its text, or ``None`` if there is no such file.
    :ivar added: what is to be put at its end.
    """

    path: Path
    before: str | None
    added: str

    @property
    def after(self) -> str:
        """The text with what is added."""
        if not self.before:
            return self.added
        return f"{self.before.rstrip(chr(10))}\n\n{self.added}"


def missing(project: Project) -> list[Addition]:
    """What a project lacks of two doors: ``wsgi.py``, ``asgi.py`` and the settings that name them.

    :raises ProjectError: its settings cannot be found or read.
    """
    settings = settings_file(project)
    package, _, _ = project.settings.rpartition(".")
    # settings/base.py or settings/production.py: the entry points stand beside the folder.
    if settings.parent != project.root and package.endswith("settings"):
        package = package.rpartition(".")[0]
    folder = project.root.joinpath(*package.split(".")) if package else project.root
    prefix = f"{package}." if package else ""
    additions = []
    for kind in ("wsgi", "asgi"):
        file = folder / f"{kind}.py"
        if not file.exists():
            additions.append(Addition(file, None, _entry_point(kind, project.settings)))
    text = _read(settings)
    known = set(_names(settings, project.root))
    lines = [
        f'{kind.upper()}_APPLICATION = "{prefix}{kind}.application"\n'
        for kind in ("wsgi", "asgi")
        if f"{kind.upper()}_APPLICATION" not in known
    ]
    if lines:
        comment = (
            "# The doors: a server that knows one of them reads one line, Twogate reads both.\n"
        )
        additions.append(Addition(settings, text, comment + "".join(lines)))
    return additions


def _entry_point(kind: str, settings: str) -> str:
    text = {
        "wsgi": "The synchronous door: one request at a time on each worker thread.",
        "asgi": "The asynchronous door: many requests and WebSockets at once on one event loop.",
    }[kind]
    return (
        f'"""{text}"""\n\nimport os\n\n'
        f"from django.core.{kind} import get_{kind}_application\n\n"
        f'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "{settings}")\n\n'
        f"application = get_{kind}_application()\n"
    )


def settings_file(project: Project) -> Path:
    """The file of a project's settings.

    :raises ProjectError: it is not in the project's folder.
    """
    place = project.root.joinpath(*project.settings.split("."))
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.is_file():
            return file
    raise ProjectError(
        f"The settings module {project.settings!r}, which {project.found_by} names, is not in"
        f" {project.root}.",
        "Check the spelling, or go to the folder with manage.py.",
    )


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{file} cannot be read: {error}.", "Make it UTF-8 text.") from error


def _names(file: Path, root: Path, seen: frozenset[Path] = frozenset()) -> Iterator[str]:
    """What a settings module assigns, also what it takes from others with ``import *``."""
    if file in seen or not file.is_file():
        return
    try:
        tree = ast.parse(_read(file))
    except SyntaxError as error:
        raise ProjectError(
            f"{file}, line {error.lineno}: SyntaxError: {error.msg}", "Mend that line."
        ) from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            for other in files_of(node, file, root):
                yield from _names(other, root, seen | {file})


def files_of(node: ast.ImportFrom, file: Path, root: Path) -> Iterable[Path]:
    """Where the module may be that a file imports from, relative imports included."""
    base = file.parent
    for _ in range(node.level - 1):
        base = base.parent
    place = (base if node.level else root).joinpath(*(node.module or "").split("."))
    return place.with_suffix(".py"), place / "__init__.py"


def diff(additions: Iterable[Addition], start: Path) -> str:
    """What would change, as a unified diff.

    :param start: the folder that paths are shown relative to.
    """
    return "".join(line for addition in additions for line in _diff(addition, start))


def _diff(addition: Addition, start: Path) -> Iterator[str]:
    name = os.path.relpath(addition.path, start)
    before = (addition.before or "").splitlines(keepends=True)
    if before and not before[-1].endswith("\n"):
        before[-1] += "\n"
    old = f"a/{name}" if addition.before is not None else "/dev/null"
    yield from difflib.unified_diff(
        before, addition.after.splitlines(keepends=True), old, f"b/{name}"
    )


def add(additions: Iterable[Addition]) -> None:
    """Write what is missing. New files never replace one, and what is in a file stays.

    :raises ProjectError: a file cannot be written, or has changed since it was read.
    """
    for addition in additions:
        try:
            if addition.before is None:
                _write_new(addition.path, addition.after)
            elif _read(addition.path) != addition.before:
                raise ProjectError(
                    f"{addition.path} has changed meanwhile.", "Start twogate new --here again."
                )
            else:
                _replace(addition.path, addition.after)
        except OSError as error:
            raise _unwritable(error, addition.path) from error


def _replace(path: Path, text: str) -> None:
    """Write a file anew beside the old one, which is there until the new one is whole."""
    target = path.resolve()
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=target.parent)
    beside = Path(name)
    try:
        os.close(descriptor)
        beside.write_text(text, encoding="utf-8")
        shutil.copymode(target, beside)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
