"""The attributes of a tasklet."""

import sys
import threading

import pytest
import stackless
from stackless import channel, schedule, schedule_remove, tasklet

READ_ONLY = (
    "alive paused scheduled blocked is_main is_current atomic ignore_nesting restorable thread_id "
    "next prev frame nesting_level recursion_depth context_id _channel"
).split()


def pause():
    schedule_remove(None)


def started_and_paused(function=pause, *args):
    t = tasklet(function)(*args)
    stackless.run()
    assert t.paused
    return t


@pytest.mark.parametrize("name", READ_ONLY)
def test_read_only_attributes(name):
    """Writing gives AttributeError; on the class they are descriptors, not values."""
    t = tasklet()
    before = getattr(t, name)
    with pytest.raises(AttributeError):
        setattr(t, name, before)
    descriptor = getattr(tasklet, name)
    assert hasattr(type(descriptor), "__get__")
    assert not isinstance(descriptor, (bool, int))


def test_types_of_the_flags():
    """Real bools, in any state."""
    names = "alive paused scheduled blocked is_main is_current atomic ignore_nesting restorable"
    for t in (tasklet(), tasklet(int, ()), stackless.current):
        for name in [*names.split(), "block_trap"]:
            assert type(getattr(t, name)) is bool, name
        for name in ("thread_id", "nesting_level", "recursion_depth", "context_id"):
            assert type(getattr(t, name)) is int, name


def test_is_main_and_is_current():
    """Both are relative to the tasklet's thread."""
    seen = []

    def body():
        me, main = stackless.current, stackless.main
        seen.append((me.is_main, me.is_current, main.is_main, main.is_current))

    t = tasklet(body)()
    assert (t.is_main, t.is_current) == (False, False)
    stackless.run()
    assert seen == [(False, True, True, False)]
    assert (stackless.main.is_main, stackless.main.is_current) == (True, True)


def test_restorable_of_the_running_tasklet():
    """4.3: True where its nesting level is 0, in main as elsewhere."""
    seen = []

    def look(_=None):
        me = stackless.current
        seen.append((me.restorable, me.nesting_level == 0))

    def body():
        look()
        list(map(look, [None]))
        tasklet(looks_from_outside)(stackless.current)
        stackless.schedule()

    def looks_from_outside(other):
        seen.append((stackless.main.restorable, other.restorable, stackless.main.is_current))

    tasklet(body)()
    stackless.run()
    assert seen == [(True, True), (False, False), (False, True, False)]
    assert stackless.main.restorable is (stackless.main.nesting_level == 0)
    old = stackless.enable_softswitch(False)
    try:
        assert not stackless.main.restorable
    finally:
        stackless.enable_softswitch(old)


def test_restorable_in_each_phase():
    """4.3: True before the start, while level 0 is suspended, and after the end."""
    t = tasklet(pause)
    assert t.restorable
    t.bind(None, ())
    assert t.restorable
    t.insert()
    assert t.restorable
    stackless.run()
    assert t.restorable
    t.run()
    assert t.restorable


def test_restorable_is_false_with_c_code():
    """10, right column: the function itself is C code here."""
    ch = channel()
    t = tasklet(ch.receive)()
    schedule()
    assert t.restorable is False
    ch.send(None)


def test_nesting_level_of_a_never_started_tasklet():
    """10: 0 before the start."""
    assert tasklet().nesting_level == 0
    assert tasklet(int).nesting_level == 0
    assert tasklet(int, ()).nesting_level == 0


def test_thread_id():
    """The id of the thread that made it."""
    assert tasklet().thread_id == threading.get_ident()
    assert stackless.main.thread_id == threading.get_ident()


# ------------------------------------------------------------------ next and prev


def test_alone_in_the_ring_it_is_its_own_neighbour():
    """next, prev: a ring of one."""
    assert stackless.current.next is stackless.current
    assert stackless.current.prev is stackless.current


def test_unlinked_tasklets_have_no_neighbours():
    """next, prev: None when in no ring or queue."""
    paused = started_and_paused()
    removed = tasklet(int)().remove()
    for t in (tasklet(), tasklet(int), tasklet(int, ()), paused, removed):
        assert t.next is None and t.prev is None
    paused.run()
    assert paused.next is None


@pytest.mark.parametrize("operation", ["send", "receive"])
def test_neighbours_in_a_channel_end_with_none(operation):
    """next, prev: inside a queue the queue's neighbours, first to last, None at the ends."""
    ch = channel()
    waiting = [
        tasklet(ch.send)(n) if operation == "send" else tasklet(ch.receive)() for n in range(3)
    ]
    stackless.run()
    a, b, c = waiting
    links = [(t.prev, t.next) for t in waiting]
    b.kill()
    shorter = [(a.prev, a.next), (c.prev, c.next)]
    a.kill()
    c.kill()
    assert links == [(None, b), (a, c), (b, None)]
    assert shorter == [(None, c), (a, None)]


# ------------------------------------------------------------------ frame and depth


def outer():
    inner()


def inner():
    schedule_remove(None)


def test_frame_of_a_suspended_tasklet():
    """frame: the innermost Python frame; f_back stops at the tasklet's first frame."""
    t = started_and_paused(outer)
    assert t.frame.f_code is inner.__code__
    assert t.frame.f_back.f_code is outer.__code__
    assert t.frame.f_back.f_back is None
    t.run()
    assert t.frame is None


def test_frame_before_the_start_is_none():
    """frame: None before the first run."""
    assert tasklet().frame is None
    assert tasklet(outer).frame is None
    assert tasklet(outer, ()).frame is None


def test_frame_of_the_current_tasklet():
    """frame: for the current one as well; its stack stops at its first function."""
    seen = []

    def body():
        seen.append(stackless.current.frame is sys._getframe())
        seen.append(sys._getframe().f_back)

    assert stackless.current.frame is sys._getframe()
    tasklet(body)()
    stackless.run()
    assert seen == [True, None]


def test_frame_of_a_suspended_main():
    """frame: also of main, at the call in which it waits."""
    seen = []
    tasklet(lambda: seen.append(stackless.main.frame))()
    stackless.run()
    assert seen[0] is sys._getframe()


def test_locals_of_a_suspended_frame_can_be_read():
    """frame: a debugger reads a suspended tasklet's variables."""

    def body():
        answer = 42
        schedule_remove(None)
        return answer

    t = started_and_paused(body)
    assert t.frame.f_locals["answer"] == 42
    t.run()


def test_recursion_depth():
    """recursion_depth: 0 before the start and after the end, 1 in the first function, ..."""
    seen = []

    def one():
        seen.append(stackless.current.recursion_depth)
        two()

    def two():
        seen.append(stackless.current.recursion_depth)
        schedule_remove(None)

    t = tasklet(one)
    assert t.recursion_depth == 0
    t()
    assert t.recursion_depth == 0
    stackless.run()
    assert seen == [1, 2]
    assert t.recursion_depth == 2
    t.run()
    assert t.recursion_depth == 0


# ------------------------------------------------------------------ channel, block_trap


@pytest.mark.parametrize("operation", ["send", "receive"])
def test_channel_a_tasklet_is_blocked_on(operation):
    """_channel: the channel on which it is blocked, otherwise None."""
    ch = channel()
    t = tasklet(ch.send)(1) if operation == "send" else tasklet(ch.receive)()
    assert t._channel is None
    schedule()
    assert t._channel is ch
    if operation == "send":
        ch.receive()
    else:
        ch.send(1)
    assert t._channel is None
    stackless.run()


@pytest.mark.parametrize("bad", [None, "yes", 1.0, []])
def test_block_trap_takes_only_bool_or_int(bad):
    """block_trap: TypeError with its text."""
    t = tasklet()
    with pytest.raises(TypeError, match="^block_trap must be set to a bool or integer$"):
        t.block_trap = bad
    assert t.block_trap is False


def test_block_trap_reads_as_bool():
    """block_trap: any int may be written."""
    t = tasklet()
    for value in (True, 7, -1):
        t.block_trap = value
        assert t.block_trap is True
    t.block_trap = 0
    assert t.block_trap is False


@pytest.mark.parametrize("operation", ["send", "receive", "next"])
def test_block_trap_refuses_to_block(operation):
    """block_trap: RuntimeError, and the channel is untouched."""
    ch = channel()
    call = {"send": lambda: ch.send(1), "receive": ch.receive, "next": lambda: next(ch)}[operation]
    tasklet(int)()
    stackless.current.block_trap = True
    try:
        with pytest.raises(RuntimeError, match=r"^this tasklet does not like to be blocked\.$"):
            call()
    finally:
        stackless.current.block_trap = False
    assert ch.balance == 0 and ch.queue is None
    assert stackless.runcount == 2
    assert stackless.current.tempval is None
    stackless.run()


def test_block_trap_allows_an_operation_that_finds_a_partner():
    """block_trap: only blocking is refused."""
    ch, log = channel(), []
    tasklet(lambda: log.append(ch.receive()))()
    tasklet(ch.send)(2)
    tasklet(ch.send)(3)
    schedule()
    stackless.current.block_trap = True
    try:
        assert ch.receive() == 3
        tasklet(lambda: log.append(ch.receive()))()
        schedule()
        ch.send(4)
    finally:
        stackless.current.block_trap = False
    stackless.run()
    assert log == [2, 4]


def test_block_trap_is_checked_before_closing():
    """5.2.4: `block_trap` set comes first, then closing."""
    ch = channel()
    ch.close()
    stackless.current.block_trap = True
    try:
        with pytest.raises(RuntimeError, match="does not like to be blocked"):
            ch.receive()
    finally:
        stackless.current.block_trap = False
    with pytest.raises(ValueError, match="closed channel"):
        ch.receive()
