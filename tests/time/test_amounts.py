"""Times and numbers of ticks as arguments: which are refused, and the texts of the errors."""

import math
from decimal import Decimal
from fractions import Fraction

import pytest
import stackless
from stackless import channel


def limited(seconds):
    with stackless.timeout(seconds):
        pass


CALLS = {
    "sleep": (stackless.sleep, "time to sleep"),
    "timeout": (stackless.timeout, "seconds"),
    "with timeout()": (limited, "seconds"),
    "run(seconds=)": (lambda x: stackless.run(seconds=x), "seconds"),
    "receive": (lambda x: channel().receive(timeout=x), "timeout"),
    "send": (lambda x: channel().send(1, timeout=x), "timeout"),
    "send_exception": (lambda x: channel().send_exception(KeyError, timeout=x), "timeout"),
    "send_throw": (lambda x: channel().send_throw(KeyError, timeout=x), "timeout"),
    "join": (lambda x: stackless.tasklet(int, ()).join(timeout=x), "timeout"),
}


@pytest.mark.parametrize(("call", "name"), CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("wrong", ["3", [], {}, b"1", object()], ids=lambda x: type(x).__name__)
def test_what_is_no_number(call, name, wrong):
    """TypeError that names the argument and the value given."""
    with pytest.raises(TypeError, match=f"{name} must be a number.* not {type(wrong).__name__}$"):
        call(wrong)


@pytest.mark.parametrize(("call", "name"), CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("wrong", [-1, -0.1, math.nan, -math.inf])
def test_what_is_no_amount(call, name, wrong):
    """ValueError that names the argument."""
    with pytest.raises(ValueError, match=f"{name} must not be negative or NaN$"):
        call(wrong)


@pytest.mark.parametrize("none_at_all", [0, 0.0, False, Decimal(0), Fraction(0)], ids=repr)
def test_any_real_number_will_do(none_at_all):
    with pytest.raises(stackless.TimeoutError):
        channel().receive(timeout=none_at_all)
    stackless.sleep(none_at_all)
    stackless.run(seconds=none_at_all)
    limited(none_at_all)


@pytest.mark.parametrize("wrong", [0.5, "3", [], None], ids=lambda x: type(x).__name__)
def test_ticks_are_integers(wrong):
    """The error names a remedy, because the likeliest mistake is to give seconds."""
    given = f"an integer, not {type(wrong).__name__}"
    with pytest.raises(TypeError, match=rf"timeout of run\(\).*{given}.*seconds="):
        stackless.run(wrong)
    with pytest.raises(TypeError, match=f"turns must be {given}"):
        stackless.run_n_tasklets(wrong)


@pytest.mark.parametrize("name", ["size", "count", "park_above"])
def test_stack_limits_are_integers(name):
    with pytest.raises(TypeError, match=f"{name} must be an integer, not str"):
        stackless.set_stack_limits(**{name: "1"})
