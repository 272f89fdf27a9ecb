"""Workflows that the tests start, in their own process and in others."""

import contextlib
import fcntl
import os
import sys
import threading
import time

import stackless
from stackless import durable

#: What the steps of this process have done.
done = []


def note(*what):
    """Remember what a step does; in a ledger that outlives the process, if there is one."""
    done.append(what)
    ledger = os.environ.get("LEDGER")
    if ledger:
        descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, (" ".join(map(str, what)) + "\n").encode())
        os.close(descriptor)


@contextlib.contextmanager
def alone(order):
    """Note it if another worker works for this order as well."""
    ledger = os.environ.get("LEDGER")
    if not ledger:
        yield
        return
    with open(f"{ledger}.{order}", "w") as lock:  # the end of a process frees it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            note("two workers at once", order)
        yield


@durable.step
def charge(order, amount):
    with alone(order):
        note("charge", order, amount)
        return amount * 2


@durable.step
def ship(order, item):
    with alone(order):
        note("ship", order, item)
        return f"{item} of {order}"


@durable.step(retries=3, backoff=lambda retry: 0.001 * retry)
def unreliable(fails, key=None):
    note("unreliable")
    if sum(each[0] == "unreliable" for each in done) <= fails:
        raise ConnectionError("not now")
    return durable.idempotency_key()


@durable.step(timeout=0.02)
def slow():
    stackless.sleep(5)


@durable.step
def killed():
    stackless.getcurrent().kill()


@durable.workflow
def has_a_step_that_is_killed():
    killed()


@durable.step
def failing(text):
    raise LookupError(text)


def shipped(order, items):
    """A helper with a loop, a generator and a `finally`."""
    found = []
    try:
        for item in (each.upper() for each in items):
            found.append(ship(order, item))
    finally:
        found.append("end")
    return found


@durable.workflow
def plain(order, amount, items=("a", "b"), pause=0.0):
    receipt = charge(order, amount)
    durable.sleep(pause)
    sent = shipped(order, items) if len(items) else []
    return receipt, sent


@durable.workflow
def approval(order, timeout=None):
    answer = durable.receive("approval", timeout=timeout, default="no answer")
    more = [durable.receive("more") for _ in range(2)] if answer == "yes" else []
    return order, answer, more


@durable.workflow
def errors(order):
    try:
        failing("caught")
    except LookupError as error:
        text = str(error)
    try:
        slow()
    except TimeoutError:
        text += " timeout"
    failing(text)


@durable.workflow
def failing_with(text):
    failing(text)


@durable.workflow
def retried(fails):
    return unreliable(fails)


@durable.workflow
def unpicklable(order):
    lock = threading.Lock()
    try:
        charge(order, 1)
    except durable.NotDurable as error:
        text = str(error)
    del lock
    charge(order, 2)
    return text


@durable.workflow
def returns_a_lock():
    return threading.Lock()


@durable.workflow
def recursive(depth):
    return charge(depth, depth) if depth == 0 else recursive(depth - 1) + charge(depth, depth)


@durable.workflow
def empty(value=None):
    return value


@durable.workflow
def many(order, steps):
    total = 0
    for number in range(steps):
        total += charge(order, number)
        if number % 7 == 3:
            durable.sleep(0.001)
    return total


@durable.workflow
def busy(order, seconds):
    charge(order, 1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return charge(order, 2)


def paid(amounts):
    """A generator that a workflow is suspended in."""
    for order, amount in amounts:
        yield charge(order, amount)


@durable.workflow
def everything(order):
    """All that a workflow can wait for, in calls of several kinds."""
    first, rest = 1, []

    def closure(amount):
        return charge(order, first + amount)

    try:
        with contextlib.nullcontext():
            rest.append(closure(1))
        if sys.version_info >= (3, 12):
            rest.append([each for each in paid([(order, 10), (order, 11)])])
        else:  # the loop over a generator is C code there
            rest.append([charge(order, amount) for amount in (10, 11)])
        rest.append([ship(order, item) for item in "ab"])
        durable.sleep(0.005)
        rest.append(recursive_order(order, 2))
        rest.append(durable.receive("never", timeout=0.005, default="nothing"))
        raise LookupError(order)
    except LookupError as error:
        rest.append(repr(error))
    finally:
        rest.append(charge(order, 99))
    return rest


def recursive_order(order, depth):
    below = recursive_order(order, depth - 1) if depth else 0
    return below + charge(order, 20 + depth)


@durable.workflow
def collected(order):
    """Receive messages until None, with steps between them."""
    found = []
    while (value := durable.receive("values")) is not None:
        found.append(value)
        if len(found) % 5 == 0:
            charge(order, len(found))
    return found


@durable.step
def is_over():
    return os.path.exists(os.environ["LEDGER"] + ".over")


@durable.workflow
def counted(order):
    """Count until it is over, and sleep at times."""
    number = 0
    while not is_over():
        charge(order, number)
        number += 1
        if number % 7 == 3:
            durable.sleep(0.001)
    return number
