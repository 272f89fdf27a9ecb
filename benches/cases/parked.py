"""A question to a waiting tasklet, and its answer: on its stack, or parked after each answer.

The call that parks it is not part of the figure: there is no such call when the scheduler parks.
"""

from collections.abc import Callable
from itertools import repeat
from time import perf_counter
from typing import Any

from harness import OURS, Case
from peers import stackless

PARKED = "stackless, parked"


def answer(depth: int, questions: Any, answers: Any) -> None:
    if depth:
        answer(depth - 1, questions, answers)
        return
    receive, send = questions.receive, answers.send
    while True:
        send(receive())


def asking(depth: int, parks: bool) -> Callable[[int], float]:
    def measure(operations: int) -> float:
        from stackless import _stackless

        park, look = _stackless._park, _stackless._is_parked
        questions, answers = stackless.channel(), stackless.channel()
        t = stackless.tasklet(answer)(depth, questions, answers)
        t.run()
        ask, listen = questions.send, answers.receive
        calls = 0.0
        if parks:
            start = perf_counter()
            for _ in repeat(None, operations):
                look(t)
            calls = perf_counter() - start
        start = perf_counter()
        if parks:
            for _ in repeat(None, operations):
                ask(None)
                listen()
                park(t)
        else:
            for _ in repeat(None, operations):
                ask(None)
                listen()
        seconds = perf_counter() - start - calls
        t.kill()
        return seconds

    return measure


def case(depth: int) -> Case:
    made = Case(f"parked{depth}", f"a question to a tasklet {depth} calls deep, and its answer")
    made.peer(OURS, "stackless")(asking(depth, parks=False))
    made.peer(PARKED, "stackless")(asking(depth, parks=True))
    return made


SHALLOW, DEEP = case(1), case(20)
