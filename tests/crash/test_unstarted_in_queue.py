"""A tasklet that has not begun may wait in a restored channel: a copy of one with C code does."""

import gc

import pytest
import stackless


def waiting():
    channel, begun = stackless.channel(), []
    tasklet = stackless.tasklet(begun.append, (1,))
    channel.__setstate__((-1, 6, [tasklet]))
    assert tasklet.blocked and tasklet.alive and channel.balance == -1
    return channel, tasklet, begun


def throw_key_error(tasklet):
    with pytest.raises(KeyError):
        tasklet.throw(KeyError)


ENDS = {
    "kill": lambda tasklet: tasklet.kill(),
    "kill later": lambda tasklet: tasklet.kill(pending=True),
    "throw": throw_key_error,
}


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize("how", ENDS)
def test_it_is_ended(how, others):
    """It leaves the queue, and its function is not called; the ring is as before."""
    channel, tasklet, begun = waiting()
    ran = []
    for number in range(others):
        stackless.tasklet(ran.append)(number)
    ENDS[how](tasklet)
    assert not tasklet.blocked and channel.balance == 0
    stackless.run()
    assert not tasklet.alive and begun == [] and ran == list(range(others))


def test_it_begins_when_a_value_arrives():
    """Its function is called as it is; the value is dropped."""
    channel, tasklet, begun = waiting()
    channel.send("value")
    stackless.run()
    assert begun == [1] and not tasklet.alive


def test_it_is_dropped():
    """With its channel."""
    channel, tasklet, begun = waiting()
    del channel, tasklet
    gc.collect()
    assert begun == []
