"""Imports in several tasklets: no tasklet gets an incomplete module, as between threads."""

import importlib
import sys
import threading
import time

import pytest
import stackless
from child_process import assert_child
from stackless import monkey


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Writes modules that can be imported, and removes them at the end."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(**sources):
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture(params=[False, True], ids=["plain", "patched"])
def sleep(request):
    """The text of a call that waits, in the body of a module."""
    if not request.param:
        yield "import stackless; stackless.sleep(0.02)"
        return
    with monkey.patched():
        yield "import time; time.sleep(0.02)"


def imports(name):
    return importlib.import_module(name).value


def by_statement(name):
    found = {}
    exec(f"from {name} import value", found)
    return found["value"]


@pytest.mark.parametrize("how", [imports, by_statement])
def test_four_tasklets(modules, sleep, how):
    """The body runs once, and all wait for its end."""
    modules(slow=f"count = []\ncount.append(1)\n{sleep}\nvalue = len(count)\n")
    for _ in range(4):
        stackless.run_tasklet(how, "slow")
    assert stackless.run_all() == [1] * 4


def test_package(modules, sleep, tmp_path):
    """The body of a package waits, and its submodules are asked for meanwhile."""
    package = tmp_path / "parent"
    package.mkdir()
    (package / "__init__.py").write_text(f"{sleep}\nvalue = 1\n")
    (package / "child.py").write_text(f"from parent import value\n{sleep}\n")
    for name in ("parent", "parent.child", "parent.child", "parent"):
        stackless.run_tasklet(imports, name)
    assert stackless.run_all() == [1] * 4


def test_others_run_meanwhile(modules, sleep):
    modules(slow=f"{sleep}\nvalue = 1\n")
    turns = []

    def other():
        while "slow" not in sys.modules or not hasattr(sys.modules["slow"], "value"):
            turns.append(1)
            stackless.sleep(0.001)

    for _ in range(2):
        stackless.run_tasklet(imports, "slow")
    stackless.run_tasklet(other)
    stackless.run_all()
    assert turns


def test_error_in_the_body(modules, sleep):
    """After an error, the next tasklet runs the body again; the third one gets the module."""
    modules(
        attempts="count = []\n",
        failing=(
            f"import attempts\nattempts.count.append(1)\n{sleep}\n"
            "if len(attempts.count) < 3: raise KeyError(len(attempts.count))\nvalue = 1\n"
        ),
    )

    def tries():
        try:
            return imports("failing")
        except KeyError as error:
            return error.args[0]

    for _ in range(4):
        stackless.run_tasklet(tries)
    assert sorted(stackless.run_all()) == [1, 1, 1, 2]
    assert len(sys.modules["attempts"].count) == 3


def test_circular_in_one_tasklet(modules, sleep):
    """As with the standard lock: the inner import gets the module of the outer one, incomplete."""
    modules(
        first=f"early = 1\n{sleep}\nimport second\nvalue = second.value\n",
        second="import first\nfound = hasattr(first, 'value')\nvalue = first.early\n",
    )
    stackless.run_tasklet(imports, "first")
    assert stackless.run_all() == [1]
    assert sys.modules["second"].found is False


def test_circular_between_tasklets(modules, sleep):
    """No deadlock: one of the two gets a module that is not complete, as with threads."""
    modules(
        left=f"{sleep}\nimport right\n{sleep}\nvalue = 'left'\n",
        right=f"{sleep}\nimport left\n{sleep}\nvalue = 'right'\n",
    )
    for name in ("left", "right", "left", "right"):
        stackless.run_tasklet(imports, name)
    assert stackless.run_all() == ["left", "right"] * 2


def test_three_in_a_circle(modules, sleep):
    names = ["one", "two", "three"]
    modules(
        **{
            name: f"{sleep}\nimport {after}\n{sleep}\nvalue = {name!r}\n"
            for name, after in zip(names, names[1:] + names[:1], strict=True)
        }
    )
    for name in names:
        stackless.run_tasklet(imports, name)
    assert stackless.run_all() == names


def test_with_threads(modules, sleep):
    """Tasklets of two threads, a thread without tasklets, and this main tasklet."""
    modules(slow=f"count = []\ncount.append(1)\n{sleep}\n{sleep}\nvalue = len(count)\n")
    found = []

    def tasklets():
        for _ in range(3):
            stackless.run_tasklet(imports, "slow")
        found.extend(stackless.run_all())

    threads = [threading.Thread(target=tasklets) for _ in range(2)]
    threads += [threading.Thread(target=lambda: found.append(imports("slow"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    found.append(imports("slow"))
    for thread in threads:
        thread.join()
    assert found == [1] * 9


def test_thread_is_waited_for(modules):
    """One without tasklets has the module; the tasklets of another run meanwhile."""
    modules(slow="import time, gate\ngate.begun.set(); gate.open.wait(10)\nvalue = 1\n")
    modules(gate="import threading\nbegun, open = threading.Event(), threading.Event()\n")
    import gate

    thread = threading.Thread(target=imports, args=("slow",))
    thread.start()
    gate.begun.wait()

    def opens():
        stackless.sleep(0.01)
        gate.open.set()

    for _ in range(2):
        stackless.run_tasklet(imports, "slow")
    stackless.run_tasklet(opens)
    assert stackless.run_all() == [1, 1, None]
    thread.join()


def test_killed_while_it_waits(modules, sleep):
    """Both the one in the body and one that waits for it."""
    modules(slow=f"{sleep}\nvalue = 1\n")
    has, waits, other = (stackless.tasklet(imports)("slow") for _ in range(3))
    stackless.schedule()
    waits.kill()
    has.kill()
    stackless.run()
    assert not other.alive and imports("slow") == 1


def test_time_limit(modules, sleep):
    modules(slow=f"{sleep}\n{sleep}\n{sleep}\nvalue = 1\n")

    def in_vain():
        with pytest.raises(stackless.TimeoutError), stackless.timeout(0.01):
            imports("slow")

    stackless.run_tasklet(imports, "slow")
    stackless.run_tasklet(in_vain)
    assert stackless.run_all() == [1, None]


def test_body_that_runs_tasklets(modules):
    """It waits for them, and they import it: they get the incomplete module."""
    modules(
        program=(
            "import stackless\nvalue = 1\nfound = []\n"
            "def body():\n    import program\n    found.append(program.value)\n"
            "for _ in range(2): stackless.tasklet(body)()\n"
            "stackless.run()\nvalue = 2\n"
        )
    )
    assert imports("program") == 2
    assert sys.modules["program"].found == [1, 1]


def test_where_nothing_can_switch(modules, sleep):
    """A schedule callback gets the module as it is."""
    modules(slow=f"early = 1\n{sleep}\nvalue = 1\n")
    found = []

    def callback(before, after):
        if "slow" in sys.modules and not found:
            import slow

            found.append((slow.early, hasattr(slow, "value")))

    stackless.set_schedule_callback(callback)
    try:
        stackless.run_tasklet(imports, "slow")
        stackless.run_tasklet(stackless.sleep, 0.005)
        assert stackless.run_all() == [1, None]
    finally:
        stackless.set_schedule_callback(None)
    assert found == [(1, False)]


def test_interrupted_imports(modules):
    """Ticks may interrupt the import system at any point."""
    names = [f"many{n}" for n in range(30)]
    modules(
        **{
            name: f"for value in range({n % 7 + 1}): pass\nvalue = {n}\n"
            for n, name in enumerate(names)
        }
    )
    found = []

    def body():
        found.append([imports(name) for name in names])

    tasklets = [stackless.tasklet(body)() for _ in range(4)]
    until = time.monotonic() + 50
    while any(t.alive for t in tasklets) and time.monotonic() < until:
        interrupted = stackless.run(20)
        if interrupted is not None:
            interrupted.insert()
        else:
            stackless.schedule()
    assert found == [list(range(30))] * 4


def test_fork_in_the_body(tmp_path):
    """The tasklet in the body continues in the child, and so its lock stays valid."""
    (tmp_path / "slow.py").write_text("import stackless\nstackless.sleep(0.05)\nvalue = 1\n")
    assert_child(
        f"""
        import os, sys
        sys.path.insert(0, {str(tmp_path)!r})
        import stackless
        def imports():
            import slow
            return slow.value
        for _ in range(2):
            stackless.run_tasklet(imports)
        stackless.run(block=False)
        pid = os.fork()
        assert stackless.run_all() == [1, 1]
        if pid:
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            sys.stdout.flush()
        os._exit(0)
        """,
        prints="0",
    )
