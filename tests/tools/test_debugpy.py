"""A debugger attached over the loopback interface: breakpoints and steps inside tasklets."""

import subprocess
import sys

import pytest
from debug_client import Client

pytest.importorskip("debugpy")

PROGRAM = """
import debugpy, stackless

debugpy.configure(subProcess=False)
print(debugpy.listen(("127.0.0.1", 0))[1], flush=True)
debugpy.wait_for_client()

def worker(channel, name):
    for item in channel:
        got = handle(name, item)
        log.append((name, got))         # step

def handle(name, item):
    doubled = item * 2
    stackless.schedule()                # break
    again = doubled + 1
    return again

log = []
channel = stackless.channel()
for name in "ab":
    stackless.tasklet(worker)(channel, name)
stackless.run()
for item in range(4):
    channel.send(item)
stackless.run()
channel.close()
print(log, flush=True)
"""


def line_of(mark):
    return next(n for n, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith(mark))


@pytest.fixture
def program(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, "-X", "frozen_modules=off", str(script)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield script, process
    finally:
        process.kill()
        process.communicate()


def attach(process, script, breakpoints):
    client = Client(int(process.stdout.readline()))
    client.request("initialize", adapterID="test", clientID="test")
    attached = client.post("attach", justMyCode=False)
    client.event("initialized")
    set_ = client.request(
        "setBreakpoints",
        source={"path": str(script)},
        breakpoints=[{"line": line} for line in breakpoints],
    )
    assert all(one["verified"] for one in set_["breakpoints"]), set_
    client.request("configurationDone")
    client.answer(attached)
    return client


def frames(client, stopped):
    stack = client.request("stackTrace", threadId=stopped["threadId"])["stackFrames"]
    return [(frame["name"], frame["line"]) for frame in stack], stack[0]["id"]


def value(client, frame, name):
    [scope] = [
        one for one in client.request("scopes", frameId=frame)["scopes"] if one["name"] == "Locals"
    ]
    variables = client.request("variables", variablesReference=scope["variablesReference"])
    return {one["name"]: one["value"] for one in variables["variables"]}[name]


def finish(client, process):
    """Return the output and the exit code of the program."""
    client.event("terminated")
    client.close()
    return process.stdout.readline(), process.wait(60)


def test_breakpoint_in_tasklets(program):
    """It is hit in each tasklet, with its stack and variables; then the program continues."""
    script, process = program
    client = attach(process, script, [line_of("# break")])
    seen = []
    for _ in range(4):
        _, stopped = client.event("stopped")
        assert stopped["reason"] == "breakpoint"
        stack, innermost = frames(client, stopped)
        assert stack[0] == ("handle", line_of("# break")) and stack[1][0] == "worker", stack
        seen.append((value(client, innermost, "name"), value(client, innermost, "doubled")))
        client.request("continue", threadId=stopped["threadId"])
    printed, status = finish(client, process)
    assert sorted(doubled for _, doubled in seen) == ["0", "2", "4", "6"]
    assert {name for name, _ in seen} == {"'a'", "'b'"}
    assert status == 0 and printed.count("('a', ") + printed.count("('b', ") == 4, printed


def test_step_over_a_switch_stays_in_the_tasklet(program):
    """Other tasklets run meanwhile, and do not stop at their lines."""
    script, process = program
    client = attach(process, script, [line_of("# break")])
    _, stopped = client.event("stopped")
    _, innermost = frames(client, stopped)
    name = value(client, innermost, "name")
    client.request("setBreakpoints", source={"path": str(script)}, breakpoints=[])
    lines = []
    for command in "next", "next", "stepOut":
        client.request(command, threadId=stopped["threadId"])
        _, stopped = client.event("stopped")
        stack, innermost = frames(client, stopped)
        lines.append(stack[0])
        assert value(client, innermost, "name") == name
    here = line_of("# break")
    assert lines[:2] == [("handle", here + 1), ("handle", here + 2)], lines
    assert lines[2][0] == "worker", lines
    client.request("continue", threadId=stopped["threadId"])
    printed, status = finish(client, process)
    assert status == 0 and printed.count("('a', ") + printed.count("('b', ") == 4, printed
