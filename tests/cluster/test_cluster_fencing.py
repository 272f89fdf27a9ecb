"""What an old copy of a tasklet cannot do: from a slow host, in a message that is sent again."""

import signal
import time

import cluster_programs as programs
import pytest
import stackless
from stackless import cluster
from stackless.cluster.asking import ask, current_host
from stackless.cluster.directory import Directory
from stackless.cluster.records import DIRECTORY
from test_cluster_tasklets import until
from worker_processes import starting


@pytest.fixture(scope="module")
def impatient():
    """A cluster in which a silent host counts as lost after four seconds."""
    with cluster.connect(workers=2, name="impatient", lost_after=4) as made:
        yield made


def ticks(ledger):
    n = 0
    while True:
        ledger.send((n, cluster.epoch(), cluster.here().id))
        n += 1
        cluster.sleep(0.01)


def test_a_host_that_was_only_slow_cannot_come_back(impatient):
    c = impatient
    with starting(c) as start:
        (worker,) = start()
        old = next(each.id for each in c.hosts() if each.name == worker.name)
        ledger = c.channel(capacity=10)
        tasklet = c.spawn(ticks, ledger, on=worker.name, on_loss="restart", checkpoint=0.05)
        seen = [ledger.receive(timeout=60) for _ in range(30)]
        worker.signal(signal.SIGSTOP)
        while seen[-1][1] == 1:
            seen.append(ledger.receive(timeout=60))
        worker.signal(signal.SIGCONT)
        # It joins again, with another number, and runs tasklets.
        until(lambda: worker.name in [each.name for each in c.hosts()])
        assert next(each.id for each in c.hosts() if each.name == worker.name) > old
        assert c.spawn(programs.where, on=worker.name).join(60) == worker.name
        until(lambda: [each.epoch for each in c.ps() if each.name == "ticks"] == [2])
        seen.extend(ledger.receive(timeout=60) for _ in range(30))
        tasklet.kill()
    first = next(n for n, each in enumerate(seen) if each[1] == 2)
    assert {each[1] for each in seen[first:]} == {2}
    assert {each[2] for each in seen[first:]}.isdisjoint({old})


def test_a_short_stop_is_forgiven(impatient):
    c = impatient
    with starting(c) as start:
        (worker,) = start()
        channel = c.channel()
        tasklet = c.spawn(programs.receive_here, channel, on=worker.name)
        until(lambda: channel.balance == -1)
        worker.signal(signal.SIGSTOP)
        time.sleep(1)
        worker.signal(signal.SIGCONT)
        channel.send("value")
        assert tasklet.join(60) == ("value", worker.name)


# ------------------------------------------------------------------ messages that are sent again


def arrive(c, to, *arguments):
    number = next(each.id for each in c.hosts() if each.name == to)
    return ask(c._name, number, "arrive", *arguments, about="testing")


def test_a_move_that_is_sent_again_is_refused(c, one, other):
    host = current_host(c._name)
    channel = c.channel()
    tasklet = c.spawn(programs.receive_here, channel, on="tests")
    until(lambda: channel.balance == -1)
    here = host.tasks.here[tasklet.id]
    here.task.epoch += 1
    blob = host.codec.dumps((here.tasklet, here.task))
    here.task.epoch -= 1
    tasklet.move(one)
    for to in one, other:
        for epoch in 2, 3:
            with pytest.raises(cluster.MoveRefused, match=to):
                arrive(c, to, tasklet.id, epoch, host.id, True, blob)
    channel.send("value")
    assert tasklet.join(30) == ("value", one)
    with pytest.raises(cluster.MoveRefused, match="old copy"):
        arrive(c, other, tasklet.id, 2, host.id, True, blob)


def test_blobs_that_are_not_signed_with_the_key_are_refused(c, one):
    host = current_host(c._name)
    foreign = stackless.dumps((stackless.tasklet(), None), key=b"another key" * 4)
    unsigned = stackless.dumps((stackless.tasklet(), None))
    for blob in foreign, unsigned, b"no blob":
        with pytest.raises(cluster.MoveRefused, match="SignatureError|NotABlobError"):
            arrive(c, one, "2.1.999", 2, host.id, True, (blob,))
    signed = host.codec.dumps((stackless.tasklet(), None))
    with pytest.raises(cluster.MoveRefused, match="has none"):
        arrive(c, one, "2.1.999", 2, host.id, True, signed)


def test_values_that_are_not_signed_with_the_key_are_refused(c, one):
    channel = c.channel(on=one)
    receiver = c.spawn(programs.receive_one, channel, on=one)
    number = next(each.id for each in c.hosts() if each.name == one)
    blob = stackless.dumps([1, 2], key=b"another key" * 4)
    ask(c._name, number, "send", channel._number, ("", blob), about="testing")
    with pytest.raises(stackless.pickling.SignatureError):
        receiver.join(30)


# ------------------------------------------------------------------ the rules of the directory


class Hosts:
    """A directory, and what it has sent."""

    def __init__(self, fencing=True):
        self.time = 0.0
        self.sent = []
        self.forgotten = []
        self.directory = Directory(
            lambda to, message: self.sent.append((to, message)),
            self.forgotten.append,
            lost_after=10,
            fencing=fencing,
            clock=lambda: self.time,
        )
        for name in "abc":
            self.directory.join(name, f"tcp://{name}", "worker", {})

    def call(self, sender, op, *arguments):
        """The answer to a call; None if there is none yet."""
        self.sent.clear()
        self.directory.receive(sender, [("call", 7, op, *arguments)])
        return self.answer(sender)

    def answer(self, host):
        for to, message in self.sent:
            if to == host and message[:2] == ("answer", 7):
                return message[3]
        return None


def test_each_epoch_is_granted_once():
    hosts = Hosts()
    assert hosts.call(1, "where", "1.9.1") == [1, 1]
    assert hosts.call(2, "arrive", "1.9.1", 2, 1) is True
    assert hosts.call(2, "arrive", "1.9.1", 2, 1) is False
    assert hosts.call(3, "arrive", "1.9.1", 2, 1) is False
    assert hosts.call(3, "arrive", "1.9.1", 3, 1) is False
    assert hosts.call(1, "where", "1.9.1") == [2, 2]
    assert hosts.call(3, "arrive", "1.9.1", 3, 2) is True
    hosts.directory.receive(3, [("end", "1.9.1", 3)])
    assert hosts.call(1, "where", "1.9.1") == [-1, 3]
    assert hosts.call(2, "arrive", "1.9.1", 4, 3) is False
    assert hosts.call(2, "arrive", "1.9.1", 2, 1) is False


def test_what_was_on_a_lost_host_waits_until_all_drop_its_messages():
    hosts = Hosts()
    hosts.call(2, "arrive", "1.3.1", 2, 1)
    hosts.sent.clear()
    hosts.directory.lose(2, "it died")
    assert hosts.forgotten == [2]
    assert [to for to, message in hosts.sent if message[0] == "lost"] == [1, 3]
    assert hosts.call(3, "claim", 2, ["1.3.1", "2.3.2", "1.3.3"]) is None
    hosts.directory.receive(1, [("confirm", 2)])
    assert hosts.answer(3) is None
    hosts.directory.receive(3, [("confirm", 2)])
    assert hosts.answer(3) == [["1.3.1", 2], ["2.3.2", 1]]
    # What still arrives from it, or from its old copy, is dropped.
    assert hosts.call(2, "arrive", "9.3.4", 2, 9) is None
    assert hosts.call(1, "arrive", "1.3.1", 3, 2) is False
    assert hosts.call(3, "take", "1.3.1", 3, 1) is True
    assert hosts.call(3, "take", "1.3.1", 3, 1) is False
    assert hosts.call(3, "where", "1.3.1") == [1, 3]


def test_a_host_that_dies_need_not_confirm():
    hosts = Hosts()
    hosts.directory.lose(2, "it died")
    assert hosts.call(3, "claim", 2, ["2.3.1"]) is None
    hosts.directory.receive(3, [("confirm", 2)])
    hosts.directory.lose(1, "so did this")
    assert hosts.answer(3) == [["2.3.1", 1]]


def test_silence_and_a_directory_that_was_stopped_itself():
    hosts = Hosts()
    for _ in range(20):
        hosts.time += 1
        hosts.directory.receive(1, [("beat", 5)])
        hosts.directory.receive(3, [("beat", 0)])
        hosts.directory.look()
    assert [each.name for each in hosts.directory.hosts()] == ["a", "c"]
    hosts.time += 1000  # this process was stopped: nothing is known about the others
    hosts.directory.look()
    assert [each.name for each in hosts.directory.hosts()] == ["a", "c"]
    assert (2, ("load", 1, 5)) in hosts.sent


def test_names_are_unique():
    hosts = Hosts()
    info, others = hosts.directory.join("a", "tcp://x", "worker", {})
    assert info.name == "a-2" and [each.name for each in others] == ["a", "b", "c"]
    hosts.directory.lose(1, "gone")
    assert hosts.directory.join("a", "tcp://x", "worker", {})[0].name == "a"
    assert DIRECTORY not in [each.id for each in hosts.directory.hosts()]


def test_without_fencing_old_copies_would_be_granted():
    """The tests above show something."""
    hosts = Hosts(fencing=False)
    assert hosts.call(2, "arrive", "1.9.1", 2, 1) is True
    assert hosts.call(3, "arrive", "1.9.1", 2, 1) is True
