"""Contract 14, the basics: trace and profile functions belong to the tasklet."""

import sys

import pytest
import stackless
from stackless import channel, schedule, schedule_remove, tasklet

KINDS = {
    "trace": (sys.settrace, sys.gettrace, "trace_function"),
    "profile": (sys.setprofile, sys.getprofile, "profile_function"),
}


@pytest.fixture(params=["trace", "profile"])
def kind(request):
    """(set, get, attribute name); whatever a test leaves set is put back."""
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
    """14: calls after its resumption are seen; and it can be taken off while suspended."""
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
    """14: what it set itself, while others run without."""
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
    """14: line events of a function go on after it was suspended in the middle."""
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
