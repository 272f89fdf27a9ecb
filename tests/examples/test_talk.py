"""The talk's programs print what the talk shows."""

import gc
import importlib
import math
import re
import subprocess
import sys
import xml.sax
from pathlib import Path

import pytest
import stackless

ROOT = Path(__file__).parents[2]
TALK = ROOT / "examples" / "talk"
EXPECTED = TALK / "expected"

RECEIVER_FIRST = [
    *("Starting consumer", "Starting producer1", "'A'"),
    *("Starting producer2", "1", "'B'", "2", "3"),
]
BOTH_START = ["Starting consumer", "Starting producer1", "Starting producer2"]


def run(program: str, *arguments: str, timeout: float = 60) -> str:
    """Run a program of the talk as a user would, and return what it printed."""
    done = subprocess.run(
        [sys.executable, TALK / f"{program}.py", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def load(monkeypatch):
    """Import one of the talk's programs as a module."""
    monkeypatch.syspath_prepend(TALK)
    return importlib.import_module


@pytest.fixture
def small_xml(load, tmp_path):
    """A small file of the kind that the pull parser reads, and its number of elements."""
    path = tmp_path / "small.xml"
    load("make_xml").write_xml(path, 1001)
    return str(path), 1001


@pytest.mark.parametrize("program", sorted(path.stem for path in EXPECTED.iterdir()))
def test_prints_what_the_talk_prints(program):
    assert run(program) == (EXPECTED / f"{program}.txt").read_text()


def test_demo_runs_every_program(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    demo = importlib.import_module("demo")
    assert set(demo.PROGRAMS) == {path.stem for path in EXPECTED.iterdir()}


def test_what_the_demo_advises_works(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "examples")
    demo = importlib.import_module("demo")
    advice = demo.NEXT.format(python=sys.executable, talk=TALK)
    for target in re.findall(r"^  make (\w+)", advice, re.M):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text()
    for place in re.findall(r"^  (\w[\w/]*/) ", advice, re.M):
        assert (ROOT / place).is_dir()
    [record] = re.findall(r"^  (\S+ -m stackless record .*)$", advice, re.M)
    subprocess.run(record, shell=True, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "greet.html").exists()
    [bots] = re.findall(r"^  (\S+ \S+actor_bots.py .*)$", advice, re.M)
    few = bots.replace("--bots 100000", "--bots 100")
    subprocess.run(few, shell=True, cwd=tmp_path, check=True, capture_output=True)
    session = re.findall(r"^  >>> (.*)$", advice, re.M)
    printed = advice.rstrip().splitlines()[-1].strip()
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*session[:-1], f"print(repr({session[-1]}))"])],
        capture_output=True,
        text=True,
    )
    assert (done.stdout.strip(), done.stderr) == (printed, "")


def test_demo_shows_a_difference(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(ROOT / "examples")
    demo = importlib.import_module("demo")
    (tmp_path / "expected").mkdir()
    (tmp_path / "expected" / "wrong.txt").write_text("Hello, A\n")
    (tmp_path / "wrong.py").write_text("print('Hello, B')\n")
    monkeypatch.setattr(demo, "TALK", tmp_path)
    assert not demo.show("wrong", "a program that prints something else")
    printed = capsys.readouterr().out
    assert "-Hello, A" in printed
    assert "+Hello, B" in printed


@pytest.mark.parametrize(
    ("preference", "lines"),
    [
        ("-1", RECEIVER_FIRST),
        ("0", [*BOTH_START, "'A'", "'B'", "1", "2", "3"]),
        ("1", [*BOTH_START, "'A'", "'B'", "1", "2", "3"]),
        ("all", [*BOTH_START, "'A'", "1", "'B'", "2", "3"]),
    ],
)
def test_producers_and_consumer(preference, lines):
    assert run("producers_consumer", "--preference", preference).splitlines() == lines


def test_divider_forwards_an_instance():
    assert run("divider_forwarded", "--send", "instance") == "8/0 = None\n"


def test_divider_forwards_a_traceback():
    printed = run("divider_forwarded", "--send", "traceback")
    assert printed == "division by zero, raised in divider\n8/0 = None\n"


def test_factorial_times(load):
    printed = run("factorial", "--time")
    assert printed.startswith((EXPECTED / "factorial.txt").read_text())
    assert printed.splitlines()[-1].startswith("998!: plain ")


@pytest.mark.parametrize("depth", [1000, 10_000])
def test_factorial_beyond_the_recursion_limit(load, depth):
    module = load("factorial")
    runnable = stackless.getruncount()
    assert module.call(module.factorial, depth) == math.factorial(depth)
    # Every wrapper has sent its result, and none has had its turn to return.
    assert stackless.getruncount() == runnable + depth
    stackless.run()
    assert stackless.getruncount() == runnable


def test_generated_xml_is_always_the_same(load, tmp_path):
    make_xml = load("make_xml")
    first, second = tmp_path / "first.xml", tmp_path / "second.xml"
    make_xml.write_xml(first)
    make_xml.write_xml(second)
    assert first.read_bytes() == second.read_bytes()
    assert 5.5e6 < first.stat().st_size < 6.5e6
    assert sorted(tmp_path.iterdir()) == [first, second]


@pytest.mark.parametrize("elements", [1, 2, 3, 4, 1000, 220_523])
def test_generated_xml_has_the_stated_number_of_elements(load, tmp_path, elements):
    path = tmp_path / "some.xml"
    load("make_xml").write_xml(path, elements)
    assert load("pull_parser").count_with_callbacks(str(path)) == elements


def test_pull_parser_counts_alike(load, small_xml):
    file, elements = small_xml
    pull_parser = load("pull_parser")
    assert pull_parser.count_with_callbacks(file) == elements
    assert pull_parser.count_with_iterparse(file) == elements


def test_pull_parser_table_counts_alike(load, small_xml):
    file, elements = small_xml
    methods = load("pull_parser_table").METHODS
    assert {name: count(file) for name, count in methods.items()} == dict.fromkeys(
        methods, elements
    )


def test_pull_parser_gives_names_and_attributes(load, small_xml):
    file, _ = small_xml
    events = load("pull_parser").iterparse(file)
    found = [(event, name, dict(attrs)) for event, (name, attrs) in events][:4]
    assert found == [
        ("startElement", "catalogue", {}),
        ("startElement", "note", {}),
        ("startElement", "entry", {"id": "0"}),
        ("startElement", "name", {}),
    ]


def test_pull_parser_works_inside_a_tasklet(load, small_xml):
    file, elements = small_xml
    counts = []
    for _ in range(3):
        stackless.tasklet(lambda: counts.append(load("pull_parser").count_with_iterparse(file)))()
    stackless.run()
    assert counts == [elements] * 3


def test_two_pull_parsers_side_by_side(load, small_xml):
    file, elements = small_xml
    iterparse = load("pull_parser").iterparse
    pairs = list(zip(iterparse(file), iterparse(file), strict=True))
    assert len(pairs) == elements
    assert all(one[1][0] == other[1][0] for one, other in pairs)


def test_pull_parser_forwards_errors(load, tmp_path):
    broken = tmp_path / "broken.xml"
    broken.write_text("<a><b></a>")
    events = load("pull_parser").iterparse(str(broken))
    with pytest.raises(xml.sax.SAXParseException, match="mismatched tag") as caught:
        list(events)
    assert "parse_into" in [entry.name for entry in caught.traceback]
    assert stackless.getruncount() == 1


def test_pull_parser_forwards_a_missing_file(load, tmp_path):
    with pytest.raises((OSError, ValueError)):
        list(load("pull_parser").iterparse(str(tmp_path / "missing.xml")))


def test_pull_parser_stopped_early_leaves_no_tasklet(load, small_xml, monkeypatch):
    file, _ = small_xml
    pull_parser = load("pull_parser")
    parsers = []

    class RememberedTasklet(stackless.tasklet):
        def __init__(self, *args):
            parsers.append(self)
            super().__init__(*args)

    monkeypatch.setattr(stackless, "tasklet", RememberedTasklet)
    names = []
    for _event, (name, _attrs) in pull_parser.iterparse(file):
        names.append(name)
        if len(names) == 3:
            break
    gc.collect()
    stackless.run()
    assert names == ["catalogue", "note", "entry"]
    [parser] = parsers
    assert not parser.alive
    assert not parser.scheduled
    assert stackless.getruncount() == 1


def test_bots_play_the_same_game_with_the_same_seed():
    games = [run("actor_bots", "--ticks", "40", "--seed", seed) for seed in ("1", "1", "2")]
    assert games[0] == games[1] != games[2]


def test_bots_are_all_gone_after_the_game(load):
    world = load("actor_bots").World(100, seed=1)
    assert stackless.getruncount() == 101
    world.play(20)
    assert stackless.getruncount() == 1
    assert not any(world.cells.values())
    assert world.counts["shots"] > 100


@pytest.mark.slow
def test_a_hundred_thousand_bots():
    printed = run("actor_bots", "--bots", "100000", "--ticks", "5", timeout=300)
    first, last = printed.splitlines()
    assert first == "100000 robots, each a tasklet: 100000 are runnable"
    assert last == "100079 shots, 4250 hits, 99986 robots left"
