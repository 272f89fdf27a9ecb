"""Clients of databases for asyncio, in the straight-line code of tasklets."""

import asyncio
import time

import pytest
import stackless
from stackless import aio


def test_redis(redis_port, ticks):
    """Commands, a pipeline, and a blocking pop that another tasklet's push ends."""
    redis = pytest.importorskip("redis.asyncio")
    client = redis.Redis(host="127.0.0.1", port=redis_port, decode_responses=True)

    def count(number):
        key = f"key {number}"
        for _ in range(10):
            aio.wait(client.incr(key))
        return aio.wait(client.get(key))

    async def pipeline():
        async with client.pipeline() as pipe:
            return await pipe.set("a", 1).get("a").delete("a").execute()

    def pop():
        return aio.wait(client.blpop("list", timeout=20))

    def push():
        stackless.sleep(0.02)
        aio.wait(client.rpush("list", "pushed"))

    for number in range(50):
        stackless.run_tasklet(count, number)
    assert stackless.run_all() == ["10"] * 50
    assert aio.wait(pipeline()) == [True, "1", 1]
    stackless.run_tasklet(pop)
    stackless.run_tasklet(push)
    assert stackless.run_all() == [("list", "pushed"), None]
    aio.wait(client.aclose())
    assert ticks[0] > 10


def test_asyncpg(postgresql_port, ticks):
    """A pool of 20 connections for 100 tasklets; a time limit in a query; a transaction."""
    asyncpg = pytest.importorskip("asyncpg")
    where = {"host": "127.0.0.1", "port": postgresql_port, "user": "postgres"}

    async def open_pool():
        return await asyncpg.create_pool(**where, min_size=20, max_size=20)

    async def transaction():
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("create temp table t (n int)")
            await connection.executemany("insert into t values ($1)", [(n,) for n in range(10)])
            return await connection.fetchval("select sum(n) from t")

    def sleeps(number):
        return aio.wait(pool.fetchval("select $1::int from pg_sleep(0.05)", number))

    pool = aio.wait(open_pool())
    for number in range(100):
        stackless.run_tasklet(sleeps, number)
    started = time.monotonic()
    assert stackless.run_all() == list(range(100))
    assert time.monotonic() - started < 100 * 0.05 / 2
    assert aio.wait(transaction()) == 45
    with pytest.raises(stackless.TimeoutError), stackless.timeout(0.05):
        aio.wait(pool.execute("select pg_sleep(20)"))
    assert sleeps(1) == 1
    aio.wait(asyncio.wait_for(pool.close(), 20))
    assert ticks[0] > 10
