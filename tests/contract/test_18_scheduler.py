"""Contract 18: what the scheduler of the Carbon engine adds."""

import gc
import sys
import threading
import time
import traceback
import weakref

import pytest
import stackless
import stackless.scheduler as scheduler
from child_process import assert_child
from other_thread import run_in_thread


def run(function, *args, **attributes):
    """A tasklet with these attributes that has run the function."""
    t = scheduler.tasklet()
    for name, value in attributes.items():
        setattr(t, name, value)
    t.bind(function)
    t(*args)
    scheduler.run()
    return t


def fail(*_):
    raise ValueError("text")


# ------------------------------------------------------------------ everything of stackless


def test_everything_of_stackless_is_there():
    """One line makes a program for that scheduler run here."""
    assert set(stackless.__all__) <= set(scheduler.__all__)
    for name in scheduler.__all__:
        assert hasattr(scheduler, name)
    for name in set(stackless.__all__) - {"tasklet", "channel"}:
        assert getattr(scheduler, name) is getattr(stackless, name)
    assert issubclass(scheduler.tasklet, stackless.tasklet)
    assert issubclass(scheduler.channel, stackless.channel)


def test_computed_attributes_follow_stackless():
    assert scheduler.current is stackless.current
    assert scheduler.main is stackless.main
    assert scheduler.runcount == 1
    assert run_in_thread(lambda: scheduler.main) is not stackless.main
    for name in ("no_such_name", "__path_to_nowhere__"):
        with pytest.raises(AttributeError, match=name):
            getattr(scheduler, name)


def test_the_alias():
    assert_child(
        """
        import sys, stackless.scheduler
        sys.modules["scheduler"] = stackless.scheduler
        import scheduler
        from scheduler import QueueChannel, tasklet
        tasklet(print)("ran")
        scheduler.run()
        """,
        prints="ran",
    )


@pytest.mark.parametrize("name", sorted(set(scheduler.__all__) - set(stackless.__all__)))
def test_public_names_are_documented(name):
    thing = getattr(scheduler, name)
    assert thing.__doc__
    if isinstance(thing, type):
        for member, value in vars(thing).items():
            # Of a slot, the comment above it says what it is.
            if not member.startswith("_") and member != "data_queue":
                assert value.__doc__, member


# ------------------------------------------------------------------ counting


def test_calculateruncount_is_getruncount_at_all_times():
    """By walking the ring: in main, in tasklets, inside run(), blocked, in a callback."""
    seen = []

    def look(*_):
        seen.append((scheduler.calculateruncount(), scheduler.getruncount()))

    def work(channel):
        look()
        scheduler.schedule()
        look()
        channel.receive()
        look()

    look()
    channel = scheduler.channel()
    for _ in range(3):
        scheduler.tasklet(work)(channel)
    look()
    scheduler.run()
    look()
    old = scheduler.set_schedule_callback(look)
    while channel.balance < 0:
        channel.send(None)
    scheduler.set_schedule_callback(old)
    assert len(seen) > 10
    assert all(walked == counted for walked, counted in seen)
    assert {counted for _, counted in seen} >= {1, 2, 3, 4}


def test_run_n_tasklets():
    log = []
    for name in "abc":
        scheduler.tasklet(log.append)(name)
    scheduler.run_n_tasklets(2)
    assert log == ["a", "b"] and scheduler.getruncount() == 2
    scheduler.run_n_tasklets(5)
    assert log == ["a", "b", "c"]


def test_run_with_timeout_counts():
    """Completed and switched of the last run; nobody is interrupted."""
    for _ in range(3):
        scheduler.tasklet(scheduler.schedule)()
    assert scheduler.run_with_timeout(10**12) is None
    assert scheduler.get_tasklets_completed_last_run_with_timeout() == 3
    assert scheduler.get_tasklets_switched_last_run_with_timeout() == 6
    scheduler.run_with_timeout(10**9)
    assert scheduler.get_tasklets_completed_last_run_with_timeout() == 0
    assert scheduler.get_tasklets_switched_last_run_with_timeout() == 0


def test_run_with_timeout_ends():
    def endless():
        while True:
            scheduler.schedule()

    t, other = scheduler.tasklet(endless)(), scheduler.tasklet(endless)()
    scheduler.run_with_timeout(2_000_000)
    assert t.scheduled and not t.paused
    assert scheduler.get_tasklets_completed_last_run_with_timeout() == 0
    assert scheduler.get_tasklets_switched_last_run_with_timeout() >= 2
    for each in (t, other):
        each.remove()
        each.kill()
    with pytest.raises(ValueError):
        scheduler.run_with_timeout(-1)
    with pytest.raises(TypeError):
        scheduler.run_with_timeout("1")


def test_schedule_managers():
    """One per thread, one reference of its own when idle, gone with the thread."""
    mine = scheduler.get_schedule_manager()
    assert scheduler.get_schedule_manager() is mine
    assert mine.thread_id == threading.get_ident()
    alone = object()
    assert sys.getrefcount(mine) == sys.getrefcount(alone) + 1  # its own
    before = scheduler.get_number_of_active_schedule_managers()
    begun, go = threading.Event(), threading.Event()
    found = []

    def other():
        found.append(weakref.ref(scheduler.get_schedule_manager()))
        scheduler.getmain()
        begun.set()
        go.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    begun.wait(60)
    assert scheduler.get_number_of_active_schedule_managers() == before + 1
    assert found[0]() not in (None, mine)
    go.set()
    thread.join(60)
    gc.collect()
    assert found[0]() is None
    assert scheduler.get_number_of_active_schedule_managers() == before


def test_tasklet_counts():
    all_time, active = scheduler.get_all_time_tasklet_count(), scheduler.get_active_tasklet_count()
    kept = [scheduler.tasklet(), stackless.tasklet(print), scheduler.tasklet(print)("")]
    assert scheduler.get_all_time_tasklet_count() == all_time + 3
    assert scheduler.get_active_tasklet_count() == active + 3
    scheduler.run()
    assert scheduler.get_active_tasklet_count() == active + 3
    kept.clear()
    gc.collect()
    assert scheduler.get_active_tasklet_count() == active
    assert scheduler.get_all_time_tasklet_count() == all_time + 3


def test_active_channels():
    """Those with waiters."""
    before = scheduler.get_number_of_active_channels()
    channels = [stackless.channel(), scheduler.channel(), scheduler.QueueChannel()]
    assert scheduler.get_number_of_active_channels() == before
    tasklets = [scheduler.tasklet(c.receive)() for c in channels for _ in range(2)]
    scheduler.run()
    assert scheduler.get_number_of_active_channels() == before + 3
    assert scheduler.unblock_all_channels() >= 3
    assert scheduler.get_number_of_active_channels() == 0
    assert not any(t.alive for t in tasklets)
    assert [c.balance for c in channels] == [0, 0, 0]


def test_unblocking_reaches_other_threads():
    channel, ended = scheduler.channel(), []

    def wait():
        try:
            channel.receive()
        except TaskletExit:  # noqa: F821
            ended.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    while channel.balance == 0:
        time.sleep(0.001)
    scheduler.unblock_all_channels()
    thread.join(60)
    assert ended == [True] and channel.balance == 0


@pytest.mark.filterwarnings("ignore:leaked tasklet:ResourceWarning")
def test_counting_while_a_channel_is_destroyed():
    """Its waiters' `finally` blocks run in the middle of its destruction."""
    seen = []

    def wait(channel):
        channel = channel.receive
        try:
            channel()
        finally:
            seen.append(scheduler.get_number_of_active_channels())
            scheduler.unblock_all_channels()

    channel = scheduler.channel()
    receive = channel.receive
    for _ in range(3):
        t = scheduler.tasklet(receive)()
        u = scheduler.tasklet(wait)(channel)
    scheduler.run()
    del channel, receive, t, u
    gc.collect()
    scheduler.unblock_all_channels()
    scheduler.run()
    assert scheduler.get_number_of_active_channels() == 0


def test_clear_kills_those_who_wait_here():
    here, elsewhere = scheduler.channel(), scheduler.channel()
    log = []

    def wait(name, channel):
        try:
            channel.send(name)
        except TaskletExit:  # noqa: F821
            log.append(name)
            raise

    tasklets = [scheduler.tasklet(wait)(name, here) for name in "ab"]
    other = scheduler.tasklet(elsewhere.receive)()
    scheduler.run()
    assert here.balance == 2
    here.clear()
    assert here.balance == 0 and log == ["a", "b"]
    assert not any(t.alive for t in tasklets)
    assert other.blocked and elsewhere.balance == -1
    elsewhere.clear()
    here.clear()


def test_clear_survives_one_that_comes_back():
    """A tasklet that catches TaskletExit and waits again is not killed a second time."""
    channel, log = scheduler.channel(), []

    def stubborn():
        for name in "ab":
            try:
                channel.receive()
            except TaskletExit:  # noqa: F821
                log.append(name)

    scheduler.tasklet(stubborn)()
    scheduler.run()
    channel.clear()
    assert log == ["a"] and channel.balance == -1
    channel.clear()
    assert log == ["a", "b"] and channel.balance == 0


# ------------------------------------------------------------------ nested and flat


@pytest.fixture
def flat():
    assert scheduler.get_use_nested_tasklets() is True
    assert scheduler.set_use_nested_tasklets(False) is None
    yield
    scheduler.set_use_nested_tasklets(True)


def animals():
    """bar makes Dog, Cat and Monkey, and runs Dog."""
    log = []

    def bar():
        dog = scheduler.tasklet(log.append)("Dog")
        scheduler.tasklet(log.append)("Cat")
        scheduler.tasklet(log.append)("Monkey")
        dog.run()
        log.append("(bar ends)")

    scheduler.tasklet(log.append)("Rabbit")
    scheduler.tasklet(bar)()
    scheduler.tasklet(log.append)("Donkey")
    scheduler.run()
    return " ".join(log)


def test_nested_is_as_in_stackless():
    """2.3"""
    assert animals() == "Rabbit Dog Cat Monkey (bar ends) Donkey"


def test_flat_runs_one_and_goes_on(flat):
    assert scheduler.get_use_nested_tasklets() is False
    assert animals() == "Rabbit Dog (bar ends) Donkey Cat Monkey"


def test_flat_concerns_plain_tasklets_and_all_threads(flat):
    def work():
        log = []
        a, b = (stackless.tasklet(log.append)(name) for name in "ab")
        a.run()
        log.append("caller")
        stackless.run()
        return log

    assert work() == run_in_thread(work) == ["a", "caller", "b"]


def test_flat_leaves_paused_blocked_and_trapped_ones_alone(flat):
    log = []
    a, b = (stackless.tasklet(log.append)(name) for name in "ab")
    scheduler.switch_trap(1)
    with pytest.raises(RuntimeError, match="switch_trap"):
        b.run()
    scheduler.switch_trap(-1)
    assert (scheduler.current.next, scheduler.current.prev) == (a, b)
    b.remove()
    b.run()
    assert log == ["b"]
    scheduler.run()
    assert log == ["b", "a"]
    channel = stackless.channel()
    c = stackless.tasklet(channel.receive)()
    scheduler.run()
    with pytest.raises(RuntimeError, match="blocked"):
        c.run()
    c.kill()
    scheduler.current.run()


def test_flat_keeps_switch(flat):
    """`t.switch()` pauses the caller: others run on."""
    log = []
    main = scheduler.current
    a = stackless.tasklet(log.append)("a")
    stackless.tasklet(lambda: (log.append("b"), main.insert()))()
    a.switch()
    assert log == ["a", "b"]


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
    """TaskletExit ends the tasklet silently, and is not reported."""
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
    assert (t.method_name, t.module_name) == ("fail", __name__)
    assert (t.file_name, t.line_number) == (__file__, line)
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
    """Contract 4.1, 1: whatever stands around the function inside."""
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
    """A tasklet that never began has no times."""
    t = scheduler.tasklet(print)()
    t.kill()
    assert (t.startTime, t.endTime) == (0, 0)
    t = scheduler.tasklet(scheduler.schedule_remove)()
    scheduler.run_with_timeout(10**9)
    assert scheduler.get_tasklets_completed_last_run_with_timeout() == 0
    t.kill()
    assert 0 < t.startTime <= t.endTime


def test_a_dropped_tasklet_is_found_at_once():
    """Nothing of the module's own keeps it: contract 12."""
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


# ------------------------------------------------------------------ block_trap


def test_block_trap_is_set_and_put_back():
    me = scheduler.getcurrent()
    with scheduler.block_trap():
        assert me.block_trap
        with scheduler.block_trap(False):
            assert not me.block_trap
        assert me.block_trap
        with pytest.raises(RuntimeError, match="does not like to be blocked"):
            scheduler.channel().receive()
    assert not me.block_trap
    with pytest.raises(KeyError), scheduler.block_trap():
        raise KeyError
    assert not me.block_trap


# ------------------------------------------------------------------ QueueChannel


def test_a_queue_channel_never_blocks_the_sender():
    channel = scheduler.QueueChannel()
    assert (channel.preference, len(channel), channel.balance) == (1, 0, 0)
    with scheduler.block_trap():
        for value in "abc":
            channel.send(value)
    assert (len(channel), channel.balance, list(channel.data_queue)[0]) == (3, 3, (True, "a"))
    assert [channel.receive() for _ in range(3)] == ["a", "b", "c"]
    assert (len(channel), channel.balance) == (0, 0)
    assert channel  # empty, and true all the same, like every channel


def test_a_waiting_receiver_gets_the_value():
    channel, log = scheduler.QueueChannel(), []
    scheduler.tasklet(lambda: log.append(channel.receive()))()
    scheduler.run()
    assert channel.balance == -1
    channel.send("x")
    assert log == [] and len(channel) == 0  # the sender goes on
    scheduler.run()
    assert log == ["x"]


def test_queued_exceptions():
    channel = scheduler.QueueChannel()
    try:
        fail()
    except ValueError:
        channel.send_throw(*sys.exc_info())
    channel.send_exception(KeyError, 1, 2)
    channel.send_exception(IndexError("instance"))
    channel.send_throw(OSError, (1, "two"))
    channel.send_throw(KeyError, "one")
    channel.send_throw(KeyError)
    assert channel.balance == 6
    with pytest.raises(ValueError, match="text") as caught:
        channel.receive()
    assert traceback.extract_tb(caught.tb)[-1].name == "fail"
    for kind, args in [
        (KeyError, (1, 2)),
        (IndexError, ("instance",)),
        (OSError, (1, "two")),
        (KeyError, ("one",)),
        (KeyError, ()),
    ]:
        with pytest.raises(kind) as caught:
            channel.receive()
        assert caught.value.args == args


@pytest.mark.parametrize("waiting", [False, True], ids=["queued", "waiting"])
@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("send_exception", ("text",)),
        ("send_exception", (KeyError(), 1)),
        ("send_exception", ()),
        ("send_throw", (1,)),
        ("send_throw", (KeyError(), 1)),
        ("send_throw", (KeyError, None, 1)),
        ("send_throw", ()),
        ("send", ()),
    ],
)
def test_wrong_exceptions_are_refused(waiting, method, args):
    """As by every channel, at the sender; nothing changes."""
    channel = scheduler.QueueChannel()
    if waiting:
        scheduler.tasklet(channel.receive)()
        scheduler.run()
    before = channel.balance
    with pytest.raises(TypeError):
        getattr(channel, method)(*args)
    assert (channel.balance, len(channel)) == (before, 0)
    channel.clear()


def test_iterating_over_a_queue_channel():
    channel, log = scheduler.QueueChannel(), []
    assert channel.send_sequence("ab") == 2
    channel.send_exception(StopIteration)
    assert list(channel) == ["a", "b"]
    channel.send_sequence("cd")
    channel.close()
    assert (channel.closing, channel.closed) == (True, False)
    with pytest.raises(ValueError, match="closed channel"):
        channel.send("e")
    with pytest.raises(ValueError, match="closed channel"):
        channel.send_exception(KeyError)
    assert list(channel) == ["c", "d"]
    assert channel.closed
    channel.open()
    scheduler.tasklet(lambda: log.extend(channel))()
    scheduler.run()
    channel.send("f")
    channel.close()
    scheduler.run()
    assert log == ["f"]


def test_queue_channels_between_threads():
    """Nothing is lost, nothing comes twice, nobody waits beside a full queue."""
    channel, count, senders = scheduler.QueueChannel(), 3000, 3
    results = stackless.channel()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def send(sender):
        for number in range(count):
            channel.send((sender, number))

    def receive():
        got = [channel.receive() for _ in range(count)]
        results.send(got)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(senders)]
    threads += [threading.Thread(target=receive) for _ in range(senders)]
    try:
        for thread in threads:
            thread.start()
        got = [item for _ in range(senders) for item in results.receive()]
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert sorted(got) == [(n, i) for n in range(senders) for i in range(count)]
    assert (len(channel), channel.balance) == (0, 0)
