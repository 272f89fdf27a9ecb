"""The table of C functions, `scheduler._C_API`."""

import ctypes
import sys

import pytest
import stackless
from stackless import scheduler

Obj, Int, Long = ctypes.py_object, ctypes.c_int, ctypes.c_long
HOOK = ctypes.PYFUNCTYPE(Int, Obj, Obj)

#: In the order of the table: the name, the result, the arguments. None: a pointer, not a function.
LAYOUT = [
    ("tasklet_new", Obj, Obj, Obj),
    ("tasklet_setup", Int, Obj, Obj, Obj),
    ("tasklet_insert", Int, Obj),
    ("tasklet_get_block_trap", Int, Obj),
    ("tasklet_set_block_trap", None, Obj, Int),
    ("tasklet_is_main", Int, Obj),
    ("tasklet_check", Int, Obj),
    ("tasklet_alive", Int, Obj),
    ("tasklet_kill", Int, Obj),
    ("channel_new", Obj, Obj),
    ("channel_send", Int, Obj, Obj),
    ("channel_receive", Obj, Obj),
    ("channel_send_exception", Int, Obj, Obj, Obj),
    ("channel_get_queue", Obj, Obj),
    ("channel_get_preference", Int, Obj),
    ("channel_set_preference", None, Obj, Int),
    ("channel_get_balance", Int, Obj),
    ("channel_check", Int, Obj),
    ("channel_send_throw", Int, Obj, Obj, Obj, Obj),
    ("get_scheduler", Obj),
    ("schedule", Obj, Obj, Int),
    ("get_run_count", Int),
    ("get_current", Obj),
    ("run_with_timeout", Obj, ctypes.c_longlong),
    ("run_n_tasklets", Obj, Int),
    ("set_channel_callback", Int, Obj),
    ("get_channel_callback", Obj),
    ("set_schedule_callback", Int, Obj),
    ("set_schedule_fast_callback", None, ctypes.c_void_p),
    ("number_of_active_schedule_managers", Int),
    ("number_of_active_channels", Int),
    ("all_time_tasklet_count", Int),
    ("active_tasklet_count", Int),
    ("tasklets_completed_last_run_with_timeout", Int),
    ("tasklets_switched_last_run_with_timeout", Int),
    ("tasklet_type",),
    ("channel_type",),
    ("tasklet_exit",),
    ("tasklet_get_times_switched_to", Long, Obj),
    ("tasklet_get_context", ctypes.c_char_p, Obj),
]


class Table:
    """The functions by name; errors are raised as the interpreter would."""

    def __init__(self, capsule):
        get = ctypes.pythonapi.PyCapsule_GetPointer
        get.restype, get.argtypes = ctypes.c_void_p, [Obj, ctypes.c_char_p]
        address = get(capsule, b"scheduler._C_API")
        entries = (ctypes.c_void_p * len(LAYOUT)).from_address(address)
        for (name, *types), entry in zip(LAYOUT, entries, strict=True):
            setattr(self, name, ctypes.PYFUNCTYPE(*types)(entry) if types else entry)


api = Table(scheduler._C_API)


def test_it_is_found_under_the_name_of_the_other_scheduler(monkeypatch):
    """As PyCapsule_Import("scheduler._C_API") looks for it."""
    monkeypatch.setitem(sys.modules, "scheduler", scheduler)
    load = ctypes.pythonapi.PyCapsule_Import
    load.restype, load.argtypes = ctypes.c_void_p, [ctypes.c_char_p, Int]
    assert load(b"scheduler._C_API", 0)


def test_types_and_exception():
    """Pointers: the two types, and a pointer to the exception class."""
    assert ctypes.cast(api.tasklet_type, Obj).value is scheduler.tasklet
    assert ctypes.cast(api.channel_type, Obj).value is scheduler.channel
    assert ctypes.cast(api.tasklet_exit, ctypes.POINTER(Obj))[0] is stackless.TaskletExit


def test_a_tasklet_from_beginning_to_end():
    """new, setup, insert, alive, check, is_main, block_trap, times switched to, context, kill."""
    log = []
    t = api.tasklet_new(scheduler.tasklet, (log.append,))
    assert isinstance(t, scheduler.tasklet) and api.tasklet_check(t) == 1
    assert api.tasklet_check(log) == 0
    assert (api.tasklet_alive(t), api.tasklet_is_main(t)) == (0, 0)
    assert api.tasklet_is_main(stackless.main) == 1
    assert api.tasklet_setup(t, (1,), {}) == 0 and api.tasklet_alive(t) == 1
    assert api.tasklet_insert(t) == 0
    with pytest.raises(RuntimeError, match="tasklet is alive"):
        api.tasklet_setup(t, (1,), {})
    api.tasklet_set_block_trap(t, 1)
    assert t.block_trap is True and api.tasklet_get_block_trap(t) == 1
    t.context = "a text"
    assert api.tasklet_get_context(t) == b"a text"
    assert stackless.run() is None and log == [1]
    assert api.tasklet_get_times_switched_to(t) == 1
    t = scheduler.tasklet(log.append)(2)
    assert api.tasklet_kill(t) == 0 and api.tasklet_alive(t) == 0 and log == [1]
    with pytest.raises(RuntimeError, match="dead"):
        api.tasklet_insert(t)


def test_channels():
    """send, receive, exceptions, queue, preference, balance."""
    ch = api.channel_new(scheduler.channel)
    assert api.channel_check(ch) == 1 and api.channel_check([]) == 0
    got = []

    def body():
        got.append(ch.receive())
        for _ in range(2):
            try:
                ch.receive()
            except KeyError as error:
                got.append(error.args)
        ch.send("back")

    t = scheduler.tasklet(body)()
    stackless.run()
    assert api.channel_get_balance(ch) == -1 and api.channel_get_queue(ch) is t
    assert api.channel_send(ch, "value") == 0
    assert api.channel_send_exception(ch, KeyError, (1, 2)) == 0
    assert api.channel_send_throw(ch, KeyError, 3, None) == 0
    assert api.channel_receive(ch) == "back"
    assert got == ["value", (1, 2), (3,)]
    api.channel_set_preference(ch, 1)
    assert api.channel_get_preference(ch) == ch.preference == 1
    ch.close()
    with pytest.raises(ValueError, match="closed channel"):
        api.channel_send(ch, None)
    stackless.run()


def test_the_scheduler():
    """Run queue, current tasklet, limited runs, counts."""
    assert api.get_scheduler() is scheduler.get_schedule_manager()
    assert api.get_current() is stackless.current and api.get_run_count() == 1
    assert api.schedule("value", 0) == "value"
    log = []
    for number in range(3):
        scheduler.tasklet(log.append)(number)
    assert api.get_run_count() == 4
    assert api.run_n_tasklets(2) is None and log == [0, 1]
    assert api.run_with_timeout(10**9) is None and log == [0, 1, 2]
    assert api.tasklets_completed_last_run_with_timeout() == 1
    assert api.tasklets_switched_last_run_with_timeout() >= 1
    assert api.all_time_tasklet_count() == scheduler.get_all_time_tasklet_count()
    assert api.active_tasklet_count() == scheduler.get_active_tasklet_count()
    assert api.number_of_active_channels() == scheduler.get_number_of_active_channels()
    count = api.number_of_active_schedule_managers()
    assert count == scheduler.get_number_of_active_schedule_managers()
    with pytest.raises(ValueError):
        api.run_n_tasklets(-1)


def test_a_tasklet_removes_itself():
    """schedule(value, 1) is schedule_remove(value)."""
    log = []
    t = scheduler.tasklet(lambda: log.append(api.schedule("kept", 1)))()
    stackless.run()
    assert t.paused
    t.insert()
    stackless.run()
    assert log == ["kept"]


def test_callbacks():
    """The Python ones, and the fast one: a C function."""
    calls = []
    assert api.set_schedule_callback(lambda *args: calls.append(("schedule", args))) == 0
    assert api.set_channel_callback(lambda *args: calls.append(("channel", args))) == 0
    try:
        assert api.get_channel_callback() is stackless.get_channel_callback()
        scheduler.tasklet(int)()
        stackless.run()
    finally:
        api.set_schedule_callback(None)
        api.set_channel_callback(None)
    assert [name for name, _ in calls] == ["schedule", "schedule"]
    with pytest.raises(TypeError, match="must be callable"):
        api.set_schedule_callback(1)

    switches = []
    hook = HOOK(lambda old, new: switches.append((old, new)) or 0)
    api.set_schedule_fast_callback(ctypes.cast(hook, ctypes.c_void_p))
    try:
        t = scheduler.tasklet(int)()
        stackless.run()
    finally:
        api.set_schedule_fast_callback(None)
    assert switches == [(stackless.main, t), (t, stackless.main)]
    scheduler.tasklet(int)()
    stackless.run()
    assert len(switches) == 2
