"""Celery with the pool of `stackless.integrations.celery`, and Redis or RabbitMQ as its broker."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("celery")
pytest.importorskip("redis")

TASKS = """
import os, time
from celery import Celery, current_task
from celery.exceptions import SoftTimeLimitExceeded

app = Celery("tasks", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
if os.environ["BROKER"] == "filesystem://":
    os.makedirs("queue", exist_ok=True)
    app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue"}
app.conf.broker_connection_retry_on_startup = True
running = most = 0

def mark(text):
    with open("marks", "a") as file:
        file.write(text + "\\n")

@app.task(bind=True)
def work(self, number, seconds=1.0):
    global running, most
    running += 1
    most = max(most, running)
    try:
        before = self.request.id
        assert before and self.request.args[0] == number
        time.sleep(seconds)
        assert before == self.request.id == current_task.request.id
    finally:
        running -= 1
    return number, most, len(os.listdir("/proc/self/task"))

@app.task(soft_time_limit=0.3)
def soft():
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        return "cleaned up"

@app.task(time_limit=0.3)
def hard():
    try:
        time.sleep(60)
    except Exception:
        return "the limit was ignored"
    finally:
        mark("hard ended")

@app.task
def endless():
    mark("endless began")
    try:
        time.sleep(600)
    finally:
        mark("endless ended")

@app.task(bind=True, max_retries=5)
def third_time(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.2)
    return self.request.retries

@app.task
def fails():
    raise LookupError("the reason")

@app.task(acks_late=True)
def late(number):
    time.sleep(0.5)
    mark(f"late {number}")

@app.task
def once(number):
    time.sleep(0.5)
    mark(f"once {number}")
"""


class Worker:
    """A worker process; `client(text)` runs a program with `tasks` and prints what it wants."""

    def __init__(self, folder, environment):
        self.folder, self.environment, self.log = folder, environment, folder / "log"

    def start(self, *options, concurrency=1000):
        command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "custom"]
        command += ["--concurrency", str(concurrency), "--loglevel", "info", *options]
        before = self.log.read_text().count(" ready.") if self.log.exists() else 0
        with self.log.open("a") as file:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=file, stderr=file
            )
        end = time.monotonic() + 60
        while self.log.read_text().count(" ready.") == before:
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def client(self, text):
        text = f"import json, time\nfrom celery import group\nfrom tasks import *\n{text}"
        done = subprocess.run(
            [sys.executable, "-c", text],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + self.log.read_text()
        return json.loads(done.stdout)

    def marks(self):
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "marks").read_text().split("\n")[:-1]
        return []

    def wait_for(self, condition):
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def worker(redis_port, tmp_path, request):
    (tmp_path / "tasks.py").write_text(TASKS)
    number = abs(hash(request.node.name)) % 15
    url = f"redis://127.0.0.1:{redis_port}/{number}"
    environment = {
        **os.environ,
        "BROKER": url,
        "BACKEND": url,
        "CELERY_CUSTOM_WORKER_POOL": "stackless.integrations.celery:TaskletPool",
    }
    import redis

    redis.Redis(port=redis_port, db=number).flushdb()
    made = Worker(tmp_path, environment)
    yield made
    with contextlib.suppress(AttributeError):
        made.process.kill()
        made.process.wait()


def test_a_thousand_tasks_at_once(worker):
    """Each has its own request; one OS thread, besides those of libraries."""
    worker.start()
    results, seconds = worker.client(
        "started = time.monotonic()\n"
        "results = group(work.s(n, 4) for n in range(1000)).apply_async().get(timeout=90)\n"
        "print(json.dumps([results, time.monotonic() - started]))"
    )
    assert [number for number, _, _ in results] == list(range(1000))
    assert max(most for _, most, _ in results) > 500
    assert max(threads for _, _, threads in results) < 10
    assert seconds < 1000 * 4 / 10
    assert worker.stop() == 0
    assert "Traceback" not in worker.log.read_text()


def test_concurrency_is_obeyed(worker):
    """And changes with pool_grow and pool_shrink; stats() shows the pool."""
    worker.start(concurrency=3)
    first, stats, second = worker.client(
        "ask = lambda: group(work.s(n, 0.1) for n in range(30)).apply_async().get(timeout=60)\n"
        "first = max(most for _, most, _ in ask())\n"
        "(stats,) = app.control.inspect(timeout=10, limit=1).stats().values()\n"
        "app.control.pool_grow(4, reply=True)\n"
        "second = max(most for _, most, _ in ask())\n"
        "print(json.dumps([first, stats['pool'], second]))"
    )
    assert (first, second) == (3, 7)
    assert stats["implementation"] == "stackless.integrations.celery:TaskletPool"
    assert stats["max-concurrency"] == 3


def test_time_limits(worker):
    """The soft one can be handled by the task, the hard one cannot."""
    worker.start()
    result, error = worker.client(
        "a, b = soft.delay(), hard.delay()\n"
        "result = a.get(timeout=30)\n"
        "try: b.get(timeout=30)\n"
        "except Exception as error: name = type(error).__name__\n"
        "print(json.dumps([result, name]))"
    )
    assert result == "cleaned up" and error == "TimeLimitExceeded"
    assert worker.marks() == ["hard ended"]
    log = worker.log.read_text()
    assert "Hard time limit (0.3s) exceeded" in log


def test_errors_retries_and_eta(worker):
    worker.start()
    retries, error, waited, number = worker.client(
        "retries = third_time.delay().get(timeout=30)\n"
        "try: fails.delay().get(timeout=30)\n"
        "except LookupError as caught: error = str(caught)\n"
        "started = time.monotonic()\n"
        "number = work.apply_async((7, 0), countdown=1.5).get(timeout=30)[0]\n"
        "print(json.dumps([retries, error, time.monotonic() - started, number]))"
    )
    assert (retries, error, number) == (2, "the reason", 7)
    assert waited > 1.2


def at_once_late_and_again(worker, count):
    """`count` tasks, a late one and one with retries; return how many ran at the same time."""
    most, waited, retries = worker.client(
        f"results = group(work.s(n, 2) for n in range({count})).apply_async().get(timeout=60)\n"
        "started = time.monotonic()\n"
        "work.apply_async((7, 0), countdown=1.5).get(timeout=30)\n"
        "waited = time.monotonic() - started\n"
        "retries = third_time.delay().get(timeout=30)\n"
        "print(json.dumps([max(most for _, most, _ in results), waited, retries]))"
    )
    assert waited > 1.2 and retries == 2
    return most


def test_broker_without_an_event_loop(worker):
    """Such as the file system: the worker's main loop blocks, and our Timer makes late calls."""
    worker.environment["BROKER"] = "filesystem://"
    worker.start(concurrency=30)
    assert at_once_late_and_again(worker, 20) > 10
    assert worker.stop() == 0
    assert "Traceback" not in worker.log.read_text()


def test_rabbitmq_as_broker(worker, rabbitmq_port):
    """Many tasks at once, late ones, retries, and acknowledgements across two workers."""
    worker.environment["BROKER"] = f"amqp://guest:guest@127.0.0.1:{rabbitmq_port}//"
    worker.start(concurrency=200)
    assert at_once_late_and_again(worker, 200) > 100
    assert worker.stop() == 0
    worker.start(concurrency=10)
    worker.client("for n in range(30): late.delay(n)\nprint(1)")
    worker.wait_for(lambda: len(worker.marks()) >= 5)
    assert worker.stop() == 0
    assert len(worker.marks()) < 30
    worker.start(concurrency=10)
    worker.wait_for(lambda: len(worker.marks()) >= 30)
    assert sorted(worker.marks()) == sorted(f"late {n}" for n in range(30))
    assert worker.stop() == 0
    assert "Traceback" not in worker.log.read_text()


@pytest.mark.parametrize("waiting", [False, True])
def test_revoke_with_terminate(worker, waiting):
    """Of a task that runs, and of one that has not begun."""
    worker.start(concurrency=1 if waiting else 10)
    state = worker.client(
        f"first = endless.delay() if {waiting} else None\n"
        "task = endless.delay()\n"
        "while True:\n"
        "    try: marks = open('marks').read()\n"
        "    except FileNotFoundError: marks = ''\n"
        "    if marks: break\n"
        "    time.sleep(0.05)\n"
        "task.revoke(terminate=True)\n"
        "if first: time.sleep(0.5); first.revoke(terminate=True)\n"
        "try: task.get(timeout=30)\n"
        "except Exception as error: print(json.dumps(type(error).__name__))"
    )
    assert state == "TaskRevokedError"
    worker.wait_for(lambda: "endless ended" in worker.marks())
    assert worker.marks() == ["endless began", "endless ended"]
    assert worker.client("print(json.dumps(work.delay(1, 0).get(timeout=30)[0]))") == 1


@pytest.mark.parametrize("task", ["late", "once"])
def test_warm_shutdown_loses_nothing(worker, task):
    """Tasks that have begun end; the others are done by the next worker; none is done twice."""
    worker.start(concurrency=10)
    worker.client(f"for n in range(30): {task}.delay(n)\nprint(1)")
    worker.wait_for(lambda: len(worker.marks()) >= 5)
    assert worker.stop() == 0
    done = len(worker.marks())
    assert done < 30
    worker.start(concurrency=10)
    worker.wait_for(lambda: len(worker.marks()) >= 30)
    time.sleep(1)
    assert sorted(worker.marks()) == sorted(f"{task} {n}" for n in range(30))
    assert worker.stop() == 0


def test_cold_shutdown(worker):
    """SIGQUIT ends the tasks: their `finally` blocks run."""
    worker.start()
    worker.client("endless.delay()\nprint(1)")
    worker.wait_for(worker.marks)
    worker.stop(signal.SIGQUIT)
    assert worker.marks() == ["endless began", "endless ended"]


def test_autoscale(worker):
    worker.start("--autoscale", "20,2", concurrency=2)
    most = worker.client(
        "results = group(work.s(n, 0.5) for n in range(80)).apply_async().get(timeout=90)\n"
        "print(json.dumps(max(most for _, most, _ in results)))"
    )
    assert 2 < most <= 20
    assert worker.stop() == 0
