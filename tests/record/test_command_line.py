"""`python -m stackless record`."""

import ast
import subprocess
import sys
import zipfile

import pytest
from replay import load, replayed, run_module

SCRIPT = """\
import sys, stackless
from neighbour import name
def greet(who):
    print("Hello,", who, *sys.argv[1:], __name__)
stackless.tasklet(greet)(name)
stackless.run()
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "neighbour.py").write_text("name = 'Ann'\n")
    (tmp_path / "hello.py").write_text(SCRIPT)
    return tmp_path / "hello.py"


def test_a_script_is_recorded(script, tmp_path):
    done = run_module("record", "-o", tmp_path / "out.json", script, "-x", "1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Hello, Ann -x 1 __main__\n")
    recording = load(tmp_path / "out.json")
    assert done.stderr == f"{tmp_path / 'out.json'}: {len(recording['events'])} events\n"
    assert recording["title"] == "hello.py"
    files = {file["name"]: file["source"] for file in recording["files"]}
    assert files == {"hello.py": SCRIPT}
    replay = replayed(tmp_path / "out.json")
    assert "greet('Ann')" in replay.labels.values()
    (main,) = [t for t, label in replay.labels.items() if label == "main"]
    assert replay.stack(main)[-1] == ("<module>", 6)


def test_the_source_of_the_library_is_left_out(tmp_path):
    (tmp_path / "through.py").write_text(
        "import contextlib, stackless\n"
        "with contextlib.ExitStack() as stack:\n"
        "    stack.callback(stackless.run)\n"
        "    stackless.tasklet(print)(1)\n"
    )
    done = run_module("record", "-o", "out.json", "through.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "1\n")
    sources = {file["name"]: file["source"] for file in load(tmp_path / "out.json")["files"]}
    assert sources.pop("through.py").startswith("import contextlib")
    assert sources == {"python/contextlib.py": ""}


def test_the_animation_is_beside(script, tmp_path):
    assert run_module("record", script, cwd=tmp_path).returncode == 0
    assert "Content-Security-Policy" in (tmp_path / "hello.html").read_text()
    done = run_module("record", "--from", "hello.html", "-o", "t.pftrace", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "t.pftrace").stat().st_size > 100


TEXT = "import stackless, sys; stackless.tasklet(print)(sys.argv, __name__); stackless.run()\n"


@pytest.mark.parametrize(
    ("how", "saved", "title", "first"),
    [
        (["-m", "pack.hello"], "pack.hello.json", "pack.hello", None),
        (["-m", "pack"], "pack.json", "pack", None),
        (["-c", TEXT], "program.json", "-c", "-c"),
        (["-"], "program.json", "standard input", "-"),
        (["folder"], "folder.json", "folder", "folder"),
        (["zipped.pyz"], "zipped.json", "zipped.pyz", "zipped.pyz"),
    ],
)
def test_what_python_can_run(tmp_path, how, saved, title, first):
    """A module, a text, standard input, a directory, a zip file; with arguments, as with python."""
    (tmp_path / "pack").mkdir()
    for name in ("__init__", "hello", "__main__"):
        text = TEXT if name != "__init__" else ""
        (tmp_path / "pack" / f"{name}.py").write_text(text)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "__main__.py").write_text(TEXT)
    with zipfile.ZipFile(tmp_path / "zipped.pyz", "w") as file:
        file.writestr("__main__.py", TEXT)
    default = tmp_path / saved.replace(".json", ".html")
    done = run_module("record", *how, "-x", "1", cwd=tmp_path, stdin=TEXT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" __main__\n")
    argv = ast.literal_eval(done.stdout.removesuffix(" __main__\n"))
    assert argv[1:] == ["-x", "1"]
    assert first is None or argv[0] == first
    done = run_module("record", "--from", default, "-o", tmp_path / saved)
    assert done.returncode == 0, done.stderr
    recording = load(tmp_path / saved)
    assert recording["title"] == title
    assert TEXT in [file["source"] for file in recording["files"]] or "zip" in saved
    assert "stackless" in recording["files"][0]["source"] or "zip" in saved


@pytest.mark.parametrize(
    ("ending", "status", "says"),
    [
        ("sys.exit(3)", 3, "events"),
        ("sys.exit('sorry')", 1, "sorry"),
        ("1 / 0", 1, "ZeroDivisionError"),
    ],
)
def test_how_the_script_ends(script, tmp_path, ending, status, says):
    script.write_text(SCRIPT + ending)
    done = run_module("record", "-o", tmp_path / "out.json", script)
    assert done.returncode == status
    assert says in done.stderr
    assert "_record/cli" not in done.stderr.split("Traceback")[0]
    assert any("Hello" in text for _, text in replayed(tmp_path / "out.json").printed)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "either a program or --from"),
        (["-o", "x.json", "none.py"], "none.py"),
        (["-m", "nowhere"], "No module named 'nowhere'"),
        (["-m", "xml"], "package without __main__"),
        (["-m", ".relative"], "'.relative'"),
        (["-c", "1 +"], "SyntaxError: invalid syntax"),
        (["-m", "-c", "hello"], "not allowed with"),
        (["-o", "x.gif", "hello.py"], ".pftrace"),
        (["-o", "no/x.json", "hello.py"], "no/x.json"),
        (["--limit", "3", "hello.py"], "at least 16"),
        (["--from", "hello.py"], "-o FILE"),
        (["--from", "hello.py", "-o", "x.html"], "no recording"),
        (["--from", "hello.py", "hello.py", "-o", "x.html"], "takes no program"),
        (["-c"], "-c needs the text of a program"),
        (["-m"], "-m needs the name of a module"),
        (["."], "there is no __main__.py in '.'"),
    ],
)
def test_nonsense_is_refused(script, tmp_path, arguments, says):
    done = run_module("record", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_other_files_are_not_replaced(script, tmp_path):
    """Without -o the command chooses the name: a page with that name beside the script is kept."""
    page = tmp_path / "hello.html"
    page.write_text("<p>mine</p>")
    for arguments in ([script], ["-o", page, script], ["--from", "made.json", "-o", page]):
        assert run_module("record", "-o", "made.json", script, cwd=tmp_path).returncode == 0
        done = run_module("record", *arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "hello.html" in done.stderr and "--force" in done.stderr
        assert page.read_text() == "<p>mine</p>"
    for _ in range(2):
        assert run_module("record", "--force", script, cwd=tmp_path).returncode == 0
    assert run_module("record", script, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("module", ["stackless", "stackless.monkey"])
@pytest.mark.parametrize("ending", ["1 / 0", "raise SystemExit(1 / 0)", "int('x')"])
def test_tracebacks_begin_in_the_program(script, tmp_path, module, ending):
    """As with plain python; also for `stackless.monkey`, which runs programs, too."""
    script.write_text(SCRIPT + "def fail():\n    " + ending + "\nfail()\n")
    run = [sys.executable, str(script)]
    expected = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path)
    command = ["record", "--force"] if module == "stackless" else []
    run[1:1] = ["-m", module, *command]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == expected.returncode == 1
    start = done.stderr.index("Traceback")
    assert done.stderr[start:] == expected.stderr


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new")
def test_line_by_line(script, tmp_path):
    done = run_module("record", "--lines", "--no-output", "-o", tmp_path / "out.json", script)
    assert done.returncode == 0
    recording = load(tmp_path / "out.json")
    kinds = [event[1] for event in recording["events"]]
    assert kinds.count(12) >= 5 and kinds.count(13) >= 2 and kinds.count(11) == 0
