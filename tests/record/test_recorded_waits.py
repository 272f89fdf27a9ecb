"""Recordings of waits that are not for a partner in one channel."""

import re

import stackless
from replay import story
from stackless import alt, channel, sleep, sync, tasklet


def test_the_step_in_which_a_wait_begins(tmp_path):
    """It says what is waited for."""

    def naps():
        sleep(0.02)

    with stackless.record(tmp_path / "r.json"):
        tasklet(naps)()
        stackless.run()
    texts = [e.text for e in story(tmp_path / "r.json", "Switch") if e.state == "paused"]
    assert any(text.startswith("sleeping ") and text.endswith(" ms") for text in texts)

    def chooses():
        alt(jobs, done.sending(1))

    jobs, done = channel(), channel()
    with stackless.record(tmp_path / "a.json", overwrite=True):
        t = tasklet(chooses)()
        t.run()
    switch = [e for e in story(tmp_path / "a.json", "Switch") if e.state == "in alt()"]
    (text,) = (e.text for e in switch)
    assert re.fullmatch(r"receive from jobs#\d+, send to done#\d+", text)
    t.kill()


def test_waits_for_what_is_no_channel_of_the_program(tmp_path):
    """Primitives, ends of tasklets and of groups: the step says for what, in words."""
    lock, event, queue = sync.Lock(), sync.Event(), sync.Queue()

    def holder():
        with lock:
            sleep(0.2)

    def groups():
        with stackless.TaskGroup() as group:
            group.start(sleep, 0.2)

    ways = {
        "waiting for Lock held by tasklet": lock.acquire,
        "waiting for Event": event.wait,
        "waiting for Queue": queue.get,
        "joining tasklet": lambda: holds.join(),
        "joining 1 tasklet of its task group": groups,
    }
    with stackless.record(tmp_path / "r.json"):
        holds = tasklet(holder)()
        for way in ways.values():
            tasklet(lambda way=way: way())()
        stackless.run(block=False)
        event.set()
        queue.put(1)
        stackless.run()
    steps = story(tmp_path / "r.json", "Switch")
    texts = [e.text for e in steps if e.state == "receives"]
    assert [text[: len(start)] for start, text in zip(ways, texts, strict=True)] == list(ways)


def test_what_a_waiting_alt_sends(tmp_path):
    """The value, if only one case sends; a plain send before does not show through."""

    def chooses(*cases):
        early.send("early")
        alt(*cases)

    early, a, b = channel(capacity=3), channel(), channel()
    with stackless.record(tmp_path / "r.json"):
        for cases in ((a.sending("one"), b), (a.sending("two"), b.sending("three"))):
            tasklet(chooses)(*cases).run()
            a.receive()
        stackless.run()
    texts = [e.text for e in story(tmp_path / "r.json", "Transfer")]
    assert texts == ["'one'", ""]
