"""Each browser has a learner of its own, until somebody chooses a name."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from tests.lab.web.conftest import Lab, Visitor


def name_of(visitor: Visitor) -> str:
    visitor.get("/learner/export/")  # it is made when there is something to keep
    found = re.search(r"<h1>(.*)</h1>", visitor.get("/learner/").text)
    assert found is not None
    return found[1]


def test_twenty_new_browsers_are_twenty_learners(lab: Lab) -> None:
    visitors = [Visitor(lab) for _ in range(20)]

    def learn(visitor: Visitor) -> str:
        visitor.get("/")
        with ThreadPoolExecutor(2) as pool:  # two requests of one browser, at once
            list(pool.map(visitor.get, ["/learner/export/"] * 2))
        return name_of(visitor)

    with ThreadPoolExecutor(20) as pool:
        names = list(pool.map(learn, visitors))
    assert len(set(names)) == 20
    assert [name_of(visitor) for visitor in visitors] == names


def test_a_name_leads_back_to_what_was_done(lab: Lab) -> None:
    here, there = Visitor(lab), Visitor(lab)
    here.submit("/learner/become/", name="Hedy")
    text = b'{"format": "twogate-lab/1", "progress": [{"kind": "seen", "key": "a", "value": 1}]}'
    here.upload("/learner/import/", "file", text)
    there.submit("/learner/become/", name=" Hedy ")
    assert len(there.get("/learner/export/").data["progress"]) == 1


def test_a_cookie_that_we_have_not_signed_is_nobody(visitor: Visitor) -> None:
    own = name_of(visitor)
    cookie = next(c for c in visitor.cookies if c.name == "twogate_lab_learner")
    cookie.value = "0" * 32 + (cookie.value or "")[32:]
    assert name_of(visitor) != own
