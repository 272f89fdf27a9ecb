"""stackless.snapshot and stackless.dump: every tasklet with its state, reason and stack."""

import io
import re
import signal
import sys
import threading

import pytest
import stackless
from child_process import assert_child, in_child_process
from other_thread import Owner
from stackless import channel, explain, tasklet


def line_of(function, offset):
    return function.__code__.co_firstlineno + offset


def waits_for(ch):
    ch.receive()


def sends_to(ch):
    ch.send(1)


def iterates(ch):
    for _ in ch:
        pass


def pauses(ch):
    stackless.schedule_remove()


def named(name):
    found = [info for info in stackless.snapshot() if info.name == name]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    "function, state, line, balance",
    [
        (waits_for, "receiving", 1, -1),
        (sends_to, "sending", 1, 1),
        (iterates, "iterating", 1, -1),
        (pauses, "paused", 1, None),
    ],
)
def test_states_and_places(function, state, line, balance):
    """State, channel with its balance, and the stack, outermost call first."""
    ch = channel()
    t = tasklet(function)(ch)
    assert named(function.__name__).state == "runnable" and not named(function.__name__).started
    stackless.run()
    info = named(function.__name__)
    assert (info.state, info.started, info.whole) == (state, True, True)
    assert info.thread == threading.get_ident()
    assert info.stack == ((__file__, line_of(function, line), function.__name__),)
    if balance is None:
        assert info.channel is None
    else:
        assert info.channel == (id(ch), "ch", balance, False, 0)
        assert hex(id(ch)) in info.reason and str(balance) in info.reason
    t.kill()
    assert not [info for info in stackless.snapshot() if info.name == function.__name__]


def test_main_the_caller_and_those_that_were_never_started():
    """main runs; bound and empty tasklets; the callers of run()."""
    fresh = tasklet(waits_for)
    empty = tasklet()
    seen = []

    def looks():
        seen.extend(stackless.snapshot())

    tasklet(looks)()
    stackless.run()
    states = {info.name: info.state for info in seen}
    assert states["main"] == "in run()"
    assert [state for name, state in states.items() if name.endswith("looks")] == ["running"]
    assert states["waits_for"] == "not started"
    assert named("waits_for").stack == ((__file__, line_of(waits_for, 0), "waits_for"),)
    main = next(info for info in stackless.snapshot() if info.name == "main")
    assert main.state == "running"
    function = test_main_the_caller_and_those_that_were_never_started.__name__
    assert main.stack[-1].function == function, "our own calls are not shown"
    assert "" not in states and fresh is not empty


def test_nested_calls_outermost_first():
    """The order is that of a traceback."""

    def inner(ch):
        ch.receive()

    def outer(ch):
        inner(ch)

    t = tasklet(outer)(channel())
    stackless.run()
    info = named("outer")
    assert [call.function.split(".")[-1] for call in info.stack] == ["outer", "inner"]
    t.kill()


def test_deep_stacks_are_cut():
    """The 100 innermost calls are kept, and the name as well."""

    def recurses(depth, ch):
        if depth:
            return recurses(depth - 1, ch)
        return ch.receive()

    t = tasklet(recurses)(500, channel())
    stackless.run()
    info = named("recurses")
    assert len(info.stack) == 100 and not info.whole
    text = io.StringIO()
    stackless.dump(text)
    assert "outer calls are not shown" in text.getvalue()
    t.kill()


@in_child_process
def test_other_threads():
    """Tasklets of every thread, from any thread."""
    owner = Owner(lambda report: tasklet(waits_for)(channel()))
    mine = tasklet(sends_to)(channel())
    stackless.run()
    infos = {info.name: info for info in stackless.snapshot() if info.name != "main"}
    # Its thread sleeps on main's stack, and has not begun the other tasklet.
    assert infos["waits_for"].thread == owner.thread.ident
    assert infos["sends_to"].thread == threading.get_ident()
    mains = [info for info in stackless.snapshot() if info.name == "main"]
    assert {info.thread for info in mains} == {owner.thread.ident, threading.get_ident()}
    asleep = next(info for info in mains if info.thread == owner.thread.ident)
    assert asleep.state in ("receiving", "runnable")
    text = []
    thread = threading.Thread(target=lambda: text.append(explain._dump_text()))
    thread.start()
    thread.join()
    assert "sends_to" in text[0] and "waits_for" in text[0] and owner.thread.name in text[0]
    mine.kill()
    owner.report.send(None)
    owner.tasklet.kill()
    owner.thread.join(60)


def test_dump_groups_those_with_the_same_stack():
    """37 tasklets in one entry."""
    ch = channel()
    for _ in range(37):
        tasklet(waits_for)(ch)
    other = tasklet(sends_to)(channel())
    stackless.run()
    file = io.StringIO()
    stackless.dump(file)
    text = file.getvalue()
    assert (
        len(re.findall(r"^37 tasklets 'waits_for' \(.*\.\.\.\): blocked receiving", text, re.M))
        == 1
    )
    assert text.count("in waits_for\n") == 1
    assert f'  File "{__file__}", line {line_of(waits_for, 1)}, in waits_for\n' in text
    assert "(balance -37)" in text and "tasklet" in text and "'sends_to'" in text
    for _ in range(37):
        ch.send(None)
    stackless.run()
    other.kill()


def test_dump_goes_to_stderr(capsys):
    """Unless another file is given."""
    assert stackless.dump() is None
    out, err = capsys.readouterr()
    assert out == "" and "main: running" in err


def test_ages_are_known_while_they_are_kept():
    """None before ages are kept, then the seconds since the tasklet last ran."""
    ch = channel()
    t = tasklet(waits_for)(ch)
    stackless.run()
    assert named("waits_for").age is None
    explain.keep_ages()
    try:
        assert named("waits_for").age is None, "it has not run since"
        ch.send(None)
        stackless.run()
        again = tasklet(waits_for)(ch)
        stackless.run()
        first = named("waits_for")
        assert first.age >= 0 and first.switches == 1
        assert named("waits_for").age > first.age
        file = io.StringIO()
        stackless.dump(file)
        assert re.search(r"blocked receiving .*, for \d", file.getvalue())
    finally:
        explain.keep_ages(False)
    assert named("waits_for").age is None
    again.kill()
    assert not t.alive


def test_records_hold_no_references():
    """A snapshot keeps nothing alive."""
    ch = channel()
    t = tasklet(waits_for)(ch)
    stackless.run()
    before = sys.getrefcount(t), sys.getrefcount(ch)
    infos = stackless.snapshot()
    assert (sys.getrefcount(t), sys.getrefcount(ch)) == before and infos
    t.kill()


class Unspeakable:
    """An object that must not be used in any way."""

    def __repr__(self):
        raise AssertionError("its repr was asked for")

    __str__ = __hash__ = __eq__ = __getattr__ = __repr__


def test_values_are_never_looked_at():
    """Local variables of any type."""

    def holds(value, ch):
        mine = [value, {"value": value}]
        ch.receive()
        return mine

    t = tasklet(holds)(Unspeakable(), channel())
    stackless.run()
    file = io.StringIO()
    stackless.dump(file)
    assert "Unspeakable" not in file.getvalue() and "holds" in file.getvalue()
    t.kill()


def test_odd_callables():
    """A callable that is not a Python function has a name until it is called."""
    ready = [tasklet(len)([]), tasklet(Unspeakable)(), tasklet([].append)(1)]
    names = {info.name for info in stackless.snapshot()}
    assert {"len", "Unspeakable", "list.append"} <= names
    stackless.run()
    assert not any(t.alive for t in ready)


SIGNAL = """
import os, signal, sys, threading, time
import stackless
from stackless import explain

def waits(ch):
    ch.receive()

kept = [stackless.channel() for _ in range(3)]
for ch in kept:
    stackless.tasklet(waits)(ch)
stackless.run()
"""


def test_dump_on_a_signal():
    """To stderr, whatever the program is doing; the previous handler is returned."""
    assert_child(
        SIGNAL
        + """
assert explain.dump_on_signal(signal.SIGUSR1) is signal.SIG_DFL
os.kill(os.getpid(), signal.SIGUSR1)
print("on")
""",
        prints="on",
        complains="tasklet 2 'waits': blocked receiving",
    )


def test_dump_on_a_signal_while_the_thread_sleeps():
    """The thread sleeps in the scheduler, because another thread could wake one of its tasklets."""
    assert_child(
        SIGNAL
        + """
explain.dump_on_signal()
wakes = stackless.channel()
def other():
    while wakes.balance == 0:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0.5)
    wakes.send(1)
thread = threading.Thread(target=other)
thread.start()
print(wakes.receive())
thread.join()
""",
        prints="1",
        complains="main: blocked receiving from channel",
    )


def test_arguments_of_dump_on_signal():
    """Errors that say what is wrong."""
    before = signal.getsignal(signal.SIGUSR2)
    with pytest.raises(io.UnsupportedOperation):
        explain.dump_on_signal(signal.SIGUSR2, io.StringIO())
    with pytest.raises(OSError):
        explain.dump_on_signal(signal.SIGKILL, sys.__stderr__)
    assert signal.getsignal(signal.SIGUSR2) is before


def test_a_hundred_thousand_tasklets():
    """Listed completely, grouped into one entry."""
    assert_child(
        """
import io, stackless
stackless.set_stack_limits(size=65536, count=200_000)
COUNT = 100_000
ready = [stackless.tasklet(len)([]) for _ in range(COUNT)]
assert len(stackless.snapshot()) == COUNT + 1
file = io.StringIO()
stackless.dump(file)
assert f"{COUNT} tasklets 'len'" in file.getvalue()
assert len(file.getvalue()) < 5000
print("end")
""",
        prints="end",
    )
