"""Blobs to damage, and ways to damage them."""

import collections
import contextlib
import io
import itertools
import json
import marshal
import pickle
import types

import helper_module
import stackless
from stackless.pickling import blob

KEY = b"a key for the tests, long enough"


def raised():
    try:
        try:
            raise KeyError(1)
        except KeyError as error:
            raise ValueError("2") from error
    except ValueError as error:
        error.add_note("a note")
        return error


def scope(value):
    def get(default=[1, 2], *, key=lambda: value):  # noqa: B006
        nonlocal value
        value += 1
        return get, default, key

    return get


def values():
    """Values of every kind that can be pickled."""

    class Local:
        base = 3

        def method(self):
            return super().__repr__(), self.base

    yield {"a": [1, 2.5, None, b"bytes", "text"], (1, 2): {3, "x"}, "big": 1 << 80}
    yield scope(5)
    yield [Local(), Local().method, Local]
    yield raised()
    yield ExceptionGroup("two", [raised(), OSError(2, "no")])
    yield [helper_module.make_counter(), helper_module.count, helper_module]
    yield [{1: 2}.items(), collections.OrderedDict(a=1).keys(), types.CellType([1])]
    yield [map(lambda x: x, [1, 2]), itertools.chain([1], [2]), itertools.count(3), enumerate("a")]
    yield bytes(range(256)) * 20
    yield from tasklets()


def tasklets():
    """Tasklets that wait in several ways or never started; suspended generators and coroutines."""
    channel = stackless.channel()

    def loop(channel, items=(1, 2)):
        for item in items:
            try:
                with contextlib.suppress(KeyError):
                    channel.receive()
            finally:
                items = item

    def down(n):
        return channel.receive() if n == 0 else n + down(n - 1)

    def generate():
        yield from range(5)

    def consume():
        for _ in generate():
            stackless.schedule_remove()

    async def answer():
        return 42

    found = [stackless.tasklet(loop)(channel), stackless.tasklet(down)(4)]
    found.append(stackless.tasklet(consume)())
    stackless.run()
    yield from found
    yield channel
    generator = generate()
    next(generator)
    coroutine = answer()
    yield [generator, coroutine, stackless.tasklet(loop, (1, 2))]
    coroutine.close()
    for each in found:
        each.kill()


def blobs():
    """Signed and not, in several protocols."""
    for value in values():
        for options in ({}, {"protocol": 2}, {"key": KEY}):
            yield stackless.dumps(value, **options), {"key": KEY} if "key" in options else {}


def foreign(random):
    """Data in the formats of other libraries and programs."""
    value = [random.random(), "text", {"a": 1}]
    return random.choice(
        [
            lambda: pickle.dumps(value, random.randrange(6)),
            lambda: json.dumps(value).encode(),
            lambda: marshal.dumps(value),
            lambda: b"PK\x03\x04" + random.randbytes(40),
            lambda: b"\x7fELF" + random.randbytes(40),
            lambda: blob.MAGIC + random.randbytes(random.randrange(60)),
            lambda: random.randbytes(random.randrange(100)),
            lambda: b"",
        ]
    )()


def damage(random, data, other):
    """Flip, overwrite, cut, insert, repeat, splice."""
    data = bytearray(data)
    for _ in range(random.choice([1, 1, 1, 2, 5])):
        place = random.randrange(len(data) + 1)
        end = min(len(data), place + random.randrange(1, 20))
        kind = random.randrange(7)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << random.randrange(8)
        elif kind == 1:
            data[place:end] = random.randbytes(end - place)
        elif kind == 2:
            del data[place:end]
        elif kind == 3:
            del data[place:]
        elif kind == 4:
            data[place:place] = random.randbytes(random.randrange(1, 9))
        elif kind == 5:
            data[place:place] = data[place:end]
        else:
            data[place:] = other[random.randrange(len(other)) :]
        if not data:
            break
    return bytes(data)


def sealed(rest):
    """Return a blob with any contents and the right checksum."""
    head = blob._HEAD.pack(blob.MAGIC, blob.FORMAT, 0, len(rest))
    return head + blob._seal(head, rest) + rest


def contents(data):
    """Return the part behind the checksum of an unsigned blob."""
    return data[blob._HEAD.size + blob._CHECKSUM :]


def written(data):
    """The data as a file that `load` can read."""
    return io.BytesIO(data)
