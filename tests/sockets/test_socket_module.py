"""stackless.socket: the limits of calls, MSG_WAITALL, and the module's functions."""

import os
import socket as stock
import time

import pytest
import stackless
from receiving import receiving
from stackless import socket
from waiting import waiting

# ---------------------------------------------------------------------- one limit for a call


def disturbed(call, disturb):
    """Make a call that is woken repeatedly without data; return True if its limit ended it."""
    t = stackless.getcurrent()
    stop = []

    def wakes():
        while not stop:
            stackless.sleep(0.01)
            disturb(t)

    waker = stackless.tasklet(wakes)()
    begun = time.monotonic()
    try:
        with pytest.raises(TimeoutError, match="timed out"), stackless.timeout(5, AssertionError):
            call()
    finally:
        stop.append(1)
        waker.join()
    return time.monotonic() - begun >= 0.05


CALLS = receiving(1) | {
    "send": lambda s: s.send(b"x"),
    "sendall": lambda s: s.sendall(b"x"),
    "sendmsg": lambda s: s.sendmsg([b"x"]),
}


@pytest.mark.parametrize("call", CALLS)
def test_timeout_is_for_the_whole_call(pair, call):
    """However often it waits."""
    near, _ = pair
    if call.startswith("send"):
        near.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                near.send(bytes(100_000))
    near.settimeout(0.05)
    assert disturbed(lambda: CALLS[call](near), lambda t: t.paused and t.insert())


def test_timeout_of_accept_is_for_the_whole_call():
    """Another process takes the connections: the call is woken, and waits again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        assert disturbed(listener.accept, lambda t: t.paused and t.insert())


def test_timeout_of_sendto():
    """A datagram socket whose peer does not read."""
    near, far = socket.socketpair(type=socket.SOCK_DGRAM)
    with near, far:
        near.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                near.send(bytes(1000))
        near.settimeout(0.05)
        assert disturbed(lambda: near.sendmsg([b"x"]), lambda t: t.paused and t.insert())


def test_timeout_of_connect_to_a_full_queue(tmp_path):
    """The listener does not accept."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        connected = []
        with pytest.raises(TimeoutError, match="timed out"):
            while len(connected) < 100:
                s = socket.socket(socket.AF_UNIX)
                connected.append(s)
                s.settimeout(0.01)
                s.connect(path)
        for s in connected:
            s.close()
    assert len(connected) < 100


# ---------------------------------------------------------------------- MSG_WAITALL


def wait_for_all(near):
    return near.recv(10, socket.MSG_WAITALL)


def wait_for_all_from(near):
    data, address = near.recvfrom(10, socket.MSG_WAITALL)
    assert address is None
    return data


def wait_for_all_into(near):
    buffer = bytearray(20)
    assert near.recv_into(buffer, 10, socket.MSG_WAITALL) == 10
    return bytes(buffer[:10])


def wait_for_all_into_all(near):
    buffer = bytearray(10)
    assert near.recvfrom_into(memoryview(buffer), flags=socket.MSG_WAITALL) == (10, None)
    return bytes(buffer)


@pytest.mark.parametrize(
    "receive", [wait_for_all, wait_for_all_from, wait_for_all_into, wait_for_all_into_all]
)
def test_waits_for_all(pair, receive):
    """It waits as often as needed, and takes no more than it was asked for."""
    near, far = pair

    def feed():
        for i in range(11):
            far.send(b"%d" % (i % 10))
            stackless.sleep(0)

    stackless.tasklet(feed)()
    assert receive(near) == b"0123456789"
    stackless.run()
    assert near.recv(10) == b"0"


def test_waits_for_all_until_the_end(pair):
    """It returns what has arrived by then."""
    near, far = pair
    far.send(b"abc")
    t = stackless.tasklet(lambda: (stackless.sleep(0.001), far.close()))()
    assert near.recv(10, socket.MSG_WAITALL) == b"abc"
    assert near.recv(10, socket.MSG_WAITALL) == b""
    assert not t.alive


def test_waits_for_all_without_others(pair):
    """With a timeout, as in the standard module, MSG_DONTWAIT or MSG_PEEK: what has arrived."""
    near, far = pair
    far.send(b"abc")
    assert near.recv(10, socket.MSG_WAITALL | socket.MSG_PEEK) == b"abc"
    assert near.recv(1, socket.MSG_WAITALL | socket.MSG_DONTWAIT) == b"a"
    near.settimeout(5)
    assert near.recv(10, socket.MSG_WAITALL) == b"bc"
    with pytest.raises(ValueError, match="buffer too small"):
        near.settimeout(None)
        near.recv_into(bytearray(3), 4, socket.MSG_WAITALL)


def test_killed_while_waiting_for_all(pair):
    """The data that it took is lost with it, and no other data."""
    near, far = pair
    t = waiting(near.recv, 10, socket.MSG_WAITALL)
    far.send(b"abc")
    stackless.sleep(0.001)
    t.kill()
    far.send(b"def")
    assert near.recv(10) == b"def"


# ---------------------------------------------------------------------- the module


def test_functions_make_stackless_sockets():
    """All functions that make any."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        made = [
            *socket.socketpair(),
            socket.create_connection(address),
            socket.fromfd(listener.fileno(), listener.family, listener.type),
            listener.dup(),
            socket.socket(fileno=os.dup(listener.fileno())),
        ]
        made.append(listener.accept()[0])
        assert {type(s) for s in [listener, *made]} == {socket.socket}
        assert {s.family for s in made[2:]} == {socket.AF_INET}
        for s in made:
            s.close()
    assert socket.timeout is TimeoutError and socket.error is OSError
    assert issubclass(socket.SocketIO, stock.SocketIO)


@pytest.mark.skipif(not stock.has_dualstack_ipv6(), reason="no IPv6 here")
def test_server_for_both_families():
    """One listener for IPv4 and IPv6."""
    assert socket.has_dualstack_ipv6()
    with socket.create_server(
        ("", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=5
    ) as listener:
        port = listener.getsockname()[1]

        def client(host):
            with socket.create_connection((host, port)) as s:
                return s.recv(10)

        for host in "127.0.0.1", "::1":
            t = stackless.run_tasklet(client, host)
            connection, address = listener.accept()
            with connection:
                assert address[0] in (host, f"::ffff:{host}")
                connection.sendall(host.encode())
            assert t.join() == host.encode()
    stackless.run_all()


def test_descriptors_travel(pair):
    """send_fds and recv_fds, which waits."""
    near, far = pair
    read, write = os.pipe()
    stackless.tasklet(lambda: (stackless.sleep(0.001), socket.send_fds(far, [b"x"], [write])))()
    data, (received,), _, _ = socket.recv_fds(near, 10, 4)
    os.write(received, b"through")
    assert data == b"x" and os.read(read, 10) == b"through"
    for number in (read, write, received):
        os.close(number)


def test_create_connection_errors():
    """The error of the last address, or those of all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    with pytest.raises(ExceptionGroup):
        socket.create_connection(address, all_errors=True)
    with pytest.raises(socket.gaierror):
        socket.create_connection(("host.invalid", 1))


def test_default_timeout():
    """setdefaulttimeout() applies to new sockets, also to accepted ones."""
    stock.setdefaulttimeout(5)
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            far, _ = listener.accept()
            assert [s.gettimeout() for s in (listener, near, far)] == [5, 5, 5]
            near.close()
            far.close()
    finally:
        stock.setdefaulttimeout(None)


def test_refused_values():
    """The errors of the standard class."""
    with socket.socket() as s:
        for wrong, error in [(-1, ValueError), ("x", TypeError), (float("nan"), ValueError)]:
            with pytest.raises(error):
                s.settimeout(wrong)
        with pytest.raises(ValueError, match="negative"):
            s.recv(-1)
        with pytest.raises(TypeError):
            s.sendto(b"x")
    with pytest.raises(OSError):
        s.recv(1)
