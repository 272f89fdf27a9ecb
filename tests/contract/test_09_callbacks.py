"""The schedule callback and the channel callback."""

import sys
import threading

import pytest
import stackless
from child_process import run_child
from other_thread import run_in_thread
from stackless import channel, schedule, schedule_remove, tasklet


@pytest.fixture(autouse=True)
def no_callbacks(clean_scheduler):
    yield
    stackless.set_schedule_callback(None)
    stackless.set_channel_callback(None)


@pytest.mark.parametrize("which", ["schedule", "channel"])
def test_setting_returns_the_previous_one(which):
    """3: None at first; anything but a callable or None is refused and changes nothing."""
    put = getattr(stackless, f"set_{which}_callback")
    get = getattr(stackless, f"get_{which}_callback")
    assert get() is None and put(print) is None and get() is print
    with pytest.raises(TypeError, match=f"{which} callback must be callable"):
        put(3)
    assert put(None) is print and get() is None


def test_one_per_interpreter():
    """9: not per thread: set in one thread, it applies to all."""
    stackless.set_schedule_callback(print)
    stackless.set_channel_callback(print)

    def thread():
        old = stackless.get_schedule_callback(), stackless.get_channel_callback()
        stackless.set_schedule_callback(None)
        stackless.set_channel_callback(None)
        return old

    stackless.set_schedule_callback(len_of_pair)
    assert run_in_thread(thread) == (len_of_pair, print)
    assert stackless.get_schedule_callback() is stackless.get_channel_callback() is None


def len_of_pair(*pair):
    return len(pair)


def test_switches_of_other_threads_are_seen():
    """9: before each actual switch on any thread."""
    seen = []

    def thread():
        stackless.getmain()
        seen.clear()
        t = tasklet(schedule)()
        stackless.run()
        return stackless.main, t

    stackless.set_schedule_callback(lambda *pair: seen.append(pair))
    main, t = run_in_thread(thread)
    assert [pair for pair in seen if None not in pair] == [(main, t), (t, main)]


@pytest.mark.parametrize(
    "cause, expected",
    [
        ("t.run", "main-t t-main"),
        ("t.switch", "main-t t-main"),
        ("t.kill", "main-t t-main"),
        ("send", "main-t t-main"),
        ("schedule_remove", "main-t t-main"),
    ],
)
def test_every_kind_of_switch_is_seen_once(cause, expected):
    """9: exactly one call per switch, whatever its cause."""
    names, seen = watch_switches()
    stackless.set_schedule_callback(None)
    ch = channel()
    t = tasklet(ch.receive if cause == "send" else schedule_remove)(
        *([] if cause == "send" else [None])
    )
    t.run()
    names[t] = "t"
    if cause == "schedule_remove":
        t.insert()
    stackless.set_schedule_callback(lambda old, new: seen.append(f"{names[old]}-{names[new]}"))
    {
        "t.run": t.run,
        "t.switch": t.switch,
        "t.kill": t.kill,
        "send": lambda: ch.send(1),
        "schedule_remove": schedule_remove,
    }[cause]()
    stackless.set_schedule_callback(None)
    assert " ".join(seen) == expected


def watch_switches():
    names, seen = {stackless.main: "main"}, []
    stackless.set_schedule_callback(lambda old, new: seen.append((names[old], names[new])))
    return names, seen


def test_one_call_per_switch():
    """9: two tasklets that yield once each, under run() from main."""
    names, seen = watch_switches()
    a, b = tasklet(schedule)(), tasklet(schedule)()
    names.update({a: "a", b: "b"})
    stackless.run()
    assert seen == [("main", "a"), ("a", "b"), ("b", "a"), ("a", "b"), ("b", "main")]


def test_no_call_without_a_switch():
    """9: none for schedule() alone, nor for a hand-over that does not switch."""
    _, seen = watch_switches()
    schedule()
    ch = channel()
    ch.preference = 0
    stackless.set_schedule_callback(None)
    receiver = tasklet(ch.receive)()
    stackless.run()
    stackless.set_schedule_callback(lambda *pair: seen.append(pair))
    ch.send(1)
    assert seen == []
    stackless.set_schedule_callback(None)
    stackless.run()
    assert not receiver.alive


def test_current_and_exception_are_those_of_the_previous_one():
    """9: getcurrent() is prev, and sys.exc_info() is still its own."""
    seen = []

    def callback(old, new):
        seen.append((stackless.getcurrent() is old, sys.exc_info()[0]))

    def body():
        try:
            raise KeyError
        except KeyError:
            schedule()

    tasklet(body)()
    tasklet(int)()
    stackless.set_schedule_callback(callback)
    stackless.run()
    stackless.set_schedule_callback(None)
    assert all(current for current, _ in seen)
    assert [kind for _, kind in seen] == [None, KeyError, None, None]


def test_callback_must_not_switch():
    """9: the attempt is refused; the switch that is being made continues."""
    refused, log = [], []

    def callback(old, new):
        try:
            schedule()
        except RuntimeError as error:
            refused.append(str(error))

    tasklet(log.append)("ran")
    tasklet(log.append)("ran too")
    stackless.set_schedule_callback(callback)
    stackless.run()
    stackless.set_schedule_callback(None)
    assert log == ["ran", "ran too"]
    assert refused and all("schedule callback" in text for text in refused)


def test_exception_in_the_callback_is_unraisable(monkeypatch):
    """9: it is passed to sys.unraisablehook, and the switch continues."""
    unraisable, log = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda info: unraisable.append(info.exc_type))

    def callback(old, new):
        raise LookupError

    tasklet(log.append)("ran")
    stackless.set_schedule_callback(callback)
    stackless.run()
    stackless.set_schedule_callback(None)
    assert log == ["ran"] and set(unraisable) == {LookupError}


def test_exception_in_the_callback_shows_on_stderr():
    """9: by the default hook; the exit code is not touched."""
    child = run_child(
        """
        import stackless
        def callback(old, new):
            raise LookupError("from the callback")
        stackless.tasklet(print)("ran")
        stackless.set_schedule_callback(callback)
        stackless.run()
        stackless.set_schedule_callback(None)
        """
    )
    assert child.returncode == 0 and child.stdout == "ran\n"
    assert child.stderr.count("LookupError: from the callback") == 2


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("change", ["remove", "kill"])
def test_callback_that_changes_the_run_queue(started, change):
    """9: whatever it does to the next tasklet, nothing is lost, and others run."""
    log = []

    def body():
        try:
            schedule()
        except stackless.TaskletExit:
            log.append("killed")

    t = tasklet(body)()
    if started:
        t.run()
    tasklet(log.append)("other")

    def callback(old, new):
        if new is t:
            stackless.set_schedule_callback(None)
            try:
                t.remove() if change == "remove" else t.kill()
            except RuntimeError:
                pass

    stackless.set_schedule_callback(callback)
    stackless.run()
    assert "other" in log
    t.kill()


def test_a_thread_begins():
    """9: (None, main) when a thread's main tasklet comes into being."""
    seen = []
    stackless.set_schedule_callback(lambda *pair: seen.append(pair))
    mains = []
    thread = threading.Thread(target=lambda: mains.append(stackless.getmain()))
    thread.start()
    thread.join()
    stackless.set_schedule_callback(None)
    assert (None, mains[0]) in seen


def test_channel_callback_sees_each_operation():
    """9: channel, acting tasklet, sending, willblock; the value is in its tempval."""
    seen, ch = [], channel()

    def callback(which, who, sending, willblock):
        assert which is ch
        seen.append((who is stackless.current, sending, willblock, who.tempval))

    t = tasklet(ch.receive)()
    stackless.set_channel_callback(callback)
    stackless.run()
    ch.send("value")
    stackless.set_channel_callback(None)
    assert seen == [(True, 0, 1, None), (True, 1, 0, "value")]
    stackless.run()
    assert not t.alive


def test_arguments_of_the_channel_callback_are_ints():
    """9: 0 and 1."""
    seen, ch = [], channel()
    stackless.set_channel_callback(lambda *args: seen.append(args[2:]))
    t = tasklet(ch.receive)()
    stackless.run()
    ch.send(1)
    stackless.set_channel_callback(None)
    assert all(type(flag) is int for pair in seen for flag in pair) and len(seen) == 2
    assert not t.alive


@pytest.mark.parametrize("first", ["sender", "receiver"])
def test_value_in_the_channel_callback(first):
    """9: the value being sent, a bomb for exceptions; None for receive."""
    values, ch = [], channel()
    error = KeyError("sent")

    def callback(_, who, sending, willblock):
        values.append((sending, willblock, who.tempval))

    def receive():
        for kind in (int, KeyError, KeyError):
            try:
                assert type(ch.receive()) is kind
            except KeyError:
                assert kind is KeyError

    def send():
        ch.send(5)
        ch.send_exception(KeyError, "made")
        ch.send_throw(error)

    ch.preference = 0
    stackless.set_channel_callback(callback)
    for body in (send, receive) if first == "sender" else (receive, send):
        tasklet(body)()
    stackless.run()
    stackless.set_channel_callback(None)
    assert [value for sending, _, value in values if not sending] == [None] * 3
    sent = [value for sending, _, value in values if sending]
    assert sent[0] == 5 and [type(value) for value in sent[1:]] == [stackless.bomb] * 2
    assert sent[1].type is KeyError and sent[2].value is error
    assert values[0][:2] == (int(first == "sender"), 1)
    assert len(values) == 6


@pytest.mark.parametrize(
    "refused",
    [
        lambda ch: ch.receive(),
        lambda ch: next(ch),
        lambda ch: ch.send_exception(KeyError),
        lambda ch: ch.send_throw(KeyError),
        lambda ch: ch.send_sequence([1]),
    ],
    ids="receive next send_exception send_throw send_sequence".split(),
)
def test_every_channel_operation_in_the_callback_is_refused(refused):
    """9: RuntimeError, and that channel is untouched."""
    ch, other, texts = channel(), channel(), []
    partner = tasklet(other.receive)()
    stackless.run()

    def callback(*_):
        try:
            refused(other)
        except RuntimeError as error:
            texts.append((str(error), other.balance))

    stackless.set_channel_callback(callback)
    t = tasklet(ch.receive)()
    stackless.run()
    stackless.set_channel_callback(None)
    assert texts == [("Recursive channel call due to callbacks!", -1)]
    partner.kill()
    t.kill()


@pytest.mark.parametrize("operation", ["sequence", "exception", "throw", "iteration"])
def test_channel_callback_for_all_kinds(operation):
    """9: also for iteration, send_exception, send_throw, and per item of send_sequence."""
    ch, seen = channel(), []

    def receiver():
        try:
            for _ in ch:
                pass
        except KeyError:
            pass

    t = tasklet(receiver)()
    stackless.run()
    stackless.set_channel_callback(lambda *args: seen.append(args[2:]))
    if operation == "sequence":
        ch.send_sequence([1, 2])
    elif operation == "exception":
        ch.send_exception(KeyError)
    elif operation == "throw":
        ch.send_throw(KeyError())
    else:
        ch.send(1)
    stackless.set_channel_callback(None)
    sends = [pair for pair in seen if pair == (1, 0)]
    assert len(sends) == (2 if operation == "sequence" else 1)
    receives = [pair for pair in seen if pair == (0, 1)]
    assert len(receives) == {"sequence": 2, "iteration": 1}.get(operation, 0)
    t.kill()


def test_channel_operation_in_the_callback():
    """9: refused by name, on any channel."""
    texts = []

    def callback(*_):
        with pytest.raises(RuntimeError) as caught:
            channel().send(1)
        texts.append(str(caught.value))

    ch = channel()
    t = tasklet(ch.receive)()
    stackless.set_channel_callback(callback)
    stackless.run()
    ch.send(1)
    stackless.set_channel_callback(None)
    assert texts == ["Recursive channel call due to callbacks!"] * 2
    stackless.run()
    assert not t.alive


def test_channel_callback_that_raises():
    """9: the caller gets it, and nothing was transferred."""
    got, ch = [], channel()
    t = tasklet(lambda: got.append(ch.receive()))()
    stackless.run()

    def callback(*_):
        raise LookupError("no")

    stackless.set_channel_callback(callback)
    with pytest.raises(LookupError, match="no"):
        ch.send(1)
    stackless.set_channel_callback(None)
    assert ch.balance == -1 and t.blocked and got == []
    assert stackless.current.tempval is None
    ch.send(2)
    assert got == [2]


def test_channel_callback_for_another_thread():
    """5.2: after the transfer."""
    ch, seen, ready = channel(), [], threading.Event()

    def other():
        ready.set()
        ch.receive()

    thread = threading.Thread(target=other)
    thread.start()
    ready.wait()
    while ch.balance == 0:
        pass
    stackless.set_channel_callback(lambda c, t, s, w: seen.append((s, w, c.balance)))
    ch.send(1)
    stackless.set_channel_callback(None)
    thread.join()
    assert seen == [(1, 0, 0)]
