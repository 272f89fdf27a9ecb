"""stackless.features(), and what a failed self-test means."""

import subprocess
import sys

import pytest
import stackless
from child_process import assert_child, in_child_process

# Replaces the function of the self-test, then imports the package.
WITH_BODY = """
import importlib.util, sys
where = importlib.util.find_spec("stackless").submodule_search_locations[0]
name, path = "stackless._package.check", where + "/_package/check.py"
spec = importlib.util.spec_from_file_location(name, path)
check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check)
check.waits_two_calls_deep = lambda wait, token: {body}
sys.modules[name] = check
"""


def test_what_works_here():
    found = stackless.features()
    assert found.python.startswith("CPython 3.")
    assert ("debug build" in found.python) == hasattr(sys, "gettotalrefcount")
    assert found.platform.startswith("Linux ") and "glibc" in found.platform
    assert (found.parking, found.why_no_parking) == (True, None)
    assert (found.pickling, found.why_no_pickling) == (True, None)
    assert ("sys.settrace" in found.ticks) == (sys.version_info < (3, 12))
    assert found.guards in ("MADV_GUARD_INSTALL", "mprotect")


def test_command():
    done = subprocess.run(
        [sys.executable, "-m", "stackless", "features"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if "why" not in line)
    assert lines == {
        "python": stackless.features().python,
        "platform": stackless.features().platform,
        "parking": "yes",
        "pickling": "yes",
        "ticks": stackless.features().ticks,
        "guards": stackless.features().guards,
    }


@pytest.mark.parametrize(
    ("body", "why"),
    {
        "C code between": ("list(map(wait, [token]))[0]", "waits inside"),
        "C code that called back": (
            "list(map(lambda token: wait(token), [token]))[0]",
            "C code that called back into Python",
        ),
        "another answer": ("[wait(token)]", "did not find its variables again"),
        "an exception": ("wait(token) / 0", "raised TypeError"),
        "an exception before": ("1 / 0", "did not wait"),
        "no wait": ("token", "did not wait"),
    }.values(),
    ids=lambda value: None,
)
def test_failed_self_test_turns_parking_off(body, why):
    """Tasklets work, and keep their stacks; an error where parking is needed says why it is off."""
    assert_child(
        f"""{WITH_BODY.format(body=body)}
import pickle, stackless
found = stackless.features()
assert not found.parking and not found.pickling, found
assert found.why_no_parking.startswith("the self-test failed: "), found
assert {why!r} in found.why_no_parking, found
assert found.why_no_pickling == found.why_no_parking

stackless.set_stack_limits(park_above=8)
channel = stackless.channel()
got = []
def wait():
    got.append(channel.receive())
tasklets = [stackless.tasklet(wait)() for _ in range(50)]
stackless.run()
assert not any(t.restorable for t in tasklets)
[obstacle] = stackless.why_not_picklable(tasklets[0])
assert obstacle.reason == found.why_no_parking, obstacle
assert "features" in obstacle.remedy
try:
    stackless.dumps(tasklets[0])
except Exception as error:
    assert found.why_no_parking in str(error), error
else:
    raise AssertionError("it was pickled")
for i in range(50):
    channel.send(i)
stackless.run()
assert got == list(range(50)), got
print("end")
""",
        prints="end",
    )


def test_self_test_that_waits_twice_passes():
    assert_child(
        f"""{WITH_BODY.format(body="(wait(token), wait(token))[1]")}
import stackless
print(stackless.features().parking)
""",
        prints="True",
    )


def test_ctrl_c_in_the_self_test_is_no_failure():
    """The module is not half imported either: the next import runs the test again."""
    assert_child(
        f"""{WITH_BODY.format(body="(wait(token), exec('raise KeyboardInterrupt'))")}
try:
    import stackless
except KeyboardInterrupt:
    print("KeyboardInterrupt")
del sys.modules["stackless._package.check"]
import stackless
print(stackless.features().parking)
""",
        prints="KeyboardInterrupt True",
    )


@pytest.mark.skipif(
    not hasattr(sys, "_jit") or not sys._jit.is_available(),
    reason="an interpreter without a just-in-time compiler",
)
def test_no_parking_with_the_jit():
    assert_child(
        """
        import stackless, sys
        assert sys._jit.is_enabled()
        found = stackless.features()
        print(found.parking, "JIT" in found.why_no_parking)
        """,
        prints="False True",
        env={"PYTHON_JIT": "1"},
    )


@in_child_process
def test_no_parking_with_foreign_frame_evaluation():
    """PEP 523: parking is off while it is installed, and offered again afterwards."""
    import ctypes

    api = ctypes.pythonapi
    api.PyInterpreterState_Get.restype = ctypes.c_void_p
    interp = ctypes.c_void_p(api.PyInterpreterState_Get())
    get, put = api._PyInterpreterState_GetEvalFrameFunc, api._PyInterpreterState_SetEvalFrameFunc
    get.restype = ctypes.c_void_p
    own = ctypes.c_void_p(get(interp))
    # It is never called: this frame is evaluated already, and it calls only C code.
    other = ctypes.CFUNCTYPE(ctypes.c_void_p)(lambda: None)
    why = stackless._stackless._why_never_parked
    put(interp, other)
    answer = why()
    put(interp, own)
    assert answer == "another package evaluates frames (PEP 523)"
    assert stackless.features().parking
