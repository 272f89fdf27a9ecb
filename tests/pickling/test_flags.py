"""The pickle flags."""

import contextvars
import copy
import pickle
import sys
import threading
from typing import ClassVar

import pytest
import stackless
from stackless import pickle_flags, pickle_flags_default
from stackless.pickling import register, unregister


@pytest.fixture(autouse=True)
def flags_as_before():
    """Each test begins and ends without flags."""
    assert pickle_flags() == pickle_flags_default() == 0
    yield
    pickle_flags(0)
    pickle_flags_default(0)


@pytest.mark.parametrize("change", [pickle_flags, pickle_flags_default])
def test_new_flags_and_mask(change):
    """The previous value is returned; only bits in the mask change; -1 only reads."""
    assert change(15) == 0
    assert change(-1) == 15
    assert change() == 15
    assert change(0, 5) == 15
    assert change(4, 6) == 10
    assert change(-1, 0) == 12
    assert change(new=0, mask=8) == 12
    assert change(mask=3) == 4
    assert change() == 4


@pytest.mark.parametrize("change", [pickle_flags, pickle_flags_default])
def test_undefined_flags(change):
    """ValueError, after masking; the flags do not change."""
    change(1)
    for arguments in [(16,), (-2,), (1 << 40,), (31, -1), (-2, 1), (16 | 1, 16)]:
        with pytest.raises(ValueError, match="you must not set an undefined pickle-flag"):
            change(*arguments)
    assert change(16 | 2, 3) == 1
    assert change() == 2


@pytest.mark.parametrize("change", [pickle_flags, pickle_flags_default])
def test_wrong_arguments(change):
    """TypeError, and OverflowError for an int that is too large."""
    for arguments in [("1",), (None,), (1.5,), (1, 2, 3), (1, None)]:
        with pytest.raises(TypeError):
            change(*arguments)
    with pytest.raises(TypeError):
        change(flags=1)
    with pytest.raises(OverflowError):
        change(1 << 80)


def test_each_thread_has_its_own():
    """New threads begin with the default."""
    pickle_flags_default(10)
    seen = []

    def look():
        seen.append(pickle_flags(1))
        seen.append(pickle_flags())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [10, 1]
    assert pickle_flags() == 0


def test_names_of_the_flags():
    """Consecutive bits, all of which can be set."""
    names = [name for name in vars(stackless) if name.startswith("PICKLEFLAGS_")]
    values = sorted(getattr(stackless, name) for name in names)
    assert values == [1 << number for number in range(len(names))]
    assert pickle_flags(sum(values)) == 0


def test_pickle_with_tracing_state():
    """Bit 1 of both."""
    assert stackless.pickle_with_tracing_state is False
    pickle_flags(2)
    stackless.pickle_with_tracing_state = True
    assert stackless.pickle_with_tracing_state is True
    assert (pickle_flags(), pickle_flags_default()) == (3, 1)
    stackless.pickle_with_tracing_state = False
    assert (pickle_flags(), pickle_flags_default()) == (2, 0)


# ------------------------------------------------------------------ tracing


def traced_later():
    pass


def rests(setter, tracer):
    setter(tracer)
    stackless.schedule_remove()
    traced_later()
    setter(None)


@pytest.fixture(params=["pickle", "blob", "copy"])
def again(request):
    """Pickle and unpickle a value, or copy it."""
    return {
        "pickle": lambda value: pickle.loads(pickle.dumps(value)),
        "blob": lambda value: stackless.loads(stackless.dumps(value)),
        "copy": copy.copy,
    }[request.param]


class Tracer:
    """It is pickled by name, and counts for all its copies."""

    hits: ClassVar[list] = []

    def __call__(self, frame, event, argument):
        if frame.f_code.co_name == "traced_later":
            self.hits.append(event)


def record_calls(frame, event, argument):
    Tracer()(frame, event, argument)


@pytest.fixture
def hits():
    """The events that the tracers of this module have seen."""
    Tracer.hits.clear()
    return Tracer.hits


@pytest.mark.parametrize("setter", [sys.settrace, sys.setprofile], ids=["trace", "profile"])
@pytest.mark.parametrize("kept", [True, False])
def test_the_trace_function_of_a_copy(setter, kept, again, hits):
    """The copy is traced as the original would be."""
    stackless.pickle_with_tracing_state = kept
    original = stackless.tasklet(rests)(setter, record_calls)
    stackless.run()
    assert len(original.__reduce__()[2]) == (10 if kept else 8)
    copied = again(original)
    name = "trace_function" if setter is sys.settrace else "profile_function"
    assert getattr(copied, name) is (record_calls if kept else None)
    original.insert()
    stackless.run()
    expected, hits[:] = list(hits), []
    assert expected
    copied.insert()
    stackless.run()
    assert hits == (expected if kept else [])
    assert sys.gettrace() is sys.getprofile() is None


def test_no_trace_function_no_item():
    stackless.pickle_with_tracing_state = True
    tasklet = stackless.tasklet(rests)(int, None)
    assert len(tasklet.__reduce__()[2]) == 8
    tasklet.kill()


def test_a_trace_function_before_the_start(again, hits):
    stackless.pickle_with_tracing_state = True
    tasklet = stackless.tasklet(traced_later)()
    tasklet.trace_function = record_calls
    copied = again(tasklet)
    tasklet.kill()
    assert copied.trace_function is record_calls
    copied.insert()
    stackless.run()
    assert hits == ["call"]


def test_a_trace_function_that_cannot_be_pickled():
    stackless.pickle_with_tracing_state = True
    tasklet = stackless.tasklet(traced_later)()
    tasklet.trace_function = TracesWithLock().trace
    with pytest.raises(TypeError, match="lock"):
        stackless.dumps(tasklet)
    assert any("lock" in each.type for each in stackless.why_not_picklable(tasklet))
    tasklet.kill()


class TracesWithLock:
    def __init__(self):
        self.lock = threading.Lock()

    def trace(self, frame, event, argument):
        pass


@pytest.mark.parametrize("tracing", [3, (1,), (1, 2, 3)])
def test_wrong_tracing_state(tracing):
    with pytest.raises(TypeError, match="two functions trace it"):
        stackless.tasklet().__setstate__((0, None, 0, [], None, None, None, None, None, tracing))


# ------------------------------------------------------------------ contexts

USER = contextvars.ContextVar("USER", default="nobody")


def tells(found):
    USER.set("ada")
    stackless.schedule_remove()
    found.append(USER.get())


def tells_at_once(found):
    found.append(USER.get())


def with_user(name):
    context = contextvars.Context()
    context.run(USER.set, name)
    return context


def user_in(context):
    return context[USER]


@pytest.fixture
def contexts_travel():
    """Contexts are pickled by their value of USER."""
    register(contextvars.Context, user_in, with_user)
    yield
    unregister(contextvars.Context)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("function", [tells, tells_at_once])
@pytest.mark.parametrize(
    "dumps, loads", [(pickle.dumps, pickle.loads), (stackless.dumps, stackless.loads)]
)
def test_the_context_of_a_copy(kept, function, dumps, loads, contexts_travel):
    """With the flag, its own context; otherwise the context of the code that unpickles it."""
    tasklet = stackless.tasklet(function)([]).set_context(with_user("ada"))
    if function is tells:
        stackless.run()
    pickle_flags(8 if kept else 0)
    data = dumps((tasklet, []))
    tasklet.kill()
    before = USER.set("bob")
    copied, _ = loads(data)
    USER.reset(before)
    found = copied.context_run(USER.get)
    assert found == ("ada" if kept else "nobody")
    copied.insert()
    stackless.run()


def test_copy_copy_shares_the_context():
    pickle_flags(8)
    tasklet = stackless.tasklet(tells)([]).set_context(with_user("ada"))
    stackless.run()
    assert copy.copy(tasklet).context_id == tasklet.context_id
    tasklet.kill()


def test_a_context_needs_a_reducer():
    pickle_flags(8)
    tasklet = stackless.tasklet(tells)([])
    with pytest.raises(TypeError, match="Context"):
        pickle.dumps(tasklet)
    with pytest.raises(TypeError, match="Context"):
        stackless.dumps(tasklet)
    (obstacle,) = stackless.why_not_picklable(tasklet)
    assert "Context" in obstacle.type
    assert "register" in obstacle.remedy
    tasklet.kill()
