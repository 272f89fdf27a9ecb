"""Memory during pickling: other threads, the garbage collector, finalizers."""

import gc
import sys
import weakref

import child_process
import pytest
import stackless
from stackless.pickling.pickler import Pickler
from stackless.pickling.standins import StandIn


@pytest.mark.parametrize("last", ["None", "sys._getframe()"], ids=["pickled", "refused"])
def test_the_end_of_a_pickler_while_python_code_collects(last):
    child_process.assert_child(
        f"""
        import gc, stackless, sys, weakref

        class Dropped:
            pass

        class Thing:
            "leaves something in the pickler's memo that runs Python code when it goes"
            def __reduce__(self):
                dropped = Dropped()
                references.append(weakref.ref(dropped, lambda _: gc.collect()))
                return print, ("never",), dropped

        references = []
        for _ in range(10):
            try:
                stackless.dumps([[Thing() for _ in range(20)], {last}])
                print("pickled")
            except TypeError:
                print("refused")
            assert all(reference() is None for reference in references)
        """,
        prints=" ".join(["pickled" if last == "None" else "refused"] * 10),
        env={"PYTHONMALLOC": "debug"},
    )


def test_dumps_in_threads_with_collections():
    child_process.assert_child(
        """
        import gc, sys, threading, time, stackless

        sys.setswitchinterval(1e-5)

        def make(n):
            def inner(m):
                if m == 0:
                    stackless.schedule_remove()
                    return n
                for value in (lambda k: k)(range(1)):
                    return inner(m - 1) + value
            return inner

        def checkpoints():
            for n in range(150):
                t = stackless.tasklet(make(n))(4)
                stackless.run()
                copies = [stackless.loads(stackless.dumps(t)) for _ in range(3)]
                for each in (t, *copies):
                    each.insert()
                stackless.run()

        def collects():
            while not done:
                gc.collect()

        done = []
        threads = [threading.Thread(target=checkpoints) for _ in range(4)]
        collectors = [threading.Thread(target=collects) for _ in range(2)]
        for each in threads + collectors:
            each.start()
        for each in threads:
            each.join()
        done.append(1)
        for each in collectors:
            each.join()
        """,
        env={"PYTHONMALLOC": "debug"},
    )


@pytest.mark.parametrize("fails", [False, True])
def test_a_pickler_goes_without_a_collection(monkeypatch, fails):
    made = []
    init = Pickler.__init__

    def remember(self, *arguments):
        init(self, *arguments)
        made.append(weakref.ref(self))

    monkeypatch.setattr(Pickler, "__init__", remember)
    gc.disable()
    try:
        value = [lambda: 1, ValueError(), Pickler, sys.stdout, sys._getframe() if fails else None]
        try:
            stackless.dumps(value)
        except TypeError:
            assert fails
    finally:
        gc.enable()
    assert made and made[0]() is None


def test_one_stand_in_for_two_threads():
    class OfTwo(StandIn):
        __slots__ = ()

        def __init__(self, original):
            super().__init__(original)
            if not others:
                others.append(None)
                others[0] = OfTwo.of(original)  # as if another thread were faster

    others = []
    original = object()
    mine = OfTwo.of(original)
    assert mine is others[0] is OfTwo.of(original)
    del mine
    others.clear()
    assert not OfTwo.known
