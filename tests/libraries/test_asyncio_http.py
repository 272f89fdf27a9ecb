"""HTTP libraries for asyncio, unmodified, with tasklets beside them."""

import asyncio
import contextlib
import threading

import pytest
import stackless
from stackless import aio

httpx = pytest.importorskip("httpx")


@contextlib.contextmanager
def serving(serve):
    """Run the coroutine `serve(ports, stopped)` in a loop of its own; give its port."""
    ports, stopped = [], []
    tasklet = stackless.tasklet(aio.run)(serve(ports, stopped))
    while not ports:
        stackless.sleep(0.001)
    try:
        yield ports[0]
    finally:
        stopped.append(True)
        tasklet.join()


def test_aiohttp_server_and_clients_of_three_kinds(ticks):
    """aiohttp's and httpx's asynchronous clients in straight-line code, many at once."""
    aiohttp = pytest.importorskip("aiohttp")
    from aiohttp import web

    async def hello(request):
        await asyncio.sleep(0.02)
        return web.Response(text="hello " + request.match_info["name"])

    async def serve(ports, stopped):
        app = web.Application()
        app.router.add_get("/{name}", hello)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ports.append(runner.addresses[0][1])
        while not stopped:
            await asyncio.sleep(0.005)
        await runner.cleanup()

    async def connect():
        return httpx.AsyncClient(timeout=20, trust_env=False), aiohttp.ClientSession()

    async def fetch(session, url):
        async with session.get(url) as response:
            return await response.text()

    with serving(serve) as port:
        client, session = aio.wait(connect())
        url = f"http://127.0.0.1:{port}/"

        def by_httpx(name):
            return aio.wait(client.get(url + name)).text

        def by_aiohttp(name):
            return aio.wait(fetch(session, url + name))

        for number in range(40):
            stackless.run_tasklet(by_httpx, str(number))
            stackless.run_tasklet(by_aiohttp, str(number))
        assert stackless.run_all() == [f"hello {n}" for n in range(40) for _ in range(2)]
        aio.wait(client.aclose())
        aio.wait(session.close())
    assert ticks[0] > 10


def test_fastapi_handlers_in_tasklets(ticks):
    """200 blocking handlers at once, with blocking dependencies, on one thread."""
    fastapi = pytest.importorskip("fastapi")
    uvicorn = pytest.importorskip("uvicorn")
    app = fastapi.FastAPI()
    running, most = [], []

    def dependency():
        stackless.sleep(0.001)
        yield "dependency"

    @app.get("/blocking/{number}")
    def blocking(number: int, value: str = fastapi.Depends(dependency)):  # noqa: B008
        running.append(number)
        most.append(len(running))
        stackless.sleep(0.2)
        running.remove(number)
        return [number, value, aio.wait(asyncio.sleep(0.001, "awaited"))]

    @app.get("/coroutine/{number}")
    async def coroutine(number: int):
        return await aio.call(lambda: [stackless.sleep(0.001), number])

    async def serve(ports, stopped):
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
        task = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0.001)
        ports.append(server.servers[0].sockets[0].getsockname()[1])
        while not stopped:
            await asyncio.sleep(0.005)
        server.should_exit = True
        await task

    async def ask(port):
        limits = httpx.Limits(max_connections=300)
        async with httpx.AsyncClient(timeout=30, limits=limits, trust_env=False) as client:
            paths = [f"blocking/{n}" for n in range(200)] + [f"coroutine/{n}" for n in range(20)]
            asked = [client.get(f"http://127.0.0.1:{port}/{path}") for path in paths]
            return [response.json() for response in await asyncio.gather(*asked)]

    threads = threading.active_count()
    with aio.use_tasklets_for_threadpool(), serving(serve) as port:
        answers = aio.wait(ask(port))
        assert threading.active_count() == threads
    assert answers[:200] == [[number, "dependency", "awaited"] for number in range(200)]
    assert answers[200:] == [[None, number] for number in range(20)]
    assert max(most) > 100
    assert ticks[0] > 10


def test_the_thread_pool_of_anyio():
    """In a loop that stops all tasklets, threads are used as before; so they are afterwards."""
    anyio = pytest.importorskip("anyio")

    async def where():
        return await anyio.to_thread.run_sync(threading.get_native_id)

    async def limited():
        limiter = anyio.CapacityLimiter(2)
        calls = [anyio.to_thread.run_sync(stackless.sleep, 0.01, limiter=limiter) for _ in range(6)]
        at_once = []

        async def look():
            for _ in range(5):
                await asyncio.sleep(0.005)
                at_once.append(limiter.borrowed_tokens)

        await asyncio.gather(look(), *calls)
        return max(at_once)

    here = threading.get_native_id()
    with aio.use_tasklets_for_threadpool():
        assert aio.run(where()) == here
        assert asyncio.run(where()) != here
        assert aio.run(limited()) == 2
    assert aio.run(where()) != here
