"""The tutorial's program, killed where the tutorial kills it."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from durable_waits import wait_for

PAGE = Path(__file__).resolve().parents[2] / "docs" / "durable-tutorial.md"


@pytest.fixture
def shop(tmp_path, monkeypatch):
    program = re.search(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)[1]
    # The step that is killed takes as long as it is needed.
    ships = "time.sleep(1)                       # a parcel service"
    assert ships in program
    waits = 'time.sleep(0.1 if item != "milk" or os.path.exists("killed") else 60)'
    program = program.replace(ships, waits).replace("import sys, time", "import os, sys, time")
    (tmp_path / "shop.py").write_text(program)
    monkeypatch.chdir(tmp_path)


def start():
    command = [sys.executable, "-W", "error", "-u", "shop.py", "42"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def durable(*arguments):
    command = [sys.executable, "-W", "error", "-m", "stackless", "durable", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_the_session_of_the_tutorial(shop):
    store = ("--store", "sqlite:///shop.db")
    with start() as first:
        for line in first.stdout:
            if line == "  shipping milk\n":
                first.send_signal(signal.SIGKILL)
    Path("killed").touch()
    assert first.returncode == -signal.SIGKILL
    line = durable("list", *store).splitlines()[1]
    assert line.split()[:4] == ["order-42", "running", "3", "__main__:order"]
    shown = durable("show", *store, "order-42")
    line = next(
        number
        for number, text in enumerate(Path("shop.py").read_text().splitlines(), 1)
        if "ship(item)" in text and "append" in text
    )
    assert f'shop.py", line {line}, in order\n    sent.append(ship(item))\n' in shown
    assert "      items = ['tea', 'milk', 'bread']\n" in shown
    assert "  2  sleep, " in shown and "  3  __main__:ship, " in shown
    with start() as second:
        wait_for(lambda: json.loads(durable("list", "--json", *store))[0]["status"] == "waiting")
        durable("send", *store, "order-42", "rating", '"five stars"')
        out, _ = second.communicate(timeout=60)
    assert out.splitlines() == [
        "  shipping milk",
        "  shipping bread",
        "('receipt 42', 3, 'five stars')",
    ]
    with start() as third:
        assert third.stdout.read() == "('receipt 42', 3, 'five stars')\n"


def test_the_page_says_what_happens(shop):
    """The output of `show` in the page is that of the program in the page."""
    text = PAGE.read_text()
    number = int(re.search(r'shop.py", line (\d+), in order', text)[1])
    line = Path("shop.py").read_text().splitlines()[number - 1]
    assert line.strip() == "sent.append(ship(item))"
    assert os.path.exists("shop.py")
