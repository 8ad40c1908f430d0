from __future__ import annotations

import json

from twogate.django.audit import Audit
from twogate.django.audit.reports.document import as_json


def test_all_is_in_it(audit: Audit) -> None:
    document = json.loads(as_json(audit))
    assert document["format"] == "twogate-check/1"
    assert document["versions"].keys() == {"twogate", "django", "python"}
    assert document["summary"] == {"error": 1, "warning": 1, "info": 1, "ignored": 2}
    assert [f["id"] for f in document["findings"]] == [
        "twogate.E201", "twogate.W202", "twogate.I010"
    ]  # fmt: skip
    assert document["findings"][0]["file"] == "my shop/views.py"
    assert document["findings"][2]["file"] == "/elsewhere/settings.py"
    assert document["routes"][0]["crossings"] == {"stock": 15, "twogate": 0}
    assert document["routes"][1]["reached"] is False
    assert document["middleware"][0]["takes_thread"] == "it is sync only"
