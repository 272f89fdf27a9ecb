"""The names of the module, its functions and its attributes."""

import builtins
import copy
import pickle
import sys
import threading
import types

import pytest
import stackless
from child_process import assert_child
from other_thread import Owner, run_in_thread
from stackless import schedule, tasklet

PROMISED = (
    "atomic channel tasklet run schedule schedule_remove getcurrent getmain getruncount "
    "getcurrentid getthreads getuncollectables getdebug get_thread_info enable_softswitch "
    "switch_trap set_error_handler set_channel_callback get_channel_callback "
    "set_schedule_callback get_schedule_callback stackless"
).split()
FUNCTIONS = [name for name in PROMISED if name not in "atomic channel tasklet stackless".split()]


@pytest.mark.parametrize("name", PROMISED)
def test_promised_names_are_exported(name):
    """3: `__all__` gives at least these."""
    assert name in stackless.__all__
    assert hasattr(stackless, name)


def test_star_import_gives_exactly_all():
    """3"""
    names = {}
    exec("from stackless import *", names)
    names.pop("__builtins__")
    assert set(names) == set(stackless.__all__)
    assert len(stackless.__all__) == len(set(stackless.__all__))


def test_the_module_contains_itself():
    """3"""
    assert stackless.stackless is stackless


def test_the_module_copies_as_itself():
    """3"""
    assert copy.copy(stackless) is stackless
    assert copy.deepcopy(stackless) is stackless
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(stackless, protocol)) is stackless


def test_importing_puts_taskletexit_into_builtins():
    """3: programs use the bare name."""
    assert builtins.TaskletExit is stackless.TaskletExit
    assert_child("import stackless; print(TaskletExit.__mro__[1].__name__)", prints="SystemExit")


@pytest.mark.parametrize("name", [*FUNCTIONS, "run_n_tasklets"])
def test_functions_are_functions(name):
    """3: not callable objects."""
    function = getattr(stackless, name)
    assert isinstance(function, (types.BuiltinFunctionType, types.FunctionType))
    assert function.__name__ == name


@pytest.mark.parametrize("arguments", [(), (2,), (pickle.HIGHEST_PROTOCOL,)])
def test_the_module_reduces_to_itself(arguments):
    """3: `__reduce__` and `__reduce_ex__` of the module."""
    reduced = stackless.__reduce_ex__(*arguments) if arguments else stackless.__reduce__()
    assert reduced[0](*reduced[1]) is stackless
    assert copy.copy(stackless) is stackless
    assert pickle.loads(pickle.dumps(stackless, *arguments)) is stackless


def test_types_are_types():
    """3, 12: and can be subclassed."""
    for kind in (stackless.tasklet, stackless.channel):
        assert type(type("Mine", (kind,), {})()).__base__ is kind
    assert isinstance(stackless.bomb, type) and isinstance(stackless.atomic, type)


def test_attributes_and_functions_agree():
    """3: module attributes computed on access."""
    assert stackless.current is stackless.getcurrent()
    assert stackless.main is stackless.getmain()
    assert stackless.runcount == stackless.getruncount()


def test_attributes_are_right_in_every_thread():
    """3, 21.17: also while several threads look at the same time."""
    barrier = threading.Barrier(4, timeout=60)
    wrong, mains = [], []

    def look():
        def in_a_tasklet():
            for _ in range(100):
                if stackless.current is not mine or stackless.main is not main:
                    wrong.append("in a tasklet")
                stackless.schedule()

        main = stackless.main
        mains.append(main)
        mine = stackless.tasklet(in_a_tasklet)()
        barrier.wait()
        while mine.alive:
            if stackless.current is not main or stackless.runcount != 2:
                wrong.append("in main")
            stackless.schedule()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert len({id(main) for main in mains}) == 4


def test_attributes_cannot_be_shadowed_by_accident():
    """3: whichever name a thread reads first, another thread gets its own value."""
    here = stackless.current
    assert run_in_thread(lambda: stackless.current) is not here
    assert stackless.current is here
    assert "current" not in vars(stackless)


# ------------------------------------------------------------------ functions and attributes


def test_bomb_is_an_attribute():
    """3: not necessarily exported."""
    assert isinstance(stackless.bomb(), stackless.bomb)


def test_runcount_counts_current():
    """3, 2.7"""
    assert stackless.runcount == stackless.getruncount() == 1
    tasklet(int)()
    assert stackless.runcount == stackless.getruncount() == 2
    stackless.run()


def test_attributes_cannot_be_set():
    """3: they are computed."""
    for name in ("current", "main", "runcount", "threads", "debug", "uncollectables"):
        with pytest.raises(AttributeError):
            setattr(stackless, name, None)


def test_debug():
    """3: a bool."""
    assert type(stackless.getdebug()) is bool
    assert stackless.debug is stackless.getdebug()


def test_uncollectables():
    """3: a list of the tasklets that hold a C stack."""
    t = tasklet(stackless.schedule_remove)(None)
    assert t not in stackless.getuncollectables()
    stackless.run()
    assert type(stackless.getuncollectables()) is list
    assert t in stackless.getuncollectables() and t in stackless.uncollectables
    t.run()
    assert t not in stackless.uncollectables


# ------------------------------------------------------------------ threads


@pytest.fixture
def untouched_thread():
    """A thread that never used tasklets; it ends with the test."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, daemon=True)
    thread.start()
    yield thread
    stop.set()
    thread.join(60)


def test_getthreads(untouched_thread):
    """3: all thread ids, the process's main thread first."""
    for threads in (stackless.getthreads(), stackless.threads):
        assert type(threads) is list
        assert set(threads) == sys._current_frames().keys()
        assert len(threads) == len(set(threads))
        assert threads[0] == threading.main_thread().ident
        assert untouched_thread.ident in threads
    assert run_in_thread(stackless.getthreads)[0] == threading.main_thread().ident


def test_ended_threads_are_not_listed():
    """3"""
    ended = run_in_thread(lambda: (stackless.getmain(), threading.get_ident()))[1]
    assert (ended in stackless.threads) is (ended in sys._current_frames())


def test_getcurrentid():
    """3: the thread's id for its main tasklet, otherwise a number of its own."""
    assert stackless.getcurrentid() == threading.get_ident()
    seen = []

    def body():
        for _ in range(2):
            seen.append(stackless.getcurrentid())
            schedule()

    for _ in range(3):
        tasklet(body)()
    stackless.run()
    assert seen[:3] == seen[3:] and len({*seen, threading.get_ident()}) == 4
    assert all(type(number) is int for number in seen)


def test_getcurrentid_before_anything_else():
    """3: must work before anything was initialised."""
    assert run_in_thread(lambda: stackless.getcurrentid() == threading.get_ident())
    assert_child(
        "from stackless import getcurrentid; import threading;"
        "print(getcurrentid() == threading.get_ident())",
        prints="True",
    )


@pytest.mark.parametrize("arguments", [(), (-1,), (-1, 0), (threading.get_ident(),)])
def test_thread_info_of_the_calling_thread(arguments):
    """3: (main, current, runcount)."""
    main = stackless.main
    assert stackless.get_thread_info(*arguments) == (main, main, 1)
    seen = []
    t = tasklet(lambda: seen.append(stackless.get_thread_info(*arguments)))()
    tasklet(int)()
    stackless.run()
    assert seen == [(main, t, 2)]


def test_thread_info_of_another_thread():
    """3: its own main, current and count, not those of the calling thread."""
    owner = Owner(lambda report: tasklet(stackless.schedule_remove, (None,)))
    main, current, count = stackless.get_thread_info(owner.thread.ident)
    assert main is owner.main and current.thread_id == owner.thread.ident
    assert type(count) is int
    tasklet(int)()
    assert stackless.get_thread_info(owner.thread.ident)[2] == count
    stackless.run()
    owner.report.send(None)
    owner.result()


def test_thread_info_of_a_thread_that_never_used_tasklets(untouched_thread):
    """3: its main is current and alone."""
    main, current, count = stackless.get_thread_info(untouched_thread.ident)
    assert main is current and count == 1
    assert isinstance(main, tasklet) and main is not stackless.main
    assert main.is_main and main.is_current and main.alive
    assert main.thread_id == untouched_thread.ident
    assert stackless.get_thread_info(untouched_thread.ident)[0] is main


def test_thread_info_gives_the_main_that_the_thread_finds_itself():
    """3: independent of the thread that asked first."""
    go, found = threading.Event(), []

    def target():
        go.wait(60)
        found.append(stackless.main)
        tasklet(found.append)("ran")
        stackless.run()

    thread = threading.Thread(target=target)
    thread.start()
    main = stackless.get_thread_info(thread.ident)[0]
    go.set()
    thread.join(60)
    assert found == [main, "ran"]
    assert not main.alive and main.thread_id == -1


def test_thread_info_of_all_threads(untouched_thread):
    """3: iterating over all threads works."""
    mains = [stackless.get_thread_info(number)[0] for number in stackless.threads]
    assert [main.thread_id for main in mains] == stackless.threads
    assert stackless.main in mains


@pytest.mark.parametrize("number", [0, 1, 12345])
def test_thread_info_of_an_unknown_id(number):
    """3: RuntimeError `Thread id not found`."""
    with pytest.raises(RuntimeError, match="^Thread id not found$"):
        stackless.get_thread_info(number)


def test_thread_info_of_an_ended_thread():
    """3: its id is not known any more."""
    ended = run_in_thread(lambda: (stackless.getmain(), threading.get_ident()))[1]
    if ended in sys._current_frames():
        pytest.skip("the identity is in use again")
    with pytest.raises(RuntimeError, match="^Thread id not found$"):
        stackless.get_thread_info(ended)


def test_arguments_of_thread_info():
    """16"""
    with pytest.raises(TypeError, match="(takes|expected) at most 2 argument"):
        stackless.get_thread_info(-1, 0, 0)
    for arguments in (("x",), (-1, "x"), (None,)):
        with pytest.raises(TypeError):
            stackless.get_thread_info(*arguments)


# ------------------------------------------------------------------ flags of get_thread_info

SERIAL, WATCHDOGS = 1 << 30, 1 << 31


def watchdogs():
    return stackless.get_thread_info(-1, WATCHDOGS)[-1]


def test_serial_numbers():
    """3: bit 30 appends (serial, last_serial, stub), `stub.serial` is a number."""
    info = stackless.get_thread_info(-1, SERIAL)
    assert info[:3] == stackless.get_thread_info() and len(info) == 6
    assert all(type(number) is int for number in (*info[3:5], info[5].serial))


def test_serial_numbers_of_c_stacks():
    """3: of the last one made, of the running one; main runs on the thread's stack, the stub's."""

    def stacks():
        return stackless.get_thread_info(-1, SERIAL)[3:]

    def look():
        first, seen = stacks(), []
        waiting = [
            tasklet(lambda: (seen.append(stacks()), stackless.schedule_remove()))()
            for _ in range(200)
        ]
        stackless.run()
        last = stacks()
        for t in waiting:
            t.insert()
        stackless.run()
        return first, seen, last

    (made, runs_on, stub), seen, last = run_in_thread(look)
    assert (made, runs_on, stub.serial) == (0, 0, 0)
    running = [current for _, current, _ in seen]
    assert len(set(running)) == 200 and min(running) > 0
    assert all(current <= made for made, current, _ in seen)
    assert last[0] >= max(running) and last[1] == 0


def test_both_flags():
    """3: the watchdogs come last."""
    tasklet(int)()
    stackless.run()
    info = stackless.get_thread_info(-1, SERIAL | WATCHDOGS)
    assert len(info) == 7 and info[6] == [None]
    assert len(stackless.get_thread_info(-1, WATCHDOGS)) == 4


def test_watchdogs_at_rest():
    """3: None before the first run() of that thread, then [None]."""

    def look():
        before = watchdogs()
        tasklet(int)()
        stackless.run()
        return before, watchdogs()

    assert run_in_thread(look) == (None, [None])


def test_watchdogs_of_nested_runs():
    """3: one item per run(), outermost first; no timeout wakes a tasklet."""
    seen = []

    def inner(depth):
        if depth:
            tasklet(inner)(depth - 1)
            stackless.run()
        else:
            seen.append(list(watchdogs()))

    first = tasklet(inner)(2)
    stackless.run()
    assert len(seen[0]) == 4
    assert seen[0][:3] == [None, stackless.main, first]
    assert isinstance(seen[0][3], tasklet)
    assert watchdogs() == [None]


@pytest.mark.parametrize("outer, inner", [(1000, 0), (1000, 5), (0, 1000)])
def test_item_0_is_the_tasklet_that_a_timeout_wakes(outer, inner):
    """3, 7.2: the outermost run-with-timeout."""
    seen = []

    def sitter():
        tasklet(lambda: seen.append(list(watchdogs())))()
        stackless.run(inner)

    t = tasklet(sitter)()
    stackless.run(outer)
    main = stackless.main
    assert seen == [[main if outer else t, main, t]]
    assert watchdogs() == [None]


def test_the_list_of_watchdogs_is_live():
    """3: a reference to the list shows later changes."""
    tasklet(int)()
    stackless.run()
    held, seen = watchdogs(), []
    tasklet(lambda: seen.append(list(held)))()
    stackless.run()
    assert seen == [[None, stackless.main]] and held == [None]


def test_watchdogs_of_another_thread():
    """3: by its id."""
    owner = Owner(lambda report: tasklet(stackless.run)(threadblock=True))
    assert stackless.get_thread_info(owner.thread.ident, WATCHDOGS)[-1] == [None, owner.tasklet]
    owner.report.send(None)
    owner.result()
