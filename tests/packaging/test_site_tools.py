"""The tools of the documentation site: the pages of modules, and the check of the built site."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool():
    """Import one of tools/site."""
    sys.path.insert(0, str(ROOT / "tools" / "site"))
    yield importlib.import_module
    sys.path.remove(str(ROOT / "tools" / "site"))


def entry(text, name):
    """What a page has between the title of a name and the next title."""
    after = text.partition(f"{{ #{name} }}")[2]
    assert after, f"{name} has no title"
    return after.partition("\n###")[0]


def test_every_name_has_a_place_and_its_docstring(tool):
    reference = tool("reference")
    for module in reference.public_modules():
        page = reference.Page(module)
        text = page.text()
        for name in page.names:
            assert f"#{module}.{name} }}" in text or f'id="{module}.{name}"' in text, name


def test_members_have_the_signatures_of_the_stub(tool):
    text = tool("reference").Page("stackless").text()
    assert "bind_thread(thread_id: int = -1, /) -> None" in entry(
        text, "stackless.tasklet.bind_thread"
    )
    assert "Move this tasklet to another thread" in entry(text, "stackless.tasklet.bind_thread")
    assert "runcount: int" in entry(text, "stackless.runcount")
    # A public class above is a link to it, a private one is not named.
    group = text.partition("{ #stackless.TaskGroup }")[2].partition("\n### ")[0]
    assert "class TaskGroup(CancelScope)" in group
    assert "TaskGroup.start" in group and "From [`CancelScope`]" in group
    assert "_stackless." not in text


def test_docstrings_become_markdown(tool):
    markdown = tool("reference").markdown
    links = {"f": "#m.f"}
    assert markdown("Call `f(x)` with *args.", links) == "Call [`f(x)`](#m.f) with \\*args.\n"
    assert markdown("x:\n\n    a *= 2\n\ny", {}) == "x:\n\n    a *= 2\n\ny\n"
    assert markdown("x:\n* one\n* two", {}) == "x:\n\n* one\n* two\n"
    assert "[Reference](../reference.md), section 5" in markdown("(Reference, section 5.)", {})


def test_a_broken_site_is_noticed(tool, tmp_path):
    check = tool("check_site")
    (tmp_path / "modules").mkdir()
    (tmp_path / "index.html").write_text(
        '<p id="here"><a href="#here">a</a><a href="#gone">b</a><a href="modules/">c</a>'
        '<a href="missing.html">d</a><a href="other.html#x">e</a><a href="https://x.invalid/">f</a>'
        '<script src="https://x.invalid/y.js"></script>'
    )
    (tmp_path / "other.html").write_text("<p>")
    (tmp_path / "modules" / "index.html").write_text("<p>")
    found = check.problems(tmp_path)
    about_pages = [each for each in found if "is not on the site" not in each]
    assert about_pages == [
        "index.html links to #gone: there is no such place",
        "index.html links to missing.html, which does not exist",
        "index.html links to other.html#x: there is no such place",
        "index.html loads https://x.invalid/y.js",
    ]
    assert "stackless.tasklet is not on the site" in found


def test_links_lead_to_pages_of_the_site(tool, monkeypatch):
    pages = tool("pages")
    page = ROOT / "docs" / "faq.md"
    monkeypatch.delenv("STACKLESS_PROJECT_URL", raising=False)

    def rewritten(text, target="faq.md"):
        return pages.rewritten(text, page, target)

    assert rewritten("[a](io.md#x)") == "[a](io.md#x)"
    assert rewritten("[a](../CONTRIBUTING.md)") == "[a](contributing.md)"
    assert rewritten("[a](../examples/talk/hello.py)") == "[a](examples/talk.md#hellopy)"
    assert rewritten("[a](../examples/many_pages.py)") == "[a](examples/many_pages.md)"
    assert rewritten("[a](../tests/model.py)") == "a"
    monkeypatch.setenv("STACKLESS_PROJECT_URL", "https://forge.example/p")
    assert (
        rewritten("[a](../tests/model.py)")
        == "[a](https://forge.example/p/blob/main/tests/model.py)"
    )
    assert "<iframe" in rewritten("x\n\n[A](animations/hello.html)\n\ny")
    assert "<iframe" not in rewritten("x [A](animations/hello.html)")
    assert rewritten("```py\n[a](b.md)\n```") == "```py\n[a](b.md)\n```"
