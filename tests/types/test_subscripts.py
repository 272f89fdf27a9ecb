"""`channel[int]` and its kin at run time: as with the classes of the standard library."""

import copy
import pickle
import types
from typing import Any, get_type_hints

import pytest
import stackless
from stackless import AltCase, AltResult, channel, tasklet


@pytest.mark.parametrize("kind", [channel, AltCase, AltResult])
def test_one_type(kind):
    alias = kind[int]
    assert isinstance(alias, types.GenericAlias)
    assert (alias.__origin__, alias.__args__) == (kind, (int,))
    assert repr(alias) == f"stackless.{kind.__name__}[int]"
    assert pickle.loads(pickle.dumps(alias)) == copy.deepcopy(alias) == alias


def test_tasklets_have_arguments_and_a_result():
    alias = tasklet[[int, str], bytes]
    assert (alias.__origin__, alias.__args__) == (tasklet, ([int, str], bytes))
    assert tasklet[..., bytes].__args__ == (..., bytes)


def test_the_alias_makes_objects_of_the_class():
    ch = channel[int](capacity=2)
    assert type(ch) is channel
    assert ch.capacity == 2
    t = tasklet[..., int](lambda: 5)()
    assert type(t) is tasklet
    stackless.run()
    with pytest.raises(TypeError):
        isinstance(ch, channel[int])


def test_subclasses():
    class Numbers(channel[int]):
        pass

    class Workers(tasklet[..., Any]):
        pass

    assert Numbers.__mro__[1] is channel
    assert Numbers.__orig_bases__ == (channel[int],)
    assert Numbers[str].__origin__ is Numbers
    ch = Numbers(capacity=1)
    ch.send(1)
    assert ch.receive() == 1
    assert Workers(lambda: None)().alive
    stackless.run()


def test_annotations():
    def serve(requests: channel[str], done: "tasklet[..., int]") -> AltResult[int]: ...

    hints = get_type_hints(serve)
    assert hints["requests"] == channel[str]
    assert hints["done"] == tasklet[..., int]
