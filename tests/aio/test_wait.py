"""aio.wait(): a tasklet waits for something awaitable."""

import asyncio
import contextvars
import gc
import threading
import traceback

import pytest
import stackless
from child_process import assert_child
from stackless import aio


async def after(seconds, value):
    await asyncio.sleep(seconds)
    if isinstance(value, BaseException):
        raise value
    return value


class Awaitable:
    def __await__(self):
        yield from asyncio.sleep(0.001).__await__()
        return "awaited"


@pytest.mark.parametrize("seconds", [0, 0.001])
def test_result_and_exception(seconds):
    """Of a coroutine that waits, and of one that hardly does."""
    assert aio.wait(after(seconds, "v")) == "v"
    with pytest.raises(KeyError) as caught:
        aio.wait(after(seconds, KeyError("k")))
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[0] == "test_result_and_exception" and names[-1] == "after"


def test_a_coroutine_that_does_not_wait():
    """It finds its loop and a task, and asynchronous generators belong to that loop."""

    async def values():
        yield asyncio.current_task()

    async def program():
        async for task in values():
            return asyncio.get_running_loop(), task

    loop, task = aio.wait(program())
    again, other = aio.wait(program())
    assert loop is again and task is not other and task.done()


def test_kinds_of_awaitables():
    """Objects with __await__, asend() of generators, tasks and futures."""

    async def values():
        yield 1
        await asyncio.sleep(0.001)
        yield 2

    async def start():
        return asyncio.ensure_future(after(0.002, "task"))

    assert aio.wait(Awaitable()) == "awaited"
    generator = values()
    assert [aio.wait(anext(generator)), aio.wait(generator.asend(None))] == [1, 2]
    aio.wait(generator.aclose())
    task = aio.wait(start())
    assert aio.wait(task) == "task" and aio.wait(task) == "task"
    for wrong in (1, None, after, values()):
        with pytest.raises(TypeError, match=f"not {type(wrong).__name__}"):
            aio.wait(wrong)


def test_only_the_caller_waits():
    """The others run meanwhile, and wait for coroutines themselves."""
    order = []

    def body(number):
        order.append(aio.wait(after(0.02 - number / 1000, number)))

    for number in range(10):
        stackless.run_tasklet(body, number)
    stackless.run_tasklet(lambda: order.append("plain"))
    stackless.run_all()
    assert order == ["plain", *reversed(range(10))]


@pytest.mark.parametrize("seconds", [0, 0.001])
def test_context_variables_cross(seconds):
    """The coroutine sees the caller's, and the caller what the coroutine sets."""
    one, two = contextvars.ContextVar("one"), contextvars.ContextVar("two", default="unset")

    async def program():
        seen = one.get()
        one.set("from the coroutine")
        await asyncio.sleep(seconds)
        two.set("later")
        return seen

    def body():
        one.set("from the tasklet")
        assert aio.wait(program()) == "from the tasklet"
        return one.get(), two.get()

    assert contextvars.copy_context().run(body) == ("from the coroutine", "later")
    assert two.get() == "unset"


@pytest.mark.parametrize("how", ["timeout", "kill", "throw", "group"])
def test_a_wait_that_is_ended_cancels(how):
    """What the coroutine does about it comes first."""
    order = []

    async def program():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.002)
            order.append("cancelled")
            raise

    def body():
        try:
            if how == "timeout":
                with stackless.timeout(0.005):
                    aio.wait(program())
            else:
                aio.wait(program())
        except BaseException as error:
            order.append(type(error).__name__)

    def in_group():
        with stackless.TaskGroup() as group:
            group.start(body)
            stackless.sleep(0.003)
            group.cancel()

    tasklet = stackless.run_tasklet(in_group if how == "group" else body)
    stackless.sleep(0.001)
    if how == "kill":
        tasklet.kill(pending=True)
    elif how == "throw":
        tasklet.throw(KeyError, pending=True)
    stackless.run_all()
    names = {"timeout": "TimeoutError", "kill": "TaskletExit", "throw": "KeyError"}
    assert order == ["cancelled", names.get(how, "Cancelled")]


def test_a_second_exception_ends_the_wait_for_the_cancelled_task():
    """Such a task may refuse to end."""
    stop = []

    async def stubborn():
        while not stop:
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                pass

    def body():
        with pytest.raises(KeyError):
            aio.wait(stubborn())
        stop.append(True)

    tasklet = stackless.run_tasklet(body)
    stackless.sleep(0.001)
    tasklet.throw(ValueError, pending=True)
    stackless.sleep(0.005)
    assert tasklet.alive
    tasklet.throw(KeyError, pending=True)
    stackless.run_all()
    aio.wait(asyncio.sleep(0.005))


def test_a_cancelled_task():
    """CancelledError, as `await` raises it."""

    async def program():
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    with pytest.raises(asyncio.CancelledError):
        aio.wait(program())


@pytest.mark.parametrize("seconds", [0, 0.001])
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_exceptions_that_end_loops(kind, seconds):
    """They are raised in the tasklet that waits; the loop goes on."""

    async def background():
        await asyncio.sleep(0.005)
        done.append(True)

    async def program():
        tasks.append(asyncio.ensure_future(background()))
        return await after(seconds, kind("end"))

    done, tasks = [], []
    with pytest.raises(kind, match="end"):
        aio.wait(program())
    aio.wait(tasks[0])
    assert done == [True]


def test_tasks_go_on_after_the_wait():
    """What a coroutine has started runs while tasklets of the thread run or sleep."""

    async def background():
        await asyncio.sleep(0.002)
        done.append(asyncio.current_task())

    async def start():
        return asyncio.ensure_future(background())

    done = []
    task = aio.wait(start())
    stackless.sleep(0.02)
    assert done == [task]


def test_futures():
    """Set by another tasklet, by a loop in another tasklet, and by a loop in another thread."""

    async def program(ready):
        task = asyncio.ensure_future(after(0.01, threading.get_native_id()))
        ready.append(task)
        await task
        await asyncio.sleep(0.01)

    ready = []
    stackless.run_tasklet(aio.run, program(ready))
    while not ready:
        stackless.schedule()
    assert aio.wait(ready[0]) == threading.get_native_id()
    stackless.run_all()

    ready = []
    thread = threading.Thread(target=asyncio.run, args=(program(ready),))
    thread.start()
    while not ready:
        stackless.sleep(0.001)
    assert aio.wait(ready[0]) == thread.native_id
    thread.join()


def test_a_future_of_another_thread_is_cancelled_there():
    """As by the other thread itself."""

    async def program(ready):
        ready.append(asyncio.current_task())
        await asyncio.sleep(60)

    def work():
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(program(ready))

    ready = []
    thread = threading.Thread(target=work)
    thread.start()
    while not ready:
        stackless.sleep(0.001)
    with pytest.raises(stackless.TimeoutError), stackless.timeout(0.002):
        aio.wait(ready[0])
    thread.join()
    assert ready[0].cancelled()


def test_in_a_coroutine_it_is_refused():
    """The coroutine would block its own loop; nothing is left unawaited."""

    async def program():
        with pytest.raises(RuntimeError, match="use await instead"):
            aio.wait(after(0, 1))
        return "refused"

    assert aio.run(program()) == "refused"
    assert aio.wait(program()) == "refused"
    gc.collect()


def test_threads_have_loops_of_their_own():
    """They end with the thread, and cancel what runs in them."""

    async def program():
        task = asyncio.ensure_future(background())
        tasks.append(task)
        await asyncio.sleep(0.001)
        return asyncio.get_running_loop()

    async def background():
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.append(True)

    def work():
        loops.append(aio.wait(program()))
        assert aio.wait(program()) is loops[-1]

    loops, tasks, cancelled = [], [], []
    for _ in range(3):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(set(map(id, loops))) == 3
    assert all(loop.is_closed() for loop in loops)
    assert cancelled == [True] * 6 and all(task.cancelled() for task in tasks)


def test_exit_cancels_tasks():
    """As asyncio.run() does; without warnings."""
    assert_child(
        """
        import asyncio, stackless
        from stackless import aio
        async def background():
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.001)
                print("cancelled")
        async def program():
            global task
            task = asyncio.ensure_future(background())
            await asyncio.sleep(0)
            return "result"
        print(aio.wait(program()))
        """,
        prints="result cancelled",
    )


def test_fork():
    """The child has a loop of its own; the parent's goes on."""
    assert_child(
        """
        import asyncio, os, stackless
        from stackless import aio
        async def program(text):
            await asyncio.sleep(0.01)
            print(text, flush=True)
        aio.wait(program("before"))
        pid = os.fork()
        if pid == 0:
            aio.wait(program("child"))
            raise SystemExit
        os.waitpid(pid, 0)
        aio.wait(program("parent"))
        """,
        prints="before child parent",
    )
