"""Functions by value (`by_value`), code and cells: with plain pickle and both of its picklers."""

import copy
import gc
import importlib.util
import pickle
import struct
import sys
import textwrap
import types
import weakref
import zlib

import helper_module
import pytest
import ways
from child_process import assert_child
from stackless.pickling import code as code_pickling
from stackless.pickling.functions import actual, by_value

trip = ways.in_c


# ------------------------------------------------------------------ what is replaced


def test_what_pickle_finds_by_name_stays_itself():
    """Functions with a name, methods, builtins, and every other value."""
    plain = helper_module.Plain()
    for value in (helper_module.count, plain.method, len, 3, None, [], helper_module.Plain, "x"):
        assert by_value(value) is value


def test_a_stand_in_is_the_same_as_long_as_it_lives():
    """Picklers identify objects by identity."""
    function = lambda: 1  # noqa: E731
    assert by_value(function) is by_value(function)
    assert actual(by_value(function)) is function


def test_a_stand_in_dies_with_its_last_reference():
    """No other reference is kept."""
    function = lambda: 1  # noqa: E731
    gone = weakref.ref(function)
    by_value(function)
    del function
    gc.collect()
    assert gone() is None


# ------------------------------------------------------------------ functions


def test_lambda(travel):
    """The copy runs, and is another function."""
    function = lambda x, y=2: x + y  # noqa: E731
    back = travel(by_value(function))
    assert back(1) == 3
    assert back is not function


def test_attributes_survive(travel):
    """Names, documentation, defaults, annotations, `__dict__`."""

    def function(a: int, b: str = "b", *args, c: float = 1.5, **kwargs) -> bytes:
        """Documentation."""

    function.extra = [1, 2]
    back = travel(by_value(function))
    for name in (
        "__name__",
        "__qualname__",
        "__module__",
        "__doc__",
        "__defaults__",
        "__kwdefaults__",
        "__annotations__",
        "__dict__",
    ):
        assert getattr(back, name) == getattr(function, name), name
    assert back.__code__ == function.__code__


def test_changed_attributes_survive():
    """Attributes that were assigned after the definition."""

    def function():
        pass

    function.__name__, function.__qualname__ = "other", "Some.other"
    function.__module__, function.__doc__ = "somewhere", "Changed."
    back = trip(by_value(function))
    assert (back.__name__, back.__qualname__) == ("other", "Some.other")
    assert (back.__module__, back.__doc__) == ("somewhere", "Changed.")


def test_module_none_survives():
    """`__module__` may be None."""
    function = lambda: 0  # noqa: E731
    function.__module__ = None
    assert trip(by_value(function)).__module__ is None


def test_shared_cells_stay_shared(travel):
    """Two functions of one scope share a cell."""

    def scope():
        value = 0

        def add(n):
            nonlocal value
            value += n

        def get():
            return value

        return add, get

    add, get = travel(tuple(map(by_value, scope())))
    add(5)
    add(6)
    assert get() == 11
    assert add.__closure__[0] is get.__closure__[0]


def test_cell_and_function_share(travel):
    """A frame holds the cell, a function closes over it: one cell, in either order."""

    def scope():
        value = 1

        def get():
            return value

        return get

    get = scope()
    cell = get.__closure__[0]
    one, other = travel((cell, by_value(get)))
    assert other.__closure__[0] is one
    other, one = travel((by_value(get), cell))
    assert other.__closure__[0] is one
    one.cell_contents = 7
    assert other() == 7


def test_function_that_refers_to_itself(travel):
    """Through its cell, with the function or the cell pickled first."""

    def factorial(n):
        return n * factorial(n - 1) if n else 1

    assert travel(by_value(factorial))(5) == 120
    cell = travel(factorial.__closure__[0])
    assert cell.cell_contents(5) == 120
    assert cell.cell_contents.__closure__[0] is cell


def test_functions_that_refer_to_each_other(travel):
    """Cycles through two cells, a default, and an attribute."""

    def even(n):
        return n == 0 or odd(n - 1)

    def odd(n, again=[even]):  # noqa: B006
        return n != 0 and again[0](n - 1)

    odd.__defaults__ = (even,)
    odd = types.FunctionType(odd.__code__, odd.__globals__, "odd", (even,), odd.__closure__)
    even.partner = lambda: even
    assert travel(by_value(lambda: (even, even.partner() is even)))()[1]


def test_cell_in_a_list_in_itself(travel):
    """A cycle without a function."""
    cell = types.CellType([])
    cell.cell_contents.append(cell)
    back = travel(cell)
    assert back.cell_contents[0] is back


def test_empty_cells(travel):
    """A cell alone, and a variable that is not bound yet."""
    with pytest.raises(ValueError):
        travel(types.CellType()).cell_contents  # noqa: B018

    def scope():
        def get():
            return late

        if get is None:
            late = 1
        return get

    with pytest.raises(NameError):
        travel(by_value(scope()))()


def test_defaults_that_are_functions(travel):
    """They are pickled by value as well."""
    function = lambda inner=lambda: 3, *, other=lambda: 4: inner() + other()  # noqa: E731
    assert travel(by_value(function))() == 7


def test_wrapped_functions():
    """The wrapper has the name; the wrapped function is pickled by value."""
    import functools

    def outer():
        def inner():
            return 5

        @functools.wraps(inner)
        def wrapper():
            return inner() + 1

        return wrapper

    back = trip(by_value(outer()))
    assert back() == 6
    assert back.__wrapped__() == 5
    assert back.__wrapped__ is back.__closure__[0].cell_contents


def test_bound_methods(travel):
    """A method of an unnamed function; pickle handles the others."""
    method = types.MethodType(lambda self: len(self), [1, 2])
    assert travel(by_value(method))() == 2
    shout = by_value(helper_module.Plain().shout)
    assert travel(shout)() == "SHOUT"


def test_generators_and_coroutines_functions():
    """The kind of function is in its code."""

    def numbers():
        yield from range(3)

    async def answer():
        return 42

    assert list(trip(by_value(numbers))()) == [0, 1, 2]
    with pytest.raises(StopIteration) as stop:
        trip(by_value(answer))().send(None)
    assert stop.value.value == 42


# ------------------------------------------------------------------ globals


def test_functions_of_a_module_see_its_live_globals(travel):
    """The globals are not copied."""
    helper_module.counter = 0
    step = travel(by_value(helper_module.make_counter()))
    assert step() == 10
    assert helper_module.count() == 11
    assert step.__globals__ is vars(helper_module)


NOWHERE = """
import xml.dom.minidom
total = 1
unused = open
box = []
class Named: pass

def add(n):
    global total
    total += n
    return total

def get():
    return total, twice(box)

twice = lambda things: things * 2

def nested():
    class Inner:
        mine = total
    return Inner

def parse(text):
    return xml.dom.minidom.parseString(text).documentElement.tagName

def later():
    global made
    made = 3
    return made
"""


def nowhere():
    """Functions whose module cannot be imported."""
    found = {"__name__": "nowhere_at_all"}
    exec(NOWHERE, found)
    return types.SimpleNamespace(**found)


def test_functions_of_no_module_carry_their_globals(travel):
    """They carry the globals that their code names, and share them."""
    here = nowhere()
    add, get = travel((by_value(here.add), by_value(here.get)))
    assert add(4) == 5
    assert get() == (5, [])
    assert add.__globals__ is get.__globals__ is not here.add.__globals__
    assert add.__globals__.keys() == {
        "__name__",
        "__package__",
        "__builtins__",
        "total",
        "twice",
        "box",
    }
    assert get.__globals__["twice"].__globals__ is get.__globals__
    assert here.total == 1
    assert add.__module__ == "nowhere_at_all"


def test_class_bodies_and_new_globals(travel):
    """LOAD_NAME in a class body; a global that does not exist yet."""
    here = nowhere()
    assert travel(by_value(here.nested))().mine == 1
    later = travel(by_value(here.later))
    assert later() == 3
    assert later.__globals__["made"] == 3


def test_submodules_are_imported():
    """`xml.dom.minidom` is reached through the global `xml`."""
    data = pickle.dumps(by_value(nowhere().parse))
    assert_child(
        """
        import sys, pickle, stackless
        assert "xml.dom.minidom" not in sys.modules
        print(pickle.loads(bytes.fromhex(sys.argv[1]))("<hello/>"))
        """,
        args=[data.hex()],
        prints="hello",
    )


def test_another_process_runs_it():
    """It has neither the module nor the functions: a recursion, with cells and globals."""
    source = """
    base = 100
    def scope(offset):
        def down(n, step=1):
            return base + offset if n == 0 else n + down(n - step)
        return down
    """
    here = {"__name__": "nowhere_at_all"}
    exec(textwrap.dedent(source), here)
    assert_child(
        """
        import sys, pickle, stackless
        down = pickle.loads(bytes.fromhex(sys.argv[1]))
        print(down(4), down.__module__, down.__qualname__)
        """,
        args=[pickle.dumps(by_value(here["scope"](10))).hex()],
        prints="120 nowhere_at_all scope.<locals>.down",
    )


# ------------------------------------------------------------------ code


def test_code(travel):
    """Equal, and shared within a blob."""
    code = test_code.__code__
    one, two = travel((code, code))
    assert one == code
    assert one is two


def test_code_of_another_python_is_refused_by_name():
    """The text says which Python wrote it, and which one this is."""
    load, (data,) = code_pickling.reduce(test_code.__code__)
    other = struct.pack("<BH", 99, 4321) + data[3:]
    with pytest.raises(code_pickling.CodeVersionError) as refused:
        load(other)
    for part in ("3.99", "4321", f"3.{sys.version_info.minor}"):
        assert part in str(refused.value)
    magic = int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little")
    assert str(magic) in str(refused.value)


def test_damaged_code_is_refused():
    """Each byte is checked: damaged code would crash."""
    load, (data,) = code_pickling.reduce(test_code.__code__)
    for place in range(len(data)):
        for bad in (data[:place], data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]):
            with pytest.raises(pickle.UnpicklingError):
                load(bad)


def test_what_is_not_code_is_refused():
    """Other types, and marshal data of something else."""
    import marshal

    data = marshal.dumps([1])
    header = struct.pack("<BHL", sys.version_info.minor, code_pickling.MAGIC, zlib.crc32(data))
    for wrong in (None, "text", b"", header + data):
        with pytest.raises(pickle.UnpicklingError):
            code_pickling.load(wrong)


# ------------------------------------------------------------------ copies


def test_copies():
    """`copy.copy` is shallow, of cells and code."""
    contents = [1]
    cell = types.CellType(contents)
    assert copy.copy(cell) is not cell
    assert copy.copy(cell).cell_contents is contents
    assert copy.deepcopy(cell).cell_contents == contents
    assert copy.deepcopy(cell).cell_contents is not contents
    function = lambda: 1  # noqa: E731
    assert copy.copy(types.CellType(function)).cell_contents is function
    assert copy.deepcopy(types.CellType(function)).cell_contents is function
    assert copy.copy(function.__code__) == function.__code__
    with pytest.raises(TypeError):
        copy.copy(sys._getframe())
