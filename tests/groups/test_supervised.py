"""Task groups that log the errors of their tasklets, or start them again."""

import logging

import pytest
import stackless


class Flaky:
    """Fails a number of times, then returns its argument."""

    def __init__(self, failures, error=ValueError):
        self.left, self.error, self.calls = failures, error, 0

    def __call__(self, value="done", **keywords):
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error(self.left)
        return value


def test_errors_are_logged(caplog):
    """With the tasklet, and the traceback; the others go on."""
    with stackless.TaskGroup(on_error="log") as group:
        failed = group.start(Flaky(1), name="flaky")
        other = group.start(lambda: stackless.sleep(0.001) or "ended")
    assert (failed.join(), other.join()) == (None, "ended")
    (record,) = caplog.records
    assert record.name == "stackless" and record.levelno == logging.ERROR
    assert "failed, and ended" in record.getMessage()
    assert isinstance(record.exc_info[1], ValueError)
    assert not group.cancelled


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_exits_are_not_logged(error):
    with pytest.raises(error):
        with stackless.TaskGroup(on_error="log", restart=True) as group:
            group.start(Flaky(1, error))


def test_errors_of_the_body_are_as_ever():
    with pytest.raises(ExceptionGroup):
        with stackless.TaskGroup(on_error="log"):
            raise ValueError


def test_restart(caplog):
    """After a pause that grows; what it returns in the end is its result."""
    flaky = Flaky(4)
    backoff = stackless.Backoff(first=0.001, factor=3, longest=0.005)
    with stackless.TaskGroup(restart=backoff) as group:
        tasklet = group.start(flaky, "value", keyword=1)
    assert tasklet.join() == "value" and flaky.calls == 5
    pauses = [record.getMessage().split()[-2] for record in caplog.records]
    assert pauses == ["0.001", "0.003", "0.005", "0.005"]


@pytest.mark.parametrize("on_error", ["cancel", "log"])
@pytest.mark.parametrize("attempts", [0, 2])
def test_attempts_are_limited(caplog, on_error, attempts):
    """Then the exception counts, by the rule of on_error."""
    flaky = Flaky(10)
    backoff = stackless.Backoff(first=0, longest=60, attempts=attempts)
    group = stackless.TaskGroup(on_error=on_error, restart=backoff)
    if on_error == "log":
        with group:
            group.start(flaky)
    else:
        with pytest.raises(ExceptionGroup) as caught:
            with group:
                group.start(flaky)
        assert [error.args for error in caught.value.exceptions] == [(9 - attempts,)]
    assert flaky.calls == attempts + 1
    assert len(caplog.records) == attempts + (on_error == "log")


def test_a_long_run_begins_anew():
    """The tasklet has worked: the pauses, and the attempts, begin again."""
    calls = []

    def works_for_a_while():
        calls.append(True)
        stackless.sleep(0.004)
        if len(calls) < 6:
            raise ValueError

    backoff = stackless.Backoff(first=0.001, factor=1, longest=0.002, attempts=1)
    with stackless.TaskGroup(restart=backoff) as group:
        group.start(works_for_a_while)
    assert len(calls) == 6


def test_cancellation_ends_the_pause():
    flaky = Flaky(10)
    with stackless.TaskGroup(restart=stackless.Backoff(first=20)) as group:
        group.start(flaky)
        stackless.schedule()
        group.cancel()
    assert flaky.calls == 1


@pytest.mark.parametrize(
    ("keywords", "error"),
    [({"on_error": "ignore"}, ValueError), ({"restart": 5}, TypeError), ({"limit": 1}, TypeError)],
)
def test_arguments(keywords, error):
    with pytest.raises(error):
        stackless.TaskGroup(**keywords)


@pytest.mark.parametrize(
    "keywords",
    [{"first": -1}, {"first": 50}, {"factor": 0.5}, {"attempts": -1}, {"longest": float("nan")}],
)
def test_backoff(keywords):
    with pytest.raises(ValueError):
        stackless.Backoff(**keywords)
    shown = repr(stackless.Backoff(attempts=3))
    assert shown == "stackless.Backoff(first=0.1, factor=2.0, longest=30.0, attempts=3)"
