"""TaskletExit, bomb and atomic."""

import builtins
import pickle
import sys

import pytest
import stackless
from stackless import atomic, bomb, channel, schedule, tasklet

# ------------------------------------------------------------------ TaskletExit


def test_taskletexit_is_a_systemexit_in_builtins():
    """6, 3: programs use the bare name."""
    assert builtins.TaskletExit is stackless.TaskletExit
    assert issubclass(stackless.TaskletExit, SystemExit)
    assert not issubclass(stackless.TaskletExit, Exception)
    assert stackless.TaskletExit("why").code == "why"


def test_except_exception_does_not_catch_taskletexit():
    """6"""
    log, ch = [], channel()

    def body():
        try:
            ch.receive()
        except Exception:
            log.append("caught")

    t = tasklet(body)()
    schedule()
    t.kill()
    assert log == [] and not t.alive


# ------------------------------------------------------------------ bomb


def test_bomb_attributes():
    """6: type, value, traceback, None if unset; positional or keyword."""
    value = KeyError(1)
    empty, full, named = bomb(), bomb(KeyError, value, None), bomb(type=KeyError, value=value)
    assert (empty.type, empty.value, empty.traceback) == (None, None, None)
    assert (full.type, full.value, full.traceback) == (KeyError, value, None)
    assert (named.type, named.value, named.traceback) == (KeyError, value, None)


def test_bomb_unpacks_exc_info():
    """6: one tuple is unpacked."""
    try:
        raise KeyError(1)
    except KeyError:
        info = sys.exc_info()
        b = bomb(info)
    assert (b.type, b.value, b.traceback) == info


@pytest.mark.parametrize("name", ["type", "value", "traceback"])
def test_bomb_is_read_only(name):
    """6"""
    b = bomb(KeyError, KeyError(1))
    before = getattr(b, name)
    with pytest.raises(AttributeError):
        setattr(b, name, None)
    assert getattr(b, name) is before


def test_bomb_takes_at_most_three_arguments():
    """16: TypeError."""
    with pytest.raises(TypeError):
        bomb(KeyError, None, None, None)


def test_bomb_pickles():
    """6: picklable."""
    copy = pickle.loads(pickle.dumps(bomb(KeyError, KeyError("x"))))
    assert type(copy) is bomb
    assert copy.type is KeyError
    assert copy.value.args == ("x",)
    assert copy.traceback is None


def test_bomb_explodes_in_the_tasklet_that_resumes_with_it():
    """6: with its value and its traceback."""

    def fails():
        raise KeyError("original")

    try:
        fails()
    except KeyError:
        info = sys.exc_info()
    stackless.current.tempval = bomb(info)
    with pytest.raises(KeyError, match="original") as caught:
        tasklet(int, ()).run()
    assert caught.value is info[1]
    assert caught.traceback[-1].name == "fails"


def test_bomb_given_to_schedule_explodes():
    """2, 6: the value a pending call would return is a bomb."""
    tasklet(int)()
    with pytest.raises(KeyError):
        schedule(bomb(KeyError, KeyError()))
    stackless.run()


# ------------------------------------------------------------------ atomic


def test_atomic_sets_and_restores_the_flag():
    """6: `__enter__` returns None; nestable."""
    me = stackless.current
    assert me.atomic is False
    with atomic() as value:
        assert value is None
        assert me.atomic is True
        with atomic():
            assert me.atomic is True
        assert me.atomic is True
    assert me.atomic is False


def test_atomic_restores_a_true_flag():
    """6: the previous value is restored, not just False."""
    me = stackless.current
    me.set_atomic(True)
    with atomic():
        pass
    assert me.set_atomic(False) is True


def test_atomic_never_swallows_exceptions():
    """6: and restores the flag on the way out."""
    with pytest.raises(KeyError), atomic():
        raise KeyError
    assert stackless.current.atomic is False


def test_atomic_acts_on_the_tasklet_current_then():
    """6: entered in one tasklet and left in another, it restores the value there."""
    guard, flags = atomic(), {}

    def enters():
        guard.__enter__()
        schedule()
        flags["enters"] = stackless.current.atomic

    def leaves():
        stackless.current.set_atomic(True)
        assert guard.__exit__(None, None, None) in (None, False)
        flags["leaves"] = stackless.current.atomic

    tasklet(enters)()
    tasklet(leaves)()
    stackless.run()
    assert flags == {"enters": True, "leaves": False}


def test_atomic_takes_no_arguments():
    """6"""
    with pytest.raises(TypeError):
        atomic(1)


def test_atomic_belongs_to_one_tasklet():
    """6, 21.15: it does not reach other tasklets or tasklets made inside."""
    flags = []

    def body():
        flags.append(stackless.current.atomic)

    with atomic():
        tasklet(body)()
        schedule()
    assert flags == [False]
