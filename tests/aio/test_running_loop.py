"""The running event loop, its task and what it sets in the thread belong to its tasklet."""

import asyncio
import gc
import sys
import threading
import weakref

import pytest
import stackless
from child_process import assert_child
from stackless import aio, selectors


def new_loop():
    return asyncio.SelectorEventLoop(selectors.DefaultSelector())


def run(coroutine, **options):
    with asyncio.Runner(loop_factory=new_loop, **options) as runner:
        return runner.run(coroutine)


def test_a_hundred_loops_in_one_thread():
    """Each coroutine finds its own loop and task after each kind of wait."""

    async def program(number):
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        for _ in range(3):
            await asyncio.sleep(0.001)
            stackless.schedule()
            assert asyncio.get_running_loop() is loop
            assert asyncio.current_task() is task
        return number

    for number in range(100):
        stackless.run_tasklet(run, program(number))
    assert stackless.run_all() == list(range(100))


def test_other_tasklets_see_no_loop():
    """Whether the loop waits for files, or a coroutine makes the loop's tasklet wait."""
    seen = []

    async def program():
        await asyncio.sleep(0.005)
        stackless.sleep(0.005)
        await asyncio.sleep(0.005)

    def look():
        while loop_tasklet.alive:
            seen.append((asyncio._get_running_loop(), sys.get_asyncgen_hooks()[0]))
            stackless.sleep(0.001)

    loop_tasklet = stackless.run_tasklet(run, program(), debug=True)
    stackless.run_tasklet(look)
    stackless.run_all()
    assert len(seen) > 3
    assert set(seen) == {(None, None)}


def test_a_tasklet_in_a_coroutine_may_run_a_loop():
    """A loop inside a loop is refused in one tasklet, not in two."""

    async def inner():
        await asyncio.sleep(0.001)
        return asyncio.current_task()

    async def outer():
        loop = asyncio.get_running_loop()
        with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
            asyncio.run(refused := inner())
        refused.close()
        other = stackless.tasklet(run)(inner())
        task = other.join()
        assert asyncio.get_running_loop() is loop
        return task is not asyncio.current_task()

    assert run(outer())


def test_asynchronous_generators_belong_to_the_loop_that_iterates():
    """Each loop closes its own ones, also if loops begin and end in turns."""
    closed = []

    async def values(name):
        try:
            yield 1
            yield 2
        finally:
            closed.append((name, asyncio.get_running_loop()))

    async def program(name, seconds):
        generator = values(name)
        async for _ in generator:
            break
        await asyncio.sleep(seconds)
        kept.append(generator)
        return name, asyncio.get_running_loop()

    kept = []
    stackless.run_tasklet(run, program("long", 0.02))
    stackless.run_tasklet(run, program("short", 0.005))
    results = stackless.run_all()
    assert sorted(closed, key=str) == sorted(results, key=str)
    assert sys.get_asyncgen_hooks() == (None, None)


def test_hooks_of_the_program_stay_with_the_thread():
    """Tasklets without a loop share them, as without this package; loops restore them."""
    begun = []

    async def values():
        yield 1

    async def program():
        await asyncio.sleep(0.002)

    def iterate():
        stackless.sleep(0.001)
        with pytest.raises(StopIteration):
            values().__anext__().send(None)

    sys.set_asyncgen_hooks(begun.append, None)
    try:
        run(program())
        assert sys.get_asyncgen_hooks()[0] == begun.append
        stackless.run_tasklet(iterate)
        stackless.run_all()
    finally:
        sys.set_asyncgen_hooks(None, None)
    assert len(begun) == 1


def test_a_tasklet_that_ends_with_a_running_loop():
    """The next tasklet does not get it; the loop is released."""
    loop = new_loop()

    def careless(loop):
        sys.set_asyncgen_hooks(print, print)
        asyncio._set_running_loop(loop)
        stackless.schedule()
        assert asyncio._get_running_loop() is loop

    stackless.run_tasklet(careless, loop)
    stackless.run_all()
    assert asyncio._get_running_loop() is None
    assert sys.get_asyncgen_hooks() == (None, None)
    loop.close()
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None


class PausingSelector(selectors.DefaultSelector):
    """Pauses its tasklet instead of waiting."""

    def select(self, timeout=None):
        if timeout is None:
            stackless.schedule_remove()
        return super().select(0)


@pytest.mark.parametrize("end", ["kill", "drop"])
def test_a_tasklet_that_is_ended_while_its_loop_waits(end):
    """The loop is released, and nothing of it is left in the thread."""
    loops = []

    def body():
        loop = asyncio.SelectorEventLoop(PausingSelector())
        loops.append(weakref.ref(loop))
        try:
            loop.run_forever()
        finally:
            loop.close()

    tasklet = stackless.tasklet(body)()
    tasklet.run()
    assert (asyncio._get_running_loop(), sys.get_asyncgen_hooks()[0]) == (None, None)
    if end == "kill":
        tasklet.kill()
    else:
        for resource in (loop := loops[0]())._selector, loop._ssock, loop._csock:
            resource.close()
        loop._closed = True
        del loop, resource
    del tasklet
    gc.collect()
    assert (asyncio._get_running_loop(), sys.get_asyncgen_hooks()[0]) == (None, None)
    assert loops[0]() is None


def test_threads():
    """Loops in tasklets of several threads at once."""

    async def program(number):
        await asyncio.sleep(0.002)
        stackless.schedule()
        await asyncio.sleep(0.002)
        return number

    def work(results):
        for number in range(5):
            stackless.run_tasklet(run, program(number))
        results.append(stackless.run_all())

    results = []
    threads = [threading.Thread(target=work, args=(results,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [list(range(5))] * 5


def test_a_future_of_a_loop_in_another_tasklet():
    """Its result, set by another tasklet as if by another thread, wakes the loop."""

    async def program():
        futures.append(asyncio.get_running_loop().create_future())
        return await futures[0]

    def sets():
        while not futures:
            stackless.sleep(0.001)
        future = futures[0]
        future.get_loop().call_soon_threadsafe(future.set_result, "set")

    futures = []
    stackless.run_tasklet(run, program())
    stackless.run_tasklet(sets)
    assert stackless.run_all() == ["set", None]


def test_the_pure_python_parts_of_asyncio_need_no_import_of_this_package_first():
    """asyncio may be imported before or after, and not at all."""
    for imports in ("import asyncio, stackless", "import stackless, asyncio"):
        assert_child(
            imports
            + """
from stackless import selectors
async def program():
    await asyncio.sleep(0.01)
    return asyncio.current_task() is not None
def body():
    factory = lambda: asyncio.SelectorEventLoop(selectors.DefaultSelector())
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(program())
stackless.run_tasklet(body)
stackless.run_tasklet(body)
print(*stackless.run_all())
""",
            prints="True True",
        )
    assert_child("import stackless, sys; print('asyncio' in sys.modules)", prints="False")


def test_the_loop_of_this_package_is_as_the_others():
    """aio.run() in many tasklets."""

    async def program(number):
        await asyncio.sleep(0.001)
        return number

    for number in range(20):
        stackless.run_tasklet(aio.run, program(number))
    assert stackless.run_all() == list(range(20))
