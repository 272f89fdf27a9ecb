"""Recursion to the limit inside tasklets: RecursionError, never SIGSEGV."""

import sys

import pytest
from child_process import assert_child

DIVES = """
import copy, functools, json, pickle, re, sys
import stackless

def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value

def dump_json():
    json.dumps(nested(100_000))

def dump_json_in_python():
    json.encoder.c_make_encoder = None
    json.dumps(nested(100_000), indent=1)

def load_json():
    json.loads("[" * 100_000)

def default_hook():
    json.dumps(Opaque(), default=lambda value: [Opaque()])

class Opaque:
    pass

def repr_of_a_list():
    repr(nested(100_000))

def repr_of_objects():
    class Odd:
        def __repr__(self):
            return repr([Odd()])
    repr(Odd())

def sort_key(item=0):
    sorted([item], key=sort_key)

def reduce(a=0, b=0):
    functools.reduce(reduce, [1, 2])

def substitute(match=None):
    re.sub("x", substitute, "x")

def attribute():
    class Odd:
        def __getattr__(self, name):
            return getattr(self, name + "x" if len(name) < 9 else "y")
    Odd().anything

def compare():
    class Odd:
        def __eq__(self, other):
            return [Odd()] == [Odd()]
    Odd() == 1

def plain():
    plain()

def generators(inner=None):
    yield from generators()

def run_generators():
    next(generators())

def build_class():
    class Odd:
        build_class()

def dump_pickle():
    pickle.dumps(nested(100_000))

def dump_pickle_in_python():
    pickle._dumps(nested(100_000))

def reduce_for_pickle():
    class Odd:
        def __reduce__(self):
            return (list, ([Odd()],))
    pickle.dumps(Odd())

def load_pickle():
    class Odd:
        def __setstate__(self, state):
            pickle.loads(state)
            self.__setstate__(state)
        def __reduce__(self):
            return (Odd, (), b"")
    Odd().__setstate__(pickle.dumps(1))

def deepcopy():
    copy.deepcopy(nested(100_000))

@functools.lru_cache(None)
def two_lists():
    return nested(300_000), nested(300_000)

def compare_lists():
    one, other = two_lists()
    one == other

def instance_of():
    class Odd(type):
        def __instancecheck__(cls, thing):
            return isinstance(thing, cls)
    class Kind(metaclass=Odd):
        pass
    isinstance(1, Kind)

def pattern():
    re.compile("(" * 20_000 + ")" * 20_000)

@functools.lru_cache(None)
def cached(n=0):
    return cached(n + 1)

def iterate():
    class Odd:
        def __iter__(self):
            return iter(list(Odd()))
    list(Odd())

def make():
    class Odd:
        def __init__(self):
            Odd()
    Odd()

def enter():
    class Odd:
        def __enter__(self):
            with Odd():
                pass
        def __exit__(self, *exception):
            pass
    with Odd():
        pass

def add():
    class Odd:
        def __add__(self, other):
            return self + other
    Odd() + 1

def call():
    class Odd:
        pass
    Odd.__call__ = Odd()
    Odd()()

def formatted():
    class Odd:
        def __format__(self, spec):
            return f"{self:x}"
    f"{Odd():x}"

def evaluate(text="evaluate(text)"):
    eval(text, {"evaluate": evaluate, "text": text})

def dive(function):
    try:
        function()
    except RecursionError:
        return "RecursionError"
    return "no error"
"""

DEPTHS = (
    "dump_json dump_json_in_python load_json default_hook repr_of_a_list repr_of_objects sort_key "
    "reduce substitute attribute compare plain run_generators build_class dump_pickle "
    "dump_pickle_in_python reduce_for_pickle load_pickle deepcopy compare_lists instance_of "
    "pattern cached iterate make enter add call formatted evaluate"
).split()


@pytest.mark.parametrize("name", DEPTHS)
def test_recursion_to_the_limit(name):
    """In a fresh tasklet, in one that is used again, in main in between; then work continues."""
    assert_child(
        f"""{DIVES}
results = []
for _ in range(2):
    stackless.tasklet(lambda: results.append(dive({name})))()
    stackless.run()
results.append(dive({name}))
stackless.tasklet(lambda: results.append(dive({name})))()
stackless.tasklet(results.append)("alive")
stackless.run()
print(*results)
""",
        prints="RecursionError " * 4 + "alive",
    )


@pytest.mark.parametrize("name", ["sort_key", "repr_of_a_list", "dump_json"])
def test_many_tasklets_at_their_limit(name):
    """Ten tasklets wait half-way down while each of them goes to the limit in turn."""
    assert_child(
        f"""{DIVES}
results = []

def half_way(level=60):
    if level:
        sorted([level - 1], key=half_way)
    else:
        stackless.schedule()
        results.append(dive({name}))
        stackless.schedule()

for _ in range(10):
    stackless.tasklet(half_way)()
stackless.run()
assert results == ["RecursionError"] * 10, results
print("end")
""",
        prints="end",
    )


def test_switch_at_the_recursion_limit():
    """Switching inside the handler of a RecursionError, deep down."""
    assert_child(
        """
        import stackless
        log = []

        def down():
            try:
                down()
            except RecursionError:
                log.append("bottom")
                stackless.schedule()
                raise

        def body():
            try:
                down()
            except RecursionError:
                log.append("top")

        for _ in range(3):
            stackless.tasklet(body)()
        stackless.run()
        assert log.count("top") == 3, log
        print("end")
        """,
        prints="end",
    )


def test_starting_a_tasklet_at_the_recursion_limit_of_main():
    """Each tasklet has its own budget, at whatever depth it is started."""
    assert_child(
        """
        import stackless
        log = []

        def down(levels):
            return levels and 1 + down(levels - 1)

        def at_the_bottom(levels):
            if levels:
                at_the_bottom(levels - 1)
            else:
                stackless.tasklet(lambda: log.append(down(800)))()
                stackless.run()

        at_the_bottom(800)
        print(*log)
        """,
        prints="800",
    )


@pytest.mark.parametrize("levels", [20_000, 100_000])
def test_deep_python_recursion(levels):
    """With a higher limit: Python calls take no C stack, in a tasklet as elsewhere."""
    assert_child(
        f"""
        import stackless, sys
        sys.setrecursionlimit({levels} + 100)

        def down(levels):
            if levels == 0:
                stackless.schedule()
                return 0
            return 1 + down(levels - 1)

        results = []
        for _ in range(3):
            stackless.tasklet(lambda: results.append(down({levels})))()
        stackless.run()
        print(*results)
        """,
        prints=f"{levels} " * 3,
    )


def test_recursion_limit_is_kept_after_the_dives():
    """The limit itself does not change; the depth counters are balanced after many recursions."""
    assert_child(
        f"""{DIVES}
limit = sys.getrecursionlimit()

def down(levels):
    return levels and 1 + down(levels - 1)

results = []
for _ in range(200):
    stackless.tasklet(dive)(plain)
    stackless.tasklet(dive)(sort_key)
    stackless.run()
stackless.tasklet(lambda: results.append(down(limit - 100)))()
stackless.run()
results.append(down(limit - 100))
assert results == [limit - 100] * 2 and sys.getrecursionlimit() == limit
print("end")
""",
        prints="end",
    )


OTHER_INTERPRETER = """
import sys
{imports}

DIVES = '''
import json, sys
sys.setrecursionlimit(10**6)
nested = []
for _ in range(100_000):
    nested = [nested]

class Odd:
    def __getattr__(self, name):
        return getattr(self, name + "x")

def dive(call):
    try:
        call()
    except RecursionError:
        return
    raise AssertionError

for call in (lambda: repr(nested), lambda: json.dumps(nested), lambda: Odd().anything):
    dive(call)
while nested:
    nested = nested[0]
'''

def dive(other):
    error = interpreters.run_string(other, DIVES)
    assert error is None, error

def dive_in_a_new_one():
    other = interpreters.create()
    dive(other)
    interpreters.destroy(other)

for _ in range(2):
    stackless.tasklet(dive_in_a_new_one)()
    stackless.run()
other = interpreters.create()
for _ in range(2):
    dive(other)             # on the thread's own stack
    stackless.tasklet(dive)(other)
    stackless.run()
interpreters.destroy(other)
print("end")
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="older ones count the depth")
@pytest.mark.parametrize("first", ["stackless", "interpreters"])
def test_recursion_in_another_interpreter(first):
    """It runs on the tasklet's stack; its thread state must have the limits of that stack."""
    imports = ["import stackless", "import _interpreters as interpreters"]
    if first == "interpreters":
        imports.reverse()
    assert_child(OTHER_INTERPRETER.format(imports="\n".join(imports)), prints="end")
