"""Fixtures for all tests: a test starts and ends with only the main tasklet in the run queue."""

import contextlib
import signal

import pytest
import stackless
from child_process import PATIENT, TIME_LIMIT


def pytest_collection_modifyitems(items):
    """Where children get more time, tests with a time limit of their own get more as well."""
    for item in items if PATIENT else ():
        limit = item.get_closest_marker("timeout")
        if limit and limit.args:
            item.add_marker(pytest.mark.timeout(max(2 * TIME_LIMIT, *limit.args)), append=False)


# A background job of a shell starts with Ctrl-C ignored, and its children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def runnable_besides_main():
    main = stackless.getmain()
    found = []
    tasklet = main.next
    while tasklet is not None and tasklet is not main:
        found.append(tasklet)
        tasklet = tasklet.next
    return found


@pytest.fixture(autouse=True)
def clean_scheduler():
    """Fail a test that leaves runnable tasklets behind; kill them for the next test."""
    yield
    stackless.set_error_handler(None)
    callbacks = stackless.set_schedule_callback(None), stackless.set_channel_callback(None)
    trap = stackless.switch_trap()
    stackless.switch_trap(-trap)
    assert stackless.getcurrent() is stackless.getmain(), "the test ended outside the main tasklet"
    leftovers = runnable_besides_main()
    for tasklet in leftovers:
        tasklet.remove()
    for tasklet in leftovers:
        with contextlib.suppress(Exception):
            tasklet.kill()
    assert not leftovers, f"the test left {len(leftovers)} runnable tasklets behind"
    assert callbacks == (None, None), "the test left a callback set"
    assert trap == 0, "the test left the switch trap set"
    assert stackless.getruncount() == 1
    assert not stackless.getmain().block_trap
    assert not stackless.getmain().atomic
