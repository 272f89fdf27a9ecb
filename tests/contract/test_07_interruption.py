"""What an interrupt by run() with a timeout does not change."""

import asyncio
import functools
import sys

import pytest
import stackless
from interrupted_loops import pump
from stackless import channel, schedule, tasklet

# ------------------------------------------------------------------ programs that are interrupted


def nested_loops():
    total = 0
    for i in range(7):
        for j in range(7):
            k = 0
            while k < 7:
                k += 1
                if k == 3:
                    continue
                total += i * j * k
            else:
                total += 1
    return total


def comprehensions():
    return (
        [x * y for x in range(9) for y in range(9) if (x + y) % 2],
        {x: [y for y in range(x)] for x in range(9)},
        {x % 5 for x in range(50)},
    )


def counting(stop):
    for number in range(stop):
        got = yield number
        if got:
            yield -number


def generators():
    seen = [number for number in counting(60)]
    both = counting(20)
    seen.append(next(both))
    for _ in range(10):
        seen.append(both.send(True))
    return seen, sum(x * x for x in counting(60)), list(counting(50))


def delegation():
    def outer():
        yield from counting(40)
        yield from (x * 2 for x in counting(40))

    return list(outer()), [x for x in outer()]


def recursion():
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    return fib(12)


def exceptions():
    seen = []
    for number in range(20):
        try:
            try:
                if number % 3:
                    raise KeyError(number)
                for _ in range(10):
                    pass
            except KeyError as error:
                for _ in range(10):
                    assert sys.exc_info()[1] is error
                raise ValueError(number) from error
            else:
                seen.append("fine")
            finally:
                for _ in range(5):
                    pass
                seen.append(type(sys.exc_info()[1]).__name__)
        except ValueError as error:
            for _ in range(10):
                pass
            seen.append((str(error), str(error.__cause__), sys.exc_info()[1] is error))
    assert sys.exc_info() == (None, None, None)
    return seen


class Manager:
    def __init__(self, log):
        self.log = log

    def __enter__(self):
        for _ in range(20):
            pass
        self.log.append("enter")
        return self

    def __exit__(self, kind, *_):
        for _ in range(20):
            pass
        self.log.append(kind and kind.__name__)
        return kind is KeyError


def with_blocks():
    log = []
    for number in range(10):
        with Manager(log), Manager(log):
            for _ in range(10):
                pass
            if number % 2:
                raise KeyError
    return log


def callbacks():
    def key(number):
        for _ in range(number % 7):
            pass
        return -number

    return (
        sorted(range(40), key=key),
        list(map(key, range(40))),
        functools.reduce(lambda a, b: a * 31 + key(b), range(30)),
    )


class Slots:
    def __init__(self, value):
        for _ in range(3):
            pass
        self.value = value

    def __add__(self, other):
        for _ in range(3):
            pass
        return Slots(self.value + other.value)

    def __eq__(self, other):
        return self.value == other.value

    def __getattr__(self, name):
        for _ in range(3):
            pass
        return name * 2


def slots():
    total = Slots(0)
    for number in range(20):
        total = total + Slots(number)
        assert total.missing == "missingmissing"
    return total.value


def coroutines():
    async def step(number):
        for _ in range(5):
            pass
        return number

    async def numbers():
        for number in range(10):
            yield await step(number)

    async def main():
        total = 0
        async for number in numbers():
            total += number
        return total + sum([await step(x) for x in range(10)])

    return [asyncio.run(main()), run_to_the_end(main())]


def run_to_the_end(coroutine):
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value


def classes():
    made = []
    for number in range(5):

        class Made:
            values = [x for x in range(10)]
            for _ in range(10):
                last = number

        made.append((Made.last, Made.values))
    return made


def closures():
    def make(number):
        def add(other):
            nonlocal number
            for _ in range(5):
                number += other
            return number

        return add

    adders = [make(n) for n in range(5)]
    return [add(n) for n in range(5) for add in adders]


def arguments():
    def take(a, *rest, key=1, **more):
        for _ in rest:
            key += a
        return key, rest, sorted(more.items())

    return [take(n, *range(n), key=n, **{f"k{m}": m for m in range(n)}) for n in range(12)]


def matching():
    seen = []
    for thing in [1, "a", (1, 2), {"k": 3}, [1, 2, 3], None] * 5:
        match thing:
            case int():
                seen.append("int")
            case (a, b):
                seen.append(a + b)
            case {"k": value}:
                seen.append(value)
            case [first, *rest]:
                seen.append((first, rest))
            case _:
                seen.append("other")
    return seen


def channels_inside():
    """Switches of its own between the interrupts."""
    ch, got = channel(), []

    def producer():
        for number in range(20):
            for _ in range(5):
                pass
            ch.send(number)
        ch.close()

    def consumer():
        for value in ch:
            for _ in range(5):
                schedule()
            got.append(value)

    t = tasklet(consumer)()
    tasklet(producer)()
    while t.alive:
        schedule()
    return got


PROGRAMS = [
    nested_loops,
    comprehensions,
    generators,
    delegation,
    recursion,
    exceptions,
    with_blocks,
    callbacks,
    slots,
    coroutines,
    classes,
    closures,
    arguments,
    matching,
    channels_inside,
]


@pytest.mark.parametrize("ignore_nesting", [False, True], ids=["level 0", "any level"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_an_interrupted_program_gives_the_same_result(program, ignore_nesting):
    """Locals, iterators, exception state, generators: nothing is lost or done twice."""
    expected = program()
    for n in (1, 2, 3, 7, 50):
        results = []
        t = tasklet(lambda results=results: results.append(program()))()
        hits = pump(n, ignore_nesting=ignore_nesting)
        assert results == [expected] and not t.alive
        if n < 7:  # more interrupts may be needed for everything that happens between two switches
            assert hits > (20 if n == 1 and ignore_nesting else 0)


def test_interrupted_programs_side_by_side():
    """All at once, each at its own point, in one ring."""
    expected = {program: program() for program in PROGRAMS}
    results = {}

    def call(program):
        results[program] = program()

    for program in PROGRAMS:
        tasklet(call)(program)
    assert pump(3, ignore_nesting=True) > 100
    assert results == expected


def test_exception_state_of_an_interrupted_handler():
    """8.3: the exception state does not appear in the caller, and is restored afterwards."""
    seen = []

    def body():
        try:
            raise KeyError("mine")
        except KeyError as error:
            for _ in range(1000):
                pass
            seen.append(sys.exc_info()[1] is error)
        seen.append(sys.exc_info())

    t = tasklet(body)()
    hits = 0
    while stackless.run(50) is t:
        hits += 1
        assert sys.exc_info() == (None, None, None)
        t.insert()
    assert hits > 5
    assert seen == [True, (None, None, None)]


def test_exception_state_of_the_caller():
    """A run() inside an except block finds it unchanged after the interrupt."""

    def body():
        for _ in range(1000):
            assert sys.exc_info() == (None, None, None)

    t = tasklet(body)()
    try:
        raise KeyError("caller's")
    except KeyError as error:
        assert stackless.run(50) is t
        assert sys.exc_info()[1] is error
        t.insert()
        assert stackless.run() is None
        assert sys.exc_info()[1] is error


def while_loop(log):
    try:
        turn = 0
        while turn < 1000:
            turn += 1
    except KeyError:
        log.append("caught")
    finally:
        log.append("finally")


def for_loop(log):
    try:
        for turn in range(1000):
            log.append(turn) if turn == 999 else None
    except KeyError:
        log.append("caught")
    finally:
        log.append("finally")


def loop_in_with(log):
    with Closing(log):
        for _ in range(1000):
            pass


class Closing:
    def __init__(self, log):
        self.log = log

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is KeyError:
            self.log.append("caught")
        self.log.append("finally")
        return kind is KeyError


def generator_loop(log):
    def endless():
        try:
            turn = 0
            while True:
                turn += 1
                yield turn
        finally:
            log.append("generator's finally")

    try:
        for turn in endless():
            if turn == 1000:
                break
    except KeyError:
        log.append("caught")
    finally:
        log.append("finally")


def loop_in_a_handler(log):
    try:
        raise ValueError
    except ValueError:
        try:
            for _ in range(1000):
                pass
        except KeyError:
            log.append("caught")
        log.append(repr(sys.exc_info()[1]))
    finally:
        log.append("finally")


def comprehension(log):
    try:
        [turn for turn in range(1000)]
    except KeyError:
        log.append("caught")
    finally:
        log.append("finally")


LOOPS = [while_loop, for_loop, loop_in_with, generator_loop, loop_in_a_handler, comprehension]


@pytest.mark.parametrize("ending", ["kill", "throw", "pending throw", "drop"])
@pytest.mark.parametrize("body", LOOPS, ids=lambda body: body.__name__)
def test_exceptions_thrown_at_an_interrupted_tasklet(body, ending):
    """8.1, 8.2: raised where it was interrupted, the function's own handlers see them."""
    for n in (100, 101, 102, 104, 105, 107, 300):
        log = []
        t = tasklet(body)(log)
        assert stackless.run(n, ignore_nesting=True) is t
        assert log == []
        if ending == "kill":
            t.kill()
        elif ending == "throw":
            t.throw(KeyError)
        elif ending == "pending throw":
            t.throw(KeyError, pending=True)
            stackless.run()
        else:
            del t
        expected = ["finally"]
        if "throw" in ending:
            expected = ["caught", "finally"]
            if body is loop_in_a_handler:
                expected.insert(1, "ValueError()")
        if body is generator_loop:
            assert log.count("generator's finally") == 1
            log.remove("generator's finally")
        assert log == expected, n
