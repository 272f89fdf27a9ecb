"""Which tasklet continues after a send or receive, as exact sequences."""

import pytest
import stackless
from stackless import channel, schedule, tasklet

ALL = "schedule_all"
EVERY_SETTING = [-1, 0, 1, ALL]


def channel_with(setting):
    ch = channel()
    if setting == ALL:
        ch.schedule_all = 1
    else:
        ch.preference = setting
    return ch


def steps(log, name, operation):
    """A tasklet body that logs before and after its one channel operation."""

    def body():
        log.append(f"{name}0")
        operation()
        log.append(f"{name}1")

    return body


def log_of(log):
    return " ".join(log)


# ------------------------------------------------------------------ the order table


@pytest.mark.parametrize(
    ("setting", "first", "expected"),
    [
        (-1, "sender", "s0 r0 r1 x s1"),
        (-1, "receiver", "r0 s0 r1 x s1"),
        (0, "sender", "s0 r0 r1 x s1"),
        (0, "receiver", "r0 s0 s1 x r1"),
        (1, "sender", "s0 r0 s1 x r1"),
        (1, "receiver", "r0 s0 s1 x r1"),
        (ALL, "sender", "s0 r0 x s1 r1"),
        (ALL, "receiver", "r0 s0 x r1 s1"),
    ],
)
@pytest.mark.parametrize("driver", ["run", "schedule"])
def test_order_table(setting, first, expected, driver):
    """5.2: sender, receiver and a third tasklet x, all runnable in creation order.

    The table is the same whether main is inside run() or takes its turns in the ring.
    """
    log, ch = [], channel_with(setting)
    sender = steps(log, "s", lambda: ch.send(None))
    receiver = steps(log, "r", ch.receive)
    for body in (sender, receiver) if first == "sender" else (receiver, sender):
        tasklet(body)()
    tasklet(log.append)("x")
    if driver == "run":
        stackless.run()
    else:
        while stackless.runcount > 1:
            schedule()
    assert log_of(log) == expected


@pytest.mark.parametrize("preference", [-1, 0, 1])
def test_schedule_all_beats_preference(preference):
    """5.2: for every value of the preference."""
    log, ch = [], channel_with(ALL)
    ch.preference = preference
    tasklet(steps(log, "r", ch.receive))()
    tasklet(steps(log, "s", lambda: ch.send(None)))()
    tasklet(log.append)("x")
    stackless.run()
    assert log_of(log) == "r0 s0 x r1 s1"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [(-1, "r0 r1 x y main"), (0, "r0 main x y r1"), (1, "r0 main x y r1"), (ALL, "r0 x y r1 main")],
)
def test_main_sends_to_a_waiting_receiver(setting, expected):
    """5.2: ring [main, x, y]; a favoured partner goes right after main and runs at once, and main
    is then last; otherwise the partner is appended; with schedule_all the neighbour x is next.
    """
    log, ch = [], channel_with(setting)
    tasklet(steps(log, "r", ch.receive))()
    schedule()
    tasklet(log.append)("x")
    tasklet(log.append)("y")
    ch.send(None)
    log.append("main")
    stackless.run()
    assert log_of(log) == expected


@pytest.mark.parametrize(
    ("setting", "expected"),
    [(-1, "s0 main x s1"), (0, "s0 main x s1"), (1, "s0 s1 x main"), (ALL, "s0 x s1 main")],
)
def test_main_receives_from_a_waiting_sender(setting, expected):
    """5.2: the same rule seen from the receiver's side."""
    log, ch = [], channel_with(setting)
    tasklet(steps(log, "s", lambda: ch.send("value")))()
    schedule()
    tasklet(log.append)("x")
    assert ch.receive() == "value"
    log.append("main")
    stackless.run()
    assert log_of(log) == expected


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (-1, "s0 r0 r1 x s1 r2 s2"),
        (0, "s0 r0 r1 x s1 s2 r2"),
        (1, "s0 r0 s1 x r1 s2 r2"),
    ],
)
def test_a_conversation_of_two_messages(setting, expected):
    """5.2: the table applied twice, the second time with the other role of the waiting tasklet."""
    log, ch = [], channel_with(setting)

    def sender():
        for number in range(2):
            log.append(f"s{number}")
            ch.send(number)
        log.append("s2")

    def receiver():
        for number in range(2):
            log.append(f"r{number}")
            assert ch.receive() == number
        log.append("r2")

    tasklet(sender)()
    tasklet(receiver)()
    tasklet(log.append)("x")
    stackless.run()
    assert log_of(log) == expected


def test_attributes_affect_later_operations_only():
    """5.2: the setting at the moment of the match decides."""
    log, ch = [], channel_with(-1)
    tasklet(steps(log, "s", lambda: ch.send(None)))()
    schedule()
    ch.preference = 1
    ch.receive()
    log.append("main")
    assert log_of(log) == "s0 s1 main"
    tasklet(steps(log, "s", lambda: ch.send(None)))()
    schedule()
    ch.preference = -1
    ch.receive()
    log.append("main")
    stackless.run()
    assert log_of(log) == "s0 s1 main s0 main s1"


def test_no_switch_leaves_the_turn_with_the_caller():
    """5.2: three sends with preference 0 to three waiting receivers: no switch in between."""
    log, ch = [], channel_with(0)
    for name in "abc":
        tasklet(lambda name=name: log.append(name + ch.receive()))()
    schedule()
    for value in "123":
        ch.send(value)
    assert log == []
    assert stackless.runcount == 4
    schedule()
    assert log == ["a1", "b2", "c3"]


# ------------------------------------------------------------------ matching


@pytest.mark.parametrize("setting", EVERY_SETTING)
def test_first_come_first_served(setting):
    """5.2.3: the tasklet that has waited longest is taken; values reach receivers in order."""
    ch, got = channel_with(setting), []
    for name in "abc":
        tasklet(lambda name=name: got.append((name, ch.receive())))()
    stackless.run()
    for value in range(3):
        ch.send(value)
    stackless.run()
    assert sorted(got) == [("a", 0), ("b", 1), ("c", 2)]
    for value in range(3):
        tasklet(ch.send)(value)
    stackless.run()
    assert [ch.receive() for _ in range(3)] == [0, 1, 2]
    stackless.run()


@pytest.mark.parametrize("setting", EVERY_SETTING)
def test_return_values(setting):
    """5.2: send returns None, receive the value; identity is kept."""
    ch, value, results = channel_with(setting), object(), []
    tasklet(lambda: results.append(("receive", ch.receive())))()
    tasklet(lambda: results.append(("send", ch.send(value))))()
    tasklet(lambda: results.append(("send", ch.send(value))))()
    tasklet(lambda: results.append(("receive", ch.receive())))()
    stackless.run()
    assert sorted(name for name, _ in results) == ["receive", "receive", "send", "send"]
    assert all(got is (value if name == "receive" else None) for name, got in results)


def test_blocking_takes_the_caller_out_of_the_ring():
    """5.2.4: leave the ring, append to the queue, right neighbour next."""
    ch, log = channel(), []
    t = tasklet(ch.receive)()
    tasklet(lambda: log.append((ch.balance, ch.queue, stackless.runcount)))()
    stackless.run()
    assert log == [(-1, t, 1)]
    ch.send(None)


def test_a_tasklet_waits_in_one_channel_at_a_time():
    """5.2: a woken tasklet has left its queue for good."""
    first, second, log = channel(), channel(), []

    def body():
        log.append(first.receive())
        log.append(second.receive())

    tasklet(body)()
    schedule()
    first.send(1)
    assert (first.balance, second.balance) == (0, -1)
    second.send(2)
    assert log == [1, 2]


@pytest.mark.parametrize("operation", ["send", "receive"])
def test_killing_a_waiting_tasklet_takes_it_out_of_the_queue(operation):
    """5.2, 21.22: a middle one leaves the others in order."""
    ch = channel()
    waiting = [
        tasklet(ch.send)(n) if operation == "send" else tasklet(ch.receive)() for n in range(3)
    ]
    stackless.run()
    waiting[1].kill()
    assert abs(ch.balance) == 2
    assert ch.queue is waiting[0] and ch.queue.next is waiting[2]
    for t in waiting:
        t.kill()
    assert ch.balance == 0 and ch.queue is None


def test_a_bomb_sent_as_a_value_explodes_in_the_receiver():
    """5.3: whether sender or receiver came first."""
    bomb = stackless.bomb(KeyError, KeyError("boom"))
    ch, caught = channel(), []

    def receiver():
        try:
            ch.receive()
        except KeyError as error:
            caught.append(error.args)

    tasklet(receiver)()
    tasklet(ch.send)(bomb)
    stackless.run()
    tasklet(ch.send)(bomb)
    tasklet(receiver)()
    stackless.run()
    assert caught == [("boom",), ("boom",)]


# ------------------------------------------------------------------ closing


def test_closing_channel_still_serves_those_waiting():
    """5.2: the queue does not grow any more."""
    ch, got = channel(), []
    tasklet(ch.send)("a")
    tasklet(ch.send)("b")
    schedule()
    ch.close()
    assert [ch.receive(), ch.receive()] == ["a", "b"]
    ch.open()
    tasklet(lambda: got.append(ch.receive()))()
    schedule()
    ch.close()
    ch.send("c")
    assert got == ["c"]
    stackless.run()


@pytest.mark.parametrize("operation", ["send", "receive", "send_exception", "send_throw"])
def test_closing_channel_refuses_to_wait(operation):
    """5.2.4: `Send/receive operation on a closed channel`, nothing changes, open() undoes it."""
    ch = channel()
    call = {
        "send": lambda: ch.send(1),
        "receive": ch.receive,
        "send_exception": lambda: ch.send_exception(KeyError),
        "send_throw": lambda: ch.send_throw(KeyError),
    }[operation]
    ch.close()
    tasklet(int)()
    with pytest.raises(ValueError, match="^Send/receive operation on a closed channel$"):
        call()
    assert ch.balance == 0 and ch.queue is None
    assert stackless.runcount == 2 and stackless.current.tempval is None
    ch.open()
    t = tasklet(call)()
    stackless.run()
    assert ch.queue is t
    t.kill()


def test_closing_channel_refuses_the_kind_that_is_waiting_already():
    """5.2: a second sender finds no partner either."""
    ch = channel()
    tasklet(ch.send)(1)
    schedule()
    ch.close()
    with pytest.raises(ValueError, match="closed channel"):
        ch.send(2)
    assert ch.balance == 1
    assert ch.receive() == 1
    stackless.run()


# ------------------------------------------------------------------ send_sequence


def test_send_sequence_sends_each_item_and_counts():
    """5.2, 5.4: any iterable; the number sent is returned."""
    ch, got, counts = channel(), [], []

    def consumer():
        for value in ch:
            got.append(value)

    tasklet(consumer)()
    tasklet(lambda: counts.append(ch.send_sequence((1, 2, 3))))()
    tasklet(lambda: counts.append(ch.send_sequence(iter("ab"))))()
    tasklet(lambda: counts.append(ch.send_sequence([])))()
    stackless.run()
    ch.close()
    stackless.run()
    assert sorted(map(str, got)) == ["1", "2", "3", "a", "b"]
    assert [v for v in got if type(v) is int] == [1, 2, 3]
    assert sorted(counts) == [0, 2, 3]


def test_send_sequence_runs_the_iterator_in_the_calling_tasklet():
    """5.4: so a generator may itself switch."""
    ch, got, runners = channel(), [], []

    def produce():
        for number in range(3):
            runners.append(stackless.current)
            schedule()
            yield number

    sender = tasklet(lambda: ch.send_sequence(produce()))()
    tasklet(lambda: got.extend(ch.receive() for _ in range(3)))()
    stackless.run()
    assert got == [0, 1, 2]
    assert runners == [sender] * 3


def test_send_sequence_propagates_the_iterators_exception():
    """5.4: what was sent before stays sent."""
    ch, got, caught = channel(), [], []

    def produce():
        yield 1
        raise KeyError("stop here")

    def sender():
        try:
            ch.send_sequence(produce())
        except KeyError as error:
            caught.append(error.args)

    tasklet(lambda: got.append(ch.receive()))()
    tasklet(sender)()
    stackless.run()
    assert got == [1]
    assert caught == [("stop here",)]
    assert ch.balance == 0


def test_send_sequence_needs_an_iterable():
    """16: TypeError, nothing sent."""
    ch = channel()
    with pytest.raises(TypeError):
        ch.send_sequence(5)
    assert ch.balance == 0


def test_send_sequence_stops_at_a_closed_channel():
    """5.2.4 applied to each item."""
    ch, got = channel(), []

    def receive_one_and_close():
        got.append(ch.receive())
        ch.close()

    tasklet(receive_one_and_close)()
    schedule()
    with pytest.raises(ValueError, match="closed channel"):
        ch.send_sequence([1, 2, 3])
    assert got == [1]
