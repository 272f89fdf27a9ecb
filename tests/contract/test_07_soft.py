"""run() with a timeout and soft=True."""

import pytest
import stackless
from interrupted_loops import Loop, count, yielding
from stackless import channel, schedule, schedule_remove, tasklet


def blocks():
    waiting_room.receive()


waiting_room = channel()

GIVE_UP = {
    "schedule": (schedule, "scheduled"),
    "block": (blocks, "blocked"),
    "schedule_remove": (schedule_remove, "paused"),
    "end": (lambda: None, "ended"),
}


def state(t):
    if not t.alive:
        return "ended"
    return "blocked" if t.blocked else "scheduled" if t.scheduled else "paused"


@pytest.mark.parametrize(("gives_up", "afterwards"), GIVE_UP.values(), ids=GIVE_UP)
def test_soft_waits_for_the_next_switch(gives_up, afterwards):
    """Nothing happens to the tasklet; at its next switch run() returns None instead."""
    late, other = Loop(1000, gives_up), Loop(5)
    assert stackless.run(10, soft=True) is None
    assert late.finished
    assert state(late.tasklet) == afterwards
    assert other.done == 0 and other.tasklet.scheduled
    assert stackless.run() is None
    assert other.finished
    late.tasklet.kill()


@pytest.mark.parametrize("wake", ["run", "switch"])
def test_soft_when_the_tasklet_switches_to_another(wake):
    """At this switch run() returns; the other tasklet stays scheduled."""
    other = Loop(5)
    other.tasklet.remove()
    late = Loop(1000, lambda: getattr(other.tasklet, wake)())
    assert stackless.run(10, soft=True) is None
    assert late.finished and other.done == 0 and other.tasklet.scheduled
    assert late.tasklet.alive
    assert stackless.run() is None
    assert other.finished
    late.tasklet.kill()


def test_soft_keeps_the_order_of_the_ring():
    """All stay scheduled: the right neighbour is next, the tasklet that yielded is last."""
    log = []

    def body(name, turns):
        count(turns)
        log.append(name)
        schedule()
        log.append(name + "2")

    for name, turns in (("a", 1000), ("b", 1), ("c", 1)):
        tasklet(body)(name, turns)
    assert stackless.run(50, soft=True) is None
    assert log == ["a"] and stackless.runcount == 4
    assert stackless.run() is None
    assert log == ["a", "b", "c", "a2", "b2", "c2"]


def test_soft_without_expiry():
    """run() returns when all have ended."""
    loops = [Loop(10) for _ in range(3)]
    assert stackless.run(1000, soft=True) is None
    assert all(loop.finished for loop in loops)


def test_soft_counts_slices_unless_totaltimeout():
    """The two are independent."""
    for total in (False, True):
        tasklets = [tasklet(yielding)(600, 30) for _ in range(3)]
        assert stackless.run(200, soft=True, totaltimeout=total) is None
        assert [t.alive for t in tasklets] == [total] * 3
        assert stackless.runcount == (4 if total else 1)
        stackless.run()


@pytest.mark.parametrize("acting", ["send", "receive"])
def test_soft_does_not_split_a_hand_over(acting):
    """The transfer's switch is made; the interrupt then applies to the tasklet switched to."""
    log, ch = [], channel()
    ch.preference = -1 if acting == "send" else 1

    def partner():
        ch.receive() if acting == "send" else ch.send(None)
        log.append("partner")
        schedule()
        log.append("partner again")

    def actor():
        count(1000)
        ch.send(None) if acting == "send" else ch.receive()
        log.append("actor")

    tasklet(partner)()
    tasklet(actor)()
    tasklet(log.append)("third")
    assert stackless.run(50, soft=True) is None
    assert log == ["partner"]
    assert stackless.runcount == 4
    stackless.run()
    assert sorted(log) == ["actor", "partner", "partner again", "third"]
