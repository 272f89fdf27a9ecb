"""`alt()`: which case happens, what it returns, and that the others leave no trace."""

import gc

import pytest
import stackless
from child_process import in_child_process
from in_alt import traces, waiting
from stackless import alt, channel, run, schedule, tasklet

# ---------------------------------------------------------------- what is ready


def test_the_first_ready_case_in_the_given_order():
    a, b = channel(capacity=1), channel(capacity=1)
    a.send("a")
    b.send("b")
    assert alt(b, a) == (b, "b")
    assert alt(b, a) == (a, "a")


def test_the_result():
    """A named tuple of two: the case as it was given, and the value. Its index is an attribute."""
    a, b = channel(), channel(capacity=2)
    send = b.sending("x")
    case, value = result = alt(a.receiving(), send)
    assert (case is send, value, result.index) == (True, None, 1)
    assert (result.case is send, result.value, len(result)) == (True, None, 2)
    assert repr(result).startswith("AltResult(case=<stackless.alt case: send to ")
    match alt(a, b):
        case (ch, value):
            assert (ch is b, value) == (True, "x")
    assert isinstance(result, stackless.AltResult)
    assert gc.is_tracked(result)


def test_cases_can_be_used_again():
    ch = channel(capacity=3)
    send, receive = ch.sending(7), ch.receiving()
    assert (send.target, send.value, send.operation) == (ch, 7, "send")
    assert (receive.target, receive.value, receive.operation) == (ch, None, "receive")
    for _ in range(3):
        assert alt(send).case is send
    assert [alt(receive).value for _ in range(3)] == [7, 7, 7]
    assert type(send) is stackless.AltCase
    with pytest.raises(TypeError):
        stackless.AltCase()


@pytest.mark.parametrize("preference", [-1, 0, 1])
def test_a_partner_that_waits(preference):
    """The case is the operation: preference decides which tasklet continues."""
    ch, log = channel(), []
    ch.preference = preference

    def partner():
        log.append(ch.receive())

    def chooser():
        result = alt(channel(), ch.sending(5))
        log.append(("sent", result.index))

    tasklet(partner)()
    tasklet(chooser)()
    run()
    assert log == ([5, ("sent", 1)] if preference == -1 else [("sent", 1), 5])

    log.clear()
    tasklet(ch.send)(6)
    tasklet(lambda: log.append(alt(channel(), ch).value))()
    run()
    assert (log, ch.balance) == ([6], 0)


def test_schedule_all_with_alt():
    ch, log = channel(), []
    ch.schedule_all = 1
    tasklet(lambda: log.append(ch.receive()))()
    tasklet(lambda: (alt(ch.sending(1)), log.append("sent")))()
    tasklet(log.append)("other")
    run()
    assert log == ["other", 1, "sent"]


def test_else():
    """With else_, alt() never waits; the value may be None."""
    a, b = channel(), channel()
    assert alt(a, b.sending(1), else_="nothing") == (None, "nothing")
    result = alt(a, else_=None)
    assert (result.case, result.value, result.index) == (None, None, -1)
    assert alt(else_=3).value == 3
    assert traces(a, b) == [(0, None)] * 2


def test_fair():
    """Each case comes first about equally often, and no case waits for long."""
    channels = [channel(capacity=1) for _ in range(3)]
    for ch in channels:
        ch.send(None)
    chosen = []
    for _ in range(300):
        case = alt(*channels, fair=True).case
        chosen.append(channels.index(case))
        case.send(None)
    assert all(80 < chosen.count(i) < 120 for i in range(3))
    assert all(set(chosen[i : i + 6]) == {0, 1, 2} for i in range(290))


def test_fair_loops_that_take_turns():
    """Two loops do not get the same cases each time."""
    channels = [channel(capacity=1) for _ in range(2)]
    for ch in channels:
        ch.send(None)
    seen = [[], []]
    for turn in range(200):
        case = alt(*channels, fair=True).case
        seen[turn % 2].append(channels.index(case))
        case.send(None)
    assert all(30 < sum(each) < 70 for each in seen)


# ---------------------------------------------------------------- waiting


def test_what_comes_first_ends_the_wait():
    """The tasklet leaves all queues at once; the losers have no trace."""
    a, b, c = channels = [channel() for _ in range(3)]
    log = []
    t = waiting(a, b.receiving(), c.sending("x"), log=log)
    assert (t.blocked, t.alive, t.paused, t.scheduled) == (True, True, False, True)
    assert traces(*channels) == [(-1, t), (-1, t), (1, t)]
    b.send("b")
    run()
    assert [(r.index, r.value) for r in log] == [(1, "b")]
    assert traces(*channels) == [(0, None)] * 3

    t = waiting(a, b.receiving(), c.sending("x"), log=log)
    assert c.receive() == "x"
    run()
    assert [(r.index, r.value) for r in log[1:]] == [(2, None)]
    assert traces(*channels) == [(0, None)] * 3


def test_the_same_channel_in_several_cases():
    """It is in that queue once, and the first of these cases in the order happens."""
    ch, other, log = channel(), channel(), []
    waiting(other, ch, ch.receiving(), ch, log=log)
    assert ch.balance == -1
    ch.send(1)
    run()
    assert [(r.index, r.value) for r in log] == [(1, 1)]


def test_sending_and_receiving_on_one_channel():
    """It does what the partner does not; the balance does not count it."""
    ch, log = channel(), []
    t = waiting(ch.sending("mine"), ch, log=log)
    assert (ch.balance, ch.queue, t.blocked) == (0, t, True)
    assert "1 sending or receiving" in repr(ch)
    assert ch.receive() == "mine"
    run()
    t = waiting(ch.sending("mine"), ch, log=log)
    ch.send("yours")
    run()
    assert [(r.index, r.value) for r in log] == [(0, None), (1, "yours")]
    assert traces(ch) == [(0, None)]


@pytest.mark.parametrize("first", [0, 1])
def test_two_that_could_do_either_meet(first):
    """Exactly one of them sends."""
    ch, log = channel(), []
    orders = (lambda x: (ch.sending(x), ch)), (lambda x: (ch, ch.sending(x)))
    waiting(*orders[first]("p"), log=log)
    waiting(*orders[1 - first]("q"), log=log)
    run()
    values = sorted((r.value for r in log), key=str)
    assert values in (["p", None], ["q", None], [None, "p"], [None, "q"])
    assert traces(ch) == [(0, None)]


def test_an_alt_that_sends_meets_one_that_receives():
    a, b, log = channel(), channel(), []
    waiting(b, a, log=log)
    waiting(a.sending(1), b.sending(2), log=log)
    run()
    assert sorted((r.index, str(r.value)) for r in log) == [(0, "None"), (1, "1")]
    assert traces(a, b) == [(0, None)] * 2


def test_an_alt_does_not_meet_itself():
    ch = channel()
    assert alt(ch.sending(1), ch, else_="alone") == (None, "alone")
    with pytest.raises(stackless.TimeoutError):
        alt(ch.sending(1), ch, timeout=0.001)
    assert traces(ch) == [(0, None)]


def test_the_place_in_the_queue_is_kept():
    """First come, first served, among plain receivers and alts alike."""
    a, b, log = channel(), channel(), []
    tasklet(lambda: log.append(("first", a.receive())))().run()
    waiting(b, a, log=log)
    tasklet(lambda: log.append(("last", a.receive())))().run()
    for value in range(3):
        a.send(value)
    run()
    assert log == [("first", 0), (a, 1), ("last", 2)]


def test_a_buffer_that_is_full_and_one_that_is_empty():
    full, empty, log = channel(capacity=1), channel(capacity=1), []
    full.send("old")
    t = waiting(full.sending("new"), empty, log=log)
    assert (full.balance, empty.balance, t.blocked) == (2, -1, True)
    assert full.receive() == "old"
    run()
    assert (log[0].index, full.receive(), empty.balance) == (0, "new", 0)
    full.send("old")
    waiting(full.sending("new"), empty, log=log)
    empty.send("x")
    run()
    assert ((log[1].index, log[1].value), full.balance) == ((1, "x"), 1)


def test_many_cases():
    channels = [channel() for _ in range(500)]
    log = []
    waiting(*channels, log=log)
    channels[321].send("here")
    run()
    assert [(r.index, r.value) for r in log] == [(321, "here")]
    assert all(trace == (0, None) for trace in traces(*channels))


# ---------------------------------------------------------------- ends of the wait


@pytest.mark.parametrize("end", ["kill", "kill later", "throw", "raise_exception"])
def test_ended_by_an_exception(end):
    a, b, log = channel(), channel(), []
    t = waiting(a, b.sending(1), log=log)
    if end == "kill":
        t.kill()
    elif end == "kill later":
        t.kill(pending=True)
        assert traces(a, b) == [(0, None)] * 2
        run()
    elif end == "throw":
        t.throw(KeyError, "x")
    else:
        t.raise_exception(KeyError, "x")
    assert traces(a, b) == [(0, None)] * 2
    assert [type(each) for each in log] == ([] if "kill" in end else [KeyError])
    assert not t.alive


def test_timeouts():
    a, b = channel(), channel()
    for timeout in (0, 0.01):
        with pytest.raises(stackless.TimeoutError):
            alt(a, b.sending(1), timeout=timeout)
    assert traces(a, b) == [(0, None)] * 2
    with pytest.raises(stackless.TimeoutError), stackless.timeout(0.01):
        alt(a, b)
    assert traces(a, b) == [(0, None)] * 2
    c = channel(capacity=1)
    assert alt(a, c.sending(1), timeout=0).index == 1


def test_a_partner_before_the_timeout():
    a, log = channel(), []
    waiting(a, channel(), timeout=1000, log=log)
    a.send(1)
    run()
    assert log[0].value == 1


def test_run_waits_for_a_timeout_but_not_for_partners():
    """The rule for receive(): only a wait that ends by itself keeps run()."""
    log = []
    t = waiting(channel(), channel(), log=log)
    run()
    assert t.blocked
    t.kill()
    log.clear()
    waiting(channel(), channel(), timeout=0.02, log=log)
    run()
    assert isinstance(log[0], stackless.TimeoutError)


def test_exceptions_that_are_sent():
    """They are raised in the tasklet, whether it waited or not."""
    a, b, log = channel(), channel(), []
    waiting(a, b, log=log)
    b.send_exception(ValueError, "sent")
    run()
    assert isinstance(log[0], ValueError) and str(log[0]) == "sent"
    tasklet(b.send_exception)(KeyError, "waits")
    run()
    with pytest.raises(KeyError, match="waits"):
        alt(a, b)
    waiting(a.sending(stackless.bomb(IndexError, "bomb")), b, log=log)
    with pytest.raises(IndexError):
        a.receive()
    run()
    assert traces(a, b) == [(0, None)] * 2


def test_closed_channels():
    """What send() and receive() raise. A wait to receive ends when the channel is closed."""
    a, b, log = channel(), channel(), []
    t = waiting(a, b, log=log)
    a.close()
    assert (a.closed, t.blocked) == (True, False)
    run()
    assert isinstance(log[0], ValueError) and "closed channel" in str(log[0])
    assert traces(a, b) == [(0, None)] * 2
    for case in (a, a.receiving(), a.sending(1)):
        with pytest.raises(ValueError, match="closed channel"):
            alt(b, case)
    ready = channel(capacity=1)
    ready.send(1)
    assert alt(ready, a).value == 1


def test_close_leaves_those_that_send():
    """They are served as plain senders are, which wait already."""
    a, log = channel(), []
    waiting(a.sending(1), channel(), log=log)
    a.close()
    assert (a.balance, list(a)) == (1, [1])
    run()
    assert log[0].index == 0


def test_close_ends_one_that_does_either():
    a, log = channel(), []
    waiting(a.sending(1), a, log=log)
    a.close()
    run()
    assert isinstance(log[0], ValueError)
    assert traces(a) == [(0, None)]


def test_a_blocked_tasklet_cannot_be_resumed_otherwise():
    t = waiting(channel(), channel())
    for resume in (t.insert, t.run, t.switch):
        with pytest.raises(RuntimeError, match="blocked"):
            resume()
    t.kill()


def test_block_trap_and_switch_trap():
    a, b = channel(), channel()
    me = stackless.current
    me.block_trap = True
    try:
        with pytest.raises(RuntimeError, match="does not like to be blocked"):
            alt(a, b)
    finally:
        me.block_trap = False
    tasklet(schedule)()
    stackless.switch_trap(1)
    try:
        with pytest.raises(RuntimeError, match="switch_trap"):
            alt(a, b)
        assert alt(a, else_=1).value == 1
    finally:
        stackless.switch_trap(-1)
    assert traces(a, b) == [(0, None)] * 2
    run()


@in_child_process
def test_deadlock():
    """All channels are named; nothing is left in them."""
    jobs, done = channel(), channel()
    with pytest.raises(RuntimeError, match="Deadlock") as caught:
        alt(jobs, done.sending(1))
    note = caught.value.__notes__[0]
    assert "main wants to receive from channel 'jobs'" in note
    assert ", or to send to channel 'done'" in note
    assert traces(jobs, done) == [(0, None)] * 2
    other = channel()
    tasklet(lambda: alt(jobs, done))()
    with pytest.raises(RuntimeError) as caught:
        other.receive()
    assert "waits to receive from channel" in caught.value.__notes__[0]
    assert stackless.getcurrent().alive
