"""`python -m stackless durable`: what the commands print, and their exit status."""

import json
import os
import signal
import subprocess
import sys

import orders
import pytest
import stackless
from durable_waits import until, wait_for
from stackless import durable
from stackless.durable import cli

KEY = "a key of the tests"


@pytest.fixture
def run(url, app, monkeypatch, capsys):
    """Run a command on the store; returns its exit status, what it prints, and its errors."""
    monkeypatch.setenv("STACKLESS_DURABLE_STORE", url)
    monkeypatch.setenv("STACKLESS_DURABLE_KEY", KEY)

    def run(*argv):
        try:
            status = cli.main(list(argv))
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def waiting(app, worker):
    return until(app.start(orders.approval, "my order", id="w-1"), "waiting")


def test_list(run, app, waiting):
    until(app.start(orders.empty, id="e_1"), "done")
    status, out, err = run("list")
    assert (status, err) == (0, "")
    header, *lines = out.splitlines()
    assert header.split() == "id status steps function updated waits for".split()
    assert [line.split()[:4] for line in lines] == [
        ["e_1", "done", "0", "orders:empty"],
        ["w-1", "waiting", "0", "orders:approval"],
    ]
    assert lines[1].endswith("message 'approval'")

    def ids(*options):
        status, out, _ = run("list", "--json", *options)
        assert status == 0
        return [each["id"] for each in json.loads(out)]

    assert ids() == ["e_1", "w-1"]
    assert ids("--status", "waiting") == ["w-1"]
    assert ids("--limit", "1") == ["e_1"]
    assert ids("--search", "appro") == ["w-1"]
    assert ids("--search", "e_") == ["e_1"] and ids("--search", "%") == []
    assert ids("--status", "stuck") == ids("--stuck") == []
    assert run("list", "--search", "none")[1:] == (
        "",
        "there are no such workflows of the app 'tests'\n",
    )


def test_stuck_ones_say_why(run, app):
    app.start(orders.empty, id="gone")
    app._store._write(
        lambda to: to.run("UPDATE durable_workflows SET python = 'cpython 3.9 3425 m68k'")
    ).result()
    status, out, _ = run("list", "--stuck")
    assert (status, out) == (0, "gone (orders:empty): it needs a worker of CPython 3.9 on m68k\n")


def test_show_names_the_stack_without_running_it(run, waiting, monkeypatch):
    monkeypatch.setattr(stackless, "loads", None)
    status, out, err = run("show", "w-1")
    assert (status, err) == (0, "")
    file = orders.__file__
    line = orders.approval.__code__.co_firstlineno + 2
    assert f'  File "{file}", line {line}, in approval\n    answer = durable.receive(' in out
    assert "      order = 'my order'\n" in out
    assert "called   ('my order',)\n" in out
    shown = json.loads(run("show", "--json", "w-1")[1])
    (frame,) = shown["stack"]
    assert (frame["function"], frame["file"], frame["line"]) == ("approval", file, line)
    assert frame["variables"]["order"] == "'my order'" and shown["verified"]


def test_show_has_the_steps_and_the_error(run, app, worker):
    until(app.start(orders.errors, 3, id="bad"), "failed")
    out = run("show", "bad")[1]
    assert "raised LookupError: caught" in out and "TimeoutError" in out
    assert "  LookupError: caught timeout" in out and "Error:\n" in out
    recorded = json.loads(run("show", "--json", "bad")[1])["recorded"]
    assert [each["name"] for each in recorded] == ["orders:failing", "orders:slow"] + [
        "orders:failing"
    ]


def test_values_are_redacted(run, app, worker):
    until(app.start(orders.failing_with, "secret", id="f"), "failed")
    assert "secret" in run("show", "f")[1]
    stackless.set_redactor(
        lambda value: value.replace("secret", "***") if isinstance(value, str) else None
    )
    try:
        out = run("show", "f")[1] + run("show", "--json", "f")[1]
    finally:
        stackless.set_redactor(None)
    assert "secret" not in out and "***" in out


def test_without_the_key_nothing_is_changed(run, url, waiting, monkeypatch):
    monkeypatch.delenv("STACKLESS_DURABLE_KEY")
    status, out, _ = run("show", "w-1")
    assert status == 0 and "order = 'my order'" in out
    assert "the signature is not checked, the source not shown" in out
    assert "durable.receive" not in out
    status, _, err = run("send", "w-1", "approval", "1")
    assert status == 2 and "there is no key: set STACKLESS_DURABLE_KEY" in err
    assert not os.path.exists(url.removeprefix("sqlite:///") + ".key")
    monkeypatch.setenv("STACKLESS_DURABLE_KEY", "another")
    status, out, _ = run("show", "w-1")
    assert status == 0 and "The snapshot cannot be read: SignatureError" in out


def test_send(run, waiting):
    assert run("send", "w-1", "approval", '{"yes": [1, null]}')[:2] == (0, "sent to w-1\n")
    assert waiting.result(60) == ("my order", {"yes": [1, None]}, [])
    status, out, err = run("send", "w-1", "approval", "1")
    assert (status, out) == (1, "") and err.count("\n") == 1 and "has ended" in err


def test_pause_resume_cancel(run, waiting):
    assert run("pause", "w-1")[:2] == (0, "paused w-1\n")
    assert waiting.status() == "paused"
    assert json.loads(run("resume", "--json", "w-1")[1])["id"] == "w-1"
    assert run("cancel", "w-1")[0] == 0
    until(waiting, "cancelled")
    status, _, err = run("resume", "w-1")
    assert status == 1 and "cannot be resumed" in err


def test_retry_and_fork(run, app, worker):
    handle = until(app.start(orders.failing_with, "x", id="r"), "failed")
    assert run("retry", "r")[:2] == (0, "retried r\n")
    until(handle, "failed")
    status, out, _ = run("fork", "r", "--step", "1", "--new-id", "copy")
    assert (status, out) == (0, "started copy\n")
    until(app.handle("copy"), "failed")
    status, _, err = run("fork", "r", "--step", "9")
    assert status == 1 and err.count("\n") == 1


def test_schedules(run, app):
    assert run("schedules")[:2] == (0, "")
    app.schedule("nightly", "0 3 * * *", orders.empty, timezone="Europe/Berlin")
    header, line = run("schedules")[1].splitlines()
    assert header.split() == ["name", "times", "zone", "function", "next"]
    assert line.startswith("nightly  0 3 * * *  Europe/Berlin  orders:empty  2")
    (shown,) = json.loads(run("schedules", "--json")[1])
    assert (shown["name"], shown["cron"]) == ("nightly", "0 3 * * *")


def test_gc(run, app, worker):
    until(app.start(orders.empty, id="old"), "done")
    assert run("gc", "--older-than", "1d")[:2] == (0, "removed 0 workflows\n")
    assert json.loads(run("gc", "--json", "--older-than", "0s")[1]) == {"removed": 1}
    with pytest.raises(durable.NoSuchWorkflow):
        app.handle("old")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["show"], "the following arguments are required: ID"),
        (["nothing"], "invalid choice: 'nothing'"),
        (["send", "w", "t", "{"], "not JSON: '{'"),
        (["send", "w", "t", "text"], "a string is given as"),
        (["list", "--limit", "0"], "not a number from 1: '0'"),
        (["list", "--status", "odd"], "invalid choice: 'odd'"),
        (["gc", "--older-than", "30"], "not a time such as 30d"),
        (["gc"], "--older-than"),
        (["list", "--store", "sqlite:////nowhere/x.db"], "there is no database /nowhere/x.db"),
        (["list", "--store", "oracle://x"], "oracle://x"),
        (["list", "--app", "a:b", "--store", "sqlite:///x"], "only one of --app and --store"),
        (["list", "--app", "no_such_module:app"], "there is no module 'no_such_module'"),
        (["list", "--app", "orders"], "an app is MODULE:APP, not 'orders'"),
        (["list", "--app", "orders:charge"], "orders:charge is no durable.App"),
        (["worker"], "MODULE:APP"),
        (["worker", "orders:app", "--concurrency", "x"], "not a number from 1: 'x'"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(run, argv, said):
    status, out, err = run(*argv)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1 and said in err and err.startswith("python -m stackless durable")


def test_failures_are_one_line_and_status_1(run, tmp_path):
    for argv in (["show", "none"], ["cancel", "none"], ["send", "none", "t", "1"]):
        status, out, err = run(*argv)
        assert (status, out) == (1, "")
        assert err == "python -m stackless durable: there is no workflow 'none'\n"
    (tmp_path / "text").write_text("no database at all " * 100)
    status, _, err = run("list", "--store", f"sqlite:///{tmp_path}/text")
    assert status == 1 and "not a database" in err and err.count("\n") == 1


def test_the_store_has_to_be_named(run, monkeypatch):
    monkeypatch.delenv("STACKLESS_DURABLE_STORE")
    status, _, err = run("list")
    assert status == 2 and "which store? give --app MODULE:APP or --store URL" in err


def test_the_name_is_needed_if_there_are_several(run, url, app, worker):
    other = durable.App("other", url, key=KEY.encode())
    app.start(orders.empty)
    other.start(orders.empty, id="o")
    other.close()
    status, _, err = run("list")
    assert status == 2 and "--name is needed, one of: other, tests" in err
    assert json.loads(run("list", "--json", "--name", "other")[1])[0]["id"] == "o"


@pytest.mark.parametrize("command", sorted(cli._parser()._subparsers._group_actions[0].choices))
def test_each_command_has_help(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert f"usage: python -m stackless durable {command}" in out and "--json" in out


def test_the_overview(run):
    assert run()[0] == run("--help")[0] == 0
    assert "worker" in run()[1] and "exit status" in run()[1]


def test_check(tmp_path, monkeypatch, capsys):
    def run(*argv):
        status = cli.main(list(argv))
        return status, *capsys.readouterr()

    program = (
        "from stackless import durable\n\n@durable.step\ndef work(item): ...\n\n"
        "@durable.workflow\ndef fine(x):\n    x.call()\n    return work(x)\n"
    )
    (tmp_path / "checked_fine.py").write_text(program)
    bad = "\n@durable.workflow\ndef bad(items):\n    return list(map(work, items))\n"
    (tmp_path / "checked_bad.py").write_text(program + bad)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    counts = "1 workflows, 0 findings, 1 calls that were not looked into\n"
    assert run("check", "checked_fine") == (0, "", counts)
    status, out, _ = run("check", "checked_bad")
    assert status == 1
    assert out.startswith(f"{tmp_path}/checked_bad.py:13, in bad: map() is C code")
    shown = json.loads(run("check", "--json", "checked_bad")[1])
    assert [each["line"] for each in shown["findings"]] == [13]
    assert len(shown["unseen"]) == 1
    assert run("check", "json")[0] == run("check", "no_such_module")[0] == 2


# ------------------------------------------------------------------ the worker

PROGRAM = """
import os, sys, time
from stackless import durable

@durable.step
def slow(seconds):
    open("begun", "w").close()
    while seconds == -1 and not os.path.exists("go"):
        time.sleep(0.01)
    time.sleep(max(seconds, 0))
    return os.getpid()

@durable.workflow
def work(seconds):
    first = slow(seconds)
    return first, slow(0)

app = durable.App("shop", os.environ["SHOP"])
if __name__ == "__main__":
    for number in range(int(sys.argv[2])):
        app.start(work, float(sys.argv[1]), id=f"w{number or ''}")
"""


@pytest.fixture
def shop(url, tmp_path, monkeypatch):
    """A folder with a program that has started a workflow, as `__main__`."""
    (tmp_path / "shop.py").write_text(PROGRAM)
    monkeypatch.setenv("SHOP", url)
    monkeypatch.setenv("STACKLESS_DURABLE_KEY", KEY)
    monkeypatch.chdir(tmp_path)

    def start(seconds, count=1):
        command = [sys.executable, "shop.py", str(seconds), str(count)]
        subprocess.run(command, check=True, timeout=60)
        return durable.App("shop", url)

    return start


def begin(*options):
    command = [sys.executable, "-m", "stackless", "durable", "worker", "shop:app", *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_finishes_what_it_has_begun(shop, number):
    app = shop(-1)
    with begin("--concurrency", "3") as worker:
        wait_for(lambda: os.path.exists("begun"))
        assert "of the app 'shop', 3 at a time" in worker.stderr.readline()
        worker.send_signal(number)
        assert "stops; 1 workflows end their step" in worker.stderr.readline()
        open("go", "w").close()
        _, err = worker.communicate(timeout=60)
    assert worker.returncode == 0 and "has stopped" in err, err
    (step,) = app.handle("w").steps()
    assert step.error is None and app.handle("w").status() == "ready"
    with begin() as second:
        first, other = app.handle("w").result(60)
        second.terminate()
        second.communicate(timeout=60)
    assert (first, other) == (worker.pid, second.pid)
    app.close()


def test_a_second_signal_ends_it_at_once(shop):
    app = shop(100)
    with begin() as worker:
        wait_for(lambda: os.path.exists("begun"))
        worker.terminate()
        assert any("stops" in line for line in worker.stderr)  # it has taken the first
        assert worker.poll() is None
        worker.send_signal(signal.SIGINT)
        worker.communicate(timeout=60)
    assert worker.returncode == -signal.SIGINT
    assert app.handle("w").steps() == []
    app.close()


def test_the_log_as_json(shop):
    app = shop(0)
    with begin("--json") as worker:
        app.handle("w").result(60)
        worker.terminate()
        _, err = worker.communicate(timeout=60)
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["level"] for line in lines] == ["INFO"] * 3
    app.close()


def test_steps_that_wait_let_others_run(shop):
    """The worker patches the standard library, so that `time.sleep` waits in the tasklet."""
    app = shop(1, 20)
    handles = [app.handle(f"w{number or ''}") for number in range(20)]
    with begin() as worker:
        for each in handles:
            each.result(60)
        worker.terminate()
        worker.communicate(timeout=60)
    first = [each.steps()[0] for each in handles]
    app.close()
    # One after the other only one has begun when the first ends.
    end = min(each.ended for each in first)
    assert sum(each.began < end for each in first) > 1
