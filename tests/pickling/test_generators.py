"""Generators, coroutines and asynchronous generators are pickled with their current place."""

import copy
import gc
import pickle
import random
import sys
import types

import pytest
import stackless
from stackless import _stackless

FLAGS = (stackless.PICKLEFLAGS_PRESERVE_AG_FINALIZER, stackless.PICKLEFLAGS_RESET_AG_FINALIZER)


def inner():
    x = yield "inner"
    return (yield (x, "again"))


def numbers(n):
    for i in range(n):
        try:
            values = [i, (yield 1), *[(yield 2)], f"{(yield 3)}", (yield from inner())]
            yield values
            if i == 1:
                raise ValueError(i)
        except ValueError:
            yield sys.exc_info()[0], (yield 5)
        finally:
            yield "finally"
        yield (lambda i=i: i)()


class Pause:
    def __await__(self):
        return (yield "pause")


async def counting(n):
    try:
        for i in range(n):
            yield i
            await Pause()
    finally:
        await Pause()


async def waiting():
    return 1, await Pause(), [i async for i in counting(3)]


def run(generator, move=lambda generator: generator):
    found, originals = [], []
    for k in range(1000):
        originals.append(generator)
        generator = move(generator)
        try:
            found.append(generator.send(k or None))
        except StopIteration as stop:
            found.append(stop.value)
            break
    assert move(generator).__name__ == originals[0].__name__
    return found


@pytest.fixture(autouse=True)
def quiet():
    """Generators that are dropped here yield in their finally blocks."""
    sys.unraisablehook, hook = (lambda what: None), sys.unraisablehook
    yield
    gc.collect()
    sys.unraisablehook = hook


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("make", [lambda: numbers(3), waiting], ids=["generator", "coroutine"])
def test_moves_at_every_place(make, travel):
    assert run(make(), travel) == run(make())


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
def test_copies(way):
    original = numbers(2)
    next(original)
    made = way(original)
    assert made is not original
    assert [next(made), next(made)] == [next(original), next(original)] == [2, 3]
    assert made.gi_frame.f_locals["n"] == 2


def test_copies_are_shallow():
    shared = []

    def keeping():
        yield shared
        yield local

    local = shared
    original = keeping()
    next(original)
    assert next(copy.copy(original)) is shared
    assert next(original) is shared


def test_names_are_kept(travel):
    original = numbers(1)
    original.__name__, original.__qualname__ = "name", "quali.fied"
    made = travel(original)
    assert (made.__name__, made.__qualname__) == ("name", "quali.fied")
    assert made.gi_code == numbers.__code__
    assert "name" not in repr(travel(numbers(1)))


def test_exhausted(travel):
    original = inner()
    assert len(list(original)) == 2
    made = travel(original)
    assert list(made) == []
    assert made.gi_frame is None
    assert made.__name__ == "inner"
    assert made.gi_code == inner.__code__


def test_cycles(travel):
    def keeps(itself):
        yield itself
        yield itself[0]

    itself = []
    itself.append(keeps(itself))
    next(itself[0])
    made = travel(itself)
    assert next(made[0]) is made[0]


def test_own_cell(travel):
    def make():
        def recursive():
            yield 1
            yield generator, lambda: generator

        generator = recursive()
        next(generator)
        return generator

    made = travel(make())
    found, function = next(made)
    assert found is made
    assert function() is made


def test_shared(travel):
    generator = inner()
    next(generator)
    first, second = travel([generator, generator])
    assert first is second


def test_a_running_one_is_refused():
    def tries():
        with pytest.raises(ValueError, match="running"):
            pickle.dumps(generator)
        yield "done"

    generator = tries()
    assert next(generator) == "done"


def test_functions_travel_by_value(travel):
    scale = 3
    made = travel(i * scale for i in range(3))
    assert list(made) == [0, 3, 6]


def test_origin_of_coroutines(travel):
    sys.set_coroutine_origin_tracking_depth(2)
    try:
        coroutine = waiting()
    finally:
        sys.set_coroutine_origin_tracking_depth(0)
    made = travel(coroutine)
    assert made.cr_origin == coroutine.cr_origin
    assert made.cr_origin
    made.close()
    coroutine.close()


def test_wrappers_of_coroutines(travel):
    coroutine = waiting()
    wrapper = coroutine.__await__()
    assert next(wrapper) == "pause"
    made = travel(wrapper)
    assert type(made) is type(wrapper)
    assert made.send(2) == "pause"


def test_generator_based_coroutine(travel):
    @types.coroutine
    def based():
        return (yield "based")

    original = based()
    next(original)
    made = travel(original)
    with pytest.raises(StopIteration) as stop:
        made.send(5)
    assert stop.value.value == 5


# ------------------------------------------------------------------ asynchronous generators


@pytest.fixture
def hooks():
    """Hooks of asynchronous generators that record the objects they were called with."""
    called = []

    def first(generator):
        called.append(("first", generator))

    def last(generator):
        called.append(("last", generator))

    old = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(first, last)
    flags = stackless.pickle_flags()
    yield called
    sys.set_asyncgen_hooks(*old)
    stackless.pickle_flags(flags, -1)


def started():
    generator = counting(2)
    step = generator.__anext__()
    with pytest.raises(StopIteration) as stop:
        step.send(None)
    assert stop.value.value == 0
    return generator


def step(generator):
    """The value that the next step of an asynchronous generator yields to the event loop."""
    return generator.__anext__().send(None)


def test_asynchronous_generators(travel, hooks):
    original = started()
    del hooks[:]
    made = travel(original)
    # Its hooks are those of where it is restored.
    assert hooks == [("first", made)]
    assert step(made) == "pause"
    del hooks[:]
    fresh = travel(counting(1))
    assert hooks == []
    with pytest.raises(StopIteration):
        step(fresh)
    assert hooks == [("first", fresh)]


def test_hooks_by_value(hooks):
    by_value, reset = FLAGS
    original = started()
    stackless.pickle_flags(by_value, by_value)
    del hooks[:]
    # A nested function: by value.
    made = pickle.loads(pickle.dumps(original))
    assert hooks == []
    assert step(made) == "pause"
    assert hooks == []
    stackless.pickle_flags(reset, by_value | reset)
    made = pickle.loads(pickle.dumps(original))
    assert step(made) == "pause"
    assert hooks == [("first", made)]


def test_awaitables_of_asynchronous_generators(travel):
    generator = counting(2)
    made = travel(generator.asend(None))
    with pytest.raises(StopIteration) as stop:
        made.send(None)
    assert stop.value.value == 0
    begun = (original := started()).__anext__()
    assert begun.send(None) == "pause"
    made = travel(begun)
    with pytest.raises(StopIteration) as stop:
        made.send(None)
    assert stop.value.value == 1
    closing = (another := started()).aclose()
    assert closing.send(None) == "pause"
    made = travel(closing)
    with pytest.raises(StopIteration):
        made.send(None)
    with pytest.raises(RuntimeError):
        made.send(None)
    throwing = travel(started().athrow(KeyError("thrown")))
    assert throwing.send(None) == "pause"
    with pytest.raises(KeyError, match="thrown"):
        throwing.send(None)
    del original, another


# ------------------------------------------------------------------ bad pictures

JUNK = [None, 0, 1, -1, 2**70, "x", b"", (), (1, 2), "o-o", numbers, numbers.__code__, 1.5]


def damaged(picture, chance):
    picture, frame = list(picture), list(picture[1])
    for _ in range(chance.randint(1, 2)):
        if chance.random() < 0.7:
            frame[chance.randrange(7)] = (
                chance.choice([*JUNK, frame[4][:-1], (*frame[4], 1)])
                if chance.random() < 0.5
                else chance.randrange(200)
            )
            picture[1] = tuple(frame)
        else:
            picture[chance.randrange(8)] = chance.choice(JUNK)
    return tuple(picture)


def test_bad_pictures_are_refused():
    original = numbers(3)
    next(original)
    picture = _stackless._generator_picture(original, None)
    chance, refused = random.Random(1), 0
    for _ in range(5000):
        made = _stackless._new_generator(types.GeneratorType, picture[-1])
        try:
            _stackless._restore_generator(made, damaged(picture, chance))
        except (ValueError, TypeError):
            refused += 1
    assert refused > 2000


def test_a_picture_must_fit():
    original = numbers(3)
    next(original)
    picture = _stackless._generator_picture(original, None)
    frame = picture[1]

    def restored(at):
        made = _stackless._new_generator(types.GeneratorType, picture[-1])
        changed = (*frame[:2], at, *frame[3:])
        _stackless._restore_generator(made, (picture[0], changed, *picture[2:]))
        return made

    assert next(restored(frame[2])) == 2
    good = 0
    for at in range(len(numbers.__code__.co_code) // 2):
        try:
            restored(at)
            good += 1
        except ValueError as error:
            assert "picture" in str(error)
    # Only at places where it yields with the same number of values on its stack.
    assert 1 <= good <= 12
    with pytest.raises(ValueError, match="in use"):
        _stackless._restore_generator(original, picture)
    with pytest.raises(ValueError, match="another kind"):
        _stackless._restore_generator(
            _stackless._new_generator(types.CoroutineType, picture[-1]), picture
        )
    with pytest.raises(ValueError, match="larger"):
        _stackless._restore_generator(
            _stackless._new_generator(types.GeneratorType, picture[-1] - 1), picture
        )
