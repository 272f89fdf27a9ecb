"""stackless.socket: tasklets on loopback, which calls wait and what ends a wait."""

import errno
import os
import socket as stock
import threading
import time

import pytest
import stackless
from echo import exchange
from stackless import socket
from stackless._io import socket_methods

# ---------------------------------------------------------------------- the module


def test_has_all_names():
    """The names of the standard module, public and private."""
    assert set(dir(stock)) - set(dir(socket)) - {"__file__", "__cached__"} <= {
        name for name in dir(stock) if hasattr(socket, name)
    }
    assert socket.AF_INET is stock.AF_INET
    assert socket._GLOBAL_DEFAULT_TIMEOUT is stock._GLOBAL_DEFAULT_TIMEOUT
    with pytest.raises(AttributeError):
        getattr(socket, "nonsense")  # noqa: B009


def test_is_a_socket(pair):
    """For isinstance, and in its repr."""
    assert isinstance(pair[0], stock.socket)
    assert "stackless.socket.socket fd=" in repr(pair[0])


# ---------------------------------------------------------------------- exchange


@pytest.mark.parametrize("size", [1, 100, 70_000, 3_000_000])
def test_echo(server, size):
    """Small and large messages, and one that is larger than any buffer."""
    data = os.urandom(size)

    def client():
        with socket.create_connection(server) as s:
            sender = stackless.tasklet(s.sendall)(data)
            received = bytearray()
            while len(received) < size:
                received += s.recv(size)
            sender.join()
            return bytes(received)

    task = stackless.run_tasklet(client)
    assert stackless.run_all() == [data]
    assert not task.alive


def test_many_connections(server):
    """All at once; each gets its own answer."""
    for n in range(200):
        stackless.run_tasklet(exchange, server, b"%d" % n * 100)
    assert stackless.run_all() == [b"%d" % n * 100 for n in range(200)]


def test_from_main(server):
    """Main makes the calls, without run()."""
    assert exchange(server, b"main") == b"main"


def test_with_a_plain_thread():
    """The peer is a thread without tasklets."""
    listener = stock.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        with connection:
            data = connection.recv(100)
            time.sleep(0.02)
            connection.sendall(data.upper())

    thread = threading.Thread(target=serve)
    thread.start()
    turns = 0

    def busy():
        nonlocal turns
        while thread.is_alive():
            turns += 1
            stackless.schedule()

    stackless.tasklet(busy)()
    assert exchange(listener.getsockname(), b"abc") == b"ABC"
    stackless.run()
    listener.close()
    thread.join()
    assert turns > 0


def test_makefile(server):
    """Lines through buffered readers and writers."""

    def client():
        with socket.create_connection(server) as s, s.makefile("rw", encoding="ascii") as file:
            file.write("one\ntwo\n")
            file.flush()
            return [file.readline(), file.readline()]

    stackless.run_tasklet(client)
    assert stackless.run_all() == [["one\n", "two\n"]]


def test_recv_into(pair):
    """A buffer, a part of one, and one that is too small."""
    near, far = pair
    buffer = bytearray(10)
    far.sendall(b"abcdef")
    assert near.recv_into(buffer, 2) == 2
    assert near.recv_into(memoryview(buffer)[2:]) == 4
    assert buffer == b"abcdef\0\0\0\0"
    with pytest.raises(ValueError, match="buffer too small"):
        near.recv_into(buffer, 11)
    with pytest.raises(BufferError):
        near.recv_into(b"constant")


def test_datagrams():
    """recvfrom waits; several datagrams are kept apart."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        got = []

        def receives():
            got.append(one.recvfrom(100))
            got.append(one.recv(100))
            got.append(one.recv(1))

        stackless.tasklet(receives)()
        stackless.schedule()
        for data in (b"first", b"second", b"third"):
            two.sendto(data, one.getsockname())
        stackless.run()
        assert got == [(b"first", two.getsockname()), b"second", b"t"]


def test_sendmsg_recvmsg(pair):
    """With a descriptor as ancillary data."""
    near, far = pair
    got = []
    stackless.tasklet(lambda: got.append(socket.recv_fds(near, 100, 1)))()
    stackless.schedule()
    read, write = os.pipe()
    socket.send_fds(far, [b"x"], [read])
    stackless.run()
    [(data, [received], _, _)] = got
    assert data == b"x"
    for descriptor in (read, write, received):
        os.close(descriptor)


def test_end_after_a_short_read(pair):
    """The peer sent and closed before the first read: no call waits for ever."""
    near, far = pair
    stackless.tasklet(lambda: near.recv(1))()
    stackless.schedule()
    far.sendall(b"1")
    stackless.run()
    far.sendall(b"23")
    far.close()
    stackless.sleep(0.01)
    assert [near.recv(100), near.recv(100), near.recv(100)] == [b"23", b"", b""]


def test_peek(pair):
    """MSG_PEEK leaves the data in place."""
    near, far = pair
    near.settimeout(0.001)
    with pytest.raises(TimeoutError):
        near.recv(1)
    near.settimeout(None)
    far.sendall(b"ab")
    assert near.recv(10, socket.MSG_PEEK) == near.recv(10) == b"ab"


# ---------------------------------------------------------------------- waiting


def test_timeout(pair):
    """The standard exception; the next call works."""
    near, far = pair
    near.settimeout(0.01)
    assert (near.gettimeout(), near.timeout, near.getblocking()) == (0.01, 0.01, True)
    for call in (
        lambda: near.recv(1),
        lambda: near.recv_into(bytearray(1)),
        lambda: near.recvfrom(1),
    ):
        with pytest.raises(stock.timeout, match="timed out"):
            call()
    far.send(b"x")
    assert near.recv(1) == b"x"


def test_timeout_of_a_send(pair):
    """The peer does not read."""
    near, _ = pair
    near.settimeout(0.01)
    with pytest.raises(TimeoutError):
        near.sendall(bytes(10_000_000))


def test_non_blocking(pair):
    """BlockingIOError at once; also if a flag of a single call asks for that."""
    near, _ = pair
    with pytest.raises(BlockingIOError):
        near.recv(1, socket.MSG_DONTWAIT)
    near.setblocking(False)
    assert near.gettimeout() == 0 and not near.getblocking()
    with pytest.raises(BlockingIOError):
        near.recv(1)


def test_flags_of_the_descriptor_are_the_standard_ones(pair):
    """Non-blocking exactly if there is a timeout, as other users of the descriptor expect."""
    near, _ = pair
    for timeout in (None, 5, 0, None):
        near.settimeout(timeout)
        assert os.get_blocking(near.fileno()) is (timeout is None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as s:
            assert os.get_blocking(s.fileno())
        with socket.create_connection(listener.getsockname(), timeout=5) as s:
            assert not os.get_blocking(s.fileno())


def test_accept_in_time(server):
    """accept() with a timeout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.01)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_with_timeout_block(pair):
    """A limit over several calls."""
    with pytest.raises(stackless.TimeoutError), stackless.timeout(0.01):
        pair[0].recv(1)
    pair[1].send(b"x")
    assert pair[0].recv(1) == b"x"


def test_two_wait_for_one_direction(pair):
    """Both try; the first one gets the first part."""
    near, far = pair
    got = []
    for n in range(3):
        stackless.tasklet(lambda n=n: got.append((n, near.recv(1))))()
    stackless.schedule()
    far.sendall(b"abc")
    stackless.run()
    assert got == [(0, b"a"), (1, b"b"), (2, b"c")]


def test_both_directions(pair):
    """A reader and a writer of one socket do not disturb each other."""
    near, far = pair
    data = bytes(2_000_000)
    got = []
    stackless.tasklet(lambda: got.append(near.recv(1)))()
    sender = stackless.tasklet(near.sendall)(data)
    stackless.schedule()
    assert sender.alive
    left = len(data)
    while left:
        left -= len(far.recv(left))
    far.send(b"x")
    stackless.run()
    assert got == [b"x"] and not sender.alive


@pytest.mark.parametrize("how", ["close", "detach"])
@pytest.mark.parametrize("thread", [False, True])
def test_closed_while_a_tasklet_waits(pair, how, thread):
    """OSError in the waiting tasklet, in any call; a new socket with the same number is another."""
    near, _ = pair
    codes = []

    def waits():
        try:
            near.recv(1)
        except OSError as error:
            codes.append(error.errno)

    if thread:
        waiting = threading.Thread(target=waits)
        waiting.start()
        time.sleep(0.05)
    else:
        stackless.tasklet(waits)()
        stackless.schedule()
    number = getattr(near, how)()
    if how == "detach":
        os.close(number)
    if thread:
        waiting.join()
    else:
        stackless.run()
    assert codes == [errno.EBADF]
    with pytest.raises(OSError):
        near.recv(1)


def test_closing_a_listener_under_its_accept_loop():
    """The loop ends with OSError."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = []

    def serve():
        try:
            listener.accept()
        except OSError as error:
            ended.append(error.errno)

    stackless.tasklet(serve)()
    stackless.schedule()
    listener.close()
    stackless.run()
    assert ended == [errno.EBADF]


def test_killed_while_waiting(pair):
    """Nothing is left of the wait."""
    near, far = pair
    t = stackless.tasklet(near.recv)(1)
    stackless.schedule()
    t.kill()
    far.send(b"x")
    assert near.recv(1) == b"x"


def test_woken_by_hand(pair):
    """insert() makes the tasklet try again, and wait again."""
    near, far = pair
    got = []
    t = stackless.tasklet(lambda: got.append(near.recv(1)))()
    stackless.schedule()
    for _ in range(3):
        t.insert()
        stackless.schedule()
    assert got == [] and t.paused
    far.send(b"x")
    stackless.run()
    assert got == [b"x"]


def test_run_does_not_wait_for_a_daemon_reader(pair):
    """run() returns while the daemon waits."""
    t = stackless.tasklet(pair[0].recv)(1)
    t.daemon = True
    stackless.run()
    assert t.paused
    t.kill()


def test_busy_connection_lets_others_run(pair):
    """A reader that never has to wait lets other tasklets have their turns."""
    near, far = pair
    turns = 0
    done = []

    def other():
        nonlocal turns
        while not done:
            turns += 1
            stackless.schedule()

    def reader():
        for _ in range(1000):
            near.recv(1)
        done.append(1)

    far.sendall(bytes(1000))
    stackless.tasklet(reader)()
    stackless.tasklet(other)()
    stackless.run()
    assert turns >= 10


def test_sleepers_and_sockets_together(server):
    """Neither delays the other for ever."""
    log = []

    def ticks():
        for n in range(5):
            stackless.sleep(0.005)
            log.append(n)

    stackless.run_tasklet(ticks)
    for _ in range(50):
        stackless.run_tasklet(exchange, server, b"x" * 1000)
    stackless.run_all()
    assert log == list(range(5))


# ---------------------------------------------------------------------- connecting, names


def test_connection_refused():
    """The usual exception, and the number that connect_ex returns."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with socket.socket() as s, pytest.raises(ConnectionRefusedError):
        s.connect(address)
    with socket.socket() as s:
        assert s.connect_ex(address) == errno.ECONNREFUSED


def test_unix_sockets_with_a_full_queue(tmp_path):
    """More clients connect at once than the listener's queue holds."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)

        def connect(n):
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                s.sendall(b"%d\n" % n)

        for n in range(10):
            stackless.tasklet(connect)(n)
        got = []
        for _ in range(10):
            stackless.sleep(0.002)
            connection, _ = listener.accept()
            with connection:
                got.append(connection.recv(10))
        stackless.run()
    assert sorted(got) == sorted(b"%d\n" % n for n in range(10))


def test_names_are_looked_up_on_a_worker(monkeypatch):
    """Other tasklets run meanwhile; numeric addresses need no worker."""
    threads = []
    original = stock.getaddrinfo

    def watched(*arguments, **named):
        threads.append(threading.get_ident())
        return original(*arguments, **named)

    monkeypatch.setattr(socket_methods, "_find_addresses", watched)
    assert socket.getaddrinfo("localhost", 80)
    assert threads[-1] != threading.get_ident()
    assert socket.getaddrinfo("127.0.0.1", 80)
    assert threads[-1] == threading.get_ident()


def test_dup_and_fromfd(server):
    """Both return our sockets."""
    with socket.create_connection(server) as s:
        s.settimeout(5)
        with s.dup() as copy, socket.fromfd(s.fileno(), s.family, s.type) as other:
            assert type(copy) is type(other) is socket.socket
            assert copy.gettimeout() == 5
            copy.sendall(b"x")
            assert s.recv(1) == b"x"


def test_sendfile(server, tmp_path):
    """A file is sent to the peer."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(200_000))

    def client():
        with socket.create_connection(server) as s, path.open("rb") as file:
            sender = stackless.tasklet(s.sendfile)(file)
            got = b""
            while len(got) < 200_000:
                got += s.recv(100_000)
            sender.join()
            return got

    stackless.run_tasklet(client)
    assert stackless.run_all() == [path.read_bytes()]
