"""Child processes and pipes of the standard library in tasklets."""

from child_process import assert_child

BEGIN = """
    import os, subprocess, sys, threading, time
    import stackless
    from stackless import monkey
    monkey.patch_all()

    def in_tasklets(*functions):
        ticks = []
        def tick():
            while not ended:
                ticks.append(1)
                time.sleep(0.005)
        ended = []
        ticker = stackless.tasklet(tick)()
        results = [each.join() for each in [stackless.run_tasklet(f) for f in functions]]
        ended.append(1)
        ticker.join()
        return results, len(ticks)
"""


def assert_prints(source, prints, **options):
    assert_child(BEGIN + source, prints=prints, **options)


def test_the_wrong_end_of_a_pipe():
    """It never becomes ready: the call raises the error of the standard one at once."""
    assert_prints(
        """
    reading, writing = os.pipe()
    def attempt(call):
        try:
            call()
        except OSError as error:
            return error.errno
    import errno
    results, _ = in_tasklets(
        lambda: attempt(lambda: os.write(reading, b"x")),
        lambda: attempt(lambda: os.read(writing, 1)),
    )
    print(results == [errno.EBADF] * 2)
    """,
        prints="True",
    )


def test_waiting_for_processes():
    """Popen.wait(), run(), check_output() and system() of several tasklets at the same time."""
    assert_prints(
        """
    sleep = [sys.executable, "-c", "import time; time.sleep(0.4); print(5); exit(3)"]
    def wait():
        with subprocess.Popen(sleep, stdout=subprocess.DEVNULL) as process:
            return process.wait()
    def timed():
        with subprocess.Popen(sleep, stdout=subprocess.DEVNULL) as process:
            try:
                process.wait(0.01)
            except subprocess.TimeoutExpired:
                return process.wait(60)
    def run():
        return subprocess.run(sleep, capture_output=True, text=True).stdout.strip()
    def check():
        command = [sys.executable, "-c", "import time; time.sleep(0.4); print(input())"]
        return subprocess.check_output(command, input=b"text").strip()
    def read():
        with subprocess.Popen(sleep, stdout=subprocess.PIPE) as process:
            return b"".join(iter(lambda: os.read(process.stdout.fileno(), 100), b""))
    def one_pipe():
        return subprocess.run(sleep, stdout=subprocess.PIPE).stdout
    results, ticks = in_tasklets(one_pipe)
    print(results, ticks > 20)
    before = time.monotonic()
    results, ticks = in_tasklets(*[wait] * 5, timed, run, check, read)
    print(results, ticks > 20, time.monotonic() - before < 5)
    """,
        prints="[b'5\\n'] True [3, 3, 3, 3, 3, 3, '5', b'text', b'5\\n'] True True",
    )


def test_the_calls_that_wait_for_children():
    """wait, waitpid, wait3, wait4 and waitid; without a child, and without waiting."""
    assert_prints(
        """
    import warnings
    warnings.simplefilter("ignore")
    def child(code):
        pid = os.fork()
        if pid == 0:
            monkey.original("time", "sleep")(0.1)
            os._exit(code)
        return pid
    def code(status):
        return os.waitstatus_to_exitcode(status)
    def each():
        pid = child(1)
        first = os.waitpid(pid, os.WNOHANG) == (0, 0)
        found = [first, code(os.waitpid(pid, 0)[1])]
        pid = child(2)
        found.append(code(os.wait4(pid, 0)[1]))
        pid = child(3)
        found.append(os.waitid(os.P_PID, pid, os.WEXITED).si_status)
        pid = child(4)
        found.append(code(os.wait()[1]))
        pid = child(5)
        found.append(code(os.wait3(0)[1]))
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            found.append("none")
        return found
    results, ticks = in_tasklets(each)
    print(results, ticks > 20)
    """,
        prints="[[True, 1, 2, 3, 4, 5, 'none']] True",
    )


def test_pipes():
    """A reader waits for a writer of the same thread, and the other way round."""
    assert_prints(
        """
    inside, outside = os.pipe()
    data = bytes(range(256)) * 4000
    def write():
        written = os.write(outside, data)
        os.close(outside)
        return written
    def read():
        got = b""
        while piece := os.read(inside, 5000):
            got += piece
        return got == data
    results, _ = in_tasklets(read, write)
    print(results)
    import multiprocessing
    here, there = multiprocessing.Pipe()
    results, _ = in_tasklets(here.recv, lambda: there.send([1, 2]))
    print(results)
    """,
        prints="[True, 1024000] [[1, 2], None]",
    )


def test_what_does_not_wait(tmp_path):
    """Files, descriptors that are not to be waited for, and errors are as without patches."""
    assert_prints(
        f"""
    def each():
        descriptor = os.open({str(tmp_path / "file")!r}, os.O_RDWR | os.O_CREAT)
        found = [os.write(descriptor, b"text"), os.lseek(descriptor, 0, 0), os.read(descriptor, 9)]
        found += [os.read(descriptor, 1), os.write(os.open(os.devnull, os.O_WRONLY), bytes(99999))]
        inside, outside = os.pipe2(os.O_NONBLOCK)
        try:
            os.read(inside, 1)
        except BlockingIOError:
            found.append("would block")
        os.close(inside)
        try:
            os.write(outside, b"x")
        except BrokenPipeError:
            found.append("broken")
        for wrong in (-1, b""), (99, b""), (outside, "text"):
            try:
                os.write(*wrong)
            except (OSError, TypeError) as error:
                found.append(type(error).__name__)
        return found
    results, _ = in_tasklets(each)
    print(results)
    """,
        prints="[[4, 0, b'text', b'', 99999, 'would block', 'broken', 'OSError', 'OSError', "
        "'TypeError']]",
    )
