from __future__ import annotations

import importlib

from django.db.models import Manager, QuerySet

from twogate.django.audit.blockers import FUNCTIONS, INSTANCES, LAZY, LOCKS, METHODS, QUERIES

#: What this environment need not have.
ELSEWHERE = {"requests", "httpx", "urllib3"}


def exists(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    if module.partition(".")[0] in ELSEWHERE:
        return True
    if module == "django.db.connection":
        return attribute == "cursor"
    return hasattr(importlib.import_module(module or "builtins"), attribute)


def test_all_that_is_named_exists() -> None:
    assert [name for name in {*FUNCTIONS, *METHODS, *LOCKS} if not exists(name)] == []


def test_the_methods_are_those_of_querysets() -> None:
    manager = Manager()
    assert [name for name in QUERIES | LAZY if not hasattr(QuerySet, name)] == []
    assert [name for name in INSTANCES if not hasattr(manager, name)] == []


def test_each_query_has_the_twin_that_the_mend_names() -> None:
    assert [name for name in QUERIES if not hasattr(QuerySet, f"a{name}")] == []


def test_no_method_is_both() -> None:
    assert set() == QUERIES & LAZY
