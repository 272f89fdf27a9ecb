"""Context variables belong to a tasklet."""

import contextvars

import pytest
import stackless
from other_thread import Owner
from stackless import schedule, schedule_remove, tasklet

variable = contextvars.ContextVar("variable")


@pytest.fixture(autouse=True)
def main_has_a_context():
    """Whether there is a context before the first variable is set cannot be told (15)."""
    variable.set("main")


def fresh(value):
    """A new context in which `variable` has that value."""
    context = contextvars.Context()
    context.run(variable.set, value)
    return context


def test_binding_shares_the_current_context():
    """15: share, not copy: changes show on both sides."""
    seen = []

    def body():
        seen.append(variable.get())
        variable.set("changed by the tasklet")
        schedule()
        seen.append(variable.get())

    t = tasklet(body)
    assert t.context_id == stackless.current.context_id
    t()
    schedule()
    assert variable.get() == "changed by the tasklet"
    variable.set("changed by main")
    stackless.run()
    assert seen == ["main", "changed by main"]


@pytest.mark.parametrize("how", ["constructor", "bind"])
def test_the_moment_of_binding_counts(how):
    """15: `__init__`/bind with a function; later setup does not change it."""
    seen, context = [], fresh("where it was bound")

    def make():
        if how == "constructor":
            return tasklet(lambda: seen.append(variable.get()))
        return tasklet().bind(lambda: seen.append(variable.get()))

    t = context.run(make)
    assert t.context_id == id(context)
    t()
    stackless.run()
    assert seen == ["where it was bound"]
    assert variable.get() == "main"


def test_changes_do_not_show_in_tasklets_with_other_contexts():
    """15: a switch switches the context."""
    seen = []

    def body(value):
        variable.set(value)
        for _ in range(3):
            schedule()
            seen.append(variable.get() == value)

    for value in range(3):
        tasklet(body).set_context(contextvars.copy_context())(value)
    while stackless.runcount > 1:
        schedule()
        assert variable.get() == "main"
    assert seen == [True] * 9


def test_two_tasklets_can_share_a_context():
    """15: unless they share the context."""
    seen, context = [], fresh("start")

    def writer():
        variable.set("written")

    def reader():
        seen.append(variable.get())

    for body in (reader, writer, reader):
        tasklet(body).set_context(context)()
    stackless.run()
    assert seen == ["start", "written"]
    assert context[variable] == "written" and variable.get() == "main"


def test_set_context_returns_self_and_shows_in_context_id():
    """15: context_id is the id() of that context."""
    t, context = tasklet(int), fresh("x")
    assert t.set_context(context) is t
    assert t.context_id == id(context)
    t.bind(None)


def test_set_context_of_a_suspended_tasklet():
    """15: effective when it next runs."""
    seen = []

    def body():
        seen.append(variable.get())
        schedule_remove(None)
        seen.append(variable.get())

    t = tasklet(body)()
    stackless.run()
    t.set_context(fresh("new"))
    t.run()
    assert seen == ["main", "new"]
    assert variable.get() == "main"


def test_set_context_of_the_current_tasklet():
    """15: effective at once."""
    seen, context = [], fresh("new")

    def body():
        me = stackless.current
        assert me.set_context(context) is me
        seen.append((variable.get(), me.context_id == id(context)))
        schedule()
        seen.append(variable.get())

    tasklet(body)()
    stackless.run()
    assert seen == [("new", True), "new"]
    assert variable.get() == "main"


@pytest.mark.parametrize("bad", [None, {}, 1, "context"])
def test_set_context_takes_only_a_context(bad):
    """15: TypeError."""
    t = tasklet(int)
    before = t.context_id
    with pytest.raises(TypeError):
        t.set_context(bad)
    assert t.context_id == before


def test_entered_context_cannot_be_replaced():
    """15: RuntimeError inside Context.run, current or suspended."""
    text = "^the current context of the tasklet has been entered$"
    inside = fresh("inside")

    def entered():
        with pytest.raises(RuntimeError, match=text):
            stackless.current.set_context(fresh("other"))
        schedule_remove(None)
        return variable.get()

    results = []
    t = tasklet(lambda: results.append(inside.run(entered)))()
    stackless.run()
    with pytest.raises(RuntimeError, match=text):
        t.set_context(fresh("other"))
    t.run()
    assert results == ["inside"]


def test_context_run_calls_in_the_tasklets_context():
    """15: from the caller's tasklet, with arguments, returning the result."""
    context = fresh("the tasklet's")
    t = tasklet(int, ()).set_context(context)

    def look(*args, **kwargs):
        return variable.get(), stackless.current, args, kwargs

    assert t.context_run(look, 1, x=2) == (
        "the tasklet's",
        stackless.main,
        (1,),
        {"x": 2},
    )
    assert t.context_run(variable.set, "changed") is not None
    assert context[variable] == "changed"
    assert variable.get() == "main"


def test_context_run_propagates_exceptions():
    """15: and the caller's own context is back."""
    t = tasklet(int, ()).set_context(fresh("x"))
    with pytest.raises(KeyError):
        t.context_run({}.__getitem__, "missing")
    assert variable.get() == "main"


def test_context_run_on_a_suspended_tasklet():
    """15: a way for a debugger to read its variables."""

    def body():
        variable.set("inside")
        schedule_remove(None)

    t = tasklet(body).set_context(contextvars.copy_context())()
    stackless.run()
    assert t.context_run(variable.get) == "inside"
    assert variable.get() == "main"
    t.run()


def test_suspended_context_run_leaves_the_context_entered():
    """15: entering it elsewhere is RuntimeError as usual; afterwards it can be entered again."""
    context = fresh("shared")

    def body():
        context.run(schedule_remove, None)

    t = tasklet(body)()
    stackless.run()
    assert variable.get() == "main"
    with pytest.raises(RuntimeError, match="cannot enter context"):
        context.run(int)
    t.run()
    assert context.run(variable.get) == "shared"


def test_interleaved_context_runs():
    """15: several tasklets inside Context.run at once, leaving in another order than entered."""
    seen = []

    def body(name, turns):
        def inside():
            variable.set(name)
            for _ in range(turns):
                schedule()
            return variable.get()

        seen.append((name, fresh(None).run(inside), variable.get()))

    tasklet(body)("a", 3)
    tasklet(body)("b", 1)
    tasklet(body)("c", 2)
    stackless.run()
    assert seen == [("b", "b", "main"), ("c", "c", "main"), ("a", "a", "main")]


def test_tokens_work_across_switches():
    """15: a token belongs to its context."""
    seen = []

    def body():
        token = variable.set("temporary")
        schedule()
        variable.reset(token)
        seen.append(variable.get())

    for _ in range(2):
        tasklet(body).set_context(contextvars.copy_context())()
    stackless.run()
    assert seen == ["main", "main"]


def test_uncaught_exception_inside_context_run():
    """15, 8.3: main's context is its own again where the exception arrives."""

    def fails():
        variable.set("lost")
        raise KeyError

    tasklet(lambda: fresh(None).run(fails))()
    with pytest.raises(KeyError):
        stackless.run()
    assert variable.get() == "main"


def test_kill_inside_context_run_leaves_it():
    """15, 8.1: the context can be entered again."""
    context = fresh("x")
    t = tasklet(lambda: context.run(schedule_remove, None))()
    stackless.run()
    t.kill()
    assert context.run(variable.get) == "x"
    assert variable.get() == "main"


def test_set_context_of_another_threads_tasklet():
    """15: RuntimeError if it is current or scheduled there; a paused one may be changed."""
    context, seen = fresh("given"), []

    def prepare(report):
        def body():
            report.send(variable.get("nothing"))

        return tasklet(body, ())

    owner = Owner(prepare)
    with pytest.raises(RuntimeError):
        owner.main.set_context(context)
    assert owner.tasklet.set_context(context) is owner.tasklet
    owner.tasklet.insert()
    seen.append(owner.result())
    assert seen == ["given"]
