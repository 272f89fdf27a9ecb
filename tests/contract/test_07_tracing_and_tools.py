"""run() with a timeout together with tracers, profilers and coverage tools."""

import gc
import sys

import pytest
import stackless
from child_process import assert_child
from interrupted_loops import pump
from stackless import schedule, tasklet


def helper():
    for _ in range(10):
        pass


def traced_lines(n):
    """The line events a tasklet sees that traces itself, under run(n); and interrupts."""
    lines = []

    def trace(frame, event, argument):
        if frame.f_code is helper.__code__:
            lines.append((event, frame.f_lineno - frame.f_code.co_firstlineno))
        return trace

    def body():
        sys.settrace(trace)
        for _ in range(5):
            helper()
            assert sys.gettrace() is trace
        sys.settrace(None)

    tasklet(body)()
    hits = pump(n) if n else stackless.run()
    assert sys.gettrace() is None
    return lines, hits


@pytest.mark.parametrize("n", [1, 10, 1000])
def test_settrace_sees_the_same_lines(n):
    """14: a timeout neither hides events nor adds some."""
    expected, _ = traced_lines(0)
    lines, hits = traced_lines(n)
    assert lines == expected and len(lines) > 100
    if sys.version_info >= (3, 12):  # on 3.11 a new trace function stops the ticks until a switch
        assert hits or n == 1000


@pytest.mark.parametrize("n", [1, 10, 1000])
def test_setprofile_sees_the_same_calls(n):
    """14: the same for a profile function."""

    def events(n):
        seen = []

        def profile(frame, event, argument):
            if frame.f_code is helper.__code__:
                seen.append(event)

        def body():
            sys.setprofile(profile)
            for _ in range(20):
                helper()
            assert sys.getprofile() is profile
            sys.setprofile(None)

        tasklet(body)()
        pump(n) if n else stackless.run()
        return seen

    assert events(n) == events(0) == ["call", "return"] * 20


def test_a_timeout_does_not_show_as_a_trace_function():
    """sys.gettrace(), the attributes: None, in the tasklet and in the caller."""
    seen = set()

    def body():
        for _ in range(100):
            me = stackless.current
            seen.add((sys.gettrace(), sys.getprofile(), me.trace_function, me.profile_function))

    t = tasklet(body)()
    hits = 0
    while stackless.run(30) is t:
        hits += 1
        seen.add((sys.gettrace(), sys.getprofile(), t.trace_function, t.profile_function))
        t.insert()
    assert hits and seen == {(None,) * 4}


def test_tracing_in_the_caller_stays_the_callers():
    """14: run(n) under a traced main: main's function is set afterwards, the tasklet has none."""
    seen, names = [], []

    def body():
        seen.append(sys.gettrace())
        for _ in range(1000):
            pass

    def trace(frame, event, argument):
        names.append(frame.f_code.co_name)
        return trace

    old = sys.gettrace()
    t = tasklet(body)()
    sys.settrace(trace)
    try:
        victim = stackless.run(50)
        after = sys.gettrace()
        helper()
    finally:
        sys.settrace(old)
    assert victim is t and after is trace and seen == [None]
    assert "helper" in names and "body" not in names
    t.kill()


def test_a_trace_function_that_switches_under_a_timeout():
    """14: it is allowed, and the tasklet continues where it was."""
    log = []

    def trace(frame, event, argument):
        if frame.f_code is helper.__code__ and event == "call":
            log.append("before")
            schedule()
            log.append("after")
        return trace

    def body():
        sys.settrace(trace)
        helper()
        helper()
        sys.settrace(None)
        log.append("end")

    tasklet(body)()
    tasklet(helper)()
    pump(5)
    assert log == ["before", "after"] * 2 + ["end"]


# ------------------------------------------------------------------ other tools


def test_a_program_without_timeouts_is_not_monitored():
    """No monitoring tool and no trace function is set before the first run with a timeout."""
    assert_child(
        """
        import sys
        import stackless
        def body():
            for _ in range(10):
                stackless.schedule()
        for _ in range(3):
            stackless.tasklet(body)()
        stackless.run()
        stackless.run(0)
        monitoring = getattr(sys, "monitoring", None)
        if monitoring is not None:
            assert [monitoring.get_tool(number) for number in range(6)] == [None] * 6
        assert sys.gettrace() is None and sys.getprofile() is None
        """
    )


needs_monitoring = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="sys.monitoring came with Python 3.12"
)


@pytest.fixture
def coverage_tool():
    """The number of a monitoring tool as coverage.py registers one."""
    monitoring = sys.monitoring
    number = monitoring.COVERAGE_ID
    if monitoring.get_tool(number) is not None:
        pytest.skip("a coverage tool is active")
    monitoring.use_tool_id(number, "coverage of the test")
    yield number
    monitoring.set_events(number, 0)
    monitoring.free_tool_id(number)


@needs_monitoring
@pytest.mark.parametrize("disable", [False, True], ids=["all events", "once per line"])
@pytest.mark.parametrize("n", [1, 10, 1000])
def test_other_monitoring_tools_see_what_they_would(coverage_tool, n, disable):
    """Coverage: the same lines, with and without a timeout; and the timeout still works."""
    monitoring = sys.monitoring
    lines = []

    def on_line(code, line):
        if code is helper.__code__:
            lines.append(line)
        return monitoring.DISABLE if disable else None

    monitoring.register_callback(coverage_tool, monitoring.events.LINE, on_line)
    monitoring.set_events(coverage_tool, monitoring.events.LINE)

    def lines_under(n):
        lines.clear()
        monitoring.restart_events()
        tasklet(lambda: [helper() for _ in range(10)])()
        hits = pump(n) if n else stackless.run()
        return list(lines), hits

    expected, _ = lines_under(0)
    seen, hits = lines_under(n)
    assert seen == expected and len(seen) >= 2
    if sys.version_info >= (3, 12):  # on 3.11 a new trace function stops the ticks until a switch
        assert hits or n == 1000


class Waits:
    """Its instances wait while they are made."""

    def __init__(self, wait):
        wait()


@needs_monitoring
def test_events_that_change_while_a_tasklet_waits_in_init(coverage_tool):
    """The interpreter's own code between a class and its __init__ is not changed (debug builds)."""
    for _ in range(100):
        Waits(int)  # until the call is specialised
    waiting = tasklet(lambda: [Waits(schedule) for _ in range(20)])()
    stackless.run_n_tasklets(1)
    calls = []
    events = sys.monitoring.events
    sys.monitoring.register_callback(
        coverage_tool, events.PY_START, lambda code, offset: calls.append(code.co_name)
    )
    for change in (events.PY_START, events.LINE, events.PY_START | events.PY_RETURN) * 2:
        for active in (change, 0):
            sys.monitoring.set_events(coverage_tool, active)
            stackless.run_n_tasklets(1)
    assert waiting.alive and calls.count("__init__") == 4
    waiting.kill()


@needs_monitoring
def test_other_monitoring_tools_may_come_and_go(coverage_tool):
    """Their set_events and restart_events do not disable the events of this package."""
    monitoring = sys.monitoring
    events = monitoring.events.LINE | monitoring.events.JUMP | monitoring.events.PY_START

    def spin():
        for _ in range(200):
            pass

    for chosen in (events, 0, events, 0):
        monitoring.set_events(coverage_tool, chosen)
        monitoring.restart_events()
        t = tasklet(spin)()
        assert stackless.run(20) is t
        monitoring.set_events(coverage_tool, events - chosen)
        t.insert()
        assert pump(20) > 0


def test_a_trace_function_replaced_while_its_tasklet_is_interrupted():
    """14: effective when it next runs; the old function has been freed by then."""
    calls = []

    class Tracer:
        def __init__(self, name):
            self.name = name

        def __call__(self, frame, event, argument):
            calls.append(self.name)
            return None

    def body():
        for _ in range(200):
            helper()

    for n in range(2, 80):  # at whatever point that interrupts the tasklet
        t = tasklet(body)()
        t.trace_function = Tracer("old")
        assert stackless.run(n) is t
        calls.clear()
        t.trace_function = Tracer("new")
        gc.collect()
        made = [Tracer("other") for _ in range(50)]  # replaces the old one
        t.insert()
        pump(200)
        assert set(calls) == {"new"}, made
