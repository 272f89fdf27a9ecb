"""asyncio together with tasklets, without what `stackless.aio` adds."""

import asyncio

import pytest
import stackless
from stackless import channel, schedule, tasklet


def test_asyncio_run_inside_a_tasklet():
    """It works, and other tasklets run before and after."""
    log = []

    async def child(number):
        await asyncio.sleep(0)
        return number * 2

    async def main():
        return await asyncio.gather(*(child(number) for number in range(5)))

    def body():
        log.append(asyncio.run(main()))

    tasklet(log.append)("before")
    tasklet(body)()
    tasklet(log.append)("after")
    stackless.run()
    assert log == ["before", [0, 2, 4, 6, 8], "after"]


def test_asyncio_run_in_one_tasklet_after_another():
    """An event loop that has ended leaves nothing behind."""
    results = []

    async def main(number):
        await asyncio.sleep(0)
        return number

    for number in range(3):
        tasklet(lambda number=number: results.append(asyncio.run(main(number))))()
    stackless.run()
    results.append(asyncio.run(main("main")))
    assert results == [0, 1, 2, "main"]


def test_tasklets_switch_inside_coroutines():
    """A coroutine may block its whole event loop on a channel; the other tasklets continue."""
    ch, log = channel(), []

    async def main():
        log.append(ch.receive())
        await asyncio.sleep(0)
        schedule()
        log.append(ch.receive())
        return "done"

    tasklet(lambda: log.append(asyncio.run(main())))()
    tasklet(ch.send_sequence)(["first", "second"])
    stackless.run()
    assert log == ["first", "second", "done"]


def test_second_asyncio_run_at_the_same_time():
    """The running loop belongs to the tasklet."""
    ch, log = channel(), []

    async def waits():
        log.append(ch.receive())
        return asyncio.get_running_loop()

    async def second():
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    first = tasklet(lambda: log.append(asyncio.run(waits())))()
    stackless.run()
    assert first.blocked
    log.append(asyncio.run(second()))
    ch.send("first loop goes on")
    stackless.run()
    assert log[1] == "first loop goes on" and len(log) == 3 and log[0] is not log[2]


def test_exception_out_of_asyncio_run():
    """It reaches the tasklet and, uncaught, main."""

    async def fails():
        await asyncio.sleep(0)
        raise KeyError("from the coroutine")

    tasklet(lambda: asyncio.run(fails()))()
    with pytest.raises(KeyError, match="from the coroutine"):
        stackless.run()


def test_kill_inside_a_running_loop():
    """TaskletExit leaves the loop closed; another can be run at once."""
    ch = channel()

    async def waits():
        ch.receive()

    async def answers():
        return 42

    t = tasklet(lambda: asyncio.run(waits()))()
    stackless.run()
    t.kill()
    assert not t.alive and ch.balance == 0
    assert asyncio.run(answers()) == 42


def test_tasklets_made_inside_a_coroutine():
    """They run when the coroutine lets them, in the context of the coroutine."""
    log = []

    async def main():
        tasklet(log.append)("made in a coroutine")
        schedule()
        log.append("coroutine")

    asyncio.run(main())
    assert log == ["made in a coroutine", "coroutine"]
    stackless.run()
