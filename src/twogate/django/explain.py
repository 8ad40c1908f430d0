"""Turns what went wrong while a project was loaded into one clear :class:`ProjectError`.

It names the file and line in the project's own code and says how to mend it. It knows the mistakes
people make in ``settings.py``, ``wsgi.py`` and ``asgi.py`` and loads nothing itself.
"""

from __future__ import annotations

import ast
import difflib
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType

from twogate.errors import ProjectError

__all__ = ["explain", "explaining", "missing_attribute"]

_GETTERS = {"get_wsgi_application", "get_asgi_application"}


@contextmanager
def explaining(doing: str) -> Iterator[None]:
    """Raise what the block raises as a :class:`ProjectError`.

    :param doing: what the block does, for example ``"importing mysite.asgi"``.
    """
    try:
        yield
    except ProjectError:
        raise
    except (Exception, SystemExit) as error:
        raise explain(error, doing) from error


def explain(error: BaseException, doing: str) -> ProjectError:
    """Say where the project's own code failed, why, and what to do about it."""
    file, line = _place(error)
    what = f"{type(error).__name__}: {_text_of(error)}"
    if file is None:
        return ProjectError(f"{doing} failed: {what}", _mend(error, None))
    where = f"{_relative(file)}, line {line}"
    return ProjectError(
        f"{where}: {what}\nThis stopped Twogate while {doing}.", _mend(error, file), (file, line)
    )


def missing_attribute(module: ModuleType, name: str, setting: str) -> ProjectError:
    """A module has no such application.

    :param setting: what names the attribute, for example ``"ASGI_APPLICATION"`` or ``"--asgi"``.
    """
    file = _relative(Path(module.__file__)) if module.__file__ else module.__name__
    found = list(_candidates(module))
    close = difflib.get_close_matches(name, found, n=1) or found[:1]
    if not close:
        mend = f"Define {name} in it: the callable that a server calls."
    elif setting.startswith("--"):
        mend = f"Did you mean {setting} {module.__name__}:{close[0]}?"
    else:
        right = f'{setting} = "{module.__name__}.{close[0]}"'
        mend = f"Did you mean {close[0]}? Rename it to {name}, or say {right} in the settings."
    return ProjectError(f"{file} has no attribute {name!r}.", mend)


def _candidates(module: ModuleType) -> Iterator[str]:
    """Names in the module that may be meant: callables that it made rather than imported."""
    for name, value in vars(module).items():
        imported = getattr(value, "__module__", module.__name__) != module.__name__
        is_definition = isinstance(value, type) or hasattr(value, "__code__")
        if callable(value) and not name.startswith("_") and not (imported and is_definition):
            yield name


def _place(error: BaseException) -> tuple[Path | None, int]:
    """The innermost line of the project's own code on the way to the error."""
    if isinstance(error, SyntaxError) and error.filename:
        return Path(error.filename), error.lineno or 0
    places = list(_own_places(error.__traceback__))
    return places[-1] if places else (None, 0)


def _own_places(trace: TracebackType | None) -> Iterator[tuple[Path, int]]:
    for frame, line in traceback.walk_tb(trace):
        file = Path(frame.f_code.co_filename)
        if _is_own(file):
            yield file, line


_FOREIGN = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
_TWOGATE = Path(__file__).parent.parent


def _is_own(file: Path) -> bool:
    if str(file).startswith("<") or {"site-packages", "dist-packages"} & set(file.parts):
        return False
    return not any(file.is_relative_to(folder) for folder in (*_FOREIGN, _TWOGATE))


def _relative(file: Path) -> Path:
    try:
        return file.relative_to(Path.cwd())
    except ValueError:
        return file


def _text_of(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return error.msg
    if isinstance(error, SystemExit):
        return f"the code called sys.exit({error.code!r})"
    return str(error).strip() or "no message"


def _mend(error: BaseException, file: Path | None) -> str:
    if isinstance(error, NameError):
        return _mend_name(error, file)
    if isinstance(error, ModuleNotFoundError):
        return _mend_module(error, file)
    if isinstance(error, ImportError) and "partially initialized module" in str(error):
        return (
            "These modules import each other. Import one of them inside the function that needs it,"
            " or move what both need to a third."
        )
    if isinstance(error, ImportError):
        return f"Check the spelling of what is imported{_from_module(error)}."
    if type(error).__name__ == "ImproperlyConfigured" and "URLconf" in str(error):
        return "Give that module a list called urlpatterns."
    if type(error).__name__ == "ImproperlyConfigured":
        return "Mend it in the project's settings."
    return "Mend that line; --traceback shows how the code got there."


def _from_module(error: ImportError) -> str:
    return f" from {error.name}" if error.name else ""


def _mend_module(error: ModuleNotFoundError, file: Path | None) -> str:
    package = (error.name or "?").partition(".")[0]
    if file is None:
        return (
            f"Install the package that provides {package!r}, or take it out of the settings"
            " (INSTALLED_APPS and its like)."
        )
    return f"Install the package that provides {package!r}, or correct the import."


def _mend_name(error: NameError, file: Path | None) -> str:
    missing = error.name or ""
    imported = _imported_names(file) if file is not None else set()
    other = _GETTERS - {missing}
    if missing in _GETTERS and other & imported:
        (getter,) = other & imported
        return f"The file imports {getter} but calls {missing}: call {getter}() there."
    if missing in _GETTERS:
        kind = missing.removeprefix("get_").removesuffix("_application")
        return f"Import it first: from django.core.{kind} import {missing}"
    close = difflib.get_close_matches(missing, imported, n=1)
    if close:
        return f"The file imports {close[0]}; is that what is meant?"
    return f"Define or import {missing} before it is used."


def _imported_names(file: Path) -> set[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return set()
    return set(_names_imported_by(ast.walk(tree)))


def _names_imported_by(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0]
