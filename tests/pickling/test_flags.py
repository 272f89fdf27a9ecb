"""The pickle flags (contract, section 13.5)."""

import threading

import pytest
import stackless
from stackless import pickle_flags, pickle_flags_default


@pytest.fixture(autouse=True)
def flags_as_before():
    """Each test begins and ends with none."""
    assert pickle_flags() == pickle_flags_default() == 0
    yield
    pickle_flags(0)
    pickle_flags_default(0)


@pytest.mark.parametrize("change", [pickle_flags, pickle_flags_default])
def test_new_flags_and_mask(change):
    """The old value comes back; only bits in the mask change; -1 only asks."""
    assert change(15) == 0
    assert change(-1) == 15
    assert change() == 15
    assert change(0, 5) == 15
    assert change(4, 6) == 10
    assert change(-1, 0) == 12
    assert change(new=0, mask=8) == 12
    assert change(mask=3) == 4
    assert change() == 4


@pytest.mark.parametrize("change", [pickle_flags, pickle_flags_default])
def test_undefined_flags(change):
    """ValueError, after masking; and nothing changes."""
    change(1)
    for arguments in [(16,), (-2,), (1 << 40,), (31, -1), (-2, 1), (16 | 1, 16)]:
        with pytest.raises(ValueError, match="you must not set an undefined pickle-flag"):
            change(*arguments)
    assert change(16 | 2, 3) == 1
    assert change() == 2


@pytest.mark.parametrize("change", [pickle_flags, pickle_flags_default])
def test_wrong_arguments(change):
    """TypeError, and OverflowError for what is no machine integer."""
    for arguments in [("1",), (None,), (1.5,), (1, 2, 3), (1, None)]:
        with pytest.raises(TypeError):
            change(*arguments)
    with pytest.raises(TypeError):
        change(flags=1)
    with pytest.raises(OverflowError):
        change(1 << 80)


def test_each_thread_has_its_own():
    """New ones begin with the default."""
    pickle_flags_default(10)
    seen = []

    def look():
        seen.append(pickle_flags(1))
        seen.append(pickle_flags())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [10, 1]
    assert pickle_flags() == 0


def test_names_of_the_flags():
    """Consecutive bits, all of which can be set."""
    names = [name for name in vars(stackless) if name.startswith("PICKLEFLAGS_")]
    values = sorted(getattr(stackless, name) for name in names)
    assert values == [1 << number for number in range(len(names))]
    assert pickle_flags(sum(values)) == 0


def test_pickle_with_tracing_state():
    """Bit 1 of both."""
    assert stackless.pickle_with_tracing_state is False
    pickle_flags(2)
    stackless.pickle_with_tracing_state = True
    assert stackless.pickle_with_tracing_state is True
    assert (pickle_flags(), pickle_flags_default()) == (3, 1)
    stackless.pickle_with_tracing_state = False
    assert (pickle_flags(), pickle_flags_default()) == (2, 0)
