"""stackless.select: its calls block only the calling tasklet; the function select()."""

import errno
import gc
import os
import re
import select as stock
import socket as stock_socket
import threading
from fractions import Fraction

import pytest
import stackless
from child_process import assert_child
from stackless import _stackless, select, socket
from waiting import waiting
from waits_for_files import EACH, Pipe, by_epoll, open_descriptors

# ---------------------------------------------------------------------- names of the module


def test_has_all_names():
    """The names of the standard module."""
    assert [name for name in dir(stock) if not hasattr(select, name)] == []
    assert select.EPOLLIN is stock.EPOLLIN and select.error is OSError
    with pytest.raises(AttributeError):
        getattr(select, "nonsense")  # noqa: B009


# ---------------------------------------------------------------------- waiting


@EACH
def test_waits_alone(wait, pipe):
    """Another tasklet runs meanwhile, and ends the wait."""
    order = []

    def waits():
        order.append(wait(pipe.read))

    def writes():
        order.append("writes")
        os.write(pipe.write, b"x")

    stackless.tasklet(waits)()
    stackless.tasklet(writes)()
    stackless.run()
    assert order == ["writes", True]


@EACH
def test_ready_at_once(wait, pipe):
    """There is no wait, whatever the timeout."""
    os.write(pipe.write, b"x")
    for timeout in None, 0, 0.0, 1, 10.5:
        assert wait(pipe.read, timeout)


@EACH
def test_time_is_over(wait, pipe):
    """Nothing is found; other tasklets ran."""
    ran = []
    stackless.tasklet(lambda: ran.append(1))()
    assert not wait(pipe.read, 0.01)
    assert ran and not wait(pipe.read, 0)


@EACH
def test_many_tasklets(wait):
    """Each waits for its own descriptor."""
    pipes = [Pipe() for _ in range(50)]
    found = []
    for n, pipe in enumerate(pipes):
        stackless.tasklet(lambda n=n, pipe=pipe: found.append((n, wait(pipe.read))))()
    stackless.schedule()
    for pipe in reversed(pipes):
        os.write(pipe.write, b"x")
    stackless.run()
    assert sorted(found) == [(n, True) for n in range(50)]
    for pipe in pipes:
        pipe.close()


@EACH
def test_many_wait_for_one(wait, pipe):
    """All are woken."""
    found = []
    for _ in range(5):
        stackless.tasklet(lambda: found.append(wait(pipe.read)))()
    stackless.schedule()
    os.write(pipe.write, b"x")
    stackless.run()
    assert found == [True] * 5


@EACH
def test_in_threads(wait):
    """Each thread has its own poller."""
    pipes, found = [Pipe() for _ in range(4)], []
    threads = [
        threading.Thread(target=lambda pipe=pipe: found.append(wait(pipe.read))) for pipe in pipes
    ]
    for thread in threads:
        thread.start()
    stackless.sleep(0.01)
    for pipe in pipes:
        os.write(pipe.write, b"x")
    for thread in threads:
        thread.join()
    assert found == [True] * 4
    for pipe in pipes:
        pipe.close()


@EACH
@pytest.mark.parametrize("how", ["kill", "throw", "timeout"])
def test_nothing_is_left_of_a_wait(wait, how, pipe):
    """However it ends: no descriptor is left, and the number can be used again."""
    waiting(wait, pipe.read).kill()
    before = open_descriptors()
    caught = []

    def waits():
        try:
            with stackless.timeout(0.25 if how == "timeout" else None):
                wait(pipe.read, 30)
        except (ZeroDivisionError, stackless.TimeoutError) as error:
            caught.append(type(error))

    for _ in range(20):
        t = waiting(waits)
        if how == "kill":
            t.kill()
        elif how == "throw":
            t.throw(ZeroDivisionError)
    stackless.run()
    expected = {"kill": [], "throw": [ZeroDivisionError], "timeout": [stackless.TimeoutError]}[how]
    assert caught == expected * 20
    assert open_descriptors() == before
    os.write(pipe.write, b"x")
    assert wait(pipe.read)


@EACH
def test_woken_by_hand(wait, pipe):
    """insert() does not end the wait."""
    found = []
    t = waiting(lambda: found.append(wait(pipe.read)))
    for _ in range(3):
        t.insert()
        stackless.schedule()
    assert t.paused and not found
    os.write(pipe.write, b"x")
    stackless.run()
    assert found == [True]


@EACH
def test_a_waiting_tasklet_can_be_parked(wait, pipe):
    """There are only Python functions on its stack."""
    found = []

    def waits():
        found.append(wait(pipe.read))

    t = waiting(waits)
    assert _stackless._why_not_parked(t) is None
    _stackless._park(t)
    os.write(pipe.write, b"x")
    stackless.run()
    assert found == [True]


@EACH
def test_busy_loop_yields_by_schedule(wait, pipe):
    """A call with timeout 0 does not switch."""
    asked = []

    def asks():
        while not wait(pipe.read, 0):
            asked.append(1)
            if len(asked) % 100 == 0:
                stackless.schedule()

    def writes():
        stackless.schedule()
        os.write(pipe.write, b"x")

    stackless.tasklet(asks)()
    stackless.tasklet(writes)()
    stackless.run()
    assert len(asked) == 200


@EACH
def test_regular_files(wait, tmp_path):
    """They are always ready; epoll refuses them, as the system does."""
    with open(tmp_path / "file", "w+b") as file:
        if wait is by_epoll:
            with pytest.raises(PermissionError) as caught:
                wait(file.fileno())
            assert caught.value.errno == errno.EPERM
        else:
            assert wait(file.fileno())


def test_regular_files_among_others(tmp_path, pipe):
    """A regular file is never exceptional: the wait is for the other files only."""
    with open(tmp_path / "file", "w+b") as file:
        assert select.select([pipe.read], [], [file], 0.01) == ([], [], [])
        waits = select.poll()
        waits.register(file, 0)
        waits.register(pipe.read, select.POLLIN)
        assert waits.poll(10) == []
        stackless.tasklet(os.write)(pipe.write, b"x")
        assert waits.poll() == [(pipe.read, select.POLLIN)]


# ---------------------------------------------------------------------- select


def test_select_all_three():
    """Our sockets and standard ones, in three lists."""
    near, far = socket.socketpair()
    other, end = stock_socket.socketpair()
    with near, far, other, end:
        assert select.select([near, other], [near, other], [near], 5) == ([], [near, other], [])
        stackless.tasklet(end.send)(b"x")
        assert select.select((near, other), (), iter([near])) == ([other], [], [])
        far.send(b"x")
        assert select.select({near}, [], [], 5) == ([near], [], [])


def test_select_sleeps():
    """A call without any file."""
    ran = []
    stackless.tasklet(lambda: ran.append(1))()
    assert select.select([], [], [], 0.01) == ([], [], [])
    assert ran


def test_select_urgent_data():
    """The third list."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
        with near, far:
            stackless.tasklet(far.send)(b"!", socket.MSG_OOB)
            assert select.select([], [], [near], 5) == ([], [], [near])


def test_select_hang_up_that_was_not_asked_for():
    """The system reports it, select() does not, and does not spin."""
    near, far = socket.socketpair()
    far.close()
    turns = []

    def counts():
        while True:
            turns.append(1)
            stackless.sleep(0.001)

    t = stackless.tasklet(counts)()
    t.daemon = True
    with near:
        assert select.select([], [], [near], 0.05) == ([], [], [])
    t.kill()
    assert len(turns) > 3


@pytest.mark.parametrize("number", [Fraction(1, 1000), True, 0])
def test_numbers_that_are_timeouts(number):
    """Accepted if the standard function accepts them."""
    try:
        wanted = stock.select([], [], [], number)
    except TypeError as error:
        with pytest.raises(TypeError, match=re.escape(str(error))):
            select.select([], [], [], number)
    else:
        assert select.select([], [], [], number) == wanted


@pytest.mark.parametrize(
    "arguments",
    [
        ([], [], [], -1),
        ([], [], [], "soon"),
        ([], [], [], float("nan")),
        ([], [], [], 1e300),
        (1, [], []),
        ([...], [], []),
        ([-1], [], []),
        (["x"], [], []),
    ],
    ids=str,
)
def test_select_refuses_as_stock(arguments):
    """With the same error."""
    with pytest.raises(Exception) as theirs:  # noqa: PT011
        stock.select(*arguments)
    with pytest.raises(type(theirs.value)) as ours:
        select.select(*arguments)
    if not isinstance(ours.value, OverflowError):  # whose text differs from version to version
        assert str(ours.value) == str(theirs.value)


def test_select_of_a_closed_descriptor(pipe):
    """EBADF."""
    made = Pipe()
    made.close()
    with pytest.raises(OSError) as caught:
        select.select([pipe.read, made.read], [], [], 1)
    assert caught.value.errno == errno.EBADF


# ---------------------------------------------------------------------- numbers used again


def test_socket_with_the_number_of_one_that_was_dropped():
    """The standard destructor closes it without notice: the new socket is not watched yet."""
    near, far = socket.socketpair()
    near.settimeout(0.001)
    with pytest.raises(TimeoutError):
        near.recv(1)
    number = near.fileno()
    with pytest.warns(ResourceWarning):
        del near
        gc.collect()
    far.close()
    near, far = socket.socketpair()
    with near, far:
        one, other = (near, far) if near.fileno() == number else (far, near)
        assert number == one.fileno()
        stackless.tasklet(lambda: (stackless.sleep(0.001), other.send(b"x")))()
        with stackless.timeout(10):
            assert one.recv(1) == b"x"


# ---------------------------------------------------------------------- signals, forks


@pytest.mark.parametrize("call", ["select.select([r], [], [])", "poll.poll()", "epoll.poll()"])
def test_signals(call):
    """A handler runs and the wait continues; Ctrl-C ends it, and the next wait works."""
    assert_child(
        f"""
        import os, signal, stackless, threading
        from stackless import select
        r, w = os.pipe()
        poll, epoll = select.poll(), select.epoll()
        poll.register(r, select.POLLIN)
        epoll.register(r, select.EPOLLIN)
        signal.signal(signal.SIGUSR1, lambda *_: print("handler", flush=True))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        before = len(os.listdir("/proc/self/fd"))
        def sends():
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGINT)
        t = threading.Timer(0.05, sends)
        t.start()
        try:
            {call}
        except KeyboardInterrupt:
            print("interrupted")
        t.join()
        print(len(os.listdir("/proc/self/fd")) - before)
        stackless.tasklet(os.write)(w, b"x")
        print(bool({call}))
        """,
        prints="handler interrupted 3 True",  # the poller's descriptors
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", ["by_select", "by_poll", "by_epoll"])
def test_fork(call):
    """A wait that began before the fork continues in both processes."""
    assert_child(
        f"""
        import os, sys
        sys.path[:0] = {[os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__))]!r}
        import stackless
        from waits_for_files import Pipe, {call} as wait
        pipes, found = [Pipe(), Pipe()], []
        def waits(pipe):
            found.append((wait(pipe.read), os.read(pipe.read, 10)))
        tasklets = [stackless.tasklet(waits)(pipe) for pipe in pipes]
        stackless.schedule()
        pid = os.fork()
        mine = int(bool(pid))
        tasklets[not mine].kill()
        os.write(pipes[mine].write, b"%d" % mine)
        stackless.run()
        assert found == [(True, b"%d" % mine)], found
        if pid:
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            sys.stdout.flush()
        os._exit(0)
        """,
        prints="0",
    )
