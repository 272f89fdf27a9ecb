"""The arguments of `channel(...)`: what is refused, and what subclasses may do."""

import pytest
from stackless import channel


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "text"),
    [
        ((1,), {}, TypeError, r"channel\(\) takes no positional arguments \(1 given\).*capacity=n"),
        ((1, 2), {"capacity": 1}, TypeError, r"\(2 given\)"),
        ((), {"maxsize": 3}, TypeError, "unexpected keyword argument 'maxsize'"),
        ((), {"capacity": 1, "größe": 3}, TypeError, "unexpected keyword argument 'größe'"),
        ((), {"capacity": "3"}, TypeError, "capacity must be an integer, not str"),
        ((), {"capacity": 1.0}, TypeError, "capacity must be an integer, not float"),
        ((), {"capacity": None}, TypeError, "capacity must be an integer, not NoneType"),
        ((), {"capacity": -1}, ValueError, "capacity must not be negative"),
        ((), {"capacity": -(2**70)}, ValueError, "capacity must not be negative"),
        ((), {"capacity": 2**30 + 1}, OverflowError, "capacity must be at most 1073741824"),
        ((), {"capacity": 2**70}, OverflowError, "capacity must be at most 1073741824"),
    ],
)
def test_refused(arguments, keywords, error, text):
    with pytest.raises(error, match=text):
        channel(*arguments, **keywords)


def test_accepted():
    class Three:
        def __index__(self):
            return 3

    assert channel().capacity == channel(capacity=0).capacity == 0
    assert channel(capacity=Three()).capacity == 3
    assert channel(capacity=2**30).capacity == 2**30


def test_an_error_in_the_index_comes_out():
    class Bad:
        def __index__(self):
            raise KeyError("bad")

    with pytest.raises(KeyError, match="bad"):
        channel(capacity=Bad())


def test_capacity_is_read_only():
    with pytest.raises(AttributeError):
        channel().capacity = 3


class WithInit(channel):
    def __init__(self, size, **more):
        super().__init__(capacity=size, **more)


class WithNew(channel):
    def __new__(cls, size, **more):
        return super().__new__(cls, capacity=size, **more)


class Silent(channel):
    def __init__(self, *args, **kwargs):
        pass


class WithSelf(channel):
    def __init__(self, name, label=None):
        super().__init__(self)


class OnlyName(channel):
    pass


def test_subclasses_have_arguments_of_their_own():
    """An __init__ or __new__ of the subclass gets them; what they pass on decides."""
    assert (WithInit(3).capacity, WithNew(4).capacity) == (3, 4)
    assert (Silent(1, maxsize=2).capacity, WithSelf("x", label="y").capacity) == (0, 0)
    assert OnlyName(capacity=2).capacity == 2


@pytest.mark.parametrize("kind", [WithInit, WithNew])
def test_what_a_subclass_passes_on_is_checked(kind):
    with pytest.raises(TypeError, match="unexpected keyword argument 'maxsize'"):
        kind(1, maxsize=2)


def test_a_subclass_without_init_and_new_is_as_channel():
    with pytest.raises(TypeError, match="maxsize"):
        OnlyName(maxsize=1)
    with pytest.raises(TypeError, match="positional"):
        OnlyName(1)


def test_init_again():
    """Without a capacity it changes nothing; with one, only a channel that is empty."""
    ch = channel(capacity=2)
    ch.send(1)
    ch.__init__()
    assert (ch.capacity, ch.balance) == (2, 1)
    with pytest.raises(RuntimeError, match="in use"):
        ch.__init__(capacity=5)
    assert (ch.capacity, ch.receive()) == (2, 1)
    ch.__init__(capacity=0)
    assert (ch.capacity, ch.preference) == (0, -1)
