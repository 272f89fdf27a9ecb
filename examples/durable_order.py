"""A workflow that survives `kill -9`: start this program again and again until it has ended.

    python examples/durable_order.py [DATABASE]

It charges an order, sleeps, and ships three items. After the charge and after the second item the
process kills itself, without any warning, as a power cut would. Started again, it continues behind
the last step that was recorded, with its variables; nothing is charged or shipped twice. The third
run prints the result, and each later one prints it again.
"""

from __future__ import annotations

import os
import signal
import sys

from stackless import durable


@durable.step
def charge(order: int, amount: float) -> str:
    """Take the money."""
    print(f"charged {amount} for order {order}")
    return f"receipt {order}"


@durable.step
def ship(item: str) -> str:
    """Send one item."""
    print(f"shipped {item}")
    return f"{item} is on its way"


def power_cut(name: str) -> None:
    """Kill the process, once for each name: a file remembers it."""
    mark = f"{database}.{name}"
    if not os.path.exists(mark):
        open(mark, "w").close()
        print("... and the power is off", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


@durable.workflow
def process(order: int, amount: float, items: list[str]) -> tuple[str, list[str]]:
    """Charge an order, wait, and ship its items."""
    receipt = charge(order, amount)
    power_cut("charged")
    durable.sleep(0.1)
    sent = []
    for number, item in enumerate(items):
        sent.append(ship(item))
        if number == 1:
            power_cut("shipped")
    return receipt, sent


database = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "durable_order.db")

if __name__ == "__main__":
    app = durable.App("orders", f"sqlite:///{database}")
    print(app.run(process, 42, 9.99, ["tea", "milk", "bread"], id="order-42"))
    app.close()
