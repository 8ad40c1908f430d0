"""The mistakes people make in ``wsgi.py`` and ``asgi.py``, found in their text.

Nothing is imported, so a project that does not even load gets all of these at once.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from twogate.django.audit import catalogue
from twogate.django.audit.finding import Finding, Place
from twogate.django.audit.source import Code, Source, dotted, imports_of, own_nodes
from twogate.django.project import beside

__all__ = ["check_doors", "check_entry_points", "entry_file", "websocket_line"]

_KINDS = ("wsgi", "asgi")
_VARIABLE = "DJANGO_SETTINGS_MODULE"
#: Who gives out applications under the names of Django's functions.
_GIVERS = {f"{home}.{kind}" for home in ("django.core", "configurations") for kind in _KINDS}
_GIVERS.add("twogate.django")


def check_entry_points(source: Source) -> Iterator[Finding]:
    """All findings in the entry points and the settings that name them.

    :raises ProjectError: the settings are not in the project.
    """
    files = {kind: entry_file(source, kind) for kind in _KINDS}
    if not any(files.values()):
        return  # nothing but settings: a site in the making, or served in another way
    for kind in _KINDS:
        file = files[kind]
        yield from _setting(source, kind, file)
        code = source.read(file) if file is not None else None
        if code is not None and code.tree is not None:
            yield from _EntryPoint(source, kind, code).findings()


def entry_file(source: Source, kind: str) -> Path | None:
    """The file of an entry point: the one that the setting names, or else where one usually is."""
    named = source.setting_text(f"{kind.upper()}_APPLICATION") or ""
    other = source.setting_text("ASGI_APPLICATION" if kind == "wsgi" else "WSGI_APPLICATION") or ""
    names = [named.rpartition(".")[0], *beside(kind, source.project.settings, other)]
    found = (source.module(name) for name in names if name)
    return next((file for file in found if file is not None), None)


def check_doors(source: Source) -> Iterator[Finding]:
    """Entry points that no setting names, or that are not there.

    Django must be up: settings come about in ways that no text tells.
    """
    from django.conf import settings

    files = {kind: entry_file(source, kind) for kind in _KINDS}
    for kind, file in files.items():
        setting = f"{kind.upper()}_APPLICATION"
        if getattr(settings, setting, None):
            continue
        place = (source.settings_file, 1)
        if file is not None:
            yield catalogue.SETTING_MISSING.at(
                place,
                f"{setting} is not set.",
                f'{setting} = "{_module_of(source, file)}.application", or twogate new --here.',
            )
        elif any(files.values()):
            yield catalogue.DOOR_MISSING.at(
                place,
                f"There is no {kind}.py.",
                f"twogate new --here adds one, with application = get_{kind}_application().",
            )


def _setting(source: Source, kind: str, file: Path | None) -> Iterator[Finding]:
    setting = f"{kind.upper()}_APPLICATION"
    named = source.setting_text(setting)
    if named and _is_nowhere(source, named):
        right = f"{_module_of(source, file)}.application" if file else f"mysite.{kind}.application"
        yield catalogue.NO_SUCH_APPLICATION.at(
            source.setting(setting),
            f"{setting} = {named!r}: there is no module {named.rpartition('.')[0]!r}.",
            f'{setting} = "{right}"',
        )


def _module_of(source: Source, file: Path | None) -> str:
    if file is None:
        return ""
    return ".".join(file.relative_to(source.root).with_suffix("").parts)


def _is_nowhere(source: Source, named: str) -> bool:
    """Whether the module is neither in the project nor, as far as one can see, installed."""
    module = named.rpartition(".")[0]
    if not module:
        return True
    package = module.partition(".")[0]
    if (source.root / package).exists() or (source.root / f"{package}.py").exists():
        return source.module(module) is None
    return False


@dataclass
class _EntryPoint:
    """One of the two files.

    :ivar kind: ``"wsgi"`` or ``"asgi"``.
    """

    source: Source
    kind: str
    code: Code

    def findings(self) -> Iterator[Finding]:
        """All of them, in the order of the text."""
        yield from self._undefined_getters()
        yield from self._application()
        yield from self._settings_named_late()
        if self.kind == "asgi":
            yield from self._imported_early()

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """What the file runs when it is imported."""
        assert self.code.tree is not None
        return list(own_nodes(self.code.tree))

    @cached_property
    def names(self) -> dict[str, str]:
        """What its imports stand for."""
        return imports_of(self.nodes)

    @cached_property
    def assigned(self) -> dict[str, tuple[int, ast.expr]]:
        """The last value of each of its variables."""
        found = {}
        for node in self.nodes:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Name):
                        found[target.id] = (node.lineno, node.value)
        return found

    @cached_property
    def getters(self) -> list[tuple[int, str]]:
        """Each call of ``get_wsgi_application()`` or its twin: the line, and which."""
        calls = [node for node in self.nodes if isinstance(node, ast.Call)]
        found = ((call.lineno, self._getter(call)) for call in calls)
        return sorted((line, kind) for line, kind in found if kind)

    def _getter(self, value: ast.expr | None) -> str:
        """``"wsgi"`` or ``"asgi"`` if the expression is a call of Django's function for it."""
        if not isinstance(value, ast.Call):
            return ""
        name = dotted(value.func) or ""
        first, dot, rest = name.partition(".")
        giver, _, function = f"{self.names.get(first, '')}{dot}{rest}".rpartition(".")
        for kind in _KINDS:
            if function == f"get_{kind}_application" and giver in _GIVERS:
                return kind
        return ""

    def _at(self, line: int) -> Place:
        return self.code.file, line

    def _undefined_getters(self) -> Iterator[Finding]:
        defined = {*self.names, *self.assigned, *_defined(self.nodes)}
        if "*" in defined:
            return
        for node in self.nodes:
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            called = node.func.id
            kind = called.removeprefix("get_").removesuffix("_application")
            if called in defined or kind not in _KINDS or called != f"get_{kind}_application":
                continue
            other = f"get_{'wsgi' if kind == 'asgi' else 'asgi'}_application"
            imports = f"imports {other} but " if other in self.names else ""
            right = f"from django.core.{self.kind} import get_{self.kind}_application"
            yield catalogue.OTHER_GETTER.at(
                self._at(node.lineno),
                f"The file {imports}calls {called}(), which is not defined.",
                f"{right}, and call get_{self.kind}_application() here.",
            )

    def _application(self) -> Iterator[Finding]:
        setting = f"{self.kind.upper()}_APPLICATION"
        module, _, named = (self.source.setting_text(setting) or "").rpartition(".")
        is_named = bool(named) and self.source.module(module) == self.code.file
        name = named if is_named else "application"
        if name in self.assigned:
            yield from self._value(*self.assigned[name])
        elif name not in {*self.names, *_defined(self.nodes)} and "*" not in self.names:
            yield self._misnamed(name, setting if is_named else "")

    def _misnamed(self, name: str, setting: str) -> Finding:
        line, candidate = max(
            (
                (line, variable)
                for variable, (line, value) in self.assigned.items()
                if isinstance(value, ast.Call) and not variable.startswith("_")
            ),
            default=(1, ""),
        )
        asks = f"{setting} asks for {name}" if setting else f"servers ask for {name}"
        message = f"{self.code.file.name} has no variable {name!r}, and {asks}."
        mend = f"{name} = get_{self.kind}_application()"
        if candidate:
            mend = f"Rename {candidate} to {name}"
            mend += f", or name {candidate} in {setting}." if setting else "."
        return catalogue.NO_SUCH_APPLICATION.at(self._at(line), message, mend)

    def _value(self, line: int, value: ast.expr) -> Iterator[Finding]:
        value = self._followed(value)
        other = self._getter(value)
        if other and other != self.kind:
            yield self._wrong_getter(value.lineno, other)
        elif isinstance(value, ast.Call) and self._is_router(value):
            yield from self._router(line, value)

    def _followed(self, value: ast.expr) -> ast.expr:
        """What a variable stands for, so far as the file says it."""
        for _ in range(5):
            if not (isinstance(value, ast.Name) and value.id in self.assigned):
                break
            value = self.assigned[value.id][1]
        return value

    def _is_router(self, call: ast.Call) -> bool:
        first, dot, rest = (dotted(call.func) or "").partition(".")
        return f"{self.names.get(first, '')}{dot}{rest}" == "channels.routing.ProtocolTypeRouter"

    def _router(self, line: int, call: ast.Call) -> Iterator[Finding]:
        mapping = self._followed(call.args[0]) if call.args else None
        if not isinstance(mapping, ast.Dict) or None in mapping.keys:
            return
        keys = [key.value for key in mapping.keys if isinstance(key, ast.Constant)]
        for key, value in zip(keys, mapping.values, strict=False):
            if key == "http" and self._getter(self._followed(value)) == "wsgi":
                yield self._wrong_getter(value.lineno, "wsgi")
        if "http" not in keys and len(keys) == len(mapping.keys):
            yield catalogue.ROUTER_WITHOUT_HTTP.at(
                self._at(line),
                f"ProtocolTypeRouter routes {', '.join(map(repr, keys)) or 'nothing'} and no"
                " 'http'.",
                'Add "http": get_asgi_application() to it.',
            )

    def _wrong_getter(self, line: int, other: str) -> Finding:
        return catalogue.WRONG_GETTER.at(
            self._at(line),
            f"{self.code.file.name} makes its application with get_{other}_application().",
            f"from django.core.{self.kind} import get_{self.kind}_application, and call that.",
        )

    def _settings_named_late(self) -> Iterator[Finding]:
        if not self.getters:
            return
        call = self.getters[0][0]
        named = [line for node in self.nodes if (line := _line_naming_settings(node))]
        if any(line < call for line in named) or (not named and self._others_may_name_them()):
            return
        when = f"only in line {named[0]}, after" if named else "nowhere before"
        yield catalogue.SETTINGS_NOT_NAMED.at(
            self._at(call),
            f"{_VARIABLE} is set {when} the call that needs it.",
            f'os.environ.setdefault("{_VARIABLE}", "{self.source.project.settings}") above this'
            " line.",
        )

    def _others_may_name_them(self) -> bool:
        """Whether the file mentions the variable, or runs code that may set it."""
        if _VARIABLE in self.code.text:
            return True
        known = {"django", "channels", "twogate", "__future__", *sys.stdlib_module_names}
        return any(name.partition(".")[0] not in known for name in self.names.values())

    def _imported_early(self) -> Iterator[Finding]:
        call = min((line for line, _ in self.getters), default=0)
        if "django.setup" in self.code.text:
            return
        for node in self.nodes:
            if not isinstance(node, ast.Import | ast.ImportFrom) or node.lineno >= call:
                continue
            for module in _modules_of(node, self.code.file, self.source):
                way = _way_to_models(module, self.source, frozenset())
                if way is not None:
                    yield self._too_early(node.lineno, way, call)
                    break

    def _too_early(self, line: int, way: list[str], call: int) -> Finding:
        chain = ", which imports ".join(way)
        return catalogue.IMPORTED_TOO_EARLY.at(
            self._at(line),
            f"This imports {chain}, before get_asgi_application() is called in line {call}.",
            f"Move this import below line {call}.",
        )


def _defined(nodes: list[ast.AST]) -> Iterator[str]:
    """Functions and classes, and names that come about in other ways than by assignment."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            yield "*"


def _line_naming_settings(node: ast.AST) -> int:
    """The line of ``os.environ.setdefault("DJANGO_SETTINGS_MODULE", …)`` or of an assignment to
    it; 0 for anything else."""
    match node:
        case ast.Call(func=ast.Attribute(), args=[ast.Constant(value=value), *_]):
            return node.lineno if value == _VARIABLE else 0
        case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(value=value))]):
            return node.lineno if value == _VARIABLE else 0
    return 0


def _modules_of(node: ast.Import | ast.ImportFrom, file: Path, source: Source) -> list[str]:
    """The modules that an import statement may import, dotted from the project's root."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        try:
            parts = file.relative_to(source.root).parts[: -node.level]
        except ValueError:
            return []
        base = ".".join([*parts, *filter(None, [base])])
    return [f"{base}.{alias.name}" for alias in node.names] + [base]


def _way_to_models(module: str, source: Source, seen: frozenset[str]) -> list[str] | None:
    """The modules on the way from an import to one of models, or ``None`` if there is no way."""
    if module in seen or len(seen) > 30:
        return None
    parts = module.split(".")
    if module.startswith("django.contrib.") and "models" in parts:
        return [module]
    file = source.module(module)
    code = source.read(file) if file is not None else None
    if file is None or code is None or code.tree is None:
        return None
    nodes = list(own_nodes(code.tree))
    if _has_models(nodes):
        return [module]
    for node in nodes:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for inner in _modules_of(node, file, source):
            way = _way_to_models(inner, source, seen | {module})
            if way is not None:
                return [module, *way]
    return None


def _has_models(nodes: list[ast.AST]) -> bool:
    """Whether a class there derives from ``models.Model``, or from Django's users."""
    names = imports_of(nodes)
    for node in nodes:
        for base in node.bases if isinstance(node, ast.ClassDef) else ():
            first, dot, rest = (dotted(base) or "").partition(".")
            full = f"{names.get(first, first)}{dot}{rest}"
            if full in ("django.db.models.Model", "django.contrib.auth.models.AbstractUser"):
                return True
    return False


def websocket_line(source: Source) -> Place:
    """Where the ASGI entry point routes WebSockets, for findings about them.

    :raises ProjectError: see :func:`check_entry_points`.
    """
    file = entry_file(source, "asgi")
    code = source.read(file) if file is not None else None
    if file is None or code is None or code.tree is None:
        return source.setting("ASGI_APPLICATION")
    for node in own_nodes(code.tree):
        if isinstance(node, ast.Constant) and node.value == "websocket":
            return file, node.lineno
    return file, 1
