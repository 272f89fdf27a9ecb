"""Mistakes that are easy to make in an implementation, and that no other file here tests."""

import pytest
import stackless
from stackless import channel, schedule, schedule_remove, tasklet


@pytest.mark.parametrize("how", ["run", "kill", "throw"])
def test_others_run_before_the_call_returns(how):
    """21.1: t.run(), t.kill() and t.throw() let others run before returning."""
    log = []

    def body():
        try:
            schedule_remove(None)
        except KeyError:
            pass
        tasklet(log.append)("made by t, behind the caller")

    t = tasklet(body)()
    stackless.run()
    t.insert()
    tasklet(log.append)("behind t")
    if how == "throw":
        t.throw(KeyError)
    else:
        getattr(t, how)()
    assert log == ["behind t"]
    stackless.run()


def test_a_new_tasklet_goes_last_and_a_preferred_receiver_next():
    """21.2: the sender is last then."""
    ch, log = channel(), []
    tasklet(lambda: log.append(ch.receive()))()
    schedule()

    def sender():
        tasklet(log.append)("new")
        ch.send("message")
        log.append("sender")

    tasklet(sender)()
    tasklet(log.append)("x")
    stackless.run()
    assert log == ["message", "x", "new", "sender"]


def test_three_flags_that_surprise():
    """21.3: scheduled while blocked; not paused when empty or bound; alive only with arguments."""
    ch = channel()
    t = tasklet(ch.receive)
    assert (t.paused, t.alive) == (False, False)
    t.bind(None, ())
    assert (t.paused, t.alive) == (True, True)
    t.run()
    assert (t.scheduled, t.blocked) == (True, True)
    ch.send(None)
    assert (t.paused, t.alive) == (False, False)


def test_close_does_not_refuse_those_already_waiting():
    """21.7, 21.8: and `closing` stays True when `closed` is."""
    ch, log = channel(), []
    tasklet(lambda: log.append(ch.receive()))()
    schedule()
    ch.close()
    assert (ch.closing, ch.closed) == (True, False)
    ch.send("served")
    assert (ch.closing, ch.closed) == (True, True)
    assert log == ["served"]


RESUME = {
    "partner": lambda t, ch: ch.send("woken"),
    "close": lambda t, ch: ch.close(),
    "kill": lambda t, ch: t.kill(),
    "pending kill": lambda t, ch: t.kill(pending=True),
    "throw": lambda t, ch: t.throw(KeyError),
    "pending throw": lambda t, ch: t.throw(KeyError, pending=True),
    "raise_exception": lambda t, ch: t.raise_exception(KeyError),
    "sent exception": lambda t, ch: ch.send_exception(KeyError),
}


@pytest.mark.parametrize("how", RESUME)
def test_each_way_to_resume_a_blocked_tasklet_is_consistent(how):
    """21.22: channel queue and ring are correct afterwards, and neighbours keep their places."""
    ch, log = channel(), []

    def reader():
        try:
            log.append(next(ch, "closed"))
        except BaseException as error:
            log.append(type(error).__name__)

    first = tasklet(reader)()
    schedule()
    others = [tasklet(ch.receive)() for _ in range(2)]
    schedule()
    assert ch.balance == -3 and ch.queue is first
    RESUME[how](first, ch)
    assert ch.balance == -2 and ch.queue is others[0] and others[0].prev is None
    assert others[0].next is others[1] and others[1].next is None
    assert first._channel is None and not first.blocked
    stackless.run()
    assert len(log) == 1 and not first.alive
    assert stackless.runcount == 1 and stackless.main.next is stackless.main
    for t in others:
        t.kill()
    assert ch.balance == 0


@pytest.mark.parametrize("how", ["insert", "run", "switch", "kill", "throw"])
def test_each_way_to_resume_a_tasklet_in_run_is_consistent(how):
    """21.22: the watchdog list is correct afterwards: the next empty ring resumes main."""
    log = []

    def sitter():
        try:
            stackless.run()
        except BaseException as error:
            log.append(type(error).__name__)
        log.append("sitter")

    t = tasklet(sitter)()
    schedule()
    assert t.paused
    if how == "throw":
        t.throw(KeyError)
    else:
        getattr(t, how)()
    stackless.run()
    assert log[-1] == "sitter" and not t.alive
    ch = channel()
    blocked = tasklet(ch.receive)()
    assert stackless.run() is None
    assert blocked.blocked
    ch.send(None)


def test_current_and_main_are_attributes_computed_on_access():
    """21.17: correct at every moment."""
    seen = []

    def body():
        seen.append(stackless.current)

    tasks = [tasklet(body)() for _ in range(3)]
    stackless.run()
    assert seen == tasks
    assert stackless.current is stackless.main
