"""examples/http_server.py: slow answers do not delay others, and messages reach all waiters."""

import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "examples" / "http_server.py"


def test_server():
    """Requests all of its pages, several at once."""
    command = [sys.executable, "-X", "faulthandler", str(FILE), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        try:
            url = p.stdout.readline().strip()
            answers, order = {}, []

            def ask(path):
                with urllib.request.urlopen(url + path, timeout=50) as answer:
                    answers[path] = answer.read().decode()
                order.append(path)

            slow = [threading.Thread(target=ask, args=[path]) for path in ("wait", "post")]
            for thread in slow:
                thread.start()
            ask("")
            while "told 1" not in answers.get("post?news", ""):
                ask("post?news")
            for thread in slow:
                thread.join()
            assert answers[""].startswith("hello, one of ")
            assert answers["wait"] == "that was a second\n" and answers["post"] == "news\n"
            assert order[-1] == "wait"
        finally:
            p.send_signal(signal.SIGINT)
            _, errors = p.communicate(timeout=30)
    assert p.returncode == 0, errors
    assert "Traceback" not in errors
