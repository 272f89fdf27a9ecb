"""Workflows with children, steps in parallel, transactions and cancellation, for the tests."""

import functools
import threading
import time

import stackless
from orders import note
from stackless import durable

#: What steps of this process wait for, and whether `flaky` fails.
gates = {}
broken = set()


@durable.step
def double(number):
    note("double", number)
    return number * 2


@durable.step
def gated(name):
    """A step that ends when the test says so."""
    note("gated", name)
    while name in gates and not gates[name].is_set():
        stackless.sleep(0.002)
    return name


@durable.step
def flaky(name):
    note("flaky", name)
    if name in broken:
        raise LookupError(name)
    return name


@durable.step
def fill(found, number):
    """A step that changes its argument."""
    note("fill", number)
    found.append(number)
    return found


@durable.step
def undo(name):
    note("undo", name)
    return name


@durable.workflow
def child(number, pause=0.0):
    found = double(number)
    durable.sleep(pause)
    return found


@durable.workflow
def failing_child(text):
    flaky(text)


@durable.workflow
def parent(count, pause=0.0):
    children = [durable.start(child, number, pause) for number in range(count)]
    return [each.join() for each in children]


@durable.workflow
def parent_of_failure(text):
    started = durable.start(failing_child, text, id=f"child of {text}")
    try:
        started.result()
    except LookupError as error:
        return f"caught {error}"


@durable.workflow
def impatient():
    waits = durable.start(held, "impatient")
    try:
        waits.join(timeout=0.05)
    except TimeoutError:
        return "too late", waits


@durable.workflow
def gathered(numbers, limit=None):
    first = durable.gather((functools.partial(double, each) for each in numbers), limit=limit)
    return first, durable.map(double, [each + 100 for each in numbers], limit=2)


@durable.workflow
def gathered_errors(names, collect):
    calls = [functools.partial(flaky, name) for name in names]
    return [str(each) for each in durable.gather(calls, return_exceptions=collect)]


@durable.workflow
def held(name):
    """Waits for ever, and cleans up with a step."""
    try:
        durable.receive(name)
    finally:
        undo(name)


@durable.workflow
def holds_a_child(name):
    started = durable.start(held, name, id=f"{name} child")
    try:
        return started.join()
    finally:
        undo(f"parent of {name}")


@durable.workflow
def refuses(name):
    """Catches its cancellation."""
    try:
        durable.sleep(60)
    except durable.Cancelled:
        return double(5)


@durable.workflow
def two_gates(first, second):
    return gated(first), gated(second)


@durable.workflow
def saga(name):
    found = [double(1), double(2)]
    try:
        found.append(flaky(name))
    except LookupError:
        undo(name)
        raise
    return found


@durable.workflow
def broken_code(name):
    found = double(1)
    if name in broken:
        raise ZeroDivisionError(name)
    return found


def add(number):
    return number + 1


@durable.workflow
def calls_a_helper():
    first = double(1)
    return add(first), double(4)


@durable.workflow
def filled():
    found = []
    same = fill(found, 1)
    durable.sleep(0.01)
    fill(found, 2)
    return same is found, found


@durable.workflow(history=True)
def kept(count):
    total = 0
    for number in range(count):
        total += double(number) + len(str(time.monotonic())) * 0
    return total


@durable.workflow(snapshot="wait")
def at_waits(count):
    total = 0
    for number in range(count):
        total += double(number)
    durable.sleep(0.05)
    for number in range(count):
        total += double(number + 10)
    return total


@durable.workflow(snapshot="wait")
def changes_its_mind(name):
    if name in broken:
        undo(name)
    else:
        double(1)
    gated(name)
    durable.sleep(0.01)


@durable.workflow(replay=True)
def replayed(number):
    try:
        flaky("replayed")
    except LookupError as error:
        text = str(error)
    else:
        text = "fine"
    durable.sleep(0.01)
    return text, double(number), durable.receive("more")


@durable.workflow
def holds_a_lock(number):
    lock = threading.Lock()
    double(number)
    return lock


@durable.workflow(snapshot_limit=2000)
def large():
    big, small = "x" * 5000, "y"
    double(1)
    double(2)
    return len(big), small


@durable.workflow
def looping(state):
    """Old code, which never ends."""
    while True:
        durable.upgrade_point("loop", state)
        state = state + [double(len(state))]
        durable.receive("next")


@durable.workflow
def newer(state):
    return "newer", state, double(100)


@durable.workflow
def fails_after_the_point(name):
    durable.upgrade_point("begin", [name])
    flaky(name)


# ------------------------------------------------------------------ transactions


DEPOSITS = "CREATE TABLE IF NOT EXISTS deposits (account TEXT, amount INTEGER)"


@durable.transaction
def deposit(connection, account, amount):
    note("deposit", account, amount)
    connection.execute(DEPOSITS)
    connection.execute(f"INSERT INTO deposits VALUES ('{account}', {int(amount)})")
    if amount == 13:
        raise LookupError("unlucky")
    if amount == 14:
        connection.commit()
    if amount == 15:
        return threading.Lock()
    return connection.execute(
        f"SELECT sum(amount) FROM deposits WHERE account = '{account}'"
    ).fetchone()[0]


@durable.transaction(retries=2, backoff=lambda retry: 0.001)
def tried(connection):
    note("tried")
    connection.execute(DEPOSITS)
    connection.execute("INSERT INTO deposits VALUES ('tried', 1)")
    if sum(each[0] == "tried" for each in __import__("orders").done) < 3:
        raise LookupError("not yet")


@durable.workflow
def banking(amounts):
    found = []
    for amount in amounts:
        try:
            found.append(deposit("a", amount))
        except Exception as error:
            found.append(type(error).__name__)
    return found


@durable.workflow
def tried_thrice():
    tried()


@durable.workflow
def all_together(number):
    """Children, steps in parallel, transactions and failures, for the crash tests."""
    started = durable.start(child, number, 0.01)
    results = durable.map(double, [number * 10 + each for each in range(3)], limit=2)
    balances = [deposit(f"crash{number}", 1), deposit(f"crash{number}", 2)]
    try:
        durable.gather(fails, functools.partial(undo, "parallel"))
    except LookupError as error:
        undo(str(error))
    point = fill([], 1)
    durable.upgrade_point("late", point)
    return results, balances, started.join(), point


@durable.step
def fails():
    note("fails")
    raise LookupError("fails")
