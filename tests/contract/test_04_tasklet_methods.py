"""insert, remove, run, switch and the flags. kill and throw are in test_08_kill_and_throw.py."""

import pytest
import stackless
from stackless import channel, schedule, schedule_remove, tasklet


@pytest.fixture
def blocked():
    ch = channel()
    t = tasklet(ch.receive)()
    schedule()
    yield t
    if t.blocked:
        ch.send(None)
        stackless.run()


def dead_tasklets():
    ended = tasklet(int)()
    stackless.run()
    return [tasklet(), tasklet(int), ended]


# ------------------------------------------------------------------ insert


def test_insert_returns_self_and_appends():
    """insert(): append to the ring."""
    first = tasklet(int)()
    t = tasklet(int, ())
    assert t.insert() is t
    assert first.next is t and t.next is stackless.main
    stackless.run()


def test_insert_of_a_linked_tasklet_does_nothing():
    """insert(): nothing if already linked; the current one is."""
    a, b = tasklet(int)(), tasklet(int)()
    assert a.insert() is a
    assert stackless.current.insert() is stackless.current
    assert [stackless.main.next, a.next, b.next] == [a, b, stackless.main]
    assert stackless.runcount == 3
    stackless.run()


def test_insert_resumes_a_removed_tasklet():
    """insert(): a started one continues where it was."""
    log = []

    def body():
        log.append("start")
        schedule_remove(None)
        log.append("end")

    t = tasklet(body)()
    stackless.run()
    assert log == ["start"]
    t.insert()
    assert log == ["start"]
    stackless.run()
    assert log == ["start", "end"]


@pytest.mark.parametrize("method", ["insert", "run"])
def test_blocked_tasklet_is_not_inserted_or_run(blocked, method):
    """insert(), run(): `You cannot run a blocked tasklet`."""
    with pytest.raises(RuntimeError, match="^You cannot run a blocked tasklet$"):
        getattr(blocked, method)()
    assert blocked.blocked and stackless.runcount == 1


@pytest.mark.parametrize("method", ["insert", "run"])
def test_dead_tasklet_is_not_inserted_or_run(method):
    """insert(), run(): `You cannot run an unbound(dead) tasklet`: empty, bound, ended."""
    for t in dead_tasklets():
        with pytest.raises(RuntimeError, match=r"^You cannot run an unbound\(dead\) tasklet$"):
            getattr(t, method)()
        assert not t.scheduled
    assert stackless.runcount == 1


# ------------------------------------------------------------------ remove


def test_remove_returns_self_and_pauses():
    """remove(): leave the ring."""
    log = []
    a, b = tasklet(log.append)("a"), tasklet(log.append)("b")
    assert a.remove() is a
    assert a.paused and stackless.main.next is b and stackless.runcount == 2
    stackless.run()
    assert log == ["b"]


def test_remove_of_an_unlinked_tasklet_does_nothing():
    """remove(): not linked: nothing, and still self."""
    paused = tasklet(int, ())
    for t in [paused, *dead_tasklets()]:
        assert t.remove() is t
    assert paused.paused
    assert stackless.runcount == 1


def test_remove_refuses_blocked_and_current(blocked):
    """remove(): two texts, each with its full stop."""
    with pytest.raises(RuntimeError, match=r"^You cannot remove a blocked tasklet\.$"):
        blocked.remove()
    with pytest.raises(RuntimeError, match=r"^The current tasklet cannot be removed\.$"):
        stackless.current.remove()
    assert blocked.blocked and stackless.current.scheduled


def test_main_can_be_removed_by_a_tasklet():
    """remove(): main is in the ring like any; an empty ring brings it back."""
    log = []

    def body():
        stackless.main.remove()
        log.append((stackless.main.paused, stackless.runcount))

    tasklet(body)()
    schedule()
    assert log == [(True, 1)]
    assert stackless.runcount == 1


# ------------------------------------------------------------------ run and switch


def test_run_and_switch_return_none_usually():
    """run(), switch(): the caller's tempval."""
    assert tasklet(int, ()).run() is None
    assert tasklet(int, ()).switch() is None


def test_switch_refuses_blocked_targets(blocked):
    """switch(): an error that contains `blocked`; the caller stays runnable."""
    with pytest.raises(RuntimeError, match="blocked"):
        blocked.switch()
    assert blocked.blocked
    assert stackless.current.scheduled and stackless.runcount == 1


def test_switch_refuses_dead_targets():
    """switch(): nothing to run there; the caller stays in the ring."""
    for t in dead_tasklets():
        with pytest.raises(RuntimeError):
            t.switch()
        assert stackless.current.scheduled and stackless.runcount == 1


def test_switch_back_and_forth():
    """switch(): two tasklets can switch to each other, never both in the ring."""
    log = []

    def ping():
        for number in range(3):
            log.append(f"ping{number} {stackless.runcount}")
            pong_tasklet.switch()

    def pong():
        for number in range(3):
            log.append(f"pong{number} {stackless.runcount}")
            ping_tasklet.switch()

    ping_tasklet, pong_tasklet = tasklet(ping, ()), tasklet(pong, ())
    ping_tasklet.insert()
    stackless.run()
    assert log == "ping0 1/pong0 1/ping1 1/pong1 1/ping2 1/pong2 1".split("/")
    pong_tasklet.run()
    assert not ping_tasklet.alive
    assert not pong_tasklet.alive


# ------------------------------------------------------------------ flags


@pytest.mark.parametrize("name", ["atomic", "ignore_nesting"])
def test_flag_setters_return_the_old_value(name):
    """set_atomic(flag), set_ignore_nesting(flag): bool or int, the old value as bool."""
    t = tasklet()
    setter = getattr(t, f"set_{name}")
    assert getattr(t, name) is False
    assert setter(True) is False
    assert getattr(t, name) is True
    assert setter(0) is True
    assert getattr(t, name) is False
    assert setter(7) is False
    assert getattr(t, name) is True
    assert setter(False) is True


@pytest.mark.parametrize("name", ["set_atomic", "set_ignore_nesting"])
@pytest.mark.parametrize("bad", [None, "yes", 1.0, [], ()])
def test_flag_setters_take_only_bool_or_int(name, bad):
    """set_atomic, set_ignore_nesting: TypeError that contains their own name."""
    t = tasklet()
    with pytest.raises(TypeError, match=f"^{name} needs exactly one bool or integer$"):
        getattr(t, name)(bad)
    assert t.atomic is False and t.ignore_nesting is False


def test_flags_of_one_tasklet_do_not_touch_another():
    """4.3: flags are per tasklet and not inherited from the creator."""
    seen = []

    def creator():
        me = stackless.current
        me.set_atomic(True)
        me.set_ignore_nesting(True)
        me.block_trap = True
        child = tasklet(int)()
        seen.append((child.atomic, child.ignore_nesting, child.block_trap))
        me.set_atomic(False)

    tasklet(creator)()
    stackless.run()
    assert seen == [(False, False, False)]


def test_explicit_switches_are_allowed_while_atomic():
    """6: atomic means no involuntary switch."""
    log = []
    tasklet(log.append)("other")
    old = stackless.current.set_atomic(True)
    try:
        schedule()
    finally:
        stackless.current.set_atomic(old)
    assert log == ["other"]
