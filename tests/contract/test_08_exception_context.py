"""`__context__` of exceptions that reach a tasklet from elsewhere.

As for `generator.throw()` (language reference 6.2.9.1) and any `raise` (7.8): what the tasklet is
handling becomes the context of what is raised in it.
"""

import socket as standard_socket

import pytest
import stackless
from stackless import TaskletExit, channel, socket, tasklet


def chain(error):
    """The exception, its context, the context of that, and so on."""
    found = []
    while error is not None:
        found.append(error)
        error = error.__context__
    return found


class Handling:
    """A tasklet that waits while it handles `handled`; `caught` is what reached it."""

    def __init__(self, wait, handled=None):
        self.handled = KeyError("handled") if handled is None else handled
        self.caught = None
        self.tasklet = stackless.run_tasklet(self.body, wait)
        stackless.run(block=False)

    def body(self, wait):
        try:
            raise self.handled
        except BaseException:
            try:
                wait()
            except BaseException as error:
                self.caught = error

    def chain(self):
        stackless.run_all()
        return chain(self.caught)


def fail():
    raise OSError("failed")


def sleep_and_fail():
    stackless.sleep(0.02)
    fail()


def limited():
    with stackless.timeout(0.01):
        stackless.sleep(60)


def read_nothing():
    a, b = socket.socketpair()
    with a, b:
        a.settimeout(0.01)
        a.recv(1)


WAITS = {
    "with timeout()": (limited, stackless.TimeoutError),
    "receive(timeout=)": (lambda: channel().receive(timeout=0.01), stackless.TimeoutError),
    "receive(timeout=0)": (lambda: channel().receive(timeout=0), stackless.TimeoutError),
    "send(timeout=)": (lambda: channel().send(1, timeout=0.01), stackless.TimeoutError),
    "to_thread": (lambda: stackless.to_thread(fail), OSError),
    "join": (lambda: tasklet(sleep_and_fail)().join(), OSError),
    "a socket's timeout": (read_nothing, TimeoutError),
    "getaddrinfo": (
        lambda: socket.getaddrinfo("no such host.invalid", None),
        standard_socket.gaierror,
    ),
}


@pytest.mark.parametrize(("wait", "expected"), WAITS.values(), ids=WAITS)
def test_of_what_a_wait_raises(wait, expected):
    """The same as for the standard library's calls."""
    waiting = Handling(wait)
    error = waiting.chain()
    assert isinstance(error[0], expected) and error[-1] is waiting.handled


THROWN = {
    "throw": lambda t, ch: t.throw(ValueError("x")),
    "throw a class": lambda t, ch: t.throw(ValueError, "x"),
    "pending throw": lambda t, ch: t.throw(ValueError("x"), pending=True),
    "raise_exception": lambda t, ch: t.raise_exception(ValueError, "x"),
    "kill": lambda t, ch: t.kill(),
    "send_exception": lambda t, ch: ch.send_exception(ValueError, "x"),
    "send_throw": lambda t, ch: ch.send_throw(ValueError("x")),
    "a bomb": lambda t, ch: ch.send(stackless.bomb(ValueError, "x")),
}


@pytest.mark.parametrize("throw", THROWN.values(), ids=THROWN)
def test_of_what_another_tasklet_throws(throw):
    """8.1, 8.2, 5.3: what the thrower itself is handling becomes no context."""
    ch = channel()
    waiting = Handling(ch.receive)
    try:
        raise LookupError("the thrower's")
    except LookupError:
        throw(waiting.tasklet, ch)
    error, handled = waiting.chain()
    assert type(error) in (ValueError, TaskletExit) and handled is waiting.handled


def test_of_an_uncaught_exception_in_the_caller_of_run():
    """8.3: the exception's own context stays; the caller's is added at its end."""

    def body():
        try:
            fail()
        except OSError as error:
            raise ValueError from error

    tasklet(body)()
    try:
        raise KeyError("main's")
    except KeyError:
        with pytest.raises(ValueError) as caught:
            stackless.run()
    assert [type(e) for e in chain(caught.value)] == [ValueError, OSError, KeyError]


def test_nothing_is_handled():
    t = tasklet(fail)()
    with pytest.raises(OSError) as caught:
        stackless.run()
    assert chain(caught.value) == [caught.value] and not t.alive


def test_of_the_handled_exception_itself():
    """No exception is its own context, or that of its context."""
    inner = ValueError("inner")
    outer = KeyError("outer")
    outer.__context__ = inner
    for thrown, expected in ((outer, [outer, inner]), (inner, [inner])):
        ch = channel()
        waiting = Handling(ch.receive, outer)
        outer.__context__ = inner
        waiting.tasklet.throw(thrown)
        assert waiting.chain() == expected


def test_of_an_exception_that_is_raised_again_and_again():
    """Contexts do not accumulate in an exception that every join() raises again."""
    t = tasklet(sleep_and_fail)()
    for i in range(300):
        try:
            raise KeyError(i)
        except KeyError:
            with pytest.raises(OSError) as caught:
                t.join()
    assert len(chain(caught.value)) < 200
