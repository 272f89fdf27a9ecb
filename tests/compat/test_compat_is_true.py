"""The differences that `compat` reports are real: one demonstration for each entry."""

import gc
import pickle
import sys
import threading
from importlib.util import find_spec

import greenlet
import pytest
import stackless
from stackless._compat.table import API, ERROR, TABLE


def paused():
    """A tasklet that was started and is paused now."""
    tasklet = stackless.tasklet(stackless.schedule_remove)()
    tasklet.run()
    assert tasklet.paused
    return tasklet


def refuses_unbinding():
    tasklet = paused()
    with pytest.raises(RuntimeError, match="C state"):
        tasklet.bind(None)
    tasklet.kill()
    assert not stackless.tasklet(print, ()).bind(None).alive


def refuses_another_thread():
    tasklet = paused()
    refused = []

    def move():
        try:
            tasklet.bind_thread()
        except RuntimeError as error:
            refused.append(str(error))

    thread = threading.Thread(target=move)
    thread.start()
    thread.join(60)
    assert refused == ["tasklet has C state on its stack"]
    tasklet.kill()


def is_not_restorable():
    tasklet = paused()
    assert not tasklet.restorable
    tasklet.kill()
    assert tasklet.restorable and stackless.tasklet(print, ()).restorable


def softswitch_does_not_restore():
    assert stackless.enable_softswitch(None) is True
    is_not_restorable()
    refuses_unbinding()


def counts_loop_turns():
    """One iteration of the loop takes about 200 bytecodes, so the fork would count 5 iterations."""
    names = {"turns": 0}
    exec("def work():\n global turns\n while 1: turns += 1;" + "x = 1;" * 100, names)
    stackless.tasklet(names["work"])()
    victim = stackless.run(1000)
    assert 100 < names["turns"] < 1000
    victim.kill()


def counts_with_differently():
    levels = []

    class Manager:
        def __enter__(self):
            levels.append(stackless.current.nesting_level)

        def __exit__(self, *exception):
            pass

    def use():
        levels.append(stackless.current.nesting_level)
        with Manager():
            pass

    stackless.tasklet(use)()
    stackless.run()
    # From 3.14 on, the interpreter calls `__enter__` by itself.
    assert levels == ([0, 1] if sys.version_info < (3, 14) else [0, 0])


def lists_every_suspended_tasklet():
    tasklet = paused()
    assert tasklet in stackless.getuncollectables()
    tasklet.kill()


def atomic_lets_other_threads_run():
    go, answer = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: go.wait(60) and answer.set())
    thread.start()
    with stackless.atomic():
        go.set()
        assert answer.wait(60)
    thread.join(60)


def dropping_runs_finally():
    ran = []

    def wait():
        try:
            stackless.schedule_remove()
        finally:
            ran.append(sys.exc_info()[0])

    stackless.tasklet(wait)().run()
    gc.collect()
    assert ran == [TaskletExit]  # noqa: F821


def close_wakes_iteration():
    channel, seen = stackless.channel(), []

    def iterate():
        seen.extend(channel)
        seen.append("end")

    stackless.tasklet(iterate)()
    stackless.run()
    channel.close()
    stackless.run()
    assert seen == ["end"]


def recursion_ends_in_an_error():
    def deeper():
        deeper()

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(500)
    try:
        with pytest.raises(RecursionError):
            deeper()
    finally:
        sys.setrecursionlimit(limit)


def pickle_refuses_lambdas():
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps([lambda: 0])
    assert stackless.loads(stackless.dumps([lambda: 0]))[0]() == 0


def switching_in_a_greenlet_is_refused():
    refused = []

    def inside():
        try:
            stackless.schedule()
        except RuntimeError as error:
            refused.append(error)

    tasklet = stackless.tasklet(print, ("",))
    tasklet.insert()
    greenlet.greenlet(inside).switch()
    tasklet.kill()
    assert len(refused) == 1


def sys_version_is_silent():
    assert "stackless" not in sys.version.lower()


DEMONSTRATIONS = {
    ("tasklet", "bind_thread"): refuses_another_thread,
    ("module", "enable_softswitch"): softswitch_does_not_restore,
    ("call", "run(timeout)"): counts_loop_turns,
    ("call", "bind(None)"): refuses_unbinding,
    ("tasklet", "restorable"): is_not_restorable,
    ("tasklet", "nesting_level"): counts_with_differently,
    ("module", "getuncollectables"): lists_every_suspended_tasklet,
    ("module", "atomic"): atomic_lets_other_threads_run,
    ("tasklet", "set_atomic"): atomic_lets_other_threads_run,
    ("module", "schedule_remove"): dropping_runs_finally,
    ("call", "close()"): close_wakes_iteration,
    ("call", "sys.setrecursionlimit"): recursion_ends_in_an_error,
    ("call", "sys.version"): sys_version_is_silent,
    ("pickle", "pickle"): pickle_refuses_lambdas,
    ("together", "greenlet"): switching_in_a_greenlet_is_refused,
}


def needs_a_demonstration(entry):
    return entry.kind not in ("import", "scheduler", "c") and (
        entry.level != ERROR or entry.present or entry.kind == "call"
    )


@pytest.mark.parametrize(
    "entry",
    [entry for entry in TABLE if needs_a_demonstration(entry)],
    ids=lambda entry: f"{entry.kind}-{entry.names}",
)
def test_it_is_different(entry):
    """Every entry that applies here has a demonstration, and the demonstration succeeds."""
    demonstrate = DEMONSTRATIONS[entry.kind, entry.names.split()[0]]
    level = entry.present if entry.here and entry.here() else entry.level
    if level is None or (entry.present and level == ERROR):
        pytest.skip("not in force in this version")
    demonstrate()


def test_names_of_the_fork_are_not_there():
    """An entry of level error says that a name is missing: then it must be missing."""
    for entry in TABLE:
        if entry.level == ERROR and entry.here is None and entry.kind in API:
            for name in entry.names.split():
                assert not hasattr(getattr(stackless, entry.kind, stackless), name)


GONE = [entry for entry in TABLE if "gone in Python" in entry.reason]


@pytest.mark.parametrize("entry", GONE, ids=lambda entry: entry.names)
def test_modules_are_gone_since_the_version_named(entry):
    gone = tuple(map(int, entry.reason.rpartition(" ")[2].split(".")))
    for name in entry.names.split():
        # setuptools brings its own distutils.
        if name != "distutils":
            assert (find_spec(name) is None) == (sys.version_info[:2] >= gone), name
