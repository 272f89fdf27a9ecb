"""repr(tasklet) and repr(channel): the default repr, followed by the state."""

import pytest
import stackless
from stackless import channel, tasklet


def more(o):
    """The part that follows the default repr."""
    text, default = repr(o), object.__repr__(o)
    assert text.startswith(default[:-1] + ": ") and text.endswith(">")
    return text[len(default[:-1] + ": ") : -1]


def receives(ch):
    ch.receive()


def test_tasklets():
    """Name and state, from the creation of a tasklet to its end."""
    ch = channel()
    t = tasklet()
    assert more(t) == "nothing to run"
    t.bind(receives)
    assert more(t) == "receives, not started"
    t(ch)
    assert more(t) == "receives, runnable, not started"
    stackless.run()
    assert more(t) == "receives, receiving from channel 'ch'"
    t.remove() if not t.blocked else ch.send(1)
    assert more(t) == "receives, runnable" or not t.alive
    stackless.run()
    assert more(t) == "nothing to run"
    assert more(stackless.current) == "main, running"


def test_main_inside_run():
    """Read in a tasklet."""
    seen = []
    tasklet(lambda: seen.append(more(stackless.main)))()
    stackless.run()
    assert seen == ["main, in run()"]


@pytest.mark.parametrize("way, word", [("receive", "receiving"), ("send", "sending")])
def test_channels(way, word):
    """The number of waiting tasklets, and whether the channel is closing."""
    ch = channel()
    assert more(ch) == "no tasklet waits"
    waiting = [tasklet(getattr(ch, way))(*([1] * (way == "send"))) for _ in range(2)]
    stackless.run()
    assert more(ch) == f"2 {word}"
    ch.close()
    assert more(ch) == f"2 {word}, closing"
    for t in waiting:
        t.kill()
    assert more(ch) == "no tasklet waits, closed"


def test_subclasses():
    """Their own name, and their own repr if they have one."""

    class Mine(tasklet):
        pass

    class Other(channel):
        def __repr__(self):
            return "other"

    assert more(Mine(receives)) == "receives, not started"
    assert repr(Mine(receives)).startswith(f"<{__name__}.")
    assert repr(Other()) == "other"


def test_callables_are_not_asked():
    """Names are found without running Python code."""

    class Callable:
        def __call__(self):
            pass

        def __repr__(self):
            raise AssertionError("it was asked")

        __getattr__ = __repr__

    assert more(tasklet(Callable())) == "Callable, not started"
