"""Programs that wait in many places of the language: each receives from a channel, returns a list.

The versions of Python given to `ready` are those in which the block can be parked.
"""

import sys

#: name -> (function, parks cold, parks hot)
SHAPES = {}
ALWAYS, NEVER = (3, 11), (4,)


def ready(cold=ALWAYS, hot=None):
    """The versions of Python from which all blocks of a shape can be parked, cold and hot."""

    def register(shape):
        now = sys.version_info[:2]
        SHAPES[shape.__name__] = shape, now >= cold, now >= (hot or cold)
        return shape

    return register


def _factorial(n, channel):
    if n == 450:
        channel.receive()
    return n * _factorial(n - 1, channel) if n else 1


@ready()
def factorial(channel):
    return [_factorial(900, channel)]


@ready()
def loops(channel):
    found = []
    for i in range(3):
        found.append((i, channel.receive()))
    for i, letter in enumerate("ab"):
        found.append((i, letter, channel.receive()))
    for letter in "xy":
        found.append(letter + str(channel.receive()))
    for key, value in {"k": 1, "l": 2}.items():
        found.append((key, value, channel.receive()))
    for each in sorted({3, 1, 2}):
        for other in (each, [each]):
            found.append((each, other, channel.receive()))
    return found


@ready()
def handlers(channel):
    found = []
    for i in range(2):
        try:
            found.append(channel.receive())
            try:
                raise KeyError(i)
            except KeyError as error:
                found.append((channel.receive(), error.args, sys.exc_info()[0]))
                try:
                    raise ValueError(i) from error
                except ValueError as inner:
                    channel.receive()
                    found.append(
                        (repr(inner.__cause__), repr(inner.__context__), repr(sys.exc_info()[1]))
                    )
                found.append(repr(sys.exc_info()[1]))
                channel.receive()
                raise
            finally:
                found.append(("finally", channel.receive(), repr(sys.exc_info()[1])))
        except KeyError as error:
            found.append((channel.receive(), repr(error)))
        else:
            found.append("else")
        found.append(sys.exc_info())
    return found


def _in_flight(channel, found):
    try:
        raise KeyError("in flight")
    finally:
        found.append((channel.receive(), repr(sys.exc_info()[1])))


@ready()
def finally_in_flight(channel):
    found = []
    try:
        _in_flight(channel, found)
    except KeyError as error:
        found.append((channel.receive(), repr(error)))
    return found


class Manager:
    def __init__(self, name, found):
        self.name, self.found = name, found

    def __enter__(self):
        self.found.append(("enter", self.name))
        return self

    def __exit__(self, *error):
        self.found.append(("exit", self.name, repr(error[1])))
        return self.name == "swallows"


@ready()
def nested_with(channel):
    found = []
    with Manager("a", found) as a, Manager("swallows", found):
        found.append((a.name, channel.receive()))
        with Manager("c", found):
            found.append(channel.receive())
            raise KeyError("out")
    found.append(channel.receive())
    return found


class Waits(Manager):
    def __init__(self, name, found, channel):
        super().__init__(name, found)
        self.channel = channel

    def __exit__(self, *error):
        self.found.append(self.channel.receive())
        return super().__exit__(*error)


@ready((3, 14))
def waiting_exit(channel):
    found = []
    manager = Waits("a", found, channel)
    with manager:
        found.append(channel.receive())
    return found


class Enters(Manager):
    def __init__(self, name, found, channel):
        super().__init__(name, found)
        self.channel = channel

    def __enter__(self):
        self.found.append(self.channel.receive())
        return super().__enter__()


@ready((3, 14))
def waiting_enter(channel):
    found = []
    manager = Enters("a", found, channel)
    with manager:
        found.append(channel.receive())
    return found


@ready()
def closures(channel):
    total, calls = 0, []

    def add(number):
        nonlocal total
        calls.append(channel.receive())
        total += number + calls[-1]
        return add

    def twice(number):
        add(number)(number)
        return total

    again = lambda self, n: [] if n == 0 else [channel.receive(), *self(self, n - 1)]  # noqa: E731
    return [twice(3), twice(4), total, calls, again(again, 3)]


def _numbers(channel, n):
    try:
        for i in range(n):
            yield i, channel.receive()
    finally:
        channel.receive()


@ready((3, 12))
def generators(channel):
    found = []
    for i, number in _numbers(channel, 3):
        found.append((i, number, channel.receive()))
    return found


def _handling(channel):
    for i in range(2):
        try:
            raise KeyError(i)
        except KeyError:
            yield channel.receive(), repr(sys.exc_info()[1])
    yield from _numbers(channel, 2)


@ready((3, 12))
def generators_that_handle(channel):
    found = []
    for each in _handling(channel):
        found.append((each, sys.exc_info()[1]))
    return found


@ready()
def suspended_generator(channel):
    own = (i * channel.receive() for i in ())
    numbers = (i * i for i in range(4))
    found = [next(numbers)]
    for i in range(3):
        found.append((channel.receive(), next(numbers), i))
    return [*found, list(own), list(numbers)]


class Point:
    def __init__(self, channel, *rest, **named):
        self.x = channel.receive()
        self.rest, self.named = rest, named

    def moved(self, channel, *by, scale=1, **named):
        self.x += channel.receive() * scale + sum(by)
        return self, named

    @property
    def seen(self):
        return self.x


@ready(NEVER, (3, 13))
def init(channel):
    found = []
    for _ in range(3):
        found.append(Simple(channel).x)
    return found


class Simple:
    def __init__(self, channel):
        self.x = channel.receive()


@ready()
def methods(channel):
    point = Point.__new__(Point)
    point.x = 0
    found = []
    for i in range(3):
        _, named = point.moved(channel, i, i + 1, scale=2, other=i)
        found.append((point.x, named))
    return found


def _spread(channel, *numbers, scale, **named):
    return channel.receive() * scale + sum(numbers), named


@ready((3, 12))
def star_arguments(channel):
    return [_spread(*(channel, 1), **{"scale": 3, "k": i}) for i in range(2)]


class Lazy:
    def __init__(self, channel):
        self.channel = channel

    @property
    def value(self):
        return self.channel.receive()

    def __getitem__(self, key):
        return key, self.channel.receive()


@ready(NEVER, (3, 12))
def properties(channel):
    lazy = Lazy(channel)
    found = []
    for _ in range(2):
        found.append(lazy.value)
    return found


@ready(NEVER, (3, 11))
def items(channel):
    lazy = Lazy(channel)
    found = []
    for i in range(2):
        found.append(lazy[i])
    return found


@ready()
def matches(channel):
    found = []
    for _ in range(5):
        match channel.receive():
            case 0 | 1 as low:
                found.append(("low", low, channel.receive()))
            case int(n) if n % 2:
                found.append(("odd", n))
            case [a, *rest]:
                found.append((a, rest))
            case other:
                found.append(("other", other, channel.receive()))
    return found


@ready()
def comprehensions(channel):
    x = 10
    found = [channel.receive() + x for x in range(2)]
    named = {k: channel.receive() for k in "ab"}
    unique = sorted({(channel.receive(), each) for each in (1, 2)})
    nested = [[channel.receive() * y for y in range(2)] for _ in range(2)]
    return [found, named, unique, nested, x]


@ready()
def expressions(channel):
    receive = channel.receive
    a = receive() + receive() * receive()
    b = [receive(), (receive(), {"k": receive()}), *[receive()]]
    c = f"{receive()}-{receive():>3}"
    d = (receive() or receive()) and receive()
    e = max(receive(), receive(), key=lambda n: -n)
    f = receive() if receive() < 100 else None
    g = 1 < receive() < 1000
    b[receive() * 0] = receive()
    return [a, b, c, d, e, f, g]


@ready()
def iterations(channel):
    found = []
    for number in channel:
        found.append(number)
        if len(found) == 3:
            break
    for number in channel:
        found.append(-number)
        if len(found) == 5:
            break
    else:
        found.append("ended")
    return found
