"""How tests wait for what another thread or process does: without a race, and not for ever."""

import time

#: Seconds for what takes milliseconds on a machine that does nothing else.
LIMIT = 60


def wait_for(condition):
    """Return what `condition()` returns when that is true."""
    end = time.monotonic() + LIMIT
    while not (found := condition()):
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.002)
    return found


def until(handle, *statuses):
    """Wait until a workflow has one of some statuses; return its handle.

    It must stay in that: a workflow that sleeps for a moment may have gone on before this looks.
    """
    end = time.monotonic() + LIMIT
    while (status := handle.status()) not in statuses:
        assert time.monotonic() < end, status
        time.sleep(0.002)
    return handle
