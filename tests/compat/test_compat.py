"""`python -m stackless compat`: what it finds in old programs, and how it reports that.

Comments in the samples say what has to be found in their line: `# -> level name, level name`.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import stackless
from child_process import run_child
from stackless._compat import table
from stackless._compat.report import API, ERROR, INFO, WARNING, check

SAMPLES = Path(__file__).parent / "samples"
MARK = re.compile(r"(?:#|//) -> (.*)")


def found(path):
    return Counter((f.line, f.level, f.name) for f in check([path]).found)


def marked(path):
    marks = Counter()
    for number, line in enumerate(path.read_text(encoding="latin-1").splitlines(), 1):
        if match := MARK.search(line):
            for mark in match[1].split(", "):
                level, _, name = mark.partition(" ")
                marks[number, level, name] += 1
    return marks


def check_text(tmp_path, text, name="program.py"):
    path = tmp_path / name
    path.write_text(text)
    return [(f.line, f.column, f.level, f.name) for f in check([path]).found]


@pytest.mark.parametrize("sample", sorted(SAMPLES.iterdir()), ids=lambda path: path.name)
def test_finds_what_the_sample_marks_and_nothing_else(sample):
    expected = marked(sample)
    for key in list(expected):
        line, level, name = key
        # Python 3.11 still has them.
        if name in ("asyncore", "asynchat") and sys.version_info < (3, 12):
            expected[line, WARNING, name] = expected.pop(key)
        owner, _, attribute = name.partition(".")
        if attribute in ("enable_softswitch", "bind_thread") and level == WARNING:
            if not hasattr(getattr(stackless, owner), attribute):
                expected[line, ERROR, name] = expected.pop(key)
    assert found(sample) == expected


# ------------------------------------------------------------------ every name of Stackless


MODULE = """
run schedule schedule_remove getcurrent getmain getruncount current main runcount threads debug
uncollectables pickle_with_tracing_state getcurrentid getthreads get_thread_info enable_softswitch
switch_trap set_error_handler set_channel_callback set_schedule_callback get_channel_callback
get_schedule_callback getuncollectables getdebug pickle_flags pickle_flags_default tasklet channel
PICKLEFLAGS_PRESERVE_TRACING_STATE PICKLEFLAGS_PRESERVE_AG_FINALIZER
PICKLEFLAGS_RESET_AG_FINALIZER PICKLEFLAGS_PICKLE_CONTEXT atomic bomb TaskletExit stackless
""".split()
TASKLET = """
bind setup insert remove run switch throw raise_exception kill set_atomic set_ignore_nesting
bind_thread set_context context_run __setstate__ __del__ alive paused scheduled blocked is_main
is_current atomic ignore_nesting restorable thread_id next prev frame nesting_level recursion_depth
context_id _channel tempval block_trap trace_function profile_function
""".split()
CHANNEL = """
send receive send_exception send_throw send_sequence close open __iter__ __next__ __setstate__
balance queue closing closed preference schedule_all
""".split()


def errors(tmp_path, text):
    return [name for _, _, level, name in check_text(tmp_path, text) if level == ERROR]


@pytest.mark.parametrize("name", MODULE)
def test_a_name_of_the_module_is_an_error_exactly_if_it_is_missing(tmp_path, name):
    """Names of the module: tested on the module, so that it stays true when features are added."""
    missing = not hasattr(stackless, name)
    expected = [f"stackless.{name}"] if missing else []
    assert errors(tmp_path, f"import stackless\nstackless.{name}\n") == expected
    assert errors(tmp_path, f"from stackless import {name}\n") == expected
    assert errors(tmp_path, f"from stackless import *\nprint({name})\n") == expected
    assert errors(tmp_path, f"import stackless as s\ns.{name}\n") == expected
    assert expected[:1] == [n for n in errors(tmp_path, f"import stackless\nprint stackless.{name}")
                            if n != "Python 2"]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name"),
    [("tasklet", name) for name in TASKLET] + [("channel", name) for name in CHANNEL],
)
def test_an_attribute_is_an_error_exactly_if_it_is_missing(tmp_path, kind, name):
    """Names of tasklets and channels."""
    missing = not hasattr(getattr(stackless, kind), name)
    expected = [f"{kind}.{name}"] if missing else []
    text = f"import stackless\nx = stackless.{kind}()\nx.{name}\n"
    assert errors(tmp_path, text) == expected
    text = f"import stackless\nclass Mine(stackless.{kind}):\n def f(self): self.{name}\n"
    assert errors(tmp_path, text) == expected


@pytest.mark.parametrize("kind", ["tasklet", "channel"])
@pytest.mark.parametrize("name", ["__reduce__", "__reduce_ex__"])
def test_reducing_is_an_error_exactly_if_it_fails(tmp_path, kind, name):
    """Pickling: every object has the method, so it has to be called."""
    thing = getattr(stackless, kind)()
    try:
        getattr(thing, name)(*[2] * (name == "__reduce_ex__"))
        expected = []
    except TypeError:
        expected = [f"{kind}.{name}"]
    assert errors(tmp_path, f"import stackless\nstackless.{kind}().{name}(2)\n") == expected


def test_the_tool_knows_the_whole_contract():
    assert set(MODULE) <= API["module"]
    assert set(TASKLET) <= API["tasklet"]
    assert set(CHANNEL) <= API["channel"]


def test_no_entry_reports_an_existing_name_as_missing():
    for entry in table.TABLE:
        if entry.level == ERROR and entry.kind in ("module", "tasklet", "channel"):
            owner = getattr(stackless, entry.kind, stackless)
            for name in entry.names.split():
                judged = entry.here() if entry.here else hasattr(owner, name)
                if hasattr(owner, name) and not name.startswith("__reduce"):
                    assert judged, f"{entry.kind}.{name} is there"


# ------------------------------------------------------------------ Python 2


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("x = 1\nprint 'hello'\n", 2, 1),
        ("if 1: print 'hello'\n", 1, 7),
        ("import sys\nprint >>sys.stderr, 1\n", 2, 1),
        ("try: f()\nexcept E, e: pass\n", 2, 1),
        ("try: f()\nexcept (A, B), e: pass\n", 2, 1),
        ("raise E, 'text'\n", 1, 1),
        ("a = '`'; b = `a`\n", 1, 14),
        ("exec 'x = 1' in {}\n", 1, 1),
        ("if a <> b: pass\n", 1, 6),
        ("n = 10L\n", 1, 5),
        ("n = 0xFFl\n", 1, 5),
        ("chmod(f, 0755)\n", 1, 10),
        ("s = ur'x'\n", 1, 5),
        ("try: f()\nexcept os.error, (number, text): pass\n", 2, 1),
        ("raise info[0], info[1], info[2]\n", 1, 1),
        ("f(1, async=True)\n", 1, 6),
        ("s = 'a \\u in a string'\n", 1, None),
        ("def f(a, d=3, (b, c)=(1, 2)): pass\n", 1, 1),
        ("def f(a, (b, c)): pass\n", 1, 1),
        ("f = lambda (a, b): a\n", 1, 5),
        ("def f():\n        if 1:\n\t    return 1\n", 3, None),
        ("import stackless\nfor i in xrange(3): pass\n", 2, 10),
        ("d = {}\nd.has_key(1)\n", 2, 3),
    ],
)
def test_python_2_is_recognised_where_it_begins(tmp_path, text, line, column):
    [(at_line, at_column, level, name)] = check_text(tmp_path, text)
    assert (at_line, level, name) == (line, ERROR, "Python 2")
    assert column in (None, at_column)


def test_the_error_for_python_2_says_what_to_do(tmp_path):
    path = tmp_path / "old.py"
    path.write_text("print 'a'\nprint 'b'\n")
    [finding] = check([path]).found
    assert "print statement, and 1 more" in finding.reason
    assert "convert it first" in finding.remedy and "run compat again" in finding.remedy


@pytest.mark.parametrize(
    "text",
    [
        "# print 'x'\nprint('hello')\n",
        "'''\nprint 'x', `y`, 0777, a <> b\n'''\n",
        "x = print if 1 else 0x10\n",
        "try: unicode\nexcept NameError: unicode = str\n",
        "def unicode(long): return long\nunicode(1)\n",
        "x = 1_000 + 0 + 00 + 0.01 + 1e07\n",
        "class D:\n def iteritems(self): return 1\nD().iteritems()\n",
        "import sys\nif sys.version_info[0] < 3:\n text = unicode\nelse:\n text = str\n",
        "import six\nvalues = d.itervalues() if six.PY2 else d.values()\n",
    ],
)
def test_python_3_is_not_taken_for_python_2(tmp_path, text):
    assert check_text(tmp_path, text) == []


def test_a_file_that_is_neither_is_a_syntax_error(tmp_path):
    text = "import stackless\nstackless._peek()\ndef (:\n"
    assert check_text(tmp_path, text) == [
        (3, 5, ERROR, "syntax"),
        (2, 11, ERROR, "stackless._peek"),
    ]


def test_doubtful_strings_are_not_reported(tmp_path):
    """Python warns of them, and the tests make warnings errors."""
    assert check_text(tmp_path, "import stackless\npattern = '\\d'\n") == []


def test_an_undeclared_encoding_is_an_error(tmp_path):
    path = tmp_path / "latin.py"
    path.write_bytes("import stackless  # Café\nstackless._peek\n".encode("latin-1"))
    assert [f.name for f in check([path]).found] == ["syntax", "stackless._peek"]


# ------------------------------------------------------------------ how names are followed


def test_columns_count_characters(tmp_path):
    text = "import stackless as s\né = 'ü'; s._peek\n"
    assert check_text(tmp_path, text) == [(2, 12, ERROR, "stackless._peek")]


def test_scopes_are_kept_apart(tmp_path):
    text = """
import stackless
def f():
    c = stackless.channel()
    c.close()
def g(c):
    c.next()
    c.__reduce__()
"""
    assert check_text(tmp_path, text) == [(5, 5, INFO, "close()")]


def test_a_module_of_the_program_itself_is_not_reported(tmp_path):
    (tmp_path / "scheduler.py").write_text("def run(): pass\n")
    (tmp_path / "asyncore").mkdir()
    (tmp_path / "asyncore" / "__init__.py").write_text("")
    (tmp_path / "main.py").write_text("import scheduler, asyncore\nscheduler.run()\n")
    assert check([tmp_path]).found == []


def test_other_schedulers_are_not_reported(tmp_path):
    assert check_text(tmp_path, "import scheduler\nscheduler.every(5)\n") == []


def test_names_that_one_file_stores_another_may_use(tmp_path):
    (tmp_path / "a.py").write_text("import stackless\nstackless.uptime()\n")
    (tmp_path / "b.py").write_text("import stackless\nstackless.uptime = print\n")
    assert check([tmp_path]).found == []
    assert [f.name for f in check([tmp_path / "a.py"]).found] == ["stackless.uptime"]


def test_a_file_without_stackless_is_left_alone(tmp_path):
    text = "import pickle, greenlet\nx.cstate, x.bind(None), x.restorable\n"
    assert check_text(tmp_path, text) == []


def test_directories_are_searched_except_hidden_ones(tmp_path):
    for folder in ("a", ".git", "a/__pycache__"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.py").write_text("import stackless\nstackless._peek\n")
    (tmp_path / "a" / "notes.txt").write_text("stackless._peek")
    assert [f.path for f in check([tmp_path]).found] == [str(tmp_path / "a" / "x.py")]


# ------------------------------------------------------------------ the command


def command(*args):
    source = (
        "import runpy, sys; sys.argv[0] = 'x'; runpy.run_module('stackless', run_name='__main__')"
    )
    return run_child(source, args=args)


def test_command_prints_findings_and_a_summary():
    done = command("compat", SAMPLES / "carbon.py", SAMPLES / "clean.py")
    first, last = done.stdout.splitlines()
    assert first.startswith(f"{SAMPLES / 'carbon.py'}:2:8: error: scheduler: ")
    assert last == "2 files read, 2 of them with Stackless: 1 error in 1 file"
    assert (done.returncode, done.stderr) == (1, "")


def test_command_finds_nothing():
    done = command("compat", SAMPLES / "clean.py")
    assert done.stdout == "1 file read, 1 of them with Stackless: nothing found\n"
    assert (done.returncode, done.stderr) == (0, "")


def test_command_json():
    done = command("compat", "--json", SAMPLES / "carbon.py")
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert answer["files_read"] == answer["files_with_stackless"] == 1
    assert answer["counts"] == {"error": 1, "warning": 0, "info": 0}
    [finding] = answer["findings"]
    assert (finding["line"], finding["column"], finding["level"]) == (2, 8, "error")
    assert set(finding) == {"path", "line", "column", "level", "name", "reason", "remedy"}
    assert answer["unreadable"] == []


def test_command_level():
    done = command("compat", "--level", "error", SAMPLES / "saver.py")
    levels = {line.split(": ")[1] for line in done.stdout.splitlines()[:-1]}
    assert levels == {"error"}
    done = command("compat", "--level", "warning", SAMPLES / "clean.py")
    assert done.returncode == 0


def test_command_says_what_it_cannot_read(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary.py").write_bytes(b"\0\1")
    for path in ("missing.py", "empty", "binary.py"):
        done = command("compat", tmp_path / path, SAMPLES / "carbon.py")
        assert done.returncode == 2
        assert str(tmp_path / path) in done.stderr
        assert "1 file read" in done.stdout and "1 error" in done.stdout


@pytest.mark.parametrize("args", [["compat"], ["compat", "--bogus"], ["no-such-command"]])
def test_wrong_usage(args):
    done = command(*args)
    assert done.returncode == 2
    assert "usage: python -m stackless" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]])
def test_overview(args):
    done = command(*args)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: python -m stackless COMMAND" in done.stdout and "compat" in done.stdout


def test_version():
    done = command("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert stackless.__version__ in done.stdout and "cpython 3." in done.stdout


def test_help_of_a_command():
    done = command("compat", "--help")
    assert done.returncode == 0 and "Exit status" in done.stdout
