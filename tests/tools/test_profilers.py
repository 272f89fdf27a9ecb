"""Profilers on programs with tasklets: no crash, and the counts are right."""

import cProfile
import pstats
import sys
import threading

import pytest
import stackless
from child_process import in_child_process

BY_EVENTS = sys.version_info >= (3, 12)


def leaf():
    return sum(range(100))


def middle(turn):
    leaf()
    stackless.schedule()
    return sorted([turn, 0], key=key)


def key(value):
    stackless.schedule()
    leaf()
    return value


def worker(turns):
    for turn in range(turns):
        middle(turn)


def deep(levels):
    stackless.schedule()
    return levels and 1 + deep(levels - 1)


def calls(profile):
    """The number of calls of each function of this file."""
    table = pstats.Stats(profile).stats.items()
    return {name: entry[1] for (file, _, name), entry in table if file == __file__}


@pytest.mark.skipif(not BY_EVENTS, reason="on 3.11 it sees one tasklet")
@in_child_process
def test_cprofile_counts_the_calls_of_all_tasklets():
    profile = cProfile.Profile()
    profile.enable()
    for turns in (1, 2, 3):
        stackless.tasklet(worker)(turns)
    stackless.tasklet(deep)(50)
    stackless.run()
    profile.disable()
    assert calls(profile) == {"worker": 3, "middle": 6, "key": 12, "leaf": 18, "deep": 51}
    times = [entry[2] for entry in pstats.Stats(profile).stats.values()]
    assert min(times) >= 0 and sum(times) > 0


@pytest.mark.skipif(BY_EVENTS, reason="from 3.12 on it sees all tasklets")
@in_child_process
def test_cprofile_counts_the_calls_of_its_tasklet():
    profile = cProfile.Profile()

    def profiled():
        profile.enable()
        worker(3)
        profile.disable()

    for body in (lambda: worker(5), profiled, lambda: worker(5)):
        stackless.tasklet(body)()
    stackless.run()
    assert calls(profile) == {"worker": 1, "middle": 3, "key": 6, "leaf": 9}
    table = pstats.Stats(profile).stats
    middle_entry = next(entry for (_, _, name), entry in table.items() if name == "middle")
    assert [caller[2] for caller in middle_entry[4]] == ["worker"]


@pytest.mark.parametrize("end", ["in another tasklet", "never", "with its tasklet"])
@in_child_process
def test_cprofile_switched_on_in_one_tasklet(end):
    """It is switched off in another: no crash, and another profiler can follow."""
    profile = cProfile.Profile()

    def starts():
        profile.enable()
        worker(2)

    def ends():
        worker(1)
        if end == "in another tasklet":
            profile.disable()
        worker(1)

    for body in (starts, ends, ends):
        stackless.tasklet(body)()
    stackless.run()
    if end != "never":
        profile.disable()
        assert calls(profile)["middle"] >= 2
        following = cProfile.Profile()
        following.runcall(worker, 2)
        assert calls(following) == {"worker": 1, "middle": 2, "key": 4, "leaf": 6}


@in_child_process
def test_setprofile_is_balanced_in_each_tasklet():
    """With threading.setprofile for tasklets that begin: calls match returns."""
    events = {}

    def profiler(frame, event, _):
        if event in ("call", "return"):
            own = events.setdefault(stackless.getcurrent(), [])
            own.append((event, frame.f_code.co_name))

    threading.setprofile(profiler)
    sys.setprofile(profiler)
    tasklets = [stackless.tasklet(worker)(turns) for turns in (1, 2, 3)]
    stackless.run()
    sys.setprofile(None)
    threading.setprofile(None)
    for turns, t in enumerate(tasklets, 1):
        stack = []
        for event, name in events[t]:
            if event == "call":
                stack.append(name)
            else:
                assert stack.pop() == name
        assert not stack
        assert events[t].count(("call", "middle")) == turns
    assert sys.getprofile() is None and stackless.getcurrent().profile_function is None


@pytest.mark.parametrize("function", ["settrace", "setprofile"])
@in_child_process
def test_threadings_functions_are_for_tasklets_that_begin_where_one_is_in_use(function):
    """They do not apply elsewhere, and not to tasklets that have begun."""
    seen = []

    def hook(frame, event, _):
        if event == "call" and frame.f_code is leaf.__code__:
            seen.append(stackless.getcurrent())

    def body():
        stackless.schedule()
        leaf()

    def get(t):
        return t.trace_function if function == "settrace" else t.profile_function

    early = stackless.tasklet(body)()
    stackless.schedule()
    getattr(threading, function)(hook)
    untraced = stackless.tasklet(body)()
    stackless.schedule()
    getattr(sys, function)(hook)
    late = [stackless.tasklet(body)() for _ in range(3)]
    stackless.schedule()
    getattr(sys, function)(None)
    assert [get(t) for t in (early, untraced, *late)] == [None, None, hook, hook, hook]
    stackless.run()
    assert seen == late
    getattr(threading, function)(None)
    # The tracer is off; and without threading's function a new tasklet is not traced.
    getattr(sys, function)(hook)
    last = stackless.tasklet(body)()
    stackless.schedule()
    assert get(last) is None
    getattr(sys, function)(None)
    stackless.run()


@in_child_process
def test_a_refused_trace_function_is_the_tasklets_error():
    """An audit hook forbids tracing: the tasklet does not begin, and its exception says so."""

    def hook(frame, event, _):
        return None

    threading.settrace(hook)
    sys.settrace(hook)
    stackless.tasklet(leaf)()
    refuse = True

    def audit(event, _):
        if refuse and event == "sys.settrace":
            raise PermissionError("no tracing")

    sys.addaudithook(audit)
    try:
        stackless.run()
    except PermissionError as error:
        caught = str(error)
    refuse = False
    sys.settrace(None)
    threading.settrace(None)
    assert caught == "no tracing"
    assert stackless.getruncount() == 1


@pytest.mark.skipif(not BY_EVENTS, reason="sys.monitoring came with 3.12")
@in_child_process
def test_a_monitoring_tool_sees_each_start_and_return():
    """All events of all tasklets, including parked ones."""
    monitoring = sys.monitoring
    events = monitoring.events
    open_calls = {}
    counted = {"start": 0, "return": 0}

    def start(code, offset):
        if code.co_filename == __file__:
            counted["start"] += 1
            open_calls.setdefault(stackless.getcurrent(), []).append(code)

    def leave(code, offset, value):
        if code.co_filename == __file__:
            counted["return"] += 1
            assert open_calls[stackless.getcurrent()].pop() is code

    tool = monitoring.PROFILER_ID
    monitoring.use_tool_id(tool, "test")
    monitoring.register_callback(tool, events.PY_START, start)
    monitoring.register_callback(tool, events.PY_RETURN, leave)
    monitoring.set_events(tool, events.PY_START | events.PY_RETURN)
    stackless.set_stack_limits(park_above=4)
    for turns in range(1, 21):
        stackless.tasklet(worker)(turns % 4)
    stackless.run()
    monitoring.set_events(tool, 0)
    monitoring.free_tool_id(tool)
    assert counted["start"] == counted["return"] > 100
    assert all(not stack for stack in open_calls.values())
