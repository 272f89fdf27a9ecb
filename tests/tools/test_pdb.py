"""pdb on programs with tasklets: `python -m pdb`, its breakpoints and steps."""

import bdb
import re
import subprocess
import sys

import pytest
import stackless
from child_process import in_child_process

PROGRAM = """\
import stackless

def inner(name, x):
    y = x + 1
    stackless.schedule()
    z = y * 2
    return z

def in_c(name):
    return max([3, 1], key=lambda x: inner(name, x))

def task(name, x):
    print("result", name, inner(name, x))

stackless.tasklet(task)("a", 10)
stackless.tasklet(task)("b", 20)
stackless.tasklet(in_c)("c")
stackless.run()
print("the end")
"""


def debug(tmp_path, *commands, program=PROGRAM):
    """The output of pdb for a program, without the prompts."""
    path = tmp_path / "program.py"
    path.write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "pdb", str(path)],
        input="\n".join([*commands, "q", "q", ""]),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.replace("(Pdb) ", "")


def test_breakpoints_are_hit_in_every_tasklet(tmp_path):
    printed = debug(tmp_path, "b inner", *["c", "p 'stopped', name, x"] * 4, "c")
    stops = re.findall(r"\('stopped', '(.)', (\d+)\)", printed)
    assert stops == [("a", "10"), ("b", "20"), ("c", "3"), ("c", "1")]
    assert "result a 22" in printed and "result b 42" in printed and "the end" in printed


def test_a_step_over_a_switch_ends_in_the_same_tasklet(tmp_path):
    printed = debug(tmp_path, "b inner", "c", "cl 1", *["n"] * 3, "p 'after', name, z", "c")
    assert "('after', 'a', 22)" in printed and "the end" in printed


def test_return_stops_at_the_end_of_the_call(tmp_path):
    printed = debug(tmp_path, "b inner, name == 'b'", "c", "cl 1", "r", "p 'at', name, z", "c")
    assert "('at', 'b', 42)" in printed and "--Return--" in printed


def test_quitting_inside_a_tasklet(tmp_path):
    printed = debug(tmp_path, "b inner", "c")
    assert "the end" not in printed and "Traceback" not in printed


class Recorder(bdb.Bdb):
    """A debugger that records which functions begin."""

    def __init__(self):
        super().__init__()
        self.reset()
        self.calls = []

    def dispatch_call(self, frame, arg):
        self.calls.append(frame.f_code.co_name)
        return super().dispatch_call(frame, arg)


def begun():
    pass


@pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="bdb may use sys.monitoring, which sees all tasklets"
)
@in_child_process
def test_only_debuggers_follow_into_tasklets():
    """A new tasklet is not traced even if its creator is, except by a debugger."""
    calls = []
    sys.settrace(lambda frame, event, arg: calls.append(frame.f_code.co_name))
    stackless.tasklet(begun)()
    stackless.run()
    sys.settrace(None)
    assert "begun" not in calls
    recorder = Recorder()
    sys.settrace(recorder.trace_dispatch)
    stackless.tasklet(begun)()
    stackless.run()
    sys.settrace(None)
    stackless.tasklet(begun)()
    stackless.run()
    assert recorder.calls.count("begun") == 1
