"""The stubs, as type checkers see them: mypy and, where it is installed, pyright.

`right.py` has what they accept, with the types that they find; `wrong.py` has mistakes, which they
find in the marked lines and nowhere else.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "python"


def marked():
    lines = (HERE / "wrong.py").read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}


def run_mypy(name, tmp_path):
    """Return the numbers of the lines with errors, and the output."""
    if subprocess.run([sys.executable, "-m", "mypy", "--version"], capture_output=True).returncode:
        pytest.skip("mypy is not installed")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--no-error-summary",
            "--config-file=",
            "--show-traceback",
        ]
        + [f"--cache-dir={tmp_path}", name],
        cwd=HERE,
        env={**os.environ, "MYPYPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    output = done.stdout + done.stderr
    assert done.returncode in (0, 1), output
    return {int(n) for n in re.findall(rf"^{name}:(\d+): error", output, re.M)}, output


def run_pyright(name, tmp_path):
    pyright = shutil.which("pyright")
    if pyright is None:
        pytest.skip("pyright is not installed: npm install -g pyright")
    shutil.copy(HERE / name, tmp_path)
    settings = {"include": [name], "extraPaths": [str(PACKAGE)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [pyright, "--outputjson", "--project", str(tmp_path), "--pythonpath", sys.executable],
        capture_output=True,
        text=True,
        timeout=110,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    assert json.loads(done.stdout)["summary"]["filesAnalyzed"] == 1, done.stdout
    errors = [each for each in found if each["severity"] == "error"]
    return {each["range"]["start"]["line"] + 1 for each in errors}, done.stdout


CHECKERS = pytest.mark.parametrize("check", [run_mypy, run_pyright])


@CHECKERS
def test_what_is_right_is_accepted(check, tmp_path):
    lines, output = check("right.py", tmp_path)
    assert not lines, output


@CHECKERS
def test_mistakes_are_found(check, tmp_path):
    lines, output = check("wrong.py", tmp_path)
    assert lines == marked(), output
