"""What the tasklets of the tests run: workers import this module."""

import os
import threading
import time

import stackless
from stackless import cluster


def add(a, b=0):
    return a + b


def where():
    return cluster.here().name


def where_it_is(x):
    stackless.sleep(0.001)
    return x, cluster.here().name


def pid():
    return os.getpid()


def fail(text):
    raise LookupError(text)


class Unpicklable(Exception):
    def __init__(self):
        super().__init__("has a lock")
        self.lock = threading.Lock()


def fail_with_a_lock():
    raise Unpicklable


def returns_a_lock():
    return threading.Lock()


def factorial(n, workers):
    """Go to another worker at each level, on the way down and on the way up."""
    cluster.go(workers[n % len(workers)])
    if n == 0:
        return 1
    result = n * factorial(n - 1, workers)
    cluster.go(workers[(n + 1) % len(workers)])
    return result


def tour(workers):
    """Where the tasklet was after each move, and in which process."""
    seen = []
    for name in workers:
        cluster.go(name)
        seen.append((cluster.here().name, os.getpid()))
    return seen


def receive_one(channel):
    return channel.receive()


def receive_here(channel):
    value = channel.receive()
    return value, cluster.here().name


def receive_all(channel):
    return list(channel)


def send_all(channel, values):
    for value in values:
        channel.send(value)


def send_and_move(channel, values, workers):
    """Send values, and go to another worker after every third one."""
    for n, value in enumerate(values):
        channel.send(value)
        if n % 3 == 2:
            cluster.go(workers[n % len(workers)])


def receive_and_move(channel, workers):
    found = []
    for n, value in enumerate(channel):
        found.append(value)
        if n % 4 == 3:
            cluster.go(workers[n % len(workers)])
    return found


def spin(channel):
    """Take turns until there is a value."""
    turns = 0
    while True:
        try:
            return channel.receive(timeout=0), turns > 0, cluster.here().name
        except stackless.TimeoutError:
            turns += 1
            stackless.schedule()


def wait_locally(channel):
    """Wait in a channel of this process."""
    channel.send(None)
    return stackless.channel().receive()


def go_with_a_lock(host, report):
    lock = threading.Lock()
    try:
        cluster.go(host)
    except cluster.MoveRefused as error:
        return str(error), cluster.here().name, lock.acquire(False)
    return None


def clean_up(channel, log):
    channel.send("begun")
    try:
        stackless.schedule_remove()
    finally:
        log.send(f"cleaned up on {cluster.here().name}")


def clean_up_in_receive(channel, log):
    try:
        channel.receive()
    finally:
        log.send("cleaned up")


def ask_with_timeout(channel, seconds):
    begin = time.monotonic()
    try:
        return channel.receive(timeout=seconds)
    except stackless.TimeoutError:
        return time.monotonic() - begin


def start_others(n):
    """Start tasklets from a tasklet, and join them."""
    current = cluster.current()
    return [each.join() for each in [current.spawn(add, i, 1) for i in range(n)]]


def join_it(tasklet):
    return tasklet.join(), cluster.here().name


def double(x):
    return x * 2


def fail_at_seven(x):
    if x == 7:
        raise LookupError("seven")
    return x


def wait_and_count(x):
    stackless.sleep(0.01)
    return x, os.getpid()


def count_up(channel, steps, ledger):
    """Do steps, with a checkpoint after each second one; another process may do the rest."""
    done = []
    for n in range(steps):
        ledger.send((n, cluster.epoch(), cluster.here().name))
        done.append(n)
        if n % 2:
            cluster.checkpoint()
        if n == steps // 2 - 1:
            channel.receive()
    return done


def checkpointed_in_receive(channel):
    found = [channel.receive()]
    found.append(channel.receive())
    return found, cluster.epoch()


def stays(begun):
    """Wait for something of this process: it cannot move."""
    try:
        begun.send(None)
        stackless.sleep(60)
    finally:
        begun.send("cleaned up")


def sweep(n, begun):
    """Take steps, and say in how many processes they were taken."""
    pids = set()
    for step in range(n):
        pids.add(os.getpid())
        if step == 1:
            begun.send(None)
        cluster.sleep(0.02)
    return len(pids), step


def there_and_back(there, back, ready, proceed):
    """Go there and back; when told to, go there again. Return the two places."""
    cluster.go(there)
    cluster.go(back)
    first = cluster.here().name
    ready.send(None)
    proceed.receive()
    cluster.go(there)
    return first, cluster.here().name
