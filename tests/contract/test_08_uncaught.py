"""A tasklet's end: uncaught exceptions, SystemExit, the error handler."""

import sys

import pytest
import stackless
from child_process import assert_child
from other_thread import run_in_thread
from stackless import channel, schedule, schedule_remove, set_error_handler, tasklet


def fails(text="uncaught"):
    raise KeyError(text)


# ------------------------------------------------------------------ to main


def test_return_value_is_dropped():
    """8.3: tempval is None after the end."""
    t = tasklet(lambda: 42)()
    assert stackless.run() is None
    assert t.tempval is None and not t.alive


@pytest.mark.parametrize("call", ["run", "schedule", "t.run", "t.switch", "schedule_remove"])
def test_main_gets_the_exception_at_its_switching_call(call):
    """8.3: in every call in which main can be suspended."""
    t = tasklet(fails, ()) if call.startswith("t.") else tasklet(fails)()
    switching_call = {
        "run": stackless.run,
        "schedule": schedule,
        "schedule_remove": schedule_remove,
        "t.run": t.run,
        "t.switch": t.switch,
    }[call]
    with pytest.raises(KeyError, match="uncaught"):
        switching_call()
    assert stackless.runcount == 1 and not t.alive
    assert stackless.current.tempval is None


@pytest.mark.parametrize("operation", ["send", "receive"])
def test_blocked_main_is_unblocked_by_the_exception(operation):
    """8.3: unblocked if necessary; it is no longer in the channel's queue."""
    ch = channel()
    tasklet(fails)()
    with pytest.raises(KeyError, match="uncaught"):
        if operation == "send":
            ch.send(1)
        else:
            ch.receive()
    assert ch.balance == 0 and ch.queue is None
    assert stackless.current.tempval is None


def test_main_jumps_the_ring():
    """8.3: main becomes current immediately; the others stay and the next run() continues."""
    log = []
    tasklet(log.append)("a")
    tasklet(fails)()
    tasklet(log.append)("b")
    with pytest.raises(KeyError):
        stackless.run()
    assert log == ["a"] and stackless.runcount == 2
    stackless.run()
    assert log == ["a", "b"]


def test_main_in_the_ring_jumps_it_too():
    """8.3: also when main was only taking turns."""
    log = []
    tasklet(fails)()
    tasklet(log.append)("b")
    with pytest.raises(KeyError):
        schedule()
    assert log == []
    stackless.run()
    assert log == ["b"]


def test_each_failing_tasklet_costs_one_run():
    """21.5: an exception wakes run()'s caller in the middle of a turn, the rest stay scheduled."""
    for number in range(3):
        tasklet(fails)(str(number))
    for number in range(3):
        with pytest.raises(KeyError, match=str(number)):
            stackless.run()
    assert stackless.run() is None


def test_traceback_shows_the_caller_then_the_tasklet():
    """8.3"""

    def outer():
        fails("deep")

    tasklet(outer)()
    with pytest.raises(KeyError) as caught:
        stackless.run()
    names = [entry.name for entry in caught.traceback]
    assert names[0] == "test_traceback_shows_the_caller_then_the_tasklet"
    assert names[-2:] == ["outer", "fails"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit, BaseException, StopIteration])
def test_any_other_exception_travels(kind):
    """8.3: "anything else" includes exceptions that are no Exception."""

    def body():
        raise kind("odd")

    tasklet(body)()
    with pytest.raises(kind, match="odd"):
        stackless.run()


def test_exception_objects_identity_and_cause_survive():
    """8.3: it is the same object."""
    instance = KeyError("mine")

    def body():
        raise instance from ValueError("cause")

    tasklet(body)()
    with pytest.raises(KeyError) as caught:
        stackless.run()
    assert caught.value is instance
    assert type(instance.__cause__) is ValueError


def test_main_handling_an_exception_gives_no_context_to_tasklets():
    """8.3: each tasklet has its own exception state."""
    try:
        raise ValueError("being handled in main")
    except ValueError:
        tasklet(fails)()
        with pytest.raises(KeyError) as caught:
            stackless.run()
        assert type(sys.exc_info()[1]) is ValueError
    inner = caught.value
    while inner.__context__ is not None:
        inner = inner.__context__
        assert not isinstance(inner, KeyError)


# ------------------------------------------------------------------ error handler


def test_set_error_handler_returns_the_previous_one():
    """3, 8.3: or None; keyword `handler`."""

    def one(*_):
        pass

    def two(*_):
        pass

    assert set_error_handler(one) is None
    assert set_error_handler(handler=two) is one
    assert set_error_handler() is two
    assert set_error_handler(None) is None


def test_error_handler_is_called_in_the_dying_tasklet():
    """8.3: handler(type, value, tb), it is still current; scheduling then continues."""
    calls, log = [], []

    def handler(kind, value, tb):
        names = []
        while tb is not None:
            names.append(tb.tb_frame.f_code.co_name)
            tb = tb.tb_next
        calls.append((kind, value.args, names[-1], stackless.current))
        return "ignored"

    set_error_handler(handler)
    t = tasklet(fails)("x")
    tasklet(log.append)("next")
    assert stackless.run() is None
    assert calls == [(KeyError, ("x",), "fails", t)]
    assert log == ["next"] and not t.alive


def test_error_handler_that_raises():
    """8.3: its exception is treated as one of the tasklet."""

    def handler(kind, value, tb):
        raise ValueError("from the handler")

    set_error_handler(handler)
    tasklet(fails)()
    with pytest.raises(ValueError, match="from the handler"):
        stackless.run()
    assert stackless.run() is None


def test_error_handler_that_cannot_be_called():
    """8.3: refused at once, as by the other callbacks; an exception in a call is the tasklet's."""
    with pytest.raises(TypeError, match="^error handler must be callable$"):
        set_error_handler(5)
    set_error_handler(lambda: None)
    tasklet(fails)()
    with pytest.raises(TypeError, match="takes 0 positional arguments"):
        stackless.run()


def test_error_handler_is_not_called_for_taskletexit_or_normal_ends():
    """8.3"""
    calls = []
    set_error_handler(lambda *info: calls.append(info))
    tasklet(int)()
    t = tasklet(schedule_remove)(None)
    stackless.run()
    t.kill()
    with pytest.raises(KeyError):
        fails()
    assert calls == []


def test_error_handler_sees_what_is_thrown_at_never_started_tasklets():
    """8.3, 8.2"""
    calls = []
    set_error_handler(lambda kind, value, tb: calls.append((kind, value.args)))
    tasklet(int, ()).throw(KeyError, "x")
    assert calls == [(KeyError, ("x",))]


def test_error_handler_may_switch():
    """8.3: it runs in the tasklet, so that can wait there."""
    log, ch = [], channel()
    set_error_handler(lambda kind, value, tb: log.append((kind, ch.receive())))
    t = tasklet(fails)()
    stackless.run()
    assert t.blocked
    ch.send("report")
    stackless.run()
    assert log == [(KeyError, "report")] and not t.alive


# ------------------------------------------------------------------ SystemExit


def test_taskletexit_is_a_silent_end():
    """8.3"""

    def body():
        raise stackless.TaskletExit("code")

    t = tasklet(body)()
    assert stackless.run() is None
    assert not t.alive


def test_systemexit_in_another_thread_is_a_silent_end():
    """8.3: no exception in that thread's main, the process continues."""
    log = []

    def thread():
        t = tasklet(sys.exit)(3)
        tasklet(log.append)("next")
        log.append(stackless.run())
        log.append(t.alive)

    run_in_thread(thread)
    assert log == ["next", None, False]


def test_systemexit_ends_the_process_with_its_code():
    """8.3: from inside a tasklet of the main thread; nothing is printed."""
    assert_child(
        """
        import stackless, sys
        stackless.tasklet(sys.exit)(42)
        stackless.run()
        print("not reached")
        """,
        exits=42,
    )


def test_systemexit_kills_the_others_first():
    """Re-raised in main after the others were killed: their `finally` has run."""
    assert_child(
        """
        import stackless, sys
        log, ch = [], stackless.channel()

        def waits(name, wait):
            try:
                wait()
            except BaseException as error:
                log.append((name, type(error).__name__))
                raise

        blocked = stackless.tasklet(waits)("blocked", ch.receive)
        runnable = stackless.tasklet(waits)("runnable", stackless.schedule)
        stackless.tasklet(sys.exit)(42)
        fresh = stackless.tasklet(log.append)("fresh must not run")
        try:
            stackless.run()
        except SystemExit as error:
            print(error.code, type(error).__name__, stackless.current is stackless.main)
        print(*sorted(log), sep="\\n")
        print(blocked.alive, runnable.alive, fresh.alive, ch.balance, stackless.runcount)
        """,
        prints="""42 SystemExit True
            ('blocked', 'TaskletExit') ('runnable', 'TaskletExit')
            False False False 0 1""",
    )


def test_systemexit_reaches_a_main_that_waits_on_a_channel():
    """8.3: in every call in which main can be suspended."""
    assert_child(
        """
        import stackless, sys
        ch = stackless.channel()
        stackless.tasklet(sys.exit)("a message")
        try:
            ch.receive()
        finally:
            print(ch.balance)
        """,
        prints="0",
        exits=1,
        complains="a message",
    )


def test_systemexit_goes_to_main_past_an_inner_run():
    """Main, not the innermost run() caller, which is one of the others."""
    assert_child(
        """
        import stackless, sys

        def inner():
            stackless.tasklet(sys.exit)(42)
            try:
                stackless.run()
            except BaseException as error:
                print(type(error).__name__)
                raise

        stackless.tasklet(inner)()
        stackless.run()
        print("not reached")
        """,
        prints="TaskletExit",
        exits=42,
    )


def test_main_may_exit_with_another_code():
    """8.3: if main then exits with another code, that code counts."""
    assert_child(
        """
        import stackless, sys
        stackless.tasklet(sys.exit)(42)
        try:
            stackless.run()
        finally:
            sys.exit(7)
        """,
        exits=7,
    )


def test_uncaught_exception_of_a_tasklet_ends_the_program_as_any_would():
    """8.3: raised in main, with a traceback and code 1."""
    assert_child(
        """
        import stackless

        def fails():
            raise KeyError("uncaught")

        stackless.tasklet(fails)()
        stackless.run()
        """,
        exits=1,
        complains="KeyError: 'uncaught'",
    )


def test_threads_have_their_own_main_for_exceptions():
    """8.3, 11.1: in the main of the tasklet's thread."""

    def thread():
        tasklet(fails)("in the thread")
        with pytest.raises(KeyError, match="in the thread"):
            stackless.run()
        return stackless.runcount

    assert run_in_thread(thread) == 1
