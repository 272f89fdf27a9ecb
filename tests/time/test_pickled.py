"""Copies of tasklets that were pickled while they waited."""

import pickle

import stackless

log = []


def sleeps(seconds):
    stackless.sleep(seconds)
    log.append("slept")


def limited():
    try:
        with stackless.timeout(0.02):
            stackless.sleep(60)
            log.append("slept")
    except stackless.TimeoutError:
        log.append("late")


def copy_of_suspended(function, *arguments):
    log.clear()
    t = stackless.tasklet(function)(*arguments)
    stackless.schedule()
    blob = pickle.dumps(t)
    t.kill()
    return pickle.loads(blob)


def test_asleep():
    """The copy is paused; when it runs, its sleep is over."""
    copy = copy_of_suspended(sleeps, 60)
    assert copy.paused
    copy.insert()
    stackless.run()
    assert log == ["slept"]


def test_inside_a_timeout_block():
    """The copy continues without the limit, and ends no other tasklet's limit."""
    copy = copy_of_suspended(limited)
    with stackless.timeout(60) as mine:
        copy.insert()
        stackless.schedule()
        assert not copy.alive
    assert log == ["slept"] and not mine.expired
