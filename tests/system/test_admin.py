"""Django's admin on a project nobody touched after `startproject`."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from .conftest import Manage, Serve, Site

ACCOUNT = {
    "DJANGO_SUPERUSER_USERNAME": "root",
    "DJANGO_SUPERUSER_EMAIL": "root@example.com",
    "DJANGO_SUPERUSER_PASSWORD": "a-long-enough-secret",
}


def test_the_admin_is_styled_and_adds_a_user(
    start_project: Path, manage: Manage, serve: Serve, page: Page
) -> None:
    manage(start_project, "migrate", "--verbosity=0")
    manage(start_project, "createsuperuser", "--noinput", **ACCOUNT)

    with serve(start_project) as site:
        page.goto(f"{site.url}/admin/")
        expect_style(page)
        log_in(page)
        expect(page).to_have_title(re.compile("Site administration"))
        add_user(page, site, "ada")

        page.goto(f"{site.url}/admin/auth/user/?q=ada")
        expect(page.locator("#result_list")).to_contain_text("ada")


def expect_style(page: Page) -> None:
    """The admin's style sheets came and were applied: its header is not transparent."""
    rules = page.evaluate("[...document.styleSheets].map(sheet => sheet.cssRules.length)")
    assert rules and all(rules), rules
    header = page.locator("#header")
    colour = header.evaluate("element => getComputedStyle(element).backgroundColor")
    assert colour not in ("transparent", "rgba(0, 0, 0, 0)")


def log_in(page: Page) -> None:
    page.fill("[name=username]", ACCOUNT["DJANGO_SUPERUSER_USERNAME"])
    page.fill("[name=password]", ACCOUNT["DJANGO_SUPERUSER_PASSWORD"])
    page.locator("[type=submit]").click()


def add_user(page: Page, site: Site, name: str) -> None:
    page.goto(f"{site.url}/admin/auth/user/add/")
    page.fill("#id_username", name)
    page.fill("#id_password1", "another-long-secret")
    page.fill("#id_password2", "another-long-secret")
    page.locator("[name=_save]").click()
    expect(page.locator(".messagelist")).to_contain_text("was added successfully")
