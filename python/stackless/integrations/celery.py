"""A pool of Celery's worker in which each task is a tasklet.

    CELERY_CUSTOM_WORKER_POOL=stackless.integrations.celery:TaskletPool \\
        celery --app module worker --pool custom --concurrency 1000

Celery imports this module before the application, and the module patches the standard library
then (`stackless.monkey`): tasks are ordinary blocking code. In a program of your own,
import it before `celery`.

Time limits, revoking with `terminate`, autoscaling and a warm shutdown work as with Celery's other
pools. A time limit, and the end of a task from outside, take effect where the task waits: a task
that computes lets no other one run.
"""

from __future__ import annotations

import sys

from stackless import monkey

if "celery._state" in sys.modules:
    raise ImportError(
        "import stackless.integrations.celery before celery is used: "
        "tasks that run at the same time would be taken for one another"
    )
monkey.patch_all()

import contextvars  # noqa: E402, I001
import itertools  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402
from collections import deque  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import stackless  # noqa: E402
from celery.utils import threads as _threads  # noqa: E402
from stackless import sync  # noqa: E402

# Celery keeps the current task and its request by this identity: there is one per tasklet now.
_threads.get_ident = stackless.getcurrent

from celery.concurrency import base  # noqa: E402
from celery.exceptions import SoftTimeLimitExceeded  # noqa: E402
from kombu.asynchronous import timer as _timer  # noqa: E402

__all__ = ["TaskletPool", "Timer"]

#: Seconds that ended tasks have for their `finally` blocks in a cold shutdown.
_PATIENCE = 5.0

_log = logging.getLogger("celery.pool")


class _HardLimit(BaseException):
    """The time of a task is over. Inside the task it is TimeoutExit, which it cannot handle."""


class _Job:
    """A task in the pool: waits for its turn, or runs in a tasklet."""

    def __init__(self, number: int, target: Callable[..., Any], options: dict[str, Any]) -> None:
        self.number, self.target, self.options = number, target, options
        self.tasklet: stackless.tasklet | None = None
        self.terminated = False

    def terminate(self, signal: Any = None) -> None:
        """What Celery calls besides `terminate_job()` of the pool, which has done it."""

    def run(self) -> None:
        options = self.options
        options["accept_callback"](self.number, time.monotonic())
        if self.terminated:  # revoked before it began
            return
        seconds, soft = options["timeout"], options["soft_timeout"]
        reminder = None
        if soft:
            reminder = stackless.tasklet(self._remind)
            reminder.daemon = True
            reminder(soft)
        try:
            with stackless.timeout(seconds or None, _HardLimit):
                result = self._call()
        except _HardLimit:
            options["timeout_callback"](False, seconds)
        except stackless.TaskletExit:
            if not self.terminated:
                raise
        else:
            options["callback"](result)
        finally:
            if reminder is not None:
                reminder.kill(pending=True)

    def _remind(self, seconds: float) -> None:
        """Raise SoftTimeLimitExceeded in the task, where it waits, after this time."""
        stackless.sleep(seconds)
        self.options["timeout_callback"](True, seconds)
        if self.tasklet is not None and self.tasklet.alive:
            self.tasklet.throw(SoftTimeLimitExceeded, (seconds,), pending=True)

    def _call(self) -> Any:
        result: list[Any] = []
        ended: Any = (stackless.TimeoutExit, stackless.TaskletExit)
        base.apply_target(
            self.target,
            self.options["args"],
            self.options["kwargs"],
            result.append,
            propagate=ended,
        )
        return result[0]


class Timer(_timer.Timer):  # type: ignore[misc]
    """Calls of later, each in a tasklet: for brokers without an event loop of their own."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._waiting: dict[Any, stackless.tasklet] = {}

    def _enter(self, eta: float, priority: int, entry: Any, **named: Any) -> Any:
        tasklet = stackless.tasklet(self._call)
        tasklet.daemon = True
        self._waiting[entry] = tasklet
        tasklet(eta, entry)
        return entry

    def _call(self, eta: float, entry: Any) -> None:
        try:
            stackless.sleep(max(eta - time.monotonic(), 0))
        finally:
            self._waiting.pop(entry, None)
        if not entry.canceled:
            self.apply_entry(entry)

    def clear(self) -> None:
        """Forget all calls that have not begun."""
        for tasklet in list(self._waiting.values()):
            tasklet.kill(pending=True)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def queue(self) -> list[Any]:
        """What has not begun."""
        return list(self._waiting)


class TaskletPool(base.BasePool):  # type: ignore[misc]
    """Runs each task in a tasklet with a context of its own, at most `--concurrency` at once.

    A warm shutdown waits for the tasks that have begun; those that have not begun go back to the
    broker. A cold one raises TaskletExit in the tasks. The pool belongs to the thread that runs the
    worker; grow() and shrink() may be called in any.
    """

    limit: int
    Timer = Timer
    signal_safe = False
    task_join_will_block = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._numbers = itertools.count(1)
        self._running: dict[int, _Job] = {}
        self._queue: deque[_Job] = deque()
        self._idle = sync.Event()
        self._idle.set()
        self._hub: Any = None
        self._wake = -1

    # ---------------------------------------------------------------- what Celery calls

    def register_with_event_loop(self, loop: Any) -> None:
        """Let the worker's loop see at once what tasks leave for it, such as acknowledgements."""
        self._hub, self._wake = loop, os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        loop.add_reader(self._wake, os.eventfd_read, self._wake)

    def on_apply(
        self,
        target: Callable[..., Any],
        args: Any = None,
        kwargs: Any = None,
        callback: Callable[[Any], Any] | None = None,
        accept_callback: Callable[..., Any] | None = None,
        timeout_callback: Callable[..., Any] | None = None,
        timeout: float | None = None,
        soft_timeout: float | None = None,
        **_: Any,
    ) -> _Job:
        """Start a task, or let it wait until another one has ended; never waits itself."""
        options = {
            "args": args or (),
            "kwargs": kwargs or {},
            "callback": callback or _ignore,
            "accept_callback": accept_callback or _ignore,
            "timeout_callback": timeout_callback or _ignore,
            "timeout": timeout or self.options.get("timeout"),
            "soft_timeout": soft_timeout or self.options.get("soft_timeout"),
        }
        job = _Job(next(self._numbers), target, options)
        self._queue.append(job)
        self._start_waiting()
        return job

    def grow(self, n: int = 1) -> None:
        """Allow more tasks at once; those that wait begin when the next task comes or ends."""
        self.limit += n
        self._wake_loop()

    def shrink(self, n: int = 1) -> None:
        """Allow fewer tasks at once; those that run go on."""
        self.limit = max(self.limit - n, 0)

    def terminate_job(self, pid: int, signal: Any = None) -> None:
        """End a task: TaskletExit is raised where it waits. Nothing happens if it has ended."""
        job = self._running.get(pid)
        if job is not None:
            self._end(job)

    def on_close(self) -> None:
        """Give back what has not begun: without an acknowledgement, the broker has it still."""
        self._queue.clear()

    def on_stop(self) -> None:
        """Wait for the tasks that run. In a signal handler it returns at once: none could run."""
        self._queue.clear()
        try:
            stackless.sleep(0)
        except RuntimeError:
            return
        while self._running:
            self._idle.wait()
        if self._hub is not None:
            for call in self._hub._pop_ready():  # acknowledgements of the last tasks
                call()
            self._close_wake()

    def on_terminate(self) -> None:
        """End the tasks that run, and wait a short time for that."""
        self._queue.clear()
        for job in list(self._running.values()):
            self._end(job)
        end = time.monotonic() + _PATIENCE
        while self._running and (left := end - time.monotonic()) > 0:
            self._idle.wait(left)
        self._close_wake()

    def _get_info(self) -> dict[str, Any]:
        more = {"running": len(self._running), "waiting": len(self._queue)}
        return {**super()._get_info(), **more}

    # ---------------------------------------------------------------- tasklets

    def _start_waiting(self) -> None:
        while self._queue and len(self._running) < self.limit:
            job = self._queue.popleft()
            self._running[job.number] = job
            self._idle.clear()
            job.tasklet = stackless.tasklet(self._run)
            job.tasklet.set_context(contextvars.copy_context())(job)

    def _run(self, job: _Job) -> None:
        try:
            job.run()
        except stackless.TaskletExit:
            pass
        except Exception:
            _log.exception("Error in the pool, in task %d", job.number)
        finally:
            del self._running[job.number]
            self._start_waiting()
            if not self._running:
                self._idle.set()
            self._wake_loop()

    @staticmethod
    def _end(job: _Job) -> None:
        job.terminated = True
        if job.tasklet is not None and job.tasklet is not stackless.getcurrent():
            job.tasklet.kill(pending=True)

    def _wake_loop(self) -> None:
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def _close_wake(self) -> None:
        if self._wake >= 0:
            self._hub.remove(self._wake)
            wake, self._wake = self._wake, -1
            os.close(wake)


def _ignore(*arguments: Any) -> None:
    """Stands for a callback that is not given."""


def __dir__() -> list[str]:
    return sorted(__all__)
