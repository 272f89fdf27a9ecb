"""Sending exceptions."""

import sys
import traceback

import pytest
import stackless
from stackless import channel, schedule, tasklet


class Odd(Exception):
    def __init__(self, *args):
        super().__init__(*args)
        self.made_with = args


def fails():
    raise Odd("from fails")


def caught_by_receiver(send, *, first="receiver"):
    """What a receiver catches when another tasklet calls `send(channel)`."""
    ch, caught = channel(), []

    def receiver():
        try:
            ch.receive()
        except BaseException as error:
            caught.append(error)

    bodies = [receiver, lambda: send(ch)]
    for body in bodies if first == "receiver" else reversed(bodies):
        tasklet(body)()
    stackless.run()
    assert ch.balance == 0
    assert len(caught) == 1
    return caught[0]


@pytest.mark.parametrize("first", ["receiver", "sender"])
@pytest.mark.parametrize("args", [(), (1,), (1, "two")])
def test_send_exception_makes_the_exception_from_class_and_args(first, args):
    """send_exception(exc_class, *args): receiver raises exc_class(*args)."""
    error = caught_by_receiver(lambda ch: ch.send_exception(Odd, *args), first=first)
    assert type(error) is Odd
    assert error.args == error.made_with == args


@pytest.mark.parametrize("first", ["receiver", "sender"])
def test_send_exception_takes_an_instance_alone(first):
    """The very instance arrives."""
    instance = Odd("mine")
    assert caught_by_receiver(lambda ch: ch.send_exception(instance), first=first) is instance


def test_send_exception_returns_none():
    """5.2"""
    ch = channel()
    results = []
    tasklet(lambda: pytest.raises(Odd, ch.receive))()
    schedule()
    results.append(ch.send_exception(Odd))
    tasklet(lambda: pytest.raises(Odd, ch.receive))()
    schedule()
    results.append(ch.send_throw(Odd))
    stackless.run()
    assert results == [None, None]


@pytest.mark.parametrize("operation", ["send_exception", "send_throw"])
def test_sender_of_an_exception_waits_like_any_sender(operation):
    """5.2, 5.3: it blocks without a receiver and does not raise anything itself."""
    ch = channel()
    t = tasklet(getattr(ch, operation))(Odd)
    assert stackless.run() is None
    assert ch.balance == 1 and ch.queue is t
    with pytest.raises(Odd):
        ch.receive()
    stackless.run()
    assert not t.alive


def test_sender_of_an_exception_waits_quietly_under_run():
    """5.3: Stackless raises it out of run() as well; this is not reproduced."""
    ch = channel()
    tasklet(ch.send_exception)(Odd)
    stackless.run()
    stackless.run()
    assert ch.balance == 1
    with pytest.raises(Odd):
        ch.receive()
    stackless.run()


@pytest.mark.parametrize("bad", [5, "text", None, int, object])
def test_send_exception_needs_an_exception_class(bad):
    """5.3: TypeError with its text, nothing sent."""
    ch = channel()
    tasklet(ch.receive)()
    schedule()
    text = "^channel.send_exception needs Exception or string subclass as first parameter$"
    with pytest.raises(TypeError, match=text):
        ch.send_exception(bad)
    assert ch.balance == -1
    ch.send(None)


def test_send_exception_needs_an_argument():
    """5.3: `send_exception() takes at least 1 argument`."""
    with pytest.raises(TypeError, match=r"send_exception\(\) takes at least 1 argument"):
        channel().send_exception()


def test_send_exception_with_instance_and_arguments():
    """The TypeError of send_throw."""
    ch = channel()
    with pytest.raises(TypeError, match="^instance exception may not have a separate value$"):
        ch.send_exception(Odd(), 1)
    assert ch.balance == 0


def test_send_exception_whose_constructor_fails():
    """5.3: an exception that cannot be made is a TypeError on one side, never lost, no crash."""

    class Picky(Exception):
        def __init__(self, one, two):
            super().__init__(one, two)

    ch, caught = channel(), []

    def receiver():
        try:
            ch.receive()
        except TypeError:
            caught.append("receiver")

    t = tasklet(receiver)()
    schedule()
    try:
        ch.send_exception(Picky)
    except TypeError:
        caught.append("sender")
    t.kill()
    assert len(caught) == 1


# ------------------------------------------------------------------ send_throw


@pytest.mark.parametrize("first", ["receiver", "sender"])
@pytest.mark.parametrize(
    ("value", "args"),
    [(None, ()), ("one", ("one",)), ((1, 2), (1, 2)), ((), ())],
)
def test_send_throw_with_a_class(first, value, args):
    """send_throw: like the old three-part raise: None, one argument, or a tuple of them."""
    error = caught_by_receiver(lambda ch: ch.send_throw(Odd, value), first=first)
    assert type(error) is Odd
    assert error.made_with == args


def test_send_throw_with_class_and_instance():
    """send_throw: val may be the instance."""
    instance = Odd("mine")
    assert caught_by_receiver(lambda ch: ch.send_throw(Odd, instance)) is instance


def test_send_throw_with_an_instance():
    """send_throw: an instance with `val` None."""
    instance = Odd("mine")
    assert caught_by_receiver(lambda ch: ch.send_throw(instance)) is instance
    assert caught_by_receiver(lambda ch: ch.send_throw(instance, None)) is instance
    assert caught_by_receiver(lambda ch: ch.send_throw(instance, None, None)) is instance


@pytest.mark.parametrize("first", ["receiver", "sender"])
def test_send_throw_keeps_the_traceback(first):
    """send_throw: the last entry of the receiver's traceback is the function that failed."""

    def forward(ch):
        try:
            fails()
        except Odd:
            ch.send_throw(*sys.exc_info())

    error = caught_by_receiver(forward, first=first)
    names = [entry.name for entry in traceback.extract_tb(error.__traceback__)]
    assert names[0] == "receiver"
    assert names[-1] == "fails"


def test_send_throw_errors():
    """8.2: the argument errors, all TypeError, nothing sent."""
    ch = channel()
    tasklet(ch.receive)()
    schedule()
    cases = [
        ((5,), "^exceptions must be classes, or instances, not int$"),
        (("text",), "^exceptions must be classes, or instances, not str$"),
        ((Odd(), 1), "^instance exception may not have a separate value$"),
        ((Odd, None, 5), "^third argument must be a traceback object$"),
    ]
    for arguments, text in cases:
        with pytest.raises(TypeError, match=text):
            ch.send_throw(*arguments)
        assert ch.balance == -1
    ch.send(None)


def test_main_can_receive_an_exception():
    """5.3: a blocked main raises it at its receive."""
    ch = channel()
    tasklet(ch.send_exception)(Odd, 1)
    with pytest.raises(Odd) as caught:
        ch.receive()
    assert caught.value.args == (1,)
    stackless.run()


def test_taskletexit_can_be_sent():
    """5.3: any exception class."""
    ch = channel()
    t = tasklet(ch.receive)()
    schedule()
    ch.send_exception(stackless.TaskletExit)
    assert not t.alive
    stackless.run()


def test_sent_exception_does_not_leak_into_the_sender():
    """8.3: the sender's exception state stays empty."""
    ch, seen = channel(), []

    def receiver():
        try:
            ch.receive()
        except Odd:
            schedule()
            seen.append(sys.exc_info()[0])

    tasklet(receiver)()
    schedule()
    ch.send_exception(Odd)
    seen.append(sys.exc_info()[0])
    stackless.run()
    assert seen == [None, Odd]
