"""Async views and consumers that stop the event loop, found in their text.

What an async view calls is followed one step into functions of the same module and methods of the
same class. A finding is made where the text leaves no doubt: what is awaited, handed to
``sync_to_async`` or ``to_thread``, shadowed by another name or merely defined there, is left alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from twogate.django.audit import catalogue
from twogate.django.audit.blockers import (
    CONSUMING,
    FUNCTIONS,
    IN_FUNCTION,
    INSTANCES,
    LAZY,
    LOCK_MEND,
    LOCKS,
    MANAGERS,
    METHODS,
    QUERIES,
    QUERY_MEND,
    SAVES,
)
from twogate.django.audit.finding import Finding, Rule
from twogate.django.audit.source import Code, dotted, imports_of, own_nodes

__all__ = ["check_blocking"]

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def check_blocking(code: Code, roots: Iterable[int] = ()) -> Iterator[Finding]:
    """All findings of one file.

    :param roots: the lines of functions and classes that are known to be views.
    """
    if b"async def" not in code.data or code.tree is None:
        return
    module = _Module(code)
    seen = set()
    for view in module.views(frozenset(roots)):
        for finding in _Scan(module, view).findings():
            if (finding.rule, finding.line) not in seen:
                seen.add((finding.rule, finding.line))
                yield finding


@dataclass(slots=True, frozen=True)
class _View:
    """An async function that runs on the event loop.

    :ivar owner: the class it is a method of.
    """

    function: ast.AsyncFunctionDef
    owner: ast.ClassDef | None

    @property
    def name(self) -> str:
        """As people write it."""
        return f"{self.owner.name}.{self.function.name}" if self.owner else self.function.name


@dataclass
class _Module:
    """A file, and what its names stand for."""

    code: Code
    functions: dict[str, Function] = field(default_factory=dict)
    classes: list[ast.ClassDef] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.code.tree is not None
        nodes = list(own_nodes(self.code.tree))
        self.names = imports_of(nodes)
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self.functions[node.name] = node
            elif isinstance(node, ast.ClassDef):
                self.classes.append(node)
        #: What module-level variables were made by: ``{"lock": "threading.Lock"}``.
        self.made = _made(nodes, self.names)
        stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        #: Names that are no builtins here.
        self.taken = {*self.names, *self.functions, *stored, *(c.name for c in self.classes)}

    def views(self, roots: frozenset[int]) -> Iterator[_View]:
        """Async functions that take a request, async methods of views, consumers and of what is
        known to be one."""
        for function in self.functions.values():
            if not isinstance(function, ast.AsyncFunctionDef) or _is_sync_made(function):
                continue
            if _first_argument(function, 0) == "request" or _lines(function) & roots:
                yield _View(function, None)
        for owner in self.classes:
            whole = bool(_lines(owner) & roots) or self._is_consumer(owner)
            for method in owner.body:
                if not isinstance(method, ast.AsyncFunctionDef) or _is_sync_made(method):
                    continue
                if whole or _first_argument(method, 1) == "request":
                    yield _View(method, owner)

    def _is_consumer(self, owner: ast.ClassDef) -> bool:
        for base in owner.bases:
            name = (dotted(base) or "").rpartition(".")[2]
            if name.startswith("Async") and name.endswith("Consumer"):
                return True
        return False

    def full(self, node: ast.AST, local: dict[str, str]) -> str:
        """What a dotted name stands for, ``""`` if it is no plain one.

        :param local: what the names of a function stand for; ``""`` for its own variables.
        """
        name = dotted(node)
        if name is None:
            return ""
        first, dot, rest = name.partition(".")
        if first in local:
            return f"{local[first]}{dot}{rest}" if local[first] else ""
        if first in self.names:
            return f"{self.names[first]}{dot}{rest}"
        return "" if first in self.taken else name


def _lines(node: Function | ast.ClassDef) -> set[int]:
    """Where it may be said to begin: its own line, or that of a decorator."""
    return {node.lineno, *(decorator.lineno for decorator in node.decorator_list)}


def _first_argument(function: Function, index: int) -> str:
    arguments = [*function.args.posonlyargs, *function.args.args]
    return arguments[index].arg if len(arguments) > index else ""


def _is_sync_made(function: Function) -> bool:
    """Whether a decorator runs it elsewhere than on the loop."""
    names = [
        dotted(d.func if isinstance(d, ast.Call) else d) or "" for d in function.decorator_list
    ]
    return any(name.rpartition(".")[2] == "async_to_sync" for name in names)


def _made(nodes: Iterable[ast.AST], names: dict[str, str]) -> dict[str, str]:
    """By variable, the full name of what was called to make it; only where that is sure."""
    found: dict[str, str] = {}
    stored: dict[str, int] = {}
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            stored[node.id] = stored.get(node.id, 0) + 1
        target, value = _assignment(node)
        if target and isinstance(value, ast.Call):
            first, dot, rest = (dotted(value.func) or "").partition(".")
            if first in names:
                found[target] = f"{names[first]}{dot}{rest}"
    return {name: made for name, made in found.items() if stored.get(name) == 1}


def _assignment(node: ast.AST) -> tuple[str, ast.expr | None]:
    """``("name", value)`` of ``name = value`` or ``with value as name``."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
        return (target.id, node.value) if isinstance(target, ast.Name) else ("", None)
    if isinstance(node, ast.AnnAssign | ast.NamedExpr) and isinstance(node.target, ast.Name):
        return node.target.id, node.value
    if isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
        return node.optional_vars.id, node.context_expr
    return "", None


class _Scan:
    """One async view and the helpers it calls."""

    def __init__(self, module: _Module, view: _View) -> None:
        self._module = module
        self._view = view

    def findings(self) -> Iterator[Finding]:
        """Those in the view's own text, then those in its helpers'."""
        body = _Body(self._module, self._view.function)
        for rule, node, call, mend in body.blocking():
            yield self._finding(rule, node, f"{self._view.name} calls {call}.", mend)
        followed = set()
        for line, helper in self._helpers(body):
            if id(helper) in followed or helper is self._view.function:
                continue
            followed.add(id(helper))
            for rule, node, call, mend in _Body(self._module, helper).blocking():
                text = f"{helper.name} calls {call}, and {self._view.name} calls it in line {line}."
                yield self._finding(rule, node, text, mend)

    def _finding(self, rule: Rule, node: ast.AST, message: str, mend: str) -> Finding:
        return rule.at((self._module.code.file, getattr(node, "lineno", 1)), message, mend)

    def _helpers(self, body: _Body) -> Iterator[tuple[int, Function]]:
        """Functions of this module, and methods of this class, that the view calls itself."""
        for call in body.calls:
            helper: Function | None = None
            if isinstance(call.func, ast.Name) and call.func.id not in body.local:
                helper = self._module.functions.get(call.func.id)
            elif self._view.owner is not None and isinstance(call.func, ast.Attribute):
                receiver = call.func.value
                if isinstance(receiver, ast.Name) and receiver.id == "self":
                    helper = _method(self._view.owner, call.func.attr)
            if helper is None or helper.decorator_list or _is_generator(helper):
                continue
            # A sync function that is awaited returns something of its own.
            if (call in body.awaited) == isinstance(helper, ast.AsyncFunctionDef):
                yield call.lineno, helper


def _method(owner: ast.ClassDef, name: str) -> Function | None:
    for node in owner.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return node
    return None


def _is_generator(function: Function) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _running(function))


def _running(function: Function) -> Iterator[ast.AST]:
    """What runs in the order of the text when a function is called; async functions defined within
    are taken to run on the same loop, sync ones and lambdas elsewhere."""
    for statement in function.body:
        yield from _run_by(statement)


def _run_by(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _run_by(child)


_Blocking: TypeAlias = tuple[Rule, ast.AST, str, str]


class _Body:
    """What a function runs, and what its names stand for."""

    def __init__(self, module: _Module, function: Function) -> None:
        self._module = module
        self.nodes = list(_running(function))
        self.calls = [node for node in self.nodes if isinstance(node, ast.Call)]
        self.awaited = {node.value for node in self.nodes if isinstance(node, ast.Await)}
        self._entered_async = {
            item.context_expr
            for node in self.nodes
            if isinstance(node, ast.AsyncWith)
            for item in node.items
        }
        #: The function's own names; what an import makes them stand for, else ``""``.
        self.local: dict[str, str] = dict.fromkeys(_own_names(function, self.nodes), "")
        self.local.update(imports_of(self.nodes))
        known = {**module.names, **{k: v for k, v in self.local.items() if v}}
        self._made = _made(self.nodes, known)
        self._sets: frozenset[str] = frozenset()
        self._sets = self._assigned_sets()
        self._instances = self._assigned_instances()

    def blocking(self) -> Iterator[_Blocking]:
        """Each blocking call: the rule, the node, the call as written, and the mend."""
        for node in self.nodes:
            if isinstance(node, ast.Call):
                if node not in self.awaited and node not in self._entered_async:
                    yield from self._call(node)
            elif isinstance(node, ast.For) or (
                isinstance(node, ast.comprehension) and not node.is_async
            ):
                yield from self._loop(node.iter)
            elif isinstance(node, ast.With):
                for item in node.items:
                    yield from self._entered(item.context_expr)

    # Calls.

    def _call(self, call: ast.Call) -> Iterator[_Blocking]:
        yield from self._known_function(call)
        if isinstance(call.func, ast.Attribute):
            yield from self._known_method(call, call.func)
            yield from self._query(call, call.func)
        elif (
            isinstance(call.func, ast.Name)
            and call.func.id in CONSUMING
            and self._module.full(call.func, self.local) == call.func.id
            and len(call.args) >= 1
            and self._is_set(call.args[0])
        ):
            what = f"{call.func.id}({_spelled(call.args[0])})"
            mend = "Use async for, or await sync_to_async within a function."
            yield catalogue.SYNC_QUERY, call, what, mend

    def _known_function(self, call: ast.Call) -> Iterator[_Blocking]:
        full = self._module.full(call.func, self.local)
        if full in FUNCTIONS:
            rule, mend = FUNCTIONS[full]
            name = dotted(call.func) or full
            yield rule, call, f"{name}()", mend.format(call=name)

    def _known_method(self, call: ast.Call, function: ast.Attribute) -> Iterator[_Blocking]:
        maker = self._maker(function.value)
        methods, rule, mend = METHODS.get(maker, (frozenset(), catalogue.SLEEPS, ""))
        if function.attr not in methods or _does_not_wait(call):
            return
        receiver = dotted(function.value)
        name = f"{receiver or maker + '(…)'}.{function.attr}"
        yield rule, call, f"{name}()", mend.format(call=name)

    def _maker(self, node: ast.expr) -> str:
        """What made an object: ``"threading.Lock"``."""
        if isinstance(node, ast.Call):
            return self._module.full(node.func, self.local)
        if not isinstance(node, ast.Name):
            return ""
        if node.id in self.local:
            return self._made.get(node.id, "")
        return self._module.made.get(node.id, "")

    def _entered(self, context: ast.expr) -> Iterator[_Blocking]:
        maker = self._maker(context)
        if maker in LOCKS and isinstance(context, ast.Name):
            yield (
                catalogue.SYNC_LOCK,
                context,
                f"with {context.id}",
                LOCK_MEND.format(call=f"{context.id}.acquire"),
            )

        call = context.func if isinstance(context, ast.Call) else context
        if self._module.full(call, self.local) == "django.db.transaction.atomic":
            yield catalogue.SYNC_QUERY, context, "with transaction.atomic()", IN_FUNCTION

    # The ORM.

    def _query(self, call: ast.Call, function: ast.Attribute) -> Iterator[_Blocking]:
        name = function.attr
        if (name in QUERIES and self._is_queryset(function.value)) or (
            name in SAVES
            and isinstance(function.value, ast.Name)
            and function.value.id in self._instances
        ):
            yield self._sync_query(call, function)

    def _sync_query(self, call: ast.Call, function: ast.Attribute) -> _Blocking:
        twin = "a" + function.attr
        written = f"{_spelled(function.value)}.{function.attr}()"
        return catalogue.SYNC_QUERY, call, written, QUERY_MEND.format(twin=twin)

    def _loop(self, iterated: ast.expr) -> Iterator[_Blocking]:
        if self._is_set(iterated):
            mend = "Use async for."
            yield catalogue.SYNC_QUERY, iterated, f"for … in {_spelled(iterated)}", mend

    def _is_queryset(self, node: ast.AST) -> bool:
        """Whether it is a manager or a queryset."""
        if isinstance(node, ast.Attribute) and node.attr in MANAGERS:
            return _is_class_name(node.value)
        return self._is_set(node)

    def _is_set(self, node: ast.AST) -> bool:
        """Whether it is a queryset, which iterating evaluates."""
        if isinstance(node, ast.Name):
            return node.id in self._sets
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            return self._is_set(node.value)
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LAZY
            and self._is_queryset(node.func.value)
        )

    def _assigned_sets(self) -> frozenset[str]:
        """Variables that are never anything but querysets."""
        kinds: dict[str, list[bool]] = {}
        for name, value in self._assignments():
            kinds.setdefault(name, []).append(value is not None and self._is_set(value))
            if kinds[name] == [True]:
                self._sets |= {name}
        # One that is evaluated first and stays so would not ask again.
        evaluated = {
            node.iter.id
            for node in self.nodes
            if isinstance(node, ast.AsyncFor) and isinstance(node.iter, ast.Name)
        }
        return frozenset(name for name, all_ in kinds.items() if all(all_)) - evaluated

    def _assigned_instances(self) -> frozenset[str]:
        """Variables that are never anything but what a manager has returned."""
        kinds: dict[str, list[bool]] = {}
        for name, value in self._assignments():
            inner = value.value if isinstance(value, ast.Await) else value
            kinds.setdefault(name, []).append(
                isinstance(inner, ast.Call)
                and isinstance(inner.func, ast.Attribute)
                and inner.func.attr in INSTANCES
                and self._is_queryset(inner.func.value)
            )
        return frozenset(name for name, all_ in kinds.items() if all(all_))

    def _assignments(self) -> Iterator[tuple[str, ast.expr | None]]:
        """Each name that gets a value, and that value where it is a plain one."""
        plain = set()
        for node in self.nodes:
            name, value = _assignment(node)
            if name:
                plain.add(name)
                yield name, value
        stored: dict[str, int] = {}
        for node in self.nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                stored[node.id] = stored.get(node.id, 0) + 1
        counted = [name for name, _ in map(_assignment, self.nodes) if name]
        for name, times in stored.items():
            if times > counted.count(name):
                yield name, None


def _own_names(function: Function, nodes: list[ast.AST]) -> Iterator[str]:
    arguments = function.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        yield argument.arg
    for rest in (arguments.vararg, arguments.kwarg):
        if rest is not None:
            yield rest.arg
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.AsyncFunctionDef):
            yield node.name
            yield from (argument.arg for argument in node.args.args)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name
    for node in ast.walk(function):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node is not function:
            yield node.name


def _is_class_name(node: ast.AST) -> bool:
    """Whether it is spelled like a model: ``Shop``, ``models.Shop``; not ``self.manager``."""
    name = (dotted(node) or "").rpartition(".")[2]
    return name[:1].isupper()


def _does_not_wait(call: ast.Call) -> bool:
    """``acquire(False)``, ``acquire(blocking=False)``, ``get(block=False)``, ``wait(0)``."""
    given = [*call.args[:1], *(k.value for k in call.keywords if k.arg in ("block", "blocking"))]
    given += [k.value for k in call.keywords if k.arg == "timeout"]
    return any(isinstance(value, ast.Constant) and value.value in (False, 0) for value in given)


def _spelled(node: ast.AST) -> str:
    """An expression in a few words."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else f"{text[:57]}…"
