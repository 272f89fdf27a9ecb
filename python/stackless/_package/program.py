"""The program that a command of this package runs, as the command `python` would run it."""

from __future__ import annotations

import argparse
import importlib.util
import linecache
import os
import runpy
import sys
import traceback
import types

#: What a program can be, for the usage line of a command.
USAGE = "(FILE | -m MODULE | -c TEXT | -) [ARGUMENT ...]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a command take a program: the results are `kind`, `program` and `arguments`."""
    kind = parser.add_mutually_exclusive_group()
    for flag, what in ("-m", "the program is a module"), ("-c", "the program is this text"):
        kind.add_argument(flag, dest="kind", action="store_const", const=flag, help=what)
    parser.add_argument(
        "program",
        nargs="?",
        help="a file, a directory or zip file with a __main__.py, or - for standard input",
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="those of the program")


def required(given: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """End the process with a message if no program was given."""
    if given.program is None:
        missing = {"-m": "-m needs the name of a module", "-c": "-c needs the text of a program"}
        parser.error(missing.get(given.kind, f"a program is required: {USAGE}"))


def found(given: argparse.Namespace, command: str) -> Program | None:
    """Return the program that a command was given; None, after a message, if it cannot be run."""
    try:
        return Program(given.kind, given.program, given.arguments)
    except SyntaxError as error:
        traceback.print_exception(error.with_traceback(None))
    except (OSError, ImportError) as error:
        print(f"{command}: {error}", file=sys.stderr)
    return None


class Program:
    """A program that was found, and compiled if its text is at hand.

    kind: "-m", "-c", or None for a file or "-". Sets `sys.path[0]` and `sys.argv` as `python` does.
    Raises OSError if a file cannot be read, SyntaxError for an invalid text, ImportError if there
    is no such module.
    """

    def __init__(self, kind: str | None, name: str, arguments: list[str]) -> None:
        self.kind = kind
        self.name = name
        #: A short name, for titles: without directories and suffixes.
        self.title = os.path.basename(name)
        self.stem = os.path.splitext(self.title)[0]
        self._code: types.CodeType | None = None
        sys.argv[:] = ["-c" if kind == "-c" else name, *arguments]
        if kind == "-m":
            sys.path[0] = os.getcwd()
            self.stem = name
            _find(name)
        elif kind == "-c" or name == "-":
            sys.path[0] = ""
            if kind == "-c":
                self.title, file, text = "-c", "<string>", name
            else:
                self.title, file, text = "standard input", "<stdin>", sys.stdin.read()
            self.stem = "program"
            # For tracebacks and recordings: there is no file to read it from.
            linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
            self._code = compile(text, file, "exec")
        elif os.path.isdir(name):
            if not any(each.startswith("__main__.py") for each in os.listdir(name)):
                raise ImportError(f"there is no __main__.py in {name!r}")
        else:
            script = os.path.abspath(name)
            with open(script, "rb") as opened:
                source = opened.read()
            if not source.startswith(b"PK"):  # as a zip file does
                sys.path[0] = os.path.dirname(script)
                self._code = compile(source, script, "exec")

    def run(self) -> None:
        """Run it as `__main__`. Raises what it raises, SystemExit included."""
        if self.kind == "-m":
            runpy.run_module(self.name, run_name="__main__", alter_sys=True)
        elif self._code is None:
            runpy.run_path(self.name, run_name="__main__")
        else:
            main = types.ModuleType("__main__")
            main.__dict__["__builtins__"] = __builtins__
            if not self._code.co_filename.startswith("<"):
                main.__file__ = self.name
            sys.modules["__main__"] = main
            exec(self._code, main.__dict__)


def _find(module: str) -> None:
    """Raise ImportError if `python -m` could not run a module of this name."""
    try:
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{module}.__main__")
    except ValueError as error:  # an imported module without a spec
        raise ImportError(f"{module!r} is not the name of a module that can be run") from error
    if spec is None:
        raise ImportError(f"No module named {module!r}, or it is a package without __main__")
