"""Modules, views and iterators with plain pickle, and their copies."""

import collections
import copy
import itertools
import pickle
import sys
import types
import xml.dom.minidom

import helper_module
import pytest
import stackless
from ways import in_c

# ------------------------------------------------------------------ modules


@pytest.mark.parametrize("module", [sys, xml, xml.dom.minidom, stackless, stackless.pickling])
def test_modules_go_by_name(travel, module):
    """A submodule is loaded as itself, not as its package."""
    assert travel(module) is module
    assert copy.copy(module) is module
    assert copy.deepcopy(module) is module


def test_module_that_cannot_be_imported():
    """The error names it."""
    for name in ("not_in_sys_modules", "sys"):
        with pytest.raises(pickle.PicklingError, match=name):
            pickle.dumps(types.ModuleType(name))


# ------------------------------------------------------------------ views


@pytest.mark.parametrize("kind", [dict, collections.OrderedDict])
@pytest.mark.parametrize("view", ["keys", "values", "items"])
def test_views(travel, kind, view):
    """They show the same dict, before and after."""
    viewed = kind({1: 2, 3: 4})
    found, dictionary = travel((getattr(viewed, view)(), viewed))
    assert type(found) is type(getattr(viewed, view)())
    assert list(found) == list(getattr(viewed, view)())
    dictionary[5] = 6
    assert len(found) == 3


def test_views_of_other_dicts(travel):
    """A defaultdict, and a dict that holds its own view."""
    found = travel(collections.defaultdict(list, a=[1]).items())
    assert list(found) == [("a", [1])]
    viewed = {}
    viewed["me"] = viewed.values()
    back = travel(viewed)
    assert list(back["me"]) == [back["me"]]


def test_copies_of_views_are_shallow():
    """The copy shows the same dict."""
    viewed = {1: 2}
    view = copy.copy(viewed.keys())
    viewed[2] = 3
    assert view == {1, 2}
    deep = copy.deepcopy(viewed.keys())
    viewed[3] = 4
    assert deep == {1, 2}


# ------------------------------------------------------------------ iterators


def sample(pairs=((1, 2), (3, 4), (5, 0))):
    """Return new iterators."""
    pairs = list(pairs)
    table = dict(pairs)
    yield from {
        "list": iter(pairs),
        "reversed list": reversed(pairs),
        "tuple": iter(tuple(pairs)),
        "set": iter({7}),
        "keys": iter(table),
        "values": iter(table.values()),
        "items": iter(table.items()),
        "reversed keys": reversed(table),
        "ordered": iter(collections.OrderedDict(table)),
        "range": iter(range(4)),
        "long range": iter(range(2**70, 2**70 + 3)),
        "enumerate": enumerate("abc"),
        "zip": zip(pairs, "abc", strict=False),
        "strict zip": zip(pairs, "abc", strict=True),
        "map": map(str, pairs),
        "map with lambda": map(lambda x: x[0], pairs),
        "map of two": map(max, [1, 5], [3, 4]),
        "filter": filter(None, [0, 1, 2]),
        "filter with lambda": filter(lambda x: x > 1, [1, 2, 3]),
        "str": iter("abc"),
        "bytes": iter(b"abc"),
        "deque": iter(collections.deque([1, 2, 3])),
        "reversed deque": reversed(collections.deque([1, 2, 3])),
        "callable": iter(iter([1, 2, 3]).__next__, 3),
        "callable with lambda": iter(lambda found=[3, 2, 1]: found.pop(), 3),  # noqa: B006
        "sequence": iter(helper_module.OnlyItems()),
    }.items()
    yield from itertools_that_travel().items()


def itertools_that_travel():
    return {
        "repeat": itertools.repeat("x", 3),
        "chain": itertools.chain([1, 2], (3,), [], [4]),
        "chain of iterables": itertools.chain.from_iterable(iter([[1, 2], [3]])),
        "starmap": itertools.starmap(lambda a, b: a - b, [(1, 2), (7, 3)]),
        "filterfalse": itertools.filterfalse(None, [0, 1, [], "x", ""]),
        "filterfalse with lambda": itertools.filterfalse(lambda x: x > 1, [0, 3, 1]),
        "compress": itertools.compress("abcd", [1, 0, 1, 1]),
    }


NAMES = [name for name, _ in sample()]


@pytest.mark.parametrize("taken", [0, 1, 2, 9])
@pytest.mark.parametrize("name", NAMES)
def test_iterators_continue_where_they_were(name, taken):
    """After no item, some, all; the original is not changed by pickling; also copies of copies."""
    original = dict(sample())[name]
    for _ in range(taken):
        next(original, None)
    back = in_c(in_c(original))
    assert list(back) == list(original)
    assert next(back, "end") == "end"


def test_map_over_lists_shares_them(travel):
    """The iterable is the same object afterwards."""
    items = [1]
    mapped, items = travel((map(lambda x: -x, items), items))
    items.append(2)
    assert list(mapped) == [-1, -2]


@pytest.mark.parametrize(
    "count",
    [
        itertools.count(),
        itertools.count(-7),
        itertools.count(5, 3),
        itertools.count(sys.maxsize - 1),
        itertools.count(1.5, 0.25),
        itertools.count(1, 1),
        itertools.count(0, 0),
    ],
    ids=repr,
)
def test_count(count):
    """Small and large ints, steps, floats."""
    for _ in range(3):
        back, again = in_c(count), copy.copy(count)
        assert type(back) is itertools.count
        expected = next(count)
        assert next(back) == next(again) == expected
        assert next(in_c(back)) == next(again)


def test_endless_repeat():
    """It stays endless."""
    back = in_c(itertools.repeat("x"))
    assert repr(back) == "repeat('x')"
    assert next(in_c(itertools.repeat(itertools.repeat))) is itertools.repeat


def test_chain_is_copied_many_times():
    """It is copied in the middle of each iterable."""
    chain = itertools.chain([1, 2, 3], [4, 5, 6])
    found = []
    for _ in range(6):
        found.append(next(chain))
        chain = in_c(chain)
    assert found == [1, 2, 3, 4, 5, 6]
    assert list(chain) == []


@pytest.mark.skipif(sys.version_info < (3, 14), reason="they can be pickled")
def test_itertools_whose_state_is_hidden_are_refused():
    """As Python 3.14 does."""
    with pytest.raises(TypeError, match="islice"):
        pickle.dumps(itertools.islice([1, 2], 1))


def test_copies_of_iterators_are_shallow():
    """The copy of a map shares its iterator and function."""
    function = lambda x: -x  # noqa: E731
    numbers = iter([1, 2, 3])
    mapped = map(function, numbers)
    other = copy.copy(mapped)
    assert next(mapped) == -1
    assert next(other) in (-2, -1)
    assert copy.copy(itertools.chain([1])).__next__() == 1
    assert next(copy.deepcopy(map(function, [1]))) == -1


def test_iterators_do_not_need_this_package_without_functions_by_value():
    """Pickles that plain pickle could make can be read without this package."""
    iterators = [map(str, [1]), filter(None, [1]), itertools.chain([1]), itertools.count(2)]
    iterators += [itertools.compress("a", [1]), itertools.starmap(max, []), itertools.repeat(1)]
    next(iterators[2])
    for iterator in iterators:
        assert b"stackless" not in pickle.dumps(iterator)
