"""What happens to and around parked tasklets, in one process."""

import gc
import sys
import threading
import traceback

import pytest
import stackless
from child_process import assert_child
from other_thread import run_in_thread
from stackless import channel, schedule, schedule_remove, tasklet
from suspended import park, recurse, suspended

# ------------------------------------------------------------------ attributes and frames


def test_nothing_can_be_told_from_outside():
    """Attributes and frames are as before."""
    ch = channel()
    t = suspended(recurse, 20, lambda: ch.receive())
    names = "alive paused blocked scheduled restorable nesting_level recursion_depth thread_id"

    def look():
        frame, lines = t.frame, []
        while frame is not None:
            lines.append((frame.f_code, frame.f_lineno, dict(frame.f_locals)))
            frame = frame.f_back
        return [getattr(t, name) for name in names.split()], lines, repr(t), ch.balance

    before = look()
    park(t)
    assert look() == before and t.recursion_depth == 22
    ch.send(5)
    assert not t.alive


def test_frame_objects_stay_the_same():
    """A frame object taken before, meanwhile or after is the frame's own; `f_back` is unchanged."""
    ch, log = channel(), []

    def outer():
        log.append(sys._getframe())
        log.append(inner())
        log.append(sys._getframe())

    def inner():
        return ch.receive()

    t = suspended(outer)
    early = t.frame
    park(t)
    assert t.frame is early and early.f_back is log[0]
    assert early.f_code is inner.__code__
    ch.send("value")
    assert log[1] == "value" and log[2] is early.f_back is log[0]


def test_tracebacks_held_outside():
    """An exception caught before keeps its traceback, and one raised after shows all calls."""
    ch, caught = channel(), []

    def body():
        try:
            recurse(3, lambda: ch.receive())
        except KeyError as error:
            caught.append(error)
            ch.receive()
            raise

    t = suspended(body)
    park(t)
    ch.send_exception(KeyError, "first")
    names = [entry.name for entry in traceback.extract_tb(caught[0].__traceback__)]
    assert names == ["body", "recurse", "recurse", "recurse", "recurse", "<lambda>"]
    park(t)
    gc.collect()
    with pytest.raises(KeyError) as raised:
        ch.send(None)
        stackless.run()
    assert raised.value is caught[0]
    assert sys.exc_info() == (None, None, None)


def test_handled_exceptions_are_the_tasklets_own():
    """sys.exc_info() at each level, after waking twice."""
    seen = []

    def body():
        try:
            raise KeyError(1)
        except KeyError:
            schedule_remove(None)
            try:
                raise ValueError(2)
            except ValueError:
                schedule_remove(None)
                seen.append(repr(sys.exc_info()[1]))
            schedule_remove(None)
            seen.append(repr(sys.exc_info()[1]))
        schedule_remove(None)
        seen.append(sys.exc_info()[1])

    t = suspended(body)
    while t.alive:
        park(t).run()
    assert seen == ["ValueError(2)", "KeyError(1)", None]


# ------------------------------------------------------------------ spellings


class Waits:
    """The ways in which a tasklet can wait: each method returns the value that it got."""

    def receive(self, ch):
        return ch.receive()

    def receive_by_class(self, ch):
        return channel.receive(ch)

    def bound(self, ch):
        receive = ch.receive
        return receive()

    def iterate(self, ch):
        for value in ch:
            return value

    def iterate_more(self, ch):
        return [value for value, _ in zip([1, 2], [3, 4], strict=True) for value in self.twice(ch)]

    def twice(self, ch):
        values = []
        for value in ch:
            values.append(value)
            if len(values) == 2:
                return values

    def in_an_expression(self, ch):
        return 1, [ch.receive(), {"a": ch.receive()}], 2


@pytest.mark.parametrize("name", [name for name in vars(Waits) if name[0] != "_"])
def test_spellings_of_receive(name):
    """All ways to write a call of receive() give the same results when parked."""
    results = []
    for parks in (False, True):
        ch, got = channel(), []
        t = tasklet(lambda ch, got: got.append(getattr(Waits(), name)(ch)))(ch, got)
        schedule()
        number = 0
        while t.alive:
            if parks:
                park(t)
            number += 1
            ch.send(number)
        results.append(got)
    assert results[0] == results[1] != []


def test_spellings_of_send():
    """An exception or a value that is sent waits with the tasklet."""
    ch = channel()
    calls = [
        lambda: ch.send("value"),
        lambda: ch.send_exception(KeyError, "sent"),
        lambda: ch.send_throw(ValueError, "thrown"),
    ]
    results = []
    for call in calls:
        t = suspended(lambda call=call: results.append(call()))
        park(t)
        try:
            results.append(ch.receive())
        except LookupError as error:
            results.append(repr(error))
        except ValueError as error:
            results.append(repr(error))
        stackless.run()
        assert not t.alive
    assert results == ["value", None, "KeyError('sent')", None, "ValueError('thrown')", None]


def test_spellings_of_moves():
    """Schedule, schedule_remove, run, switch, kill, throw, raise_exception."""
    log = []

    def waits():
        while True:
            try:
                log.append(schedule_remove("paused"))
            except KeyError as error:
                log.append(repr(error))

    def body(other):
        log.append(stackless.schedule("ring"))
        log.append(stackless.schedule(retval="keyword"))
        log.append(other.run())
        log.append(other.throw(KeyError, "thrown"))
        log.append(other.raise_exception(KeyError, "raised"))
        log.append(other.throw(exc=KeyError("by name"), pending=False))
        log.append(other.switch())
        log.append(other.kill())

    other = suspended(waits)
    t = tasklet(body)(other)
    parks = 0
    while t.alive or t.scheduled:
        if not t.scheduled:
            t.insert()
        # One turn, of the tasklet to the right of main.
        stackless.run_n_tasklets(1)
        for one in (t, other):
            if one.alive and one.frame is not None and not one.is_current:
                park(one)
                parks += 1
    assert parks > 10 and not other.alive
    plain = [entry for entry in log if isinstance(entry, str)]
    assert plain[:2] == ["ring", "keyword"]
    assert [entry for entry in plain if "Error" in entry] == [
        "KeyError('thrown')",
        "KeyError('raised')",
        "KeyError('by name')",
    ]


def test_an_iteration_that_ends():
    """close() ends the loop of a parked tasklet; what follows the loop runs, `else` included."""
    ch, log = channel(), []

    def body():
        for value in ch:
            log.append(value)
        else:
            log.append("else")
        for _ in ch:
            log.append("never")
        log.append("end")

    t = park(suspended(body))
    ch.send(1)
    park(t)
    ch.close()
    stackless.run()
    assert log == [1, "else", "end"] and not t.alive


def test_stop_iteration_thrown_into_a_call():
    """Only an iteration takes it for its end."""

    def body():
        try:
            schedule_remove(None)
        except StopIteration as error:
            return seen.append(repr(error))

    seen = []
    park(suspended(body)).throw(StopIteration, "thrown")
    assert seen == ["StopIteration('thrown')"]


# ------------------------------------------------------------------ throw, kill, limits


def test_throw_and_kill():
    """`except` and `finally` run, and may wait and be parked again."""
    log = []

    def body():
        try:
            recurse(5, lambda: schedule_remove(None))
        except KeyError:
            log.append("caught")
        try:
            schedule_remove(None)
        finally:
            schedule_remove(None)
            log.append("finally")

    t = park(suspended(body))
    t.throw(KeyError)
    park(t).kill()
    assert log == ["caught"] and t.alive
    park(t).run()
    assert log == ["caught", "finally"] and not t.alive


def test_a_tasklet_under_a_limit():
    """Woken tasklets make ticks as others do, and can be interrupted."""

    def body():
        schedule_remove(None)
        while True:
            pass

    t = park(suspended(body))
    t.insert()
    assert stackless.run(1000) is t
    t.kill()


def test_recursion_depth_is_kept():
    """A woken tasklet reaches the recursion limit where it would have without parking."""

    def dive(depth=0):
        try:
            return dive(depth + 1)
        except RecursionError:
            return depth

    def body(stops):
        def middle(n):
            if n:
                return middle(n - 1)
            if stops:
                schedule_remove(None)
            return dive()

        depths.append(middle(300))

    depths = []
    tasklet(body)(False)
    stackless.run()
    park(suspended(body, True)).run()
    assert abs(depths[0] - depths[1]) <= 1


def test_deep_recursion_beyond_the_room_of_a_stack():
    """Frames that fill several chunks are parked and woken, also on a smaller stack."""
    assert_child(
        """
        import stackless, sys
        from stackless import _stackless
        sys.setrecursionlimit(30_000)
        def recurse(depth):
            a = b = c = d = depth
            if depth:
                return recurse(depth - 1) + 1
            for turn in range(3):
                stackless.schedule_remove(None)
            return 0
        results = []
        def body(depth):
            results.append(recurse(depth))
        for depth in (1000, 20_000):
            t = stackless.tasklet(body)(depth)
            stackless.run()
            for size in (1 << 20, 128 << 10, 8 << 20):
                _stackless._park(t)
                stackless.set_stack_limits(size=size)
                t.run()
            print(results[-1], t.alive)
        """,
        prints="1000 False 20000 False",
    )


# ------------------------------------------------------------------ generators


def test_a_generator_that_waits():
    """Hot and cold under `for`; also in its `finally`, and after its consumer has ended."""
    log = []

    def values(n):
        try:
            for i in range(n):
                yield schedule_remove(i)
        finally:
            schedule_remove(None)
            log.append("finally")

    def body():
        for value in values(3):
            log.append(value)

    for _ in range(50):
        log.clear()
        t = suspended(body)
        while t.alive:
            if t.restorable:
                park(t)
            t.run()
        assert log == [0, 1, 2, "finally"]
    if sys.version_info >= (3, 12):
        t = suspended(body)
        park(t)
        t.kill()
        stackless.run()


def test_a_generator_of_a_dropped_tasklet_is_finished():
    """None of its code runs, its variables are released, and asking it for more is harmless."""
    if sys.version_info < (3, 12):
        pytest.skip("a generator that waits cannot be parked on 3.11")
    log = []

    class Local:
        def __del__(self):
            log.append("released")

    def values(local):
        try:
            while True:
                yield schedule_remove(None)
        finally:
            log.append("finally")

    def body(generator):
        for _ in generator:
            pass

    generator = values(Local())
    t = suspended(body, generator)
    park(t)
    del t
    assert log == ["released"]
    assert list(generator) == [] and generator.gi_frame is None


# ------------------------------------------------------------------ tracing


def test_tracing_switched_on_while_parked():
    """sys.settrace: the lines after waking are seen, in frames that ran before, too."""
    lines = []

    def body():
        first = schedule_remove(None)
        second = first
        return second

    start = body.__code__.co_firstlineno
    t = park(suspended(body))

    def trace(frame, event, arg):
        if frame.f_code is body.__code__ and event == "line":
            lines.append(frame.f_lineno - start)
        return trace

    t.trace_function = trace
    t.frame.f_trace = trace
    t.run()
    assert lines == [2, 3]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
def test_monitoring_switched_on_and_off_while_parked():
    """Suspended frames are brought up to date when they continue."""
    assert_child(
        """
        import stackless, sys
        from stackless import _stackless
        monitoring = sys.monitoring
        seen = []
        def inner():
            stackless.schedule_remove(None)
            x = 1
            return x
        def body():
            for _ in range(3):
                inner()
        t = stackless.tasklet(body)()
        stackless.run()
        _stackless._park(t)
        monitoring.use_tool_id(2, "test")
        first = inner.__code__.co_firstlineno
        def line(code, number):
            if code is inner.__code__:
                seen.append(number - first)
        monitoring.register_callback(2, monitoring.events.LINE, line)
        monitoring.set_events(2, monitoring.events.LINE)
        t.run()
        _stackless._park(t)
        monitoring.set_events(2, 0)
        t.run()
        _stackless._park(t)
        monitoring.set_events(2, monitoring.events.LINE)
        t.run()
        monitoring.set_events(2, 0)
        print(seen, t.alive)
        """,
        prints="[2, 3, 1, 2, 3] False",
    )


# ------------------------------------------------------------------ threads and the end


def test_woken_in_another_thread():
    """bind_thread parks; context variables, handled exceptions and frames are taken along."""
    import contextvars

    var = contextvars.ContextVar("var")
    seen = []

    def body():
        var.set("mine")
        try:
            raise KeyError("handled")
        except KeyError:
            recurse(10, lambda: schedule_remove(0))
            seen.append((threading.get_ident(), var.get(), repr(sys.exc_info()[1])))

    t = suspended(body)

    def there():
        t.bind_thread()
        t.run()
        return threading.get_ident()

    ident = run_in_thread(there)
    assert seen == [(ident, "mine", "KeyError('handled')")] and not t.alive


def test_parked_at_exit():
    """Those of the main thread clean up as usual; those of an ended thread run nothing."""
    assert_child(
        """
        import stackless, sys, threading
        from stackless import _stackless
        kept = []
        def body():
            try: recurse(20)
            finally: print("finally")
        def recurse(n):
            return recurse(n - 1) if n else stackless.schedule_remove(None)
        def thread():
            for _ in range(5):
                t = stackless.tasklet(body)()
                stackless.run()
                _stackless._park(t)
                kept.append(t)
        other = threading.Thread(target=thread)
        other.start()
        other.join()
        thread()
        print("end", flush=True)
        sys.exit(42)
        """,
        prints="end " + "finally " * 5,
        exits=42,
    )
