"""explain.dump_on_crash: all tasklets after a fatal signal."""

import signal

import pytest
from child_process import run_child

PROGRAM = """
import ctypes, faulthandler, os, signal, sys, threading
import stackless
from stackless import explain

def waits(ch):
    inner(ch)

def inner(ch):
    ch.receive()

def ends():
    crash()

ch = stackless.channel()
stackless.tasklet(waits)(ch)
stackless.tasklet(stackless.schedule_remove)()
stackless.run()
explain.dump_on_crash()
explain.dump_on_crash()
"""

WAYS = {
    "SIGSEGV": "crash = lambda: ctypes.string_at(1)",
    "SIGABRT": "crash = os.abort",
    "SIGFPE": "crash = lambda: ctypes.PyDLL(None)['raise'](signal.SIGFPE)",
}


@pytest.mark.parametrize("name", WAYS)
def test_fatal_signals(name):
    """faulthandler's output first, then all tasklets; the process ends by the signal."""
    child = run_child(
        PROGRAM
        + WAYS[name]
        + """
stackless.tasklet(ends)()
stackless.run()
"""
    )
    assert child.returncode == -getattr(signal, name), child.stderr
    before, tasklets = child.stderr.split("Tasklets (most recent call first):")
    assert "Fatal Python error" in before and "in ends" in before
    main, first, *rest = tasklets.strip().split("\n\n")
    assert main.startswith("Tasklet 1 (main): in run()\n")
    lines = first.splitlines()
    assert lines[0].startswith("Tasklet 2: receiving, channel at 0x")
    assert [line.split(" in ")[1] for line in lines[1:]] == ["inner", "waits"]
    assert lines[1] == '  File "<string>", line 10 in inner'
    assert any("running" in part and "in ends" in part for part in rest)


def test_without_the_interpreters_lock():
    """C code that has released it crashes: only faulthandler's part is printed."""
    child = run_child(
        PROGRAM
        + """
ctypes.CDLL(None)["raise"](signal.SIGSEGV)
"""
    )
    assert child.returncode == -signal.SIGSEGV
    assert "Fatal Python error" in child.stderr
    assert "Tasklets are not shown" in child.stderr and "Tasklet 2" not in child.stderr


def test_an_overflowing_stack():
    """In a tasklet, through C code: the handler has a stack of its own."""
    child = run_child(
        PROGRAM
        + """
def crash():
    # The C library parses this by recursion.
    ctypes.PyDLL(None).regcomp(ctypes.create_string_buffer(1000), b"(" * 1_000_000, 1)
stackless.tasklet(ends)()
stackless.run()
"""
    )
    assert child.returncode == -signal.SIGSEGV, child.stderr[-2000:]
    assert "Tasklet 2: receiving" in child.stderr


def test_other_file(tmp_path):
    """Both parts are written to that file."""
    child = run_child(
        PROGRAM
        + f"""
explain.dump_on_crash(open({str(tmp_path / "crash.txt")!r}, "w"))
os.abort()
"""
    )
    assert child.returncode == -signal.SIGABRT and child.stderr == ""
    text = (tmp_path / "crash.txt").read_text()
    assert "Fatal Python error" in text and "Tasklet 2: receiving" in text
