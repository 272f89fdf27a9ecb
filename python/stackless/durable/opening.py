"""Finds the store that a command or the page is about, and the key of its snapshots."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import secrets
import sqlite3
import sys

from stackless.durable import calls
from stackless.durable.app import App
from stackless.durable.records import DurableError

APP, STORE = "STACKLESS_DURABLE_APP", "STACKLESS_DURABLE_STORE"
_KEY = "STACKLESS_DURABLE_KEY"
_SQLITE = "sqlite:///"


class WrongUsage(Exception):
    """What was asked for makes no sense; the text says why."""


class Opened:
    """An app, and the keys that its snapshots are checked with; None if there is no key here."""

    def __init__(self, app: App, keys: list[bytes] | None) -> None:
        self.app = app
        self.keys = keys

    def for_changes(self) -> App:
        """Return the app, for what writes. WrongUsage if there is no key."""
        if self.keys is None:
            raise WrongUsage(f"there is no key: set {_KEY}, or use --app")
        return self.app


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which store is meant."""
    group = parser.add_argument_group(
        "which store", "one of --app and --store; the environment is asked if neither is given"
    )
    group.add_argument(
        "--app",
        metavar="MODULE:APP",
        help=f"the durable.App of this name; the module is imported (${APP})",
    )
    group.add_argument(
        "--store", metavar="URL", help=f"sqlite:///PATH; no code is imported (${STORE})"
    )
    group.add_argument(
        "--name", default=None, help="with --store: the name of the app (default: stackless)"
    )


def opened(given: argparse.Namespace) -> Opened:
    """Return the app that the options or the environment name. Raises WrongUsage."""
    name, store = given.app, given.store
    if name is None and store is None:
        name, store = os.environ.get(APP) or None, os.environ.get(STORE) or None
    if name is not None and store is not None:
        raise WrongUsage("only one of --app and --store can be used")
    if name is not None:
        if given.name is not None:
            raise WrongUsage("--name belongs to --store")
        app = imported(name)
        return Opened(app, app._keys)
    if store is None:
        raise WrongUsage(f"which store? give --app MODULE:APP or --store URL, or set ${APP}")
    return at(store, given.name or "stackless")


def imported(name: str) -> App:
    """Return the App that "module:name" names, WrongUsage if there is none."""
    module, colon, path = name.partition(":")
    if not (module and colon and path):
        raise WrongUsage(f"an app is MODULE:APP, not {name!r}")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: object = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise WrongUsage(f"there is no module {module!r}") from None
    for part in path.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, App):
        raise WrongUsage(f"{name} is no durable.App")
    return found


def at(store: str, name: str) -> Opened:
    """Return the app of a name in a store, which has to exist. Raises WrongUsage."""
    key = os.environ.get(_KEY, "").encode()
    path = store.removeprefix(_SQLITE)
    if path != store:
        if not os.path.isfile(path):
            raise WrongUsage(f"there is no database {path}")
        if not key:
            with contextlib.suppress(FileNotFoundError), open(f"{path}.key", "rb") as file:
                key = file.read()
    try:
        # Without a key nothing is signed or checked: this one is never used.
        app = App(name, store, key=key or secrets.token_bytes(32))
    except ValueError as error:
        raise WrongUsage(str(error)) from None
    except sqlite3.Error as error:
        raise DurableError(f"{path}: {error}") from error
    return Opened(app, [key] if key else None)


def be_main(name: str) -> None:
    """Let workflows that the program itself has started, as `__main__`, be found in its module.

    `python orders.py` starts `__main__:order`, which a worker for orders:app has to know.
    """
    module = name.partition(":")[0]
    sys.modules["__main__"] = sys.modules[module]
    for table in (calls.workflows, calls.steps):
        for known, value in list(table.items()):
            where, _, function = known.partition(":")
            if where == module:
                table.setdefault(f"__main__:{function}", value)
