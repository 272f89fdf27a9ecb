"""Tasklets that go to other hosts, and are moved there."""

import math

import cluster_programs as programs
import pytest
import stackless
from stackless import cluster
from stackless.cluster import asking
from stackless.cluster.records import DIRECTORY
from test_cluster_tasklets import row_of, until


def test_a_tasklet_goes_to_all_workers(c, workers):
    seen = c.spawn(programs.tour, [*workers, *workers]).join(30)
    assert [name for name, _ in seen] == [*workers, *workers]
    assert len({pid for _, pid in seen}) == 3


def test_factorial_goes_around_the_world_in_mid_recursion(c, workers):
    assert c.spawn(programs.factorial, 20, workers).join(60) == math.factorial(20)


def test_it_goes_to_the_program_that_has_started_it(c, one):
    def home(log):
        cluster.go("tests")
        log.append("appended here, to a copy")
        found = cluster.here().name
        cluster.go("worker-0")
        return found, cluster.here().name, log

    log = []
    assert c.spawn(home, log, on=one).join(30) == ("tests", "worker-0", [*log, *_copy()])
    assert log == []


def _copy():
    return ["appended here, to a copy"]


def test_moving_one_that_waits_in_a_channel(c, workers):
    for home in [*workers, "tests"]:
        channel = c.channel(on=home)
        tasklet = c.spawn(programs.receive_here, channel, on=workers[0])
        until(lambda channel=channel: channel.balance == -1)
        for n, name in enumerate([workers[1], workers[2], "tests", workers[1]], 2):
            tasklet.move(name)
            assert tasklet.where() == name
            assert row_of(c, tasklet).epoch == n
        assert channel.balance == -1
        channel.send("found")
        assert tasklet.join(30) == ("found", workers[1])


def test_moving_one_that_waits_to_send(c, one, other):
    for capacity in 0, 1:
        channel = c.channel(capacity=capacity)
        tasklet = c.spawn(programs.send_all, channel, [1, 2, 3], on=one)
        until(lambda channel=channel, capacity=capacity: channel.balance == capacity or 1)
        tasklet.move(other)
        assert [channel.receive(timeout=30) for _ in range(3)] == [1, 2, 3]
        tasklet.join(30)


def test_moving_one_that_joins_another(c, one, other):
    channel = c.channel()
    first = c.spawn(programs.receive_one, channel, on=one)
    second = c.spawn(programs.join_it, first, on=one)
    until(lambda: row_of(c, second).state.startswith("joining"))
    second.move(other)
    channel.send("seen")
    assert second.join(30) == ("seen", other)


def test_moving_one_that_takes_turns(c, one, other):
    channel = c.channel(capacity=1)
    tasklet = c.spawn(programs.spin, channel, on=one)
    until(lambda: row_of(c, tasklet).state != "not started")
    tasklet.move(other)
    channel.send("end")
    assert tasklet.join(30) == ("end", True, other)


def test_a_time_limit_of_receive_moves(c, one, other):
    channel = c.channel()
    tasklet = c.spawn(programs.ask_with_timeout, channel, 0.5, on=one)
    until(lambda: channel.balance == -1)
    tasklet.move(other)
    assert isinstance(tasklet.join(30), float)
    assert channel.balance == 0


def test_a_moved_tasklet_is_killed_where_it_is(c, one, other):
    channel, log = c.channel(), c.channel(capacity=1)
    tasklet = c.spawn(programs.clean_up_in_receive, channel, log, on=one)
    until(lambda: channel.balance == -1)
    tasklet.move(other)
    tasklet.kill()
    assert log.receive(timeout=30) == "cleaned up"
    assert tasklet.join(30) is None and tasklet.where() is None


def test_order_of_a_sender_that_moves(c, workers):
    for capacity in 0, 2, 100:
        channel = c.channel(capacity=capacity, on=workers[2])
        receiver = c.spawn(programs.receive_all, channel, on="tests")
        c.spawn(programs.send_and_move, channel, list(range(60)), workers).join(60)
        channel.close()
        assert receiver.join(60) == list(range(60))


def test_receivers_that_move_lose_nothing(c, workers):
    channel = c.channel(capacity=10)
    receivers = [c.spawn(programs.receive_and_move, channel, workers) for _ in range(4)]
    c.spawn(programs.send_all, channel, range(200)).join(60)
    channel.close()
    found = [each.join(60) for each in receivers]
    assert sorted(sum(found, [])) == list(range(200))
    assert all(each == sorted(each) for each in found)


# ------------------------------------------------------------------ refusals


def test_what_cannot_be_pickled_stays_and_says_why(c, one, other):
    text, host, free = c.spawn(programs.go_with_a_lock, other, None, on=one).join(30)
    assert (host, free) == (one, True)
    assert "locals['lock']" in text and "lock" in text


def test_one_that_waits_for_its_own_host_stays(c, one, other):
    begun = c.channel()
    tasklet = c.spawn(programs.wait_locally, begun, on=one)
    begun.receive()
    until(lambda: "receiving from channel" in row_of(c, tasklet).state)
    with pytest.raises(cluster.MoveRefused, match="receiving"):
        tasklet.move(other)
    assert tasklet.where() == one
    tasklet.kill()
    assert tasklet.join(30) is None


def test_a_time_limit_of_the_program_does_not_move(c, one, other):
    def limited(host):
        with stackless.timeout(60):
            cluster.go(host)

    with pytest.raises(cluster.MoveRefused, match="time limit"):
        c.spawn(limited, other, on=one).join(30)

    def waits(channel):
        with stackless.move_on_after(60):
            return channel.receive(), cluster.here().name

    channel = c.channel()
    tasklet = c.spawn(waits, channel, on=one)
    until(lambda: channel.balance == -1)
    with pytest.raises(cluster.MoveRefused, match="time limit"):
        tasklet.move(other)
    channel.send("value")
    assert tasklet.join(30) == ("value", one)


def test_one_that_has_ended_does_not_move(c, one, other):
    tasklet = c.spawn(programs.add, 1, on=one)
    assert tasklet.join(30) == 1
    tasklet.move(other)
    with pytest.raises(cluster.NoSuchHost, match="nowhere"):
        tasklet.move("nowhere")


def test_going_where_one_is(c, one):
    def stay():
        cluster.go(cluster.here())
        stackless.schedule()
        return cluster.here().name

    assert c.spawn(stay, on=one).join(30) == one


def test_one_that_is_back_before_its_move_was_confirmed(c, one):
    """Answers of two hosts can overtake each other."""
    (host,) = asking.hosts.values()
    answered, late = host.orders["answer"], []

    def delayed(sender, number, status, value):
        if sender != DIRECTORY and host._requests[number].op == "arrive":
            late.append((sender, number, status, value))
        else:
            answered(sender, number, status, value)

    ready, proceed = c.channel(), c.channel()
    host.orders["answer"] = delayed
    try:
        tasklet = c.spawn(programs.there_and_back, one, "tests", ready, proceed, on="tests")
        ready.receive(timeout=60)
    finally:
        host.orders["answer"] = answered
    for each in late:
        host.perform(answered, *each)
    assert len(late) == 1
    proceed.send(None, timeout=60)
    assert tasklet.join(60) == ("tests", one)
