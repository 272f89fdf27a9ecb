"""Checks the built site, in an environment of `make build`.

    python tools/site/check_site.py target/docs/site

Fails if a link or a reference leads nowhere (to a file or to a place in one), if a page loads
something from another site, or if a public name of a public module is not there.
"""

import html.parser
import sys
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import reference

#: Attributes with which a page loads something, by their elements.
LOADS = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src")}
BASE = "http://site.invalid/"


class Page(html.parser.HTMLParser):
    """The places of a page, and what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[tuple[str, bool]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.update(value for name, value in attrs if name in ("id", "name") and value)
        for name, value in attrs:
            if name in ("href", "src") and value is not None:
                loads = (tag, name) in LOADS or (tag == "link" and given.get("rel") != "canonical")
                self.links.append((value, loads))


def problems(site: Path) -> list[str]:
    pages = {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site).as_posix()
        # The page for what is not found has absolute links: it is shown at any address.
        for link, loads in page.links:
            there = urlsplit(urljoin(BASE + name, link))
            if there.scheme in ("data", "mailto", "javascript"):
                continue
            if there.netloc != urlsplit(BASE).netloc:
                if loads:
                    found.append(f"{name} loads {link}")
                continue
            target = site / unquote(there.path.lstrip("/"))
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                found.append(f"{name} links to {link}, which does not exist")
            elif there.fragment and target in pages and not there.fragment.startswith("step="):
                if unquote(there.fragment) not in pages[target].ids:
                    found.append(f"{name} links to {link}: there is no such place")
    for module in reference.public_modules():
        path = site / "modules" / f"{module}.html"
        names = reference.names_of(reference.importlib.import_module(module))
        ids = pages[path].ids if path in pages else set()
        found += [
            f"{module}.{each} is not on the site" for each in names if f"{module}.{each}" not in ids
        ]
    return found


def main() -> None:
    site = Path(sys.argv[1]).resolve()
    found = problems(site)
    for each in found:
        print(f"check_site: {each}", file=sys.stderr)
    if not found:
        pages = len(list(site.rglob("*.html")))
        size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
        print(f"{site}: {pages} pages, {size // 1024} KiB, no broken link")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
