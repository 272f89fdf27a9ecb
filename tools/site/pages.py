"""Writes what the documentation site is built from: the pages, and a configuration with contents.

    python tools/site/pages.py [--versioned]

runs in an environment of `make build`, and writes target/docs/pages and target/docs/mkdocs.yml. The
pages are those of docs/, a page for each public module, the examples, and the changelog. Links to
other files of the repository lead to their pages, or to the repository if $STACKLESS_PROJECT_URL
has its address, or nowhere: then the text stays.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import reference

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "target" / "docs"
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s#]+)(#[^()\s]*)?\)")
#: A paragraph that is only a link to an animation: on the site it is the animation itself.
ANIMATION = re.compile(r"^\[([^\]]+)\]\((animations/[a-z_]+\.html)\)$", re.M)

#: The contents: titles, with pages of docs/ or further titles. Other pages follow under "How to".
CONTENTS: dict[str, object] = {
    "Home": "index.md",
    "Learn": {
        "Installation": "installation.md",
        "Tutorial": "tutorial.md",
        "The talk": "talk.md",
        "Durable tutorial": "durable-tutorial.md",
        "Tasklets, threads, asyncio, goroutines": "compared.md",
        "Coming from Stackless": "coming-from-stackless.md",
        "Coming from greenlet or gevent": "coming-from-greenlet-gevent.md",
        "Coming from eventlet": "coming-from-eventlet.md",
        "Questions": "faq.md",
    },
    "How to": {
        "Channels and alt": "channels.md",
        "Task groups": "task-groups.md",
        "Locks, queues": "sync.md",
        "Sockets, select, servers": "io.md",
        "Library code in tasklets": "monkey.md",
        "asyncio": "aio.md",
        "Serving": "serving.md",
        "Pickling": "pickling.md",
        "Durable workflows": {
            "Guide": "durable.md",
            "Operation": "durable-operations.md",
            "Compared": "durable-compared.md",
        },
        "Cluster": "cluster.md",
        "Testing": "testing.md",
        "Recordings": "recording.md",
        "What is my program doing?": "explain.md",
        "Debuggers, profilers": "tools.md",
        "Examples": "EXAMPLES",
    },
    "Reference": {
        "Reference": "reference.md",
        "Scheduler": "scheduler.md",
        "Modules": "MODULES",
        "Glossary": "glossary.md",
        "Changelog": "changelog.md",
    },
    "Explanation": {
        "Limits": "limits.md",
        "Parking": "parking.md",
        "Performance": "performance.md",
        "Design": "design.md",
        "Porting": "porting.md",
        "Contributing": "contributing.md",
    },
}


def site_path(path: Path) -> str | None:
    """Where a file of the repository is on the site, if it is there."""
    name = path.relative_to(ROOT).as_posix()
    if name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        return name.lower()
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    if name.startswith("examples"):
        folder = ROOT / "examples"
        if path == folder:
            return "examples/index.md"
        first = path.relative_to(folder).parts[0]
        if first == path.name and path.suffix == ".py":
            return f"examples/{path.stem}.md"
        inside = (
            "" if path.is_dir() or path.name == "README.md" else f"#{path.name.replace('.', '')}"
        )
        return f"examples/{first}.md{inside}" if (folder / first).is_dir() else "examples/index.md"
    return None


def rewritten(text: str, source: Path, target: str) -> str:
    """The text of a page with its links as they are on the site; code stays as it is."""
    url = os.environ.get("STACKLESS_PROJECT_URL", "").rstrip("/")
    depth = target.count("/")

    def replaced(match: re.Match[str]) -> str:
        label, link, fragment = match[1], match[2], match[3] or ""
        if re.match(r"[a-z]+:", link):
            return match[0]
        path = (source.parent / link).resolve()
        there = site_path(path)
        if there:
            if "#" in there:
                fragment = ""
            return f"[{label}]({'../' * depth}{there}{fragment})"
        return f"[{label}]({url}/blob/main/{path.relative_to(ROOT)})" if url else label

    parts = re.split(r"(^```.*?^```$)", text, flags=re.M | re.S)
    parts = [part if part.startswith("```") else framed(LINK.sub(replaced, part)) for part in parts]
    whole = "".join(parts)
    # Animations get the room that the page's own table of contents would take.
    return f"---\nhide:\n  - toc\n---\n{whole}" if "<iframe" in whole else whole


def framed(text: str) -> str:
    """Animations take the place of the links to them."""
    frame = (
        r'<iframe class="animation" src="\2" title="\1" loading="lazy"></iframe>'
        "\n"
        r'<p class="whole"><a href="\2">\1</a>, in a page of its own</p>'
    )
    return ANIMATION.sub(frame, text)


def put(target: str, text: str) -> None:
    path = OUT / "pages" / target
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def examples() -> list[dict[str, str]]:
    """A page for each program, and one for each folder. Returns their places in the contents."""
    folder = ROOT / "examples"
    readme = folder / "README.md"
    names = [f"{path.stem}.py" for path in folder.glob("*.py")]
    names += [
        f"{path.name}/" for path in folder.iterdir() if path.is_dir() and path.name[0] not in "_."
    ]
    text = rewritten(readme.read_text("utf-8"), readme, "examples/index.md")
    for name in names:
        text = text.replace(
            f"| `{name}`", f"| [`{name}`]({name.rstrip('/').removesuffix('.py')}.md)"
        )
    put("examples/index.md", text.replace("# examples", "# Examples"))
    contents = [{"Examples": "examples/index.md"}]
    for name in sorted(names):
        bare = name.rstrip("/").removesuffix(".py")
        programs = [folder / name] if name.endswith(".py") else sorted((folder / bare).glob("*.py"))
        about = folder / bare / "README.md"
        lines = [
            rewritten(about.read_text("utf-8"), about, "examples/x.md")
            if about.exists()
            else f"# {name}"
        ]
        for path in programs:
            if not name.endswith(".py"):
                lines.append(f"## {path.name} {{ #{path.name.replace('.', '')} }}")
            lines.append(f"```py\n{path.read_text('utf-8')}```")
        put(f"examples/{bare}.md", "\n\n".join(lines) + "\n")
        contents.append({name: f"examples/{bare}.md"})
    return contents


def leaves(contents: dict[str, object]) -> Iterator[object]:
    for page in contents.values():
        if isinstance(page, dict):
            yield from leaves(page)
        else:
            yield page


def navigation(contents: dict[str, object], special: dict[str, object]) -> list[object]:
    found: list[object] = []
    for title, page in contents.items():
        if isinstance(page, dict):
            found.append({title: navigation(page, special)})
        else:
            found.append({title: special.get(str(page), page)})
    return found


def main() -> None:
    shutil.rmtree(OUT / "pages", ignore_errors=True)
    for page in sorted((ROOT / "docs").glob("*.md")):
        put(page.name, rewritten(page.read_text("utf-8"), page, page.name))
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        page = ROOT / name
        put(name.lower(), rewritten(page.read_text("utf-8"), page, name.lower()))
    pictures = [path for path in (ROOT / "docs").iterdir() if path.suffix in (".png", ".svg")]
    for path in [*pictures, ROOT / "tools" / "site" / "site.css"]:
        shutil.copy(path, OUT / "pages" / path.name)
    shutil.copytree(ROOT / "docs" / "animations", OUT / "pages" / "animations")
    modules = reference.write(OUT / "pages" / "modules")
    listed = [
        {name.removesuffix(".md").replace("index", "Modules"): f"modules/{name}"}
        for name in modules
    ]
    special = {"MODULES": listed, "EXAMPLES": examples()}
    placed = {str(page) for page in leaves(CONTENTS)}
    others = [page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in placed]
    titles = {page.read_text("utf-8").partition("\n")[0].lstrip("# "): page.name for page in others}
    contents = {**CONTENTS, "How to": {**CONTENTS["How to"], **titles}}  # type: ignore[dict-item]
    url = os.environ.get("STACKLESS_PROJECT_URL")
    settings: dict[str, object] = {
        "INHERIT": "../../mkdocs.yml",
        "docs_dir": "pages",
        "site_dir": "site",
        "nav": navigation(contents, special),
        **({"repo_url": url} if url else {}),
    }
    if "--versioned" in sys.argv[1:]:
        settings["extra"] = {"version": {"provider": "mike"}}
    (OUT / "mkdocs.yml").write_text(json.dumps(settings, indent=1), "utf-8")


if __name__ == "__main__":
    main()
