"""Where a tasklet was made: kept while that is on, shown in notes and in the warning at exit."""

import sys

import pytest
import stackless
from child_process import assert_child, in_child_process


@pytest.fixture
def tracking():
    old = stackless.enable_origin_tracking(True)
    yield
    stackless.enable_origin_tracking(old)


def work():
    pass


def fail():
    raise ValueError("wrong")


def line():
    return sys._getframe(1).f_lineno


def assert_here(origin, number, function):
    file, at, name = origin
    assert (file, at) == (__file__, number)
    assert name.endswith(function)


def test_off_by_default():
    tasklet = stackless.tasklet(work)()
    assert tasklet.origin is None
    stackless.run()


WAYS = {
    "call": lambda: (stackless.tasklet(work)(), line()),
    "setup": lambda: (stackless.tasklet(work).setup(), line()),
    "bind": lambda: (stackless.tasklet().bind(work, ()), line()),
    "run_tasklet": lambda: (stackless.run_tasklet(work), line()),
}


@pytest.mark.usefixtures("tracking")
@pytest.mark.parametrize("way", WAYS)
def test_is_where_it_was_bound(way):
    tasklet, number = WAYS[way]()
    assert_here(tasklet.origin, number, "<lambda>")
    stackless.run()
    assert_here(tasklet.origin, number, "<lambda>")


@pytest.mark.usefixtures("tracking")
def test_is_outside_of_the_package():
    """Python code of the package that makes a tasklet is not its origin."""
    with stackless.TaskGroup(restart=True) as group:
        grouped, number = group.start(work), line()
        assert_here(grouped.origin, number, "outside_of_the_package")
    origins, number = list(stackless.map(lambda _: stackless.getcurrent().origin, [1])), line()
    assert_here(origins[0], number, "outside_of_the_package")
    with stackless.TaskletExecutor(1) as executor:
        future, number = executor.submit(lambda: stackless.getcurrent().origin), line()
        assert_here(future.result(), number, "outside_of_the_package")


@pytest.mark.usefixtures("tracking")
def test_the_last_binding_counts():
    tasklet = stackless.tasklet(work)
    tasklet(), line()
    number = line()
    assert_here(tasklet.origin, number - 1, "counts")
    stackless.run()
    tasklet.bind(fail)
    number = line()
    assert_here(tasklet.origin, number - 1, "counts")


@pytest.mark.usefixtures("tracking")
def test_with_a_name():
    """The name and the origin do not touch one another."""
    tasklet, number = stackless.tasklet(work)(), line()
    tasklet.name = "named"
    assert tasklet.name == "named"
    assert_here(tasklet.origin, number, "a_name")
    tasklet.name = None
    assert tasklet.name == "work"
    assert_here(tasklet.origin, number, "a_name")
    stackless.run()
    with stackless.TaskGroup() as group:
        named, number = group.start(work, name="member"), line()
    assert named.name == "member"
    assert_here(named.origin, number, "a_name")


@pytest.mark.usefixtures("tracking")
def test_a_new_tasklet_has_no_old_origin():
    for _ in range(5):
        tasklet = stackless.tasklet(work)()
        stackless.run()
        assert tasklet.origin is not None
        del tasklet
    stackless.enable_origin_tracking(False)
    assert stackless.tasklet(work)().origin is None
    stackless.run()


def test_cannot_be_set():
    with pytest.raises(AttributeError):
        stackless.tasklet(work).origin = ("a", 1, "b")


@pytest.mark.usefixtures("tracking")
def test_from_code_without_python_calls():
    """A tasklet whose function is C code makes another one: the origin is unknown."""
    inner = stackless.tasklet()
    stackless.tasklet(inner.bind)(work, ())
    stackless.run()
    assert inner.origin is None
    inner.kill()


@pytest.mark.usefixtures("tracking")
def test_in_the_note():
    tasklet, number = stackless.tasklet(fail)(), line()
    with pytest.raises(ValueError, match="wrong") as caught:
        stackless.run()
    place = f"made at {__file__}:{number} in test_in_the_note"
    assert caught.value.__notes__ == [f"(in tasklet {tasklet.number} 'fail', {place})"]


def test_setting():
    assert stackless.enable_origin_tracking(None) is False
    assert stackless.enable_origin_tracking(True) is False
    assert stackless.enable_origin_tracking(False) is True
    with pytest.raises(TypeError, match="None, a bool or an integer"):
        stackless.enable_origin_tracking("on")
    program = "import stackless; print(stackless.enable_origin_tracking(None))"
    assert_child(program, prints="True", env={"PYTHONDEVMODE": "1"})
    assert_child(program, prints="True", env={"STACKLESS_WARN": "1"})
    assert_child(program, prints="False", env={"PYTHONDEVMODE": "1", "STACKLESS_WARN": "0"})


LEFT = """
    import threading, time
    import stackless
    threading.Thread(target=time.sleep, args=(60,), daemon=True, name="a thread").start()
    time.sleep(0)
    stackless.tasklet(print)()
    """


def test_at_exit(tmp_path):
    """Under the runner the warning is on, names origins, and leaves threads to `threading`."""
    assert_child(
        LEFT,
        complains="'print': never ran, made at <string>:6 in <module>\n",
        env={"STACKLESS_WARN": "1"},
    )
    program = tmp_path / "program.py"
    program.write_text(LEFT.replace("\n    ", "\n"))
    run = f"""
        import sys
        from stackless._run import cli
        cli.main([{str(program)!r}])
        """
    complains = f"a tasklet has not ended at exit (was run() called, are all channels served?):\n\
  tasklet 3 'print': never ran, made at {program}:6 in <module>\n"
    assert_child(run, complains=complains)
    assert_child(run, env={"STACKLESS_WARN": "0"})


@in_child_process
def test_tracking_does_not_leak():
    """The memory of origins goes with the tasklets."""
    import tracemalloc

    import stackless

    stackless.enable_origin_tracking(True)

    def make(count):
        for _ in range(count):
            stackless.tasklet(len)("")
            stackless.run()

    make(100)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    make(1000)
    assert tracemalloc.get_traced_memory()[0] - before < 10_000
