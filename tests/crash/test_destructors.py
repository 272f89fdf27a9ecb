"""Destructors that switch, send, collect or raise, at any end of a tasklet."""

import pytest
from child_process import assert_child, run_child

SCENE = """
import gc, sys
import stackless

log = []
inbox = stackless.channel()

def listen():
    for value in inbox:
        log.append(value)

stackless.tasklet(listen)()
stackless.run()

class Fuse:
    "An object whose destructor does `action`."
    def __del__(self):
        log.append("del")
        action()

def schedules():
    stackless.schedule()

def sends():
    inbox.send("sent")

def collects():
    gc.collect()

def raises():
    raise KeyError("from a destructor")

def spawns():
    stackless.tasklet(log.append)("spawned")
    stackless.run()

def kills():
    t = stackless.tasklet(stackless.schedule_remove)(None)
    t.run()
    t.kill()

def removes_itself():
    if stackless.current is not stackless.main:
        stackless.current.kill()

# The ways a tasklet may hold a fuse when it ends. ------------------------------------

def argument():
    stackless.tasklet(lambda fuse: None)(Fuse())
    stackless.run()

def local():
    def body():
        fuse = Fuse()
        stackless.schedule()
    stackless.tasklet(body)()
    stackless.run()

def returned():
    stackless.tasklet(Fuse)()
    stackless.run()

def raised():
    def body():
        error = KeyError("carries a fuse")
        error.fuse = Fuse()
        raise error
    stackless.tasklet(body)()
    try:
        stackless.run()
    except KeyError:
        pass

def callable_itself():
    class Body(Fuse):
        def __call__(self):
            stackless.schedule()
    stackless.tasklet(Body())()
    stackless.run()

def unbound():
    stackless.tasklet(lambda fuse: None, (Fuse(),)).bind(None)

def never_started():
    stackless.tasklet(lambda fuse: None, (Fuse(),))

def tempval():
    t = stackless.tasklet(stackless.schedule_remove)(Fuse())
    stackless.run()
    t.tempval = None
    t.run()

def tempval_at_the_end():
    def body():
        stackless.current.tempval = Fuse()
    stackless.tasklet(body)()
    stackless.run()

def killed():
    def body():
        fuse = Fuse()
        stackless.schedule_remove(None)
    t = stackless.tasklet(body)()
    stackless.run()
    t.kill()

def dropped():
    def body():
        fuse = Fuse()
        stackless.schedule_remove(None)
    stackless.tasklet(body)()
    stackless.run()

def message():
    channel = stackless.channel()
    stackless.tasklet(channel.send)(Fuse())
    stackless.tasklet(channel.receive)()
    stackless.run()

def killed_sender():
    channel = stackless.channel()
    t = stackless.tasklet(channel.send)(Fuse())
    stackless.run()
    t.kill()

def subclass():
    class Mine(stackless.tasklet):
        __del__ = Fuse.__del__
    t = Mine(stackless.schedule)()
    stackless.run()
    del t

def context():
    import contextvars
    variable = contextvars.ContextVar("variable")
    def body():
        contextvars.copy_context().run(variable.set, Fuse())
    stackless.tasklet(body)()
    stackless.run()

action = globals()[sys.argv[1]]
for _ in range(3):
    globals()[sys.argv[2]]()
    stackless.tasklet(log.append)("next")
    stackless.run()
gc.collect()
stackless.run()
assert log.count("del") >= 3, log
assert log.count("next") == 3, log
assert stackless.runcount == 1 and stackless.current is stackless.main
assert inbox.balance == -1
inbox.send("last")
assert log[-1] == "last", log
print("end")
"""

ACTIONS = "schedules sends collects raises spawns kills removes_itself".split()
PLACES = (
    "argument local returned raised callable_itself unbound never_started tempval "
    "tempval_at_the_end killed dropped message killed_sender subclass context"
).split()


@pytest.mark.parametrize("action", ACTIONS)
def test_destructor_at_every_place(action):
    """One child process per action tries every place where a tasklet may hold the object."""
    # "spawns": a destructor inside run() when the process exits is ended, with a message.
    noisy = action in ("raises", "removes_itself", "spawns")
    for place in PLACES:
        if noisy:
            child = run_child(SCENE, args=(action, place))
            assert (child.returncode, child.stdout.split()) == (0, ["end"]), (place, child.stderr)
            assert "Fatal" not in child.stderr
        else:
            assert_child(SCENE, args=(action, place), prints="end")


def test_destructors_at_exit():
    """The same when the interpreter ends and kills what is blocked."""
    assert_child(
        """
        import gc, stackless, sys
        channel = stackless.channel()

        class Fuse:
            def __del__(self):
                gc.collect()
                stackless.tasklet(int)()
                stackless.schedule()

        def body(fuse):
            local = Fuse()
            channel.receive()

        for _ in range(100):
            stackless.tasklet(body)(Fuse())
        stackless.run()
        sys.exit(42)
        """,
        exits=42,
    )


def test_collection_during_switches():
    """A collector that runs at nearly every allocation, tasklets in every state."""
    assert_child(
        """
        import gc, stackless
        gc.set_threshold(1, 1, 1)
        channel = stackless.channel()
        got = []

        def producer(number):
            for value in range(10):
                channel.send((number, [value]))
                stackless.schedule()

        def consumer():
            for value in channel:
                got.append(value)

        for number in range(30):
            stackless.tasklet(producer)(number)
            stackless.tasklet(consumer)()
        stackless.run()
        channel.close()
        stackless.run()
        assert len(got) == 300, len(got)
        print("end")
        """,
        prints="end",
    )


def test_collector_callbacks_that_switch():
    """gc.callbacks run Python code in the middle of any allocation."""
    assert_child(
        """
        import gc, stackless
        log = []
        gc.callbacks.append(lambda phase, info: stackless.schedule())
        def body(number):
            for _ in range(20):
                gc.collect()
                stackless.schedule()
            log.append(number)
        for number in range(10):
            stackless.tasklet(body)(number)
        stackless.run()
        gc.callbacks.clear()
        assert sorted(log) == list(range(10)), log
        print("end")
        """,
        prints="end",
    )


def test_weakref_callbacks_that_switch():
    """At the end of a tasklet, as destructors."""
    assert_child(
        """
        import stackless, weakref
        log = []

        class Thing:
            pass

        def callback(reference):
            log.append("callback")
            stackless.schedule()

        def body():
            thing = Thing()
            references.append(weakref.ref(thing, callback))
            stackless.schedule()

        references = []
        for _ in range(10):
            stackless.tasklet(body)()
        t = stackless.tasklet(int)()
        references.append(weakref.ref(t, callback))
        del t
        stackless.run()
        assert log == ["callback"] * 11, log
        print("end")
        """,
        prints="end",
    )


SLEEPERS = {
    "on_its_own_stack": "channel.receive()",
    "on_the_stack_of_one_that_left": "tasklet(schedule_remove)(); channel.receive()",
    "on_the_stack_of_one_that_ended": "tasklet(int)(); channel.receive()",
}


@pytest.mark.parametrize("falls_asleep", SLEEPERS)
def test_collection_where_a_signal_handler_ends_a_sleep(falls_asleep):
    """The tasklet on whose stack the thread slept is in no list: no finalizer may run there."""
    assert_child(
        f"""
        import gc, signal
        from stackless import TimeoutError, channel, schedule_remove, sleep, tasklet
        channel, other = channel(), channel()

        class Waits:
            def __del__(self):
                try: other.receive(timeout=0.001)
                except TimeoutError: pass
                except RuntimeError: pass       # collected while the thread sleeps

        def handler(*_):
            for _ in range(5):
                waits = Waits()
                waits.cycle = waits
            gc.set_threshold(gc.get_count()[0] + distance)
            raise KeyError

        signal.signal(signal.SIGALRM, handler)
        tasklet(sleep)(60)
        for distance in range(20):
            gc.set_threshold(100_000)
            gc.collect()
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                {SLEEPERS[falls_asleep]}
            except KeyError: pass
            else: raise AssertionError
        print("end")
        """,
        prints="end",
    )


def test_what_a_program_puts_into_the_list_of_watchdogs():
    """It is dropped when run() is called: its destructor runs where the next tasklet runs."""
    assert_child(
        """
        import gc, stackless
        class Fuse:
            def __init__(self): self.cycle = self
            def __del__(self):
                where.append(stackless.current)
                stackless.schedule()
        where = []
        stackless.tasklet(int)()
        stackless.run()
        watchdogs = stackless.get_thread_info(-1, 1 << 31)[3]
        fuse = Fuse()
        fuse.cycle = None
        watchdogs.append(fuse)
        del fuse
        t, other = [stackless.tasklet(int)() for _ in range(2)]
        stackless.run()
        assert where == [t], where
        for distance in range(20):
            junk = [Fuse() for _ in range(10)]
            del junk
            stackless.tasklet(int)(), stackless.tasklet(int)()
            gc.set_threshold(gc.get_count()[0] + distance)
            stackless.run()
            gc.set_threshold(700)
        print("end")
        """,
        prints="end",
    )
