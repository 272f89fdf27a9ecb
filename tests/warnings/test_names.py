"""The name and the number of a tasklet, and where they are shown."""

import traceback

import pytest
import stackless
from child_process import assert_child, in_child_process


def work():
    stackless.schedule()


def fail():
    raise ValueError("wrong")


def test_the_default_is_the_function_s():
    tasklet = stackless.tasklet(work)()
    assert tasklet.name == "work"
    stackless.schedule()
    assert tasklet.name == "work"
    stackless.run()
    assert tasklet.name == ""
    assert stackless.getmain().name == "main"


def test_set_and_taken_away():
    tasklet = stackless.tasklet(work)
    tasklet.name = "my name"
    tasklet()
    assert tasklet.name == "my name"
    assert repr(tasklet).endswith(": my name, runnable, not started>")
    tasklet.name = None
    assert tasklet.name == "work"
    tasklet.name = "again"
    stackless.run()
    assert tasklet.name == "again"


@pytest.mark.parametrize("name", [1, b"name", ["name"]])
def test_is_a_str(name):
    tasklet = stackless.tasklet(work)
    with pytest.raises(TypeError, match="must be a str or None"):
        tasklet.name = name
    with pytest.raises(AttributeError):
        del tasklet.name
    with pytest.raises(TypeError, match="must be a str"):
        stackless.run_tasklet(work, name=name)
    assert tasklet.name == "work"


def test_numbers_are_never_used_again():
    numbers = [stackless.tasklet(work).number for _ in range(5)]
    assert numbers == sorted(set(numbers))
    seen = []
    tasklet = stackless.tasklet(lambda: seen.append(stackless.getcurrentid()))()
    stackless.run()
    assert seen == [tasklet.number]
    with pytest.raises(AttributeError):
        stackless.getcurrent().number = 1


def test_given_at_the_start():
    tasklet = stackless.run_tasklet(work, name="run")
    assert tasklet.name == "run"
    with stackless.TaskGroup() as group:
        assert group.start(work, name="grouped").name == "grouped"
        assert group.start(work).name == "work"
    with stackless.TaskGroup(on_error="log") as group:
        assert group.start(work).name == "work"
    stackless.run_all()


def test_a_new_tasklet_has_no_name_of_an_old_one():
    """Their memory is used again."""
    for _ in range(3):
        tasklet = stackless.tasklet(work)
        assert tasklet.name == "work"
        tasklet.name = "old"
        del tasklet


def test_shown_in_snapshots():
    tasklet = stackless.tasklet(work)()
    tasklet.name = "shown"
    (info,) = [each for each in stackless.snapshot() if each.serial == tasklet.number]
    assert info.name == "shown"
    stackless.run()


@in_child_process
def test_shown_in_deadlock_notes():
    def waits():
        stackless.channel().receive()

    tasklet = stackless.tasklet(waits)()
    tasklet.name = "the waiting one"
    stackless.run()
    with pytest.raises(RuntimeError) as caught:
        stackless.channel().receive()
    assert f"tasklet {tasklet.number} 'the waiting one'" in caught.value.__notes__[0]


def test_shown_in_recordings(tmp_path):
    def program():
        tasklet = stackless.tasklet(work)
        tasklet.name = "recorded one"
        tasklet()
        stackless.run()

    with stackless.record(tmp_path / "recording.json"):
        program()
    assert "recorded one" in (tmp_path / "recording.json").read_text()


def test_an_uncaught_exception_has_a_note():
    tasklet = stackless.tasklet(fail)()
    with pytest.raises(ValueError, match="wrong") as caught:
        stackless.run()
    assert caught.value.__notes__ == [f"(in tasklet {tasklet.number} 'fail')"]
    named = stackless.tasklet(fail)()
    named.name = "named"
    with pytest.raises(ValueError, match="wrong") as caught:
        stackless.run()
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.endswith(f"ValueError: wrong\n(in tasklet {named.number} 'named')\n")


def test_notes_are_added():
    def noted():
        error = ValueError()
        error.add_note("first")
        raise error

    stackless.tasklet(noted)()
    with pytest.raises(ValueError) as caught:
        stackless.run()
    assert len(caught.value.__notes__) == 2


def test_errors_of_groups_have_notes():
    with pytest.raises(ExceptionGroup) as caught:
        with stackless.TaskGroup() as group:
            tasklet = group.start(fail, name="member")
    assert caught.value.exceptions[0].__notes__ == [f"(in tasklet {tasklet.number} 'member')"]


def test_exceptions_without_room_for_notes():
    class Strange(ValueError):
        __notes__ = ()

    def strange():
        raise Strange

    stackless.tasklet(strange)()
    with pytest.raises(Strange) as caught:
        stackless.run()
    assert caught.value.__notes__ == ()


# ------------------------------------------------------------------ functions that run nothing


def generator():
    yield


async def coroutine():
    pass


async def asynchronous_generator():
    yield


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (generator, "'generator' is a generator function"),
        (coroutine, "'coroutine' is defined with async"),
        (asynchronous_generator, "'asynchronous_generator' is defined with async"),
    ],
)
def test_a_function_that_runs_nothing(function, text):
    """The warning names the line, and nothing is made if it is an error."""
    for make in (stackless.tasklet, stackless.tasklet().bind, lambda f: stackless.tasklet(f, ())):
        with pytest.warns(stackless.StacklessWarning, match=text) as caught:
            make(function)
        assert caught[0].filename == __file__
    with stackless.TaskGroup() as group:
        with pytest.raises(stackless.StacklessWarning):
            group.start(function)
        assert group.tasklets == []
    assert issubclass(stackless.StacklessWarning, UserWarning)


def test_other_functions_do_not_warn():
    for function in (work, print, generator().__next__, lambda: (i for i in ())):
        stackless.tasklet(function)


# ------------------------------------------------------------------ at exit

PROGRAM = """
    import sys, stackless
    def waits(): stackless.channel().receive()
    def daemon(): stackless.sleep(60)
    def never(): pass
    t = stackless.tasklet(waits)(); t.name = "the waiting one"
    d = stackless.tasklet(daemon)(); d.daemon = True
    stackless.run()
    stackless.tasklet(never)()
    """


def test_at_exit():
    """Tasklets that wait or never ran are named, with their places; daemons are not."""
    child = {"env": {"STACKLESS_WARN": "1"}}
    assert_child(PROGRAM, complains="StacklessWarning: 2 tasklets have not ended at exit", **child)
    assert_child(PROGRAM, complains="'the waiting one': blocked receiving from channel", **child)
    assert_child(
        PROGRAM, complains="<string>:3 in waits, made at <string>:6 in <module>\n", **child
    )
    assert_child(
        PROGRAM,
        complains="'never': never ran, <string>:5 in never, made at <string>:9 in <module>\n",
        **child,
    )


def test_at_exit_is_off_by_default():
    assert_child(PROGRAM)
    assert_child("import stackless", env={"STACKLESS_WARN": "1"})


def test_at_exit_can_be_switched():
    on = "print(stackless.enable_exit_warnings(True), stackless.enable_exit_warnings(None))\n"
    off = "print(stackless.enable_exit_warnings(False), stackless.enable_exit_warnings(None))\n"
    assert_child(PROGRAM + on, prints="False True", complains="2 tasklets have not ended")
    assert_child(PROGRAM + off, prints="True False", env={"STACKLESS_WARN": "1"})
    assert_child(
        "import stackless; print(stackless.enable_exit_warnings(None))",
        prints="True",
        env={"PYTHONDEVMODE": "1"},
    )
    with pytest.raises(TypeError, match="None, a bool or an integer"):
        stackless.enable_exit_warnings("on")


def test_at_exit_with_many_tasklets():
    assert_child(
        """
        import stackless
        for _ in range(15):
            stackless.tasklet(print)()
        """,
        complains="  and 5 more",
        env={"STACKLESS_WARN": "1"},
    )
