"""More scenarios, see scenarios.py: the methods and hooks that C code calls on Python classes."""

import abc
import collections
import contextlib
import copy
import enum
import functools
import pickle

from scenarios import scenario

# ------------------------------------------------------------------ slots of a class


@scenario
def construction(pause):
    class Meta(type):
        def __call__(cls, *args):
            pause()
            return super().__call__(*args)

    class Made(metaclass=Meta):
        def __new__(cls, value):
            pause()
            return super().__new__(cls)

        def __init__(self, value):
            pause()
            self.value = value

    return Made(5).value


@scenario
def class_bodies(pause):
    log = []

    class Named:
        def __set_name__(self, owner, name):
            pause()
            log.append(name)

    class Meta(type):
        @classmethod
        def __prepare__(cls, name, bases):
            pause()
            return {}

        def __new__(cls, name, bases, namespace):
            pause()
            return super().__new__(cls, name, bases, namespace)

    class Base(metaclass=Meta):
        def __init_subclass__(cls):
            pause()
            log.append(cls.__name__)

    class Derived(Base):
        pause()
        attribute = Named()

    return log, Derived.__mro__[1] is Base


@scenario
def attributes(pause):
    class Odd:
        @property
        def by_property(self):
            pause()
            return 1

        @by_property.setter
        def by_property(self, value):
            pause()
            log.append(value)

        @functools.cached_property
        def cached(self):
            pause()
            return 2

        def __getattr__(self, name):
            pause()
            return name

        def __delattr__(self, name):
            pause()
            log.append(("deleted", name))

    log, odd = [], Odd()
    odd.by_property = 7
    del odd.x
    return odd.by_property, odd.cached, odd.anything, getattr(odd, "other", None), log


@scenario
def containers(pause):
    class Odd:
        def __getitem__(self, key):
            pause()
            return key

        def __setitem__(self, key, value):
            pause()
            log.append((key, value))

        def __delitem__(self, key):
            pause()
            log.append(key)

        def __len__(self):
            pause()
            return 3

        def __contains__(self, item):
            pause()
            return item == 1

        def __bool__(self):
            pause()
            return False

    log, odd = [], Odd()
    odd["a"] = 1
    del odd["b"]
    return odd["c"], odd[1:2], len(odd), 1 in odd, 2 in odd, bool(odd), not odd, log


@scenario
def numbers_and_text(pause):
    class Odd:
        def __add__(self, other):
            pause()
            return "add", other

        def __rmul__(self, other):
            pause()
            return "rmul", other

        def __index__(self):
            pause()
            return 2

        def __float__(self):
            pause()
            return 2.5

        def __str__(self):
            pause()
            return "text"

        def __repr__(self):
            pause()
            return "<odd>"

        def __format__(self, how):
            pause()
            return f"formatted {how}"

        def __call__(self, value):
            pause()
            return value

    odd = Odd()
    numbers = [odd + 1, 2 * odd, [10, 20, 30][odd], float(odd), hex(odd), "ab" * odd]
    texts = [str(odd), repr([odd]), f"{odd}", f"{odd:x}", "%s" % odd, odd(5)]  # noqa: UP031
    return numbers, texts


@scenario
def hashing_and_equality(pause):
    class Key:
        def __init__(self, name):
            self.name = name

        def __hash__(self):
            pause()
            return 1

        def __eq__(self, other):
            pause()
            return self.name == other.name

    table = {Key("a"): 1, Key("b"): 2}
    return table[Key("b")], Key("c") in table, len({Key("a"), Key("a")}), [Key("x")].index(Key("x"))


@scenario
def with_statements(pause):
    log = []

    class Manager:
        def __enter__(self):
            pause()
            log.append("enter")

        def __exit__(self, kind, value, tb):
            pause()
            log.append(kind and kind.__name__)
            return True

    @contextlib.contextmanager
    def manager():
        pause()
        yield
        pause()

    with Manager(), manager():
        pause()
    with Manager():
        raise KeyError
    with contextlib.ExitStack() as stack:
        stack.callback(pause)
        stack.enter_context(Manager())
    return log


@scenario
def descriptors_and_abstract_classes(pause):
    class Meta(abc.ABCMeta):
        def __instancecheck__(cls, instance):
            pause()
            return True

        def __subclasscheck__(cls, subclass):
            pause()
            return True

    class Odd(metaclass=Meta):
        pass

    class Descriptor:
        def __get__(self, instance, owner):
            pause()
            return "got"

    class Owner:
        attribute = Descriptor()

    return isinstance(1, Odd), issubclass(int, Odd), Owner.attribute, Owner().attribute


@scenario
def enum_and_namedtuple(pause):
    class Colour(enum.Enum):
        RED = 1

        @classmethod
        def _missing_(cls, value):
            pause()
            return cls.RED

    class Point(collections.namedtuple("Point", "x y")):
        def __new__(cls, x, y):
            pause()
            return super().__new__(cls, x, y)

    return Colour(99).name, Point(1, 2), Point._make([3, 4])


@scenario
def pickle_and_copy(pause):
    class Thing:
        def __init__(self, value):
            self.value = value

        def __reduce__(self):
            pause()
            return (complex, (self.value, 1))

        def __deepcopy__(self, memo):
            pause()
            return Thing(self.value + 1)

    return pickle.loads(pickle.dumps([Thing(1), Thing(2)])), copy.deepcopy([Thing(5)])[0].value
