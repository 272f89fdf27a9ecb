"""Thousands of connections that end with errors: no error is lost, and nothing is left over."""

import errno
import resource

import pytest
import stackless
from child_process import assert_child, in_child_process
from stackless import socket


def connections_that_fit(most=8000):
    """The number of descriptor pairs that this process may have; raises the process's own limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(most, (hard - 200) // 2)


def descriptors():
    import os

    return len(os.listdir("/proc/self/fd"))


def resident():
    with open("/proc/self/status") as status:
        [line] = [line for line in status if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


RESET = b"\1\0\0\0\0\0\0\0"


@in_child_process
def test_thousands_of_connections_reset_at_random():
    """All open at once, then ended in every way: each server tasklet ends, nothing is left."""
    import gc
    import math
    import random

    stackless.set_stack_limits(park_after=math.inf)  # stacks are given back now and then
    chance = random.Random(1)
    count = connections_that_fit()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    ends = []

    def serve(connection):
        try:
            with connection, connection.makefile("rb") as file:
                for line in file:
                    connection.sendall(line.upper())
            ends.append("closed")
        except OSError as error:
            ends.append(error.errno)

    def accept():
        while True:
            connection, _ = listener.accept()
            stackless.tasklet(serve)(connection)

    def end(s):
        with s:
            how = chance.randrange(6)
            stackless.sleep(chance.random() / 10)
            if how == 0:
                s.sendall(b"half a line")
            elif how == 1:
                s.sendall(b"line\n" * 50)
                s.shutdown(socket.SHUT_WR)
                with s.makefile("rb") as file:
                    assert file.read() == b"LINE\n" * 50
            elif how == 2:
                s.sendall(b"line\n")
                assert s.recv(10) == b"LINE\n"
            elif how == 3:
                s.shutdown(socket.SHUT_RD)
                s.sendall(b"line\n")
            else:
                s.sendall(b"line\n" * how)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def once(count):
        ends.clear()
        for _ in range(count):
            stackless.run_tasklet(socket.create_connection, listener.getsockname())
        opened = stackless.run_all()
        assert len(opened) == count
        for s in opened:
            stackless.run_tasklet(end, s)
        opened.clear()
        stackless.run_all()
        while len(ends) < count:
            stackless.sleep(0.01)
        assert set(ends) <= {"closed", errno.ECONNRESET, errno.EPIPE}, set(ends)
        gc.collect()
        return descriptors(), resident()

    acceptor = stackless.tasklet(accept)()
    acceptor.daemon = True
    before = descriptors()
    first, second = once(count // 4), once(count // 4)
    assert second[1] < first[1] * 1.2, (first, second)
    all_of_them = once(count)
    assert {first[0], second[0], all_of_them[0]} <= {before + 3}, before  # the poller's
    acceptor.kill()
    listener.close()


def test_half_closed():
    """One side has ended: the other one can continue to send, in both directions."""
    near, far = socket.socketpair()
    with near, far:
        got = []
        t = stackless.tasklet(lambda: got.append((near.recv(10), near.recv(10))))()
        stackless.schedule()
        far.shutdown(socket.SHUT_WR)
        stackless.run()
        assert got == [(b"", b"")] and not t.alive
        near.sendall(b"answer")
        assert far.recv(10) == b"answer"
        near.shutdown(socket.SHUT_WR)
        assert far.recv(10) == b""
        with pytest.raises(BrokenPipeError):
            near.sendall(b"x")


def test_no_more_descriptors_in_accept():
    """EMFILE in the accepting tasklet; the connection waits in the system's queue."""
    assert_child(
        """
        import resource, stackless
        from stackless import socket
        listener = socket.create_server(("127.0.0.1", 0))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        def accepts():
            for _ in range(2):
                try:
                    connection, _ = listener.accept()
                except OSError as error:
                    print(error.errno)
                    stackless.sleep(0.01)
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                else:
                    print(connection.recv(10))
                    connection.close()
        socket.create_connection(listener.getsockname()).close()  # imports what it needs
        listener.accept()[0].close()
        t = stackless.tasklet(accepts)()
        stackless.schedule()
        client = socket.socket()
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
        client.connect(listener.getsockname())
        client.sendall(b"patient")
        t.join()
        """,
        prints=f"{errno.EMFILE} b'patient'",
    )


def test_slow_peer_does_not_delay_others():
    """A client sends its request byte by byte, others are served meanwhile."""
    import http.server

    from stackless import servers

    class Hello(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    finished = []

    def slow(address):
        with socket.create_connection(address) as s:
            for at in range(len(request)):
                s.sendall(request[at : at + 1])
                stackless.sleep(0.002)
            assert s.recv(100).startswith(b"HTTP/1.1 200")
            finished.append("slow")

    def quick(address):
        with socket.create_connection(address) as s:
            for _ in range(5):
                s.sendall(request)
                assert s.recv(1000).startswith(b"HTTP/1.1 200")
            finished.append("quick")

    with servers.TaskletHTTPServer(("127.0.0.1", 0), Hello) as server:
        server.daemon_tasklets = False
        t = stackless.tasklet(server.serve_forever)()
        stackless.run_tasklet(slow, server.server_address)
        for _ in range(5):
            stackless.run_tasklet(quick, server.server_address)
        stackless.run_all()
        assert finished == ["quick"] * 5 + ["slow"]
        server.shutdown()
        assert not t.alive


@in_child_process
def test_thousands_wait_for_sockets_that_are_closed():
    """Another tasklet closes them: each waiting tasklet gets EBADF, whatever it waits for."""
    import gc

    count = connections_that_fit(2000) // 2 * 2
    before = descriptors()
    pairs = [socket.socketpair() for _ in range(count)]
    ends = []

    def waits(near, how):
        try:
            if how == 0:
                near.recv(1)
            else:
                near.sendall(bytes(1_000_000))
        except OSError as error:
            ends.append(error.errno)

    for n, (near, _) in enumerate(pairs):
        stackless.tasklet(waits)(near, n % 2)
    stackless.schedule()
    for near, far in pairs:
        near.close()
        far.close()
    stackless.run()
    assert ends == [errno.EBADF] * count, (len(ends), set(ends))
    gc.collect()
    assert descriptors() <= before + 3


@pytest.mark.parametrize(
    ("name", "handler", "exits"),
    [
        ("SIGINT", "signal.default_int_handler", 130),
        ("SIGTERM", "lambda *_: sys.exit(7)", 7),
    ],
)
def test_signals_while_thousands_wait(name, handler, exits):
    """The process ends as it should, after the `finally` blocks of all tasklets."""
    assert_child(
        f"""
        import os, signal, stackless, sys, threading
        from stackless import socket
        signal.signal(signal.{name}, {handler})
        pairs = [socket.socketpair() for _ in range(200)]
        ended = []
        def waits(near):
            try:
                near.recv(1)
            finally:
                ended.append(1)
        tasklets = [stackless.tasklet(waits)(near) for near, _ in pairs]
        threading.Timer(0.05, os.kill, [os.getpid(), signal.{name}]).start()
        try:
            stackless.run()
        except (KeyboardInterrupt, SystemExit) as error:
            for t in tasklets:
                t.kill()
            print(type(error).__name__, len(ended))
            sys.stdout.flush()
            sys.exit({exits})
        """,
        exits=exits,
        prints=f"{'KeyboardInterrupt' if name == 'SIGINT' else 'SystemExit'} 200",
    )
