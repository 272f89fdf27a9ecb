"""Trace and profile functions belong to the tasklet."""

import sys

import pytest
import stackless
from other_thread import Owner
from stackless import channel, schedule, schedule_remove, tasklet

KINDS = {
    "trace": (sys.settrace, sys.gettrace, "trace_function"),
    "profile": (sys.setprofile, sys.getprofile, "profile_function"),
}


@pytest.fixture(params=["trace", "profile"])
def kind(request):
    """(set, get, attribute name); what a test leaves set is reset."""
    old = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    yield KINDS[request.param]
    sys.settrace(old[0])
    sys.setprofile(old[1])


def recorder(calls):
    """A trace or profile function that records the names of the Python functions called."""

    def record(frame, event, argument):
        if event == "call":
            calls.append(frame.f_code.co_name)

    return record


def traced_helper():
    pass


def other_helper():
    pass


def test_tracing_of_one_tasklet_does_not_affect_others(kind):
    """14: only what the tracing tasklet calls is seen, also after switches."""
    set_function, get_function, _ = kind
    calls, others = [], []
    record = recorder(calls)

    def traced():
        set_function(record)
        traced_helper()
        schedule()
        assert get_function() is record
        traced_helper()
        set_function(None)

    def untraced():
        for _ in range(2):
            others.append(get_function())
            other_helper()
            schedule()

    tasklet(traced)()
    tasklet(untraced)()
    schedule()
    others.append(get_function())
    other_helper()
    stackless.run()
    assert others == [None, None, None]
    assert calls.count("traced_helper") == 2
    assert "other_helper" not in calls


def test_new_tasklets_start_untraced(kind):
    """14: even if the creator is traced."""
    set_function, get_function, _ = kind
    seen, calls = [], []

    def child():
        seen.append(get_function())
        other_helper()

    set_function(recorder(calls))
    t = tasklet(child)()
    schedule()
    traced_helper()
    still = get_function()
    set_function(None)
    assert seen == [None] and not t.alive
    assert still is not None
    assert "other_helper" not in calls and "child" not in calls
    assert "traced_helper" in calls


def test_end_of_a_traced_tasklet_leaves_others_untraced(kind):
    """14: a tasklet may end with its function still set; main is as before."""
    set_function, get_function, _ = kind
    calls = []

    def traced():
        set_function(recorder(calls))
        traced_helper()

    tasklet(traced)()
    stackless.run()
    other_helper()
    assert get_function() is None
    assert calls == ["traced_helper"]


def test_attribute_of_the_current_tasklet(kind):
    """14: identical with sys.gettrace()/settrace()."""
    set_function, get_function, name = kind
    calls, seen = [], []
    record = recorder(calls)

    def body():
        me = stackless.current
        seen.append(getattr(me, name))
        setattr(me, name, record)
        seen.append(get_function())
        set_function(None)
        seen.append(getattr(me, name))
        set_function(record)
        seen.append(getattr(me, name))
        setattr(me, name, None)
        seen.append(get_function())

    tasklet(body)()
    stackless.run()
    assert seen == [None, record, None, record, None]


def test_function_set_on_a_never_started_tasklet(kind):
    """14: effective when it next runs; None after the end."""
    _, _, name = kind
    calls = []
    record = recorder(calls)
    t = tasklet(traced_helper, ())
    setattr(t, name, record)
    assert getattr(t, name) is record
    t.insert()
    stackless.run()
    other_helper()
    assert "traced_helper" in calls and "other_helper" not in calls
    assert getattr(t, name) is None


def test_function_set_on_a_suspended_tasklet(kind):
    """14: calls after it continues are seen; the function can be removed while it is suspended."""
    _, _, name = kind
    calls = []
    record = recorder(calls)

    def body():
        traced_helper()
        schedule_remove(None)
        traced_helper()
        schedule_remove(None)
        traced_helper()

    t = tasklet(body)()
    stackless.run()
    setattr(t, name, record)
    assert getattr(t, name) is record
    t.run()
    assert calls == ["traced_helper"]
    setattr(t, name, None)
    assert getattr(t, name) is None
    t.run()
    assert calls == ["traced_helper"]


def test_function_of_a_suspended_tasklet_can_be_read(kind):
    """14: the function that it set itself, while others run without."""
    set_function, get_function, name = kind
    record = recorder([])

    def body():
        set_function(record)
        schedule_remove(None)
        set_function(None)

    t = tasklet(body)()
    stackless.run()
    assert getattr(t, name) is record
    assert get_function() is None
    t.run()


@pytest.mark.parametrize("make", [tasklet, lambda: tasklet(int)], ids=["empty", "bound"])
def test_dead_tasklets_cannot_be_traced(kind, make):
    """14: RuntimeError `tasklet is not alive`; clearing is fine."""
    _, _, name = kind
    t = make()
    assert getattr(t, name) is None
    with pytest.raises(RuntimeError, match="^tasklet is not alive$"):
        setattr(t, name, recorder([]))
    setattr(t, name, None)
    assert getattr(t, name) is None


def test_a_trace_function_may_switch(kind):
    """14: and is inside its own call again afterwards."""
    set_function, get_function, _ = kind
    log = []

    def record(frame, event, argument):
        if event == "call" and frame.f_code is traced_helper.__code__:
            log.append("before")
            schedule()
            log.append("after")

    def traced():
        set_function(record)
        traced_helper()
        traced_helper()
        set_function(None)

    def other():
        for _ in range(2):
            log.append(get_function())
            other_helper()
            schedule()

    tasklet(traced)()
    tasklet(other)()
    stackless.run()
    assert log == ["before", None, "after", "before", None, "after"]


def test_two_traced_tasklets_keep_their_functions_apart(kind):
    """14: switching saves and restores."""
    set_function, get_function, _ = kind
    calls = {"a": [], "b": []}

    def body(name, helper):
        record = recorder(calls[name])
        set_function(record)
        for _ in range(3):
            helper()
            schedule()
            assert get_function() is record
        set_function(None)

    tasklet(body)("a", traced_helper)
    tasklet(body)("b", other_helper)
    stackless.run()
    assert calls["a"].count("traced_helper") == 3 and "other_helper" not in calls["a"]
    assert calls["b"].count("other_helper") == 3 and "traced_helper" not in calls["b"]


def test_local_trace_functions_see_lines_across_switches():
    """14: line events of a function continue after it was suspended in the middle."""
    lines = []

    def local(frame, event, argument):
        if event == "line":
            lines.append(frame.f_lineno - frame.f_code.co_firstlineno)
        return local

    def traced():
        ch.receive()
        ch.receive()
        return None

    def body():
        sys.settrace(lambda frame, event, argument: local)
        traced()
        sys.settrace(None)

    ch = channel()
    tasklet(body)()
    schedule()
    ch.send(1)
    ch.send(2)
    stackless.run()
    assert [line for line in lines if line in (1, 2, 3)][:3] == [1, 2, 3]
    assert sys.gettrace() is None


# ------------------------------------------------------------------ debuggers


def line_recorder(lines):
    def record(frame, event, argument):
        if event == "line":
            lines.append((frame.f_code.co_name, frame.f_lineno - frame.f_code.co_firstlineno))
        return record

    return record


def innermost():
    schedule_remove(None)
    here = 2
    here += 1
    return here


def in_the_middle():
    value = innermost()
    value += 1
    return value


def outermost():
    value = in_the_middle()
    value += 1
    return value


AFTER_RESUMING = [
    *[("innermost", line) for line in (2, 3, 4)],
    *[("in_the_middle", line) for line in (2, 3)],
    *[("outermost", line) for line in (2, 3)],
]


def trace_suspended(t, record):
    """What a debugger does: the tasklet's function, and that of each of its frames."""
    t.trace_function = record
    frame = t.frame
    while frame is not None:
        frame.f_trace = record
        frame = frame.f_back


@pytest.mark.parametrize("through_c", [False, True])
def test_a_suspended_tasklets_frames_are_traced(through_c):
    """14: lines of functions that were running already, soft and hard."""
    lines = []
    body = (lambda: list(map(lambda _: outermost(), [0]))) if through_c else outermost
    t = tasklet(body)()
    stackless.run()
    trace_suspended(t, line_recorder(lines))
    t.run()
    assert [line for line in lines if line[0] != "<lambda>"] == AFTER_RESUMING
    assert sys.gettrace() is None


def test_tracing_of_a_suspended_tasklet_can_be_taken_back():
    """14: before it runs again, nothing is seen."""
    lines = []
    t = tasklet(outermost)()
    stackless.run()
    trace_suspended(t, line_recorder(lines))
    t.trace_function = None
    t.run()
    assert lines == []


def test_frames_without_a_function_of_their_own_are_not_traced():
    """14: as sys.settrace has it, only new calls are seen."""
    calls = []

    def body():
        schedule_remove(None)
        traced_helper()

    t = tasklet(body)()
    stackless.run()
    t.trace_function = recorder(calls)
    t.run()
    assert calls == ["traced_helper"]


def test_several_suspended_tasklets_one_traced():
    """14: the others' frames, in the same functions, are not."""
    lines = []
    tasklets = [tasklet(outermost)() for _ in range(5)]
    stackless.run()
    trace_suspended(tasklets[2], line_recorder(lines))
    for t in tasklets:
        t.run()
    assert lines == AFTER_RESUMING


def test_loops_of_suspended_frames_are_traced():
    """14: each turn of a loop that was running when the function was set."""
    lines = []

    def body():
        for _ in range(10):
            schedule_remove(None)
            list(range(3))

    t = tasklet(body)()
    stackless.run()
    trace_suspended(t, line_recorder(lines))
    while t.alive:
        t.run()
    assert [line for _, line in lines].count(3) == 10
    assert [line for _, line in lines].count(2) == 9


def busy(turns):
    total = 0
    for turn in range(turns):
        total += turn
        schedule()
        total -= 1
        innermost_of_busy(turn)
    return total


def innermost_of_busy(turn):
    half = turn // 2
    schedule()
    half += 1
    return half


def test_a_debugger_in_the_schedule_callback_sees_the_lines():
    """14: it sets the functions of the next tasklet and of its frames; >= 75 % are then seen."""

    def lines_with(debugger):
        lines = []
        record = line_recorder(lines)

        def callback(_, following):
            if following is not None and not following.is_main:
                trace_suspended(following, record)

        def traces_itself():
            sys.settrace(record)
            busy(10)
            sys.settrace(None)

        for _ in range(2):
            tasklet(busy, (10,)).insert() if debugger else tasklet(traces_itself)()
        if debugger:
            stackless.set_schedule_callback(callback)
        try:
            stackless.run()
        finally:
            stackless.set_schedule_callback(None)
        assert sys.gettrace() is None
        return [line for line in lines if "busy" in line[0]]

    assert len(lines_with(debugger=True)) >= 0.75 * len(lines_with(debugger=False)) > 50


@pytest.mark.parametrize("attribute", ["trace_function", "profile_function"])
def test_another_threads_current_tasklet_cannot_be_traced(attribute):
    """14: RuntimeError; its suspended ones can."""
    calls = []

    def prepare(report):
        def body():
            schedule_remove(None)
            traced_helper()
            setattr(stackless.current, attribute, None)
            report.send(list(calls))

        t = tasklet(body)()
        t.run()
        return t

    owner = Owner(prepare)
    with pytest.raises(RuntimeError):
        setattr(owner.main, attribute, recorder([]))
    setattr(owner.tasklet, attribute, recorder(calls))
    owner.tasklet.insert()
    assert "traced_helper" in owner.result()


def test_the_inside_a_trace_function_state_is_per_tasklet():
    """14: while one tasklet is suspended inside its trace function, another is traced."""
    log = []

    def record(name):
        def trace(frame, event, argument):
            if frame.f_code is traced_helper.__code__:
                log.append(name)
                schedule()
                traced_helper()  # not seen: inside a trace function
            return None

        return trace

    def traced(name):
        sys.settrace(record(name))
        traced_helper()
        sys.settrace(None)

    for name in "abc":
        tasklet(traced)(name)
    stackless.run()
    assert log == ["a", "b", "c"]


def test_settrace_on_unhashable_and_odd_callables():
    """14: anything callable may be set; its type is not checked."""

    class Odd(list):
        def __call__(self, frame, event, argument):
            self.append(event)

    odd = Odd()
    t = tasklet(traced_helper, ())
    t.trace_function = odd
    assert t.trace_function is odd
    t.run()
    assert "call" in odd
