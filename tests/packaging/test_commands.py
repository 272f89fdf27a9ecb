"""`python -m stackless`: every command with wrong arguments, and with output that nothing takes."""

import os
import subprocess
import sys

import pytest
from stackless.__main__ import COMMANDS

#: Arguments with which a command prints something on its own, in each way that there is.
PRINTS = {
    **{"features": ["features"], "compat": ["compat", __file__], "run": ["run", "--help"]},
    **{"durable": ["durable", "list", "--help"], "": [], "--version": ["--version"]},
}


def run(*words, prefix=(), **keywords):
    command = [*prefix, sys.executable, "-m", "stackless", *words]
    keywords = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL} | keywords
    return subprocess.run(command, timeout=60, **keywords)


@pytest.mark.parametrize("command", [*COMMANDS, "nonsense"])
def test_wrong_options_are_refused_in_a_line(command):
    done = run(command, "--no-such-option")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"python -m stackless{'' if command == 'nonsense' else f' {command}'}: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run"], "a program is required: (FILE | -m MODULE"),
        (["run", "-c"], "-c needs the text of a program"),
        (["run", "-m"], "-m needs the name of a module"),
        (["run", "-m", "no.such"], "No module named 'no'"),
        (["run", "."], "there is no __main__.py in '.'"),
        (["run", "missing.py"], "No such file or directory"),
        (["run", "--blocked", "-1", "x.py"], "not a positive number of seconds"),
        (["compat", "missing.py"], "missing.py: No such file or directory"),
        (["ps", "me"], "invalid int value: 'me'"),
        (["pstree"], "required: PID"),
        (["top", "-i", "0", "1"], "between 0.05 and 3600 seconds"),
        (["serve"], "required: MODULE:APP"),
        (["serve", "--bind", "nowhere:x", "a:b"], "not an address: 'nowhere:x'"),
        (["durable", "list"], "which store?"),
        (["durable", "show"], "required: ID"),
    ],
)
def test_what_is_wrong_is_said(words, says, tmp_path):
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", PRINTS)
def test_output_in_ascii(name):
    done = run(*PRINTS[name], env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert done.returncode in (0, 1)
    assert (done.stdout + done.stderr).isascii()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", PRINTS)
def test_output_that_nothing_takes(name):
    """The reader has ended, the device is full, or there was no output from the beginning."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = run(*PRINTS[name], capture_output=False, stdout=writing, stderr=subprocess.PIPE)
    finally:
        os.close(writing)
    assert "Traceback" not in done.stderr
    with open("/dev/full", "w") as full:
        done = run(*PRINTS[name], capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert "Traceback" not in done.stderr
    if name in ("features", "compat", "--version"):
        assert done.returncode == 1
        assert done.stderr == "python -m stackless: [Errno 28] No space left on device\n"
    done = run(*PRINTS[name], prefix=["sh", "-c", 'exec "$@" >&-', "sh"])
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["run", "record"])
def test_what_a_program_raises_is_shown_as_ever(command, tmp_path):
    """Also an error of its own pipes."""
    done = run(command, "-c", "raise BrokenPipeError('mine')", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "BrokenPipeError: mine" in done.stderr
