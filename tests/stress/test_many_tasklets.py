"""Many tasklets: deep chains of call(), 100,000 at the same time, a million one after the other."""

import math
import platform
import re
import sys

import pytest
import stackless
from child_process import assert_child
from stackless import channel, tasklet


def call(function, *arguments):
    """Run a call in its own tasklet and receive its result over a fresh channel."""
    result = channel()

    def run_and_send():
        result.send(function(*arguments))

    tasklet(run_and_send)()
    return result.receive()


def factorial(number):
    return 1 if number <= 1 else number * call(factorial, number - 1)


def test_factorial_through_call():
    """20.9: small, and where plain recursion fails under the default recursion limit."""
    assert factorial(5) == 120
    assert call(factorial, 1000) // call(factorial, 998) == 999_000
    stackless.run()


@pytest.mark.slow
def test_factorial_ten_thousand_levels_deep():
    """20.9: as many tasklets and channels at once, under the default recursion limit.

    Each wrapper that has sent its result is still runnable afterwards, and ends in run().
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    try:
        assert factorial(10_000) == math.factorial(10_000)
        assert stackless.runcount > 9_000
        stackless.run()
    finally:
        sys.setrecursionlimit(limit)
    assert stackless.runcount == 1


def kernel_version():
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return (int(found[1]), int(found[2])) if found else (0, 0)


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or kernel_version() < (6, 13),
    reason="NOT TESTED: 100,000 stacks at once need guard pages without mappings of their own, "
    f"Linux 6.13 or later; this is {platform.system()} {platform.release()}",
)
def test_a_hundred_thousand_tasklets_at_once():
    """Created, blocked, woken, finished: no mapping-count error, and each got its own message."""
    assert_child(
        """
        import stackless
        count = 100_000
        channel, got = stackless.channel(), []

        def body(number):
            got.append((number, channel.receive()))

        for number in range(count):
            stackless.tasklet(body)(number)
        assert stackless.runcount == count + 1
        stackless.run()
        assert channel.balance == -count
        channel.preference = 0
        for number in range(count):
            channel.send(number)
        assert stackless.runcount == count + 1
        stackless.run()
        assert got == [(number, number) for number in range(count)]
        assert stackless.runcount == 1 and channel.balance == 0
        print("end")
        """,
        prints="end",
        timeout=100,
    )


@pytest.mark.slow
def test_a_million_cycles_leave_no_growth():
    """Create, block, wake, finish: neither memory nor references grow after a warm-up."""
    assert_child(
        """
        import gc, resource, sys
        import stackless

        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * resource.getpagesize()

        def cycles(count):
            tasklet, channel, run = stackless.tasklet, stackless.channel(), stackless.run
            send, receive = channel.send, channel.receive

            def body(thing):
                receive()

            for _ in range(count // 100):
                for _ in range(100):
                    tasklet(body)(thing)
                run()
                for _ in range(100):
                    send(thing)
                run()

        def measure():
            gc.collect()
            total = getattr(sys, "gettotalrefcount", int)()
            return resident(), sys.getallocatedblocks(), total, sys.getrefcount(thing)

        thing = object()
        measure()
        cycles(100_000)
        before = measure()
        cycles(900_000)
        after = measure()
        growth = [now - then for then, now in zip(before, after)]
        assert growth[0] < 2 << 20, growth
        assert abs(growth[1]) < 200 and abs(growth[2]) < 200, growth
        assert growth[3] == 0, growth
        print("end")
        """,
        prints="end",
        timeout=100,
    )


@pytest.mark.slow
def test_cycles_of_every_kind_of_end_leave_no_growth():
    """Ends by return, by exception, by kill, before the start, when dropped, in a C callback."""
    assert_child(
        """
        import gc, sys
        import stackless
        thing = object()
        channel = stackless.channel()

        def returns(thing):
            channel.receive()

        def raises(thing):
            raise KeyError(thing)

        def in_c(thing):
            sorted([1, 2], key=lambda item: channel.receive() or item)

        def pauses(thing):
            stackless.schedule_remove(None)

        def refused(thing):
            for attempt in (lambda: channel.send_throw(thing), lambda: stackless.current.bind(int)):
                try:
                    attempt()
                except (TypeError, RuntimeError):
                    pass

        def cycle():
            tasklet = stackless.tasklet
            tasklet(returns)(thing)
            tasklet(in_c)(thing)
            tasklet(refused)(thing)
            killed = tasklet(returns)(thing)
            stackless.run()
            killed.kill()
            tasklet(pauses)(thing)
            tasklet(returns, (thing,)).kill()
            tasklet(returns, (thing,))
            tasklet(raises)(thing)
            try:
                stackless.run()
            except KeyError:
                pass
            while channel.balance:
                channel.send(None)
            stackless.run()

        def measure():
            gc.collect()
            total = getattr(sys, "gettotalrefcount", int)()
            return sys.getallocatedblocks(), total, sys.getrefcount(thing)

        measure()
        for _ in range(2_000):
            cycle()
        before = measure()
        for _ in range(20_000):
            cycle()
        growth = [now - then for then, now in zip(before, measure())]
        assert abs(growth[0]) < 200 and abs(growth[1]) < 200 and growth[2] == 0, growth
        assert stackless.runcount == 1
        print("end")
        """,
        prints="end",
        timeout=100,
    )
