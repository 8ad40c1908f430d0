from __future__ import annotations

import re
from pathlib import Path

from twogate.django.audit.catalogue import RULES

ROOT = Path(__file__).parent.parent.parent.parent
TABLE = re.compile(r"^\| `(twogate\.\w+)` \| (\w+) \| (.+?) \| (.+?) \|$", re.MULTILINE)


def test_the_documentation_has_each_rule_as_it_is() -> None:
    rows = TABLE.findall((ROOT / "docs" / "check.md").read_text(encoding="utf-8"))
    rules = RULES.values()
    assert rows == [(rule.id, rule.level.name.lower(), rule.title, rule.why) for rule in rules]


def test_each_number_is_given_once() -> None:
    numbers = [code[1:] for code in RULES]
    assert len(numbers) == len(set(numbers))
    assert all(re.fullmatch(r"[EWI]\d{3}", code) for code in RULES)


def test_each_rule_has_a_test_that_breaks_it() -> None:
    folder = ROOT / "tests" / "django" / "audit"
    tests = "".join(file.read_text(encoding="utf-8") for file in folder.rglob("test_*.py"))
    missing = [c for c in RULES if f"!{c}" not in tests and f"twogate.{c}" not in tests]
    assert missing == []
