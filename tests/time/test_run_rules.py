"""What run() waits for, what it does not, and what happens when no tasklet can run."""

import threading
import time

import pytest
import stackless
from child_process import assert_child, in_child_process


def sleeper(log, seconds, daemon=False):
    t = stackless.tasklet(lambda: (stackless.sleep(seconds), log.append(seconds)))()
    t.daemon = daemon
    return t


def test_run_waits_for_sleepers():
    """Until the last one."""
    log = []
    sleeper(log, 0.03)
    sleeper(log, 0.01)
    assert stackless.run() is None
    assert log == [0.01, 0.03]


def test_run_does_not_wait_for_channels():
    """The consumer of the talk's example stays blocked."""
    channel = stackless.channel()
    t = stackless.tasklet(channel.receive)()
    assert stackless.run() is None
    assert t.blocked
    t.kill()


def test_run_waits_for_a_receive_with_a_timeout():
    """The timeout is a timer."""
    ended = []

    def body():
        with pytest.raises(stackless.TimeoutError):
            stackless.channel().receive(timeout=0.01)
        ended.append(1)

    stackless.tasklet(body)()
    stackless.run()
    assert ended == [1]


def test_run_waits_for_a_limited_tasklet():
    """A wait inside `with timeout()` has an end, too."""
    ended = []

    def body():
        with pytest.raises(stackless.TimeoutError), stackless.timeout(0.01):
            stackless.channel().receive()
        ended.append(1)

    stackless.tasklet(body)()
    stackless.run()
    assert ended == [1]


def test_run_waits_for_worker_threads():
    """It waits for the calls of to_thread()."""
    log = []
    stackless.tasklet(lambda: log.append(stackless.to_thread(time.sleep, 0.02)))()
    stackless.run()
    assert log == [None]


def test_run_does_not_wait_for_daemons():
    """They stay asleep, and wake in a later run()."""
    log = []
    t = sleeper(log, 0.03, daemon=True)
    assert t.daemon is True
    stackless.run()
    assert log == [] and t.paused
    sleeper(log, 0.06)
    stackless.run()
    assert log == [0.03, 0.06]


def test_daemon_is_set_and_unset_while_it_sleeps():
    """Setting and unsetting it take effect while it sleeps."""
    log = []
    t = sleeper(log, 0.02)
    stackless.schedule()
    t.daemon = True
    stackless.run()
    assert log == []
    t.daemon = False
    stackless.run()
    assert log == [0.02]


def test_daemon_set_by_the_last_one_that_runs():
    """run() sleeps, wakes, and sees that only a daemon is left."""
    log = []
    t = sleeper(log, 60)

    def sets():
        stackless.sleep(0.01)
        t.daemon = True

    stackless.tasklet(sets)()
    stackless.run()
    assert log == []
    t.kill()


def test_daemon_set_by_another_thread():
    """The sleeping thread notices it."""
    t = sleeper([], 60)
    thread = threading.Timer(0.02, setattr, [t, "daemon", True])
    thread.start()
    stackless.run()
    thread.join()
    t.kill()


@pytest.mark.parametrize("value", ["x", None, 1.5])
def test_daemon_is_a_bool(value):
    """The attribute accepts a bool or an int."""
    with pytest.raises(TypeError, match="daemon must be set to a bool or integer"):
        stackless.tasklet().daemon = value


def test_daemon_is_not_inherited():
    """No other flag is inherited either."""
    seen = []

    def body():
        seen.append(stackless.tasklet().daemon)

    t = stackless.tasklet(body)()
    t.daemon = True
    stackless.run()
    assert seen == [False]


def test_a_daemon_keeps_main_from_a_deadlock():
    """Main waits in a channel: the thread sleeps until any timer or wait ends."""
    channel = stackless.channel()
    t = stackless.tasklet(lambda: (stackless.sleep(0.01), channel.send("v")))()
    t.daemon = True
    assert channel.receive() == "v"
    stackless.run()


def test_block_false_never_sleeps():
    """It runs what is ready, and returns."""
    log = []
    sleeper(log, 0.02)
    stackless.tasklet(log.append)("ready")
    assert stackless.run(block=False) is None
    assert log == ["ready"]
    assert stackless.run(block=False) is None
    time.sleep(0.03)
    assert stackless.run(block=False) is None
    assert log == ["ready", 0.02]


def test_block_false_inside_run():
    """The inner run() returns at once, the outer one waits."""
    log = []

    def inner():
        stackless.run(block=False)
        log.append("inner")

    sleeper(log, 0.02)
    stackless.tasklet(inner)()
    stackless.run()
    assert log == ["inner", 0.02]


def test_seconds_end_a_sleep():
    """run(seconds=) with only a sleeping tasklet."""
    t = sleeper([], 60)
    before = time.monotonic()
    assert stackless.run(seconds=0.02) is None
    assert time.monotonic() - before < 30
    t.kill()


def test_main_switched_away_waits():
    """A paused main continues when no other tasklet is runnable or waits for time."""
    log = []
    t = stackless.tasklet(lambda: (stackless.sleep(0.01), log.append("t")))()
    t.switch()
    log.append("main")
    assert log == ["t", "main"]


def test_run_in_a_tasklet_waits_too():
    """The innermost run() waits."""
    log = []

    def runs():
        sleeper(log, 0.01)
        stackless.run()
        log.append("runs")

    stackless.tasklet(runs)()
    stackless.run()
    assert log == [0.01, "runs"]


def test_exception_of_a_woken_one_goes_to_run():
    """The other tasklets continue to sleep."""
    log = []

    def fails():
        stackless.sleep(0.01)
        raise KeyError

    stackless.tasklet(fails)()
    sleeper(log, 0.03)
    with pytest.raises(KeyError):
        stackless.run()
    assert log == []
    stackless.run()
    assert log == [0.03]


def test_deadlock_once_nothing_is_armed():
    """Main waits, the sleeper wakes and ends: an error instead of a wait for ever."""
    assert_child(
        """
        import stackless
        def ends():
            stackless.sleep(0.01)
        stackless.tasklet(ends)()
        try:
            stackless.channel().receive()
        except RuntimeError as error:
            print(error)
        """,
        prints="the main tasklet is receiving without a sender available.",
    )


@in_child_process
def test_another_thread_that_sleeps_will_act():
    """A thread blocked in a channel waits for one that has a timer."""
    channel = stackless.channel()

    def in_thread():
        stackless.sleep(0.05)
        channel.send("v")

    thread = threading.Thread(target=in_thread)
    thread.start()
    assert channel.receive() == "v"
    thread.join()


def test_order_is_the_same_without_timers():
    """A sleeping tasklet does not change it either."""

    def turns():
        log = []

        def body(name):
            for n in range(3):
                log.append((name, n))
                stackless.schedule()

        for name in "abc":
            stackless.tasklet(body)(name)
        stackless.run(block=False)
        return log

    plain = turns()
    t = sleeper([], 60)
    stackless.schedule()
    assert turns() == plain
    t.kill()


def test_busy_tasklets_do_not_starve_timers():
    """With a thousand of them, the sleeper has its turn among them, and they have theirs."""
    stop = []
    counts = [0] * 1000

    def busy(n):
        while not stop:
            counts[n] += 1
            stackless.schedule()

    for n in range(1000):
        stackless.tasklet(busy)(n)
    stackless.tasklet(lambda: (stackless.sleep(0.01), stop.append(1)))()
    stackless.run()
    assert max(counts) - min(counts) <= 1


def test_main_that_schedules_alone():
    """Its own loop lets sleepers wake."""
    log = []
    sleeper(log, 0.01)
    while not log:
        stackless.schedule()


def test_channel_traffic_does_not_starve_timers():
    """Handing over a value is a switch as well."""
    channel = stackless.channel()
    stop = []

    def sends():
        while not stop:
            channel.send(1)
        channel.close()

    def receives():
        for _ in channel:
            pass

    stackless.tasklet(receives)()
    stackless.tasklet(sends)()
    stackless.tasklet(lambda: (stackless.sleep(0.01), stop.append(1)))()
    stackless.run()
    assert stop == [1]


def test_pumping_idiom():
    """`while t := run(n): t.insert()` with a sleeping tasklet beside it."""
    log = []

    def counts():
        for n in range(20_000):
            if n == 19_999:
                log.append("counted")

    stackless.tasklet(counts)()
    sleeper(log, 0.005)
    while t := stackless.run(1000):
        t.insert()
    assert sorted(map(str, log)) == ["0.005", "counted"]
