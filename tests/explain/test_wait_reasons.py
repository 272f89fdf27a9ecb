"""What tasklets wait for, in words: in snapshots, dumps, ps, reprs, and deadlock notes."""

import os
import re
import socket
import threading

import pytest
import stackless
from child_process import in_child_process
from stackless import alt, channel, sleep, tasklet, to_thread
from stackless import socket as ours
from stackless._explain import text
from stackless._explain.here import process_here


def started(function, *args):
    t = tasklet(function)(*args)
    t.run()
    return t


def seen(function):
    """Return (state, reason) of the tasklet that began with this function."""
    (info,) = (info for info in stackless.snapshot() if info.name == function.__name__)
    return info.state, info.reason


def shown(t):
    """Return what the repr says behind the name."""
    return repr(t).split(", ", 1)[1][:-1]


def test_sleeping():
    """The time that is left."""

    def sleeps():
        sleep(1000.5)

    t = started(sleeps)
    state, reason = seen(sleeps)
    assert state == "sleeping"
    assert reason in ("sleeping 1000 s", "sleeping 1001 s")
    assert shown(t) == reason
    t.kill()


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.05, "50 ms"), (1.25, "1.2 s"), (99.9, "99.9 s"), (1e12, "for ever")]
)
def test_times(seconds, words):
    def sleeps_for():
        sleep(seconds)

    t = started(sleeps_for)
    reason = seen(sleeps_for)[1]
    if seconds < 1:
        assert reason.endswith(" ms")
    else:
        assert reason == f"sleeping {words}"
    t.kill()


def test_reading_and_writing():
    """The number of the descriptor, and the peer of a connected socket, resolved when asked."""
    with ours.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        fd = listener.fileno()

        accepted = []

        def accepts():
            accepted.append(listener.accept()[0])

        t = started(accepts)
        assert seen(accepts) == ("reading", f"reading fd {fd} (at {address})")
        with ours.create_connection(listener.getsockname()) as near:
            stackless.run()
            assert not t.alive

            def reads():
                near.recv(1)

            near.settimeout(1000)
            t = started(reads)
            state, reason = seen(reads)
            assert state == "reading"
            assert reason.startswith(f"reading fd {near.fileno()} ({address}), ")
            assert reason.endswith(" s left")
            assert shown(t).startswith("reading fd ")
            t.kill()
            accepted.pop().close()


def test_writing():
    near, far = ours.socketpair()
    with near, far:

        def writes():
            near.sendall(bytes(10_000_000))

        t = started(writes)
        state, reason = seen(writes)
        assert state == "writing"
        assert reason.startswith(f"writing fd {near.fileno()}")
        t.kill()


def test_a_unix_socket_and_a_pipe(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def waits_at_path():
            alt(listener, channel())

        t = started(waits_at_path)
        assert f"reading fd {listener.fileno()} (at {path})" in seen(waits_at_path)[1]
        t.kill()
    read, write = os.pipe()

    def waits_for_pipe():
        alt(stackless.readable(read), channel())

    t = started(waits_for_pipe)
    assert f"reading fd {read} (pipe:[" in seen(waits_for_pipe)[1]
    t.kill()
    os.close(read)
    os.close(write)


def test_joining():
    """The tasklet's number and name."""

    def fetch():
        channel().receive()

    def joins():
        other.join()

    def joins_for_a_time():
        other.join(timeout=1000)

    other = started(fetch)
    number = next(info.serial for info in stackless.snapshot() if info.name == "fetch")
    t = started(joins)
    assert seen(joins) == ("joining", f"joining tasklet {number} (fetch)")
    assert shown(t) == f"joining tasklet {number} (fetch)"
    timed = started(joins_for_a_time)
    assert seen(joins_for_a_time)[1].startswith(f"joining tasklet {number} (fetch), ")
    for each in (t, timed, other):
        each.kill()


def test_in_to_thread():
    go = threading.Event()

    def waits_for_call():
        to_thread(go.wait)

    t = started(waits_for_call)
    assert seen(waits_for_call) == ("in to_thread()", "in to_thread(Event.wait)")
    assert shown(t) == "in to_thread(Event.wait)"
    go.set()
    stackless.run()
    assert not t.alive


def test_channels():
    """With their names, as variables of the tasklet; and the time left of a timeout."""
    requests = channel()

    def receives_requests():
        requests.receive()

    def sends_for_a_time():
        replies = channel()
        replies.send(1, timeout=1000)

    t = started(receives_requests)
    assert shown(t) == "receiving from channel 'requests'"
    assert seen(receives_requests)[1].startswith("blocked receiving from channel 'requests' at 0x")
    t.kill()
    t = started(sends_for_a_time)
    assert shown(t).startswith("sending to channel 'replies', ")
    assert shown(t).endswith(" s left")
    assert seen(sends_for_a_time)[1].endswith(" s left")
    t.kill()


def test_alt():
    requests, replies = channel(), channel()

    def chooses():
        alt(requests, replies.sending(1))

    def chooses_much():
        alt(*[channel() for _ in range(9)])

    t = started(chooses)
    words = "receiving from channel 'requests', sending to channel 'replies'"
    assert seen(chooses) == ("in alt()", f"in alt(): {words}")
    assert shown(t) == f"in alt(): {words}"
    t.kill()
    t = started(chooses_much)
    assert seen(chooses_much)[1].endswith(", and 4 more")
    t.kill()


def test_ps_and_dump():
    """A column of what they wait for; groups whose times differ show the state alone."""

    def naps(seconds):
        sleep(seconds)

    def waits_in_vain():
        alt(channel(), channel())

    tasklets = [started(naps, 500 + 100 * n) for n in range(3)]
    tasklets.append(started(waits_in_vain))
    process = process_here(stackless.snapshot(), 0.0)
    lines = list(text.ps(process))
    assert "WAITS FOR" in lines[1]
    assert sum("sleeping" in line and " s " in line for line in lines) == 3
    assert any("in alt()" in line for line in lines)
    groups = list(text.ps_grouped(process))
    assert any(line.startswith("3 ") and "sleeping" in line for line in groups)
    dumped = list(text.dump(process))
    assert any(
        line.startswith("3 tasklets 'naps'") and line.endswith(": sleeping") for line in dumped
    )
    assert "sleeping: 3" in "\n".join(text.pstree(process))
    for t in tasklets:
        t.kill()


@in_child_process
def test_deadlock_notes():
    """What another tasklet that knows the channel is doing."""
    ch = channel()

    def joins(ch):
        other.join()

    def holds(ch):
        channel().receive()

    other = tasklet(holds)(ch)
    other.run()
    t = tasklet(joins)(ch)
    t.run()
    with pytest.raises(RuntimeError) as caught:
        ch.receive()
    note = caught.value.__notes__[0]
    assert re.search(r"tasklet \d+ 'joins' waits to join tasklet \d+ \(holds\), ", note)
    assert re.search(r"tasklet \d+ 'joins', which joins tasklet \d+ \(holds\)", note)


@in_child_process
def test_two_that_join_each_other():
    tasklets = []

    def first():
        tasklets[1].join()

    def second():
        tasklets[0].join()

    tasklets += [tasklet(first)(), tasklet(second)()]
    stackless.run()
    with pytest.raises(RuntimeError) as caught:
        tasklets[0].join()
    note = caught.value.__notes__[0]
    assert re.search(r"main wants to join tasklet \d+ \(first\)", note)
    assert re.search(r"A cycle: tasklet \d+ 'first' joins tasklet \d+ \(second\); tasklet", note)
