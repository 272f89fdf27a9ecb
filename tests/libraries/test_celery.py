"""Celery's pool of threads under the command `run`, with Redis as its broker."""

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
import os, threading, time
from celery import Celery

app = Celery("tasks", broker=os.environ["BROKER"], backend=os.environ["BROKER"])

@app.task
def work(number):
    time.sleep(0.5)
    return number, len(os.listdir("/proc/self/task"))
"""
CLIENT = """
import json, time
from celery import group
from tasks import work

started = time.monotonic()
results = group(work.s(number) for number in range(200)).apply_async().get(timeout=90)
print(json.dumps([results, time.monotonic() - started]))
"""


def test_many_tasks_at_once(redis_port, tmp_path):
    """200 of them wait on a few OS threads; SIGTERM ends the worker as usual."""
    (tmp_path / "tasks.py").write_text(TASKS)
    environment = {**os.environ, "BROKER": f"redis://127.0.0.1:{redis_port}/1"}
    command = [sys.executable, "-m", "stackless", "run", "-m", "celery", "-A", "tasks", "worker"]
    command += ["--pool", "threads", "--concurrency", "200", "--loglevel", "info"]
    log = tmp_path / "log"
    with log.open("w") as file:
        worker = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=file, stderr=file)
    try:
        end = time.monotonic() + 60
        while " ready." not in log.read_text():
            assert worker.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        client = [sys.executable, "-c", CLIENT]
        done = subprocess.run(
            client, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr + log.read_text()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0, log.read_text()
    finally:
        worker.kill()
        worker.wait()
    results, seconds = json.loads(done.stdout)
    assert [number for number, _ in results] == list(range(200))
    assert max(threads for _, threads in results) < 10
    assert seconds < 200 * 0.5 / 2
