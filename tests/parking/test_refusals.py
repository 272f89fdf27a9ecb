"""Blocks that cannot be left: they are refused, and the reason names the obstacle."""

import contextlib
import functools
import operator
import pickle
import re
import xml.sax

import pytest
import stackless
from stackless import TaskletExit


def waiting(function, *arguments):
    """A tasklet that waits in a function to which it gave its channel."""
    channel = stackless.channel()
    tasklet = stackless.tasklet(function)(channel, *arguments)
    stackless.run()
    assert tasklet.blocked
    return tasklet


class Waits:
    def __init__(self, channel):
        self.channel = channel

    def __eq__(self, other):
        return self.channel.receive()

    def __add__(self, other):
        return self.channel.receive()

    def __iter__(self):
        return self

    def __next__(self):
        return self.channel.receive()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.channel.receive()


class Finalized:
    def __init__(self, channel):
        self.channel = channel

    def __del__(self):
        with contextlib.suppress(TaskletExit):
            self.channel.receive()


def in_sorted(channel):
    sorted([1, 2], key=lambda _: channel.receive())


def in_map(channel):
    list(map(lambda _: channel.receive(), [1]))


def in_partial(channel):
    functools.partial(lambda: channel.receive())()


def in_cache(channel):
    functools.lru_cache(lambda: channel.receive())()


def in_call(channel):
    operator.call(lambda: channel.receive())


def in_exec(channel):
    exec("channel.receive()", {"channel": channel})


def in_class_body(channel):
    class _Made:
        channel.receive()


def in_del(channel):
    Finalized(channel)


def in_eq(channel):
    Waits(channel) == 1  # noqa: B015


def in_add(channel):
    Waits(channel) + 1


def in_next(channel):
    for _ in Waits(channel):
        pass


def in_exit_in_flight(channel):
    with Waits(channel):
        raise KeyError


def in_starred_send(channel):
    channel.send_sequence(iter([1, 2]))


def in_parser(channel):
    class Handler(xml.sax.ContentHandler):
        def startElement(self, name, attrs):  # noqa: N802
            channel.send(name)

    xml.sax.parseString(b"<a/>", Handler())


WORDS = {
    in_sorted: "sorted",
    in_map: "list",
    in_partial: "partial",
    in_cache: "lambda",
    in_call: "call",
    in_exec: "exec",
    in_class_body: "__build_class__",
    in_del: "in_del|C code runs",
    in_eq: "in_eq",
    in_add: "in_add",
    in_next: "in_next",
    in_exit_in_flight: "in_exit_in_flight",
    in_starred_send: "send_sequence",
    in_parser: "parse|Parse",
}


@pytest.mark.parametrize("function", WORDS, ids=lambda function: function.__name__)
def test_refused_with_a_reason(function):
    tasklet = waiting(function)
    assert not tasklet.restorable
    words = WORDS[function]
    with pytest.raises(pickle.PicklingError, match=words):
        stackless.dumps(tasklet)
    with pytest.raises(RuntimeError, match=words):
        stackless._stackless._park(tasklet)
    # The standard pickle gives a copy to look at.
    copy = pickle.loads(pickle.dumps(tasklet))
    places = copy.__reduce__()[2][3][0].arguments[0]
    assert any(re.search(function.__name__, repr(place)) for place in places)
    copy.insert()
    with pytest.raises(RuntimeError, match="C state that can't be restored"):
        stackless.run()
    assert tasklet.blocked
    tasklet.kill()


class Dropped:
    """Waits in C code alone when it is destroyed: see `destructor_in_c`."""


@pytest.fixture
def destructor_in_c():
    """A channel; whatever is `Dropped` receives from it, without a Python frame of its own."""
    channel = stackless.channel()
    Dropped.__del__ = channel.__next__
    yield channel
    del Dropped.__del__


def iterate(channel, got):
    for value in channel:
        got.append(value)


def is_refused_until(channel, tasklet):
    """The tasklet waits in a destructor: it cannot be parked until that is over."""
    assert tasklet.blocked and channel.queue is tasklet
    assert not tasklet.restorable
    with pytest.raises(RuntimeError, match="a destructor or a callback"):
        stackless._stackless._park(tasklet)
    channel.send("for the destructor")
    stackless.run()


def test_destructor_of_what_another_has_left(destructor_in_c):
    """The loop waits in the same way as the destructor that runs before the loop goes on."""

    class Owner(stackless.tasklet):
        pass

    channel, got = stackless.channel(), []
    channel.preference = 1
    reader = stackless.tasklet(iterate)(channel, got)
    stackless.run()
    owner = Owner(channel.send)
    owner.dropped = Dropped()
    owner("received")
    del owner
    stackless.run()
    assert got == []
    is_refused_until(destructor_in_c, reader)
    assert got == ["received"]
    assert reader.restorable
    reader.kill()


def test_destructor_of_a_tempval(destructor_in_c):
    """With a channel callback, an operation begins by replacing the tempval."""
    channel, got = stackless.channel(), []

    def body():
        stackless.current.tempval = Dropped()
        iterate(channel, got)

    reader = stackless.tasklet(body)()
    stackless.set_channel_callback(lambda *_: None)
    stackless.run()
    stackless.set_channel_callback(None)
    is_refused_until(destructor_in_c, reader)
    channel.send("received")
    stackless.run()
    assert got == ["received"]
    assert reader.restorable
    reader.kill()
