"""A year of weekly letters in a second, for a test: `stackless.testing.virtual_time`.

    python examples/durable/drip_campaign.py

The campaign is a loop with a sleep in it. Between two letters it is a row in a table, and no worker
runs: the test starts one when the clock has reached the time that the row names. A customer who
answers gets no more letters.
"""

from __future__ import annotations

import tempfile
import time
from datetime import timedelta

import stackless
from stackless import durable
from stackless.testing import virtual_time

sent: list[tuple[str, int]] = []


@durable.step
def send_letter(customer: str, week: int) -> None:
    """Send a letter: here it is noted."""
    sent.append((customer, week))


@durable.workflow
def campaign(customer: str) -> str:
    """Send a letter each week for a year, until the customer answers."""
    for week in range(52):
        send_letter(customer, week)
        answer = durable.receive("answer", timeout=timedelta(weeks=1))
        if answer is not None:
            return f"{customer} has answered {answer!r} in week {week}"
    return f"{customer} got all letters"


def work(app: durable.App) -> None:
    """Run a worker until nothing is to be done now."""
    worker = stackless.run_tasklet(app.serve)
    while (
        any(app.workflows(status=each) for each in ("ready", "running")) or due(app) <= time.time()
    ):
        stackless.sleep(0.001)
    app.stop()
    worker.join()


def due(app: durable.App) -> float:
    """Return when the next workflow is to continue."""
    times = [each.due for each in app.workflows(status="waiting") if each.due is not None]
    return min(times, default=float("inf"))


def main() -> None:
    """Let a year pass."""
    with tempfile.TemporaryDirectory() as folder, virtual_time() as clock:
        app = durable.App("campaigns", f"sqlite:///{folder}/campaigns.db")
        ada = app.start(campaign, "ada", id="ada")
        bob = app.start(campaign, "bob", id="bob")
        work(app)
        while due(app) < float("inf"):
            clock.advance(due(app) - time.time() + 0.001)
            work(app)
            if ("bob", 9) in sent and bob.status() == "waiting":
                bob.send("answer", "enough")
        print(ada.result(), bob.result(), sep="\n")
        print(f"{len(sent)} letters in {clock.now / 86400:.0f} days")
        app.close()


if __name__ == "__main__":
    main()
