"""The page that shows a recording: made of the files in `viewer/`, in one piece."""

from __future__ import annotations

import re
from importlib import resources

#: The scripts, in the order in which they use one another.
SCRIPTS = ("model.js", "words.js", "source.js", "stage.js", "timeline.js", "controls.js")

_BEGIN = b'<script type="application/json" id="recording">'
_END = b"</script>"


def page(recording: bytes) -> bytes:
    """The page for a recording, complete: it loads nothing from anywhere."""
    text = _file("page.html")
    text = text.replace("/* style */", _file("style.css"))
    text = text.replace("/* script */", "\n".join(map(_script, SCRIPTS)))
    # In JSON a < occurs in texts only. Escaped, it cannot end the script element.
    data = recording.replace(b"<", b"\\u003c")
    return text.encode().replace(b"{/* recording */}", data)


def recording_in(page: bytes) -> bytes:
    """The recording in a page. Raises ValueError if there is none."""
    start = page.find(_BEGIN)
    end = page.find(_END, start)
    if start < 0 or end < 0:
        raise ValueError("this page holds no recording")
    return page[start + len(_BEGIN) : end]


def holds_recording(page: bytes) -> bool:
    """Whether this is a page that shows a recording."""
    return _BEGIN in page


def _file(name: str) -> str:
    return (resources.files("stackless") / "_record" / "viewer" / name).read_text("utf-8")


def _script(name: str) -> str:
    """A module as a part of one script: without what connects it with the others."""
    text = re.sub(r"^import .*?;\n", "", _file(name), flags=re.M | re.S)
    return re.sub(r"^export ", "", text, flags=re.M)
