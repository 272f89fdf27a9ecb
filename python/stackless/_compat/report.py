"""``python -m stackless compat``: what an old Stackless program has to change.

The files are read (`uses`), what they use is looked up (`table`), and the findings are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import stackless
from stackless._compat.table import (
    API,
    CONVERT,
    ENTRIES,
    ERROR,
    INFO,
    LEVELS,
    RENAMED,
    WARNING,
    Entry,
)
from stackless._compat.uses import Reading, Use, read_c, read_python


@dataclass(frozen=True)
class Finding:
    """One line of the report. Line and column count from 1."""

    path: str
    line: int
    column: int
    level: str
    name: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}"
        return f"{place}: {self.level}: {self.name}: {self.reason}. {_sentence(self.remedy)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "." if text else ""


def findings(path: str, reading: Reading, known: set[str], stored: set[str]) -> Iterator[Finding]:
    """Yield the findings of one file.

    `known` are the modules of the program itself, `stored` the names that the program sets in the
    module stackless.
    """
    if reading.python2:
        line, column, what = reading.python2
        more = f", and {reading.python2_count - 1} more" if reading.python2_count > 1 else ""
        yield Finding(path, line, column, ERROR, "Python 2", f"the first sign is {what}{more}",
                      CONVERT)  # fmt: skip
    if reading.broken:
        line, column, what = reading.broken
        yield Finding(path, line, column, ERROR, "syntax", f"this Python cannot read it: {what}",
                      "the rest of this report comes from its text only")  # fmt: skip
    said = set()
    for use in reading.uses:
        found = _judge(use, reading, known, stored)
        if found is None:
            continue
        entry, shown, level = found
        if entry.once and entry.reason in said:
            continue
        said.add(entry.reason)
        yield Finding(path, use.line, use.column, level, shown, entry.reason, entry.remedy)


def _judge(
    use: Use, reading: Reading, known: set[str], stored: set[str]
) -> tuple[Entry, str, str] | None:
    """Return the entry for a use, the name to show, and the level; None if it is not reported."""
    entry = _entry(use, reading, known, stored)
    if entry is None:
        return None
    level: str | None = entry.level
    if entry.here and entry.here():
        level = entry.present
    if level == ERROR and use.guarded:
        level = INFO
    if level is None:
        return None
    shown = {"module": "stackless.", "star": "stackless."}.get(use.kind, "") + use.name
    if use.kind in ("tasklet", "channel", "attribute"):
        shown = f"{entry.kind}.{use.name}"
    return entry, shown, level


def _entry(use: Use, reading: Reading, known: set[str], stored: set[str]) -> Entry | None:
    kind, name = use.kind, use.name
    if kind in ("module", "star"):
        return _module_entry(name, stored, kind == "star")
    if kind == "c":
        return ENTRIES["c", "*"]
    if kind == "import":
        return None if name in known else _import_entry(name, reading)
    if kind == "attribute":
        if not reading.stackless:
            return None
        both = (ENTRIES.get((owner, name)) for owner in ("tasklet", "channel"))
        return next((entry for entry in both if entry and entry.telling), None)
    if kind == "call" and name != "sys.version" and not reading.stackless:
        return None
    entry = ENTRIES.get((kind, name))
    if entry is None and name in API.get(kind, ()):
        owner = getattr(stackless, kind)
        if not hasattr(owner, name):
            return _not_yet(kind, name)
    return entry


def _module_entry(name: str, stored: set[str], star: bool) -> Entry | None:
    entry = ENTRIES.get(("module", name))
    there = hasattr(stackless, name) or find_spec(f"stackless.{name}") is not None
    if entry:
        differs = entry.level != ERROR or entry.present
        return entry if differs or not there else None
    if there or name in stored:
        return None
    if name in API["module"]:
        return _not_yet("module", name)
    if star:
        return None
    return Entry("module", name, ERROR, "neither Stackless nor this package has this name",
                 "check the spelling, or where your program put it there")  # fmt: skip


def _not_yet(kind: str, name: str) -> Entry:
    return Entry(kind, name, ERROR, "not supported yet", "see `Not there yet` in the reference")


def _import_entry(name: str, reading: Reading) -> Entry | None:
    top, _, attribute = name.partition(".")
    if attribute:
        return None
    if top == "scheduler":
        taken = {"tasklet", "channel", "schedule", "getcurrent", "run", "get_schedule_manager"}
        used = {use.name.partition(".")[2] for use in reading.uses if use.kind == "import"
                and use.name.startswith("scheduler.")}  # fmt: skip
        return ENTRIES["scheduler", "scheduler"] if used & taken else None
    if reading.stackless:
        for kind in ("pickle", "together"):
            if (kind, top) in ENTRIES:
                return ENTRIES[kind, top]
    if top in RENAMED and top not in sys.stdlib_module_names:
        return Entry("import", top, ERROR, "a module of Python 2",
                     f"its place is in `{RENAMED[top]}` now")  # fmt: skip
    return ENTRIES.get(("import", top))


# ---------------------------------------------------------------------- files and output

PYTHON = {".py", ".pyw"}
C = {".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".pyx", ".pxd"}


def files(paths: Iterable[str]) -> Iterator[Path]:
    """Yield the given files, and the source files in given directories without hidden ones."""
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        for folder, inner, names in os.walk(path):
            inner[:] = sorted(n for n in inner if not n.startswith(".") and n != "__pycache__")
            for name in sorted(names):
                if Path(name).suffix in PYTHON | C and not name.startswith("."):
                    yield Path(folder, name)


@dataclass
class Report:
    """The numbers of files, the findings, and the files that could not be read."""

    read: int
    using: int
    found: list[Finding]
    unreadable: list[str]

    def counts(self) -> dict[str, int]:
        return {level: sum(f.level == level for f in self.found) for level in LEVELS}


def check(paths: Iterable[str], level: str = INFO) -> Report:
    """Read files and directories; report findings of this level and of graver ones."""
    readings: dict[str, Reading] = {}
    unreadable = []
    for given in paths:
        listed = list(files([given]))
        if not listed:
            unreadable.append(f"{given}: no source files in this directory")
        for path in listed:
            try:
                data = path.read_bytes()
            except OSError as error:
                unreadable.append(f"{path}: {error.strerror}")
                continue
            if b"\0" in data:
                unreadable.append(f"{path}: not a text file")
                continue
            read = read_c if path.suffix in C else read_python
            readings[str(path)] = read(data)
    known = {Path(path).stem for path in readings} | {Path(path).parent.name for path in readings}
    stored: set[str] = set().union(*(reading.stored for reading in readings.values()))
    wanted = LEVELS[: LEVELS.index(level) + 1]
    found = [
        finding
        for path, reading in readings.items()
        for finding in findings(path, reading, known, stored)
        if finding.level in wanted
    ]
    using = sum(reading.stackless for reading in readings.values())
    return Report(len(readings), using, found, unreadable)


def _summary(report: Report) -> str:
    def count(number: int, what: str) -> str:
        return f"{number} {what}" + ("" if number == 1 else "s")

    read = f"{count(report.read, 'file')} read, {report.using} of them with Stackless"
    if not report.found:
        return f"{read}: nothing found"
    names = {ERROR: "error", WARNING: "warning", INFO: "note"}
    parts = [count(n, names[level]) for level, n in report.counts().items() if n]
    return f"{read}: {', '.join(parts)} in {count(len({f.path for f in report.found}), 'file')}"


def main(argv: list[str]) -> int:
    """Run the command. Returns 0: nothing found, 1: something found, 2: a file was not readable."""
    parser = argparse.ArgumentParser(
        prog="python -m stackless compat",
        description="List what Stackless programs use that cannot work on stock CPython (error), "
        "works differently (warning), or is worth knowing (info). Nothing is run or changed.",
        epilog="Exit status: 0 nothing found, 1 something found, 2 a file could not be read.",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a source file or a directory")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--level", choices=LEVELS, default=INFO, help="the least to report")
    try:
        options = parser.parse_args(argv)
    except SystemExit as exit:
        return int(exit.code or 0)
    report = check(options.paths, options.level)
    if options.json:
        answer = {
            "stackless": stackless.__version__,
            "python": ".".join(map(str, sys.version_info[:3])),
            "files_read": report.read,
            "files_with_stackless": report.using,
            "counts": report.counts(),
            "findings": [asdict(finding) for finding in report.found],
            "unreadable": report.unreadable,
        }
        print(json.dumps(answer, indent=2))
    else:
        for finding in report.found:
            print(finding)
        print(_summary(report))
    for line in report.unreadable:
        print(f"python -m stackless compat: {line}", file=sys.stderr)
    return 2 if report.unreadable else bool(report.found)
