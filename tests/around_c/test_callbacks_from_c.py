"""A tasklet may block anywhere, also inside a function that C code calls.

Several tasklets run the same scenario at once and are woken in an order that is impossible with a
single C stack; each must have the result of a run without interruption.
"""

import pytest
import scenarios_in_classes  # noqa: F401  registers its half
import stackless
from scenarios import SCENARIOS
from stackless import channel, schedule, tasklet

every_scenario = pytest.mark.parametrize("name", SCENARIOS)


def undisturbed(name):
    pauses = []
    expected = SCENARIOS[name](lambda: pauses.append(1))
    assert pauses, "the scenario never pauses"
    return expected


def same(one, other):
    return one == other and repr(one) == repr(other)


@every_scenario
def test_turns_in_c_callbacks(name):
    """Four tasklets take turns, each inside C code."""
    expected, results = undisturbed(name), []
    for _ in range(4):
        tasklet(lambda: results.append(SCENARIOS[name](schedule)))()
    stackless.run()
    assert len(results) == 4
    assert all(same(result, expected) for result in results)


@every_scenario
def test_blocking_in_c_callbacks(name):
    """Three tasklets block in C callbacks; the one that blocked last is always woken first."""
    expected, results = undisturbed(name), []
    channels = [channel() for _ in range(3)]
    for ch in channels:
        tasklet(lambda ch=ch: results.append(SCENARIOS[name](ch.receive)))()
    schedule()
    assert [ch.balance for ch in channels] == [-1, -1, -1]
    while any(ch.balance for ch in channels):
        for ch in reversed(channels):
            if ch.balance:
                ch.send(None)
    stackless.run()
    assert len(results) == 3
    assert all(same(result, expected) for result in results)


# Where C code cannot pass an exception on, it goes to sys.unraisablehook instead.
UNRAISABLE = {"destructors", "weak_reference_callbacks", "ctypes_qsort"}


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in UNRAISABLE])
def test_exceptions_through_c_frames(name):
    """An exception at the first pause passes through the C code to the tasklet's function."""
    outcome = []

    class Special(Exception):
        pass

    def body():
        try:
            SCENARIOS[name](ch.receive)
        except Special:
            outcome.append("Special")

    ch = channel()
    t = tasklet(body)()
    schedule()
    ch.send_exception(Special)
    assert outcome == ["Special"] and not t.alive and ch.balance == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@every_scenario
def test_kill_in_c_callbacks(name):
    """TaskletExit unwinds C code as well: a tasklet killed at its first pause leaves nothing."""
    ended = []

    def body():
        try:
            SCENARIOS[name](ch.receive)
        finally:
            ended.append(1)

    ch = channel()
    t = tasklet(body)()
    schedule()
    for _ in range(30):
        if not t.alive:
            break
        t.kill()
    assert ended == [1] and not t.alive and ch.balance == 0
