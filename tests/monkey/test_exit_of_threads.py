"""The end of programs whose threads are tasklets: exit status, output, tracebacks."""

import subprocess
import sys
import textwrap

import pytest


def run(program, *, timeout=60):
    """The program under the command `run`, and as it is: (status, stdout, stderr) of both."""
    program, ended = textwrap.dedent(program), []
    for command in (["-m", "stackless", "run"], []):
        child = subprocess.run(
            [sys.executable, "-W", "ignore", *command, "-c", program],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        ended.append((child.returncode, child.stdout, child.stderr))
    return ended


#: Programs that end in the same way with native threads: name -> (program, exit status, stdout).
PROGRAMS = {
    "threads that are no daemons run to their end": (
        """
        import threading, time
        def work():
            time.sleep(0.05)
            print("worked", flush=False)
        threading.Thread(target=work).start()
        print("main")
        """,
        0,
        "main\nworked\n",
    ),
    "daemons that wait end with the program": (
        """
        import queue, socket, threading, time
        for call in (lambda: time.sleep(100), queue.Queue().get, threading.Event().wait,
                     threading.Lock().__enter__, lambda: socket.socketpair()[0].recv(1)):
            threading.Thread(target=call, daemon=True).start()
        held = threading.Lock()
        held.acquire()
        threading.Thread(target=held.acquire, daemon=True).start()
        print("main")
        """,
        0,
        "main\n",
    ),
    "the status of sys.exit() with threads": (
        """
        import sys, threading, time
        threading.Thread(target=lambda: time.sleep(0.02) or print("worked")).start()
        threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
        sys.exit(3)
        """,
        3,
        "worked\n",
    ),
    "sys.exit() in a thread ends only that thread": (
        """
        import sys, threading
        thread = threading.Thread(target=sys.exit, args=(3,))
        thread.start()
        thread.join()
        print("main")
        """,
        0,
        "main\n",
    ),
    "os._exit() in a thread": (
        """
        import os, threading, time
        threading.Thread(target=lambda: time.sleep(0.01) or os._exit(5)).start()
        time.sleep(100)
        """,
        5,
        "",
    ),
    "atexit and executors": (
        """
        import atexit, concurrent.futures, threading, time
        atexit.register(print, "atexit")
        pool = concurrent.futures.ThreadPoolExecutor(4)
        for n in range(8):
            pool.submit(time.sleep, 0.005)
        pool.submit(print, "job")
        threading._register_atexit(print, "threading")
        print("main")
        """,
        0,
        None,
    ),
    "native threads, subprocesses and processes": (
        """
        import concurrent.futures, multiprocessing, subprocess, sys, threading, time
        def work():
            # One write: print() makes two of it where PYTHONUNBUFFERED is set.
            code = "import os, time; time.sleep(0.05); os.write(1, b'child\\\\n')"
            subprocess.run([sys.executable, "-c", code])
            done.append(1)
        done = []
        threads = [threading.Thread(target=work) for _ in range(3)]
        for each in threads:
            each.start()
        with concurrent.futures.ProcessPoolExecutor(2) as processes:
            print(list(processes.map(abs, [-1, 2, -3])), flush=True)
        for each in threads:
            each.join()
        print(len(done))
        """,
        0,
        None,
    ),
    "asyncio in main and in a thread": (
        """
        import asyncio, threading, time
        async def main(name):
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, lambda: time.sleep(0.01) or 3) == 3
            results.append(await asyncio.gather(*(asyncio.sleep(0.01, n) for n in range(3))))
        results = []
        threads = [threading.Thread(target=asyncio.run, args=(main(n),)) for n in range(2)]
        for each in threads:
            each.start()
        asyncio.run(main("main"))
        for each in threads:
            each.join()
        print(results)
        """,
        0,
        "[[0, 1, 2], [0, 1, 2], [0, 1, 2]]\n",
    ),
    "a thread waits for the main thread": (
        """
        import threading
        def work():
            threading.main_thread().join()
            print("main has ended")
        threading.Thread(target=work).start()
        print("main")
        """,
        0,
        "main\nmain has ended\n",
    ),
    "a Timer": (
        """
        import threading
        threading.Timer(0.02, print, ["timer"]).start()
        print("main")
        """,
        0,
        "main\ntimer\n",
    ),
}


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_the_end_of_a_program(name):
    program, status, stdout = PROGRAMS[name]
    ours, standard = run(program)
    assert ours[0] == standard[0] == status, (ours, standard)
    assert sorted(ours[1].split("\n")) == sorted(standard[1].split("\n")), (ours, standard)
    if stdout is not None:
        assert ours[1] == stdout
    assert ours[2] == "", ours


#: Programs that end with a traceback.
ERRORS = {
    "in main": ("1 / 0", 1, "ZeroDivisionError: division by zero"),
    "in a thread": (
        """
        thread = threading.Thread(target=lambda: 1 / 0, name="Worker")
        thread.start()
        thread.join()
        """,
        0,
        "Exception in thread Worker",
    ),
    "in main, beside threads": (
        """
        threading.Thread(target=lambda: time.sleep(0.02) or print("worked")).start()
        raise KeyError("in main")
        """,
        1,
        "KeyError: 'in main'",
    ),
    "in a raw thread": (
        """
        _thread.start_new_thread(lambda: 1 / 0, ())
        time.sleep(0.05)
        """,
        0,
        "Exception ignored in thread started by",
    ),
}


@pytest.mark.parametrize("name", list(ERRORS))
def test_tracebacks(name):
    body, status, complains = ERRORS[name]
    program = "import _thread, threading, time\n" + textwrap.dedent(body)
    ours, standard = run(program)
    assert ours[0] == standard[0] == status, ours
    assert ours[1] == standard[1]
    assert complains in ours[2] and complains in standard[2]
    lines = [line for line in ours[2].splitlines() if "stackless" in line]
    assert lines == [], ours[2]


SIGNALS = {
    "main joins": "thread.join()",
    "main sleeps": "time.sleep(100)",
    "main waits for a lock": "lock.acquire()",
    "main computes": "while True: sum(range(10000))",
    "main works in a queue": "queue.Queue().get()",
}
THREADS = {
    "a thread sleeps": "time.sleep(100)",
    "a thread computes": "while True: sum(range(100)); time.sleep(0)",
}


@pytest.mark.parametrize("what", list(THREADS))
@pytest.mark.parametrize("state", list(SIGNALS))
def test_ctrl_c(state, what):
    """KeyboardInterrupt is raised in the main program, whichever tasklet runs."""
    ours, standard = run(f"""
        import os, queue, signal, sys, threading, time
        def work():
            try:
                {THREADS[what]}
            except KeyboardInterrupt:
                print("in the thread")
        lock = threading.Lock()
        lock.acquire()
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        pid = os.getpid()
        if (child := os.fork()) == 0:
            os.execvp("sh", ["sh", "-c", f"sleep 0.15; kill -INT {{pid}}"])
        try:
            {SIGNALS[state]}
        except KeyboardInterrupt:
            print("in main")
            sys.exit(4)
    """)
    assert ours[:2] == standard[:2] == (4, "in main\n"), ours
    assert ours[2] == ""


def test_an_uncaught_ctrl_c():
    """The traceback is that of the main program, and the process ends by the signal."""
    ours, standard = run("""
        import os, threading, time
        def work():
            while True:
                sum(range(1000))
                time.sleep(0)
        threading.Thread(target=work, daemon=True).start()
        pid = os.getpid()
        if os.fork() == 0:
            os.execvp("sh", ["sh", "-c", f"sleep 0.15; kill -INT {pid}"])
        threading.Event().wait(100)
    """)
    assert ours[0] == standard[0] == -2
    assert "KeyboardInterrupt" in ours[2] and "in <module>" in ours[2], ours


def test_handlers_that_raise():
    """An exception of a signal handler is raised in the main program; the thread goes on."""
    ours, standard = run("""
        import os, signal, sys, threading, time
        def handler(number, frame):
            raise LookupError(number)
        before = signal.signal(signal.SIGTERM, handler)
        assert before == signal.SIG_DFL and signal.getsignal(signal.SIGTERM) is handler
        turns = []
        def work():
            while not turns or turns[-1]:
                sum(range(1000))
                turns.append(1)
                time.sleep(0)
        thread = threading.Thread(target=work)
        thread.start()
        pid = os.getpid()
        if os.fork() == 0:
            os.execvp("sh", ["sh", "-c", f"sleep 0.15; kill -TERM {pid}"])
        try:
            threading.Event().wait(100)
        except LookupError as error:
            print("handled", error)
        count = len(turns)
        time.sleep(0.01)
        assert len(turns) > count
        turns.append(0)
        thread.join()
    """)
    assert ours[:2] == standard[:2] == (0, "handled 15\n"), ours
    assert ours[2] == ""


def test_an_os_thread_that_an_exit_function_ends():
    """It is served also if the tasklets have ended before, in a function that is called earlier."""
    program = """
        import atexit, queue, threading
        def end():
            jobs.put("job")
            thread.join(30)
            print(thread.is_alive(), done)
        atexit.register(end)
        import stackless
        from stackless import monkey
        monkey.patch_all()
        jobs, done = queue.Queue(), []
        thread = threading.Thread(target=lambda: done.append(jobs.get()), daemon=True)
        thread.start()
        stackless.tasklet(print)("tasklet")
        stackless.run()
    """
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60
    )
    assert (child.stdout, child.stderr) == ("tasklet\nFalse ['job']\n", ""), child
