"""Code on pages: ``{{ text|with_code }}`` and ``{{ program|lines }}``. Any thread."""

from __future__ import annotations

import re

from django import template
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

__all__ = ["lines", "with_code"]

register = template.Library()

_lexer = PythonLexer(stripnl=False)
# Every line closes what it opens, so lines can be taken apart.
_formatter = HtmlFormatter(nowrap=True)
_CODE = re.compile(r"`([^`]+)`")


@register.filter
def with_code(text: str) -> SafeString:
    """Text in which what stands between backticks is code."""
    parts = _CODE.split(text)  # text and code in turn
    marked = (format_html("<code>{}</code>", p) if i % 2 else p for i, p in enumerate(parts))
    return format_html_join("", "{}", ((conditional_escape(part),) for part in marked))


@register.filter
def lines(program: str) -> list[SafeString]:
    """Lines of a Python program, with its words marked by Pygments' short class names."""
    marked = highlight(program.strip("\n"), _lexer, _formatter)
    return [mark_safe(line) for line in marked.rstrip("\n").split("\n")]  # noqa: S308 - by Pygments
