"""Task groups: the block waits for its tasklets, errors come out together, and cancellation."""

import contextvars

import pytest
import stackless
from group_helpers import Log, fail, forever, group_with

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")


# ------------------------------------------------------------------ the usual end


def test_the_block_waits_for_all():
    log = Log()
    with stackless.TaskGroup() as group:
        a = group.start(log.sleeper, "a", 0.005)
        b = group.start(log.sleeper, "b", seconds=0.001)
        assert group.tasklets == [a, b]
        log.append("body")
    assert log == ["body", "b", "a"]
    assert (a.join(), b.join()) == ("a", "b")
    assert group.tasklets == []


def test_an_empty_group():
    with stackless.TaskGroup() as group:
        pass
    assert not group.cancelled


def test_it_starts_tasklets_and_nothing_else_is_changed():
    """They run in the order in which they were started, after the caller."""
    order = []
    with stackless.TaskGroup() as group:
        for i in range(3):
            group.start(order.append, i)
        assert order == []
        stackless.schedule()
        assert order == [0, 1, 2]


def test_tasklets_of_the_group_start_more():
    """The block waits for these too, also once it has begun to wait."""
    log = Log()

    def parent(depth):
        stackless.sleep(0.001)
        if depth:
            group.start(parent, depth - 1)
        log.append(depth)

    with stackless.TaskGroup() as group:
        group.start(parent, 3)
    assert log == [3, 2, 1, 0]


def test_context_variables_are_copied():
    seen = []

    def child():
        seen.append(VARIABLE.get())
        VARIABLE.set("child's")

    def body():
        VARIABLE.set("parent's")
        with stackless.TaskGroup() as group:
            group.start(child)
            group.start(child)
        seen.append(VARIABLE.get())

    contextvars.copy_context().run(body)
    assert seen == ["parent's", "parent's", "parent's"]


def test_name_is_for_the_tasklet():
    def child(value, **keywords):
        return value, keywords

    with stackless.TaskGroup() as group:
        tasklet = group.start(child, 1, name="first", other=2)
    assert tasklet.join() == (1, {"other": 2})


@pytest.mark.parametrize(
    ("arguments", "keywords"), [((), {}), ((1,), {}), ((print,), {"name": 1}), ((None,), {})]
)
def test_what_cannot_be_started(arguments, keywords):
    with stackless.TaskGroup() as group:
        with pytest.raises(TypeError):
            group.start(*arguments, **keywords)
        assert group.tasklets == []


def test_only_inside_the_block():
    group = stackless.TaskGroup()
    with pytest.raises(RuntimeError, match="inside `with`"):
        group.start(print)
    with group:
        pass
    with pytest.raises(RuntimeError, match="has ended"):
        group.start(print)
    with pytest.raises(RuntimeError, match="only once"):
        group.__enter__()


def test_groups_nest():
    log = Log()
    with stackless.TaskGroup() as outer:
        outer.start(log.sleeper, "outer", 0.01)
        with stackless.TaskGroup() as inner:
            inner.start(log.sleeper, "inner")
        log.append("between")
    assert log == ["inner", "between", "outer"]


# ------------------------------------------------------------------ errors


def test_the_first_failure_cancels_the_others_and_the_body():
    log = Log()
    with pytest.raises(ExceptionGroup) as caught:
        with stackless.TaskGroup() as group:
            group.start(log.sleeper, "sibling", 60)
            group.start(fail, ValueError("wrong"))
            try:
                forever()
            except stackless.Cancelled as error:
                assert error.scope is group
                log.append("body")
                raise
    (error,) = caught.value.exceptions
    assert type(error) is ValueError and error.args == ("wrong",)
    assert error.__traceback__ is not None
    assert log == ["body", ("sibling", stackless.Cancelled)]


def test_all_errors_come_out_together():
    """Those that cancelled tasklets raise, too."""

    def bad_clean_up():
        try:
            forever()
        finally:
            raise KeyError("clean-up")

    with pytest.raises(ExceptionGroup, match="errors in a task group") as caught:
        with stackless.TaskGroup() as group:
            group.start(bad_clean_up)
            group.start(fail, ValueError())
            group.start(fail, IndexError())
    assert [type(error) for error in caught.value.exceptions] == [ValueError, IndexError, KeyError]
    assert caught.value.__suppress_context__


def test_an_error_of_the_body_cancels_the_tasklets():
    log = Log()
    with pytest.raises(ExceptionGroup) as caught:
        with stackless.TaskGroup() as group:
            group.start(log.sleeper, "child", 60)
            stackless.schedule()
            raise ValueError("body")
    assert [error.args for error in caught.value.exceptions] == [("body",)]
    assert log == [("child", stackless.Cancelled)]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["child", "body"])
def test_exits_are_not_wrapped(kind, where):
    """What the others raise is its context."""
    log = Log()
    error = kind("stop")
    with pytest.raises(kind) as caught:
        with stackless.TaskGroup() as group:
            group.start(log.sleeper, "sibling", 60)
            group.start(fail, ValueError())
            if where == "child":
                group.start(fail, error)
                forever()
            else:
                stackless.schedule()
                raise error
    assert caught.value is error
    assert isinstance(error.__context__, ExceptionGroup)
    assert log == [("sibling", stackless.Cancelled)]


def test_other_base_exceptions_are_in_a_base_group():
    class Strange(BaseException):
        pass

    with pytest.raises(BaseExceptionGroup) as caught:
        with stackless.TaskGroup() as group:
            group.start(fail, Strange())
            group.start(fail, ValueError())
    assert not isinstance(caught.value, ExceptionGroup)


def test_errors_of_nested_groups_nest():
    with pytest.raises(ExceptionGroup) as caught:
        with stackless.TaskGroup() as outer:
            outer.start(group_with, fail, ValueError())
            forever()
    (inner,) = caught.value.exceptions
    assert isinstance(inner, ExceptionGroup)
    assert [type(error) for error in inner.exceptions] == [ValueError]


def test_join_raises_the_error_as_well():
    """In a tasklet outside of the group, and afterwards; the group fails all the same."""
    seen = []

    def observer():
        with pytest.raises(ValueError, match="wrong"):
            tasklets[0].join()
        seen.append(True)

    tasklets = []
    with pytest.raises(ExceptionGroup):
        with stackless.TaskGroup() as group:
            tasklets.append(
                group.start(lambda: stackless.sleep(0.001) or fail(ValueError("wrong")))
            )
            watching = stackless.tasklet(observer)()
    watching.join()
    with pytest.raises(ValueError, match="wrong"):
        tasklets[0].join()
    assert seen == [True]


def test_an_error_that_the_body_has_joined_is_there_once():
    with pytest.raises(ExceptionGroup) as caught:
        with stackless.TaskGroup() as group:
            child = group.start(fail, ValueError())
            with stackless.shield():
                child.join()
    assert [type(error) for error in caught.value.exceptions] == [ValueError]


def test_the_error_handler_is_not_asked():
    """The error belongs to the group."""
    told = []
    stackless.set_error_handler(lambda *error: told.append(error))
    with pytest.raises(ExceptionGroup):
        group_with(fail, ValueError())
    assert told == []


def test_a_killed_tasklet_just_ends():
    log = Log()
    with stackless.TaskGroup() as group:
        victim = group.start(log.sleeper, "victim", 60)
        unborn = group.start(log.sleeper, "unborn")
        unborn.kill()
        stackless.schedule()
        victim.kill()
        stackless.sleep(0.001)
    assert log == [("victim", stackless.TaskletExit)]
    assert victim.join() is None
    assert not group.cancelled


# ------------------------------------------------------------------ cancellation


def test_cancel_ends_the_block_without_an_error():
    log = Log()
    with stackless.TaskGroup() as group:
        child = group.start(log.sleeper, "child", 60)
        stackless.schedule()
        group.cancel("enough")
        assert log == []
        stackless.sleep(60)
        log.append("not reached")
    assert log == [("child", stackless.Cancelled)]
    assert group.reason == "enough" and group.cancelled
    assert child.join() is None


def test_a_tasklet_of_the_group_cancels_it():
    log = Log()
    with stackless.TaskGroup() as group:
        group.start(log.sleeper, "sibling", 60)
        group.start(group.cancel)
    assert log == [("sibling", stackless.Cancelled)]


def test_what_was_not_begun_begins_and_is_cancelled():
    """A tasklet that owns something can clean up. So it is in a group that was cancelled before."""
    log = Log()
    with stackless.TaskGroup() as group:
        group.start(log.sleeper, "before", 60)
        group.cancel()
        group.start(log.sleeper, "after", 60)
    assert log == [("before", stackless.Cancelled), ("after", stackless.Cancelled)]


def test_a_tasklet_that_swallows_it_gets_it_again():
    waits = []

    def stubborn():
        for i in range(5):
            try:
                forever()
            except stackless.Cancelled:
                waits.append(i)

    with stackless.TaskGroup() as group:
        group.start(stubborn)
        stackless.schedule()
        group.cancel()
    assert waits == [0, 1, 2, 3, 4]


def test_a_scope_around_cancels_the_tasklets():
    """With one exception for all, and the group passes it on."""
    log = Log()
    with stackless.move_on_after(0.01) as scope:
        with stackless.TaskGroup() as outer:
            outer.start(log.sleeper, "outer", 60)
            with stackless.TaskGroup() as inner:
                inner.start(log.sleeper, "inner", 60)
            log.append("not reached")
        log.append("not reached")
    assert scope.expired
    assert sorted(log, key=str) == [("inner", stackless.Cancelled), ("outer", stackless.Cancelled)]


def test_tasklets_of_tasklets_are_cancelled():
    log = Log()
    with stackless.TaskGroup() as group:
        group.start(group_with, group_with, group_with, log.sleeper, "leaf", 60)
        for _ in range(5):
            stackless.schedule()
        group.cancel()
    assert log == [("leaf", stackless.Cancelled)]


def test_errors_of_a_cancelled_group_come_out():
    """And the Cancelled of the scope around does not: the error passes that block."""

    def bad_clean_up():
        try:
            forever()
        finally:
            raise KeyError("clean-up")

    with pytest.raises(ExceptionGroup) as caught:
        with stackless.move_on_after(0.001):
            group_with(bad_clean_up)
    assert [type(error) for error in caught.value.exceptions] == [KeyError]


def test_a_group_whose_tasklets_had_ended_is_not_cancelled():
    """Nothing was left undone: what comes after the block goes on to the next wait."""
    done = []
    with stackless.CancelScope() as scope:
        with stackless.TaskGroup() as group:
            group.start(int)
            stackless.schedule()
            scope.cancel()
        done.append(True)
        stackless.sleep(1)
        done.append("not reached")
    assert done == [True]


def test_the_group_has_a_deadline():
    """It is a scope."""
    log = Log()
    with stackless.TaskGroup() as group:
        group.start(log.sleeper, "child", 60)
        group.deadline = 0
        forever()
    assert group.expired and log == [("child", stackless.Cancelled)]


def test_timeout_blocks_around_groups():
    """The time limit is over the tasklet; the group cancels its tasklets for it."""
    log = Log()
    with pytest.raises(stackless.TimeoutError):
        with stackless.timeout(0.01):
            group_with(log.sleeper, "child", 60)
    assert log == [("child", stackless.Cancelled)]
