"""stackless.selectors: they block only the calling tasklet, and asyncio runs on them."""

import asyncio
import concurrent.futures
import contextlib
import os
import selectors as stock
import threading

import pytest
import stackless
from stackless import select, selectors, socket

SELECTORS = [selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector]
EACH = pytest.mark.parametrize("kind", SELECTORS, ids=lambda kind: kind.__name__)


def test_has_all_names():
    """The names of the standard module; the default is the best class."""
    assert [name for name in dir(stock) if not hasattr(selectors, name)] == []
    assert selectors.DefaultSelector is selectors.EpollSelector
    assert selectors.EVENT_READ == stock.EVENT_READ
    with pytest.raises(AttributeError):
        getattr(selectors, "nonsense")  # noqa: B009


@EACH
def test_is_a_standard_one(kind):
    """For isinstance; subclasses can be made."""

    class Own(kind):
        pass

    with Own() as selector:
        assert isinstance(selector, getattr(stock, kind.__name__))
        assert isinstance(selector, stock.BaseSelector)
        assert selector.select(0) == []
        assert selector.select(-1) == []


@EACH
def test_server(kind):
    """The example of the standard documentation in a tasklet; its clients in other tasklets."""
    selector = kind()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    def accept(listener):
        connection, _ = listener.accept()
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ, echo)

    def echo(connection):
        if data := connection.recv(1000):
            connection.send(data)
        else:
            selector.unregister(connection)
            connection.close()
            served.append(1)

    def serve():
        selector.register(listener, selectors.EVENT_READ, accept)
        while len(served) < 20:
            for key, _ in selector.select():
                key.data(key.fileobj)

    def client(n):
        with socket.create_connection(listener.getsockname()) as connection:
            connection.sendall(b"%d" % n)
            stackless.sleep(0.002)
            return int(connection.recv(100))

    served = []
    stackless.run_tasklet(serve)
    for n in range(20):
        stackless.run_tasklet(client, n)
    assert stackless.run_all() == [None, *range(20)]
    selector.close()
    listener.close()


@EACH
def test_time_is_over(kind):
    """An empty list; other tasklets ran."""
    read, write = os.pipe()
    ran = []
    with kind() as selector:
        selector.register(read, selectors.EVENT_READ)
        stackless.tasklet(lambda: ran.append(1))()
        assert selector.select(0.005) == []
        assert ran
        os.write(write, b"x")
        [(key, events)] = selector.select()
        assert (key.fd, events) == (read, selectors.EVENT_READ)
    os.close(read)
    os.close(write)


@EACH
def test_killed_while_waiting(kind):
    """Nothing is left, and the selector can be used again."""
    read, write = os.pipe()
    with kind() as selector:
        selector.register(read, selectors.EVENT_READ)
        t = stackless.tasklet(selector.select)()
        stackless.schedule()
        t.kill()
        stackless.tasklet(os.write)(write, b"x")
        assert len(selector.select()) == 1
    os.close(read)
    os.close(write)


# ---------------------------------------------------------------------- asyncio


async def conversation():
    async def serve(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    async def ask(n, address):
        reader, writer = await asyncio.open_connection(*address)
        await asyncio.sleep(0.01)
        writer.write(b"hello %d\n" % n)
        answer = await reader.readline()
        writer.close()
        return answer

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        address = server.sockets[0].getsockname()
        answers = await asyncio.gather(*[ask(n, address) for n in range(5)])
    return answers, await asyncio.to_thread(threading.get_ident)


@EACH
def test_asyncio(kind):
    """Its event loop in one tasklet; the others of the thread run while it waits."""
    ticks = []

    def ticker():
        for n in range(10):
            stackless.sleep(0.001)
            ticks.append(n)

    def program():
        loop = asyncio.SelectorEventLoop(kind())
        try:
            found = loop.run_until_complete(conversation())
            return found, len(ticks)
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    stackless.run_tasklet(program)
    stackless.run_tasklet(ticker)
    ((answers, thread), during), _ = stackless.run_all()
    assert answers == [b"HELLO %d\n" % n for n in range(5)]
    assert thread != threading.get_ident()
    assert during > 0


def test_asyncio_woken_by_a_tasklet():
    """call_soon_threadsafe() from another tasklet ends the loop's wait."""
    loop = asyncio.SelectorEventLoop(selectors.DefaultSelector())
    future = loop.create_future()

    def wakes():
        stackless.sleep(0.002)
        loop.call_soon_threadsafe(future.set_result, "woken")

    stackless.tasklet(wakes)()
    assert loop.run_until_complete(future) == "woken"
    loop.close()


@EACH
def test_asyncio_awaits_a_result_that_a_tasklet_sets(kind):
    """Another tasklet of the thread sets the result of another library's future."""
    future = concurrent.futures.Future()
    seen = []

    async def awaits():
        here = asyncio.get_running_loop()
        found = await asyncio.wait_for(asyncio.wrap_future(future), 20)
        return found, asyncio.get_running_loop() is here

    def sets():
        stackless.sleep(0.01)
        seen.append(asyncio._get_running_loop())
        future.set_result("result")

    def program():
        loop = asyncio.SelectorEventLoop(kind())
        try:
            return loop.run_until_complete(awaits())
        finally:
            loop.close()

    stackless.run_tasklet(program)
    stackless.run_tasklet(sets)
    assert stackless.run_all() == [("result", True), None]
    assert seen == [None] and asyncio._get_running_loop() is None


def test_asyncio_is_cancelled_by_a_tasklet():
    """Cancelling a task of the loop also cancels the future that it awaits."""
    future = concurrent.futures.Future()

    async def awaits():
        task = asyncio.ensure_future(asyncio.wrap_future(future))
        started.append((asyncio.get_running_loop(), task))
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def cancels():
        stackless.sleep(0.01)
        loop, task = started[0]
        loop.call_soon_threadsafe(task.cancel)

    started = []
    loop = asyncio.SelectorEventLoop(selectors.DefaultSelector())
    stackless.tasklet(cancels)()
    loop.run_until_complete(awaits())
    loop.close()
    assert future.cancelled()


def test_killed_while_its_loop_waits():
    """Nothing is left of the loop."""
    loop = asyncio.SelectorEventLoop(selectors.DefaultSelector())
    t = stackless.tasklet(loop.run_forever)()
    stackless.schedule()
    t.kill()
    assert not t.alive and not loop.is_running()
    assert asyncio._get_running_loop() is None
    loop.close()


def test_selectors_use_stackless_select():
    """The classes wait with the functions of stackless.select."""
    assert selectors.SelectSelector._select is select.select
    assert selectors.PollSelector._selector_cls is select.poll
    assert selectors.EpollSelector._selector_cls is select.epoll
