"""Exceptions with their cause, context and traceback, and tracebacks."""

import copy
import inspect
import pickle
import sys
import traceback
import types

import pytest
from stackless import _stackless
from stackless.pickling import errors
from stackless.pickling.functions import by_value
from ways import in_c


class Picky(Exception):
    """Its `__init__` does not take its `args`."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")
        self.first = first


class Reduced(Exception):
    def __reduce__(self):
        return Reduced, ("again", *self.args)


def caught(function, *arguments):
    try:
        function(*arguments)
    except BaseException as error:
        return error
    raise AssertionError("it raised nothing")


def down(n):
    if n == 0:
        raise ValueError("at the bottom")
    down(n - 1)


def chained():
    try:
        try:
            down(1)
        except ValueError:
            raise KeyError("inner")  # noqa: B904
    except KeyError as error:
        raise RuntimeError("outer") from error


def shown(error):
    return "".join(traceback.format_exception(error))


# ------------------------------------------------------------------ tracebacks


def test_traceback(travel):
    """Files, lines, names and links, as inspect shows them."""
    original = caught(down, 3).__traceback__
    back = travel(original)
    assert inspect.getinnerframes(back) == [
        other._replace(frame=one.frame)
        for one, other in zip(
            inspect.getinnerframes(back), inspect.getinnerframes(original), strict=True
        )
    ]
    assert len(inspect.getinnerframes(back)) == 5
    assert traceback.format_tb(back) == traceback.format_tb(original)


def test_places_of_many_sizes():
    """Long lines, many lines, far columns."""
    wide = "x = (" + " " * 300 + "1 /\n" + "\n" * 100 + " " * 5000 + "0)"
    for source in ("1/0", wide, "\n" * 70000 + "1/0", "def f(): raise KeyError\nf()"):
        error = caught(exec, compile(source, "a file", "exec"), {"__name__": "made up"})
        original = error.__traceback__
        back = in_c(original)
        ours, theirs = inspect.getinnerframes(back), inspect.getinnerframes(original)
        assert [one.positions for one in ours] == [other.positions for other in theirs]
        last = back
        while last.tb_next:
            last = last.tb_next
        assert last.tb_frame.f_globals["__name__"] == "made up"
        assert last.tb_frame.f_lineno == last.tb_lineno


def test_long_traceback():
    """Longer than the recursion limit."""
    error = caught(down, 200)
    before = error.__traceback__
    for _ in range(40):
        error.__traceback__ = before
        error = caught(lambda: down_with(error))  # noqa: B023
        before = error.__traceback__
    assert len(traceback.extract_tb(in_c(before))) == len(traceback.extract_tb(before))


def down_with(error, n=30):
    if n == 0:
        raise error
    down_with(error, n - 1)


def test_frames_of_tracebacks_keep_nothing_alive():
    """Their only callers are the frames of the traceback, and they have no variables."""
    back = in_c(caught(down, 1).__traceback__)
    caller = None
    while back is not None:
        assert back.tb_frame.f_back is caller
        assert back.tb_frame.f_locals == {}
        caller, back = back.tb_frame, back.tb_next


def callers(traceback):
    """For each entry of a traceback, the functions of its frame and of those that called it."""
    found = []
    while traceback is not None:
        outer = inspect.getouterframes(traceback.tb_frame)
        found.append([(each.function, each.lineno, each.filename) for each in outer])
        traceback = traceback.tb_next
    return found


def test_frames_of_tracebacks_have_their_callers(travel):
    """The callers that are in the traceback, as inspect shows them."""
    original = caught(down, 5).__traceback__
    depth = len(callers(original)[0])
    mine = [each[: len(each) - depth + 1] for each in callers(original)]
    back = travel(original)
    assert [[each[0] for each in entry] for entry in callers(back)] == [
        [each[0] for each in entry] for entry in mine
    ]
    assert callers(back)[-1][0] == mine[-1][0]
    assert inspect.getinnerframes(back)[-1].frame.f_back is not None


def test_a_frame_that_nothing_in_the_traceback_called():
    """C code raises an exception that it kept, such as a generator's: the frame is unchanged."""

    def later():
        yield
        raise KeyError

    generator = later()
    next(generator)
    original = caught(lambda: next(generator)).__traceback__
    assert len(callers(original)) == len(callers(in_c(original)))
    made = caught(down, 2).__traceback__
    joined = types.TracebackType(made, original.tb_frame, 0, 1)
    back = in_c(joined)
    assert back.tb_next.tb_frame.f_back is None


def test_a_long_chain_of_callers():
    """It can be created and freed."""
    entries = [("file", "f", "f", "m", 1, 1, 0, 0, number > 0) for number in range(100_000)]
    back = errors.load_traceback(entries)
    last = back
    while last.tb_next is not None:
        last = last.tb_next
    frame = last.tb_frame
    del back, last
    for _ in range(99_999):
        frame = frame.f_back
    assert frame.f_back is None


def test_tracebacks_of_earlier_blobs():
    """They had no callers."""
    back = errors.load_traceback([("file", "f", "f", "m", 1, 1, 0, 0)] * 2)
    assert back.tb_next.tb_frame.f_back is None


def test_only_unused_frames_get_a_caller():
    frame = sys._getframe()
    with pytest.raises(ValueError, match="in use"):
        _stackless._set_caller(frame, frame)
    with pytest.raises(TypeError):
        _stackless._set_caller(frame, None)


def test_copies_of_tracebacks_are_shallow():
    """The copy refers to the same frames."""
    original = caught(down, 1).__traceback__
    other = copy.copy(original)
    assert other is not original
    assert other.tb_frame is original.tb_frame
    assert other.tb_next is original.tb_next
    assert (other.tb_lasti, other.tb_lineno) == (original.tb_lasti, original.tb_lineno)


# ------------------------------------------------------------------ exceptions


def test_cause_context_and_traceback(travel):
    """The printed text is the same."""
    original = caught(chained)
    back = travel(by_value(original))
    assert type(back) is RuntimeError
    assert shown(back) == shown(original)
    assert back.__cause__ is back.__context__
    assert type(back.__cause__.__context__) is ValueError
    assert back.__suppress_context__ is True


def test_suppressed_context(travel):
    """`raise ... from None`."""

    def fail():
        try:
            down(0)
        except ValueError:
            raise KeyError("shown") from None

    original = caught(fail)
    back = travel(by_value(original))
    assert back.__suppress_context__ and back.__cause__ is None
    assert type(back.__context__) is ValueError
    assert shown(back) == shown(original)


def test_notes_and_attributes(travel):
    """They are those of the instance."""
    original = caught(down, 0)
    original.add_note("a note")
    original.extra = [1]
    back = travel(by_value(original))
    assert back.__notes__ == ["a note"]
    assert back.extra == [1]
    assert back.args == original.args


def test_cycles_of_contexts(travel):
    """An exception that is the context of its own context, and refers to itself."""
    one, other = ValueError("one"), KeyError("other")
    one.__context__, other.__context__ = other, one
    one.me = one
    back = travel(by_value(one))
    assert back.__context__.__context__ is back
    assert type(back.__context__) is KeyError


def test_groups(travel):
    """Each member keeps its own cause, context and traceback."""
    original = caught(raise_group)
    back = travel(by_value(original))
    assert shown(back) == shown(original)
    assert [type(each) for each in back.exceptions] == [RuntimeError, ExceptionGroup]
    assert back.exceptions[0].__cause__ is not None
    assert back.exceptions[1].exceptions[0].__traceback__ is not None


def raise_group():
    inner = ExceptionGroup("inner", (caught(down, 2), KeyError("plain")))
    raise ExceptionGroup("outer", [caught(chained), inner])


def test_init_with_other_arguments(travel):
    """Plain pickle fails to load such an exception."""
    original = caught(raise_, Picky(1, 2))
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(original))
    back = travel(by_value(original))
    assert (type(back), back.args, back.first) == (Picky, ("1 and 2",), 1)
    assert shown(back) == shown(original)


def raise_(error):
    raise error


@pytest.mark.parametrize(
    "error",
    [
        OSError(2, "no such thing", "a file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        SystemExit(3),
        StopIteration("value"),
        KeyboardInterrupt(),
        SyntaxError("bad", ("file", 1, 2, "text", 1, 3)),
        ImportError("no", name="module", path="path"),
        AttributeError("no"),
        Reduced("first"),
        AssertionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_kinds_of_exceptions(error, travel):
    """Fields that C code keeps; a class with its own reducer."""
    original = caught(raise_, error)
    back = travel(by_value(original))
    expected = in_c(error)
    assert type(back) is type(error)
    assert back.args == expected.args
    for name in ("errno", "filename", "code", "value", "start", "object", "lineno", "name", "path"):
        assert getattr(back, name, "none") == getattr(expected, name, "none")
    assert back.__traceback__ is not None


def test_plain_pickle_of_an_exception_is_as_it_was():
    """It has arguments and attributes, as before."""
    back = pickle.loads(pickle.dumps(caught(chained)))
    assert back.__cause__ is back.__context__ is back.__traceback__ is None


def test_sharing(travel):
    """One exception in two places."""
    error = caught(chained)
    one, other, cause = travel((by_value(error), by_value(error), by_value(error.__cause__)))
    assert one is other
    assert one.__cause__ is cause


def test_new_exception_refuses_other_values():
    """A damaged pickle may call it with any value."""
    from stackless.pickling.errors import new_exception

    for wrong in (int, object, type, 3, None):
        with pytest.raises((TypeError, AttributeError)):
            new_exception(wrong, 1, 2)
    assert sys.exc_info() == (None, None, None)
