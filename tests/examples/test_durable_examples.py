"""examples/durable: programs that kill themselves and end nevertheless, and a year in a second."""

import os
import signal
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples" / "durable"
RESULT = "('receipt 42', ['tea is on its way', 'milk is on its way', 'bread is on its way'])"
KILLED = -signal.SIGKILL


def run(name, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, **environment},
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_the_order_ends_in_the_third_run(tmp_path):
    database = f"{tmp_path}/order.db"
    off = "... and the power is off"
    assert run("order.py", DATABASE=database) == (KILLED, ["charged 9.99 for order 42", off])
    assert run("order.py", "approve", DATABASE=database) == (0, [])
    lines = ["waiting for the approval", "shipped tea", "shipped milk", off]
    assert run("order.py", DATABASE=database) == (KILLED, lines)
    assert run("order.py", DATABASE=database) == (0, ["shipped bread", RESULT])
    assert run("order.py", DATABASE=database) == (0, [RESULT])


def test_the_agent_asks_for_nothing_twice(tmp_path):
    database = f"{tmp_path}/agent.db"
    code, lines = run("agent.py", database)
    assert (code, lines[-2:]) == (KILLED, ["used look_up('milk')", "... killed"])
    assert run("agent.py", database) == (
        0,
        [
            "asked the model, 5 messages",
            "used calculate('3 * 4.5 + 2 * 1.25')",
            "asked the model, 7 messages",
            "That is 16.00 in all.",
        ],
    )


def test_the_crawler_fetches_few_pages_twice(tmp_path):
    database = f"{tmp_path}/crawler.db"
    assert run("crawler.py", database) == (KILLED, ["... killed"])
    code, (line,) = run("crawler.py", database)
    assert code == 0 and line.startswith("40 pages; 4")
    assert int(line.split()[-4]) <= 5


def test_a_year_passes():
    assert run("drip_campaign.py") == (
        0,
        [
            "ada got all letters",
            "bob has answered 'enough' in week 9",
            "62 letters in 364 days",
        ],
    )
