"""What takes the place of functions of `signal`: for handlers that raise, and for calls that wait.

A handler is called in the tasklet that runs, whichever it is. In a program written for threads its
exceptions, KeyboardInterrupt for example, are those of the main thread. So in a tasklet that is
another thread they are not raised, but in the main tasklet.
"""

from __future__ import annotations

import functools
import signal
import time
from collections.abc import Callable
from typing import Any

from stackless import getcurrent, getmain, schedule
from stackless.monkey.threads import Settings, is_other_thread
from stackless.monkey.waiting import Patch, ask, waiting
from stackless.sync import Event

#: The standard ones.
_signal: Any = signal.signal
_getsignal: Any = signal.getsignal

#: What those who called pause() wait for.
_pausing: list[Event] = []


class _Handler:
    """A signal handler of the program."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, number: int, frame: Any) -> None:
        main = Settings.main_tasklet or getmain()
        try:
            self.function(number, frame)
        except BaseException as error:
            if main is getcurrent() or not is_other_thread():
                raise
            main.throw(error, pending=True)
        finally:
            for event in _pausing:
                event.set()
        if main.alive and is_other_thread():
            try:
                schedule()  # a native thread would be interrupted, too
            except RuntimeError:
                pass  # nothing can switch here


def _wrapped(handler: Any) -> Any:
    return _Handler(handler) if callable(handler) else handler


def _unwrapped(handler: Any) -> Any:
    return handler.function if isinstance(handler, _Handler) else handler


def set_signal(signalnum: int, handler: Any) -> Any:
    """Set the handler of a signal; return the one before."""
    return _unwrapped(_signal(signalnum, _wrapped(handler)))


def get_signal(signalnum: int) -> Any:
    """Return the handler of a signal."""
    return _unwrapped(_getsignal(signalnum))


def _change_handlers(change: Callable[[Any], Any]) -> None:
    """Replace the handlers that are set. Nothing is done outside the main thread."""
    for number in signal.valid_signals():
        handler = _getsignal(number)
        if callable(handler) and change(handler) is not handler:
            try:
                _signal(number, change(handler))
            except ValueError:
                return


def wrap_handlers() -> None:
    """Replace the handlers that were set before the patches, by Python itself for example."""
    _change_handlers(lambda each: each if isinstance(each, _Handler) else _wrapped(each))


def unwrap_handlers() -> None:
    """Set the handlers as they were given."""
    _change_handlers(_unwrapped)


# ---------------------------------------------------------------------- calls that wait


def _look(signals: Any, until: float | None) -> Any:
    """Look for one of these signals, which are blocked, until it is pending. None: no time left."""
    return ask(lambda: signal.sigtimedwait(signals, 0), lambda found: found is not None, until)


def _sigtimedwait(standard: Any, sigset: Any, timeout: float, /) -> Any:
    if timeout <= 0:
        return standard(sigset, timeout)
    return _look(sigset, time.monotonic() + timeout)


def _sigwaitinfo(standard: Any, sigset: Any, /) -> Any:
    return _look(sigset, None)


def _sigwait(standard: Any, sigset: Any, /) -> Any:
    number = _look(sigset, None).si_signo
    try:
        return signal.Signals(number)
    except ValueError:
        return number


def _pause(standard: Any, /) -> None:
    """Wait until a handler was called."""
    event = Event()
    _pausing.append(event)
    try:
        while not event.wait(60):
            pass
    finally:
        _pausing.remove(event)


def of_signal() -> list[Patch]:
    """The patches of `signal`."""
    calls: dict[str, Callable[..., Any]] = {
        "sigwait": _sigwait,
        "sigwaitinfo": _sigwaitinfo,
        "sigtimedwait": _sigtimedwait,
        "pause": _pause,
    }
    found = [waiting(signal, name, call) for name, call in calls.items()]
    return [(signal, "signal", set_signal), (signal, "getsignal", get_signal), *found]


for _function, _name in (set_signal, "signal"), (get_signal, "getsignal"):
    functools.update_wrapper(_function, getattr(signal, _name))
