"""``python -m stackless durable``: run workers, and look at workflows or change them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from typing import Any

from stackless import monkey
from stackless._package.command import Parser
from stackless.durable import calls, look, opening, text
from stackless.durable.app import this_python
from stackless.durable.checking import Finding, check
from stackless.durable.handle import Handle
from stackless.durable.opening import Opened, WrongUsage
from stackless.durable.records import STATUSES, STUCK, DurableError
from stackless.durable.store import listing

_PROGRAM = "python -m stackless durable"
_DESCRIPTION = """\
Run workers for durable workflows, look at workflows, change them."""
_EPILOG = """\
Which store is meant is said by --app MODULE:APP, which imports the module (for a worker by
MODULE:APP alone), or by --store URL and --name. The key of the snapshots is that of the app; with
--store it is STACKLESS_DURABLE_KEY, or else in the file beside an SQLite database.

exit status: 0, 1 if something has failed, 2 for wrong usage.

examples:
  python -m stackless durable worker orders:app
  python -m stackless durable list --app orders:app --status waiting
  python -m stackless durable show --store sqlite:///orders.db --name orders order-42
  python -m stackless durable send --app orders:app order-42 approval true"""


def _positive(value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"not a number from 1: {value!r}")
    return int(value)


def _time(value: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(d|h|min|s)", value)
    if found is None:
        raise argparse.ArgumentTypeError(f"not a time such as 30d, 12h, 90min or 45s: {value!r}")
    return float(found[1]) * {"d": 86400, "h": 3600, "min": 60, "s": 1}[found[2]]


def _value(json_text: str) -> Any:
    try:
        return json.loads(json_text)
    except ValueError as error:
        hint = "" if json_text[:1] in '{["' else """; a string is given as '"text"'"""
        raise argparse.ArgumentTypeError(f"not JSON: {json_text!r}: {error}{hint}") from None


def _say(given: argparse.Namespace, value: Any, line: str) -> int:
    print(json.dumps(value) if given.json else line)
    return 0


# ------------------------------------------------------------------ looking


def _list(opened: Opened, given: argparse.Namespace) -> int:
    app = opened.app
    if given.stuck:
        return _list_stuck(opened, given)
    rows = listing.rows(
        app._store, app.name, status=given.status, search=given.search, limit=given.limit
    )
    if given.json:
        print(json.dumps([look.summary(each) for each in rows]))
    elif rows:
        print(text.table(rows, app._store.now()))
    else:
        print(f"there are no such workflows of the app {app.name!r}", file=sys.stderr)
    return 0


def _list_stuck(opened: Opened, given: argparse.Namespace) -> int:
    store, name = opened.app._store, opened.app.name
    found = listing.rows(store, name, stuck_for=this_python(), limit=given.limit)
    whys = []
    for each in found:
        needs = f"it needs a worker of {each.needs}"
        whys.append(look.shown(each.error) if each.status == STUCK and each.error else needs)
    if given.json:
        pairs = zip(found, whys, strict=True)
        print(json.dumps([{**look.summary(each), "why": why} for each, why in pairs]))
    for each, why in () if given.json else zip(found, whys, strict=True):
        print(f"{each.id} ({each.function}): {why}")
    if not found:
        print(f"no workflow of the app {name!r} is stuck", file=sys.stderr)
    return 0


def _show(opened: Opened, given: argparse.Namespace) -> int:
    info = opened.app.handle(given.id)._info()
    view = look.look(opened.app._store, opened.keys, info)
    if given.json:
        print(json.dumps(view.as_json()))
    else:
        print(text.whole(view, opened.app._store.now()))
    return 0


def _schedules(opened: Opened, given: argparse.Namespace) -> int:
    found, now = opened.app.schedules(), opened.app._store.now()
    if given.json:
        print(json.dumps([dataclasses.asdict(each) for each in found]))
    elif found:
        print(text.schedules(found, now))
    else:
        print(f"the app {opened.app.name!r} has no schedules", file=sys.stderr)
    return 0


# ------------------------------------------------------------------ changing


def _handle(opened: Opened, given: argparse.Namespace) -> Handle:
    return opened.for_changes().handle(given.id)


def _send(opened: Opened, given: argparse.Namespace) -> int:
    _handle(opened, given).send(given.topic, given.value)
    return _say(given, {"id": given.id, "topic": given.topic}, f"sent to {given.id}")


def _simple(name: str, done: str) -> Callable[..., int]:
    """Return the function of a command that calls a method of a handle."""

    def run(opened: Opened, given: argparse.Namespace) -> int:
        handle = _handle(opened, given)
        getattr(handle, name)()
        return _say(given, {"id": given.id, "status": handle.status()}, f"{done} {given.id}")

    return run


def _fork(opened: Opened, given: argparse.Namespace) -> int:
    copy = _handle(opened, given).fork(given.step, given.new_id)
    return _say(given, {"id": copy.id, "of": given.id, "step": given.step}, f"started {copy.id}")


def _gc(opened: Opened, given: argparse.Namespace) -> int:
    count = opened.for_changes().gc(older_than=given.older_than)
    return _say(given, {"removed": count}, f"removed {count} workflows")


# ------------------------------------------------------------------ reading the source


def _check(given: argparse.Namespace) -> int:
    opening.module_named(given.module)
    workflows = calls.workflows.items()
    named = [each.function for name, each in workflows if name.partition(":")[0] == given.module]
    if not named:
        raise WrongUsage(f"the module {given.module!r} has no workflows")
    found: dict[str, Finding] = {}
    unseen: dict[str, None] = {}
    for function in filter(None, named):
        result = check(function)
        found |= {str(each): each for each in result}  # two workflows may call one function
        unseen |= dict.fromkeys(result.unseen)
    if given.json:
        findings = [dataclasses.asdict(each) for each in found.values()]
        print(json.dumps({"findings": findings, "unseen": list(unseen)}))
    else:
        print(*found, sep="\n", end="\n" if found else "")
        counts = f"{len(named)} workflows, {len(found)} findings"
        print(f"{counts}, {len(unseen)} calls that were not looked into", file=sys.stderr)
    return 1 if found else 0


# ------------------------------------------------------------------ the worker


class _JsonLines(logging.Formatter):
    """Log records as lines of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        shown = {"time": record.created, "level": record.levelname, "text": record.getMessage()}
        if record.exc_info:
            shown["traceback"] = self.formatException(record.exc_info)
        return json.dumps(shown)


def _worker(given: argparse.Namespace) -> int:
    if not given.no_patch:
        monkey.patch_all()
    app = opening.imported(given.app)
    opening.be_main(given.app)
    log = logging.getLogger("stackless.durable")
    if not log.hasHandlers():
        handler = logging.StreamHandler()
        form = "%(asctime)s %(levelname)s %(message)s"
        handler.setFormatter(_JsonLines() if given.json else logging.Formatter(form))
        log.addHandler(handler)
        log.setLevel(logging.INFO)

    def stop(number: int, _: Any) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)  # the next one ends the process at once
        app.stop()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    log.info("worker %d of the app %r, %d at a time", os.getpid(), app.name, given.concurrency)
    app.serve(concurrency=given.concurrency)
    app.close()
    log.info("worker %d has stopped", os.getpid())
    return 0


# ------------------------------------------------------------------ the page


def _ui(given: argparse.Namespace) -> int:
    monkey.patch_all()  # a request that waits must not be mixed up with others
    try:
        from stackless.durable.ui import command
    except ImportError as error:
        if error.name not in ("bottle", "httptools"):
            raise
        raise DurableError(
            f"the page needs {error.name}: pip install 'stackless-rs[durable]'"
        ) from None
    opened = opening.opened(given)
    try:
        command.serve(opened, given.bind, given.json)
    finally:
        opened.app.close()
    return 0


# ------------------------------------------------------------------ the command line


def _add(
    commands: Any,
    name: str,
    about: str,
    run: Callable[..., int],
    *,
    store: bool = True,
    more: str | None = None,
) -> argparse.ArgumentParser:
    """Add a command. `store`: it is about a store that options name, and gets that."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + "." + (f" {more}" if more else ""),
    )
    parser.set_defaults(run=run, needs_store=store)
    if store:
        opening.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="write JSON")
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=_PROGRAM,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)
    worker = _add(
        commands,
        "worker",
        "run workflows until a signal comes",
        _worker,
        store=False,
        more="SIGTERM or Ctrl-C let steps that have begun end, and record them; a second one ends "
        "the process at once. The standard library is patched, so that steps that wait let others "
        "run.",
    )
    worker.add_argument("app", metavar="MODULE:APP", help="the durable.App of this name")
    worker.add_argument(
        "--concurrency",
        type=_positive,
        default=100,
        metavar="N",
        help="most workflows in memory at a time (default: 100)",
    )
    worker.add_argument("--no-patch", action="store_true", help="do not patch the standard library")

    listed = _add(commands, "list", "list workflows, the one started last first", _list)
    which = listed.add_mutually_exclusive_group()
    which.add_argument("--status", choices=STATUSES, metavar="S", help=", ".join(STATUSES))
    which.add_argument(
        "--stuck", action="store_true", help="those that cannot be continued here, and why"
    )
    listed.add_argument(
        "--search", default="", metavar="TEXT", help="a part of the id, or of the function's name"
    )
    listed.add_argument(
        "--limit", type=_positive, default=50, metavar="N", help="at most so many (default: 50)"
    )

    _add(commands, "schedules", "list the schedules, with their next starts", _schedules)

    show = _add(
        commands,
        "show",
        "show one workflow: its stack with variables, steps, error",
        _show,
        more="Nothing that is stored is unpickled or run.",
    )
    show.add_argument("id", metavar="ID")

    send = _add(commands, "send", "send a message to a workflow", _send)
    send.add_argument("id", metavar="ID")
    send.add_argument("topic", metavar="TOPIC")
    send.add_argument(
        "value", metavar="JSON", type=_value, help="the value, such as true or '\"a\"'"
    )

    for name, about, done in (
        ("cancel", "cancel a workflow and its children", "asked to end:"),
        ("pause", "let a workflow do nothing more until `resume`", "paused"),
        ("resume", "let a paused workflow continue", "resumed"),
        ("retry", "let a failed or stuck workflow continue before what has failed", "retried"),
    ):
        simple = _add(commands, name, about, _simple(name, done))
        simple.add_argument("id", metavar="ID")

    fork = _add(commands, "fork", "start a copy of a workflow that continues before a step", _fork)
    fork.add_argument("id", metavar="ID")
    fork.add_argument(
        "--step",
        type=_positive,
        metavar="N",
        help="the step as `show` numbers it; by default the copy continues where the workflow is",
    )
    fork.add_argument("--new-id", metavar="ID", help="the id of the copy (default: a random one)")

    gc = _add(commands, "gc", "remove workflows that have ended, and code that is not needed", _gc)
    gc.add_argument(
        "--older-than",
        type=_time,
        required=True,
        metavar="TIME",
        help="those that have ended so long ago: 30d, 12h, 90min, 45s",
    )

    checked = _add(
        commands,
        "check",
        "say what would probably prevent the workflows of a module from being saved",
        _check,
        store=False,
        more="The module is imported, and the source of its workflows read. The exit status is 1 "
        "if something was found.",
    )
    checked.add_argument("module", metavar="MODULE")

    ui = _add(
        commands,
        "ui",
        "serve a page with the workflows",
        _ui,
        store=False,
        more="The page is protected by a token in the URL that is printed.",
    )
    opening.add_arguments(ui)
    ui.add_argument(
        "--bind",
        default="127.0.0.1:8765",
        metavar="ADDRESS",
        help="HOST:PORT, or unix:PATH (default: 127.0.0.1:8765)",
    )
    return parser


def _run(opened: Opened, given: argparse.Namespace) -> int:
    try:
        status: int = given.run(opened, given)
    except opened.app._store.errors as error:
        raise DurableError(f"{type(error).__name__}: {error}") from error
    return status


def main(argv: list[str]) -> int:
    """Run one command; returns its exit status."""
    parser = _parser()
    if not argv:
        parser.print_help()
        return 0
    given = parser.parse_args(argv)
    try:
        if not given.needs_store:
            status: int = given.run(given)
            return status
        opened = opening.opened(given)
        try:
            return _run(opened, given)
        finally:
            opened.app.close()
    except WrongUsage as error:
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
        return 2
    except (DurableError, OSError, TypeError, ValueError) as error:
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
        return 1
