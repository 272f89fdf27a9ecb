"""Blocks in which a tasklet cannot be parked: the reason names the obstacle."""

import contextlib
import functools
import operator
import pickle
import re
import sys
import xml.sax

import pytest
import stackless
from stackless import TaskletExit


def waiting(function, *arguments):
    """Return a tasklet that waits in a function to which it gave its channel."""
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

    def __getitem__(self, index):
        return self.channel.receive()

    def __bool__(self):
        return self.channel.receive()

    def __call__(self):
        return self.channel.receive()

    @property
    def attribute(self):
        return self.channel.receive()


class Enters(Waits):
    def __enter__(self):
        return self.channel.receive()

    def __exit__(self, *error):
        pass


class Inits:
    def __init__(self, channel):
        channel.receive()


class Methods:
    def __init__(self, channel):
        self.channel = channel

    def wait(self, *arguments, **keywords):
        self.channel.receive()

    @classmethod
    def of(cls, channel):
        channel.receive()


class Inherits(Methods):
    def wait(self, *arguments):
        super().wait(*arguments)


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


def in_exit(channel):
    with Waits(channel):
        pass


def in_enter(channel):
    with Enters(channel):
        pass


def in_send_sequence(channel):
    channel.send_sequence(iter([1, 2]))


def in_starred_send(channel):
    channel.send(*[1])


def in_keywords_of_receive(channel):
    channel.receive(**{})


def in_starred_method(channel):
    Methods(channel).wait(*[1])


def in_keywords_of_a_method(channel):
    Methods(channel).wait(1, **{"key": 2})


def in_starred_class_method(channel):
    Methods.of(*[channel])


def in_starred_super(channel):
    Inherits(channel).wait(1)


def in_starred_class(channel):
    Inits(*[channel])


def in_decorated_method(channel):
    def decorated(*arguments, **keywords):
        return method(*arguments, **keywords)

    method = Methods(channel).wait
    decorated(1)


def in_init(channel):
    Inits(channel)


def in_attribute(channel):
    Waits(channel).attribute  # noqa: B018


def in_item(channel):
    Waits(channel)[0]


def in_bool(channel):
    return 1 if Waits(channel) else 2


def in_call_of_an_instance(channel):
    Waits(channel)()


def in_import(channel):
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "no_such_module":
                channel.receive()

    finder = Finder()
    sys.meta_path.insert(0, finder)
    try:
        import no_such_module  # noqa: F401
    finally:
        sys.meta_path.remove(finder)


def in_trace_function(channel):
    def trace(frame, event, argument):
        sys.settrace(None)
        channel.receive()

    sys.settrace(trace)
    (lambda: 1)()


def in_parser(channel):
    class Handler(xml.sax.ContentHandler):
        def startElement(self, name, attrs):  # noqa: N802
            channel.send(name)

    xml.sax.parseString(b"<a/>", Handler())


C_CODE = "by C code"
STAR = "without \\* and \\*\\*"
INSTEAD = "call a method"
#: The text that the reason contains, and the remedy.
WORDS = {
    in_sorted: ("sorted", C_CODE),
    in_map: ("list", C_CODE),
    in_partial: ("partial", C_CODE),
    in_cache: ("lambda", C_CODE),
    in_call: ("call", C_CODE),
    in_exec: ("exec", C_CODE),
    in_class_body: ("__build_class__", C_CODE),
    in_del: ("in_del|C code runs|dropped", ""),
    in_eq: (r"in_eq\(\) .* ran Waits.__eq__\(\) for an operator", INSTEAD),
    in_add: (r"in_add\(\) .* ran Waits.__add__\(\) for an operator", INSTEAD),
    in_next: (r"in_next\(\) .* ran Waits.__next__\(\) for a loop", "iterate over a channel"),
    in_exit_in_flight: (
        r"in_exit_in_flight\(\) .* ran Waits.__exit__\(\) on leaving a with block",
        "catch the exception",
    ),
    in_send_sequence: ("send_sequence", C_CODE),
    in_parser: ("parse|Parse", C_CODE),
    in_starred_send: (r"in_starred_send\(\) .* channel.send, .* with \* or \*\*", STAR),
    in_keywords_of_receive: (r"channel.receive, .* with \* or \*\*", STAR),
    in_starred_method: (r"Methods.wait with \* or \*\*", STAR),
    in_keywords_of_a_method: (r"Methods.wait with \* or \*\*", STAR),
    in_starred_class_method: (r"Methods.of with \* or \*\*", STAR),
    in_starred_super: (r"Inherits.wait\(\) .*Methods.wait with \* or \*\*", STAR),
    in_starred_class: (r"Inits with \* or \*\*.* called Inits.__init__\(\)", STAR),
    in_init: (r"in_init\(\) .* called .*Inits", "when the object was made"),
    in_item: (r"ran Waits.__getitem__\(\) for \[...\]", INSTEAD),
    in_attribute: (r"ran Waits.attribute\(\) for an attribute", "make a method of it"),
    in_bool: (r"in_bool\(\) .* ran Waits.__bool__\(\) through C code", C_CODE),
    in_call_of_an_instance: (r"called Waits.__call__\(\) through C code", INSTEAD),
    in_import: (r"in_import\(\) .* ran _find_and_load\(\)", C_CODE),
    in_trace_function: (
        r"in_trace_function.* trace or profile function",
        "trace or profile function",
    ),
}
if sys.version_info < (3, 14):
    WORDS[in_exit] = r"in_exit\(\) .* called Waits.__exit__\(\)", "in a finally block"
    WORDS[in_enter] = r"in_enter\(\) .* ran Enters.__enter__\(\) on entering a with", "inside it"
if sys.version_info < (3, 12):
    WORDS[in_decorated_method] = r"decorated\(\) with \* or \*\*|Methods.wait with \* or", STAR
else:
    WORDS[in_decorated_method] = r"decorated\(\) .* called .*Methods.wait with \* or \*\*", STAR


def calls_of(tasklet):
    """The visible part of its frames, innermost first."""
    found = []
    frame = tasklet.frame
    while frame is not None:
        code = frame.f_code
        found.append((code.co_name, code.co_qualname, code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return found


@pytest.mark.parametrize("function", WORDS, ids=lambda function: function.__name__)
def test_refused_with_a_reason(function):
    tasklet = waiting(function)
    assert not tasklet.restorable
    words, remedy = WORDS[function]
    with pytest.raises(pickle.PicklingError, match=words):
        stackless.dumps(tasklet)
    with pytest.raises(RuntimeError, match=words):
        stackless._stackless._park(tasklet)
    obstacle = stackless.why_not_picklable(tasklet)[0]
    assert re.search(words, obstacle.reason)
    assert re.search(remedy, obstacle.remedy), obstacle.remedy
    # The copy that the standard pickle makes is compared.
    copy = pickle.loads(pickle.dumps(tasklet))
    places = copy.__reduce__()[2][3]
    assert any(re.search(function.__name__, repr(place)) for place in places)
    assert calls_of(copy) == calls_of(tasklet)
    assert copy.recursion_depth == tasklet.recursion_depth
    copy.insert()
    with pytest.raises(RuntimeError, match="C state that can't be restored"):
        stackless.run()
    assert tasklet.blocked
    tasklet.kill()


class Dropped:
    """Waits in C code alone when it is destroyed: see `destructor_in_c`."""


@pytest.fixture
def destructor_in_c():
    """A channel; each `Dropped` receives from it, without a Python frame of its own."""
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
    """The loop waits in the same way as the destructor that runs before the loop continues."""

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


def test_interrupted_by_a_limit():
    def spins():
        for _ in range(100_000):
            pass

    tasklet = stackless.tasklet(spins)()
    assert stackless.run(50) is tasklet
    assert not tasklet.restorable
    (obstacle,) = stackless.why_not_picklable(tasklet)
    assert re.search(r"spins\(\) .* was interrupted by a limit of run\(\)", obstacle.reason)
    assert "without a limit" in obstacle.remedy
    tasklet.insert()
    stackless.run()
    assert not tasklet.alive


@pytest.mark.parametrize("ticks", range(15, 100, 5))
def test_a_generator_that_an_exception_closes(ticks):
    """A loop that an exception leaves drops its generator, whose clean-up waits: called from C."""
    channel, log = stackless.channel(), []

    def values():
        try:
            while True:
                yield
        finally:
            channel.receive()
            log.append("closed")

    def body():
        try:
            for _ in values():
                pass
        except KeyError as error:
            log.append(repr(error))

    tasklet = stackless.tasklet(body)()
    assert stackless.run(ticks) is tasklet
    tasklet.throw(KeyError("left"), pending=True)
    stackless.run()
    if tasklet.restorable:
        stackless._stackless._park(tasklet)
    channel.send(None)
    stackless.run()
    assert sorted(log) == ["KeyError('left')", "closed"] and not tasklet.alive
