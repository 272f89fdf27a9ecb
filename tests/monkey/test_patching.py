"""stackless.monkey: what is patched, where the patches apply, and how they are undone."""

import decimal
import logging
import pickle
import select
import selectors
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from socket import getaddrinfo as early_getaddrinfo
from socket import socket as early_socket
from time import sleep as early_sleep

import pytest
import stackless
from child_process import assert_child, run_child
from stackless import _stackless, monkey

PARTS = ["time", "socket", "ssl", "select", "logging"]
OWNERS = [
    time,
    socket,
    select,
    socket.socket,
    ssl.SSLSocket,
    logging.Handler,
    selectors._PollLikeSelector,
    selectors.EpollSelector,
    selectors.SelectSelector,
]
#: Not a name of a module: that would be patched as well.
REAL = {"sleep": time.sleep}


@pytest.fixture(autouse=True)
def unpatched():
    before = [dict(vars(owner)) for owner in OWNERS]
    yield
    monkey.unpatch_all()
    assert [dict(vars(owner)) for owner in OWNERS] == before


@pytest.fixture
def patched():
    monkey.patch_all()


# ---------------------------------------------------------------------- patching and unpatching


@pytest.mark.parametrize("part", PARTS)
def test_one_part(part):
    assert not monkey.is_patched(part)
    getattr(monkey, f"patch_{part}")()
    assert [p for p in PARTS if monkey.is_patched(p)] == [part]
    getattr(monkey, f"unpatch_{part}")()
    assert not monkey.is_patched(part)
    getattr(monkey, f"unpatch_{part}")()


def test_twice_is_once():
    """Patching twice does not wrap anything twice; unpatching twice has no further effect."""
    monkey.patch_all()
    first = time.sleep, socket.socket.recv, socket.getaddrinfo, select.epoll
    monkey.patch_all()
    monkey.patch_time()
    assert (time.sleep, socket.socket.recv, socket.getaddrinfo, select.epoll) == first
    monkey.unpatch_all()
    assert time.sleep is REAL["sleep"]
    monkey.unpatch_all()


def test_unknown_parts():
    for call in (monkey.is_patched, lambda part: monkey.patched(part).__enter__()):
        with pytest.raises(ValueError, match="'thread'"):
            call("thread")


def test_context_manager():
    """It undoes its own patches, and no others."""
    monkey.patch_time()
    with monkey.patched("time", "select"):
        assert monkey.is_patched("time") and monkey.is_patched("select")
        with monkey.patched():
            assert all(monkey.is_patched(part) for part in PARTS)
        assert [p for p in PARTS if monkey.is_patched(p)] == ["time", "select"]
    assert [p for p in PARTS if monkey.is_patched(p)] == ["time"]
    with pytest.raises(ZeroDivisionError), monkey.patched("socket"):
        1 / 0  # noqa: B018
    assert not monkey.is_patched("socket")


def test_another_patch_applied_afterwards():
    """A name that no longer holds our function is left alone."""
    monkey.patch_time()
    time.sleep = other = lambda seconds: None
    try:
        assert not monkey.is_patched("time")
        monkey.unpatch_time()
        assert time.sleep is other
    finally:
        time.sleep = REAL["sleep"]


def test_restored_by_hand(ticks):
    """A program put a patched function back: it is not taken for the standard one."""
    monkey.patch_all()
    kept = time.sleep, socket.getaddrinfo
    monkey.unpatch_all()
    real = socket.getaddrinfo
    time.sleep, socket.getaddrinfo = kept
    try:
        with monkey.patched():
            time.sleep(0.005)
            assert socket.getaddrinfo("127.0.0.1", 80)
            assert ticks.number > 1
    finally:
        time.sleep, socket.getaddrinfo = REAL["sleep"], real
    time.sleep(0)


def test_originals(patched):
    """Functions, methods, and whole classes."""
    assert monkey.original("time", "sleep") is REAL["sleep"]
    assert monkey.original("time", "monotonic") is time.monotonic
    assert monkey.original("socket", "socket.recv") is early_socket.__base__.recv
    assert monkey.original("socket", "getaddrinfo") is not socket.getaddrinfo
    assert monkey.original("select", "epoll") is not select.epoll
    blocking = monkey.original("socket", "socket")
    assert issubclass(blocking, socket.socket) and blocking is not socket.socket
    assert vars(blocking)["connect"] is early_socket.__base__.connect
    secure = monkey.original("ssl", "SSLSocket")
    assert secure.do_handshake is not ssl.SSLSocket.do_handshake
    assert secure.recv_into is ssl.SSLSocket.recv_into
    with pytest.raises(AttributeError):
        monkey.original("time", "nonsense")
    with pytest.raises(ImportError):
        monkey.original("nonsense", "sleep")


def test_originals_without_a_patch():
    assert monkey.original("time", "sleep") is time.sleep
    assert monkey.original("socket", "socket") is socket.socket


def test_original_blocks_the_thread(patched, ticks):
    stackless.schedule()
    before = ticks.number
    monkey.original("time", "sleep")(0.02)
    near, far = socket.socketpair()
    with near, far:
        blocking = monkey.original("socket", "socket")(fileno=far.detach())
        with blocking:
            blocking.settimeout(0.02)
            with pytest.raises(TimeoutError):
                blocking.recv(1)
    assert ticks.number == before


def test_names_are_pickled_as_the_standard_ones(patched):
    for function in (time.sleep, socket.getaddrinfo, socket.gethostbyname, select.select):
        assert pickle.loads(pickle.dumps(function)) is function
    dumped = pickle.dumps([time.sleep, select.epoll, socket.socket, socket.gethostbyname])
    monkey.unpatch_all()
    assert pickle.loads(dumped) == [
        REAL["sleep"],
        select.epoll,
        socket.socket,
        socket.gethostbyname,
    ]


def test_imported_by_name_before(patched):
    """Modules are searched; a copy in a class or default argument is not found."""
    assert early_sleep is time.sleep is not REAL["sleep"]
    assert early_getaddrinfo is socket.getaddrinfo
    assert early_socket is socket.socket
    monkey.unpatch_all()
    assert early_sleep is time.sleep is REAL["sleep"]
    assert early_getaddrinfo is socket.getaddrinfo


def test_functions_in_classes(patched, ticks):
    """A C function that becomes an attribute of a class does not turn into a method."""

    class Clock:
        pause = time.sleep

    Clock().pause(0.05)
    assert ticks.number > 2


def test_reload():
    """A module that was reloaded is patched by patching again."""
    assert_child(
        """
        import importlib, socket, ssl, stackless, time
        from stackless import monkey
        monkey.patch_all()
        for module in (time, socket, ssl):
            importlib.reload(module)
        print(monkey.is_patched("socket"))
        monkey.patch_all()
        print(all(monkey.is_patched(p) for p in ("time", "socket", "ssl")))
        near, far = socket.socketpair()
        got = []
        stackless.tasklet(lambda: got.append(near.recv(10)))()
        stackless.tasklet(lambda: (time.sleep(0.01), far.sendall(b"x")))()
        stackless.run()
        print(got)
        monkey.unpatch_all()
        print("recv" in vars(socket.socket), time.sleep)
        """,
        prints="False True [b'x'] False <built-in function sleep>",
    )


def test_signatures(patched):
    """They are those of the standard calls, and so are the texts of errors."""
    assert time.sleep.__name__ == "sleep" and time.sleep.__module__ == "time"
    assert socket.socket.recvfrom.__name__ == "recvfrom"
    for bad in ("x", None, [], b""):
        with pytest.raises(TypeError):
            time.sleep(bad)
    with pytest.raises(TypeError):
        time.sleep()
    with pytest.raises(TypeError):
        time.sleep(1, 2)
    for bad in (-1, float("nan")):
        with pytest.raises(ValueError):
            time.sleep(bad)
    with pytest.raises(OverflowError):
        time.sleep(1e300)


def test_arguments_of_sleep(patched, ticks):
    """In a tasklet they are converted, and refused, as the standard function does it."""

    class Index:
        def __index__(self):
            return 0

    def message(sleep, argument):
        try:
            sleep(argument)
        except Exception as error:
            return type(error), str(error)

    arguments = [0, 0.001, True, Index(), "x", None, [], -1, -0.5, float("nan"), 1e300, 10**400]
    arguments.append(decimal.Decimal("0.001"))

    def in_tasklet():
        return [message(time.sleep, each) for each in arguments]

    stackless.run_tasklet(in_tasklet)
    assert stackless.run_all() == [[message(REAL["sleep"], each) for each in arguments]]
    assert ticks.number > 1
    with socket.socket() as s:
        for call in (s.recv, s.recv_into, s.send, s.sendall, s.sendto, s.connect):
            with pytest.raises(TypeError):
                call()
        with pytest.raises(TypeError):
            s.recv(*range(20))


def test_is_imported_lazily():
    """Importing stackless.monkey changes nothing; importing stackless does not import it."""
    assert_child(
        """
        import sys, time, socket
        sleep = time.sleep
        import stackless
        print("stackless.monkey" in sys.modules)
        import stackless.monkey
        print(time.sleep is sleep, "recv" in vars(socket.socket))
        """,
        prints="False True False",
    )


# ---------------------------------------------------------------------- where the patches apply


def test_scope(patched):
    """A tasklet cooperates, and a main that is not alone; a thread without tasklets does not."""
    found = {}

    def note(name):
        found[name] = _stackless._cooperates()

    note("main, alone")
    stackless.tasklet(note)("tasklet")
    note("main, with a runnable tasklet")
    stackless.run()
    channel = stackless.channel()
    stackless.tasklet(channel.receive)()
    stackless.schedule()
    note("main, with a blocked tasklet")
    channel.send(None)
    stackless.run()
    sleeper = stackless.tasklet(stackless.sleep)(10)
    stackless.schedule()
    note("main, with a sleeping tasklet")
    sleeper.kill()
    with stackless.timeout(10):
        note("main, under a limit")
    note("main, alone again")
    thread = threading.Thread(target=note, args=["plain thread"])
    thread.start()
    thread.join()
    assert found == {
        "main, alone": False,
        "tasklet": True,
        "main, with a runnable tasklet": True,
        "main, with a blocked tasklet": True,
        "main, with a sleeping tasklet": True,
        "main, under a limit": True,
        "main, alone again": False,
        "plain thread": False,
    }


def test_where_nothing_can_switch(patched):
    """The standard behaviour in a callback."""
    found = []
    busy = stackless.tasklet(lambda: None)()
    stackless.set_schedule_callback(lambda *_: found.append(_stackless._cooperates()))
    stackless.run()
    stackless.set_schedule_callback(None)
    assert found and not any(found)
    assert not busy.alive


def test_under_the_switch_trap(patched, ticks):
    """An error where another tasklet would run."""
    stackless.switch_trap(1)
    try:
        with pytest.raises(RuntimeError, match="switch_trap"):
            time.sleep(0.001)
    finally:
        stackless.switch_trap(-1)


def test_in_a_greenlet():
    """Inside a greenlet the standard call is made."""
    pytest.importorskip("greenlet")
    assert_child(
        """
        import greenlet, stackless, time, socket
        from stackless import monkey, _stackless
        monkey.patch_all()
        near, far = socket.socketpair()
        far.send(b"x")
        def inside():
            print(_stackless._cooperates())
            time.sleep(0.001)
            return near.recv(1)
        def tasklet():
            print(_stackless._cooperates())
            print(greenlet.greenlet(inside).switch())
        stackless.tasklet(tasklet)()
        stackless.run()
        """,
        prints="True False b'x'",
    )


def test_sleep(patched, ticks):
    """Other tasklets run meanwhile, in main and in tasklets."""
    time.sleep(0.02)
    in_main = ticks.number
    stackless.run_tasklet(time.sleep, 0.02)
    stackless.run_all()
    assert 3 < in_main < ticks.number - 3


def test_sleep_in_a_thread(patched):
    """A plain thread makes the standard call: it gets no scheduler."""
    before = len(stackless.getthreads())

    def sleeps():
        time.sleep(0.001)
        counted.append(_stackless._thread_count())

    counted = []
    here = _stackless._thread_count()
    thread = threading.Thread(target=sleeps)
    thread.start()
    thread.join()
    assert counted == [here] and len(stackless.getthreads()) == before


def test_waits_can_be_parked(patched):
    """A plain call of a patched function leaves no C frame that prevents parking."""
    near, far = socket.socketpair()
    near.settimeout(5)

    def receives():
        got.append(near.recv(1))

    def sleeps():
        time.sleep(0.001)
        got.append(b"slept")

    got = []
    with near, far:
        waiting = [stackless.tasklet(receives)(), stackless.tasklet(sleeps)()]
        stackless.schedule()
        for tasklet in waiting:
            assert _stackless._why_not_parked(tasklet) is None
            _stackless._park(tasklet)
        far.send(b"x")
        stackless.run()
    assert sorted(got) == [b"slept", b"x"]


# ---------------------------------------------------------------------- the command


def test_command(tmp_path):
    """Runs an unmodified program with its arguments, or a module, and returns its exit code."""
    (tmp_path / "helper.py").write_text("name = 'helper'\n")
    (tmp_path / "program.py").write_text(
        textwrap.dedent(
            """
            import sys, time, stackless, helper
            def tick():
                for _ in range(3):
                    ticks.append(len(ticks))
                    time.sleep(0.001)
            ticks = []
            stackless.tasklet(tick)()
            time.sleep(0.05)
            print(__name__, sys.argv[1:], ticks, helper.name)
            sys.exit(3)
            """
        )
    )
    text = (tmp_path / "program.py").read_text()
    for how in (["program.py"], ["-m", "program"], ["-c", text], ["-"]):
        done = subprocess.run(
            [sys.executable, "-m", "stackless.monkey", *how, "-x", "y"],
            cwd=tmp_path,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (3, "")
        assert done.stdout == "__main__ ['-x', 'y'] [0, 1, 2] helper\n"


def test_command_without_a_program():
    done = run_child(
        "import sys; from stackless.monkey.__main__ import main; main(sys.argv[1:])", args=[]
    )
    assert done.returncode == 2 and "usage: python -m stackless.monkey" in done.stderr
    for nowhere in (["nowhere.py"], ["-m", "nowhere"]):
        done = run_child(
            "import sys; from stackless.monkey.__main__ import main; sys.exit(main(sys.argv[1:]))",
            args=nowhere,
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "python -m stackless.monkey: " in done.stderr and "nowhere" in done.stderr
