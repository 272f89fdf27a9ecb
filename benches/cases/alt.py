"""One message, received from its channel, or by alt() over three channels. Two stay empty."""

from collections.abc import Callable
from itertools import repeat
from time import perf_counter
from typing import Any

from harness import OURS, Case
from peers import stackless

ALT = "stackless, alt() over 3 channels"
READY = "stackless, alt() that never waits"
CASE = Case("alt", "channel message to a tasklet that waits, switches included")


def message(receiver: Callable[[Any, int], None], capacity: int = 0) -> Callable[[int], float]:
    def measure(operations: int) -> float:
        def sender() -> None:
            send = channel.send
            for _ in repeat(None, operations):
                send(None)

        channel = stackless.channel(capacity=capacity and operations)
        if capacity:
            sender()
        stackless.tasklet(receiver)(channel, operations)
        if not capacity:
            stackless.tasklet(sender)()
        start = perf_counter()
        stackless.run()
        return perf_counter() - start

    return measure


def receive(channel: Any, operations: int) -> None:
    call = channel.receive
    for _ in repeat(None, operations):
        call()


def choose(channel: Any, operations: int) -> None:
    alt, empty, also = stackless.alt, stackless.channel(), stackless.channel()
    for _ in repeat(None, operations):
        alt(empty, channel, also)


CASE.peer(OURS, "stackless")(message(receive))
CASE.peer(ALT, "stackless")(message(choose))
CASE.peer(READY, "stackless")(message(choose, capacity=1))
