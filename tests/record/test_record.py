"""record(): what is recorded, when it is saved, and what it refuses."""

import fcntl
import os
import sys
import threading

import pytest
import stackless
from child_process import assert_child
from replay import Replay, load, replayed, story
from stackless._record.recording import convert

needs_monitoring = pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new")


def tell(e):
    return (e.kind, e.tasklet, e.other, e.text)


def test_a_rendezvous(tmp_path):
    def sender(ch):
        ch.send("hello")

    def receiver(ch):
        ch.receive()

    with stackless.record(tmp_path / "r.json") as recording:
        results = stackless.channel()
        stackless.tasklet(receiver)(results)
        stackless.tasklet(sender)(results)
        stackless.run()
    events = story(tmp_path / "r.json", "Create", "Label", "Switch", "HandOver")
    made = [e for e in events if e.kind == "Create"]
    main, r, s = made[0].tasklet, *(e.other for e in made)
    assert [tell(e) for e in events] == [
        ("Create", main, r, "receiver"),
        ("Label", main, r, "receiver(results#1)"),
        ("Create", main, s, "sender"),
        ("Label", main, s, "sender(results#1)"),
        ("Switch", main, r, ""),
        ("Switch", r, s, ""),
        ("HandOver", s, r, "'hello'"),
        ("Switch", r, s, ""),
        ("Switch", s, main, ""),
    ]
    assert [e.state for e in events if e.kind == "Switch"] == [
        "in run()",
        "receives",
        "ended",
        "ended",
    ]
    assert recording.events == len(load(tmp_path / "r.json")["events"])
    assert recording.dropped == 0


def test_where_tasklets_are(tmp_path):
    def outer(ch):
        inner(ch)

    def inner(ch):
        ch.receive()

    with stackless.record(tmp_path / "r.json"):
        ch = stackless.channel()
        t = stackless.tasklet(outer)(ch)
        stackless.run()
    replay = replayed(tmp_path / "r.json")
    (waiting,) = replay.queues[1]
    first = outer.__code__.co_firstlineno
    name = "test_where_tasklets_are.<locals>."
    assert replay.stack(waiting) == [(f"{name}inner", first + 4), (f"{name}outer", first + 1)]
    assert replay.balance(1) == -1
    create = story(tmp_path / "r.json", "Create")[0]
    replay.stacks["place"] = create.place
    assert replay.stack("place") == [(f"{name}outer", first)]
    t.kill()


def test_tasklets_from_before_the_recording(tmp_path):
    ch = stackless.channel()

    def send(value):
        ch.send(value)

    waiting = [stackless.tasklet(send)(value) for value in (1, "two")]
    stackless.run()
    runnable = stackless.tasklet(send)(3)
    paused = stackless.tasklet(send, (4,))
    with stackless.record(tmp_path / "r.json"):
        pass
    replay = replayed(tmp_path / "r.json")
    assert all(e.before for e in replay.events)
    (queue,) = replay.queues.values()
    assert [replay.values[t] for t in queue] == ["1", "'two'"]
    assert [replay.stack(t)[0][0].split(".")[-1] for t in queue] == ["send", "send"]
    (ring,) = replay.rings.values()
    assert [replay.states[t] for t in ring] == ["running", "runnable"]
    assert list(replay.states.values()).count("new") == 1
    for t in [*waiting, runnable, paused]:
        t.kill()


def test_a_full_buffer_drops_the_oldest(tmp_path):
    def turns():
        for _ in range(100):
            stackless.schedule()

    with stackless.record(tmp_path / "all.json"):
        for _ in range(3):
            stackless.tasklet(turns)()
        with pytest.raises(RuntimeError, match="under way already"):
            with stackless.record(tmp_path / "other.json"):
                pass
        stackless.run()
    with stackless.record(tmp_path / "last.json", limit=50) as recording:
        for _ in range(3):
            stackless.tasklet(turns)()
        stackless.run()
    last = load(tmp_path / "last.json")
    assert last["dropped"] == recording.dropped > 200
    assert recording.events <= 50
    every, few = replayed(tmp_path / "all.json"), replayed(tmp_path / "last.json")
    assert list(every.rings.values()) == list(few.rings.values())


def test_exceptions(tmp_path):
    ch = stackless.channel()

    def fails():
        raise ValueError("wrong")

    def waits():
        ch.receive()

    with stackless.record(tmp_path / "r.json"):
        stackless.tasklet(fails)()
        with pytest.raises(ValueError, match="wrong"):
            stackless.run()
        victim = stackless.tasklet(waits)()
        stackless.run()
        victim.kill()
        stackless.tasklet(waits)()
        stackless.run()
        with pytest.raises(KeyError):
            ch.send_exception(KeyError, "sent")
    switches = story(tmp_path / "r.json", "Switch")
    ends = [(e.state, e.text) for e in switches if e.state in ("failed", "killed")]
    assert ends == [
        ("failed", "ValueError('wrong')"),
        ("killed", "TaskletExit"),
        ("failed", "KeyError('sent')"),
    ]
    (thrown,) = story(tmp_path / "r.json", "Throw")
    assert thrown.text == "TaskletExit()"
    sent = story(tmp_path / "r.json", "Transfer", "HandOver")
    assert [(e.text, e.flags & 2) for e in sent] == [("KeyError('sent')", 2)]


def test_output_belongs_to_tasklets(tmp_path, capsys):
    def speak(name):
        print(name, 1)
        print(name, 2, file=sys.stderr)

    with stackless.record(tmp_path / "r.json"):
        for name in "ab":
            stackless.tasklet(speak)(name)
        stackless.run()
        print("done", end="")
    assert capsys.readouterr() == ("a 1\nb 1\ndone", "a 2\nb 2\n")
    replay = replayed(tmp_path / "r.json")
    said = [(replay.labels[t], text) for t, text in replay.printed]
    a, b = "speak('a')", "speak('b')"
    assert said == [
        (a, "a 1\n"),
        (a, "a 2\n"),
        (b, "b 1\n"),
        (b, "b 2\n"),
        ("main", "done"),
    ]
    with stackless.record(tmp_path / "r.json", output=False):
        print("unseen")
    assert replayed(tmp_path / "r.json").printed == []


def test_it_is_saved_when_the_block_fails(tmp_path):
    with pytest.raises(LookupError):
        with stackless.record(tmp_path / "r.json"):
            stackless.tasklet(len)("x")
            stackless.run()
            raise LookupError
    assert [e.text for e in story(tmp_path / "r.json", "Create")] == ["len"]


@pytest.mark.parametrize("name", ["r", "r.txt", "r.json.gz", "html"])
def test_unknown_suffixes_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"\.html.*\.json.*\.pftrace"):
        stackless.record(tmp_path / name)


def test_other_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 16"):
        stackless.record(tmp_path / "r.json", limit=15)
    with pytest.raises(OSError), stackless.record(tmp_path / "no" / "r.json"):
        pass
    with stackless.record(tmp_path / "r.json"):
        pass
    with pytest.raises(RuntimeError, match="no recording"):
        stackless._stackless._record_stop(())


def test_several_threads(tmp_path):
    there, back = stackless.channel(), stackless.channel()

    def other():
        stackless.tasklet(there.send)("from afar")
        stackless.run()
        back.receive()

    with stackless.record(tmp_path / "r.json"):
        thread = threading.Thread(target=other)
        thread.start()
        assert there.receive() == "from afar"
        back.send("back")
        thread.join()
    replay = Replay(load(tmp_path / "r.json"))
    kinds = [(e.kind, e.thread) for e in replay.events]
    assert ("Thread", 1) in kinds and ("Thread", 2) in kinds and ("ThreadEnd", 2) in kinds
    texts = [e.text for e in replay.events if e.kind in ("Transfer", "HandOver")]
    assert texts == ["'from afar'", "'back'"]
    replay.seek(len(replay.events))
    assert list(replay.rings) == [1]


def test_a_thread_that_sleeps(tmp_path):
    assert_child(
        """
        import sys, threading, time, stackless
        ch = stackless.channel()
        go = threading.Event()
        def other():
            go.wait()
            time.sleep(0.05)
            ch.send(1)
        threading.Thread(target=other).start()
        with stackless.record(sys.argv[1]):
            go.set()
            ch.receive()
        """,
        args=[tmp_path / "r.json"],
    )
    switches = [(e.tasklet, e.other, e.state) for e in story(tmp_path / "r.json", "Switch")]
    main = switches[0][0]
    assert switches[0] == (main, 0, "receives")
    assert switches[-1][:2] == (0, main)
    assert not any(replayed(tmp_path / "r.json").queues.values())


def test_what_ends_while_all_others_sleep(tmp_path):
    """The thread sleeps on a tasklet's stack: events meanwhile are not recorded as its events."""

    def nap(seconds):
        stackless.sleep(seconds)

    with stackless.record(tmp_path / "r.json"):
        sleepers = [stackless.tasklet(nap)(n / 100) for n in (3, 1, 2)]
        stackless.run()
    replay = replayed(tmp_path / "r.json")
    numbers = {tasklet.number for tasklet in sleepers}  # others may be there, of other tests
    made = [e.other for e in replay.events if e.kind == "Create" and e.other in numbers]
    ends = [e.tasklet for e in replay.events if e.kind == "Switch" and e.state == "ended"]
    assert set(made) == numbers and sorted(made) == sorted(ends)
    dead = set()
    for event in replay.events:
        assert not dead & {event.tasklet, event.other}
        if event.kind == "Switch" and event.state == "ended":
            dead.add(event.tasklet)


OTHERS = {"r.html": "<html>a page</html>", "r.json": '{"format": "mine"}', "r.pftrace": "text"}


@pytest.mark.parametrize(("name", "content"), OTHERS.items())
def test_other_files_are_not_replaced(tmp_path, name, content):
    """Unless that is requested; a recording is replaced, and so is an empty file."""
    path = tmp_path / name
    path.write_text(content)
    made = tmp_path / "made.json"
    with stackless.record(made):
        pass
    for refuses in (lambda: stackless.record(path).__enter__(), lambda: convert(made, path)):
        with pytest.raises(FileExistsError, match=name):
            refuses()
        assert path.read_text() == content
    with stackless.record(path, overwrite=True):
        pass
    size = path.stat().st_size
    with stackless.record(path):
        assert path.stat().st_size == size
    path.write_text("")
    with stackless.record(path):
        pass
    assert path.stat().st_size > 0


def test_a_pipe_gets_the_recording(tmp_path):
    """Any program can read it; a pipe has no contents to replace."""
    path = tmp_path / "r.json"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.fcntl(reader, 1031, 1 << 20)  # F_SETPIPE_SZ: all of it fits
        with stackless.record(path):
            pass
        assert os.read(reader, 100_000).startswith(b'{"format":"stackless-recording"')
    finally:
        os.close(reader)


def test_a_file_is_left_alone_if_no_recording_is_made(tmp_path):
    """The previous recording stays, and no empty file appears."""
    path, other = tmp_path / "r.json", tmp_path / "other.json"
    with stackless.record(path):
        pass
    content = path.read_bytes()
    with stackless.record(tmp_path / "outer.json"):
        for target in (path, other):
            with pytest.raises(RuntimeError, match="under way"):
                stackless.record(target).__enter__()
    assert path.read_bytes() == content and not other.exists()
    with pytest.raises(OSError):
        stackless.record(tmp_path / "no" / "r.json").__enter__()
    with stackless.record(path):
        pass


def test_a_fork_forgets_the_recording(tmp_path):
    assert_child(
        """
        import os, sys, stackless
        with stackless.record(sys.argv[1]):
            pid = os.fork()
            if pid == 0:
                stackless.tasklet(print)("child")
                stackless.run()
                sys.stdout.flush()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            stackless.tasklet(print)("parent")
            stackless.run()
        """,
        args=[tmp_path / "r.json"],
        prints="child parent",
    )
    assert [e.text for e in story(tmp_path / "r.json", "Output")] == ["parent\n"]


def test_the_forms(tmp_path):
    def sends(ch):
        ch.send("</script><b>")

    for name in ("r.json", "r.html", "r.pftrace", "r.perfetto-trace"):
        ch = stackless.channel()
        with stackless.record(tmp_path / name):
            stackless.tasklet(sends)(ch)
            ch.receive()
        stackless.run()
    page = (tmp_path / "r.html").read_text()
    assert page.count("</script>") == 2
    convert(tmp_path / "r.html", tmp_path / "again.json")
    assert [e.text for e in story(tmp_path / "again.json", "HandOver")] == ["'</script><b>'"]
    convert(tmp_path / "r.json", tmp_path / "again.html")
    assert (tmp_path / "again.html").stat().st_size > 30_000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "no recording"),
        ("{}", "no recording"),
        ('{"format": "stackless-recording", "version": 9}', "version 9"),
        ('{"format": "stackless-recording", "version": 1}', "damaged"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path, content, says):
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(ValueError, match=says):
        convert(tmp_path / "r.json", tmp_path / "r.html")
    assert not os.path.exists(tmp_path / "r.html")


@needs_monitoring
def test_line_by_line(tmp_path):
    def double(n):
        result = 2 * n
        return result

    def work():
        return double(21)

    with stackless.record(tmp_path / "r.json", lines=True):
        stackless.tasklet(work)()
        stackless.run()
    first = double.__code__.co_firstlineno
    replay = Replay(load(tmp_path / "r.json"))
    seen = []
    for i, e in enumerate(replay.events):
        replay.seek(i + 1)
        stack = replay.stack(e.tasklet)
        if e.kind in ("Line", "Call", "Return") and any("work" in f for f, _ in stack):
            seen.append((e.kind, stack[0][1] - first, len(stack), e.text))
    assert seen == [
        ("Call", 4, 1, ""),
        ("Line", 5, 1, ""),
        ("Call", 0, 2, ""),
        ("Line", 1, 2, ""),
        ("Line", 2, 2, ""),
        ("Return", 2, 2, "42"),
        ("Return", 5, 1, "42"),
    ]
    assert all(sys.monitoring.get_tool(tool) != "stackless recorder" for tool in range(6))


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="there it works")
def test_line_by_line_needs_monitoring(tmp_path):
    with pytest.raises(RuntimeError, match="needs Python 3.12"):
        stackless.record(tmp_path / "r.json", lines=True)
