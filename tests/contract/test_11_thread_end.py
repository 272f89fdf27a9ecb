"""The state of a thread's tasklets after the thread has ended."""

import gc
import threading
import weakref

import pytest
import stackless
from child_process import assert_child
from other_thread import run_in_thread
from stackless import TaskletExit, channel, schedule, schedule_remove, tasklet

NO_THREAD = "^tasklet has no thread$"


def pause():
    schedule_remove(None)


def paused():
    t = tasklet(pause)()
    t.run()
    return t


def blocked(ch):
    t = tasklet(ch.receive)()
    t.run()
    return t


def ended():
    t = tasklet(int)()
    t.run()
    return t


ORPHANS = {
    "empty": tasklet,
    "bound": lambda: tasklet(int),
    "with arguments": lambda: tasklet(int, ()),
    "runnable": lambda: tasklet(int)(),
    "runnable, started": lambda: paused().insert(),
    "paused": paused,
    "blocked": lambda: blocked(channel()),
    "ended": ended,
    "main": lambda: stackless.main,
    "in run()": lambda: sitting(),
}


def sitting():
    t = tasklet(stackless.run)()
    t.run()
    return t


@pytest.fixture(params=ORPHANS.values(), ids=ORPHANS)
def orphan(request):
    """A tasklet of a thread that has ended, by what it was before."""
    return run_in_thread(request.param)


READABLE = (
    "alive paused scheduled blocked is_main is_current atomic ignore_nesting block_trap restorable "
    "thread_id next prev frame nesting_level recursion_depth context_id tempval _channel "
    "trace_function profile_function"
).split()


def test_how_orphans_show(orphan):
    """No thread, not alive, not in a ring, no frame; every attribute can be read."""
    assert orphan.thread_id == -1
    assert orphan.alive is False and orphan.scheduled is False and orphan.is_current is False
    assert orphan.frame is None and orphan.next is None and orphan.prev is None
    for name in READABLE:
        getattr(orphan, name)
    assert not orphan.blocked and orphan.recursion_depth == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.remove(),
        lambda t: t.bind(None),
        lambda t: t.bind(int),
        lambda t: t.kill(),
        lambda t: t.kill(pending=True),
        lambda t: t.set_atomic(True),
        lambda t: t.set_ignore_nesting(True),
        lambda t: setattr(t, "tempval", 1),
        lambda t: setattr(t, "block_trap", True),
    ],
    ids="remove bind(None) bind(f) kill kill(pending) set_atomic set_ignore_nesting tempval "
    "block_trap".split(),
)
def test_what_still_works(orphan, call):
    """11.5: and leaves it without a thread."""
    if orphan.is_main:
        pytest.skip("main tasklets are another matter")
    call(orphan)
    assert orphan.thread_id == -1 and not orphan.alive


def test_taskletexit_for_one_with_frames():
    """11.5: `tasklet has no thread`; without frames there is nothing to end."""

    def thread(body):
        t = tasklet(body)(None)
        t.run()
        return t

    suspended = run_in_thread(lambda: thread(lambda _: schedule_remove(None)))
    with pytest.raises(RuntimeError, match=NO_THREAD):
        suspended.throw(TaskletExit)
    run_in_thread(lambda: thread(id)).throw(TaskletExit)


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.setup(),
        lambda t: t(),
        lambda t: t.bind(int, ()),
        lambda t: t.insert(),
        lambda t: t.run(),
        lambda t: t.switch(),
        lambda t: t.throw(KeyError),
        lambda t: t.throw(KeyError, pending=True),
        lambda t: t.raise_exception(KeyError),
    ],
    ids="setup call bind(f,args) insert run switch throw throw(pending) raise_exception".split(),
)
def test_what_is_refused(orphan, call):
    """11.5: RuntimeError, and nothing changes, in the calling thread either."""
    with pytest.raises(RuntimeError):
        call(orphan)
    assert orphan.thread_id == -1 and not orphan.scheduled
    assert stackless.runcount == 1 and stackless.current is stackless.main


def test_the_words_of_refusal():
    """4.1, 4.2, 8.2: for a never-started tasklet whose thread has ended."""
    t = run_in_thread(lambda: tasklet(int, ()))
    with pytest.raises(RuntimeError, match="^Target thread isn't initialized$"):
        t.insert()
    with pytest.raises(RuntimeError, match=NO_THREAD):
        t.run()
    with pytest.raises(RuntimeError, match=NO_THREAD):
        t.throw(KeyError)
    for empty in (run_in_thread(tasklet), run_in_thread(lambda: tasklet(int))):
        with pytest.raises(RuntimeError, match=NO_THREAD):
            empty.bind(int, ())


def test_started_ones_get_taskletexit():
    """11.5: with C state, `finally` runs, in the ending thread; never-started ones do not run."""
    log = []

    def body(name, wait):
        try:
            list(map(lambda _: wait(), [0]))
        except TaskletExit:
            log.append((name, threading.get_ident()))
            raise

    def thread():
        tasklet(body)("blocked", channel().receive)
        tasklet(body)("paused", lambda: schedule_remove(None))
        tasklet(body)("in run", stackless.run)
        schedule()
        tasklet(body)("runnable", schedule)
        schedule()
        tasklet(log.append)("never started")
        kept.extend(stackless.getuncollectables())
        return threading.get_ident()

    kept = []
    ident = run_in_thread(thread)
    names = "blocked", "in run", "paused", "runnable"
    assert sorted(log) == [(name, ident) for name in names]


def test_a_blocked_one_leaves_its_channel():
    """11.5: killed, it is out of the queue, whose balance is correct again."""
    ch = channel()
    t = run_in_thread(lambda: blocked(ch))
    assert not t.blocked and ch.balance == 0 and ch.queue is None
    other = tasklet(ch.receive)()
    schedule()
    ch.send(1)
    assert not other.alive


@pytest.mark.parametrize(
    "receive",
    [channel.receive, next, lambda ch: ch.receive(timeout=60)],
    ids="receive next timeout".split(),
)
def test_what_one_without_c_state_was_sending_is_received(receive):
    """11.5: it stays in the queue; its value is not lost, and the channel can be used."""
    ch, log = channel(), []

    def body(value):
        try:
            ch.send(value)
        finally:
            log.append("finally")

    def thread():
        waiting = [tasklet(body)(i) for i in range(3)]
        schedule()
        return waiting

    waiting = run_in_thread(thread)
    gone = weakref.ref(waiting.pop())
    assert ch.balance == 3 and [t.blocked for t in waiting] == [True, True]
    other = tasklet(ch.send)(3)
    schedule()
    assert [receive(ch) for _ in range(4)] == [0, 1, 2, 3]
    assert ch.balance == 0 and log == [] and gone() is None
    assert not any(t.alive or t.blocked for t in waiting)
    waiting[0].bind_thread()
    waiting[0].run()
    stackless.run()
    assert log == ["finally"] and not other.alive


def test_an_exception_that_one_was_sending_is_received():
    """11.5, 5.3"""
    ch = channel()

    def thread():
        t = tasklet(lambda: ch.send_exception(KeyError, "key"))()
        t.run()
        return t

    kept = run_in_thread(thread)
    with pytest.raises(KeyError, match="key"):
        ch.receive()
    assert ch.balance == 0 and not kept.blocked


def test_one_that_was_receiving_stays_in_the_queue():
    """11.5, 21.19: sending to it fails, until it has left."""
    ch = channel()
    received = []

    def body():
        received.append(ch.receive())

    def thread():
        t = tasklet(body)()
        t.run()
        return t

    t = run_in_thread(thread)
    assert t.blocked and ch.balance == -1
    with pytest.raises(RuntimeError, match=NO_THREAD):
        ch.send(1)
    assert t.blocked and ch.balance == -1
    t.bind_thread()
    ch.send(2)
    stackless.run()
    assert received == [2]


def test_a_temporary_main_exists_meanwhile():
    """11.5: getmain() gives another object than before."""
    seen = []

    def body():
        try:
            list(map(schedule_remove, [None]))
        finally:
            main = stackless.getmain()
            seen.append((main.is_main, main.thread_id == threading.get_ident()))
            mains.append(main)

    def thread():
        mains.append(stackless.main)
        t = tasklet(body)()
        t.run()
        return t

    mains = []
    t = run_in_thread(thread)
    assert not t.alive and seen == [(True, True)]
    assert mains[0] is not mains[1]
    assert not any(main.alive for main in mains)


def test_exceptions_of_dying_tasklets_are_not_lost():
    """11.5: an uncaught exception in a clean-up does not stop the clean-up of the others."""
    assert_child(
        """
        import stackless, threading, sys
        sys.unraisablehook = lambda info: print("unraisable", info.exc_type.__name__)
        threading.excepthook = lambda info: print("thread", info.exc_type.__name__)
        def body(name):
            try:
                list(map(stackless.schedule_remove, [None]))
            finally:
                print("clean-up", name)
                if name == "b":
                    raise KeyError
        kept = []
        def thread():
            for name in "abc":
                t = stackless.tasklet(body)(name)
                t.run()
                kept.append(t)
        t = threading.Thread(target=thread)
        t.start()
        t.join()
        print([t.alive for t in kept])
        """,
        prints="clean-up a clean-up b unraisable KeyError clean-up c [False, False, False]",
    )


STUBBORN = """
import gc, threading, stackless
from stackless import channel, schedule_remove, tasklet
ch = channel()
stop = []
def stubborn(wait):
    while not stop:
        try:
            list(map(lambda _: wait(), [0]))
        except TaskletExit:
            pass
def thread(wait):
    global t
    t = tasklet(stubborn)(wait)
    t.run()
def in_thread(wait):
    it = threading.Thread(target=thread, args=(wait,))
    it.start()
    it.join()
def fails(call, *args, **keywords):
    try:
        call(*args, **keywords)
    except RuntimeError as error:
        print(error)
    else:
        print("worked")
"""


def test_one_that_refuses_to_die():
    """11.5: it keeps its nesting level and counts as not alive."""
    assert_child(
        STUBBORN
        + """
in_thread(lambda: schedule_remove(None))
print(t.alive, t.thread_id, t.scheduled, t.nesting_level > 0 or not t.restorable)
fails(t.throw, TaskletExit)
fails(t.throw, KeyError)
fails(t.insert)
fails(t.run)
import os, sys
sys.stdout.flush()
os._exit(0)
""",
        prints="""
        False -1 False True
        tasklet has no thread
        tasklet has no thread
        Target thread isn't initialized
        tasklet has no thread
        """,
    )


def test_one_that_refuses_to_die_in_a_channel():
    """21.19: `blocked` stays, the balance counts it, and sending to it fails."""
    assert_child(
        STUBBORN
        + """
in_thread(ch.receive)
print(t.alive, t.blocked, t.thread_id, ch.balance, ch.queue is t)
fails(ch.send, 1)
print(t.blocked, ch.balance)
t.kill()
print(t.alive, t.blocked, ch.balance)
import os, sys
sys.stdout.flush()
os._exit(0)
""",
        prints="""
        False True -1 -1 True
        tasklet has no thread
        True -1
        False False 0
        """,
    )


def test_pending_throw_to_a_main_that_is_gone():
    """8.2: RuntimeError."""
    main = run_in_thread(lambda: stackless.main)
    assert not main.alive
    with pytest.raises(RuntimeError):
        main.throw(KeyError, pending=True)
    with pytest.raises(RuntimeError):
        main.insert()
    with pytest.raises(RuntimeError):
        main.run()


def test_orphans_do_not_keep_their_thread_alive():
    """11.5: only the object is left; dropped, it is freed."""
    t = run_in_thread(lambda: tasklet(int, (weak_value,)))
    gone = weakref.ref(t)
    del t
    gc.collect()
    assert gone() is None


class Value:
    def __index__(self):
        return 1


weak_value = Value()


def test_thread_local_destructors_run():
    """11.6: no leaked thread state."""
    log = []

    class Local:
        def __del__(self):
            log.append("destroyed")

    local = threading.local()

    def thread():
        local.value = Local()
        for _ in range(3):
            paused_ones.append(paused())
            blocked(channel())
        tasklet(int)()

    paused_ones = []
    run_in_thread(thread)
    gc.collect()
    assert log == ["destroyed"]
    assert not any(t.alive for t in paused_ones)


def test_many_threads_one_after_the_other():
    """11.6: a hundred of them leave nothing behind."""
    ch = channel()

    def thread():
        return weakref.ref(stackless.main), weakref.ref(blocked(ch)), weakref.ref(paused())

    references = [reference for _ in range(100) for reference in run_in_thread(thread)]
    gc.collect()
    assert [reference() for reference in references] == [None] * 300
    assert ch.balance == 0
