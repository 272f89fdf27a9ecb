"""bind_thread."""

import threading

import pytest
import stackless
from other_thread import Owner, run_in_thread
from stackless import channel, schedule, schedule_remove, tasklet

RUNNABLE = r"can't \(re\)bind a runnable tasklet"
C_STATE = "tasklet has C state on its stack"


class Home:
    """A thread with a main tasklet, which runs what is inserted there until `close()`."""

    def __init__(self):
        self.ready, self.error = threading.Event(), None
        self.jobs = channel()
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()
        assert self.ready.wait(60)

    def _live(self):
        self.main = stackless.main
        self.id = threading.get_ident()
        self.ready.set()
        try:
            self.jobs.receive()
            stackless.run()
        except BaseException as error:
            self.error = error

    def close(self):
        self.jobs.send(None)
        self.thread.join(60)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error


@pytest.fixture
def home():
    made = Home()
    yield made
    if made.thread.is_alive():
        made.close()


KINDS = {
    "empty": tasklet,
    "bound": lambda: tasklet(int),
    "with arguments": lambda: tasklet(int, ()),
    "removed": lambda: tasklet(int)().remove(),
    "ended": lambda: ended(),
}


def ended():
    t = tasklet(int)()
    t.run()
    return t


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_a_tasklet_that_has_not_started_moves(home, make):
    """To a given thread, and, without argument or with -1, to the calling one."""
    here = threading.get_ident()
    t = make()
    alive = t.alive
    assert t.thread_id == here
    assert t.bind_thread(home.id) is None
    assert t.thread_id == home.id and t.alive is alive
    for arguments in ((), (-1,), (here,)):
        t.bind_thread(home.id)
        assert t.bind_thread(*arguments) is None
        assert t.thread_id == here


def test_it_runs_where_it_was_moved_to(home):
    """insert() puts it into the ring of its new thread; runcount here is not touched."""
    where = []
    t = tasklet(lambda: where.append(threading.get_ident()), ())
    t.bind_thread(home.id)
    t.insert()
    assert stackless.runcount == 1
    home.close()
    assert where == [home.id]
    assert not t.alive


def test_it_is_taken_from_another_thread():
    """Made there, moved by the calling thread, run here."""
    where = []
    made = []
    owner = Owner(lambda report: made.append(tasklet(lambda: where.append(1), ())))
    t = made[0]
    assert t.thread_id == owner.thread.ident
    t.bind_thread()
    assert t.thread_id == threading.get_ident()
    t.run()
    assert where == [1]
    owner.report.send(None)
    owner.result()


def test_what_it_is_bound_to_moves_along(home):
    """Callable, arguments, tempval, flags, attributes of a subclass."""

    class Mine(tasklet):
        pass

    result = []
    t = Mine(lambda *a, **k: result.append((a, k, threading.get_ident())), (1,), {"k": 2})
    t.note = "kept"
    t.block_trap = True
    t.set_atomic(True)
    t.set_ignore_nesting(True)
    t.bind_thread(home.id)
    assert (t.note, t.block_trap, t.atomic, t.ignore_nesting) == ("kept", True, True, True)
    t.insert()
    home.close()
    assert result == [((1,), {"k": 2}, home.id)]


def test_setup_after_moving_an_empty_one(home):
    """It is inserted into the new thread's ring."""
    where = []
    t = tasklet(lambda: where.append(threading.get_ident()))
    t.bind_thread(home.id)
    t()
    assert t.scheduled and stackless.runcount == 1
    home.close()
    assert where == [home.id]


def test_runnable_tasklets_refuse(home):
    """Tasklets in the ring, never started or started, and a current one."""
    fresh, started = tasklet(int)(), tasklet(schedule)()
    started.run()
    for t in (fresh, started, stackless.current):
        with pytest.raises(RuntimeError, match=RUNNABLE):
            t.bind_thread(home.id)
        assert t.scheduled and t.thread_id == threading.get_ident()
    stackless.run()


def test_runnable_tasklets_of_another_thread_refuse():
    """Its main, while it sleeps, as well."""
    made = []

    owner = Owner(lambda report: made.append(tasklet(schedule_remove, (None,))))
    with pytest.raises(RuntimeError):
        owner.main.bind_thread()
    assert owner.main.thread_id == owner.thread.ident
    t = made[0]
    t.insert()
    # Awake or not, it is in that ring until it runs; then it is paused and started.
    with pytest.raises(RuntimeError, match=f"{RUNNABLE}|{C_STATE}"):
        t.bind_thread()
    owner.report.send(None)
    owner.result()


@pytest.mark.parametrize("how", ["paused", "blocked"])
def test_started_tasklets_move(home, how):
    """11.4 [soft]: paused or blocked, they continue in the other thread."""
    ch, log = channel(), []

    def body():
        before = threading.get_ident()
        value = ch.receive() if how == "blocked" else schedule_remove("value")
        log.append((value, before, threading.get_ident()))

    t = tasklet(body)()
    stackless.run()
    t.bind_thread(home.id)
    assert t.thread_id == home.id and log == []
    if how == "blocked":
        ch.send("value")
    else:
        t.insert()
    home.close()
    assert log == [("value", threading.get_ident(), home.id)]


def test_started_tasklets_with_c_state_refuse(home):
    """11.4: their functions are C code."""
    ch = channel()
    paused = tasklet(schedule_remove)(None)
    blocked = tasklet(ch.receive)()
    stackless.run()
    assert paused.paused and blocked.blocked
    for t in (paused, blocked):
        with pytest.raises(RuntimeError, match=C_STATE):
            t.bind_thread(home.id)
        assert t.thread_id == threading.get_ident()
    assert ch.balance == -1
    paused.run()
    ch.send(None)
    assert not paused.alive and not blocked.alive


def test_a_tasklet_interrupted_by_a_timeout_refuses(home):
    """It has C state."""

    def loop():
        for _ in range(1000):
            pass

    t = tasklet(loop)()
    assert stackless.run(10) is t
    with pytest.raises(RuntimeError, match=C_STATE):
        t.bind_thread(home.id)
    t.kill()
    t.bind_thread(home.id)
    assert t.thread_id == home.id


@pytest.mark.parametrize("bad", [1, 12345])
def test_unknown_threads(bad):
    """ValueError `bad thread`; nothing was moved."""
    t = tasklet(int, ())
    with pytest.raises(ValueError, match="^bad thread$"):
        t.bind_thread(bad)
    assert t.thread_id == threading.get_ident()


def test_a_thread_that_has_ended():
    """ValueError `bad thread`."""
    home = Home()
    home.close()
    if home.id in [thread.ident for thread in threading.enumerate()]:
        pytest.skip("the identity is in use again")
    with pytest.raises(ValueError, match="^bad thread$"):
        tasklet(int, ()).bind_thread(home.id)


@pytest.mark.parametrize("bad", [-2, -1000, -(2**40)])
def test_negative_numbers(bad):
    """OverflowError, except for -1."""
    t = tasklet(int, ())
    with pytest.raises(OverflowError):
        t.bind_thread(bad)
    assert t.thread_id == threading.get_ident()


@pytest.mark.parametrize("bad", ["x", None, 1.5, [1]])
def test_wrong_kinds(bad):
    """16: TypeError."""
    with pytest.raises(TypeError):
        tasklet(int, ()).bind_thread(bad)


def test_too_many_arguments():
    """16"""
    with pytest.raises(TypeError, match="(takes|expected) at most 1 argument"):
        tasklet(int, ()).bind_thread(1, 2)


def test_to_its_own_thread():
    """No effect."""
    log = []
    t = tasklet(log.append, ("ran",))
    assert t.bind_thread() is None
    assert t.bind_thread(threading.get_ident()) is None
    assert t.paused
    t.run()
    assert log == ["ran"]


def test_orphans_of_a_dead_thread_are_adopted():
    """11.5: never-started ones lose their thread, are moved, and run."""
    where = []

    def make():
        return tasklet(lambda: where.append(threading.get_ident()), ())

    t = run_in_thread(make)
    assert t.thread_id == -1 and not t.alive
    assert t.bind_thread() is None
    assert t.thread_id == threading.get_ident() and t.alive and t.paused
    t.insert()
    stackless.run()
    assert where == [threading.get_ident()]


def test_orphans_are_adopted_on_behalf_of_a_thread(home):
    """11.4, 11.5: also by naming the thread."""
    where = []
    t = run_in_thread(lambda: tasklet(lambda: where.append(threading.get_ident()), ()))
    t.bind_thread(home.id)
    t.insert()
    home.close()
    assert where == [home.id]


def test_an_orphan_that_was_in_the_ring():
    """11.5: it was taken out when its thread ended."""
    t = run_in_thread(lambda: tasklet(lambda: None)())
    assert not t.scheduled and t.thread_id == -1
    t.bind_thread()
    assert not t.scheduled and t.thread_id == threading.get_ident()


def test_an_empty_orphan():
    """It can be bound and run after the move."""
    t = run_in_thread(tasklet)
    with pytest.raises(RuntimeError, match="tasklet has no thread"):
        t.bind(int, ())
    t.bind_thread()
    log = []
    t.bind(log.append, ("ran",))
    t.run()
    assert log == ["ran"]


def test_many_moves_back_and_forth():
    """References are counted right on both sides."""
    homes = [Home() for _ in range(3)]
    log = []
    tasklets = [tasklet(log.append, (n,)) for n in range(30)]
    for number, t in enumerate(tasklets):
        for turn in range(5):
            t.bind_thread(homes[(number + turn) % 3].id)
    for t in tasklets:
        t.bind_thread()
        t.insert()
    stackless.run()
    assert log == list(range(30))
    for home in homes:
        home.close()
