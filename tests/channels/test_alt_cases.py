"""`alt()` with tasklets, descriptors and objects as cases; threads, collection, observers."""

import gc
import pickle
import socket
import threading
import time
import weakref

import pytest
import stackless
from in_alt import traces, waiting
from stackless import alt, channel, run, schedule, tasklet

# ---------------------------------------------------------------- other cases


def test_joining_a_tasklet():
    """The value is its result; an exception that ended it is raised here."""
    gate, log = channel(), []

    def work():
        return gate.receive() * 2

    t = tasklet(work)()
    t.run()
    waiting(channel(), t, log=log)
    gate.send(21)
    run()
    assert [(r.index, r.value, r.case is t) for r in log] == [(1, 42, True)]
    assert alt(t, channel()) == (t, 42)

    def fails():
        gate.receive()
        raise KeyError("ended by this")

    t = tasklet(fails)()
    t.run()
    waiting(t, channel(), log=log)
    gate.send(None)
    run()
    assert isinstance(log[1], KeyError)


def test_tasklets_that_cannot_be_joined():
    for t in (stackless.current, stackless.main):
        with pytest.raises(RuntimeError, match="main tasklet or of the current one"):
            alt(t, channel())


def test_descriptors():
    """Readable and writable; an object with fileno() is waited for to become readable."""
    one, two = socket.socketpair()
    try:
        assert alt(one, stackless.writable(one)).index == 1
        assert alt(one, stackless.readable(two), else_="no") == (None, "no")
        log, other = [], channel()
        waiting(other, one, log=log)
        two.send(b"x")
        run()
        assert (log[0].index, log[0].case is one, other.balance) == (1, True, 0)
        assert one.recv(1) == b"x"
        waiting(other, stackless.readable(one), log=log, timeout=1000)
        other.send("first")
        run()
        assert log[1].value == "first"
        with pytest.raises(stackless.TimeoutError):
            alt(other, one, timeout=0.02)
        assert other.balance == 0
    finally:
        one.close()
        two.close()
    with pytest.raises(ValueError):
        alt(one)


def test_a_wait_for_a_descriptor_alone():
    one, two = socket.socketpair()
    with one, two:
        log = []
        tasklet(lambda: log.append(alt(one, two).index))()
        tasklet(lambda: (stackless.sleep(0.01), two.send(b"x")))()
        run()
        assert log == [0]


def test_a_descriptor_that_cannot_be_watched(tmp_path):
    """A plain file is always ready."""
    with open(tmp_path / "f", "w+") as file:
        assert alt(channel(), file).index == 1


def test_objects_that_stand_for_a_case():
    class Mailbox:
        def __init__(self):
            self.inbox = channel(capacity=3)

        def __alt_case__(self):
            return self.inbox.receiving()

    box, log = Mailbox(), []
    waiting(channel(), box, log=log)
    box.inbox.send("letter")
    run()
    assert [(r.case is box, r.value) for r in log] == [(True, "letter")]

    class Wrong:
        def __alt_case__(self):
            return 5

    with pytest.raises(TypeError, match="which is no case"):
        alt(Wrong())

    class Fails:
        def __alt_case__(self):
            raise KeyError("inside")

    with pytest.raises(KeyError):
        alt(channel(), Fails())


def test_channels_of_the_scheduler_module():
    """A QueueChannel is refused; clear() ends those in alt(), wherever they are in the queue."""
    from stackless import scheduler

    queued = scheduler.QueueChannel()
    for case in (lambda: alt(queued), lambda: queued.receiving(), lambda: queued.sending(1)):
        with pytest.raises(TypeError, match="QueueChannel"):
            case()
    ch, other = scheduler.channel(), channel()
    waits = [waiting(other, ch), tasklet(ch.receive)(), waiting(ch, other)]
    run()
    assert ch.balance == -3
    ch.clear()
    run()
    assert not any(t.alive for t in waits)
    assert traces(ch, other) == [(0, None)] * 2


def test_results_are_tuples():
    result = alt(channel(capacity=1).sending(5))
    assert hash(result) == hash(tuple(result))
    assert (result[0], result[1], result[-1]) == (result.case, None, None)
    nothing = alt(else_=[1])
    again = pickle.loads(pickle.dumps(nothing))
    assert (again, again.index, type(again)) == (nothing, -1, stackless.AltResult)
    assert stackless.AltResult("case", "value", 3).index == 3
    for wrong in ((), (1, 2), (1, 2, "x")):
        with pytest.raises(TypeError):
            stackless.AltResult(*wrong)
    deep = None
    for _ in range(100_000):
        deep = stackless.AltResult(None, deep, 0)
    del deep


@pytest.mark.parametrize("wrong", [5, None, "x", object()])
def test_other_objects_are_refused(wrong):
    with pytest.raises(TypeError, match=f"cannot wait for {type(wrong).__name__}"):
        alt(channel(), wrong)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="at least one case"):
        alt()
    with pytest.raises(ValueError, match="at least one case"):
        alt(timeout=1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'default'"):
        alt(channel(), default=1)
    for timeout in (-1, float("nan")):
        with pytest.raises(ValueError):
            alt(channel(), timeout=timeout)
    for wrong in ("x", object()):
        with pytest.raises(TypeError):
            stackless.readable(wrong)


# ---------------------------------------------------------------- threads and lifetime


def test_between_threads():
    jobs, stop, results = channel(), channel(), channel(capacity=100)

    def worker():
        while True:
            case, value = alt(stop, jobs)
            if case is stop:
                return
            results.send(value * 2)

    threads = [threading.Thread(target=worker) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(50):
        jobs.send(number)
    for _ in threads:
        stop.send(None)
    for thread in threads:
        thread.join()
    assert sorted(results.receive() for _ in range(50)) == [2 * n for n in range(50)]
    assert traces(jobs, stop) == [(0, None)] * 2


def test_a_thread_that_ends():
    """A tasklet of it that waits in alt() leaves its queues; another thread may continue it."""
    a, b, kept, log = channel(), channel(), [], []

    def wait():
        log.append(alt(a, b).value)

    def begin():
        kept.append(tasklet(wait)())
        schedule()
        assert kept[0].blocked

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    assert traces(a, b) == [(0, None)] * 2
    (t,) = kept
    if t.restorable and not t.alive:
        t.bind_thread()
        t.run()
        assert (t.blocked, a.balance, b.balance) == (True, -1, -1)
        b.send("later")
        run()
        assert log == ["later"]


def test_collected_with_its_channels():
    """A tasklet that waits in alt() for garbage only is ended, and reported."""
    log = []

    class Mark:
        pass

    def wait(a, b, mark):
        try:
            alt(a, b.sending(mark))
        finally:
            log.append("ended")

    mark = Mark()
    gone = weakref.ref(mark)
    tasklet(wait)(channel(), channel(), mark).run()
    del mark
    with pytest.warns(ResourceWarning, match="leaked tasklet wait"):
        gc.collect()
    gc.collect()
    assert (log, gone()) == (["ended"], None)


def test_not_collected_while_one_channel_is_known():
    log, known = [], channel()
    tasklet(lambda other: log.append(alt(other, known).value))(channel()).run()
    gc.collect()
    known.send("alive")
    run()
    assert log == ["alive"]


def test_what_a_loser_would_have_sent_is_released():
    class Mark:
        pass

    mark, a, b = Mark(), channel(), channel()
    gone = weakref.ref(mark)
    waiting(a, b.sending(mark))
    del mark
    gc.collect()
    assert gone() is not None
    a.send(None)
    run()
    gc.collect()
    assert gone() is None


def test_parking():
    """A tasklet that waits in alt() can be parked; it goes on when a case happens."""
    a, b, log = channel(), channel(), []

    def wait():
        case, value = alt(a.receiving(), b.sending(3), timeout=1000)
        log.append((case.target is a, value))

    for partner in (lambda: a.send("x"), b.receive):
        t = tasklet(wait)()
        t.run()
        assert t.restorable
        stackless._stackless._park(t)
        assert stackless._stackless._is_parked(t)
        partner()
        run()
    assert log == [(True, "x"), (False, None)]


def test_pickling_is_refused():
    a, b = channel(), channel()
    t = tasklet(lambda: alt(a, b))()
    t.run()
    for dumps in (stackless.dumps, pickle.dumps):
        with pytest.raises(pickle.PicklingError, match=r"it waits in alt\(\)"):
            dumps(t)
    assert any("alt()" in str(each) for each in stackless.why_not_picklable(t))
    t.kill()


def test_observers():
    """The channel callback is told of each case that waits, and of the one that happens."""
    a, b, seen = channel(), channel(capacity=1), []
    names = {a: "a", b: "b"}
    old = stackless.set_channel_callback(
        lambda ch, _, sending, willblock: seen.append((names[ch], sending, willblock))
    )
    try:
        alt(a, b.sending(1))
        t = waiting(a, b.sending(2))
    finally:
        stackless.set_channel_callback(old)
    assert seen == [("b", 1, False), ("a", 0, True), ("b", 1, True)]
    t.kill()


def test_reprs_and_snapshot():
    jobs, done = channel(), channel()
    t = waiting(jobs, done.sending(1))
    assert ": wait, in alt(): receiving from channel at 0x" in repr(t)
    infos = [info for info in stackless.snapshot() if info.state == "in alt()"]
    assert infos[-1].name == "wait"
    t.kill()


def test_time_is_measured_over_wake_ups():
    """The timeout is one for the whole call, whatever wakes the tasklet meanwhile."""
    one, two = socket.socketpair()
    with one, two:
        start = time.monotonic()
        with pytest.raises(stackless.TimeoutError):
            alt(one, channel(), timeout=0.05)
        assert time.monotonic() - start >= 0.05
