"""Reference ownership, weak references, garbage collection, subclasses."""

import gc
import sys
import weakref

import pytest
import stackless
from child_process import assert_child
from stackless import channel, schedule, schedule_remove, tasklet


class Thing:
    """Something that can be weakly referenced."""


def pause():
    """Waits with C code in between, so that the tasklet has C state."""
    list(map(schedule_remove, [None]))


# ------------------------------------------------------------------ who owns what


def test_the_ring_owns_its_tasklets():
    """12: no other reference is needed."""
    log = []
    tasklet(log.append)("ran")
    gc.collect()
    stackless.run()
    assert log == ["ran"]


def test_a_channels_queue_owns_its_tasklets():
    """12: only the channel is held."""
    ch, log = channel(), []
    tasklet(lambda: log.append(ch.receive()))()
    schedule()
    gc.collect()
    ch.send("value")
    assert log == ["value"]


def test_a_temporary_channel_survives_the_wait():
    """12: `channel().receive()`; only the waiting tasklet is held."""
    log = []

    def body():
        log.append(channel().receive())

    t = tasklet(body)()
    schedule()
    gc.collect()
    t._channel.send("value")
    assert log == ["value"]


def test_run_owns_its_watchdog():
    """12: nothing else refers to a tasklet inside run()."""
    log = []

    def sitter():
        stackless.run()
        log.append("returned")

    tasklet(sitter)()
    tasklet(gc.collect)()
    stackless.run()
    assert log == ["returned"]


def test_never_started_tasklet_is_just_freed():
    """12: and what it was bound to."""
    thing = Thing()
    gone = weakref.ref(thing)
    t = tasklet(lambda x: None, (thing,))
    del thing
    assert gone() is not None
    died = weakref.ref(t)
    del t
    assert died() is None and gone() is None


# ------------------------------------------------------------------ the finalizer


def test_unreferenced_paused_tasklet_is_killed():
    """12, 10 right column: TaskletExit is raised in it, its `finally` runs, nothing is printed."""
    log = []

    def body():
        try:
            pause()
        except BaseException as error:
            log.append(type(error))
            raise
        finally:
            log.append("finally")

    t = tasklet(body)()
    stackless.run()
    assert log == []
    del t
    assert log == [stackless.TaskletExit, "finally"]
    assert stackless.runcount == 1


def test_tasklet_that_removes_itself_unreferenced_is_killed():
    """12: it has no owner from the moment it leaves the ring."""
    log = []

    def body():
        try:
            pause()
        finally:
            log.append("finally")

    tasklet(body)()
    stackless.run()
    assert log == ["finally"]


def test_unreferenced_cycle_with_a_paused_tasklet_is_killed_by_the_collector():
    """12, 21.9: schedule_remove() leaves the tasklet itself in its tempval."""
    log = []

    def body():
        try:
            list(map(lambda _: schedule_remove(), [0]))
        finally:
            log.append("finally")

    t = tasklet(body)()
    stackless.run()
    assert t.tempval is t
    gone = weakref.ref(t)
    del t
    gc.collect()
    assert log == ["finally"]
    gc.collect()
    assert gone() is None


def test_finalizer_by_hand():
    """12: `__del__()` does the same to a paused one."""
    log = []

    def body():
        try:
            pause()
        finally:
            log.append("finally")

    t = tasklet(body)()
    stackless.run()
    t.__del__()
    assert log == ["finally"] and not t.alive


def test_tasklet_that_refuses_to_die_ends_in_garbage():
    """12: killed up to ten times, then appended to gc.garbage."""
    assert_child(
        """
        import gc, stackless
        kills = 0

        def stubborn():
            global kills
            while kills < 50:
                try:
                    list(map(stackless.schedule_remove, [None]))
                except stackless.TaskletExit:
                    kills += 1

        stackless.tasklet(stubborn)()
        stackless.run()
        gc.collect()
        assert 1 <= kills <= 10, kills
        assert [type(thing) for thing in gc.garbage] == [stackless.tasklet], gc.garbage
        kills = 50
        gc.garbage.pop().run()
        print("end")
        """,
        prints="end",
    )


# ------------------------------------------------------------------ nothing lingers


@pytest.mark.parametrize("end", ["returns", "raises", "killed", "killed before the start"])
def test_arguments_are_released_at_the_end(end):
    """12: refcounts return to the old values, weakref(t)() is None after the last reference."""
    argument, value, function_cell = Thing(), Thing(), []

    def body(argument, *, keyword):
        function_cell.append(1)
        local = [argument, keyword]
        if end == "killed":
            schedule_remove(value)
        if end == "raises":
            raise KeyError(local)
        return local

    before = [sys.getrefcount(x) for x in (argument, value, body)]
    t = tasklet(body)(argument, keyword=value)
    if end == "killed before the start":
        t.kill()
    elif end == "raises":
        with pytest.raises(KeyError):
            stackless.run()
        gc.collect()
    else:
        stackless.run()
        t.kill()
    assert not t.alive
    assert [sys.getrefcount(x) for x in (argument, value, body)] == before
    gone = weakref.ref(t)
    del t
    assert gone() is None


def test_messages_are_released():
    """12: neither channel nor tasklets keep what was sent."""
    ch, value = channel(), Thing()
    before = sys.getrefcount(value)
    sender, receiver = tasklet(ch.send)(value), tasklet(ch.receive)()
    stackless.run()
    assert sys.getrefcount(value) == before
    assert sender.tempval is None and receiver.tempval is None
    blocked = tasklet(ch.send)(value)
    schedule()
    assert sys.getrefcount(value) > before
    blocked.kill()
    assert sys.getrefcount(value) == before


def test_values_of_schedule_are_released():
    """12, 2: the tempval slot is empty after the call."""
    value = Thing()
    before = sys.getrefcount(value)
    tasklet(int)()
    schedule(value)
    tasklet(schedule_remove)(value)
    stackless.run()
    gc.collect()
    assert sys.getrefcount(value) == before


def test_current_and_main_do_not_leak_references():
    """12: reading them repeatedly."""
    main = stackless.main
    before = sys.getrefcount(main)
    for _ in range(1000):
        stackless.current, stackless.main, main.next, main.prev  # noqa: B018
        stackless.getcurrent()
        stackless.getmain()
        schedule()
    assert sys.getrefcount(main) <= before + 2


def test_refused_operations_leak_nothing():
    """12, 16: a thousand errors of each kind leave the arguments' refcounts as they were."""
    value, ch = Thing(), channel()
    ch.close()
    t = tasklet(int)()
    attempts = [
        lambda: ch.send(value),
        lambda: ch.send_exception(value),
        lambda: ch.send_throw(value),
        lambda: t.bind(value),
        lambda: t.bind(int, (value,)),
        lambda: t.throw(value),
        lambda: t.throw(KeyError(), value),
        lambda: t.setup(value),
        lambda: t.set_atomic(value),
        lambda: tasklet(value),
        lambda: schedule(value, value),
        lambda: stackless.run(value),
        lambda: tasklet().bind(None, (value,)),
    ]
    before = sys.getrefcount(value)
    for attempt in attempts:
        for _ in range(100):
            try:
                attempt()
            except (TypeError, RuntimeError, ValueError):
                pass
            else:
                raise AssertionError("not refused")
    assert sys.getrefcount(value) == before
    stackless.run()


# ------------------------------------------------------------------ cycles


@pytest.mark.parametrize(
    "tie",
    [
        lambda t: t.bind(lambda t=t: t),
        lambda t: t.bind(lambda: None, (t,)),
        lambda t: t.bind(lambda: None, (), {"t": t}),
        lambda t: setattr(t, "tempval", [t]),
        lambda t: setattr(t, "attribute", t),
    ],
    ids=["callable", "arguments", "keywords", "tempval", "attribute"],
)
def test_cycles_through_a_tasklet_are_collected(tie):
    """12: cyclic garbage through the callable, the arguments or tempval."""

    class Mine(tasklet):
        pass

    t = Mine()
    tie(t)
    gone = weakref.ref(t)
    del t
    assert gone() is not None
    gc.collect()
    assert gone() is None


def test_cycles_through_a_channel_are_collected():
    """12: of a subclass with attributes."""

    class Mine(channel):
        pass

    ch = Mine()
    ch.attribute = [ch]
    gone = weakref.ref(ch)
    del ch
    gc.collect()
    assert gone() is None


def test_both_types_are_tracked_and_weakly_referenced():
    """12"""
    t, ch = tasklet(), channel()
    assert gc.is_tracked(t) and gc.is_tracked(ch)
    references = weakref.ref(t), weakref.ref(ch)
    assert references[0]() is t and references[1]() is ch
    del t, ch
    assert references[0]() is None and references[1]() is None


def test_collector_sees_blocked_tasklets_as_alive():
    """12: collecting while tasklets are suspended touches nothing that is reachable."""
    ch, log = channel(), []

    def body(thing):
        local = Thing()
        kept = weakref.ref(local)
        ch.receive()
        log.append((kept() is local, type(thing) is Thing))

    for _ in range(10):
        tasklet(body)(Thing())
    stackless.run()
    for _ in range(3):
        gc.collect()
    for _ in range(10):
        ch.send(None)
    stackless.run()
    assert log == [(True, True)] * 10


# ------------------------------------------------------------------ subclasses and plain instances


@pytest.mark.parametrize("kind", [tasklet, channel])
def test_plain_instances_have_no_dict(kind):
    """12"""
    thing = kind()
    assert not hasattr(thing, "__dict__")
    with pytest.raises(AttributeError):
        thing.anything = 1


@pytest.mark.parametrize("kind", [tasklet, channel])
def test_subclasses_get_a_dict_or_slots(kind):
    """12"""

    class WithDict(kind):
        pass

    class WithSlots(kind):
        __slots__ = ("a",)

    one, two = WithDict(), WithSlots()
    one.anything = 1
    two.a = 2
    assert one.__dict__ == {"anything": 1} and two.a == 2
    assert not hasattr(two, "__dict__")
    with pytest.raises(AttributeError):
        two.b = 3


@pytest.mark.parametrize("kind", [tasklet, channel])
def test_repr_equality_and_hash_are_the_default(kind):
    """12: identity."""
    one, two = kind(), kind()
    assert repr(one).startswith(object.__repr__(one).removesuffix(">") + ": ")
    assert one == one and one != two
    assert len({one, two, one}) == 2
    assert hash(one) == object.__hash__(one)


def test_current_is_the_subclass_instance():
    """12: with its attributes."""
    seen = []

    class Mine(tasklet):
        pass

    t = Mine(lambda: seen.append((stackless.current, stackless.current.name)))
    t.name = "mine"
    t()
    stackless.run()
    assert seen == [(t, "mine")]


def test_overriding_tasklet_methods():
    """12: __new__, __init__, __call__, __repr__, bind and setup."""
    calls = []

    class Mine(tasklet):
        def __new__(cls, *args):
            calls.append("new")
            return super().__new__(cls, *args)

        def __init__(self, *args):
            calls.append("init")
            super().__init__(*args)

        def __call__(self, *args):
            calls.append("call")
            return super().__call__(*args)

        def __repr__(self):
            return "mine"

        def bind(self, *args):
            calls.append("bind")
            return super().bind(*args)

        def setup(self, *args):
            calls.append("setup")
            return super().setup(*args)

    t = Mine(calls.append)
    assert repr(t) == "mine"
    assert calls[:3] == ["new", "init", "bind"]
    t("ran by call")
    stackless.run()
    t.bind(calls.append)
    t.setup("ran by setup")
    stackless.run()
    assert [c for c in calls if c not in ("bind", "setup")] == [
        "new",
        "init",
        "call",
        "ran by call",
        "ran by setup",
    ]


def test_overriding_del():
    """12: a subclass may have its own finaliser, and call the base's."""
    log = []

    class Mine(tasklet):
        def __del__(self):
            log.append("del")
            super().__del__()

    def body():
        try:
            pause()
        finally:
            log.append("finally")

    t = Mine(body)()
    stackless.run()
    del t
    assert log[:2] == ["del", "finally"]


def test_overriding_channel_methods():
    """12: send, receive and balance."""

    class Doubling(channel):
        def send(self, value):
            super().send(value * 2)

        def receive(self):
            return super().receive() + 1

        @property
        def balance(self):
            return ("mine", super().balance)

    ch, got = Doubling(), []
    tasklet(lambda: got.append(ch.receive()))()
    schedule()
    assert ch.balance == ("mine", -1)
    ch.send(10)
    assert got == [21]


def test_bound_methods_of_subclasses_run_in_tasklets():
    """12: the usual pattern of an actor."""

    class Actor(tasklet):
        def __init__(self, log):
            super().__init__(self.act)
            self.log = log

        def act(self, value):
            self.log.append((stackless.current is self, value))

    log = []
    Actor(log)("x")
    stackless.run()
    assert log == [(True, "x")]
