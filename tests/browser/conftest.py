"""A real browser: Debian's chromium, controlled by Playwright. `make browser` installs both."""

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "record"))

SCREENSHOTS = Path(__file__).parent / "screenshots"


def chromium():
    named = os.environ.get("STACKLESS_CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium()
    if path is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Open the page of a recording; at the end, check that no error occurred in it."""
    pages, problems = [], []

    def opened(path, *, width=1440, height=900, scheme="light", fragment=""):
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("requestfailed", lambda request: problems.append(request.url))
        url = Path(path).resolve().as_uri()
        page.on(
            "request", lambda request: request.url.startswith(url) or problems.append(request.url)
        )
        page.goto(url + fragment)
        assert page.evaluate("window.stacklessPlayer !== undefined")
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.close()
    assert problems == []


@pytest.fixture
def keep():
    """Save a screenshot of the page, for people to look at."""
    SCREENSHOTS.mkdir(exist_ok=True)
    return lambda page, name: page.screenshot(path=SCREENSHOTS / f"{name}.png")
