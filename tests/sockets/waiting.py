"""A tasklet that waits, for the tests of waits."""

import stackless


def waiting(function, *arguments):
    """Return a tasklet in which a call of `function` waits for a socket, or for time."""
    t = stackless.tasklet(function)(*arguments)
    stackless.schedule()
    assert t.paused
    return t
