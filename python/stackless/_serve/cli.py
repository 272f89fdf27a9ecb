"""``python -m stackless serve``: serve a WSGI application on tasklets."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import fields
from typing import Any

from stackless._serve.settings import Settings

_DESCRIPTION = """\
Serve a WSGI application. Each connection has a tasklet; the application is ordinary blocking code,
as the standard library is patched before it is imported. Times are in seconds, sizes in bytes."""

_EPILOG = """\
signals to the main process:
  SIGTERM, SIGINT   stop gracefully; a second one stops at once
  SIGHUP            start workers with the new code, then stop the old ones gracefully

exit status: 0 after a stop, 1 if an address cannot be bound, 2 for wrong options,
3 if the application cannot be loaded.

example:
  python -m stackless serve module:app --bind 127.0.0.1:8000 --workers 2 --access-log -"""


def _octal(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not an octal number: {text!r}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stackless serve",
        usage="%(prog)s [OPTION ...] MODULE:APP",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "app",
        metavar="MODULE:APP",
        help="the application, MODULE:FACTORY() for what a function returns; MODULE alone is "
        "MODULE:application",
    )
    for option in fields(Settings):
        default, name = option.default, "--" + option.name.replace("_", "-")
        about, metavar = option.metadata["about"], option.metadata["metavar"]
        more: dict[str, Any] = {"default": default, "metavar": metavar}
        if option.name == "bind":
            more |= {"action": "append", "default": None}
            about += ". May be given several times"
        elif option.name == "socket_mode":
            more["type"] = _octal
        elif option.name == "access_format":
            more["choices"] = ["common", "combined"]
        elif isinstance(default, int | float):
            more["type"] = type(default)
            if isinstance(default, float):
                more["metavar"] = "SECONDS"
        shown = "" if default is None else f" (default: {_shown(default)})"
        parser.add_argument(name, help=about + shown, **more)
    parser.add_argument(
        "--no-patch", action="store_true", help="do not patch the standard library in the workers"
    )
    parser.add_argument(
        "--reload",
        action="store_true",
        help="for development: new workers when a file of an imported module changes",
    )
    parser.add_argument("--chdir", metavar="DIRECTORY", help="change to this directory first")
    return parser


def _shown(default: Any) -> str:
    return f"{default:g}" if isinstance(default, float) else f"{default}"


def main(argv: list[str]) -> int:
    """Serve until a signal; returns the exit status."""
    parser = _parser()
    given = vars(parser.parse_args(argv))
    app, directory = given.pop("app"), given.pop("chdir")
    patch, reload = not given.pop("no_patch"), given.pop("reload")
    given["bind"] = tuple(given["bind"] or [Settings.bind])
    try:
        from stackless._serve.logs import error_log
        from stackless._serve.master import NOT_LOADED, Master
    except ImportError as error:
        if error.name != "httptools":
            raise
        print(f"{parser.prog}: needs httptools: pip install 'stackless-rs[serve]'", file=sys.stderr)
        return 1
    try:
        settings = Settings(**given)
    except ValueError as error:
        parser.error(str(error))
    try:
        if directory is not None:
            os.chdir(directory)
        if os.getcwd() not in sys.path and "" not in sys.path:
            sys.path.insert(0, os.getcwd())
        loaded = Master(app, settings, patch, reload, error_log()).run()
    except ValueError as error:  # an address
        parser.error(str(error))
    except OSError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0 if loaded else NOT_LOADED
