"""The states of a tasklet, and the attributes that show them."""

import pytest
import stackless
from stackless import channel, tasklet

#          alive  scheduled blocked paused
NOTHING = (False, False, False, False)
PAUSED = (True, False, False, True)
RUNNABLE = (True, True, False, False)
BLOCKED = (True, True, True, False)


def state(t):
    return (t.alive, t.scheduled, t.blocked, t.paused)


def idle():
    pass


def ended():
    t = tasklet(idle)()
    stackless.run()
    return t


def killed():
    t = tasklet(idle)()
    t.kill()
    return t


def schedule_removed():
    t = tasklet(stackless.schedule_remove)()
    stackless.run()
    return t


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(lambda: tasklet(), NOTHING, id="empty: tasklet()"),
        pytest.param(lambda: tasklet(idle).bind(None), NOTHING, id="empty: bind(None)"),
        pytest.param(ended, NOTHING, id="empty: ended"),
        pytest.param(killed, NOTHING, id="empty: killed"),
        pytest.param(lambda: tasklet(idle), NOTHING, id="bound: tasklet(f)"),
        pytest.param(lambda: tasklet().bind(idle), NOTHING, id="bound: bind(f)"),
        pytest.param(lambda: tasklet().bind(idle, ()), PAUSED, id="paused: bind(f, args)"),
        pytest.param(lambda: tasklet(idle, kwargs={}), PAUSED, id="paused: kwargs only"),
        pytest.param(lambda: tasklet(idle)().remove(), PAUSED, id="paused: remove()"),
        pytest.param(schedule_removed, PAUSED, id="paused: schedule_remove()"),
        pytest.param(lambda: tasklet(idle)(), RUNNABLE, id="runnable: call"),
        pytest.param(lambda: tasklet(idle).setup(), RUNNABLE, id="runnable: setup()"),
        pytest.param(lambda: tasklet(idle, ()).insert(), RUNNABLE, id="runnable: insert()"),
        pytest.param(lambda: stackless.current, RUNNABLE, id="current: main"),
    ],
)
def test_state_table(make, expected):
    """1: how each state shows, and that all four read as real bools."""
    t = make()
    shown = state(t)
    stackless.run()
    if t is not stackless.current:
        t.kill()
    assert shown == expected
    assert all(type(flag) is bool for flag in shown)


@pytest.mark.parametrize("operation", ["send", "receive"])
def test_blocked_tasklet_is_alive_scheduled_and_not_paused(operation):
    """1: `scheduled` is True while blocked."""
    ch = channel()
    t = tasklet(ch.send)(1) if operation == "send" else tasklet(ch.receive)()
    stackless.run()
    shown = state(t)
    if operation == "send":
        ch.receive()
    else:
        ch.send(None)
    stackless.run()
    assert shown == BLOCKED
    assert all(type(flag) is bool for flag in shown)


def test_bound_keeps_its_function_in_tempval():
    """1: bound: `tempval is f`."""
    assert tasklet(idle).tempval is idle
    assert tasklet().bind(idle).tempval is idle


def test_running_tasklet_is_runnable_and_current():
    """1: the current tasklet is alive and scheduled."""
    shown = []
    tasklet(lambda: shown.append((state(stackless.current), stackless.current.is_current)))()
    stackless.run()
    assert shown == [(RUNNABLE, True)]


def test_sitting_in_run_is_paused():
    """1: a tasklet inside run() is paused (floating)."""
    shown = []
    tasklet(lambda: shown.append(state(stackless.main)))()
    stackless.run()
    assert shown == [PAUSED]


def test_switched_away_from_is_paused():
    """1: so is a tasklet that left the ring by t.switch()."""
    shown = []
    t = tasklet(lambda: shown.append(state(stackless.main)), ())
    t.switch()
    assert shown == [PAUSED]


def test_there_is_always_a_current_tasklet_and_it_is_main_at_first():
    """1: main exists from the first use and is the thread's ordinary execution."""
    assert stackless.current is stackless.main
    assert stackless.current.is_main and stackless.current.is_current
    assert stackless.main is stackless.main


def test_tempval_is_one_slot_for_any_object():
    """1: one object slot per tasklet."""
    t = tasklet()
    assert t.tempval is None
    for thing in (1, "x", t, ValueError, [t], None):
        t.tempval = thing
        assert t.tempval is thing
