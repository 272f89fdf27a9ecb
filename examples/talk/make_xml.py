"""Make the XML file that the pull parser reads: 220,523 elements, about 6 MB, always the same.

Without a path the file goes to the system's directory for temporary files, and is kept there.

    python examples/talk/make_xml.py [PATH]
"""

import argparse
import os
import tempfile
from pathlib import Path

ELEMENTS = 220_523
PER_ENTRY = 3  # <entry> and the two elements in it

ADJECTIVES = ["quiet", "brisk", "amber", "hollow", "gentle", "crooked", "distant", "silver"]
NOUNS = ["harbour", "lantern", "meadow", "engine", "orchard", "compass", "river"]


def write_xml(path: Path, elements: int = ELEMENTS) -> None:
    """Write a catalogue with exactly this number of elements, its root included."""
    entries, notes = divmod(elements - 1, PER_ENTRY)
    # Written under another name and renamed when complete: so no program reads an incomplete file.
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<catalogue>\n')
        for i in range(notes):
            file.write(f"<note>{NOUNS[i]}</note>\n")
        for i in range(entries):
            name = f"{ADJECTIVES[i % 8]} {ADJECTIVES[i // 7 % 8]} {NOUNS[i % 7]}"
            price = i * 7919 % 100_003
            file.write(f'<entry id="{i}"><name>{name}</name><price>{price}</price></entry>\n')
        file.write("</catalogue>\n")
    part.replace(path)


def cached_xml() -> Path:
    """Return the path of the full-size file, which is made at the first call."""
    path = Path(tempfile.gettempdir(), f"stackless-talk-{ELEMENTS}.xml")
    if not path.exists():
        write_xml(path)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=f"Make an XML file of {ELEMENTS} elements.")
    parser.add_argument("path", nargs="?", type=Path, help="default: a file kept for later runs")
    path = parser.parse_args().path
    if path is None:
        path = cached_xml()
    else:
        write_xml(path)
    print(f"{path}: {ELEMENTS} elements, {path.stat().st_size / 1e6:.1f} MB")
