"""The pages, as a WSGI application."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import bottle

from stackless.durable import look, text
from stackless.durable.handle import Handle
from stackless.durable.opening import Opened, WrongUsage
from stackless.durable.records import (
    FAILED,
    PAUSED,
    READY,
    RUNNING,
    SLEEPING,
    STATUSES,
    STUCK,
    WAITING,
    DurableError,
    NoSuchWorkflow,
    Step,
)
from stackless.durable.schedules import Schedule
from stackless.durable.store import listing
from stackless.durable.ui.access import Access

_FOLDER = Path(__file__).parent
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_FILES = {
    "style.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_TEMPLATES = {
    name: bottle.SimpleTemplate(name=name, lookup=[str(_FOLDER)])
    for name in ("error", "list", "workflow")
}
#: The most workflows, and steps of one, that are listed.
_LISTED = 100


class Site:
    """The pages of an app's workflows."""

    def __init__(self, opened: Opened, access: Access) -> None:
        self._opened = opened
        self._access = access
        self._store = opened.app._store
        self._errors: tuple[type[Exception], ...] = (
            *(DurableError, WrongUsage, TypeError, ValueError),
            *self._store.errors,
        )
        site = self.wsgi = bottle.Bottle()
        site.add_hook("before_request", self._check)
        site.get("/", callback=self._list)
        site.get("/workflow", callback=self._workflow)
        site.post("/workflow", callback=self._change)
        site.get("/files/<name>", callback=self._file)
        site.default_error_handler = self._error

    # -------------------------------------------------------------- access

    @property
    def _cookie(self) -> str:
        # Cookies are for all ports of a host: another page there must not replace this one's.
        return f"stackless-durable-{bottle.request.environ.get('SERVER_PORT', '')}"

    def _check(self) -> None:
        for name, value in _HEADERS.items():
            bottle.response.set_header(name, value)
        request = bottle.request
        given = request.query.get("token")
        if given is not None and request.method == "GET":
            if not self._access.is_token(given):
                bottle.abort(403, "This token is wrong.")
            rest = [(name, value) for name, value in request.query.allitems() if name != "token"]
            answer = bottle.HTTPResponse(status=303, headers=_HEADERS)
            answer.set_header("Location", request.path + (f"?{urlencode(rest)}" if rest else ""))
            answer.set_cookie(
                self._cookie, self._access.cookie, path="/", httponly=True, samesite="strict"
            )
            raise answer
        if not self._access.is_cookie(request.get_cookie(self._cookie) or ""):
            bottle.abort(403, "Open the URL that the command has printed: it has the token.")
        if request.method not in ("GET", "HEAD") and not self._access.may_change(
            request.forms.get("form", ""), request.headers
        ):
            bottle.abort(403, "This request does not come from this page.")

    def _error(self, error: bottle.HTTPError) -> str:
        for name, value in _HEADERS.items():
            error.set_header(name, value)
        shown = error.body if error.status_code in (403, 404) else error.status_line
        return self._page("error", title=error.status_line, message=shown)

    # -------------------------------------------------------------- pages

    def _page(self, name: str, **values: Any) -> str:
        shared = {
            "app": self._opened.app.name,
            "form": self._access.form,
            "text": text,
            "now": self._store.now(),
        }
        page: str = _TEMPLATES[name].render(**shared, **values)
        return page

    def _list(self) -> str:
        query = bottle.request.query
        status, search = query.get("status") or None, query.get("search", "").strip()
        if status is not None and status not in STATUSES:
            bottle.abort(404, f"There is no status {status!r}.")
        name = self._opened.app.name
        found = listing.rows(self._store, name, status=status, search=search, limit=_LISTED)

        def link(status: str | None) -> str:
            given = {"status": status, "search": search}
            return "/?" + urlencode({name: value for name, value in given.items() if value})

        return self._page(
            "list",
            title="Workflows",
            rows=found,
            most=_LISTED,
            counts=listing.counts(self._store, name),
            status=status,
            search=search,
            statuses=STATUSES,
            link=link,
            href=_href,
            schedules=[] if status or search else self._opened.app.schedules(),
            started_by=_started_by,
        )

    def _workflow(self, problem: str = "", filled: dict[str, str] | None = None) -> str:
        id = bottle.request.query.get("id", "")
        try:
            info = self._opened.app.handle(id)._info()
        except NoSuchWorkflow as error:
            bottle.abort(404, str(error))
        view = look.look(self._store, self._opened.keys, info)
        actions = [each for each in ACTIONS if info.status in each.statuses]
        if self._opened.keys is None:
            actions = []
        return self._page(
            "workflow",
            title=id,
            view=view,
            info=view.info,
            steps=view.steps[-_LISTED:],
            around=look.around,
            actions=actions,
            problem=problem,
            filled=filled or {},
            href=_href,
            short=os.path.basename,
            short_name=_short_name,
        )

    def _change(self) -> str:
        forms = bottle.request.forms
        named = [each for each in ACTIONS if each.name == forms.get("action")]
        if not named:
            bottle.abort(404, "There is no such action.")
        (action,) = named
        values = {name: forms.get(name, "") for name in ("topic", "value", "step", "action")}
        id = bottle.request.query.get("id", "")
        try:
            handle = self._opened.for_changes().handle(id)
            goes_to = action.do(handle, values) or id
        except self._errors as error:
            bottle.response.status = 409
            return self._workflow(str(error), values)
        answer = bottle.HTTPResponse(status=303, headers=_HEADERS)
        answer.set_header("Location", _href(goes_to))
        raise answer

    def _file(self, name: str) -> bytes:
        if name not in _FILES:
            bottle.abort(404, "There is no such file.")
        bottle.response.content_type = _FILES[name]
        return (_FOLDER / name).read_bytes()


@dataclasses.dataclass(frozen=True)
class Action:
    """Something that can be done to a workflow."""

    name: str
    #: The states that it can be done in.
    statuses: tuple[str, ...]
    #: What the button says, and what opens the form, if it is closed at first.
    button: str
    about: str | None
    #: Does it; may return the id of another workflow, to show that.
    do: Callable[[Handle, dict[str, str]], str | None]


def _send(handle: Handle, values: dict[str, str]) -> None:
    if not values["topic"]:
        raise ValueError("a message needs a topic")
    try:
        value = json.loads(values["value"])
    except ValueError as error:
        raise ValueError(f"the value is not JSON: {error}") from None
    handle.send(values["topic"], value)


def _fork(handle: Handle, values: dict[str, str]) -> str:
    return handle.fork(int(values["step"]) if values["step"] else None).id


_RUNS = (READY, RUNNING, SLEEPING, WAITING)
ACTIONS = (
    Action("send", (*_RUNS, PAUSED, STUCK), "Send", "Send a message", _send),
    Action("retry", (FAILED, STUCK), "Retry", None, lambda handle, _: handle.retry()),
    Action("resume", (PAUSED,), "Resume", None, lambda handle, _: handle.resume()),
    Action("pause", _RUNS, "Pause", None, lambda handle, _: handle.pause()),
    Action("fork", STATUSES, "Start the copy", "Fork", _fork),
    Action(
        "cancel",
        (*_RUNS, PAUSED, STUCK),
        "Yes, cancel it",
        "Cancel",
        lambda handle, _: handle.cancel(),
    ),
)


def _short_name(step: Step) -> str:
    """Return the name of a step's function, or what else is recorded."""
    name = step.name.partition(":")[2] or step.name
    return name if step.kind == "step" else f"{step.kind.replace('_', ' ')} {name}".rstrip()


def _href(id: str) -> str:
    return "/workflow?" + urlencode({"id": id})


def _started_by(schedule: Schedule) -> str:
    """The list of the workflows that a schedule has started: their ids begin so."""
    return "/?" + urlencode({"search": f"{schedule.name}@"})
