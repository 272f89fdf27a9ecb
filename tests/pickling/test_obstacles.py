"""`why_not_picklable`: every obstacle, with the path to it."""

import itertools
import pickle
import re
import sys
import threading
import types

import helper_module
import pytest
import stackless
from child_process import assert_child
from stackless import why_not_picklable


class Box:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("one", "two")


class Stubborn:
    def __reduce__(self):
        raise RuntimeError("I will not")


def paths(value):
    return [each.path for each in why_not_picklable(value)]


# ------------------------------------------------------------------ values


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1, {"a": (2, {3})}],
        Box(a=[Box(b=1)]),
        lambda: 1,
        helper_module.count,
        helper_module.make_counter(),
        Box,
        sys,
        ValueError("x"),
        {1: 2}.items(),
        map(lambda x: x, [1]),
        [1].append,
        types.SimpleNamespace(f=lambda x=(lambda: 1): x),
        sys.stdout,
        range(5),
        iter([1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_nothing_in_the_way(value):
    """The list is empty, and the value can be pickled."""
    assert why_not_picklable(value) == []
    stackless.dumps(value)


def test_everything_is_found_not_only_the_first():
    """In dicts, lists, sets, attributes, slots; the nearest first."""
    slotted = Slotted()
    slotted.two = threading.Lock()
    value = {
        "list": [1, threading.Lock()],
        "box": Box(handlers=[0, Box(event=threading.Lock())]),
        5: slotted,
        "set": {Stubborn()},
        (1,): Stubborn(),
    }
    assert paths(value) == [
        "object[<tuple>]",
        "object['list'][1]",
        "object[5].two",
        "object['set']{<Stubborn>}",
        "object['box'].handlers[1].event",
    ]
    with pytest.raises((TypeError, RuntimeError)):
        stackless.dumps(value)


def test_what_an_obstacle_says():
    """Type, reason and remedy."""
    (found,) = why_not_picklable([threading.Lock()])
    assert found.frame is None
    assert found.path == "object[0]"
    assert found.type == "_thread.lock"
    assert "_thread.lock" in found.reason
    assert "lock" in found.remedy
    assert str(found) == f"object[0] (_thread.lock): {found.reason}; {found.remedy}"


def test_remedies_fit(tmp_path):
    """Files, sockets, itertools, matches, unknown types."""
    import socket

    with open(tmp_path / "f", "w") as file, socket.socket() as connection:
        for value, word in [
            (file, "opened again"),
            (connection, "connected again"),
            (re.match("a", "a"), "groups"),
            (Stubborn(), "Stubborn.__getstate__"),
            (sys._getframe(), "frames are pickled only inside"),
            (types.ModuleType("nowhere"), None),
        ]:
            found = why_not_picklable(Box(x=value))
            if word is None:
                assert found == []
            else:
                assert [each.path for each in found] == ["object.x"]
                assert word in found[0].remedy
    if sys.version_info >= (3, 14):
        assert "generator" in why_not_picklable(itertools.islice([], 1))[0].remedy


def test_functions():
    """Closures, defaults and attributes have their names in the path."""
    lock = threading.Lock()
    other = threading.Lock()

    def function(x=[other], *, y=None):  # noqa: B006
        return lock

    function.extra = {"key": Stubborn()}
    assert sorted(paths([function])) == [
        "object[0].__closure__['lock']",
        "object[0].__defaults__[0][0]",
        "object[0].extra['key']",
    ]


def test_globals_that_a_function_carries():
    """Only the globals that it uses."""
    here = {"__name__": "nowhere_at_all", "lock": threading.Lock(), "unused": threading.Lock()}
    exec("def f(): return lock", here)
    assert paths(here["f"]) == ["object.__globals__['lock']"]


def test_cells_methods_and_exceptions():
    """The path has the names that the source uses."""
    lock = threading.Lock()
    assert paths(types.CellType([lock])) == ["object.cell_contents[0]"]
    assert paths(types.MethodType(lambda self: 1, lock)) == ["object.__self__"]
    error = ValueError("x")
    error.__cause__ = KeyError(lock)
    error.held = Stubborn()
    assert sorted(paths(error)) == ["object.__cause__.<1>", "object.__dict__['held']"]


def test_reducers_that_fail():
    """The reason is the exception that they raise."""
    (found,) = why_not_picklable(Stubborn())
    assert found.reason == "I will not"


def test_names_that_lead_nowhere():
    """A class that was replaced under its name, a function of C without a name."""
    gone = type("Gone", (), {"__module__": "helper_module"})
    assert why_not_picklable(gone) == []  # by value
    lost = type(iter([]))
    (found,) = why_not_picklable([lost])
    assert found.path == "object[0]"
    assert "list_iterator" in found.reason


def test_same_object_is_named_once():
    """However many paths lead to it; and cycles end."""
    lock = threading.Lock()
    value = [lock, [lock]]
    value.append(value)
    assert paths(value) == ["object[0]"]


def test_limit():
    """The last entry says that there are more."""
    value = [threading.Lock(), list(range(10_000))]
    *rest, last = why_not_picklable(value, limit=100)
    assert [each.path for each in rest] == ["object[0]"]
    assert "more than 100 objects" in last.reason
    assert why_not_picklable(list(range(1000)), limit=2000) == []


def test_deep_structures():
    """Obstacles are found at any depth; and depth itself is one."""
    deep = [threading.Lock()]
    for _ in range(50_000):
        deep = [deep]
    (found,) = why_not_picklable(deep)
    assert found.type == "_thread.lock"
    harmless = []
    for _ in range(100_000):
        harmless = [harmless]
    (found,) = why_not_picklable(harmless)
    assert "recursion" in found.reason


def test_wrong_arguments():
    """TypeError, ValueError."""
    for error, options in ((TypeError, {"limit": "5"}), (ValueError, {"limit": 0})):
        with pytest.raises(error):
            why_not_picklable(1, **options)
    with pytest.raises(TypeError):
        why_not_picklable()


def test_nothing_is_kept_alive():
    """The walk drops every reference to the objects that it saw."""
    import gc
    import weakref

    box = Box(lock=threading.Lock())
    gone = weakref.ref(box)
    why_not_picklable(box)
    del box
    gc.collect()
    assert gone() is None


def test_registered_types_are_no_obstacle():
    """`register` is the remedy."""
    lock = threading.Lock()
    stackless.pickling.register(type(lock), lambda lock: None, lambda _: threading.Lock())
    try:
        assert why_not_picklable([lock]) == []
        assert type(stackless.loads(stackless.dumps([lock]))[0]) is type(lock)
        assert type(pickle.loads(pickle.dumps([lock]))[0]) is type(lock)
    finally:
        stackless.pickling.unregister(type(lock))
    assert len(why_not_picklable([lock])) == 1


# ------------------------------------------------------------------ tasklets


def waiting(channel, handlers):
    first = handlers[0]  # noqa: F841
    nested(channel)


def nested(channel):
    mine = Box(lock=Stubborn())  # noqa: F841
    channel.receive()


def test_variables_of_a_tasklet():
    """Each with its call: function, file, line."""
    channel = stackless.channel()
    tasklet = stackless.tasklet(waiting)(channel, [threading.Lock()])
    stackless.run()
    found = {each.path: each for each in why_not_picklable([tasklet])}
    inner = found["locals['mine'].lock"]
    assert inner.frame.function == "nested"
    assert inner.frame.file == __file__
    assert inner.frame.line == nested.__code__.co_firstlineno + 2
    outer = (
        found["locals['first']"] if "locals['first']" in found else found["locals['handlers'][0]"]
    )
    assert outer.frame.function == "waiting"
    assert str(outer).startswith(f"{__file__}:{outer.frame.line}, in waiting: locals[")
    tasklet.kill()


def looping(channel):
    for _ in memoryview(b"ab"):
        channel.receive()


def test_values_that_have_no_name():
    """The iterator of a loop is on the evaluation stack."""
    channel = stackless.channel()
    tasklet = stackless.tasklet(looping)(channel)
    stackless.run()
    (found,) = why_not_picklable(tasklet)
    assert found.path.startswith("stack[")
    assert found.type.endswith("memory_iterator")
    assert found.frame.function == "looping"
    assert found.frame.line == looping.__code__.co_firstlineno + 2
    tasklet.kill()


def test_generators():
    """Their variables have names; values on their evaluation stack have none."""

    def generate(lock):
        inner = [lock]  # noqa: F841
        for _ in memoryview(b"ab"):
            yield

    generator = generate(threading.Lock())
    next(generator)
    found = {each.path: each for each in why_not_picklable([generator])}
    (lock, iterator) = sorted(found, key=lambda path: "locals" not in path)
    assert lock == "locals['lock']"
    assert found[lock].frame.function.endswith("generate")
    assert found[iterator].type.endswith("memory_iterator")


def test_channel_and_waiting_tasklets():
    """A channel leads to its tasklets, and these to their variables."""
    channel = stackless.channel()
    tasklets = [stackless.tasklet(waiting)(channel, [threading.Lock()]) for _ in range(2)]
    stackless.run()
    assert sum(each.type == "_thread.lock" for each in why_not_picklable({"c": channel})) == 2
    for each in tasklets:
        each.kill()


def test_tasklet_with_c_code_between():
    """The engine's reason is listed beside the other obstacles."""
    channel = stackless.channel()

    def sort(lock):
        sorted([1, 2], key=lambda item: channel.receive())

    tasklet = stackless.tasklet(sort)(threading.Lock())
    stackless.run()
    found = {each.type: each for each in why_not_picklable(tasklet)}
    assert found.keys() == {"stackless.tasklet", "_thread.lock"}
    assert "called sorted" in found["stackless.tasklet"].reason
    with pytest.raises(pickle.PicklingError, match="called sorted"):
        stackless.dumps(tasklet)
    tasklet.kill()


def test_tasklets_without_obstacles():
    """Waiting, paused, never started, ended."""
    channel = stackless.channel()
    tasklets = [stackless.tasklet(lambda: channel.receive())()]
    tasklets.append(stackless.tasklet(lambda x: stackless.schedule_remove())(1))
    stackless.run()
    tasklets += [stackless.tasklet(waiting), stackless.tasklet(waiting, (channel, [1]))]
    tasklets.append(stackless.tasklet())
    assert why_not_picklable(tasklets) == []
    copies = stackless.loads(stackless.dumps(tasklets))
    assert [each.blocked for each in copies] == [True, False, False, False, False]
    for each in tasklets + copies:
        each.kill()


def test_current_tasklet():
    """It cannot pickle itself."""
    (found,) = why_not_picklable(stackless.current)
    assert found.path == "object"


def test_text_of_a_program():
    """The text that a program prints."""
    assert_child(
        """
        import stackless, threading
        def handler(channel):
            state = {"lock": threading.Lock()}
            channel.receive()
        t = stackless.tasklet(handler)(stackless.channel())
        stackless.run()
        for each in stackless.why_not_picklable(t):
            if "lock" in each.path:
                print(str(each).split(":", 1)[1].split(")")[0])
        """,
        prints="5, in handler: locals['state']['lock'] (_thread.lock",
    )
