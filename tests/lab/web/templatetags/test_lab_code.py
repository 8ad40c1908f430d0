"""Code in texts, and programs line by line."""

from __future__ import annotations

import re

from django.utils.html import strip_tags

from twogate.lab.bank import all_questions
from twogate.lab.web.templatetags.lab_code import lines, with_code


def test_what_stands_between_backticks_is_code() -> None:
    assert with_code("`a < b` & c") == "<code>a &lt; b</code> &amp; c"
    assert with_code("<script>") == "&lt;script&gt;"


def test_lines_of_programs_are_whole() -> None:
    for program in {text for q in all_questions() for text in (q.code, q.proof) if text}:
        shown = [strip_tags(str(line)) for line in lines(program)]
        assert len(shown) == program.strip("\n").count("\n") + 1
    for line in lines('"""One\ntwo."""\nx = 1'):
        assert len(re.findall("<span", line)) == len(re.findall("</span", line))
