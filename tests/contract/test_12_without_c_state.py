"""Tasklets without C state to which no reference is left."""

import gc
import sys
import warnings
import weakref

import pytest
import stackless
from stackless import channel, schedule, schedule_remove, tasklet


class Thing:
    """Something that can be weakly referenced."""


def suspended(log, keeps_itself=False):
    """A paused tasklet, and a weak reference to what its variable holds."""
    thing = Thing()

    def keeps(local):
        try:
            schedule_remove()
        finally:
            log.append("finally")

    def plain(local):
        try:
            schedule_remove(None)
        finally:
            log.append("finally")

    t = tasklet(keeps if keeps_itself else plain)(thing)
    stackless.run()
    return t, weakref.ref(thing)


def test_it_is_freed_with_its_last_reference():
    """12 [soft]: paused, unreferenced: freed, and no code of it runs."""
    log = []
    t, thing = suspended(log)
    gone = weakref.ref(t)
    assert thing() is not None
    del t
    assert gone() is None and thing() is None and log == []


def test_a_cycle_with_it_is_freed_by_the_collector():
    """12 [soft], 21.9: schedule_remove() leaves the tasklet itself in its tempval."""
    log = []
    t, thing = suspended(log, keeps_itself=True)
    assert t.tempval is t
    gone = weakref.ref(t)
    del t
    gc.collect()
    assert gone() is None and thing() is None and log == []


def test_frames_outlive_it():
    """A frame object shows the variables after the tasklet has been freed."""
    log = []
    t, thing = suspended(log)
    frame = t.frame
    assert frame.f_code.co_name == "plain"
    del t
    gc.collect()
    assert frame.f_locals["local"] is thing()
    assert frame.f_lineno == frame.f_code.co_firstlineno + 2 and log == []
    del frame
    gc.collect()
    assert thing() is None


def test_unbinding_drops_the_frames():
    """4.1 [soft]: bind(None) discards them: variables are released, no `finally` runs."""
    log = []
    t, thing = suspended(log)
    assert t.bind(None) is t
    assert thing() is None and log == []
    assert not t.alive and t.frame is None and t.tempval is None and t.nesting_level == 0


def test_binding_anew():
    """4.1 [soft]: the new function runs, from its beginning."""
    log = []
    t, thing = suspended(log)
    t.bind(log.append, ("new",))
    assert t.paused and t.restorable and t.frame is None and thing() is None
    t.run()
    assert log == ["new"] and not t.alive


def leak(log):
    """A tasklet that waits on a channel to which only the tasklet refers."""

    def body():
        mine = channel()
        try:
            mine.receive()
        finally:
            log.append("finally")

    t = tasklet(body)()
    schedule()
    return weakref.ref(t)


def test_a_leaked_tasklet_is_ended_and_reported():
    """TaskletExit, and one ResourceWarning with its traceback."""
    log = []
    gone = leak(log)
    with pytest.warns(ResourceWarning, match="leaked tasklet") as warned:
        gc.collect()
    assert log == ["finally"] and gone() is None and len(warned) == 1
    text = str(warned[0].message)
    assert "test_12_without_c_state.py" in text and "in leak.<locals>.body" in text
    gc.collect()
    assert log == ["finally"]


def test_without_reports_it_is_freed():
    """The tasklet is freed without an error."""
    log = []
    assert stackless.enable_leak_reports(None) is True
    assert stackless.enable_leak_reports(False) is True
    try:
        gone = leak(log)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            gc.collect()
        assert gone() is None and log == []
    finally:
        assert stackless.enable_leak_reports(True) is False
    for wrong in ((), (1, 2), ("on",)):
        with pytest.raises(TypeError):
            stackless.enable_leak_reports(*wrong)


def test_a_leaked_tasklet_in_a_generator():
    """What a generator in the middle of it holds is seen as well."""
    if sys.version_info < (3, 12):
        pytest.skip("a generator that waits cannot be parked on 3.11")
    log = []

    def values(ch):
        try:
            yield ch.receive()
        finally:
            log.append("generator")

    def body():
        try:
            for _ in values(channel()):
                pass
        finally:
            log.append("body")

    for reports in (True, False):
        stackless.enable_leak_reports(reports)
        try:
            for _ in range(10):  # from the first call to a specialised loop
                t = tasklet(body)()
                schedule()
                gone = weakref.ref(t)
                del t
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    gc.collect()
                assert gone() is None
                assert log == (["generator", "body"] if reports else [])
                log.clear()
        finally:
            stackless.enable_leak_reports(True)


def test_two_that_wait_for_one_another():
    """A ring of tasklets and channels is found as a whole."""
    log = []

    def body(mine, other):
        try:
            mine.receive()
            other.send(1)
        finally:
            log.append("finally")

    one, two = channel(), channel()
    tasklet(body)(one, two)
    tasklet(body)(two, one)
    schedule()
    del one, two
    with pytest.warns(ResourceWarning):
        gc.collect()
    assert log == ["finally", "finally"]


def test_one_that_is_waited_for_is_no_leak():
    """A tasklet in the ring that refers to the channel keeps the other."""
    log, ch = [], channel()
    tasklet(lambda ch: log.append(ch.receive()))(ch)
    schedule()
    tasklet(lambda ch: ch.send("value"))(ch)
    del ch
    gc.collect()
    stackless.run()
    assert log == ["value"]
