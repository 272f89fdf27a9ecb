"""What is known of a socket that tasklets wait for: short reads, descriptors that come again.

For the sockets of `stackless.socket` and for patched standard ones.
"""

import array
import os
import socket
import threading

import pytest
import stackless
from stackless import _stackless
from stackless import socket as ours

pytestmark = pytest.mark.usefixtures("patched")


@pytest.fixture(params=[ours.socket, socket.socket], ids=["ours", "patched"])
def kind(request):
    return request.param


def tcp_pair(kind):
    """A socket of this kind, and the other end, which a thread uses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
        return kind(fileno=near.detach()), far


def unix_pair(kind):
    near, far = socket.socketpair()
    return kind(fileno=near.detach()), far


def received_after(near, far, action):
    """Wait once for b"first", so that the socket is watched; read twice after the action."""
    got = []

    def reader():
        got.append(near.recv(100))
        action()
        got.append(near.recv(100))
        got.append(near.recv(100))

    threading.Timer(0.02, far.sendall, [b"first"]).start()

    stackless.tasklet(reader)()
    with stackless.timeout(10):
        stackless.run()
    return got


def test_a_read_stops_at_urgent_data(kind):
    """What follows can be read at once, although the system tells of nothing new."""
    near, far = tcp_pair(kind)

    def action():
        far.send(b"before")
        far.send(b"!", socket.MSG_OOB)
        far.send(b"behind")

    with near, far:
        got = received_after(near, far, action)
    assert got == [b"first", b"before", b"behind"]


def test_a_read_stops_where_descriptors_were_sent(kind):
    near, far = unix_pair(kind)

    def action():
        with open(os.devnull) as file:
            rights = array.array("i", [file.fileno()])
            far.sendmsg([b"with"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        far.send(b"without")

    with near, far:
        got = received_after(near, far, action)
    assert got == [b"first", b"with", b"without"]


def wait_for_one_byte(near, far):
    """The socket is watched afterwards, and has nothing to read."""
    got = []
    stackless.tasklet(lambda: got.append(near.recv(10)))()
    stackless.tasklet(far.sendall)(b"x")
    with stackless.timeout(10):
        stackless.run()
    assert got == [b"x"]


WAYS = ["closed", "os.dup2", "detach"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [tcp_pair, unix_pair])
def test_another_socket_with_the_same_descriptor(make, way):
    """The old one was closed behind the back of its object; another socket has its number."""
    near, far = make(socket.socket)
    wait_for_one_byte(near, far)
    descriptor = near.fileno()
    other, other_far = make(socket.socket)
    if way == "os.dup2":
        os.dup2(other.fileno(), descriptor)
        again = near
    else:
        near.detach()
        os.closerange(descriptor, descriptor + 1)
        os.dup2(other.fileno(), descriptor)
        again = socket.socket(fileno=descriptor)
    if way == "detach":
        again.detach()
        again = socket.socket(fileno=descriptor)
    for _ in range(3):
        wait_for_one_byte(again, other_far)
    for each in (again, other, far, other_far):
        each.close()


def test_the_other_direction_of_another_socket():
    """What was known of writing does not hold for the new socket either."""
    near, far = unix_pair(socket.socket)
    wait_for_one_byte(near, far)
    other, other_far = unix_pair(socket.socket)
    os.dup2(other.fileno(), near.fileno())
    sent = []

    def writer():
        sent.append(near.sendall(bytes(10_000_000)))

    def reader():
        left = 10_000_000
        while left:
            left -= len(other_far.recv(1 << 20))

    stackless.tasklet(writer)()
    stackless.tasklet(reader)()
    with stackless.timeout(30):
        stackless.run()
    assert sent == [None]
    for each in (near, other, far, other_far):
        each.close()


def test_the_fields_of_standard_sockets_are_known():
    """Else their methods are asked, which takes longer."""
    assert _stackless._knows_socket_fields()
