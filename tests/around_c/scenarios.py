"""Programs in which C code calls Python code, one function each, and how they are registered.

A scenario is a function of `pause`: it calls C code that calls back into Python, calls `pause()`
there at least once, and returns a result. This file has functions given to C code, generators, and
functions that the interpreter calls by itself. The others are in scenarios_in_classes.py.
"""

import bisect
import codecs
import contextvars
import csv
import ctypes
import functools
import heapq
import importlib.abc
import importlib.util
import io
import itertools
import json
import logging
import operator
import re
import string
import sys
import threading
import weakref
import xml.etree.ElementTree as ElementTree
import xml.parsers.expat

SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


# ------------------------------------------------------------------ functions given to C code


@scenario
def sorted_key(pause):
    return sorted([3, 1, 2], key=lambda item: (pause(), -item)[1])


@scenario
def list_sort_comparison(pause):
    def compare(a, b):
        pause()
        return a - b

    items = [3, 1, 2]
    items.sort(key=functools.cmp_to_key(compare))
    return items


@scenario
def min_and_max_key(pause):
    def key(item):
        pause()
        return item

    return min([2, 1, 3], key=key), max([2, 1, 3], key=key)


@scenario
def map_and_filter(pause):
    def half(item):
        pause()
        return item / 2

    def large(item):
        pause()
        return item > 1

    return list(filter(large, map(half, [1, 4, 8])))


@scenario
def functools_reduce(pause):
    return functools.reduce(lambda a, b: (pause(), a * b)[1], [1, 2, 3, 4])


@scenario
def functools_lru_cache(pause):
    @functools.lru_cache
    def square(number):
        pause()
        return number * number

    return square(3), square(3), square(4)


@scenario
def functools_partial(pause):
    def add(a, b):
        pause()
        return a + b

    return functools.partial(functools.partial(add, 1), 2)()


@scenario
def operator_and_type_calls(pause):
    def double(number):
        pause()
        return number * 2

    class Number:
        def __init__(self, number):
            self.number = double(number)

    return operator.call(double, 4), type.__call__(Number, 3).number


@scenario
def json_object_hook(pause):
    def hook(found):
        pause()
        return sorted(found)

    return json.loads('[{"a": {"b": 1}}, {"c": 2}]', object_hook=hook)


@scenario
def json_default(pause):
    def default(value):
        pause()
        return str(value)

    return json.dumps([1j, {"x": 2j}], default=default)


@scenario
def re_sub(pause):
    return re.sub("[0-9]", lambda match: (pause(), f"<{match[0]}>")[1], "a1b2")


@scenario
def expat_handlers(pause):
    events = []

    def start(name, attributes):
        pause()
        events.append(("start", name, attributes))

    def end(name):
        pause()
        events.append(("end", name))

    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = lambda text: (pause(), events.append(text))
    parser.Parse('<a x="1"><b>text</b><c/></a>', True)
    return events


@scenario
def element_tree_target(pause):
    class Target:
        def __init__(self):
            self.count = 0

        def start(self, tag, attributes):
            pause()
            self.count += 1

        def close(self):
            pause()
            return self.count

    parser = ElementTree.XMLParser(target=Target())
    parser.feed("<a><b/><c/></a>")
    return parser.close()


@scenario
def ctypes_qsort(pause):
    compare_type = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)
    )

    def compare(a, b):
        pause()
        return a[0] - b[0]

    numbers = (ctypes.c_int * 5)(5, 3, 1, 4, 2)
    ctypes.CDLL(None).qsort(
        numbers, len(numbers), ctypes.sizeof(ctypes.c_int), compare_type(compare)
    )
    return list(numbers)


@scenario
def csv_reader_of_an_iterator(pause):
    def lines():
        for line in ("a,b", "c,d"):
            pause()
            yield line

    return list(csv.reader(lines()))


@scenario
def text_over_a_python_raw_file(pause):
    class Raw(io.RawIOBase):
        parts = [b"one\ntwo\n", b"three\n"]

        def __init__(self):
            self.left = list(self.parts)

        def readable(self):
            return True

        def readinto(self, buffer):
            pause()
            data = self.left.pop(0) if self.left else b""
            buffer[: len(data)] = data
            return len(data)

    return io.TextIOWrapper(io.BufferedReader(Raw())).read().split()


@scenario
def logging_handler(pause):
    class Handler(logging.Handler):
        def handle(self, record):  # without the lock: its owner would be the thread
            pause()
            messages.append(record.getMessage())

    messages = []
    logger = logging.Logger("pausing")
    logger.addHandler(Handler())
    logger.warning("%s", "message")
    return messages


@scenario
def codec_error_handler(pause):
    def handle(error):
        pause()
        return "?", error.end

    codecs.register_error("pausing", handle)
    return "aéb".encode("ascii", "pausing")


@scenario
def template_substitution(pause):
    class Values(dict):
        def __missing__(self, key):
            pause()
            return key.upper()

    return string.Template("$a and $b").substitute(Values()), "{x}".format_map(Values())


@scenario
def context_run(pause):
    return contextvars.copy_context().run(lambda: (pause(), "inside")[1])


@scenario
def bisect_and_heapq(pause):
    @functools.total_ordering
    class Item:
        def __init__(self, number):
            self.number = number

        def __lt__(self, other):
            pause()
            return self.number < other.number

        def __eq__(self, other):
            return self.number == other.number

    heap = [Item(number) for number in (3, 1, 2)]
    heapq.heapify(heap)
    place = bisect.bisect([1, 2, 4], 3, key=lambda number: (pause(), number)[1])
    return heapq.heappop(heap).number, place


# ------------------------------------------------------------------ generators and iteration


@scenario
def generator_in_a_for_loop(pause):
    def numbers():
        for number in range(3):
            pause()
            yield number

    return [number for number in numbers()]


@scenario
def generators_driven_by_c(pause):
    def numbers():
        for number in range(3):
            pause()
            yield number

    return (
        sum(numbers()),
        list(numbers()),
        "".join(map(str, numbers())),
        dict(zip(numbers(), itertools.chain(numbers()), strict=True)),
        any(number > 1 for number in numbers()),
        next(numbers()),
    )


@scenario
def yield_from_and_send(pause):
    def inner():
        got = yield "first"
        pause()
        return got * 2

    def outer():
        pause()
        result = yield from inner()
        yield result

    generator = outer()
    return next(generator), generator.send(21)


@scenario
def coroutine_driven_by_hand(pause):
    class Awaitable:
        def __await__(self):
            pause()
            yield "waiting"
            return "awaited"

    async def coroutine():
        return await Awaitable()

    running = coroutine()
    first = running.send(None)
    pause()
    try:
        running.send(None)
    except StopIteration as stop:
        return first, stop.value


@scenario
def generator_closed_while_others_run(pause):
    log = []

    def generator():
        try:
            yield 1
        finally:
            pause()
            log.append("closed")

    g = generator()
    next(g)
    g.close()
    return log


@scenario
def iterator_protocol_in_python(pause):
    class Count:
        def __init__(self):
            self.number = 0

        def __iter__(self):
            pause()
            return self

        def __next__(self):
            pause()
            self.number += 1
            if self.number > 2:
                raise StopIteration
            return self.number

        def __length_hint__(self):
            pause()
            return 2

    return [*Count()], set(Count()), tuple(Count())


# ------------------------------------------------------------------ the interpreter's own calls


@scenario
def exec_and_eval(pause):
    names = {"pause": pause}
    exec("pause()\nx = 1\nclass C:\n    pause()", names)
    return names["x"], eval("(pause(), 2)[1]", names)


@scenario
def destructors(pause):
    class Odd:
        def __del__(self):
            pause()
            log.append("del")

    log = []
    odd = Odd()
    del odd
    things = [Odd(), Odd()]
    things.clear()
    return log


@scenario
def weak_reference_callbacks(pause):
    class Thing:
        pass

    log, thing = [], Thing()
    reference = weakref.ref(thing, lambda reference: (pause(), log.append("dead")))
    del thing
    return reference(), log


@scenario
def thread_local_subclasses(pause):
    class Local(threading.local):
        def __init__(self):
            pause()
            self.value = 1

    return Local().value


@scenario
def decorators_and_annotations(pause):
    def decorate(function):
        pause()
        return lambda: function() + 1

    def type_of_argument():
        pause()
        return int

    @decorate
    def function(argument: type_of_argument() = 1):
        return argument

    return function()


@scenario
def import_hooks(pause):
    name = f"paused_module_{next(MODULE_NUMBERS)}"

    class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
        def find_spec(self, fullname, path, target=None):
            if fullname == name:
                return importlib.util.spec_from_loader(name, self)
            return None

        def create_module(self, spec):
            pause()

        def exec_module(self, module):
            pause()
            exec("value = 5\npause()", {**vars(module), "pause": pause})
            module.value = 5

    finder = Finder()
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module(name).value
    finally:
        sys.meta_path.remove(finder)
        sys.modules.pop(name, None)


MODULE_NUMBERS = itertools.count()


@scenario
def deep_mixture(pause):
    def level(depth):
        if depth == 0:
            pause()
            return 1
        return sum(map(level, sorted([depth - 1, depth - 1], key=lambda item: (pause(), item)[1])))

    return level(3)
