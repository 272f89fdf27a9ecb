"""Making and binding tasklets."""

import sys

import pytest
import stackless
from stackless import channel, schedule_remove, tasklet


def collect(log):
    def body(*args, **kwargs):
        log.append((args, kwargs))

    return body


# ------------------------------------------------------------------ what each call makes


@pytest.mark.parametrize(
    ("args", "kwargs", "seen"),
    [
        ((1, 2), None, ((1, 2), {})),
        (None, {"x": 1}, ((), {"x": 1})),
        ((1,), {"x": 2}, ((1,), {"x": 2})),
        ((), None, ((), {})),
        (None, {}, ((), {})),
    ],
)
@pytest.mark.parametrize("how", ["constructor", "bind", "bind later"])
def test_arguments_make_it_ready_to_run(how, args, kwargs, seen):
    """4.1: with args and/or kwargs (a None one counts as empty) it becomes paused."""
    log = []
    body = collect(log)
    if how == "constructor":
        t = tasklet(body, args, kwargs)
    elif how == "bind":
        t = tasklet().bind(body, args, kwargs)
    else:
        t = tasklet(body).bind(None, args, kwargs)
    assert t.paused and t.tempval is None
    assert log == []
    t.insert()
    stackless.run()
    assert log == [seen]


def test_keywords_of_bind_and_the_constructor():
    """4.1, 16: func, args, kwargs are keyword names."""
    log = []
    tasklet(func=collect(log), args=(1,), kwargs={"a": 2}).insert()
    tasklet().bind(func=collect(log), kwargs={"b": 3}, args=()).insert()
    stackless.run()
    assert log == [((1,), {"a": 2}), ((), {"b": 3})]


@pytest.mark.parametrize("how", ["call", "setup"])
def test_setup_and_call_bind_arguments_and_insert(how):
    """4.1: setup(*args, **kwargs) and t(...) are bind(None, args, kwargs) and insert()."""
    log = []
    t = tasklet(collect(log))
    returned = t(1, 2, x=3) if how == "call" else t.setup(1, 2, x=3)
    assert returned is t
    assert stackless.main.next is t
    assert t.tempval is None
    stackless.run()
    assert log == [((1, 2), {"x": 3})]


def test_setup_takes_any_keyword():
    """4.1: func, args, kwargs given to setup are the function's own arguments."""
    log = []
    tasklet(collect(log))(func=1, args=2, kwargs=3, self=4)
    stackless.run()
    assert log == [((), {"func": 1, "args": 2, "kwargs": 3, "self": 4})]


def test_bind_returns_the_tasklet():
    """4.1: bind returns self, in every form."""
    t = tasklet()
    assert t.bind(int) is t
    assert t.bind(None, ()) is t
    assert t.bind(None) is t
    assert t.bind() is t


def test_binding_only_a_function_replaces_the_former_one():
    """4.1: `tempval` is the function bound last."""
    t = tasklet(int)
    t.bind(str)
    assert t.tempval is str


def test_bind_none_unbinds():
    """4.1: all None: unbind, whether only bound or ready to run."""
    t = tasklet(int).bind(None)
    assert t.tempval is None
    with pytest.raises(RuntimeError, match="not bound to a function"):
        t()
    t = tasklet(int, ()).bind(None)
    assert not t.alive and not t.paused and t.tempval is None
    with pytest.raises(RuntimeError, match="unbound"):
        t.insert()


def test_a_never_started_tasklet_can_be_bound_anew():
    """4.1: while it has not started, other arguments or another function replace the former."""
    log = []
    t = tasklet(log.append, ("old",))
    t.bind(log.append, ("new",))
    t.insert()
    stackless.run()
    assert log == ["new"]


def test_binding_holds_callable_and_arguments_until_the_end():
    """4.1: with the values at the time of the call."""
    log = []
    args = [1]

    def f(x):
        log.append(x)

    t = tasklet(f, (args,))
    del f
    args.append(2)
    t.insert()
    stackless.run()
    assert log == [[1, 2]]


def test_keyword_dictionary_is_taken_by_value_or_not_shared_with_the_function():
    """4.1: the function's own **kwargs dict is never the caller's."""
    given = {"x": 1}

    def f(**kwargs):
        kwargs["x"] = 2

    tasklet(f, (), given).insert()
    stackless.run()
    assert given == {"x": 1}


def test_ended_tasklet_can_be_bound_and_run_again():
    """4.1: identity and subclass attributes survive."""

    class Named(tasklet):
        pass

    log = []
    t = Named(log.append)
    t.name = "kept"
    t("first")
    stackless.run()
    assert not t.alive
    assert t.bind(log.append) is t
    t("second")
    stackless.run()
    t.bind(log.append, ("third",)).run()
    assert log == ["first", "second", "third"]
    assert t.name == "kept"


def test_killed_tasklet_can_be_bound_and_run_again():
    """4.1: also after a kill in the middle."""
    log = []
    t = tasklet(schedule_remove)(None)
    stackless.run()
    t.kill()
    t.bind(log.append)("again")
    stackless.run()
    assert log == ["again"]


# ------------------------------------------------------------------ subclasses


def test_init_calls_bind_with_the_same_arguments():
    """4.1: `__init__` just calls `self.bind`."""
    calls = []

    class Recorder(tasklet):
        def bind(self, func=None, args=None, kwargs=None):
            calls.append((func, args, kwargs))
            return super().bind(func, args, kwargs)

    t = Recorder(int, ("1",), {"base": 8})
    assert calls == [(int, ("1",), {"base": 8})]
    assert t.paused
    Recorder()
    assert calls[1:] == [(None, None, None)]


def test_subclass_may_have_its_own_constructor():
    """4.1: `tasklet.__new__` accepts anything, so subclasses may override `__init__`."""
    log = []

    class Named(tasklet):
        def __init__(self, name, *, loud):
            super().__init__(log.append)
            self.name = name.upper() if loud else name

    t = Named("x", loud=True)
    t(t.name)
    stackless.run()
    assert log == ["X"]


def test_new_accepts_anything():
    """4.1"""
    t = tasklet.__new__(tasklet, 1, "two", three=3)
    assert type(t) is tasklet
    assert not t.alive and t.tempval is None


def test_init_again_binds_again():
    """4.1: `__init__` is no more than bind."""
    t = tasklet(int)
    t.__init__(str)
    assert t.tempval is str


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize("bad", [5, "text", (), object()])
def test_function_must_be_callable(bad):
    """4.1: the first check, in bind and in the constructor."""
    text = "^tasklet function must be a callable or None$"
    with pytest.raises(TypeError, match=text):
        tasklet(bad)
    t = tasklet(int)
    with pytest.raises(TypeError, match=text):
        t.bind(bad)
    with pytest.raises(TypeError, match=text):
        stackless.current.bind(bad)
    assert t.tempval is int


@pytest.mark.parametrize("arguments", [(int,), (int, ()), (None,), (None, ())])
def test_current_tasklet_cannot_be_bound(arguments):
    """4.1: main, and a tasklet in itself."""
    errors = []

    def body():
        with pytest.raises(RuntimeError) as caught:
            stackless.current.bind(*arguments)
        errors.append(str(caught.value))

    body()
    tasklet(body)()
    stackless.run()
    assert errors == ["can't (re)bind the current tasklet"] * 2


@pytest.mark.parametrize("arguments", [(int,), (int, ()), (None,), (None, ())])
def test_linked_tasklet_cannot_be_bound(arguments):
    """4.1: linked anywhere, in the ring or in a channel."""
    ch = channel()
    blocked = tasklet(ch.receive)()
    stackless.schedule()
    runnable = tasklet(int)()
    for t in (runnable, blocked):
        with pytest.raises(RuntimeError, match="^tasklet is scheduled$"):
            t.bind(*arguments)
    assert runnable.scheduled and blocked.blocked
    ch.send(None)
    stackless.run()


@pytest.mark.parametrize("arguments", [(int,), (int, ()), (None,), (None, ())])
def test_started_paused_tasklet_has_c_state(arguments):
    """4.1, 10 right column: it refuses, does not change, and continues afterwards."""
    log = []

    def body():
        log.extend(map(schedule_remove, ["value"]))

    t = tasklet(body)()
    stackless.run()
    with pytest.raises(RuntimeError, match="^tasklet has C state on its stack$"):
        t.bind(*arguments)
    assert t.paused and t.tempval == "value"
    t.run()
    assert log == ["value"]


def test_paused_main_cannot_be_unbound():
    """4.1: a paused main refuses, whichever of the two reasons is named."""
    errors = []

    def body():
        with pytest.raises(RuntimeError) as caught:
            stackless.main.bind(None)
        errors.append(str(caught.value))

    tasklet(body)()
    stackless.run()
    assert errors[0] in (
        "tasklet has C state on its stack",
        "can't unbind the main tasklet",
    )


def test_arguments_without_a_function():
    """4.1: bind, call, setup and constructor alike."""
    text = "^the tasklet was not bound to a function$"
    for attempt in (
        lambda: tasklet().bind(None, ()),
        lambda: tasklet().bind(None, None, {}),
        lambda: tasklet()(),
        lambda: tasklet().setup(1),
        lambda: tasklet(None, ()),
        lambda: tasklet(int).bind(None).bind(None, ()),
    ):
        with pytest.raises(RuntimeError, match=text):
            attempt()


def test_living_tasklet_cannot_be_set_up():
    """4.1: `tasklet is alive`, also from inside itself."""
    ch, inside = channel(), []

    def body():
        for attempt in (stackless.current, stackless.current.setup):
            with pytest.raises(RuntimeError, match="^tasklet is alive$"):
                attempt()
            inside.append(1)

    tasklet(body)()
    blocked = tasklet(ch.receive)()
    stackless.schedule()
    runnable, fresh = tasklet(int)(), tasklet(int, ())
    for t in (blocked, runnable, fresh, stackless.main):
        for attempt in (t, t.setup):
            with pytest.raises(RuntimeError, match="^tasklet is alive$"):
                attempt()
    assert inside == [1, 1]
    assert fresh.paused
    ch.send(None)
    stackless.run()


@pytest.mark.parametrize("arguments", [(int, 5), (int, (), 5), (int, "text")])
def test_wrong_kind_of_arguments(arguments):
    """4.1, 16: TypeError, and nothing is bound."""
    with pytest.raises(TypeError):
        tasklet(*arguments)
    t = tasklet(str)
    with pytest.raises(TypeError):
        t.bind(*arguments)
    assert t.tempval is str and not t.alive


def test_failed_bind_keeps_no_reference():
    """4.1: a refused function is not held."""

    def f():
        pass

    t = tasklet(int)()
    before = sys.getrefcount(f)
    with pytest.raises(RuntimeError):
        t.bind(f)
    assert sys.getrefcount(f) == before
    stackless.run()


def test_call_with_wrong_arguments_for_the_function_fails_in_the_tasklet():
    """4.1, 8.3: the function is only called when the tasklet starts."""

    def f(one):
        return one

    t = tasklet(f)(1, 2)
    assert t.alive
    with pytest.raises(TypeError, match="positional argument"):
        stackless.run()
    assert not t.alive
