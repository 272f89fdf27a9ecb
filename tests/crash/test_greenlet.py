"""Tasklets and greenlets in one thread: greenlets work inside a tasklet; a tasklet switch inside a
child greenlet is refused. greenlet is a test dependency: its absence is a failure, not a skip."""

from child_process import assert_child, run_child


def test_greenlets_inside_a_tasklet():
    """Made, switched to and fro, and finished within one tasklet."""
    assert_child(
        """
        import greenlet, stackless
        log = []

        def child(start):
            parent = greenlet.getcurrent().parent
            for value in range(start, start + 3):
                log.append(parent.switch(value))
            return "returned"

        def body(name):
            g = greenlet.greenlet(child)
            got = [g.switch(10)]
            while not g.dead:
                got.append(g.switch(name))
            log.append(got)

        stackless.tasklet(body)("a")
        stackless.tasklet(body)("b")
        stackless.run()
        assert log == ["a"] * 3 + [[10, 11, 12, "returned"]] + ["b"] * 3 + [
            [10, 11, 12, "returned"]
        ], log
        print("end")
        """,
        prints="end",
    )


def test_suspended_greenlets_survive_tasklet_switches():
    """Each tasklet keeps a suspended greenlet of its own while others run."""
    assert_child(
        """
        import greenlet, stackless
        log = []

        def count():
            number = 0
            while number < 5:
                number += 1
                greenlet.getcurrent().parent.switch(number)
            return "end"

        def body():
            g = greenlet.greenlet(count)
            got = []
            while not g.dead:
                got.append(g.switch())
                stackless.schedule()
            log.append(got)

        for _ in range(3):
            stackless.tasklet(body)()
        stackless.run()
        assert log == [[1, 2, 3, 4, 5, "end"]] * 3, log
        print("end")
        """,
        prints="end",
    )


def test_exceptions_out_of_a_greenlet_reach_the_tasklet():
    """The parent of a greenlet made in a tasklet is the greenlet that runs in that tasklet."""
    assert_child(
        """
        import greenlet, stackless

        def fails():
            raise KeyError("from the greenlet")

        def body():
            try:
                greenlet.greenlet(fails).switch()
            except KeyError as error:
                print(error.args[0])

        stackless.tasklet(body)()
        stackless.run()
        """,
        prints="from the greenlet",
    )


REFUSED = """
import greenlet, stackless

log = []
channel = stackless.channel()
waiting = stackless.channel()
sleeper = stackless.tasklet(waiting.receive)()
stackless.run()
paused = stackless.tasklet(int, ())
other = stackless.tasklet(log.append)("other")

ATTEMPTS = {
    "schedule": stackless.schedule,
    "schedule_remove": stackless.schedule_remove,
    "run": stackless.run,
    "t.run": paused.run,
    "t.switch": paused.switch,
    "t.kill": sleeper.kill,
    "t.throw": lambda: sleeper.throw(KeyError),
    "send": lambda: waiting.send(1),
    "receive": channel.receive,
    "next": lambda: next(channel),
}

def inside():
    for name, attempt in ATTEMPTS.items():
        before = state()
        try:
            attempt()
        except RuntimeError as error:
            assert "greenlet" in str(error), (name, error)
        else:
            raise AssertionError(name + " was not refused")
        assert state() == before, name
    return "refused"

def state():
    current = stackless.current
    return (stackless.runcount, current.next, current.prev, current.scheduled, current.tempval,
            other.next, paused.paused, waiting.balance, waiting.queue, channel.balance)
"""


def test_switch_inside_a_child_greenlet_of_main_is_refused():
    """Every switching call, which then changes nothing; outside, all works as before."""
    assert_child(
        f"""{REFUSED}
print(greenlet.greenlet(inside).switch())
assert log == []
stackless.run()
waiting.send(None)
assert log == ["other"] and not sleeper.alive and stackless.runcount == 1
paused.run()
print("end")
""",
        prints="refused end",
    )


def test_switch_inside_a_child_greenlet_of_a_tasklet_is_refused():
    """The same inside a tasklet, which can switch again when the greenlet has ended."""
    assert_child(
        f"""{REFUSED}
def body():
    g = greenlet.greenlet(inside)
    print(g.switch())
    stackless.schedule()
    print("again")

other.remove()
stackless.tasklet(body)()
other.insert()
stackless.run()
waiting.send(None)
assert log == ["other"]
""",
        prints="refused again",
    )


def test_uncaught_refusal_leaves_the_greenlet_like_any_error():
    """It is raised in the greenlet's parent."""
    child = run_child(
        """
        import greenlet, stackless
        stackless.tasklet(int)()
        greenlet.greenlet(stackless.schedule).switch()
        """
    )
    assert child.returncode == 1
    last_line = child.stderr.rstrip().splitlines()[-1]
    assert last_line.startswith("RuntimeError") and "greenlet" in last_line


def test_channels_that_need_no_switch_work_inside_a_greenlet():
    """Only an actual switch is refused."""
    assert_child(
        """
        import greenlet, stackless
        channel = stackless.channel()
        channel.preference = 0
        got = []
        stackless.tasklet(lambda: got.append(channel.receive()))()
        stackless.run()
        greenlet.greenlet(lambda: channel.send("no switch")).switch()
        assert stackless.runcount == 2
        stackless.run()
        print(*got)
        """,
        prints="no switch",
    )
