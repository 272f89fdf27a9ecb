"""Locks and queues: without a wait, and from one tasklet to another."""

import queue
import threading
from collections.abc import Callable
from itertools import repeat
from time import perf_counter
from typing import Any

from cases import channel
from harness import OURS, Case
from peers import gevent, gevent_queue, stackless, sync

STANDARD = "threading.Lock"
CHANNEL = "a channel message"
FREE = Case("lock", "a lock that is free: acquire() and release()")
HANDED = Case("lock-handed", "a lock that is waited for: acquire() waits, release() hands it over")
QUEUE = Case("queue", "an item through a queue, from one tasklet to another: put() and get()")


def free(make: Callable[[], Any], operations: int) -> float:
    lock = make()
    start = perf_counter()
    for _ in repeat(None, operations):
        lock.acquire()
        lock.release()
    return perf_counter() - start


@FREE.peer(OURS, "stackless")
def our_lock(operations: int) -> float:
    return free(sync.Lock, operations)


@FREE.peer("stackless.sync.RLock", "stackless")
def our_rlock(operations: int) -> float:
    return free(sync.RLock, operations)


@FREE.peer(STANDARD)
def standard_lock(operations: int) -> float:
    return free(threading.Lock, operations)


@FREE.peer("gevent.lock.RLock", "gevent")
def gevent_lock(operations: int) -> float:
    import gevent.lock

    return free(gevent.lock.RLock, operations)


def handed(make: Callable[[], Any], start_one: Any, run: Any, operations: int) -> float:
    """Two callers release one another's lock in turn, and wait for their own."""
    one, two = make(), make()
    one.acquire()
    two.acquire()

    def first() -> None:
        for _ in repeat(None, operations // 2):
            two.release()
            one.acquire()

    def second() -> None:
        for _ in repeat(None, operations // 2):
            two.acquire()
            one.release()

    started = [start_one(first), start_one(second)]
    start = perf_counter()
    run(started)
    return perf_counter() - start


def through(made: Any, start_one: Any, run: Any, operations: int) -> float:
    def put() -> None:
        for item in range(operations):
            made.put(item)

    def get() -> None:
        for _ in repeat(None, operations):
            made.get()

    started = [start_one(get), start_one(put)]
    start = perf_counter()
    run(started)
    return perf_counter() - start


def tasklet(function: Any) -> Any:
    return stackless.tasklet(function)()


def run_tasklets(_: Any) -> None:
    stackless.run()


def thread(function: Any) -> threading.Thread:
    return threading.Thread(target=function)


def run_threads(threads: Any) -> None:
    for each in threads:
        each.start()
    for each in threads:
        each.join()


@HANDED.peer(OURS, "stackless")
def our_hand_over(operations: int) -> float:
    return handed(sync.Lock, tasklet, run_tasklets, operations)


@HANDED.peer("gevent.lock.Semaphore", "gevent")
def gevent_hand_over(operations: int) -> float:
    import gevent.lock

    return handed(gevent.lock.Semaphore, gevent.spawn, gevent.joinall, operations)


@HANDED.peer("threading.Lock, between threads")
def hand_over_between_threads(operations: int) -> float:
    return handed(threading.Lock, thread, run_threads, operations)


@QUEUE.peer(OURS, "stackless")
def our_queue(operations: int) -> float:
    return through(sync.Queue(), tasklet, run_tasklets, operations)


@QUEUE.peer("stackless.sync.SimpleQueue", "stackless")
def our_simple_queue(operations: int) -> float:
    return through(sync.SimpleQueue(), tasklet, run_tasklets, operations)


@QUEUE.peer("gevent.queue.Queue", "gevent")
def gevents_queue(operations: int) -> float:
    return through(gevent_queue.Queue(), gevent.spawn, gevent.joinall, operations)


@QUEUE.peer("queue.Queue, between threads")
def standard_queue(operations: int) -> float:
    return through(queue.Queue(), thread, run_threads, operations)


for case in HANDED, QUEUE:
    case.peer(CHANNEL, "stackless")(channel.ours)
