"""Each thread has its own scheduler; channels and calls between threads."""

import sys
import threading

import pytest
import stackless
from other_thread import Owner, run_in_thread, wait_until
from stackless import TaskletExit, channel, schedule, schedule_remove, tasklet

# ------------------------------------------------------------------ 11.1 per thread


def test_each_thread_has_its_own_main_and_ring():
    """11.1: created on first use; nothing of the other thread's ring is seen."""
    tasklet(int)()

    def thread():
        main = stackless.main
        return (
            main is stackless.current is stackless.getmain() is stackless.getcurrent(),
            main.is_main and main.is_current,
            stackless.runcount,
            main.thread_id == threading.get_ident(),
            main.next is main,
            main,
        )

    *facts, main = run_in_thread(thread)
    assert facts == [True, True, 1, True, True]
    assert main is not stackless.main
    assert stackless.runcount == 2
    stackless.run()


def test_threads_schedule_independently():
    """11.1: the ring, run() and schedule() act on the calling thread."""
    log = []

    def thread():
        tasklet(log.append)("thread")
        stackless.run()
        return stackless.runcount

    tasklet(log.append)("main")
    assert run_in_thread(thread) == 1
    assert log == ["thread"]
    stackless.run()
    assert log == ["thread", "main"]


def test_a_tasklet_belongs_to_the_thread_that_made_it():
    """11.1: no tasklet changes its thread by itself."""
    ran_in = []
    t = tasklet(lambda: ran_in.append(threading.get_ident()))
    run_in_thread(lambda: t())
    assert t.thread_id == threading.get_ident()
    assert ran_in == [] and stackless.runcount == 2
    stackless.run()
    assert ran_in == [threading.get_ident()]


def test_nested_run_is_per_thread():
    """11.1: watchdogs too."""

    def thread():
        log = []

        def inner():
            tasklet(log.append)("a")
            stackless.run()
            log.append("inner")

        tasklet(inner)()
        stackless.run()
        return log

    def in_run():
        results.append(run_in_thread(thread))

    results = []
    tasklet(in_run)()
    stackless.run()
    assert results == [["a", "inner"]]


# ------------------------------------------------------------------ 11.2 channels


@pytest.mark.parametrize("setting", [-1, 0, 1, "schedule_all"])
def test_send_to_another_thread_never_switches(setting):
    """11.2: the partner enters its own ring, the caller continues, for every preference."""
    ch, got, log = channel(), [], []
    if setting == "schedule_all":
        ch.schedule_all = 1
    else:
        ch.preference = setting
    thread = threading.Thread(target=lambda: got.append(ch.receive()), daemon=True)
    thread.start()
    wait_until(lambda: ch.balance == -1)
    tasklet(log.append)("x")
    assert ch.send("value") is None
    assert log == [] and ch.balance == 0 and stackless.runcount == 2
    thread.join(60)
    assert got == ["value"]
    stackless.run()


@pytest.mark.parametrize("setting", [-1, 0, 1, "schedule_all"])
def test_receive_from_another_thread_never_switches(setting):
    """11.2: the same for a receiver."""
    ch, done, log = channel(), [], []
    if setting == "schedule_all":
        ch.schedule_all = 1
    else:
        ch.preference = setting
    thread = threading.Thread(target=lambda: done.append(ch.send("value")), daemon=True)
    thread.start()
    wait_until(lambda: ch.balance == 1)
    tasklet(log.append)("x")
    assert ch.receive() == "value"
    assert log == [] and stackless.runcount == 2
    thread.join(60)
    assert done == [None]
    stackless.run()


def test_blocked_main_sleeps_until_another_thread_sends():
    """11.2, 8.4: main tasklets included."""
    ch = channel()

    def send():
        wait_until(lambda: ch.balance == -1)
        ch.send("from the thread")

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    assert ch.receive() == "from the thread"
    thread.join(60)


def test_exceptions_cross_threads():
    """11.2, 5.3: send_exception and send_throw as well."""
    ch, caught = channel(), []

    def receive_twice():
        for _ in range(2):
            try:
                ch.receive()
            except KeyError as error:
                caught.append(error.args)

    thread = threading.Thread(target=receive_twice, daemon=True)
    thread.start()
    wait_until(lambda: ch.balance == -1)
    ch.send_exception(KeyError, 1)
    wait_until(lambda: ch.balance == -1)
    ch.send_throw(KeyError, (2,))
    thread.join(60)
    assert caught == [(1,), (2,)]


def test_ping_pong_between_mains():
    """11.2: each side sleeps and is woken in turn."""
    there, back = channel(), channel()

    def thread():
        for value in there:
            back.send(value + 1)

    other = threading.Thread(target=thread, daemon=True)
    other.start()
    value = 0
    for _ in range(500):
        there.send(value)
        value = back.receive()
    wait_until(lambda: there.balance == -1)
    there.close()
    other.join(60)
    assert value == 500


def test_partner_is_appended_to_its_own_ring():
    """11.2: after the tasklets that are runnable there."""
    inbox, go, order = channel(), threading.Event(), []

    def thread():
        def waits():
            order.append(inbox.receive())

        tasklet(waits)()
        schedule()
        tasklet(order.append)("a")
        ready.set()
        assert go.wait(60)
        tasklet(order.append)("b")
        stackless.run()

    ready = threading.Event()
    other = threading.Thread(target=thread, daemon=True)
    other.start()
    assert ready.wait(60)
    inbox.send("message")
    go.set()
    other.join(60)
    assert order == ["a", "message", "b"]


# ------------------------------------------------------------------ 11.3 foreign tasklets


def reporting(report):
    """A function for a tasklet of an Owner: reports its arguments and its thread."""

    def body(*args):
        report.send((args, threading.get_ident()))

    return body


def test_insert_wakes_the_owner():
    """insert acts on the owner's ring; runcount here is not touched."""
    owner = Owner(lambda report: tasklet(reporting(report), ("x",)))
    assert owner.tasklet.insert() is owner.tasklet
    assert stackless.runcount == 1
    assert owner.result() == (("x",), owner.thread.ident)


def test_setup_runs_in_the_owner():
    """setup binds and inserts there."""
    owner = Owner(lambda report: tasklet(reporting(report)))
    assert owner.tasklet.setup(1, 2) is owner.tasklet
    assert stackless.runcount == 1
    assert owner.result() == ((1, 2), owner.thread.ident)


def test_run_returns_at_once():
    """run makes the target the next in the ring there and does not switch here."""
    owner, log = Owner(lambda report: tasklet(reporting(report), ())), []
    tasklet(log.append)("x")
    assert owner.tasklet.run() is None
    assert log == [] and stackless.runcount == 2
    assert owner.result() == ((), owner.thread.ident)
    stackless.run()


@pytest.mark.parametrize("before", [0, 1, 2])
def test_foreign_run_comes_before_everything_in_a_sleeping_thread(before):
    """11.3: also before tasklets that were woken earlier, while that thread could not run them."""
    log = []

    def prepare(report):
        def work(name):
            log.append(name)
            if len(log) == before + 2:
                report.send(None)

        return [tasklet(work, (name,)) for name in "abcd"[: before + 2]]

    owner = Owner(prepare)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)  # the owner does not get the GIL in between
    try:
        for t in owner.tasklet[1:-1]:
            t.insert()
        owner.tasklet[0].run()
        owner.tasklet[-1].run()
    finally:
        sys.setswitchinterval(interval)
    owner.result()
    names = "abcd"[: before + 2]
    assert "".join(log) == names[-1] + names[:-1]


def catching(report, wait):
    def body():
        try:
            wait()
        except BaseException as error:
            report.send((type(error), error.args, threading.get_ident()))
            raise TaskletExit from None

    return body


@pytest.mark.parametrize("state", ["paused", "blocked"])
@pytest.mark.parametrize(
    ("deliver", "kind", "args"),
    [
        (lambda t: t.kill(), TaskletExit, ()),
        (lambda t: t.kill(pending=True), TaskletExit, ()),
        (lambda t: t.throw(KeyError, "x"), KeyError, ("x",)),
        (lambda t: t.throw(KeyError, "x", None, True), KeyError, ("x",)),
        (lambda t: t.raise_exception(KeyError, "x"), KeyError, ("x",)),
    ],
    ids=["kill", "pending kill", "throw", "pending throw", "raise_exception"],
)
def test_exceptions_are_delivered_in_the_owner(state, deliver, kind, args):
    """kill, throw and raise_exception raise it there, wake the owner and return at once."""
    never = channel()

    def prepare(report):
        wait = never.receive if state == "blocked" else lambda: schedule_remove(None)
        t = tasklet(catching(report, wait))()
        schedule()
        return t

    owner, log = Owner(prepare), []
    tasklet(log.append)("x")
    assert deliver(owner.tasklet) is None
    assert log == [] and stackless.runcount == 2
    assert never.balance == 0
    assert owner.result() == (kind, args, owner.thread.ident)
    assert not owner.tasklet.alive
    stackless.run()


def test_kill_of_a_never_started_foreign_tasklet():
    """8.1: it ends without running."""
    log = []

    def prepare(report):
        nonlocal reporter
        reporter = tasklet(reporting(report), ())
        return tasklet(log.append, ("ran",))

    reporter = None
    owner = Owner(prepare)
    owner.tasklet.kill(pending=True)
    reporter.insert()
    owner.result()
    assert log == [] and not owner.tasklet.alive


def test_pending_kill_of_another_threads_main():
    """11.3: legal."""
    seen = []

    def thread():
        mains.append(stackless.main)
        try:
            ch.receive()
        except TaskletExit:
            seen.append(threading.get_ident())

    ch, mains = channel(), []
    other = threading.Thread(target=thread, daemon=True)
    other.start()
    wait_until(lambda: ch.balance == -1)
    mains[0].kill(pending=True)
    other.join(60)
    assert seen == [other.ident] and ch.balance == 0


def test_switch_refuses_foreign_tasklets():
    """4.2: `can't switch to a different thread.`"""
    owner = Owner(lambda report: tasklet(reporting(report), ()))
    with pytest.raises(RuntimeError, match=r"^can't switch to a different thread\.$"):
        owner.tasklet.switch()
    assert owner.tasklet.paused and stackless.runcount == 1
    assert stackless.current.scheduled
    owner.tasklet.insert()
    owner.result()


def test_attributes_of_foreign_tasklets():
    """4.3: is_current and is_main are relative to the tasklet's own thread."""
    owner = Owner(lambda report: tasklet(reporting(report), ()))
    assert owner.main.is_main and owner.main.blocked and owner.main is not stackless.main
    assert owner.main.thread_id == owner.tasklet.thread_id == owner.thread.ident
    assert not owner.tasklet.is_main and not owner.tasklet.is_current
    assert owner.report.queue is owner.main
    owner.tasklet.insert()
    owner.result()


class BusyOwner:
    """A thread in the middle of a turn: its main is current and waits for `go` outside stackless.

    Its ring is [main, a, b]; p is paused. After `go` everything runs; `order` is the order.
    """

    def __init__(self):
        self.order = []
        self.ready, self.go = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()
        assert self.ready.wait(60)

    def _live(self):
        self.a = tasklet(self.order.append)("a")
        self.b = tasklet(self.order.append)("b")
        self.p = tasklet(self.order.append, ("p",))
        self.ready.set()
        assert self.go.wait(60)
        self.runcount = stackless.runcount
        stackless.run()

    def finish(self):
        self.go.set()
        self.thread.join(60)
        return "".join(self.order)


def test_foreign_insert_appends():
    """11.3: at the end of the owner's ring."""
    owner = BusyOwner()
    owner.p.insert()
    assert owner.b.next is owner.p
    assert (owner.finish(), owner.runcount) == ("abp", 4)


def test_foreign_run_puts_the_target_next_in_line():
    """11.3: right after the owner's current."""
    owner = BusyOwner()
    owner.p.run()
    assert owner.p.next is owner.a
    assert (owner.finish(), owner.runcount) == ("pab", 4)


def test_foreign_run_of_a_runnable_tasklet():
    """11.3: it leaves its place and is the next to run; for the running tasklet: no effect."""
    owner = BusyOwner()
    assert owner.b.run() is None
    assert owner.b.next is owner.a
    owner.b.prev.run()
    assert (owner.finish(), owner.runcount) == ("ba", 3)


def test_foreign_remove():
    """11.3: it leaves the owner's ring."""
    owner = BusyOwner()
    assert owner.a.remove() is owner.a
    assert owner.a.paused
    assert (owner.finish(), owner.runcount) == ("b", 2)


def test_foreign_pending_kill_of_a_runnable_tasklet():
    """11.3, 8.1: never started, so it ends without running; the rest is unchanged."""
    owner = BusyOwner()
    owner.a.kill(pending=True)
    assert owner.finish() == "b"


def test_foreign_wrong_states_are_refused_as_at_home():
    """4.2: the same errors as in the own thread."""
    owner = BusyOwner()
    with pytest.raises(RuntimeError, match="^tasklet is alive$"):
        owner.a.setup()
    with pytest.raises(RuntimeError, match="^tasklet is scheduled$"):
        owner.a.bind(int)
    with pytest.raises(RuntimeError, match=r"^The current tasklet cannot be removed\.$"):
        owner.a.prev.remove()
    assert owner.finish() == "ab"


# ------------------------------------------------------------------ many


def test_many_threads_share_a_channel():
    """11.2: every message arrives once, from several threads to one."""
    ch, count, threads = channel(), 200, []

    def send(name):
        for number in range(count):
            ch.send((name, number))

    for name in range(4):
        threads.append(threading.Thread(target=send, args=(name,), daemon=True))
        threads[-1].start()
    got = [ch.receive() for _ in range(4 * count)]
    for thread in threads:
        thread.join(60)
    assert sorted(got) == [(name, number) for name in range(4) for number in range(count)]
    for name in range(4):
        assert [number for who, number in got if who == name] == list(range(count))
