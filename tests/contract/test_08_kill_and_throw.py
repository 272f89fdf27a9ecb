"""kill, throw and raise_exception."""

import sys
import traceback

import pytest
import stackless
from stackless import TaskletExit, channel, schedule, schedule_remove, tasklet


def catcher(log, wait, name="caught"):
    """A tasklet body that waits and logs what exception that raises; then continues."""

    def body():
        try:
            wait()
        except BaseException as error:
            log.append((name, type(error), error.args))

    return body


def pause():
    schedule_remove(None)


# ------------------------------------------------------------------ kill


@pytest.mark.parametrize("make", [tasklet, lambda: tasklet(int)], ids=["empty", "bound"])
def test_kill_of_a_tasklet_that_is_not_alive_does_nothing(make):
    """8.1: no effect and no error."""
    t = make()
    function = t.tempval
    assert t.kill() is None
    assert t.kill(pending=True) is None
    assert t.tempval is function and stackless.runcount == 1


def test_kill_of_an_ended_tasklet_does_nothing():
    """8.1"""
    t = tasklet(int)()
    stackless.run()
    assert t.kill() is None
    assert t.kill(True) is None


@pytest.mark.parametrize("pending", [False, True])
@pytest.mark.parametrize("state", ["paused", "runnable"])
def test_kill_of_a_never_started_tasklet_runs_nothing(state, pending):
    """8.1, 21.11: it ends without running."""
    log = []
    t = tasklet(log.append, ("ran",))
    if state == "runnable":
        t.insert()
    assert t.kill(pending=pending) is None
    stackless.run()
    assert log == [] and not t.alive and not t.scheduled


def test_kill_runs_finally_blocks_and_raises_nothing_here():
    """8.1, 8.3: TaskletExit ends it without an error."""
    log = []

    def body():
        try:
            pause()
        finally:
            log.append("finally")

    t = tasklet(body)()
    stackless.run()
    assert t.kill() is None
    assert log == ["finally"]
    assert not t.alive and t.tempval is None and t.frame is None


@pytest.mark.parametrize("operation", ["send", "receive", "next"])
def test_kill_of_a_blocked_tasklet_takes_it_out_of_the_channel_first(operation):
    """8.1: its `finally` already sees balance 0."""
    ch, log = channel(), []

    def body():
        try:
            {"send": lambda: ch.send(1), "receive": ch.receive, "next": lambda: next(ch)}[
                operation
            ]()
        finally:
            log.append((ch.balance, ch.queue, stackless.current.blocked))

    t = tasklet(body)()
    stackless.run()
    t.kill()
    assert log == [(0, None, False)]
    assert ch.balance == 0


def test_caught_taskletexit_lets_the_tasklet_live():
    """8.1: `alive` stays True."""
    log = []

    def body():
        catcher(log, pause)()
        log.append(schedule_remove("still here"))

    t = tasklet(body)()
    stackless.run()
    t.kill()
    assert log == [("caught", TaskletExit, ())]
    assert t.alive and t.paused
    t.run()
    assert log[1:] == ["still here"] and not t.alive


def test_kill_of_oneself_raises_right_there():
    """8.1: also with pending, which is ignored."""
    log = []

    def body(pending):
        log.append("start")
        try:
            stackless.current.kill(pending=pending)
        finally:
            log.append("finally")

    tasklet(body)(False)
    tasklet(body)(True)
    tasklet(log.append)("other")
    stackless.run()
    assert log == ["start", "finally", "start", "finally", "other"]
    with pytest.raises(TaskletExit):
        stackless.current.kill()
    with pytest.raises(TaskletExit):
        stackless.main.kill(pending=True)


def test_kill_lets_those_to_the_right_run_first():
    """8.1: with t1 t2 t3 fresh, t1.kill() returns after t2 and t3 ran."""
    log = []
    t1, _t2, t3 = [tasklet(log.append)(n) for n in (1, 2, 3)]
    t1.kill()
    assert log == [2, 3]
    assert not t3.alive and stackless.runcount == 1


def test_kill_of_the_middle_one_leaves_those_before_it_waiting():
    """8.1, 8.2: a runnable target keeps its place."""
    log = []
    _t1, t2, _t3 = [tasklet(log.append)(n) for n in (1, 2, 3)]
    t2.kill()
    assert log == [3]
    stackless.run()
    assert log == [3, 1]


def test_kill_of_a_paused_or_blocked_one_returns_before_others_run():
    """8.2: it is inserted at the end, so the killer is next after it."""
    ch, log = channel(), []
    blocked = tasklet(ch.receive)()
    paused = tasklet(pause)()
    stackless.run()
    tasklet(log.append)("x")
    blocked.kill()
    paused.kill()
    assert log == [] and not blocked.alive and not paused.alive
    stackless.run()


def test_pending_kill_unblocks_at_once_but_raises_later():
    """8.2, 21.12: balance changes now, the exception is raised when its turn comes."""
    ch, log = channel(), []
    t = tasklet(catcher(log, ch.receive))()
    stackless.run()
    tasklet(log.append)("x")
    assert t.kill(pending=True) is None
    assert log == []
    assert ch.balance == 0 and not t.blocked and t.scheduled and stackless.runcount == 3
    stackless.run()
    assert log == ["x", ("caught", TaskletExit, ())]


def test_pending_kill_makes_a_paused_one_runnable():
    """8.2: inserted at the end."""
    log = []
    t = tasklet(catcher(log, pause))()
    stackless.run()
    tasklet(log.append)("x")
    t.kill(True)
    assert t.scheduled and log == []
    stackless.run()
    assert log == ["x", ("caught", TaskletExit, ())]


def test_pending_kill_of_a_runnable_one_keeps_its_place():
    """8.2"""
    log = []
    t = tasklet(catcher(log, schedule))()
    schedule()
    tasklet(log.append)("x")
    t.kill(pending=True)
    stackless.run()
    assert log == [("caught", TaskletExit, ()), "x"]


def test_a_tasklet_can_kill_main():
    """8.1: main is a tasklet like any other; the exception is raised where main waits."""
    tasklet(lambda: stackless.main.kill())()
    with pytest.raises(TaskletExit):
        stackless.run()
    stackless.run()
    tasklet(lambda: stackless.main.kill(pending=True))()
    with pytest.raises(TaskletExit):
        schedule()
    stackless.run()


# ------------------------------------------------------------------ throw


@pytest.mark.parametrize("state", ["paused", "blocked", "runnable"])
def test_throw_raises_at_the_suspension_point(state):
    """8.2: immediate: made current at once; the caller continues afterwards, and gets None."""
    ch, log = channel(), []
    wait = {"paused": pause, "blocked": ch.receive, "runnable": schedule}[state]
    t = tasklet(catcher(log, wait))()
    schedule()
    assert t.throw(KeyError, "x") is None
    assert log == [("caught", KeyError, ("x",))]
    assert ch.balance == 0 and not t.alive and stackless.runcount == 1


def test_throw_inserts_at_the_end_of_the_ring():
    """8.2: a blocked or paused target is inserted before the caller and runs before all others."""
    log = []
    t = tasklet(catcher(log, pause))()
    schedule()
    tasklet(log.append)("x")
    t.throw(KeyError)
    assert log == [("caught", KeyError, ())]
    stackless.run()
    assert log[1:] == ["x"]


@pytest.mark.parametrize(
    ("value", "args"), [(None, ()), (1, (1,)), ((1, 2), (1, 2)), (KeyError("i"), ("i",))]
)
def test_value_of_throw(value, args):
    """8.2: an instance, a tuple of arguments, a single argument or None."""
    log = []
    t = tasklet(catcher(log, pause))()
    schedule()
    t.throw(KeyError, value)
    assert log == [("caught", KeyError, args)]


def test_throw_of_an_instance():
    """8.2: the very object arrives."""
    instance, caught = KeyError("mine"), []

    def body():
        try:
            pause()
        except KeyError as error:
            caught.append(error)

    t = tasklet(body)()
    schedule()
    t.throw(instance)
    assert caught == [instance]


def test_keywords_of_throw():
    """16: exc, val, tb, pending."""
    log = []
    t = tasklet(catcher(log, pause))()
    schedule()
    t.throw(exc=KeyError, val="x", tb=None, pending=True)
    assert log == []
    stackless.run()
    assert log == [("caught", KeyError, ("x",))]


def test_traceback_given_to_throw_is_extended():
    """8.2: extended, not replaced."""

    def fails():
        raise KeyError

    names = []

    def body():
        try:
            pause()
        except KeyError as error:
            names.extend(entry.name for entry in traceback.extract_tb(error.__traceback__))

    try:
        fails()
    except KeyError:
        info = sys.exc_info()
    t = tasklet(body)()
    schedule()
    t.throw(*info)
    assert names[0] == "body"
    assert names[-1] == "fails"


def test_uncaught_thrown_exception_comes_back_here():
    """8.2, 8.3: main threw the exception, main gets it."""
    t = tasklet(pause)()
    schedule()
    with pytest.raises(KeyError, match="back"):
        t.throw(KeyError, "back")
    assert not t.alive


def test_throw_into_a_never_started_tasklet():
    """8.2: as if its function had raised at the start; nothing runs."""
    log = []
    for state in ("paused", "runnable"):
        t = tasklet(log.append, ("ran",))
        if state == "runnable":
            t.insert()
        with pytest.raises(KeyError, match="never started"):
            t.throw(KeyError, "never started")
        assert not t.alive and not t.scheduled
    assert log == []


def test_pending_throw_into_a_never_started_tasklet():
    """8.2: the exception is raised when its turn comes."""
    t = tasklet(int, ())
    t.throw(KeyError, "later", pending=True)
    assert t.scheduled
    with pytest.raises(KeyError, match="later"):
        stackless.run()
    assert not t.alive


def test_pending_throw():
    """8.2: made runnable, taken out of a channel; no switch."""
    ch, log = channel(), []
    t = tasklet(catcher(log, ch.receive))()
    schedule()
    assert t.throw(KeyError, "x", None, True) is None
    assert (ch.balance, t.blocked, t.scheduled, log) == (0, False, True, [])
    stackless.run()
    assert log == [("caught", KeyError, ("x",))]


@pytest.mark.parametrize("pending", [False, True])
def test_throw_to_current_is_raised_at_once(pending):
    """8.2: `pending` ignored."""
    with pytest.raises(KeyError, match="me"):
        stackless.current.throw(KeyError, "me", pending=pending)
    assert stackless.runcount == 1 and stackless.current.tempval is None


@pytest.mark.parametrize("make", [tasklet, lambda: tasklet(int)], ids=["empty", "bound"])
@pytest.mark.parametrize("pending", [False, True])
def test_throw_to_a_dead_tasklet(make, pending):
    """8.2: TaskletExit or a subclass: no effect; anything else: RuntimeError."""

    class MyExit(TaskletExit):
        pass

    t = make()
    for silent in (TaskletExit, TaskletExit(), MyExit):
        assert t.throw(silent, pending=pending) is None
    with pytest.raises(RuntimeError, match="^You cannot throw to a dead tasklet$"):
        t.throw(KeyError, pending=pending)
    assert not t.scheduled


def test_argument_errors_of_throw():
    """8.2: all TypeError; the target stays as it was."""
    t = tasklet(pause)()
    schedule()
    cases = [
        ((5,), "^exceptions must be classes, or instances, not int$"),
        (("KeyError",), "^exceptions must be classes, or instances, not str$"),
        ((KeyError(), 1), "^instance exception may not have a separate value$"),
        ((KeyError, None, 5), "^third argument must be a traceback object$"),
    ]
    for arguments, text in cases:
        for pending in (False, True):
            with pytest.raises(TypeError, match=text):
                t.throw(*arguments, pending=pending)
            assert t.paused
    t.kill()


def test_subclass_of_taskletexit_is_a_silent_end():
    """8.3"""

    class MyExit(TaskletExit):
        pass

    t = tasklet(pause)()
    schedule()
    assert t.throw(MyExit) is None
    assert not t.alive


# ------------------------------------------------------------------ raise_exception


@pytest.mark.parametrize("args", [(), (1,), (1, "two")])
def test_raise_exception_makes_it_from_class_and_args(args):
    """4.2: immediate throw of exc_class(*args)."""
    log = []
    t = tasklet(catcher(log, pause))()
    schedule()
    assert t.raise_exception(KeyError, *args) is None
    assert log == [("caught", KeyError, args)]


@pytest.mark.parametrize("bad", [5, "KeyError", int, None])
def test_raise_exception_needs_a_class(bad):
    """8.2: TypeError with its text."""
    text = "^tasklet.raise_exception needs Exception or string subclass as first parameter$"
    t = tasklet(pause)()
    schedule()
    with pytest.raises(TypeError, match=text):
        t.raise_exception(bad)
    assert t.paused
    t.kill()


def test_raise_exception_needs_an_argument():
    """8.2"""
    with pytest.raises(TypeError, match=r"raise_exception\(\) takes at least 1 argument"):
        stackless.current.raise_exception()


def test_raise_exception_on_current_and_on_a_dead_tasklet():
    """8.2 through raise_exception."""
    with pytest.raises(KeyError, match="me"):
        stackless.current.raise_exception(KeyError, "me")
    with pytest.raises(RuntimeError, match="^You cannot throw to a dead tasklet$"):
        tasklet().raise_exception(KeyError)
    assert tasklet().raise_exception(TaskletExit) is None
