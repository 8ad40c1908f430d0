from __future__ import annotations

from pathlib import Path

from twogate.django.audit.finding import Level, Rule


def test_the_code_says_the_level() -> None:
    rules = [Rule(code, "t", "w") for code in ("E001", "W002", "I003")]
    assert [rule.level for rule in rules] == [Level.ERROR, Level.WARNING, Level.INFO]
    assert rules[0].id == "twogate.E001"


def test_the_worst_comes_first() -> None:
    place = (Path("/a.py"), 0)
    findings = [Rule(code, "t", "w").at(place, "m", "n") for code in ("I003", "W002", "E001")]
    codes = [finding.rule.code for finding in sorted(findings, key=lambda f: f.order)]
    assert codes == ["E001", "W002", "I003"]
    assert findings[0].line == 1
