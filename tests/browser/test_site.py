"""The documentation site in a real browser. `make browser` builds it before (`make docs`)."""

import functools
import http.server
import threading
from pathlib import Path

import pytest

SITE = Path(__file__).resolve().parents[2] / "target" / "docs" / "site"
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
#: Pages of every kind; all of them are looked through for broken links by `make docs`.
PAGES = ["index", "tutorial", "talk", "compared", "faq", "reference"]
PAGES += ["modules/stackless", "modules/stackless.socket", "examples/talk", "404"]

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


@pytest.fixture(scope="module")
def address():
    if not (SITE / "index.html").exists():
        pytest.fail("the site was not built: make docs")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def visit(browser, address):
    """Open a page; at the end, check that no error occurred, and nothing came from elsewhere."""
    pages, problems = [], []

    def visited(name, fragment=""):
        width, height = SIZES["desktop"]
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        page.set_default_timeout(10_000)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
        page.on("request", lambda request: elsewhere(request.url))
        page.on("response", lambda r: r.status < 400 or problems.append(f"{r.status} {r.url}"))
        page.goto(f"{address}/{name}.html{fragment}")
        pages.append(page)
        return page

    def elsewhere(url):
        if not url.startswith((address, "data:", "blob:")):
            problems.append(url)

    yield visited
    for page in pages:
        page.close()
    assert problems == []


def show(page, size, scheme):
    page.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))
    page.emulate_media(color_scheme=scheme)
    page.wait_for_selector(
        f"body[data-md-color-scheme={'slate' if scheme == 'dark' else 'default'}]"
    )


@pytest.mark.parametrize("name", PAGES)
def test_every_kind_of_page(visit, name):
    """No error, readable, and on a phone nothing is to the right of the screen."""
    page = visit(name)
    assert page.text_content("h1").strip()
    assert page.evaluate(CONTRAST) == []
    show(page, "phone", "dark")
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_pictures_for_people(visit):
    for name, fragment in [("index", ""), ("talk", "#taking-turns"), ("modules/stackless", "")]:
        page = visit(name, fragment)
        for size in SIZES:
            for scheme in ("light", "dark"):
                show(page, size, scheme)
                page.wait_for_timeout(300)
                picture = f"site-{name.replace('/', '-')}-{size}-{scheme}.png"
                page.screenshot(path=Path(__file__).parent / "screenshots" / picture)


def test_search_finds_names_and_words(visit):
    page = visit("index")
    for words, target in [
        ("move_on_after", "#stackless.move_on_after"),
        ("goroutine", "compared.html"),
    ]:
        page.fill(".md-search__input", "")
        page.type(".md-search__input", words)
        page.wait_for_selector(f".md-search-result__link[href*='{target}']", state="attached")


def test_an_animation_plays_inside_its_page(visit):
    page = visit("talk")
    frame = page.frame_locator("iframe.animation").first
    assert page.locator("iframe.animation").count() >= 8
    counted = frame.locator("#count")
    step = int(counted.inner_text().partition(" /")[0])
    frame.locator("#forward").click()
    assert counted.inner_text().startswith(f"{step + 1} /")
    assert frame.locator("#words").inner_text()
