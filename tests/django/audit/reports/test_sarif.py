"""The rules of SARIF 2.1.0 that readers insist on; sections of the OASIS standard in brackets."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from twogate.django.audit import Audit
from twogate.django.audit.catalogue import RULES
from twogate.django.audit.reports.sarif import as_sarif


@pytest.fixture
def log(audit: Audit) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(as_sarif(audit))
    return parsed


def test_the_log_says_its_version(log: dict[str, Any]) -> None:
    assert log["version"] == "2.1.0"  # §3.13.2
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")  # §3.13.3
    assert log.keys() <= {"$schema", "version", "runs", "properties"}
    assert len(log["runs"]) == 1


def test_the_tool_describes_its_rules(log: dict[str, Any]) -> None:
    driver = log["runs"][0]["tool"]["driver"]  # §3.18.2, §3.19
    assert driver["name"] and driver["version"]
    rules = driver["rules"]
    assert [rule["id"] for rule in rules] == [rule.id for rule in RULES.values()]
    for rule in rules:  # §3.49
        assert re.fullmatch(r"[A-Za-z]+", rule["name"])
        assert rule["shortDescription"]["text"].endswith(".")  # §3.11: a sentence
        assert rule["fullDescription"]["text"] and rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in {"none", "note", "warning", "error"}


def test_each_result_points_at_its_rule_and_place(log: dict[str, Any], audit: Audit) -> None:
    run = log["runs"][0]
    results = run["results"]
    assert len(results) == len(audit.findings)
    for result, finding in zip(results, audit.findings, strict=True):
        rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
        assert result["ruleId"] == rule["id"] == finding.rule.id  # §3.27.5 and 6
        assert result["level"] == rule["defaultConfiguration"]["level"]  # §3.27.10
        assert result["message"]["text"].startswith(finding.message)  # §3.11.8
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert physical["region"]["startLine"] == finding.line >= 1  # §3.30.5
        uri = physical["artifactLocation"]["uri"]
        assert re.fullmatch(r"[A-Za-z0-9._~:/%-]+", uri)  # §3.4.3: RFC 3986
        assert not uri.startswith("/")


def test_files_of_the_project_are_relative_to_a_base(log: dict[str, Any], audit: Audit) -> None:
    run = log["runs"][0]
    own, _, foreign = (
        result["locations"][0]["physicalLocation"]["artifactLocation"] for result in run["results"]
    )
    base = run["originalUriBaseIds"][own["uriBaseId"]]["uri"]
    assert base.startswith("file:///") and base.endswith("/")  # §3.14.14
    path = Path(unquote(base.removeprefix("file://")), unquote(own["uri"]))
    assert path == audit.findings[0].file
    assert foreign == {"uri": "file:///elsewhere/settings.py"}


def test_the_base_is_the_repository(audit: Audit) -> None:
    root = audit.project.root
    (root / ".git").mkdir()
    inner = replace(audit.project, root=root / "my shop")
    audit.project = inner
    (first, *_) = json.loads(as_sarif(audit))["runs"][0]["results"]
    uri = first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "my%20shop/views.py"


def test_a_finding_is_the_same_when_it_moves(audit: Audit) -> None:
    def prints() -> list[str]:
        results = json.loads(as_sarif(audit))["runs"][0]["results"]
        return [result["partialFingerprints"]["twogateFinding/v1"] for result in results]

    before = prints()
    audit.findings = [replace(finding, line=finding.line + 3) for finding in audit.findings]
    assert prints() == before
    audit.findings.append(audit.findings[0])
    assert len(set(prints())) == 4  # §3.27.17: two of a kind can be told apart
