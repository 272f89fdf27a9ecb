"""aio.EventLoop: asyncio beside tasklets."""

import asyncio
import os
import signal
import sys
import threading
import time

import pytest
import stackless
from stackless import aio


@pytest.fixture(params=[False, True], ids=["", "debug"])
def debug(request):
    return request.param


def test_tasklets_run_beside_a_busy_loop(debug):
    """They are not starved by callbacks that are always ready, nor are sleepers."""
    turns = []

    async def busy():
        while len(turns) < 50:
            await asyncio.sleep(0)

    def plain():
        for _ in range(25):
            turns.append("plain")
            stackless.schedule()

    def sleeper():
        for _ in range(25):
            stackless.sleep(0.0001)
            turns.append("sleeper")

    stackless.run_tasklet(plain)
    stackless.run_tasklet(sleeper)
    aio.run(busy(), debug=debug)
    stackless.run_all()


@pytest.mark.parametrize("how", ["call_soon", "call_later", "set_result", "create_task", "cancel"])
def test_tasklets_of_the_thread_call_its_methods(how, debug):
    """The loop, which waits without a limit, is woken."""
    loops = []

    async def program():
        loop = asyncio.get_running_loop()
        loops.extend([loop, loop.create_future(), asyncio.current_task()])
        try:
            return await loops[1]
        except asyncio.CancelledError:
            return "cancelled"

    def other():
        while not loops:
            stackless.sleep(0.001)
        stackless.sleep(0.001)
        loop, future, task = loops
        if how == "call_soon":
            loop.call_soon(future.set_result, how)
        elif how == "call_later":
            loop.call_later(0.002, future.set_result, how)
        elif how == "set_result":
            future.set_result(how)
        elif how == "create_task":
            loop.create_task(set_result(future))
        else:
            task.cancel()

    async def set_result(future):
        future.set_result(how)

    stackless.run_tasklet(other)
    assert aio.run(program(), debug=debug) == ("cancelled" if how == "cancel" else how)
    stackless.run_all()


def test_other_threads_use_call_soon_threadsafe():
    """In debug mode other calls of theirs are refused, as by asyncio."""

    async def program():
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def work():
            with pytest.raises(RuntimeError, match="Non-thread-safe"):
                loop.call_soon(print)
            loop.call_soon_threadsafe(future.set_result, "set")

        thread = threading.Thread(target=work)
        thread.start()
        result = await future
        await asyncio.to_thread(thread.join)
        return result

    assert aio.run(program(), debug=True) == "set"


def test_streams():
    """Servers and clients in several loops of one thread, and a tasklet that ticks beside them."""

    async def echo(reader, writer):
        while data := await reader.read(100):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def serve():
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            ports.append(server.sockets[0].getsockname()[1])
            while len(answers) < 5:
                await asyncio.sleep(0.001)

    async def talk(number):
        reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
        for _ in range(20):
            writer.write(b"%d" % number)
            answer = await reader.read(100)
        writer.close()
        await writer.wait_closed()
        answers.append(answer)

    def client(number):
        while not ports:
            stackless.sleep(0.001)
        aio.run(talk(number))

    ports, answers = [], []
    for number in range(5):
        stackless.run_tasklet(client, number)
    stackless.run_tasklet(aio.run, serve())
    stackless.run_all()
    assert sorted(answers) == [b"0", b"1", b"2", b"3", b"4"]


def test_subprocesses_and_signal_handlers():
    """In the main thread, as in any loop there."""

    async def program():
        loop = asyncio.get_running_loop()
        got = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, got.set_result, "signal")
        os.kill(os.getpid(), signal.SIGUSR1)
        await got
        loop.remove_signal_handler(signal.SIGUSR1)
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print('child')", stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await child.communicate()
        return got.result(), printed, child.returncode

    assert aio.run(program()) == ("signal", b"child\n", 0)


def test_time_outs_end_while_other_tasklets_compute():
    """A due timer of the loop waits for the others' turns only."""

    def computes():
        while not done:
            stackless.schedule()

    async def program():
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        done.append(time.monotonic() - started)

    done = []
    for _ in range(10):
        stackless.run_tasklet(computes)
    aio.run(program())
    stackless.run_all()


def test_keyboard_interrupt():
    """As with asyncio.run(): the main task is cancelled, then KeyboardInterrupt."""
    order = []

    async def program():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            order.append("cancelled")
            raise

    with pytest.raises(KeyboardInterrupt):
        aio.run(program())
    assert order == ["cancelled"]
