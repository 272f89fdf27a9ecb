"""aio.call(): a coroutine awaits a function that runs in a tasklet."""

import asyncio
import contextvars
import functools
import traceback

import pytest
import stackless
from stackless import aio, selectors


def after(seconds, value):
    stackless.sleep(seconds)
    if isinstance(value, BaseException):
        raise value
    return value


def in_loop(test):
    """Run a test that is a coroutine function."""

    @functools.wraps(test)
    def run():
        aio.run(asyncio.wait_for(test(), 20))

    return run


@in_loop
async def test_result_and_exception():
    """They cross, tracebacks included."""
    assert await aio.call(after, 0.001, value="v") == "v"
    with pytest.raises(KeyError) as caught:
        await aio.call(after, 0, KeyError("k"))
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[0] == "test_result_and_exception" and names[-1] == "after"
    with pytest.raises(RuntimeError, match="raised StopIteration") as caught:
        await aio.call(after, 0, StopIteration(1))
    assert isinstance(caught.value.__cause__, StopIteration)
    with pytest.raises(TypeError, match="a callable is needed, not int"):
        await aio.call(1)


@in_loop
async def test_many_at_once():
    """The loop and the other calls run meanwhile."""
    ch = stackless.channel()
    receiving = [asyncio.ensure_future(aio.call(ch.receive)) for _ in range(100)]
    await asyncio.sleep(0.001)
    assert ch.balance == -100
    await aio.call(ch.send_sequence, range(100))
    assert await asyncio.gather(*receiving) == list(range(100))


@in_loop
async def test_context():
    """The function has a copy of the caller's."""
    variable = contextvars.ContextVar("variable")
    variable.set("caller's")

    def body():
        seen = variable.get()
        variable.set("its own")
        stackless.sleep(0.001)
        return seen, variable.get()

    assert await aio.call(body) == ("caller's", "its own")
    assert variable.get() == "caller's"


@in_loop
async def test_no_loop_runs_in_the_tasklet():
    """It may run one, or wait for coroutines, which use the caller's loop."""

    async def program():
        await asyncio.sleep(0.001)
        return asyncio.get_running_loop()

    def body():
        assert asyncio._get_running_loop() is None
        return aio.wait(program()), aio.run(program())

    here = asyncio.get_running_loop()
    there, own = await aio.call(body)
    assert there is here and own is not here


@in_loop
async def test_both_ways_to_some_depth():
    """A coroutine calls a function that waits for a coroutine that calls ..."""

    async def down(depth):
        await asyncio.sleep(0)
        return depth if depth == 0 else 1 + await aio.call(up, depth - 1)

    def up(depth):
        stackless.schedule()
        return aio.wait(down(depth))

    assert await down(30) == 30


@in_loop
async def test_cancelling():
    """TaskletExit in the function, and CancelledError when it has ended."""
    order = []

    def body():
        try:
            stackless.channel().receive()
        except stackless.TaskletExit:
            stackless.sleep(0.002)
            order.append("ended")
            raise

    task = asyncio.ensure_future(aio.call(body))
    await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert order == ["ended"]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(aio.call(body), 0.002)
    assert order == ["ended"] * 2


def test_cancelling_before_it_begins():
    """Then it does not begin. (In a loop that lets no tasklet run while it is busy.)"""
    begun = []

    async def program():
        task = asyncio.ensure_future(aio.call(begun.append, 1))
        await asyncio.sleep(0)  # the task has called; the tasklet has not run
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    factory = lambda: asyncio.SelectorEventLoop(selectors.DefaultSelector())  # noqa: E731
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(program())
    stackless.run()
    assert begun == []


@in_loop
async def test_a_function_that_refuses_to_be_cancelled():
    """Its result is dropped; its exception is not."""

    def body(end):
        with pytest.raises(stackless.TaskletExit):
            stackless.sleep(60)
        return after(0.001, end)

    for end, kind in ("a result", asyncio.CancelledError), (KeyError("k"), KeyError):
        task = asyncio.ensure_future(aio.call(body, end))
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(kind):
            await task


@in_loop
async def test_a_function_that_is_killed():
    """The await is cancelled."""
    found = []

    def body():
        found.append(stackless.getcurrent())
        stackless.sleep(60)

    task = asyncio.ensure_future(aio.call(body))
    while not found:
        await asyncio.sleep(0.001)
    found[0].kill()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_loop_that_stops_all_tasklets():
    """The function would never run: an error says what to use."""

    async def program():
        with pytest.raises(RuntimeError, match="stackless.aio.run"):
            await aio.call(after, 0, 1)

    asyncio.run(program())


def test_outside_a_loop():
    """As anything that needs one."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        aio.call(int).send(None)
