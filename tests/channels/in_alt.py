"""What several tests of `alt()` need."""

from stackless import alt, tasklet


def waiting(*cases, log=None, **keywords):
    """Return a tasklet that waits in alt() over these cases."""

    def wait():
        try:
            result = alt(*cases, **keywords)
        except Exception as error:
            result = error
        if log is not None:
            log.append(result)

    t = tasklet(wait)()
    t.run()
    return t


def traces(*channels):
    """What tells whether any tasklet waits in the channels."""
    return [(ch.balance, ch.queue) for ch in channels]
