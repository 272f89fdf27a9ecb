"""Tasklets of stackless.scheduler that run a function, for tests."""

import stackless.scheduler as scheduler


def run(function, *args, **attributes):
    """A tasklet with these attributes that has run the function."""
    t = scheduler.tasklet()
    for name, value in attributes.items():
        setattr(t, name, value)
    t.bind(function)
    t(*args)
    scheduler.run()
    return t


def fail(*_):
    raise ValueError("text")
