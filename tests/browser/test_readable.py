"""The page can be read: no cut lines, names without addresses, sentences, sleeps in real time."""

import time
from pathlib import Path

import pytest
import stackless
from stackless._record.recording import convert

ANIMATIONS = Path(__file__).resolve().parents[2] / "docs" / "animations"
SIZES = {"desktop": (1440, 900), "in another page": (690, 640), "phone": (390, 844)}


def sentences(page):
    """The sentence of every step."""
    return page.evaluate(
        """() => Array.from({ length: stacklessPlayer.last + 1 }, (_, step) => {
             stacklessPlayer.seek(step);
             return document.getElementById("words").innerText;
           })"""
    )


def step_with(page, text):
    return next(i for i, each in enumerate(sentences(page)) if text in each)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["pull_parser", "sleepers", "producers_consumer"])
def test_lines_of_source_are_not_cut(open_page, name, size):
    width, height = SIZES[size]
    page = open_page(ANIMATIONS / f"{name}.html", width=width, height=height)
    cut = """() => {
      const box = document.getElementById("source").getBoundingClientRect();
      return [...document.querySelectorAll("#source code")].filter(
        (e) => e.getBoundingClientRect().right > box.right + 1 || e.scrollWidth > e.clientWidth + 1
      ).length;
    }"""
    assert page.evaluate(cut) == 0
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.is_visible("#forward") and page.is_visible("#play")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_enough_contrast(open_page, scheme):
    contrast = (Path(__file__).parent / "contrast.js").read_text()
    page = open_page(ANIMATIONS / "producers_consumer.html", scheme=scheme)
    for step in range(0, page.evaluate("stacklessPlayer.last"), 6):
        page.evaluate(f"stacklessPlayer.seek({step})")
        assert page.evaluate(contrast) == [], step


def test_sentences_say_what_the_line_does(open_page):
    said = sentences(open_page(ANIMATIONS / "pull_parser.html"))
    assert "main runs count += 1." in said
    assert "main defines iterparse()." in said
    assert "main has run make_xml.py." in said
    assert "main: startElement() returns." in said
    at_lines = [each for each in said if "is at line" in each]
    assert len(at_lines) < len(said) / 5, at_lines


def test_names_are_without_addresses(open_page):
    for name in ("factorial", "pull_parser", "sleepers"):
        page = open_page(ANIMATIONS / f"{name}.html")
        for step, said in enumerate(sentences(page)):
            if "cell at" not in said and "<lambda at" not in said:
                assert "0x" not in said, f"{name}, step {step}: {said}"
        for text in page.locator(".tasklet header, .tasklet .args").all_inner_texts():
            assert "0x" not in text
    page = open_page(ANIMATIONS / "sleepers.html")
    assert any("cook('eggs', 0.2, sleep)" in each for each in sentences(page))


def test_a_sleep_has_its_reason_and_its_time(open_page):
    page = open_page(ANIMATIONS / "sleepers.html")
    said = sentences(page)
    assert any(
        "is sleeping 0.3 s. No tasklet can run: the thread sleeps 0." in each for each in said
    )
    # The thread is not woken by a tasklet that sleeps itself.
    assert not any("runnable" in each for each in said)


def test_it_plays_a_sleep_in_real_time(open_page, tmp_path):
    recorded = tmp_path / "sleep.json"
    with stackless.record(recorded):
        stackless.tasklet(stackless.sleep)(1.2)
        stackless.run()
    convert(recorded, tmp_path / "sleep.html")
    page = open_page(tmp_path / "sleep.html")
    sleeps = step_with(page, "the thread sleeps")
    page.evaluate(f"stacklessPlayer.seek({sleeps} - 1)")
    page.select_option("#speed", "1000/s")
    page.click("#play")
    began = time.monotonic()
    while page.evaluate("stacklessPlayer.step") <= sleeps:
        assert time.monotonic() < began + 30
        page.wait_for_timeout(20)
    assert time.monotonic() - began > 0.8


def test_the_channel_that_acts_is_in_sight(open_page, tmp_path):
    recorded = tmp_path / "many.json"

    def each(channel):
        channel.receive()

    with stackless.record(recorded):
        channels = [stackless.channel() for _ in range(12)]
        for channel in channels:
            stackless.tasklet(each)(channel)
        stackless.run()
        for channel in channels:
            channel.send(0)
        stackless.run()
    convert(recorded, tmp_path / "many.html")
    page = open_page(tmp_path / "many.html")
    seen = """() => {
      const box = document.getElementById("channels").getBoundingClientRect();
      return [...document.querySelectorAll(".channel.acts")].every((e) => {
        const place = e.getBoundingClientRect();
        return place.top >= box.top - 1 && place.bottom <= box.bottom + 1;
      });
    }"""
    acting = 0
    for step in range(page.evaluate("stacklessPlayer.last") + 1):
        page.evaluate(f"stacklessPlayer.seek({step})")
        acting += page.locator(".channel.acts").count()
        assert page.evaluate(seen), step
    assert acting >= 24


def test_it_does_not_scroll_the_page_around_it(browser, tmp_path):
    outer = tmp_path / "outer.html"
    inner = (ANIMATIONS / "producers_consumer.html").as_uri()
    outer.write_text(
        f"<p style='height: 3000px'>above</p><iframe src='{inner}' width=690 height=600></iframe>"
    )
    page = browser.new_page()
    page.goto(outer.as_uri())
    frame = page.frames[1]
    frame.wait_for_selector("#words")
    for step in range(frame.evaluate("stacklessPlayer.last")):
        frame.evaluate(f"stacklessPlayer.seek({step})")
    assert page.evaluate("scrollY") == 0
    page.close()
