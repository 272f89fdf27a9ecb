"""The queue of bytes that the readers of socket.makefile use."""

import random
import sys

import pytest
from stackless import _stackless


def test_queue_refuses_wrong_arguments():
    """TypeError and BufferError, and nothing is changed."""
    queue = _stackless._ByteQueue()
    queue.add(b"abc\n")
    for call in (
        lambda: queue.add("text"),
        lambda: queue.add(),
        lambda: queue.take("1"),
        lambda: queue.take(),
        lambda: queue.line(1.5),
        lambda: queue.peek(1),
        lambda: queue.take_into(b"constant"),
        lambda: queue.take_exactly(),
        lambda: _stackless._ByteQueue(1),
    ):
        with pytest.raises((TypeError, BufferError)):
            call()
    with pytest.raises(OverflowError):
        queue.take(2**70)
    assert queue.peek() == b"abc\n"


def test_queue_gives_back_the_object_that_came():
    """A bytes object that is read whole is not copied; and no reference to it is left."""
    data = bytes(1000)
    before = sys.getrefcount(data)
    for take in (
        lambda queue: queue.take_exactly(1000) is data,
        lambda queue: queue.take(None) is data,
        lambda queue: queue.take(1) + queue.take(None) == data,
        lambda queue: queue.add(b"more") or queue.take(None) == data + b"more",
        lambda queue: queue.take_into(bytearray(1000)) == 1000,
        lambda queue: len(queue) == 1000,
    ):
        queue = _stackless._ByteQueue()
        queue.add(data)
        assert take(queue)
        del queue
        assert sys.getrefcount(data) == before


@pytest.mark.parametrize("seed", range(5))
def test_queue_against_bytes(seed):
    """The queue behaves as a bytes object that is cut."""
    chance = random.Random(seed)
    queue, model = _stackless._ByteQueue(), b""
    for _ in range(3000):
        size = chance.choice([0, 1, 3, 10, 100, -1])
        what = chance.randrange(5)
        if what == 0:
            more = bytes(chance.choices(b"ab\n", [5, 5, 1], k=max(size, 0)))
            queue.add(chance.choice([bytes, bytes, bytearray])(more))
            model += more
            continue
        if what == 1:
            count = model.find(b"\n") + 1
            limit = len(model) + 1 if size < 0 else size
            count = min(count or limit, limit)
            expected = model[:count] if count <= len(model) else None
            found = queue.line(size)
        elif what == 2:
            expected = model if size < 0 else model[:size]
            found = queue.take(size)
        elif what == 3:
            expected = model[:size] if 0 <= size <= len(model) else None
            found = queue.take_exactly(size)
        else:
            buffer = bytearray(max(size, 0))
            count = queue.take_into(buffer)
            expected, found = model[: len(buffer)], bytes(buffer[:count])
        assert found == expected
        model = model[len(expected or b"") :]
        assert len(queue) == len(model) and queue.peek() == model
