"""Destructors that run when parked tasklets continue, end or are dropped."""

import gc
import weakref

import pytest
import stackless
from child_process import assert_child
from stackless import _stackless, channel, schedule, schedule_remove, tasklet
from suspended import park, recurse, suspended


class Loud:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def __del__(self):
        self.log.append((self.name, stackless.current))


def test_operands_are_dropped_in_the_tasklet():
    """A value that only the pending call holds is freed when the call returns, not when parked."""
    log = []

    def body():
        schedule_remove(Loud(log, "operand"))
        log.append("after")

    t = tasklet(body)()
    stackless.run()
    t.tempval = None
    park(t)
    gc.collect()
    assert log == []
    t.run()
    assert log == [("operand", t), "after"]


def test_a_temporary_channel_survives():
    """`channel().receive()`: the channel has no reference but the operand."""
    log = []

    def body():
        log.append(channel().receive())

    t = park(suspended(body))
    gone = weakref.ref(t._channel)
    assert gone() is not None
    t._channel.send("value")
    assert log == ["value"] and gone() is None


def test_destructors_that_switch():
    """A destructor that runs while a woken tasklet drops its operands may wait: that is C code."""
    log, ch = [], channel()

    class Waits:
        def __del__(self):
            log.append(("waits", ch.receive()))

    def body():
        schedule_remove(Waits())
        log.append("after")

    t = suspended(body)
    t.tempval = None
    park(t).run()
    assert log == [] and t.blocked and not t.restorable
    with pytest.raises(RuntimeError, match="C state"):
        _stackless._park(t)
    ch.send(1)
    assert log == [("waits", 1), "after"] and not t.alive


def test_what_a_dropped_tasklet_held():
    """Destructors run; they may look at tasklets, switch and collect garbage."""
    log = []

    class Curious:
        def __del__(self):
            gc.collect()
            tasklet(log.append)("switched")
            schedule()
            log.append([type(t) for t in stackless.getuncollectables()])

    def body(curious):
        recurse(10, lambda: schedule_remove(None))

    t = park(suspended(body, Curious()))
    del t
    assert log == ["switched", []]


@pytest.mark.parametrize("begins", ["fresh", "parked"])
def test_a_destructor_that_waits_before_a_tasklet_continues(begins):
    """Deferred decrefs of other tasklets come first, on the new stack: that is C code as well."""
    log = []

    class Waits:
        def __del__(self):
            schedule_remove(None)
            log.append("del")

    def body():
        if begins == "parked":
            schedule_remove(None)
        log.append("body")

    t = tasklet(body)()
    if begins == "parked":
        stackless.run()
        park(t).insert()
    stackless.main.tempval = Waits()
    schedule()
    assert t.paused and not t.restorable and log == []
    with pytest.raises(RuntimeError, match="C state"):
        _stackless._park(t)
    t.run()
    assert not t.alive and log == ["del", "body"]


def test_destructors_at_the_end_of_a_call():
    """A destructor waits while the variables of a call that has ended are dropped: C code again."""
    log = []

    class Waits:
        def __del__(self):
            schedule_remove(None)
            log.append("del")

    def inner():
        waits = Waits()
        schedule_remove(None)
        return waits is None

    def outer():
        inner()
        log.append("outer")

    for function in (inner, outer):
        for parks in (False, True):
            t = suspended(function)
            if parks:
                park(t)
            t.run()
            assert t.alive and not t.restorable and log == []
            assert "dropped" in _stackless._why_not_parked(
                t
            ) or "C code" in _stackless._why_not_parked(t)
            t.run()
            assert not t.alive and log == ["del", "outer"][: 1 + (function is outer)]
            log.clear()


def test_frame_kept_of_a_dropped_tasklet():
    """Its variables are its own, also where the caller's frame has the object as well.

    From 3.14 on an argument may be borrowed from a variable of the caller.
    """
    assert_child(
        """
        import gc, sys, weakref, stackless
        class Thing:
            pass
        def callee(argument, *more):
            stackless.schedule_remove(None)
        def caller():
            thing = Thing()
            made.append(weakref.ref(thing))
            def inner(argument):
                stackless.schedule_remove(None)
            called = inner if len(functions) % 2 else callee
            functions.append(weakref.ref(inner))
            called(thing)
        def generator():
            thing = Thing()
            made.append(weakref.ref(thing))
            yield callee(thing)
        def loop():
            for _ in generator():
                pass
        # A generator that waits cannot be parked on 3.11.
        functions = []
        for body in [caller, caller, lambda: caller(), loop][: 3 + (sys.version_info >= (3, 12))]:
            made = []
            t = stackless.tasklet(body)()
            stackless.run()
            frame = t.frame
            t.bind(None)
            back = frame.f_back
            while back is not None:
                back.clear()
                back = back.f_back
            gc.collect()
            others = [Thing() for _ in range(1000)]
            gc.collect()
            assert frame.f_locals["argument"] is made[0]()
            assert frame.f_globals is globals()
            del frame
            gc.collect()
            assert made[0]() is None
        print("end")
        """,
        prints="end",
        env={"PYTHONMALLOC": "debug"},
    )
