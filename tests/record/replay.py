"""The state in a recording, computed from its events with simple lists, without optimization."""

import json
import subprocess
import sys
from collections import deque
from pathlib import Path

KINDS = (
    "Thread ThreadEnd Create Label Link Unlink Switch Transfer Throw Channel ChannelEnd Output "
    "Line Call Return Note HandOver Buffer Unbuffer"
).split()
STATES = (
    "runnable,sends,receives,iterates,paused,in run(),ended,failed,killed,running,new,met,lost,"
    "in alt()"
).split(",")
BLOCKED = ("sends", "receives", "iterates")
OVER = ("ended", "failed", "killed", "lost")
BEFORE, SENDS = 0x40, 1


class Event:
    def __init__(self, recording, fields):
        number, self.flags = fields[1], fields[2]
        self.kind = KINDS[number]
        self.time, self.thread, self.tasklet = fields[0], *fields[3:5]
        self.other, self.place = fields[5:7]
        self.text = recording["texts"][fields[7]] if fields[7] else ""
        self.stack = fields[8]
        self.state = STATES[self.flags & 15] if self.flags & 15 < len(STATES) else "?"
        self.before = bool(self.flags & BEFORE)

    def __repr__(self):
        return f"{self.kind}({self.tasklet}, {self.other}, {self.place}, {self.text!r})"


class Replay:
    """The state after some events of a recording."""

    def __init__(self, recording):
        self.recording = recording
        self.events = [Event(recording, fields) for fields in recording["events"]]
        self.rings = {}  # thread -> tasklets, the running one first
        self.queues = {}  # channel -> tasklets, the longest waiting first
        self.buffers = {}  # channel -> texts, the oldest first
        self.states = {}
        self.labels = {}
        self.values = {}
        self.stacks = {}
        self.threads = {}  # of tasklets
        self.printed = []
        self.count = 0

    def seek(self, count):
        assert count >= self.count
        while self.count < count:
            self.apply(self.events[self.count])
            self.count += 1

    def stack(self, tasklet):
        """The (function, line) pairs of a tasklet's calls, innermost first."""
        calls, number = [], self.stacks.get(tasklet, 0)
        while number:
            number, function, _, line = self.recording["stacks"][number]
            calls.append((self.recording["functions"][function], line))
        return calls

    def balance(self, channel):
        waiting = sum(1 if self.states[t] == "sends" else -1 for t in self.queues[channel])
        return waiting + len(self.buffers.get(channel, ()))

    def leave(self, tasklet):
        for line in (*self.rings.values(), *self.queues.values()):
            if tasklet in line:
                line.remove(tasklet)
        self.values.pop(tasklet, None)

    def put(self, tasklet, before):
        self.leave(tasklet)
        ring = self.rings.setdefault(self.threads[tasklet], deque())
        at = ring.index(before) if before in ring else 0
        if at == 0:
            ring.append(tasklet)
        else:
            ring.insert(at, tasklet)
        self.states[tasklet] = "runnable"

    def runs(self, tasklet):
        ring = self.rings[self.threads[tasklet]]
        ring.rotate(-ring.index(tasklet))
        self.states[tasklet] = "running"

    def stops(self, e, tasklet):
        if e.state == "runnable":
            self.states[tasklet] = "runnable"
            return
        self.leave(tasklet)
        self.states[tasklet] = e.state
        self.values[tasklet] = e.text
        if e.state in BLOCKED:
            self.queues.setdefault(e.place, deque()).append(tasklet)
        if e.state in OVER:
            self.stacks[tasklet] = 0

    def apply(self, e):
        if e.tasklet and self.states.get(e.tasklet) not in OVER:
            self.stacks[e.tasklet] = e.stack
        match e.kind:
            case "Thread":
                self.threads[e.tasklet] = e.thread
                self.put(e.tasklet, 0)
                self.runs(e.tasklet)
            case "ThreadEnd":
                del self.rings[e.thread]
                for tasklet, thread in self.threads.items():
                    state = self.states.get(tasklet, "new")
                    if thread == e.thread and state not in BLOCKED + OVER:
                        self.states[tasklet] = "lost"
                        self.stacks[tasklet] = 0
            case "Create":
                self.leave(e.other)
                self.threads[e.other] = e.thread
                self.states[e.other] = "new"
                self.labels[e.other] = e.text
                self.stacks[e.other] = e.place
            case "Label":
                self.labels[e.other] = e.text
            case "Link":
                self.threads[e.other] = e.thread
                self.put(e.other, e.place)
            case "Unlink":
                self.leave(e.other)
                self.stops(e, e.other)
            case "Switch":
                if e.tasklet:
                    self.stops(e, e.tasklet)
                if e.other:
                    if e.other not in self.rings[self.threads[e.other]]:
                        self.put(e.other, 0)
                    self.runs(e.other)
            case "Transfer":
                self.leave(e.other)
                self.states[e.other] = "met"
            case "HandOver":
                ring = self.rings[self.threads[e.other]]
                right = ring[1] if len(ring) > 1 else 0
                self.put(e.other, right)
                self.states[e.tasklet] = "runnable"
                self.runs(e.other)
            case "Buffer":
                if e.other:
                    self.leave(e.other)
                    self.states[e.other] = "met"
                self.buffers.setdefault(e.place, deque()).append(e.text)
            case "Unbuffer":
                assert self.buffers[e.place].popleft() == e.text
            case "Channel":
                self.queues.setdefault(e.place, deque())
            case "ChannelEnd":
                self.buffers.pop(e.place, None)
                for tasklet in self.queues.pop(e.place, ()):
                    self.states[tasklet] = "lost"
                    self.stacks[tasklet] = 0
            case "Output":
                self.printed.append((e.tasklet, e.text))


def load(path):
    return json.loads(Path(path).read_bytes())


def replayed(path):
    """The state at the end."""
    replay = Replay(load(path))
    replay.seek(len(replay.events))
    return replay


def story(path, *kinds):
    """The events of the given kinds, without the state before the recording."""
    replay = Replay(load(path))
    return [e for e in replay.events if not e.before and (not kinds or e.kind in kinds)]


def run_module(*args, cwd=None, stdin=""):
    """Run `python -m stackless args` with this text on standard input."""
    return subprocess.run(
        [sys.executable, "-m", "stackless", *map(str, args)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
    )
