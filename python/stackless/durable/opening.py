"""Finds the store that a command or the page is about, and the key of its snapshots."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import secrets
import sys
from types import ModuleType
from typing import TypeVar

from stackless.durable import calls
from stackless.durable.app import App
from stackless.durable.records import DurableError
from stackless.durable.store import key_file, listing

APP, STORE = "STACKLESS_DURABLE_APP", "STACKLESS_DURABLE_STORE"
_KEY = "STACKLESS_DURABLE_KEY"
T = TypeVar("T")
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
        "--store",
        metavar="URL",
        help=f"sqlite:///PATH or postgresql://...; no code is imported (${STORE})",
    )
    group.add_argument(
        "--name", help="with --store: the name of the app, if there are several in the store"
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
    return at(store, given.name)


def imported(name: str) -> App:
    """Return the App that "module:name" names, WrongUsage if there is none."""
    module, colon, path = name.partition(":")
    if not (module and colon and path):
        raise WrongUsage(f"an app is MODULE:APP, not {name!r}")
    found: object = module_named(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, App):
        raise WrongUsage(f"{name} is no durable.App")
    return found


def module_named(module: str) -> ModuleType:
    """Import a module, also from the current folder. WrongUsage if there is none."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise WrongUsage(f"there is no module {module!r}") from None


def at(url: str, name: str | None) -> Opened:
    """Return the app of a name in a store, which has to exist. Raises WrongUsage."""
    key = os.environ.get(_KEY, "").encode()
    try:
        path = key_file(url)
        database = url.removeprefix(_SQLITE)
        if database != url and not os.path.isfile(database):
            raise WrongUsage(f"there is no database {database}")
        if not key and path is not None:
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                key = file.read()
        # Without a key nothing is signed or checked: this one is never used.
        app = App(name or "", url, key=key or secrets.token_bytes(32))
    except ValueError as error:
        raise WrongUsage(str(error)) from None
    except (DurableError, WrongUsage):
        raise
    except Exception as error:  # of the database's library, or that is missing
        raise DurableError(f"the store cannot be opened: {error}") from error
    if name is None:
        app.name = _only_name(app)
    return Opened(app, [key] if key else None)


def _only_name(app: App) -> str:
    names = listing.apps(app._store)
    if len(names) > 1:
        app.close()
        raise WrongUsage(f"--name is needed, one of: {', '.join(names)}")
    return names[0] if names else "stackless"


def be_main(name: str) -> None:
    """Let workflows that the program itself has started, as `__main__`, be found in its module.

    `python orders.py` starts `__main__:order`, which a worker for orders:app has to know.
    """
    module = name.partition(":")[0]
    sys.modules["__main__"] = sys.modules[module]
    _name_main(calls.workflows, module)
    _name_main(calls.steps, module)


def _name_main(table: dict[str, T], module: str) -> None:
    for known, value in list(table.items()):
        where, _, function = known.partition(":")
        if where == module:
            table.setdefault(f"__main__:{function}", value)
