"""Nesting levels, soft and hard switching."""

import functools
import gc
import operator
import threading
import weakref

import pytest
import stackless
from child_process import assert_child
from other_thread import run_in_thread
from stackless import schedule, schedule_remove, tasklet

C_STATE = "tasklet has C state on its stack"


@pytest.fixture
def softswitch():
    """A function that sets the flag; the former value is restored."""
    old = stackless.enable_softswitch(None)
    yield stackless.enable_softswitch
    stackless.enable_softswitch(old)


def level():
    return stackless.current.nesting_level


def in_tasklet(function):
    """The function's result, when called in a tasklet of its own."""
    results = []
    tasklet(lambda: results.append(function()))()
    stackless.run()
    return results[0]


# ------------------------------------------------------------------ enable_softswitch


def test_the_flag_is_on_at_first():
    """3: default True."""
    assert_child(
        "import stackless; print(stackless.enable_softswitch(None))",
        prints="True",
    )


def test_it_returns_the_old_value(softswitch):
    """3: as bool; None only asks."""
    old = softswitch(None)
    assert old is True and softswitch(None) is True
    assert softswitch(False) is True
    assert softswitch(None) is False and softswitch(None) is False
    assert softswitch(0) is False
    assert softswitch(1) is False
    assert softswitch(True) is True


@pytest.mark.parametrize("arguments", [(), (True, False)])
def test_it_takes_one_argument(softswitch, arguments):
    """3, 16: positional."""
    with pytest.raises(TypeError, match=r"enable_softswitch\(\) takes exactly one argument"):
        softswitch(*arguments)
    assert softswitch(None) is True


def test_it_takes_no_keywords(softswitch):
    """3, 16"""
    with pytest.raises(TypeError, match="takes no keyword arguments"):
        softswitch(flag=True)


def test_the_flag_is_process_wide(softswitch):
    """3: set in one thread, seen in another."""
    assert run_in_thread(lambda: softswitch(False)) is True
    assert softswitch(None) is False
    assert run_in_thread(lambda: in_tasklet(level)) > 0
    assert softswitch(True) is False
    assert run_in_thread(lambda: in_tasklet(level)) == 0


# ------------------------------------------------------------------ levels


class Slot:
    def __init__(self):
        self.level = level()

    def __add__(self, other):
        return level()

    def __len__(self):
        return level()

    def __getattr__(self, name):
        return level()


def recursive(depth):
    return recursive(depth - 1) if depth else level()


def driven_by_c():
    yield level()


def two_maps():
    return next(map(lambda _: next(map(lambda _: level(), [0])), [0]))


LEVELS = {
    "the function itself": (level, 0),
    "Python functions calling Python functions": (lambda: recursive(50), 0),
    "map": (lambda: next(map(lambda _: level(), [0])), 1),
    "functools.reduce": (lambda: functools.reduce(lambda a, b: level(), [0, 0]), 1),
    "sorted": (lambda: sorted([0], key=lambda _: seen.append(level())) and seen.pop(), 1),
    "operator.add": (lambda: operator.add(Slot(), 1), 1),
    "len": (lambda: len(Slot()), 1),
    "getattr": (lambda: getattr(Slot(), "missing"), 1),  # noqa: B009
    "type.__call__": (lambda: type.__call__(Slot).level, 1),
    "a generator driven by C": (lambda: list(driven_by_c())[0], 1),
    "map in map": (two_maps, 2),
    "functools.partial": (lambda: functools.partial(recursive, 3)(), 1),
}
seen = []


@pytest.mark.parametrize(("function", "expected"), LEVELS.values(), ids=LEVELS)
def test_levels(function, expected):
    """0 for Python calling Python, and one more for each time C calls back into Python."""
    assert in_tasklet(function) == expected


BELOW = {
    "functools.partial": (lambda f: tasklet(functools.partial(f))(), 1),
    "a partial of a partial": (lambda f: tasklet(functools.partial(functools.partial(f)))(), 1),
    "functools.reduce": (lambda f: tasklet(functools.reduce)(lambda a, b: f(), [0, 0]), 1),
    "a callable object": (lambda f: tasklet(type("C", (), {"__call__": lambda self: f()})())(), 1),
    "a class": (lambda f: tasklet(type("C", (), {"__init__": lambda self: f()}))(), 1),
    "map.__next__": (lambda f: tasklet(map(lambda _: f(), [0]).__next__)(), 1),
    "a bound method": (lambda f: tasklet(type("C", (), {"m": lambda self: f()})().m)(), 0),
    "a function with keywords": (lambda f: tasklet(lambda *, g: g())(g=f), 0),
    "partial, then map": (
        lambda f: tasklet(functools.partial(lambda: list(map(lambda _: f(), [0]))))(),
        2,
    ),
}


@pytest.mark.parametrize(("start", "expected"), BELOW.values(), ids=BELOW)
def test_the_function_counts_if_it_is_c_code(start, expected):
    """10: it counts the C code at a tasklet's bottom, running or suspended."""
    running = []

    def wait():
        running.append(level())
        schedule_remove(None)

    t = start(wait)
    assert t.nesting_level == 0 and t.restorable
    stackless.run()
    assert (running, t.nesting_level) == ([expected], expected)
    assert t.restorable == (expected == 0)
    t.run()
    assert (t.alive, t.nesting_level) == (False, 0)


def test_a_c_function_alone_on_its_stack():
    """10: not restorable, so its level is above 0."""
    t = tasklet(schedule_remove)(None)
    stackless.run()
    assert t.nesting_level == 1 and not t.restorable
    t.run()
    assert not t.alive


def test_a_limit_does_not_interrupt_above_c_code_at_the_bottom():
    """10, 7.2: involuntary interrupts only with `ignore_nesting`."""
    turns = []

    def spin():
        for i in range(10_000):
            turns.append(i)

    t = tasklet(functools.partial(spin))()
    assert stackless.run(100) is None
    assert len(turns) == 10_000 and not t.alive
    t = tasklet(functools.partial(spin))()
    t.set_ignore_nesting(True)
    assert stackless.run(100) is t
    t.kill()


@pytest.mark.parametrize(("function", "expected"), LEVELS.values(), ids=LEVELS)
def test_levels_of_main_are_relative_to_the_threads_start(function, expected):
    """In a fresh thread main starts at 0."""
    levels = []
    thread = threading.Thread(target=lambda: levels.append(function()))
    thread.start()
    thread.join(60)
    assert levels == [expected]


def test_main_of_a_plain_script():
    """0 as well, at its top and in its functions."""
    assert_child(
        """
        import stackless
        def level():
            return stackless.current.nesting_level
        print(stackless.current.nesting_level, level(), list(map(lambda _: level(), [0])))
        """,
        prints="0 0 [1]",
    )


def test_main_of_a_thread_whose_target_is_a_method():
    """`run` of a subclass of Thread is Python as well."""
    levels = []

    class Mine(threading.Thread):
        def run(self):
            levels.append(level())
            levels.append(in_tasklet(level))
            levels.append(level())

    thread = Mine()
    thread.start()
    thread.join(60)
    assert levels == [0, 0, 0]


def test_it_is_per_tasklet_and_starts_at_0():
    """The level of the tasklet that creates or starts it does not count."""
    assert next(map(lambda _: in_tasklet(level), [0])) == 0
    assert in_tasklet(lambda: next(map(lambda _: in_tasklet(level), [0]))) == 0


def test_of_a_suspended_tasklet_it_is_the_level_at_suspension():
    """And follows it."""

    def body():
        schedule_remove(None)
        list(map(lambda _: schedule_remove(None), [0]))
        schedule_remove(None)

    t = tasklet(body)()
    levels = [t.nesting_level]
    while t.alive:
        t.run()
        levels.append(t.nesting_level)
    assert levels == [0, 0, 1, 0, 0]


def test_a_failure_in_c_returns_to_the_level():
    """An exception through C code does not change the level."""

    def fails(_):
        raise KeyError(level())

    def body():
        levels = []
        for _ in range(3):
            try:
                list(map(fails, [0]))
            except KeyError as error:
                levels += [error.args[0], level()]
        return levels

    assert in_tasklet(body) == [1, 0] * 3


# ------------------------------------------------------------------ started under False


def test_hard_tasklets_have_c_state(softswitch):
    """Flag False: nesting_level > 0 and restorable False, for main too."""
    softswitch(False)
    t = tasklet(schedule_remove)(None)
    assert t.nesting_level == 0 and t.restorable  # not started
    stackless.run()
    assert t.nesting_level > 0 and not t.restorable
    assert in_tasklet(level) > 0
    assert level() > 0 and not stackless.main.restorable
    assert run_in_thread(level) > 0
    t.run()
    assert t.nesting_level == 0 and t.restorable  # ended


def test_main_is_soft_again_afterwards(softswitch):
    """For main the current flag counts."""
    levels = []

    def target():
        levels.append(level())
        softswitch(False)
        levels.append(level())
        softswitch(True)
        levels.append(level())

    thread = threading.Thread(target=target)
    thread.start()
    thread.join(60)
    assert levels[0] == levels[2] == 0 < levels[1]


@pytest.mark.parametrize("started_under", [True, False])
def test_what_counts_is_the_flag_at_the_start(softswitch, started_under):
    """The flag at the start counts until the end, whatever it was at the creation, and is later."""
    levels = []

    def body():
        for _ in range(3):
            levels.append(level())
            schedule_remove(None)

    softswitch(not started_under)
    t = tasklet(body)()
    softswitch(started_under)
    t.run()
    softswitch(not started_under)
    t.run()
    softswitch(started_under)
    t.run()
    assert [number > 0 for number in levels] == [not started_under] * 3
    assert (t.nesting_level > 0) is not started_under
    t.run()
    assert not t.alive


def test_a_tasklet_bound_again_starts_anew(softswitch):
    """The hard mode ends with the tasklet's end."""
    softswitch(False)
    levels = []
    t = tasklet(lambda: levels.append(level()))()
    stackless.run()
    softswitch(True)
    t.bind(lambda: levels.append(level()), ())
    t.run()
    assert levels[0] > 0 == levels[1]


def test_toggling_at_rest_does_not_disturb(softswitch):
    """A tasklet started under one setting may be resumed under the other."""
    log = []

    def body(name):
        for turn in range(4):
            log.append((name, turn))
            schedule_remove(None)

    tasklets = []
    for name, flag in (("soft", True), ("hard", False)):
        softswitch(flag)
        t = tasklet(body)(name)
        t.run()
        tasklets.append(t)
    for turn in range(4):
        softswitch(turn % 2)
        for t in tasklets:
            t.run()
    assert log == [(name, turn) for turn in range(4) for name in ("soft", "hard")]
    assert not any(t.alive for t in tasklets)


def test_hard_tasklets_are_interrupted_only_with_ignore_nesting(softswitch):
    """The table's last row; the interrupt stays pending otherwise."""
    done = []

    def loop():
        for _ in range(1000):
            pass
        done.append(True)

    softswitch(False)
    tasklet(loop)()
    assert stackless.run(10) is None and done == [True]
    t = tasklet(loop)()
    assert stackless.run(10, ignore_nesting=True) is t
    t.kill()
    t = tasklet(loop)()
    t.set_ignore_nesting(True)
    assert stackless.run(10) is t
    t.kill()
    softswitch(True)
    t = tasklet(loop)()
    assert stackless.run(10) is t
    t.kill()
    assert done == [True]


# ------------------------------------------------------------------ the two columns


def paused(body, flag):
    """A started, paused tasklet."""
    stackless.enable_softswitch(flag)
    t = tasklet(body)()
    stackless.run()
    assert t.paused
    return t


def waits(log):
    def body():
        try:
            schedule_remove(None)
        finally:
            log.append("finally")

    return body


def waits_in_c(log):
    return lambda: list(map(lambda _: waits(log)(), [0]))


class TestWithoutCState:
    """The left column."""

    def test_restorable(self, softswitch):
        """True."""
        t = paused(waits([]), True)
        assert t.restorable is True and t.nesting_level == 0
        t.kill()
        assert t.restorable is True

    def test_bind_none(self, softswitch):
        """Allowed; none of its code runs any more."""
        log = []
        t = paused(waits(log), True)
        assert t.bind(None) is t
        assert not t.alive and log == []

    def test_last_reference(self, softswitch):
        """Dropped while paused: it is freed, none of its code runs."""
        log = []
        t = paused(waits(log), True)
        gone = weakref.ref(t)
        del t
        assert gone() is None and log == []

    def test_end_of_its_thread(self, softswitch):
        """It stops, none of its code runs; it can continue in another thread."""
        log, kept = [], []
        run_in_thread(lambda: kept.append(paused(waits(log), True)))
        (t,) = kept
        assert log == [] and not t.alive and t.thread_id == -1 and t.restorable
        t.bind_thread()
        t.run()
        assert log == ["finally"]

    def test_the_flag_counts_when_it_starts(self, softswitch):
        """A tasklet that was started under the other setting keeps its mode."""
        soft, hard = paused(waits([]), True), paused(waits([]), False)
        for flag in (True, False):
            softswitch(flag)
            assert (soft.restorable, hard.restorable) == (True, False)


@pytest.mark.parametrize(
    ("make", "flag"),
    [(waits_in_c, True), (waits_in_c, False), (waits, False)],
    ids=["in C", "in C, flag off", "flag off"],
)
class TestWithCState:
    """The right column."""

    def test_restorable(self, softswitch, make, flag):
        """False."""
        t = paused(make([]), flag)
        assert t.restorable is False
        t.kill()
        assert t.restorable is True

    def test_bind_none(self, softswitch, make, flag):
        """Refused; the tasklet is unharmed."""
        log = []
        t = paused(make(log), flag)
        for arguments in ((), (None,), (int,), (int, ())):
            with pytest.raises(RuntimeError, match=C_STATE):
                t.bind(*arguments)
        assert t.alive and log == []
        t.run()
        assert log == ["finally"] and not t.alive

    def test_last_reference(self, softswitch, make, flag):
        """Dropped while paused: killed with TaskletExit, `finally` runs."""
        log = []
        t = paused(make(log), flag)
        assert log == []
        del t
        gc.collect()
        assert log == ["finally"]

    def test_end_of_its_thread(self, softswitch, make, flag):
        """Killed with TaskletExit."""
        log, kept = [], []
        run_in_thread(lambda: kept.append(paused(make(log), flag)))
        assert log == ["finally"]
        assert not kept[0].alive and kept[0].thread_id == -1


def test_uncollectables_hold_a_c_stack(softswitch):
    """3: those with C state are listed, others are not."""
    soft, t = paused(waits([]), True), paused(waits_in_c([]), True)
    hard = paused(waits([]), False)
    fresh = tasklet(int, ())
    listed = stackless.getuncollectables()
    assert t in listed and hard in listed and soft not in listed and fresh not in listed
    t.kill()
    assert t not in stackless.getuncollectables()


def test_nesting_does_not_stop_explicit_switches(softswitch):
    """For every level, and for both values of the flag."""
    for flag in (True, False):
        softswitch(flag)
        log = []

        def body(name, log=log):
            list(map(lambda turn: (log.append((name, turn)), schedule()), range(2)))

        for name in "ab":
            tasklet(body)(name)
        stackless.run()
        assert log == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    schedule()


def test_the_level_of_one_that_its_thread_has_left_behind():
    """11.5: it keeps its level, however deep that is."""
    assert_child(
        """
        import os, sys, threading, stackless

        levels = []

        def deeper(n):
            while True:
                try:
                    if n == 0:
                        stackless.schedule_remove(None)
                    else:
                        list(map(deeper, [n - 1]))
                except TaskletExit:
                    pass

        def thread(n):
            t = stackless.tasklet(deeper)(n)
            t.run()
            tasklets.append(t)
            levels.append(t.nesting_level)

        tasklets = []
        for n in range(1, 4):
            each = threading.Thread(target=thread, args=(n,))
            each.start()
            each.join()
        print(levels, [t.nesting_level for t in tasklets], [t.alive for t in tasklets])
        sys.stdout.flush()
        os._exit(0)
        """,
        prints="[1, 2, 3] [1, 2, 3] [False, False, False]",
    )
