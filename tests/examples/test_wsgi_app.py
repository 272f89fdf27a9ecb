"""examples/wsgi_app.py, with the command in its text."""

import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

pytest.importorskip("httptools")
ROOT = Path(__file__).resolve().parents[2]


def test_page_of_ten_parts():
    """They are fetched at the same time, by one process from itself."""
    command = [sys.executable, "-m", "stackless", "serve", "examples.wsgi_app:app"]
    server = subprocess.Popen(
        [*command, "--bind", "127.0.0.1:0"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        address = re.search(r"http://\S+", server.stderr.readline())[0]
        page = build_opener(ProxyHandler({})).open(address, timeout=30).read().decode()
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
    parts, _, seconds = page.partition(": ")
    assert parts.split() == [str(n) for n in range(10)]
    assert float(seconds.split()[0]) < 10 * 0.2 * 0.75
