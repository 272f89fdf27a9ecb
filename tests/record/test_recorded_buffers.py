"""Recordings of channels with a buffer: each value that is put in or taken out is an event."""

import random

import pytest
import stackless
from replay import load, replayed, story
from stackless import channel, tasklet
from stackless._record.recording import convert


def tell(e):
    return (e.kind, e.tasklet, e.other, e.text)


def test_values_in_and_out(tmp_path):
    """A sender that waited comes out of the queue in the step in which its value is put in."""
    with stackless.record(tmp_path / "r.json"):
        ch = channel(capacity=1)
        ch.send("a")
        t = tasklet(ch.send)("b")
        t.run()
        ch.receive()
        ch.receive()
        ch.send_exception(ValueError, "c")
        stackless.run()
    events = story(tmp_path / "r.json", "Buffer", "Unbuffer")
    main, sender = events[0].tasklet, events[2].other
    assert [tell(e) for e in events] == [
        ("Buffer", main, 0, "'a'"),
        ("Unbuffer", main, 0, "'a'"),
        ("Buffer", main, sender, "'b'"),
        ("Unbuffer", main, 0, "'b'"),
        ("Buffer", main, 0, "ValueError('c')"),
    ]
    assert [bool(e.flags & 2) for e in events] == [False] * 4 + [True]
    assert bool(events[2].flags & 0x80), "one step with the event before it"
    replay, number = replayed(tmp_path / "r.json"), events[0].place
    assert (list(replay.buffers[number]), replay.balance(number)) == (["ValueError('c')"], 1)


def test_values_from_before_the_recording(tmp_path):
    ch = channel(capacity=3)
    ch.send([1])
    ch.send(None)
    with stackless.record(tmp_path / "r.json"):
        ch.receive()
    replay = replayed(tmp_path / "r.json")
    (number,) = (e.place for e in replay.events if e.kind == "Unbuffer")
    assert (list(replay.buffers[number]), replay.balance(number)) == (["None"], 1)
    before = [
        e.text for e in replay.events if e.kind == "Buffer" and e.place == number and e.before
    ]
    assert before == ["[1]", "None"]


def test_hidden_values(tmp_path):
    with stackless.record(tmp_path / "r.json", values=False):
        ch = channel(capacity=3)
        ch.send("secret".upper())
        ch.receive()
    assert "secret".upper() not in (tmp_path / "r.json").read_text()


@pytest.mark.parametrize("limit", [1000, 40])
def test_the_replay_agrees_with_the_channels(tmp_path, limit):
    """Also if the oldest events were dropped."""
    rng = random.Random(limit)
    channels = [channel(capacity=n) for n in (1, 2, 5)]

    def work(number):
        for step in range(20):
            ch = rng.choice(channels)
            if rng.random() < 0.6:
                ch.send((number, step))
            elif ch.balance > 0:
                ch.receive()

    with stackless.record(tmp_path / "r.json", limit=limit):
        tasklets = [tasklet(work)(number) for number in range(5)]
        stackless.run()
    replay = replayed(tmp_path / "r.json")
    used = {e.place for e in replay.events if e.kind == "Buffer" and e.tasklet}
    assert sorted(map(replay.balance, used)) == sorted(ch.balance for ch in channels)
    assert bool(load(tmp_path / "r.json")["dropped"]) == (limit == 40)
    for suffix in ("html", "pftrace"):
        convert(tmp_path / "r.json", tmp_path / f"r.{suffix}")
    for t in tasklets:
        t.kill()
