"""Worker processes: started, watched, replaced. The main process serves nothing itself.

It binds the sockets, and the workers inherit them: while workers are replaced, connections wait in
the system's queue, and none is refused. Signals: SIGTERM and SIGINT stop gracefully, a second one
at once; SIGHUP starts new workers, which import the application anew, and stops the old ones when
the new ones serve.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

from stackless import monkey
from stackless._serve import listeners as _listeners
from stackless._serve.loading import Application, Watch, load
from stackless._serve.logs import error_log
from stackless._serve.settings import Settings
from stackless._serve.worker import Server

#: Exit status of a worker that could not load the application.
NOT_LOADED = 3
_STOP = (signal.SIGTERM, signal.SIGINT)
#: Seconds: between two looks at the workers; before a worker is started again that ended at once;
#: that a worker has after its graceful timeout before it is killed.
_LOOK, _BACK_OFF, _GRACE = 1.0, 1.0, 5.0


class _Worker:
    """What the main process knows of a worker."""

    def __init__(self, pid: int, pipe: int, generation: int) -> None:
        self.pid, self.pipe, self.generation = pid, pipe, generation
        self.started = self.seen = time.monotonic()
        self.ready = False
        self.kill_at = float("inf")

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Master:
    """Runs the workers until it is told to stop: see run()."""

    def __init__(
        self, app: Application, settings: Settings, patch: bool, reload: bool, log: logging.Logger
    ) -> None:
        self._app, self._settings, self._log = app, settings, log
        self._patch, self._reload = patch, reload
        self._workers: dict[int, _Worker] = {}
        self._generation = self._serving = 0
        self._stopping = self._failed = False
        self._start_at = 0.0
        self._signals: list[int] = []

    def run(self) -> bool:
        """Serve until SIGTERM or SIGINT; False if the application could not be loaded."""
        settings = self._settings
        self._listeners = _listeners.bind_all(
            settings.binds, settings.backlog, settings.socket_mode
        )
        try:
            scheme = "https" if settings.certfile else "http"
            for listener in self._listeners:
                name = _listeners.name_of(listener)
                shown = name if name.startswith("unix:") else f"{scheme}://{name}"
                self._log.info("Serving at %s", shown)
            with self._handlers():
                self._watch()
        finally:
            _listeners.unlink(self._listeners)
            for listener in self._listeners:
                listener.close()
        self._log.info("Stopped")
        return not self._failed

    @contextlib.contextmanager
    def _handlers(self) -> Iterator[None]:
        """Collect signals, and let them end poll()."""
        self._wake, write = os.pipe()
        for end in (self._wake, write):
            os.set_blocking(end, False)

        def collect(number: int, frame: FrameType | None) -> None:
            self._signals.append(number)

        numbers = [*_STOP, signal.SIGHUP, signal.SIGCHLD]
        before = {number: signal.signal(number, collect) for number in numbers}
        wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self._before, self._ends = before, (self._wake, write)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            for end in self._ends:
                os.close(end)

    def _watch(self) -> None:
        while not self._stopping or self._workers:
            self._start_missing()
            poll = select.poll()
            poll.register(self._wake, select.POLLIN)
            for worker in self._workers.values():
                poll.register(worker.pipe, select.POLLIN)
            pipes = {descriptor for descriptor, _ in poll.poll(_LOOK * 1000)}
            if self._wake in pipes:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
            self._obey()
            self._listen(pipes)
            self._reap()
            self._replace_old()
            self._kill_late()

    # ---------------------------------------------------------------- what it is told

    def _obey(self) -> None:
        signals, self._signals = self._signals, []
        for number in signals:
            if number in _STOP:
                self._stop(again=self._stopping)
            elif number == signal.SIGHUP and not self._stopping:
                self._log.info("Reloading")
                self._generation += 1
                self._start_at = 0.0

    def _stop(self, again: bool) -> None:
        if not again:
            self._log.info("Stopping")
        self._stopping = True
        for worker in self._workers.values():
            self._end(worker, at_once=again)

    def _end(self, worker: _Worker, at_once: bool = False) -> None:
        if at_once:
            worker.signal(signal.SIGKILL)
        elif worker.kill_at == float("inf"):
            worker.kill_at = time.monotonic() + self._settings.graceful_timeout + _GRACE
            worker.signal(signal.SIGTERM)

    # ---------------------------------------------------------------- workers

    def _start_missing(self) -> None:
        running = sum(
            1 for worker in self._workers.values() if worker.generation == self._generation
        )
        while (
            not self._stopping
            and running < self._settings.workers
            and time.monotonic() >= self._start_at
        ):
            self._start()
            running += 1

    def _start(self) -> None:
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        sys.stdout.flush()
        sys.stderr.flush()
        master = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._log.error("Cannot start a worker: %s", error)
            self._start_at = time.monotonic() + _BACK_OFF
            os.close(read)
            os.close(write)
            return
        if pid:
            os.close(write)
            self._workers[pid] = _Worker(pid, read, self._generation)
            return
        status = 1
        try:
            os.close(read)
            status = self._become_worker(write, master)
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            self._log.exception("Error in a worker")
        finally:
            _exit(status)

    def _become_worker(self, pipe: int, master: int) -> int:
        """Serve in the child process; returns its exit status."""
        server: Server | None = None
        stopped = False

        def stop(number: int, frame: FrameType | None) -> None:
            nonlocal stopped
            stopped = True
            if server is not None:
                server.stop()

        signal.set_wakeup_fd(-1)
        for end in self._ends:
            os.close(end)
        for worker in self._workers.values():
            os.close(worker.pipe)
        for number in self._before:
            signal.signal(number, signal.SIG_DFL)
        for number in _STOP:
            signal.signal(number, stop)
        if self._patch:
            monkey.patch_all()
        try:
            app = load(self._app)
            made = Server(app, listeners=self._listeners, log=self._log, **vars(self._settings))
        except Exception:
            self._log.exception("Cannot load the application")
            return NOT_LOADED
        server = made
        watch = Watch(master) if self._reload else None

        def beat() -> None:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(pipe, b".")
            if os.getppid() != master:
                made.stop()
            if watch is not None:
                watch.look()

        beat()
        self._log.info("Worker %d serves", os.getpid())
        if stopped:
            made.stop()
        made.serve_forever(beat)
        return 0

    def _listen(self, pipes: set[int]) -> None:
        now = time.monotonic()
        for worker in self._workers.values():
            if worker.pipe in pipes:
                with contextlib.suppress(BlockingIOError):
                    if os.read(worker.pipe, 4096):
                        worker.seen, worker.ready = now, True

    def _reap(self) -> None:
        for worker in list(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                del self._workers[pid]
                os.close(worker.pipe)
                self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: _Worker, code: int) -> None:
        expected = worker.kill_at < float("inf") and code == 0
        if code < 0:
            self._log.error("Worker %d was ended by signal %d", worker.pid, -code)
        elif not expected and not self._stopping:
            self._log.error("Worker %d ended with status %d", worker.pid, code)
        if code == NOT_LOADED and not worker.ready and worker.generation == self._generation:
            self._give_up()
        elif time.monotonic() - worker.started < _BACK_OFF:
            self._start_at = time.monotonic() + _BACK_OFF

    def _give_up(self) -> None:
        """The application of this generation cannot be loaded."""
        if not any(w.generation == self._serving and w.ready for w in self._workers.values()):
            if self._serving == self._generation and self._start_at:
                self._start_at = time.monotonic() + _BACK_OFF  # it could be loaded before
                return
            self._failed = True
            self._stop(again=False)
            return
        self._log.error("The workers with the old application go on")
        for worker in self._workers.values():
            if worker.generation == self._generation:
                self._end(worker)
        self._generation = self._serving

    def _replace_old(self) -> None:
        """Stop the workers of before a reload, once all new ones serve."""
        ready = sum(
            1 for w in self._workers.values() if w.generation == self._generation and w.ready
        )
        if ready < self._settings.workers:
            return
        self._serving = self._generation
        self._start_at = self._start_at or 1e-9  # it could be loaded
        for worker in self._workers.values():
            if worker.generation != self._generation:
                self._end(worker)

    def _kill_late(self) -> None:
        now, patience = time.monotonic(), self._settings.worker_timeout
        for worker in self._workers.values():
            hung = patience and worker.ready and now - worker.seen > patience + _LOOK
            if hung or now > worker.kill_at:
                self._log.error("Worker %d does not answer; it is killed", worker.pid)
                worker.signal(signal.SIGKILL)
                worker.seen = now
                worker.kill_at = now + _GRACE


def _exit(status: int) -> None:
    """End the process of a worker as the interpreter would, without what is up the stack."""
    end: Any = threading._shutdown  # type: ignore[attr-defined]
    for step in (end, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):
        with contextlib.suppress(Exception):
            step()
    os._exit(status)


def serve(
    app: str | Callable[..., Iterable[bytes]],
    *,
    patch: bool = True,
    reload: bool = False,
    log: logging.Logger | None = None,
    **options: Any,
) -> None:
    """Serve a WSGI application in worker processes, until SIGTERM or SIGINT.

    app: "module:name", which the workers import, or the application itself. patch: each worker
    calls `stackless.monkey.patch_all()` before it imports the application. reload: new workers are
    started when a file of an imported module changes. log: a `logging.Logger` for errors; one that
    writes to stderr if None. options: the fields of `Settings`.

    Call it in the main thread: ValueError elsewhere, as for signal handlers. OSError if an address
    cannot be bound, RuntimeError if the application cannot be loaded; why is in the log.
    """
    log = error_log() if log is None else log
    if not Master(app, Settings(**options), patch, reload, log).run():
        raise RuntimeError("the application could not be loaded")
