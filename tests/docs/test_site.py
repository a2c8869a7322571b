"""The documentation site builds without a warning, and every link in it leads somewhere."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from PIL import Image
from selenium.webdriver.support.wait import WebDriverWait

from tests.driver.http.page.browser import PATIENCE_S, Browser

REPOSITORY = Path(__file__).parents[2]

# One worker builds the site for all of them.
pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("site")]


class _Page(HTMLParser):
    """Ids of a page, where it points to, and what a browser loads with it."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in ("img", "script", "iframe", "source") and given.get("src"):
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(given.get("href", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The built site and what the build printed."""
    target = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)],
        cwd=REPOSITORY,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target, done.stderr


@pytest.fixture(scope="module")
def pages(site: tuple[Path, str]) -> dict[Path, _Page]:
    parsed = {}
    for path in site[0].rglob("*.html"):
        page = _Page()
        page.feed(path.read_text(encoding="utf-8"))
        parsed[path] = page
    return parsed


def test_the_build_warns_of_nothing(site: tuple[Path, str]) -> None:
    assert "WARNING" not in site[1]
    assert "ERROR" not in site[1]


def _inside(targets: list[str]) -> Iterator[str]:
    return (t for t in targets if "://" not in t and not t.startswith(("mailto:", "data:")))


def test_every_link_leads_to_a_page_and_a_place_on_it(
    site: tuple[Path, str], pages: dict[Path, _Page]
) -> None:
    dead = []
    for path, page in pages.items():
        if path.name == "404.html":
            continue
        for link in _inside(page.links + page.loads):
            target, anchor = urldefrag(link)
            there = (path.parent / unquote(target)).resolve() if target else path
            if there.is_dir():
                there /= "index.html"
            known = pages.get(there)
            if not there.exists() or (anchor and known and unquote(anchor) not in known.ids):
                dead.append(f"{path.relative_to(site[0])}: {link}")
    assert not dead, "\n".join(dead)


def test_nothing_is_loaded_from_another_host(pages: dict[Path, _Page]) -> None:
    foreign = {load for page in pages.values() for load in page.loads if "//" in load}
    assert not foreign


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser with pages from the file system."""
    with contextlib.closing(Browser.start()) as started:
        started.prefer("light")
        yield started


def test_the_site_is_searched_from_the_file_system(
    site: tuple[Path, str], browser: Browser
) -> None:
    browser.open(f"file://{site[0]}/index.html")
    browser.find(".md-search__input").click()
    browser.find(".md-search__input").send_keys("a lease expires")
    found = browser.wait(
        "[...document.querySelectorAll('.md-search-result__link')].map((link) => link.href).join()"
    )
    assert "explanation/leases-and-epochs.html" in found
    assert browser.console() == []


def test_charts_are_dark_when_the_dark_colours_are_chosen(
    site: tuple[Path, str], browser: Browser
) -> None:
    """The pictures follow the choice of the page, and not only that of the system."""
    browser.open(f"file://{site[0]}/explanation/architecture.html")

    def is_dark(_: object) -> bool:
        picture = Image.open(io.BytesIO(browser.find("article img").screenshot_as_png))
        return picture.convert("L").resize((1, 1)).getpixel((0, 0)) < 100  # type: ignore[operator]

    assert not is_dark(None)
    browser.run("document.querySelector('input[data-md-color-scheme=slate]').click()")
    WebDriverWait(browser.driver, PATIENCE_S).until(is_dark)


def test_every_statechart_and_every_guide_is_part_of_the_site(
    site: tuple[Path, str], pages: dict[Path, _Page]
) -> None:
    shown = {(p.parent / unquote(x)).resolve() for p, page in pages.items() for x in page.loads}
    for chart in (REPOSITORY / "diagrams").glob("*.svg"):
        assert site[0] / "repository" / "diagrams" / chart.name in shown, chart.name
    for guide in (REPOSITORY / "docs").rglob("*.md"):
        built = site[0] / guide.relative_to(REPOSITORY / "docs").with_suffix(".html")
        assert built.exists(), guide
