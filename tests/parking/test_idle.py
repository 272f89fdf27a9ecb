"""An idle thread parks tasklets that have waited long, and returns the memory of stacks."""

import pytest
from child_process import assert_child

SETUP = """
    import resource, stackless
    from stackless import _stackless
    def waiting(count, body, *args):
        all = [stackless.tasklet(body)(*args) for _ in range(count)]
        stackless.schedule()
        return all
    def parked(all):
        return sum(_stackless._is_parked(t) for t in all)
    ch = stackless.channel()
    def soft(): got.append(ch.receive())
    def hard(): got.extend(map(lambda _: ch.receive(), [0]))
    got = []
    def go_on():
        stackless.set_stack_limits(park_after=float("inf"))
        for n in range(-ch.balance): ch.send(n)
        stackless.run()
        assert ch.balance == 0
        assert not _stackless.getuncollectables()
"""


def assert_idle(code: str, **expected: object) -> None:
    assert_child(SETUP + code, **expected)


def test_waiting_tasklets_are_parked_while_the_thread_sleeps():
    """They continue where they were."""
    assert_idle(
        """
    stackless.set_stack_limits(park_after=0.05)
    all = waiting(3000, soft)
    print(parked(all))
    stackless.sleep(2)
    print(parked(all))
    go_on()
    print(sorted(got) == list(range(3000)))
        """,
        prints="0 3000 True",
    )


def test_the_default_is_a_second():
    """A tasklet that has waited less keeps its stack."""
    assert_idle(
        """
    all = waiting(100, soft)
    stackless.sleep(0.3)
    print(parked(all))
    stackless.sleep(3)
    print(parked(all))
    go_on()
        """,
        prints="0 100",
    )


def test_a_tasklet_that_ran_meanwhile_has_not_waited():
    """The time is counted from its last turn."""
    assert_idle(
        """
    import time
    def busy():
        while ticking: stackless.sleep(0.01)
    ticking = True
    ticks = waiting(100, busy)
    all = waiting(100, soft)
    stackless.set_stack_limits(park_after=0.5)
    begin = time.monotonic()
    while parked(all) < 100 and time.monotonic() < begin + 30:
        stackless.sleep(0.05)
    print(parked(all), parked(ticks))
    ticking = False
    go_on()
        """,
        prints="100 0",
    )


@pytest.mark.parametrize(("count", "after"), [(60, "0"), (200, "inf")])
def test_few_are_left_alone_and_all_if_that_is_set(count, after):
    """Few stacks are not worth parking, and tools see parked tasklets continue differently."""
    assert_idle(
        f"""
    stackless.set_stack_limits(park_after=float("{after}"))
    all = waiting({count}, soft)
    stackless.sleep(0.5)
    print(parked(all))
    go_on()
        """,
        prints="0",
    )


def test_those_with_c_code_stay():
    """The thread does not try for ever to park them: it sleeps."""
    assert_idle(
        """
    stackless.set_stack_limits(park_after=0)
    all = waiting(200, hard)
    stackless.sleep(0.3)
    before = resource.getrusage(resource.RUSAGE_SELF)
    stackless.sleep(1)
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(parked(all), after.ru_nvcsw - before.ru_nvcsw < 50)
    print(after.ru_utime - before.ru_utime < 0.2)
    go_on()
    print(len(got))
        """,
        prints="0 True True 200",
    )


@pytest.mark.parametrize("body", ["soft", "hard"])
def test_memory_of_stacks_is_given_back(body):
    """The stacks of tasklets that were parked, and of those that ended."""
    assert_idle(
        f"""
    def resident():
        with open("/proc/self/statm") as statm: return int(statm.read().split()[1]) * 4096
    stackless.set_stack_limits(park_after=float("inf"))
    all = waiting(4000, {body})
    full = resident()
    if {body} is hard: go_on()
    stackless.set_stack_limits(park_after=0.02)
    stackless.sleep(1.5)
    print(full - resident() > 4000 * 4096 / 2)
    go_on()
    print(len(got))
        """,
        prints="True 4000",
    )


def test_a_server_s_idle_connections_are_parked():
    """Tasklets that wait in `stackless.socket`, while the server waits for more connections."""
    assert_idle(
        """
    from stackless import socket
    stackless.set_stack_limits(park_after=0.05)
    def echo(connection):
        with connection, connection.makefile("rb") as lines:
            while line := lines.readline(): connection.sendall(line)
    pairs = [socket.socketpair() for _ in range(100)]
    all = [stackless.tasklet(echo)(there) for _, there in pairs]
    for round in range(3):
        for here, _ in pairs: here.sendall(b"line\\n")
        answers = {here.recv(100) for here, _ in pairs}
        stackless.sleep(1)
        print(answers, parked(all))
    for here, _ in pairs: here.close()
    stackless.run()
    print(any(t.alive for t in all))
        """,
        prints=r"{b'line\n'} 100 {b'line\n'} 100 {b'line\n'} 100 False",
    )
