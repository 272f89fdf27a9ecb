"""When a frame is restored, what the interpreter assumes about its values is checked."""

import copy
import dis
import pickle
import sys
import types

import child_process
import pytest
import slot_programs
import stackless
from stackless import _stackless

WAYS = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "blob": lambda value: stackless.loads(stackless.dumps(value)),
    "deepcopy": copy.deepcopy,
}


@pytest.fixture(params=WAYS)
def again(request):
    """Pickle and unpickle a value, or copy it."""
    return WAYS[request.param]


def refused(pattern):
    return pytest.raises(ValueError, match=pattern)


# ------------------------------------------------------------------ values that change on the way


class Changes:
    """It is unpickled as another value."""

    def __init__(self, items=(1, 2)):
        self.items = list(items)

    def __iter__(self):
        return self

    def __next__(self):
        if not self.items:
            raise StopIteration
        return self.items.pop(0)

    __await__ = __iter__

    def __reduce__(self):
        return list, (self.items,)


class Report:
    """The part of an error that is compared."""


class BecomesReport(Exception):
    def __reduce__(self):
        return Report, ()


class BecomesNone(Exception):
    def __reduce__(self):
        return type(None), ()


def loop(iterable):
    for each in iterable:  # noqa: UP028
        yield each


def test_an_iterator_that_comes_back_as_a_list(again):
    generator = loop(Changes())
    next(generator)
    with refused(
        r"loop\(\) \(.*test_slots\.py:\d+\).*value 0 on its stack.* an iterator, not list"
    ):
        again(generator)


def test_the_iterator_of_a_generator_expression(again):
    expression = (each for each in Changes())
    if "GET_ITER" in {each.opname for each in dis.get_instructions(expression.gi_code)}:
        pytest.skip("it calls iter() itself")
    with refused(r"'\.0' must hold an iterator, not list"):
        again(expression)


def test_what_a_coroutine_awaits(again):
    async def waits(awaitable):
        await awaitable

    coroutine = waits(Changes())
    coroutine.send(None)
    with refused(r"waits\(\) .* an iterator or a coroutine, not list"):
        again(coroutine)
    coroutine.close()


def in_finally(out, rest):
    try:
        raise BecomesReport
    finally:
        rest()
        out.append(1)


def in_nested_handlers(out, rest):
    try:
        raise BecomesReport
    except BecomesReport:
        try:
            raise KeyError(2) from None
        except KeyError as error:
            error.__context__ = None
            rest()
        raise


@pytest.mark.parametrize("way", ["pickle", "blob"])
@pytest.mark.parametrize("function", [in_finally, in_nested_handlers])
def test_a_handled_exception_that_comes_back_as_something_else(function, way):
    tasklet = stackless.tasklet(function)([], stackless.schedule_remove)
    stackless.run()
    with refused(rf"{function.__name__}\(\).*test_slots\.py:\d+.*Report"):
        WAYS[way](tasklet)
    tasklet.kill()


def handling():
    try:
        raise BecomesReport
    except BecomesReport:
        yield 1


def handling_two():
    try:
        raise BecomesNone
    except BecomesNone:
        try:
            raise KeyError from None
        except KeyError as error:
            error.__context__ = None
            yield 1
        raise


def test_the_exception_that_a_generator_handles(again):
    generator = handling()
    next(generator)
    with refused(r"handling\(\) handles an exception that came back as Report"):
        again(generator)


def test_none_in_place_of_the_outer_exception(again):
    """Same as no outer exception: the interpreter has None there, and `raise` finds nothing."""
    generator = handling_two()
    next(generator)
    copied = again(generator)
    with pytest.raises(RuntimeError, match="No active exception"):
        next(copied)


@pytest.mark.parametrize("way", ["pickle", "blob"])
def test_the_context_of_an_exception(way):
    error = ValueError()
    error.__context__ = BecomesReport()
    tasklet = stackless.tasklet(print)(error)
    with refused("the context of ValueError is an exception that came back as Report"):
        WAYS[way](tasklet)
    tasklet.kill()


def test_an_exception_in_a_variable_may_become_anything():
    def waits(error):
        stackless.schedule_remove()
        return error

    tasklet = stackless.tasklet(waits)(BecomesReport())
    stackless.run()
    copied = stackless.loads(stackless.dumps(tasklet))
    assert isinstance(copied.frame.f_locals["error"], Report)


# ------------------------------------------------------------------ every slot of many frames


@pytest.mark.parametrize("name", slot_programs.PROGRAMS)
def test_every_slot(name):
    """Any other value in one slot is refused with its place, or harmless."""
    child = child_process.run_child(
        f"""
        import sys
        sys.path[:0] = [{str(child_process.TESTS / "pickling")!r}]
        import slot_programs
        slot_programs.replace_each({name!r})
        """,
    )
    assert child.returncode == 0, child.stderr
    # The test must not pass because no slot was changed.
    assert slot_programs.NEEDED[name] <= set(child.stdout.splitlines()), child.stdout


# ------------------------------------------------------------------ calls that do not fit together


def frames_of(tasklet):
    pairs, after, exception = _stackless._tasklet_picture(tasklet)
    return [(generator, picture, None) for generator, picture in pairs], after, exception


def restored(frames, after=0, exception=None):
    made = stackless.tasklet()
    _stackless._restore_tasklet(made, frames, after, exception)
    return made


def waits_deep(n):
    if n == 0:
        stackless.schedule_remove()
    elif n == 1:
        return [waits_deep(0), 1]
    else:
        return waits_deep(n - 1)


def generates():
    stackless.schedule_remove()
    yield 1


def generator_in_its_first_call():
    """A restored one that waits there, and the picture of its frame."""
    tasklet = stackless.tasklet(waits_deep)(0)
    stackless.run()
    _, _, _, *rest = frames_of(tasklet)[0][-1][1]
    tasklet.kill()
    name = "PRECALL" if sys.version_info < (3, 12) else "CALL"
    calls = [each for each in dis.get_instructions(generates) if each.opname == name]
    # Where waits_deep has its argument, generates has no value.
    place = generates, None, calls[0].offset // 2, rest[0], (), None, None
    slots = _stackless._generator_picture(generates(), None)[-1]
    made = _stackless._new_generator(types.GeneratorType, slots)
    _stackless._restore_generator(made, (0, place, "g", "g", None, None, 0, 0))
    return made, place


def test_a_generator_that_nothing_iterates_over():
    tasklet = stackless.tasklet(waits_deep)(1)
    stackless.run()
    frames, _, _ = frames_of(tasklet)
    tasklet.kill()
    generator, place = generator_in_its_first_call()
    for rest in [], frames[:-1]:
        with refused("a generator is there without the loop over it"):
            restored([*rest, (generator, place, None)])


def test_a_loop_without_its_generator():
    def loops(iterator):
        for each in iterator:
            return each

    tasklet = stackless.tasklet(loops)(stackless.channel())
    stackless.run()
    (link,), after, _ = frames_of(tasklet)
    (_, (function, code, at, offset, values, *rest), _) = link
    inner = stackless.tasklet(waits_deep)(0)
    stackless.run()
    innermost = frames_of(inner)[0][-1]
    with pytest.raises(ValueError, match="picture|frames"):
        restored([(None, (function, code, at, offset, values, *rest), None), innermost])
    tasklet.kill()
    inner.kill()


def test_a_call_that_waits_where_no_call_is():
    """After GET_ITER there is an iterator, and no call gives one there."""

    def loops(iterable):
        for _ in iterable:
            waits_deep(0)

    tasklet = stackless.tasklet(loops)([1])
    stackless.run()
    (_, (function, code, _, _, values, *rest), _), innermost = frames_of(tasklet)[0]
    for at in range(len(function.__code__.co_code) // 2):
        for offset in range(4):
            frames = [(None, (function, code, at, offset, values[:2], None, None), None), innermost]
            try:
                made = restored(frames)
            except ValueError:
                continue
            made.kill()
    tasklet.kill()
