"""The page that shows a recording: one HTML file, made of the files in `viewer/`."""

from __future__ import annotations

import re
from importlib import resources

#: The scripts, each after those that it uses.
SCRIPTS = ("model.js", "words.js", "source.js", "stage.js", "timeline.js", "controls.js")

_BEGIN = b'<script type="application/json" id="recording">'
_END = b"</script>"


def page(recording: bytes) -> bytes:
    """Return the complete page for a recording; it loads no other files."""
    text = _file("page.html")
    text = text.replace("/* style */", _file("style.css"))
    text = text.replace("/* script */", "\n".join(map(_script, SCRIPTS)))
    # In JSON, < occurs only in strings. Escaped, it cannot end the script element.
    data = recording.replace(b"<", b"\\u003c")
    return text.encode().replace(b"{/* recording */}", data)


def recording_in(page: bytes) -> bytes:
    """Return the recording in a page. Raises ValueError if there is none."""
    start = page.find(_BEGIN)
    end = page.find(_END, start)
    if start < 0 or end < 0:
        raise ValueError("this page holds no recording")
    return page[start + len(_BEGIN) : end]


def holds_recording(page: bytes) -> bool:
    """Return True if this is a page that shows a recording."""
    return _BEGIN in page


def _file(name: str) -> str:
    return (resources.files("stackless") / "_record" / "viewer" / name).read_text("utf-8")


def _script(name: str) -> str:
    """Return a script without its imports and exports, as a part of one script."""
    text = re.sub(r"^import .*?;\n", "", _file(name), flags=re.M | re.S)
    return re.sub(r"^export ", "", text, flags=re.M)
