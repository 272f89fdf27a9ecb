"""`explore` and `replay`: a program under many orders of its tasklets, and the order that fails."""

from __future__ import annotations

import itertools
import os
import random
import sys
import sysconfig
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NamedTuple

import stackless
from stackless import _stackless
from stackless._testing.clock import virtual_time

#: Code in these directories is not interrupted.
_LIBRARY = (
    sysconfig.get_path("stdlib"),
    os.path.dirname(os.path.dirname(__file__)),
    "<frozen ",
)
#: How likely an interruption is at each line, and the maximum number of lines of an interleaving.
_PREEMPTION = 0.1
_LINES = 200
#: The maximum number of runs to make a failing schedule simpler, and of switches of which all sets
#: are tried.
_ATTEMPTS = 300
_FEW = 8


class Schedule(NamedTuple):
    """The order of a run: as data, which can be kept and run again.

    choices: for each time that a tasklet stopped, how many runnable ones were passed over.
    lines: the numbers of the executed lines at which the running tasklet was interrupted.
    """

    choices: tuple[int, ...] = ()
    lines: tuple[int, ...] = ()

    @property
    def forced(self) -> int:
        """The number of places where it differs from the usual order."""
        return sum(choice != 0 for choice in self.choices) + len(self.lines)

    def run(self, program: Callable[[], object]) -> None:
        """Run the program in this order; raise what it raises, or if it leaves tasklets that wait.

        Under virtual_time(). Raises Unfinished for tasklets that are neither ended nor daemons.
        """
        error, _ = _run(program, self, None, bool(self.lines))
        if error is not None:
            raise error


class Unfinished(AssertionError):
    """A program has returned, and left tasklets that wait for each other, or for nothing."""


class ScheduleFailure(AssertionError):
    """A program failed under some order of its tasklets.

    seed: with it replay() does the same again. schedule: the simplest order found that fails.
    interleaving: what ran when, as text. animation: the file of the recording, or None.
    The program's exception is the cause.
    """

    def __init__(
        self, seed: int, runs: int, schedule: Schedule, interleaving: str, animation: str | None
    ) -> None:
        self.seed = seed
        self.schedule = schedule
        self.interleaving = interleaving
        self.animation = animation
        text = f"failed in run {runs}: seed {seed}, {schedule.forced} forced switches"
        if animation is not None:
            text += f", animation in {animation}"
        super().__init__(f"{text}\n{interleaving}")


class _Interruptions:
    """Interrupts the running tasklet at some of the lines that it executes: a trace function."""

    def __init__(self, schedule: Schedule, chance: random.Random | None) -> None:
        self.given = set(schedule.lines)
        self.chance = chance
        self.count = 0
        self.made: list[int] = []

    def trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename.startswith(_LIBRARY):
            return None
        if event == "line":
            number, self.count = self.count, self.count + 1
            chance = self.chance
            if number in self.given or (chance is not None and chance.random() < _PREEMPTION):
                self.made.append(number)
                stackless.schedule()
        return self.trace


def _run(
    program: Callable[[], object],
    schedule: Schedule,
    seed: int | None,
    preempt: bool,
    watch: Callable[..., object] | None = None,
) -> tuple[BaseException | None, Schedule]:
    """Run the program once. Returns its exception, or None, and the schedule that was followed.

    watch: the schedule callback meanwhile.
    """
    chance = random.Random(seed) if preempt and seed is not None else None
    interruptions = _Interruptions(schedule, chance)
    error: BaseException | None = None
    before = {tasklet.number for tasklet in _stackless._unended(True)}
    old = sys.gettrace(), threading.gettrace(), stackless.get_schedule_callback()
    stackless.steer(bytes(choice % 256 for choice in schedule.choices), seed)
    try:
        with virtual_time():
            if watch is not None:
                stackless.set_schedule_callback(watch)
            if preempt:
                threading.settrace(interruptions.trace)
                sys.settrace(interruptions.trace)
            try:
                program()
                stackless.run()
            except Exception as caught:
                error = caught
            finally:
                sys.settrace(old[0])
                threading.settrace(old[1])
                stackless.set_schedule_callback(old[2])
    finally:
        choices = stackless.steered()
        left = [each for each in _stackless._unended(True) if each.number not in before]
        if left and error is None:
            error = Unfinished("tasklets have not ended:\n" + _places(left))
        _kill(left)
    return error, Schedule(tuple(choices), tuple(interruptions.made))


def _kill(tasklets: Sequence[_stackless.tasklet]) -> None:
    """End the tasklets that a run has left; what they raise meanwhile is not its failure."""
    for _ in range(10):
        for tasklet in tasklets:
            tasklet.kill(pending=True)
        try:
            stackless.run(block=False)
        except Exception:  # noqa: S110
            pass
        if not any(tasklet.alive for tasklet in tasklets):
            return


def _places(tasklets: Sequence[_stackless.tasklet]) -> str:
    numbers = {tasklet.number for tasklet in tasklets}
    lines = []
    for info in stackless.snapshot():
        if info.serial in numbers:
            call = info.stack[-1] if info.stack else None
            place = (
                f", {os.path.basename(call.file)}:{call.line} in {call.function}" if call else ""
            )
            lines.append(f"  {info.name or 'a tasklet'}: {info.reason}{place}")
    return "\n".join(lines)


def explore(
    program: Callable[[], object],
    runs: int = 200,
    seed: int | None = None,
    preempt: bool = False,
    animation: str | os.PathLike[str] | None = None,
) -> None:
    """Run a program under `runs` random orders of its tasklets; raise ScheduleFailure if it fails.

    The program makes everything that it uses, starts its tasklets and runs them. It fails if it
    raises an Exception, or returns and leaves tasklets that have not ended (daemons excepted). Each
    run is under virtual_time(). Then the schedule is made simpler: with as few switches as possible
    that differ from the usual order, and the interleaving is shown.
    seed: the first run's; the others follow it. By default a random one. preempt: tasklets are
    interrupted between lines too, as threads are, not only where they wait or call schedule();
    code of the standard library is not. animation: a file for a recording of the failing run.
    Raises ValueError if runs is less than 1.
    """
    if runs < 1:
        raise ValueError("runs must be at least 1")
    first = random.randrange(1 << 32) if seed is None else seed
    for i in range(runs):
        error, schedule = _run(program, Schedule(), first + i, preempt)
        if error is not None:
            raise _failure(program, first + i, i + 1, error, schedule, preempt, animation)


def replay(
    program: Callable[[], object],
    seed: int,
    preempt: bool = False,
    animation: str | os.PathLike[str] | None = None,
) -> None:
    """Run a program as the run of explore() with this seed did; arguments and errors as there."""
    explore(program, 1, seed, preempt, animation)


def _failure(
    program: Callable[[], object],
    seed: int,
    runs: int,
    error: BaseException,
    schedule: Schedule,
    preempt: bool,
    animation: str | os.PathLike[str] | None,
) -> ScheduleFailure:
    schedule, error = _simplest(program, schedule, error, preempt)
    lines: list[str] = []

    def switched(before: _stackless.tasklet | None, after: _stackless.tasklet, *_: object) -> None:
        frame = before.frame if before is not None else None
        while frame is not None and frame.f_code.co_filename.startswith(_LIBRARY):
            frame = frame.f_back
        if frame is not None and len(lines) < _LINES:
            assert before is not None
            place = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
            lines.append(f"  {before.name or 'a tasklet'} at {place}, then {after.name}")

    if animation is None:
        _run(program, schedule, None, preempt, switched)
    else:
        name = getattr(program, "__name__", "program")
        with stackless.record(animation, title=f"{name}, seed {seed}", overwrite=True) as recording:
            _run(program, schedule, None, preempt, switched)
            recording.note(f"The run has failed: {error!r}")
    shown = "\n".join(lines) + ("\n  ..." if len(lines) == _LINES else "")
    failure = ScheduleFailure(
        seed, runs, schedule, shown, None if animation is None else os.fspath(animation)
    )
    failure.__cause__ = error
    return failure


def _simplest(
    program: Callable[[], object], schedule: Schedule, error: BaseException, preempt: bool
) -> tuple[Schedule, BaseException]:
    """Take forced switches away while the program fails: halves first, then single ones.

    Of the few that are left, all smaller sets are tried: one may fail although none between does.
    """
    attempts = 0

    def fails(kept: Sequence[int]) -> bool:
        nonlocal schedule, error, attempts
        attempts += 1
        found, followed = _run(program, _only(schedule, kept), None, preempt)
        if found is None or followed.forced >= schedule.forced:
            return False
        schedule, error = followed, found
        return True

    size = schedule.forced
    while size >= 1:
        start = 0
        while start < schedule.forced and attempts < _ATTEMPTS:
            rest = range(schedule.forced)
            if not fails([*rest[:start], *rest[start + size :]]):
                start += size
        size //= 2
    again = schedule.forced <= _FEW
    while again:
        numbers = range(schedule.forced)
        sets = (kept for n in numbers for kept in itertools.combinations(numbers, n))
        again = attempts < 2 * _ATTEMPTS and any(fails(kept) for kept in sets)
    return schedule, error


def _only(schedule: Schedule, kept: Sequence[int]) -> Schedule:
    """The schedule with these forced switches only: first those of choices, then those at lines."""
    choices = [0] * len(schedule.choices)
    places = [i for i, choice in enumerate(schedule.choices) if choice]
    lines = []
    for number in kept:
        if number < len(places):
            choices[places[number]] = schedule.choices[places[number]]
        else:
            lines.append(schedule.lines[number - len(places)])
    return Schedule(tuple(choices), tuple(lines))
