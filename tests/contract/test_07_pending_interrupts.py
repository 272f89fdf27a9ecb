"""run() with a timeout: interrupts that stay pending, and what delays them."""

import pytest
import stackless
from interrupted_loops import Loop, count, pump, yielding
from stackless import atomic, channel, schedule, schedule_remove, tasklet

LONG = 1000


def in_a_callback(log):
    def called_from_c(_):
        count(LONG)
        log.append("protected part ends")

    list(map(called_from_c, [0]))


def atomically(log):
    with atomic():
        count(LONG)
        log.append("protected part ends")


def under_set_atomic(log):
    stackless.current.set_atomic(True)
    count(LONG)
    log.append("protected part ends")
    stackless.current.set_atomic(False)


def under_the_trap(log):
    stackless.switch_trap(1)
    count(LONG)
    log.append("protected part ends")
    stackless.switch_trap(-1)


def in_the_channel_callback(log):
    def callback(*_):
        count(LONG)
        log.append("protected part ends")

    ch = channel()
    ch.preference = 1
    partner = tasklet(ch.receive)()
    partner.run()
    stackless.set_channel_callback(callback)
    try:
        ch.send(None)
    finally:
        stackless.set_channel_callback(None)


PROTECTED = [
    in_a_callback,
    atomically,
    under_set_atomic,
    under_the_trap,
    in_the_channel_callback,
]


def protected_body(part, log):
    part(log)
    log.append("after it")
    count(LONG)
    log.append("end")


@pytest.mark.parametrize("part", PROTECTED, ids=lambda part: part.__name__)
def test_pending_interrupt_fires_when_the_obstacle_is_gone(part):
    """Atomic, nesting level, switch trap, callback: not inside, but as soon as it is over."""
    log = []
    t = tasklet(protected_body)(part, log)
    victim = stackless.run(100)
    assert victim is t
    assert "protected part ends" in log
    assert "end" not in log
    assert not t.atomic and stackless.switch_trap() == 0
    while victim is not None:
        victim.insert()
        victim = stackless.run(100)
    assert log == ["protected part ends", "after it", "end"]


@pytest.mark.parametrize("obstacle", ["atomic", "trap", "nesting"])
def test_pending_interrupt_fires_at_once(obstacle):
    """6, 7.2: in the same call that removes the reason."""
    log = []

    def in_c(_):
        count(LONG)
        log.append("still here")
        stackless.current.set_ignore_nesting(True)
        log.append("too late")

    def body():
        me = stackless.current
        if obstacle == "nesting":
            list(map(in_c, [0]))
        elif obstacle == "atomic":
            me.set_atomic(True)
            count(LONG)
            log.append("still here")
            me.set_atomic(False)
        else:
            stackless.switch_trap(1)
            count(LONG)
            log.append("still here")
            stackless.switch_trap(-1)
        log.append("too late")

    t = tasklet(body)()
    assert stackless.run(100) is t
    assert log == ["still here"]
    t.kill()


def test_pending_interrupt_outlives_an_explicit_switch():
    """6: it is remembered until the flag is cleared, although a new slice has begun."""
    log = []

    def body():
        stackless.current.set_atomic(True)
        count(LONG)
        schedule()
        log.append("resumed")
        stackless.current.set_atomic(False)
        log.append("too late")

    t = tasklet(body)()
    tasklet(schedule)()
    assert stackless.run(1000) is t
    assert log == ["resumed"]
    t.kill()
    stackless.run()


def test_schedule_callback_is_not_interrupted():
    """It runs to its end, however long it takes."""
    log = []

    def callback(*_):
        log.append("in")
        count(LONG)
        log.append("out")

    for _ in range(2):
        tasklet(yielding)(100, 10)
    stackless.set_schedule_callback(callback)
    try:
        pump(500)
    finally:
        stackless.set_schedule_callback(None)
    assert log == ["in", "out"] * (len(log) // 2) and len(log) > 40


@pytest.mark.parametrize("how", ["run", "tasklet"])
def test_ignore_nesting(how):
    """Interrupted at any level: for all by run(), for one by its own flag."""
    log = []
    t = tasklet(protected_body)(in_a_callback, log)
    if how == "tasklet":
        assert t.set_ignore_nesting(True) is False
    options = {"ignore_nesting": True} if how == "run" else {}
    assert stackless.run(100, **options) is t
    assert (log, t.nesting_level, t.recursion_depth) == ([], 1, 4)
    t.insert()
    pump(100, **options)
    assert log == ["protected part ends", "after it", "end"]


@pytest.mark.parametrize("part", [atomically, under_the_trap], ids=lambda part: part.__name__)
def test_ignore_nesting_does_not_lift_other_obstacles(part):
    """An atomic tasklet stays atomic."""
    log = []
    t = tasklet(protected_body)(part, log)
    assert stackless.run(100, ignore_nesting=True) is t
    assert "protected part ends" in log
    t.kill()


def test_explicit_switches_while_an_interrupt_is_pending():
    """6, 21.15: atomic defers interrupts, never explicit switches."""
    log = []

    def body():
        with atomic():
            count(1000)
            log.append("yields")
            schedule()
            log.append("resumed")

    t = tasklet(body)()
    tasklet(log.append)("other")
    pump(50)
    assert sorted(log) == ["other", "resumed", "yields"]
    assert not t.alive


def test_atomic_is_not_inherited():
    """21.15: what an atomic tasklet creates can be interrupted."""
    made = []

    def body():
        with atomic():
            made.append(Loop(1000))
            schedule_remove()

    parent = tasklet(body)()
    assert stackless.run(50) is made[0].tasklet
    made[0].tasklet.kill()
    parent.kill()


LATER_RUNS = {
    "run()": lambda: stackless.run(),
    "run(n)": lambda: stackless.run(1_000_000),
    "soft": lambda: stackless.run(1_000_000, soft=True),
    "totaltimeout": lambda: stackless.run(1_000_000, totaltimeout=True),
    "seconds": lambda: stackless.run(seconds=600),
    "soft seconds": lambda: stackless.run(seconds=600, soft=True),
    "run_n_tasklets": lambda: stackless.run_n_tasklets(100),
}


@pytest.mark.parametrize("later", LATER_RUNS.values(), ids=LATER_RUNS)
@pytest.mark.parametrize("first", ["ended", "interrupted another"])
def test_a_pending_interrupt_ends_with_its_run(later, first):
    """An interrupt that an earlier run() could not make does not happen in a later one."""
    log = []

    def body():
        with atomic():
            count(1000)
            schedule_remove(None)
            log.append("resumed")
        count(100)
        schedule()
        log.append("end")

    t = tasklet(body)()
    if first == "ended":
        assert stackless.run(40) is None
    else:
        other = Loop(1000).tasklet
        assert stackless.run(40) is other
        other.kill()
    assert t.paused and log == []
    t.insert()
    tasklet(schedule)()
    assert later() is None
    assert log == ["resumed", "end"] and stackless.runcount == 1
