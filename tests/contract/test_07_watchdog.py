"""run() with a timeout."""

import gc
import sys

import pytest
import stackless
from interrupted_loops import Loop, count, pump, yielding
from stackless import schedule, tasklet

# ------------------------------------------------------------------ a hard interrupt


@pytest.mark.parametrize("n", [1, 2, 3, 10, 100])
def test_run_returns_before_a_loop_of_1000_turns_ends(n):
    """Also if n is tiny; the victim is returned, alive, paused and out of the ring."""
    loop = Loop(1000)
    victim = stackless.run(n)
    assert victim is loop.tasklet
    assert loop.done < 1000
    assert (victim.alive, victim.paused, victim.scheduled, victim.blocked) == (True, True, 0, 0)
    assert stackless.runcount == 1
    victim.kill()


def test_a_timeout_that_is_long_enough_shows_nothing():
    """run() returns None when all have ended, as without one."""
    loops = [Loop(10), Loop(20)]
    assert stackless.run(10_000) is None
    assert all(loop.finished for loop in loops)


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_recursion_depth_survives_the_interrupt(depth):
    """4.3, 7.2: as it was when the tasklet was interrupted."""
    before = []

    def down(levels):
        if levels > 1:
            down(levels - 1)
        else:
            before.append(stackless.current.recursion_depth)
            count(0)
            for _ in range(1000):
                pass

    t = tasklet(down)(depth)
    assert stackless.run(100) is t
    assert before == [depth] and t.recursion_depth == depth
    t.insert()
    assert stackless.run() is None
    assert not t.alive and t.recursion_depth == 0


def test_frame_and_locals_of_the_victim():
    """4.3: the innermost frame of a suspended tasklet."""

    def body(argument):
        for number in range(1000):
            local = number
        return local

    t = tasklet(body)("given")
    assert stackless.run(50) is t
    assert t.frame.f_code is body.__code__
    assert t.frame.f_locals["argument"] == "given"
    assert 0 <= t.frame.f_locals["number"] < 1000
    t.kill()


def test_the_others_stay_in_the_ring():
    """The caller continues at once; tasklets that have not run yet run in the next run()."""
    log = []
    victim, others = Loop(1000), [Loop(5, lambda n=n: log.append(n)) for n in range(3)]
    assert stackless.run(10) is victim.tasklet
    assert log == [] and all(other.tasklet.scheduled for other in others)
    assert stackless.runcount == 4
    assert stackless.run() is None
    assert log == [0, 1, 2] and not victim.finished
    victim.tasklet.kill()


def test_the_interrupted_tasklet_continues_when_inserted():
    """It has to be inserted to continue; then it continues where it was interrupted."""
    loop = Loop(1000)
    victim = stackless.run(10)
    done = loop.done
    assert stackless.run() is None
    assert loop.done == done and victim.paused
    victim.insert()
    assert stackless.run() is None
    assert loop.finished and not victim.alive


@pytest.mark.parametrize("wake", ["run", "switch"])
def test_the_victim_can_be_run_directly(wake):
    """Like any paused tasklet."""
    loop = Loop(1000)
    victim = stackless.run(10)
    getattr(victim, wake)()
    assert loop.finished and not victim.alive


def test_the_victim_can_be_killed_or_thrown_at():
    """The exception is raised where it was interrupted."""
    log = []

    def body():
        try:
            count(1000)
        except KeyError:
            log.append("caught")
            count(1000)
        finally:
            log.append("finally")

    t = tasklet(body)()
    assert stackless.run(10) is t
    t.throw(KeyError, pending=True)
    assert stackless.run(10) is t
    assert log == ["caught"]
    t.kill()
    assert log == ["caught", "finally"] and not t.alive


def test_the_victim_has_c_state():
    """10: it cannot be unbound; dropped, it is killed, its `finally` runs."""
    log = []

    def body():
        try:
            count(1000)
        finally:
            log.append("finally")

    tasklet(body)()
    victim = stackless.run(10)
    assert not victim.restorable
    with pytest.raises(RuntimeError, match="tasklet has C state on its stack"):
        victim.bind(None)
    assert log == []
    del victim
    gc.collect()
    assert log == ["finally"]


@pytest.mark.parametrize("n", [0, -1, -1000])
def test_no_timeout(n):
    """7.1: negative timeouts count as 0, and 0 is none."""
    loop = Loop(20_000)
    assert stackless.run(n) is None
    assert loop.finished


@pytest.mark.parametrize("n", [2**31, 2**32 + 1, sys.maxsize])
def test_huge_timeouts(n):
    """They do not wrap around."""
    loop = Loop(1000)
    assert stackless.run(n, totaltimeout=True) is None
    assert loop.finished


def test_no_tasklet_to_run():
    """7.1: returns None at once, timeout or not."""
    assert stackless.run(1) is None
    assert stackless.runcount == 1


# ------------------------------------------------------------------ what the counter counts


def test_the_counter_restarts_at_every_switch():
    """Slices of 30 turns are never interrupted at n = 200, whatever their number."""
    for _ in range(3):
        tasklet(yielding)(600, 30)
    assert stackless.run(200) is None


def test_yielding_tasklets_are_hit_less_often():
    """Tasklets that yield every 50 turns, with n = 100, and tasklets that never yield."""
    hits = {}
    for every in (50, None):
        for _ in range(3):
            tasklet(yielding)(1000, every)
        hits[every] = pump(100)
    assert hits[50] < hits[None]


def loop_of(lines, every, then):
    """A function with a loop of 1,000 turns and `lines` lines more; `then` every few turns."""
    more = "".join(f"        x{i} = i\n" for i in range(lines))
    code = f"def loop():\n    for i in range(1000):\n{more}        if i % {every} == 0: then()\n"
    exec(code, namespace := {"then": then})
    return namespace["loop"]


@pytest.mark.parametrize("lines", range(6))
@pytest.mark.parametrize("every", [10, 50, 125])
def test_how_often_does_not_depend_on_the_lines_of_a_turn(lines, every):
    """The same with two fifths of what lies between two yields as limit: 2 hits, 2.5 without."""
    hits = []
    for then in (schedule, sys._getframe):
        for _ in range(3):
            tasklet(loop_of(lines, every, then))()
        hits.append(pump(2 * every))
    assert 0 < hits[0] < 0.9 * hits[1]


def test_totaltimeout_counts_from_the_start_of_run():
    """Over all tasklets: each slice is short, but together they exceed the limit."""
    loops = [tasklet(yielding)(600, 30) for _ in range(3)]
    victim = stackless.run(200, totaltimeout=True)
    assert victim in loops and victim.paused
    assert all(t.alive for t in loops)
    victim.insert()
    assert stackless.run() is None


def test_totaltimeout_of_1000_in_a_nested_loop():
    """It expires inside 10,000 turns."""
    done = []

    def nested():
        for _ in range(100):
            for _ in range(100):
                pass
        done.append(True)

    t = tasklet(nested)()
    assert stackless.run(1000, totaltimeout=True) is t
    assert not done
    t.kill()


def test_totaltimeout_of_1000_in_a_dozen_statements():
    """It does not expire during those and three switches."""
    log = []

    def short():
        a = 1
        b = a + 1
        log.append(a)
        schedule()
        c = a + b
        d = [c]
        log.append(d)
        schedule()
        e = {"d": d}
        f = len(e)
        log.append(f)
        schedule()
        log.append("end")

    tasklet(short)()
    tasklet(int)()
    assert stackless.run(1000, totaltimeout=True) is None
    assert log[-1] == "end"


def test_totaltimeout_of_150_in_a_loop_of_500_turns():
    """It expires inside."""
    loop = Loop(500)
    assert stackless.run(150, totaltimeout=True) is loop.tasklet
    assert not loop.finished
    loop.tasklet.kill()


def recursive_calls(levels):
    """2 ** levels calls and no loop."""
    if levels:
        recursive_calls(levels - 1)
        recursive_calls(levels - 1)


def test_calls_count_as_well():
    """A tasklet without any loop is interrupted, too."""
    t = tasklet(recursive_calls)(10)
    assert stackless.run(100) is t
    assert t.recursion_depth > 1
    assert pump(100) == 0  # it is not in the ring
    t.insert()
    assert pump(100) > 1


# ------------------------------------------------------------------ nested runs


def test_inner_timeouts_do_not_count():
    """Only the outermost run-with-timeout does; an inner one is a plain run()."""
    log = []

    def inner():
        loop = Loop(1000)
        log.append(stackless.run(1))
        log.append(loop.finished)

    tasklet(inner)()
    assert stackless.run(1_000_000) is None
    assert log == [None, True]


@pytest.mark.parametrize(
    "outer",
    [
        stackless.run,
        lambda: stackless.run(0, soft=True),
        lambda: stackless.run(-1),
        lambda: stackless.run(seconds=None),
    ],
    ids="run() run(0) run(-1) run(seconds=None)".split(),
)
def test_the_outermost_run_with_a_timeout_may_be_an_inner_run(outer):
    """A plain run() outside of it makes no difference, in any spelling."""
    log = []

    def inner():
        loop = Loop(1000)
        victim = stackless.run(10)
        log.append(victim is loop.tasklet and victim.paused)
        victim.kill()

    tasklet(inner)()
    assert outer() is None
    assert log == [True]


@pytest.mark.parametrize("levels", [1, 2, 5])
def test_expiry_wakes_the_outermost_and_pops_the_inner_ones(levels):
    """They are made runnable, and their run() calls return None in turn."""
    log, sitting = [], []

    def inner(level):
        sitting.append(stackless.current)
        if level < levels:
            tasklet(inner)(level + 1)
        else:
            loops.append(Loop(1000))
        log.append((level, stackless.run()))

    loops = []
    tasklet(inner)(1)
    victim = stackless.run(100)
    assert victim is loops[0].tasklet
    assert log == []
    assert all(t.scheduled for t in sitting) and stackless.runcount == levels + 1
    assert stackless.run() is None
    assert sorted(log) == [(level, None) for level in range(1, levels + 1)]
    assert not loops[0].finished
    victim.kill()


def test_main_is_interrupted_like_any_other():
    """A tasklet may run main under a timeout: main is the victim then."""
    log = []

    def supervisor():
        victim = stackless.run(50, ignore_nesting=True)
        log.append(victim)
        victim.insert()

    t = tasklet(supervisor)()
    schedule()
    for _ in range(1000):
        pass
    log.append("main's loop ends")
    stackless.run()
    assert log == [stackless.main, "main's loop ends"] and not t.alive


# ------------------------------------------------------------------ a timeout ends with its run()


def fails():
    raise KeyError("planned")


def wakes_main():
    stackless.main.insert()
    schedule()


@pytest.mark.parametrize("ending", ["nobody left", "expired", "exception", "woken"])
def test_a_timeout_ends_with_its_run(ending):
    """What runs later, under plain run() or schedule(), is not interrupted; nor is main."""
    if ending == "nobody left":
        tasklet(int)()
        assert stackless.run(10) is None
    elif ending == "expired":
        Loop(1000)
        stackless.run(10).kill()
    elif ending == "exception":
        tasklet(fails)()
        with pytest.raises(KeyError, match="planned"):
            stackless.run(10)
    else:
        tasklet(wakes_main)()
        assert stackless.run(500) is None
    count(1000)
    loop = Loop(1000)
    while not loop.finished:
        schedule()
        assert loop.tasklet.scheduled or loop.finished
    loop = Loop(1000)
    assert stackless.run() is None
    assert loop.finished


def test_uncaught_exception_goes_to_run_with_a_timeout():
    """8.3, as without a timeout; the others stay."""
    loop = Loop(5)
    loop.tasklet.remove()
    tasklet(fails)()
    loop.tasklet.insert()
    with pytest.raises(KeyError, match="planned"):
        stackless.run(1000)
    assert stackless.run(1000) is None
    assert loop.finished


@pytest.mark.parametrize("deliver", ["throw", "kill"])
def test_a_pending_exception_of_the_caller_is_raised(deliver):
    """8.2: raised when its turn comes, also if it comes because the time is up."""

    def body():
        main = stackless.main
        main.throw(KeyError, pending=True) if deliver == "throw" else main.kill(pending=True)
        count(1000)

    t = tasklet(body)()
    with pytest.raises(KeyError if deliver == "throw" else stackless.TaskletExit):
        stackless.run(50)
    assert t.alive
    t.kill()
    tasklet(int)()
    assert stackless.run() is None
