"""stackless.socket: descriptors, pollers, signals and forks leave nothing behind."""

import errno
import gc
import threading

import pytest
import stackless
from child_process import assert_child
from echo import exchange
from stackless import socket
from waits_for_files import open_descriptors


def test_descriptors_return_to_the_start(server):
    """Connections that end in every way."""
    exchange(server, b"warm up")
    gc.collect()
    stackless.sleep(0.01)
    before = open_descriptors()

    def rude(n):
        s = socket.create_connection(server)
        s.send(b"x")
        if n % 3:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset
        elif n % 2:
            s.shutdown(socket.SHUT_RD)
        s.close()

    def quietly(n):
        try:
            rude(n)
        except OSError:
            pass

    stackless.set_error_handler(lambda kind, error, tb: None)  # the echo tasklets get resets
    for n in range(100):
        stackless.run_tasklet(quietly, n)
    stackless.run_all()
    stackless.run()
    stackless.set_error_handler(None)
    gc.collect()
    assert open_descriptors() == before


def test_thread_gives_its_poller_back():
    """A thread that waited for sockets leaves no descriptors."""

    def in_thread():
        near, far = socket.socketpair()
        with near, far:
            near.settimeout(0.001)
            with pytest.raises(TimeoutError):
                near.recv(1)

    def once():
        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()

    once()
    gc.collect()
    before = open_descriptors()
    for _ in range(5):
        once()
    assert open_descriptors() == before


def test_no_more_descriptors():
    """EMFILE where the poller would be made: an OSError, and everything works afterwards."""
    assert_child(
        """
        import os, resource, stackless
        from stackless import socket
        near, far = socket.socketpair()
        resource.setrlimit(resource.RLIMIT_NOFILE, (far.fileno() + 1, 4096))
        try:
            near.recv(1)
        except OSError as error:
            print(error.errno)
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 4096))
        stackless.tasklet(lambda: (stackless.sleep(0.01), far.send(b"x")))()
        print(near.recv(1))
        """,
        prints=f"{errno.EMFILE} b'x'",
    )


def test_interrupt():
    """Ctrl-C ends the wait of main when it is alone."""
    assert_child(
        """
        import os, signal, stackless, threading
        from stackless import socket
        signal.signal(signal.SIGINT, signal.default_int_handler)
        near, far = socket.socketpair()
        threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT]).start()
        try:
            near.recv(1)
        except KeyboardInterrupt:
            print("interrupted")
        far.send(b"x")
        print(near.recv(1))
        """,
        prints="interrupted b'x'",
    )


@pytest.mark.filterwarnings("ignore")
def test_fork():
    """Parent and child each wait for their own sockets, which were registered before."""
    assert_child(
        """
        import os, stackless, sys
        from stackless import socket
        pairs = [socket.socketpair() for _ in range(2)]
        got = []
        def reads(n, near):
            got.append((n, near.recv(10)))
        readers = [stackless.tasklet(reads)(n, near) for n, (near, far) in enumerate(pairs)]
        stackless.schedule()
        pipes = [os.pipe() for _ in range(2)]
        pid = os.fork()
        mine = int(bool(pid))
        readers[not mine].kill()  # the socket is the other process's
        os.write(pipes[mine][1], b".")
        os.read(pipes[not mine][0], 1)
        stackless.tasklet(lambda: (stackless.sleep(0.02), pairs[mine][1].send(b"x")))()
        while not got:
            stackless.sleep(0.001)
        ok = got == [(mine, b"x")]
        if pid:
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            print(ok, status)
            sys.stdout.flush()
        os._exit(0 if ok else 1)
        """,
        prints="True 0",
    )
