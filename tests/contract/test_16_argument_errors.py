"""Errors for wrong arguments and wrong states: types and texts, and that nothing changes.

Queue, run queue, runcount, balance, tempval and flags are as before after each error."""

import pytest
import stackless
from stackless import channel, schedule, schedule_remove, tasklet


class Scene:
    """A ring of main and two others, and a tasklet or channel in every other state."""

    def __init__(self):
        self.receivers, self.senders, self.free, self.closing = (channel() for _ in range(4))
        self.closing.close()
        self.blocked = tasklet(self.receivers.receive)()
        self.second = tasklet(self.receivers.receive)()
        self.sending = tasklet(self.senders.send)("a value")
        self.started = tasklet(schedule_remove)("its tempval")
        self.ended = tasklet(int)()
        stackless.run()
        self.empty = tasklet()
        self.bound = tasklet(int)
        self.fresh = tasklet(int, ())
        self.runnable = tasklet(schedule)("another tempval")
        schedule()
        self.waiting = tasklet(int)()
        self.main = stackless.main

    def tasklets(self):
        return [thing for thing in vars(self).values() if isinstance(thing, tasklet)]

    def state(self):
        shown = [stackless.runcount, stackless.current]
        for t in self.tasklets():
            shown.append(
                (t, t.alive, t.scheduled, t.blocked, t.paused, t.next, t.prev, t.tempval)
                + (t._channel, t.atomic, t.ignore_nesting, t.block_trap)
            )
        for ch in (self.receivers, self.senders, self.free, self.closing):
            shown.append((ch.balance, ch.queue, ch.preference, ch.schedule_all, ch.closing))
        return shown

    def clear_up(self):
        for t in self.tasklets():
            if t is not self.main:
                t.kill()


@pytest.fixture
def scene():
    scene = Scene()
    yield scene
    scene.clear_up()


def assert_refused(scene, call, kind, text):
    before = scene.state()
    with pytest.raises(kind, match=text) as caught:
        call(scene)
    assert type(caught.value) is kind
    assert scene.state() == before


def cases(table):
    return pytest.mark.parametrize(
        ("call", "kind", "text"), [pytest.param(*row[1:], id=row[0]) for row in table]
    )


NONE_AT_ALL = r"takes no arguments|expected 0 arguments"


# ------------------------------------------------------------------ how many arguments


@cases(
    [
        ("getcurrent", lambda s: stackless.getcurrent(1), TypeError, NONE_AT_ALL),
        ("getmain", lambda s: stackless.getmain(1), TypeError, NONE_AT_ALL),
        ("getruncount", lambda s: stackless.getruncount(1), TypeError, NONE_AT_ALL),
        ("getcurrentid", lambda s: stackless.getcurrentid(1), TypeError, NONE_AT_ALL),
        ("getthreads", lambda s: stackless.getthreads(1), TypeError, NONE_AT_ALL),
        ("getdebug", lambda s: stackless.getdebug(1), TypeError, NONE_AT_ALL),
        ("getuncollectables", lambda s: stackless.getuncollectables(1), TypeError, NONE_AT_ALL),
        (
            "get_schedule_callback",
            lambda s: stackless.get_schedule_callback(1),
            TypeError,
            NONE_AT_ALL,
        ),
        (
            "get_channel_callback",
            lambda s: stackless.get_channel_callback(1),
            TypeError,
            NONE_AT_ALL,
        ),
        ("insert", lambda s: s.fresh.insert(1), TypeError, NONE_AT_ALL),
        ("remove", lambda s: s.runnable.remove(1), TypeError, NONE_AT_ALL),
        ("t.run", lambda s: s.fresh.run(1), TypeError, NONE_AT_ALL),
        ("switch", lambda s: s.fresh.switch(1), TypeError, NONE_AT_ALL),
        ("receive", lambda s: s.senders.receive(1), TypeError, NONE_AT_ALL),
        ("close", lambda s: s.free.close(1), TypeError, NONE_AT_ALL),
        ("open", lambda s: s.closing.open(1), TypeError, NONE_AT_ALL),
        ("__iter__", lambda s: s.free.__iter__(1), TypeError, NONE_AT_ALL),
        ("__next__", lambda s: s.senders.__next__(1), TypeError, NONE_AT_ALL),
    ]
)
def test_calls_without_arguments(scene, call, kind, text):
    """16: too many for a no-argument call."""
    assert_refused(scene, call, kind, text)


ONE = "takes exactly one argument"
set_on_schedule, set_on_channel = stackless.set_schedule_callback, stackless.set_channel_callback


@cases(
    [
        ("send()", lambda s: s.receivers.send(), TypeError, ONE),
        ("send(1, 2)", lambda s: s.receivers.send(1, 2), TypeError, ONE),
        ("send_sequence()", lambda s: s.receivers.send_sequence(), TypeError, ONE),
        ("send_sequence(1, 2)", lambda s: s.receivers.send_sequence([], []), TypeError, ONE),
        ("set_atomic()", lambda s: s.fresh.set_atomic(), TypeError, ONE),
        ("set_atomic(1, 2)", lambda s: s.fresh.set_atomic(True, True), TypeError, ONE),
        ("schedule callback()", lambda s: set_on_schedule(), TypeError, ONE),
        (
            "schedule callback(1, 2)",
            lambda s: set_on_schedule(int, 1),
            TypeError,
            ONE,
        ),
        ("channel callback()", lambda s: set_on_channel(), TypeError, ONE),
        (
            "channel callback(1, 2)",
            lambda s: set_on_channel(int, 1),
            TypeError,
            ONE,
        ),
        ("enable_softswitch()", lambda s: stackless.enable_softswitch(), TypeError, ONE),
        ("enable_softswitch(1, 2)", lambda s: stackless.enable_softswitch(1, 1), TypeError, ONE),
        ("set_context()", lambda s: s.fresh.set_context(), TypeError, ONE),
        ("set_context(1, 2)", lambda s: s.fresh.set_context(1, 2), TypeError, ONE),
        ("set_ignore_nesting()", lambda s: s.fresh.set_ignore_nesting(), TypeError, ONE),
        ("set_ignore_nesting(1, 2)", lambda s: s.fresh.set_ignore_nesting(1, 1), TypeError, ONE),
    ]
)
def test_calls_with_one_argument(scene, call, kind, text):
    """16: too few or too many for a call with one positional argument."""
    assert_refused(scene, call, kind, text)


def at_most(number):
    return f"(takes|expected) at most {number} argument"


@cases(
    [
        ("run", lambda s: stackless.run(0, 0, 0, 0, 0, 0), TypeError, at_most(5)),
        ("schedule", lambda s: schedule(1, 2), TypeError, at_most(1)),
        ("schedule_remove", lambda s: schedule_remove(1, 2), TypeError, at_most(1)),
        ("tasklet", lambda s: tasklet(int, (), {}, 4), TypeError, at_most(3)),
        ("bind", lambda s: s.empty.bind(int, (), {}, 4), TypeError, at_most(3)),
        ("throw", lambda s: s.blocked.throw(KeyError, 1, None, 0, 5), TypeError, at_most(4)),
        ("kill", lambda s: s.blocked.kill(True, True), TypeError, at_most(1)),
        ("get_thread_info", lambda s: stackless.get_thread_info(-1, 0, 0), TypeError, at_most(2)),
        ("bind_thread", lambda s: s.fresh.bind_thread(-1, 0), TypeError, at_most(1)),
        ("switch_trap", lambda s: stackless.switch_trap(0, 0), TypeError, at_most(1)),
        ("set_error_handler", lambda s: stackless.set_error_handler(1, 2), TypeError, at_most(1)),
        (
            "send_throw",
            lambda s: s.receivers.send_throw(KeyError, None, None, 4),
            TypeError,
            at_most(3),
        ),
    ]
)
def test_calls_with_optional_arguments(scene, call, kind, text):
    """16: too many."""
    assert_refused(scene, call, kind, text)


AT_LEAST = r"(takes|expected) at least 1 argument"
THROW = AT_LEAST + r"|throw\(\) missing required argument 'exc' \(pos 1\)"


@cases(
    [
        ("throw()", lambda s: s.blocked.throw(), TypeError, THROW),
        ("context_run()", lambda s: s.fresh.context_run(), TypeError, None),
        ("send_throw()", lambda s: s.receivers.send_throw(), TypeError, AT_LEAST),
        (
            "send_exception()",
            lambda s: s.receivers.send_exception(),
            TypeError,
            r"send_exception\(\) takes at least 1 argument",
        ),
        (
            "raise_exception()",
            lambda s: s.blocked.raise_exception(),
            TypeError,
            r"raise_exception\(\) takes at least 1 argument",
        ),
    ]
)
def test_missing_arguments(scene, call, kind, text):
    """16: a required one is missing."""
    assert_refused(scene, call, kind, text)


NO_KEYWORDS = "takes no keyword arguments"


@cases(
    [
        ("getcurrent", lambda s: stackless.getcurrent(x=1), TypeError, NO_KEYWORDS),
        ("getruncount", lambda s: stackless.getruncount(x=1), TypeError, NO_KEYWORDS),
        ("getmain", lambda s: stackless.getmain(x=1), TypeError, NO_KEYWORDS),
        ("getcurrentid", lambda s: stackless.getcurrentid(x=1), TypeError, NO_KEYWORDS),
        ("bind_thread", lambda s: s.fresh.bind_thread(x=1), TypeError, NO_KEYWORDS),
        ("get_thread_info", lambda s: stackless.get_thread_info(x=1), TypeError, None),
        ("insert", lambda s: s.fresh.insert(x=1), TypeError, NO_KEYWORDS),
        ("remove", lambda s: s.runnable.remove(x=1), TypeError, NO_KEYWORDS),
        ("t.run", lambda s: s.fresh.run(x=1), TypeError, NO_KEYWORDS),
        ("switch", lambda s: s.fresh.switch(x=1), TypeError, NO_KEYWORDS),
        ("set_atomic", lambda s: s.fresh.set_atomic(flag=True), TypeError, NO_KEYWORDS),
        (
            "raise_exception",
            lambda s: s.blocked.raise_exception(KeyError, x=1),
            TypeError,
            NO_KEYWORDS,
        ),
        ("send(value=)", lambda s: s.receivers.send(value=1), TypeError, NO_KEYWORDS),
        ("send(1, x=)", lambda s: s.receivers.send(1, x=1), TypeError, NO_KEYWORDS),
        ("receive", lambda s: s.senders.receive(x=1), TypeError, NO_KEYWORDS),
        (
            "send_exception",
            lambda s: s.receivers.send_exception(KeyError, x=1),
            TypeError,
            NO_KEYWORDS,
        ),
        ("send_throw", lambda s: s.receivers.send_throw(exc=KeyError), TypeError, NO_KEYWORDS),
        ("send_sequence", lambda s: s.receivers.send_sequence([1], x=1), TypeError, NO_KEYWORDS),
        ("close", lambda s: s.free.close(x=1), TypeError, NO_KEYWORDS),
        ("open", lambda s: s.closing.open(x=1), TypeError, NO_KEYWORDS),
    ]
)
def test_refused_keywords(scene, call, kind, text):
    """16: keywords where there are none."""
    assert_refused(scene, call, kind, text)


@cases(
    [
        ("schedule", lambda s: schedule(x=1), TypeError, None),
        ("schedule_remove", lambda s: schedule_remove(x=1), TypeError, None),
        ("run", lambda s: stackless.run(x=1), TypeError, None),
        ("bind", lambda s: s.empty.bind(int, x=1), TypeError, None),
        ("tasklet", lambda s: tasklet(int, x=1), TypeError, None),
        ("throw", lambda s: s.blocked.throw(KeyError, x=1), TypeError, None),
        ("kill", lambda s: s.blocked.kill(x=1), TypeError, None),
        ("schedule twice", lambda s: schedule(1, retval=1), TypeError, None),
        ("kill twice", lambda s: s.blocked.kill(False, pending=False), TypeError, None),
        ("throw twice", lambda s: s.blocked.throw(KeyError, exc=KeyError), TypeError, None),
        ("run twice", lambda s: stackless.run(0, timeout=0), TypeError, None),
        ("set_error_handler", lambda s: stackless.set_error_handler(1, 2), TypeError, None),
    ]
)
def test_unknown_and_repeated_keywords(scene, call, kind, text):
    """16: TypeError."""
    assert_refused(scene, call, kind, text)


# ------------------------------------------------------------------ wrong kinds


@cases(
    [
        ("run", lambda s: stackless.run("x"), TypeError, None),
        ("run None", lambda s: stackless.run(None), TypeError, None),
        ("run a float", lambda s: stackless.run(1.5), TypeError, None),
        ("bind_thread", lambda s: s.fresh.bind_thread("x"), TypeError, None),
        ("get_thread_info", lambda s: stackless.get_thread_info("x"), TypeError, None),
        ("switch_trap", lambda s: stackless.switch_trap("x"), TypeError, None),
        ("schedule callback", lambda s: stackless.set_schedule_callback(1), TypeError, "callable"),
        ("channel callback", lambda s: stackless.set_channel_callback(1), TypeError, "callable"),
        ("bind", lambda s: s.fresh.bind("x"), TypeError, "must be a callable or None"),
        ("bind args", lambda s: s.fresh.bind(int, 5), TypeError, None),
        ("bind kwargs", lambda s: s.fresh.bind(int, (), 5), TypeError, None),
        ("throw", lambda s: s.blocked.throw(5), TypeError, "not int$"),
        ("throw a class", lambda s: s.blocked.throw(int), TypeError, "^exceptions must be"),
        ("throw on main", lambda s: s.main.throw(5), TypeError, "not int$"),
        ("throw pending", lambda s: s.blocked.throw(5, pending=True), TypeError, "not int$"),
        (
            "throw value",
            lambda s: s.blocked.throw(KeyError(), 1),
            TypeError,
            "^instance exception may not have a separate value$",
        ),
        (
            "throw traceback",
            lambda s: s.blocked.throw(KeyError, None, "x"),
            TypeError,
            "^third argument must be a traceback object$",
        ),
        (
            "raise_exception",
            lambda s: s.blocked.raise_exception(KeyError()),
            TypeError,
            "^tasklet.raise_exception needs Exception or string subclass as first parameter$",
        ),
        ("send_throw", lambda s: s.receivers.send_throw("x"), TypeError, "not str$"),
        (
            "send_exception",
            lambda s: s.receivers.send_exception(5),
            TypeError,
            "^channel.send_exception needs Exception or string subclass as first parameter$",
        ),
        ("send_sequence", lambda s: s.receivers.send_sequence(5), TypeError, None),
        (
            "set_atomic",
            lambda s: s.fresh.set_atomic("x"),
            TypeError,
            "^set_atomic needs exactly one bool or integer$",
        ),
        (
            "set_ignore_nesting",
            lambda s: s.fresh.set_ignore_nesting(None),
            TypeError,
            "^set_ignore_nesting needs exactly one bool or integer$",
        ),
        ("block_trap", lambda s: setattr(s.fresh, "block_trap", "x"), TypeError, "block_trap"),
        ("preference", lambda s: setattr(s.free, "preference", "x"), TypeError, "preference"),
        ("schedule_all", lambda s: setattr(s.free, "schedule_all", "x"), TypeError, "preference"),
        ("set_context", lambda s: s.fresh.set_context(5), TypeError, None),
        ("context_run", lambda s: s.fresh.context_run(5), TypeError, None),
    ]
)
def test_wrong_kinds(scene, call, kind, text):
    """16, 8.2, 4, 5: arguments of the wrong type."""
    assert_refused(scene, call, kind, text)


# ------------------------------------------------------------------ wrong states

BLOCKED = "^You cannot run a blocked tasklet$"
DEAD = r"^You cannot run an unbound\(dead\) tasklet$"
ALIVE = "^tasklet is alive$"
SCHEDULED = "^tasklet is scheduled$"
C_STATE = "^tasklet has C state on its stack$"
NOT_BOUND = "^the tasklet was not bound to a function$"
CURRENT = r"^can't \(re\)bind the current tasklet$"
THROW_DEAD = "^You cannot throw to a dead tasklet$"
CLOSED = "^Send/receive operation on a closed channel$"


@cases(
    [
        ("insert blocked", lambda s: s.blocked.insert(), RuntimeError, BLOCKED),
        ("insert a sender", lambda s: s.sending.insert(), RuntimeError, BLOCKED),
        ("insert empty", lambda s: s.empty.insert(), RuntimeError, DEAD),
        ("insert bound", lambda s: s.bound.insert(), RuntimeError, DEAD),
        ("insert ended", lambda s: s.ended.insert(), RuntimeError, DEAD),
        ("run blocked", lambda s: s.blocked.run(), RuntimeError, BLOCKED),
        ("run empty", lambda s: s.empty.run(), RuntimeError, DEAD),
        ("run bound", lambda s: s.bound.run(), RuntimeError, DEAD),
        ("run ended", lambda s: s.ended.run(), RuntimeError, DEAD),
        ("switch blocked", lambda s: s.blocked.switch(), RuntimeError, "blocked"),
        ("switch empty", lambda s: s.empty.switch(), RuntimeError, None),
        ("switch ended", lambda s: s.ended.switch(), RuntimeError, None),
        (
            "remove blocked",
            lambda s: s.blocked.remove(),
            RuntimeError,
            r"^You cannot remove a blocked tasklet\.$",
        ),
        (
            "remove current",
            lambda s: s.main.remove(),
            RuntimeError,
            r"^The current tasklet cannot be removed\.$",
        ),
        ("setup blocked", lambda s: s.blocked.setup(), RuntimeError, ALIVE),
        ("call runnable", lambda s: s.runnable(), RuntimeError, ALIVE),
        ("call started", lambda s: s.started(), RuntimeError, ALIVE),
        ("call fresh", lambda s: s.fresh(), RuntimeError, ALIVE),
        ("call main", lambda s: s.main(), RuntimeError, ALIVE),
        ("call empty", lambda s: s.empty(), RuntimeError, NOT_BOUND),
        ("call ended", lambda s: s.ended(), RuntimeError, NOT_BOUND),
        ("bind current", lambda s: s.main.bind(int), RuntimeError, CURRENT),
        ("unbind current", lambda s: s.main.bind(None), RuntimeError, CURRENT),
        ("bind runnable", lambda s: s.runnable.bind(int), RuntimeError, SCHEDULED),
        ("bind blocked", lambda s: s.blocked.bind(int, ()), RuntimeError, SCHEDULED),
        ("unbind blocked", lambda s: s.blocked.bind(None), RuntimeError, SCHEDULED),
        ("bind started", lambda s: s.started.bind(int), RuntimeError, C_STATE),
        ("unbind started", lambda s: s.started.bind(None), RuntimeError, C_STATE),
        ("bind nothing", lambda s: s.empty.bind(None, ()), RuntimeError, NOT_BOUND),
        ("throw to empty", lambda s: s.empty.throw(KeyError), RuntimeError, THROW_DEAD),
        ("throw to bound", lambda s: s.bound.throw(KeyError), RuntimeError, THROW_DEAD),
        ("throw to ended", lambda s: s.ended.throw(KeyError), RuntimeError, THROW_DEAD),
        (
            "pending throw to ended",
            lambda s: s.ended.throw(KeyError, pending=True),
            RuntimeError,
            THROW_DEAD,
        ),
        (
            "raise_exception to ended",
            lambda s: s.ended.raise_exception(KeyError),
            RuntimeError,
            THROW_DEAD,
        ),
        ("send closed", lambda s: s.closing.send(1), ValueError, CLOSED),
        ("receive closed", lambda s: s.closing.receive(), ValueError, CLOSED),
        ("next closed", lambda s: s.closing.__next__(), StopIteration, None),
        ("send_throw closed", lambda s: s.closing.send_throw(KeyError), ValueError, CLOSED),
        ("sequence closed", lambda s: s.closing.send_sequence([1]), ValueError, CLOSED),
        ("throw to oneself", lambda s: s.main.throw(KeyError, 1), KeyError, "1"),
        ("raise on oneself", lambda s: s.main.raise_exception(KeyError, 1), KeyError, "1"),
        ("kill oneself", lambda s: s.main.kill(), stackless.TaskletExit, None),
    ]
)
def test_wrong_states(scene, call, kind, text):
    """4, 5, 8: an operation that does not suit the state."""
    assert_refused(scene, call, kind, text)


@cases(
    [
        ("kill empty", lambda s: s.empty.kill(), None, None),
        ("kill bound", lambda s: s.bound.kill(), None, None),
        ("kill ended, pending", lambda s: s.ended.kill(pending=True), None, None),
        ("TaskletExit to ended", lambda s: s.ended.throw(stackless.TaskletExit), None, None),
        ("run current", lambda s: s.main.run(), None, None),
        ("switch current", lambda s: s.main.switch(), None, None),
    ]
)
def test_calls_that_do_nothing(scene, call, kind, text):
    """2, 8.1: no error and no change."""
    before = scene.state()
    assert call(scene) is None
    assert scene.state() == before


@cases(
    [
        ("insert", lambda s: s.waiting.insert() is s.waiting, None, None),
        ("insert current", lambda s: s.main.insert() is s.main, None, None),
        ("remove", lambda s: s.started.remove() is s.started, None, None),
        ("remove ended", lambda s: s.ended.remove() is s.ended, None, None),
        ("unbind empty", lambda s: s.empty.bind() is s.empty, None, None),
    ]
)
def test_calls_that_only_return_the_tasklet(scene, call, kind, text):
    """4.2: already so."""
    before = scene.state()
    assert call(scene)
    assert scene.state() == before


@pytest.mark.parametrize("operation", ["send", "receive", "next", "send_throw", "send_sequence"])
def test_block_trap(scene, operation):
    """4.3, 8.5: the trap of the current tasklet."""
    call = {
        "send": lambda s: s.free.send(1),
        "receive": lambda s: s.receivers.receive(),
        "next": lambda s: next(s.free),
        "send_throw": lambda s: s.senders.send_throw(KeyError),
        "send_sequence": lambda s: s.free.send_sequence([1]),
    }[operation]
    scene.main.block_trap = True
    try:
        text = r"^this tasklet does not like to be blocked\.$"
        assert_refused(scene, call, RuntimeError, text)
    finally:
        scene.main.block_trap = False


# ------------------------------------------------------------------ keywords that are names


def test_keyword_names(scene):
    """16: timeout threadblock soft ignore_nesting totaltimeout, retval, pending."""
    assert schedule(retval=1) == 1
    flags = dict.fromkeys(("threadblock", "soft", "ignore_nesting", "totaltimeout"), False)
    assert stackless.run(timeout=0, **flags) is None
    assert schedule_remove(retval=2) == 2
    assert scene.blocked.kill(pending=False) is None
    assert not scene.blocked.alive
