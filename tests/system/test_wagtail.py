"""A site as Wagtail's own command makes it: an editor logs in, publishes a page, adds an image."""

from __future__ import annotations

import re
import urllib.request
import zlib
from collections.abc import Iterable
from pathlib import Path

from playwright.sync_api import Page, expect

from .conftest import ACCOUNT, Serve, Site


def test_an_editor_publishes_a_page_and_uploads_an_image(
    wagtail_project: Path, serve: Serve, page: Page, tmp_path: Path
) -> None:
    picture = tmp_path / "green.png"
    picture.write_bytes(png(64, 48))

    with serve(wagtail_project) as site:
        log_in(page, site)
        publish(page, site, "Opening hours")
        upload(page, site, picture)

        assert "Opening hours" in fetch(f"{site.url}/opening-hours/")
        original = only(wagtail_project.glob("media/original_images/*.png"))
        assert original.read_bytes() == picture.read_bytes()


def log_in(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/admin/")
    page.fill("[name=username]", ACCOUNT["DJANGO_SUPERUSER_USERNAME"])
    page.fill("[name=password]", ACCOUNT["DJANGO_SUPERUSER_PASSWORD"])
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_title(re.compile("Dashboard"))


def publish(page: Page, site: Site, title: str) -> None:
    """Add a page below the home page, and publish it at once."""
    page.goto(f"{site.url}/admin/pages/add/home/homepage/{home_page_number(page, site)}/")
    page.locator("#id_title").press_sequentially(title)
    page.locator("#id_title").press("Tab")
    # The page's own scripts fill in the slug from the title.
    expect(page.locator("#id_slug")).to_have_value("opening-hours")
    page.get_by_role("button", name="More actions").last.click()
    page.locator("button[name=action-publish]").click()
    expect(page.locator(".messages")).to_contain_text(f"Page '{title}' created and published")


def home_page_number(page: Page, site: Site) -> str:
    """The home page's primary key, as the explorer's link shows it."""
    page.goto(f"{site.url}/admin/pages/")
    found = re.search(r"/admin/pages/(\d+)/edit/", page.content())
    assert found, page.content()
    return found[1]


def upload(page: Page, site: Site, picture: Path) -> None:
    page.goto(f"{site.url}/admin/images/add/")
    page.set_input_files("#id_file", picture)
    expect(page.locator("#id_title")).to_have_value(picture.stem)
    page.get_by_role("button", name="Upload").click()
    expect(page.locator(".messages")).to_contain_text(f"Image '{picture.stem}' added")
    thumbnail = page.locator("img[src*=images]").first
    expect(thumbnail).to_be_visible()
    assert thumbnail.evaluate("image => image.complete && image.naturalWidth > 0")


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        assert response.status == 200
        text: str = response.read().decode()
        return text


def only(paths: Iterable[Path]) -> Path:
    (path,) = paths
    return path


def png(width: int, height: int) -> bytes:
    """A green picture (PNG specification, sections 5 and 11)."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    rows = (b"\x00" + b"\x20\xa0\x40" * width) * height
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in chunks)


def chunk(name: bytes, data: bytes) -> bytes:
    check = zlib.crc32(name + data).to_bytes(4, "big")
    return len(data).to_bytes(4, "big") + name + data + check
