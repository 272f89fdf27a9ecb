"""The tasklets of stackless.scheduler: exceptions that are not raised outside, diagnostics."""

import gc
import sys
import time
import traceback
import weakref

import pytest
import scheduler_tasklets
import stackless.scheduler as scheduler
from scheduler_tasklets import fail, run

# ------------------------------------------------------------------ dont_raise


def test_exceptions_are_forwarded_without_dont_raise():
    with pytest.raises(ValueError, match="text") as caught:
        run(fail)
    assert traceback.extract_tb(caught.tb)[-1].name == "fail"


def test_dont_raise_drops_exceptions():
    t = run(fail, dont_raise=True)
    assert not t.alive
    assert scheduler.getruncount() == 1


def test_dont_raise_reports_to_the_handler():
    """Called with one line, in the tasklet, while the exception is current."""
    log = []

    def handler(text):
        log.append((text, sys.exc_info()[1], scheduler.getcurrent()))

    t = run(fail, dont_raise=True, exception_handler=handler, context="free text")
    [(text, error, current)] = log
    assert "free text" in text and "alive=1" in text and "blocked=0" in text
    assert isinstance(error, ValueError) and current is t


def test_a_failing_handler_is_only_printed(capsys):
    def handler(text):
        raise KeyError("from the handler")

    t = run(fail, dont_raise=True, exception_handler=handler)
    assert not t.alive
    printed = capsys.readouterr().err
    assert "from the handler" in printed and "ValueError: text" in printed


def test_the_handler_needs_dont_raise():
    with pytest.raises(ValueError):
        run(fail, exception_handler=pytest.fail)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_dont_raise_is_about_exceptions_only(error):
    def leave():
        raise error

    with pytest.raises(error):
        run(leave, dont_raise=True, exception_handler=pytest.fail)


def test_dont_raise_and_kill():
    """TaskletExit ends the tasklet without an error, and is not reported."""
    t = scheduler.tasklet()
    t.dont_raise = True
    t.exception_handler = pytest.fail
    t.bind(scheduler.schedule_remove)()
    scheduler.run()
    t.kill()
    assert not t.alive


def test_dont_raise_is_set_before_bind():
    t = scheduler.tasklet(print)
    with pytest.raises(RuntimeError, match="before"):
        t.dont_raise = True
    t.setup()
    with pytest.raises(RuntimeError, match="before"):
        t.dont_raise = True
    t.kill()
    t.dont_raise = True
    t.bind(print)
    t.bind(None)
    t.dont_raise = False
    t.bind(print, ())
    with pytest.raises(RuntimeError, match="before"):
        t.dont_raise = True
    t.run()
    t.dont_raise = True


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("dont_raise", 1),
        ("highlighted", 1),
        ("exception_handler", 1),
        ("context_manager_getter", "x"),
        ("context", b"x"),
        ("parent_callsite", None),
        ("runTime", "x"),
    ],
)
def test_wrong_values_are_refused(name, wrong):
    t = scheduler.tasklet()
    before = getattr(t, name)
    with pytest.raises((TypeError, ValueError)):
        setattr(t, name, wrong)
    assert getattr(t, name) == before


@pytest.mark.parametrize(
    "name",
    "method_name module_name file_name line_number startTime endTime times_switched_to".split(),
)
def test_the_rest_is_read_only(name):
    with pytest.raises(AttributeError):
        setattr(scheduler.tasklet(), name, 1)


class Manager:
    def __init__(self, log, enter=None, leave=None):
        self.log, self.enter, self.leave = log, enter, leave

    def __enter__(self):
        self.log.append("enter")
        if self.enter:
            raise self.enter

    def __exit__(self, *exception):
        self.log.append(exception)
        if self.leave:
            raise self.leave
        return True


NOTHING = (None, None, None)


@pytest.mark.parametrize("function", [fail, print], ids=["fails", "returns"])
def test_context_manager(function):
    """Entered around the function; `__exit__` always sees None."""
    log, asked = [], []

    def getter(t):
        asked.append(t)
        return Manager(log)

    t = run(
        function,
        dont_raise=True,
        context_manager_getter=getter,
        exception_handler=lambda text: log.append("handler"),
    )
    assert asked == [t]
    assert log == ["enter", *(["handler"] if function is fail else []), NOTHING]


def test_context_manager_is_left_when_killed():
    log = []
    t = run(
        scheduler.schedule_remove, dont_raise=True, context_manager_getter=lambda t: Manager(log)
    )
    assert log == ["enter"] and t.paused
    t.kill()
    assert log == ["enter", NOTHING] and not t.alive


def test_context_manager_needs_dont_raise():
    run(print, context_manager_getter=pytest.fail)


def test_errors_of_the_context_manager_propagate():
    for options in ({"enter": KeyError("x")}, {"leave": KeyError("x")}):
        with pytest.raises(KeyError):
            run(
                fail,
                dont_raise=True,
                exception_handler=lambda text: None,
                context_manager_getter=lambda t, options=options: Manager([], **options),
            )
    with pytest.raises(ValueError):
        run(print, dont_raise=True, context_manager_getter=fail)
    with pytest.raises(AttributeError):
        run(print, dont_raise=True, context_manager_getter=lambda t: "no manager")


# ------------------------------------------------------------------ diagnostics


def test_diagnostics_come_from_the_callable():
    t = scheduler.tasklet()
    assert (t.method_name, t.module_name, t.file_name, t.line_number) == ("", "", "", 0)
    t.bind(fail)
    line = fail.__code__.co_firstlineno
    assert (t.method_name, t.module_name) == ("fail", scheduler_tasklets.__name__)
    assert (t.file_name, t.line_number) == (scheduler_tasklets.__file__, line)
    t.bind(Manager([]).__enter__)
    assert (t.method_name, t.file_name) == ("__enter__", __file__)
    t.bind(len)
    assert (t.method_name, t.module_name) == ("len", "builtins")
    assert (t.file_name, t.line_number) == ("unknown_file", 0)


def test_parent_callsite():
    line = sys._getframe().f_lineno + 1
    t = scheduler.tasklet(print)
    assert t.parent_callsite == f"{__file__}:{line}"
    t("")
    assert t.parent_callsite == f"{__file__}:{line + 2}"
    t.parent_callsite = "somewhere"
    assert t.parent_callsite == "somewhere"
    t.kill()


def test_marks():
    t = scheduler.tasklet()
    assert (t.context, t.highlighted, t.runTime) == ("", False, 0.0)
    t.context, t.highlighted, t.runTime = "text", True, 2
    assert (t.context, t.highlighted, t.runTime) == ("text", True, 2.0)


def test_times():
    """0 until started."""
    t = scheduler.tasklet(scheduler.schedule_remove)()
    assert (t.startTime, t.endTime) == (0, 0)
    before = time.monotonic_ns()
    scheduler.run()
    assert before <= t.startTime <= time.monotonic_ns() and t.endTime == 0
    t.run()
    assert t.startTime <= t.endTime <= time.monotonic_ns()
    t.bind(print)
    assert (t.startTime, t.endTime) == (0, 0)


def test_times_switched_to():
    """The counter restarts at bind."""

    def work():
        for _ in range(4):
            scheduler.schedule()

    t = scheduler.tasklet(work)()
    other = scheduler.tasklet(work)()
    assert t.times_switched_to == 0
    scheduler.run()
    assert t.times_switched_to == other.times_switched_to == 5
    t.bind(print)
    assert t.times_switched_to == 0
    t("")
    scheduler.run()
    assert t.times_switched_to == 1


def test_a_bound_tasklet_is_as_in_stackless():
    """4.1: independent of the package's calls around the function."""
    t = scheduler.tasklet(fail)
    assert t.tempval is fail and not t.alive and not t.paused
    t.bind(fail, (1,))
    assert t.tempval is None and t.paused
    t.bind(None)
    assert t.tempval is None and not t.alive
    with pytest.raises(TypeError, match="tasklet function must be a callable or None"):
        t.bind(1)
    with pytest.raises(RuntimeError, match="not bound to a function"):
        t.bind(None, ())
    assert not hasattr(t, "__dict__")


def test_binding_arguments_later():
    log = []
    t = scheduler.tasklet(log.append)
    assert t.bind(None, ("x",)) is t and t.paused
    t.insert()
    scheduler.run()
    t.bind(lambda *args, **kwargs: log.append((args, kwargs)))(1, a=2)
    scheduler.run()
    assert log == ["x", ((1,), {"a": 2})]


class Ship:
    def fly(self, distance, *, speed=2):
        scheduler.schedule_remove(None)
        return distance * speed


def fly(distance, speed=2):
    return Ship().fly(distance, speed=speed)


# On 3.11 the interpreter calls with `*` and `**` through C.
GUARDED = [
    False,
    pytest.param(True, marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11")),
]


@pytest.mark.parametrize("guarded", GUARDED)
@pytest.mark.parametrize("function", [fly, Ship().fly], ids=["function", "method"])
def test_it_is_as_restorable_as_in_stackless(function, guarded):
    """10, 13.1: no C code of the module's own; no Python code either without dont_raise."""
    t = scheduler.tasklet()
    t.dont_raise = guarded
    t.bind(function)(5, speed=3)
    scheduler.run()
    assert (t.nesting_level, t.restorable) == (0, True)
    assert guarded or function.__qualname__ in repr(t)
    copy = scheduler.loads(scheduler.dumps(t))
    copy.run()
    assert not copy.alive and t.alive
    t.bind(None)
    assert not t.alive and t.endTime == 0


def test_diagnostics_of_a_copy():
    """Pickling keeps none of them: 13.1."""
    t = scheduler.tasklet(fly)(5)
    scheduler.run()
    copy = scheduler.loads(scheduler.dumps(t))
    assert type(copy) is scheduler.tasklet and not copy.dont_raise
    assert (copy.method_name, copy.startTime) == ("", 0)
    copy.run()
    assert copy.endTime > 0
    t.kill()


def test_only_what_ends_by_itself_or_is_ended_after_it_began_is_counted():
    """A tasklet that never started has no times."""
    t = scheduler.tasklet(print)()
    t.kill()
    assert (t.startTime, t.endTime) == (0, 0)
    t = scheduler.tasklet(scheduler.schedule_remove)()
    scheduler.run_with_timeout(10**9)
    assert scheduler.get_tasklets_completed_last_run_with_timeout() == 0
    t.kill()
    assert 0 < t.startTime <= t.endTime


def test_a_dropped_tasklet_is_found_at_once():
    """12: the module itself keeps no reference to it."""
    ended = []

    def wait():
        try:
            list(map(scheduler.schedule_remove, [None]))
        finally:
            ended.append(True)

    gc.disable()
    try:
        t = scheduler.tasklet(wait)()
        scheduler.run()
        del t
        assert ended == [True]
    finally:
        gc.enable()


def test_nothing_is_kept_after_the_end():
    class Thing:
        def __call__(self, other):
            pass

    thing, argument = Thing(), Thing()
    found = [weakref.ref(thing), weakref.ref(argument)]
    t = scheduler.tasklet(thing)(argument)
    del thing, argument
    scheduler.run()
    assert [ref() for ref in found] == [None, None]
    assert not t.alive


def test_subclasses():
    class Mine(scheduler.tasklet):
        def __init__(self, *args):
            self.note = "mine"
            super().__init__(*args)

    t = Mine(print)
    assert (t.note, t.method_name) == ("mine", "print")
    assert t.bind(fail).method_name == "fail"
