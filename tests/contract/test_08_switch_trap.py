"""While the switch trap is set, every switch is refused."""

import threading

import pytest
import stackless
from stackless import channel, schedule, schedule_remove, switch_trap, tasklet


@pytest.fixture
def trap():
    assert switch_trap(1) == 0
    yield
    assert switch_trap(-1) == 1


def paused():
    t = tasklet(schedule_remove)(None)
    t.run()
    return t


def blocked(ch):
    t = tasklet(ch.receive)()
    t.run()
    return t


def refused(call, *args):
    count = stackless.runcount
    with pytest.raises(RuntimeError, match="^switch_trap$"):
        call(*args)
    assert stackless.runcount == count and stackless.current is stackless.main


def test_trap_is_a_counter():
    """3: returns the old value; without an argument it only returns it."""
    assert [switch_trap(2), switch_trap(), switch_trap(change=-2), switch_trap()] == [0, 2, 2, 0]
    with pytest.raises(TypeError):
        switch_trap("x")


@pytest.mark.parametrize("call", [schedule, schedule_remove, stackless.run])
def test_functions(call):
    t = tasklet(int)()
    switch_trap(1)
    refused(call)
    assert t.scheduled
    switch_trap(-1)
    stackless.run()
    assert not t.alive


@pytest.mark.parametrize(
    "method, args",
    [
        ("run", ()),
        ("switch", ()),
        ("kill", ()),
        ("throw", (KeyError,)),
        ("raise_exception", (KeyError,)),
    ],
)
def test_methods_leave_the_target_paused(method, args):
    """8.6: a paused target is paused again."""
    t = paused()
    switch_trap(1)
    refused(getattr(t, method), *args)
    assert t.paused and t.tempval is None
    switch_trap(-1)
    t.kill()


def test_send_and_receive():
    """8.6: blocking or not, whenever another tasklet would run; everything is undone."""
    ch = channel()
    receiver = blocked(ch)
    switch_trap(1)
    refused(ch.send, 1)
    assert ch.balance == -1 and ch.queue is receiver and receiver.tempval is None
    tasklet(int)()
    refused(channel().receive)
    switch_trap(-1)
    ch.send(1)
    stackless.run()


@pytest.mark.parametrize("operation", ["send", "receive", "next", "send_exception", "send_throw"])
@pytest.mark.parametrize("schedule_all", [0, 1])
def test_a_refused_transfer_is_undone(operation, schedule_all):
    """5.2: partner back at its place in the queue, balance, tempvals, ring."""
    ch = channel()
    receiving = operation in ("receive", "next")
    ch.preference, ch.schedule_all = (1 if receiving else -1), schedule_all
    waiting = [tasklet(ch.send)(n) if receiving else tasklet(ch.receive)() for n in range(3)]
    runnable = tasklet(schedule_remove)("value")
    stackless.run()
    runnable.insert()
    call = {
        "send": lambda: ch.send("sent"),
        "receive": ch.receive,
        "next": lambda: next(ch),
        "send_exception": lambda: ch.send_exception(KeyError),
        "send_throw": lambda: ch.send_throw(KeyError),
    }[operation]

    def shown():
        queue = [ch.queue]
        while queue[-1] is not None:
            queue.append(queue[-1].next)
        tempvals = [t.tempval for t in (*waiting, runnable, stackless.main)]
        return ch.balance, queue, tempvals, stackless.main.next, stackless.main.prev

    before = shown()
    assert before[1] == [*waiting, None]
    switch_trap(1)
    refused(call)
    assert shown() == before
    switch_trap(-1)
    for t in (*waiting, runnable):
        t.kill()


# Without ("kill", "not inserted"): that tasklet ends at once, without a switch.
CASES = [
    (method, state)
    for method in ("kill", "throw", "run")
    for state in ("blocked", "runnable", "never started")
] + [("throw", "not inserted"), ("run", "not inserted")]


@pytest.mark.parametrize("method, state", CASES)
def test_methods_leave_every_target_as_it_was(method, state):
    """8.6: in its place in queue or ring; its pending value is kept."""
    ch, log = channel(), []
    neighbours = [tasklet(ch.receive)() for _ in range(2)]
    if state == "blocked":
        t = tasklet(ch.receive)()
    elif state == "runnable":
        t = tasklet(schedule_remove)("value")
    stackless.run()
    if state == "runnable":
        t.insert()
    elif state == "never started":
        t = tasklet(log.append)("ran")
    elif state == "not inserted":
        t = tasklet(log.append, ("ran",))
    neighbours.append(tasklet(schedule)())

    def shown():
        return t.alive, t.scheduled, t.blocked, t.paused, t.next, t.prev, t.tempval, ch.balance

    before = shown()
    switch_trap(1)
    if method == "run" and state == "blocked":
        with pytest.raises(RuntimeError, match="^You cannot run a blocked tasklet$"):
            t.run()
    else:
        refused(getattr(t, method), *([KeyError] if method == "throw" else []))
    assert shown() == before and log == []
    switch_trap(-1)
    for other in (t, *neighbours):
        other.kill()


def test_pending_exceptions_need_no_switch(trap):
    """8.1: allowed; the exceptions are raised later."""
    switch_trap(-1)
    t = paused()
    switch_trap(1)
    t.kill(pending=True)
    assert t.scheduled and t.alive
    switch_trap(-1)
    stackless.run()
    assert not t.alive
    switch_trap(1)


def test_throwing_at_oneself_and_at_the_dead_needs_no_switch(trap):
    """8.6: raised in the calling tasklet, or no effect."""
    with pytest.raises(KeyError):
        stackless.current.throw(KeyError)
    tasklet().kill()
    stackless.current.switch()


def test_a_lone_main_under_the_trap(trap):
    """8.6: no error when there is no tasklet to switch to."""
    assert schedule_remove("value") == "value"
    assert stackless.run() is None
    with pytest.raises(RuntimeError, match="Deadlock|switch_trap"):
        channel().receive()


def test_a_trap_set_by_a_tasklet_stays_set():
    """3: it belongs to the thread: once it is set, even the end of a tasklet is refused."""
    seen = []

    def body():
        switch_trap(1)
        try:
            schedule()
        except RuntimeError as error:
            seen.append(str(error))
        switch_trap(-1)
        schedule()
        seen.append("ends")

    tasklet(body)()
    stackless.schedule()
    stackless.run()
    assert seen == ["switch_trap", "ends"]


def test_no_error_where_nothing_switches(trap):
    """8.6: alone, to the caller itself, or a hand-over that does not switch."""
    assert schedule() is stackless.current
    assert stackless.run() is None
    stackless.current.run()
    switch_trap(-1)
    ch = channel()
    ch.preference = 0
    receiver = blocked(ch)
    switch_trap(1)
    ch.send(1)
    assert receiver.scheduled and not receiver.blocked
    switch_trap(-1)
    stackless.run()
    switch_trap(1)


def test_waking_another_thread(trap):
    """8.6: allowed, as nothing switches here."""
    ch = channel()
    thread = threading.Thread(target=ch.receive)
    thread.start()
    while ch.balance == 0:
        pass
    ch.send(1)
    thread.join()


def test_blocked_target_is_named_first(trap):
    """4.2, 21.21: for switch() to a blocked tasklet, the error names the blocking."""
    switch_trap(-1)
    ch = channel()
    t = blocked(ch)
    switch_trap(1)
    with pytest.raises(RuntimeError, match="blocked"):
        t.switch()
    switch_trap(-1)
    t.kill()
    switch_trap(1)


def test_per_thread(trap):
    """3: the counter belongs to the thread."""
    result = []

    def other():
        tasklet(result.append)("ran")
        schedule()
        result.append(switch_trap())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert result == ["ran", 0]
