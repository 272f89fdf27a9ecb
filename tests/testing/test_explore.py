"""explore() and replay(): planted races are found, repeated, and made simple."""

import pytest
import stackless
from stackless.testing import Schedule, ScheduleFailure, Unfinished, explore, replay, schedules


class Lock:
    """A lock for tasklets, simple and right."""

    def __init__(self):
        self.held = False
        self.waiting = stackless.channel()

    def __enter__(self):
        while self.held:
            self.waiting.receive()
        self.held = True

    def __exit__(self, *error):
        self.held = False
        if self.waiting.balance < 0:
            self.waiting.send(None)


def lost_update():
    """Two tasklets read, and write later; in the usual order one after the other."""
    account = {"balance": 0}

    def deposit():
        balance = account["balance"]
        stackless.schedule()
        account["balance"] = balance + 1

    with stackless.TaskGroup() as group:
        group.start(deposit)
        stackless.schedule()
        stackless.schedule()
        group.start(deposit)
    assert account["balance"] == 2


def lock_order():
    """Two tasklets take two locks in different orders."""
    a, b = Lock(), Lock()

    def work(first, second, turns):
        for _ in range(turns):
            stackless.schedule()
        with first:
            stackless.schedule()
            with second:
                pass

    stackless.tasklet(work)(a, b, 0)
    stackless.tasklet(work)(b, a, 3)
    stackless.run()


def missed_wake_up():
    """A tasklet looks whether there is work, and waits; the signal comes in between."""
    ch, work = stackless.channel(), []

    def consumer():
        if not work:
            stackless.schedule()  # before it waits
            ch.receive()

    def producer():
        stackless.schedule()
        work.append(1)
        if ch.balance < 0:
            ch.send(None)

    stackless.tasklet(consumer)()
    stackless.tasklet(producer)()
    stackless.run()


def unprotected():
    """Nothing in it switches: only an interruption between the lines shows the race."""
    account = {"balance": 0}

    def deposit():
        balance = account["balance"]
        balance += 1
        account["balance"] = balance

    stackless.tasklet(deposit)()
    stackless.tasklet(deposit)()
    stackless.run()
    assert account["balance"] == 2


def right():
    lock, account = Lock(), {"balance": 0}

    def deposit():
        with lock:
            balance = account["balance"]
            stackless.schedule()
            account["balance"] = balance + 1

    with stackless.TaskGroup() as group:
        for _ in range(3):
            group.start(deposit)
    assert account["balance"] == 3


def right_with_interruptions():
    """One tasklet has the account; the others send it what to do."""
    deposits, account = stackless.channel(), {"balance": 0}

    def owner():
        for _ in range(3):
            balance = account["balance"]
            account["balance"] = balance + deposits.receive()

    with stackless.TaskGroup() as group:
        group.start(owner)
        for _ in range(3):
            group.start(deposits.send, 1)
    assert account["balance"] == 3


RACES = {
    "lost update": (lost_update, False, AssertionError),
    "lock order": (lock_order, False, Unfinished),
    "missed wake-up": (missed_wake_up, False, Unfinished),
    "between lines": (unprotected, True, AssertionError),
}


def found(program, **options):
    with pytest.raises(ScheduleFailure) as caught:
        explore(program, **options)
    return caught.value


@pytest.mark.parametrize("seed", [0, 1000, 2000])
@pytest.mark.parametrize("race", RACES)
def test_a_race_is_found_and_repeated(race, seed):
    program, preempt, kind = RACES[race]
    failure = found(program, seed=seed, preempt=preempt)
    assert isinstance(failure.__cause__, kind)
    assert seed <= failure.seed < seed + 200
    with pytest.raises(ScheduleFailure) as caught:
        replay(program, failure.seed, preempt)
    assert caught.value.schedule == failure.schedule
    assert caught.value.interleaving == failure.interleaving
    for _ in range(2):
        with pytest.raises(kind):
            failure.schedule.run(program)


@pytest.mark.parametrize("race", RACES)
def test_the_usual_order_passes(race):
    Schedule().run(RACES[race][0])


@pytest.mark.parametrize(("race", "forced"), [("lost update", 2), ("between lines", 1)])
def test_few_switches_are_left(race, forced):
    program, preempt, _ = RACES[race]
    failure = found(program, seed=0, preempt=preempt)
    assert failure.schedule.forced == forced
    assert "test_explore.py:" in failure.interleaving
    assert failure.interleaving in str(failure) and f"{forced} forced" in str(failure)


def test_a_right_program_passes():
    explore(right, seed=0, runs=100)
    explore(right_with_interruptions, seed=0, runs=50, preempt=True)


def test_programs_that_always_fail():
    """Without any forced switch; tasklets that are left behind are killed."""
    ended = []

    def program():
        def waits():
            try:
                stackless.channel().receive()
            finally:
                ended.append(True)

        stackless.tasklet(waits)()
        stackless.schedule()
        raise ValueError

    failure = found(program, runs=1)
    assert failure.schedule.forced == 0 and isinstance(failure.__cause__, ValueError)
    assert ended and stackless.getruncount() == 1


def test_daemons_may_be_left():
    def program():
        daemon = stackless.tasklet(stackless.sleep)(60)
        daemon.daemon = True
        stackless.run()

    explore(program, runs=3)
    stackless.tasklet(int)()
    stackless.run(block=False)


def test_time_is_virtual():
    def program():
        with stackless.TaskGroup() as group:
            group.start(stackless.sleep, 3600)

    explore(program, runs=20)


@pytest.mark.parametrize("suffix", [".html", ".json"])
def test_an_animation_is_written(tmp_path, suffix):
    file = tmp_path / f"race{suffix}"
    failure = found(lost_update, seed=0, animation=file)
    assert failure.animation == str(file) and str(file) in str(failure)
    assert "deposit" in file.read_text()


def test_nothing_is_left_on():
    for program in (lost_update, right):
        try:
            explore(program, runs=5, seed=0, preempt=True)
        except ScheduleFailure:
            pass
        with pytest.raises(RuntimeError, match="no steer"):
            stackless.steered()
    order = []
    for i in range(5):
        stackless.tasklet(order.append)(i)
    stackless.run()
    assert order == [0, 1, 2, 3, 4]


def test_arguments():
    with pytest.raises(ValueError, match="runs"):
        explore(right, runs=0)


# ------------------------------------------------------------------ steer


def order_of(choices, seed=None):
    order = []

    def work(name):
        for _ in range(2):
            order.append(name)
            stackless.schedule()

    for name in "abc":
        stackless.tasklet(work)(name)
    stackless.steer(choices, seed)
    try:
        stackless.run()
    finally:
        made = stackless.steered()
    return "".join(order), made


def test_choices():
    """How many of the runnable tasklets are passed over; those that were made do the same again."""
    assert order_of(b"")[0] == "abcabc"
    assert order_of(b"\x01")[0][0] == "b"
    assert order_of(b"\x02")[0][0] == "c"
    assert order_of(bytes([3 + 2]))[0][0] == "c"
    for seed in range(50):
        order, made = order_of(b"", seed)
        assert sorted(order) == sorted("abcabc")
        assert order_of(made) == (order, made)
    assert len({order_of(b"", seed)[0] for seed in range(200)}) > 30


def test_steer_is_exclusive():
    stackless.steer()
    with pytest.raises(RuntimeError, match="in force"):
        stackless.steer()
    assert stackless.steered() == b""
    for arguments in ((1,), (b"", "seed"), ("text",)):
        with pytest.raises(TypeError):
            stackless.steer(*arguments)
    with pytest.raises(RuntimeError, match="no steer"):
        stackless.steered()


def test_fresh_and_parked_tasklets_may_be_chosen():
    """With stacks that are taken over, given up, and got back."""
    done = []

    def work(number):
        stackless.schedule_remove()
        done.append(number)

    tasklets = [stackless.tasklet(work)(i) for i in range(50)]
    stackless.steer(seed=7)
    stackless.run()
    for tasklet in tasklets:
        stackless._stackless._park(tasklet)
        tasklet.insert()
    for i in range(50, 60):
        stackless.tasklet(done.append)(i)
    stackless.run()
    stackless.steered()
    assert sorted(done) == list(range(60)) and done != sorted(done)


# ------------------------------------------------------------------ Hypothesis


def test_schedules_are_shrunk():
    hypothesis = pytest.importorskip("hypothesis")
    simplest = hypothesis.find(schedules(), lambda schedule: fails(lost_update, schedule))
    assert simplest.forced == 2
    simplest = hypothesis.find(
        schedules(preempt=True), lambda schedule: fails(unprotected, schedule)
    )
    assert simplest.forced <= 2  # 1, but where removing either of two switches alone does not fail


def fails(program, schedule):
    try:
        schedule.run(program)
    except AssertionError:
        return True
    return False


def test_schedule():
    schedule = Schedule((0, 2, 0, 1), (7,))
    assert schedule.forced == 3
    Schedule().run(lost_update)
