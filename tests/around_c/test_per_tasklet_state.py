"""State that CPython keeps per thread is per tasklet here: exceptions, recursion depth, ..."""

import contextvars
import sys
import traceback
import warnings

import pytest
import stackless
from stackless import channel, schedule, tasklet

# ------------------------------------------------------------------ exceptions


def test_exc_info_is_per_tasklet():
    """8.3: it survives switches inside an except block, and others do not see it."""
    seen = []

    def handles(kind):
        try:
            raise kind(kind.__name__)
        except kind:
            for _ in range(3):
                schedule()
                seen.append(sys.exc_info()[0] is kind)
        seen.append(sys.exc_info() == (None, None, None))

    def bystander():
        for _ in range(5):
            seen.append(sys.exc_info() == (None, None, None))
            schedule()

    for kind in (KeyError, ValueError, OSError):
        tasklet(handles)(kind)
    tasklet(bystander)()
    stackless.run()
    assert len(seen) == 17 and all(seen)


def test_a_new_tasklet_starts_without_an_exception():
    """8.3: even if it is made and started inside an except block."""
    seen = []

    def body():
        seen.append(sys.exc_info())
        try:
            raise KeyError
        except KeyError as error:
            seen.append(error.__context__)

    try:
        raise ValueError
    except ValueError:
        tasklet(body)()
        schedule()
        assert sys.exc_info()[0] is ValueError
    assert seen == [(None, None, None), None]


def test_bare_raise_after_a_switch():
    """8.3: it re-raises the tasklet's own exception."""
    caught = []

    def body(kind):
        try:
            try:
                raise kind
            except kind:
                schedule()
                raise
        except Exception as error:
            caught.append((kind, type(error), error.__context__))

    for kind in (KeyError, ValueError, OSError):
        tasklet(body)(kind)
    stackless.run()
    assert caught == [(kind, kind, None) for kind in (KeyError, ValueError, OSError)]


def test_context_of_exceptions_stays_in_the_tasklet():
    """8.3: `__context__` is the exception that this tasklet was handling, not another tasklet's."""
    contexts = {}

    def body(outer, inner):
        try:
            try:
                raise outer
            except outer:
                schedule()
                raise inner from None
        except inner as error:
            contexts[inner] = type(error.__context__)

    tasklet(body)(KeyError, ValueError)
    tasklet(body)(OSError, TypeError)
    stackless.run()
    assert contexts == {ValueError: KeyError, TypeError: OSError}


def test_finally_with_an_exception_in_flight():
    """A switch in `finally` while the exception is on its way."""
    log = []

    def body(name):
        try:
            try:
                raise KeyError(name)
            finally:
                schedule()
                log.append((name, sys.exc_info()[1].args))
        except KeyError as error:
            log.append(("caught", error.args))

    tasklet(body)("a")
    tasklet(body)("b")
    stackless.run()
    assert log == [("a", ("a",)), ("caught", ("a",)), ("b", ("b",)), ("caught", ("b",))]


def test_exception_in_flight_through_a_with_statement():
    """`__exit__` called for an exception may switch."""
    log = []

    class Manager:
        def __exit__(self, kind, value, tb):
            schedule()
            log.append((value.args, sys.exc_info()[1] is value))
            return True

        def __enter__(self):
            return self

    def body(name):
        with Manager():
            raise KeyError(name)
        log.append((name, sys.exc_info()[0]))

    tasklet(body)("a")
    tasklet(body)("b")
    stackless.run()
    assert log == [(("a",), True), ("a", None), (("b",), True), ("b", None)]


def test_generators_keep_their_exception_state():
    """A generator suspended in its except block, driven by tasklets in turn."""
    seen = []

    def generator():
        try:
            raise KeyError
        except KeyError:
            schedule()
            yield sys.exc_info()[0]
            schedule()
            yield sys.exc_info()[0]

    def body():
        try:
            raise ValueError
        except ValueError:
            seen.append([*generator(), sys.exc_info()[0]])

    for _ in range(3):
        tasklet(body)()
    stackless.run()
    assert seen == [[KeyError, KeyError, ValueError]] * 3


def test_tracebacks_are_those_of_the_tasklet():
    """A traceback contains only frames of its own tasklet."""
    names = []

    def inner(name):
        schedule()
        raise KeyError(name)

    def body(name):
        try:
            inner(name)
        except KeyError as error:
            names.append([entry.name for entry in traceback.extract_tb(error.__traceback__)])
            names.append([entry.name for entry in traceback.extract_stack()])

    tasklet(body)("a")
    tasklet(body)("b")
    stackless.run()
    assert names == [["body", "inner"], ["body"]] * 2


def test_except_star():
    """Exception groups handled across a switch."""
    log = []

    def body(name):
        try:
            raise ExceptionGroup(name, [KeyError(name), ValueError(name)])
        except* KeyError as group:
            schedule()
            log.append((name, "KeyError", len(group.exceptions)))
        except* ValueError as group:
            schedule()
            log.append((name, "ValueError", len(group.exceptions)))

    tasklet(body)("a")
    tasklet(body)("b")
    stackless.run()
    expected = [(name, kind, 1) for kind in ("KeyError", "ValueError") for name in "ab"]
    assert sorted(log) == sorted(expected)


# ------------------------------------------------------------------ recursion


def down(levels, at_the_bottom=lambda: None):
    if levels == 0:
        at_the_bottom()
        return 0
    return 1 + down(levels - 1, at_the_bottom)


@pytest.fixture
def limit():
    """A recursion limit well above what the test runner itself uses."""
    old = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield 1000
    sys.setrecursionlimit(old)


def test_each_tasklet_has_its_own_recursion_budget(limit):
    """Ten tasklets are suspended near the limit at the same time."""
    results = []
    for _ in range(10):
        tasklet(lambda: results.append(down(limit - 100, schedule)))()
    stackless.run()
    assert results == [limit - 100] * 10


def test_recursion_depth_of_main_is_not_inherited(limit):
    """A tasklet started from deep inside main has its full budget, and main keeps its own."""
    results = []

    def start():
        tasklet(lambda: results.append(down(limit - 100)))()
        stackless.run()

    assert down(limit // 2, start) == limit // 2
    assert results == [limit - 100]


def test_recursion_error_in_one_tasklet_only(limit):
    """The other tasklets continue, at whatever depth they are."""
    log = []

    def too_deep():
        try:
            down(limit + 1, schedule)
        except RecursionError:
            log.append("RecursionError")

    tasklet(lambda: log.append(down(limit - 100, schedule)))()
    tasklet(too_deep)()
    tasklet(lambda: log.append(down(limit - 100, schedule)))()
    stackless.run()
    assert log == ["RecursionError", limit - 100, limit - 100]


def test_recursion_depth_is_balanced_after_exceptions(limit):
    """A thousand tasklets that end with an error in deep calls leave main's counters unchanged."""

    def fails():
        raise KeyError

    for _ in range(1000):
        tasklet(down)(50, fails)
        with pytest.raises(KeyError):
            stackless.run()
    assert down(limit // 2) == limit // 2


def test_killed_deep_down(limit):
    """A kill unwinds the whole recursion."""
    ch = channel()
    tasks = [tasklet(down)(limit - 100, ch.receive) for _ in range(20)]
    stackless.run()
    for t in tasks:
        t.kill()
    assert ch.balance == 0 and not any(t.alive for t in tasks)
    assert down(limit // 2) == limit // 2


# ------------------------------------------------------------------ other state of a thread


def test_context_variables_inside_c_callbacks():
    """15: the context is switched wherever the tasklet blocks."""
    variable = contextvars.ContextVar("variable", default=None)
    seen = []

    def body(name):
        variable.set(name)
        sorted([2, 1], key=lambda item: (schedule(), seen.append(variable.get() == name)))

    for name in "abc":
        tasklet(body).set_context(contextvars.copy_context())(name)
    stackless.run()
    assert seen == [True] * 6


def test_trace_functions_inside_c_callbacks():
    """14: the trace function is switched as well."""
    calls, others = [], []
    old = sys.gettrace()

    def tracer(frame, event, argument):
        calls.append(frame.f_code.co_name)

    def traced_key(item):
        schedule()
        return item

    def other_key(item):
        others.append(sys.gettrace())
        schedule()
        return item

    def traced():
        sys.settrace(tracer)
        sorted([2, 1], key=traced_key)
        sys.settrace(None)

    def other():
        sorted([2, 1], key=other_key)

    sys.settrace(None)
    try:
        tasklet(traced)()
        tasklet(other)()
        stackless.run()
    finally:
        sys.settrace(old)
    assert others == [None, None]
    assert calls.count("traced_key") == 2 and "other_key" not in calls


def test_async_generator_hooks_and_running_loop_are_the_threads():
    """CPython keeps them per thread, and they stay so: set in one tasklet, seen in another."""
    hooks = sys.get_asyncgen_hooks()
    seen = []

    def sets():
        sys.set_asyncgen_hooks(firstiter=print)

    tasklet(sets)()
    tasklet(lambda: seen.append(sys.get_asyncgen_hooks().firstiter))()
    stackless.run()
    sys.set_asyncgen_hooks(*hooks)
    assert seen == [print]


def test_warnings_name_the_line_in_the_tasklet():
    """warnings.warn reads the frames of the tasklet, beginning with its first function."""

    def warns():
        warnings.warn("from the tasklet", UserWarning, stacklevel=1)
        warnings.warn("beyond its first frame", UserWarning, stacklevel=50)

    with pytest.warns(UserWarning) as recorded:
        tasklet(warns)()
        stackless.run()
    assert recorded[0].filename == __file__
    assert len(recorded) == 2


def test_generators_move_between_tasklets():
    """A generator started in one tasklet may be continued in another."""
    log = []

    def numbers():
        for number in range(4):
            log.append((number, stackless.current))
            yield number

    shared = numbers()
    tasks = [tasklet(next)(shared) for _ in range(4)]
    stackless.run()
    assert log == list(enumerate(tasks))


def test_running_generator_cannot_be_entered_twice():
    """A generator suspended *inside* its body by a switch is still running."""
    errors = []

    def generator():
        schedule()
        yield

    def enters():
        try:
            next(shared)
        except ValueError as error:
            errors.append(str(error))

    shared = generator()
    tasklet(enters)()
    tasklet(enters)()
    stackless.run()
    assert errors == ["generator already executing"]


def test_exceptions_thrown_while_another_handles_one():
    """8.3: the thrown exception's context is never what the thrower is handling."""
    contexts = []

    def waits():
        try:
            try:
                raise OSError
            except OSError:
                schedule()
        except KeyError as error:
            contexts.append(type(error.__context__))

    t = tasklet(waits)()
    schedule()
    try:
        raise ValueError
    except ValueError:
        t.throw(KeyError)
        assert sys.exc_info()[0] is ValueError
    assert contexts in ([OSError], [type(None)])
