"""socket.makefile: readers and writers that behave as the standard ones, and wait in Python."""

import io
import os
import random
import socket as stock
import sys

import pytest
import stackless
from stackless import socket
from waiting import waiting

VERSION = sys.version_info[:2]


def both():
    """A connected pair, once of each module."""
    for module in stock, socket:
        near, far = module.socketpair()
        with near, far:
            yield near, far


# ---------------------------------------------------------------------- modes and attributes


@pytest.mark.parametrize(
    ("mode", "base"),
    [
        ("rb", io.BufferedIOBase),
        ("wb", io.BufferedIOBase),
        ("rwb", io.BufferedIOBase),
        ("r", io.TextIOWrapper),
        ("w", io.TextIOWrapper),
        ("rw", io.TextIOWrapper),
        ("", io.TextIOWrapper),
    ],
)
def test_modes(pair, mode, base):
    """Their operations and attributes are those of the standard files."""
    found = []
    for near, _ in both():
        with near.makefile(mode) as file:
            assert isinstance(file, base)
            names = ["readable", "writable", "seekable", "isatty"]
            found.append([getattr(file, name)() for name in names] + [file.closed])
            if mode not in ("rwb", "rw"):  # for the others the standard file has no mode or name
                found[-1].append(file.mode)
                assert file.fileno() == near.fileno() == file.name
        assert file.closed
    assert found[0] == found[1]


def test_unbuffered(pair):
    """The raw file."""
    near, far = pair
    with near.makefile("rwb", 0) as file:
        assert type(file) is socket.SocketIO
        assert isinstance(file, stock.SocketIO)
        assert file.write(b"out") == 3 and far.recv(10) == b"out"
        stackless.tasklet(far.send)(b"abcdef\ngh")
        assert file.read(3) == b"abc"
        buffer = bytearray(2)
        assert file.readinto(buffer) == 2 and buffer == b"de"
        assert file.readline() == b"f\n"
        far.close()
        assert file.read() == b"gh"
        assert file.read(5) == b""


def test_wrong_arguments(pair):
    """ValueError, as in the standard module."""
    for arguments in [("x",), ("r", 0), ("a",)]:
        with pytest.raises(ValueError):
            pair[0].makefile(*arguments)
    with pytest.raises(ValueError, match="buffer size"):
        io.BufferedReader(io.BytesIO(), 0)
    with pair[0].makefile("rb") as file:
        for call in (lambda: file.read(-2), lambda: file.readline("x"), lambda: file.read("x")):
            with pytest.raises((TypeError, ValueError)):
                call()
        for call in (lambda: file.seek(0), file.tell, file.truncate, lambda: file.write(b"x")):
            with pytest.raises(io.UnsupportedOperation):
                call()
    with pair[0].makefile("wb") as file:
        for call in (lambda: file.read(1), file.readline):
            with pytest.raises(io.UnsupportedOperation):
                call()
        with pytest.raises(TypeError):
            file.write("text")


def test_text(pair):
    """With an encoding and both kinds of line ends."""
    near, far = pair
    with near.makefile("rw", encoding="utf-8", newline="\r\n") as file:
        file.write("grüß\n")
        file.flush()
        assert far.recv(100) == "grüß\r\n".encode()
        stackless.tasklet(far.sendall)("ä\r\nö".encode())
        assert file.readline() == "ä\r\n"
        far.close()
        assert list(file) == ["ö"]


# ---------------------------------------------------------------------- reading


def read_at_random(file, chance):
    """The results of a random series of calls, until the end of the data."""
    found = []
    ended = 0
    while ended < 3:
        size = chance.choice([1, 7, 100, 8192, 20_000])
        what = chance.randrange(8)
        if what == 0:
            result = file.read(size)
        elif what == 1:
            result = file.readline()
        elif what == 2:
            result = file.readline(size)
        elif what == 3:
            buffer = bytearray(size)
            result = bytes(buffer[: file.readinto(buffer)])
        elif what == 4:
            result = file.readlines(size)
        elif what == 5:
            peeked = file.peek(1)
            result = file.read(1)
            assert result == peeked[:1]
        elif what == 6:
            result = b"".join(line for line, _ in zip(file, range(3), strict=False))
        else:
            result = file.read(0)
            continue
        found.append((what, result))
        ended = 0 if result else ended + 1
    return found


@pytest.mark.parametrize("seed", range(12))
def test_reads_as_stock(seed):
    """The same calls on the same bytes, however they arrive, return the same."""
    chance = random.Random(seed)
    lines = [bytes(chance.choices(b"abc", k=chance.choice([0, 5, 60, 9000]))) for _ in range(60)]
    data = b"\n".join(lines)

    def feed(far, chance):
        at = 0
        while at < len(data):
            at += far.send(data[at : at + chance.choice([1, 10, 1000, 50_000])])
            stackless.schedule()
        far.close()

    expected = read_at_random(io.BufferedReader(io.BytesIO(data)), random.Random(seed))
    near, far = socket.socketpair()
    with near, near.makefile("rb", chance.choice([-1, 1, 10])) as file:
        stackless.tasklet(feed)(far, chance)
        assert read_at_random(file, random.Random(seed)) == expected


def test_read_to_the_end(pair):
    """read() and read(-1), with nothing left afterwards."""
    near, far = pair
    data = os.urandom(500_000)
    file = near.makefile("rb")
    near.close()

    def feed():
        far.sendall(data)
        far.close()

    stackless.tasklet(feed)()
    assert file.read(3) + file.read() == data
    assert file.read() == file.read(None) == file.read(5) == file.read1() == b""
    assert file.readline() == file.peek() == b"" and file.readlines() == list(file) == []
    assert file.readinto(bytearray(3)) == file.readinto1(bytearray(3)) == 0
    file.close()


def test_one_call_at_most(pair):
    """read1, readinto1 and peek return what has arrived, and wait only if that is nothing."""
    near, far = pair
    with near.makefile("rb") as file:
        far.send(b"abc")
        assert file.peek(100) == b"abc"
        assert file.read1(2) == b"ab" and file.read1(100) == b"c"
        stackless.tasklet(far.send)(b"def")
        assert file.read1() == b"def"
        stackless.tasklet(far.send)(b"ghijk")
        buffer = bytearray(4)
        assert file.readinto1(buffer) == 4 and buffer == b"ghij"
        assert file.readinto1(buffer) == 1 and buffer[:1] == b"k"
        far.send(bytes(20_000))
        assert file.readinto1(bytearray(30_000)) > 0


def test_readinto_other_buffers(pair):
    """Buffers with items of more than a byte; a read-only buffer is refused."""
    import array

    near, far = pair
    with near.makefile("rb") as file:
        far.send(b"12345678")
        buffer = array.array("i", [0])
        assert file.readinto(buffer) == 4 and buffer.tobytes() == b"1234"
        assert file.readinto(bytearray()) == 0
        with pytest.raises((TypeError, BufferError)):
            file.readinto(b"constant")
        assert file.read(4) == b"5678"


def test_one_byte_at_a_time(pair):
    """A long line from a slow peer does not cost more than its bytes."""
    near, far = pair
    line = b"x" * 5000 + b"\n"

    def feed():
        for i in range(len(line)):
            far.send(line[i : i + 1])
            stackless.schedule()

    stackless.tasklet(feed)()
    with near.makefile("rb") as file:
        assert file.readline() == line
    stackless.run()


def test_two_readers(pair):
    """They share the data: each gets whole lines."""
    near, far = pair
    with near.makefile("rb") as file:
        got = []
        for _ in range(3):
            stackless.tasklet(lambda: got.append(file.readline()))()
        stackless.schedule()
        far.send(b"one\ntwo\nthr")
        stackless.schedule()
        stackless.schedule()
        far.send(b"ee\n")
        stackless.run()
        assert got == [b"one\n", b"two\n", b"three\n"]


# ---------------------------------------------------------------------- writing


def test_writes_through_a_buffer(pair):
    """Data is sent when the buffer is full, at a flush and at a close."""
    near, far = pair
    far.settimeout(0.005)
    file = near.makefile("wb", 10)
    assert file.write(b"12345") == 5 and file.write(memoryview(b"67890")) == 5
    with pytest.raises(TimeoutError):
        far.recv(1)
    assert file.write(b"!") == 1 and far.recv(100) == b"1234567890!"
    file.writelines([b"a", bytearray(b"b")])
    file.flush()
    assert far.recv(100) == b"ab"
    file.write(b"end")
    file.close()
    assert far.recv(100) == b"end"


def test_two_writers(pair):
    """The second waits until the first is done: their data is not mixed."""
    near, far = pair
    parts = [bytes([65 + n]) * 400_000 for n in range(4)]

    def writes(file, part):
        file.write(part)
        file.flush()

    with near.makefile("wb") as file:
        tasklets = [stackless.tasklet(writes)(file, part) for part in parts]
        stackless.schedule()
        got = bytearray()
        while len(got) < 1_600_000:
            got += far.recv(100_000)
        stackless.run()
        assert got == b"".join(parts)
        assert not any(t.alive for t in tasklets)


def test_killed_writer(pair):
    """Another writer continues, and sends the rest of the first one's data before its own."""
    near, far = pair
    file = near.makefile("wb", 8192)
    first = waiting(file.write, b"a" * 1_000_000)
    second = stackless.tasklet(file.write)(b"b" * 10_000)
    stackless.schedule()
    first.kill()
    got = bytearray()
    while len(got) < 1_010_000:
        got += far.recv(100_000)
    stackless.run()
    assert got == b"a" * 1_000_000 + b"b" * 10_000
    assert not second.alive
    file.close()


def test_read_and_write(pair):
    """One file for both directions; it cannot be detached."""
    near, far = pair
    with near.makefile("rwb") as file:
        file.write(b"question\n")
        file.flush()
        assert far.recv(100) == b"question\n"
        stackless.tasklet(far.send)(b"answer\n")
        assert file.readline() == b"answer\n"
        with pytest.raises(io.UnsupportedOperation):
            file.detach()


# ---------------------------------------------------------------------- closing and errors


def test_descriptor_is_closed_with_the_last_file(pair):
    """As documented for socket.close()."""
    near, far = pair
    files = [near.makefile(mode) for mode in ("rb", "wb", "r", "rwb")]
    near.close()
    assert near.fileno() >= 0
    files[1].write(b"still")
    files[1].flush()
    assert far.recv(10) == b"still"
    for file in files:
        file.close()
        file.close()
    assert near.fileno() == -1 and far.recv(1) == b""


READS = ["read", "read1", "readline", "readlines", "peek", "__iter__", "flush", "readable"]
WRITES = ["flush", "writable", "__enter__"]


@pytest.mark.parametrize("mode", ["rb", "wb", "rwb"])
def test_closed_file(mode):
    """Exactly the errors of the standard files, also with bytes left."""
    calls = [*(READS if "r" in mode else []), *(WRITES if "w" in mode else [])]
    outcomes = []
    for near, far in both():
        far.send(b"left\nover")
        file = near.makefile(mode)
        if "r" in mode:
            assert file.readline() == b"left\n"
        file.close()
        outcomes.append({})
        for name in calls:
            try:
                outcomes[-1][name] = getattr(file, name)()
            except ValueError as error:
                outcomes[-1][name] = type(error)
        for name, argument in (
            ("write", b"x"),
            ("readinto", bytearray(1)),
            ("read", 0),
            ("read1", 0),
        ):
            with pytest.raises((ValueError, io.UnsupportedOperation)):
                getattr(file, name)(argument)
    assert outcomes[0] == outcomes[1]


def test_detach(pair):
    """The raw file continues to work; the buffered one cannot be used any more."""
    near, far = pair
    file = near.makefile("wb")
    file.write(b"x")
    raw = file.detach()
    assert far.recv(5) == b"x" and type(raw) is socket.SocketIO
    for call in (
        file.flush,
        file.close,
        file.detach,
        lambda: file.write(b"x"),
        lambda: file.closed,
    ):
        with pytest.raises(ValueError, match="detached"):
            call()
    assert "detached" in repr(file)
    raw.close()


def test_closed_while_a_tasklet_reads(pair):
    """File and socket: OSError. The file alone: ValueError when data arrives."""
    near, far = pair
    file, ended = near.makefile("rb"), []

    def reads():
        try:
            file.readline()
        except (OSError, ValueError) as error:
            ended.append(type(error))

    waiting(reads)
    file.close()
    far.send(b"line\n")
    stackless.run()
    file = near.makefile("rb")
    waiting(reads)
    near.close()
    file.close()
    stackless.run()
    assert ended == [ValueError, OSError]


def test_reset():
    """ConnectionResetError, after the data that had arrived before."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, near.makefile("rb") as file:
        far.send(b"line\nrest")
        assert file.readline() == b"line\n"
        t_errors = []

        def reads():
            try:
                file.readline()
            except ConnectionResetError:
                t_errors.append(file.read(4))

        waiting(reads)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
        stackless.run()
        assert t_errors == [b"rest"]


def test_dropped_writer_sends_what_it_has(pair):
    """Its destructor closes it, as that of the standard file does."""
    near, far = pair
    file = near.makefile("wb")
    file.write(b"last")
    del file
    assert far.recv(10) == b"last"
