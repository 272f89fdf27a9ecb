"""A tasklet that has continued is parked again, with other frames than before, or with fewer."""

import sys
import tracemalloc

import pytest
import stackless
from stackless import _stackless, schedule_remove, tasklet

park, is_parked = _stackless._park, _stackless._is_parked


def parked_until_its_end(t):
    """Runs `t`, which waits several times, and parks it each time. Returns how often."""
    times = 0
    t.run()
    while t.alive:
        park(t)
        assert is_parked(t)
        times += 1
        t.run()
    return times


def test_on_the_way_down_and_up():
    """Frames that have not run since keep their variables, callers and frame objects."""

    def callers(frame):
        depths = []
        while frame is not None and frame.f_code is dive.__code__:
            depths.append(frame.f_locals["depth"])
            frame = frame.f_back
        return depths

    def dive(depth):
        own = [depth]
        schedule_remove(None)
        if depth % 7 == 0:
            frames.append(sys._getframe())
        below = dive(depth + 1) if depth < 40 else 0
        for _ in range(2):
            schedule_remove(None)
            assert callers(sys._getframe()) == list(range(depth, -1, -1))
        assert own == [depth]
        return below + depth

    frames, results = [], []
    times = parked_until_its_end(tasklet(lambda: results.append(dive(0)))())
    assert (times, results) == (3 * 41, [sum(range(41))])
    assert [frame.f_locals["own"] for frame in frames] == [[0], [7], [14], [21], [28], [35]]


def test_through_generators():
    """Frames of generators are not moved, those between them are."""

    def numbers(depth):
        for i in range(3):
            schedule_remove(None)
            yield i * depth

    def total(depth):
        result = 0
        for number in numbers(depth):
            schedule_remove(None)
            result += number + (total(depth - 1) if depth else 0)
        return result

    def run_through():
        for _ in range(20):  # so that CPython runs the loops without C in between
            results.append(total(2))

    results = []
    t = tasklet(run_through)()
    t.run()
    while t.alive:
        if t.restorable:
            park(t)
        t.run()
    assert results == [results[0]] * 20 and results[0] == total_of(2)


def total_of(depth):
    return sum(i * depth + (total_of(depth - 1) if depth else 0) for i in range(3))


def test_exceptions_pass_through():
    """An exception leaves frames that were restored one by one; its traceback is complete."""

    def fails(depth):
        try:
            if depth == 10:
                schedule_remove(None)
                raise ValueError("deep down")
            fails(depth + 1)
        finally:
            schedule_remove(None)

    def body():
        with pytest.raises(ValueError) as info:
            fails(0)
        lines = []
        traceback = info.value.__traceback__
        while traceback is not None:
            lines.append(traceback.tb_frame.f_code.co_name)
            traceback = traceback.tb_next
        assert lines == ["body"] + ["fails"] * 11
        done.append(True)

    done = []
    assert parked_until_its_end(tasklet(body)()) == 12
    assert done


def test_memory_is_given_back():
    """Memory for many frames is freed when few are left, and when the tasklet has ended."""

    def dive(depth):
        if depth:
            dive(depth - 1)
        else:
            schedule_remove(None)

    def body():
        dive(400)
        schedule_remove(None)

    def in_use():
        snapshot = tracemalloc.take_snapshot()
        return sum(trace.size for trace in snapshot.traces if trace.size > 4096)

    tracemalloc.start()
    try:
        at_first = in_use()
        t = tasklet(body)()
        t.run()
        park(t)
        assert in_use() - at_first > 400 * 64
        t.run()
        park(t)
        assert in_use() == at_first
        t.run()
        assert not t.alive
    finally:
        tracemalloc.stop()


def test_killed_half_way_up():
    """It ends with the frames that have not run since, wherever they are."""

    class Witness:
        def __del__(self):
            gone.append(1)

    def dive(depth):
        witness = Witness()
        if depth:
            dive(depth - 1)
        schedule_remove(None)
        return witness

    gone = []
    for kill in (lambda t: t.kill(), lambda t: t.bind(None)):
        t = tasklet(dive)(30)
        t.run()
        for _ in range(10):
            park(t)
            t.run()
        gone.clear()
        kill(t)
        assert not t.alive
        t = None
        assert len(gone) == 21
    stackless.run()
