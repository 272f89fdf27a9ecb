"""The records of snapshots, and how they are made from the slices that the engine returns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple


class Call(NamedTuple):
    """A Python function call in progress."""

    file: str
    #: The current line, from 1.
    line: int
    function: str


class ChannelInfo(NamedTuple):
    """A channel in which tasklets wait, at the time of the snapshot."""

    #: id(channel), as shown in its repr.
    address: int
    #: A variable of the first waiting tasklet that held it; "" if none was found.
    name: str
    balance: int
    closing: bool
    #: How many values it keeps for receivers; 0 for a channel without a buffer.
    capacity: int


#: How a state and its details are one text, where they are not just put together.
_DETAILED = {
    "in alt()": "in alt(): {detail}",
    "waiting": "waiting for {detail}",
    "in to_thread()": "in to_thread({detail})",
}


class TaskletInfo(NamedTuple):
    """A tasklet at the time of the snapshot. The record holds no reference to the tasklet."""

    #: Its number, which never changes; the tasklets of a process are numbered from 1.
    serial: int
    #: Its outermost Python function; "main" for a thread's main tasklet; "" if that is not known.
    name: str
    #: The identity of its thread, 0 if the thread has ended.
    thread: int
    #: running, runnable, sending, receiving, iterating (receiving in a loop over the channel),
    #: in alt(), joining, waiting (for a lock or its kin), sleeping, reading, writing, in
    #: to_thread(), paused (in no queue, and not waiting by itself), in run(), not started (and in
    #: no queue), thread ended.
    state: str
    #: What it waits for besides partners in its channel: "1.2 s", "fd 7 (127.0.0.1:8080)", "tasklet
    #: 2 (fetch)", "gethostbyname", the cases of alt(), the time left until a timeout; "" for none.
    detail: str
    #: True if its function was called.
    started: bool
    #: The channel that it waits for, None if it does not wait for one.
    channel: ChannelInfo | None
    #: Its calls, outermost first, at most the 100 innermost; before its start, where it will begin.
    stack: tuple[Call, ...]
    #: True if `stack` is the whole stack.
    whole: bool
    #: Number of switches to it while switches were counted: see explain.keep_ages().
    switches: int
    #: Seconds since it last began or stopped to run; None if that is not known.
    age: float | None

    @property
    def reason(self) -> str:
        """Its state in words."""
        if self.channel is not None:
            name = f"{self.channel.name!r} " if self.channel.name else ""
            where = f"channel {name}at {self.channel.address:#x}"
            capacity = f", capacity {self.channel.capacity}" if self.channel.capacity else ""
            closing = ", closing" if self.channel.closing else ""
            balance = f"balance {self.channel.balance}{capacity}{closing}"
            verb = {
                "sending": "blocked sending to",
                "receiving": "blocked receiving from",
                "iterating": "blocked iterating over",
            }
            left = f", {self.detail}" if self.detail else ""
            return f"{verb[self.state]} {where} ({balance}){left}"
        if self.detail:
            return _DETAILED.get(self.state, "{state} {detail}").format_map(self._asdict())
        if self.state == "runnable" and not self.started:
            return "runnable, not started"
        if self.state == "in run()":
            return "in run(), until the others are done"
        if self.state == "paused":
            return "paused, in no queue"
        return self.state


def infos(slices: Iterable[dict[str, Any]]) -> list[TaskletInfo]:
    """Return the tasklets of some slices, ordered by their serials."""
    stacks: dict[tuple[Call, ...], tuple[Call, ...]] = {}
    found = []
    for part in slices:
        channels = [
            ChannelInfo(*(channel[field] for field in ChannelInfo._fields))
            for channel in part["channels"]
        ]
        known = []
        for calls, whole in part["stacks"]:
            stack = tuple(Call._make(call) for call in reversed(calls))
            known.append((stacks.setdefault(stack, stack), whole))
        for row in part["tasklets"]:
            stack, whole = known[row["stack"]]
            found.append(
                TaskletInfo(
                    row["serial"],
                    row["name"],
                    row["thread"],
                    row["state"],
                    row["detail"],
                    row["started"],
                    None if row["channel"] is None else channels[row["channel"]],
                    stack,
                    whole,
                    row["switches"],
                    row["age"],
                )
            )
    # The engine may have reused an internal number between two slices, and report a tasklet twice.
    return sorted({info.serial: info for info in found}.values())


class Process(NamedTuple):
    """A snapshot of all tasklets of a process."""

    pid: int
    #: The name of the script that the process runs.
    program: str
    #: Names of threads by identity.
    threads: dict[int, str]
    tasklets: list[TaskletInfo]
    #: Seconds that the snapshot took, the number of slices, and the seconds of the longest slice,
    #: during which the process could do nothing else.
    seconds: float
    slices: int
    longest: float
    #: True if switches are counted, and times kept.
    ages: bool

    @property
    def remark(self) -> str:
        """Words about the consistency of the snapshot."""
        if self.slices == 1:
            return "consistent snapshot"
        return (
            f"not atomic: taken in {self.slices} slices over {self.seconds * 1e3:.0f} ms, "
            f"the longest {self.longest * 1e3:.1f} ms"
        )
