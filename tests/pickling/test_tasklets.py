"""Pickling of tasklets and channels."""

import copy
import gc
import pickle
import sys
import threading
import weakref

import pytest
import stackless
from stackless import TaskletExit


@pytest.fixture(autouse=True)
def copies_may_be_dropped():
    old = stackless.enable_leak_reports(False)
    yield
    gc.collect()
    stackless.enable_leak_reports(old)


def receiving(channel, log):
    local, other = "local", [1]
    log.append((local, other, channel.receive()))


def scheduling(log):
    log.append(1)
    stackless.schedule()
    log.append(2)
    stackless.schedule_remove("value")
    log.append(3)


def start(function, *arguments):
    tasklet = stackless.tasklet(function)(*arguments)
    stackless.run()
    return tasklet


class Subclass(stackless.tasklet):
    pass


def test_the_state():
    channel, log = stackless.channel(), []
    tasklet = start(receiving, channel, log)
    kind, arguments, state = tasklet.__reduce__()
    assert (kind, arguments, len(state)) == (stackless.tasklet, (), 8)
    flags, tempval, nesting, frames, *rest = state
    assert (flags, tempval, nesting) == (3, None, 0)
    assert len(frames) == 1
    assert rest == [None] * 4
    assert tasklet.__reduce_ex__(2)[2][0] == 3
    sender = start(lambda: stackless.channel().send(5))
    assert sender.__reduce__()[2][:2] == (1, 5)
    sender.kill()
    channel.send(1)


def test_the_current_one_is_refused():
    with pytest.raises(RuntimeError, match="You cannot __reduce__ the tasklet which is current."):
        stackless.getcurrent().__reduce__()


def test_original_and_copy_continue(travel):
    channel, log = stackless.channel(), []
    tasklet = start(receiving, channel, log)
    copied, copied_channel, copied_log = travel((tasklet, channel, log))
    assert copied.blocked
    assert copied.alive
    assert copied_channel.balance == channel.balance == -1
    copied_channel.send("copy")
    channel.send("original")
    assert log == [("local", [1], "original")]
    assert copied_log == [("local", [1], "copy")]
    assert not tasklet.alive
    assert not copied.alive


def test_paused(travel):
    log = []
    tasklet = start(scheduling, log)
    assert tasklet.paused
    assert tasklet.tempval == "value"
    copied, copied_log = travel((tasklet, log))
    assert copied.paused
    assert not copied.scheduled
    assert copied.thread_id == tasklet.thread_id
    assert copied.tempval == "value"
    copied.insert()
    stackless.run()
    assert copied_log == [1, 2, 3]
    assert log == [1, 2]
    tasklet.kill()


def test_tempval_may_be_the_tasklet(travel):
    log = []

    def waiting():
        log.append(stackless.schedule_remove())

    tasklet = start(waiting)
    assert tasklet.tempval is tasklet
    copied = travel(tasklet)
    assert copied.tempval is copied
    tasklet.kill()


def call(a, *, b):
    pass


def test_not_started(travel):
    tasklet = stackless.tasklet(call, (1,), {"b": 2})
    old = stackless.enable_softswitch(False)
    try:
        copied = travel(tasklet)
    finally:
        stackless.enable_softswitch(old)
    assert copied.alive
    assert copied.paused
    assert len(copied.__reduce__()[2][3]) == 1
    assert copied.__reduce__()[2][4:] == (None,) * 4
    copied.insert()
    stackless.run()
    assert not copied.alive


def test_bound_and_dead(travel):
    bound = travel(stackless.tasklet(call))
    assert not bound.alive
    assert bound.tempval is call
    dead = stackless.tasklet(call)(1, b=2)
    stackless.run()
    copied = travel(dead)
    assert not copied.alive
    assert copied.__reduce__()[2][3] == []


def test_flags(travel):
    tasklet = start(scheduling, [])
    tasklet.set_atomic(True)
    tasklet.set_ignore_nesting(True)
    tasklet.block_trap = True
    copied = travel(tasklet)
    assert (copied.atomic, copied.ignore_nesting, copied.block_trap) == (True, True, True)
    tasklet.kill()


def test_subclass(travel):
    tasklet = Subclass(scheduling)([])
    stackless.run()
    tasklet.own = 1
    copied = travel(tasklet)
    assert type(copied) is Subclass
    assert not hasattr(copied, "own")
    tasklet.kill()


def test_handled_exception():
    seen = []

    def handling():
        try:
            raise KeyError("handled")
        except KeyError:
            stackless.schedule_remove(None)
            seen.append(repr(sys.exc_info()[1]))
        seen.append(sys.exc_info()[1])

    tasklet = start(handling)
    state = tasklet.__reduce__()[2]
    assert state[4] is KeyError
    assert repr(state[5].original) == "KeyError('handled')"
    assert state[6].tb_frame.f_code.co_name == "handling"
    copied = stackless.tasklet()
    assert copied.__setstate__(state) is copied
    copied.insert()
    stackless.run()
    assert seen == ["KeyError('handled')", None]
    tasklet.kill()


def numbers(channel):
    for i in range(3):
        yield i, channel.receive()


def consuming(channel, log):
    own = numbers(channel)
    for each in own:
        log.append(each)
    log.append(next(own, "ended"))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 runs generators through C")
def test_a_generator_of_the_chain_is_one_object(travel):
    channel, log = stackless.channel(), []
    tasklet = start(consuming, channel, log)
    state = tasklet.__reduce__()[2]
    assert state[7].__name__ == "numbers"
    copied, copied_channel, copied_log = travel((tasklet, channel, log))
    del state
    for i in range(3):
        copied_channel.send(i)
    assert copied_log == [(0, 0), (1, 1), (2, 2), "ended"]
    assert log == []
    for i in range(3):
        channel.send(i)
    assert log == copied_log


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 runs generators through C")
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
def test_copies(way):
    channel, log = stackless.channel(), []
    tasklet = start(consuming, channel, log)
    copied = way(tasklet)
    assert copied is not tasklet
    if way is copy.copy:
        # Shallow: the channel and the list are the same ones.
        copied.tempval = "to the copy"
        copied.insert()
        stackless.run()
        assert log == [(0, "to the copy")]
        assert channel.balance == -2
        channel.send("original")
        assert log == [(0, "to the copy"), (0, "original")]
    for each in (tasklet, copied):
        each.kill()


def test_cycle_through_the_tasklet_itself(travel):
    log = []

    def knows():
        me = stackless.getcurrent()
        me.channel = channel
        channel.receive()
        log.append(me is stackless.getcurrent())

    channel = stackless.channel()
    tasklet = Subclass(knows)()
    stackless.run()
    # The function is nested: its cells bring the list and the channel.
    copied = travel(tasklet)
    waits_in = copied._channel
    assert waits_in is not channel
    waits_in.send(None)
    assert not copied.alive
    channel.send(None)
    assert log == [True]


def asks(requests, replies, log):
    for i in range(3):
        requests.send(i)
        log.append(replies.receive())


def answers(requests, replies):
    for number in requests:
        replies.send(number * 2)


def test_a_graph_of_tasklets_and_channels(travel):
    requests, replies, log = stackless.channel(), stackless.channel(), []
    server = start(answers, requests, replies)
    client = stackless.tasklet(asks)(requests, replies, log)
    graph = {"requests": requests, "client": client, "log": log}
    for _ in range(3):
        graph = travel(graph)
    assert graph["requests"].balance == -1
    assert graph["requests"].queue is not server
    graph["client"].insert()
    stackless.run()
    assert graph["log"] == [0, 2, 4]
    assert log == [0, 2, 4]
    server.kill()


def test_several_wait_in_one_channel(travel):
    channel, log = stackless.channel(), []
    for _ in range(3):
        start(receiving, channel, log)
    copied, copied_log = travel((channel, log))
    assert copied.balance == -3
    for i in range(3):
        copied.send(i)
    assert [value for _, _, value in copied_log] == [0, 1, 2]
    assert channel.balance == -3
    while channel.balance:
        channel.send(None)


def test_channels(travel):
    channel = stackless.channel()
    assert channel.__reduce__() == (stackless.channel, (), (0, 6, []))
    channel.preference = 1
    channel.schedule_all = True
    channel.close()
    copied = travel(channel)
    assert (copied.preference, copied.schedule_all, copied.closing) == (1, 1, True)
    assert travel(stackless.channel()).preference == -1


def test_senders(travel):
    channel = stackless.channel()
    start(lambda: channel.send([1]))
    copied = travel(channel)
    assert copied.balance == 1
    value = copied.receive()
    assert value == [1]
    assert value is not channel.queue.tempval
    channel.receive()
    stackless.run()


def test_iteration_ends_at_close(travel):
    channel, log = stackless.channel(), []

    def iterating(channel, log):
        for each in channel:
            log.append(each)
        log.append("ended")

    start(iterating, channel, log)
    copied, copied_log = travel((channel, log))
    copied.send(1)
    copied.close()
    stackless.run()
    assert copied_log == [1, "ended"]
    channel.close()
    stackless.run()


def test_kill_and_throw_into_a_copy(travel):
    log = []

    def protected(channel, log):
        try:
            channel.receive()
        except KeyError as error:
            log.append(repr(error))
            channel.receive()
        finally:
            log.append(repr(sys.exc_info()[1]))

    channel = stackless.channel()
    tasklet = start(protected, channel, log)
    copied, copied_log = travel((tasklet, log))
    copied.throw(KeyError, "thrown")
    copied.kill()
    assert copied_log == ["KeyError('thrown')", "TaskletExit()"]
    tasklet.kill()
    assert log == ["TaskletExit()"]


def test_another_thread_continues_it(travel):
    channel, log = stackless.channel(), []
    tasklet = start(receiving, channel, log)
    data = pickle.dumps((tasklet, channel, log))
    found = []

    def other():
        copied, copied_channel, copied_log = pickle.loads(data)
        assert copied.thread_id == threading.get_ident()
        copied_channel.send("there")
        found.append(copied_log)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert found == [[("local", [1], "there")]]
    tasklet.kill()


def test_a_copy_that_never_runs_is_freed(travel):
    class Marked:
        pass

    log = []

    def holding(marked):
        try:
            stackless.schedule_remove(None)
        finally:
            log.append("must not run")

    tasklet = start(holding, None)
    copied = travel(tasklet)
    seen = weakref.ref(copied)
    del copied
    gc.collect()
    assert seen() is None
    assert log == []
    tasklet.kill()


def test_small():
    channel = stackless.channel()

    def two():
        a, b = 1, 2
        return a, b, channel.receive()

    tasklet = start(two)
    assert len(pickle.dumps(tasklet)) <= 900
    tasklet.kill()


@pytest.mark.parametrize(
    "state",
    [
        None,
        (),
        (1, 2),
        ("x", None, 0, [], None, None, None, None),
        (0, None, 0, None, None, None, None, None),
        (0, None, 0, [1], None, None, None, None),
    ],
)
def test_bad_states(state):
    with pytest.raises((TypeError, ValueError)):
        stackless.tasklet().__setstate__(state)


def test_a_state_is_for_an_empty_tasklet():
    tasklet = start(scheduling, [])
    state = tasklet.__reduce__()[2]
    with pytest.raises(RuntimeError, match="empty"):
        tasklet.__setstate__(state)
    with pytest.raises(RuntimeError, match="empty"):
        stackless.getcurrent().__setstate__(state)
    tasklet.kill()


def test_frames_that_do_not_fit():
    tasklet = start(scheduling, [])
    state = list(tasklet.__reduce__()[2])
    frame = state[3][0]
    picture = list(frame.picture)
    for at in range(len(scheduling.__code__.co_code) // 2):
        picture[2] = at
        frame.picture = tuple(picture)
        copied = stackless.tasklet()
        try:
            copied.__setstate__(tuple(state))
        except ValueError:
            assert not copied.alive
        else:
            copied.insert()
            stackless.run()
            if copied.alive:
                copied.kill()
    tasklet.kill()
    with pytest.raises(TaskletExit):
        raise TaskletExit


class Marked:
    pass


@pytest.mark.parametrize("dumps", [pickle.dumps, stackless.dumps])
def test_a_pickler_keeps_nothing_alive(dumps):
    marked = Marked()
    seen = weakref.ref(marked)
    gc.disable()
    try:
        dumps([marked])
        del marked
        assert seen() is None
    finally:
        gc.enable()
