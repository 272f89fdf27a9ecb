"""An order that needs an approval, and survives `kill -9`: start this program until it has ended.

    python examples/durable/order.py            charge the order, wait for the approval, ship
    python examples/durable/order.py approve    from another terminal, or before

After the charge and after the second item the process kills itself, without any warning, as a power
cut would. Started again, it continues behind the last step that was recorded, with its variables;
nothing is charged or shipped twice. The last run prints the result, and each later one prints it
again. DATABASE=/path says where the database is, by default order.db.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta

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
    """Charge an order, wait for the approval, and ship its items."""
    receipt = charge(order, amount)
    power_cut("charged")
    print("waiting for the approval", flush=True)
    if not durable.receive("approval", timeout=timedelta(days=7), default=False):
        return receipt, []
    sent = []
    for number, item in enumerate(items):
        sent.append(ship(item))
        if number == 1:
            power_cut("shipped")
    return receipt, sent


database = os.path.abspath(os.environ.get("DATABASE", "order.db"))

if __name__ == "__main__":
    app = durable.App("orders", f"sqlite:///{database}")
    if sys.argv[1:] == ["approve"]:
        app.handle("order-42").send("approval", True)
    else:
        print(app.run(process, 42, 9.99, ["tea", "milk", "bread"], id="order-42"))
    app.close()
