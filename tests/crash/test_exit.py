"""The interpreter ends while tasklets are suspended: the right exit code, no crash, no output."""

import pytest
from child_process import assert_child

MANY = """
import stackless, sys

def block(channel):
    channel.receive()

def block_in_c(channel):
    sorted([2, 1], key=lambda item: channel.receive())

def block_many(body, count=10_000):
    channel = stackless.channel()
    for _ in range(count):
        stackless.tasklet(body)(channel)
    stackless.run()
    assert channel.balance == -count
    return channel
"""


@pytest.mark.parametrize("body", ["block", "block_in_c"])
def test_exit_with_blocked_tasklets(body):
    """10,000 blocked tasklets, plain and inside a C callback."""
    assert_child(f"{MANY}\nchannel = block_many({body})\nprint('end')", prints="end")


@pytest.mark.parametrize("body", ["block", "block_in_c"])
def test_exit_with_blocked_tasklets_that_nothing_names(body):
    """The channel is a local variable that no longer exists by then."""
    assert_child(f"{MANY}\nblock_many({body})\nprint('end')", prints="end")


@pytest.mark.parametrize("body", ["block", "block_in_c"])
def test_exit_with_blocked_tasklets_of_a_finished_thread(body):
    """The thread to which they belonged has ended before."""
    assert_child(
        f"""{MANY}
import threading
thread = threading.Thread(target=lambda: channels.append(block_many({body})))
channels = []
thread.start()
thread.join()
print(len(channels), 'end')
""",
        prints="1 end",
    )


def test_exit_beside_a_daemon_thread_that_sleeps_in_receive():
    """Its main is blocked, and so are its tasklets."""
    assert_child(
        f"""{MANY}
import threading
def thread():
    channel = block_many(block, 100)
    ready.set()
    stackless.channel().receive()
ready = threading.Event()
threading.Thread(target=thread, daemon=True).start()
ready.wait()
block_many(block, 100)
print('end')
""",
        prints="end",
    )


def test_sys_exit_code_with_blocked_tasklets():
    """sys.exit(42) in main gives 42."""
    assert_child(f"{MANY}\nchannel = block_many(block)\nsys.exit(42)", exits=42)


def test_sys_exit_in_a_tasklet_beside_blocked_ones():
    """sys.exit(42) in a tasklet gives 42 as well."""
    assert_child(
        f"{MANY}\nchannel = block_many(block)\nstackless.tasklet(sys.exit)(42)\nstackless.run()",
        exits=42,
    )


def test_sys_exit_below_c_recursion():
    """200 levels of C recursion deep on 20 tasklets; a debug build allows fewer."""
    assert_child(
        """
        import stackless, sys
        channel = stackless.channel()

        def deep(level):
            if level == 0:
                channel.receive()
            else:
                sorted([level - 1], key=deep)

        for _ in range(20):
            stackless.tasklet(deep)(100 if hasattr(sys, "gettotalrefcount") else 200)
        stackless.run()
        assert channel.balance == -20
        sys.exit(42)
        """,
        exits=42,
    )


def test_exit_with_paused_and_runnable_tasklets():
    """In the ring, or in no list; started or not."""
    assert_child(
        """
        import stackless
        def turns():
            while True:
                stackless.schedule()
        kept = [stackless.tasklet(stackless.schedule_remove)() for _ in range(100)]
        stackless.run()
        kept += [stackless.tasklet(turns)() for _ in range(100)]
        stackless.schedule()
        kept += [stackless.tasklet(print)("must not run") for _ in range(100)]
        kept += [stackless.tasklet(print, ("must not run",)) for _ in range(100)]
        print("end")
        """,
        prints="end",
    )


def test_exit_with_tasklets_that_refuse_to_die():
    """They catch TaskletExit and block again."""
    assert_child(
        """
        import stackless
        channel = stackless.channel()
        def stubborn():
            while True:
                try:
                    channel.receive()
                except BaseException:
                    pass
        for _ in range(20):
            stackless.tasklet(stubborn)()
        stackless.run()
        print("end")
        """,
        prints="end",
    )


def test_exit_inside_a_tasklet_of_a_c_callback():
    """SystemExit passes through the C frames of the tasklet and is then raised by run() in main."""
    assert_child(
        """
        import stackless, sys
        stackless.tasklet(lambda: sorted([2, 1], key=lambda item: sys.exit(42)))()
        stackless.run()
        """,
        exits=42,
    )


def test_uncaught_error_in_main_with_blocked_tasklets():
    """The traceback is main's own; code 1."""
    assert_child(
        f"{MANY}\nchannel = block_many(block, 100)\nraise KeyError('from main')",
        exits=1,
        complains="KeyError: 'from main'",
    )


def test_atexit_functions_can_use_tasklets():
    """They run before the tasklets are killed."""
    assert_child(
        """
        import atexit, stackless
        channel = stackless.channel()
        stackless.tasklet(lambda: print("got", channel.receive()))()
        stackless.run()
        atexit.register(channel.send, "a message")
        """,
        prints="got a message",
    )


def test_finally_blocks_that_use_tasklets_at_exit():
    """Whatever the `finally` block of an ending tasklet does, the exit code stays."""
    assert_child(
        """
        import stackless, sys
        channel, other = stackless.channel(), stackless.channel()

        def body():
            try:
                channel.receive()
            finally:
                other.preference = 0
                stackless.tasklet(int)()
                stackless.schedule()

        for _ in range(50):
            stackless.tasklet(body)()
        stackless.run()
        sys.exit(42)
        """,
        exits=42,
    )


@pytest.mark.parametrize("does", ["schedule()", "channel.receive()", "time.sleep(0.001)"])
def test_exit_while_a_daemon_thread_runs_tasklets(does):
    """CPython ends that thread wherever it is next given the interpreter's lock."""
    assert_child(
        f"""
        import sys, threading, time
        import stackless
        from stackless import schedule
        channel = stackless.channel()
        def turns():
            while True:
                {does}
        def live():
            stackless.tasklet(turns)()
            stackless.tasklet(turns)()
            stackless.run(threadblock=True)
        threading.Thread(target=live, daemon=True).start()
        time.sleep(0.1)
        class Late:
            def __del__(self):
                time.sleep(0.3)
        late = Late()
        sys.exit(42)
        """,
        exits=42,
    )


def test_exit_while_a_daemon_thread_ends():
    """Its end is never completed: its tasklets refer to a thread that no longer exists."""
    assert_child(
        """
        import stackless, threading, time
        channel, ready, kept = stackless.channel(), threading.Event(), []
        def cleans_up():
            try:
                list(map(lambda _: stackless.schedule_remove(None), [0]))
            finally:
                ready.set()
                time.sleep(600)
        def receives():
            channel.receive()
        def receives_in_c():
            sorted([1], key=lambda _: channel.receive())
        def thread():
            waiting = (receives, receives_in_c) * 5
            for body in (*waiting, cleans_up, *waiting):
                kept.append(stackless.tasklet(body)())
            stackless.run()
        threading.Thread(target=thread, daemon=True).start()
        ready.wait()
        print("end")
        """,
        prints="end",
        env={"PYTHONMALLOC": "debug"},
    )


WRITES = """
import stackless, sys, threading, warnings
warnings.simplefilter("ignore")  # debug builds tell of files that are closed by their destructors
channel, never_received = stackless.channel(), stackless.channel()

def writes(name, wait, clean_up=lambda: None):
    with open(f"{sys.argv[1]}/{name}", "w") as file:
        file.write("data")
        try:
            wait()
        finally:
            file.write(" and the end")
            clean_up()

def in_c(wait):
    return lambda: list(map(lambda _: wait(), [None]))

def sends():
    never_received.send(None)

def schedules():
    while True:
        stackless.schedule()

def sleeps():
    stackless.sleep(600)

WAITS = {
    "receives": channel.receive, "sends": sends, "schedules": schedules, "sleeps": sleeps,
    "pauses": stackless.schedule_remove, "runs": lambda: stackless.run(threadblock=True),
}

def start(prefix=""):
    for name, wait in WAITS.items():
        if name != "runs" or not prefix:
            kept.append(stackless.tasklet(writes)(prefix + name, wait))
            kept.append(stackless.tasklet(writes)(prefix + name + " in C", in_c(wait)))
            stackless.schedule()

kept = []
"""


def written(tmp_path, code):
    """The content of the program's files at its end."""
    assert_child(f"{WRITES}\n{code}", args=[tmp_path])
    return {path.name: path.read_text() for path in tmp_path.iterdir()}


def test_clean_up_of_all_that_has_started(tmp_path):
    """`finally` blocks run, however the tasklet waits, with C code in between or not."""
    found = written(tmp_path, "start()")
    assert len(found) == 12 and set(found.values()) == {"data and the end"}


def test_files_of_tasklets_whose_thread_has_ended(tmp_path):
    """What they wrote is there, although only those with C state could clean up."""
    code = (
        "thread = threading.Thread(target=start, args=('thread ',)); thread.start(); thread.join()"
    )
    found = written(tmp_path, code)
    assert len(found) == 10
    assert {name: text for name, text in found.items() if not text.startswith("data")} == {}


def test_clean_up_that_waits_and_fails(tmp_path):
    """An error in one tasklet's clean-up is reported; the clean-up of the others runs as well."""
    found = written(
        tmp_path,
        """
for i in range(3):
    stackless.tasklet(writes)(f"fails {i}", channel.receive, lambda: 1 / 0)
    stackless.tasklet(writes)(f"waits {i}", channel.receive, lambda: stackless.sleep(0.01))
    stackless.tasklet(writes)(f"never ends {i}", channel.receive, sleeps)
stackless.schedule()
sys.unraisablehook = lambda info: None
""",
    )
    assert len(found) == 9 and set(found.values()) == {"data and the end"}


def test_the_exit_code_is_the_programs():
    """SystemExit in a tasklet that cleans up is reported like any other exception there."""
    assert_child(
        """
        import stackless, sys
        def body():
            try:
                stackless.channel().receive()
            finally:
                sys.exit(3)
        stackless.tasklet(body)()
        stackless.schedule()
        sys.exit(42)
        """,
        exits=42,
        complains="SystemExit: 3",
    )
