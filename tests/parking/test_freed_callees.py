"""Messages about a tasklet that waits in a destructor while a call drops what it called."""

import pytest
from child_process import assert_child

CALLS = [
    "partial(id)(Loud())",
    "partial(id)(*[Loud()])",
    "partial(dict)(a=Loud())",
    "partial(dict)(**{'a': Loud()})",
    "Loud().__repr__()",
    "[Loud()].clear()",
    "[Loud()].__class__()",
    "Callable()(Loud())",
    "MethodType(partial(id), Loud())()",
    "MethodType(id, Loud())()",
    "itemgetter(0)([Loud()])",
    "{}.get(Loud())",
    "partial(id)(WithReference())",
]


@pytest.mark.parametrize("call", CALLS)
def test_calls(call):
    """Nothing that was freed is used: not for the reason, nor for the remedy, nor by pickling."""
    assert_child(
        f"""
        import weakref
        from functools import partial
        from operator import itemgetter
        from types import MethodType
        import stackless
        from stackless import _stackless

        class Loud:
            def __del__(self):
                stackless.schedule_remove()

        class Callable:
            __slots__ = ()
            __call__ = staticmethod(id)

        class WithReference:
            def __init__(self):
                kept.append(weakref.ref(self, Callback()))

        class Callback:
            __slots__ = ()
            def __call__(self, reference):
                stackless.schedule_remove()

        kept = []

        def body():
            {call}

        t = stackless.tasklet(body)()
        stackless.run()
        assert t.alive
        assert isinstance(_stackless._why_not_parked(t), str)
        assert isinstance(_stackless._how_to_park(t), str)
        assert stackless.why_not_picklable(t)
        try:
            _stackless._park(t)
        except RuntimeError as error:
            assert "C state" in str(error)
        t.run()
        assert not t.alive
        """,
        env={"PYTHONMALLOC": "debug"},
    )


def test_code_that_runs_for_a_name():
    """Asking what was called for its name may run code; the tasklet may end in it."""
    assert_child(
        """
        import stackless
        from stackless import _stackless

        class Called:
            def __call__(*arguments):
                stackless.schedule_remove()

            def __getattr__(self, name):
                t.run()
                return "named"

        def body():
            Called()()

        t = stackless.tasklet(body)()
        stackless.run()
        assert t.alive
        print("named" in _stackless._why_not_parked(t), t.alive)
        """,
        prints="True False",
        env={"PYTHONMALLOC": "debug"},
    )
