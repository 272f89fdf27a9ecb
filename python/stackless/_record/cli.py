"""``python -m stackless record``: run a program and save what its tasklets did."""

from __future__ import annotations

import argparse
import sys

from stackless._package.own_code import hide_own_frames
from stackless._package.program import USAGE, add_arguments, found, required
from stackless._record.recording import FORMATS, check_target, convert, record


def _parser() -> argparse.ArgumentParser:
    forms = "; ".join(f"{suffix}: {what}" for suffix, what in FORMATS.items())
    parser = argparse.ArgumentParser(
        prog="python -m stackless record",
        usage=f"%(prog)s [OPTION ...] {USAGE}\n       %(prog)s --from RECORDING -o FILE [--force]",
        description="Run a Python program and save what its tasklets did.",
        epilog=f"The suffix of FILE says what is saved. {forms}.",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the program's name and .html by default"
    )
    parser.add_argument(
        "--lines", action="store_true", help="record each line, call and return (Python 3.12)"
    )
    parser.add_argument(
        "--limit", type=int, default=1_000_000, metavar="N", help="maximum of events (1000000)"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace FILE even if it is no recording"
    )
    parser.add_argument("--no-values", action="store_true", help="do not show what is sent")
    parser.add_argument("--no-output", action="store_true", help="do not keep what is printed")
    parser.add_argument(
        "--from",
        dest="source",
        metavar="RECORDING",
        help="convert a recording (.json, .html) to FILE instead of making one",
    )
    add_arguments(parser)
    return parser


def main(argv: list[str]) -> int:
    """Run the command; returns 0, or 2 for invalid arguments.

    Exceptions of the program, SystemExit included, are raised here after the recording was saved.
    """
    parser = _parser()
    given = parser.parse_args(argv)
    if given.source is None and given.program is None and given.kind is None:
        parser.error("either a program or --from RECORDING is required")
    if given.source is None:
        required(given, parser)
    elif given.program is not None or given.kind is not None:
        parser.error("--from takes no program")
    elif given.output is None:
        parser.error("--from needs -o FILE")
    try:
        if given.source is not None:
            convert(given.source, given.output, overwrite=given.force)
            return 0
        program = found(given, parser.prog)
        if program is None:
            return 2
        target = given.output or program.stem + ".html"
        recording = record(
            target,
            limit=given.limit,
            lines=given.lines,
            values=not given.no_values,
            output=not given.no_output,
            title=program.title,
            overwrite=given.force,
        )
        if not given.force:
            check_target(target)
        with open(target, "ab"):
            pass  # raises OSError if the file cannot be written
    except FileExistsError as error:
        advice = "name another one with -o, or replace it with --force"
        print(f"{parser.prog}: {error.filename}: {error.strerror}; {advice}", file=sys.stderr)
        return 2
    except (ValueError, RuntimeError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    hide_own_frames()
    try:
        with recording:
            program.run()
    finally:
        dropped = f", {recording.dropped} older ones dropped" if recording.dropped else ""
        print(f"{target}: {recording.events} events{dropped}", file=sys.stderr)
    return 0
