"""The report as SARIF 2.1.0 (OASIS, sections named below), for code scanning and editors."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import twogate
from twogate.django.audit import Audit
from twogate.django.audit.catalogue import RULES
from twogate.django.audit.finding import Finding, Level, Rule

__all__ = ["as_sarif"]

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_LEVELS = {Level.ERROR: "error", Level.WARNING: "warning", Level.INFO: "note"}  # §3.27.10
_ROOT = "SRCROOT"


def as_sarif(audit: Audit) -> str:
    """One run, with every rule and each finding as a result.

    Files are relative to the repository that the project is in, which is what code scanning
    expects, or else to the project's root.
    """
    base = _repository(audit.project.root)
    rules = list(RULES.values())
    seen: Counter[str] = Counter()
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "twogate check",
                        "version": twogate.__version__,
                        "rules": [_rule(rule) for rule in rules],
                    }
                },
                "originalUriBaseIds": {_ROOT: {"uri": f"{base.as_uri()}/"}},  # §3.14.14
                "columnKind": "unicodeCodePoints",
                "results": [_result(f, rules.index(f.rule), base, seen) for f in audit.findings],
            }
        ],
    }
    return json.dumps(log, indent=2, ensure_ascii=False)


def _repository(root: Path) -> Path:
    folders = (root, *root.parents)
    return next((folder for folder in folders if (folder / ".git").exists()), root)


def _rule(rule: Rule) -> dict[str, Any]:
    """A reportingDescriptor, §3.49."""
    name = "".join(word.capitalize() for word in rule.title.split())
    return {
        "id": rule.id,
        "name": "".join(c for c in name if c.isalnum()),
        "shortDescription": {"text": f"{rule.title[0].upper()}{rule.title[1:]}."},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.why} docs/check.md says more."},
        "defaultConfiguration": {"level": _LEVELS[rule.level]},
    }


def _result(finding: Finding, index: int, base: Path, seen: Counter[str]) -> dict[str, Any]:
    """§3.27."""
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": _LEVELS[finding.rule.level],
        "message": {"text": f"{finding.message} {finding.mend}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": _artifact(finding.file, base),
                    "region": {"startLine": finding.line},
                }
            }
        ],
        "partialFingerprints": {"twogateFinding/v1": _fingerprint(finding, base, seen)},
    }


def _artifact(file: Path, base: Path) -> dict[str, str]:
    """§3.4: a relative URI within the base, else an absolute one."""
    if file.is_relative_to(base):
        return {"uri": quote(file.relative_to(base).as_posix()), "uriBaseId": _ROOT}
    return {"uri": file.as_uri()}


def _fingerprint(finding: Finding, base: Path, seen: Counter[str]) -> str:
    """The same for the same finding when lines are added above it."""
    file = file_name(finding.file, base)
    said = f"{finding.rule.code}\n{file}\n{finding.message}"
    seen[said] += 1
    return hashlib.sha256(f"{said}\n{seen[said]}".encode()).hexdigest()[:32]


def file_name(file: Path, base: Path) -> str:
    """A file's name that is the same on every machine, if it is below the base."""
    return (file.relative_to(base) if file.is_relative_to(base) else file).as_posix()
