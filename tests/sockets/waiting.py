"""Tasklets that wait."""

import stackless


def waiting(function, *arguments):
    """A tasklet in which a call of `function` waits for a socket, or for time."""
    t = stackless.tasklet(function)(*arguments)
    stackless.schedule()
    assert t.paused
    return t
