"""The Python blocks of the documentation run, and print the text block below them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\s*^```text\n(.*?)^```$)?", re.M | re.S)


def blocks():
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text()
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield pytest.param(match[1], match[2], id=f"{page.name}:{line}")


@pytest.mark.parametrize(("program", "printed"), list(blocks()))
def test_block(program, printed, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    if printed is not None:
        assert done.stdout == printed


def test_programs_of_other_libraries_are_python():
    """Blocks marked `py` need what is not installed here, or are parts of programs."""
    for page in (ROOT / "docs").glob("*.md"):
        for program in re.findall(r"^```py\n(.*?)^```", page.read_text(), re.M | re.S):
            compile(program, page.name, "exec")


def test_links_lead_somewhere():
    others = [
        ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
    ]
    for page in [*others, *(ROOT / "examples").rglob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
