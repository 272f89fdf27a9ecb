"""Limits on size and number of stacks: MemoryError when none is left, and nothing is lost."""

import sys

import pytest
import stackless
from child_process import assert_child


def test_limits_are_a_named_tuple_of_numbers():
    """get_stack_limits() -> (size, count, park_above, park_after)"""
    limits = stackless.get_stack_limits()
    size, count, park_above, park_after = limits
    assert (limits.size, limits.count, limits.park_above) == (size, count, park_above)
    assert limits.park_after == park_after == 1.0
    assert {type(limit) for limit in limits[:3]} == {int}
    assert size >= 64 * 1024 and count > 0 and park_above > 0
    assert isinstance(limits, tuple) and len(limits) == 4


@pytest.mark.parametrize("size", [65_535, 1, 0, -1, -(2**40)])
def test_too_small_a_stack_is_refused(size):
    """ValueError below 64 KiB; the setting stays."""
    before = stackless.get_stack_limits()
    with pytest.raises(ValueError):
        stackless.set_stack_limits(size=size)
    assert stackless.get_stack_limits() == before


@pytest.mark.parametrize(
    ("positional", "keywords"),
    [
        ((1 << 20,), {}),
        ((), {"size": "1"}),
        ((), {"count": 1.5}),
        ((), {"park_above": "x"}),
        ((), {"park_after": "x"}),
        ((), {"depth": 1}),
    ],
)
def test_wrong_arguments(positional, keywords):
    """Keyword-only ints: TypeError, and the setting stays."""
    before = stackless.get_stack_limits()
    with pytest.raises(TypeError):
        stackless.set_stack_limits(*positional, **keywords)
    assert stackless.get_stack_limits() == before


def test_setting_one_leaves_the_other():
    """None, the default, leaves a limit as it is; sizes are rounded up to pages."""
    assert_child(
        """
        import mmap, stackless
        size, count, above, after = stackless.get_stack_limits()
        stackless.set_stack_limits(count=17)
        assert stackless.get_stack_limits() == (size, 17, above, after)
        stackless.set_stack_limits(size=1 << 20)
        assert stackless.get_stack_limits() == (1 << 20, 17, above, after)
        stackless.set_stack_limits()
        stackless.set_stack_limits(size=None, count=None, park_above=None, park_after=None)
        assert stackless.get_stack_limits() == (1 << 20, 17, above, after)
        stackless.set_stack_limits(park_above=3)
        assert stackless.get_stack_limits() == (1 << 20, 17, 3, after)
        for after in 0.25, float("inf"), 0.0, 2:
            assert stackless.set_stack_limits(park_after=after) == (1 << 20, 17, 3, after)
        for wrong in {"park_above": 0}, {"park_after": -1}, {"park_after": float("nan")}:
            try:
                stackless.set_stack_limits(**wrong)
            except ValueError:
                assert stackless.get_stack_limits() == (1 << 20, 17, 3, 2)
            else:
                raise AssertionError(wrong)
        stackless.set_stack_limits(size=64 * 1024)
        assert stackless.get_stack_limits().size == 64 * 1024
        stackless.set_stack_limits(size=(1 << 20) + 1)
        assert stackless.get_stack_limits().size == (1 << 20) + mmap.PAGESIZE
        print("end")
        """,
        prints="end",
    )


def test_environment_variables_set_them_at_import():
    """STACKLESS_STACK_SIZE, STACKLESS_STACK_COUNT, STACKLESS_PARK_ABOVE and STACKLESS_PARK_AFTER"""
    assert_child(
        "import stackless; print(*stackless.get_stack_limits())",
        env={
            "STACKLESS_STACK_SIZE": str(1 << 20),
            "STACKLESS_STACK_COUNT": "17",
            "STACKLESS_PARK_ABOVE": "5",
            "STACKLESS_PARK_AFTER": "0.5",
        },
        prints=f"{1 << 20} 17 5 0.5",
    )


@pytest.mark.parametrize(
    ("variable", "place"), [("STACK_SIZE", 0), ("STACK_COUNT", 1), ("PARK_ABOVE", 2)]
)
def test_each_environment_variable_alone(variable, place):
    """The others stay as they are."""
    assert_child(
        f"import stackless; print(stackless.get_stack_limits()[{place}])",
        env={f"STACKLESS_{variable}": "131072"},
        prints="131072",
    )


def test_an_environment_variable_without_seconds_is_refused():
    """By name, as those of whole numbers are."""
    assert_child(
        "import stackless",
        env={"STACKLESS_PARK_AFTER": "soon"},
        exits=1,
        complains="STACKLESS_PARK_AFTER must be a number of seconds, not 'soon'",
    )


FULL = """
import stackless
channel = stackless.channel()
started = []

def block():
    started.append(1)
    [_] = map(wait, [channel])  # with C code in between, it cannot be parked

def wait(channel):
    channel.receive()

stackless.set_stack_limits(count=10)
for _ in range(10):
    stackless.tasklet(block)()
stackless.run()
assert channel.balance == -10 and len(started) == 10
"""


def test_memoryerror_at_the_switch_that_would_start_one_more():
    """t.run(): the tasklet stays startable, and starts when a stack is free again."""
    assert_child(
        f"""{FULL}
t = stackless.tasklet(block, ())
for _ in range(3):
    try:
        t.run()
    except MemoryError:
        print("MemoryError")
    assert t.paused and stackless.runcount == 1
    assert stackless.current is stackless.main and len(started) == 10
channel.send(None)
stackless.run()
t.run()
assert t.blocked and channel.balance == -10 and len(started) == 11
print("end")
""",
        prints="MemoryError MemoryError MemoryError end",
    )


def test_memoryerror_out_of_run():
    """The one that cannot start stays in the ring."""
    assert_child(
        f"""{FULL}
t = stackless.tasklet(block)()
try:
    stackless.run()
except MemoryError:
    print("MemoryError")
assert t.alive and t.scheduled and stackless.runcount == 2
channel.send(None)
stackless.run()
assert t.blocked and len(started) == 11
print("end")
""",
        prints="MemoryError end",
    )


def test_memoryerror_at_a_receive():
    """A failed receive leaves the channel as it was; the caller may try again."""
    assert_child(
        f"""{FULL}
mine = stackless.channel()
t = stackless.tasklet(mine.send)("value")
try:
    mine.receive()
except MemoryError:
    print("MemoryError", mine.balance, stackless.runcount)
assert t.scheduled and stackless.current is stackless.main
channel.preference = 0
channel.send(None)
channel.send(None)
t.remove()
stackless.schedule()
t.insert()
print(mine.receive())
""",
        prints="MemoryError 0 2 value",
    )


def test_killing_what_cannot_start_needs_no_stack():
    """8.1: a never-started tasklet ends without running."""
    assert_child(
        f"""{FULL}
t = stackless.tasklet(block, ())
t.kill()
assert not t.alive
t.bind(None)
print("end")
""",
        prints="end",
    )


def test_limit_counts_all_threads():
    """The most stacks per process."""
    assert_child(
        f"""{FULL}
import threading

def thread():
    t = stackless.tasklet(block, ())
    try:
        t.run()
    except MemoryError:
        print("MemoryError")
    t.kill()

other = threading.Thread(target=thread)
other.start()
other.join()
""",
        prints="MemoryError",
    )


def test_a_higher_limit_helps_at_once():
    """Raising the limit while it is reached."""
    assert_child(
        f"""{FULL}
stackless.set_stack_limits(count=1000)
for _ in range(990):
    stackless.tasklet(block)()
stackless.run()
assert channel.balance == -1000
print("end")
""",
        prints="end",
    )


def test_stacks_are_used_again():
    """Many more tasklets than stacks, one after the other."""
    assert_child(
        """
        import stackless
        stackless.set_stack_limits(count=2)
        log = []
        for number in range(5000):
            stackless.tasklet(log.append)(number)
            stackless.run()
        assert log == list(range(5000))
        print("end")
        """,
        prints="end",
    )


# Debug builds from 3.14 on keep all of 64 KiB in reserve: RecursionError at once.
LEAST = 128 if sys.version_info >= (3, 14) and hasattr(sys, "gettotalrefcount") else 64


@pytest.mark.parametrize("size", [LEAST * 1024, 256 * 1024, 32 * 1024 * 1024])
def test_tasklets_run_on_stacks_of_another_size(size):
    """A new size is used for stacks allocated from then on, beside those of the old size."""
    assert_child(
        f"""
        import stackless
        channel, log = stackless.channel(), []

        def body(number):
            log.append((number, channel.receive()))

        stackless.tasklet(body)("old")
        stackless.run()
        stackless.set_stack_limits(size={size})
        for number in range(1500):
            stackless.tasklet(body)(number)
        stackless.run()
        assert channel.balance == -1501
        for number in range(1501):
            channel.send(number)
        stackless.run()
        assert len(log) == 1501 and log[0] == ("old", 0)
        print("end")
        """,
        prints="end",
    )
