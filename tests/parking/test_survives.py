"""What happens to and around parked tasklets, in one process."""

import gc
import sys
import threading
import traceback
import weakref

import pytest
import stackless
from child_process import assert_child
from other_thread import run_in_thread
from stackless import _stackless, channel, schedule, schedule_remove, tasklet


def park(t):
    """Takes the C stack from a suspended tasklet, as happens when too many are in use."""
    _stackless._park(t)
    assert _stackless._is_parked(t)
    return t


def recurse(depth, call):
    return recurse(depth - 1, call) + 1 if depth else call()


def suspended(function, *args):
    t = tasklet(function)(*args)
    stackless.run()
    assert t.alive
    return t


# ------------------------------------------------------------------ what shows


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
    """A frame object taken before, meanwhile or after is the frame's own, and `f_back` leads on."""
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
    """How a tasklet can wait: each method returns what it got."""

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
    """Rulings 13."""
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
    """Rulings 13; an exception or a value that is sent waits with the tasklet."""
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
    """Rulings 13: schedule, schedule_remove, run, switch, kill, throw, raise_exception."""
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
        # One turn: whoever is to the right of main.
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


def test_one_under_a_limit():
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
    """A woken tasklet meets the recursion limit where it would have."""

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


# ------------------------------------------------------------------ destructors


class Loud:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def __del__(self):
        self.log.append((self.name, stackless.current))


def test_operands_are_dropped_in_the_tasklet():
    """A value that only the pending call held dies when the call returns, not when it is parked."""
    log = []

    def body():
        schedule_remove(Loud(log, "operand"))
        log.append("after")

    t = tasklet(body)()
    stackless.run()
    t.tempval = None
    park(t)
    gc.collect()
    assert log == []
    t.run()
    assert log == [("operand", t), "after"]


def test_a_temporary_channel_survives():
    """`channel().receive()`: the operand is all that holds it."""
    log = []

    def body():
        log.append(channel().receive())

    t = park(suspended(body))
    gone = weakref.ref(t._channel)
    assert gone() is not None
    t._channel.send("value")
    assert log == ["value"] and gone() is None


def test_destructors_that_switch():
    """One that runs while a woken tasklet drops its operands may wait: that is C code."""
    log, ch = [], channel()

    class Waits:
        def __del__(self):
            log.append(("waits", ch.receive()))

    def body():
        schedule_remove(Waits())
        log.append("after")

    t = suspended(body)
    t.tempval = None
    park(t).run()
    assert log == [] and t.blocked and not t.restorable
    with pytest.raises(RuntimeError, match="C state"):
        _stackless._park(t)
    ch.send(1)
    assert log == [("waits", 1), "after"] and not t.alive


def test_what_a_vanishing_one_held():
    """Destructors run; they may look at tasklets, switch and collect garbage."""
    log = []

    class Curious:
        def __del__(self):
            gc.collect()
            tasklet(log.append)("switched")
            schedule()
            log.append([type(t) for t in stackless.getuncollectables()])

    def body(curious):
        recurse(10, lambda: schedule_remove(None))

    t = park(suspended(body, Curious()))
    del t
    assert log == ["switched", []]


@pytest.mark.parametrize("begins", ["fresh", "parked"])
def test_a_destructor_that_waits_before_a_tasklet_goes_on(begins):
    """What others left to drop is dropped first, on the new stack: that is C code as well."""
    log = []

    class Waits:
        def __del__(self):
            schedule_remove(None)
            log.append("del")

    def body():
        if begins == "parked":
            schedule_remove(None)
        log.append("body")

    t = tasklet(body)()
    if begins == "parked":
        stackless.run()
        park(t).insert()
    stackless.main.tempval = Waits()
    schedule()
    assert t.paused and not t.restorable and log == []
    with pytest.raises(RuntimeError, match="C state"):
        _stackless._park(t)
    t.run()
    assert not t.alive and log == ["del", "body"]


def test_destructors_at_the_end_of_a_call():
    """One that waits while the variables of a call that has ended are dropped: C code again."""
    log = []

    class Waits:
        def __del__(self):
            schedule_remove(None)
            log.append("del")

    def inner():
        waits = Waits()
        schedule_remove(None)
        return waits is None

    def outer():
        inner()
        log.append("outer")

    for function in (inner, outer):
        for parks in (False, True):
            t = suspended(function)
            if parks:
                park(t)
            t.run()
            assert t.alive and not t.restorable and log == []
            assert "dropped" in _stackless._why_not_parked(
                t
            ) or "C code" in _stackless._why_not_parked(t)
            t.run()
            assert not t.alive and log == ["del", "outer"][: 1 + (function is outer)]
            log.clear()


# ------------------------------------------------------------------ generators


def test_a_generator_that_waits():
    """Hot and cold under `for`; also in its `finally`, and after its consumer has gone."""
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


def test_a_generator_of_a_vanished_tasklet_is_finished():
    """No code of it runs, its variables are released, and asking it for more is harmless."""
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
    """Suspended frames are brought up to date when they go on."""
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
    """bind_thread parks; context variables, handled exceptions and frames go along."""
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
    """Those of the main thread clean up, as others do; nothing runs of those of an ended thread."""
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


# ------------------------------------------------------------------ policy


def test_too_many_stacks():
    """From `park_above` stacks on those that wait longest are parked; all go on where they were."""
    assert_child(
        """
        import stackless
        from stackless import _stackless
        stackless.set_stack_limits(park_above=200)
        ch, results = stackless.channel(), []
        def inner(n): return n, ch.receive()
        def body(n): results.append(inner(n))
        all = []
        for n in range(5_000):
            all.append(stackless.tasklet(body)(n))
            stackless.run()
        stacks = [n for n, t in enumerate(all) if not _stackless._is_parked(t)]
        print(len(stacks) <= 300, min(stacks) > 4_000)
        while ch.balance: ch.send("value")
        stackless.run()
        print(results == [(n, "value") for n in range(5_000)], len(_stackless.getuncollectables()))
        """,
        prints="True True True 0",
    )


def test_unparkable_ones_may_exceed_the_number():
    """Rulings 15."""
    assert_child(
        """
        import stackless
        stackless.set_stack_limits(park_above=10)
        ch = stackless.channel()
        def body(): list(map(lambda _: ch.receive(), [0]))
        for _ in range(500): stackless.tasklet(body)()
        stackless.run()
        print(ch.balance)
        while ch.balance: ch.send(None)
        stackless.run()
        print(len(stackless.getuncollectables()))
        """,
        prints="-500 0",
    )


def test_many_unparkable_ones_are_forgotten():
    """That there were many is no reason not to park later."""
    assert_child(
        """
        import stackless
        from stackless import _stackless
        ch = stackless.channel()
        def hard(): list(map(lambda _: ch.receive(), [0]))
        def soft(): ch.receive()
        def fill(function, count):
            all = [stackless.tasklet(function)() for _ in range(count)]
            stackless.run()
            return any(_stackless._is_parked(t) for t in all)
        def empty():
            while ch.balance: ch.send(None)
            stackless.run()
        stackless.set_stack_limits(park_above=10)
        print(fill(hard, 5000))
        empty()
        stackless.set_stack_limits(park_above=100)
        print(fill(soft, 1000))
        empty()
        """,
        prints="False True",
    )


def test_room_is_made_when_there_are_no_more_stacks():
    """Before MemoryError."""
    assert_child(
        """
        import stackless
        stackless.set_stack_limits(count=10)
        ch = stackless.channel()
        def body(): ch.receive()
        for _ in range(1000): stackless.tasklet(body)()
        stackless.run()
        print(ch.balance)
        while ch.balance: ch.send(None)
        stackless.run()
        """,
        prints="-1000",
    )


def test_a_hundred_thousand():
    """Blocked, two frames deep, all woken; no more than a few thousand have a stack."""
    assert_child(
        """
        import stackless
        from stackless import _stackless
        ch, done = stackless.channel(), [0]
        def inner(): return ch.receive()
        def outer():
            inner()
            done[0] += 1
        all = [stackless.tasklet(outer)() for _ in range(100_000)]
        stackless.run()
        print(sum(not _stackless._is_parked(t) for t in all) <= 5_000)
        while ch.balance: ch.send(None)
        stackless.run()
        print(done)
        """,
        prints="True [100000]",
        timeout=120,
    )
