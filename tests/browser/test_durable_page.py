"""The page of durable workflows, with a worker that runs them."""

import contextlib
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import durable_shop
import pytest
from stackless import durable

COMMAND = [sys.executable, "-W", "error", "-m", "stackless", "durable"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
ITEMS = ["tea", "milk"]


@contextlib.contextmanager
def child(folder, *arguments):
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        with process.stdout:
            assert process.wait(60) == 0


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The app, whose workflows a worker runs, and the URL of the page."""
    folder = tmp_path_factory.mktemp("shop")
    app = durable.App("shop", f"sqlite:///{folder}/shop.db", key=b"a key of the tests")
    with (
        child(folder, "worker", "durable_shop_app:app"),
        child(folder, "ui", "--app", "durable_shop_app:app", "--bind", "127.0.0.1:0") as ui,
    ):
        app.url = ui.stdout.readline().split()[1]
        app.folder = folder
        yield app
    app.close()


@pytest.fixture
def visit(browser, shop):
    """Open a page; at the end, check that no error occurred in it."""
    pages, problems = [], []

    def visited(path="/", *, width=1280, height=900, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        here = shop.url.partition("?")[0]
        page.on(
            "request", lambda request: request.url.startswith(here) or problems.append(request.url)
        )
        page.goto(shop.url)
        if path != "/":
            page.goto(here.rstrip("/") + path)
        pages.append(page)
        return page

    yield visited
    for page in pages:
        page.close()
    assert [each for each in problems if "409" not in each] == []  # a form that was refused


def until(page, selector, text):
    """Wait for a text: the policy of the page forbids Playwright's own function."""
    for _ in range(600):
        if page.locator(selector).count() and text in page.inner_text(selector):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never: {text!r} in {selector}: {page.inner_text(selector)}")


def until_rows(page, count):
    for _ in range(600):
        if page.locator("tbody tr").count() == count:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never {count} workflows: {page.inner_text('main')}")


def begun(shop, id, statuses=("waiting",), items=ITEMS):
    handle = shop.start(durable_shop.purchase, 42, "card 4444 3333", items, id=id)
    for _ in range(600):
        if handle.status() in statuses:
            return handle
        time.sleep(0.05)
    raise AssertionError(handle.status())


def open_workflow(visit, id, **options):
    return visit(f"/workflow?id={id}", **options)


def test_who_has_not_the_token_sees_nothing(shop):
    here = shop.url.partition("?")[0]
    for path in ("", "?token=", "?token=x", "workflow?id=a", "files/style.css", "nothing"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(here + path)
        assert refused.value.code == 403, path
        assert "purchase" not in refused.value.read().decode()
    form = urllib.request.Request(f"{here}workflow?id=a", data=b"action=send")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(form)
    assert refused.value.code == 403


def test_a_wrong_token_in_the_browser(browser, shop):
    page = browser.new_page()
    answer = page.goto(shop.url + "x")
    assert answer.status == 403
    assert "This token is wrong." in page.inner_text("main")
    assert page.context.cookies() == []
    page.close()


def test_the_cookie_and_the_token(visit, shop):
    page = visit()
    assert "token" not in page.url
    (cookie,) = page.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    assert cookie["value"] not in shop.url
    assert page.evaluate("document.cookie") == ""


def test_schedules_are_listed_with_what_they_have_started(visit, shop):
    shop.schedule("year's end", "0 0 31 12 *", durable_shop.purchase, 1, "card", ITEMS)
    try:
        id = "year's end@2020-12-31T00:00:00+00:00"
        begun(shop, id)
        page = visit()
        row = page.locator("table[data-name=schedules] tbody tr")
        cells = row.locator("td").all_inner_texts()
        assert cells[:4] == ["year's end", "0 0 31 12 *", "UTC", "durable_shop:purchase"]
        assert cells[4].startswith("in ")
        page.screenshot(path=shop.folder / "schedules.png")
        row.locator("a").click()
        page.wait_for_url("**search=**")
        assert page.locator("table[data-name=schedules]").count() == 0
        assert page.locator("tbody tr td.id").all_inner_texts() == [id]
    finally:
        shop.unschedule("year's end")


def test_other_sites_can_change_nothing(visit, shop):
    begun(shop, "csrf")
    page = visit()
    url = shop.url.partition("?")[0] + "workflow?id=csrf"
    right = {"action": "send", "topic": "approval", "value": "1"}
    for form, headers in [({}, {}), ({"form": "x" * 64}, {})]:
        answer = page.context.request.post(url, form={**right, **form}, headers=headers)
        assert answer.status == 403
    page.goto(url)
    form = {"form": page.locator("input[name=form]").first.get_attribute("value")}
    headers = {"Sec-Fetch-Site": "same-site"}
    assert page.context.request.post(url, form={**right, **form}, headers=headers).status == 403
    assert page.context.request.get(url + "&action=send&topic=approval&value=1").ok
    assert shop.handle("csrf").status() == "waiting"
    assert page.context.request.post(url, form={**right, **form}).ok
    assert shop.handle("csrf").result(60)[1] == 1


def test_list_and_filter(visit, shop, keep):
    begun(shop, "list-1")
    shop.start(durable_shop.reminder, "ada", id="list-2")
    page = visit()
    until(page, "tr:has-text('list-2')", "sleeping")
    until(page, "tr:has-text('list-1')", "durable_shop:purchase")
    assert "message 'approval', timeout in 6 d 23 h" in page.inner_text("tr:has-text('list-1')")
    assert "in 29 d 23 h" in page.inner_text("tr:has-text('list-2')")
    page.click("nav >> text=sleeping")
    until_rows(page, 1)
    until(page, "nav a[aria-current]", "sleeping")
    page.click("nav >> text=all")
    until(page, "nav a[aria-current]", "all")
    page.fill("#search", "list-")
    page.keyboard.press("Enter")
    until_rows(page, 2)
    page.fill("#search", "remind")
    page.click("text=Search")
    until_rows(page, 1)
    page.fill("#search", "%")
    page.click("text=Search")
    until(page, "main", "There are no such workflows.")
    page.goto(shop.url.partition("?")[0])
    page.click("text=list-2")
    assert page.inner_text("h1").startswith("list-2")


def test_the_stack_of_a_waiting_workflow(visit, shop):
    begun(shop, "stack")
    page = open_workflow(visit, "stack")
    inner, outer = (page.locator(".stack > li").nth(number) for number in (0, 1))
    source = Path(durable_shop.__file__).read_text().splitlines()
    for frame, name, text in [
        (inner, "ask", "    answer = durable.receive("),
        (outer, "purchase", "    answer = ask(order, 7)"),
    ]:
        line = next(n for n, each in enumerate(source, 1) if each.startswith(text))
        title = frame.locator("h3").inner_text()
        assert title == f"{name} durable_shop.py:{line}"
        current = frame.locator(".current").inner_text()
        assert current.rstrip() == f"{line}{source[line - 1]}"
        assert frame.locator(".source span").count() > 2
    assert inner.locator("table").inner_text().split("\n")[1:] == ["order\t42", "days\t7"]
    variables = outer.locator("table").inner_text()
    assert "items\t['tea', 'milk']" in variables and "receipt\t'receipt 42'" in variables
    timeline = page.inner_text(".timeline")
    assert "1 charge" in timeline and "waiting" in timeline


def test_values_are_redacted(visit, shop):
    begun(shop, "redacted")
    page = open_workflow(visit, "redacted")
    assert "card\t[a card]" in page.inner_text(".stack > li:last-child table")
    assert "4444" not in page.content()


def test_sending_a_message(visit, shop):
    begun(shop, "send")
    page = open_workflow(visit, "send")
    assert page.input_value("input[name=topic]") == "approval"
    page.fill("input[name=value]", "not JSON")
    page.click("button:has-text('Send')")
    assert "the value is not JSON" in page.inner_text("[role=alert]")
    assert page.input_value("input[name=value]") == "not JSON"
    page.fill("input[name=value]", '{"by": "ada"}')
    page.keyboard.press("Enter")
    until(page, "h1", "done")
    until(page, ".result", "{'by': 'ada'}")
    assert page.locator("[role=alert]").count() == 0
    page.wait_for_selector("input[name=topic]", state="detached")
    assert shop.handle("send").result() == ("receipt 42", {"by": "ada"}, [
        "tea is on its way", "milk is on its way"
    ])  # fmt: skip


def test_what_is_typed_stays_while_the_page_is_updated(visit, shop):
    handle = begun(shop, "typing")
    page = open_workflow(visit, "typing")
    page.fill("input[name=value]", '"half of')
    handle.send("approval", None)
    until(page, "h1", "done")
    assert page.input_value("input[name=value]") == '"half of'


def test_a_failed_workflow(visit, shop, keep):
    begun(shop, "failed", items=["glass"]).send("approval", True)
    page = open_workflow(visit, "failed")
    until(page, "h1", "failed")
    until(page, ".timeline", "LookupError: glass must be wrapped")
    assert "LookupError: glass must be wrapped" in page.inner_text(".error")
    assert "sent.append(ship(item))" in page.inner_text(".current")
    assert "item\t'glass'" in page.inner_text(".variables")


def test_retry(visit, shop):
    begun(shop, "retry", items=["glass"]).send("approval", True)
    page = open_workflow(visit, "retry")
    until(page, "h1", "failed")
    (shop.folder / "wrapped").touch()
    try:
        page.click("button:has-text('Retry')")
        until(page, "h1", "done")
        until(page, ".result", "glass is on its way")
        assert "must be wrapped" not in page.inner_text(".timeline")
    finally:
        (shop.folder / "wrapped").unlink()


def test_pause_and_resume(visit, shop):
    handle = begun(shop, "pause")
    page = open_workflow(visit, "pause")
    page.click("button:has-text('Pause')")
    until(page, "h1", "paused")
    handle.send("approval", "card 4444 at last")
    until(page, "[data-live=messages]", "[a card]")
    assert handle.status() == "paused"
    page.click("button:has-text('Resume')")
    until(page, "h1", "done")


def test_cancel_asks_first(visit, shop):
    begun(shop, "cancel")
    page = open_workflow(visit, "cancel")
    page.locator("summary", has_text="Cancel").focus()
    assert not page.is_visible("button:has-text('Yes, cancel it')")
    page.keyboard.press("Enter")
    page.click("button:has-text('Yes, cancel it')")
    until(page, "h1", "cancelled")
    assert shop.handle("cancel").status() == "cancelled"
    assert page.locator("button:has-text('Send')").count() == 0


def test_fork(visit, shop):
    begun(shop, "fork").send("approval", "first")
    page = open_workflow(visit, "fork")
    until(page, "h1", "done")
    page.reload()
    page.click("summary:has-text('Fork')")
    page.select_option("select[name=step]", label="before 2 receive approval")
    page.click("button:has-text('Start the copy')")
    until(page, "h1", "waiting")
    copy = page.inner_text("h1").split()[0]
    assert copy != "fork" and f"id={copy}" in page.url
    shop.handle(copy).send("approval", "second")
    assert shop.handle(copy).result(60)[1] == "second"
    assert shop.handle("fork").result()[1] == "first"


def test_what_cannot_be_done_is_said(visit, shop):
    handle = begun(shop, "late")
    page = open_workflow(visit, "late")
    handle.send("approval", True)
    handle.result(60)
    page.click("button:has-text('Pause')")
    until(page, "[role=alert]", "the workflow 'late' cannot be paused: it has ended (done)")


def test_only_the_last_steps_are_listed(visit, shop):
    shop.start(durable_shop.purchase, 1, "", ["tea"] * 150, id="long").send("approval", 1)
    shop.handle("long").result(60)
    page = open_workflow(visit, "long")
    timeline = page.inner_text(".timeline")
    assert "52 that are not listed" in timeline and "152 ship" in timeline
    assert page.locator(".timeline > li").count() == 103


def test_text_is_not_taken_for_html(visit, shop):
    name = "<b>bold</b>&amp;'\"/?#"
    shop.start(durable_shop.reminder, "<i>ada</i>", id=name)
    page = visit()
    page.click(f"text={name}")
    until(page, "h1", name)
    assert page.locator("main b, main i").all_inner_texts().count("bold") == 0
    until(page, ".stack", "'<i>ada</i>'")


def test_pages_that_do_not_exist(visit, shop):
    page = visit()
    here = shop.url.partition("?")[0]
    for path in ("nothing", "workflow?id=nothing", "?status=odd", "files/site.py"):
        assert page.context.request.get(here + path).status == 404
    text = page.context.request.get(here + "workflow?id=nothing").text()
    assert "there is no workflow &#039;nothing&#039;" in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "width"), [("desktop", 1280), ("phone", 390)])
def test_how_it_looks(visit, shop, keep, scheme, device, width):
    broken = begun(shop, "order-4712", ("waiting", "failed"), ["glass"])
    if broken.status() == "waiting":
        broken.send("approval", True)
    begun(shop, "order-4711")
    shop.start(durable_shop.reminder, "ada", id="newsletter-of-ada-lovelace@example.org")
    page = visit(width=width, scheme=scheme)
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", colour)))
    assert brightness > 600 if scheme == "light" else brightness < 120
    for name, id, text in [
        ("list", None, "order-4711"),
        ("waiting", "order-4711", "waiting"),
        ("failed", "order-4712", "failed"),
    ]:
        if id:
            page.goto(f"{shop.url.partition('?')[0]}workflow?id={id}")
        until(page, "main", text)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        keep(page, f"durable-{name}-{device}-{scheme}")


CONTRAST = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map((c) => c / 255)
      .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const back = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!colour.startsWith("rgba") || !colour.endsWith(", 0)")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const bad = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !e.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(back(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad.push([e.tagName, e.className, e.textContent.slice(0, 20), ratio]);
  }
  return bad;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_is_readable(visit, shop, scheme):
    """The contrast that WCAG 2 asks for, level AA, with all states in the list."""
    broken = begun(shop, "contrast", ("waiting", "failed"), ["glass"])
    if broken.status() == "waiting":
        broken.send("approval", True)
    page = open_workflow(visit, "contrast", scheme=scheme)
    until(page, "h1", "failed")
    page.click("summary:has-text('Fork')")
    assert page.evaluate(CONTRAST) == []
    page.goto(shop.url.partition("?")[0])
    page.evaluate("""() => {
      for (const each of ["ready", "running", "paused", "cancelled", "stuck"]) {
        const made = document.createElement("span");
        made.className = `status ${each}`;
        made.textContent = each;
        document.querySelector("tbody td").append(made);
      }
    }""")
    assert page.evaluate(CONTRAST) == []


def test_the_keyboard_reaches_everything(visit, shop):
    begun(shop, "keys")
    page = open_workflow(visit, "keys")
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            continue  # the browser's own controls
        reached.add(page.evaluate("document.activeElement.textContent.trim().slice(0, 14)"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert {"To the content", "shop", "Send a message", "Send"} <= reached
