"""Pickling of tasklets and channels: their `__reduce__` and `__setstate__`."""

from __future__ import annotations

import pickle
import weakref
from typing import Any

from stackless import _stackless
from stackless.pickling.frames import Call, Frame, Place, chain, link, refuse, waiting_in_vain
from stackless.pickling.functions import by_value
from stackless.pickling.standins import actual

#: Bits of pickle_flags().
_TRACING, _CONTEXT = 1, 8
#: Bits of a tasklet's flags; bits 0 and 1 are +1, 0 or -1: sending, not blocked, receiving.
_ATOMIC, _IGNORE_NESTING, _BLOCK_TRAP = 4, 8, 32

State = tuple[Any, ...]


def reduce(tasklet: _stackless.tasklet) -> tuple[type, tuple[()], State]:
    """`tasklet.__reduce__()`: parks the tasklet, if that is possible."""
    if tasklet.is_current:
        raise RuntimeError("You cannot __reduce__ the tasklet which is current.")
    if _stackless._waits_in_alt(tasklet):
        raise pickle.PicklingError(
            f"cannot pickle {tasklet}: it waits in alt(), in the queues of several channels at once"
        )
    flags: int = _stackless._tasklet_flags(tasklet) | _direction(tasklet) & 3
    tempval = by_value(tasklet.tempval)
    frames: list[Any] = []
    handled, generator = None, None
    call = _stackless._tasklet_call(tasklet)
    if call is not None:
        frames.append(Call(*call))
    elif tasklet.alive and tasklet.restorable:
        pairs, after, handled = _stackless._tasklet_picture(tasklet)
        last = len(pairs) - 1
        frames += [
            Frame.of(g, picture, after if i == last else 0) for i, (g, picture) in enumerate(pairs)
        ]
        generator = next((g for g, _ in reversed(pairs) if g is not None), None)
    elif tasklet.alive:
        frames += _places(tasklet)
    kind, traceback = (type(handled), handled.__traceback__) if handled else (None, None)
    state = (
        flags,
        tempval,
        tasklet.nesting_level,
        frames,
        kind,
        by_value(handled),
        traceback,
        generator,
        *_more(tasklet),
    )
    return type(tasklet), (), state


def pack(tasklet: _stackless.tasklet) -> tuple[type, tuple[()], State] | None:
    """Reduce a tasklet for `stackless.dumps`, in the packed form; None if it has no frames.

    Its frames are plain tuples: pickle writes them without calling Python code. Values are not
    replaced with stand-ins, as that pickler reduces functions and exceptions itself.
    """
    if tasklet.is_current or _stackless._waits_in_alt(tasklet):
        return None
    packed = _stackless._pack_frames(tasklet)
    if packed is None:
        return None
    frames: tuple[Any, ...]
    frames, after, handled = packed
    if 2 in map(len, frames):  # there are generators
        frames = tuple(Frame.of(*each, 0) if len(each) == 2 else each for each in frames)
    flags = _stackless._tasklet_flags(tasklet) | _direction(tasklet) & 3
    state: State = flags, tasklet.tempval, frames, after, handled, *_more(tasklet)
    return type(tasklet), (), state if handled is not None or len(state) > 5 else state[:4]


def _more(tasklet: _stackless.tasklet) -> tuple[Any, ...]:
    """Return what the pickle flags add: the context; the trace and the profile function."""
    policy = _stackless.pickle_flags()
    context = _stackless._tasklet_context(tasklet) if policy & _CONTEXT else None
    tracing = None
    if policy & _TRACING:
        functions = tasklet.trace_function, tasklet.profile_function
        tracing = tuple(map(by_value, functions)) if any(functions) else None
    return () if context is None and tracing is None else (context, tracing)


def _direction(tasklet: _stackless.tasklet) -> int:
    if not tasklet.blocked:
        return 0
    channel = tasklet._channel
    return 1 if getattr(channel, "balance", -1) > 0 else -1


def _places(tasklet: _stackless.tasklet) -> list[Place]:
    found = []
    frame = tasklet.frame
    while frame is not None:
        found.append(Place(frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno or 0))
        frame = frame.f_back
    return found[::-1]


def set_state(tasklet: _stackless.tasklet, state: State) -> _stackless.tasklet:
    """`tasklet.__setstate__(state)`: raises TypeError or ValueError for an invalid state."""
    if type(state) is tuple and 4 <= len(state) <= 7:
        return _unpack(tasklet, *state)
    if not isinstance(state, tuple) or len(state) < 8:
        raise TypeError("the state of a tasklet is a tuple of 8 to 10 items")
    flags, tempval, _, frames, _, handled, _, _, context, tracing = (*state[:10], None, None)[:10]
    if not isinstance(flags, int) or not isinstance(frames, list):
        raise TypeError("not the state of a tasklet: flags must be an int and frames a list")
    _check_tracing(tracing)
    tempval = actual(tempval)
    if frames and all(isinstance(each, Place) for each in frames):
        if _stackless._why_never_parked() is None:
            frames = waiting_in_vain(frames)
        else:
            frames = [Call(refuse, (frames,))]
    if frames and all(isinstance(each, Frame) for each in frames):
        handled = actual(handled)
        _check_handled(handled, frames[-1])
        _stackless._restore_tasklet(tasklet, chain(frames), frames[-1].after, handled)
        tasklet.tempval = tempval
    elif len(frames) == 1 and isinstance(frames[0], Call):
        tasklet.bind(frames[0].function, frames[0].arguments, frames[0].keywords)
        tasklet.tempval = tempval
    elif frames:
        raise ValueError("not the state of a tasklet: unknown frames")
    elif callable(tempval):
        tasklet.bind(tempval)
    else:
        tasklet.tempval = tempval
    return _complete(tasklet, flags, context, tracing)


def _unpack(
    tasklet: _stackless.tasklet,
    flags: Any,
    tempval: Any,
    frames: Any,
    after: Any,
    handled: Any = None,
    context: Any = None,
    tracing: Any = None,
) -> _stackless.tasklet:
    """Fill a tasklet from a state that `pack` has made."""
    if not isinstance(flags, int) or not isinstance(frames, tuple) or not isinstance(after, int):
        raise TypeError("not the state of a tasklet: flags are an int, and frames a tuple")
    _check_tracing(tracing)
    links = _stackless._unpack_frames(frames, link)
    if handled is not None and links:
        _check_handled(handled, Frame(links[-1][1]))
    _stackless._restore_tasklet(tasklet, links, after, handled)
    tasklet.tempval = tempval
    return _complete(tasklet, flags, context, tracing)


def _check_tracing(tracing: Any) -> None:
    if not isinstance(tracing, (tuple, type(None))) or len(tracing or (0, 0)) != 2:
        raise TypeError("not the state of a tasklet: two functions trace it")


def _check_handled(handled: Any, frame: Frame) -> None:
    if handled is not None and not isinstance(handled, BaseException):
        raise ValueError(
            f"not the state of a tasklet: {frame} handles an exception that came back as "
            f"{type(handled).__qualname__}"
        )


def _complete(
    tasklet: _stackless.tasklet, flags: int, context: Any, tracing: Any
) -> _stackless.tasklet:
    if flags & (_ATOMIC | _IGNORE_NESTING | _BLOCK_TRAP):
        tasklet.set_atomic(bool(flags & _ATOMIC))
        tasklet.set_ignore_nesting(bool(flags & _IGNORE_NESTING))
        tasklet.block_trap = bool(flags & _BLOCK_TRAP)
    if context is not None:
        tasklet.set_context(context)
    if tracing is not None and tasklet.alive:
        tasklet.trace_function, tasklet.profile_function = map(actual, tracing)
    for queue in _queues.pop(tasklet, ()):
        queue.settle()
    return tasklet


# ------------------------------------------------------------------ channels


class _Queue:
    """The tasklets that wait in a restored channel, until all of them are restored as well."""

    def __init__(self, channel: _stackless.channel, sending: bool, tasklets: list[Any]) -> None:
        self.channel = channel
        self.sending = sending
        self.tasklets = tasklets

    def settle(self) -> None:
        missing = next((each for each in self.tasklets if not each.alive), None)
        if missing is not None:
            _queues.setdefault(missing, []).append(self)
            return
        for each in self.tasklets:
            _stackless._enqueue(self.channel, each, self.sending)


#: For each tasklet that is not restored yet, the queues that it will wait in.
_queues: weakref.WeakKeyDictionary[Any, list[_Queue]] = weakref.WeakKeyDictionary()


def reduce_channel(channel: _stackless.channel) -> tuple[type, tuple[()], State]:
    """`channel.__reduce__()`."""
    flags = bool(channel.closing) | (channel.preference & 3) << 1 | bool(channel.schedule_all) << 3
    state: State = (channel.balance, flags, _stackless._channel_queue(channel))
    if channel.capacity:
        state += channel.capacity, list(map(by_value, _stackless._channel_values(channel)))
    return type(channel), (), state


def set_channel_state(channel: _stackless.channel, state: State) -> _stackless.channel:
    """`channel.__setstate__(state)`: raises TypeError for an invalid state."""
    if not isinstance(state, tuple) or len(state) not in (3, 5):
        raise TypeError("the state of a channel is a tuple of 3 or 5 items")
    balance, flags, tasklets, capacity, values = (*state, 0, [])[:5]
    if not isinstance(balance, int) or not isinstance(flags, int) or not isinstance(tasklets, list):
        raise TypeError("not the state of a channel")
    if not all(isinstance(each, _stackless.tasklet) for each in tasklets):
        raise TypeError("not the state of a channel: only tasklets wait in it")
    if not isinstance(capacity, int) or not isinstance(values, list):
        raise TypeError("not the state of a channel: a capacity and the values in its buffer")
    if capacity:
        _stackless._set_channel_values(channel, capacity, list(map(actual, values)))
    channel.preference = {0: 0, 1: 1, 3: -1}.get(flags >> 1 & 3, 0)
    channel.schedule_all = bool(flags & 8)
    if flags & 1:
        channel.close()
    else:
        channel.open()
    _Queue(channel, balance > 0, list(tasklets)).settle()
    return channel
