"""socket.makefile: readers and writers that wait, and what ends their wait."""

import os
import sys

import pytest
import stackless
from stackless import _stackless
from waiting import waiting


def read_all(file):
    return file.read(2)


def read_line(file):
    return file.readline()


def read_line_of_size(file):
    return file.readline(100)


def read_once(file):
    return file.read1(10)


def read_into(file):
    buffer = bytearray(2)
    file.readinto(buffer)
    return bytes(buffer)


def peek(file):
    return file.peek()


def read_in_a_loop(file):
    for line in file:
        return line


WAITS = [read_all, read_line, read_line_of_size, read_once, read_into, peek, read_in_a_loop]


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("buffering", [-1, 0, 1])
def test_a_waiting_reader_can_be_parked(pair, wait, buffering):
    """There are only Python functions on its stack."""
    near, far = pair
    got = []

    def reads(file):
        got.append(wait(file))

    with near.makefile("rb", buffering) as file:
        if buffering == 0 and wait not in (read_all, read_into):
            return  # the base class does the rest, in C
        t = waiting(reads, file)
        if wait is not read_in_a_loop or sys.version_info >= (3, 12):
            assert _stackless._why_not_parked(t) is None
            _stackless._park(t)
        far.send(b"x\n")
        stackless.run()
        assert got == [b"x" if (wait, buffering) == (peek, 1) else b"x\n"]


def test_a_waiting_writer_can_be_parked(pair):
    """The same for flush()."""
    near, far = pair

    def writes(file):
        file.write(bytes(3_000_000))
        file.flush()

    with near.makefile("wb") as file:
        t = waiting(writes, file)
        assert _stackless._why_not_parked(t) is None
        _stackless._park(t)
        left = 3_000_000
        while left:
            left -= len(far.recv(left))
        stackless.run()
        assert not t.alive


def test_an_idle_reader_keeps_no_buffer():
    """Data that has been read is not kept."""
    queue = _stackless._ByteQueue()
    queue.add(b"x" * 100_000)
    assert len(queue) == 100_000
    assert len(queue.take(99_999)) == 99_999
    assert queue.peek() == b"x" and queue.take(None) == b"x" and not queue


def test_an_interrupted_read_loses_nothing(pair):
    """Its bytes are there for the next read."""
    near, far = pair
    with near.makefile("rb") as file:
        far.send(b"ab")
        for call in (lambda: file.read(5), file.readline, lambda: file.read()):
            with pytest.raises(stackless.TimeoutError), stackless.timeout(0.005):
                call()
        t = waiting(file.read, 5)
        t.kill()
        far.send(b"cde")
        assert file.read(5) == b"abcde"


def test_timeout(pair):
    """TimeoutError; afterwards OSError, as in the standard module. Received data can be read."""
    near, far = pair
    near.settimeout(0.005)
    with near.makefile("rb") as file:
        far.send(b"line\nab")
        assert file.readline() == b"line\n"
        with pytest.raises(TimeoutError, match="timed out"):
            file.read(3)
        assert file.read(2) == b"ab"
        for _ in range(2):
            with pytest.raises(OSError, match="cannot read from timed out object"):
                file.readline()


def test_non_blocking(pair):
    """None if nothing has arrived, otherwise the data; a full writer returns how much it took."""
    near, far = pair
    near.setblocking(False)
    with near.makefile("rb") as file, near.makefile("rb", 0) as raw:
        assert raw.read(5) is None and raw.read() is None and raw.readinto(bytearray(3)) is None
        assert file.read(5) is None and file.read() is None and file.readinto(bytearray(3)) is None
        assert file.read1(5) == file.readline() == file.peek() == b""
        far.send(b"ab")
        assert file.read(5) == b"ab" and file.read(5) is None
        far.send(b"cd")
        assert file.readline() == b"cd"
        far.send(b"efg")
        buffer = bytearray(5)
        assert file.readinto(buffer) == 3
        far.send(b"hi")
        assert raw.read() == b"hi"


def test_non_blocking_writer(pair):
    """BlockingIOError when the buffer is full as well; no data that was taken is lost."""
    near, far = pair
    near.setblocking(False)
    file = near.makefile("wb", 1000)
    taken, data = 0, os.urandom(5_000_000)
    with pytest.raises(BlockingIOError) as caught:
        while True:
            taken += file.write(data[taken : taken + 3000])
    taken += caught.value.characters_written
    with pytest.raises(BlockingIOError):
        file.flush()
    got = b""
    while len(got) < taken:
        got += far.recv(taken)
        try:
            file.flush()
        except BlockingIOError:
            continue
    assert got == data[:taken]
    file.close()
