"""Python code that runs in the middle of a change: destructors and hooks."""

import pytest
from child_process import assert_child

BIND = """
import stackless
class Fuse:
    def __init__(self, action): self.action = action
    def __del__(self): self.action()
    def __call__(self): pass
t = stackless.tasklet(print)
def restart(): t.bind(print, ("again",)); t.insert()
"""


@pytest.mark.parametrize(
    "change",
    [
        "t.tempval = Fuse(lambda: t('again')); t.bind(len)",
        "t.bind(Fuse(restart)); t.tempval = None; t.bind(None)",
        "t.bind(Fuse(restart)); t.tempval = None; t(); t.kill()",
    ],
)
def test_rebound_by_a_destructor(change):
    """4.1: what the destructor sets up is kept; nothing starts without function or arguments."""
    code = f"{BIND}\ntry:\n    {change}\nexcept RuntimeError: pass\nstackless.run()\nprint('end')"
    printed = "end" if "len" in change else "again end"
    assert_child(code, prints=printed)


def test_started_twice_by_a_hash():
    """4.1: making the keyword dict runs a str subclass's __hash__, which starts the tasklet."""
    assert_child(
        """
        import stackless
        class Key(str):
            def __hash__(self):
                if armed: armed.clear(); t(1)
                return str.__hash__(self)
            __eq__ = str.__eq__
        armed, log = [], []
        t = stackless.tasklet(lambda *args, **kwargs: log.append(args))
        keywords = {Key("k"): 2}
        armed.append(1)
        try: t(**keywords)
        except RuntimeError as error: print(error)
        assert stackless.runcount == 2
        stackless.run()
        print(log, stackless.runcount)
        """,
        prints="tasklet is alive [(1,)] 1",
    )


def test_neighbour_freed_while_an_unstarted_tasklet_is_killed():
    """8.1: the right neighbour continues, or the tasklet that is there instead."""
    assert_child(
        """
        import stackless
        def nop(*args): pass
        class Fuse:
            def __del__(self):
                if neighbour[0].scheduled and neighbour[0] is not stackless.current:
                    neighbour[0].remove()
                neighbour.clear()
                fresh.append(stackless.tasklet(print)("fresh"))
        fresh = []
        victim = stackless.tasklet(nop)(Fuse())
        neighbour = [stackless.tasklet(nop)()]
        victim.kill()
        stackless.run()
        print("end")
        """,
        prints="fresh end",
    )


def test_tasklets_freed_while_the_process_exits():
    """8.3: SystemExit kills the others, and the destructors of some of them free the rest."""
    assert_child(
        """
        import stackless, sys
        class Sub(stackless.tasklet): pass
        class Fuse:
            def __del__(self):
                for s in subs: s.remove()
                subs.clear()
        paused = stackless.tasklet(stackless.schedule_remove)(None)
        stackless.run()
        paused.tempval = Fuse()
        stackless.tasklet(sys.exit)(3)
        subs = [Sub(print)(i) for i in range(50)]
        stackless.run()
        """,
        exits=3,
    )


def test_thread_ends_while_a_tasklet_is_destroyed():
    """11.5: its destructor waits in a channel; the object is destroyed once."""
    assert_child(
        """
        import stackless, threading
        class Waits:
            def __init__(self, channel): self.channel = channel
            def __del__(self):
                try: self.channel.receive()
                except TaskletExit: pass
        class Sub(stackless.tasklet): pass
        def worker(kind):
            channel = stackless.channel()
            def body():
                t = kind(lambda x: None, (Waits(channel),))
                del t
            stackless.tasklet(body)()
            stackless.run()
        for kind in [stackless.tasklet, Sub] * 25:
            thread = threading.Thread(target=worker, args=(kind,))
            thread.start()
            thread.join()
        many = [stackless.tasklet(print) for _ in range(300)]
        print(len({id(t) for t in many}))
        """,
        prints="300",
    )


def test_close_runs_destructors():
    """5.4: all waiting iterations end, in order, each once."""
    assert_child(
        """
        import stackless
        channel, log = stackless.channel(), []
        class Fuse:
            def __del__(self): second.insert()
        def iterate(name):
            for _ in channel: pass
            log.append(name)
        first, second, third = [stackless.tasklet(iterate)(name) for name in "abc"]
        stackless.run()
        first.tempval = Fuse()
        channel.close()
        stackless.run()
        print(*log, stackless.runcount)
        """,
        prints="a b c 1",
    )


def test_exception_for_an_unstarted_tasklet_survives_a_switch():
    """8.2: what is dropped at its start may switch."""
    assert_child(
        """
        import stackless
        class Fuse:
            def __del__(self): stackless.schedule()
        t = stackless.tasklet(print)("must not run")
        t.tempval = Fuse()
        try:
            t.throw(ValueError, "thrown")
            stackless.run()
        except ValueError as error: print(error)
        """,
        prints="thrown",
    )


def test_watcher_killed_by_a_destructor():
    """8.3: an exception goes to the run() caller that is innermost when it is delivered."""
    assert_child(
        """
        import stackless
        class Fuse:
            def __del__(self):
                outer.pop().kill()
                innocent.append(stackless.tasklet(print, ("must not run",)))
        innocent, outer = [], []
        def fails():
            stackless.current.tempval = Fuse()
            raise ValueError("uncaught")
        def body():
            stackless.tasklet(fails)()
            stackless.run()
        outer.append(stackless.tasklet(body)())
        try: stackless.run()
        except ValueError as error: print("main got", error)
        assert innocent[0].alive and not innocent[0].scheduled
        print(stackless.runcount)
        """,
        prints="main got uncaught 1",
    )


LEAVES_SOMETHING = """
import contextvars, gc, stackless, sys
variable = contextvars.ContextVar("variable")
class Marker:
    alive = 0
    def __init__(self): Marker.alive += 1
    def __del__(self): Marker.alive -= 1
class Fuse:
    def __init__(self, trace): self.trace = trace
    def __del__(self):
        if self.trace: sys.settrace(lambda *args: None)
        else: variable.set(Marker())
"""


def test_what_the_end_drops_stays_with_the_tasklet():
    """14, 15: a destructor at the end sets a trace function or a context variable."""
    assert_child(
        LEAVES_SOMETHING
        + """
for trace in [False] * 10 + [True]:
    t = stackless.tasklet(lambda: variable.set(Fuse(trace)))
    t.set_context(contextvars.Context())()
    stackless.run()
    del t
gc.collect()
print(Marker.alive, sys.gettrace())
""",
        prints="0 None",
    )


def test_audit_hook_that_forbids_untracing():
    """14: nothing gets the trace function of an ended tasklet."""
    assert_child(
        """
        import stackless, sys
        armed = []
        def hook(event, args):
            if armed and event == "sys.settrace": raise RuntimeError("forbidden")
        sys.addaudithook(hook)
        sys.unraisablehook = lambda info: print(info.exc_value)
        def body():
            sys.settrace(lambda *args: None)
            armed.append(1)
        stackless.tasklet(body)()
        stackless.run()
        armed.clear()
        print(sys.gettrace())
        """,
        prints="forbidden None",
    )


def test_trace_function_set_by_the_destructor_of_the_old_one():
    """14: refused; the old one is dropped once."""
    assert_child(
        """
        import stackless
        class Old:
            def __call__(self, *args): return None
            def __del__(self):
                try: t.trace_function = print
                except RuntimeError: print("refused")
        def body():
            while True: stackless.schedule_remove(None)
        t = stackless.tasklet(body)()
        stackless.run()
        t.trace_function = Old()
        t.trace_function = None
        print(t.trace_function)
        """,
        prints="refused None",
    )


def test_finaliser_memory_is_not_used_again():
    """12: every dropped tasklet is finalized, even if an earlier one had the same address."""
    assert_child(
        """
        import gc, stackless
        log = []
        def body():
            me = stackless.current
            try: list(map(stackless.schedule_remove, [None]))
            finally: log.append(me is stackless.current)
        for _ in range(5):
            t = stackless.tasklet(body)()
            stackless.run()
            del t
            gc.collect()
        print(*log)
        """,
        prints="True True True True True",
    )


def test_dead_after_all_is_no_garbage():
    """12: a tasklet whose clean-up raises has ended, and is not in gc.garbage."""
    assert_child(
        """
        import gc, stackless, sys
        sys.unraisablehook = lambda info: print(repr(info.exc_value))
        def body():
            try: list(map(stackless.schedule_remove, [None]))
            finally: 1 / 0
        t = stackless.tasklet(body)()
        stackless.run()
        del t
        print(gc.garbage)
        """,
        prints="ZeroDivisionError('division by zero') []",
    )


def test_error_handler_that_exits_quietly():
    """8.3: an exception of the handler is the tasklet's; TaskletExit ends it without an error."""
    assert_child(
        """
        import stackless
        def handler(*exception): raise TaskletExit
        stackless.set_error_handler(handler)
        stackless.tasklet(lambda: 1 / 0)()
        stackless.run()
        print("silent")
        """,
        prints="silent",
    )


def test_pending_exception_is_not_lost():
    """8.2, 11.3: left for the running tasklet of another thread, raised at its next switch."""
    assert_child(
        """
        import stackless, threading
        ready, box = threading.Event(), []
        def worker():
            box.append(stackless.main)
            stackless.tasklet(lambda: [stackless.schedule() for _ in range(10**9)])()
            ready.set()
            try:
                while True: stackless.schedule()
            except TaskletExit: print("killed")
        thread = threading.Thread(target=worker)
        thread.start()
        ready.wait()
        box[0].kill(pending=True)
        thread.join()
        """,
        prints="killed",
    )


def test_ended_thread_does_not_begin_again():
    """11.5: a destructor that runs when the thread has nearly ended is refused."""
    assert_child(
        """
        import _thread, contextvars, stackless, time
        variable = contextvars.ContextVar("variable")
        class Late:
            def __del__(self):
                try: stackless.getcurrent()
                except RuntimeError as error: print(error)
        def worker():
            stackless.getcurrent()
            variable.set(Late())
            begun.append(True)
        begun = []
        # Not threading: its threads have a context of their own from 3.14 on.
        _thread.start_new_thread(worker, ())
        while not begun or _thread._count():
            time.sleep(0.01)
        """,
        prints="this thread is ending, and its tasklets have ended",
    )


def test_no_deadlock_while_a_signal_handler_runs():
    """8.4: the main thread sleeps, but its handler will wake the worker: no deadlock."""
    assert_child(
        """
        import signal, stackless, threading, time
        for_main, for_worker = stackless.channel(), stackless.channel()
        def handler(*_):
            blocked.wait()
            time.sleep(0.3)
            for_worker.send("from the handler")
        signal.signal(signal.SIGALRM, handler)
        blocked = threading.Event()
        def worker():
            time.sleep(0.2)
            blocked.set()
            print(for_worker.receive())
            for_main.send("bye")
        thread = threading.Thread(target=worker)
        thread.start()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        print(for_main.receive())
        thread.join()
        """,
        prints="from the handler bye",
    )


def test_heir_while_the_tasklet_ends():
    """12: a subclass with its own __del__ is dropped while a destructor or handler waits."""
    assert_child(
        """
        import stackless
        class Sub(stackless.tasklet):
            def __del__(self): pass
        class Fuse:
            def __del__(self):
                try: stackless.schedule_remove(None)
                except TaskletExit: print("killed")
        def handler(*exception):
            try: stackless.schedule_remove(None)
            except TaskletExit: print("killed too")
        def with_fuse(): stackless.current.tempval = Fuse()
        stackless.set_error_handler(handler)
        for body in with_fuse, lambda: 1 / 0:
            t = Sub(body)()
            stackless.run()
            assert t.paused
            del t
        print(stackless.runcount)
        """,
        prints="killed killed too 1",
    )


def test_sleep_on_the_stack_of_a_paused_tasklet():
    """8.4: a signal handler's channel operation does not drop it under its own stack."""
    assert_child(
        """
        import signal, stackless, threading, time
        channel = stackless.channel()
        signal.signal(signal.SIGALRM, lambda *_: channel.send("from the handler"))
        threading.Thread(target=time.sleep, args=(0.5,)).start()
        def body():
            try: list(map(stackless.schedule_remove, [None]))
            finally: print("body", stackless.current.alive)
        stackless.tasklet(body)()
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        print(channel.receive())
        """,
        prints="body True from the handler",
    )


@pytest.mark.parametrize("own_del", [False, True])
def test_garbage_that_runs_again_finds_its_variables(own_del):
    """12: the collector does not clear what a tasklet uses that its finalizer did not end."""
    assert_child(
        f"""
        import contextvars, gc, stackless
        class Sub(stackless.tasklet):
            if {own_del}:
                def __del__(self): pass
        def body():
            me = stackless.current
            local = {{"key": "value", "me": me}}
            for _ in range(2):
                try: stackless.schedule_remove(None)
                except TaskletExit: stackless.schedule()
                contextvars.copy_context()
                assert list(local) == ["key", "me"]
        t = Sub(body).set_context(contextvars.Context())()
        stackless.run()
        del t
        for _ in range(4):
            gc.collect()
            stackless.run()
        print("end")
        """,
        prints="end",
    )


HEIR = """
import stackless
class Sub(stackless.tasklet):
    def __del__(self): pass
def wait():
    "Is dropped here; the stack goes on under an heir, while the memory is used again."
    try: stackless.schedule_remove(None)
    except TaskletExit: stackless.schedule()
"""


def test_heir_before_the_function_is_called():
    """12: the freed memory of the dropped object is not read for what was stored in it."""
    assert_child(
        HEIR
        + """
class Fuse:
    def __del__(self): wait()
stackless.current.tempval = Fuse()
t = Sub(print)("first")
stackless.schedule()
assert t.paused
del t
others = [Sub(print, ("must not run",)) for _ in range(50)]
stackless.run()
print(all(other.alive for other in others), stackless.runcount)
""",
        prints="True 1",
    )


def test_heir_in_the_channel_callback():
    """9, 12: the tempval that is emptied after the callback is that of the tasklet that acts."""
    assert_child(
        HEIR
        + """
channel = stackless.channel()
def callback(*_):
    del _
    stackless.set_channel_callback(None)
    wait()
def body():
    try: channel.send(1)
    except TaskletExit: pass
t = Sub(body)()
stackless.set_channel_callback(callback)
stackless.run()
assert t.paused
del t
others = [Sub(print) for _ in range(50)]
for other in others: other.tempval = "mine"
stackless.run()
print({other.tempval for other in others})
""",
        prints="{'mine'}",
    )


def test_schedule_callback_that_rebinds_the_next_tasklet():
    """9: without arguments there is nothing to call."""
    assert_child(
        """
        import stackless
        armed = [1]
        def callback(previous, following):
            if armed and following is victim:
                armed.clear()
                following.remove()
                following.bind(print)
        first, victim = [stackless.tasklet(lambda: None)() for _ in range(2)]
        stackless.set_schedule_callback(callback)
        stackless.run()
        print(victim.alive, stackless.runcount)
        """,
        prints="False 1",
    )


def test_exception_that_a_sleeping_tasklet_sends():
    """5.3: a signal handler's channel operation does not take it for one thrown at the sleeper."""
    assert_child(
        """
        import signal, stackless, threading, time
        channel, other = stackless.channel(), stackless.channel()
        other.preference = 0
        signal.signal(signal.SIGALRM, lambda *_: other.send("hello"))
        handled = threading.Event()
        def worker():
            stackless.tasklet(lambda: (print(other.receive()), handled.set()))()
            stackless.schedule()
            while not handled.is_set():
                time.sleep(0.01)
                stackless.schedule()
            try: channel.receive()
            except KeyError as error: print(error.args[0])
        thread = threading.Thread(target=worker)
        thread.start()
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        channel.send_exception(KeyError, "for the receiver")
        thread.join()
        """,
        prints="hello for the receiver",
    )


def test_tempval_dropped_at_the_end_leaves_nothing():
    """14, 15: its destructor sets a context variable, or a trace function."""
    assert_child(
        LEAVES_SOMETHING
        + """
def body(trace): stackless.current.tempval = Fuse(trace)
for trace in [False] * 10 + [True]:
    stackless.tasklet(body)(trace)
    stackless.run()
gc.collect()
print(Marker.alive, sys.gettrace())
""",
        prints="0 None",
    )
