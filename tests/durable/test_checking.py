"""`durable.check`: what it finds in the source of workflows, and what it leaves alone."""

import contextlib
import functools
import os
import re
import sqlite3
import sys
import threading
import typing
from pathlib import Path

import pytest
from stackless import durable

lock = threading.Lock()
counter = 0


@durable.step
def work(item):
    return item


def helper(item):
    return work(item)


class Loud:
    def __init__(self):
        work(1)


class Managed:
    def __enter__(self):
        work(1)

    def __exit__(self, *error):
        pass


@contextlib.contextmanager
def managed():
    work(1)
    yield


# Each line with a finding ends in a comment that has a part of its text.


def holds_a_file(path):
    file = open(path)  # 'file' holds an open file
    work(file.read())


def holds_a_file_after_its_block(path):
    with open(path) as file:  # 'file' holds an open file
        text = file.read()
    return work(text)


def closes_it(path):
    with open(path) as file:
        text = file.read()
    del file
    return work(text)


def replaces_it(path):
    file = Path(path).open()
    file = file.read()
    return work(file)


def opens_a_path(path):
    file = path.open()  # 'file' holds an open file
    durable.sleep(3)
    return file


def only_afterwards(path):
    work(path)
    file = open(path)
    return file.read()


def in_a_loop(paths):
    for path in paths:
        work(path)
        file = open(path)  # 'file' holds an open file
        file.read()


def connects():
    connection = sqlite3.connect("x")  # 'connection' holds a connection
    helper(1)
    return connection


def annotated(file: typing.TextIO, other: "sqlite3.Connection | None" = None):  # holds an open file
    durable.receive("x")


def holds_a_lock():
    with lock:  # holds a lock
        work(1)


def makes_a_lock():
    mine: object = threading.Lock()  # 'mine' holds a lock
    work(mine)


def matches(text):
    if match := re.match("x", text):  # 'match' holds a match
        work(match.group())


def loops_over_c(text):
    for each in re.finditer("x", text):  # the loop, with a durable call in it, holds
        work(each.group())


def loops_over_a_list(items):
    for number, item in enumerate(reversed(items)):
        work((number, item))
    return [work(item) for item in items]


def sorts(items):
    return sorted(items, key=work)  # sorted() is C code


def sorts_by_a_lambda(items):
    items.sort(key=lambda item: helper(item))  # items.sort() is C code


def sorts_by_an_inner_function(items):
    def key(item):
        return work(item)

    return sorted(items, key=key)  # sorted() is C code


def calls_an_inner_function(items):
    def one(item):
        return work(item)

    return [one(item) for item in items]


def maps(items):
    return list(map(helper, items))  # map() is C code


def sums(items):
    return sum(work(item) for item in items)  # sum() is C code


def joins(items):
    return ", ".join(work(item) for item in items)  # ', '.join() is C code


def reduces(items):
    return functools.reduce(lambda a, b: work(a + b), items)  # functools.reduce() is C code


def in_parallel(items):
    return durable.gather(functools.partial(work, 1), work), durable.map(work, items)


def constructs():
    return Loud(), work(1)  # Loud.__init__ makes durable calls


def enters():
    with Managed():  # the context manager makes durable calls
        work(1)
    with managed():  # the context manager makes durable calls
        work(2)


def changes_a_global():
    global counter  # the global counter is not saved
    counter += 1
    work(counter)


def deeper(items):
    work(1)
    return sums(items)  # in sums


def plain(order, amount):
    receipt = work(order)
    durable.sleep(1)
    try:
        answer = durable.receive("approval", timeout=3)
    finally:
        helper(receipt)
    return receipt, answer, os.path.join("a", "b"), len(receipt)


def expected(function):
    """The lines with a comment, and the comments."""
    code = function.__code__
    lines = Path(__file__).read_text().splitlines()
    for number, line in enumerate(lines[code.co_firstlineno - 1 :], code.co_firstlineno):
        if number > code.co_firstlineno and line and not line.startswith((" ", ")")):
            return
        _, mark, text = line.partition("  # ")
        if mark:
            yield number, text


FUNCTIONS = [
    *(holds_a_file, holds_a_file_after_its_block, closes_it, replaces_it, opens_a_path),
    *(only_afterwards, in_a_loop, connects, annotated, holds_a_lock, makes_a_lock, matches),
    *(loops_over_c, loops_over_a_list, sorts, sorts_by_a_lambda, sorts_by_an_inner_function),
    *(calls_an_inner_function, maps, sums, joins, reduces, in_parallel, constructs, enters),
    *(changes_a_global, plain),
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda each: each.__name__)
def test_what_is_found(function, monkeypatch):
    # A fresh one: `monkey` has replaced that of this module, if its tests ran before.
    monkeypatch.setitem(globals(), "lock", threading.Lock())
    # On Python 3.11 the generator of a context manager is an obstacle of its own.
    found = [each for each in durable.check(function) if each.function == function.__name__]
    wanted = list(expected(function))
    assert sorted({each.line for each in found}) == [line for line, _ in wanted]
    for line, text in wanted:
        texts = [str(each) for each in found if each.line == line]
        assert any(text in each for each in texts), texts
        assert all(
            each.startswith(f"{__file__}:{line}, in {function.__name__}: ") for each in texts
        )
        assert all(each.remedy for each in found)
        named = [
            int(each) for text in texts for each in re.findall(r"durable call in line (\d+)", text)
        ]
        calls = Path(__file__).read_text().splitlines()
        assert all(re.search("work|helper|durable", calls[each - 1]) for each in named)


def test_functions_that_it_calls_are_looked_into():
    (found,) = durable.check(deeper)
    assert found.function == "sums" and "sum() is C code" in found.problem


def test_decorated_workflows_and_recursion():
    @functools.wraps(recursive)
    def wrapped(depth):
        return recursive(depth)

    assert durable.check(wrapped) == []


def recursive(depth):
    return work(depth) if depth == 0 else recursive(depth - 1)


def test_what_it_cannot_see_is_listed():
    found = durable.check(calls_what_is_unknown)
    assert found == []
    line = calls_what_is_unknown.__code__.co_firstlineno
    assert found.unseen == [
        f"{__file__}:{line + 2}: customer.greet() is not looked into",
        f"{__file__}:{line + 3}: callback() is not looked into",
    ]


def calls_what_is_unknown(customer, callback):
    work(1)
    customer.greet()
    callback()
    customer.upper().split()


async def asynchronous():
    pass


def generator():
    yield work(1)


def test_functions_that_are_no_workflows():
    (found,) = durable.check(asynchronous)
    assert "asynchronous" in found.problem
    assert "a generator" in durable.check(generator)[0].problem
    with pytest.raises(TypeError, match="not type"):
        durable.check(int)


def test_itertools_depend_on_the_version():
    found = durable.check(counts)
    assert bool(found) == (sys.version_info >= (3, 14))


def counts(items):
    import itertools  # noqa: F401, PLC0415

    for number in numbers.count():
        if work(number):
            return


import itertools as numbers  # noqa: E402
